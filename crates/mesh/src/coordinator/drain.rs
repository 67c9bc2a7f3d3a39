//! Nodes that are drained: nothing more is placed on them, and their instances are evicted.
//!
//! An eviction takes an instance away and places another one elsewhere at the same time, as in Kubernetes: the old one
//! does not wait until the new one is ready. The [disruption budget](crate::model::DisruptionBudget) of the service
//! says how many instances may be missing meanwhile; what it does not allow is tried again at the next turn.

use std::collections::BTreeMap;

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use super::Coordinator;
use super::steps::share_of;
use crate::actors::MeshCx;
use crate::diary::Seen;
use crate::measure::{DrainHistory, OperationKind, OperationOutcome};
use crate::message::{Share, Tick};
use crate::model::{Change, Drain, Operation, ServiceId};
use crate::operation::total;

/// Nodes on which nothing more is placed, by index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cordons(BTreeMap<u32, Cordon>);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cordon {
    /// Its end; [`Time::NEVER`]: the end of the run.
    until: Time,
    /// Nothing is placed on the node any more.
    is_drained: bool,
}

impl Cordons {
    pub(super) fn has(&self, node: usize) -> bool {
        self.0.contains_key(&(node as u32))
    }
}

impl Coordinator {
    /// Stops placing instances on a node.
    pub(super) fn cordon(&mut self, drain: Drain, cx: &mut MeshCx<'_>) {
        let until = drain.lasts.map_or(Time::NEVER, |lasts| cx.now() + lasts);
        let node = drain.node as usize;
        if self.cordons.0.get(&drain.node).is_some_and(|cordon| cordon.until == until) {
            return;
        }
        if self.cordons.0.insert(drain.node, Cordon { until, is_drained: false }).is_none() {
            self.open_or_close(node);
            self.sighted(node, Seen::Cordoned, cx);
        }
        if until < Time::NEVER {
            cx.arm(until, Tick::Uncordon(drain.node));
        }
        self.look_whether_drained(node, cx);
    }

    /// True for the drain of a node that has no instance of the service; the node is cordoned then.
    pub(super) fn drains_nothing(&mut self, operation: &Operation, cx: &mut MeshCx<'_>) -> bool {
        let Change::Drain(drain) = &operation.change else { return false };
        let is_nothing = self.share_on(operation.service, drain.node as usize).is_empty();
        if is_nothing {
            self.cordon(*drain, cx);
        }
        is_nothing
    }

    /// After a reboot: waits for the ends of all cordons.
    pub(super) fn resume_cordons(&self, cx: &mut MeshCx<'_>) {
        for (node, cordon) in self.cordons.0.iter().filter(|(_, cordon)| cordon.until < Time::NEVER) {
            cx.arm(cordon.until.max(cx.now()), Tick::Uncordon(*node));
        }
    }

    /// A cordon may be over: a later drain may have prolonged it.
    pub(super) fn uncordon_if_due(&mut self, node: u32, cx: &mut MeshCx<'_>) {
        if self.cordons.0.get(&node).is_some_and(|cordon| cordon.until <= cx.now()) {
            self.uncordon(node as usize, cx);
            self.repair_unplaced(cx);
        }
    }

    /// Instances may be placed on a node again.
    pub(super) fn uncordon(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        if self.cordons.0.remove(&(node as u32)).is_some() {
            self.open_or_close(node);
            self.sighted(node, Seen::Uncordoned, cx);
        }
    }

    /// Nothing more is placed on a node that is cordoned or in reserve. Whatever changes one of the two calls this.
    pub(super) fn open_or_close(&mut self, node: usize) {
        self.machines.set_closed(node, self.cordons.has(node) || self.is_in_reserve(node));
    }

    /// The instances of a service that are to be on a node.
    pub(super) fn share_on(&self, service: ServiceId, node: usize) -> Share {
        share_of(&self.services[service.index()].placed, node)
    }

    /// Evicts the instances of a service from a node, as many as its budget allows now.
    pub(super) fn advance_drain(&mut self, index: usize, drain: Drain, cx: &mut MeshCx<'_>) {
        let (running, now, node) = (self.running[index], cx.now(), drain.node as usize);
        let operation = self.operation(running.source);
        let (service, every) = (operation.service, operation.every);
        if running.steps == 0 && self.history[running.history].drain.is_none() {
            self.cordon(drain, cx);
        }
        let evicted = self.evictable(service, node);
        let count = total(&evicted);
        let mut steps = running.steps;
        if count > 0 {
            self.evict(service, node, &evicted);
            self.decide(running.history, OperationKind::Drain, service, cx);
            steps += 1;
        }
        let left = total(&self.share_on(service, node));
        let history = &mut self.history[running.history];
        let so_far = history.drain.get_or_insert_default();
        *so_far = DrainHistory { evicted: so_far.evicted + count, left, refused: so_far.refused + u32::from(left > 0) };
        let is_late = drain.timeout.is_some_and(|timeout| now.since(history.began) >= timeout);
        // When the cordon has ended, new instances may come to the node. They are not evicted.
        let is_over = is_late || !self.cordons.has(node);
        let outcome = match left {
            0 => Some(OperationOutcome::Reached),
            left => is_over.then_some(OperationOutcome::Stuck { residual: -f64::from(left) }),
        };
        self.turned(index, steps, outcome, now + every, cx);
        if outcome.is_some() {
            self.look_whether_drained(node, cx);
        }
    }

    /// The instances of a service that may be evicted from a node now.
    ///
    /// Instances that are not ready go if the budget holds as it is (Kubernetes' `IfHealthyBudget`).
    fn evictable(&self, service: ServiceId, node: usize) -> Share {
        let instances = self.services[service.index()].wanted.instances;
        let ready = total(&self.available(service));
        let budget = self.mesh.service(service).disruption_budget;
        let holds = budget.is_none_or(|budget| ready >= budget.ready_min(instances));
        let mut allowed = budget.map_or(u32::MAX, |budget| budget.allows(instances, ready));
        let mut evicted = Share::new();
        for &(version, count) in &self.share_on(service, node) {
            let ready = self.ready_on(service, node as u32, version).min(count);
            let of_ready = ready.min(allowed);
            allowed -= of_ready;
            let gone = of_ready + if holds { count - ready } else { 0 };
            evicted.add(version, gone);
        }
        evicted
    }

    /// Takes instances away from a node; the next step places others.
    fn evict(&mut self, service: ServiceId, node: usize, evicted: &Share) {
        self.machines.release(node, self.mesh.service(service).cpu, total(evicted));
        let state = &mut self.services[service.index()];
        state.staying = None;
        let placed = &mut state.placed;
        if let Some((_, share)) = placed.iter_mut().find(|(at, _)| *at as usize == node) {
            evicted.iter().for_each(|(version, count)| share.take(*version, *count));
        }
        placed.retain(|(_, share)| !share.is_empty());
    }

    fn look_whether_drained(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let is_empty = self.machines.instances(node) == 0;
        if let Some(cordon) = self.cordons.0.get_mut(&(node as u32))
            && is_empty
            && !std::mem::replace(&mut cordon.is_drained, true)
        {
            self.sighted(node, Seen::Drained, cx);
        }
    }
}
