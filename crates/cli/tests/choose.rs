//! `meshsim choose`, for a person.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{assert_exit, meshsim, stderr, stdout};
use serde_json::Value;

const MESH: &str = "
nodes: [ { name: node, count: 3, cores: 4 } ]
seed: 5
duration: 8s
services:
  web: { instances: 3, capacity: 50, endpoints: { get: { script: [ work: 1ms, call: { to: db, retries: 1 } ] } } }
  db: { instances: 3, capacity: 50, balancer: round_robin, endpoints: { get: { script: [ work: 1ms ] } } }
load: { users: { to: web, arrivals: { poisson: 100/s }, warmup: 1s } }
slo: [ errors < 1%, p50 < 3ms ]
";

fn prepared(name: &str) -> PathBuf {
    common::folder(&format!("choose-{name}"), MESH)
}

#[test]
fn all_technologies_stand_in_one_table_with_what_they_cost_and_cannot_do() {
    let folder = prepared("table");
    let args = ["choose", "mesh.yaml", "--seeds", "2", "--price-core", "100", "--report", "choice.html"];
    let output = meshsim(&folder, &args);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for name in ["none ", "sidecar-envoy ", "sidecar-linkerd *", "ambient-l4 *", "ambient-waypoint *", "proxyless *"] {
        assert!(text.contains(&format!("\n  {name}")), "{name}: {text}");
    }
    assert!(text.contains("not validated") && text.contains("2 seeds, the same for each"), "{text}");
    assert!(text.contains("leaves to the applications: retries of 1 call, balancer of 1 service"), "{text}");
    let page = fs::read_to_string(folder.join("choice.html")).unwrap();
    assert!(page.contains("<td>ambient-waypoint *</td>") && page.contains("not validated"), "{page}");
    assert_eq!(stdout(&meshsim(&folder, &args)), text, "the same again");
    assert!(!folder.join("runs").is_dir() || fs::read_dir(folder.join("runs")).unwrap().next().is_none());
}

#[test]
fn figures_are_those_of_the_runs_and_prices_are_those_given() {
    let folder = prepared("json");
    let args = ["choose", "mesh.yaml", "--seeds", "1", "--technologies", "none,sidecar-envoy", "--json"];
    let priced = [&args[..], &["--price-core", "10", "--price-gib", "1"]].concat();
    let output = meshsim(&folder, &priced);
    assert_exit(&output, 0);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [none, envoy] = [0, 1].map(|at| &found["candidates"][at]);
    assert_eq!((&none["technology"], &envoy["technology"]), (&"none".into(), &"sidecar-envoy".into()));
    assert_eq!(none["price"], 0.0);
    let (cores, memory) = (envoy["cores"]["mean"].as_f64().unwrap(), envoy["memory_bytes"]["mean"].as_f64().unwrap());
    // 100 requests a second pass three proxies, of 0.2 ms each; six instances have one of 60 MB each.
    assert!((cores - 0.06).abs() < 0.01 && memory == 360e6, "{cores} {memory}");
    let price = envoy["price"].as_f64().unwrap();
    assert!((price - (10.0 * cores + memory / f64::from(1 << 30))).abs() < 1e-9, "{price}");

    let run = meshsim(&folder, &["run", "mesh.yaml", "--set", "mesh=sidecar-envoy", "--json"]);
    let summary: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(summary["mesh"]["cores_busy"].as_f64(), Some(cores));
    let p90 = summary["loads"][0]["requests"]["latency"]["p90_ns"].as_f64().unwrap() / 1e9;
    assert_eq!(envoy["loads"][0]["p90_s"]["mean"].as_f64(), Some(p90), "{summary}");
}

#[test]
fn wrong_technologies_and_prices_are_told() {
    let folder = prepared("wrong");
    let told = |args: &[&str]| {
        let output = meshsim(&folder, &[&["choose", "mesh.yaml"], args].concat());
        assert_exit(&output, 2);
        stderr(&output)
    };
    assert!(told(&["--technologies", "sidecar-envoi"]).contains("did you mean `sidecar-envoy`?"));
    assert!(told(&["--price-core", "-1"]).contains("write a number from 0 on"));
    let output = meshsim(&folder, &["choose", "-"]);
    assert_exit(&output, 2);
    assert!(stderr(&output).contains("give a file"), "{}", stderr(&output));
}
