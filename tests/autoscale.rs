//! Autoscaling in whole runs: an actor that sees nothing but messages, late, lost or missing.

use meshsim_experiment::{Experiment, Override};
use meshsim_mesh::MeshActor;
use meshsim_mesh::autoscale::{Decision, Standing};
use meshsim_mesh::measure::{Failure, OperationKind};
use meshsim_mesh::policy::PolicyEvent;
use meshsim_tests::{Played, parse, play};

/// A service whose requests take 10 ms of a core at a rate of 300/s, with this autoscaler and these faults.
fn scaled(autoscale: &str, faults: &str) -> Experiment {
    parse(&text(autoscale, faults))
}

fn text(autoscale: &str, faults: &str) -> String {
    format!(
        "
duration: 8m
nodes: [ {{ name: node, count: 4, cores: 8 }} ]
services:
  web:
    instances: 2
    cpu: 1
    capacity: 100
    start_delay: 5s
    endpoints: {{ get: {{ script: [ work: 10ms ] }} }}
    autoscale: {autoscale}
load:
  users: {{ to: web, arrivals: {{ constant: 300/s }}, from: 6s }}
faults: [ {faults} ]
"
    )
}

fn standing(played: &Played) -> &Standing {
    let autoscaler = played.sim.actors().find_map(MeshActor::autoscaler).expect("there is one");
    autoscaler.standings().next().expect("one service is autoscaled").1
}

/// Time in seconds and the change of each decision.
fn changes(played: &Played) -> Vec<(f64, u32, u32)> {
    let of = |it: &Decision| (it.at.secs().round(), it.from, it.to);
    standing(played).decisions.iter().map(of).collect()
}

#[test]
fn instances_follow_the_processor_time_that_the_load_needs() {
    // 300/s * 10 ms = 3 cores; at 60 % of a reserved core each, 5 instances.
    let played = play(scaled("{ max: 20, cpu: 60% }", ""));
    assert_eq!(changes(&played), [(30.0, 2, 5)], "two samples, and a decision");
    let standing = standing(&played);
    assert!(standing.looks >= 31 && standing.refused == 0 && standing.partly_blind <= 1, "{standing:?}");
    let extended = played.operation(OperationKind::Extend, "web");
    assert!(extended.is_automatic && !extended.is_manual());
    assert_eq!(played.tally().failed.total(), 0);
}

#[test]
fn a_smaller_load_is_followed_only_after_the_window() {
    let mut experiment = scaled("{ max: 20, cpu: 60%, down: { window: 100s } }", "");
    experiment.mesh.services[0].instances = 10;
    let played = play(experiment);
    // Half of the target: 5 instances, once no recommendation of 100 s is higher. The first look remembers the start.
    let changes = changes(&played);
    assert_eq!(changes.len(), 1, "{changes:?}");
    let (at, from, to) = changes[0];
    assert!((115.0..=150.0).contains(&at) && (from, to) == (10, 5), "{changes:?}");
}

#[test]
fn an_autoscaler_that_no_node_reaches_changes_nothing() {
    let cut = "{ at: 20s, for: 10m, partition: [ autoscaler ] }";
    let played = play(scaled("{ max: 20, cpu: 60% }", cut));
    assert_eq!(changes(&played), []);
    // Nor does it hear from the coordinator.
    assert_eq!(standing(&played).looks, 1);

    let deaf = "{ at: 20s, for: 10m, one_way: { from: node, to: autoscaler } }";
    let played = play(scaled("{ max: 20, cpu: 60% }", deaf));
    assert_eq!(changes(&played), []);
    let standing = standing(&played);
    assert!(standing.looks > 25 && standing.blind == standing.looks, "{standing:?}");
}

#[test]
fn a_coordinator_that_is_down_delays_a_decision() {
    let down = "{ at: 20s, for: 60s, crash: coordinator }";
    let played = play(scaled("{ max: 20, cpu: 60% }", down));
    let changes = changes(&played);
    assert!(changes.len() == 1 && (80.0..100.0).contains(&changes[0].0), "{changes:?}");
}

