//! Where requests go: keys, zones and failed instances, in whole runs.

use meshsim_experiment::Experiment;
use meshsim_mesh::MeshActor;
use meshsim_tests::{Played, example, parse, play};

/// Requests served by each node.
fn by_node(ran: &Played) -> Vec<u64> {
    let nodes = ran.sim.actors().filter_map(MeshActor::node);
    nodes.map(|node| node.served(ran.sim.now()).iter().map(|(_, served)| served.arrived).sum()).collect()
}

#[test]
fn a_request_goes_where_its_key_belongs_and_few_keys_move_with_an_instance() {
    for balancer in ["ring_hash", "maglev"] {
        let text = format!(
            "duration: 20s\nnodes: [ {{ name: n, count: 10 }} ]\n\
             services: {{ a: {{ instances: 10, balancer: {{ {balancer}: {{ keys: {{ count: 3 }} }} }}, endpoints: {{ get: {{}} }} }} }}\n\
             load: {{ users: {{ to: a, arrivals: {{ poisson: 300/s }}, from: 1s }} }}\n"
        );
        let ran = play(parse(&text));
        let counts = by_node(&ran);
        let used = counts.iter().filter(|count| **count > 0).count();
        assert!((1..=3).contains(&used), "{balancer}: three keys go to {counts:?}");
        assert_eq!(ran.tally().failed.total(), 0);
        // Each key has a third: whoever holds one has a multiple of that.
        let all: u64 = counts.iter().sum();
        for count in counts.iter().filter(|count| **count > 0) {
            let thirds = *count as f64 / all as f64 * 3.0;
            assert!((thirds - thirds.round()).abs() < 0.15, "{balancer}: {counts:?}");
        }
    }
}

/// Two zones with a client in zone a, and `there` instances of ten in zone b.
fn zones(routing: &str, more: &str) -> Experiment {
    parse(&format!(
        "duration: 30s\nnodes: [ {{ name: a, count: 5, zone: a, cores: 1 }}, {{ name: b, count: 5, zone: b, cores: 1 }} ]\n\
         services: {{ web: {{ instances: 10, cpu: 1, zone_routing: {routing}, endpoints: {{ get: {{}} }} }} }}\n\
         load: {{ near: {{ to: web, arrivals: {{ poisson: 500/s }}, from: 1s, timeout: 100ms, zone: a }},\n\
                  far: {{ to: web, arrivals: {{ poisson: 500/s }}, from: 1s, timeout: 100ms, zone: b }} }}\n{more}"
    ))
}

#[test]
fn calls_stay_in_their_zone_and_leave_it_when_it_dies() {
    for routing in ["aware", "failover"] {
        // Each zone has half of the callers and half of the instances: a link between them that drops all is not missed.
        let cut = "faults: [ { at: 5s, for: 20s, link: { from: near, to: b }, drop: 100% }, \
                             { at: 5s, for: 20s, link: { from: far, to: a }, drop: 100% } ]\n";
        let ran = play(zones(routing, cut));
        assert_eq!(ran.tally().failed.total(), 0, "{routing}");
        let dies = "faults: [ { at: 10s, for: 30s, crash: a } ]\n";
        let ran = play(zones(routing, dies));
        let counts = by_node(&ran);
        let (near, far): (u64, u64) = (counts[..5].iter().sum(), counts[5..].iter().sum());
        // Of 500/s for 29 s: 9 s at home, 4 s at most lost, and the rest abroad.
        assert!((8.0..10.0).contains(&(near as f64 / 500.0)), "{routing}: {counts:?}");
        assert!((29.0 + 14.0..29.0 + 18.0).contains(&(far as f64 / 500.0)), "{routing}: {counts:?}");
        assert!(ran.tally().failed.total() < 2_300, "{routing}: {:?}", ran.tally().failed);
    }
}

#[test]
fn callers_in_a_zone_with_fewer_instances_send_the_surplus_away() {
    // Half of the callers, a fifth of the instances: two of five of their calls stay, if all are to be loaded alike.
    let text = "duration: 41s\nnodes: [ { name: a, count: 2, zone: a, cores: 1 }, { name: b, count: 8, zone: b, cores: 1 } ]\n\
         services: { web: { instances: 10, cpu: 1, zone_routing: aware, endpoints: { get: {} } } }\n\
         load: { near: { to: web, arrivals: { poisson: 500/s }, from: 1s, zone: a },\n\
                  far: { to: web, arrivals: { poisson: 500/s }, from: 1s, zone: b } }\n";
    let counts = by_node(&play(parse(text)));
    let all: u64 = counts.iter().sum();
    let here = counts[..2].iter().sum::<u64>() as f64 / all as f64;
    let error = (0.2 * 0.8 / all as f64).sqrt();
    assert!((here - 0.2).abs() < 4.0 * error, "{here}, not 0.2 +- {error}");
}

/// Share of the requests that were answered from 28 s to 48 s, when the callers know of the outage.
fn answered(seed: u64, threshold: f64) -> f64 {
    let mut experiment = example("zone-outage");
    experiment.seed = seed;
    experiment.mesh.seed = seed;
    experiment.network.seed = seed;
    for selection in experiment.mesh.services.iter_mut().filter_map(|it| it.selection.as_mut()) {
        selection.panic_threshold = threshold;
    }
    let ran = play(experiment);
    let client = ran.sim.actors().find_map(MeshActor::client).expect("it has a load");
    let course = client.courses(ran.sim.now()).swap_remove(0);
    let windows: Vec<_> = course.windows().skip(28).take(20).collect();
    let sum = |of: fn(&meshsim_mesh::course::Window) -> u64| windows.iter().map(|it| of(it)).sum::<u64>() as f64;
    sum(|it| it.done) / sum(|it| it.offered)
}

#[test]
fn the_panic_threshold_saves_what_is_left_after_a_zone_has_died() {
    for seed in 1..=10 {
        let (with, without) = (answered(seed, 0.5), answered(seed, 0.0));
        println!("seed {seed}: {with:.3} answered with the threshold, {without:.3} without");
        // Four of ten instances get four of ten requests, and answer nearly all of them.
        assert!((0.38..0.42).contains(&with), "seed {seed}: {with}");
        assert!(without < 0.1, "seed {seed}: {without}");
    }
}
