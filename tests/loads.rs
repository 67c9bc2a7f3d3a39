//! Targets of loads: mixes that change, and journeys of users.

use meshsim_actor::Span;
use meshsim_experiment::check::check;
use meshsim_mesh::ActorResults;
use meshsim_mesh::actors::MeshActor;
use meshsim_mesh::course::Course;
use meshsim_mesh::measure::JourneyCounts;
use meshsim_tests::{Played, parse, play};

/// Runs a service with endpoints `a`, `b` and `c` under this load.
fn run(load: &str) -> Played {
    play(parse(&text(load)))
}

fn text(load: &str) -> String {
    format!(
        "seed: 3\nduration: 100s\nnodes: [ {{ name: n, cores: 64 }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\n\
         services: {{ s: {{ capacity: 100000, endpoints: {{ a: {{}}, b: {{}}, c: {{}} }} }} }}\n\
         load: {{ users: {{ to: s, {load} }} }}\n"
    )
}

/// Offered requests of each target in each second.
fn offered(ran: &Played) -> Vec<Vec<u64>> {
    let client = ran.sim.actors().find_map(MeshActor::client).expect("there is a load");
    let targets = client.tallies().len();
    let courses = client.courses(ran.sim.now());
    let windows = |course: &Course| {
        let mut offered: Vec<u64> = course.windows().map(|window| window.offered).collect();
        offered.resize(100, 0);
        offered
    };
    courses[..targets].iter().map(windows).collect()
}

fn expect_share(found: u64, n: u64, p: f64) {
    let (n, found) = (n as f64, found as f64);
    let error = (n * p * (1.0 - p)).sqrt();
    assert!((found - n * p).abs() <= 4.0 * error, "{found} of {n}, and {} +/- {error} are expected", n * p);
}

#[test]
fn a_mix_that_changes_has_the_weights_of_each_time() {
    let ran = run("arrivals: { constant: 1000/s }, mix: [ { for: 20s, weights: { a: 1, b: 3 } }, \
                   { for: 40s, weights: { a: 100 }, to: { c: 300 } } ]");
    let of = offered(&ran);
    let sum = |target: usize, from: usize, to: usize| of[target][from..to].iter().sum::<u64>();
    // A step: a quarter, exactly from one end of the piece to the other.
    expect_share(sum(0, 0, 20), 20_000, 0.25);
    expect_share(sum(1, 0, 20), 20_000, 0.75);
    assert_eq!((sum(2, 0, 20), sum(1, 20, 100)), (0, 0));
    // Linear in the weights: x of the way, the share of c is 300 x / (300 x + 100 (1 - x)).
    for (from, to) in [(20, 22), (30, 31), (39, 41), (58, 60)] {
        let n = 1000 * (to - from) as u64;
        let share = |at: f64| 3.0 * at / (3.0 * at + 1.0 - at);
        let steps = 1000;
        let mean = (0..steps).map(|step| {
            let at = from as f64 + (to - from) as f64 * (f64::from(step) + 0.5) / f64::from(steps);
            share((at - 20.0) / 40.0)
        });
        expect_share(sum(2, from, to), n, mean.sum::<f64>() / f64::from(steps));
    }
    // The weights at the end of the last piece stay.
    assert_eq!((sum(0, 60, 100), sum(2, 60, 100)), (0, 40_000));
}

#[test]
fn a_mix_that_changes_draws_as_the_same_mix_that_does_not() {
    let steady = offered(&run("arrivals: { poisson: 100/s }, mix: { a: 1, b: 3 }"));
    let pieces = offered(&run("arrivals: { poisson: 100/s }, mix: [ { for: 10s, weights: { a: 1, b: 3 } } ]"));
    assert_eq!(steady, pieces);
}

#[test]
fn check_counts_a_mix_that_changes_at_its_mean_and_warns_where_it_bends() {
    let load = "arrivals: { constant: 10/s }, mix: [ { for: 50s, weights: { a: 1 } }, { for: 50s, weights: { a: 1 }, to: { b: 1 } } ]";
    let text =
        text(load).replace("capacity: 100000", "capacity: 2").replace("b: {}", "b: { script: [ sleep: 500ms ] }");
    let report = check(&parse(&text));
    // A quarter of the requests ask for `b`, on average.
    assert!((report.loads[0].unloaded - 0.125).abs() < 1e-3, "{}", report.loads[0].unloaded);
    assert!((report.services[0].utilisation - 0.625).abs() < 0.01, "{}", report.services[0].utilisation);
    let warned: Vec<_> = report.warnings.iter().filter(|warning| warning.kind == "overload").collect();
    assert!(warned.len() == 1 && warned[0].message.contains("as at 100s"), "{warned:?}");
    assert!(report.not_modelled.iter().any(|it| it.contains("Mixes that change")), "{:?}", report.not_modelled);
}

#[test]
fn a_load_whose_mix_changes_takes_as_long_as_its_targets() {
    // From the load's start, which is not that of the run.
    let load = "from: 5s, for: 90s, arrivals: { constant: 10/s }, mix: [ { for: 45s, weights: { a: 1 } }, { for: 45s, weights: { b: 1 } } ]";
    let tally = play(parse(&text(load).replace("b: {}", "b: { script: [ sleep: 500ms ] }"))).tally();
    assert_eq!((tally.done, tally.latency.count_above(Span::from_millis(400))), (900, 450));
}

