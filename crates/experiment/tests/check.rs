//! Predictions of `check`.

use std::path::Path;

use meshsim_experiment::check::{CheckReport, check};
use meshsim_experiment::parse;

fn findings(text: &str) -> CheckReport {
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
    let early = "the instances reserve 6 cores at 9s but the nodes joined by then have 4: some will be unplaced \
                 until others join";
    assert_eq!(warnings(&text(more, "at: 9s")), [("cores", None, early.to_owned())]);
    let spare = "{ name: m, cores: 4, joins: never }";
    let never = "the instances reserve 6 cores but the nodes have 4: some will be unplaced";
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
    assert!((back.slot_time - 0.003).abs() < 1e-9 && (back.utilisation - 100.0 * 0.003 / 4.0).abs() < 1e-9);
    // 4 ms of its own, then the longer branch: 3 ms there and 1 ms each way.
    assert!((front.slot_time - 0.009).abs() < 1e-9 && (front.utilisation - 100.0 * 0.009 / 20.0).abs() < 1e-9);
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
    let crash = |rest: &str| kinds(&format!("faults: [ {{ for: 1s, crash: n-0 }} ]\n{}", load(rest)));
    assert_eq!(crash("timeout: none"), ["full", "no_timeout"], "the only instance is on n-0");
    assert_eq!(crash("timeout: 1s"), ["full"]);
    assert_eq!(kinds("operations: [ { at: 60s, undeploy: a } ]\n"), ["late"]);
    assert_eq!(kinds("faults: [ { at: 61s, for: 1s, crash: n-0 } ]\n"), ["late"]);
    assert_eq!(kinds(&load("from: 2m")), ["late"]);
    assert_eq!(kinds(&load("warmup: 60s")), ["unmeasured"]);
    assert_eq!(kinds(&load("window: 100us")), [""; 0], "windows double in length");
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
        ["the instances reserve 4.1 cores but the nodes have 4: some will be unplaced"]
    );
    assert_eq!(
        of(reserve("instances: 1, cpu: 3")),
        ["an instance of `a` reserves 3 cores, and no node has more than 2"]
    );
    assert_eq!(
        of(format!("{SMALL}load: {{ users: {{ to: a, arrivals: {{ poisson: 1500/s }} }} }}\n")),
        ["`a` is overloaded as deployed: 1500.0 requests/s with a slot time of 1ms need 1.5 slots; it has 1"]
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

fn near(got: f64, right: f64) {
    assert!((got - right).abs() <= 1e-6 * right.abs().max(1.0), "{got}, not {right}");
}

const STILL: &str = "network: { latency: 0ms, local: 0ms }\n";

#[test]
fn retries_in_each_of_three_tiers_multiply() {
    let tier = |callee: &str| {
        format!(
            "{{ instances: 2, capacity: 1000, endpoints: {{ get: {{ script: [ call: {{ to: {callee}, timeout: none, retries: 3, \
             retry: {{ base: 1ms, cap: 1ms, budget: 100%, budget_min: 100000 }} }} ] }} }} }}"
        )
    };
    let text = format!(
        "nodes: [ {{ name: n, count: 4 }} ]\nservices:\n  edge: {}\n  mid: {}\n  deep: {}\n  db: {{ instances: 2, capacity: 1000, \
         endpoints: {{ get: {{ errors: 100%, script: [ work: 1ms ] }} }} }}\n\
         load: {{ u: {{ to: edge, arrivals: {{ constant: 10/s }}, timeout: none }} }}\n",
        tier("mid"),
        tier("deep"),
        tier("db")
    );
    let findings = findings(&text);
    near(findings.services[3].rate, 640.0);
    near(findings.loads[0].visits, 85.0);
    near(findings.loads[0].errors, 1.0);
    let calls: Vec<f64> = findings.edges.iter().map(|edge| edge.calls).collect();
    assert_eq!(calls, [4.0, 16.0, 64.0]);
    assert!(findings.loads[0].is_exact, "{:?}", findings.not_modelled);
}

#[test]
fn a_failed_call_ends_the_script_and_retries_make_it_rarer() {
    let text = |retry: &str| {
        format!(
            "{STILL}nodes: [ {{ name: n, count: 4 }} ]\nservices:\n  front: {{ capacity: 1000, endpoints: {{ get: {{ script: [ call: {{ to: \
             flaky, retries: 2, retry: {retry} }}, call: {{ to: solid, count: 2 }} ] }} }} }}\n  flaky: {{ capacity: 1000, endpoints: \
             {{ get: {{ errors: 50% }} }} }}\n  solid: {{ capacity: 1000, endpoints: {{ get: {{}} }} }}\n\
             load: {{ u: {{ to: front, arrivals: {{ constant: 100/s }} }} }}\n"
        )
    };
    let free = findings(&text("{ budget: 100%, budget_min: 100000 }"));
    let rates: Vec<f64> = free.services.iter().map(|service| service.rate).collect();
    // 1 + 1/2 + 1/4 tries, and seven of eight requests get past them.
    for (rate, right) in rates.into_iter().zip([100.0, 175.0, 175.0]) {
        near(rate, right);
    }
    near(free.loads[0].errors, 0.125);
    assert!(free.loads[0].is_exact);
    // Two thirds of the calls in flight are being retried at times: a budget of 0 allows none of these retries.
    let held = findings(&text("{ budget: 0%, budget_min: 1 }"));
    assert!(!held.loads[0].is_exact);
    assert!(held.not_modelled[0].starts_with("Retry budgets: that of `front.get` for `flaky.get`"), "{held:?}");
}

#[test]
fn a_dependency_slower_than_the_timeout_costs_it_for_each_try() {
    let text = "
nodes: [ { name: n, count: 3, cores: 8 } ]
services:
  page: { instances: 2, capacity: 100, endpoints: { get: { script: [ call: { to: reviews, timeout: 3s, retries: 1, optional: true, retry: { base: 1ms, cap: 1ms } } ] } } }
  reviews: { instances: 2, capacity: 100, endpoints: { get: { script: [ work: 1ms, call: { to: ratings, timeout: 10s } ] } } }
  ratings: { instances: 2, capacity: 100, endpoints: { get: { script: [ sleep: 7s, work: 1ms ] } } }
load: { u: { to: page, arrivals: { constant: 1/s }, timeout: 30s } }
";
    let findings = findings(text);
    let load = &findings.loads[0];
    assert!((load.unloaded - 6.0).abs() < 0.002 && (load.worst - 6.0).abs() < 0.003, "{load:?}");
    let by_service: Vec<f64> = load.visits_by_service.iter().map(|(_, visits)| *visits).collect();
    assert_eq!((by_service, load.errors), (vec![1.0, 2.0, 2.0], 0.0));
    assert_eq!(
        findings.warnings.iter().map(|w| (w.kind, w.message.as_str())).collect::<Vec<_>>(),
        [(
            "timeout",
            "calls from `page.get` to `reviews.get` always time out: an answer takes at least 7s, and the timeout is 3s"
        )]
    );
    assert!(findings.not_modelled[0].starts_with("Retry budgets"), "the default budget cuts 6 of 100 retries");
}

#[test]
fn a_version_that_an_operation_brings_is_looked_at() {
    let text = |after: &str| {
        format!(
            "{STILL}{SMALL}  b: {{ capacity: 1000, endpoints: {{ get: {{ script: [ sleep: 2s ] }} }} }}\n\
             load: {{ u: {{ to: a, arrivals: {{ constant: 1/s }} }} }}\noperations: [ {after} ]\n"
        )
        .replace(
            "services: { a: { instances: 1, endpoints: { get: { script: [ work: 1ms ] } } } }",
            "services:\n  a: { capacity: 1000, endpoints: { get: { script: [ work: 1ms ] } }, versions: { 2: { endpoints: { get: { script: [ call: { to: b, timeout: 1s } ] } } } } }",
        )
    };
    assert_eq!(warnings(&text("{ at: 0s, deploy: a }")), []);
    let told = warnings(&text("{ at: 0s, deploy: a }, { at: 9s, update: a, to: 2, rate: 1 }"));
    assert_eq!(
        told[0].2,
        "calls from `a.get` to `b.get` always time out with version 2 of `a`: an answer takes at least 2s, and the timeout is 1s"
    );
}

#[test]
fn geo_fills_first_in_the_hotel() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hotel/mesh.yaml");
    let hotel = check(&meshsim_experiment::load(&path, &[]).unwrap());
    let first = hotel.situations[0].first.as_ref().unwrap();
    assert_eq!((first.name.as_str(), first.of, first.rate.round()), ("geo", "slots", 568.0), "{first:?}");
    let of = |what: &str| hotel.situations.iter().find(|it| it.what == what).and_then(|it| it.first.clone());
    // With more slots of geo it is another that fills first.
    let scaled = of("scale geo by 1.25").expect("it is asked for");
    assert!(scaled.name == "mongodb" && scaled.rate > 568.0, "{scaled:?}");
    let during = of("update profile to 2").expect("it is asked for");
    assert_eq!((during.name.as_str(), during.rate.round()), ("mongodb", 627.0), "six of eight instances are enough");
}

