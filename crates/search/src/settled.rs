//! State of all actors at the end of a run that had time to heal.

use meshsim_actor::{ActorId, Recorder};
use meshsim_mesh::measure::{OperationHistory, OperationOutcome};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::{COORDINATOR, ServiceId};
use meshsim_report::verify::{Breach, Verified};
use meshsim_run::Simulation;

/// Compares each node with what the coordinator has decided, and looks for what has not ended.
pub(crate) fn settled<R: Recorder<Msg, Tick>>(simulation: &Simulation<R>) -> Verified {
    let rule = "in the end each node holds what was decided, and nothing is open";
    let mut verified = Verified { checked: 1, ..Verified::new(rule) };
    let (mesh, at_s) = (simulation.mesh(), simulation.now().secs());
    for (actor, reason) in wrongs(simulation) {
        verified.breach(Breach { record: 0, at_s, actor: mesh.actor_name(actor).to_owned(), reason });
    }
    verified
}

fn wrongs<R: Recorder<Msg, Tick>>(simulation: &Simulation<R>) -> Vec<(ActorId, String)> {
    let (mesh, coordinator) = (simulation.mesh(), simulation.coordinator());
    let wanted = coordinator.state();
    let mut wrong = Vec::new();
    for (index, spec) in mesh.nodes.iter().enumerate() {
        if spec.joins > simulation.now() {
            continue;
        }
        let actor = mesh.node_actor(index);
        if coordinator.dead().contains(&actor) {
            wrong.push((actor, "is still taken for dead".into()));
        }
        let Some(node) = simulation.state(actor).node() else { continue };
        let state = node.state();
        if (state.applied, state.digest) != (wanted.steps, wanted.digest) {
            wrong.push((actor, format!("is at step {} of {}, or has another history", state.applied, wanted.steps)));
        }
        for (id, service) in wanted.services.iter().enumerate() {
            let placed = service.placed.iter().find(|(node, _)| *node == index as u32);
            let decided = placed.map_or(0, |(_, share)| share.iter().map(|(_, count)| *count).sum::<u32>());
            let hosted = state.services.iter().find(|hosted| hosted.service == ServiceId(id as u16));
            let there = hosted.map_or(0, |hosted| hosted.instances.len() as u32);
            if there != decided {
                wrong.push((actor, format!("runs {there} instances of {}, and is to run {decided}", service.service)));
            }
        }
    }
    for operation in coordinator.history() {
        let of = || {
            let service = mesh.services.get(operation.service.index()).map_or("?", |service| &service.name);
            format!("{} of {service}", operation.kind.as_str())
        };
        // One that waits for instances which no node has room for never ends.
        if operation.outcome == OperationOutcome::Running && !has_no_room(coordinator.history(), operation.service) {
            wrong.push((COORDINATOR, format!("has not ended the {}", of())));
        }
        if let Some(step) = operation.steps.iter().find(|step| step.settled.is_none()) {
            wrong.push((COORDINATOR, format!("still waits for step {} of the {}", step.n, of())));
        }
    }
    let (counts, in_flight) = (simulation.counts(), simulation.in_flight());
    let accounted = counts.delivered + counts.lost() + counts.held + in_flight;
    if counts.sent + counts.duplicated != accounted {
        let sent = counts.sent + counts.duplicated;
        wrong.push((
            COORDINATOR,
            format!("and all others sent {sent} messages, of which {accounted} are accounted for"),
        ));
    }
    wrong
}

/// True if instances of a service are unplaced since the last step for it.
fn has_no_room(history: &[OperationHistory], service: ServiceId) -> bool {
    let steps = history.iter().filter(|operation| operation.service == service).flat_map(|it| &it.steps);
    steps.max_by_key(|step| step.n).is_some_and(|step| step.unplaced > 0)
}
