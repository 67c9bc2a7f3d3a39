//! Views that callers have.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::ActorId;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::Msg;
use meshsim_mesh::model::COORDINATOR;

use super::{At, Check, Content, Event};

/// The version of the newest view that has reached each caller since it began.
#[derive(Default)]
pub(super) struct Callers {
    newest: BTreeMap<ActorId, u64>,
    /// Callers to which messages came that are not known.
    unknown: BTreeSet<ActorId>,
}

impl Check for Callers {
    fn rule(&self) -> &'static str {
        "callers keep the newest view that has reached them"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, _: &Mesh) -> Option<Result<(), String>> {
        match event {
            Event::Began => _ = self.newest.remove(&actor),
            Event::Unknown(COORDINATOR) => _ = self.unknown.insert(actor),
            Event::Arrived(COORDINATOR, Content::Control(msg)) => {
                if let Msg::InstanceView(view) = &**msg {
                    let newest = self.newest.entry(actor).or_default();
                    *newest = view.version.max(*newest);
                }
            }
            Event::Sent(_, Msg::Heartbeat(heartbeat)) => {
                let (has, newest) = (heartbeat.view, self.newest.get(&actor).copied().unwrap_or(0));
                return Some(match has.cmp(&newest) {
                    std::cmp::Ordering::Less => Err(format!("has view {has}, and view {newest} has reached it")),
                    std::cmp::Ordering::Greater if !self.unknown.contains(&actor) => {
                        Err(format!("has view {has}, and none after view {newest} has reached it"))
                    }
                    _ => Ok(()),
                });
            }
            _ => {}
        }
        None
    }
}
