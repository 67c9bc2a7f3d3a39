//! What `check` expects of a run.

use std::path::Path;

use meshsim_experiment::check::{Findings, check};
use meshsim_experiment::parse;

fn findings(text: &str) -> Findings {
    check(&parse("mesh.yaml", text, Path::new("."), &[]).unwrap_or_else(|problems| panic!("{problems}")))
}

fn warnings(text: &str) -> Vec<(&'static str, Option<u32>, String)> {
    findings(text).warnings.into_iter().map(|w| (w.kind, w.line, w.message)).collect()
}

/// DeathStarBench's hotel reservation: its calls as andrewh/motel verified them, its mix as its wrk2 script has it.
const HOTEL: &str = "
nodes: [ { name: node, count: 4 } ]
network: { latency: 0ms, local: 0ms }
services:
  frontend:
    endpoints:
      search: { script: [ work: 5ms, call: search, call: reservation.check, call: profile ] }
      recommend: { script: [ work: 3ms, call: recommendation, call: profile ] }
      reserve: { script: [ work: 5ms, call: user, call: reservation.make ] }
      login: { script: [ work: 3ms, call: user ] }
  search: { endpoints: { nearby: { script: [ work: 8ms, parallel: [ { call: geo }, { call: rate } ] ] } } }
  geo: { endpoints: { locate: { script: [ work: 15ms, call: mongodb.find ] } } }
  rate: { endpoints: { get: { script: [ work: 3ms, call: memcached, call: mongodb.find ] } } }
  profile: { endpoints: { lookup: { script: [ work: 3ms, call: memcached, call: mongodb.find ] } } }
  recommendation: { endpoints: { get: { script: [ work: 3ms, call: mongodb.find ] } } }
  user: { endpoints: { authenticate: { script: [ work: 3ms, call: memcached, call: mongodb.find ] } } }
  reservation:
    endpoints:
      check: { script: [ work: 3ms, call: memcached, call: mongodb.find ] }
      make: { script: [ work: 3ms, call: memcached, call: mongodb.insert ] }
  memcached: { endpoints: { get: { script: [ work: 1ms ] } } }
  mongodb: { endpoints: { find: { script: [ work: 2ms ] }, insert: { script: [ work: 3ms ] } } }
";

#[test]
fn what_is_there_at_the_start_must_hold_what_is_deployed_then() {
    let text = |nodes: &str, deploy: &str| {
        format!(
            "nodes: [ {{ name: n, cores: 4 }}, {nodes} ]\noperations: [ {{ {deploy}, deploy: a }} ]\n\
             services: {{ a: {{ instances: 6, cpu: 1, endpoints: {{ get: {{ script: [ work: 1ms ] }} }} }} }}\n"
        )
    };
    let more = "{ name: m, cores: 4, joins: 10s }";
    let size = findings(&text(more, "at: 10s")).size;
    assert_eq!((size.nodes, size.nodes_later), (2, 1));
    assert_eq!(warnings(&text(more, "at: 10s")), []);
    let early = "the instances reserve 6 cores at 9s, and the nodes that are there by then have 4: some find no place \
                 until others join";
    assert_eq!(warnings(&text(more, "at: 9s")), [("cores", None, early.to_owned())]);
    let spare = "{ name: m, cores: 4, joins: never }";
    let never = "the instances reserve 6 cores, and the nodes have 4: some find no place";
    assert_eq!(warnings(&text(spare, "at: 9s")), [("cores", None, never.to_owned())]);
    let late = "{ name: m, count: 3, cores: 4, joins: 60s }, { name: k, cores: 4, joins: 10s }";
    let told = "`m-0` and 2 others join after the end of the run";
    assert_eq!(warnings(&text(late, "at: 10s")), [("late", None, told.to_owned())]);
}

#[test]
fn a_spare_changes_no_estimate() {
    let unloaded = |nodes: &str| {
        let text = format!(
            "nodes: [ {{ name: near, zone: a, count: 2 }}, {{ name: far, zone: b, count: 2 }}, {nodes} ]\n\
             network: {{ local: 1ms, zones: {{ a: {{ b: 50ms }}, b: {{ a: 50ms }} }} }}\n\
             services: {{ a: {{ endpoints: {{ get: {{ script: [ call: b ] }} }} }}, b: {{ endpoints: {{ get: {{}} }} }} }}\n\
             load: {{ users: {{ to: a, arrivals: {{ poisson: 1/s }} }} }}\n"
        );
        findings(&text).loads[0].unloaded
    };
    let without = unloaded("");
    assert_eq!(unloaded("{ name: spare, zone: b, count: 20, joins: never }"), without);
    assert_ne!(unloaded("{ name: more, zone: b, count: 20 }"), without);
}

