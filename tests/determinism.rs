//! Same experiment and seed, same bytes: the whole trace, the state of every actor, the measurements.

use meshsim_actor::{Recorder, Span, Time};
use meshsim_mesh::{Msg, Tick};
use meshsim_tests::{Ran, troubled as lab};
use meshsim_trace::{Header, Writer};

fn state<R: Recorder<Msg, Tick>>(ran: &Ran<R>) -> String {
    let nodes: Vec<_> = (0..4).map(|node| (ran.node(node).state(), ran.node(node).served(ran.sim.now()))).collect();
    let coordinator = ran.coordinator();
    let measured = ran.client(0).tallies();
    format!("{:?}\n{:?}\n{nodes:?}\n{measured:?}\n{:?}", coordinator.state(), coordinator.history(), ran.sim.counts())
}

fn traced(seed: u64) -> (Vec<u8>, String) {
    let header = Header { seed, ..Header::default() };
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
    // Alternately by time and by event.
    for tick in 0..1_000 {
        ran.sim.to(Time::ZERO + Span::from_millis(10 * tick));
        (0..tick % 4).for_each(|_| assert!(ran.sim.step(), "a heartbeat is due, at least"));
    }
    ran.sim.to(Time::ZERO + Span::from_secs(15));
    assert_eq!(state(&ran), state(&lab(7).run(15.0)));
}