#[test]
fn an_instance_without_a_recent_sample_counts_as_idle_in_growth() {
    // Two instances are at the target, until the load rises at 100 s. No sample of one of them comes after 60 s.
    let cut = "{ at: 60s, for: 10m, one_way: { from: node-0, to: autoscaler } }";
    let constant = "arrivals: { constant: 300/s }, from: 6s }";
    let rising =
        "arrivals: { constant: 120/s }, from: 6s }\n  more: { to: web, arrivals: { constant: 180/s }, from: 100s }";
    let played = play(parse(&text("{ max: 20, cpu: 60% }", cut).replace(constant, rising)));
    // At 105 s the other one has used 0.9 of its core: 0.45 on average with an idle one, too little to grow. At 120 s
    // it has used 1.5: 0.75 on average, three instances. With the old sample the decision would come at 105 s.
    assert_eq!(changes(&played).first(), Some(&(120.0, 2, 3)), "{:?}", changes(&played));
    assert!(standing(&played).partly_blind > 0);
}

#[test]
fn a_file_without_an_autoscaler_has_no_such_actor() {
    let mut experiment = scaled("{ max: 20, cpu: 60% }", "");
    assert_eq!(experiment.mesh.actor_name(experiment.mesh.autoscaler_actor()), "autoscaler");
    experiment.mesh.services[0].autoscale = None;
    experiment.mesh.has_autoscaler = false;
    let played = play(experiment);
    assert!(played.sim.actors().all(|actor| actor.autoscaler().is_none()));
    assert_eq!(played.operations().len(), 1, "only the deploy");
}

/// A service of 20 requests/s, of 100 ms each, from 60 s to 120 s.
fn visited(service: &str, load: &str) -> Experiment {
    parse(&format!(
        "
duration: 6m
nodes: [ {{ name: node, count: 2, cores: 8 }} ]
services:
  web: {{ start_delay: 2s, capacity: 10, endpoints: {{ get: {{ script: [ sleep: 100ms ] }} }}, {service} }}
load:
  users: {{ to: web, arrivals: {{ constant: 20/s }}, from: 60s, for: 60s, timeout: 10s{load} }}
"
    ))
}

#[test]
fn knative_holds_requests_at_zero_and_goes_back_to_zero() {
    let played = play(visited("instances: 0, autoscale: { knative: { concurrency: 10 } }", ""));
    let tally = played.tally();
    assert_eq!((tally.failed.total(), tally.done), (0, 1200));
    // The first one waits for the start delay, and is held no longer than the ways of a few messages.
    let slowest = tally.latency.max().secs();
    assert!((2.1..2.3).contains(&slowest), "{slowest}");
    assert!((40..=45).contains(&tally.policies.of(PolicyEvent::Held)), "two seconds of calls");
    // At once when a caller holds the first, and not at the next tick.
    let decisions = &standing(&played).decisions;
    let first = decisions[0];
    assert!(first.at.secs() < 60.03 && (first.from, first.to) == (0, 1), "{decisions:?}");
    // The minute after the last request, in which the activator was in the path.
    let last = decisions.last().unwrap();
    assert!((180.0..=186.0).contains(&last.at.secs()) && last.to == 0, "{decisions:?}");
}

#[test]
fn a_held_request_is_given_up_by_its_timeout_or_by_the_activator() {
    // Nothing ever comes.
    let of = |activator: &str| visited(&format!("instances: 0, activator: {activator}"), "");
    let failed = |played: &Played, failure| played.tally().failed.of(failure);
    let played = play(of("{ hold: 60s }"));
    assert_eq!(failed(&played, Failure::Timeout), 1200, "after the 10 s of the load");
    let played = play(of("{ hold: 3s }"));
    assert_eq!(failed(&played, Failure::NoInstance), 1200);
    // 3 s of 20 requests a second: 60 are held at once.
    let played = play(of("{ hold: 3s, size: 30 }"));
    let (refused, none) = (failed(&played, Failure::Refused), failed(&played, Failure::NoInstance));
    assert!(refused + none == 1200 && (590..=610).contains(&none), "{refused} refused, {none} without an instance");
    assert_eq!(played.tally().policies.of(PolicyEvent::OverHeld), refused);
    let played = play(visited("instances: 0", ""));
    assert_eq!(failed(&played, Failure::NoInstance), 1200, "without an activator");
}

