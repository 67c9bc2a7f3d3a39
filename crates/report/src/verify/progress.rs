//! Acknowledgements of nodes.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Ack, Msg};

use super::{At, Check, Content, Event, OfNodes};

/// Progress of all nodes.
#[derive(Default)]
pub(super) struct Progress(OfNodes<Node>);

/// Steps that have reached the disk of a node, since it was last wiped.
#[derive(Default)]
pub(super) struct Node {
    /// All steps up to here have arrived.
    whole: u64,
    /// Later ones that have arrived.
    early: BTreeSet<u64>,
    /// Digest after each step that has arrived.
    digests: BTreeMap<u64, u64>,
    /// The last acknowledgement.
    acked: Option<Ack>,
    /// It began with the disk of an earlier process: its first acknowledgement says what is on it.
    is_restored: bool,
}

impl Check for Progress {
    fn rule(&self) -> &'static str {
        "nodes acknowledge the steps that reached them, in order"
    }

    fn take(&mut self, At { actor, .. }: At, event: &Event<'_>, mesh: &Mesh) -> Option<Result<(), String>> {
        let node = self.0.of(actor, event, mesh)?;
        match event {
            Event::Arrived(_, Content::Control(msg)) => {
                node.arrived(msg);
                None
            }
            Event::Restored => {
                node.is_restored = true;
                None
            }
            Event::Sent(_, Msg::Ack(ack) | Msg::Hello(ack)) => Some(node.acknowledges(*ack)),
            _ => None,
        }
    }
}

impl Node {
    fn arrived(&mut self, msg: &Msg) {
        match msg {
            Msg::Steps(steps) => {
                for step in steps {
                    self.early.insert(step.decision.n);
                    self.digests.insert(step.decision.n, step.decision.digest);
                }
            }
            Msg::Snapshot(snapshot) => {
                self.whole = self.whole.max(snapshot.n);
                self.digests.insert(snapshot.n, snapshot.digest);
            }
            _ => return,
        }
        while self.early.remove(&(self.whole + 1)) {
            self.whole += 1;
        }
        self.early = self.early.split_off(&(self.whole + 1));
    }

    fn acknowledges(&mut self, ack: Ack) -> Result<(), String> {
        let before = self.acked.replace(ack);
        if std::mem::take(&mut self.is_restored) {
            self.whole = self.whole.max(ack.applied);
            self.digests.entry(ack.applied).or_insert(ack.digest);
        }
        if let Some(before) = before {
            if before.lineage != 0 && ack.lineage != before.lineage {
                return Err(format!(
                    "has disk {} where it had disk {}, and was not wiped",
                    ack.lineage, before.lineage
                ));
            }
            if ack.applied < before.applied {
                return Err(format!("acknowledges step {} after step {}", ack.applied, before.applied));
            }
            if ack.incarnation < before.incarnation {
                return Err(format!("is in incarnation {} after {}", ack.incarnation, before.incarnation));
            }
        }
        if ack.applied > self.whole {
            return Err(format!(
                "acknowledges step {}, and only those up to {} have reached it",
                ack.applied, self.whole
            ));
        }
        match self.digests.get(&ack.applied) {
            Some(digest) if *digest != ack.digest => {
                Err(format!("acknowledges another history up to step {} than it was sent", ack.applied))
            }
            _ => Ok(()),
        }
    }
}
