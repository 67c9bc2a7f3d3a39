//! Simulations under the control of the caller: watched, stopped, continued, forked.

use std::ops::ControlFlow;
use std::path::Path;

use meshsim_actor::{Counts, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_run::{Observer, Outcome, Simulation, simulate};

/// Two services under load, one of which grows, on a network that loses messages; one node crashes.
fn experiment() -> Experiment {
    let text = "
seed: 5
duration: 20s
network: { latency: { exponential: 2ms } }
nodes: [ { name: node, count: 3, cores: 4 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { ask: { script: [ work: 2ms, call: back ] } } }
  back: { instances: 2, capacity: 4, endpoints: { answer: { script: [ work: { exponential: 2ms } ] } } }
operations:
  - { at: 6s, extend: back, to: 8, rate: 0.5, every: 1s }
load:
  users: { to: front, arrivals: { poisson: 1500/s } }
faults:
  - { crash: node-1, at: 8s, for: 4s }
  - { link: { from: all, to: all }, drop: 1%, at: 5s, for: 10s }
";
    meshsim_experiment::parse("mesh.yaml", text, Path::new("."), &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn secs(secs: u64) -> Time {
    Time::ZERO + Span::from_secs(secs)
}

/// Counts its calls, and stops the run at a time.
struct StopsAt(Time, Vec<Time>);

impl Observer for StopsAt {
    fn reached(&mut self, now: Time, _: &Counts) -> ControlFlow<()> {
        self.1.push(now);
        if now >= self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn all_of(outcome: &Outcome) -> String {
    format!("{outcome:?}")
}

#[test]
fn an_observer_is_called_in_order_of_time_and_changes_nothing() {
    let experiment = experiment();
    let mut observer = StopsAt(Time::NEVER, vec![]);
    let watched = simulate(&experiment, &mut observer).unwrap();
    assert!(observer.1.len() > 2 && observer.1.is_sorted(), "{:?}", observer.1);
    assert!(!watched.cut_short);
    assert_eq!(all_of(&watched), all_of(&simulate(&experiment, &mut ()).unwrap()));
}

#[test]
fn a_stopped_run_is_cut_short_and_continues_to_the_same_results() {
    let experiment = experiment();
    let mut run = Simulation::new(&experiment).unwrap();
    let stopped = run.finish(&mut StopsAt(secs(10), vec![]));
    assert!(stopped.cut_short && stopped.summary(&experiment).cut_short);
    assert!(run.now() >= secs(10) && run.now() < secs(20), "{}", run.now());
    assert_eq!(all_of(&run.finish(&mut ())), all_of(&simulate(&experiment, &mut ()).unwrap()));
}

#[test]
fn measurements_so_far_are_available_at_any_time() {
    let mut run = Simulation::new(&experiment()).unwrap();
    let offered = [7, 14, 20].map(|at| {
        run.to(secs(at));
        let outcome = run.outcome();
        assert_eq!((outcome.measured.now, outcome.state.at, outcome.cut_short), (secs(at), secs(at), at < 20));
        outcome.measured.tallies[0][0].offered
    });
    assert!(offered.is_sorted() && offered[0] > 0 && offered[0] < offered[2], "{offered:?}");
}

#[test]
fn a_fork_repeats_its_origin_and_leaves_it_unchanged() {
    let experiment = experiment();
    let mut origin = Simulation::new(&experiment).unwrap();
    // While the node is down and messages are in flight.
    origin.to(secs(9));
    assert!(origin.in_flight() > 0);
    let before = all_of(&origin.outcome());
    let mut fork = origin.fork();
    let of_fork = fork.finish(&mut ());
    assert_eq!(all_of(&origin.outcome()), before);
    assert_eq!(all_of(&of_fork), all_of(&origin.finish(&mut ())));
    assert_eq!(all_of(&of_fork), all_of(&simulate(&experiment, &mut ()).unwrap()));
}

#[test]
fn the_seed_of_the_experiment_is_the_seed_of_all() {
    let experiment = experiment();
    let other = Experiment { seed: 6, ..experiment.clone() };
    let overridden = {
        let seed = meshsim_experiment::Override::parse("seed=6").unwrap();
        meshsim_experiment::parse("mesh.yaml", &experiment.text, Path::new("."), &[seed]).unwrap()
    };
    let [as_read, other, overridden] = [&experiment, &other, &overridden].map(|it| simulate(it, &mut ()).unwrap());
    assert_eq!(all_of(&other), all_of(&overridden));
    assert_ne!(all_of(&other), all_of(&as_read));
}
