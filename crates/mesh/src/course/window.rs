//! One window of a time series.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::measure::Failures;
use crate::policy::PolicyCounts;
use crate::sparse::Sparse;

/// Counts of one window: requests due in it, their results, and the levels during it. The fields that change most often
/// come first, to be close together in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Due in it.
    pub offered: u64,
    /// Of these, answered.
    pub done: u64,
    /// Sum of the latencies of those answered, in nanoseconds.
    pub done_sum_ns: u64,
    /// The slowest of those answered.
    pub slowest: Slowest,
    /// Levels during it.
    pub levels: Levels,
    /// Latencies of those answered.
    pub latency: Sparse,
    /// Of those due, failed.
    pub failed: Failures,
    /// Of those due, dropped because the caller had given up.
    pub expired: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Attempts that timed out.
    pub timeouts: u64,
    /// Sum of the times in flight of all others, in nanoseconds: until they failed, or until the series ended.
    pub other_sum_ns: u64,
    /// Actions of policies on those due.
    pub policies: PolicyCounts,
    /// Caches and queues of messages; `None`: nothing happened in any.
    pub stores: Option<Box<Stores>>,
}

/// Caches and queues of messages during a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stores {
    /// Look-ups in caches that found their key, at the time of the look-up.
    pub hits: u64,
    /// The others.
    pub misses: u64,
    /// Messages that wait to be delivered, summed over the window's time, in nanoseconds.
    pub messages_ns: u64,
    /// Maximum of these at once.
    pub messages_max: Most,
}

/// The slowest request of a window: by its latency, then the first that was due, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowest {
    /// Latency, in nanoseconds.
    pub latency_ns: u64,
    /// Time at which it was due.
    pub due: Time,
    /// Its number at the client that made it; 0 where that is not known.
    pub request: u64,
}

/// Levels during a window: sums over its time, in nanoseconds, and maxima.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// Requests in flight.
    pub in_flight_ns: u64,
    /// Of these, waiting for a slot.
    pub queue_ns: u64,
    /// Work done by processors.
    pub work_ns: u64,
    /// Maximum in flight at once.
    pub in_flight_max: Most,
    /// Maximum waiting at once.
    pub queue_max: Most,
    /// Slots that were there.
    pub slot_ns: u64,
    /// Instances that took requests and were to stay.
    pub ready_ns: u64,
}

impl Levels {
    /// Slots that were taken, as a sum over the window's time in nanoseconds: those in flight that do not wait.
    pub fn busy_ns(&self) -> u64 {
        self.in_flight_ns.saturating_sub(self.queue_ns)
    }

    /// Adds a level of `n` for `ns` nanoseconds.
    #[inline(always)]
    pub(super) fn stood(sum: &mut u64, ns: u64, n: u64) {
        *sum = sum.saturating_add(ns.saturating_mul(n));
    }
}

/// The largest number of requests at one time, if it is known. That of several places together is known only where
/// there was none in all but one of them: each place knows its own largest number, and not when the others had theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Most(u32);

impl Most {
    pub(super) const UNKNOWN: Most = Most(u32::MAX);

    /// The number; `None` if it is not known.
    pub fn get(self) -> Option<u32> {
        (self != Most::UNKNOWN).then_some(self.0)
    }

    /// Raises the maximum to `n`.
    #[inline(always)]
    pub(super) fn reached(&mut self, n: u32) {
        self.0 = self.0.max(n);
    }

    /// Merges the maximum of the same place at another time. An unknown one is larger than any number.
    pub(super) fn later(&mut self, other: Most) {
        self.0 = self.0.max(other.0);
    }

    /// Merges the maximum of another place at the same time: unknown if both are above zero.
    pub(super) fn beside(&mut self, other: Most) {
        *self = match (self.0, other.0) {
            (0, _) => other,
            (_, 0) => *self,
            _ => Most::UNKNOWN,
        };
    }
}

impl Window {
    /// Adds the next window to this one.
    pub fn later(&mut self, next: &Window) {
        self.levels.in_flight_max.later(next.levels.in_flight_max);
        self.levels.queue_max.later(next.levels.queue_max);
        if let Some(next) = &next.stores {
            self.stores().messages_max.later(next.messages_max);
        }
        self.add(next);
    }

    /// Adds the same window of something else to this one.
    pub fn beside(&mut self, other: &Window) {
        self.levels.in_flight_max.beside(other.levels.in_flight_max);
        self.levels.queue_max.beside(other.levels.queue_max);
        if let Some(other) = &other.stores {
            self.stores().messages_max.beside(other.messages_max);
        }
        self.add(other);
    }

    /// Caches and queues; made if there is nothing of them yet.
    pub(crate) fn stores(&mut self) -> &mut Stores {
        self.stores.get_or_insert_default()
    }

    /// Adds the fields that add up whether both windows cover the same time or not.
    pub(super) fn add(&mut self, other: &Window) {
        self.failed.merge(&other.failed);
        self.policies.merge(&other.policies);
        self.latency.merge(&other.latency);
        self.slowest = self.slowest.or(other.slowest);
        let (a, b) = (&mut self.levels, &other.levels);
        // The counts of another process may have any value.
        for (mine, theirs) in [
            (&mut self.offered, other.offered),
            (&mut self.done, other.done),
            (&mut self.expired, other.expired),
            (&mut self.retries, other.retries),
            (&mut self.timeouts, other.timeouts),
            (&mut self.done_sum_ns, other.done_sum_ns),
            (&mut self.other_sum_ns, other.other_sum_ns),
            (&mut a.in_flight_ns, b.in_flight_ns),
            (&mut a.queue_ns, b.queue_ns),
            (&mut a.slot_ns, b.slot_ns),
            (&mut a.ready_ns, b.ready_ns),
            (&mut a.work_ns, b.work_ns),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        if let Some(other) = &other.stores {
            let mine = self.stores();
            mine.hits = mine.hits.saturating_add(other.hits);
            mine.misses = mine.misses.saturating_add(other.misses);
            mine.messages_ns = mine.messages_ns.saturating_add(other.messages_ns);
        }
    }
}

impl Slowest {
    pub(super) fn or(self, other: Slowest) -> Slowest {
        let rank = |it: &Slowest| (std::cmp::Reverse(it.latency_ns), it.due, it.request);
        if rank(&other) < rank(&self) { other } else { self }
    }
}
