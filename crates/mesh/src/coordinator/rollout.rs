//! Rollouts of the coordinator: it advances them, decides their steps, and asks the nodes for their counts.
//!
//! The progress of a rollout is durable, as all that was decided. Counts of nodes are in memory: after a reboot they
//! are asked for anew, and until then measurements are inconclusive.

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

/// Rollouts in progress, and the counts received from nodes for their analyses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rollouts {
    /// By index of the running operation. A service has one at most.
    in_progress: BTreeMap<usize, InProgress>,
    /// Number of the latest round of counts.
    round: u64,
    /// The next round.
    asking: Option<Timer>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct InProgress {
    service: ServiceId,
    progress: RolloutProgress,
    /// Its next advance. One that is steered advances earlier.
    look: Option<Timer>,
    /// Counts of nodes; in memory.
    samples: Samples,
}

impl Rollouts {
    /// The machine went down.
    pub(super) fn reboot(&mut self) {
        self.asking = None;
        for it in self.in_progress.values_mut() {
            (it.look, it.samples) = (None, Samples::default());
        }
    }

    /// The progress of each rollout, by index of the running operation.
    pub(super) fn decided(&self) -> Vec<(usize, &RolloutProgress)> {
        self.in_progress.iter().map(|(index, it)| (*index, &it.progress)).collect()
    }

    /// The index of the rollout of a service.
    fn of(&self, service: ServiceId) -> Option<usize> {
        self.in_progress.iter().find(|(_, it)| it.service == service).map(|(index, _)| *index)
    }
}

impl Coordinator {
    /// After a reboot: asks again for counts.
    pub(super) fn resume_rollouts(&mut self, cx: &mut MeshCx<'_>) {
        if self.rollouts.as_ref().is_some_and(|all| all.asking.is_none() && !all.in_progress.is_empty()) {
            self.ask_figures(cx);
        }
    }

    /// Advances a rollout: what is due is done.
    pub(super) fn advance_rollout(&mut self, index: usize, rollout: &Rollout, cx: &mut MeshCx<'_>) {
        let running = self.running[index];
        let operation = self.operation(running.source);
        let (service, every) = (operation.service, operation.every);
        let mut all = self.rollouts.take().unwrap_or_default();
        let round = all.round;
        let InProgress { progress, look, samples, .. } = all.in_progress.entry(index).or_insert_with(|| InProgress {
            service,
            progress: RolloutProgress::default(),
            look: None,
            samples: Samples::default(),
        });
        if let Some(timer) = look.take() {
            cx.disarm(timer);
        }
        let (ready, available) = (self.endpoints.ready(service), self.available(service));
        let observed = Observed { ready: &ready, available: &available };
        let nodes = self.nodes_of(service, rollout.to);
        let control = &self.mesh.control;
        let wanted = &mut self.services[service.index()].wanted;
        let of = Of { new: rollout.to, old: wanted.target, nodes: &nodes };
        let history = self.history[running.history].rollout.get_or_insert_default();
        let mut measure = |analysis: &_| samples.measure(analysis, of, round, control);
        let advance = progress.advance(rollout, cx.now(), wanted, observed, &mut measure, history);
        let aborted = history.aborted;
        self.rollouts = Some(all);

        let mut steps = running.steps;
        if matches!(advance.turn, Iteration::Step | Iteration::Last) {
            steps += 1;
            self.decide(running.history, OperationKind::Rollout, service, cx);
        }
        let outcome = match (advance.turn, aborted) {
            (Iteration::Step | Iteration::Wait, _) => None,
            (Iteration::Refused | Iteration::Stuck(_), _) => Some(OperationOutcome::Refused),
            (Iteration::Last | Iteration::Reached, None) => Some(OperationOutcome::Reached),
            (_, Some(AbortReason::Manual)) => Some(OperationOutcome::Aborted),
            (_, Some(_)) => Some(OperationOutcome::RolledBack),
        };
        let look = self.turned(index, steps, outcome, advance.next(cx.now(), every), cx);
        if outcome.is_some() {
            self.forget_rollout(index, cx);
        } else if let Some(it) = self.in_progress(index) {
            it.look = look;
        }
        self.resume_rollouts(cx);
    }

