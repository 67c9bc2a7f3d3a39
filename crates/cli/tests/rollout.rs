//! Updates of a mesh that runs live, with real processes.

mod common;

use std::fs;
use std::path::Path;

use common::live_run::Run;
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

/// A service at zero, whose callers hold the requests of a second and a half until Knative has brought an instance.
const FROM_ZERO: &str = "
name: from-zero
seed: 3
duration: 12s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  web:
    instances: 0
    capacity: 10
    start_delay: 1s
    endpoints: { get: { script: [ sleep: 20ms ] } }
    autoscale: { knative: { concurrency: 10, stable_window: 4s, panic_window: 1s, scale_to_zero_grace_period: 1s } }
load:
  users: { to: web, arrivals: { constant: 20/s }, from: 1s, for: 3s, timeout: 5s }
";

#[test]
fn a_live_service_at_zero_holds_requests_as_a_simulated_one_does() {
    let folder = common::folder("from-zero", FROM_ZERO);
    for how in ["run", "live"] {
        let mut args = vec![how, "mesh.yaml", "--no-progress", "--trace", "--out", how];
        args.extend((how == "live").then_some("--no-http"));
        assert_exit(&meshsim(&folder, &args), 0);
        let summary = json(&folder.join(how).join("summary.json"));
        let load = &summary["loads"][0]["requests"];
        assert_eq!((&load["done"], &load["failed"]), (&60.into(), &0.into()), "{how}: {load}");
        assert!(load["policies"]["held"].as_u64() >= Some(15), "{how}: {load}");
        let decisions = summary["autoscalers"][0]["decisions"].as_array().unwrap();
        let steps = |of: &serde_json::Value| (of["from"].as_u64(), of["to"].as_u64());
        assert_eq!(steps(&decisions[0]), (Some(0), Some(1)), "{how}: {decisions:?}");
        assert_eq!(decisions.last().unwrap()["to"], 0, "{how}: {decisions:?}");
        let events = std::fs::read_to_string(folder.join(how).join("events.jsonl")).unwrap();
        assert!(
            events.contains("\"autoscaled\"") && events.contains("autoscaler of web: 0 to 1 instances"),
            "{events}"
        );
        let output = meshsim(&folder, &["trace", "request", how, "users/0"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("waiting for an instance of web"), "{text}");
        assert_exit(&meshsim(&folder, &["verify", how, "--no-progress"]), 0);
    }
}

#[test]
fn a_live_autoscaler_is_switched_off_and_on_by_ctl() {
    let text = SCALED.replace("duration: 8s", "duration: 14s").replace("for: 7s", "for: 13s");
    let folder = common::folder("switched", &text.replace("from: 500ms", "from: 3s"));
    let args = ["live", "mesh.yaml", "--no-progress", "--http", "127.0.0.1:0", "--out", "live"];
    let run = Run::open_in(folder.clone(), &args);
    run.until_status("the run has begun", |status| status["time_s"].as_f64().is_some_and(|at| at > 0.5));
    assert!(run.ctl_says(&["autoscale", "web", "off"]).starts_with("begun: "));
    run.until_status("requests queue", |status| status["time_s"].as_f64().is_some_and(|at| at > 7.0));
    assert!(run.ctl_says(&["autoscale", "web", "on"]).starts_with("begun: "));
    let (code, text) = run.ctl_complains(&["autoscale", "wep", "off"]);
    assert!(code == 2 && text.contains("did you mean `web`?"), "{text}");
    let (code, said) = run.ended();
    assert_eq!(code, 0, "{said}");

    let summary = json(&folder.join("live/summary.json"));
    let switched = summary["operations"].as_array().unwrap().iter().filter(|it| it["kind"] == "set");
    let switched: Vec<f64> = switched.map(|it| it["began_s"].as_f64().unwrap()).collect();
    let autoscaler = &summary["autoscalers"][0];
    let decisions = autoscaler["decisions"].as_array().unwrap();
    assert!(switched.len() == 2 && autoscaler["off"].as_u64() > Some(0) && !decisions.is_empty(), "{autoscaler}");
    let is_while_off = |at: f64| (switched[0] + 1.0..switched[1]).contains(&at);
    assert!(!decisions.iter().any(|it| is_while_off(it["at_s"].as_f64().unwrap())), "{switched:?} {autoscaler}");
}
