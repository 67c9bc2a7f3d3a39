//! Meshes: a million idle nodes, and an experiment from its file to its summary.

use std::path::Path;
use std::process::{Command, ExitCode};

use meshsim_actor::{Span, Time};
use meshsim_benches::SEED;
use meshsim_fault::NetworkSpec;
use meshsim_mesh::Mesh;
use meshsim_mesh::model::NodeSpec;
use meshsim_run::Simulation;

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

/// Measures the example `thousand` in a separate process; returns false if that failed.
pub(crate) fn measure_thousand(options: Options) -> bool {
    let program = std::env::current_exe().expect("the program knows itself");
    let mut command = Command::new(program);
    command.arg("--thousand").args(options.quick.then_some("--quick"));
    command.status().is_ok_and(|status| status.success())
}

/// The example `thousand` (1,000 services, 2,000 instances), from its file to its summary.
pub(crate) fn thousand(quick: bool) -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/thousand/mesh.yaml");
    let before = resident_bytes();
    let begin = secs();
    let mut experiment = match meshsim_experiment::load(&path, &[]) {
        Ok(experiment) => experiment,
        Err(problems) => {
            eprintln!("{}", problems.render(false, 100));
            return ExitCode::FAILURE;
        }
    };
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
