//! Autoscaling in whole runs: an actor that sees nothing but messages, late, lost or missing.

use meshsim_experiment::{Experiment, Override};
use meshsim_mesh::MeshActor;
use meshsim_mesh::autoscale::{Decision, Standing};
use meshsim_mesh::measure::OperationKind;
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
    // At 105 s the other one has used 0.9 of its core: 0.45 on average with an idle one, too little to grow. At 120 s it
    // has used 1.5: 0.75 on average, three instances. With the old sample the decision would come at 105 s.
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
