//! `meshsim search` and `meshsim shrink`, on a program that keeps its rules, and on one with a fault built in.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{assert_exit, command, meshsim, stderr, stdout};
use serde_json::Value;

const MESH: &str = "
name: pair
nodes: [ { name: node, count: 3, cores: 8 } ]
duration: 1s
services:
  front: { instances: 2, endpoints: { get: { script: [ work: 1ms ] } } }
";

#[test]
fn the_same_seeds_find_the_same_with_any_number_of_jobs_and_leave_no_run() {
    let folder = common::folder("search-jobs", MESH);
    let search = |jobs: &str| {
        let out = meshsim(&folder, &["search", "--seeds", "60", "--jobs", jobs, "--json", "--no-progress"]);
        assert_exit(&out, 0);
        stdout(&out)
    };
    let found = search("1");
    assert_eq!(found, search("2"));
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["seeds"], 60);
    assert!(found["checks"].as_u64() > Some(10_000) && found["broken"].is_null(), "{found}");
    assert!(!folder.join("runs").exists());
}

#[test]
fn an_experiment_that_breaks_no_rule_cannot_be_shrunk_and_wrong_input_is_said() {
    let folder = common::folder("search-wrong", MESH);
    let refused = |args: &[&str], why: &str| {
        let out = meshsim(&folder, args);
        assert_exit(&out, 2);
        assert!(stderr(&out).contains(why), "{}", stderr(&out));
    };
    refused(&["shrink", "mesh.yaml", "--no-progress"], "breaks no rule");
    refused(&["shrink", "nothing.yaml"], "no such file");
    refused(&["search", "--seeds", "0"], "a whole number");
    refused(&["search", "--seeds", "5", "--seed", "7"], "cannot be used with");
    assert!(!folder.join("runs").exists());
}

/// The tool with a fault in its protocol: a node applies a step though the one before it is missing.
fn mutated(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).env("MESHSIM_MUTANT", "GapApplied").output().unwrap()
}

/// True if the tool was built with mutants: it is when the whole workspace is tested, as the tests of `search` need them.
fn has_mutants(folder: &Path) -> bool {
    let has =
        mutated(folder, &["search", "--seeds", "50", "--no-progress", "--out", "tried"]).status.code() == Some(99);
    if !has {
        assert!(std::env::var_os("MESHSIM_REQUIRE_MUTANTS").is_none(), "this tool was built without mutants");
        println!("skipped: this tool was built without mutants; `cargo test --workspace` builds it with them");
    }
    has
}

#[test]
fn a_breach_is_told_and_written_and_is_found_again_from_its_seed_and_its_file() {
    let folder = common::folder("search-breach", MESH);
    if !has_mutants(&folder) {
        return;
    }
    let search = |args: &[&str]| {
        let out = mutated(&folder, &[&["search", "--no-progress"], args].concat());
        assert_exit(&out, 99);
        stdout(&out)
    };
    let told = search(&["--seeds", "500", "--out", "broken"]);
    let again = told.lines().find_map(|line| line.trim().strip_prefix("again ")).expect("one line repeats it");
    let seed = again.rsplit(' ').next().unwrap();
    assert!(again.trim().starts_with("meshsim search --seed "), "{told}");
    assert!(told.contains("broken: nodes acknowledge the steps that reached them, in order"), "{told}");
    assert!(told.contains("acknowledges step"), "the story ends with the breach: {told}");
    let found: Value = serde_json::from_str(&search(&["--seed", seed, "--json", "--out", "again"])).unwrap();
    assert_eq!(found["broken"]["seed"].to_string(), seed);
    let bytes = |run: &str| fs::read(folder.join(run).join("trace.bin")).unwrap();
    assert!(bytes("broken") == bytes("again"), "the same seed gives the same trace");
    let verified = meshsim(&folder, &["verify", "broken"]);
    assert_exit(&verified, 1);
    // Without the fault, the same experiment breaks no rule.
    assert_exit(&meshsim(&folder, &["search", "--seed", seed, "--no-progress"]), 0);
}

#[test]
fn an_experiment_that_breaks_a_rule_is_shrunk_to_the_parts_that_it_needs() {
    let folder = common::folder("search-shrink", MESH);
    if !has_mutants(&folder) {
        return;
    }
    assert_exit(&mutated(&folder, &["search", "--seeds", "500", "--no-progress", "--out", "broken"]), 99);
    let out = mutated(&folder, &["shrink", "broken", "--no-progress", "--json", "--out", "small"]);
    assert_exit(&out, 0);
    let shrunk: Value = serde_json::from_str(&stdout(&out)).unwrap();
    let parts = |key: &str| shrunk[key].as_u64().unwrap();
    assert!(parts("parts") * 2 < parts("parts_before") && shrunk["is_minimal"] == true, "{shrunk}");
    assert_eq!(shrunk["story"].as_array().map(Vec::len), Some(3), "{shrunk}");
    let small = folder.join("small");
    assert!(fs::read_to_string(small.join("sequence.svg")).unwrap().contains("</svg>"));
    // It is a run like any other: its trace shows the breach, and its file repeats it.
    assert_exit(&meshsim(&folder, &["verify", "small"]), 1);
    let file = small.join("experiment.yaml");
    let again = mutated(&folder, &["run", file.to_str().unwrap(), "--trace", "--no-progress", "--out", "again"]);
    assert!(matches!(again.status.code(), Some(0 | 99)), "{}", stderr(&again));
    assert_exit(&meshsim(&folder, &["verify", "again"]), 1);
    // Nothing is left that could be left out.
    let once_more = mutated(&folder, &["shrink", "small", "--no-progress", "--json", "--out", "smaller"]);
    let smaller: Value = serde_json::from_str(&stdout(&once_more)).unwrap();
    assert_eq!(smaller["parts"], shrunk["parts"]);
}
