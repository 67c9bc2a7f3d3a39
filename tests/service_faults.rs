//! Faults of services: whom they hit, what becomes of the requests, and that nothing else moves.

use meshsim_actor::{Span, Time};
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::{Failure, Tally};
use meshsim_tests::{Played, parse, play};

/// Two nodes; `front` calls `back`, which works for 10 ms and has four instances, two on each node, in turn; version 2
/// of
/// `back` replaces all at 0.5 s if `UPDATE` is there. 200 requests a second for 100 s from 1 s on.
fn mesh(faults: &str) -> String {
    format!(
        "duration: 102s\nnodes: [ {{ name: node, count: 2, cores: 100 }} ]\nnetwork: {{ latency: 0s, local: 0s }}\n\
         services:\n\
         \x20 front: {{ capacity: 1000, balancer: round_robin, endpoints: {{ \
              go: {{ script: [ {{ call: {{ to: back.get, timeout: 990ms }} }} ] }} }} }}\n\
         \x20 back: {{ instances: 4, capacity: 1000, balancer: round_robin, endpoints: {{ \
              get: {{ script: [ work: 10ms ] }}, put: {{ script: [ work: 10ms ] }} }} }}\n\
         load:\n\
         \x20 gets: {{ to: front, arrivals: {{ constant: 200/s }}, from: 1s, for: 100s, timeout: none }}\n\
         \x20 puts: {{ to: back.put, arrivals: {{ constant: 100/s }}, from: 1s, for: 100s, timeout: 990ms }}\n\
         faults: [ {faults} ]\n"
    )
}

fn tally(played: &Played, load: usize) -> Tally {
    let mesh = &played.experiment.mesh;
    played.sim.state(mesh.client_actor(load)).client().unwrap().tallies()[0].clone()
}

fn windows(played: &Played, load: usize) -> Vec<Window> {
    let mesh = &played.experiment.mesh;
    let client = played.sim.state(mesh.client_actor(load)).client().unwrap();
    client.courses(played.sim.now()).swap_remove(0).windows().cloned().collect()
}

fn ran(faults: &str) -> Played {
    play(parse(&mesh(faults)))
}

/// Failures of both loads with this fault over the whole run.
fn failed(fault: &str, failure: Failure) -> [u64; 2] {
    let played = ran(&format!("{{ {fault}, for: 1000s }}"));
    let done = [tally(&played, 0), tally(&played, 1)];
    done.map(|tally| {
        assert_eq!(tally.failed.total(), tally.failed.of(failure), "{fault}: another failure");
        tally.failed.of(failure)
    })
}

/// `hit` of the requests meet the share `p`, and `found` of them failed: within four standard errors.
fn expect_share(found: u64, hit: f64, p: f64, what: &str) {
    let (mean, error) = (hit * p, (hit * p * (1.0 - p)).sqrt());
    assert!((found as f64 - mean).abs() <= 4.0 * error, "{what}: {found} failed, and {mean} +/- {error} are expected");
}

#[test]
fn an_error_rate_hits_its_target_and_no_other_request() {
    for (target, gets, puts) in [
        ("service: back", 20_000.0, 10_000.0),
        ("service: back.get", 20_000.0, 0.0),
        ("service: back, version: 1", 20_000.0, 10_000.0),
        ("service: back, version: 2", 0.0, 0.0),
        ("service: back#2", 5_000.0, 2_500.0),
        ("service: back, instances: 1", 5_000.0, 2_500.0),
        ("service: back, instances: 3", 15_000.0, 7_500.0),
        ("service: back, nodes: node-1", 10_000.0, 5_000.0),
        ("service: back.put, nodes: node-0, instances: 1", 0.0, 2_500.0),
        ("service: back, from: front", 20_000.0, 0.0),
        ("service: back, from: puts", 0.0, 10_000.0),
        ("service: back.get, from: puts", 0.0, 0.0),
    ] {
        let found = failed(&format!("{target}, errors: 20%"), Failure::Error);
        expect_share(found[0], gets, 0.2, target);
        expect_share(found[1], puts, 0.2, target);
    }
}

