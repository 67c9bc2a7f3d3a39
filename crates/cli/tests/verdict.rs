//! Missing measurements are not a success, and measured requests are counted exactly: SLOs through the real binary.

mod common;

use std::fs;

use common::{assert_exit, folder, json, meshsim, stderr, stdout};
use serde_json::Value;

/// Runs an experiment; its exit code, and its summary.
fn ran(name: &str, mesh: &str, code: i32) -> (Value, String) {
    let folder = folder(&format!("verdict-{name}"), mesh);
    let output = meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "run"]);
    assert_exit(&output, code);
    assert!(fs::exists(folder.join("run/summary.json")).unwrap(), "{}", stderr(&output));
    (json(&folder.join("run/summary.json")), stdout(&output))
}

fn outcomes(summary: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    summary["slo"].as_array().unwrap().iter().map(|slo| (text(&slo["slo"]), text(&slo["outcome"]))).collect()
}

fn of<'a>(summary: &'a Value, slo: &str) -> &'a Value {
    summary["slo"].as_array().unwrap().iter().find(|verdict| verdict["slo"] == slo).unwrap_or_else(|| panic!("{slo}"))
}

#[test]
fn an_slo_counts_requests_and_is_exact_at_its_bound() {
    let mesh = |work: &str, slo: &str| {
        format!(
            "duration: 60s\nnodes: [ {{ name: node, cores: 100 }} ]\nnetwork: {{ latency: 0s, local: 0s }}\n\
             services: {{ s: {{ capacity: 1000, endpoints: {{ go: {{ script: [ sleep: {work} ] }} }} }} }}\n\
             load: {{ users: {{ to: s, arrivals: {{ constant: 200/s }}, from: 1s }} }}\nslo: [ {slo} ]\n"
        )
    };
    for (name, work, bound, above) in [("5ms", "5ms", "5ms", "5.001ms"), ("999ms", "999.9ms", "999.9ms", "1s")] {
        let slo = format!(
            "p99 <= {bound}, max <= {bound}, mean <= {bound}, max <= {bound} from 10s to 20s, \
             mean <= {bound} from 10s to 20s, p99 <= {bound} from 10s to 20s, s p99 <= {bound}, s max <= {bound}, \
             p50 < {above}, p99 >= {bound}"
        );
        let (summary, _) = ran(name, &mesh(work, &slo), 0);
        assert!(outcomes(&summary).iter().all(|(_, outcome)| outcome == "pass"), "{:#?}", summary["slo"]);
    }
    let slo = "p99 < 5ms, max < 5ms, p99 < 5ms from 10s to 20s, p50 > 5ms, p99 <= 4.999999ms";
    let (summary, _) = ran("missed", &mesh("5ms", slo), 99);
    assert!(outcomes(&summary).iter().all(|(_, outcome)| outcome == "fail"), "{:#?}", summary["slo"]);
    assert_eq!(of(&summary, "p99 <= 4.999999ms")["figure_text"], "5ms");
    let (summary, _) = ran("just", &mesh("5.000001ms", "max <= 5ms"), 99);
    assert_eq!(of(&summary, "max <= 5ms")["figure_text"], "5.000001ms", "a missed bound is not shown as equal");
}

#[test]
fn a_part_named_after_a_fault_or_an_operation_has_its_times() {
    let slo = "errors < 1% during outage, errors < 1% from 10.5s to 12s, errors < 1% after outage for 3s, \
               errors < 1% from 12s to 15s, rate > 1/s after grow for 1500ms, rate > 1/s from 5s to 6.5s, \
               within 5ms > 99%, done/offered > 99%, users within 4.999ms > 1%, p99 < 1s after outage for 30s";
    let mesh = format!(
        "duration: 20s\nnodes: [ {{ name: node }} ]\nnetwork: {{ latency: 0s, local: 0s }}\n\
         services: {{ s: {{ capacity: 1000, endpoints: {{ go: {{ script: [ sleep: 5ms ] }} }} }} }}\n\
         operations: [ {{ at: 5s, scale: s, by: 2, times: 1, name: grow }} ]\n\
         faults: [ {{ at: 10.5s, for: 1.5s, crash: node, name: outage }} ]\n\
         load: {{ users: {{ to: s, arrivals: {{ constant: 200/s }}, timeout: 100ms, window: 7s, for: 19s }} }}\nslo: [ {slo} ]\n"
    );
    let (summary, _) = ran("named", &mesh, 99);
    let figure = |slo: &str| of(&summary, slo)["figure"].as_f64().unwrap_or_else(|| panic!("{slo}"));
    for (named, by_times) in [
        ("errors < 1% during outage", "errors < 1% from 10.5s to 12s"),
        ("errors < 1% after outage for 3s", "errors < 1% from 12s to 15s"),
        ("rate > 1/s after grow for 1500ms", "rate > 1/s from 5s to 6.5s"),
        // Answered requests took 5 ms; failed ones were not answered within any time.
        ("within 5ms > 99%", "done/offered > 99%"),
    ] {
        assert_eq!(figure(named), figure(by_times), "{named}");
    }
    assert_eq!(figure("errors < 1% during outage"), 1.0, "{summary:#}");
    assert!(figure("within 5ms > 99%") < 0.95);
    assert_eq!(figure("users within 4.999ms > 1%"), 0.0);
}

