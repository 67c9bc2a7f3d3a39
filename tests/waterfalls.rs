//! The time of requests by cause, from a trace: complete, exact, and in agreement with theory.

use std::path::Path;

use meshsim_actor::{ActorId, Dist, EntryRef, Recorder, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::{Crash, Drop, Duplicate, Fault, FaultKind, Link, Pause, Reorder};
use meshsim_mesh::model::{Load, ScriptStep, Service};
use meshsim_mesh::{Msg, RequestId, Tick};
use meshsim_report::waterfall::{Follower, Kind, Totals, Waterfall};
use meshsim_run::Simulation;
use meshsim_tests::{Testbed, call, exponential, load, service};
use meshsim_trace::Record;

/// Follows the requests of a run.
struct Seen<S> {
    follower: Follower,
    records: u64,
    state: S,
    add: fn(&mut S, Waterfall),
}

impl<S> Seen<S> {
    fn new(state: S, add: fn(&mut S, Waterfall)) -> Self {
        Seen { follower: Follower::default(), records: 0, state, add }
    }
}

impl<S> Recorder<Msg, Tick> for Seen<S> {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        let record = Record { seq: self.records, at, actor, entry: what.into() };
        self.records += 1;
        if let Some(waterfall) = self.follower.take(&record) {
            (self.add)(&mut self.state, waterfall);
        }
    }
}

fn examples() -> Vec<(String, Experiment)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("mesh.yaml"));
    let read = |file: std::path::PathBuf| {
        let experiment = meshsim_experiment::load(&file, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        (file.display().to_string(), experiment)
    };
    files.filter(|file| file.is_file()).map(read).collect()
}

/// The pieces follow each other from the planned time to the end without gaps.
fn assert_exact(of: &Waterfall, what: &str) {
    let path = of.critical_path();
    let mut at = of.due;
    for piece in &path {
        assert!(piece.from == at && piece.to > at, "{what}: {piece:?} after {at} of {of:?}");
        assert!(!matches!(piece.kind, Kind::Unknown | Kind::Client | Kind::Below), "{what}: {piece:?} of {of:?}");
        at = piece.to;
    }
    assert_eq!(at, of.ended, "{what}: {of:?}");
    for (index, call) in of.calls.iter().enumerate() {
        for attempt in 0..call.tries.len() {
            assert!(of.row(index, attempt).windows(2).all(|pair| pair[0].to == pair[1].from), "{what}: {of:?}");
        }
    }
}

/// Runs an experiment for some seconds, and compares its requests with the measurements of its clients.
fn assert_complete(name: &str, mut experiment: Experiment, secs: u64) -> usize {
    experiment.duration = experiment.duration.min(Span::from_secs(secs));
    let seen = Seen::new(Vec::new(), |all: &mut Vec<_>, of: Waterfall| {
        assert_exact(&of, "");
        all.push((of.root, of.due, of.latency(), of.failure));
    });
    let mut simulation = Simulation::recorded(&experiment, seen).unwrap();
    simulation.to(Time::ZERO + experiment.duration);
    let all = &simulation.recorder().state;
    let mesh = simulation.mesh();
    for (index, load) in mesh.loads.iter().enumerate() {
        let actor = mesh.client_actor(index);
        let client = simulation.state(actor).client().expect("it is a client");
        let measured =
            |of: &&(u64, Time, Span, _)| RequestId::caller(of.0) == actor && of.1 >= load.start + load.warmup;
        let failed = all.iter().filter(measured).filter(|of| of.3.is_some()).count() as u64;
        let done: Vec<Span> = all.iter().filter(measured).filter(|of| of.3.is_none()).map(|of| of.2).collect();
        let tallies = client.tallies();
        let counted = (
            tallies.iter().map(|tally| tally.done).sum::<u64>(),
            tallies.iter().map(|tally| tally.failed.total()).sum::<u64>(),
            tallies.iter().map(|tally| tally.latency.max()).max(),
        );
        let longest = done.iter().copied().max().or(Some(Span::ZERO));
        assert_eq!((done.len() as u64, failed, longest), counted, "{name}, load {index}");
    }
    all.len()
}

#[test]
fn the_parts_of_every_request_of_every_example_add_up_to_its_latency() {
    for (name, experiment) in examples() {
        let secs = if name.contains("thousand") { 2 } else { 8 };
        let ended = assert_complete(&name, experiment, secs);
        assert!(ended > 0 || !name.contains("hotel"), "{name}: nothing ended");
    }
}

/// Retries, deadlines, short queues, branches, and a network that duplicates, drops and reorders.
fn troubled(seed: u64) -> Experiment {
    let mut experiment = meshsim_tests::parse(TROUBLED);
    experiment.seed = seed;
    experiment.mesh.seed = seed;
    let (from, to) = (Time::ZERO + Span::from_secs(1), Time::ZERO + Span::from_secs(5));
    let only = |node| [experiment.mesh.node_actor(node)].into_iter().collect();
    let kinds: Vec<FaultKind> = vec![
        Crash { actors: only(0) }.into(),
        Pause { actors: only(1) }.into(),
        Drop { on: Link::all(), probability: 0.01 }.into(),
        Duplicate { on: Link::all(), probability: 0.05, lag: Dist::Constant(Span::from_millis(3)) }.into(),
        Reorder { on: Link::all(), probability: 0.05, within: Span::from_millis(20) }.into(),
    ];
    experiment.network.faults.extend(kinds.into_iter().map(|kind| Fault::new(from, to, kind)));
    experiment
}