#[test]
fn what_is_full_during_an_update_or_without_a_zone_is_warned_of() {
    let text = |rate: &str, more: &str| {
        format!(
            "{STILL}nodes: [ {{ name: a, count: 4, zone: a }}, {{ name: b, count: 4, zone: b }} ]\nservices: {{ web: {{ instances: 8, \
             start_delay: 5s, endpoints: {{ get: {{ script: [ sleep: 10ms ] }} }} }} }}\n\
             load: {{ u: {{ to: web, from: 9s, arrivals: {{ constant: {rate} }} }} }}\n{more}"
        )
    };
    let update = "operations: [ { at: 0s, deploy: web }, { at: 20s, update: web, to: 2, strategy: rolling } ]\n";
    assert_eq!(warnings(&text("590/s", update)), []);
    let (kind, line, message) = warnings(&text("700/s", update)).remove(0);
    assert_eq!((kind, line), ("full", Some(5)));
    assert_eq!(
        message,
        "during update web to 2 at 20s `web` has 6 of 8 instances and is full at 600 requests/s, and 700 are offered"
    );
    let down = "faults: [ { at: 30s, for: 5s, crash: zone a } ]\n";
    assert_eq!(warnings(&text("390/s", down)), []);
    assert_eq!(
        warnings(&text("410/s", down))[0].2,
        "during crash at 30s `web` has 4 of 8 instances and is full at 400 requests/s, and 410 are offered"
    );
    let slow = "faults: [ { at: 30s, for: 5s, slow: zone a, factor: 0.5 } ]\n";
    assert_eq!(warnings(&text("700/s", slow)), [], "sleeping is not slower");
}

