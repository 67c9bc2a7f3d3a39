//! Terms of the coordinator.

use std::collections::BTreeSet;

use meshsim_mesh::Mesh;
use meshsim_mesh::message::Msg;
use meshsim_mesh::model::COORDINATOR;

use super::{At, Check, Content, Event, OfNodes};

/// The terms that the coordinator has used, and those that the nodes have seen.
#[derive(Default)]
pub(super) struct Epochs {
    /// The last term that the coordinator has used; 0: none.
    used: u64,
    /// It has restarted since.
    has_restarted: bool,
    nodes: OfNodes<Node>,
}

/// Steps that have reached the disk of a node.
#[derive(Default)]
struct Node {
    /// The newest term that has reached it.
    seen: u64,
    /// All steps up to here have reached it in time.
    whole: u64,
    /// Later ones that have.
    early: BTreeSet<u64>,
    /// Those that have reached it only when it had seen a newer term.
    stale: BTreeSet<u64>,
}

impl Check for Epochs {
    fn rule(&self) -> &'static str {
        "no step of an older term is applied after a newer term"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        if actor == COORDINATOR {
            return match event {
                Event::Began => {
                    self.has_restarted = true;
                    None
                }
                Event::Sent(_, Msg::Steps(steps)) => steps.first().map(|step| self.uses(step.decision.epoch)),
                Event::Sent(_, Msg::Snapshot(snapshot)) => Some(self.uses(snapshot.epoch)),
                _ => None,
            };
        }
        let node = self.nodes.of(actor, event, mesh)?;
        match event {
            Event::Arrived(_, Content::Control(msg)) => {
                node.arrived(msg);
                None
            }
            Event::Sent(_, Msg::Ack(ack) | Msg::Hello(ack)) => Some(node.acknowledges(ack.applied)),
            _ => None,
        }
    }
}

impl Epochs {
    fn uses(&mut self, epoch: u64) -> Result<(), String> {
        let (before, has_restarted) =
            (std::mem::replace(&mut self.used, epoch), std::mem::take(&mut self.has_restarted));
        match before {
            0 => Ok(()),
            before if has_restarted && epoch <= before => {
                Err(format!("has restarted, and sends steps in term {epoch} after term {before}"))
            }
            before if !has_restarted && epoch != before => {
                Err(format!("goes from term {before} to term {epoch} without a restart"))
            }
            _ => Ok(()),
        }
    }
}

impl Node {
    fn arrived(&mut self, msg: &Msg) {
        match msg {
            Msg::Steps(steps) => {
                for step in steps {
                    if step.decision.epoch < self.seen {
                        self.stale.insert(step.decision.n);
                    } else {
                        self.seen = step.decision.epoch;
                        self.early.insert(step.decision.n);
                    }
                }
            }
            Msg::Snapshot(snapshot) if snapshot.epoch < self.seen => _ = self.stale.insert(snapshot.n),
            Msg::Snapshot(snapshot) => {
                self.seen = snapshot.epoch;
                self.whole = self.whole.max(snapshot.n);
            }
            _ => return,
        }
        while self.early.remove(&(self.whole + 1)) {
            self.whole += 1;
        }
        let later = |steps: &mut BTreeSet<u64>| steps.retain(|n| *n > self.whole);
        [&mut self.early, &mut self.stale].into_iter().for_each(later);
    }

    fn acknowledges(&self, applied: u64) -> Result<(), String> {
        match self.stale.range(..=applied).next() {
            Some(n) => Err(format!(
                "acknowledges step {applied}, and has seen term {} before step {n} reached it in an older one",
                self.seen
            )),
            None => Ok(()),
        }
    }
}