#[test]
fn an_instance_that_comes_when_requests_do_is_waited_for() {
    let text = |activator: &str| {
        format!(
            "
seed: 1
duration: 30s
nodes: [ {{ name: n, count: 2, cores: 8 }} ]
services:
  f: {{ instances: 0, capacity: 10, start_delay: 2s, endpoints: {{ get: {{ script: [ work: 5ms ] }} }} {activator} }}
operations: [ {{ at: 0s, deploy: f }}, {{ at: 10s, extend: f, to: 1, rate: 1 }} ]
load: {{ u: {{ to: f, arrivals: {{ constant: 10/s }}, from: 10s, for: 5s, timeout: 5s }} }}
"
        )
    };
    let refused = play(parse(&text("")));
    assert_eq!(refused.tally().failed.of(Failure::NoInstance), 21, "those of the first 2.1 s");
    let held = play(parse(&text(", activator: {}")));
    let tally = held.tally();
    assert_eq!((tally.failed.total(), tally.done, tally.policies.of(PolicyEvent::Held)), (0, 50, 21));
    // The first came at 10.05 s; it waited for the instance, and for callers to hear of it.
    let slowest = tally.latency.max().secs();
    assert!((2.0..2.1).contains(&slowest), "{slowest}");
}

#[test]
fn a_caller_that_no_autoscaler_hears_holds_until_it_answers_a_round() {
    // The first word of the caller is lost; the autoscaler asks again each second.
    let text = visited("instances: 0, autoscale: { knative: { concurrency: 10 } }", "").text;
    let cut = "{ at: 59s, for: 5s, one_way: { from: users, to: autoscaler } }";
    let played = play(parse(&format!("{text}\nfaults: [ {cut} ]\n")));
    let first = standing(&played).decisions[0];
    assert!((64.0..=66.5).contains(&first.at.secs()) && first.to >= 1, "{first:?}");
    assert_eq!(played.tally().failed.total(), 0);
}

#[test]
fn keda_follows_requests_and_goes_to_zero_after_its_cooldown() {
    let keda = "instances: 0, activator: {}, autoscale: { keda: { requests: 1, poll: 30s, cooldown: 60s, max: 5 } }";
    let played = play(visited(keda, ""));
    assert_eq!(played.tally().failed.total(), 0);
    let decisions = &standing(&played).decisions;
    // A caller that holds requests pushes; then two requests at once ask for two instances.
    assert!(decisions[0].at.secs() < 60.03 && (decisions[0].from, decisions[0].to) == (0, 1), "{decisions:?}");
    assert!(decisions.iter().any(|it| it.to >= 2 && it.signal.is_some()), "{decisions:?}");
    // The last look that found requests was at 90 s or 120 s, and the next one after the cooldown is 30 s later.
    let last = decisions.last().unwrap();
    assert!((180.0..=211.0).contains(&last.at.secs()) && last.to == 0, "{decisions:?}");
}

#[test]
fn keda_follows_the_queue_of_another_service() {
    let played = play(parse(
        "
duration: 5m
nodes: [ { name: node, count: 2, cores: 8 } ]
services:
  orders:
    capacity: 100
    endpoints:
      take: { script: [ { queue: { consumers: 20, visibility: 600s, deliveries: 9 }, run: { call: { to: work, timeout: none } } } ] }
  work:
    instances: 0
    activator: { hold: 300s }
    queue: 100000
    endpoints: { do: { script: [ sleep: 1s ] } }
    autoscale: { keda: { queue: 10, of: orders, max: 5, cooldown: 60s } }
load:
  users: { to: orders, arrivals: { constant: 5/s }, from: 10s, for: 60s }
",
    ));
    let decisions = &standing(&played).decisions;
    // Messages wait from 10 s on. KEDA looks at 30 s, and Kubernetes' autoscaler at 45 s: some 150 ask for 15.
    assert_eq!((decisions[0].at.secs().round(), decisions[0].from, decisions[0].to), (30.0, 0, 1), "{decisions:?}");
    assert_eq!((decisions[1].at.secs().round(), decisions[1].to), (45.0, 5), "{decisions:?}");
    assert!(decisions[1].asked > Some(5), "{decisions:?}");
    assert_eq!(decisions.last().unwrap().to, 0, "{decisions:?}");
}

