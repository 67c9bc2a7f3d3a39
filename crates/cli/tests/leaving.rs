//! Nodes that are asked to leave during the run, with real processes and signals.

mod common;

use std::fs;

use common::cluster::{Cluster, Process};
use common::{assert_exit, json, meshsim, one_line, pause, signal, until};
use serde_json::Value;

/// Three nodes with room for all instances on two of them. A node's timeout for another is far below the duration of a
/// test.
const ROOMY: &str = "
name: roomy
seed: 3
duration: 600s
control: { heartbeat: 500ms, missed: 4, debounce: 50ms }
nodes: [ { name: node, count: 3, cores: 8 } ]
services:
  front: { instances: 3, capacity: 50, start_delay: 500ms, drain_delay: 500ms, endpoints: { ask: { script: [ sleep: 20ms, call: back ] } } }
  back: { instances: 1, capacity: 50, start_delay: 500ms, drain_delay: 500ms, endpoints: { answer: { script: [ sleep: 5ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 100/s }, from: 2s }
slo: [ errors < 0.001% ]
";

/// Two nodes of which each is full.
const FULL: &str = "
name: full
seed: 3
duration: 600s
nodes: [ { name: node, count: 2, cores: 1 } ]
services:
  front: { instances: 2, cpu: 1, endpoints: { ask: { script: [ sleep: 20ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 20/s }, from: 1s }
";

#[test]
fn a_leaving_node_fails_no_request_and_its_measurements_are_kept() {
    let mut cluster = Cluster::begin("leaves", ROOMY, 3, &["--trace"], &["--grace", "40"]);
    cluster.is_at(4.0);
    for node in [1, 0] {
        cluster.nodes[node].signal("TERM");
        cluster.node_is(node, "left");
        assert_eq!(cluster.nodes[node].ends(), Some(0), "{}", cluster.nodes[node].said());
        if node == 1 {
            // It is back, in another incarnation, and takes over the other's instances.
            let name = ["--name", "node-1"];
            cluster.nodes[1] =
                Process::start(&cluster.folder, "again", &[&["node", "--join", &cluster.joins][..], &name].concat());
            cluster.node_is(1, "alive");
        }
    }
    // Longer than the coordinator's timeout for silent nodes.
    let now = cluster.status()["time_s"].as_f64().unwrap();
    cluster.is_at(now + 3.0);
    cluster.node_is(0, "left");
    let text = meshsim(&cluster.folder, &["ctl", "--to", &cluster.gateway, "status"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("left"));

    let summary = cluster.end();
    assert_eq!(
        cluster.coordinator.child.try_wait().unwrap().unwrap().code(),
        Some(130),
        "{}",
        cluster.coordinator.said()
    );
    let requests = &summary["loads"][0]["requests"];
    let done = requests["done"].as_u64().unwrap();
    assert!(done > 400, "{requests}");
    assert_eq!(requests["failed"], 0, "{requests}");
    let departures = summary["external"]["departures"].as_array().unwrap();
    let shown: Vec<_> = departures.iter().map(|it| (it["actor"].as_str().unwrap(), it["back_s"].is_f64())).collect();
    assert_eq!(shown, [("node-1", true), ("node-0", false)]);
    assert_eq!((&summary["gaps"], &summary["external"]["restarts"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    // The figures include those of the two incarnations that are gone.
    let front = summary["services"].as_array().unwrap().iter().find(|it| it["name"] == "front").unwrap();
    assert!(front["done"].as_u64().unwrap() >= done, "{front}");
    let report = String::from_utf8(fs::read(cluster.folder.join("coordinator.out")).unwrap()).unwrap();
    assert!(one_line(&report).contains("node-0 left at "), "{report}");
    assert!(!report.contains("lost"), "{report}");

    let replayed = meshsim(&cluster.folder, &["replay", "run"]);
    assert_exit(&replayed, 0);
}

#[test]
fn a_leaving_node_ends_at_a_second_signal_or_without_a_coordinator() {
    let mut cluster = Cluster::begin("at-once", FULL, 2, &[], &["--grace", "3600"]);
    for node in 0..2 {
        cluster.nodes[node].signal("TERM");
        // There is no room for its instances: it stays.
        cluster.node_is(node, "leaving");
    }
    cluster.nodes[0].signal("TERM");
    assert_eq!(cluster.nodes[0].ends(), Some(130));
    cluster.coordinator.signal("KILL");
    assert_eq!(cluster.nodes[1].ends(), Some(1), "{}", cluster.nodes[1].said());
    assert!(cluster.nodes[1].said().contains("what this process found is lost"), "{}", cluster.nodes[1].said());
}

#[test]
fn a_node_without_room_elsewhere_goes_when_its_grace_is_over() {
    let mut cluster = Cluster::begin("grace", FULL, 2, &[], &["--grace", "1"]);
    cluster.is_at(2.0);
    cluster.nodes[0].signal("TERM");
    assert_eq!(cluster.nodes[0].ends(), Some(0), "{}", cluster.nodes[0].said());
    cluster.node_is(0, "left");
    let summary = cluster.end();
    assert_eq!(summary["external"]["departures"][0]["actor"], "node-0");
    assert_eq!(summary["gaps"], Value::Array(vec![]));
}

#[test]
fn a_node_that_waits_for_the_run_to_begin_goes_at_once() {
    let folder = common::folder("waits", FULL);
    let fixed = ["coordinator", "mesh.yaml", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--out", "run"];
    let coordinator = Process::start(&folder, "coordinator", &fixed);
    let joins = coordinator.says("nodes and clients join at ");
    let mut node = Process::start(&folder, "node", &["node", "--join", &joins, "--name", "node-0"]);
    coordinator.says("is ready, with node-0");
    node.signal("TERM");
    assert_eq!(node.ends(), Some(0), "{}", node.said());
    // And one for which there is no coordinator.
    let mut alone = Process::start(&folder, "alone", &["node", "--join", "127.0.0.1:1"]);
    alone.says("waiting for it");
    alone.signal("TERM");
    assert_eq!(alone.ends(), Some(0), "{}", alone.said());
}

#[test]
fn a_child_of_a_live_run_can_be_asked_to_go() {
    let folder = common::folder("child", ROOMY);
    let args = ["live", "mesh.yaml", "--http", "127.0.0.1:0", "--out", "run", "--grace", "40", "--no-progress"];
    let mut live = Process::start(&folder, "live", &args);
    live.says("the run begins");
    pause(500);
    let child = until("the process of node-2", || {
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (parent == live.child.id() && line.contains("--name=node-2") && line.contains("--grace=40")).then_some(pid)
        })
    });
    signal(child, "TERM");
    live.says(&format!("the process of node-2 (pid {child}) left at "));
    live.signal("TERM");
    live.ends();
    let summary = json(&folder.join("run/summary.json"));
    assert_eq!(summary["external"]["departures"][0]["actor"], "node-2");
}