/// The journeys of the load.
fn journeys(ran: &Played) -> JourneyCounts {
    let client = ran.sim.actors().nth(2).expect("it is the client");
    let ActorResults::Client { journeys, .. } = client.results(ran.sim.now()) else { panic!("a client's") };
    *journeys.expect("there are journeys")
}

/// `a`, then by half the end, else `b`, and `a` again.
const LOOP: &str = "journey: { one: { to: a, think: 100ms, next: { two: 50, end: 50 } }, two: { to: b, think: 200ms, next: { one: 1 } } }";

#[test]
fn arrivals_make_journeys_with_the_visits_and_the_time_of_their_chain() {
    let ran = run(&format!("from: 1s, for: 90s, arrivals: {{ constant: 100/s }}, {LOOP}"));
    let counts = journeys(&ran);
    let of: Vec<u64> = offered(&ran).iter().map(|windows| windows.iter().sum()).collect();
    // The load ends with some under way; the others have made each step twice and once, on average.
    let ended = counts.time.count();
    assert!(counts.begun == 9000 && counts.abandoned == 0 && ended > 8900, "{counts:?}");
    let standard_error = (2.0_f64 / ended as f64).sqrt();
    let rounds = counts.time.mean().secs() / 0.3;
    assert!((rounds - 1.0).abs() < 4.0 * standard_error, "{rounds} rounds of 300 ms, one is expected");
    let firsts = of[0] as f64 / counts.begun as f64;
    assert!((firsts - 2.0).abs() < 4.0 * standard_error + 0.01, "{firsts}");
    assert!(of[0] - of[1] >= ended, "each that is completed ends with `a`");
    let late: u64 = offered(&ran).iter().map(|windows| windows[91..].iter().sum::<u64>()).sum();
    assert_eq!(late, 0, "no step is made after the end of the load");
    let warm = run(&format!("from: 1s, for: 90s, warmup: 50s, arrivals: {{ constant: 100/s }}, {LOOP}"));
    assert_eq!(journeys(&warm).begun, 4000, "a journey counts if it began after the warm-up");
}

#[test]
fn a_failed_request_abandons_its_journey() {
    let load = "from: 1s, for: 90s, arrivals: { constant: 100/s }, journey: { one: { to: a }, two: { to: a }, three: { to: a } }";
    let ran = play(parse(&text(load).replace("a: {}", "a: { errors: 10%, script: [ sleep: 10ms ] }")));
    let counts = journeys(&ran);
    // But for those that the end of the load finds under way.
    assert!(counts.begun == 9000 && counts.time.count() + counts.abandoned >= 8995, "{counts:?}");
    expect_share(counts.time.count(), 9000, 0.729);
    assert_eq!((counts.time.mean(), ran.tally().failed.total()), (Span::from_millis(30), counts.abandoned));
    // Steps that ask for the same endpoint have figures of their own.
    let of: Vec<u64> = offered(&ran).iter().map(|windows| windows.iter().sum()).collect();
    assert_eq!(of[0], 9000);
    expect_share(of[1], 9000, 0.9);
    expect_share(of[2], 9000, 0.81);
}

#[test]
fn users_of_a_closed_load_make_one_journey_after_the_other() {
    let ran =
        run("from: 1s, users: 10, think: 500ms, journey: { one: { to: a, think: 1s }, two: { to: b, think: 9s } }");
    let counts = journeys(&ran);
    // Ten users, each 1.5 s for a journey: the think time of the last step does not apply.
    assert!(counts.begun.abs_diff(660) <= 10, "{counts:?}");
    assert_eq!((counts.time.mean(), counts.abandoned), (Span::from_secs(1), 0));
    let report = check(&ran.experiment);
    assert!((report.loads[0].rate - 20.0 / 1.5).abs() < 1e-9, "{}", report.loads[0].rate);
    assert!((report.loads[0].closed.as_ref().unwrap().think - 0.75).abs() < 1e-9);
}

#[test]
fn check_counts_the_requests_of_journeys_and_a_run_makes_as_many() {
    let experiment = parse(&text(&format!("from: 1s, arrivals: {{ poisson: 100/s }}, {LOOP}")));
    let report = check(&experiment);
    assert!((report.loads[0].rate - 300.0).abs() < 1e-6 && report.loads[0].is_exact, "{:?}", report.loads[0]);
    let offered = play(experiment).tally().offered as f64 / 99.0;
    // Poisson numbers of journeys, each of 3 requests with a variance of 8.
    assert!((offered - 300.0).abs() < 4.0 * (100.0_f64 * 17.0 / 99.0).sqrt(), "{offered}");
}

#[test]
fn the_steps_of_a_journey_do_not_depend_on_how_slow_the_mesh_is() {
    let load = format!("from: 1s, for: 80s, arrivals: {{ constant: 20/s }}, {LOOP}");
    let late = text(&load).replace("a: {}", "a: { script: [ sleep: 50ms ] }");
    let (quick, slow) = (play(parse(&text(&load))), play(parse(&late)));
    // But for those that the end of the load finds under way.
    let of = |ran: &Played| offered(ran).iter().map(|windows| windows[..70].iter().sum::<u64>()).collect::<Vec<_>>();
    let (quick, slow) = (of(&quick), of(&slow));
    assert!(quick.iter().zip(&slow).all(|(a, b)| a.abs_diff(*b) <= 12), "{quick:?} {slow:?}");
}
