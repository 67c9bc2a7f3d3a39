//! A run that goes on as one of another experiment has the bytes of that experiment from its beginning.

use std::path::Path;

use meshsim_actor::{Span, Time};
use meshsim_experiment::{Experiment, Override, parse};
use meshsim_run::Simulation;
use meshsim_trace::{Header, Writer};

const MESH: &str = "
seed: 3
duration: 8s
nodes: [ { name: node, count: 3, cores: 4 } ]
network: { latency: 1ms }
services:
  front: { instances: 3, capacity: 8, endpoints: { show: { script: [ work: 1ms, call: { to: back, timeout: 40ms, retries: 1 } ] } } }
  back: { instances: 3, capacity: 2, endpoints: { get: { script: [ work: { exponential: 6ms } ] } } }
load:
  people: { to: front, arrivals: { poisson: 60/s }, timeout: 200ms, from: 1s }
  probes: { to: front, arrivals: { constant: 5/s }, timeout: 200ms }
faults:
  - { at: 2s, for: 3s, crash: node-2 }
  - { at: 1s, for: 6s, link: { from: all, to: node-1 }, bandwidth: 1 MB/s }
";

fn experiment(changes: &[&str]) -> Experiment {
    let changes: Vec<Override> = changes.iter().map(|change| Override::parse(change).unwrap()).collect();
    parse("mesh.yaml", MESH, Path::new("."), &changes).unwrap_or_else(|problems| panic!("{problems}"))
}

fn traced(experiment: &Experiment) -> Simulation<Writer<Vec<u8>>> {
    let header = Header { seed: experiment.seed, ..Header::default() };
    Simulation::recorded(experiment, Writer::new(Vec::new(), &header)).unwrap()
}

/// The summary and the trace.
fn left(experiment: &Experiment, mut run: Simulation<Writer<Vec<u8>>>) -> (String, Vec<u8>) {
    let outcome = run.finish(&mut ());
    (serde_json::to_string(&outcome.summary(experiment)).unwrap(), run.into_recorder().finish().unwrap())
}

fn ms(ms: u64) -> Time {
    Time::ZERO + Span::from_millis(ms)
}

const STAGES: &str = "load.people.arrivals={ stages: [ { for: 2s, rate: 60/s }, { for: 5s, rate: 300/s } ] }";

#[test]
fn the_rest_of_another_experiment_is_the_same_as_from_its_beginning() {
    let own = experiment(&[]);
    for (change, at) in [
        ("faults.+={ at: 4s, for: 1s, crash: node-0 }", 3_999),
        // Within an outage of the same machine: the first of the two ends starts nothing.
        ("faults.+={ at: 4s, for: 3s, crash: node-2 }", 3_000),
        ("faults.+={ at: 4s, for: 1ms, link: { from: all, to: node-1 }, drop: 100% }", 3_000),
        (STAGES, 2_950),
        (
            "load.probes.arrivals={ stages: [ { for: 3s, rate: 5/s }, { for: 5s, rate: 50/s } ], process: constant }",
            2_850,
        ),
    ] {
        let other = experiment(&[change]);
        let mut run = traced(&own);
        run.to(ms(at));
        assert!(run.go_on_as(&own, &other).unwrap(), "{change}");
        let whole = left(&other, traced(&other));
        assert!(left(&other, run) == whole, "{change}");
        assert!(left(&own, traced(&own)) != whole, "{change} changes something");
    }
}

#[test]
fn what_differs_before_now_is_not_gone_on_with() {
    let own = experiment(&[]);
    for (change, at) in [
        ("faults.+={ at: 4s, for: 1s, crash: node-0 }", 4_000),
        ("control.missed=1", 10),
        ("seed=4", 10),
        ("duration=9s", 10),
        // The request after this moment is planned already, by the old rate.
        (STAGES, 2_999),
        ("load.people.arrivals={ poisson: 61/s }", 1_500),
        ("load.people.arrivals={ constant: 60/s }", 1_500),
    ] {
        let other = experiment(&[change]);
        let mut run = traced(&own);
        run.to(ms(at));
        assert!(!run.go_on_as(&own, &other).unwrap(), "{change}");
        assert!(left(&own, run) == left(&own, traced(&own)), "{change}: nothing has changed");
    }
}
