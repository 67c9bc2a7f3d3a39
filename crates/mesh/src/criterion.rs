//! Criteria: conditions of SLOs on a load or a service, counted request by request by the load's client, or by the
//! nodes of the service.
//!
//! A histogram answers "how many took at most 5 ms?" to three digits, and a window to the length of a window. An SLO
//! needs the exact number, so who counts knows its bound and its span of time before the run.

use meshsim_actor::{ActorId, Span, Time};
use serde::{Deserialize, Serialize};

use crate::measure::Histogram;
use crate::model::{Mesh, ServiceId};
use crate::sparse::{Scale, Sparse};

/// Condition of one SLO on one load or service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Criterion {
    /// Index of the SLO in the experiment.
    pub slo: u32,
    /// The requests that it counts.
    pub scope: Scope,
    /// First time that counts: a request of a load has the time for which it was planned, one at a service that of its
    /// arrival.
    pub from: Time,
    /// First time that no longer counts.
    pub to: Time,
    /// Bound of the latency; `None` where the SLO has no such bound.
    pub bound: Option<Bound>,
    /// A histogram is kept, for the figure that is printed: of percentiles over a part of the run.
    pub keeps_histogram: bool,
    /// It is counted piece by piece, for an SLO over every stretch of some length; `None`: as a whole.
    pub pieces: Option<Pieces>,
}

/// Requests that a [`Criterion`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Those of a load.
    Load {
        /// Index into [`Mesh::loads`](crate::Mesh::loads).
        load: u32,
        /// Index into the load's mix; `None`: all its targets.
        target: Option<u32>,
    },
    /// Those that arrive at a service.
    Service(ServiceId),
}

impl Scope {
    /// True if they are those of this load.
    pub fn is_load(self, index: usize) -> bool {
        matches!(self, Scope::Load { load, .. } if load as usize == index)
    }

    /// True if this actor counts some of them: the client of the load; any node may host the service.
    pub fn is_counted_by(self, actor: ActorId, mesh: &Mesh) -> bool {
        match self {
            Scope::Load { load, .. } => mesh.load_index(actor) == Some(load as usize),
            Scope::Service(_) => mesh.node_index(actor).is_some(),
        }
    }

    /// True if they are those of this service.
    pub fn is_service(self, service: ServiceId) -> bool {
        self == Scope::Service(service)
    }
}

/// Pieces of the run, one after the other, in which a [`Criterion`] is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// When the first begins.
    pub origin: Time,
    /// Length of each.
    pub length: Span,
    /// Number of pieces, at least one; requests planned after the last count in the last.
    pub count: u32,
}

impl Pieces {
    /// When a piece begins.
    pub fn begin(&self, piece: usize) -> Time {
        self.origin + self.length * piece as u64
    }
}

impl Criterion {
    /// Number of counts.
    pub fn places(&self) -> usize {
        self.pieces.map_or(1, |pieces| pieces.count.max(1) as usize)
    }

    /// In which of them a request counts that was planned at `at`.
    pub fn place(&self, at: Time) -> usize {
        let of = |pieces: Pieces| at.since(pieces.origin).nanos() / pieces.length.nanos().max(1);
        self.pieces.map_or(0, |pieces| of(pieces).min(u64::from(pieces.count.max(1) - 1)) as usize)
    }

    /// True if a request of this load, planned at `at`, counts.
    pub fn covers(&self, target: u32, at: Time) -> bool {
        let wanted = match self.scope {
            Scope::Load { target, .. } => target,
            Scope::Service(_) => None,
        };
        wanted.is_none_or(|wanted| wanted == target) && self.is_within(at)
    }

    /// True if this time counts.
    pub fn is_within(&self, at: Time) -> bool {
        self.from <= at && at < self.to
    }
}

/// Comparison of a figure with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `<`
    #[serde(rename = "<")]
    Less,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
    /// `>`
    #[serde(rename = ">")]
    More,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
}

impl Comparison {
    /// True if the figure stands to the threshold as it must. A NaN never does.
    pub fn holds(self, figure: f64, threshold: f64) -> bool {
        match self {
            Comparison::Less => figure < threshold,
            Comparison::AtMost => figure <= threshold,
            Comparison::More => figure > threshold,
            Comparison::AtLeast => figure >= threshold,
        }
    }
}

/// A bound of a latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The bound.
    pub than: Span,
    /// A latency equal to it is within it.
    pub inclusive: bool,
}

impl Bound {
    /// True if a request of this latency, or of this age and unanswered, has not passed the bound.
    pub fn holds(self, latency: Span) -> bool {
        latency < self.than || (self.inclusive && latency == self.than)
    }
}

