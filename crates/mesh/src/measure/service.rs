//! Figures of a service.

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::{Failure, Failures};
use crate::edge::Edges;
use crate::policy::PolicyCounts;
use crate::station::ProxyUse;

/// Wait of a user of a closed load for the end of a request, and the requests of its load meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// From sending the request, in nanoseconds.
    pub ns: u64,
    /// Requests that all users of the load sent meanwhile.
    pub sent: u64,
}

impl Wait {
    /// The longer one.
    #[must_use]
    pub fn or(self, other: Wait) -> Wait {
        if other.ns > self.ns { other } else { self }
    }
}

/// Measurements of the instances of one service on one node, of the requests that arrived after the first load's
/// warm-up: from [`Mesh::measured_from`](crate::Mesh::measured_from) on. Sums over time begin then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceMetrics {
    /// Requests that arrived.
    pub arrived: u64,
    /// Answered well.
    pub done: u64,
    /// Of these, successful although an optional call failed, at any depth.
    pub degraded: u64,
    /// Answered badly, by reason.
    pub failed: Failures,
    /// Dropped unanswered, because their deadline had passed: the caller had given up.
    pub expired: u64,
    /// Latency from arrival to reply, of successful requests; coarse.
    pub latency: Histogram,
    /// Time that requests waited for a slot, summed, in nanoseconds.
    pub waited_ns: u64,
    /// Time that slots were taken, summed over slots, in nanoseconds.
    pub busy_ns: u64,
    /// Time that slots were there (instances ready times their slots), in nanoseconds. Utilisation is
    /// `busy_ns / slot_ns`.
    pub slot_ns: u64,
    /// Work done by the processors for its requests, in nanoseconds of a core at normal speed. Of work in progress, the
    /// part done by the node's last event.
    pub work_ns: u64,
    /// Maximum number of requests that waited at one instance at once.
    pub queue_peak: u32,
    /// Counts of its calls that have ended, by edge.
    pub calls: Edges,
    /// Actions of the policies of its instances.
    pub policies: PolicyCounts,
    /// Blocks of its scripts that were not waited for and have ended.
    pub blocks: BlockCounts,
    /// Look-ups in caches of its scripts.
    pub caches: CacheCounts,
    /// Messages that its scripts have published; `None`: none.
    pub queue: Option<Box<QueueCounts>>,
    /// Figures of the proxies of its instances, or of those of nodes for its requests and calls.
    pub proxy: ProxyUse,
}

/// Look-ups in caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCounts {
    /// Those that found their key.
    pub hits: u64,
    /// The others.
    pub misses: u64,
}

/// Messages in queues that were published after the warm-up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Those that were published.
    pub published: u64,
    /// Those that found the queue full.
    pub refused: u64,
    /// Deliveries of them.
    pub deliveries: u64,
    /// Those that became dead letters.
    pub dead: u64,
    /// Those that were lost with their instance or its node.
    pub lost: u64,
    /// Maximum number of messages that waited in one queue of one instance at once.
    pub depth_peak: u32,
    /// Times from publication to the first delivery.
    pub wait: Histogram,
    /// Times from publication until a message was consumed.
    pub age: Histogram,
}

impl QueueCounts {
    pub(super) fn merge(&mut self, other: &QueueCounts) {
        self.published = self.published.saturating_add(other.published);
        self.refused = self.refused.saturating_add(other.refused);
        self.deliveries = self.deliveries.saturating_add(other.deliveries);
        self.dead = self.dead.saturating_add(other.dead);
        self.lost = self.lost.saturating_add(other.lost);
        self.depth_peak = self.depth_peak.max(other.depth_peak);
        self.wait.merge(&other.wait);
        self.age.merge(&other.age);
    }
}

/// Blocks of scripts that were not waited for and have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCounts {
    /// Those that came to their end.
    pub done: u64,
    /// Those that failed, by reason.
    pub failed: Failures,
}

impl BlockCounts {
    /// Counts a block that has ended.
    pub fn count(&mut self, failure: Option<Failure>) {
        match failure {
            None => self.done = self.done.saturating_add(1),
            Some(failure) => self.failed.count(failure),
        }
    }

    pub(super) fn merge(&mut self, other: &BlockCounts) {
        self.done = self.done.saturating_add(other.done);
        self.failed.merge(&other.failed);
    }
}

impl Default for ServiceMetrics {
    fn default() -> Self {
        ServiceMetrics {
            arrived: 0,
            done: 0,
            degraded: 0,
            failed: Failures::default(),
            expired: 0,
            latency: Histogram::coarse(),
            waited_ns: 0,
            busy_ns: 0,
            slot_ns: 0,
            work_ns: 0,
            queue_peak: 0,
            calls: Edges::new(),
            policies: PolicyCounts::default(),
            blocks: BlockCounts::default(),
            caches: CacheCounts::default(),
            queue: None,
            proxy: ProxyUse::default(),
        }
    }
}

impl ServiceMetrics {
    /// Adds what another node did for the same service.
    pub fn merge(&mut self, other: &ServiceMetrics) {
        self.arrived = self.arrived.saturating_add(other.arrived);
        self.done = self.done.saturating_add(other.done);
        self.failed.merge(&other.failed);
        self.expired = self.expired.saturating_add(other.expired);
        self.latency.merge(&other.latency);
        self.waited_ns = self.waited_ns.saturating_add(other.waited_ns);
        self.busy_ns = self.busy_ns.saturating_add(other.busy_ns);
        self.slot_ns = self.slot_ns.saturating_add(other.slot_ns);
        self.work_ns = self.work_ns.saturating_add(other.work_ns);
        self.queue_peak = self.queue_peak.max(other.queue_peak);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.policies.merge(&other.policies);
        self.blocks.merge(&other.blocks);
        self.caches.hits = self.caches.hits.saturating_add(other.caches.hits);
        self.caches.misses = self.caches.misses.saturating_add(other.caches.misses);
        self.proxy.merge(&other.proxy);
        if let Some(queue) = &other.queue {
            self.queue.get_or_insert_default().merge(queue);
        }
        for (edge, used) in &other.calls {
            match self.calls.get_mut(edge) {
                Some(mine) => mine.merge(used),
                None => _ = self.calls.insert(*edge, used.clone()),
            }
        }
    }
}
