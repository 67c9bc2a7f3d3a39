//! Folders of runs: names, lookup, list and removal.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_exit, meshsim, stderr, stdout};
use serde_json::Value;

const MESH: &str = "
name: shop
nodes: [ { name: node, cores: 8 } ]
seed: 5
duration: 1s
services:
  front: { endpoints: { get: { script: [ work: 1ms ] } } }
load:
  users: { to: front, from: 300ms, arrivals: { poisson: 50/s } }
slo: [ errors < 1% ]
";

fn prepared(name: &str) -> PathBuf {
    common::folder(&format!("runs-{name}"), MESH)
}

fn run(folder: &Path, args: &[&str]) {
    assert_exit(&meshsim(folder, &[&["run", "mesh.yaml", "--no-progress"], args].concat()), 0);
}

/// The names under `runs`.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder.join("runs")).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn runs_with_other_settings_have_other_folders_and_equal_ones_the_same() {
    let folder = prepared("places");
    run(&folder, &[]);
    let first = fs::read(folder.join("runs/shop-5/summary.json")).unwrap();
    run(&folder, &["--set", "services.front.instances=3"]);
    run(&folder, &["--set", "services.front.instances=3"]);
    run(&folder, &["--set", "services.front.instances=4"]);
    run(&folder, &[]);
    run(&folder, &["--seed", "6"]);
    let names = names(&folder);
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!((names[0].as_str(), names[3].as_str()), ("shop-5", "shop-6"));
    assert!(names[1].starts_with("shop-5.") && names[2].starts_with("shop-5."), "{names:?}");
    assert_eq!(fs::read(folder.join("runs/shop-5/summary.json")).unwrap(), first);
}

#[test]
fn a_trace_is_kept_by_the_same_run_without_one_and_by_no_other() {
    let folder = prepared("traces");
    run(&folder, &["--trace"]);
    let trace = fs::read(folder.join("runs/shop-5/trace.bin")).unwrap();
    run(&folder, &[]);
    assert_eq!(fs::read(folder.join("runs/shop-5/trace.bin")).unwrap(), trace);
    assert_exit(&meshsim(&folder, &["replay", "shop-5"]), 0);
    // Another run in an explicitly named folder: the old trace would belong to another run.
    run(&folder, &["--out", "runs/shop-5", "--set", "services.front.instances=3"]);
    assert!(!folder.join("runs/shop-5/trace.bin").exists());
}

#[test]
fn live_runs_are_numbered() {
    let folder = prepared("live");
    for _ in 0..2 {
        assert_exit(&meshsim(&folder, &["live", "mesh.yaml", "--no-progress"]), 0);
    }
    assert_eq!(names(&folder), ["shop-5-live", "shop-5-live-2"]);
}

#[test]
fn a_run_is_found_by_its_name_and_as_the_last_one() {
    let folder = prepared("found");
    run(&folder, &["--trace"]);
    run(&folder, &["--seed", "6", "--trace"]);
    let traced = |run: &str| {
        let output = meshsim(&folder, &["trace", run, "--jsonl"]);
        assert_exit(&output, 0);
        output.stdout
    };
    assert!(traced("shop-5") != traced("shop-6"));
    assert!(traced("last") == traced("runs/shop-6"));
    assert_exit(&meshsim(&folder, &["compare", "shop-5", "last"]), 0);
    assert_exit(&meshsim(&folder, &["trace", "shop-7"]), 2);
}

#[test]
fn runs_are_listed_with_their_settings_and_removed_with_their_files() {
    let folder = prepared("list");
    assert!(stderr(&meshsim(&folder, &["runs"])).contains("no runs in the folder"));
    run(&folder, &[]);
    run(&folder, &["--set", "services.front.instances=3", "--trace"]);
    let text = stdout(&meshsim(&folder, &["runs"]));
    // However the terminal breaks it.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["shop-5 ", "PASS", "trace", "services.front.instances: not set -> `3`"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let list: Value = serde_json::from_slice(&meshsim(&folder, &["runs", "--json"]).stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["run"], &list[0]["outcome"]), (&"runs/shop-5".into(), &"pass".into()));

    // Studies stand below them.
    let sweep = ["sweep", "mesh.yaml", "--vary", "services.front.instances=1..3", "--no-progress"];
    assert_exit(&meshsim(&folder, &sweep), 0);
    let text = stdout(&meshsim(&folder, &["runs"]));
    assert!(
        text.contains("study") && text.contains("services.front.instances") && text.contains("shop-sweep."),
        "{text}"
    );
    let all: Value = serde_json::from_slice(&meshsim(&folder, &["runs", "--json"]).stdout).unwrap();
    let study = &all.as_array().unwrap()[2];
    assert_eq!((&study["name"], &study["runs"], &study["of"]), (&"shop".into(), &3.into(), &3.into()));
    let place = folder.join(study["study"].as_str().unwrap());
    fs::write(place.join("runs.jsonl"), "").unwrap();
    assert!(stdout(&meshsim(&folder, &["runs"])).contains("0 of 3"));
    let name = place.file_name().unwrap().to_str().unwrap().to_owned();
    assert_exit(&meshsim(&folder, &["runs", "rm", &name]), 0);
    assert!(!place.exists());

    // A foreign note stays, and its folder; nothing is removed if one of the arguments is not a run.
    fs::write(folder.join("runs/shop-5/note.txt"), "mine").unwrap();
    assert_exit(&meshsim(&folder, &["runs", "rm", "shop-5", "shop-9"]), 2);
    assert_eq!(names(&folder).len(), 2);
    assert_exit(&meshsim(&folder, &["runs", "rm", "shop-5", list[1]["run"].as_str().unwrap()]), 0);
    assert_eq!(names(&folder), ["shop-5"]);
    assert_eq!(fs::read_dir(folder.join("runs/shop-5")).unwrap().count(), 1);
}
