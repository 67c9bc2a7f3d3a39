//! Operations: those of the file begin at their time, manual ones on arrival; each is iterated until it is done.
//!
//! Random decisions (a stochastic rounding, a Bernoulli update) are drawn from a separate stream for each operation and
//! step. So they do not depend on the order in which messages arrive.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshsim_actor::{ActorId, Rng, Time, Timer};
use serde::{Deserialize, Serialize};

use super::{Coordinator, ServiceState};
use crate::actors::MeshCx;
use crate::autoscale::signal::ServiceScale;
use crate::measure::{OperationHistory, OperationKind, OperationOutcome};
use crate::message::{Msg, Operate, Operated, Tick};
use crate::model::{Change, Operation, ServiceId, Setting, setting};
use crate::operation::{self, Iteration, Observed, total};

/// Limit of manual operations per run; the next one is refused.
pub const MANUAL_OPERATIONS_MAX: usize = 10_000;

/// An operation that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) source: Source,
    pub(super) history: usize,
    /// Steps so far.
    pub(super) steps: u32,
    /// Time of the next iteration; `None`: it has ended.
    pub(super) next: Option<Time>,
}

/// Origin of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Source {
    /// In the file.
    File(usize),
    /// Manual, with its index.
    Hand(usize),
}

impl Source {
    /// A number of its own.
    fn key(self) -> u64 {
        match self {
            Source::File(index) => index as u64,
            Source::Hand(index) => u64::MAX - index as u64,
        }
    }
}

impl Coordinator {
    /// Waits for the next operations of the file.
    pub(super) fn arm_next_operations(&self, cx: &mut MeshCx<'_>) {
        if let Some(operation) = self.mesh.operations.get(self.begun) {
            cx.arm(operation.at.max(cx.now()), Tick::Operation(self.begun as u32));
        }
    }

    /// After a reboot: continues the operations in progress.
    pub(super) fn resume_operations(&self, cx: &mut MeshCx<'_>) {
        for (index, running) in self.running.iter().enumerate() {
            if let Some(next) = running.next {
                cx.arm(next.max(cx.now()), Tick::Iterate(index as u32));
            }
        }
    }

    /// Begins operation `first` of the file and all others that are due: their first steps go out together.
    pub(super) fn begin_operations(&mut self, first: usize, cx: &mut MeshCx<'_>) {
        debug_assert_eq!(first, self.begun);
        while self.mesh.operations.get(self.begun).is_some_and(|operation| operation.at <= cx.now()) {
            self.begun += 1;
            let mesh = self.mesh.clone();
            if !self.drains_nothing(&mesh.operations[self.begun - 1], cx) {
                self.begin(Source::File(self.begun - 1), cx);
            }
        }
        self.arm_next_operations(cx);
    }

    /// Begins an operation of an external client or of the autoscaler now.
    pub(super) fn operate(&mut self, from: ActorId, Operate { ask, operation }: Operate, cx: &mut MeshCx<'_>) {
        let is_automatic = self.mesh.is_autoscaler(from);
        // A decision may be on its way when its autoscaler is switched off.
        let is_late = is_automatic && !self.is_scaled(operation.service);
        let is_sound = operation.validate(&self.mesh).is_ok() && !is_late;
        let begun = if is_sound { self.begin_more(operation, cx) } else { None };
        let history = begun.map(|at| {
            self.history[at].is_automatic = is_automatic;
            at as u32
        });
        let is_refused = history.is_some_and(|at| self.history[at as usize].outcome == OperationOutcome::Refused);
        cx.send(from, Msg::Operated(Operated { ask, history, is_refused }));
    }

    /// Tells the autoscaler the instances that a service is to have.
    pub(super) fn tell_scale(&self, service: ServiceId, cx: &mut MeshCx<'_>) {
        let Some(state) = self.services.get(service.index()) else { return };
        let placed = state.placed.iter().map(|(node, share)| (*node, total(share))).collect();
        let ready = self.endpoints.ready(service).iter().map(|(_, count)| count).sum();
        let (desired, capacity, is_on) = (state.wanted.running(), state.wanted.c, self.is_scaled(service));
        let scale = ServiceScale { service, desired, ready, capacity, is_on, placed };
        cx.send(self.mesh.autoscaler_actor(), Msg::Scale(Box::new(scale)));
    }

