//! `meshsim search` and `meshsim shrink`, on a program that keeps its rules.

mod common;

use common::{assert_exit, meshsim, stderr, stdout};
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
