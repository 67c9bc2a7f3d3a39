//! Same experiment and seed, same bytes: the whole trace, the state of every actor, the measurements.

use meshsim_actor::{ActorId, Dist, Recorder, Span, Time};
use meshsim_fault::{Crash, Duplicate, Fault, Link, Loss, Reorder};
use meshsim_mesh::model::{Change, Load, Rounding, Service, Strategy};
use meshsim_mesh::{Msg, Tick};
use meshsim_tests::{Lab, Ran, call, exponential, extend, load, service, times};
use meshsim_trace::{Header, Writer};

/// Something of everything that draws numbers.
fn lab(seed: u64) -> Lab {
    let secs = |s| Time::ZERO + Span::from_secs(s);
    let front = Service { capacity: 20.0, ..times(4, service("front", vec![exponential(0.002), call(1)])) };
    let back = Service { start_delay: Span::from_millis(500), ..times(6, service("back", vec![exponential(0.005)])) };
    let faults = [
        Fault::new(secs(3), secs(8), Loss { on: Link::all(), probability: 0.05 }),
        Fault::new(secs(4), secs(9), Reorder { on: Link::all(), probability: 0.2, within: Span::from_millis(50) }),
        Fault::new(secs(5), secs(6), Crash { actors: [ActorId(2)].into_iter().collect() }),
        Fault::new(
            secs(6),
            secs(9),
            Duplicate { on: Link::all(), probability: 0.1, lag: Dist::Constant(Span::from_millis(5)) },
        ),
    ];
    let lab = Lab::nodes(4)
        .seed(seed)
        .latency(Dist::Exponential { at_least: Span::from_micros(100), mean: Span::from_micros(200) })
        .service(front)
        .service(back)
        .operation(2.0, 1, extend(12, 0.3, Rounding::Stochastic), 0.5, None)
        .operation(4.0, 1, Change::Update { to: 2, rate: 0.3, strategy: Strategy::Bernoulli }, 0.5, None)
        .load(Load { end: Time::ZERO + Span::from_secs(12), ..load(0, 300.0, 11.0) });
    faults.into_iter().fold(lab, Lab::fault)
}

fn state<R: Recorder<Msg, Tick>>(ran: &Ran<R>) -> String {
    let nodes: Vec<_> = (0..4).map(|node| (ran.node(node).state(), ran.node(node).served(ran.sim.now()))).collect();
    let coordinator = ran.coordinator();
    let measured = ran.client(0).tallies();
    format!("{:?}\n{:?}\n{nodes:?}\n{measured:?}\n{:?}", coordinator.state(), coordinator.history(), ran.sim.counts())
}

fn traced(seed: u64) -> (Vec<u8>, String) {
    let header = Header { seed, actors: vec![] };
    let mut ran = lab(seed).start(Writer::new(Vec::new(), &header));
    ran.run_until(15.0);
    let state = state(&ran);
    (ran.sim.into_recorder().finish().expect("a Vec takes every byte"), state)
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (trace, end) = traced(7);
    assert!(trace.len() > 100_000, "{} bytes are a whole trace", trace.len());
    assert_eq!((trace, end), traced(7));
}

#[test]
fn another_seed_gives_another_run() {
    assert_ne!(traced(7).1, traced(8).1);
}

#[test]
fn writing_the_trace_changes_nothing() {
    assert_eq!(state(&lab(7).run(15.0)), traced(7).1);
}

#[test]
fn a_run_in_slices_is_the_run_at_once() {
    let mut ran = lab(7).start(());
    while ran.sim.now() < Time::ZERO + Span::from_secs(15) {
        ran.sim.run_slice(Time::ZERO + Span::from_secs(15), 997);
    }
    assert_eq!(state(&ran), state(&lab(7).run(15.0)));
}
