//! Closed loads: users who wait for answers, against the oracles of closed networks, and what they hide.

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_fault::{Crash, Fault, Pause};
use meshsim_mesh::ActorResults;
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::{Failure, Tally};
use meshsim_mesh::model::{Arrivals, CallPolicy, Load, Process, ScriptStep, Service, Users};
use meshsim_tests::{Testbed, exponential, load, service};

fn constant(ms: u64) -> Dist {
    Dist::Constant(Span::from_millis(ms))
}

fn exponential_dist(mean: f64) -> Dist {
    Dist::Exponential { at_least: Span::ZERO, mean: Span::from_secs_f64(mean) }
}

/// So many users of service 0 for so many seconds, from the first second on.
fn users(count: u32, think: Dist, secs: f64) -> Load {
    Load { arrivals: Arrivals::Users(Users { count, think, pacing: None }), ..load(0, 1.0, secs) }
}

fn lab() -> Testbed {
    Testbed::nodes(1).latency(Dist::Constant(Span::ZERO)).control(|control| control.heartbeat = Span::ZERO)
}

fn works(ms: u64) -> Service {
    service("s", vec![ScriptStep::Work(constant(ms))])
}

fn paused(from: f64, secs: f64) -> Fault {
    let (at, length) = (Time::ZERO + Span::from_secs_f64(from), Span::from_secs_f64(secs));
    Fault::new(at, at + length, Pause { actors: [ActorId(1)].into_iter().collect() })
}