#[test]
fn visits_per_request_are_those_of_the_call_graph() {
    let load = |mix: &str| {
        format!("{HOTEL}load: {{ users: {{ to: frontend, arrivals: {{ poisson: 10/s }}, mix: {mix} }} }}\n")
    };
    let visits = |mix: &str| findings(&load(mix)).loads[0].visits;
    assert_eq!((visits("{ search: 1 }"), visits("{ recommend: 1 }")), (13.0, 6.0));
    assert_eq!((visits("{ reserve: 1 }"), visits("{ login: 1 }")), (7.0, 4.0));
    let mixed = visits("{ search: 60, recommend: 39, reserve: 0.5, login: 0.5 }");
    assert!((mixed - 10.195).abs() < 1e-12, "{mixed}");
}

#[test]
fn utilisation_is_what_arrives_times_what_it_holds_over_what_there_is() {
    let text = "
nodes: [ { name: n } ]
network: { latency: 0ms, local: 1ms }
services:
  front: { instances: 2, capacity: 10, endpoints: { get: { script: [ work: 4ms, parallel: [ { call: back }, { work: 1ms } ] ] } } }
  back: { capacity: 4, endpoints: { get: { script: [ work: 3ms ] } } }
load: { users: { to: front, arrivals: { constant: 100/s } } }
";
    let findings = findings(text);
    let [front, back] = &findings.services[..] else { panic!() };
    assert!((back.held - 0.003).abs() < 1e-9 && (back.utilisation - 100.0 * 0.003 / 4.0).abs() < 1e-9);
    // 4 ms of its own, then the longer branch: 3 ms there and 1 ms each way.
    assert!((front.held - 0.009).abs() < 1e-9 && (front.utilisation - 100.0 * 0.009 / 20.0).abs() < 1e-9);
    assert!((findings.loads[0].unloaded - 0.011).abs() < 1e-9);
    assert!(findings.warnings.is_empty(), "{:?}", findings.warnings);
}

#[test]
fn the_mean_rate_of_a_load_is_that_of_its_stages() {
    let text = "
duration: 20s
nodes: [ { name: n } ]
services: { a: { capacity: 9, endpoints: { get: { script: [ work: 1ms ] } } } }
load:
  waves: { to: a, arrivals: { stages: [ { for: 10s, rate: 0/s, to: 100/s }, { for: 5s, rate: 100/s } ] } }
  short: { to: a, from: 5s, for: 5s, arrivals: { stages: [ { for: 10s, rate: 0/s, to: 100/s } ] } }
";
    let rates: Vec<f64> = findings(text).loads.iter().map(|load| load.rate).collect();
    assert_eq!(rates, [50.0, 25.0]);
}

const SMALL: &str = "
nodes: [ { name: n, count: 2, cores: 2 } ]
services: { a: { instances: 1, endpoints: { get: { script: [ work: 1ms ] } } } }
";

#[test]
fn a_rate_above_the_bound_of_its_delay_is_warned_of_and_one_below_is_not() {
    let extend = |rate: &str, every: &str, feedback: &str| {
        let network = "network: { latency: 500ms }\n";
        format!(
            "{SMALL}{network}operations: [ {{ extend: a, to: 9, rate: {rate}, every: {every}, feedback: {feedback} }} ]\n"
        )
    };
    // A round trip is one second.
    let unstable = warnings(&extend("1.1", "1s", "observed"));
    assert_eq!((unstable[0].0, unstable[0].1), ("unstable", Some(5)));
    assert_eq!(
        unstable[0].2,
        "extend a at rate 1.1, 1 step late, does not settle: it is stable below 1.000000, and fastest without overshoot at 0.250000"
    );
    assert!(warnings(&extend("0.99", "1s", "observed")).is_empty());
    assert!(warnings(&extend("1.1", "1s", "commanded")).is_empty());
    assert!(warnings(&extend("0.9", "0.5s", "observed")).iter().any(|w| w.0 == "unstable"));
    // Delays of 0 to 5 steps, as control theory has them: 2 sin(pi / (2 (2d + 1))) and d^d / (d + 1)^(d + 1).
    let table = [
        ("2s", 2.0, 1.0),
        ("1s", 1.0, 0.25),
        ("0.5s", 0.618034, 0.148148),
        ("0.3s", 0.445042, 0.105469),
        ("0.25s", 0.347296, 0.081920),
        ("0.2s", 0.284630, 0.066980),
    ];
    for (delay, (every, bound, fastest)) in table.into_iter().enumerate() {
        let at = |rate: f64| findings(&extend(&rate.to_string(), every, "observed"));
        let gain = &at(0.01).gains[0];
        assert_eq!(gain.delay as usize, delay);
        assert!((gain.bound - bound).abs() < 1e-6 && (gain.fastest - fastest).abs() < 1e-6, "{gain:?}");
        assert!(at(bound - 1e-3).warnings.is_empty(), "{delay}");
        assert_eq!(at(bound + 1e-3).warnings[0].kind, "unstable");
    }
    assert!(warnings(&extend("2", "1s", "commanded")).iter().any(|w| w.0 == "unstable"));
}