#[test]
fn a_node_that_is_asked_for_more_work_than_it_has_cores_is_warned_of() {
    let text = |rate: &str| {
        format!(
            "{STILL}nodes: [ {{ name: n, cores: 1 }} ]\nservices: {{ web: {{ capacity: 16, endpoints: {{ get: {{ script: [ work: 10ms ] \
             }} }} }} }}\nload: {{ u: {{ to: web, arrivals: {{ poisson: {rate} }} }} }}\n"
        )
    };
    let findings = findings(&text("300/s"));
    near(findings.nodes[0].busy, 3.0);
    let first = findings.situations[0].first.as_ref().unwrap();
    assert_eq!((first.name.as_str(), first.of), ("n", "cores"));
    near(first.rate, 100.0);
    assert_eq!(findings.warnings[0].message, "`n` has 1 core and is asked for 3 cores of work: what waits there grows");
    assert_eq!(warnings(&text("90/s")), []);
}

#[test]
fn slots_that_are_held_in_a_circle_are_warned_of() {
    let text = |script: &str| {
        format!(
            "nodes: [ {{ name: n }} ]\nservices:\n  a: {{ capacity: 4, endpoints: {{ get: {{ script: [ call: b ] }}, leaf: {{}} }} }}\n  \
             b: {{ capacity: 100, endpoints: {{ get: {{ script: [ {script} ] }} }} }}\n\
             load: {{ u: {{ to: a.get, arrivals: {{ constant: 1/s }} }} }}\n"
        )
    };
    let four = "parallel: [ call: a.leaf, call: a.leaf, call: a.leaf, call: a.leaf ]";
    let told = warnings(&text(four));
    assert_eq!(told[0].0, "deadlock");
    assert!(told[0].2.contains("`a` -> `b` -> `a`") && told[0].2.contains("all 4 slots of `a`"), "{}", told[0].2);
    assert_eq!(warnings(&text("work: 1ms")), []);
}

#[test]
fn instances_that_are_gone_before_callers_hear_of_it_lose_requests() {
    let text = |drain: &str| {
        format!(
            "control: {{ debounce: 1s }}\nnodes: [ {{ name: n, count: 5 }} ]\nservices: {{ web: {{ instances: 10, capacity: 100, \
             drain_delay: {drain}, balancer: round_robin, endpoints: {{ get: {{ script: [ work: 5ms ] }} }} }} }}\n\
             operations: [ {{ at: 0s, deploy: web }}, {{ at: 20s, extend: web, to: 5, rate: 1 }} ]\n\
             load: {{ u: {{ to: web, arrivals: {{ constant: 1000/s }}, from: 5s, timeout: 1s }} }}\n"
        )
    };
    for (drain, lost) in [("0s", "500"), ("0.5s", "250")] {
        let (kind, line, message) = warnings(&text(drain)).remove(0);
        assert_eq!((kind, line), ("drain", Some(4)));
        assert!(message.ends_with(&format!("some {lost} requests are refused")), "{message}");
    }
    assert_eq!(warnings(&text("2s")), []);
}

