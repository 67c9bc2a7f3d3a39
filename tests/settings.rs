//! Balancers and policies that an operation changes while requests come.

use meshsim_actor::{Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::MeshActor;
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::{OperationKind, OperationOutcome};
use meshsim_mesh::model::{Balancer, Change, Setting};
use meshsim_mesh::policy::PolicyGroup;
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
        ("{ set: services.web.split, to: [ { labels: { a: b } } ] }", "no node has the labels"),
    ] {
        let problem = read(text).unwrap_err();
        assert!(problem.contains(why), "{text}: {problem}");
    }
}
