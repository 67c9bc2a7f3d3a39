//! Settings that are given with `ctl set` while a live run goes on.

mod common;

use common::live_run::Run;
use common::{folder, json};
use serde_json::Value;

/// Each service begins with one value of a setting and gets another.
const MESH: &str = "
name: set
duration: 12s
nodes: [ { name: node, count: 2 } ]
services:
  failing: { capacity: 100, endpoints: { get: { errors: 100%, script: [ sleep: 1ms ] } } }
  slow: { capacity: 100, endpoints: { get: { script: [ sleep: 150ms ] } } }
  hedged: { instances: 2, capacity: 100, endpoints: { get: { script: [ sleep: 150ms ] } } }
  backed: { capacity: 100, endpoints: { get: { errors: 100% } } }
  copied: { capacity: 100, endpoints: { get: {} } }
  pooled: { capacity: 100, connections: { max: 1 }, endpoints: { get: { script: [ sleep: 100ms ] } } }
  spare: { capacity: 100, endpoints: { get: {} } }
load:
  a: { to: failing, arrivals: { constant: 40/s }, retries: 1, retry: { budget: none, base: 1ms } }
  b: { to: slow, arrivals: { constant: 20/s } }
  c: { to: hedged, arrivals: { constant: 20/s }, retry: { budget: none } }
  d: { to: backed, arrivals: { constant: 20/s } }
  e: { to: copied, arrivals: { constant: 20/s } }
  f: { to: pooled, arrivals: { constant: 20/s }, timeout: none }
";

#[test]
fn each_policy_of_calls_is_set_while_a_live_run_goes_on() {
    let folder = folder("each", MESH);
    let args = ["live", "mesh.yaml", "--no-progress", "--http", "127.0.0.1:0", "--out", "live"];
    let run = Run::open_in(folder.clone(), &args);
    run.until_status("requests come", |status| status["time_s"].as_f64().is_some_and(|at| at > 2.5));
    for (path, value) in [
        ("services.failing.retries", "0"),
        ("services.slow.timeout", "50ms"),
        ("services.hedged.hedge", "{ after: 50ms }"),
        ("services.backed.fallback", "static"),
        ("services.copied.mirror", "{ to: spare }"),
        ("services.pooled.connections", "none"),
    ] {
        assert!(run.ctl_says(&["set", path, value]).starts_with("begun: "), "{path}");
    }
    let (code, text) = run.ctl_complains(&["set", "services.failing.retires", "0"]);
    assert!(code == 2 && text.contains("did you mean `retries`?"), "{text}");
    let (code, text) = run.ctl_complains(&["set", "services.failing.retries", "many"]);
    assert!(code == 2 && text.contains("invalid whole number `many`"), "{text}");
    let (code, said) = run.ended();
    assert_eq!(code, 0, "{said}");

    let summary = json(&folder.join("live/summary.json"));
    let begun = summary["operations"].as_array().unwrap().iter().filter(|it| it["kind"] == "set");
    let begun: Vec<f64> = begun.map(|it| it["began_s"].as_f64().unwrap()).collect();
    assert_eq!(begun.len(), 6, "{summary}");
    let (first, last) = begun.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), at| (a.min(*at), b.max(*at)));
    let rows = rows(&folder);
    // Views are repeated each second to those who missed one.
    let sum = |is_after: bool, kind: &str, name: &str, column: &str| -> f64 {
        let is_in =
            |row: &&Row| if is_after { row.from_s >= last + 2.0 && row.to_s <= 11.0 } else { row.to_s <= first };
        let of = rows.iter().filter(|row| row.kind == kind && row.name == name).filter(is_in);
        of.map(|row| row.cells[column].as_f64().unwrap_or(0.0)).sum()
    };
    let both = |kind: &str, name: &str, column: &str| [false, true].map(|is_after| sum(is_after, kind, name, column));
    let sent = both("load", "a", "offered");
    assert!(sent[0] > 30.0 && sent[1] > 100.0, "there is time before and after: {sent:?}");
    let [before, after] = both("service", "failing", "retries");
    assert!(before > 30.0 && after == 0.0, "retries: {before} and {after}");
    let [before, after] = both("load", "b", "timeout");
    assert!(before == 0.0 && after > 50.0 && sum(true, "load", "b", "done") == 0.0, "timeouts: {before} and {after}");
    let [before, after] = both("load", "c", "hedges");
    assert!(before == 0.0 && after > 50.0, "hedges: {before} and {after}");
    let [before, after] = both("load", "d", "done");
    assert!(before == 0.0 && after > 50.0 && sum(true, "load", "d", "failed") == 0.0, "{before} and {after}");
    let [before, after] = both("service", "spare", "offered");
    assert!(before == 0.0 && after > 50.0, "copies: {before} and {after}");
    // One connection carries ten requests a second of twenty; without a limit none waits.
    let slowest = rows.iter().filter(|row| row.kind == "load" && row.name == "f" && row.from_s >= last + 2.0);
    let slowest = slowest.map(|row| row.cells["p50_ns"].as_f64().unwrap_or(0.0) / 1e6).fold(0.0, f64::max);
    assert!(slowest < 200.0, "{slowest} ms");
}

struct Row {
    kind: String,
    name: String,
    from_s: f64,
    to_s: f64,
    cells: Value,
}

/// The rows of `series.csv` of the live run.
fn rows(folder: &std::path::Path) -> Vec<Row> {
    let mut rows = csv::Reader::from_path(folder.join("live/series.csv")).unwrap();
    let headings = rows.headers().unwrap().clone();
    let of = |record: csv::StringRecord| {
        let cells: serde_json::Map<String, Value> = headings
            .iter()
            .zip(&record)
            .map(|(heading, cell)| (heading.to_owned(), cell.parse::<f64>().map_or(Value::from(cell), Value::from)))
            .collect();
        let [from_s, to_s] = ["from_s", "to_s"].map(|key| cells[key].as_f64().unwrap());
        Row { kind: record[0].into(), name: record[2].into(), from_s, to_s, cells: cells.into() }
    };
    rows.records().map(|record| of(record.unwrap())).collect()
}