/// The mean of batches and its standard error.
fn mean_of(batches: &[f64]) -> (f64, f64) {
    let n = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / n;
    let variance = batches.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// S = 1, Z = 10, N = 10 in units of a millisecond, for so many seconds; the last 20 of 25 windows.
fn closed_network(secs: f64) -> (Vec<Window>, Span) {
    let window = Span::from_secs_f64(secs / 25.0);
    let offered = Load {
        start: Time::ZERO + window,
        end: Time::ZERO + window * 25,
        window,
        ..users(10, exponential_dist(10e-3), secs)
    };
    let ran = lab().service(service("s", vec![exponential(1e-3)])).load(offered).run(secs);
    let course = ran.client(0).courses(ran.sim.now()).swap_remove(0);
    (course.windows().skip(5).take(20).cloned().collect(), window)
}

fn expect_mean_value_analysis(secs: f64) {
    let (windows, window) = closed_network(secs);
    let per_unit = |count: u64| count as f64 / window.secs() * 1e-3;
    let rates: Vec<f64> = windows.iter().map(|it| per_unit(it.done)).collect();
    let times: Vec<f64> = windows.iter().map(|it| it.done_sum_ns as f64 / it.done as f64 / 1e6).collect();
    for (what, batches, oracle) in [("X", rates, 0.785_418), ("R", times, 2.732_079)] {
        let (mean, error) = mean_of(&batches);
        println!("{what}: {mean:.5} +- {error:.5}, oracle {oracle}");
        assert!(error < 0.01 * mean, "{what}: {error} is more than 1 % of {mean}");
        assert!((mean - oracle).abs() < 4.0 * error, "{what}: {mean} +- {error}, not {oracle}");
    }
}

#[test]
fn a_closed_network_is_as_fast_as_mean_value_analysis_says() {
    expect_mean_value_analysis(250.0);
}

#[test]
#[ignore = "long: runs in release"]
fn a_closed_network_of_a_million_requests_is_as_fast_as_mean_value_analysis_says() {
    expect_mean_value_analysis(1_600.0);
}

#[test]
fn users_are_either_in_flight_or_think() {
    // Little's law for both places: in flight X R, thinking X Z, together N. The first holds exactly, window sums and
    // all.
    let (windows, window) = closed_network(100.0);
    let sum = |of: fn(&Window) -> u64| windows.iter().map(of).sum::<u64>() as f64;
    let secs = window.secs() * windows.len() as f64;
    let in_flight = sum(|it| it.levels.in_flight_ns) / 1e9 / secs;
    let thinking = sum(|it| it.done) / secs * 10e-3;
    assert!((in_flight + thinking - 10.0).abs() < 0.1, "{in_flight} + {thinking}");
    let whole = lab().service(works(3)).load(users(4, constant(5), 10.0)).run(20.0);
    let total = whole.client(0).courses(whole.sim.now())[0].total();
    assert_eq!((total.done, total.levels.in_flight_ns), (total.offered, total.done_sum_ns));
}

/// Results of a load of one request each 10 ms, served in 5 ms, with a pause of a second.
fn stalled(arrivals: Arrivals) -> Tally {
    let offered = Load { arrivals, ..load(0, 1.0, 50.0) };
    let ran = lab().service(works(5)).load(offered).fault(paused(20.0, 1.0)).run(60.0);
    let tally = ran.client(0).tallies()[0].clone();
    assert_eq!((tally.offered, tally.failed.total()), (tally.done, 0));
    tally
}

#[test]
fn one_user_hides_the_stall_that_an_open_load_shows() {
    let ms = |tally: &Tally, q: f64| tally.latency.quantile(q).secs() * 1e3;
    let open = stalled(Arrivals::steady(Process::Constant, 100.0));
    // 100 requests meet the stall, and 100 more the queue that it left: 5 ms served each 10 ms. Of 5,000, one in a
    // hundred takes longer than the 50th of these 200, which fall evenly from 1000 to 5 ms: 1000 - 50 * 5 = 750.
    assert_eq!(open.offered, 5_000);
    assert!((ms(&open, 0.99) - 750.0).abs() < 10.0, "{}", ms(&open, 0.99));
    assert!((open.latency.max().secs() - 1.0).abs() < 0.01);
    let user = Users { count: 1, think: constant(5), pacing: None };
    let closed = stalled(Arrivals::Users(user));
    // 49 s of one request each 10 ms, of which a single one met the stall.
    assert!((4_895..=4_905).contains(&closed.offered), "{}", closed.offered);
    assert_eq!(closed.latency.quantile(0.999).nanos() / 100_000, 50);
    assert!((closed.latency.max().secs() - 1.0).abs() < 0.01);
    // Which is what the load says of itself.
    assert!((closed.longest_wait.ns as f64 / 1e9 - 1.0).abs() < 0.01);
    assert_eq!(closed.longest_wait.sent, 0);
}

#[test]
fn a_pace_gives_the_request_after_a_stall_its_delay() {
    let user = Users { count: 1, think: constant(0), pacing: Some(Span::from_millis(10)) };
    let paced = stalled(Arrivals::Users(user));
    assert!((4_895..=4_905).contains(&paced.offered), "{}", paced.offered);
    // Two requests are slow: the one that met the stall, and the next, which was to begin 10 ms after it.
    assert_eq!(paced.latency.count_above(Span::from_millis(900)), 2);
    assert_eq!(paced.uncorrected.count_above(Span::from_millis(900)), 1);
    // It is the reply that was late, and not who sends.
    assert_eq!(paced.lag.count_above(Span::ZERO), 0);
}

#[test]
fn a_user_goes_on_after_a_timeout_and_without_an_instance() {
    let policy = CallPolicy { timeout: Some(Span::from_millis(100)), ..CallPolicy::default() };
    let offered = Load { policy, ..users(1, constant(100), 10.0) };
    let ran = lab().service(works(1_000)).load(offered).run(12.0);
    let tally = &ran.client(0).tallies()[0];
    // Each takes 100 ms and a thought of 100 ms.
    assert!((49..=50).contains(&tally.failed.of(Failure::Timeout)), "{:?}", tally.failed);
    // One that cannot be sent ends at once: its user rests for a millisecond, and the run has an end.
    let none = Service { instances: 0, ..works(1) };
    let ran = lab().service(none).load(users(2, constant(0), 1.0)).run(3.0);
    assert_eq!(ran.client(0).tallies()[0].failed.of(Failure::NoInstance), 2_000);
}

#[test]
fn what_a_user_thinks_does_not_depend_on_the_mesh() {
    let sent = |ms: u64| {
        let ran = lab().service(works(ms)).load(users(1, exponential_dist(0.1), 20.0)).run(30.0);
        let tally = ran.client(0).tallies()[0].clone();
        (tally.offered, tally.longest_wait.ns)
    };
    let (fast, slow) = (sent(1), sent(10));
    // The same thoughts: about 19 s of them, each 9 ms further from the last.
    let thought = |(count, _): (u64, u64), ms: f64| (20.0 - count as f64 * ms / 1e3) / count as f64;
    assert!((thought(fast, 1.0) - thought(slow, 10.0)).abs() < 0.004, "{fast:?} {slow:?}");
    assert_eq!((fast.1, slow.1), (1_000_000, 10_000_000));
}

#[test]
fn users_of_a_client_that_was_down_come_again_and_the_time_is_not_measured() {
    let at = Time::ZERO + Span::from_secs(5);
    let down = Fault::new(at, at + Span::from_secs(2), Crash { actors: [ActorId(2)].into_iter().collect() });
    let ran = lab().service(works(1)).load(users(3, constant(99), 10.0)).fault(down).run(12.0);
    let ActorResults::Client { gaps, tallies, .. } = ran.sim.actors().nth(2).unwrap().results(ran.sim.now()) else {
        panic!()
    };
    assert_eq!(gaps.len(), 1);
    assert!((gaps[0].0.secs() - 5.0).abs() < 0.1 && (gaps[0].1.secs() - 7.0).abs() < 1e-9, "{gaps:?}");
    // Three users, ten times a second each, for eight of ten seconds.
    assert!((230..=245).contains(&tallies[0].offered), "{}", tallies[0].offered);
}
