//! Nodes that are drained, and pools of nodes that grow, while a live run goes on.

mod common;

use common::live_run::Run;
use common::{assert_exit, folder, json, meshsim};
use serde_json::Value;

/// Two services on two nodes, one of which may miss no instance; and a pool whose nodes are in reserve.
const MESH: &str = "
name: drained
duration: 14s
nodes:
  - { name: node, count: 3, cores: 2 }
  - { name: pool, count: 2, cores: 4, autoscale: { delay: 1s, scan: 500ms } }
services:
  free: { instances: 3, capacity: 50, start_delay: 500ms, endpoints: { get: { script: [ sleep: 2ms ] } } }
  held:
    instances: 3
    capacity: 50
    disruption_budget: { max_unavailable: 0 }
    endpoints: { get: { script: [ sleep: 2ms ] } }
  large: { instances: 0, cpu: 4, endpoints: { get: {} } }
operations:
  - { at: 3s, drain: node-0, for: 3s, timeout: 2s, every: 500ms }
  - { at: 3s, extend: large, to: 1, rate: 1 }
load:
  a: { to: free, arrivals: { constant: 100/s }, from: 1s, for: 12s }
  b: { to: held, arrivals: { constant: 100/s }, from: 1s, for: 12s }
";

fn drain_of<'s>(summary: &'s Value, service: &str, node: &str) -> &'s Value {
    let all = summary["operations"].as_array().unwrap().iter();
    let mut of = all.filter(|it| it["kind"] == "drain" && it["service"] == service && it["drain"]["node"] == node);
    of.next().unwrap_or_else(|| panic!("no drain of {service} from {node}: {summary}"))
}

#[test]
fn nodes_are_drained_and_ordered_in_a_live_run_as_in_a_simulated_one() {
    let folder = folder("drained", MESH);
    let args = ["live", "mesh.yaml", "--no-progress", "--trace", "--http", "127.0.0.1:0", "--out", "live"];
    let run = Run::open_in(folder.clone(), &args);
    let state = |status: &Value, node: usize| status["nodes"][node]["state"].as_str().map(str::to_owned);
    run.until_status("it is drained", |status| state(status, 0).as_deref() == Some("cordoned"));
    run.until_status("it is over", |status| status["time_s"].as_f64().is_some_and(|at| at > 7.0));
    assert!(run.ctl_says(&["drain", "node-1", "--every", "500ms"]).starts_with("begun: "));
    run.until_status("it is drained", |status| state(status, 1).as_deref() == Some("cordoned"));
    let (code, text) = run.ctl_complains(&["drain", "nod-1"]);
    assert!(code == 2 && text.contains("did you mean `node-1`?"), "{text}");
    let (code, said) = run.ended();
    assert_eq!(code, 0, "{said}");
    assert_exit(&meshsim(&folder, &["verify", "live", "--no-progress"]), 0);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run"]), 0);

    for name in ["live", "run"] {
        let summary = json(&folder.join(name).join("summary.json"));
        let free = drain_of(&summary, "free", "node-0");
        assert!(free["outcome"] == "reached" && free["drain"]["evicted"] == 1, "{name}: {free}");
        let held = drain_of(&summary, "held", "node-0");
        assert!(held["outcome"] == "stuck" && held["residual"] == -1.0 && held["drain"]["left"] == 1, "{name}: {held}");
        for load in summary["loads"].as_array().unwrap() {
            assert_eq!(load["requests"]["failed"]["total"].as_u64().unwrap_or(0), 0, "{name}: {load}");
        }
        let events = std::fs::read_to_string(folder.join(name).join("events.jsonl")).unwrap();
        let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let at = |kind: &str, node: &str| {
            let mut of = events.iter().filter(|it| it["kind"] == kind && it["node"] == node);
            of.next().and_then(|it| it["at_s"].as_f64()).unwrap_or_else(|| panic!("{name}: no {kind} of {node}"))
        };
        let cordoned = at("node_uncordoned", "node-0") - at("node_cordoned", "node-0");
        assert!((cordoned - 3.0).abs() < 0.3, "{name}: {cordoned}");
        let delay = at("node_added", "pool-0") - at("node_ordered", "pool-0");
        assert!((delay - 1.0).abs() < 0.3, "{name}: {delay}");
    }
    let summary = json(&folder.join("live/summary.json"));
    assert_eq!(drain_of(&summary, "free", "node-1")["manual"], true);
}
