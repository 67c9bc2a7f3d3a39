//! Pools of nodes: a node is put into service when instances have no room, and goes when it is not needed.
//!
//! The rules are those of Kubernetes' cluster autoscaler
//! (<https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md>), in their simplest form:
//!
//! - At each look, as many nodes are ordered as the instances without room need, less those that are on the way.
//! - A node of which less than a share of the cores is reserved, and whose instances have room elsewhere, is unneeded.
//!   One that has been unneeded for long enough is drained, within the disruption budgets, and goes when it is empty.
//!   One node at a time, and none while instances have no room or nodes are on the way.
//! - A drain that the budgets do not allow within `EVICTION_MAX` is given up: the node stays.
//!
//! A node in reserve is a machine that runs, and on which nothing is placed.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::Coordinator;
use crate::actors::MeshCx;
use crate::diary::Seen;
use crate::measure::OperationOutcome;
use crate::message::Tick;
use crate::model::{Change, Drain, Mesh, NodePool, Operation, ServiceId};
use crate::operation::total;

/// Time after which the drain of an unneeded node is given up. (`--max-pod-eviction-time`, 2 min.)
pub(super) const EVICTION_MAX: Span = Span::from_secs(120);

/// Time between two tries of an eviction. (kubectl and the cluster autoscaler wait for 5 and 10 s.)
const EVICTION_EVERY: Span = Span::from_secs(5);

/// State of the nodes of a pool, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PoolState(Vec<Standing>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    Reserve,
    /// It will be in service at this time.
    Ordered(Time),
    /// In service; the time since which it is unneeded.
    Serves(Option<Time>),
    /// It is drained since this time.
    Goes(Time),
}

impl PoolState {
    pub(super) fn of(pool: &NodePool) -> Self {
        let standing = |at| if at < pool.min { Standing::Serves(None) } else { Standing::Reserve };
        PoolState((0..pool.count).map(standing).collect())
    }

    fn has(&self, is: impl Fn(&Standing) -> bool) -> bool {
        self.0.iter().any(is)
    }

    fn serving(&self) -> usize {
        self.0.iter().filter(|it| matches!(it, Standing::Serves(_))).count()
    }
}

/// The nodes that are in reserve at the start.
pub(super) fn in_reserve(mesh: &Mesh) -> impl Iterator<Item = usize> + '_ {
    mesh.pools.iter().flat_map(|pool| pool.nodes().skip(pool.min as usize))
}

impl Coordinator {
    /// Plans the next looks at all pools, and waits for the nodes on the way.
    pub(super) fn begin_pools(&self, cx: &mut MeshCx<'_>) {
        for (at, (pool, state)) in self.mesh.pools.iter().zip(&self.pools).enumerate() {
            cx.arm(cx.now() + pool.scan, Tick::Pool(at as u32));
            for (node, standing) in pool.nodes().zip(&state.0) {
                if let Standing::Ordered(due) = standing {
                    cx.arm((*due).max(cx.now()), Tick::Provisioned(node as u32));
                }
            }
        }
    }

    /// True if a node is in reserve, or on its way.
    pub(super) fn is_in_reserve(&self, node: usize) -> bool {
        self.standing(node).is_some_and(|it| matches!(it, Standing::Reserve | Standing::Ordered(_)))
    }

    fn standing(&self, node: usize) -> Option<Standing> {
        let all = self.mesh.pools.iter().zip(&self.pools);
        all.filter_map(|(pool, state)| state.0.get(node.checked_sub(pool.first as usize)?).copied()).next()
    }

    /// Looks at a pool.
    pub(super) fn look_at_pool(&mut self, at: usize, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        let pool = &mesh.pools[at];
        cx.arm(cx.now() + pool.scan, Tick::Pool(at as u32));
        self.end_drains(pool, cx);
        let short = self.without_room();
        if short.is_empty() {
            return self.shrink_pool(at, pool, cx);
        }
        let state = &mut self.pools[at];
        // While instances have no room, no node counts as unneeded.
        state.0.iter_mut().for_each(|it| {
            if let Standing::Serves(since) = it {
                *since = None;
            }
        });
        let on_the_way = state.0.iter().filter(|it| matches!(it, Standing::Ordered(_))).count();
        let reserve = state.0.iter().filter(|it| **it == Standing::Reserve).count();
        let cores = mesh.nodes[pool.first as usize].cores;
        let needed = self.machines.nodes_for(&short, cores, reserve + on_the_way).saturating_sub(on_the_way);
        let due = cx.now() + pool.delay;
        let mut ordered = Vec::new();
        let spare = pool.nodes().zip(&mut self.pools[at].0).filter(|(_, it)| **it == Standing::Reserve);
        for (node, standing) in spare.take(needed) {
            *standing = Standing::Ordered(due);
            ordered.push(node);
        }
        for node in ordered {
            self.sighted(node, Seen::Ordered, cx);
            cx.arm(due, Tick::Provisioned(node as u32));
        }
    }

