//! Effects that closed loads hide. A waiting user sends nothing, so while the mesh is slow, it gets fewer requests, and
//! the percentiles count fewer slow ones (coordinated omission: Gil Tene, "How NOT to Measure Latency").

use meshsim_actor::Span;
use meshsim_mesh::measure::Tally;
use meshsim_mesh::model::Load;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::show::{self, count, plural, rate};
use crate::summary::per_second;

/// The users of a closed load, and the requests omitted during their longest wait.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct ClosedSummary {
    /// Number of users.
    pub users: u32,
    /// Mean think time between two requests, over its distribution; `null` if that has no mean.
    pub think_mean_s: Option<f64>,
    /// Shortest time between the starts of a user's requests, in nanoseconds. With it, latency runs from the planned
    /// start, else from the send.
    pub pacing_ns: Option<u64>,
    /// Longest wait of a user for the end of a request; `null` if there was none.
    pub longest_wait_ns: Option<u64>,
    /// Requests that the load sent during that wait.
    pub sent_meanwhile: u64,
    /// Requests that an open load of the same rate would have sent during it.
    pub open_meanwhile: f64,
}

impl ClosedSummary {
    /// For a load that was measured for this span; `None` for an open one.
    pub(crate) fn new(load: &Load, all: &Tally, measured: Span) -> Option<Self> {
        let users = load.arrivals.users()?;
        let wait = all.longest_wait;
        let think = load.think_secs();
        Some(ClosedSummary {
            users: users.count,
            think_mean_s: think.is_finite().then_some(think),
            pacing_ns: users.pacing.map(|pacing| pacing.nanos()),
            longest_wait_ns: (wait.ns > 0).then_some(wait.ns),
            sent_meanwhile: wait.sent,
            open_meanwhile: per_second(all.offered, measured) * Span::from_nanos(wait.ns).secs(),
        })
    }

    /// In words, without the load's name; `per_second`: the rate at which it sent.
    pub fn in_words(&self, per_second: f64) -> String {
        let from = if self.pacing_ns.is_some() { "when a request was to begin" } else { "sending" };
        let users = plural(self.users.into(), "user");
        let loop_ = format!("{users} in a closed loop; latency runs from {from}, and a user who waits sends nothing.");
        let Some(wait) = self.longest_wait_ns else { return loop_ };
        format!(
            "{loop_} During the longest wait, {}, it sent {}; an open load of the same rate ({}) would have sent {}.",
            show::span(Some(wait)),
            plural(self.sent_meanwhile, "request"),
            rate(per_second),
            count(self.open_meanwhile.round() as u64)
        )
    }
}
