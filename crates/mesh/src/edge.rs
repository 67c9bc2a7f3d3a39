//! Calls between services, counted by edge: from the service that calls to the endpoint that is called.
//!
//! A node counts a call when it has ended, so that a call costs one look-up, whatever the number of its attempts. An
//! edge that was never used takes no memory.

use std::collections::BTreeMap;

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::course::Course;
use crate::measure::{Failure, Failures};
use crate::model::{EndpointId, ServiceId};
use crate::policy::{Marks, PolicyCounts, PolicyEvent};

/// The far end of an edge of the call graph: the endpoint that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// The service that is called.
    pub service: ServiceId,
    /// Its endpoint.
    pub endpoint: EndpointId,
}

/// The calls of one edge that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeCalls {
    /// Calls that succeeded, whatever the number of attempts.
    pub done: u64,
    /// Calls that failed, by the reason of the last attempt.
    pub failed: Failures,
    /// Of these, optional calls: the request continued without them.
    pub tolerated: u64,
    /// Attempts, the first ones too.
    pub attempts: u64,
    /// Attempts that failed, by reason: those that a retry made good too.
    pub attempts_failed: Failures,
    /// Calls that failed without the retry that their policy has, because the retry budget allowed no more then.
    pub over_budget: u64,
}

impl EdgeCalls {
    /// Calls that have ended.
    pub fn calls(&self) -> u64 {
        self.done.saturating_add(self.failed.total())
    }

    /// Attempts after the first of their calls.
    pub fn retries(&self) -> u64 {
        self.attempts.saturating_sub(self.calls())
    }

    /// Counts a call that has ended.
    pub fn count(&mut self, failure: Option<Failure>, retried: FailedAttempts, optional: bool, over_budget: bool) {
        self.over_budget += u64::from(over_budget);
        match failure {
            None => self.done += 1,
            Some(failure) => {
                self.failed.count(failure);
                self.tolerated += u64::from(optional);
                self.attempts_failed.count(failure);
            }
        }
        self.attempts += 1;
        if !retried.is_empty() {
            self.attempts += retried.total();
            Failure::ALL.into_iter().for_each(|failure| self.attempts_failed.add(failure, retried.of(failure)));
        }
    }

    /// Adds what another node counted for the same edge.
    pub fn merge(&mut self, other: &EdgeCalls) {
        self.done = self.done.saturating_add(other.done);
        self.failed.merge(&other.failed);
        self.tolerated = self.tolerated.saturating_add(other.tolerated);
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.attempts_failed.merge(&other.attempts_failed);
        self.over_budget = self.over_budget.saturating_add(other.over_budget);
    }
}

/// Counts of an edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// All its calls.
    pub calls: EdgeCalls,
    /// Their time series: each call in the window in which it was made.
    pub course: Course,
    /// The acts of the policies of these calls.
    pub policies: PolicyCounts,
}

impl Used {
    /// An edge that was not used yet.
    pub fn new(course: Course) -> Self {
        Used { calls: EdgeCalls::default(), course, policies: PolicyCounts::default() }
    }

    /// Counts a call that has ended; one of the warm-up only in its time series.
    pub(crate) fn count(&mut self, counted: &Counted, is_measured: bool) {
        let Counted { optional, failure, retried, began, ended, marks, .. } = *counted;
        let unneeded = u64::from(marks.of(PolicyEvent::Unneeded));
        if is_measured {
            self.calls.count(failure, retried, optional, counted.over_budget());
            self.calls.attempts += unneeded;
        }
        self.course.was(began, ended, failure, (retried.total() + unneeded, counted.timeouts()));
        if marks.is_empty() {
            return;
        }
        if is_measured {
            self.policies.add(&marks);
        }
        self.course.at(began).policies.add(&marks);
    }

    /// Adds what another node counted for the same edge.
    pub fn merge(&mut self, other: &Used) {
        self.calls.merge(&other.calls);
        self.course.merge(&other.course);
        self.policies.merge(&other.policies);
    }
}

/// The edges that a service used, ordered by the called endpoint. Boxed, as a map sets room aside for eleven.
pub type Edges = BTreeMap<Edge, Box<Used>>;

/// Description of a call that has ended, for the counts by edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The service whose script made the call; `None` for a client and a gateway.
    pub by: Option<ServiceId>,
    /// The called endpoint.
    pub edge: Edge,
    /// The caller continues without it if it fails.
    pub optional: bool,
    /// Reason of the failure of its last attempt; `None` on success.
    pub failure: Option<Failure>,
    /// The attempts that failed and were retried.
    pub retried: FailedAttempts,
    /// Time at which it was made.
    pub began: Time,
    /// Time at which it ended.
    pub ended: Time,
    /// The acts of the policies for this call.
    pub marks: Marks,
}

impl Counted {
    /// True if it would have been retried, but the retry budget was exhausted.
    pub fn over_budget(&self) -> bool {
        self.marks.of(PolicyEvent::OverBudget) > 0
    }

    /// Attempts that timed out.
    pub(crate) fn timeouts(&self) -> u64 {
        self.retried.of(Failure::Timeout) + u64::from(self.failure == Some(Failure::Timeout))
    }
}

/// The attempts of one call that failed and were retried, by reason. [`RETRIES_MAX`](crate::model::RETRIES_MAX) fits a
/// byte, so that all counts of a call in flight fit a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempts([u8; Failure::ALL.len()]);

impl FailedAttempts {
    /// Counts one more.
    pub fn count(&mut self, failure: Failure) {
        let count = &mut self.0[failure as usize];
        *count = count.saturating_add(1);
    }

    /// Counts one less: the retry that was to follow it was not made.
    pub fn withdraw(&mut self, failure: Failure) {
        let count = &mut self.0[failure as usize];
        *count = count.saturating_sub(1);
    }

    /// True if none has failed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        *self == FailedAttempts::default()
    }

    /// Number of attempts that failed for this reason.
    pub fn of(&self, failure: Failure) -> u64 {
        self.0[failure as usize].into()
    }

    /// Sum over all reasons.
    #[inline]
    pub fn total(&self) -> u64 {
        if self.is_empty() { 0 } else { self.0.iter().map(|count| u64::from(*count)).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_its_attempts_and_why_each_failed() {
        let mut edge = EdgeCalls::default();
        let mut retried = FailedAttempts::default();
        retried.count(Failure::Timeout);
        retried.count(Failure::Error);
        edge.count(None, FailedAttempts::default(), false, false);
        edge.count(None, retried, false, false);
        edge.count(Some(Failure::Timeout), retried, true, true);
        assert_eq!(edge.over_budget, 1);
        assert_eq!((edge.calls(), edge.done, edge.failed.total(), edge.tolerated), (3, 2, 1, 1));
        assert_eq!((edge.attempts, edge.retries()), (7, 4));
        assert_eq!([Failure::Timeout, Failure::Error].map(|why| edge.attempts_failed.of(why)), [3, 2]);
        let mut both = edge;
        both.merge(&edge);
        assert_eq!((both.calls(), both.attempts, both.attempts_failed.total()), (6, 14, 10));
    }
}
