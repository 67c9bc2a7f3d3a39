//! Measurements, kept by each actor for itself. A report reads them when the run has ended and adds them up.

mod histogram;
mod history;
mod service;

use serde::{Deserialize, Serialize};

use crate::batches::Batches;
use crate::policy::PolicyCounts;

pub use histogram::{HISTOGRAM_MAX, Histogram};
pub use history::{DrainHistory, OperationHistory, OperationKind, OperationOutcome, StepHistory};
pub use service::{BlockCounts, CacheCounts, QueueCounts, ServiceMetrics, Wait};

/// Reason of the failure of a request or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The instance's queue was full, or the instance was gone when the request arrived.
    Refused,
    /// The service failed, or something that it called.
    Error,
    /// No reply came in time.
    Timeout,
    /// The node of the instance went down.
    Lost,
    /// There was no instance to call.
    NoInstance,
    /// The instance was to go, and its [grace](crate::model::Service::grace) was over before the request was done.
    Cut,
}

impl Failure {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Failure; 6] =
        [Failure::Refused, Failure::Error, Failure::Timeout, Failure::Lost, Failure::NoInstance, Failure::Cut];

    /// For people and for JSON keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Error => "error",
            Failure::Timeout => "timeout",
            Failure::Lost => "lost",
            Failure::NoInstance => "no_instance",
            Failure::Cut => "cut",
        }
    }
}

/// Number of failures of each kind of [`Failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures([u64; 6]);

impl Failures {
    /// Counts one more.
    pub fn count(&mut self, failure: Failure) {
        self.0[failure as usize] += 1;
    }

    /// `n` more.
    pub fn add(&mut self, failure: Failure, n: u64) {
        let count = &mut self.0[failure as usize];
        *count = count.saturating_add(n);
    }

    /// Number of failures of this kind.
    pub fn of(&self, failure: Failure) -> u64 {
        self.0[failure as usize]
    }

    /// Sum over all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Failures) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// Results of the requests of one target of a load.
///
/// `offered - done - failed` were still in flight when the run ended. Requests of the warm-up are counted only in
/// `warmup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Planned after the warm-up.
    pub offered: u64,
    /// Answered.
    pub done: u64,
    /// Of these, answered although an optional call failed, at any depth.
    pub degraded: u64,
    /// Failed requests, by reason.
    pub failed: Failures,
    /// Planned in the warm-up.
    pub warmup: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Failed without the retry that their policy has, because the retry budget allowed no more then.
    pub over_budget: u64,
    /// The acts of the policies of these requests.
    pub policies: PolicyCounts,
    /// Latency of successful requests, from the planned time.
    pub latency: Histogram,
    /// The same from the actual send: smaller where the generator was late (coordinated omission).
    pub uncorrected: Histogram,
    /// Delay of the actual send after the planned time, of those sent: in virtual time, caused by machines that stood
    /// still.
    pub lag: Histogram,
    /// Ages of the requests in flight when the run ended, from the planned time; empty until then.
    pub pending: Histogram,
    /// The same latencies by time since the end of the warm-up, for what compares runs.
    pub batches: Batches,
    /// Of a closed load: the longest that a user waited.
    pub longest_wait: Wait,
}

impl Tally {
    /// Adds another tally to this one: the targets of a load, the loads of a run.
    pub fn merge(&mut self, other: &Tally) {
        self.offered = self.offered.saturating_add(other.offered);
        self.done = self.done.saturating_add(other.done);
        self.degraded = self.degraded.saturating_add(other.degraded);
        self.failed.merge(&other.failed);
        self.batches.merge(&other.batches);
        self.warmup = self.warmup.saturating_add(other.warmup);
        self.retries = self.retries.saturating_add(other.retries);
        self.over_budget = self.over_budget.saturating_add(other.over_budget);
        self.policies.merge(&other.policies);
        self.latency.merge(&other.latency);
        self.uncorrected.merge(&other.uncorrected);
        self.lag.merge(&other.lag);
        self.pending.merge(&other.pending);
        self.longest_wait = self.longest_wait.or(other.longest_wait);
    }
}

/// Journeys of a load's users that began after its warm-up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JourneyCounts {
    /// Those that began.
    pub begun: u64,
    /// Those that ended because a request failed.
    pub abandoned: u64,
    /// Durations of those that were completed, from the beginning of the first request to the last reply.
    pub time: Histogram,
}
