//! The instances that requests go to: keys, zones and failed instances, in whole runs.

use std::collections::VecDeque;

use meshsim_actor::{Rng, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::MeshActor;
use meshsim_mesh::model::{Balancer, Choices};
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
        // Each key has a third: the holder of one has a multiple of that.
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
        // Each zone has half of the callers and half of the instances: a link between them that drops all is not
        // missed.
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

/// Mean latency in seconds of a short run of `stale-load` with this balancer.
fn stale(seed: u64, balancer: Balancer) -> f64 {
    let mut experiment = Experiment { duration: Span::from_secs(14), ..example("stale-load") };
    experiment.seed = seed;
    experiment.mesh.seed = seed;
    experiment.network.seed = seed;
    experiment.mesh.services[0].balancer = balancer;
    let load = &mut experiment.mesh.loads[0];
    load.warmup = Span::from_secs(3);
    // Whatever waits then is answered before the end of the run.
    load.end = Time::ZERO + Span::from_secs(12);
    let ran = play(experiment);
    let latency = ran.tally().latency;
    latency.mean().secs()
}

fn least_loaded(choices: Choices) -> Balancer {
    Balancer::LeastLoaded { choices, refresh: Span::from_millis(100) }
}

#[test]
fn an_old_board_makes_the_least_loaded_worse_than_any_and_two_choices_mend_it() {
    for seed in 1..=10 {
        let all = stale(seed, least_loaded(Choices::All));
        let random = stale(seed, Balancer::Random);
        let two = stale(seed, least_loaded(Choices::Replaced(2)));
        println!("seed {seed}: least loaded of all {all:.4} s, random {random:.4} s, of two {two:.4} s");
        assert!(all > 2.0 * random, "seed {seed}: {all} of all, {random} at random");
        assert!(two < 0.8 * random, "seed {seed}: {two} of two, {random} at random");
    }
}

/// The same queues without a mesh: mean time in the system, in service times, for a choice among `choices` of a hundred
/// at load 0.9 by a board that is renewed every ten service times.
fn plain(choices: Option<u32>, seed: u64) -> f64 {
    const N: u32 = 100;
    let mut rng = Rng::stream(seed, "plain");
    let mut draw = |mean: f64| -mean * (1.0 - rng.unit()).ln();
    let mut picks = Rng::stream(seed, "picks");
    let mut free_at = vec![0.0_f64; N as usize];
    let mut ends: Vec<VecDeque<f64>> = vec![VecDeque::new(); N as usize];
    let mut board = vec![0; N as usize];
    let (mut now, mut renewed, mut sum, mut count) = (0.0, 0.0, 0.0, 0.0);
    while now < 4_000.0 {
        now += draw(1.0 / (0.9 * f64::from(N)));
        while renewed + 10.0 <= now {
            renewed += 10.0;
            for (load, ends) in board.iter_mut().zip(&mut ends) {
                while ends.front().is_some_and(|end| *end <= renewed) {
                    ends.pop_front();
                }
                *load = ends.len();
            }
        }
        let to = match choices {
            Some(draws) => (0..draws).map(|_| picks.below(N) as usize).min_by_key(|at| board[*at]).unwrap(),
            None => {
                let least = *board.iter().min().unwrap();
                let equals: Vec<usize> = (0..N as usize).filter(|at| board[*at] == least).collect();
                equals[picks.below(equals.len() as u32) as usize]
            }
        };
        let end = free_at[to].max(now) + draw(1.0);
        free_at[to] = end;
        ends[to].push_back(end);
        if now > 500.0 {
            sum += end - now;
            count += 1.0;
        }
    }
    sum / count
}

#[test]
fn stale_choices_take_as_long_as_in_an_independent_simulation() {
    for (choices, drawn) in [(Choices::All, None), (Choices::Replaced(2), Some(2))] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for seed in 1..=8 {
            // In service times; the network takes 0.02 of one.
            ours.push(stale(seed, least_loaded(choices)) / 0.01 - 0.02);
            theirs.push(plain(drawn, seed));
        }
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let square = |of: &[f64]| {
            of.iter().map(|it| (it - mean(of)).powi(2)).sum::<f64>() / (of.len() - 1) as f64 / of.len() as f64
        };
        let error = (square(&ours) + square(&theirs)).sqrt();
        let (a, b) = (mean(&ours), mean(&theirs));
        println!("{choices:?}: {a:.3} and {b:.3}, standard error {error:.3}");
        assert!((a - b).abs() < 4.0 * error, "{choices:?}: {a}, independently {b}, standard error {error}");
        assert!(error < 0.05 * b);
    }
}

#[test]
fn weights_and_slow_start_decide_the_share_of_an_instance() {
    for balancer in
        ["random", "round_robin", "least_request", "p2c_peak_ewma", "{ ring_hash: { min_size: 100000 } }", "maglev"]
    {
        let text = format!(
            "duration: 41s\nnodes: [ {{ name: n, count: 3, cores: 1 }}, {{ name: big, cores: 1, weight: 3 }} ]\n\
             services: {{ a: {{ instances: 4, cpu: 1, capacity: 50, balancer: {balancer}, endpoints: {{ get: {{}} }} }} }}\n\
             load: {{ users: {{ to: a, arrivals: {{ poisson: 500/s }}, from: 1s }} }}\n"
        );
        let counts = by_node(&play(parse(&text)));
        let all: u64 = counts.iter().sum();
        let share = counts[3] as f64 / all as f64;
        // Three of six; a ring is uneven by a percent.
        assert!((share - 0.5).abs() < 0.02, "{balancer}: {counts:?}");
    }
    for balancer in ["random", "round_robin", "least_request", "p2c_peak_ewma"] {
        // The fourth instance comes at about 11 s, and its share rises from a tenth to all of its weight in 20 s.
        let text = format!(
            "duration: 31s\nnodes: [ {{ name: n, count: 4, cores: 1 }} ]\n\
             services: {{ a: {{ instances: 3, cpu: 1, capacity: 50, balancer: {balancer}, slow_start: {{ window: 20s }}, endpoints: {{ get: {{}} }} }} }}\n\
             operations: [ {{ at: 11s, extend: a, to: 4, rate: 1 }} ]\n\
             load: {{ users: {{ to: a, arrivals: {{ poisson: 600/s }}, from: 1s, for: 30s }} }}\n"
        );
        let counts = by_node(&play(parse(&text)));
        // The others are through with it at 20 s, and have less than full weight together with it until then.
        let weight = |age: f64| f64::max(age / 20.0, 0.1).min(1.0);
        let steps = (0..20_000).map(|step| f64::from(step) / 1000.0);
        let expected: f64 =
            steps.map(|age| weight(age) / (weight(age) + 3.0 * weight(age + 11.0)) * 600.0 / 1000.0).sum();
        let fewest = *counts.iter().min().unwrap() as f64;
        assert!((fewest / expected - 1.0).abs() < 0.08, "{balancer}: {counts:?}, expected {expected:.0}");
    }
}
