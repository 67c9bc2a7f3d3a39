//! `meshsim trace --follow`: the records of a run while it is written.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{assert_exit, meshsim, one_line, stderr, stdout, until};
use serde_json::Value;

/// A live run of some seconds with two nodes, one of which is down for a while.
const MESH: &str = "
name: followed
seed: 5
duration: 5s
nodes: [ { name: left }, { name: right } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: { to: back, timeout: 80ms } ] } } }
  back: { instances: 2, capacity: 4, endpoints: { get: { script: [ work: 2ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 100/s }, timeout: 300ms }
faults:
  - { at: 2s, for: 1s, crash: right }
slo: [ errors < 90% ]
";

/// The part of a record that does not depend on its number.
fn key(line: &str) -> String {
    let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let of = |field: &str| record[field].to_string();
    [of("t_virtual_ns"), of("actor"), of("kind"), record["message"]["id"].to_string()].join(" ")
}

fn counted<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    lines.for_each(|line| *counts.entry(key(line)).or_default() += 1);
    counts
}

#[test]
fn a_live_run_is_followed_from_its_processes_and_nothing_is_missing() {
    let folder = common::folder("follow-live", MESH);
    let mut live = common::command(&folder, &["live", "mesh.yaml", "--trace", "--out", "run", "--no-progress"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut follow = until("the run is being written", || {
        let mut follow = common::command(&folder, &["trace", "run", "--follow", "--jsonl"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(follow.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        if first.is_empty() {
            let _ = follow.wait();
            return None;
        }
        Some((follow, out, first))
    });
    // The first line came while the run goes on.
    assert!(live.try_wait().unwrap().is_none(), "the run has ended already");
    let mut lines = vec![std::mem::take(&mut follow.2)];
    lines.extend(follow.1.lines().map(Result::unwrap));
    assert!(follow.0.wait().unwrap().success());
    assert!(live.wait().unwrap().code().is_some_and(|code| [0, 98].contains(&code)));

    let whole = meshsim(&folder, &["trace", "run", "--jsonl"]);
    assert_exit(&whole, 0);
    let whole = stdout(&whole);
    assert_eq!(counted(lines.iter().map(String::as_str)), counted(whole.lines()));
    // A message is never there before it was sent.
    let mut sent = std::collections::BTreeSet::new();
    for line in &lines {
        let record: Value = serde_json::from_str(line).unwrap();
        match record["kind"].as_str() {
            Some("send") => _ = sent.insert(record["message"]["id"].to_string()),
            Some("deliver") => assert!(sent.contains(&record["message"]["id"].to_string()), "{line}"),
            _ => {}
        }
    }
    assert!(!folder.join("run/trace.parts").exists(), "the parts are merged, and gone");
}

#[test]
fn an_actor_of_a_live_run_is_shown_as_it_was() {
    let folder = common::folder("actor-live", MESH);
    let ran = meshsim(&folder, &["live", "mesh.yaml", "--trace", "--out", "run", "--no-progress"]);
    assert!(ran.status.code().is_some_and(|code| [0, 98].contains(&code)), "{}", stderr(&ran));
    let shown = |actor: &str, at: &str| -> Value {
        let output = meshsim(&folder, &["trace", "actor", "run", actor, "--at", at, "--json"]);
        assert_exit(&output, 0);
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    // In the middle of its outage, and what the coordinator knows of it.
    let down = shown("right", "2.6s");
    assert!(down["down_since_ns"].as_u64().is_some_and(|at| (2_000_000_000..2_200_000_000).contains(&at)), "{down}");
    let coordinator = shown("coordinator", "2.6s");
    let of =
        |shown: &Value, node: &str| shown["nodes"].as_array().unwrap().iter().find(|it| it["node"] == node).cloned();
    assert_eq!(of(&coordinator, "right").unwrap()["is_up"], false);
    // At the end it is what the run itself has written.
    let summary = common::json(&folder.join("run/summary.json"));
    let end = format!("{}s", summary["reached_s"]);
    let state = common::json(&folder.join("run/state.json"));
    let node = shown("right", &end);
    assert_eq!(node["steps"][0], state["nodes"]["right"]["applied"], "{state}");
    assert_eq!((&node["down_since_ns"], &node["known_until"]), (&Value::Null, &Value::Null));
    assert!(node["incarnation"].as_u64() == Some(1) && !node["instances"].as_array().unwrap().is_empty(), "{node}");
    let users = shown("users", &end);
    assert_eq!(users["requests_in_flight"], summary["loads"][0]["requests"]["unfinished"]);
    let text = stdout(&meshsim(&folder, &["trace", "actor", "run", "left", "--at", "4s"]));
    assert!(text.starts_with("left at 4.000000s, after ") && text.contains("it thinks"), "{text}");
}

#[test]
fn a_selection_is_followed_with_the_names_of_the_mesh() {
    let folder = common::folder("follow-simulated", MESH);
    // Long enough that chunks are whole before it has ended.
    let args = ["run", "mesh.yaml", "--trace", "--out", "run", "--no-progress", "--set", "duration=600s"];
    let mut run = common::command(&folder, &args).stdout(Stdio::null()).spawn().unwrap();
    let output = until("it is being written", || {
        let output = meshsim(&folder, &["trace", "run", "--follow", "--kind", "deliver", "--where", "service == back"]);
        output.status.success().then_some(output)
    });
    assert!([0, 99].contains(&run.wait().unwrap().code().unwrap()));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert!(lines.iter().all(|line| line.contains("deliver") && line.contains("back.get")), "{:?}", lines.first());
    let ended = meshsim(&folder, &["trace", "run", "--kind", "deliver", "--where", "service == back"]);
    let ended = stdout(&ended);
    assert_eq!(lines, ended.lines().skip(1).take(lines.len()).collect::<Vec<&str>>());
    assert!(lines.len() > 50_000, "{}", lines.len());
}

#[test]
fn a_run_that_is_not_being_written_cannot_be_followed() {
    let folder = common::folder("follow-none", MESH);
    let output = meshsim(&folder, &["trace", "run", "--follow"]);
    assert_exit(&output, 2);
    assert!(one_line(&stderr(&output)).contains("no run is being written as run"), "{}", stderr(&output));
}