#[test]
fn a_share_of_the_requests_is_refused_at_once_and_does_no_work() {
    let found = failed("service: back.put, refuse: 30%", Failure::Refused);
    assert_eq!(found[0], 0);
    expect_share(found[1], 10_000.0, 0.3, "refused");
    let played = ran("{ service: back.put, refuse: 30%, for: 1000s }");
    let served = played.served("back");
    let done = 30_000 - tally(&played, 1).failed.total();
    assert_eq!((served.work_ns, served.failed.total()), (done * 10_000_000, tally(&played, 1).failed.total()));
}

/// Least and greatest latencies of the requests that were planned in these seconds.
fn latencies(windows: &[Window], from: usize, until: usize) -> (f64, f64) {
    let slowest = windows[from..until].iter().map(|it| it.slowest.latency_ns as f64 / 1e6);
    let each: Vec<f64> = slowest.collect();
    (each.iter().copied().fold(f64::MAX, f64::min), each.iter().copied().fold(0.0, f64::max))
}

#[test]
fn an_added_latency_is_exact_and_ends_with_the_fault() {
    let played = ran("{ service: back.get, latency: 25ms, at: 20s, for: 10s }");
    let gets = windows(&played, 0);
    assert_eq!(latencies(&gets, 2, 20), (10.0, 10.0));
    assert_eq!(latencies(&gets, 20, 30), (35.0, 35.0));
    assert_eq!(latencies(&gets, 31, 100), (10.0, 10.0));
    assert_eq!(latencies(&windows(&played, 1), 2, 100), (10.0, 10.0), "the other endpoint");
}

#[test]
fn an_added_latency_on_one_edge_counts_against_the_callers_timeout() {
    let played = ran("{ service: back, from: front, latency: 25ms, at: 20s, for: 10s }, \
                      { service: back, from: puts, latency: 2s, at: 20s, for: 10s }");
    assert_eq!(latencies(&windows(&played, 0), 20, 30), (35.0, 35.0));
    let puts = tally(&played, 1);
    assert_eq!((puts.failed.of(Failure::Timeout), puts.failed.total()), (1_000, 1_000));
    assert_eq!(played.served("back").arrived, 29_000, "an attempt that was given up is not sent");
}

#[test]
fn requests_that_hang_time_out_exactly_and_those_at_the_end_go_on() {
    // A put comes each 10 ms, from 1.005 s on. Those from 20.005 s on hang, and look each 100 ms. The last that times
    // out within 990 ms before its first look after 30 s is that of 29.105 s: it gives up at 30.095 s and would look at
    // 30.005 s. It is answered. The one of 29.015 s gives up at 30.005 s, and looks at 30.015 s.
    let played = ran("{ service: back.put, hang: 100%, at: 20s, for: 10s }");
    let puts = tally(&played, 1);
    let late = (0..1_000).filter(|n| {
        let began = 20_005 + n * 10;
        let looks = (30_000 - began as u64).div_ceil(100) * 100;
        looks + 10 > 990
    });
    assert_eq!((puts.failed.of(Failure::Timeout), puts.failed.total()), (late.count() as u64, puts.failed.total()));
    assert_eq!(tally(&played, 0).failed.total(), 0, "the other endpoint");
    // Calls that hang at the caller are never sent: all of them time out, and the callee never sees them.
    let played = ran("{ service: back.put, from: puts, hang: 100%, at: 20s, for: 10s }");
    assert_eq!(tally(&played, 1).failed.of(Failure::Timeout), 1_000);
    assert_eq!(played.served("back").arrived, 29_000);
}

