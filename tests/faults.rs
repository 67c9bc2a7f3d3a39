//! Effects of faults on requests, and the end of these effects.

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_fault::{ActorSet, Crash, Cut, Drop, Fault, FaultKind, Latency, Link, Loss, Partition, Pause, Slow};
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::{Failure, Tally};
use meshsim_mesh::model::{CallPolicy, Load, ScriptStep, Service};
use meshsim_tests::{Ran, Testbed, call, load, service, times};

fn secs(s: u64) -> Time {
    Time::ZERO + Span::from_secs(s)
}

fn some(actors: &[u32]) -> ActorSet {
    actors.iter().map(|actor| ActorId(*actor)).collect()
}

/// Two nodes, one service with an instance on each that works 10 ms, 100 requests a second from second 1 to 41 with a
/// timeout of a second; node-1 is actor 2, the client actor 3. The window is a second.
fn lab() -> Testbed {
    let work = vec![ScriptStep::Work(Dist::Constant(Span::from_millis(10)))];
    let served = Service { capacity: 8.0, ..times(2, service("s", work)) };
    let policy = CallPolicy { timeout: Some(Span::from_secs(1)), ..CallPolicy::default() };
    Testbed::nodes(2).latency(Dist::Constant(Span::from_millis(1))).service(served).load(Load {
        policy,
        window: Span::from_secs(1),
        ..load(0, 100.0, 40.0)
    })
}

/// Measurements of the client: in total, and by second since the start of the load.
struct Measured {
    tally: Tally,
    windows: Vec<Window>,
}

fn measured(ran: &Ran) -> Measured {
    let course = ran.client(0).courses(ran.sim.now()).swap_remove(0);
    Measured { tally: ran.client(0).tallies()[0].clone(), windows: course.windows().skip(1).cloned().collect() }
}

fn during(kind: impl Into<FaultKind>) -> Measured {
    measured(&lab().fault(Fault::new(secs(11), secs(21), kind)).run(50.0))
}

fn failed(windows: &[Window]) -> u64 {
    windows.iter().map(|window| window.failed.total()).sum()
}

fn slowest(windows: &[Window]) -> f64 {
    windows.iter().map(|window| window.slowest.latency_ns as f64 / 1e9).fold(0.0, f64::max)
}

/// No failures before the fault, nor from two seconds after it on.
fn expect_taken_back(Measured { windows, .. }: &Measured) {
    assert_eq!((failed(&windows[..9]), failed(&windows[22..])), (0, 0));
    let (before, after) = (slowest(&windows[..9]), slowest(&windows[23..]));
    assert!((before - 0.012).abs() < 1e-9 && (after - 0.012).abs() < 1e-9, "{before} {after}");
}

#[test]
fn a_crash_loses_requests_until_the_callers_are_notified() {
    let during = during(Crash { actors: some(&[2]) });
    let (lost, timeout) = (during.tally.failed.of(Failure::Lost), during.tally.failed.of(Failure::Timeout));
    // Least request soon avoids the node where requests hang; the requests that hang when the callers are told are
    // lost.
    assert!(timeout > 30 && lost > 10, "timeout {timeout}, lost {lost}");
    assert_eq!(during.tally.failed.total(), timeout + lost);
    assert_eq!(failed(&during.windows[15..]), 0, "the other node serves them all");
    expect_taken_back(&during);
}

#[test]
fn a_pause_delays_requests_and_loses_none_within_their_timeout() {
    let ran =
        lab().fault(Fault::new(secs(11), secs(11) + Span::from_millis(500), Pause { actors: some(&[2]) })).run(50.0);
    let Measured { tally, windows } = measured(&ran);
    assert_eq!((tally.failed.total(), tally.done), (0, tally.offered));
    let slowest = slowest(&windows);
    assert!(slowest > 0.4 && slowest < 0.7, "{slowest}");
}

#[test]
fn a_slow_node_takes_longer_for_its_work_alone() {
    let during = during(Slow { actors: some(&[1, 2]), factor: 0.25 });
    assert_eq!(during.tally.failed.total(), 0);
    let slow = &during.windows[11..19];
    assert!((slowest(slow) - 0.042).abs() < 1e-9, "4 x 10 ms and a round trip: {}", slowest(slow));
    expect_taken_back(&during);
}

#[test]
fn added_latency_is_added_in_both_directions_of_the_link() {
    let added = Dist::Constant(Span::from_millis(20));
    let during = during(Latency { on: Link::between(some(&[3]), some(&[1, 2])), added });
    assert!((slowest(&during.windows[11..19]) - 0.052).abs() < 1e-9);
    expect_taken_back(&during);
}