#[test]
fn what_does_nothing_or_cannot_be_is_warned_of() {
    let kinds =
        |more: &str| -> Vec<&'static str> { warnings(&format!("{SMALL}{more}")).into_iter().map(|w| w.0).collect() };
    let load = |rest: &str| format!("load: {{ users: {{ to: a, arrivals: {{ poisson: 10/s }}, {rest} }} }}\n");
    assert_eq!(kinds("control: { heartbeat: 1ns }\n"), ["heartbeats"]);
    assert_eq!(kinds("network: { loss: 100% }\n"), ["loss"]);
    assert_eq!(kinds("network: { latency: 5m }\n"), ["latency"]);
    assert_eq!(kinds("network: { latency: 250ms }\n"), [""; 0]);
    let delay = SMALL.replace("instances: 1", "start_delay: 2m");
    assert_eq!(warnings(&format!("{delay}{}", load("warmup: 1s")))[0].0, "never_ready");
    assert_eq!(kinds(&format!("operations: [ {{ at: 1s, undeploy: a }} ]\n{}", load("warmup: 1s"))), ["absent"]);
    assert_eq!(kinds(&format!("operations: [ {{ at: 20s, deploy: a }} ]\n{}", load("warmup: 1s"))), ["absent"]);
    assert_eq!(kinds(&format!("operations: [ {{ at: 20s, deploy: a }} ]\n{}", load("from: 20s"))), [""; 0]);
    let early = "operations: [ { at: 20s, deploy: a }, { at: 5s, extend: a, to: 3, rate: 1 } ]\n";
    assert_eq!(
        warnings(&format!("{SMALL}{early}")),
        [("refused", Some(4), "extend a to 3 at 5s is refused: `a` is not deployed then".to_owned())]
    );
    for idle in ["crash: []", "slow: n-0, factor: 1", "partition: [[n-0], [n-0]]", "one_way: { from: n-0, to: n-0 }"] {
        assert_eq!(kinds(&format!("faults: [ {{ for: 1s, {idle} }} ]\n")), ["no_effect"], "{idle}");
    }
    assert_eq!(kinds("faults: [ { for: 1s, partition: [[n-0], [n-1]] } ]\n"), [""; 0]);
    let slo = |lines: &str| kinds(&format!("{}slo: [ {lines} ]\n", load("warmup: 1s")));
    assert_eq!(slo("p99 < 50ms, p99 > 60ms"), ["slo"]);
    assert_eq!(slo("p50 > 60ms, p99 < 50ms"), ["slo"]);
    assert_eq!(slo("errors < 0%"), ["slo"]);
    assert_eq!(slo("max < 500us"), ["slo"], "its work alone takes longer");
    assert_eq!(slo("p50 < 50ms, p99 > 40ms, errors <= 0%, done/offered >= 100%"), [""; 0]);
}

#[test]
fn an_slo_that_allows_fewer_failures_than_the_file_makes_is_warned_of() {
    // A call that fails in every tenth attempt, and is tried once more: 1 %.
    let text = |slo: &str| {
        format!(
            "nodes: [ {{ name: n }} ]\nduration: 60s\nservices:\n  front: {{ capacity: 100, endpoints: {{ get: {{ script: [ call: \
             {{ to: back, retries: 1, retry: {{ budget: none }} }} ] }} }} }}\n  back: {{ capacity: 100, endpoints: {{ get: {{ \
             errors: 10%, script: [ work: 1ms ] }} }} }}\nload: {{ u: {{ to: front, arrivals: {{ poisson: 10/s }}, from: 1s, \
             timeout: 1s }} }}\nslo: [ {slo} ]\n"
        )
    };
    for slo in ["errors < 0.9%", "u errors <= 0.5%", "done/offered >= 99.5%"] {
        let told = warnings(&text(slo));
        assert_eq!(told.len(), 1, "{slo}: {told:?}");
        assert!(told[0].2.ends_with("is not expected to hold: 1% of the requests fail"), "{told:?}");
    }
    for slo in ["errors < 1.1%", "errors <= 1%", "u errors > 0.5%", "done/offered >= 99%"] {
        assert_eq!(warnings(&text(slo)).len(), 0, "{slo}");
    }
}

