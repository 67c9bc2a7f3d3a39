//! Differences between the simulations that two experiments describe.

use std::collections::BTreeMap;

use meshsim_mesh::Mesh;

use crate::Experiment;
use crate::problem::{Reporter, shortened};
use crate::tree::{self, Key, Node, Value};

/// Differences that are named; the rest is counted.
const NAMED_MAX: usize = 5;

/// Sections that do not affect the simulation (`name`, `slo`), or may differ between runs of one experiment.
const ASIDE: [&str; 4] = ["name", "slo", "seed", "duration"];

/// Differences between the simulations of two experiments, each with its path as `--set` writes it and with both
/// values; empty if they simulate the same. Both must have the same seed and duration.
pub fn differences(base: &Experiment, other: &Experiment) -> Vec<String> {
    // The compiled model decides: `5ms` is `0.005s`, and a default may be written out.
    // The counting for an SLO does not change the run.
    let simulated = |experiment: &Experiment| Mesh { criteria: Vec::new(), ..experiment.mesh.clone() };
    if simulated(base) == simulated(other) && base.network == other.network {
        return Vec::new();
    }
    let mut found = Vec::new();
    let (base_root, other_root) = (root(&base.text), root(&other.text));
    compare("", base_root.as_ref(), other_root.as_ref(), &mut found);
    for file in &base.files {
        let theirs = other.files.iter().find(|theirs| theirs.name == file.name);
        if theirs.is_some_and(|theirs| theirs.text != file.text) {
            found.push(format!("the file `{}` has another content", file.name));
        }
    }
    let untold = found.len().saturating_sub(NAMED_MAX);
    found.truncate(NAMED_MAX);
    match (found.len(), untold) {
        (0, _) => found.push("what they simulate is not the same".into()),
        (_, 0) => {}
        (_, n) => found.push(format!("and {n} more")),
    }
    found
}

/// It has been read before: there is nothing to report.
fn root(text: &str) -> Option<Node> {
    let mut reporter = Reporter::default();
    let source = reporter.add_source("", text);
    tree::read(text, source, 0, "", &mut reporter)
}

fn compare(path: &str, base: Option<&Node>, other: Option<&Node>, found: &mut Vec<String>) {
    let below = |key: &str| match (path, key.contains(['.', '=', ' '])) {
        ("", _) => key.to_owned(),
        (_, true) => format!("{path}.\"{key}\""),
        (_, false) => format!("{path}.{key}"),
    };
    match (base.map(|node| &node.value), other.map(|node| &node.value)) {
        (Some(Value::Map(mine)), Some(Value::Map(theirs))) => {
            let index: BTreeMap<&str, &Node> = theirs.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
            let known: BTreeMap<&str, &Node> = mine.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
            let is_aside = |key: &str| path.is_empty() && ASIDE.contains(&key);
            for (key, node) in mine.iter().filter(|(key, _)| !is_aside(&key.text)) {
                compare(&below(&key.text), Some(node), index.get(key.text.as_str()).copied(), found);
            }
            for (key, node) in theirs.iter().filter(|(key, _)| !is_aside(&key.text)) {
                if !known.contains_key(key.text.as_str()) {
                    compare(&below(&key.text), None, Some(node), found);
                }
            }
        }
        (Some(Value::List(mine)), Some(Value::List(theirs))) => {
            for index in 0..mine.len().max(theirs.len()) {
                compare(&below(&index.to_string()), mine.get(index), theirs.get(index), found);
            }
        }
        (Some(Value::Scalar { text: mine, .. }), Some(Value::Scalar { text: theirs, .. })) if mine == theirs => {}
        (None, None) => {}
        // A value that only one of them sets, in a map that only it has.
        (Some(Value::Map(only)), None) if is_one_value(only) => {
            compare(&below(&only[0].0.text), Some(&only[0].1), None, found);
        }
        (None, Some(Value::Map(only))) if is_one_value(only) => {
            compare(&below(&only[0].0.text), None, Some(&only[0].1), found);
        }
        _ => {
            let described = |node: Option<&Node>| node.map_or_else(|| "not set".to_owned(), Node::described);
            found.push(format!("{}: {} -> {}", shortened(path), described(base), described(other)));
        }
    }
}

/// True if maps of one key each lead to a single value.
fn is_one_value(entries: &[(Key, Node)]) -> bool {
    match entries {
        [(_, node)] => match &node.value {
            Value::Map(below) => is_one_value(below),
            Value::Scalar { .. } => true,
            Value::List(_) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::parse;

    const MESH: &str = "nodes: [ { name: node } ]\nservices: { a: { instances: 2, cpu: 0.5, endpoints: { get: {} } } }\n\
                        operations: [ { at: 1s, extend: a, to: 3, rate: 0.5 } ]\n";

    fn read(text: &str) -> Experiment {
        parse("mesh.yaml", text, Path::new(""), &[]).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn what_is_only_written_otherwise_is_the_same() {
        let other = MESH.replace("1s", "1000ms").replace("instances: 2", "queue: 1000, instances: 2");
        for other in [MESH, &other, &format!("name: b\nslo: [ p99 < 1s ]\n{MESH}")] {
            let differences = differences(&read(MESH), &read(other));
            assert!(differences.is_empty(), "{differences:?}");
        }
    }

    #[test]
    fn what_differs_is_named_with_its_path_and_with_what_stands_there() {
        let differ = |from: &str, to: &str| differences(&read(MESH), &read(&MESH.replace(from, to)));
        assert_eq!(differ("instances: 2", "instances: 4"), ["services.a.instances: `2` -> `4`"]);
        assert_eq!(differ("to: 3", "to: 5"), ["operations.0.to: `3` -> `5`"]);
        assert_eq!(differ("cpu: 0.5, ", ""), ["services.a.cpu: `0.5` -> not set"]);
        assert_eq!(differ("nodes:", "control: { missed: 1 }\nnodes:"), ["control.missed: not set -> `1`"]);
        let more = "services: { b: { endpoints: { get: {} } }, ";
        assert_eq!(differ("services: { ", more), ["services.b: not set -> a map of keys and values"]);
    }

    #[test]
    fn of_many_differences_the_first_are_named() {
        let mesh = |cores: u32| {
            let nodes: String = (0..9).map(|n| format!("{{ name: n{n}, cores: {cores} }}, ")).collect();
            read(&format!("nodes: [ {nodes} ]\nservices: {{ a: {{ endpoints: {{ get: {{}} }} }} }}\n"))
        };
        let differences = differences(&mesh(4), &mesh(8));
        assert_eq!(differences.len(), NAMED_MAX + 1);
        assert_eq!(differences[NAMED_MAX], "and 4 more");
    }
}
