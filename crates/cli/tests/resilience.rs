//! Policies in live runs, with real processes over real sockets: they do what they do in virtual time, within the
//! noise.

mod common;

use common::{assert_exit, folder, json, meshsim};
use serde_json::Value;

/// The summaries of a simulated and of a live run of a mesh.
fn both(name: &str, mesh: &str) -> [Value; 2] {
    let folder = folder(name, mesh);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "sim"]), 0);
    assert_exit(&meshsim(&folder, &["live", "mesh.yaml", "--no-progress", "--no-http", "--out", "live"]), 0);
    ["sim", "live"].map(|run| json(&folder.join(run).join("summary.json")))
}

/// A number in a summary; 0 where it is missing.
fn count(summary: &Value, path: &str) -> f64 {
    summary.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Both runs counted about the same, and at least `least`. The requests and their times are the same in both; only
/// which of them meet differs, by the noise of clocks.
#[track_caller]
fn assert_alike(runs: &[Value; 2], path: &str, least: f64) {
    let [sim, live] = [0, 1].map(|run| count(&runs[run], path));
    assert!(sim >= least, "{path}: {sim} in virtual time");
    assert!((sim - live).abs() <= 4.0 * (sim + live).sqrt(), "{path}: {sim} in virtual time, {live} live");
}

#[test]
fn a_breaker_and_a_limit_refuse_alike() {
    // Erlang's formula B, at the caller and at the instance: 28 % of 300 each.
    let mesh = "
duration: 7s
nodes: [ { name: node, count: 2 } ]
services:
  guarded: { capacity: 100, breaker: { max_connections: none, max_requests: 5 }, endpoints: { get: { script: [ sleep: { exponential: 100ms } ] } } }
  limited: { capacity: 100, limit: 5, endpoints: { get: { script: [ sleep: { exponential: 100ms } ] } } }
load:
  a: { to: guarded, arrivals: { poisson: 50/s }, from: 500ms, for: 6s }
  b: { to: limited, arrivals: { poisson: 50/s }, from: 500ms, for: 6s }
";
    let runs = both("breaker", mesh);
    assert_alike(&runs, "/loads/0/requests/policies/overflow_requests", 40.0);
    assert_alike(&runs, "/loads/0/requests/failures/refused", 40.0);
    assert_alike(&runs, "/services/1/policies/limited", 40.0);
}

#[test]
fn outlier_detection_ejects_alike() {
    let mesh = "
duration: 9s
nodes: [ { name: node, count: 2 } ]
services:
  web:
    instances: 4
    capacity: 100
    outlier_detection: { always_eject_one_host: true, interval: 1s, base_ejection_time: 3s }
    endpoints: { get: { script: [ sleep: 5ms ] } }
load:
  users: { to: web, arrivals: { poisson: 200/s }, from: 500ms, for: 8s }
faults:
  - { at: 1s, for: 20s, service: web, instances: 1, errors: 100% }
";
    let runs = both("outliers", mesh);
    for run in &runs {
        // Five failures each time, of 1,600 requests; and it comes back and goes again.
        let ejections = count(run, "/loads/0/requests/policies/ejections");
        assert!((2.0..=3.0).contains(&ejections), "{ejections}");
        let failed = count(run, "/loads/0/requests/failures/error");
        assert!((5.0 * ejections..5.0 * ejections + 20.0).contains(&failed), "{failed}");
    }
    assert_alike(&runs, "/loads/0/requests/done", 1_000.0);
}

#[test]
fn hedges_win_and_cancel_alike() {
    let mesh = "
duration: 7s
nodes: [ { name: node, count: 2 } ]
services:
  web: { instances: 4, capacity: 100, endpoints: { get: { script: [ sleep: { exponential: 50ms } ] } } }
load:
  users: { to: web, arrivals: { poisson: 100/s }, from: 500ms, for: 5s, retry: { budget: none }, hedge: { after: 50ms } }
";
    let runs = both("hedges", mesh);
    for what in ["hedges", "hedges_won", "attempts_unneeded"] {
        assert_alike(&runs, &format!("/loads/0/requests/policies/{what}"), 60.0);
    }
    // Each loser is cancelled.
    assert_alike(&runs, "/services/0/expired", 100.0);
    for run in &runs {
        assert_eq!(count(run, "/loads/0/requests/failed"), 0.0);
        let mean = count(run, "/loads/0/requests/latency/mean_ns") / 1e6;
        // 50 ms (1 - e^-1 / 2).
        assert!((mean - 40.8).abs() < 8.0, "{mean} ms");
    }
}

#[test]
fn a_zone_that_dies_is_left_alike() {
    let mesh = "
duration: 9s
nodes: [ { name: a, count: 2, zone: a, cores: 1 }, { name: b, count: 2, zone: b, cores: 1 } ]
control: { heartbeat: 200ms }
services:
  web: { instances: 4, cpu: 1, capacity: 100, zone_routing: failover, endpoints: { get: { script: [ sleep: 5ms ] } } }
load:
  users: { to: web, arrivals: { poisson: 100/s }, from: 500ms, for: 7s, timeout: 200ms, zone: a }
faults:
  - { at: 3s, for: 20s, crash: zone a }
slo: [ errors > 1%, errors < 25%, errors < 1% from 5s to 7s ]
";
    // Its calls stay in the zone; for some 0.7 s after the crash they get no answer, then the other zone has them all.
    let runs = both("zones", mesh);
    for run in &runs {
        let failed = count(run, "/loads/0/requests/failed");
        assert!((30.0..150.0).contains(&failed), "{failed}");
    }
    assert_alike(&runs, "/loads/0/requests/done", 500.0);
}

#[test]
fn mirrors_and_fallbacks_count_alike() {
    let mesh = "
duration: 6s
nodes: [ { name: node, count: 2 } ]
services:
  web: { capacity: 100, mirror: { to: shadow, share: 30% }, endpoints: { get: { errors: 20%, script: [ sleep: 2ms ] } } }
  shadow: { capacity: 100, endpoints: { get: { script: [ sleep: 5ms ] } } }
load:
  users: { to: web, arrivals: { poisson: 100/s }, from: 500ms, for: 5s, fallback: static }
";
    let runs = both("mirror", mesh);
    // Draws are the same in both.
    for path in ["/services/1/arrived", "/loads/0/requests/degraded", "/loads/0/requests/policies/fallbacks"] {
        assert_eq!(count(&runs[0], path), count(&runs[1], path), "{path}");
        assert!(count(&runs[0], path) > 50.0, "{path}");
    }
    assert_eq!(count(&runs[0], "/loads/0/requests/failed"), 0.0);
}
