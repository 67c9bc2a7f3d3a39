//! Counts of a node for rollouts: the requests of a service that ended, by version.

use std::collections::BTreeMap;

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use crate::model::ServiceId;
use crate::sparse::{Scale, Sparse};

/// Versions of one service that are counted on a node; requests of further ones are not.
pub const VERSIONS_MAX: usize = 64;

/// Answer of a node: its counts since it was first asked in this incarnation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceFigures {
    /// The service.
    pub service: ServiceId,
    /// The round that asked for it.
    pub round: u64,
    /// Incarnation of the sender: the counts begin anew in each.
    pub incarnation: u32,
    /// The round in which they began.
    pub since: u64,
    /// By rising version.
    pub versions: Vec<(u32, Figures)>,
}

impl ServiceFigures {
    /// False if it cannot be from a node.
    pub(crate) fn is_sound(&self) -> bool {
        let rise = self.versions.windows(2).all(|pair| pair[0].0 < pair[1].0);
        rise && self.versions.len() <= VERSIONS_MAX && self.versions.iter().all(|(_, it)| it.is_sound())
    }
}

/// Requests of one version that have ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Answered well.
    pub done: u64,
    /// Failed, for any reason, or not answered because the caller had given up.
    pub failed: u64,
    /// Sum of the latencies of those done, in nanoseconds.
    pub done_sum_ns: u64,
    /// Latencies of those done; coarse.
    pub latency: Sparse,
}

impl Figures {
    /// Requests that ended.
    pub fn ended(&self) -> u64 {
        self.done.saturating_add(self.failed)
    }

    /// Adds those of another node.
    pub(crate) fn add(&mut self, other: &Figures) {
        self.done = self.done.saturating_add(other.done);
        self.failed = self.failed.saturating_add(other.failed);
        self.done_sum_ns = self.done_sum_ns.saturating_add(other.done_sum_ns);
        self.latency.merge(&other.latency);
    }

    /// The requests counted since `before`, an earlier copy of the same counts.
    pub(crate) fn since(&self, before: &Figures) -> Figures {
        Figures {
            done: self.done.saturating_sub(before.done),
            failed: self.failed.saturating_sub(before.failed),
            done_sum_ns: self.done_sum_ns.saturating_sub(before.done_sum_ns),
            latency: self.latency.clone().without(&before.latency),
        }
    }

    /// Share of failed requests; `None`: none ended.
    pub fn errors(&self) -> Option<f64> {
        (self.ended() > 0).then(|| self.failed as f64 / self.ended() as f64)
    }

    /// The latency below which this share of the answered requests lies, in seconds.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let [found] = self.latency.quantiles(Scale::Coarse, [q]);
        found.map(|span| span.secs())
    }

    /// The mean latency of those answered, in seconds.
    pub fn mean(&self) -> Option<f64> {
        (self.done > 0).then(|| Span::from_nanos(self.done_sum_ns / self.done).secs())
    }

    /// Of those that ended, the share answered within this time.
    pub fn within(&self, bound: Span) -> Option<f64> {
        (self.ended() > 0).then(|| self.latency.at_most(Scale::Coarse, bound) as f64 / self.ended() as f64)
    }

    fn is_sound(&self) -> bool {
        self.latency.is_of(Scale::Coarse)
    }
}

/// The counts of a service on a node, while it is asked for them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct VersionCounts {
    since: u64,
    versions: BTreeMap<u32, Figures>,
}

impl VersionCounts {
    /// Counts from this round on.
    pub(crate) fn from_round(since: u64) -> Self {
        VersionCounts { since, versions: BTreeMap::new() }
    }

    fn of(&mut self, version: Option<u32>) -> Option<&mut Figures> {
        let version = version?;
        let is_full = self.versions.len() >= VERSIONS_MAX && !self.versions.contains_key(&version);
        (!is_full).then(|| self.versions.entry(version).or_default())
    }

    /// A request was answered well.
    pub(crate) fn answered(&mut self, version: Option<u32>, took: Span) {
        if let Some(figures) = self.of(version) {
            figures.done += 1;
            figures.done_sum_ns = figures.done_sum_ns.saturating_add(took.nanos());
            figures.latency.record(Scale::Coarse.bucket(took));
        }
    }

    /// A request failed.
    pub(crate) fn failed(&mut self, version: Option<u32>) {
        if let Some(figures) = self.of(version) {
            figures.failed += 1;
        }
    }

    /// The counts as a message.
    pub(crate) fn told(&mut self, service: ServiceId, round: u64, incarnation: u32) -> ServiceFigures {
        let versions = self.versions.iter_mut().map(|(version, figures)| {
            figures.latency.settle();
            (*version, figures.clone())
        });
        ServiceFigures { service, round, incarnation, since: self.since, versions: versions.collect() }
    }
}
