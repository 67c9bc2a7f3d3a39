//! Balancers and policies that an operation changes while requests come.

use meshsim_actor::{Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::MeshActor;
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::{Failure, OperationKind, OperationOutcome};
use meshsim_mesh::model::{Balancer, Change, Setting};
use meshsim_mesh::policy::PolicyGroup;
use meshsim_report::aftermath::Aftermath;
use meshsim_run::Simulation;
use meshsim_tests::{Played, parse, play};

/// A service on four nodes, with a load of 200 requests a second from the first second on.
fn experiment(service: &str, operations: &str, more: &str) -> Experiment {
    parse(&format!(
        "duration: 30s\nnodes: [ {{ name: n, count: 4, cores: 1 }} ]\n\
         services: {{ web: {{ instances: 4, cpu: 1, capacity: 50, {service}, endpoints: {{ get: {{ script: [ sleep: 10ms ] }} }} }} }}\n\
         operations: [ {operations} ]\n\
         load: {{ users: {{ to: web, arrivals: {{ poisson: 200/s }}, from: 1s, for: 28s }} }}\n{more}"
    ))
}

/// A figure of the requests that arrived at each node, in these seconds.
fn by_node(played: &Played, secs: std::ops::Range<usize>, of: impl Fn(&Window) -> u64) -> Vec<u64> {
    let nodes = played.sim.actors().filter_map(MeshActor::node);
    let at = |node: &meshsim_mesh::node::Node| {
        let courses = node.courses(played.sim.now());
        courses.iter().flat_map(|place| place.course.windows().skip(secs.start).take(secs.len())).map(&of).sum()
    };
    nodes.map(at).collect()
}

#[test]
fn callers_follow_a_new_balancer_and_what_it_was_is_recorded() {
    let played = play(experiment(
        "balancer: { ring_hash: { keys: { count: 1 } } }",
        "{ at: 10s, set: services.web.balancer, to: random }, { at: 20s, set: services.web.balancer, to: { maglev: { keys: { count: 1 } } } }",
        "",
    ));
    let used = |secs| by_node(&played, secs, |window| window.offered).iter().filter(|count| **count > 0).count();
    assert_eq!([used(2..10), used(11..20), used(21..28)], [1, 4, 1]);
    let set = played.operation(OperationKind::Set, "web");
    assert_eq!((set.began.secs(), set.outcome, set.steps.len()), (10.0, OperationOutcome::Reached, 0));
    assert_eq!(set.change, Some(Change::Set(Box::new(Setting::Balancer(Balancer::Random)))));
    assert_eq!(played.tally().failed.total(), 0);
}

#[test]
fn an_operation_without_steps_ends_at_once_in_the_table_of_recoveries() {
    // The second pauses a rollout that there is not, and is refused.
    let operations = "{ at: 10s, set: services.web.balancer, to: random }, { at: 12s, pause_rollout: web }, \
                      { at: 15s, extend: web, to: 3, rate: 1 }";
    let experiment = experiment("balancer: round_robin", operations, "");
    let outcome = meshsim_run::simulate(&experiment, &mut ()).expect("the file was checked");
    let aftermath = Aftermath::new(&outcome.summary(&experiment), None, &[]);
    let times: Vec<_> = aftermath.disturbances.iter().map(|it| (it.from_s, it.to_s > it.from_s)).collect();
    assert_eq!(times, [(10.0, false), (12.0, false), (15.0, true)]);
}

#[test]
fn callers_read_a_load_board_that_comes_goes_and_changes_its_rounds() {
    let played = play(experiment(
        "balancer: random",
        "{ at: 5s, set: services.web.balancer, to: { least_loaded: { refresh: 1s } } }, \
         { at: 12s, set: services.web.balancer, to: { least_loaded: { refresh: 2s } } }, \
         { at: 20s, set: services.web.balancer, to: random }",
        "",
    ));
    // A caller that chooses among all sends nothing to an instance that was busy when the round began.
    let idle = |second: usize| -> Vec<bool> {
        by_node(&played, second..second + 1, |window| window.offered).iter().map(|count| *count == 0).collect()
    };
    let none = vec![false; 4];
    assert!([2, 3, 4, 21, 22, 23, 24].iter().all(|second| idle(*second) == none));
    // Rounds of one second, and of two: a board of the first, with a higher number, does not stand in their way.
    assert!((7..12).any(|second| idle(second) != none && idle(second) != idle(second + 1)));
    let rounds: Vec<_> = [14, 16, 18].map(|second| (idle(second), idle(second + 1))).into();
    assert!(rounds.iter().all(|(first, second)| first == second && *first != none), "{rounds:?}");
    assert!(rounds[0] != rounds[1] && rounds[1] != rounds[2], "{rounds:?}");
    assert_eq!(played.tally().failed.total(), 0);
}

#[test]
fn instances_follow_a_new_limit_and_none_takes_it_away() {
    let played = play(experiment(
        "limit: 100",
        "{ at: 10s, set: services.web.limit, to: 1 }, { at: 20s, set: services.web.limit, to: none }",
        // A node that was down when it was set has it when it is back.
        "faults: [ { at: 9s, for: 5s, crash: n-0 } ]\n",
    ));
    let limited = |secs| by_node(&played, secs, |window| window.policies.of_group(PolicyGroup::Limited));
    assert_eq!(limited(0..10).iter().sum::<u64>(), 0);
    assert!(limited(16..20).iter().all(|count| *count > 0), "{:?}", limited(16..20));
    assert_eq!(limited(21..30).iter().sum::<u64>(), 0);
}

#[test]
fn calls_that_wait_for_a_connection_go_on_when_the_breaker_goes() {
    let played = play(parse(
        "duration: 30s\nnodes: [ { name: n } ]\n\
         services: { web: { capacity: 50, breaker: { max_connections: 1 }, endpoints: { get: { script: [ sleep: 10s ] } } } }\n\
         operations: [ { at: 5s, set: services.web.breaker, to: none } ]\n\
         load: { users: { to: web, arrivals: { constant: 10/s }, from: 1s, for: 2s, timeout: none } }\n",
    ));
    let tally = played.tally();
    // One began at once, and the others together at 5 s.
    assert_eq!((tally.done, tally.offered), (20, 20));
    let slowest = tally.latency.max();
    assert!(slowest > Span::from_secs(13) && slowest < Span::from_millis(14_300), "{slowest}");
}

#[test]
fn a_breaker_that_comes_and_changes_holds_for_the_calls_from_then_on() {
    let played = play(experiment(
        "balancer: random",
        "{ at: 10s, set: services.web.breaker, to: { max_requests: 1, max_connections: none } }, \
         { at: 20s, set: services.web.breaker, to: { max_requests: 1000, max_connections: none } }",
        "",
    ));
    let client = played.sim.actors().find_map(MeshActor::client).unwrap();
    let course = client.courses(played.sim.now()).swap_remove(0);
    let overflows = |secs: std::ops::Range<usize>| {
        let windows = course.windows().skip(secs.start).take(secs.len());
        windows.map(|window| window.policies.of_group(PolicyGroup::Overflows)).sum::<u64>()
    };
    assert_eq!((overflows(0..10), overflows(21..29)), (0, 0));
    assert!(overflows(11..20) > 500, "{}", overflows(11..20));
}

/// A service on one node whose requests take `script`; the client has a constant load from the first second on.
fn called(script: &str, load: &str, operations: &str) -> Played {
    play(parse(&format!(
        "duration: 30s\nnodes: [ {{ name: n }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
         services:\n  web: {{ capacity: 1000, {script} }}\n  \
         spare: {{ capacity: 1000, endpoints: {{ get: {{ script: [ sleep: 1ms ] }} }} }}\n\
         operations: [ {operations} ]\n\
         load: {{ users: {{ to: web.get, arrivals: {{ constant: 100/s }}, from: 1s, for: 28s, {load} }} }}\n"
    )))
}

/// Requests that reached a service in these seconds.
fn reached(played: &Played, service: &str, secs: std::ops::Range<usize>) -> u64 {
    let node = played.sim.actors().find_map(MeshActor::node).unwrap();
    let id = |name: &str| played.experiment.mesh.services.iter().position(|it| it.name == name).unwrap();
    let courses = node.courses(played.sim.now());
    let of = courses.iter().filter(|place| place.service.index() == id(service));
    of.flat_map(|place| place.course.windows().skip(secs.start).take(secs.len())).map(|window| window.offered).sum()
}

const FAILS: &str = "endpoints: { get: { errors: 100%, script: [ sleep: 1ms ] } }";

#[test]
fn no_retry_begins_after_retries_were_taken_away_and_as_many_as_were_given() {
    let played = called(
        FAILS,
        "retries: 2, retry: { budget: none, base: 10ms }",
        "{ at: 10s, set: services.web.retries, to: 0 }, { at: 20s, set: services.web.retries, to: 1 }",
    );
    // But for retries of the requests before a second that fall into it.
    assert!(reached(&played, "web", 2..9).abs_diff(7 * 300) <= 12);
    // The instance view comes after its debounce of 100 ms, and to all callers at once.
    assert_eq!(reached(&played, "web", 11..20), 9 * 100);
    assert!(reached(&played, "web", 21..28).abs_diff(7 * 200) <= 6);
    let tally = played.tally();
    assert_eq!((tally.failed.of(Failure::Error), tally.offered), (2800, 2800));
}

#[test]
fn a_retry_that_waits_for_its_backoff_is_not_made_once_retries_are_taken_away() {
    // Each of the hundred requests of the first second waits for 15 s before its retry.
    let load = "retries: 1, retry: { budget: none, backoff: fixed, base: 15s, cap: 15s }";
    let of = |set: &str| {
        play(parse(&format!(
            "duration: 30s\nnodes: [ {{ name: n }} ]\nservices: {{ web: {{ capacity: 1000, {FAILS} }} }}\n\
             operations: [ {set} ]\n\
             load: {{ users: {{ to: web, arrivals: {{ constant: 100/s }}, from: 1s, for: 1s, {load} }} }}\n"
        )))
    };
    let (kept, taken) = (of(""), of("{ at: 10s, set: services.web.retries, to: 0 }"));
    assert_eq!((kept.served("web").arrived, kept.tally().retries), (200, 100));
    let tally = taken.tally();
    assert_eq!((taken.served("web").arrived, tally.retries, tally.failed.of(Failure::Error)), (100, 0, 100));
}

#[test]
fn a_timeout_holds_for_the_attempts_from_then_on() {
    let slow = "endpoints: { get: { script: [ sleep: 2s ] } }";
    let played = called(slow, "timeout: none", "{ at: 10s, set: services.web.timeout, to: 500ms }");
    let tally = played.tally();
    // Those of the 9.1 seconds before the callers hear of it are answered after 2 s.
    let (done, late) = (tally.done, tally.failed.of(Failure::Timeout));
    assert!((900..=911).contains(&done) && done + late == 2800, "{done} and {late}");
    assert_eq!(tally.latency.count_above(Span::from_millis(1_990)), done);
    let played = called(slow, "timeout: 500ms", "{ at: 10s, set: services.web.timeout, to: none }");
    let late = played.tally().failed.of(Failure::Timeout);
    assert!((900..=911).contains(&late), "{late}");
}

#[test]
fn conditions_backoff_and_budget_of_retries_can_be_set() {
    let given = "retries: 3, retry: { budget: none, base: 10ms }";
    let retried = |to: &str| {
        let played = called(FAILS, given, &format!("{{ at: 10s, set: services.web.retry, to: {to} }}"));
        reached(&played, "web", 12..28) as f64 / 1600.0
    };
    assert_eq!(retried("{ budget: none, on: [timeout] }"), 1.0);
    assert!((retried("{ budget: none, on: [error], base: 1ms }") - 4.0).abs() < 0.01);
    // A budget of nothing, and one of a retry for each second request.
    assert_eq!(retried("{ budget: 0%, budget_min: 0 }"), 1.0);
    let share = retried("{ window_budget: { ttl: 1s, ratio: 0.5, min_per_s: 0 } }");
    assert!((1.4..=1.6).contains(&share), "{share}");
}

#[test]
fn hedges_begin_and_end_when_they_are_set() {
    let slow = "endpoints: { get: { script: [ sleep: 100ms ] } }, instances: 2";
    let hedge =
        "{ at: 10s, set: services.web.hedge, to: { after: 50ms } }, { at: 20s, set: services.web.hedge, to: none }";
    let played = called(slow, "retry: { budget: none }", hedge);
    assert_eq!(reached(&played, "web", 2..10), 8 * 100);
    assert_eq!(reached(&played, "web", 12..19), 7 * 200);
    // One that is armed when hedges are taken away is not sent.
    assert_eq!(reached(&played, "web", 21..28), 7 * 100);
    assert_eq!(played.tally().failed.total(), 0);
}

#[test]
fn fallbacks_and_mirrors_come_and_go_when_they_are_set() {
    let played = called(
        FAILS,
        "retries: 0",
        "{ at: 10s, set: services.web.fallback, to: spare.get }, { at: 15s, set: services.web.fallback, to: static }, \
         { at: 20s, set: services.web.fallback, to: none }, { at: 24s, set: services.web.mirror, to: { to: spare.get } }",
    );
    let spare = |secs| reached(&played, "spare", secs);
    assert_eq!([spare(0..10), spare(11..15), spare(16..24), spare(25..28)], [0, 400, 0, 300]);
    let tally = played.tally();
    // From 10.1 s to 20.1 s something else answers.
    assert!((990..=1010).contains(&tally.done) && tally.degraded == tally.done, "{}", tally.done);
}

#[test]
fn requests_that_wait_for_a_connection_go_on_when_there_are_more() {
    let of = |to: &str| {
        play(parse(&format!(
            "duration: 30s\nnodes: [ {{ name: n }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
             services: {{ web: {{ capacity: 50, connections: {{ max: 2 }}, endpoints: {{ get: {{ script: [ sleep: 10s ] }} }} }} }}\n\
             operations: [ {{ at: 5s, set: services.web.connections, to: {to} }} ]\n\
             load: {{ users: {{ to: web, arrivals: {{ constant: 10/s }}, from: 1s, for: 1s, timeout: none }} }}\n"
        )))
    };
    // Two begin at 1 s, and two more each ten seconds; with four also two at 5.1 s and so on; or all at 5.1 s.
    assert_eq!(of("{ max: 2 }").tally().done, 4);
    assert_eq!(of("{ max: 4 }").tally().done, 8);
    let open = of("none");
    assert_eq!((open.tally().done, open.served("web").arrived), (10, 10));
    // Of a lower maximum, the connections that are open are not given on.
    let fewer = of("{ max: 1 }");
    assert_eq!((fewer.served("web").arrived, fewer.tally().done), (4, 3));
}

#[test]
fn a_run_that_is_resumed_after_a_change_goes_on_as_if_it_had_not_been_interrupted() {
    let experiment = experiment(
        "breaker: { max_connections: 3 }",
        "{ at: 10s, set: services.web.balancer, to: p2c_peak_ewma }, { at: 12s, set: services.web.limit, to: 3 }",
        "",
    );
    let whole = play(experiment.clone());
    let mut sim = Simulation::new(&experiment).unwrap();
    sim.to(Time::ZERO + Span::from_secs(15));
    let mut resumed = Simulation::resume(&sim.snapshot().unwrap()).unwrap();
    resumed.to(Time::ZERO + experiment.duration);
    let tally = |sim: &Simulation| {
        let client = sim.actors().find_map(MeshActor::client).unwrap();
        format!("{:?}", client.tallies())
    };
    assert_eq!(tally(&resumed), tally(&whole.sim));
    assert_eq!(resumed.counts(), whole.sim.counts());
}

#[test]
fn a_manual_set_is_read_as_one_of_the_file() {
    let experiment = experiment("limit: 100", "", "");
    let read = |text: &str| experiment.operation(text).map_err(|problems| problems.to_string());
    let set = read("{ set: services.web.balancer, to: random }").unwrap();
    assert_eq!(set[0].change, Change::Set(Box::new(Setting::Balancer(Balancer::Random))));
    assert_eq!(set[0].validate(&experiment.mesh), Ok(()));
    let of_file = read("{ set: services.web.limit, to: none }").unwrap();
    assert_eq!(of_file[0].change, Change::Set(Box::new(Setting::Limit(None))));
    for (text, why) in [
        ("{ set: services.wbe.limit, to: 3 }", "did you mean `web`?"),
        ("{ set: services.web.limits, to: 3 }", "did you mean `limit`?"),
        ("{ set: services.web.cpu, to: 3 }", "cannot be set while the service runs"),
        ("{ set: web.limit, to: 3 }", "write `services.NAME.KEY`"),
        ("{ set: services.web.limit, to: many }", "invalid limit `many`"),
        ("{ set: services.web.balancer, to: { least_loaded: { refresh: 0s } } }", "refresh"),
        ("{ set: services.web.balancer }", "missing key `to`"),
        ("{ set: services.web.retries, to: -1 }", "retries"),
        ("{ set: services.web.retries, to: 256 }", "255"),
        ("{ set: services.web.retry, to: { atempts: 3 } }", "unknown key `atempts`"),
        ("{ set: services.web.retry, to: { window_budget: { ttl: 0s } } }", "`ttl` is too short"),
        ("{ set: services.web.hedge, to: { max: 2 } }", "missing key `after`"),
        ("{ set: services.web.fallback, to: wbe.get }", "did you mean `web`?"),
        ("{ set: services.web.timeout, to: soon }", "soon"),
        ("{ set: services.web.connections, to: { max: 0 } }", "max"),
        ("{ set: services.web.split, to: [ { labels: { a: b } } ] }", "no node has the labels"),
    ] {
        let problem = read(text).unwrap_err();
        assert!(problem.contains(why), "{text}: {problem}");
    }
}

#[test]
fn each_setting_can_be_set_to_a_value_and_most_to_none() {
    let experiment = experiment("limit: 100", "", "");
    let values = [
        ("balancer", "random"),
        ("zone_routing", "aware"),
        ("panic_threshold", "10%"),
        ("slow_start", "{ window: 5s }"),
        ("split", "[ { version: 1 } ]"),
        ("subset", "2"),
        ("zone_weights", "{ default: 2 }"),
        ("breaker", "{ max_requests: 3 }"),
        ("outlier_detection", "{ interval: 1s }"),
        ("mirror", "{ to: web, share: 10% }"),
        ("rate_limit", "{ rate: 5/s }"),
        ("limit", "gradient"),
        ("shed", "{ lifo_after: 1s }"),
        ("connections", "{ max: 3 }"),
        ("timeout", "1s"),
        ("retries", "3"),
        ("retry", "{ base: 1ms }"),
        ("hedge", "{ after: p95 }"),
        ("fallback", "static"),
    ];
    // An autoscaler is only switched on and off, and this service has none.
    assert!(values.iter().map(|(key, _)| *key).chain(["autoscale"]).eq(Setting::KEYS));
    for (key, value) in values {
        let set = |to: &str| experiment.operation(&format!("{{ set: services.web.{key}, to: {to} }}"));
        let [it, none] = [set(value), set("none")].map(|it| it.unwrap_or_else(|why| panic!("{key}: {why}")).remove(0));
        let (Change::Set(to), Change::Set(back)) = (&it.change, &none.change) else { panic!("{it:?}") };
        assert_eq!((to.key(), it.validate(&experiment.mesh)), (key, Ok(())));
        let (mut with, mut without) = (experiment.mesh.services[0].clone(), experiment.mesh.services[0].clone());
        to.apply(&mut with);
        back.apply(&mut without);
        assert!(with != without || key == "zone_routing", "{key}");
    }
}

#[test]
fn a_mirror_that_makes_calls_endless_cannot_be_set() {
    let text = "nodes: [ { name: n } ]\nservices:\n  a: { endpoints: { get: { script: [ call: b ] } } }\n  \
                b: { endpoints: { get: {} } }\n";
    let set = "set: services.b.mirror, to: { to: a }";
    let why = parse(text).operation(&format!("{{ {set} }}")).unwrap_err().to_string();
    assert!(why.contains("these calls never end") && why.contains("`a.get` -> `a.get`"), "{why}");
    assert!(parse(text).operation(&format!("{{ {} }}", set.replace("to: a", "to: a, share: 50%"))).is_ok());
    let file = format!("{text}operations: [ {{ at: 1s, {set} }} ]\n");
    let why = meshsim_experiment::parse("mesh.yaml", &file, std::path::Path::new(""), &[]).unwrap_err().to_string();
    assert!(why.contains("these calls never end"), "{why}");
    // Neither of two mirrors alone closes the circle.
    let text = "duration: 5s\nnodes: [ { name: n } ]\nservices:\n  \
                a: { endpoints: { get: { script: [ call: b ] } } }\n  b: { endpoints: { get: {} } }\n  \
                c: { endpoints: { get: { script: [ call: d ] } } }\n  d: { endpoints: { get: {} } }\n";
    let [one, two] =
        ["{ at: 1s, set: services.b.mirror, to: { to: c } }", "{ at: 2s, set: services.d.mirror, to: { to: a } }"];
    let of = |list: &str| {
        let file = format!("{text}operations: [ {list} ]\n");
        meshsim_experiment::parse("mesh.yaml", &file, std::path::Path::new(""), &[]).map(|_| ())
    };
    assert!(of(one).is_ok() && of(two).is_ok());
    let why = of(&format!("{one}, {two}")).unwrap_err().to_string();
    assert!(why.contains("these calls never end") && why.contains("mesh.yaml:8:66"), "{why}");
}