    /// An operation pauses, resumes or aborts the rollout of a service. False: there is none, or not in such a state.
    pub(super) fn steer_rollout(&mut self, service: ServiceId, steer: Steer, cx: &mut MeshCx<'_>) -> bool {
        let Some(index) = self.rollouts.as_ref().and_then(|all| all.of(service)) else { return false };
        let running = self.running[index];
        let Some(rollout) = self.rollout(running) else { return false };
        let in_progress = self.rollouts.as_mut().and_then(|all| all.in_progress.get_mut(&index));
        let history = self.history[running.history].rollout.get_or_insert_default();
        let is_steered = in_progress.is_some_and(|it| it.progress.steer(steer, &rollout, cx.now(), history));
        if is_steered {
            self.advance_rollout(index, &rollout, cx);
        }
        is_steered
    }

    fn in_progress(&mut self, index: usize) -> Option<&mut InProgress> {
        self.rollouts.as_mut()?.in_progress.get_mut(&index)
    }

    fn rollout(&self, running: Running) -> Option<Arc<Rollout>> {
        match &self.operation(running.source).change {
            Change::Rollout(rollout) => Some(rollout.clone()),
            _ => None,
        }
    }

    /// A rollout has ended, or another operation took its place: nothing more is asked for it.
    pub(super) fn forget_rollout(&mut self, index: usize, cx: &mut MeshCx<'_>) {
        let Some(all) = &mut self.rollouts else { return };
        let Some(InProgress { service, look, .. }) = all.in_progress.remove(&index) else { return };
        if let Some(timer) = look {
            cx.disarm(timer);
        }
        if all.round > 0 {
            self.ask_hosts(service, 0, cx);
        }
    }

    /// Asks the nodes that host a service for its counts in this round; 0: they need not count any more.
    fn ask_hosts(&self, service: ServiceId, round: u64, cx: &mut MeshCx<'_>) {
        for (node, _) in &self.services[service.index()].placed {
            cx.send(self.mesh.node_actor(*node as usize), Msg::AskFigures { service, round });
        }
    }

    /// Asks the nodes that host services with an analysis for their counts.
    pub(super) fn ask_figures(&mut self, cx: &mut MeshCx<'_>) {
        let Some(mut all) = self.rollouts.take() else { return };
        all.asking = None;
        let has_analysis =
            |index: usize| self.rollout(self.running[index]).is_some_and(|rollout| rollout.analyses().next().is_some());
        let analysed = all.in_progress.iter().filter(|(index, _)| has_analysis(**index));
        let services: Vec<ServiceId> = analysed.map(|(_, it)| it.service).collect();
        if !services.is_empty() {
            all.round += 1;
            services.into_iter().for_each(|service| self.ask_hosts(service, all.round, cx));
            all.asking = Some(cx.arm(cx.now() + self.mesh.control.metrics, Tick::Figures));
        }
        self.rollouts = Some(all);
    }

    /// Receives the counts of a node.
    pub(super) fn figures(&mut self, node: usize, figures: ServiceFigures) {
        let Some(all) = &self.rollouts else { return };
        let Some(index) = all.of(figures.service) else { return };
        let is_its = figures.round <= all.round && figures.since <= figures.round && figures.is_sound();
        let (Some(rollout), true) = (self.rollout(self.running[index]), is_its) else { return };
        let (window, actor) = (rollout.window_rounds(&self.mesh.control), self.mesh.node_actor(node));
        if let Some(it) = self.in_progress(index) {
            it.samples.take(actor, figures, window);
        }
    }

    /// Nodes that are to have instances of a version.
    fn nodes_of(&self, service: ServiceId, version: u32) -> Vec<ActorId> {
        let placed = self.services[service.index()].placed.iter();
        let with = placed.filter(|(_, share)| count_of(share, version) > 0);
        with.map(|(node, _)| self.mesh.node_actor(*node as usize)).collect()
    }

    /// Rollouts in progress, with the index of their histories.
    pub fn rollouts(&self) -> impl Iterator<Item = (usize, &OperationHistory)> {
        let all = self.history.iter().enumerate();
        all.filter(|(_, it)| it.kind == OperationKind::Rollout && it.outcome == OperationOutcome::Running)
    }
}