#[test]
fn a_slow_instance_works_slowly_and_its_neighbours_do_not() {
    let played = ran("{ service: back, instances: 1, speed: 0.1, at: 20s, for: 10s }");
    let (gets, puts) = (windows(&played, 0), windows(&played, 1));
    assert_eq!(latencies(&gets, 20, 30), (100.0, 100.0));
    assert_eq!(latencies(&gets, 31, 100), (10.0, 10.0));
    assert_eq!(latencies(&puts, 20, 30), (100.0, 100.0));
    // A quarter of the requests of ten seconds takes 90 ms of work more.
    let more = played.served("back").work_ns - 30_000 * 10_000_000;
    let mean = 3_000.0 / 4.0 * 90e6;
    assert!((more as f64 - mean).abs() < 2.0 * 90e6, "{more} ns more, and {mean} are expected");
}

#[test]
fn lost_slots_make_requests_wait_and_come_back() {
    // Each of ten slots is held for a second, and eight requests a second come: with half of the slots five are served.
    let text = "duration: 100s\nnodes: [ { name: node } ]\nnetwork: { latency: 0s, local: 0s }\n\
                services: { s: { capacity: 10, endpoints: { go: { script: [ sleep: 1s ] } } } }\n\
                load: { users: { to: s, arrivals: { constant: 8/s }, from: 1s, for: 90s, timeout: none } }\n\
                faults: [ { service: s, slots: 50%, at: 20s, for: 20s } ]\n";
    let played = play(parse(text));
    let windows = windows(&played, 0);
    assert_eq!(latencies(&windows, 2, 19), (1000.0, 1000.0));
    // Three a second more than are served, for 20 s: 60 wait in the end, but for the eight that had slots at first.
    let waiting = played.served("s").queue_peak;
    assert!((57..=63).contains(&waiting), "{waiting} waited");
    // Ten a second are served then: 60 are gone after 30 s.
    assert_eq!(latencies(&windows, 75, 90), (1000.0, 1000.0));
    assert_eq!(tally(&played, 0).failed.total(), 0);
}

#[test]
fn a_further_fault_and_a_greater_share_move_no_draw() {
    let failures =
        |faults: &str| -> Vec<u64> { windows(&ran(faults), 0).iter().map(|window| window.failed.total()).collect() };
    let alone = failures("{ service: back.get, errors: 10%, for: 1000s }");
    let beside = failures(
        "{ service: back.put, errors: 50%, for: 1000s }, { service: back.get, errors: 10%, for: 1000s }, \
         { service: front, latency: 1ms, at: 20s, for: 5s }",
    );
    assert_eq!(alone, beside);
    let more = failures("{ service: back.get, errors: 20%, for: 1000s }");
    assert!(alone.iter().zip(&more).all(|(few, more)| few <= more) && alone != more);
}

#[test]
fn two_equal_faults_draw_independently() {
    let twice = "{ service: back.put, errors: 50%, for: 1000s }, { service: back.put, errors: 50%, for: 1000s }";
    expect_share(tally(&ran(twice), 1).failed.total(), 10_000.0, 0.75, "twice a half");
}

#[test]
fn a_fault_of_a_service_outlives_a_restart_of_its_machine() {
    let crashed = "{ service: back, nodes: node-1, errors: 100%, for: 1000s }, { crash: node-1, at: 20s, for: 1s }";
    let played = ran(crashed);
    let puts = windows(&played, 1);
    // node-1 comes back before it is missed, and has half of the instances again.
    for window in &puts[60..100] {
        assert_eq!(window.failed.of(Failure::Error), 50, "{window:?}");
    }
}

#[test]
fn a_manual_fault_of_a_service_begins_now_and_ends() {
    let mut experiment = parse(&mesh(""));
    let now = Time::ZERO + Span::from_secs(30);
    let said = experiment.fault("{ service: back.put, errors: 100%, for: 10s }", now).unwrap();
    assert_eq!((said.len(), said[0].at, said[0].until), (1, now, now + Span::from_secs(10)));
    experiment.network.faults.extend(said);
    let puts = tally(&play(experiment), 1);
    assert_eq!(puts.failed.of(Failure::Error), 1_000);
}
