//! Steps of the coordinator.

use std::collections::BTreeMap;

use meshsim_actor::ActorId;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Decision, Msg};
use meshsim_mesh::model::COORDINATOR;

use super::{Check, Event};

/// The steps so far, by number.
#[derive(Default)]
pub(super) struct Decisions(BTreeMap<u64, Decision>);

impl Check for Decisions {
    fn rule(&self) -> &'static str {
        "steps have no gaps, and one content for all nodes"
    }

    fn take(&mut self, actor: ActorId, event: &Event<'_>, _: &Mesh) -> Option<Result<(), String>> {
        if actor != COORDINATOR {
            return None;
        }
        match event {
            // It has lost its log, and begins another.
            Event::Wiped => {
                self.0.clear();
                None
            }
            Event::Sent(_, Msg::Steps(steps)) => Some(steps.iter().try_for_each(|step| self.add(&step.decision))),
            Event::Sent(_, Msg::Snapshot(snapshot)) => Some(match self.0.get(&snapshot.n) {
                _ if snapshot.n == 0 => Ok(()),
                Some(step) if step.digest == snapshot.digest => Ok(()),
                Some(_) => Err(format!("sends a snapshot of another history up to step {}", snapshot.n)),
                None => Err(format!("sends a snapshot up to step {}, which no node was sent", snapshot.n)),
            }),
            _ => None,
        }
    }
}

impl Decisions {
    fn add(&mut self, step: &Decision) -> Result<(), String> {
        let last = self.0.last_key_value().map_or(0, |(n, _)| *n);
        match self.0.get(&step.n) {
            // A coordinator that came back repeats its steps in its new term.
            Some(known) if *known == Decision { epoch: known.epoch, ..step.clone() } => Ok(()),
            Some(_) => Err(format!("sends step {} with another content than before", step.n)),
            None if step.n == last + 1 => {
                self.0.insert(step.n, step.clone());
                Ok(())
            }
            None => Err(format!("sends step {} after step {last}", step.n)),
        }
    }
}
