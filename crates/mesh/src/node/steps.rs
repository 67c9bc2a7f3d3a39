//! The coordinator's steps on a node: in order, without gaps, exactly once, acknowledged only when stored.
//!
//! The rules R3 to R6 and R10 of the delivery contract. A step that arrives early waits; the missing steps before it
//! are requested once.

use serde::{Deserialize, Serialize};

use super::Node;
use super::hosting::HostedServices;
use crate::actors::MeshCx;
use crate::measure::OperationKind;
use crate::message::{Ack, Msg, NodeStep, Share, Snapshot};
use crate::model::{COORDINATOR, Mesh, ServiceId};
use crate::mutant::{self, Mutant};
use crate::protocol::NodeProtocol;

/// Limit of steps that wait for earlier ones; a step beyond it is dropped, and will be resent.
pub const OUT_OF_ORDER_MAX: usize = 256;

/// Progress of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// The last step applied.
    pub(super) n: u64,
    /// The digest after it.
    pub(super) digest: u64,
    /// The highest term seen.
    pub(super) epoch: u64,
    /// Identity of the disk; 0 before the first start.
    lineage: u32,
    /// Steps that came before their turn, by rising number. Lost with memory.
    early: Option<Box<OutOfOrder>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OutOfOrder {
    orders: Vec<NodeStep>,
    /// The gap up to here was asked for.
    asked_to: u64,
}

impl Applied {
    /// A life begins.
    pub(super) fn begin(&mut self, incarnation: u32) {
        self.early = None;
        if self.lineage == 0 {
            self.lineage = if Mutant::LineageKept.is_on() { 1 } else { incarnation + 1 };
        }
    }

    /// What of it is on the disk.
    pub(super) fn durable(&self) -> Applied {
        let Applied { n, digest, epoch, lineage, .. } = *self;
        Applied { n, digest, epoch, lineage, early: None }
    }

    /// The acknowledgement to send.
    pub(super) fn ack(&self, incarnation: u32) -> Ack {
        let last_early = self.early.as_ref().and_then(|early| early.orders.last());
        if let Some(early) = last_early.filter(|_| Mutant::AcknowledgedEarly.is_on()) {
            let (applied, digest) = (early.decision.n, early.decision.digest);
            return Ack { applied, digest, lineage: self.lineage, incarnation };
        }
        Ack { applied: self.n, digest: self.digest, lineage: self.lineage, incarnation }
    }

    fn early(&self, n: u64) -> Option<usize> {
        self.early.as_ref()?.orders.binary_search_by_key(&n, |order| order.decision.n).ok()
    }
}

impl Node {
    /// State of the step protocol.
    pub fn protocol(&self) -> NodeProtocol {
        let Applied { n, digest, epoch, lineage, early } = &self.applied;
        let early = early.as_deref();
        NodeProtocol {
            applied: *n,
            digest: *digest,
            epoch: *epoch,
            lineage: *lineage,
            early: early.into_iter().flat_map(|it| &it.orders).map(|it| (it.decision.n, it.decision.epoch)).collect(),
            asked_to: early.map_or(0, |it| it.asked_to),
            services: self.hosting.as_ref().map_or_else(Vec::new, |hosting| hosting.shares()),
        }
    }

