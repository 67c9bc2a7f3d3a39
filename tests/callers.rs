//! The state of a caller: its own proxy, the start of its rotation, and the end of an ejection.

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_fault::{Fault, Slow};
use meshsim_mesh::model::{Balancer, Load, ProxyPer, ScriptStep, Service};
use meshsim_tests::{Ran, Testbed, call, exponential, load, service, times};

const MICROS_20: Dist = Dist::Constant(Span::from_micros(20));

/// Sixteen instances, spread over this many machines, each of which calls eight servers of 10 ms, at a load of 0.8.
fn sixteen_call_eight(machines: usize, per: ProxyPer, secs: f64) -> Ran {
    let front = Service { capacity: 1e6, balancer: Balancer::RoundRobin, ..times(16, service("front", vec![call(1)])) };
    let back = times(8, service("back", vec![exponential(0.01)]));
    let mut lab = Testbed::nodes(machines).latency(MICROS_20).service(front).service(back);
    lab.mesh.proxy = per;
    lab.load(load(0, 640.0, secs)).run(secs + 5.0)
}

/// Mean time for which a request to a service waits for a slot, in milliseconds.
fn mean_wait_ms(ran: &Ran, machines: usize, service: u16) -> f64 {
    let of_nodes = (0..machines).flat_map(|node| ran.node(node).served(ran.sim.now()));
    let (mut waited_ns, mut arrived) = (0.0, 0.0);
    for (_, served) in of_nodes.filter(|(id, _)| id.0 == service) {
        waited_ns += served.waited_ns as f64;
        arrived += served.arrived as f64;
    }
    waited_ns / arrived / 1e6
}

#[test]
fn the_spread_of_callers_over_machines_has_no_effect_on_their_proxies() {
    // 25.1 ms, computed independently. One proxy for four of them has more information, and one for all has most: 18.0,
    // 12.4.
    for machines in [16, 4, 1] {
        let wait = mean_wait_ms(&sixteen_call_eight(machines, ProxyPer::Instance, 300.0), machines, 1);
        println!("{machines} machines: {wait:.2} ms");
        assert!((wait / 25.1 - 1.0).abs() < 0.06, "{machines} machines: {wait} ms");
    }
    for (machines, expected) in [(4, 18.0), (1, 12.4)] {
        let wait = mean_wait_ms(&sixteen_call_eight(machines, ProxyPer::Node, 300.0), machines, 1);
        println!("a proxy for each of {machines} nodes: {wait:.2} ms");
        assert!((wait / expected - 1.0).abs() < 0.08, "{machines} machines: {wait} ms");
    }
}

#[test]
fn callers_that_begin_alike_do_not_act_as_one() {
    // Two hundred instances make one call each, at about the same time; each of the machines has a server.
    let front =
        Service { capacity: 1e6, balancer: Balancer::RoundRobin, ..times(200, service("front", vec![call(1)])) };
    let rest = ScriptStep::Sleep(Dist::Constant(Span::from_secs(5)));
    let back = Service { balancer: Balancer::RoundRobin, capacity: 1e6, ..times(10, service("back", vec![rest])) };
    let once = Load { end: Time::ZERO + Span::from_secs(2), ..load(0, 200.0, 1.0) };
    let constant = meshsim_mesh::model::Arrivals::steady(meshsim_mesh::model::Process::Constant, 200.0);
    let lab = Testbed::nodes(10).service(front).service(back).load(Load { arrivals: constant, ..once });
    let ran = lab.run(9.0);
    let arrived: Vec<u64> = (0..10)
        .flat_map(|node| ran.node(node).served(ran.sim.now()))
        .filter(|(service, served)| service.0 == 1 && served.arrived > 0)
        .map(|(_, served)| served.arrived)
        .collect();
    println!("{arrived:?}");
    assert_eq!(arrived.iter().sum::<u64>(), 200);
    assert!(arrived.len() == 10 && arrived.iter().all(|n| (7..=36).contains(n)), "{arrived:?}");
}

#[test]
fn nodes_that_start_together_spread_their_heartbeats() {
    // Five hundred nodes with one heartbeat each per second: no hundredth of a second has many, and none has no
    // heartbeat.
    let mut ran = Testbed::nodes(500).start(());
    let mut by_slice = vec![];
    ran.run_until(5.0);
    for slice in 1..=100 {
        let before = ran.sim.counts().sent;
        ran.run_until(5.0 + f64::from(slice) / 100.0);
        by_slice.push(ran.sim.counts().sent - before);
    }
    assert_eq!(by_slice.iter().sum::<u64>(), 500, "{by_slice:?}");
    assert!(by_slice.iter().all(|sent| (0..=17).contains(sent)), "{by_slice:?}");
    assert!(by_slice.iter().filter(|sent| **sent == 0).count() <= 8, "{by_slice:?}");
}

#[test]
fn a_once_slow_instance_regains_its_share_within_forty_seconds() {
    let ewma = Balancer::PeakEwma { decay: Span::from_secs(10), start: Span::from_millis(30) };
    let work = ScriptStep::Work(Dist::Constant(Span::from_millis(5)));
    let web = Service { capacity: 100.0, balancer: ewma, ..times(2, service("web", vec![work])) };
    let slow = Slow { actors: [ActorId(2)].into_iter().collect(), factor: 0.02 };
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let lab = Testbed::nodes(2).latency(MICROS_20).service(web).fault(Fault::new(at(20), at(25), slow));
    let mut ran = lab.load(load(0, 100.0, 199.0)).start(());
    let mut done = vec![];
    for second in 1..=200 {
        ran.run_until(f64::from(second));
        done.push(ran.node(1).served(ran.sim.now())[0].1.arrived);
    }
    let between = |from: usize, to: usize| (done[to - 1] - done[from - 1]) as f64 / (to - from) as f64;
    println!(
        "before {}, then {}, from 60 s {}, later {}",
        between(5, 20),
        between(26, 50),
        between(60, 90),
        between(100, 200)
    );
    assert!((between(5, 20) - 50.0).abs() < 5.0, "{}", between(5, 20));
    assert!(between(26, 50) < 5.0, "{}", between(26, 50));
    // About half of 100 requests per second, from 60 s on.
    assert!((between(70, 100) - 50.0).abs() < 8.0, "{}", between(70, 100));
    assert!((between(100, 200) - 50.0).abs() < 4.0, "{}", between(100, 200));
}
