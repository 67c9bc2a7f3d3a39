//! Results of the requests of the loads.

use std::borrow::Cow;
use std::collections::BTreeMap;

use meshsim_actor::{Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::measure::{Failure, Failures, JourneyCounts, Tally};
use meshsim_mesh::model::{Arrivals, Load};
use meshsim_mesh::policy::{PolicyCounts, PolicyEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Measured;
use crate::bins::bins;
use crate::closed::ClosedSummary;
use crate::correlation::Correlation;
use crate::figures::Latency;
use crate::show::{count, endpoint_in_words};

/// Results of the requests of one load.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct LoadSummary {
    /// Its name.
    pub name: String,
    /// Start of its measurement: after its warm-up.
    pub from_s: f64,
    /// End.
    pub to_s: f64,
    /// Requests planned in the warm-up; they count nowhere else.
    pub warmup: u64,
    /// All its requests.
    pub requests: Requests,
    /// The same for each of its targets.
    pub targets: Vec<TargetSummary>,
    /// The users of a closed load, and their omitted requests; `null` for an open one.
    #[serde(default)]
    pub closed: Option<ClosedSummary>,
    /// The journeys of its users, if they make some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journeys: Option<JourneySummary>,
}

/// Journeys of users that began after the warm-up.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct JourneySummary {
    /// Those that began.
    pub begun: u64,
    /// Those that came to their end.
    pub completed: u64,
    /// Those that ended because a request failed.
    pub abandoned: u64,
    /// Those that were under way when the load or the run ended.
    pub unfinished: u64,
    /// Duration of those that were completed, from the beginning of the first request to the last reply.
    pub time: Latency,
}

impl JourneySummary {
    fn new(counts: &JourneyCounts) -> Self {
        let (begun, completed, abandoned) = (counts.begun, counts.time.count(), counts.abandoned);
        let unfinished = begun.saturating_sub(completed.saturating_add(abandoned));
        JourneySummary { begun, completed, abandoned, unfinished, time: Latency::new(&counts.time) }
    }
}

impl LoadSummary {
    /// For a closed load: a note for readers of its figures.
    pub fn closed_in_words(&self) -> Option<String> {
        let per_second = self.requests.offered as f64 / (self.to_s - self.from_s);
        Some(self.closed.as_ref()?.in_words(per_second))
    }
}

/// Results of the requests for one endpoint.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct TargetSummary {
    /// `service.endpoint`.
    pub target: String,
    /// The step of the journey that asks for it, where users make journeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Results of its requests.
    pub requests: Requests,
}

/// Results of a set of requests.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Requests {
    /// Planned.
    pub offered: u64,
    /// Answered.
    pub done: u64,
    /// Of these, answered although an optional call failed, at any depth.
    #[serde(default)]
    pub degraded: u64,
    /// Failed, for any reason.
    pub failed: u64,
    /// Failed, by reason.
    pub failures: FailureCounts,
    /// Still in flight when the run ended.
    pub unfinished: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Failed without the retry that their policy has, because the retry budget allowed no more then.
    #[serde(default)]
    pub over_budget: u64,
    /// The acts of the policies of these requests, by kind: overflows, ejections, hedges.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Cow<'static, str>, u64>,
    /// Answered per second of the time measured.
    pub done_per_s: f64,
    /// Latency from the planned time.
    pub latency: Latency,
    /// The same from the actual send: smaller where the generator was late (coordinated omission).
    pub uncorrected: Latency,
    /// Delay of the send after the planned time, of those sent. `null` in summaries written before this was measured.
    #[serde(default)]
    pub lag: Option<Latency>,
    /// The latencies in bins, twenty to a decade: of each bin that is not empty its number and how many are in it. Bin
    /// n begins with 10^(n/20) nanoseconds. Empty in what was written before there were bins.
    #[serde(default)]
    pub latency_bins: Vec<(u32, u64)>,
    /// Correlation of the latencies of consecutive requests; `null` if there are too few.
    #[serde(default)]
    pub correlation: Option<Correlation>,
}

/// Failures by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct FailureCounts {
    /// The instance's queue was full, or the instance was gone.
    pub refused: u64,
    /// The service failed, or something that it called.
    pub error: u64,
    /// No reply came in time.
    pub timeout: u64,
    /// The node of the instance went down.
    pub lost: u64,
    /// There was no instance to call.
    pub no_instance: u64,
    /// The instance was to go, and its grace was over before the request was done.
    #[serde(default)]
    pub cut: u64,
}

