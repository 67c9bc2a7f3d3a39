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
