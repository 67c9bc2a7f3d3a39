//! Computing requests share the cores of their node, and follow the speed of its machine.

use std::sync::Arc;

use meshsim_actor::{ActorId, Dist, Rng, Span, Time};
use meshsim_fault::{ActorSet, Fault, Pause, Slow};
use meshsim_mesh::measure::{Failure, ServiceMetrics, Tally};
use meshsim_mesh::model::{Arrivals, Balancer, CallPolicy, Change, Load, Process, Rounding, ScriptStep, Service};
use meshsim_tests::{Ran, Testbed, call, extend, load, service, times};

fn ms(ms: u64) -> Span {
    Span::from_millis(ms)
}

fn secs(s: u64) -> Time {
    Time::ZERO + Span::from_secs(s)
}

fn work(span: Span) -> ScriptStep {
    ScriptStep::Work(Dist::Constant(span))
}

/// One node with this many cores and no heartbeats.
fn machine(cores: f64) -> Testbed {
    let mut lab = Testbed::nodes(1).control(|control| control.heartbeat = Span::ZERO);
    lab.mesh.nodes[0].cores = cores;
    lab
}

/// One instance with an unlimited number of slots.
fn endless(script: Vec<ScriptStep>) -> Service {
    Service { capacity: 1e6, ..service("s", script) }
}

/// Requests to this service, at these times in milliseconds after the first second.
fn at(service: u16, stamps: &[u64]) -> Load {
    let stamps: Arc<[Span]> = stamps.iter().map(|stamp| ms(*stamp)).collect();
    Load { arrivals: Arrivals::Stamps(stamps), ..load(service, 1.0, 100.0) }
}

fn tally(ran: &Ran, load: usize) -> &Tally {
    &ran.client(load).tallies()[0]
}

fn served(ran: &Ran, service: usize) -> ServiceMetrics {
    ran.node(0).served(ran.sim.now())[service].1.clone()
}

/// Requests to this service, each from its own load.
fn asked(lab: Testbed, service: u16, stamps: &[u64]) -> Testbed {
    stamps.iter().fold(lab, |lab, stamp| lab.load(at(service, &[*stamp])))
}

/// Latency of the single request of each of these loads, in milliseconds.
fn latencies(ran: &Ran, loads: std::ops::Range<usize>) -> Vec<f64> {
    loads.map(|load| tally(ran, load).latency.max().nanos() as f64 / 1e6).collect()
}

fn on_the_node(kind: impl Into<meshsim_fault::FaultKind>, from: u64, to: u64) -> Fault {
    Fault::new(secs(from), secs(to), kind)
}

fn node() -> ActorSet {
    [ActorId(1)].into_iter().collect()
}

#[test]
fn a_node_does_no_more_work_in_a_second_than_it_has_cores() {
    for (cores, most) in [(1.0, 100.0), (2.5, 250.0), (4.0, 300.0)] {
        let served_to = Service { capacity: 16.0, queue: 1000, ..service("web", vec![work(ms(10))]) };
        let policy = CallPolicy { timeout: Some(Span::from_secs(2)), ..CallPolicy::default() };
        let ran = machine(cores).service(served_to).load(Load { policy, ..load(0, 300.0, 10.0) }).run(11.0);
        let served = served(&ran, 0);
        let per_second = served.done as f64 / 10.0;
        assert!(per_second <= most * 1.06 && per_second > most * 0.93, "{cores} cores: {per_second}/s");
        let worked = served.work_ns as f64 / 1e9;
        assert!((worked - served.done as f64 * 0.01).abs() < 0.16, "{worked} s of work for {} requests", served.done);
        assert!(worked <= cores * 10.0 + 1e-6, "{worked} s of work on {cores} cores");
    }
}

#[test]
fn work_in_progress_follows_the_speed_and_pauses_of_its_node() {
    let took = |begins: u64, fault: Fault| {
        let lab = machine(1.0).service(endless(vec![work(Span::from_secs(10))])).load(at(0, &[begins]));
        latencies(&lab.fault(fault).run(60.0), 0..1)
    };
    let slow = || on_the_node(Slow { actors: node(), factor: 0.5 }, 6, 11);
    assert_eq!(took(0, slow()), [12_500.0]);
    assert_eq!(took(9_000, slow()), [10_500.0], "begun a second before half speed ends");
    assert_eq!(took(0, on_the_node(Pause { actors: node() }, 6, 11)), [15_000.0]);
}