/// Counts of a client, or of a node, for a [`Criterion`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Count {
    /// Requests planned, or arrived.
    pub offered: u64,
    /// Of these, answered.
    pub done: u64,
    /// Of these, failed; at a service also those that were dropped because their callers had given up.
    pub failed: u64,
    /// Of those answered, within the bound.
    pub within: u64,
    /// Sum of the latencies of those answered, in nanoseconds.
    pub done_sum_ns: u128,
    /// The longest of them, in nanoseconds.
    pub done_max_ns: u64,
    /// Requests in flight at the end that are older than the bound: they miss it in any case.
    pub outlived: u64,
    /// Sum of their ages, in nanoseconds.
    pub outlived_sum_ns: u128,
    /// Age of the oldest request in flight, in nanoseconds.
    pub pending_max_ns: u64,
    /// Requests in flight that are older than the latency of every reply: it is unknown whether they would be answered
    /// at all. The ages of the others carry no information, since every request once had them.
    pub overdue: u64,
    /// Latencies of those answered, if kept; coarse.
    pub latency: Histogram,
    /// Ages of those in flight, if kept; coarse.
    pub pending: Histogram,
    /// Of a piece, the latencies of those answered, if kept: there may be many pieces.
    sparse: Sparse,
}

impl Default for Count {
    fn default() -> Self {
        Count {
            offered: 0,
            done: 0,
            failed: 0,
            within: 0,
            done_sum_ns: 0,
            done_max_ns: 0,
            outlived: 0,
            outlived_sum_ns: 0,
            pending_max_ns: 0,
            overdue: 0,
            latency: Histogram::coarse(),
            pending: Histogram::coarse(),
            sparse: Sparse::default(),
        }
    }
}

impl Count {
    /// Counts a reply.
    pub(crate) fn answered(&mut self, criterion: &Criterion, latency: Span) {
        self.done += 1;
        self.within += u64::from(criterion.bound.is_none_or(|bound| bound.holds(latency)));
        self.done_sum_ns = self.done_sum_ns.saturating_add(u128::from(latency.nanos()));
        self.done_max_ns = self.done_max_ns.max(latency.nanos());
        match criterion.keeps_histogram {
            true if criterion.pieces.is_some() => self.sparse.record(Scale::Coarse.bucket(latency)),
            true => self.latency.record(latency),
            false => {}
        }
    }

    /// Counts a request that is still in flight when the run ends; `longest`: latency of all replies, in any piece.
    pub(crate) fn unanswered(&mut self, criterion: &Criterion, age: Span, longest: Option<u64>) {
        if criterion.bound.is_some_and(|bound| !bound.holds(age)) {
            self.outlived += 1;
            self.outlived_sum_ns = self.outlived_sum_ns.saturating_add(u128::from(age.nanos()));
        }
        self.overdue += u64::from(longest.is_none_or(|longest| age.nanos() > longest));
        self.pending_max_ns = self.pending_max_ns.max(age.nanos());
        if criterion.keeps_histogram {
            self.pending.record(age);
        }
    }

    /// Adds what another client counted for the same SLO.
    pub fn merge(&mut self, other: &Count) {
        // The counts of another process may have any value.
        for (mine, theirs) in [
            (&mut self.offered, other.offered),
            (&mut self.done, other.done),
            (&mut self.failed, other.failed),
            (&mut self.within, other.within),
            (&mut self.outlived, other.outlived),
            (&mut self.overdue, other.overdue),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        self.done_sum_ns = self.done_sum_ns.saturating_add(other.done_sum_ns);
        self.outlived_sum_ns = self.outlived_sum_ns.saturating_add(other.outlived_sum_ns);
        self.done_max_ns = self.done_max_ns.max(other.done_max_ns);
        self.pending_max_ns = self.pending_max_ns.max(other.pending_max_ns);
        self.latency.merge(&other.latency);
        self.pending.merge(&other.pending);
        if other.sparse.is_of(Scale::Coarse) {
            self.sparse.merge(&other.sparse);
        }
    }

    /// Several pieces as one; its histogram can be read.
    pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a Count>) -> Count {
        let mut all = Count::default();
        pieces.into_iter().for_each(|piece| all.merge(piece));
        let sum_ns = u64::try_from(all.done_sum_ns).unwrap_or(u64::MAX);
        all.latency.take(Scale::Coarse, &all.sparse, sum_ns, Span::from_nanos(all.done_max_ns));
        all
    }

    /// The longest of all answers, in nanoseconds; `None` if there was none.
    pub(crate) fn longest<'a>(counts: impl IntoIterator<Item = &'a Count>) -> Option<u64> {
        counts.into_iter().filter(|count| count.done > 0).map(|count| count.done_max_ns).max()
    }

    /// Requests that have neither been answered nor failed.
    pub fn unfinished(&self) -> u64 {
        self.offered.saturating_sub(self.done.saturating_add(self.failed))
    }
}
