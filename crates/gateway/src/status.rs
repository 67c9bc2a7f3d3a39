//! Status of a run.

use actix_web::{HttpRequest, HttpResponse, web};
use meshsim_actor::{Span, Time};
use meshsim_experiment::{Experiment, fault_in_words};
use meshsim_fault::Fault;
use meshsim_mesh::coordinator::{Coordinator, Presence};
use meshsim_mesh::measure::OperationHistory;
use meshsim_mesh::model::{Change, Mesh, ServiceId};
use meshsim_net::{ClusterStatus, ProcessState};
use meshsim_report::{OperationSummary, SoFar, Values, Verdict, named, window_quantile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::{respond, seconds};
use crate::refusal::{Refusal, number};
use crate::state::State;

/// Status of a run.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Status {
    /// Name of the run.
    pub experiment: String,
    /// Seed of all its randomness.
    pub seed: u64,
    /// Time in the run.
    pub time_s: f64,
    /// Phase of the run.
    pub phase: Phase,
    /// Actors that have not joined yet.
    pub missing: Vec<String>,
    /// Steps that the coordinator has decided.
    pub steps: u64,
    /// In the order of the file.
    pub services: Vec<Service>,
    /// In the order of the file.
    pub nodes: Vec<Node>,
    /// Their names, in the order of the file.
    pub loads: Vec<String>,
    /// The coordinator's first.
    pub processes: Vec<Process>,
    /// Results of the requests of all loads in the last five windows, or as many as `windows` asks for, of a second or
    /// of the longest window of a load; windows in which nothing was due are left out.
    pub recent: Vec<Moment>,
    /// The SLOs, as they come out by now, from whole windows: only when the run has ended is a verdict final.
    #[serde(default)]
    pub slo: Vec<Verdict>,
    /// Faults that hold now.
    pub faults: Vec<RunningFault>,
    /// Rollouts in progress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<RunningRollout>,
    /// Loads and nodes of which nothing is heard: their figures are missing since.
    pub silent: Vec<Silent>,
}

/// Results of the requests that were planned in an interval.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Moment {
    /// When it began.
    pub from_s: f64,
    /// When it ended.
    pub to_s: f64,
    /// Requests that were due.
    pub offered: u64,
    /// Answered.
    pub done: u64,
    /// Failed, for any reason.
    pub failed: u64,
    /// Neither done nor failed yet.
    pub open: u64,
    /// Half of those done took at most this; none where fewer than ten took longer.
    pub p50_ns: Option<u64>,
    /// The same for 90 %.
    pub p90_ns: Option<u64>,
    /// The same for 99 %.
    pub p99_ns: Option<u64>,
}

/// A fault that holds.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct RunningFault {
    /// Its index, which its events have as `fault`: faults of the file first, then manual ones.
    pub fault: usize,
    /// Its effect and its targets, in words.
    pub what: String,
    /// When it began.
    pub from_s: f64,
    /// None: to the end of the run.
    pub until_s: Option<f64>,
}

/// A rollout in progress.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct RunningRollout {
    /// Its index among all operations.
    pub operation: usize,
    /// The service.
    pub service: String,
    /// The new version.
    pub to: u32,
    /// Share of the requests that the new version is to have.
    pub weight: f64,
    /// Reason of its pause; `null` if it is not paused.
    pub paused: Option<String>,
    /// Its step, and why it is paused or aborted, in words.
    pub standing: String,
    /// Its latest measurement, in words; `null`: there is none yet.
    pub measured: Option<String>,
}

/// A load or a node of which nothing is heard.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Silent {
    /// Its name.
    pub actor: String,
    /// Since when.
    pub since_s: f64,
}

/// Windows of [`Status::recent`].
pub(crate) const RECENT: usize = 5;
/// Windows of it that can be asked for.
pub(crate) const RECENT_MAX: usize = 600;

/// Phase of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not all have joined.
    Waiting,
    /// It goes on.
    Running,
    /// It is over, and what was measured is gathered.
    Ended,
}

impl Phase {
    /// All there are.
    pub const ALL: [Phase; 3] = [Phase::Waiting, Phase::Running, Phase::Ended];

    /// As answers have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Running => "running",
            Phase::Ended => "ended",
        }
    }
}