#[test]
fn requests_share_a_core_alike_and_end_in_the_order_in_which_they_came() {
    let ran = |cores, stamps: &[u64]| asked(machine(cores).service(endless(vec![work(ms(10))])), 0, stamps).run(5.0);
    let took = |cores, stamps: &[u64]| latencies(&ran(cores, stamps), 0..stamps.len());
    // The first has done 5 ms when the second arrives; then each runs at half speed.
    assert_eq!(took(1.0, &[0, 5]), [15.0, 15.0]);
    assert_eq!(took(1.0, &[0, 5, 30]), [15.0, 15.0, 10.0]);
    assert_eq!(took(0.5, &[0]), [20.0]);
    assert_eq!(took(2.0, &[0, 5, 6]), [12.0, 12.0, 12.0]);
    // Thirds are not whole numbers of nanoseconds: the end is the first nanosecond at which all is done.
    assert_eq!(took(3.0, &[0, 1, 2, 3]), [12.333_334; 4]);
    // Seven start at once, and end in the same nanosecond.
    assert_eq!(took(1.0, &[0; 7]), [70.0; 7]);
}

#[test]
fn a_slow_or_paused_shared_core_delays_all_requests_equally() {
    let both = |fault| {
        let lab = asked(machine(1.0).service(endless(vec![work(Span::from_secs(10))])), 0, &[0, 1]);
        latencies(&lab.fault(fault).run(60.0), 0..2)
    };
    let slow = both(on_the_node(Slow { actors: node(), factor: 0.5 }, 6, 11));
    let pause = both(on_the_node(Pause { actors: node() }, 6, 11));
    // 20 s of work, minus what the fault removed: 2.5 s and 5 s; the first had the core for a millisecond.
    assert_eq!(slow, [22_499.0, 22_499.0]);
    assert_eq!(pause, [24_999.0, 24_999.0]);
}

#[test]
fn sleeping_takes_no_core_and_branches_that_work_take_one_each() {
    let sleep = ScriptStep::Sleep(Dist::Constant(ms(10)));
    let ran = asked(machine(1.0).service(endless(vec![sleep])), 0, &[0, 1, 2, 3]).run(5.0);
    assert_eq!(latencies(&ran, 0..4), [10.0; 4]);
    assert_eq!(served(&ran, 0).work_ns, 0);
    let branches = ScriptStep::Parallel(vec![vec![work(ms(10))]; 4]);
    let took = |cores| {
        let ran = machine(cores).service(endless(vec![branches.clone()])).load(at(0, &[0])).run(5.0);
        latencies(&ran, 0..1)
    };
    assert_eq!((took(4.0), took(2.0), took(1.0)), (vec![10.0], vec![20.0], vec![40.0]));
}

#[test]
fn work_without_contention_arms_one_timer() {
    let lab = machine(4.0).service(endless(vec![work(ms(10))])).load(at(0, &[0, 2, 4, 6, 20, 22]));
    let ran = lab.run(5.0);
    let counts = ran.sim.counts();
    // Six arrivals, six work items; the deploy's publication.
    let others = machine(4.0).service(endless(vec![])).load(at(0, &[0, 2, 4, 6, 20, 22])).run(5.0).sim.counts();
    assert_eq!(counts.fired - others.fired, 6);
}

fn limited(limit: f64, service: Service) -> Service {
    Service { cpu_limit: Some(limit), ..service }
}

#[test]
fn a_limit_caps_the_requests_of_an_instance_and_others_get_the_rest() {
    let ten = || endless(vec![work(ms(10))]);
    let alone = |limit, cores, stamps: &[u64]| {
        let lab = asked(machine(cores).service(limited(limit, ten())), 0, stamps);
        latencies(&lab.run(5.0), 0..stamps.len())
    };
    assert_eq!(alone(0.5, 8.0, &[0]), [20.0]);
    // 1 ms alone; then 9 ms and 10 ms at three quarters of a core: 12 ms, and a remaining millisecond for the second.
    assert_eq!(alone(1.5, 8.0, &[0, 1]), [13.0, 13.0]);
    assert_eq!(alone(4.0, 1.0, &[0]), [10.0], "a limit above what there is");
    // One request that may use half a core, and one that gets the rest of a core, and the part that the other leaves.
    let lab = asked(machine(1.0).service(limited(0.5, ten())).service(ten()), 0, &[0]);
    let ran = asked(lab, 1, &[0, 5]).run(5.0);
    // 0 to 5 ms: a half each. Then a third each: 7.5 ms remain of two, 10 ms of one; that one ends alone.
    assert_eq!(latencies(&ran, 0..3), [5.0 + 7.5 * 3.0, 27.5, 25.0]);
}

