//! The results of a live run.

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::Mesh;
use meshsim_net::{ProcessReport, RunResult};
use meshsim_report::{GeneratorProcess, Worked};

use super::handle::manual_fault;
use super::run_spec::{live_mesh, read_findings};
use super::trace_parts::LiveTrace;
use crate::outcome::Outcome;

/// The results of a live run: its measurements, and the reports of its processes.
#[derive(Debug)]
pub struct Performed {
    /// The measurements.
    pub outcome: Outcome,
    /// Reports of the processes that sent their results. The first is this process.
    pub processes: Vec<ProcessReport>,
    /// Actors whose processes, and with them their measurements, were lost.
    pub lost: Vec<String>,
    /// The trace, if the run was traced.
    pub trace: Option<LiveTrace>,
    /// True if the run had no planned end, so that stopping it does not cut it short.
    pub until_stopped: bool,
}

impl Performed {
    pub(super) fn new(
        experiment: &Experiment,
        mut performance: RunResult,
        trace: Option<LiveTrace>,
        until_stopped: bool,
    ) -> Self {
        let outcome = outcome(experiment, &mut performance);
        let error = performance.trace_errors.into_iter().next();
        let trace = trace.map(|trace| trace.handed_in(error));
        Performed { outcome, processes: performance.processes, lost: performance.lost, trace, until_stopped }
    }
}

fn outcome(experiment: &Experiment, performance: &mut RunResult) -> Outcome {
    let mesh = live_mesh(experiment);
    let mut findings = Vec::new();
    for (actor, bytes) in std::mem::take(&mut performance.findings).into_iter().enumerate() {
        let read = bytes.as_deref().map(read_findings).transpose();
        findings.push(read.unwrap_or_else(|error| {
            // One bad process must not take the measurements of all others with it.
            let name = mesh.actor_name(ActorId(actor as u32)).to_owned();
            tracing::warn!("what {name} found cannot be read: {error}");
            performance.lost.push(name);
            None
        }));
    }
    let now = performance.ended;
    // A run without a planned end can also end before the experiment's duration.
    let cut_short = performance.cut_short || now < Time::ZERO + experiment.duration;
    let mut outcome = Outcome::new(&experiment.mesh, now, performance.counts.into(), findings, cut_short);
    let measured = &mut outcome.measured;
    measured.is_live = true;
    measured.without(&performance.absent, &mesh);
    measured.replaced(std::mem::take(&mut performance.restarts), &mesh);
    for (actor, bytes) in std::mem::take(&mut performance.former) {
        match read_findings(&bytes) {
            Ok(found) => measured.add_former(actor, found, &mesh),
            Err(error) => {
                tracing::warn!("what {} found before it left cannot be read: {error}", mesh.actor_name(actor))
            }
        }
    }
    let worked = performance.processes.iter().flat_map(|process| &process.worked);
    measured.real_work =
        worked.map(|it| Worked { actor: it.actor, asked_ns: it.asked_ns, burnt_ns: it.burnt_ns }).collect();
    measured.generators = performance.processes.iter().filter_map(|process| generator(process, &mesh)).collect();
    measured.departures = performance.departures.iter().map(|it| (it.actor, it.at, it.back)).collect();
    for (index, at) in &performance.healed {
        let manual = index.checked_sub(experiment.network.faults.len());
        let fault = manual.and_then(|index| performance.faults.get_mut(index));
        fault.into_iter().for_each(|fault| fault.until = fault.until.min(*at).max(fault.at));
    }
    measured.healed = std::mem::take(&mut performance.healed);
    measured.faults = performance.faults.iter().map(|fault| manual_fault(fault, &mesh)).collect();
    outcome
}

/// The loads whose clients a process hosted, if there are any.
fn generator(process: &ProcessReport, mesh: &Mesh) -> Option<GeneratorProcess> {
    let loads = mesh.loads.iter().enumerate().filter(|(_, load)| process.actors.contains(&load.name));
    let loads: Vec<usize> = loads.map(|(index, _)| index).collect();
    (!loads.is_empty()).then(|| GeneratorProcess { hostname: process.hostname.clone(), pid: process.pid, loads })
}