const TROUBLED: &str = "
nodes: [ { name: a, cores: 2 }, { name: b, cores: 2 }, { name: c, cores: 2 } ]
duration: 8s
services:
  front:
    instances: 3
    capacity: 4
    queue: 5
    endpoints:
      get:
        script:
          - work: { exponential: 2ms }
          - parallel:
              - [ { call: { to: back, retries: 2, timeout: 40ms } }, { work: 1ms } ]
              - [ { sleep: 3ms }, { call: { to: back, count: 2, optional: true, timeout: 30ms } } ]
          - call: { to: back, count: 3, parallel: true, probability: 50%, timeout: 50ms }
  back:
    instances: 3
    capacity: 2
    queue: 4
    endpoints: { serve: { script: [ work: { exponential: 4ms } ], errors: 2% } }
load:
  users: { to: front, arrivals: { poisson: 150/s }, timeout: 300ms, retries: 1, deadline: 500ms }
";

#[test]
fn the_parts_add_up_under_faults_retries_and_deadlines() {
    for seed in 1..6 {
        let ended = assert_complete("troubled", troubled(seed), 8);
        assert!(ended > 800, "{ended}");
    }
}

/// Mean times of the critical path by kind, in units of the mean service time.
fn means(services: Vec<Service>, rate: f64, requests: f64) -> impl Fn(Kind) -> f64 {
    let secs = requests / rate * UNIT;
    let lab = Testbed::nodes(1).control(|control| control.heartbeat = Span::ZERO);
    let lab = services.into_iter().fold(lab, Testbed::service);
    let offered = load(0, rate / UNIT, secs);
    let mut lab = lab.load(Load { warmup: Span::from_secs_f64(secs / 10.0), ..offered });
    lab.mesh.nodes[0].cores = 1e5;
    let seen = Seen::new((Totals::default(), Span::from_secs_f64(secs / 10.0)), |(totals, warm), of| {
        if of.due >= Time::ZERO + *warm {
            totals.add(&of);
        }
    });
    let ran = lab.run_with(1.0 + secs * 1.02, seen);
    let (_, _, group) = ran.sim.recorder().state.0.groups().next().expect("there is a load");
    let all = group.slowest(1.0);
    assert_eq!(all.requests, group.requests);
    move |kind| {
        let of_kind = all.parts.iter().filter(|(_, other, _)| *other == kind).map(|(.., ns)| *ns).sum::<u128>();
        of_kind as f64 / all.requests as f64 / 1e9 / UNIT
    }
}

/// The mean service time.
const UNIT: f64 = 1e-3;

fn servers(c: u32) -> Vec<Service> {
    vec![Service { capacity: f64::from(c), ..service("s", vec![exponential(UNIT)]) }]
}

#[test]
fn waiting_times_in_waterfalls_agree_with_theory() {
    // M/M/1 at 0.5: Wq = 1. M/M/2 at a load of 1: Wq = 1/3.
    for (c, rate, wq) in [(1, 0.5, 1.0), (2, 1.0, 1.0 / 3.0)] {
        let of = means(servers(c), rate, 60_000.0);
        assert!((of(Kind::Queue) - wq).abs() < 0.06 * (1.0 + wq), "M/M/{c}: {}, not {wq}", of(Kind::Queue));
        assert!((of(Kind::Work) - 1.0).abs() < 0.02, "{}", of(Kind::Work));
    }
}

#[test]
#[ignore = "long: runs in release"]
fn waiting_in_the_waterfalls_is_that_of_mm1_and_mmc() {
    for (c, rate, wq, requests) in [(1, 0.8, 4.0, 6e6), (2, 1.6, 1.777_778, 4e6), (5, 4.0, 0.554_113, 3e6)] {
        let waited = means(servers(c), rate, requests)(Kind::Queue);
        println!("M/M/{c}: {waited:.4}, oracle {wq}");
        assert!((waited / wq - 1.0).abs() < 0.02, "M/M/{c}: {waited}, not {wq}");
    }
}

#[test]
fn the_critical_path_of_a_fork_is_that_of_its_slowest_branch() {
    // Fork-join of two M/M/1 at 0.5: 2.875 together.
    let entry = service("entry", vec![ScriptStep::Parallel(vec![vec![call(1)], vec![call(2)]])]);
    let station = || service("station", vec![exponential(UNIT)]);
    let of = means(vec![Service { capacity: 1e9, ..entry }, station(), station()], 0.5, 60_000.0);
    let whole = of(Kind::Queue) + of(Kind::Work);
    assert!((whole - 2.875).abs() < 0.15, "{whole}");
    // The work and the waiting on the path belong to one branch, so each is longer than its mean.
    assert!(of(Kind::Work) > 1.2 && of(Kind::Queue) > 1.0, "{} {}", of(Kind::Work), of(Kind::Queue));
}

