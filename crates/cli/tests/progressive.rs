//! Rollouts with analysis, live, beside a simulated run of the same file, and steered by `ctl`: the real binary.

mod common;

use common::live_run::Run;
use common::{assert_exit, json, meshsim};
use serde_json::Value;

/// Version 2 of the service fails every second request. It is found by the first measurement.
const BAD: &str = "
name: bad
seed: 3
duration: 14s
control: { metrics: 250ms }
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  web:
    instances: 4
    capacity: 50
    start_delay: 300ms
    drain_delay: 300ms
    endpoints: { get: { script: [ sleep: 2ms ] } }
    versions: { 2: { endpoints: { get: { errors: 50%, script: [ sleep: 2ms ] } } } }
operations:
  - at: 2s
    rollout: web
    to: 2
    steps: [ set_weight: 20%, pause: 10s ]
    analysis: { metrics: [ errors < 5%, p99 < 10s ], interval: 2s, min_requests: 10 }
    every: 250ms
    abort_scale_down_delay: 1s
load:
  users: { to: web, arrivals: { constant: 200/s }, from: 1s, window: 500ms }
";

/// Kinds of the rollout's entries in their order, a measurement with its verdict.
fn kinds(summary: &Value) -> Vec<String> {
    let entries = summary["operations"][1]["rollout"]["entries"].as_array().expect("it is a rollout");
    let of = |entry: &Value| {
        let verdict = entry["measurement"]["verdict"].as_str().map_or_else(String::new, |it| format!(" {it}"));
        format!("{}{verdict}", entry["kind"].as_str().unwrap_or_default())
    };
    entries.iter().map(of).collect()
}

#[test]
fn a_live_rollout_rolls_back_as_a_simulated_one_does() {
    let folder = common::folder("bad-rollout", BAD);
    for (command, more) in [("run", &["--no-progress"][..]), ("live", &["--no-progress", "--no-http", "--trace"])] {
        let output = meshsim(&folder, &[&[command, "mesh.yaml", "--out", command], more].concat());
        assert_exit(&output, 0);
        let summary = json(&folder.join(command).join("summary.json"));
        let operation = &summary["operations"][1];
        assert_eq!(operation["outcome"], "rolled_back", "{command}: {operation}");
        assert_eq!(kinds(&summary), ["step", "step", "measured failed", "aborted", "rolled_back"], "{command}");
        // One instance came and went: V is that of before.
        assert_eq!((&operation["after"]["version"], &operation["after"]["instances"]), (&1.0.into(), &4.into()));
        // A fifth of the requests of three seconds went to it, and half of these failed.
        let failed = summary["loads"][0]["requests"]["failed"].as_u64().unwrap_or(0);
        assert!((10..140).contains(&failed), "{command}: {failed}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Rollouts") && text.contains("aborted: the analysis failed"), "{command}: {text}");
    }
    // The same rules as in a simulated run hold.
    assert_exit(&meshsim(&folder, &["verify", "live", "--no-progress"]), 0);
    let events = std::fs::read_to_string(folder.join("live/events.jsonl")).unwrap();
    assert!(events.contains(r#""kind":"analysis""#) && events.contains(r#""kind":"rollout""#), "{events}");
}

#[test]
fn a_live_rollout_is_paused_resumed_and_aborted_by_ctl() {
    let run = Run::start("ctl-rollout");
    let (code, text) = run.ctl_complains(&["rollout", "abort", "back"]);
    assert!(code == 1 && text.contains("no rollout"), "{code} {text}");
    let steps = "rollout: back, to: 2, steps: [{ set_weight: 50% }, { pause: {} }, { set_weight: 80% }, { pause: 1h }], \
                 every: 20ms, abort_scale_down_delay: 50ms";
    assert!(run.ctl_says(&["rollout", "start", steps]).starts_with("begun: "));
    let standing = |status: &Value| status["rollouts"][0]["standing"].as_str().unwrap_or_default().to_owned();
    run.until_status("it waits in its second step", |it| {
        standing(it).starts_with("step 2 of 4") && it["rollouts"][0]["paused"] == "step"
    });
    assert!(run.ctl_says(&["status"]).contains("rollout back to 2: step 2 of 4"));
    run.ctl_says(&["rollout", "resume", "back"]);
    run.until_status("it is in its last step", |it| standing(it).starts_with("step 4 of 4"));
    run.ctl_says(&["rollout", "pause", "back"]);
    assert!(run.ctl_says(&["rollout", "status", "back"]).contains("paused by an operation"));
    let (code, _) = run.ctl_complains(&["rollout", "pause", "back"]);
    assert_eq!(code, 1, "it is paused already");
    run.ctl_says(&["rollout", "abort", "back"]);
    let status = run.until_status("it is gone", |it| it["rollouts"][0].is_null());
    assert_eq!((&status["services"][1]["version"], &status["services"][1]["instances"]), (&1.0.into(), &2.into()));
    let text = run.ctl_says(&["rollout", "status"]);
    assert!(text.starts_with("rollout back to 2: aborted") && text.contains("rolled back"), "{text}");
    let all: Value = serde_json::from_str(&run.ctl_says(&["rollout", "status", "--json"])).unwrap();
    assert_eq!(all["operations"][0]["outcome"], "aborted", "{all}");
    run.ctl_says(&["stop"]);
    run.ended();
}
