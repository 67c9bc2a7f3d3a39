//! Messages arrive as often as they were sent.

use meshsim_mesh::Mesh;

use super::{At, Check, Event};

/// Needs no state: the verifier itself follows the copies of each message.
pub(super) struct Arrivals;

impl Check for Arrivals {
    fn rule(&self) -> &'static str {
        "a message arrives once for each copy, after it was sent"
    }

    fn take(&mut self, _: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        match event {
            Event::Arrived(..) => Some(Ok(())),
            Event::Stray(id) => {
                let (from, seq) = (mesh.actor_name(id.from), id.seq);
                Some(Err(format!("takes in message {seq} of {from}, of which no copy was on its way to it")))
            }
            _ => None,
        }
    }
}