    pub(super) fn apply_steps(&mut self, orders: Vec<NodeStep>, cx: &mut MeshCx<'_>) {
        let mut has_applied = false;
        for order in orders {
            let decision = &order.decision;
            let overtaken = decision.epoch < self.applied.epoch && !Mutant::OlderTermTaken.is_on();
            let other_history = decision.n == self.applied.n && decision.digest != self.applied.digest;
            if overtaken || other_history || !makes_sense(&self.mesh, decision.service, &order.share) {
                cx.note("refuse", u64::from(decision.service.0), decision.n);
                cx.send(COORDINATOR, Msg::Refuse { n: decision.n, epoch: self.applied.epoch });
                continue;
            }
            self.applied.epoch = decision.epoch;
            let is_next = Some(decision.n) == self.applied.n.checked_add(1);
            if is_next || Mutant::GapApplied.is_on() && decision.n > self.applied.n {
                has_applied = true;
                self.apply(&order, cx);
            } else if Mutant::RepeatApplied.is_on() && decision.n < self.applied.n {
                self.host(decision.service, decision.generation, decision.capacity, &order.share, cx);
            } else if decision.n > self.applied.n {
                self.keep_early(order, cx);
            }
        }
        while let Some(at) = self.applied.early(self.applied.n.saturating_add(1)) {
            let early = self.applied.early.as_mut().expect("it was just found there");
            let order = early.orders.remove(at);
            early.orders.retain(|early| early.decision.n > order.decision.n);
            self.apply(&order, cx);
        }
        if self.applied.early.as_ref().is_some_and(|early| early.orders.is_empty()) {
            self.applied.early = None;
        }
        // Also for what had been applied before: the acknowledgement may have been lost (R4).
        if has_applied || !Mutant::RepeatNotAcknowledged.is_on() {
            cx.send(COORDINATOR, Msg::Ack(self.applied.ack(cx.incarnation())));
        }
        self.report_changes(cx);
    }

    pub(super) fn apply_snapshot(&mut self, snapshot: &Snapshot, cx: &mut MeshCx<'_>) {
        let applied = &mut self.applied;
        let make_sense = snapshot.services.iter().all(|s| makes_sense(&self.mesh, s.service, &s.share));
        if snapshot.epoch < applied.epoch || !make_sense {
            cx.send(COORDINATOR, Msg::Refuse { n: snapshot.n, epoch: applied.epoch });
            return;
        }
        applied.epoch = snapshot.epoch;
        if snapshot.n > applied.n {
            applied.n = snapshot.n;
            if !Mutant::SnapshotWithoutDigest.is_on() {
                applied.digest = snapshot.digest;
            }
            cx.note("snapshot", 0, snapshot.n);
            for s in &snapshot.services {
                self.host(s.service, s.generation, s.capacity, &s.share, cx);
            }
        }
        cx.send(COORDINATOR, Msg::Ack(self.applied.ack(cx.incarnation())));
        self.report_changes(cx);
    }

    /// One record: the step counts as applied with its effect, or not at all (R3).
    fn apply(&mut self, order: &NodeStep, cx: &mut MeshCx<'_>) {
        let decision = &order.decision;
        self.keep_for_mutants(cx);
        (self.applied.n, self.applied.digest) = (decision.n, decision.digest);
        if !mutant::any() {
            cx.note("apply", u64::from(decision.service.0), decision.n);
        }
        self.host(decision.service, decision.generation, decision.capacity, &order.share, cx);
        if decision.kind == OperationKind::Flush
            && let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(decision.service))
        {
            hosted.flush();
        }
    }

    /// Sets the share and the capacity of a service. A service without instances here, present or desired, takes no
    /// memory.
    fn host(&mut self, service: ServiceId, generation: u64, capacity: f64, share: &Share, cx: &mut MeshCx<'_>) {
        let is_known = self.hosting.as_ref().is_some_and(|hosting| hosting.hosts(service));
        if is_known || !share.is_empty() {
            let hosting = self.hosting.get_or_insert_with(|| Box::new(HostedServices::default()));
            hosting.set(&self.mesh, service, generation, capacity, share, cx);
            self.slots_changed(service, cx);
        }
    }

    fn keep_early(&mut self, order: NodeStep, cx: &mut MeshCx<'_>) {
        let n = order.decision.n;
        let early = self.applied.early.get_or_insert_default();
        if let Err(at) = early.orders.binary_search_by_key(&n, |order| order.decision.n)
            && early.orders.len() < OUT_OF_ORDER_MAX
        {
            early.orders.insert(at, order);
        }
        let from = self.applied.n + 1;
        let to = early.orders[0].decision.n;
        if early.asked_to < to {
            early.asked_to = to;
            cx.send(COORDINATOR, Msg::Need { from, to });
        }
    }
}

fn makes_sense(mesh: &Mesh, service: ServiceId, share: &Share) -> bool {
    let versions_rise = share.windows(2).all(|pair| pair[0].0 < pair[1].0);
    service.index() < mesh.services.len() && versions_rise
}