#[test]
fn a_full_canary_switch_is_warned_of_if_callers_learn_of_it_too_late() {
    // Ready 0.5 s before the switch, and callers learn of it a second later: half a second of the old ones' requests.
    let text = |drain: &str, start: &str| {
        format!(
            "duration: 40s\ncontrol: {{ debounce: 1s }}\nnodes: [ {{ name: n, count: 5, cores: 100 }} ]\nnetwork: {{ latency: 0s, \
             local: 0s }}\nservices: {{ web: {{ instances: 10, capacity: 100, drain_delay: {drain}, start_delay: {start}, endpoints: \
             {{ get: {{ script: [ work: 5ms ] }} }} }} }}\noperations:\n  - {{ at: 0s, deploy: web }}\n  - {{ at: 20s, update: web, \
             to: 2, strategy: canary, weights: [20%, 100%], every: 4s }}\nload: {{ u: {{ to: web, arrivals: {{ constant: 1000/s }}, \
             from: 10s, timeout: 1s }} }}\n"
        )
    };
    let drain = |text: &str| -> Option<String> {
        warnings(text).into_iter().find(|it| it.0 == "drain").map(|(.., message)| message)
    };
    let told = drain(&text("0s", "3.5s")).expect("half a second is lost");
    assert!(told.contains("some 400 requests are refused"), "{told}");
    let told = drain(&text("250ms", "3.5s")).expect("a quarter is lost");
    assert!(told.contains("some 200 requests are refused"), "{told}");
    assert_eq!(drain(&text("600ms", "3.5s")), None);
    assert_eq!(drain(&text("0s", "2s")), None, "callers have long heard that the old ones get nothing");
}

#[test]
fn a_grace_shorter_than_requests_or_the_drain_delay_is_warned_of() {
    let text = |grace: &str| {
        format!(
            "nodes: [ {{ name: n, count: 5 }} ]\nduration: 150s\nservices: {{ web: {{ instances: 10, capacity: 100, drain_delay: 5s, \
             {grace} endpoints: {{ get: {{ script: [ sleep: 30s ] }} }} }} }}\n\
             operations: [ {{ at: 0s, deploy: web }}, {{ at: 60s, extend: web, to: 5, rate: 1 }} ]\n\
             load: {{ u: {{ to: web, arrivals: {{ constant: 10/s }}, from: 10s, timeout: none }} }}\n"
        )
    };
    assert_eq!(
        warnings(&text("grace: 5s,")),
        [(
            "grace",
            Some(4),
            "extend web to 5 at 60s cuts requests off after a grace of 5s, and they take up to 30s: some 125 fail"
                .to_owned()
        )]
    );
    assert_eq!(warnings(&text("grace: 40s,")), []);
    assert_eq!(warnings(&text("")), []);
    assert_eq!(warnings(&text("grace: 1s,")).len(), 2, "it is shorter than the drain delay too");
}

#[test]
fn a_canary_has_its_share_of_the_requests_and_its_instances_must_carry_it() {
    // Version 2 takes four times as long. One instance beside ten has a tenth of the requests, and does 25 of them in a
    // second.
    let text = |rate: &str, weights: &str| {
        format!(
            "{STILL}nodes: [ {{ name: n, count: 4 }} ]\nservices: {{ web: {{ instances: 10, start_delay: 1s, endpoints: {{ get: \
             {{ script: [ sleep: 10ms ] }} }}, versions: {{ 2: {{ endpoints: {{ get: {{ script: [ sleep: 40ms ] }} }} }} }} }} }}\n\
             load: {{ u: {{ to: web, from: 9s, arrivals: {{ constant: {rate} }} }} }}\n\
             operations: [ {{ at: 0s, deploy: web }}, {{ at: 20s, update: web, to: 2, strategy: canary, weights: {weights} }} ]\n"
        )
    };
    assert_eq!(warnings(&text("240/s", "[10%]")), []);
    assert_eq!(
        warnings(&text("300/s", "[10%]"))[0].2,
        "during update web to 2 with 10 % of the requests at 21s version 2 of `web` has 1 of 1 instances and is full at 250 \
         requests/s, and 300 are offered"
    );
    // A twentieth, and still one instance.
    assert_eq!(warnings(&text("490/s", "[5%]")), []);
    let first = |text: &str| {
        let situations = findings(text).situations;
        situations.iter().filter_map(|it| it.first.clone()).map(|it| (it.version, it.rate.round())).collect::<Vec<_>>()
    };
    // As deployed, as it begins, with a tenth; nothing is new afterwards.
    assert_eq!(first(&text("100/s", "[10%]")), [(None, 1000.0), (None, 1000.0), (Some(2), 250.0)]);
}

