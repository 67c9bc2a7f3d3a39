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

use std::collections::BTreeMap;

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

/// State of each node that is in a pool, by its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PoolNodes(BTreeMap<u32, NodeState>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum NodeState {
    Reserve,
    /// It will be in service at this time.
    Ordered(Time),
    /// In service; the time since which it is unneeded.
    Serves(Option<Time>),
    /// It is drained since this time.
    Goes(Time),
}

impl PoolNodes {
    pub(super) fn new(mesh: &Mesh) -> Self {
        let mut nodes = BTreeMap::new();
        for pool in &mesh.pools {
            nodes.extend(pool.nodes().map(|node| (node as u32, NodeState::Serves(None))));
        }
        nodes.extend(in_reserve(mesh).map(|node| (node as u32, NodeState::Reserve)));
        PoolNodes(nodes)
    }

    fn get(&self, node: usize) -> Option<NodeState> {
        self.0.get(&(node as u32)).copied()
    }

    fn set(&mut self, node: usize, state: NodeState) {
        self.0.insert(node as u32, state);
    }

    /// The nodes of a pool whose state is such a one.
    fn nodes(&self, pool: &NodePool, is: impl Fn(NodeState) -> bool) -> Vec<usize> {
        pool.nodes().filter(|node| self.get(*node).is_some_and(&is)).collect()
    }
}

/// The nodes that are in reserve at the start.
pub(super) fn in_reserve(mesh: &Mesh) -> impl Iterator<Item = usize> + '_ {
    mesh.pools.iter().flat_map(|pool| pool.nodes().skip(pool.min as usize))
}

impl Coordinator {
    /// Plans the next looks at all pools, and waits for the nodes on the way.
    pub(super) fn begin_pools(&self, cx: &mut MeshCx<'_>) {
        for (at, pool) in self.mesh.pools.iter().enumerate() {
            cx.arm(cx.now() + pool.scan, Tick::Pool(at as u32));
            for node in pool.nodes() {
                if let Some(NodeState::Ordered(due)) = self.pools.get(node) {
                    cx.arm(due.max(cx.now()), Tick::Provisioned(node as u32));
                }
            }
        }
    }

    /// True if a node is in reserve, or on its way.
    pub(super) fn is_in_reserve(&self, node: usize) -> bool {
        matches!(self.pools.get(node), Some(NodeState::Reserve | NodeState::Ordered(_)))
    }

    /// Looks at a pool.
    pub(super) fn look_at_pool(&mut self, at: usize, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        let pool = &mesh.pools[at];
        cx.arm(cx.now() + pool.scan, Tick::Pool(at as u32));
        self.end_drains(pool, cx);
        let short = self.without_room();
        if short.is_empty() {
            self.shrink_pool(pool, cx);
        } else {
            self.grow_pool(pool, &short, cx);
        }
    }

    /// Orders as many nodes as these instances need. While instances have no room, no node counts as unneeded.
    fn grow_pool(&mut self, pool: &NodePool, short: &[(f64, u32)], cx: &mut MeshCx<'_>) {
        for node in self.pools.nodes(pool, |it| matches!(it, NodeState::Serves(_))) {
            self.pools.set(node, NodeState::Serves(None));
        }
        let on_the_way = self.pools.nodes(pool, |it| matches!(it, NodeState::Ordered(_))).len();
        let reserve = self.pools.nodes(pool, |it| it == NodeState::Reserve);
        let cores = self.mesh.nodes[pool.first as usize].cores;
        let needed = self.machines.nodes_for(short, cores, reserve.len() + on_the_way).saturating_sub(on_the_way);
        let due = cx.now() + pool.delay;
        for node in reserve.into_iter().take(needed) {
            self.pools.set(node, NodeState::Ordered(due));
            self.sighted(node, Seen::Ordered, cx);
            cx.arm(due, Tick::Provisioned(node as u32));
        }
    }

    /// A node that was ordered is there.
    pub(super) fn provisioned(&mut self, node: usize, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        if matches!(self.pools.get(node), Some(NodeState::Ordered(due)) if due <= now) {
            self.pools.set(node, NodeState::Serves(None));
            self.open_or_close(node);
            self.sighted(node, Seen::Added, cx);
            self.repair_unplaced(cx);
        }
    }

    /// The instances that have no place: cores that one reserves, and their number.
    fn without_room(&mut self) -> Vec<(f64, u32)> {
        let count = self.services.len();
        let of = |at| {
            let service = ServiceId(at as u16);
            let missing = self.unplaced(service);
            (missing > 0).then(|| (self.mesh.service(service).cpu, missing))
        };
        (0..count).filter_map(of).collect()
    }

    /// Marks the nodes that are not needed, and drains one that has not been needed for long enough.
    fn shrink_pool(&mut self, pool: &NodePool, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        let serving = self.pools.nodes(pool, |it| matches!(it, NodeState::Serves(_)));
        let changing = self.pools.nodes(pool, |it| matches!(it, NodeState::Ordered(_) | NodeState::Goes(_)));
        let is_spare = serving.len() > pool.min as usize && changing.is_empty();
        let mut goes = None;
        for node in serving {
            let Some(NodeState::Serves(since)) = self.pools.get(node) else { continue };
            let is_unneeded = is_spare && !self.cordons.has(node) && self.is_unneeded(node, pool.below);
            let since = is_unneeded.then(|| since.unwrap_or(now));
            if since.is_some_and(|since| now.since(since) >= pool.unneeded) && goes.is_none() {
                goes = Some(node);
            }
            self.pools.set(node, NodeState::Serves(since));
        }
        if let Some(node) = goes {
            self.pools.set(node, NodeState::Goes(now));
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
            let Some(NodeState::Goes(since)) = self.pools.get(node) else { continue };
            if self.machines.instances(node) == 0 {
                self.pools.set(node, NodeState::Reserve);
                self.open_or_close(node);
                self.uncordon(node, cx);
                self.sighted(node, Seen::Removed, cx);
            } else if cx.now().since(since) > EVICTION_MAX && !self.is_draining(node) {
                self.pools.set(node, NodeState::Serves(None));
                self.uncordon(node, cx);
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
