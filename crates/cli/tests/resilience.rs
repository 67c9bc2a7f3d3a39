//! Policies in live runs, with real processes over real sockets: they do what they do in virtual time, within the
//! noise.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{assert_exit, folder, json, meshsim};
use serde_json::Value;

/// The summaries of a simulated and of a live run of a mesh.
fn both(name: &str, mesh: &str) -> [Value; 2] {
    let folder = both_in(name, mesh);
    ["sim", "live"].map(|run| json(&folder.join(run).join("summary.json")))
}

/// A simulated and a live run of a mesh, as `sim` and `live` in a folder.
fn both_in(name: &str, mesh: &str) -> PathBuf {
    let folder = folder(name, mesh);
    assert_exit(&meshsim(&folder, &["run", "mesh.yaml", "--no-progress", "--out", "sim"]), 0);
    assert_exit(&meshsim(&folder, &["live", "mesh.yaml", "--no-progress", "--no-http", "--out", "live"]), 0);
    folder
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
    assert_near(path, sim, live);
}

/// Two counts are within the noise of clocks.
#[track_caller]
fn assert_near(what: &str, sim: f64, live: f64) {
    assert!((sim - live).abs() <= 4.0 * (sim + live).sqrt(), "{what}: {sim} in virtual time, {live} live");
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

#[test]
fn token_buckets_and_shedding_refuse_alike() {
    // Both buckets let 40 of 100 a second through; a class may fill two of four places.
    let mesh = "
duration: 7s
nodes: [ { name: node, count: 2 } ]
services:
  each: { capacity: 100, rate_limit: { rate: 40/s, burst: 5 }, endpoints: { get: { script: [ sleep: 5ms ] } } }
  ours: { capacity: 100, rate_limit: { rate: 40/s, burst: 5, at: caller }, endpoints: { get: { script: [ sleep: 5ms ] } } }
  shared:
    capacity: 4
    queue: 0
    shed: { priority: { critical: 100%, sheddable: 50% } }
    endpoints: { get: { script: [ sleep: { exponential: 30ms } ] } }
  late:
    capacity: 1
    shed: { time_left: 30ms }
    endpoints: { get: { script: [ sleep: 20ms ] } }
load:
  a: { to: each, arrivals: { poisson: 100/s }, from: 500ms, for: 6s }
  b: { to: ours, arrivals: { poisson: 100/s }, from: 500ms, for: 6s }
  c: { to: shared, arrivals: { poisson: 40/s }, from: 500ms, for: 6s }
  d: { to: shared, arrivals: { poisson: 40/s }, from: 500ms, for: 6s, priority: sheddable }
  e: { to: late, arrivals: { poisson: 45/s }, from: 500ms, for: 6s, timeout: 100ms, deadline: 100ms }
";
    let runs = both("shedding", mesh);
    assert_alike(&runs, "/loads/0/requests/failures/refused", 250.0);
    assert_alike(&runs, "/services/0/policies/rate_limited", 250.0);
    assert_alike(&runs, "/loads/1/requests/policies/rate_limited", 250.0);
    assert_alike(&runs, "/services/2/policies/shed_priority", 30.0);
    assert_alike(&runs, "/services/3/policies/shed_deadline", 20.0);
    assert_alike(&runs, "/loads/4/requests/done", 150.0);
}

#[test]
fn splits_and_subsets_choose_alike() {
    let mesh = "
duration: 7s
nodes: [ { name: plain, count: 2 }, { name: beta, count: 2, labels: { track: beta } } ]
services:
  front: { instances: 2, capacity: 100, endpoints: { get: { script: [ call: back.get ] } } }
  back:
    instances: 4
    capacity: 100
    split: [ { weight: 3 }, { labels: { track: beta }, weight: 1 } ]
    endpoints: { get: { script: [ sleep: 2ms ] } }
  few: { instances: 4, capacity: 100, subset: 1, balancer: round_robin, endpoints: { get: { script: [ sleep: 2ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 100/s }, from: 500ms, for: 6s }
  direct: { to: few, arrivals: { poisson: 100/s }, from: 500ms, for: 6s }
";
    let folder = both_in("splits", mesh);
    let runs = arrived(&folder);
    for run in &runs {
        // A quarter goes to the nodes with the label alone, and the others have their share of the rest.
        let of = |name: &str| run[&("back".to_owned(), name.to_owned())];
        let [plain, beta] = [of("plain-0#0") + of("plain-1#0"), of("beta-0#0") + of("beta-1#0")];
        assert!((0.56..0.69).contains(&(beta / (plain + beta))), "{plain} {beta}");
        // The client has one instance of its own.
        let used = run.iter().filter(|((service, _), count)| service == "few" && **count > 0.0);
        assert_eq!(used.count(), 1, "{run:?}");
    }
    assert_alike_by_instance(&runs);
}

#[track_caller]
fn assert_alike_by_instance(runs: &[BTreeMap<(String, String), f64>; 2]) {
    for (service, instance) in runs[0].keys() {
        let name = (service.clone(), instance.clone());
        let [sim, live] = [0, 1].map(|run| runs[run].get(&name).copied().unwrap_or(0.0));
        assert_near(&format!("{service} {instance}"), sim, live);
    }
}

#[test]
fn each_balancer_chooses_alike() {
    let balancers = [
        ("random", "random"),
        ("turns", "round_robin"),
        ("least", "least_request"),
        ("ewma", "p2c_peak_ewma"),
        ("ring", "{ ring_hash: { keys: { count: 50 } } }"),
        ("maglev", "{ maglev: { keys: { count: 50 } } }"),
        ("board", "{ least_loaded: { choices: 2, refresh: 100ms } }"),
    ];
    let service = |(name, balancer): (&str, &str)| {
        format!(
            "  {name}: {{ instances: 3, capacity: 2, balancer: {balancer}, endpoints: {{ get: {{ script: [ sleep: {{ exponential: 30ms }} ] }} }} }}\n"
        )
    };
    let load = |(name, _): (&str, &str)| {
        format!("  {name}-users: {{ to: {name}, arrivals: {{ poisson: 60/s }}, from: 500ms, for: 6s }}\n")
    };
    let (services, loads) = (balancers.map(service).concat(), balancers.map(load).concat());
    // One of three replicas is slow: those that look at it avoid it.
    let mesh = format!(
        "duration: 7s\nnodes: [ {{ name: node, count: 3 }} ]\nservices:\n{services}load:\n{loads}faults:\n{}",
        balancers
            .map(|(name, _)| format!("  - {{ at: 0s, for: 7s, service: {name}, instances: 1, latency: 100ms }}\n"))
            .concat()
    );
    let folder = both_in("balancers", &mesh);
    let runs = arrived(&folder);
    assert_alike_by_instance(&runs);
    let share = |of: &str| {
        let counts = runs[1].iter().filter(|((service, _), _)| service == of).map(|(_, count)| *count);
        counts.clone().fold(f64::INFINITY, f64::min) / counts.sum::<f64>()
    };
    assert!(share("random") > 0.25 && share("turns") > 0.3, "{} {}", share("random"), share("turns"));
    assert!(share("least") < 0.25 && share("ewma") < 0.25, "{} {}", share("least"), share("ewma"));
}

#[test]
fn connections_budgets_and_the_newest_first_hold_alike() {
    let mesh = "
duration: 7s
nodes: [ { name: node, count: 2 } ]
services:
  pooled: { capacity: 100, connections: { max: 2, set_up: 5ms, idle: 50ms }, endpoints: { get: { script: [ sleep: { exponential: 30ms } ] } } }
  shaky: { capacity: 100, endpoints: { get: { errors: 50%, script: [ sleep: 2ms ] } } }
  newest: { capacity: 1, queue: 30, shed: { lifo_after: 20ms }, endpoints: { get: { script: [ sleep: 20ms ] } } }
load:
  a: { to: pooled, arrivals: { poisson: 50/s }, from: 500ms, for: 6s }
  b: { to: shaky, arrivals: { poisson: 100/s }, from: 500ms, for: 6s, retries: 3, retry: { window_budget: { ttl: 1s, ratio: 0.2, min_per_s: 1 } } }
  c: { to: newest, arrivals: { poisson: 75/s }, from: 500ms, for: 6s, timeout: 200ms }
";
    let runs = both("connections", mesh);
    let mean = |run: usize| count(&runs[run], "/loads/0/requests/latency/mean_ns") / 1e6;
    assert!(mean(0) > 40.0 && (mean(0) - mean(1)).abs() < 0.3 * mean(0), "{} and {} ms", mean(0), mean(1));
    assert_alike(&runs, "/loads/1/requests/retries", 80.0);
    assert_alike(&runs, "/loads/1/requests/done", 300.0);
    assert_alike(&runs, "/loads/2/requests/done", 200.0);
    // Under overload the oldest wait until their callers have given up, and the newest are answered at once.
    let p50 = [0, 1].map(|run| count(&runs[run], "/loads/2/requests/latency/p50_ns") / 1e6);
    assert!(p50.iter().all(|p50| *p50 < 80.0), "{p50:?} ms");
}

#[test]
fn codel_refuses_alike() {
    // One slot of 10 ms carries a hundred requests a second; 150 come.
    let mesh = "
duration: 8s
nodes: [ { name: node } ]
services:
  web: { queue: 5000, shed: { codel: {} }, endpoints: { get: { script: [ sleep: 10ms ] } } }
load:
  users: { to: web, arrivals: { constant: 150/s }, from: 500ms, for: 6s }
";
    let runs = both("codel", mesh);
    assert_alike(&runs, "/services/0/policies/shed_delay", 150.0);
    assert_alike(&runs, "/loads/0/requests/done", 500.0);
    // First in, first out would let the last ones wait for three seconds.
    let max = [0, 1].map(|run| count(&runs[run], "/loads/0/requests/latency/max_ns") / 1e6);
    assert!(max.iter().all(|max| *max < 1_500.0), "{max:?} ms");
}

#[test]
fn slow_start_and_zone_weights_share_alike() {
    let mesh = "
duration: 9s
nodes: [ { name: east, zone: east }, { name: west, zone: west } ]
services:
  young: { instances: 1, capacity: 100, slow_start: { window: 4s }, balancer: round_robin, endpoints: { get: { script: [ sleep: 2ms ] } } }
  uneven: { instances: 2, capacity: 100, zone_weights: { east: 3 }, balancer: round_robin, endpoints: { get: { script: [ sleep: 2ms ] } } }
operations: [ { at: 2s, extend: young, to: 2, rate: 1 } ]
load:
  a: { to: young, arrivals: { poisson: 150/s }, from: 2500ms, for: 4s }
  b: { to: uneven, arrivals: { poisson: 100/s }, from: 500ms, for: 6s }
";
    let folder = both_in("slow-start", mesh);
    let runs = arrived(&folder);
    assert_alike_by_instance(&runs);
    for run in &runs {
        let shares = |service: &str| {
            let counts: Vec<f64> = run.iter().filter(|((of, _), _)| of == service).map(|(_, count)| *count).collect();
            assert_eq!(counts.len(), 2, "{run:?}");
            counts.iter().map(|count| count / counts.iter().sum::<f64>()).collect::<Vec<_>>()
        };
        // The weight of the new instance rises evenly from 0.2 to 1, about: a third of the requests, and not a half.
        let young = shares("young").into_iter().fold(1.0, f64::min);
        assert!((0.28..0.44).contains(&young), "{young}");
        // Three of four, to the east.
        assert!((shares("uneven")[0] - 0.75).abs() < 0.05, "{:?}", shares("uneven"));
    }
}

#[test]
fn pending_calls_and_retries_of_a_breaker_overflow_alike() {
    let mesh = "
duration: 7s
nodes: [ { name: node, count: 2 } ]
services:
  queued: { capacity: 100, breaker: { max_connections: 5, max_pending_requests: 3 }, endpoints: { get: { script: [ sleep: { exponential: 100ms } ] } } }
  shaky: { capacity: 100, breaker: { max_retries: 1 }, endpoints: { get: { errors: 100%, script: [ sleep: 50ms ] } } }
load:
  a: { to: queued, arrivals: { poisson: 50/s }, from: 500ms, for: 6s }
  b: { to: shaky, arrivals: { poisson: 50/s }, from: 500ms, for: 6s, retries: 2, retry: { budget: none } }
";
    let runs = both("overflow", mesh);
    assert_alike(&runs, "/loads/0/requests/policies/overflow_pending", 30.0);
    assert_alike(&runs, "/loads/0/requests/done", 150.0);
    // One retry at a time: some twenty a second.
    assert_alike(&runs, "/loads/1/requests/retries", 60.0);
    assert_alike(&runs, "/loads/1/requests/policies/overflow_retries", 100.0);
}

#[test]
fn retries_keep_to_their_conditions_and_leave_the_failed_instance_alike() {
    // One of three instances fails all that it gets.
    let mesh = "
duration: 7s
nodes: [ { name: node, count: 3 } ]
services:
  web: { instances: 3, capacity: 100, balancer: random, endpoints: { get: { script: [ sleep: 5ms ] } } }
load:
  other: { to: web, arrivals: { poisson: 50/s }, from: 500ms, for: 6s, retries: 1, retry: { budget: none, other_instance: 20 } }
  same: { to: web, arrivals: { poisson: 50/s }, from: 500ms, for: 6s, retries: 1, retry: { budget: none } }
  never: { to: web, arrivals: { poisson: 50/s }, from: 500ms, for: 6s, retries: 1, retry: { budget: none, on: [ timeout ] } }
faults:
  - { at: 0s, for: 7s, service: web, instances: 1, errors: 100% }
";
    let runs = both("conditions", mesh);
    assert_alike(&runs, "/loads/0/requests/retries", 60.0);
    assert_alike(&runs, "/loads/1/requests/retries", 60.0);
    for run in &runs {
        let of = |load: usize, what: &str| count(run, &format!("/loads/{load}/requests/{what}"));
        let share = |load| of(load, "failed") / of(load, "offered");
        // A retry elsewhere succeeds; one at random meets the same instance a third of the times; an error is no
        // timeout.
        assert_eq!((of(0, "failed"), of(2, "retries")), (0.0, 0.0));
        assert!((share(1) - 1.0 / 9.0).abs() < 0.07, "{}", share(1));
        assert!((share(2) - 1.0 / 3.0).abs() < 0.11, "{}", share(2));
    }
}

#[test]
fn a_zone_with_fewer_instances_sends_its_surplus_away_alike() {
    // Half of the callers and a third of the instances: a third of all requests stays, half of the rest goes away.
    let mesh = "
duration: 8s
nodes: [ { name: a, count: 2, zone: a, cores: 1 }, { name: b, count: 4, zone: b, cores: 1 } ]
services:
  web: { instances: 6, cpu: 1, capacity: 100, zone_routing: aware, endpoints: { get: { script: [ sleep: 2ms ] } } }
load:
  near: { to: web, arrivals: { poisson: 75/s }, from: 1s, for: 6s, zone: a }
  far: { to: web, arrivals: { poisson: 75/s }, from: 1s, for: 6s, zone: b }
";
    let runs = arrived(&both_in("aware", mesh));
    assert_alike_by_instance(&runs);
    for run in &runs {
        let all: f64 = run.values().sum();
        let least = run.values().copied().fold(f64::INFINITY, f64::min);
        // All instances are loaded alike, whichever zone they are in.
        assert!(all > 700.0 && least / all > 0.12, "{run:?}");
    }
}

/// Requests that arrived at each instance of both runs in a folder, by service and name.
fn arrived(folder: &Path) -> [BTreeMap<(String, String), f64>; 2] {
    ["sim", "live"].map(|run| {
        let mut all = BTreeMap::new();
        let mut rows = csv::Reader::from_path(folder.join(run).join("series.csv")).unwrap();
        let headings = rows.headers().unwrap().clone();
        let offered = headings.iter().position(|heading| heading == "offered").unwrap();
        for row in rows.records().map(Result::unwrap).filter(|row| &row[0] == "instance") {
            *all.entry((row[1].to_owned(), row[2].to_owned())).or_insert(0.0) += row[offered].parse::<f64>().unwrap();
        }
        all
    })
}

#[test]
fn a_gradient_finds_a_limit_alike() {
    // Four slots of 10 ms carry 400 requests a second; 600 come.
    let mesh = "
duration: 12s
nodes: [ { name: node } ]
services:
  web:
    capacity: 4
    queue: 1000
    limit: { gradient: { min_rtt_interval: 30s, min_rtt_request_count: 20, concurrency_update_interval: 100ms } }
    endpoints: { get: { script: [ sleep: { exponential: 10ms } ] } }
load:
  users: { to: web, arrivals: { poisson: 600/s }, from: 500ms, for: 11s, timeout: 2s }
";
    let runs = both("gradient", mesh);
    for run in &runs {
        // Without a limit the queue would grow until callers give up.
        let (done, p50) = (count(run, "/loads/0/requests/done"), count(run, "/loads/0/requests/latency/p50_ns") / 1e6);
        assert!(done > 2_500.0 && p50 < 100.0, "{done} in {p50} ms");
        assert!(count(run, "/services/0/policies/limited") > 1_000.0);
    }
    let [sim, live] = [0, 1].map(|run| count(&runs[run], "/loads/0/requests/done"));
    // It follows measured latencies, and those of a busy machine are longer.
    assert!((sim - live).abs() < 0.2 * sim, "{sim} in virtual time, {live} live");
}