    /// Begins an operation that is in no file. Returns the index of its history; `None`: there were too many, or it has
    /// nothing to do.
    pub(super) fn begin_more(&mut self, operation: Operation, cx: &mut MeshCx<'_>) -> Option<usize> {
        if self.manual.len() >= MANUAL_OPERATIONS_MAX || self.drains_nothing(&operation, cx) {
            return None;
        }
        self.manual.push(Operation { at: cx.now(), ..operation });
        Some(self.begin(Source::Hand(self.manual.len() - 1), cx))
    }

    /// True if the autoscaler of a service is on.
    fn is_scaled(&self, service: ServiceId) -> bool {
        let service = self.mesh.services.get(service.index());
        service.and_then(|it| it.autoscale.as_deref()).is_some_and(|it| it.is_on)
    }

    /// Begins an operation and takes its first step. Returns the index of its history.
    fn begin(&mut self, source: Source, cx: &mut MeshCx<'_>) -> usize {
        let Operation { service, change, .. } = self.operation(source).clone();
        let operation = if let Source::File(index) = source { Some(index) } else { None };
        self.end_same(service, change.kind(), cx);
        if let Change::Set(setting) = &change {
            setting::put(Arc::make_mut(&mut self.settings), service, Setting::clone(setting));
            self.mesh = setting::with(&self.mesh, &self.settings);
            if let (Setting::Balancer(_), Some(boards)) = (&**setting, &mut self.boards) {
                boards.forget(service);
            }
            self.publish_soon(cx);
        }
        let at = self.history.len();
        let running = self.running.len();
        self.running.push(Running { source, history: at, steps: 0, next: Some(cx.now()) });
        self.history.push(OperationHistory {
            change: Some(change.clone()),
            ..history(operation, change.kind(), service, cx.now())
        });
        match change {
            Change::Steer(steer) => {
                self.running[running].next = None;
                let is_done = self.steer_rollout(service, steer, cx);
                let outcome = if is_done { OperationOutcome::Reached } else { OperationOutcome::Refused };
                self.history[at].outcome = outcome;
            }
            _ => self.iterate(running, cx),
        }
        at
    }

    pub(super) fn operation(&self, source: Source) -> &Operation {
        match source {
            Source::File(index) => &self.mesh.operations[index],
            Source::Hand(index) => &self.manual[index],
        }
    }

    /// Turns a running operation once.
    pub(super) fn iterate(&mut self, index: usize, cx: &mut MeshCx<'_>) {
        let running = self.running[index];
        if running.next.is_none() {
            return;
        }
        let Operation { service, change, every, times, .. } = self.operation(running.source).clone();
        if let Change::Rollout(rollout) = &change {
            return self.advance_rollout(index, rollout, cx);
        }
        if let Change::Drain(drain) = &change {
            return self.advance_drain(index, *drain, cx);
        }
        // A turn that draws is a step, so no two of them have the same key.
        let base = self.decisions.expect("drawn at the first start");
        let mut rng = Rng::keyed(base, running.source.key(), u64::from(running.steps));
        let (ready, available) = (self.endpoints.ready(service), self.available(service));
        let observed = Observed { ready: &ready, available: &available };
        let wanted = &mut self.services[service.index()].wanted;
        let turn = operation::iterate(&change, running.steps, self.mesh.service(service), wanted, observed, &mut rng);

        let mut steps = running.steps;
        if matches!(turn, Iteration::Step | Iteration::Last) {
            steps += 1;
            self.decide(running.history, change.kind(), service, cx);
        }
        let left = operation::residual(&change, &self.services[service.index()].wanted);
        let outcome = match turn {
            Iteration::Step if times.is_none_or(|times| steps < times) => None,
            Iteration::Step if left == 0.0 => Some(OperationOutcome::Reached),
            Iteration::Step => Some(OperationOutcome::StepLimit { residual: left }),
            Iteration::Wait => None,
            Iteration::Last | Iteration::Reached => Some(OperationOutcome::Reached),
            Iteration::Stuck(residual) => Some(OperationOutcome::Stuck { residual }),
            Iteration::Refused => Some(OperationOutcome::Refused),
        };
        if let Some(OperationOutcome::StepLimit { .. }) = outcome {
            operation::stop(&change, &mut self.services[service.index()].wanted);
        }
        self.turned(index, steps, outcome, cx.now() + every, cx);
    }

