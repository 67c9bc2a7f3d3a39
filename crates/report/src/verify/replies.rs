//! Replies to requests.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::ActorId;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::Msg;

use super::{At, Check, Content, Event};

/// A request's caller, call, attempt, and the caller's incarnation.
type Name = (ActorId, u64, u8, u16);

/// By node: requests that have arrived and are not answered. A node that begins anew has forgotten all.
#[derive(Default)]
pub(super) struct Replies {
    open: BTreeMap<ActorId, BTreeMap<Name, u32>>,
    /// Callers whose requests are not known.
    unknown: BTreeSet<ActorId>,
}

impl Check for Replies {
    fn rule(&self) -> &'static str {
        "replies answer requests that arrived, once for each"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        mesh.node_index(actor)?;
        match event {
            Event::Began => {
                self.open.remove(&actor);
                None
            }
            Event::Arrived(from, Content::Request(call, attempt, incarnation, _)) => {
                let open = self.open.entry(actor).or_default();
                *open.entry((*from, *call, *attempt, *incarnation)).or_default() += 1;
                None
            }
            Event::Unknown(caller) => {
                self.unknown.insert(*caller);
                None
            }
            Event::Sent(to, Msg::Reply(reply)) if !self.unknown.contains(to) => {
                let key = (*to, reply.call, reply.attempt, reply.incarnation);
                let open = self.open.entry(actor).or_default();
                Some(match open.get_mut(&key) {
                    Some(count) => {
                        *count -= 1;
                        if *count == 0 {
                            open.remove(&key);
                        }
                        Ok(())
                    }
                    None => Err(format!("answers a request of {} that is not open here", mesh.actor_name(*to))),
                })
            }
            _ => None,
        }
    }
}
