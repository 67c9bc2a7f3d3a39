//! The parts of an experiment that may be left out of it, to find the smallest that still does something.

use std::collections::BTreeSet;

use crate::problem::Reporter;
use crate::tree::{self, Node, Value};
use crate::{Bundle, Experiment};

/// An experiment, as parts and a rest.
#[derive(Clone, Debug)]
pub struct Parts {
    root: Node,
    parts: Vec<Part>,
    files: Vec<(String, String)>,
}

/// A part.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// A section of the file.
    Section(&'static str),
    /// An item of the list that a section is.
    Item(&'static str, usize),
    /// An entry of the map that a section is.
    Entry(&'static str, String),
    /// One of the nodes of a group.
    Node(usize),
    /// One of several disturbances of a link.
    Disturbance(usize, &'static str),
    /// One of several targets of a fault: the way to their list, by keys and indexes, and its place there.
    Target(usize, Vec<Way>, usize),
}

/// A step on the way to a value.
#[derive(Clone, Debug, PartialEq)]
enum Way {
    Key(String),
    Index(usize),
}

/// Sections that have defaults.
const SECTIONS: [&str; 4] = ["slo", "control", "network", "proxy"];
/// Sections that are lists.
const LISTS: [&str; 3] = ["faults", "operations", "nodes"];
/// Sections that are maps.
const MAPS: [&str; 2] = ["load", "services"];
/// Keys of a fault of links, each a disturbance of its own.
const DISTURBANCES: [&str; 6] = ["latency", "loss", "drop", "duplicate", "reorder", "bandwidth"];

impl Parts {
    /// The parts of an experiment: faults, and of a fault with several targets or disturbances each of these;
    /// operations, loads and services; groups of nodes, and each node of a group but the first; sections that have
    /// defaults.
    pub fn of(experiment: &Experiment) -> Self {
        let Bundle { text, files } = experiment.bundle();
        let mut reporter = Reporter::default();
        let source = reporter.add_source("", text.as_str());
        // It has been read before.
        let root = tree::read(&text, source, 0, "", &mut reporter);
        let root = root.unwrap_or_else(|| Node::scalar("", crate::problem::Location::default()));
        let mut parts = Vec::new();
        for section in LISTS {
            let Some(Node { value: Value::List(items), .. }) = root.get(section) else { continue };
            for (at, item) in items.iter().enumerate() {
                parts.push(Part::Item(section, at));
                if section == "nodes" {
                    let count = item.get("count").and_then(number).unwrap_or(1);
                    parts.extend((1..count).map(|_| Part::Node(at)));
                }
                let has = |key: &&str| item.get("link").is_some() && item.get(key).is_some();
                let there: Vec<&'static str> = DISTURBANCES.into_iter().filter(has).collect();
                if there.len() > 1 {
                    parts.extend(there.into_iter().map(|key| Part::Disturbance(at, key)));
                }
                if section == "faults" {
                    targets(item, &mut Vec::new(), &mut |way, index| parts.push(Part::Target(at, way, index)));
                }
            }
        }
        for section in MAPS {
            let Some(Node { value: Value::Map(entries), .. }) = root.get(section) else { continue };
            parts.extend(entries.iter().map(|(key, _)| Part::Entry(section, key.text.clone())));
        }
        parts.extend(SECTIONS.into_iter().filter(|section| root.get(section).is_some()).map(Part::Section));
        Parts { root, parts, files }
    }

    /// Number of the parts.
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// The experiment without some of its parts, by index. It may be none: a fault may be of a node that is left out.
    pub fn without(&self, left_out: &BTreeSet<usize>) -> Bundle {
        let mut root = self.root.clone();
        // From the last on, so that the indexes of the others stay right; single nodes and disturbances before items.
        let of = |at: &usize| &self.parts[*at];
        let is_inner = |part: &&Part| matches!(part, Part::Node(_) | Part::Disturbance(..) | Part::Target(..));
        let parts = || left_out.iter().rev().map(of);
        for part in parts().filter(is_inner).chain(parts().filter(|part| !is_inner(part))) {
            part.leave_out(&mut root);
        }
        if let Value::Map(entries) = &mut root.value {
            let is_empty = |node: &Node| match &node.value {
                Value::List(items) => items.is_empty(),
                Value::Map(entries) => entries.is_empty(),
                Value::Scalar { .. } => false,
            };
            entries.retain(|(key, node)| {
                !["faults", "operations", "load"].contains(&key.text.as_str()) || !is_empty(node)
            });
        }
        Bundle { text: tree::to_yaml(&root), files: self.files.clone() }
    }
}

impl Part {
    fn leave_out(&self, root: &mut Node) {
        let Value::Map(sections) = &mut root.value else { return };
        let name = match self {
            Part::Section(name) | Part::Item(name, _) | Part::Entry(name, _) => name,
            Part::Node(_) => "nodes",
            Part::Disturbance(..) | Part::Target(..) => "faults",
        };
        if let Part::Section(_) = self {
            return sections.retain(|(key, _)| key.text != name);
        }
        let Some((_, section)) = sections.iter_mut().find(|(key, _)| key.text == name) else { return };
        match (self, &mut section.value) {
            (Part::Item(_, at), Value::List(items)) => _ = items.remove(*at),
            (Part::Entry(_, name), Value::Map(entries)) => entries.retain(|(key, _)| key.text != *name),
            (Part::Node(at), Value::List(items)) => {
                let Value::Map(entries) = &mut items[*at].value else { return };
                for (_, count) in entries.iter_mut().filter(|(key, _)| key.text == "count") {
                    let fewer = number(count).unwrap_or(1).saturating_sub(1).max(1);
                    *count = Node::scalar(fewer.to_string(), count.place);
                }
            }
            (Part::Disturbance(at, name), Value::List(items)) => {
                if let Value::Map(entries) = &mut items[*at].value {
                    entries.retain(|(key, _)| key.text != *name);
                }
            }
            (Part::Target(at, way, index), Value::List(items)) => {
                let list = way.iter().try_fold(&mut items[*at], |node, step| match (step, &mut node.value) {
                    (Way::Key(name), Value::Map(entries)) => {
                        entries.iter_mut().find(|(key, _)| key.text == *name).map(|(_, node)| node)
                    }
                    (Way::Index(index), Value::List(items)) => items.get_mut(*index),
                    _ => None,
                });
                if let Some(Node { value: Value::List(targets), .. }) = list {
                    targets.remove(*index);
                }
            }
            _ => {}
        }
    }
}

/// Finds the lists of several plain values in a fault.
fn targets(node: &Node, way: &mut Vec<Way>, found: &mut impl FnMut(Vec<Way>, usize)) {
    let mut into = |step: Way, node: &Node| {
        way.push(step);
        targets(node, way, found);
        way.pop();
    };
    match &node.value {
        Value::Scalar { .. } => {}
        Value::Map(entries) => entries.iter().for_each(|(key, node)| into(Way::Key(key.text.clone()), node)),
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Scalar { .. })) => {
            if items.len() > 1 {
                (0..items.len()).for_each(|index| found(way.clone(), index));
            }
        }
        Value::List(items) => items.iter().enumerate().for_each(|(index, node)| into(Way::Index(index), node)),
    }
}

fn number(node: &Node) -> Option<u32> {
    match &node.value {
        Value::Scalar { text, .. } => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
name: small
nodes: [ { name: node, count: 3, cores: 4 }, { name: far, cores: 2 } ]
control: { heartbeat: 2s }
services:
  a: { endpoints: { get: { script: [ work: 2ms ] } } }
  b: { endpoints: { get: { script: [ work: 2ms ] } } }
load: { users: { to: a, arrivals: { poisson: 5/s } } }
operations: [ { at: 1s, extend: a, to: 3, rate: 1 } ]
faults:
  - { at: 1s, for: 1s, crash: node-2 }
  - { at: 2s, for: 1s, link: { from: [far, node-0], to: coordinator }, drop: 10%, duplicate: 5% }
";

    fn parts() -> Parts {
        Parts::of(&crate::parse("small.yaml", TEXT, "".as_ref(), &[]).expect("it is valid"))
    }

    #[test]
    fn nothing_left_out_gives_the_same_experiment() {
        let whole = parts().without(&BTreeSet::new()).read().expect("it is valid");
        let of_text = crate::parse("small.yaml", TEXT, "".as_ref(), &[]).expect("it is valid");
        assert_eq!(crate::differences(&of_text, &whole), Vec::<String>::new());
    }

    #[test]
    fn each_part_can_be_left_out() {
        let parts = parts();
        // Two faults, two disturbances and two targets, an operation, two groups and two further nodes, a load, two
        // services, control.
        assert_eq!(parts.count(), 15);
        let texts: BTreeSet<String> = (0..parts.count()).map(|at| parts.without(&[at].into()).text).collect();
        // Two further nodes of a group are alike.
        assert_eq!(texts.len(), 14);
    }

    #[test]
    fn what_needs_a_part_that_is_left_out_is_reported() {
        let parts = parts();
        let without = |part: &Part| {
            let at = parts.parts.iter().position(|it| it == part).expect("it is there");
            parts.without(&[at].into()).read()
        };
        assert!(without(&Part::Entry("services", "a".into())).is_err());
        assert!(without(&Part::Node(0)).is_err(), "the crash is of node-2");
        let one = without(&Part::Entry("services", "b".into())).expect("nothing needs it");
        assert_eq!(one.mesh.services.len(), 1);
        let one = without(&Part::Disturbance(1, "drop")).expect("the other is there");
        assert_eq!(one.network.faults.len(), 2);
    }

    #[test]
    fn all_faults_can_be_left_out_together() {
        let parts = parts();
        let is_fault =
            |at: &usize| matches!(parts.parts[*at], Part::Item("faults", _) | Part::Disturbance(..) | Part::Target(..));
        let without = parts.without(&(0..parts.count()).filter(is_fault).collect()).read().expect("it is valid");
        assert!(without.network.faults.is_empty() && !without.text.contains("faults"));
    }
}
