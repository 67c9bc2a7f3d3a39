//! Meshes: a million idle nodes, and experiments from their files to their summaries.

use std::path::Path;
use std::process::{Command, ExitCode};

use meshsim_actor::{Span, Time};
use meshsim_benches::{SEED, Work, phold};
use meshsim_experiment::Experiment;
use meshsim_fault::NetworkSpec;
use meshsim_mesh::Mesh;
use meshsim_mesh::model::NodeSpec;
use meshsim_run::Simulation;

use crate::large;
use crate::measure::{Options, resident_bytes, secs};

/// This many nodes without instances, which send their heartbeats, with their coordinator, after two seconds.
pub(crate) fn idle_nodes(count: u32) -> Simulation {
    let node = |i| NodeSpec { name: format!("node-{i}"), cores: 8.0, zone: 0, joins: Time::ZERO };
    let mesh = Mesh { nodes: (0..count).map(node).collect(), seed: SEED, ..Mesh::default() };
    let network = NetworkSpec::constant(SEED, Span::from_micros(250));
    let end = Time::ZERO + Span::from_secs(2);
    let mut run = Simulation::of_mesh(mesh.into(), network, end, ()).expect("the network is valid");
    run.to(end);
    run
}

/// A measurement of this file, which is made in a separate process.
pub(crate) type Part = fn(bool) -> ExitCode;

/// All of them, by the word that chooses them.
pub(crate) const PARTS: [(&str, Part); 5] = [
    ("thousand", thousand),
    ("hotel", hotel),
    ("windows", windows),
    ("large 100,000", |quick| large::mesh(100_000, quick)),
    ("large 1,000,000", |quick| large::mesh(1_000_000, quick)),
];

/// Makes one of the measurements in a separate process; returns false if that failed.
pub(crate) fn measure(part: &str, options: Options) -> bool {
    let program = std::env::current_exe().expect("the program knows itself");
    let mut command = Command::new(program);
    command.args(["--part", part]).args(options.quick.then_some("--quick"));
    command.status().is_ok_and(|status| status.success())
}

/// The experiment of an example; `None` if it cannot be read, which has been said.
fn example(name: &str) -> Option<Experiment> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/{name}/mesh.yaml"));
    let read = meshsim_experiment::load(&path, &[]);
    read.inspect_err(|problems| eprintln!("{}", problems.render(false, 100))).ok()
}

/// The example `thousand` (1,000 services, 2,000 instances), from its file to its summary.
fn thousand(quick: bool) -> ExitCode {
    let before = resident_bytes();
    let begin = secs();
    let Some(mut experiment) = example("thousand") else { return ExitCode::FAILURE };
    if quick {
        experiment.duration = Span::from_secs(3);
    }
    let loaded = secs();
    let mut run = Simulation::new(&experiment).expect("the file was checked");
    run.to(Time::ZERO + experiment.duration);
    let ran = secs();
    let summary = run.outcome().summary(&experiment);
    let end = secs();
    let snapshot = run.snapshot().expect("it is small enough");
    let written = secs();
    Simulation::resume(&snapshot).expect("it was just written");
    let read = secs();
    let actors = run.actors().len() as f64;
    let events = summary.traffic.events as f64;
    println!(
        "\nthousand, end to end: {:.0} ms to read, {:.2} s to run {} s, {:.0} ms to sum up; {:.2} M events, {:.2} M \
         events/s, {:.0} MB",
        (loaded - begin) * 1e3,
        ran - loaded,
        summary.reached_s,
        (end - ran) * 1e3,
        events / 1e6,
        events / 1e6 / (ran - loaded),
        resident_bytes().saturating_sub(before) as f64 / 1e6,
    );
    println!(
        "thousand, as a snapshot: {:.0} KB, {:.1} KB an actor; {:.0} us an actor to write, {:.0} us to read",
        snapshot.len() as f64 / 1e3,
        snapshot.len() as f64 / 1e3 / actors,
        (written - end) * 1e6 / actors,
        (read - written) * 1e6 / actors,
    );
    ExitCode::SUCCESS
}

/// Rounds of a comparison; each contender's best counts.
const ROUNDS: u32 = 3;

/// Seconds of processor time to run an experiment, and the events of the run.
fn ran(experiment: &Experiment) -> (f64, f64) {
    let begin = secs();
    let mut run = Simulation::new(experiment).expect("the file was checked");
    run.to(Time::ZERO + experiment.duration);
    let took = secs() - begin;
    (took, run.outcome().summary(experiment).traffic.events as f64)
}

/// A million requests of the example `hotel`, and an event of it beside one of PHOLD, in which actors do next to
/// nothing.
fn hotel(quick: bool) -> ExitCode {
    let Some(mut experiment) = example("hotel") else { return ExitCode::FAILURE };
    experiment.duration = Span::from_secs(if quick { 20 } else { 5_000 });
    let (took, events) = ran(&experiment);
    let mut bare = phold::prepare(1_000, ());
    bare.run(2_000);
    let begin = secs();
    let done = bare.run(if quick { 100_000 } else { 4_000_000 });
    let of_phold = (secs() - begin) * 1e9 / done.events as f64;
    let each = took * 1e9 / events;
    println!(
        "\nhotel, {} s: {took:.2} s of processor time; {:.2} M events, {each:.0} ns an event, {:.1} x one of PHOLD",
        experiment.duration.secs(),
        events / 1e6,
        each / of_phold,
    );
    ExitCode::SUCCESS
}

/// The cost of windows: examples with windows of a second beside one window as long as the run.
fn windows(quick: bool) -> ExitCode {
    println!();
    for (name, secs) in [("hotel", 100), ("thousand", 10)] {
        let Some(mut many) = example(name) else { return ExitCode::FAILURE };
        many.duration = Span::from_secs(if quick { 3 } else { secs });
        many.mesh.loads.iter_mut().for_each(|load| load.window = Span::from_secs(1));
        let mut one = many.clone();
        one.mesh.loads.iter_mut().for_each(|load| load.window = many.duration);
        // Alternately: what else the machine does in the meantime meets both.
        let rounds = (0..ROUNDS).map(|_| (ran(&many).0, ran(&one).0));
        let best = |(a, b): (f64, f64), (c, d): (f64, f64)| (a.min(c), b.min(d));
        let (with, without) = rounds.fold((f64::INFINITY, f64::INFINITY), best);
        println!("{name}, {} windows of 1 s: {:.3} x the time of one window", many.duration.secs(), with / without);
    }
    ExitCode::SUCCESS
}