impl FailureCounts {
    /// The reasons that occurred, the most frequent first.
    pub fn most_frequent(&self) -> Vec<(&'static str, u64)> {
        let mut all = vec![
            ("refused", self.refused),
            ("error", self.error),
            ("timeout", self.timeout),
            ("lost", self.lost),
            ("no instance", self.no_instance),
            ("cut", self.cut),
        ];
        all.retain(|(_, count)| *count > 0);
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }

    /// The same as text: `12 timeout, 3 error`.
    pub(crate) fn in_words(&self) -> String {
        let reasons: Vec<String> = self.most_frequent().iter().map(|(why, n)| format!("{} {why}", count(*n))).collect();
        reasons.join(", ")
    }
}

/// Span in which a load was measured, up to the end of the run.
fn measured_time(load: &Load, now: Time) -> (Time, Time) {
    let end = load.end.min(now);
    ((load.start + load.warmup).min(end), end)
}

/// The same, and no longer than its plan: the rate of a load that runs for a part of the time is of that part.
pub(crate) fn planned_time(load: &Load, now: Time) -> (Time, Time) {
    let (from, to) = measured_time(load, now);
    let end = match &load.arrivals {
        Arrivals::Rate { stages, .. } => {
            stages.iter().fold(load.start, |end, stage| if end == Time::NEVER { end } else { end + stage.length })
        }
        Arrivals::Stamps(_) | Arrivals::Users(_) => to,
    };
    (from.min(to.min(end)), to.min(end))
}

pub(super) fn loads(experiment: &Experiment, measured: &Measured) -> Vec<LoadSummary> {
    let mesh = &experiment.mesh;
    let loads = mesh.loads.iter().zip(&measured.tallies).enumerate();
    loads
        .map(|(index, (load, tallies))| {
            let (from, to) = planned_time(load, measured.now);
            let all = measured.all(Some(index));
            let target = |(at, (target, tally)): (usize, (&meshsim_mesh::model::Target, &Tally))| TargetSummary {
                target: endpoint_in_words(mesh, target.service, target.endpoint),
                step: load.journey().map(|journey| journey.steps[at].name.clone()),
                requests: requests(tally, to.since(from)),
            };
            LoadSummary {
                name: load.name.clone(),
                from_s: from.secs(),
                to_s: to.secs(),
                warmup: all.warmup,
                requests: requests(&all, to.since(from)),
                targets: load.mix.iter().zip(tallies).enumerate().map(target).collect(),
                closed: ClosedSummary::new(load, &all, to.since(from)),
                journeys: measured.journeys[index].as_ref().map(JourneySummary::new),
            }
        })
        .collect()
}

pub(crate) fn requests(tally: &Tally, measured: Span) -> Requests {
    let failed = tally.failed.total();
    Requests {
        offered: tally.offered,
        done: tally.done,
        degraded: tally.degraded,
        failed,
        failures: failures(&tally.failed),
        unfinished: tally.offered.saturating_sub(tally.done.saturating_add(failed)),
        retries: tally.retries,
        over_budget: tally.over_budget,
        policies: policies(&tally.policies),
        done_per_s: per_second(tally.done, measured),
        latency: Latency::with_pending(&tally.latency, &tally.pending),
        uncorrected: Latency::new(&tally.uncorrected),
        lag: Some(Latency::new(&tally.lag)),
        latency_bins: bins(&tally.latency),
        correlation: Correlation::new(&tally.batches),
    }
}

/// Policy events by kind; those over the retry budget have a figure of their own.
pub(super) fn policies(counts: &PolicyCounts) -> BTreeMap<Cow<'static, str>, u64> {
    let others = counts.occurred().filter(|(event, _)| *event != PolicyEvent::OverBudget);
    others.map(|(event, count)| (Cow::Borrowed(event.as_str()), count)).collect()
}

pub(super) fn failures(counts: &Failures) -> FailureCounts {
    FailureCounts {
        refused: counts.of(Failure::Refused),
        error: counts.of(Failure::Error),
        timeout: counts.of(Failure::Timeout),
        lost: counts.of(Failure::Lost),
        no_instance: counts.of(Failure::NoInstance),
        cut: counts.of(Failure::Cut),
    }
}

pub(crate) fn per_second(count: u64, time: Span) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.secs() }
}
