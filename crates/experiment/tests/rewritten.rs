//! The experiment that a run writes equals its own experiment, including overrides and empty sections.

use std::fs;
use std::path::{Path, PathBuf};

use meshsim_experiment::{Experiment, Override, parse};

/// Longer files only repeat what shorter ones have.
const LINES_MAX: usize = 250;

fn examples() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found: Vec<(PathBuf, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("mesh.yaml"))
        .filter_map(|path| fs::read_to_string(&path).ok().map(|text| (path, text)))
        .filter(|(_, text)| text.lines().count() <= LINES_MAX)
        .collect();
    found.sort();
    assert!(found.len() >= 4);
    found
}

/// All that a host runs.
fn meaning(experiment: &Experiment) -> String {
    let Experiment { name, seed, duration, mesh, network, slos, .. } = experiment;
    format!("{name} {seed} {duration:?} {mesh:?} {network:?} {slos:?}")
}

fn assert_rewritten(what: &str, experiment: &Experiment) {
    let again = experiment.bundle().read().unwrap_or_else(|problems| panic!("{what}: {problems}\n{}", experiment.text));
    assert!(meaning(experiment) == meaning(&again), "{what} means something else:\n{}", experiment.text);
}

/// The text with one value left out, or replaced by another way to say nothing, at each line that has one.
fn mutants(text: &str) -> impl Iterator<Item = (usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).flat_map(move |at| {
        let key = lines[at].split_once(": ").map(|(key, _)| key);
        let lines = lines.clone();
        key.into_iter().flat_map(move |key| {
            let lines = lines.clone();
            ["", " ~", " null", " {}", " []", " \"~\""].into_iter().map(move |nothing| {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                changed[at] = format!("{key}:{nothing}");
                (at + 1, changed.join("\n"))
            })
        })
    })
}

#[test]
fn an_overridden_experiment_is_written_down_as_it_was_run() {
    let sets: Vec<Override> = ["seed=99", "duration=7s"].map(|set| Override::parse(set).unwrap()).into();
    let mut valid = 0;
    for (path, text) in examples() {
        let name = path.display().to_string();
        let read = |text: &str, sets: &[Override]| parse(&name, text, path.parent().unwrap(), sets);
        assert_rewritten(&name, &read(&text, &[]).unwrap());
        assert_rewritten(&name, &read(&text, &sets[..1]).unwrap());
        for (line, mutant) in mutants(&text) {
            if let Ok(experiment) = read(&mutant, &sets[..1]) {
                valid += 1;
                assert_rewritten(&format!("{name} with nothing on line {line}"), &experiment);
            }
        }
    }
    assert!(valid > 50, "only {valid} mutants were valid");
}

#[test]
fn a_key_left_empty_stays_empty() {
    let text = "name: x\nduration: 1s\nnodes: [ { name: n, cores: 4 } ]\nservices:\n  a: { endpoints: { get: { script: [ work: 1ms ] } } }\nload:\n";
    let sets = [Override::parse("seed=3").unwrap()];
    let experiment = parse("mesh.yaml", text, Path::new(""), &sets).unwrap();
    assert!(experiment.text.contains("load: null"), "{}", experiment.text);
    assert_rewritten("an empty load", &experiment);
}
