//! The gate of the disk.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Message as _};
use meshsim_mesh::Mesh;

use super::{At, Check, Event};

/// The sync under way of each actor, by its position.
#[derive(Default)]
pub(super) struct Durable(BTreeMap<ActorId, u64>);

impl Check for Durable {
    fn rule(&self) -> &'static str {
        "what reveals durable state leaves when the disk has it"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, _: &Mesh) -> Option<Result<(), String>> {
        match event {
            Event::Persists(position) => {
                self.0.insert(actor, *position);
            }
            Event::Durable(position) => {
                let has_begun = self.0.remove(&actor) == Some(*position);
                return Some(if has_begun { Ok(()) } else { Err(format!("has no sync {position} that could end")) });
            }
            // What was under way is lost.
            Event::Began | Event::Wiped => {
                self.0.remove(&actor);
            }
            Event::Sent(_, msg) if msg.reveals() => {
                let syncing = self.0.get(&actor);
                return Some(syncing.map_or(Ok(()), |position| {
                    Err(format!("sends `{}` before state {position} is on the disk", msg.kind()))
                }));
            }
            _ => {}
        }
        None
    }
}