#[test]
fn the_capacity_follows_the_utilisation_of_the_slots() {
    // 300/s hold a slot for 20 ms: 6 are busy. At 50 % 12 are wanted; 4 are there.
    let text = "
duration: 3m
nodes: [ { name: node, cores: 8 } ]
services:
  web:
    capacity: 4
    capacity_max: 100
    queue: 100000
    endpoints: { get: { script: [ sleep: 20ms ] } }
    autoscale: { capacity: { utilisation: 50%, window: 30s } }
load:
  users: { to: web, arrivals: { constant: 300/s } }
";
    let played = play(parse(text));
    let decisions = &standing(&played).decisions;
    let capacities: Vec<u32> = decisions.iter().map(|it| it.to).collect();
    // All slots are busy, twice, as a queue has built up; then 6 of 16, and the window of declines.
    assert_eq!(capacities, [8, 16, 12], "{decisions:?}");
    assert!(decisions[2].at.secs() > 59.0, "{decisions:?}");
    assert!(played.operations().iter().all(|it| !it.is_automatic || it.kind == OperationKind::Scale));
}

#[test]
fn an_autoscaler_that_is_off_decides_nothing_until_it_is_on() {
    let text = text("{ max: 20, cpu: 60% }", "");
    let set = |at, to| format!("{{ at: {at}s, set: services.web.autoscale, to: {to} }}");
    let played = play(parse(&format!("{text}\noperations: [ {}, {} ]\n", set(10, "off"), set(100, "on"))));
    let changes = changes(&played);
    assert!(changes.len() == 1 && (100.0..=115.0).contains(&changes[0].0), "{changes:?}");
    assert_eq!(standing(&played).off, 6, "from 15 s to 90 s");
}

#[test]
fn a_momentary_signal_makes_it_turn_and_a_window_cures_it() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/autoscale/mesh.yaml");
    let turns = |seed: u64, overrides: &[Override]| {
        let mut experiment =
            meshsim_experiment::load(&path, overrides).unwrap_or_else(|it| panic!("{}", it.render(false, 100)));
        (experiment.seed, experiment.mesh.seed) = (seed, seed);
        let played = play(experiment);
        let changes = changes(&played);
        changes.windows(2).filter(|pair| (pair[0].2 > pair[0].1) != (pair[1].2 > pair[1].1)).count()
    };
    let window: Vec<Override> = vec![Override::parse("services.web.autoscale.down.window=300s").unwrap()];
    for seed in 1..=10 {
        let (without, with) = (turns(seed, &[]), turns(seed, &window));
        assert!(without >= 10 && with <= 4, "seed {seed}: {without} turns, and {with} with a window");
    }
}

#[test]
fn check_expects_a_late_loop_to_go_round_unless_a_window_calms_it() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/autoscale/mesh.yaml");
    let warning = |set: &str| {
        let overrides: Vec<Override> = vec![Override::parse(set).unwrap()];
        let experiment =
            meshsim_experiment::load(&path, &overrides).unwrap_or_else(|it| panic!("{}", it.render(false, 100)));
        let warnings = meshsim_experiment::check::check(&experiment).warnings;
        warnings.into_iter().find(|it| it.kind == "oscillation").map(|it| it.message)
    };
    // An instance takes 10 s, and a sample is 7.5 s old on average: one decision of 15 s. At rate 1 that is the bound.
    let message = warning("seed=1").unwrap();
    assert!(message.contains("may go round") && message.contains("below 1.000"), "{message}");
    assert!(message.contains("Expected period: 6 decisions, 90 s"), "{message}");
    // 55 s and 7.5 s: four decisions.
    let message = warning("services.web.start_delay=55s").unwrap();
    assert!(message.contains("goes round") && message.contains("below 0.347"), "{message}");
    assert!(message.contains("Expected period: 18 decisions, 270 s"), "{message}");
    assert_eq!(warning("services.web.autoscale.down.window=300s"), None);
}
