//! Requests in service and in queues.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::ActorId;
use meshsim_mesh::Mesh;
use meshsim_mesh::mark;
use meshsim_mesh::message::Msg;
use meshsim_mesh::operation::slots;

use super::given::Given;
use super::{At, Check, Content, Event, Instance, OfNodes};

/// The requests at all nodes, and the slots that these were given.
#[derive(Default)]
pub(super) struct Slots {
    given: OfNodes<Given>,
    nodes: BTreeMap<ActorId, Node>,
}

/// Requests at a node.
#[derive(Default)]
struct Node {
    /// The instance to which the request is that has just arrived.
    arrived: Option<Instance>,
    /// Requests by their numbers at the node, and whether they are in a slot.
    tasks: BTreeMap<u64, (Instance, bool)>,
    /// Blocks that run beside requests: they take no slots.
    blocks: BTreeSet<u64>,
    /// In slots, and in the queue, of each instance.
    counts: BTreeMap<Instance, (u32, u32)>,
}

impl Check for Slots {
    fn rule(&self) -> &'static str {
        "no more requests are served than slots, or wait than a queue holds"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        mesh.node_index(actor)?;
        if let Event::Began | Event::Wiped = event {
            self.nodes.remove(&actor);
        }
        let given = self.given.of(actor, event, mesh)?;
        match event {
            Event::Arrived(_, Content::Control(msg)) => given.arrived(msg),
            Event::Arrived(_, Content::Request(.., instance)) => {
                self.nodes.entry(actor).or_default().arrived = Some(*instance);
            }
            Event::Arrived(..) | Event::Unknown(_) => {
                self.nodes.entry(actor).or_default().arrived = None;
            }
            Event::Sent(_, Msg::Ack(ack)) => given.acknowledges(ack.applied),
            Event::Noted(what, subject, value) => {
                return self.nodes.entry(actor).or_default().noted(what, *subject, *value, given, mesh);
            }
            _ => {}
        }
        None
    }
}

impl Node {
    fn noted(&mut self, what: &str, task: u64, value: u64, given: &Given, mesh: &Mesh) -> Option<Result<(), String>> {
        match what {
            mark::QUEUED => {
                let instance = self.arrived.take()?;
                self.tasks.insert(task, (instance, false));
                let (_, waiting) = self.counts.entry(instance).or_default();
                *waiting += 1;
                let bound = mesh.services.get(instance.service.index())?.queue;
                Some(if *waiting <= bound {
                    Ok(())
                } else {
                    Err(format!("lets {waiting} requests wait at {}, whose queue holds {bound}", name(instance, mesh)))
                })
            }
            mark::SLOT if !self.blocks.contains(&task) => {
                let instance = match self.tasks.get(&task) {
                    Some((instance, false)) => *instance,
                    Some((_, true)) => return None,
                    None => self.arrived.take()?,
                };
                let was_waiting = self.tasks.insert(task, (instance, true)).is_some();
                let (active, waiting) = self.counts.entry(instance).or_default();
                *waiting -= u32::from(was_waiting);
                *active += 1;
                // After a restart a node has its capacity from its disk: from steps that are known here too.
                let most = given.of(instance.service).map(|target| slots(target.capacity)).max()?;
                Some(if *active <= most {
                    Ok(())
                } else {
                    Err(format!("serves {active} requests at once at {}, which has {most} slots", name(instance, mesh)))
                })
            }
            mark::DETACHED => {
                self.blocks.insert(value);
                None
            }
            mark::BLOCK_ENDED => {
                self.blocks.remove(&task);
                None
            }
            mark::ANSWERED | mark::CUT | mark::LATE => {
                if let Some((instance, is_served)) = self.tasks.remove(&task) {
                    let (active, waiting) = self.counts.entry(instance).or_default();
                    *(if is_served { active } else { waiting }) -= 1;
                }
                None
            }
            _ => None,
        }
    }
}

fn name(instance: Instance, mesh: &Mesh) -> String {
    let service = mesh.services.get(instance.service.index()).map_or("?", |service| &service.name);
    format!("instance {} of {service}", instance.ordinal)
}