/// Work of each request in ms, its arrival time and its service; and the CPU limit of each service.
type Drawn = (Vec<(u64, u64, usize)>, Vec<Option<f64>>, f64);

/// Duration of each request: the fluid model in small steps of its events, in floats, and as simple as possible.
fn fluid((requests, limits, cores): &Drawn) -> Vec<f64> {
    let mut left: Vec<f64> = requests.iter().map(|(_, work, _)| *work as f64).collect();
    let mut ends = vec![f64::NAN; requests.len()];
    let mut now = 0.0;
    while ends.iter().any(|end| end.is_nan()) {
        let running: Vec<usize> =
            (0..requests.len()).filter(|i| requests[*i].0 as f64 <= now && ends[*i].is_nan()).collect();
        let members = |service: usize| running.iter().filter(|i| requests[**i].2 == service).count() as f64;
        let most = |service: usize| limits[service].map_or(1.0, |limit| (limit / members(service)).min(1.0));
        // The level at which all cores are in use, by bisection; a request with a limit below the level gets its limit.
        let taken = |level: f64| running.iter().map(|i| level.min(most(requests[*i].2))).sum::<f64>();
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if taken(middle) <= *cores { low = middle } else { high = middle }
        }
        let rate = |i: usize| if taken(1.0) <= *cores { most(requests[i].2) } else { low.min(most(requests[i].2)) };
        let arrival = requests.iter().map(|r| r.0 as f64).filter(|at| *at > now).fold(f64::INFINITY, f64::min);
        let end = running.iter().map(|i| now + left[*i] / rate(*i)).fold(f64::INFINITY, f64::min);
        let next = arrival.min(end);
        for i in &running {
            left[*i] -= rate(*i) * (next - now);
            if left[*i] < 1e-7 {
                ends[*i] = next;
            }
        }
        now = next;
    }
    ends.iter().zip(requests).map(|(end, (at, ..))| end - *at as f64).collect()
}

#[test]
fn drawn_requests_take_as_long_as_in_the_fluid_model() {
    let mut rng = Rng::stream(3, "drawn");
    for round in 0..40 {
        let mut draw = |least: u32, most: u32| least + rng.below(most - least + 1);
        let tenths = |n: u32| f64::from(n) / 10.0;
        let limits: Vec<Option<f64>> = (0..4).map(|_| (draw(0, 2) > 0).then(|| tenths(draw(1, 30)))).collect();
        let cores = tenths(draw(3, 40));
        let mut stamp = 0;
        let requests: Vec<(u64, u64, usize)> = (0..draw(1, 25))
            .map(|_| {
                stamp += u64::from(draw(1, 9));
                (stamp, u64::from(draw(1, 30)), draw(0, 3) as usize)
            })
            .collect();
        let drawn: Drawn = (requests.clone(), limits.clone(), cores);

        // One service for each request: limits apply per instance, and requests of one service differ only by endpoint;
        // here by a mix of one load each.
        let mut lab = machine(cores);
        for (service, limit) in limits.iter().enumerate() {
            let of_it: Vec<_> = requests.iter().filter(|(_, _, of)| *of == service).collect();
            let works: Arc<[Span]> = of_it.iter().map(|(_, work, _)| ms(*work)).collect();
            let endpoints: Vec<Vec<ScriptStep>> = works.iter().map(|span| vec![work(*span)]).collect();
            lab = lab.service(Service { cpu_limit: *limit, ..with_endpoints(endpoints) });
        }
        for (at_ms, _, service) in &requests {
            let nth = requests.iter().filter(|r| r.2 == *service && r.0 < *at_ms).count();
            let mut load = at(*service as u16, &[*at_ms]);
            load.mix[0].endpoint = meshsim_mesh::model::EndpointId(nth as u16);
            lab = lab.load(load);
        }
        let ran = lab.run(30.0);
        for (index, expected) in fluid(&drawn).into_iter().enumerate() {
            let took = latencies(&ran, index..index + 1);
            assert!(
                (took[0] - expected).abs() < 1e-4,
                "round {round}, request {index}: {took:?}, not {expected}: {drawn:?}"
            );
        }
    }
}

