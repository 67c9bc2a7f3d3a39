//! Closed loads, and SLOs over stretches and over recovery, in runs of real processes.

mod common;

use common::{assert_exit, folder, json, meshsim, stderr, stdout};
use serde_json::Value;

/// For a second all requests at `back` fail.
const MESH: &str = "
name: closed
seed: 5
duration: 10s
nodes: [ { name: node, count: 2 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: back.get ] } } }
  back: { instances: 2, capacity: 8, endpoints: { get: { script: [ work: 2ms ] } } }
load:
  users: { to: front.show, users: 4, think: 40ms }
  crowd: { to: front.show, arrivals: { constant: 40/s } }
faults: [ { at: 4s, for: 1s, service: back.get, errors: 100%, name: broken } ]
slo:
  - errors < 30%
  - errors < 30% any 5s
  - users errors < 30% any 500ms
  - back errors < 30% any 1s
  - back errors < 30% any 5s
  - recovery < 4s after broken
";

fn outcomes(summary: &Value) -> Vec<(&str, &str)> {
    summary["slo"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["slo"].as_str().unwrap(), it["outcome"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_closed_load_and_slos_over_parts_mean_the_same_live_and_simulated() {
    let folder = folder("slos", MESH);
    let simulated = meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "simulated"]);
    assert_exit(&simulated, 99);
    let live = meshsim(&folder, &["live", "mesh.yaml", "--no-progress", "--no-http", "--out", "live"]);
    assert_exit(&live, 99);
    let (simulated, summary) = (json(&folder.join("simulated/summary.json")), json(&folder.join("live/summary.json")));
    if !summary["invalid"].is_null() {
        println!("this machine was too slow for the run");
        return;
    }
    // In the second of the fault all fail; over five seconds that is a fifth.
    let wanted = ["pass", "pass", "fail", "fail", "pass", "pass"];
    assert!(outcomes(&summary).iter().map(|(_, outcome)| *outcome).eq(wanted), "{:#?}", summary["slo"]);
    assert_eq!(outcomes(&summary), outcomes(&simulated));

    // Four users with 40 ms to think never ask for more than a hundred a second together.
    let users = &summary["loads"][0];
    assert_eq!(users["closed"]["users"], 4, "{users:#}");
    let offered = users["requests"]["offered"].as_u64().unwrap();
    assert!((100..=1_004).contains(&offered), "{offered}");
    assert!(summary["loads"][1]["closed"].is_null());
    let text = stdout(&live);
    assert!(text.contains("Closed loops") && text.contains("Generators"), "{text}");

    // Each load was sent by a process, whose lateness is told.
    let generators = summary["generators"].as_array().unwrap();
    let mut loads: Vec<&str> =
        generators.iter().flat_map(|it| it["loads"].as_array().unwrap()).map(|it| it.as_str().unwrap()).collect();
    loads.sort_unstable();
    assert_eq!(loads, ["crowd", "users"], "{generators:#?}");
    let sent: u64 = generators.iter().map(|it| it["sent"].as_u64().unwrap()).sum();
    let all: u64 =
        summary["loads"].as_array().unwrap().iter().map(|it| it["requests"]["offered"].as_u64().unwrap()).sum();
    assert_eq!(sent, all, "{}", stderr(&live));
    assert_eq!(simulated["generators"], serde_json::json!([]), "a simulated client is never late");
}
