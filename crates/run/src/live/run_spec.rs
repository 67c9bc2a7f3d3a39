//! The specification of an experiment's run for `net`, which does not depend on the mesh.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::{Bundle, Experiment};
use meshsim_fault::{Network, NetworkError};
use meshsim_mesh::model::COORDINATOR;
use meshsim_mesh::news::Told;
use meshsim_mesh::node::Node;
use meshsim_mesh::{ActorResults, Mesh, MeshActor, Msg, actors};
use meshsim_net::{ActorSpec, DiskCodec, Leave, RunSpec};

use super::trace_sink;

/// Encodes an experiment for the other processes.
pub(super) fn encode_experiment(experiment: &Experiment) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&experiment.bundle())
}

/// Decodes an experiment from another process.
pub(super) fn decode_experiment(bytes: &[u8]) -> Result<Experiment, String> {
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    bundle.read().map_err(|problems| problems.to_string())
}

/// The mesh of a live run has a gateway.
pub(super) fn live_mesh(experiment: &Experiment) -> Mesh {
    Mesh { has_gateway: true, ..experiment.mesh.clone() }
}

/// Actors that run in the process that opens the run: the coordinator, the autoscaler, the gateway.
pub(super) fn here(mesh: &Mesh) -> Vec<ActorId> {
    let autoscaler = mesh.has_autoscaler.then(|| mesh.autoscaler_actor());
    std::iter::once(COORDINATOR).chain(autoscaler).chain([mesh.gateway_actor()]).collect()
}

/// Everything that a process needs to host any of the experiment's actors.
pub(super) fn run_spec(
    experiment: &Experiment,
    trace_parts: Option<PathBuf>,
) -> Result<RunSpec<MeshActor>, NetworkError> {
    Network::new(experiment.network.clone())?;
    let mesh = Arc::new(live_mesh(experiment));
    let header = crate::trace_header(experiment, &mesh);
    let of_actors = mesh.clone();
    Ok(RunSpec {
        seed: experiment.seed,
        network: experiment.network.clone(),
        actors: actors(&mesh),
        // One at a time, each once: a process that hosts only a few of many actors creates only these.
        actor: Rc::new(move |actor| actors::one(&of_actors, actor)),
        findings: Arc::new(|actor: &MeshActor, now| written(&actor.results(now))),
        news: Some(Arc::new(|actor: &MeshActor, [until, entries], now| {
            let told = Told { until: Time::from_nanos(until), entries };
            let (news, told) = actor.news(told, now)?;
            Some((written(&news), [told.until.nanos(), told.entries]))
        })),
        trace_sink: Rc::new(move || Ok(Box::new(trace_sink::begin(&header, trace_parts.as_deref())?))),
        disk: Some(DiskCodec {
            write: written,
            read: |bytes| {
                meshsim_wire::decode_long(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            },
        }),
        outside: Some(mesh.external_client()),
        leave: Some(Leave {
            ask: |grace| Msg::Leave { grace },
            has_left: |actor: &MeshActor| actor.node().is_none_or(Node::has_left),
        }),
        refused: Some(|node| (COORDINATOR, Msg::Shun { node })),
    })
}

fn actors(mesh: &Mesh) -> Vec<ActorSpec> {
    let seat = |name: &str, role, needed| ActorSpec { name: name.to_owned(), role, needed };
    let nodes = mesh.nodes.iter().map(|node| seat(&node.name, "node", !node.is_spare()));
    let clients = mesh.loads.iter().map(|load| seat(&load.name, "client", true));
    std::iter::once(seat("coordinator", "coordinator", true))
        .chain(nodes)
        .chain(clients)
        .chain(mesh.has_autoscaler.then(|| seat("autoscaler", "autoscaler", true)))
        .chain(mesh.has_gateway.then(|| seat("gateway", "gateway", true)))
        .collect()
}

fn written(found: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = meshsim_wire::encode_long_into(found, &mut bytes) {
        tracing::error!("what an actor found cannot be sent: {error}");
    }
    bytes
}

/// Decodes the results that [`RunSpec::findings`] encoded.
pub(super) fn read_findings(bytes: &[u8]) -> io::Result<ActorResults> {
    meshsim_wire::decode_long(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use meshsim_actor::{Span, Time};
    use meshsim_mesh::course::{Course, Shape};

    use super::*;

    #[test]
    fn what_a_load_of_many_targets_finds_in_a_long_run_can_be_handed_in() {
        let mut course = Course::new(Shape::of_load(Span::from_secs(1)));
        course.settle(Time::ZERO + Span::from_secs(600));
        let found = ActorResults::Client {
            tallies: vec![],
            courses: vec![course; 1000],
            counts: vec![],
            gaps: vec![],
            journeys: None,
            proxy: None,
        };
        let bytes = written(&found);
        assert!(bytes.len() > meshsim_wire::MESSAGE_BYTES_MAX);
        let ActorResults::Client { courses, .. } = read_findings(&bytes).unwrap() else { panic!("a client's") };
        assert_eq!((courses.len(), courses[3].windows().count()), (1000, 600));
    }
}
