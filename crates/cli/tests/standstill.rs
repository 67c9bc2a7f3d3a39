//! Real processes that stand still: a process that stood still judges no other, and one that is gone is detected.

mod common;

use common::cluster::Cluster;
use common::{campaign, pause, until};
use serde_json::Value;

/// Three nodes; one that is silent for two seconds is dead.
const MESH: &str = "
name: still
seed: 3
duration: 600s
control: { heartbeat: 500ms, missed: 4 }
nodes: [ { name: node, count: 3, cores: 8 } ]
services:
  front: { instances: 6, capacity: 50, endpoints: { ask: { script: [ sleep: 20ms, call: back ] } } }
  back: { instances: 3, capacity: 50, endpoints: { answer: { script: [ sleep: 5ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 100/s }, from: 1s }
slo: [ errors < 0.001% ]
";

/// Above the timeout for a node, in milliseconds: below and above the timeout of the connections between processes.
const BRIEFLY: u64 = 4_000;
const LONG: u64 = 8_000;

fn repairs(summary: &Value) -> usize {
    summary["operations"].as_array().unwrap().iter().filter(|it| it["kind"] == "repair").count()
}

#[test]
fn a_coordinator_that_stood_still_declares_no_node_dead() {
    let mut cluster = Cluster::begin("coordinator", MESH, 3, &["--trace"], &[]);
    cluster.is_at(2.0);
    for stands_still in [BRIEFLY, LONG].repeat(campaign()) {
        cluster.coordinator.signal("STOP");
        pause(stands_still);
        cluster.coordinator.signal("CONT");
        // It has read what waited and judged by it.
        let now = cluster.status()["time_s"].as_f64().unwrap();
        cluster.is_at(now + 2.0);
        for node in 0..3 {
            assert_eq!(cluster.status()["nodes"][node]["state"], "alive");
        }
    }
    let summary = cluster.end();
    assert_eq!(repairs(&summary), 0, "{}", summary["operations"]);
    let requests = &summary["loads"][0]["requests"];
    assert!(requests["done"].as_u64().unwrap() > 1000, "{requests}");
    assert_eq!((&requests["failed"], &summary["gaps"]), (&0.into(), &Value::Array(vec![])), "{requests}");
}

#[test]
fn a_node_that_stands_still_is_dead_in_time_and_alive_once_it_continues() {
    let mut cluster = Cluster::begin("node", MESH, 3, &[], &[]);
    cluster.is_at(2.0);
    cluster.nodes[1].signal("STOP");
    cluster.node_is(1, "dead");
    // Its instances are started on other nodes.
    until("all are ready again", || {
        let status = cluster.status();
        status["services"].as_array()?.iter().all(|it| it["ready"] == it["instances"]).then_some(())
    });
    assert_eq!(cluster.status()["nodes"][1]["instances"], 0);
    cluster.nodes[1].signal("CONT");
    cluster.node_is(1, "alive");
    let summary = cluster.end();
    assert!(repairs(&summary) > 0);
    assert_eq!(summary["gaps"], Value::Array(vec![]), "it has lost nothing");
}

#[test]
fn a_run_whose_generator_stood_still_is_invalid_whatever_its_figures() {
    let mut cluster = Cluster::begin("generator", MESH, 3, &[], &[]);
    cluster.is_at(2.0);
    cluster.client.signal("STOP");
    pause(BRIEFLY);
    cluster.client.signal("CONT");
    let now = cluster.status()["time_s"].as_f64().unwrap();
    cluster.is_at(now + 2.0);
    cluster.coordinator.signal("TERM");
    assert_eq!(cluster.coordinator.ends(), Some(98));
    let summary = common::json(&cluster.folder.join("run/summary.json"));
    let why = summary["invalid"].as_str().unwrap();
    assert!(why.contains("of the requests of users were sent more than 100ms later than planned"), "{why}");
    assert_eq!(summary["outcome"], "unknown", "{}", summary["slo"]);
    let requests = &summary["loads"][0]["requests"];
    assert!(requests["lag"]["max_ns"].as_u64().unwrap() > 3_000_000_000, "{requests}");
    // Its late requests count in the latencies from the planned time, and not in those from the send.
    assert!(requests["latency"]["max_ns"].as_u64() > requests["uncorrected"]["max_ns"].as_u64(), "{requests}");
    let said = std::fs::read_to_string(cluster.folder.join("coordinator.out")).unwrap();
    assert!(said.contains("  INVALID: "), "{said}");
}

#[test]
fn a_node_that_dies_while_the_coordinator_stands_still_is_found_dead() {
    let mut cluster = Cluster::begin("both", MESH, 3, &[], &[]);
    cluster.is_at(2.0);
    cluster.coordinator.signal("STOP");
    cluster.nodes[2].signal("STOP");
    pause(BRIEFLY);
    cluster.coordinator.signal("CONT");
    cluster.node_is(2, "dead");
    for node in 0..2 {
        assert_eq!(cluster.status()["nodes"][node]["state"], "alive");
    }
    // One repair for each service, when the one was found; none for another.
    let summary = cluster.end();
    assert_eq!(repairs(&summary), 2, "{}", summary["operations"]);
}