#[test]
fn dropped_messages_time_out_in_proportion() {
    let during = during(Drop { on: Link::between(some(&[3]), some(&[1, 2])), probability: 0.1 });
    let share = during.tally.failed.of(Failure::Timeout) as f64 / 1000.0;
    assert!((share - 0.19).abs() < 0.05, "1 - 0.9^2 of a thousand: {share}");
    expect_taken_back(&during);
}

#[test]
fn retries_hide_a_drop_of_messages() {
    let on = Link::between(some(&[3]), some(&[1, 2]));
    let mut lab = lab().fault(Fault::new(secs(11), secs(21), Drop { on, probability: 0.1 }));
    let policy = &mut lab.mesh.loads[0].policy;
    (policy.timeout, policy.retries, policy.retry.budget) = (Some(Span::from_millis(100)), 5, Some(1.0));
    let ran = lab.run(50.0);
    let tally = &ran.client(0).tallies()[0];
    assert!(tally.retries > 150 && tally.failed.total() <= 5, "{} retries, {:?}", tally.retries, tally.failed);
}

#[test]
fn one_percent_of_loss_under_a_transport_delays_but_fails_no_request() {
    let tier = |name, script| Service { capacity: 1000.0, ..times(6, service(name, script)) };
    let work = || ScriptStep::Work(Dist::Constant(Span::from_millis(2)));
    let policy = CallPolicy { timeout: Some(Span::from_secs(20)), ..CallPolicy::default() };
    let mut lab = Testbed::nodes(6)
        .latency(Dist::Constant(Span::from_micros(250)))
        .service(tier("a", vec![work(), call(1)]))
        .service(tier("b", vec![work(), call(2)]))
        .service(tier("c", vec![work()]))
        .load(Load { policy, ..load(0, 200.0, 90.0) });
    lab.network.loss = 0.01;
    let ran = lab.run(120.0);
    let tally = &ran.client(0).tallies()[0];
    assert_eq!((tally.done, tally.failed.total()), (tally.offered, 0));
    // Two messages of the client and four between services, a sixth of which stays on its node: 1 - 0.99^(2 + 4 * 5/6).
    let quantiles = [0.94, 0.955, 0.995].map(|q| tally.latency.quantile(q).secs());
    assert!(quantiles[0] < 0.01, "94 % are not later: {quantiles:?}");
    assert!((0.2..0.22).contains(&quantiles[1]), "between 4.5 and 6 % are: {quantiles:?}");
    assert!(quantiles[2] < 0.65, "{quantiles:?}");
}

#[test]
fn a_fully_lossy_link_delays_a_request_to_the_retry_after_its_end() {
    let on = Link::between(some(&[3]), some(&[1, 2]));
    let mut lab = lab().fault(Fault::new(secs(11), secs(21), Loss { on, probability: 1.0 }));
    lab.mesh.loads[0].policy.timeout = None;
    let ran = lab.run(50.0);
    let Measured { tally, windows } = measured(&ran);
    assert_eq!((tally.failed.total(), tally.done), (0, tally.offered));
    // Sent at 11.0 s, with retries after 0.2, 0.6, 1.4, 3.0, 6.2 and 12.6 s.
    assert!((slowest(&windows) - 12.612).abs() < 0.3, "{}", slowest(&windows));
}

#[test]
fn a_partition_between_client_and_node_is_felt_only_there() {
    let cut = Cut::Islands(vec![some(&[3]), some(&[2])]);
    let during = during(Partition { cut, hold: false });
    // Least request: the requests that hang at one node drive the others to the other node.
    assert!(during.tally.failed.of(Failure::Timeout) > 20, "{:?}", during.tally.failed);
    expect_taken_back(&during);
}

#[test]
fn a_probability_of_zero_is_exactly_nothing() {
    let calm = format!("{:?}", lab().run(50.0).client(0).tallies());
    for kind in [
        FaultKind::from(Drop { on: Link::all(), probability: 0.0 }),
        FaultKind::from(Loss { on: Link::all(), probability: 0.0 }),
        FaultKind::from(Slow { actors: some(&[1, 2]), factor: 1.0 }),
        FaultKind::from(Latency { on: Link::all(), added: Dist::Constant(Span::ZERO) }),
    ] {
        let name = kind.name();
        let ran = lab().fault(Fault::new(secs(11), secs(21), kind)).run(50.0);
        assert_eq!(format!("{:?}", ran.client(0).tallies()), calm, "{name}");
    }
}