    /// Ends a running operation with its outcome, or has it turned again at `next`. Returns the timer of that.
    pub(super) fn turned(
        &mut self,
        index: usize,
        steps: u32,
        outcome: Option<OperationOutcome>,
        next: Time,
        cx: &mut MeshCx<'_>,
    ) -> Option<Timer> {
        let running = &mut self.running[index];
        running.steps = steps;
        running.next = outcome.is_none().then_some(next);
        if let Some(outcome) = outcome {
            self.history[running.history].outcome = outcome;
        }
        running.next.map(|next| cx.arm(next, Tick::Iterate(index as u32)))
    }

    /// Instances of a service that are ready and stay where they are, by rising version: on no node more than it is to
    /// have, and not more than are wanted, as some of a node that leaves may be while others replace them. What was
    /// ordered to go does not count, whether or not its node has said yet that it went.
    pub(super) fn available(&self, service: ServiceId) -> Vec<(u32, u32)> {
        let mut available = Vec::new();
        for (node, share) in &self.services[service.index()].placed {
            for (version, count) in share {
                let ready = self.ready_on(service, *node, *version);
                operation::add(&mut available, *version, ready.min(*count));
            }
        }
        let wanted = &self.services[service.index()].wanted.versions;
        available.iter_mut().for_each(|(version, count)| *count = (*count).min(operation::count_of(wanted, *version)));
        available.retain(|(_, count)| *count > 0);
        available
    }

    /// An operation takes the place of those of its kind on the same service; undeploy of all of them.
    fn end_same(&mut self, service: ServiceId, kind: OperationKind, cx: &mut MeshCx<'_>) {
        let mut ended = None;
        for (index, running) in self.running.iter_mut().enumerate().filter(|(_, running)| running.next.is_some()) {
            let history = &mut self.history[running.history];
            if history.service == service && operation::supersedes(kind, history.kind) {
                running.next = None;
                history.outcome = OperationOutcome::Superseded;
                ended = (history.kind == OperationKind::Rollout).then_some(index).or(ended);
            }
        }
        if let Some(index) = ended {
            self.forget_rollout(index, cx);
        }
    }

    /// Nodes died or leave: the services that have instances there get new ones elsewhere.
    pub(super) fn repair_placed_on(&mut self, dead: &[usize], cx: &mut MeshCx<'_>) {
        let dead: BTreeSet<u32> = dead.iter().map(|node| *node as u32).collect();
        let lost = |(node, _): &(u32, _)| dead.contains(node);
        let hit: Vec<usize> = (0..self.services.len()).filter(|s| self.services[*s].placed.iter().any(lost)).collect();
        self.repair(&hit, cx);
    }

    /// A node is back: places the unplaced instances of all services.
    pub(super) fn repair_unplaced(&mut self, cx: &mut MeshCx<'_>) {
        let all = (0..self.services.len()).map(|at| ServiceId(at as u16));
        let short: Vec<usize> =
            all.filter(|service| self.unplaced(*service) > 0).map(|service| service.index()).collect();
        self.repair(&short, cx);
    }

    /// Desired instances of a service that have no place on a node that stays. They are counted once, and not for each
    /// of a thousand nodes that come back.
    pub(super) fn unplaced(&mut self, service: ServiceId) -> u32 {
        let ServiceState { staying, placed, wanted, .. } = &mut self.services[service.index()];
        let revision = self.machines.revision();
        let known = staying.filter(|(counted_at, _)| *counted_at == revision);
        let (_, count) = *staying.insert(known.unwrap_or_else(|| (revision, self.machines.count_staying(placed))));
        wanted.running().saturating_sub(count)
    }

    pub(super) fn repair(&mut self, services: &[usize], cx: &mut MeshCx<'_>) {
        for service in services {
            let service = ServiceId(*service as u16);
            let mut repair = history(None, OperationKind::Repair, service, cx.now());
            repair.outcome = OperationOutcome::Reached;
            self.history.push(repair);
            self.decide(self.history.len() - 1, OperationKind::Repair, service, cx);
        }
    }
}

fn history(operation: Option<usize>, kind: OperationKind, service: ServiceId, began: Time) -> OperationHistory {
    OperationHistory {
        operation,
        is_automatic: false,
        change: None,
        kind,
        service,
        began,
        steps: Vec::new(),
        outcome: OperationOutcome::Running,
        rollout: None,
        drain: None,
    }
}