impl From<meshsim_net::Phase> for Phase {
    fn from(phase: meshsim_net::Phase) -> Self {
        match phase {
            meshsim_net::Phase::Waiting => Phase::Waiting,
            meshsim_net::Phase::Running => Phase::Running,
            meshsim_net::Phase::Ending => Phase::Ended,
        }
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "ServiceStatus")]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its endpoints.
    pub endpoints: Vec<String>,
    /// S, C and V that are wanted.
    #[serde(flatten)]
    pub values: Values,
    /// Instances that take requests, as the nodes last reported.
    pub ready: u32,
    /// Steps that there were of it.
    pub generation: u64,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "NodeStatus")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// As the coordinator sees it; `pending`: it is to come later, and has not come yet; `leaving`: what it has is
    /// started elsewhere; `left`: it has left, and had said so; `shunned`: others refuse its handshakes, and nothing is
    /// placed on it; `cordoned`: it is drained, and nothing more is placed on it; `reserve`: its pool does not need it
    /// now.
    #[schemars(with = "String", extend("enum" = Presence::ALL.map(Presence::as_str)))]
    pub state: Presence,
    /// Instances placed there.
    pub instances: u32,
    /// The process that hosts it: its place in the list of them. None before one has come, and after it was lost.
    pub process: Option<usize>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "ProcessStatus")]
pub struct Process {
    /// Actors that it hosts.
    pub actors: Vec<String>,
    /// Its machine's name.
    #[serde(alias = "host")]
    pub hostname: String,
    /// Its number there.
    pub pid: u32,
    /// Address at which peers reach it; empty for the coordinator's process.
    pub address: String,
    /// Its connection is there.
    pub connected: bool,
}

/// `GET /api/status`
pub(crate) async fn status(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    const HELP: &str = "`windows=N` asks for the last N windows, at most 600";
    let windows = number(request.query_string(), "windows", HELP)?.unwrap_or(RECENT).min(RECENT_MAX);
    Ok(respond(&mut HttpResponse::Ok(), &Status::gather(&state, windows).await?))
}

impl Status {
    /// Asks the run and its coordinator, with the last so many windows.
    pub(crate) async fn gather(state: &web::Data<State>, windows: usize) -> Result<Self, Refusal> {
        let status = state.run.status().await?;
        let of_mesh = state.clone();
        let look = move |coordinator: &Coordinator| {
            let mesh = of_mesh.mesh();
            let histories = coordinator.rollouts().map(|(index, history)| (index, history.clone()));
            let histories: Vec<_> = histories.collect();
            (coordinator.steps(), services(mesh, coordinator), nodes(mesh, coordinator), histories)
        };
        let (steps, services, mut nodes, histories) = state.run.inspect(look).await?;
        let processes = status.processes.iter().map(process).collect();
        assign(&mut nodes, &status.processes);
        let experiment = state.experiment();
        let by_now = state.run.recent(&status);
        let now = by_now.now;
        let (recent, silent, slo) = state.run.so_far(|so_far| {
            let name = |actor| experiment.mesh.actor_name(actor).to_owned();
            let still = so_far.silences(now).into_iter().filter(|it| it.to.is_none());
            let silent = still.map(|it| Silent { actor: name(it.actor), since_s: seconds(it.from) }).collect();
            (moments(so_far, now, windows, &experiment.mesh), silent, so_far.slos(experiment, &by_now))
        });
        Ok(Status {
            experiment: experiment.name.clone(),
            seed: experiment.seed,
            time_s: seconds(if status.now < Time::NEVER { status.now } else { Time::ZERO }),
            phase: status.phase.into(),
            missing: status.missing.clone(),
            steps,
            services,
            nodes,
            loads: experiment.mesh.loads.iter().map(|load| load.name.clone()).collect(),
            processes,
            recent,
            slo,
            faults: running_faults(experiment, &status, now),
            rollouts: histories.iter().filter_map(|(index, it)| running_rollout(experiment, *index, it)).collect(),
            silent,
        })
    }
}