    /// A node that was ordered is there.
    pub(super) fn provisioned(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        if self.stand(node, |it| matches!(it, Standing::Ordered(due) if due <= now), Standing::Serves(None)) {
            self.machines.set_closed(node, false);
            self.sighted(node, Seen::Added, cx);
            self.repair_unplaced(cx);
        }
    }

    /// Gives a node of a pool another standing, if it has one of these.
    fn stand(&mut self, node: usize, is: impl Fn(Standing) -> bool, next: Standing) -> bool {
        for (pool, state) in self.mesh.pools.iter().zip(&mut self.pools) {
            if let Some(it) = node.checked_sub(pool.first as usize).and_then(|at| state.0.get_mut(at))
                && is(*it)
            {
                *it = next;
                return true;
            }
        }
        false
    }

    /// The instances that have no place: cores that one reserves, and their number.
    fn without_room(&self) -> Vec<(f64, u32)> {
        let of = |(spec, state): (&crate::model::Service, &super::ServiceState)| {
            let placed: u32 = self.machines.staying(&state.placed).iter().map(|(_, share)| total(share)).sum();
            let missing = state.wanted.running().saturating_sub(placed);
            (missing > 0).then_some((spec.cpu, missing))
        };
        self.mesh.services.iter().zip(&self.services).filter_map(of).collect()
    }

    /// Marks the nodes that are not needed, and drains one that has not been needed for long enough.
    fn shrink_pool(&mut self, at: usize, pool: &NodePool, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        let is_busy = self.pools[at].has(|it| matches!(it, Standing::Ordered(_) | Standing::Goes(_)));
        let mut goes = None;
        for node in pool.nodes() {
            let Some(Standing::Serves(since)) = self.standing(node) else { continue };
            let is_spare = self.pools[at].serving() > pool.min as usize && !is_busy;
            let is_unneeded = is_spare && !self.cordons.has(node) && self.is_unneeded(node, pool.below);
            let since = is_unneeded.then(|| since.unwrap_or(now));
            if since.is_some_and(|since| now.since(since) >= pool.unneeded) && goes.is_none() {
                goes = Some(node);
            }
            self.stand(node, |_| true, Standing::Serves(since));
        }
        if let Some(node) = goes {
            self.stand(node, |_| true, Standing::Goes(now));
            self.drain_unneeded(node, cx);
        }
    }

    fn is_unneeded(&self, node: usize, below: f64) -> bool {
        let there: Vec<(f64, u32)> =
            self.services_on(node).map(|id| (self.mesh.service(id).cpu, total(&self.share_on(id, node)))).collect();
        self.machines.reserved(node) < below && self.machines.has_room(&there, node)
    }

    fn services_on(&self, node: usize) -> impl Iterator<Item = ServiceId> + '_ {
        (0..self.services.len()).map(|at| ServiceId(at as u16)).filter(move |id| !self.share_on(*id, node).is_empty())
    }

    fn drain_unneeded(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let drain = Drain { node: node as u32, lasts: None, timeout: Some(EVICTION_MAX) };
        self.cordon(drain, cx);
        let services: Vec<ServiceId> = self.services_on(node).collect();
        for service in services {
            let (at, every, times) = (cx.now(), EVICTION_EVERY, None);
            let operation = Operation { at, service, change: Change::Drain(drain), every, times };
            if let Some(at) = self.begin_more(operation, cx) {
                self.history[at].is_automatic = true;
            }
        }
    }

    /// Nodes that are drained go, and those whose drain was given up stay.
    fn end_drains(&mut self, pool: &NodePool, cx: &mut MeshCx<'_>) {
        for node in pool.nodes() {
            let Some(Standing::Goes(since)) = self.standing(node) else { continue };
            if self.machines.instances(node) == 0 {
                self.uncordon(node, cx);
                self.machines.set_closed(node, true);
                self.stand(node, |_| true, Standing::Reserve);
                self.sighted(node, Seen::Removed, cx);
            } else if cx.now().since(since) > EVICTION_MAX && !self.is_draining(node) {
                self.uncordon(node, cx);
                self.stand(node, |_| true, Standing::Serves(None));
            }
        }
    }

    /// True while a drain of this node goes on.
    fn is_draining(&self, node: usize) -> bool {
        let mut running = self.running.iter().filter(|it| it.next.is_some());
        running.any(|it| {
            let is_here =
                matches!(&self.operation(it.source).change, Change::Drain(drain) if drain.node as usize == node);
            is_here && self.history[it.history].outcome == OperationOutcome::Running
        })
    }
}
