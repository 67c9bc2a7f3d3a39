//! Large meshes: their time and memory, by node and by instance.

use std::path::Path;
use std::process::ExitCode;

use meshsim_actor::{Span, Time};
use meshsim_experiment::Experiment;
use meshsim_run::Simulation;

use crate::measure::{resident_bytes, secs};

/// So many nodes, with ten times as many instances: each node has one of `a`, one of `b`, which `a` calls, and eight of
/// a third service.
fn text(nodes: u32) -> String {
    let service = |name: &str, instances: u32, call: &str| {
        format!("  {name}: {{ instances: {instances}, endpoints: {{ get: {{ script: [ work: 1ms{call} ] }} }} }}\n")
    };
    format!(
        "duration: 3s\nnodes: [ {{ name: n, count: {nodes}, cores: 64 }} ]\nservices:\n{}{}{}load: {{ u: {{ to: a, \
         arrivals: {{ poisson: 10000/s }} }} }}\n",
        service("a", nodes, ", call: b.get"),
        service("b", nodes, ""),
        service("c", 8 * nodes, ""),
    )
}

fn experiment(nodes: u32) -> Option<Experiment> {
    let read = meshsim_experiment::parse("large.yaml", &text(nodes), Path::new(""), &[]);
    read.inspect_err(|problems| eprintln!("{}", problems.render(false, 100))).ok()
}

/// A mesh of so many nodes, from its text to its summary, for three seconds.
pub(crate) fn mesh(nodes: u32, quick: bool) -> ExitCode {
    let nodes = if quick { nodes / 100 } else { nodes };
    let (before, begin) = (resident_bytes(), secs());
    let Some(experiment) = experiment(nodes) else { return ExitCode::FAILURE };
    let mut run = Simulation::new(&experiment).expect("the file was checked");
    let made = secs();
    let expected = meshsim_experiment::check::check(&experiment).resources.memory_bytes;
    run.to(Time::ZERO + experiment.duration);
    let (ran, live) = (secs(), resident_bytes().saturating_sub(before) as f64);
    let summary = run.outcome().summary(&experiment);
    let end = secs();
    let (events, peak) = (summary.traffic.events as f64, resident_bytes() as f64);
    println!(
        "{nodes} nodes, {} instances: {:.1} s to read, {:.1} s to run {:.0} s, {:.1} s to sum up; {:.1} M events, {:.2} M \
         events/s; {:.2} GB, {:.0} bytes a node, and {:.2} GB at the end (`check`: {:.2} GB)",
        10 * nodes,
        made - begin,
        ran - made,
        Span::from_secs(3).secs(),
        end - ran,
        events / 1e6,
        events / 1e6 / (ran - made),
        live / 1e9,
        live / f64::from(nodes),
        peak / 1e9,
        expected / 1e9,
    );
    ExitCode::SUCCESS
}