#[test]
fn a_part_of_the_run_is_exact_off_the_edges_of_the_windows() {
    let mesh = "duration: 30s\nnodes: [ { name: node } ]\nservices: { s: { capacity: 100, endpoints: { go: {} } } }\n\
                load: { users: { to: s, arrivals: { constant: 200/s }, window: 10s } }\n\
                slo: [ rate from 11s to 13s >= 200/s ]\n";
    let slo = "rate >= 200/s from 11s to 13s, rate <= 200/s from 11s to 13s, rate >= 200/s from 12s to 20s, \
               done/offered >= 1 from 12s to 20s, p99 < 1s from 12.5s to 13.5s, p99 < 1s from 40s to 50s";
    let mesh = mesh.replace("rate from 11s to 13s >= 200/s", slo);
    let (summary, text) = ran("windows", &mesh, 98);
    let all = outcomes(&summary);
    assert!(all[..5].iter().all(|(_, outcome)| outcome == "pass"), "{:#?}", summary["slo"]);
    assert_eq!((all[5].1.as_str(), &summary["outcome"]), ("unknown", &"unknown".into()), "nothing was measured then");
    assert_eq!(of(&summary, "rate >= 200/s from 11s to 13s")["figure"], 200.0);
    assert!(text.contains("UNKNOWN"), "{text}");
}

#[test]
fn the_rate_of_a_load_is_over_the_part_of_the_run_that_it_runs_for() {
    let mesh = "duration: 60s\nnodes: [ { name: node } ]\nservices: { s: { capacity: 100, endpoints: { go: {} } } }\n\
                load: { users: { to: s, from: 5s, arrivals: { stages: [ { for: 10s, rate: 0/s, to: 20/s } ], process: constant } } }\n";
    let (summary, _) = ran("ramp", mesh, 0);
    let load = &summary["loads"][0];
    assert_eq!((&load["from_s"], &load["to_s"]), (&5.0.into(), &15.0.into()));
    assert_eq!(load["requests"]["done_per_s"], 10.0);
}

/// From 3 s on a third of the requests are lost, and their senders have no timeout.
const UNANSWERED: &str = "seed: 3\nduration: 12s\nnodes: [ { name: node, count: 3, cores: 4 } ]\n\
    services: { front: { instances: 3, capacity: 8, endpoints: { ask: { script: [ sleep: 2ms ] } } } }\n\
    load: { users: { to: front, arrivals: { poisson: 100/s }, warmup: 2s } }\n\
    faults: [ { at: FROM, for: 20s, drop: 100%, link: { from: users, to: [NODES] } } ]\n\
    slo: [ errors < 0.5%, p99 < 100ms, unfinished < 1%, done/offered > 99%, p50 < 100ms ]\n";

#[test]
fn a_request_without_an_answer_misses_each_bound_that_it_has_outlived() {
    let mesh = UNANSWERED.replace("FROM", "3s").replace("NODES", "node-1");
    let (summary, text) = ran("unanswered", &mesh, 99);
    assert_eq!(of(&summary, "p99 < 100ms")["outcome"], "fail");
    assert_eq!(of(&summary, "unfinished < 1%")["outcome"], "fail");
    assert_eq!(of(&summary, "done/offered > 99%")["outcome"], "fail");
    assert_eq!(of(&summary, "errors < 0.5%")["outcome"], "unknown", "they might fail");
    assert_eq!(of(&summary, "p50 < 100ms")["outcome"], "pass", "most are answered");
    let latency = &summary["loads"][0]["requests"]["latency"];
    assert_eq!(latency["at_least"], true);
    assert!(latency["max_ns"].as_u64().unwrap() > 5_000_000_000, "{latency}");
    assert_eq!(latency["p99_ns"], Value::Null, "too few were answered to tell");
    assert!(text.contains("at least"), "{text}");
}

#[test]
fn where_nothing_was_answered_nothing_passes() {
    let mesh = UNANSWERED.replace("FROM", "1s").replace("NODES", "node-0, node-1, node-2");
    let (summary, _) = ran("silence", &mesh, 99);
    assert_eq!(of(&summary, "errors < 0.5%")["outcome"], "unknown");
    assert!(outcomes(&summary).iter().all(|(_, outcome)| outcome != "pass"), "{:#?}", summary["slo"]);
}

#[test]
fn a_summary_of_an_earlier_format_is_still_compared() {
    let mesh = "duration: 2s\nnodes: [ { name: node } ]\nservices: { s: { endpoints: { go: {} } } }\n\
                load: { users: { to: s, arrivals: { constant: 10/s } } }\n";
    ran("old", mesh, 0);
    let run = common::folder("verdict-old-again", mesh);
    assert_exit(&meshsim(&run, &["run", "mesh.yaml", "--no-progress", "--out", "a"]), 0);
    assert_exit(&meshsim(&run, &["run", "mesh.yaml", "--no-progress", "--out", "b"]), 0);
    let mut old = json(&run.join("a/summary.json"));
    old["format"] = 1.into();
    old.as_object_mut().unwrap().retain(|key, _| key != "gaps" && key != "outside");
    fs::write(run.join("a/summary.json"), old.to_string()).unwrap();
    assert_exit(&meshsim(&run, &["compare", "a", "b"]), 0);
}