#[test]
fn a_switch_to_a_canary_takes_instances_away_that_get_no_request_any_more() {
    let text = |strategy: &str| {
        format!(
            "{STILL}nodes: [ {{ name: n, count: 4 }} ]\nservices: {{ web: {{ instances: 4, drain_delay: 0s, start_delay: 1s, endpoints: {{ \
             get: {{ script: [ sleep: 1ms ] }} }} }} }}\nload: {{ u: {{ to: web, from: 9s, arrivals: {{ constant: 100/s }} }} }}\n\
             operations: [ {{ at: 0s, deploy: web }}, {{ at: 20s, update: web, to: 2, {strategy}, every: 2s }} ]\n"
        )
    };
    assert_eq!(warnings(&text("strategy: canary, weights: [50%, 100%]")), []);
    assert_eq!(warnings(&text("strategy: rolling"))[0].0, "drain");
}

#[test]
fn a_key_that_is_too_much_for_one_instance_is_warned_of() {
    let with = |balancer: &str| {
        let text = format!(
            "nodes: [ {{ name: n, count: 4 }} ]\nload: {{ users: {{ to: a, arrivals: {{ poisson: 200/s }} }} }}\n\
             services: {{ a: {{ instances: 8, balancer: {balancer}, endpoints: {{ get: {{ script: [ work: 10ms ] }} }} }} }}\n"
        );
        findings(&text)
    };
    // Of two slots' worth of requests the first of 100 keys has 1 / 5.187 at skew 1, and 1 / 1.6350 at skew 2.
    let hot = with("{ maglev: { keys: { count: 100, skew: 2 } } }");
    let told =
        "the most frequent key of `a` alone, 61.2% of its requests, needs 1.22 slots of one instance; that has 1";
    assert!(hot.warnings.iter().any(|it| it.kind == "hot_key" && it.message == told), "{:?}", hot.warnings);
    let mild = with("{ ring_hash: { keys: { count: 100, skew: 1 } } }");
    assert!(mild.warnings.iter().all(|it| it.kind != "hot_key"), "{:?}", mild.warnings);
    let told = "Shares of a hash: instances of `a` count as if all got the same share of the requests.";
    assert!(mild.not_modelled.iter().any(|it| it == told), "{:?}", mild.not_modelled);
    assert!(with("random").not_modelled.iter().all(|it| !it.contains("hash")));
    let few = with("{ maglev: { table_size: 7 } }");
    let told = "`a` has 8 instances but a Maglev table of 7 places: the others get no request";
    assert!(few.warnings.iter().any(|it| it.message == told), "{:?}", few.warnings);
}

#[test]
fn the_resources_of_a_run_grow_with_nodes_instances_and_requests() {
    let needed = |nodes: u32, instances: u32, rate: u32| {
        let text = format!(
            "{{ duration: 3s, nodes: [ {{ name: n, count: {nodes} }} ], services: {{ a: {{ instances: {instances}, endpoints: {{ e: \
             {{ script: [ work: 1ms ] }} }} }} }}, load: {{ u: {{ to: a, arrivals: {{ constant: {rate}/s }} }} }} }}"
        );
        meshsim_experiment::check::check(
            &meshsim_experiment::parse("m.yaml", &text, std::path::Path::new(""), &[]).unwrap(),
        )
        .resources
    };
    let small = needed(10, 10, 10);
    for larger in [needed(1_000_000, 10, 10), needed(10, 1_000_000, 10), needed(10, 10, 1_000_000)] {
        assert!(larger.memory_bytes > small.memory_bytes, "{larger:?}");
    }
    // 3 s of 100 requests with one visit, and at 10 nodes their beginning, 3 heartbeats and one step.
    let expected = 300.0 * 4.0 + 10.0 * (3.0 + 2.0 * 3.0 + 3.0);
    assert!((needed(10, 10, 100).events - expected).abs() < 1.0, "{expected} {:?}", needed(10, 10, 100));
    // A million nodes with ten million instances fit a machine of 16 GiB.
    let large = needed(1_000_000, 10_000_000, 1_000).memory_bytes;
    assert!((3e9..9e9).contains(&large), "{large:e}");
}
