//! Rollouts of the coordinator: it advances them, decides their steps, and asks the nodes for their counts.
//!
//! The progress of a rollout is durable, as all that was decided. Counts of nodes are in memory: after a reboot they are
//! asked for anew, and until then measurements are inconclusive.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{ActorId, Timer};
use serde::{Deserialize, Serialize};

use super::Coordinator;
use super::operations::Running;
use crate::actors::MeshCx;
use crate::measure::{OperationHistory, OperationKind, OperationOutcome};
use crate::message::{Msg, Tick};
use crate::model::{Change, Rollout, ServiceId, Steer};
use crate::operation::{Iteration, Observed, count_of};
use crate::rollout::RolloutProgress;
use crate::rollout::figures::ServiceFigures;
use crate::rollout::history::AbortReason;
use crate::rollout::samples::{Of, Samples};

/// The rollouts, and what nodes have told for them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rollouts {
    /// By index of the running operation: those in progress.
    progress: BTreeMap<usize, RolloutProgress>,
    /// By index: when it is looked at again. One that is steered is looked at earlier.
    looks: BTreeMap<usize, Timer>,
    /// Number of the latest round of counts.
    round: u64,
    /// By service; in memory.
    samples: BTreeMap<ServiceId, Samples>,
    /// The next round.
    asking: Option<Timer>,
}

impl Rollouts {
    /// The machine went down.
    pub(super) fn reboot(&mut self) {
        self.samples.clear();
        self.looks.clear();
        self.asking = None;
    }
}

impl Coordinator {
    /// After a reboot: asks again for counts.
    pub(super) fn resume_rollouts(&mut self, cx: &mut MeshCx<'_>) {
        if self.rollouts.as_ref().is_some_and(|all| all.asking.is_none() && !all.progress.is_empty()) {
            self.ask_figures(cx);
        }
    }

    /// Advances a rollout: what is due is done.
    pub(super) fn advance_rollout(&mut self, index: usize, rollout: &Rollout, cx: &mut MeshCx<'_>) {
        let running = self.running[index];
        let operation = self.operation(running.source);
        let (service, every) = (operation.service, operation.every);
        let mut all = self.rollouts.take().unwrap_or_default();
        if let Some(timer) = all.looks.remove(&index) {
            cx.disarm(timer);
        }
        let progress = all.progress.entry(index).or_default();
        let (ready, available) = (self.endpoints.ready(service), self.available(service));
        let observed = Observed { ready: &ready, available: &available };
        let nodes = self.nodes_of(service, rollout.to);
        let (samples, round, control) = (all.samples.entry(service).or_default(), all.round, &self.mesh.control);
        let wanted = &mut self.services[service.index()].wanted;
        let of = Of { new: rollout.to, old: wanted.target, nodes: &nodes };
        let history = self.history[running.history].rollout.get_or_insert_default();
        let turn = if wanted.deployed {
            let mut measure = |analysis: &_| samples.measure(analysis, of, round, control);
            progress.advance(rollout, cx.now(), wanted, observed, &mut measure, history)
        } else {
            crate::rollout::Advance { turn: Iteration::Refused, until: None }
        };
        let aborted = history.aborted;
        self.rollouts = Some(all);

        let mut steps = running.steps;
        if matches!(turn.turn, Iteration::Step | Iteration::Last) {
            steps += 1;
            self.decide(running.history, OperationKind::Rollout, service, cx);
        }
        let outcome = match (turn.turn, aborted) {
            (Iteration::Step | Iteration::Wait, _) => None,
            (Iteration::Refused | Iteration::Stuck(_), _) => Some(OperationOutcome::Refused),
            (Iteration::Last | Iteration::Reached, None) => Some(OperationOutcome::Reached),
            (_, Some(AbortReason::Manual)) => Some(OperationOutcome::Aborted),
            (_, Some(_)) => Some(OperationOutcome::RolledBack),
        };
        let look = cx.now() + every;
        let next = outcome.is_none().then(|| turn.until.map_or(look, |until| until.clamp(cx.now(), look)));
        self.running[index] = Running { steps, next, ..running };
        match (outcome, next) {
            (Some(outcome), _) => {
                self.history[running.history].outcome = outcome;
                self.forget_rollout(index, service, cx);
            }
            (None, Some(next)) => {
                let timer = cx.arm(next, Tick::Iterate(index as u32));
                self.rollouts.get_or_insert_default().looks.insert(index, timer);
            }
            (None, None) => unreachable!("what has not ended is looked at again"),
        }
        self.resume_rollouts(cx);
    }