/// One instance whose endpoints run these scripts.
fn with_endpoints(scripts: Vec<Vec<ScriptStep>>) -> Service {
    let mut made = endless(vec![]);
    made.endpoints = (0..scripts.len()).map(|n| format!("e{n}")).collect();
    made.behaviours[0].endpoints = scripts.into_iter().map(meshsim_mesh::model::Endpoint::new).collect();
    made
}

/// Ten instances, half of which are removed at 60 s, and requests of 30 s, ten a second.
fn half_is_taken(grace: Option<Span>, policy: CallPolicy) -> Ran {
    let slow = Service {
        capacity: 100.0,
        drain_delay: Span::from_secs(5),
        grace,
        balancer: Balancer::RoundRobin,
        ..times(10, service("web", vec![ScriptStep::Sleep(Dist::Constant(Span::from_secs(30)))]))
    };
    let offered = Load { arrivals: Arrivals::steady(Process::Constant, 10.0), policy, ..load(0, 10.0, 100.0) };
    let start = secs(10);
    Testbed::nodes(5)
        .service(slow)
        .operation(60.0, 0, extend(5, 1.0, Rounding::Away), 1.0, None)
        .load(Load { start, end: secs(110), ..offered })
        .run(150.0)
}

#[test]
fn requests_left_after_the_grace_period_are_cut_off() {
    let forever = CallPolicy { timeout: None, ..CallPolicy::default() };
    let cut = |grace| {
        let ran = half_is_taken(grace, forever);
        let tally = tally(&ran, 0).clone();
        assert_eq!(tally.failed.total(), tally.failed.of(Failure::Cut));
        assert_eq!(tally.done + tally.failed.total(), tally.offered, "who is cut off is told");
        assert_eq!((ran.instances(0), (0..5).map(|n| ran.node(n).in_flight()).sum::<usize>()), (5, 0));
        tally.failed.of(Failure::Cut)
    };
    assert_eq!(cut(None), 0);
    assert_eq!(cut(Some(Span::from_secs(5))), 125);
    assert_eq!(cut(Some(Span::from_secs(15))), 75);
    assert_eq!(cut(Some(Span::from_secs(3))), 135, "the drain delay ends with the grace");
    assert_eq!(cut(Some(Span::from_secs(31))), 0);
}

#[test]
fn a_cut_off_request_is_retried_if_the_policy_allows_it() {
    let retry = meshsim_mesh::model::Retry { budget: Some(1.0), ..Default::default() };
    let policy = CallPolicy { timeout: None, retries: 1, retry, rules: None };
    let ran = half_is_taken(Some(Span::from_secs(5)), policy);
    let tally = tally(&ran, 0);
    assert_eq!((tally.failed.total(), tally.retries, tally.done), (0, 125, tally.offered));
}

#[test]
fn a_request_that_is_cut_off_gives_back_its_core_its_slot_and_its_calls() {
    let long = |step: fn(Dist) -> ScriptStep| step(Dist::Constant(Span::from_secs(50)));
    let everything =
        ScriptStep::Parallel(vec![vec![long(ScriptStep::Work)], vec![call(1)], vec![long(ScriptStep::Sleep)]]);
    let front = Service { grace: Some(Span::from_secs(2)), capacity: 1.0, ..service("front", vec![everything]) };
    let back = endless(vec![long(ScriptStep::Sleep)]);
    let ran = machine(1.0)
        .service(front)
        .service(back)
        .service(endless(vec![work(ms(10))]))
        .operation(5.0, 0, Change::Undeploy, 1.0, None)
        // Two in the slot and the queue; then others before and after the cut.
        .load(at(0, &[0, 1]))
        .load(at(2, &[3_000]))
        .load(at(2, &[9_000]))
        .run(100.0);
    let cut = tally(&ran, 0);
    assert_eq!((cut.failed.of(Failure::Cut), cut.failed.total(), cut.offered), (2, 2, 2));
    assert_eq!(latencies(&ran, 1..3), [20.0, 10.0], "shared before, alone after");
    let front = served(&ran, 0);
    assert_eq!(front.work_ns, 6_000_000_000 - 10_000_000, "six seconds, of which the other had ten milliseconds");
    assert_eq!((front.failed.of(Failure::Cut), ran.instances(0), ran.node(0).in_flight()), (2, 0, 0));
}