#[test]
fn the_calls_of_an_async_block_are_shown_and_take_no_time_of_the_request() {
    let block = ScriptStep::Async(vec![call(1), ScriptStep::Sleep(Dist::Constant(Span::from_secs(1))), call(1)]);
    let entry = service("entry", vec![block, ScriptStep::Sleep(Dist::Constant(Span::from_millis(100)))]);
    let back = service("back", vec![ScriptStep::Sleep(Dist::Constant(Span::from_millis(10)))]);
    let seen = Seen::new(Vec::new(), |all: &mut Vec<_>, of: Waterfall| {
        assert_exact(&of, "async");
        all.push((of.latency(), of.calls.len(), of.hops.len()));
    });
    let ran = Testbed::nodes(1).service(entry).service(back).load(load(0, 1.0, 20.0)).run_with(25.0, seen);
    let all = &ran.sim.recorder().state;
    assert!(all.len() > 5, "{all:?}");
    // The client's call and the block's first, which has ended; its second comes after the request.
    assert!(all.iter().all(|it| (it.1, it.2) == (2, 2) && it.0 >= Span::from_millis(100)), "{all:?}");
}

/// The time on critical paths that requests to `front` waited for a breaker, the time that they were late or between
/// tries, and their number.
fn held(services: &str, load: &str) -> (Span, Span, u64) {
    let seen =
        Seen::new((Span::ZERO, Span::ZERO, 0), |(held, others, requests): &mut (Span, Span, u64), of: Waterfall| {
            assert_exact(&of, "breaker");
            for piece in of.critical_path() {
                match piece.kind {
                    Kind::Breaker => *held += piece.to.since(piece.from),
                    Kind::Retry | Kind::Client => *others += piece.to.since(piece.from),
                    _ => {}
                }
            }
            *requests += 1;
        });
    let experiment = meshsim_tests::parse(&format!(
        "duration: 3s\nnodes: [ {{ name: n }} ]\nnetwork: {{ latency: 0ms, local: 0ms }}\nservices:\n{services}\n\
         load: {{ users: {{ to: front, from: 1s, {load} }} }}\n"
    ));
    let mut simulation = Simulation::recorded(&experiment, seen).unwrap();
    simulation.to(Time::ZERO + experiment.duration);
    simulation.recorder().state
}

#[test]
fn the_wait_at_a_circuit_breaker_is_a_part_of_the_time_of_a_request() {
    // The last of three calls that are made together waits for two.
    let services = "  front: { capacity: 9, endpoints: { get: { script: [ call: { to: back, count: 3, parallel: true } ] } } }\n  \
                    back: { capacity: 9, breaker: { max_connections: 1 }, endpoints: { get: { script: [ sleep: 10ms ] } } }";
    let found = held(services, "for: 1s, arrivals: { constant: 10/s }");
    assert_eq!(found, (Span::from_millis(20) * 10, Span::ZERO, 10));
    // Of requests that come each 100 ms and take 150, the second waits for 50, and the third for 100.
    let services =
        "  front: { capacity: 9, breaker: { max_connections: 1 }, endpoints: { get: { script: [ sleep: 150ms ] } } }";
    let found = held(services, "for: 300ms, arrivals: { constant: 10/s }");
    assert_eq!(found, (Span::from_millis(150), Span::ZERO, 3));
}

#[test]
fn the_wait_for_a_connection_is_a_part_of_the_time_of_a_request() {
    let seen = Seen::new((Span::ZERO, 0), |(pool, requests): &mut (Span, u64), of: Waterfall| {
        assert_exact(&of, "connections");
        for piece in of.critical_path().iter().filter(|piece| piece.kind == Kind::Pool) {
            *pool += piece.to.since(piece.from);
        }
        *requests += 1;
    });
    let text = "duration: 3s\nnodes: [ { name: n } ]\nnetwork: { latency: 0ms, local: 0ms }\nservices:\n  \
                front: { capacity: 1000, endpoints: { get: { script: [ call: back ] } } }\n  \
                back: { capacity: 1000, connections: { max: 1, set_up: 1ms }, endpoints: { get: { script: [ sleep: 20ms ] } } }\n\
                load: { users: { to: front, from: 1s, for: 1s, arrivals: { constant: 10/s } }, \
                others: { to: front, from: 1s, for: 1s, arrivals: { constant: 10/s } } }\n";
    let experiment = meshsim_tests::parse(text);
    let mut simulation = Simulation::recorded(&experiment, seen).unwrap();
    simulation.to(Time::ZERO + experiment.duration);
    let (pool, requests) = simulation.recorder().state;
    // Of two that come together one waits for the other's 20 ms; and the first of all waits for the set-up, as does the
    // second then.
    assert_eq!((requests, pool), (20, Span::from_millis(10 * 20 + 2)));
}
