//! How things stand.

use meshsim_actor::Time;
use meshsim_mesh::coordinator::{Coordinator, Presence};
use meshsim_mesh::model::{Mesh, ServiceId};
use meshsim_net::ProcessState;
use serde::{Deserialize, Serialize};

use super::json::seconds;
use super::refusal::Refusal;
use super::state::State;

/// `GET /api/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) experiment: String,
    pub(crate) seed: u64,
    /// Time in the run.
    pub(crate) time_s: f64,
    pub(crate) phase: Phase,
    /// Who is waited for.
    pub(crate) missing: Vec<String>,
    /// Steps decided.
    pub(crate) steps: u64,
    pub(crate) services: Vec<Service>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) loads: Vec<String>,
    pub(crate) processes: Vec<Process>,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Waiting,
    Running,
    Ended,
}

impl Phase {
    pub(crate) const ALL: [Phase; 3] = [Phase::Waiting, Phase::Running, Phase::Ended];

    pub(crate) fn as_str(self) -> &'static str {
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) endpoints: Vec<String>,
    /// S: instances wanted.
    pub(crate) instances: u32,
    /// Of these, how many take requests.
    pub(crate) ready: u32,
    /// C
    pub(crate) capacity: f64,
    /// V, as the mean over instances.
    pub(crate) version: f64,
    /// Steps that there were of it.
    pub(crate) generation: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// As the coordinator sees it.
    pub(crate) state: Presence,
    /// Instances placed there.
    pub(crate) instances: u32,
    /// The process that hosts it: its place in the list of them. None before one has come, and after it was lost.
    pub(crate) process: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// What it hosts.
    pub(crate) actors: Vec<String>,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// Where others reach it; empty for the coordinator's.
    pub(crate) address: String,
    pub(crate) connected: bool,
}

impl Status {
    /// Asks the run and its coordinator.
    pub(super) async fn gather(state: &actix_web::web::Data<State>) -> Result<Self, Refusal> {
        let snapshot = state.snapshot().await?;
        let of_mesh = state.clone();
        let look = move |coordinator: &Coordinator| {
            let mesh = &of_mesh.experiment.mesh;
            (coordinator.steps(), services(mesh, coordinator), nodes(mesh, coordinator))
        };
        let (steps, services, mut nodes) = state.look(look).await?;
        let processes = snapshot.processes.iter().map(process).collect();
        assign(&mut nodes, &snapshot.processes);
        let experiment = &state.experiment;
        Ok(Status {
            experiment: experiment.name.clone(),
            seed: experiment.seed,
            time_s: seconds(if snapshot.now < Time::NEVER { snapshot.now } else { Time::ZERO }),
            phase: snapshot.phase.into(),
            missing: snapshot.missing,
            steps,
            services,
            nodes,
            loads: experiment.mesh.loads.iter().map(|load| load.name.clone()).collect(),
            processes,
        })
    }
}

fn services(mesh: &Mesh, coordinator: &Coordinator) -> Vec<Service> {
    let service = |(index, service): (usize, &meshsim_mesh::model::Service)| {
        let id = ServiceId(index as u16);
        let wanted = coordinator.wanted(id);
        Service {
            name: service.name.clone(),
            endpoints: service.endpoints.clone(),
            instances: wanted.instances,
            ready: coordinator.ready(id),
            capacity: wanted.c,
            version: wanted.v_mean(),
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
    let ProcessState { actors, host, pid, address, connected } = state.clone();
    Process { actors, host, pid, address, connected }
}