fn moments(so_far: &SoFar, now: Time, windows: usize, mesh: &Mesh) -> Vec<Moment> {
    // Long enough for a window of each load.
    let longest = mesh.loads.iter().map(|load| load.window).max().unwrap_or(Span::ZERO).max(Span::from_secs(1)).nanos();
    let last = now.nanos() / longest;
    let moment = |n: u64| {
        let (from, to) = (Time::from_nanos(n * longest), Time::from_nanos((n + 1) * longest));
        let (window, _) = so_far.of_loads(None, from, to, mesh);
        let failed = window.failed.total();
        Moment {
            from_s: seconds(from),
            to_s: seconds(to),
            offered: window.offered,
            done: window.done,
            failed,
            open: window.offered.saturating_sub(window.done).saturating_sub(failed),
            p50_ns: window_quantile(&window, 0.5),
            p90_ns: window_quantile(&window, 0.9),
            p99_ns: window_quantile(&window, 0.99),
        }
    };
    (last.saturating_sub(windows as u64)..last).map(moment).filter(|moment| moment.offered > 0).collect()
}

/// The active faults, of the file and manual.
pub(crate) fn running_faults(experiment: &Experiment, status: &ClusterStatus, now: Time) -> Vec<RunningFault> {
    let all = experiment.network.faults.iter().chain(&status.faults).enumerate();
    let until = |index: usize, fault: &Fault| {
        let healed = status.healed.iter().find(|(healed, _)| *healed == index);
        healed.map_or(fault.until, |(_, at)| fault.until.min(*at))
    };
    let all = all.map(|(index, fault)| (index, fault, until(index, fault)));
    let running = all.filter(|(_, fault, until)| now > Time::ZERO && (fault.at..*until).contains(&now));
    let running = running.map(|(index, fault, until)| RunningFault {
        fault: index,
        what: named(
            experiment.fault_names.get(index).and_then(|name| name.as_deref()),
            &fault_in_words(&fault.kind, &experiment.mesh),
        ),
        from_s: seconds(fault.at),
        until_s: (until < Time::NEVER).then(|| seconds(until)),
    });
    running.collect()
}

fn running_rollout(experiment: &Experiment, index: usize, history: &OperationHistory) -> Option<RunningRollout> {
    let Some(Change::Rollout(rollout)) = &history.change else { return None };
    let summary = OperationSummary::one(experiment, std::slice::from_ref(history), 0)?;
    let of_it = summary.rollout?;
    let mut measured = of_it.entries.iter().rev().filter(|entry| entry.measurement.is_some());
    Some(RunningRollout {
        operation: index,
        service: summary.service,
        to: rollout.to,
        weight: of_it.weight,
        paused: of_it.paused.as_ref().map(|reason| reason.to_string()),
        standing: of_it.standing(),
        measured: measured.next().map(|entry| entry.what.clone()),
    })
}

fn services(mesh: &Mesh, coordinator: &Coordinator) -> Vec<Service> {
    let service = |(index, service): (usize, &meshsim_mesh::model::Service)| {
        let id = ServiceId(index as u16);
        let wanted = coordinator.wanted(id);
        Service {
            name: service.name.clone(),
            endpoints: service.endpoints.clone(),
            values: Values { instances: wanted.instances, capacity: wanted.c, version: wanted.v_mean() },
            ready: coordinator.ready(id),
            generation: coordinator.generation(id),
        }
    };
    mesh.services.iter().enumerate().map(service).collect()
}

fn nodes(mesh: &Mesh, coordinator: &Coordinator) -> Vec<Node> {
    let node = |(index, node): (usize, &meshsim_mesh::model::NodeSpec)| Node {
        name: node.name.clone(),
        state: coordinator.presence(index),
        instances: coordinator.placed_on(index),
        process: None,
    };
    mesh.nodes.iter().enumerate().map(node).collect()
}

/// Says of each node which connected process hosts it.
fn assign(nodes: &mut [Node], processes: &[ProcessState]) {
    let hosts: std::collections::BTreeMap<&str, usize> = processes
        .iter()
        .enumerate()
        .filter(|(_, process)| process.connected)
        .flat_map(|(index, process)| process.actors.iter().map(move |actor| (actor.as_str(), index)))
        .collect();
    nodes.iter_mut().for_each(|node| node.process = hosts.get(node.name.as_str()).copied());
}

fn process(state: &ProcessState) -> Process {
    let ProcessState { actors, hostname, pid, address, connected } = state.clone();
    Process { actors, hostname, pid, address, connected }
}