    /// An operation pauses, resumes or aborts the rollout of a service. False: there is none, or not in such a state.
    pub(super) fn steer_rollout(&mut self, service: ServiceId, steer: Steer, cx: &mut MeshCx<'_>) -> bool {
        let is_its = |running: &Running| running.next.is_some() && self.operation(running.source).service == service;
        let in_progress = self.rollouts.iter().flat_map(|all| all.progress.keys());
        let Some(index) = in_progress.copied().find(|index| is_its(&self.running[*index])) else { return false };
        let running = self.running[index];
        let Some(rollout) = self.rollout(running) else { return false };
        let progress = self.rollouts.as_mut().and_then(|all| all.progress.get_mut(&index));
        let history = self.history[running.history].rollout.get_or_insert_default();
        let is_steered = progress.is_some_and(|progress| progress.steer(steer, &rollout, cx.now(), history));
        if is_steered {
            self.advance_rollout(index, &rollout, cx);
        }
        is_steered
    }

    fn rollout(&self, running: Running) -> Option<Arc<Rollout>> {
        match &self.operation(running.source).change {
            Change::Rollout(rollout) => Some(rollout.clone()),
            _ => None,
        }
    }

    /// A rollout has ended, or another operation took its place: nothing more is asked for it.
    pub(super) fn forget_rollout(&mut self, index: usize, service: ServiceId, cx: &mut MeshCx<'_>) {
        let Some(all) = &mut self.rollouts else { return };
        if let Some(timer) = all.looks.remove(&index) {
            cx.disarm(timer);
        }
        if all.progress.remove(&index).is_none() || all.samples.remove(&service).is_none() || all.round == 0 {
            return;
        }
        for node in 0..self.mesh.nodes.len() {
            if self.is_hosted_on(service, node) {
                cx.send(self.mesh.node_actor(node), Msg::AskFigures { service, round: 0 });
            }
        }
    }

    /// Asks the nodes that host services with an analysis for their counts.
    pub(super) fn ask_figures(&mut self, cx: &mut MeshCx<'_>) {
        let Some(mut all) = self.rollouts.take() else { return };
        all.asking = None;
        let indexes = all.progress.keys().map(|index| self.running[*index]);
        let analysed = indexes.filter(|it| self.rollout(*it).is_some_and(|it| it.analyses().next().is_some()));
        let services: Vec<ServiceId> = analysed.map(|running| self.operation(running.source).service).collect();
        if !services.is_empty() {
            all.round += 1;
            for service in services {
                for node in (0..self.mesh.nodes.len()).filter(|node| self.is_hosted_on(service, *node)) {
                    cx.send(self.mesh.node_actor(node), Msg::AskFigures { service, round: all.round });
                }
            }
            all.asking = Some(cx.arm(cx.now() + self.mesh.control.metrics, Tick::Figures));
        }
        self.rollouts = Some(all);
    }

    /// A node tells its counts.
    pub(super) fn figures(&mut self, node: usize, figures: ServiceFigures) {
        let Some(all) = &self.rollouts else { return };
        let service = figures.service;
        let mut indexes = all.progress.keys().map(|index| self.running[*index]);
        let running = indexes.find(|running| self.operation(running.source).service == service);
        let rollout = running.and_then(|running| self.rollout(running));
        let is_its = figures.round <= all.round && figures.since <= figures.round && figures.is_sound();
        let (Some(rollout), true) = (rollout, is_its) else { return };
        let (window, actor) = (rollout.window_rounds(&self.mesh.control), self.mesh.node_actor(node));
        if let Some(all) = &mut self.rollouts {
            all.samples.entry(service).or_default().take(actor, figures, window);
        }
    }

    /// Nodes that are to have instances of a version.
    fn nodes_of(&self, service: ServiceId, version: u32) -> Vec<ActorId> {
        let placed = self.services[service.index()].placed.iter();
        let with = placed.filter(|(_, share)| count_of(share, version) > 0);
        with.map(|(node, _)| self.mesh.node_actor(*node as usize)).collect()
    }

    fn is_hosted_on(&self, service: ServiceId, node: usize) -> bool {
        self.services[service.index()].placed.iter().any(|(of, _)| *of as usize == node)
    }

    /// Rollouts in progress, with the index of their histories.
    pub fn rollouts(&self) -> impl Iterator<Item = (usize, &OperationHistory)> {
        let all = self.history.iter().enumerate();
        all.filter(|(_, it)| it.kind == OperationKind::Rollout && it.outcome == OperationOutcome::Running)
    }
}
