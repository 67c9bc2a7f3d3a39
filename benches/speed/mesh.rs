//! Meshes: a million idle nodes, and an experiment from its file to its summary.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_benches::{SEED, network};
use meshsim_experiment::Experiment;
use meshsim_fault::NetworkSpec;
use meshsim_mesh::model::NodeSpec;
use meshsim_mesh::{Mesh, MeshActor};
use meshsim_report::{Measured, Summary, Traffic};
use meshsim_sim::Sim;

use crate::measure::{Options, resident_bytes, secs};

/// So many nodes that host nothing and send their heartbeats, with their coordinator, after two seconds.
pub(crate) fn idle_nodes(count: u32) -> Sim<MeshActor> {
    let node = |i| NodeSpec { name: format!("node-{i}"), cores: 8.0, zone: 0, joins: Time::ZERO };
    let mesh = Arc::new(Mesh { nodes: (0..count).map(node).collect(), ..Mesh::default() });
    let mut sim = Sim::new(SEED, network(NetworkSpec::constant(SEED, Span::from_micros(250))));
    for actor in meshsim_mesh::actors::all(&mesh) {
        sim.add_unnamed(actor);
    }
    sim.run_until(Time::ZERO + Span::from_secs(2));
    sim
}

/// Measures the example `thousand` in a process of its own; false if that failed.
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
    let sim = run(&experiment);
    let ran = secs();
    let counts = sim.counts();
    let traffic =
        Traffic { events: counts.events, sent: counts.sent, delivered: counts.delivered, ..Traffic::default() };
    let findings = sim.actors().map(|actor| Some(actor.findings(sim.now())));
    let measured = Measured::gather(&experiment, sim.now(), traffic, findings);
    let summary = Summary::new(&experiment, &measured, false);
    let end = secs();
    let events = counts.events as f64;
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
    ExitCode::SUCCESS
}

fn run(experiment: &Experiment) -> Sim<MeshActor> {
    let mesh = Arc::new(experiment.mesh.clone());
    let mut sim = Sim::new(experiment.seed, network(experiment.network.clone()));
    for (i, actor) in meshsim_mesh::actors::all(&mesh).enumerate() {
        sim.add(actor, mesh.actor_name(ActorId(i as u32)));
    }
    sim.run_until(Time::ZERO + experiment.duration);
    sim
}
