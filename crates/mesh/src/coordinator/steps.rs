//! Numbered steps: decided once, logged before anything is sent, broadcast, sent again until acknowledged.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::placement::{Placing, ServicePlacement};
use super::progress::NodeProgress;
use super::{Coordinator, ServiceState};
use crate::actors::MeshCx;
use crate::measure::{OperationKind, StepHistory};
use crate::message::{Ack, Decision, Msg, NodeStep, ServiceSnapshot, Share, Snapshot, Tick};
use crate::model::ServiceId;
use crate::mutant::Mutant;
use crate::protocol::{CoordinatorProtocol, MemberProtocol};

/// A node that is further behind gets a snapshot instead of the steps; older steps need not be kept whole.
pub const TAIL_MAX: u64 = 64;

/// All steps, 1, 2, 3, ...
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Log {
    steps: Vec<Logged>,
    /// The last step that was broadcast.
    broadcast: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Logged {
    #[serde(with = "meshsim_actor::shared")]
    decision: Arc<Decision>,
    /// The absolute target of each node. Empty once the step is older than [`TAIL_MAX`] and broadcast.
    placed: ServicePlacement,
    /// Position in the history: operation, step.
    history: (usize, usize),
    /// Nodes that have not acknowledged it.
    waiting: u32,
}

impl Log {
    /// The number of the last step; 0 if there is none.
    pub(super) fn last(&self) -> u64 {
        self.steps.len() as u64
    }

    /// The digest of all steps.
    pub(super) fn digest(&self) -> u64 {
        self.steps.last().map_or(0, |logged| logged.decision.digest)
    }

    fn get(&self, n: u64) -> &Logged {
        &self.steps[n as usize - 1]
    }
}

/// One more word into a digest: FNV-1a's shape over words, with a rotation so that high bits matter.
fn digest(before: u64, word: u64) -> u64 {
    (before.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn digest_of(before: u64, decision: &Decision, placed: &ServicePlacement) -> u64 {
    let head = [
        decision.n,
        decision.kind as u64,
        u64::from(decision.service.0),
        decision.generation,
        decision.capacity.to_bits(),
    ];
    let shares = placed.iter().flat_map(|(node, share)| {
        let counts = share.iter().map(|(version, count)| u64::from(*version) << 32 | u64::from(*count));
        std::iter::once(u64::from(*node)).chain(counts)
    });
    head.into_iter().chain(shares).fold(before, digest)
}

pub(super) fn share_of(placed: &ServicePlacement, node: usize) -> Share {
    placed.binary_search_by_key(&(node as u32), |(n, _)| *n).map_or_else(|_| Share::new(), |at| placed[at].1.clone())
}

impl Coordinator {
    /// State of the step protocol.
    pub fn protocol(&self) -> CoordinatorProtocol {
        let member = |it: &NodeProgress| MemberProtocol {
            alive: it.alive,
            acked: it.acked,
            sent: it.sent,
            since: it.since,
            lineage: it.lineage,
            incarnation: it.incarnation,
            resends: it.resend.is_some(),
        };
        CoordinatorProtocol {
            epoch: self.epoch,
            digests: self.log.steps.iter().map(|logged| logged.decision.digest).collect(),
            broadcast: self.log.broadcast,
            waiting: self.log.steps.iter().map(|logged| logged.waiting).collect(),
            members: self.members.iter().map(member).collect(),
            operations: self.running.iter().map(|it| (it.steps, it.next.is_some())).collect(),
        }
    }

    /// The last step is lost if no node has acknowledged it: what [`Mutant::SentBeforeLogged`] does in a crash.
    pub(super) fn lose_by_mutant(&mut self) {
        let last = self.log.last();
        if Mutant::SentBeforeLogged.is_on() && last > 0 && self.members.iter().all(|member| member.acked < last) {
            self.log.steps.pop();
            self.log.broadcast = self.log.broadcast.min(last - 1);
            self.members.iter_mut().for_each(|member| member.sent = member.sent.min(last - 1));
        }
    }

    /// Decides the next step: places the desired instances of `service`, numbers the step and logs it. It is sent when
    /// the event has been processed.
    pub(super) fn decide(&mut self, history: usize, kind: OperationKind, service: ServiceId, cx: &mut MeshCx<'_>) {
        let (n, now) = (self.log.last() + 1, cx.now());
        let spec = self.mesh.service(service);
        let mut machines = std::mem::take(&mut self.machines);
        let state = &self.services[service.index()];
        let placing = Placing {
            policy: self.mesh.control.placement,
            cpu: spec.cpu,
            wanted: &state.wanted,
            ready_on: &|node, version| self.ready_on(service, node, version),
            replaces_on: &|node, version| self.replaces_on(service, node, version),
        };
        let placed = machines.place(placing, &state.placed);
        self.machines = machines;
        let state = &mut self.services[service.index()];
        let is_same = Mutant::GenerationOfRepair.is_on() && kind == OperationKind::Repair;
        (state.generation, state.step, state.placed) = (state.generation + u64::from(!is_same), n, placed);
        state.staying = None;
        let unplaced = self.unplaced(service);
        let state = &self.services[service.index()];
        let wanted = &state.wanted;
        let mut decision = Decision {
            n,
            epoch: self.epoch,
            digest: 0,
            kind,
            service,
            generation: state.generation,
            capacity: wanted.c,
        };
        decision.digest = digest_of(self.log.digest(), &decision, &state.placed);
        let waiting = self.members.iter().filter(|member| member.alive).count() as u32;
        let steps = &mut self.history[history].steps;
        self.log.steps.push(Logged {
            decision: Arc::new(decision),
            placed: state.placed.clone(),
            history: (history, steps.len()),
            waiting,
        });
        steps.push(StepHistory {
            n,
            generation: state.generation,
            decided: now,
            settled: (waiting == 0).then_some(now),
            s: wanted.s,
            instances: wanted.instances,
            extra: wanted.extra(),
            unplaced,
            c: wanted.c,
            v: wanted.v,
            v_mean: wanted.v_mean(),
            sent: 0,
            resent: 0,
            acks: 0,
        });
        cx.note("decide", u64::from(service.0), n);
        // A canary may have begun or ended, or have another share.
        self.publish_soon(cx);
    }

    /// Sends the steps that were decided and not sent yet, as one message to each node.
    pub(super) fn broadcast(&mut self, cx: &mut MeshCx<'_>) {
        let (from, last) = (self.log.broadcast + 1, self.log.last());
        if from > last {
            return;
        }
        self.log.broadcast = last;
        let mut receivers = 0;
        for node in 0..self.members.len() {
            if !self.members[node].alive {
                continue;
            }
            receivers += 1;
            let orders = self.orders(node, from, last);
            cx.send(self.mesh.node_actor(node), Msg::Steps(orders));
            let member = &mut self.members[node];
            member.sent = last;
            if member.resend.is_none() {
                member.resends = 0;
                self.arm_resend(node, cx);
            }
        }
        for n in from..=last {
            let (operation, step) = self.log.get(n).history;
            self.history[operation].steps[step].sent += receivers;
        }
        for n in (from.saturating_sub(TAIL_MAX).max(1)..=last).take_while(|n| n + TAIL_MAX <= last) {
            self.log.steps[n as usize - 1].placed = ServicePlacement::new();
        }
    }

    /// A node has not acknowledged for too long: the same again, and patience doubled.
    pub(super) fn resend(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let member = &mut self.members[node];
        member.resend = None;
        let gives_up = Mutant::GivesUp.is_on() && member.resends >= 2;
        if !member.alive || member.acked >= member.sent || gives_up {
            return;
        }
        if cx.now().since(member.resend_due) > self.mesh.control.resend {
            // This machine stood still: the acknowledgement may wait behind the timer.
            return self.arm_resend(node, cx);
        }
        member.resends += 1;
        self.send_tail(node, cx);
    }

    /// Sends a node all that it has not acknowledged: the steps, or a snapshot if there are many.
    pub(super) fn send_tail(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let (from, to) = (self.members[node].acked + 1, self.log.last());
        self.send_missing(node, from, to + 1, cx);
    }

    /// Sends a node the steps `from..to` again.
    pub(super) fn send_missing(&mut self, node: usize, from: u64, to: u64, cx: &mut MeshCx<'_>) {
        let last = self.log.last();
        let to = to.min(last + 1);
        if from == 0 || from >= to {
            return;
        }
        let actor = self.mesh.node_actor(node);
        if from + TAIL_MAX + u64::from(Mutant::TailTooLong.is_on()) <= last {
            cx.send(actor, Msg::Snapshot(Arc::new(self.snapshot(node))));
            self.count_resent(last);
        } else {
            let orders = self.orders(node, from, to - 1);
            cx.send(actor, Msg::Steps(orders));
            (from..to).for_each(|n| self.count_resent(n));
        }
        self.arm_resend(node, cx);
    }

    /// A node has applied and stored all steps up to `ack.applied`.
    pub(super) fn acknowledged(&mut self, node: usize, ack: Ack, cx: &mut MeshCx<'_>) {
        let (now, last) = (cx.now(), self.log.last());
        let member = &mut self.members[node];
        let is_of_former_life = ack.incarnation < member.incarnation && !Mutant::FormerLifeAcknowledges.is_on();
        if is_of_former_life || ack.applied > last {
            return;
        }
        if ack.applied > 0 && self.log.get(ack.applied).decision.digest != ack.digest {
            cx.note("alarm", node as u64, ack.applied);
            return;
        }
        member.lineage = ack.lineage;
        let before = member.acked;
        if ack.applied <= before {
            return;
        }
        member.acked = ack.applied;
        for n in before.max(member.since) + 1..=ack.applied {
            if Mutant::NotCumulative.is_on() && n < ack.applied {
                continue;
            }
            settle(&mut self.log, &mut self.history, n, true, now);
        }
        // Progress: the backoff of the remaining steps starts anew.
        if let Some(timer) = member.resend.take() {
            cx.disarm(timer);
        }
        member.resends = 0;
        if member.acked < member.sent {
            self.arm_resend(node, cx);
        }
    }

    /// A node is dead: no step waits for it any more.
    pub(super) fn stop_waiting_for(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let last = self.log.last();
        let member = &mut self.members[node];
        member.alive = false;
        if let Some(timer) = member.resend.take() {
            cx.disarm(timer);
        }
        for n in member.acked.max(member.since) + 1..=last {
            if Mutant::WaitsForDead.is_on() {
                continue;
            }
            settle(&mut self.log, &mut self.history, n, false, cx.now());
        }
        member.since = member.since.max(last);
    }

    fn orders(&self, node: usize, from: u64, to: u64) -> Vec<NodeStep> {
        let order = |n| {
            let logged = self.log.get(n);
            // A step of an earlier term goes out under the present one.
            let decision = if logged.decision.epoch == self.epoch || Mutant::ResentInOldTerm.is_on() {
                logged.decision.clone()
            } else {
                let digest = logged.decision.digest ^ u64::from(Mutant::DigestOfTerm.is_on());
                Arc::new(Decision { epoch: self.epoch, digest, ..*logged.decision })
            };
            NodeStep { decision, share: share_of(&logged.placed, node) }
        };
        (from..=to).map(order).collect()
    }

    fn snapshot(&self, node: usize) -> Snapshot {
        let is_left_out =
            |state: &ServiceState| Mutant::SnapshotWithoutUndeployed.is_on() && state.wanted.running() == 0;
        let all = self.services.iter().enumerate();
        let deployed = all.filter(|(_, state)| state.generation > 0 && !is_left_out(state));
        let services = deployed.map(|(service, state)| ServiceSnapshot {
            service: ServiceId(service as u16),
            generation: state.generation,
            capacity: state.wanted.c,
            share: share_of(&state.placed, node),
        });
        Snapshot { n: self.log.last(), epoch: self.epoch, digest: self.log.digest(), services: services.collect() }
    }

    fn arm_resend(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let control = &self.mesh.control;
        let member = &mut self.members[node];
        if let Some(timer) = member.resend.take() {
            cx.disarm(timer);
        }
        let unit = cx.rng().unit();
        let wait = member.backoff(control.resend, control.resend_cap, unit);
        member.resend_due = cx.now() + wait;
        member.resend = Some(cx.arm(member.resend_due, Tick::Resend(node as u32)));
    }

    fn count_resent(&mut self, n: u64) {
        let (operation, step) = self.log.get(n).history;
        self.history[operation].steps[step].resent += 1;
    }
}

/// A node has acknowledged step `n`, or is not waited for any more.
fn settle(
    log: &mut Log,
    history: &mut [crate::measure::OperationHistory],
    n: u64,
    acknowledged: bool,
    now: meshsim_actor::Time,
) {
    let logged = &mut log.steps[n as usize - 1];
    let step = &mut history[logged.history.0].steps[logged.history.1];
    step.acks += u64::from(acknowledged);
    logged.waiting = logged.waiting.saturating_sub(1);
    if logged.waiting == 0 {
        step.settled.get_or_insert(now);
    }
}
