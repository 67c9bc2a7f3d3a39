//! Updates of a mesh that runs live, with real processes.

mod common;

use std::fs;
use std::path::Path;

use common::{assert_exit, json, meshsim};
use meshsim_report::series::{Kind, Row, read};

/// Beside three instances comes one, for a tenth of the requests. Beside them come two more for all requests, and when
/// these are ready the three go.
const CANARY: &str = "
name: canary
seed: 3
duration: 8s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  web: { instances: 3, capacity: 50, start_delay: 300ms, drain_delay: 300ms, endpoints: { get: { script: [ sleep: 2ms ] } } }
operations:
  - { at: 800ms, update: web, to: 2, strategy: canary, weights: [10%, 100%], every: 3s }
load:
  users: { to: web, arrivals: { constant: 500/s }, from: 500ms, for: 7200ms, window: 200ms }
slo: [ errors < 0.001% ]
";

/// Requests that arrived at instances of a version in the windows between two moments.
fn arrived(rows: &[Row], version: &str, from_s: f64, to_s: f64) -> f64 {
    let is_in =
        |row: &&Row| row.kind == Kind::Version && row.name == version && row.from_s >= from_s && row.to_s <= to_s;
    rows.iter().filter(is_in).map(|row| row.offered as f64).sum()
}

fn rows_of(run: &Path) -> Vec<Row> {
    read(&fs::read(run.join("series.csv")).unwrap()[..]).unwrap().rows
}

#[test]
fn a_live_canary_gets_its_share_of_requests_and_none_fails_at_the_switch() {
    let folder = common::folder("canary", CANARY);
    let output = meshsim(&folder, &["live", "mesh.yaml", "--no-progress", "--no-http", "--out", "live"]);
    assert_exit(&output, 0);

    let summary = json(&folder.join("live/summary.json"));
    let requests = &summary["loads"][0]["requests"];
    assert_eq!((&requests["offered"], &requests["done"]), (&3600.into(), &3600.into()), "{requests}");
    assert_eq!(summary["operations"][1]["outcome"], "reached", "{}", summary["operations"]);

    let rows = rows_of(&folder.join("live"));
    // The canary is ready at 1.1 s, callers know of it soon after, and its share grows when others are ready at 4.1 s.
    let (old, new) = (arrived(&rows, "1", 1.5, 3.9), arrived(&rows, "2", 1.5, 3.9));
    let share = new / (old + new);
    let error = (0.1 * 0.9 / (old + new)).sqrt();
    assert!(old + new > 1000.0 && (share - 0.1).abs() < 4.0 * error, "{new} of {}: {share} +- {error}", old + new);
    // The old ones are told to go at 6.8 s.
    let (old, new) = (arrived(&rows, "1", 7.3, 8.0), arrived(&rows, "2", 7.3, 8.0));
    assert!(old == 0.0 && new > 100.0, "{old} and {new}");
}

/// One instance of two slots for requests that keep four busy; two requests in flight per instance are wanted.
const SCALED: &str = "
name: scaled
seed: 3
duration: 8s
control: { metrics: 250ms }
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  web:
    capacity: 2
    endpoints: { get: { script: [ sleep: 20ms ] } }
    autoscale: { max: 6, concurrency: 2, sync: 500ms, down: { select: disabled } }
load:
  users: { to: web, arrivals: { constant: 200/s }, from: 500ms, for: 7s, window: 200ms }
";

#[test]
fn a_live_autoscaler_adds_the_instances_that_the_load_needs() {
    let folder = common::folder("scaled", SCALED);
    let output = meshsim(&folder, &["live", "mesh.yaml", "--no-progress", "--no-http", "--trace", "--out", "live"]);
    assert_exit(&output, 0);

    let summary = json(&folder.join("live/summary.json"));
    let autoscaler = &summary["autoscalers"][0];
    assert!(autoscaler["up"].as_u64() > Some(0) && autoscaler["down"] == 0, "{autoscaler}");
    assert_eq!(summary["services"][0]["requests"]["failed"]["total"].as_u64().unwrap_or(0), 0);
    // Those that queued at first are served, and the last seconds wait for nothing.
    let rows = rows_of(&folder.join("live"));
    let late = rows.iter().filter(|row| row.kind == Kind::Load && row.from_s >= 6.0 && row.to_s <= 7.4);
    let late: Vec<_> = late.filter_map(|row| row.p50_ns).collect();
    assert!(!late.is_empty() && late.iter().all(|p50| *p50 < 60_000_000), "{late:?}");

    let output = meshsim(&folder, &["trace", "log", "live", "--where", "type == sample"]);
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("autoscaler") && log.contains("sample"), "{log}");
    // The same rules as in a simulated run hold.
    assert_exit(&meshsim(&folder, &["verify", "live", "--no-progress"]), 0);
}