#[test]
fn a_rounding_that_stops_short_is_warned_of() {
    let extend =
        |rounding: &str| format!("{SMALL}operations: [ {{ extend: a, to: 10, rate: 0.3, rounding: {rounding} }} ]\n");
    assert_eq!(
        warnings(&extend("floor"))[0].2,
        "extend a stops at 7 of 10: `rounding: floor` takes no step there at rate 0.3; `away` arrives"
    );
    assert!(warnings(&extend("nearest"))[0].2.starts_with("extend a stops at 9 of 10"));
    for arrives in ["away", "carry", "stochastic"] {
        assert!(warnings(&extend(arrives)).is_empty(), "{arrives}");
    }
}

#[test]
fn what_cannot_work_is_warned_of() {
    let kinds =
        |more: &str| -> Vec<&'static str> { warnings(&format!("{SMALL}{more}")).into_iter().map(|w| w.0).collect() };
    let load = |rest: &str| format!("load: {{ users: {{ to: a, arrivals: {{ poisson: 10/s }}, {rest} }} }}\n");
    assert_eq!(kinds("load: { users: { to: a, arrivals: { poisson: 1001/s } } }\n"), ["overload"]);
    assert_eq!(kinds(&load("timeout: none")), [""; 0]);
    assert_eq!(kinds(&format!("network: {{ drop: 1% }}\n{}", load("timeout: none"))), ["no_timeout"]);
    assert_eq!(kinds(&format!("network: {{ loss: 1% }}\n{}", load("timeout: none"))), [""; 0], "late, not lost");
    assert_eq!(kinds(&format!("faults: [ {{ for: 1s, crash: n-0 }} ]\n{}", load("timeout: none"))), ["no_timeout"]);
    assert_eq!(kinds(&format!("faults: [ {{ for: 1s, crash: n-0 }} ]\n{}", load("timeout: 1s"))), [""; 0]);
    assert_eq!(kinds("operations: [ { at: 60s, undeploy: a } ]\n"), ["late"]);
    assert_eq!(kinds("faults: [ { at: 61s, for: 1s, crash: n-0 } ]\n"), ["late"]);
    assert_eq!(kinds(&load("from: 2m")), ["late"]);
    assert_eq!(kinds(&load("warmup: 60s")), ["unmeasured"]);
    assert_eq!(kinds(&load("window: 100us")), ["windows"]);
    let stages = |rest: &str| {
        format!(
            "load: {{ users: {{ to: a, {rest}, arrivals: {{ stages: [ {{ for: 50s, rate: 1/s }}, {{ for: 11s, rate: 2/s }} ] }} }} }}\n"
        )
    };
    assert_eq!(kinds(&stages("timeout: 1s")), ["cut"]);
    assert_eq!(kinds(&stages("for: 59s")), [""; 0]);
    assert_eq!(kinds(&format!("duration: 61s\n{}", stages("timeout: 1s"))), [""; 0]);
    assert_eq!(kinds("operations: [ { extend: a, to: 100, rate: 1 } ]\n"), ["cores"]);
    assert_eq!(kinds("operations: [ { update: a, to: 2, rate: 2 } ]\n"), ["unstable"]);
    assert_eq!(kinds("operations: [ { update: a, to: 2, rate: 1.9 } ]\n"), [""; 0]);
    // Four cores: for 40 instances of a tenth, not for 41; and none for one that wants three.
    let reserve = |what: &str| SMALL.replace("instances: 1", what);
    assert_eq!(warnings(&reserve("instances: 40")), []);
    let of = |text: String| warnings(&text).into_iter().map(|w| w.2).collect::<Vec<_>>();
    assert_eq!(
        of(reserve("instances: 41")),
        ["the instances reserve 4.1 cores, and the nodes have 4: some find no place"]
    );
    assert_eq!(
        of(reserve("instances: 1, cpu: 3")),
        ["an instance of `a` reserves 3 cores, and no node has more than 2"]
    );
    assert_eq!(
        of(format!("{SMALL}load: {{ users: {{ to: a, arrivals: {{ poisson: 1500/s }} }} }}\n")),
        [
            "`a` is overloaded as deployed: 1500.0 requests/s hold a slot for 1ms each, which takes 1.5 slots, and it has 1"
        ]
    );
    assert_eq!(kinds("slo: [ p99 < 1s ]\n"), ["no_load"]);
}

#[test]
fn a_circle_that_is_left_sooner_or_later_is_told_with_its_visits() {
    let text = |probability: &str, count: u32| {
        format!(
            "nodes: [ {{ name: n }} ]\nservices:\n  a: {{ capacity: 99, endpoints: {{ get: {{ script: [ work: 1ms, call: {{ to: a, probability: {probability}, count: {count} }} ] }} }} }}\nload: {{ users: {{ to: a, arrivals: {{ poisson: 1/s }} }} }}\n"
        )
    };
    let findings = findings(&text("50%", 1));
    assert!((findings.loads[0].visits - 2.0).abs() < 1e-9);
    assert_eq!(findings.warnings[0].kind, "circle");
    assert!(findings.warnings[0].message.contains("2.000 of `users`"), "{}", findings.warnings[0].message);
    assert_eq!(warnings(&text("60%", 2))[0].0, "endless");
}
