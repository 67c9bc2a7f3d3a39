//! Data of a page, as JSON.

use std::collections::BTreeMap;

use meshsim_experiment::{Comparison, Experiment, Metric, Scope, Slo};
use meshsim_report::Summary;
use meshsim_report::events::{Event, EventKind};
use meshsim_report::waterfall::totals_text::{RANKS, title};
use serde::Serialize;

use crate::Run;
use crate::course::Course;
use crate::form::{self, Form};
use crate::lanes::{self, Lanes};

/// Maximum number of events of a run in its table.
const EVENTS_MAX: usize = 2_000;

/// All runs of a page.
#[derive(Serialize)]
pub(crate) struct Page<'a> {
    runs: Vec<Shown<'a>>,
}

/// One run.
#[derive(Serialize)]
struct Shown<'a> {
    label: &'a str,
    summary: &'a Summary,
    /// Differences between its experiment and that of the first run.
    differs: &'a [String],
    /// Its time series, if there is one.
    course: Option<Course<'a>>,
    lanes: Lanes,
    /// Closed forms beside the decisions.
    forms: Vec<Form>,
    /// Bounds of latencies: they are lines in the plot.
    bounds: Vec<Bound<'a>>,
    /// Services in their order, each with the number of slots of an instance.
    slots: BTreeMap<&'a str, f64>,
    events: Vec<&'a Event>,
    /// Events that are not among them.
    events_left_out: usize,
    /// The time of its requests by kind, by endpoint.
    time: Vec<TimeSpent>,
    /// Missing parts of the run, in sentences.
    missing: Vec<String>,
}

/// An SLO on a latency of loads: a line in a plot.
#[derive(Debug, Serialize)]
pub struct Bound<'a> {
    slo: &'a str,
    /// Index of the load; `None`: all.
    load: Option<usize>,
    /// And of which of its targets.
    target: Option<usize>,
    ns: f64,
    from_s: Option<f64>,
    to_s: Option<f64>,
}

impl<'a> Page<'a> {
    pub(crate) fn new(runs: &'a [Run]) -> Self {
        let shown = |run: &'a Run| Shown {
            label: &run.label,
            summary: &run.summary,
            differs: &run.differs,
            course: run.series.as_ref().map(Course::new),
            lanes: lanes::of(&run.aftermath()),
            forms: form::forms(run),
            bounds: bounds(&run.experiment),
            slots: run.experiment.mesh.services.iter().map(|it| (it.name.as_str(), it.capacity)).collect(),
            events: events(run).take(EVENTS_MAX).collect(),
            events_left_out: events(run).count().saturating_sub(EVENTS_MAX),
            time: time_spent(run),
            missing: missing(run),
        };
        Page { runs: runs.iter().map(shown).collect() }
    }
}

/// The requests of one load for one endpoint.
#[derive(Serialize)]
pub(crate) struct TimeSpent {
    pub(crate) endpoint: String,
    pub(crate) groups: Vec<TimeGroup>,
}

/// Requests of similar latency: the mean of their critical paths.
#[derive(Serialize)]
pub(crate) struct TimeGroup {
    pub(crate) name: &'static str,
    pub(crate) requests: u64,
    pub(crate) mean_ns: f64,
    /// The longest first: the kind in one word, in words, and nanoseconds.
    pub(crate) parts: Vec<(&'static str, String, f64)>,
}

/// The time of a run's requests by kind.
pub(crate) fn time_spent(run: &Run) -> Vec<TimeSpent> {
    let mesh = &run.experiment.mesh;
    let ends = RANKS.map(|(_, end)| end);
    let spent = |(caller, callee, group): (_, _, &meshsim_report::waterfall::Group)| TimeSpent {
        endpoint: title(caller, callee, mesh),
        groups: (RANKS.iter().zip(group.by_rank(&ends)))
            .filter(|(_, share)| share.requests > 0)
            .map(|((name, _), share)| TimeGroup {
                name,
                requests: share.requests,
                mean_ns: share.mean_ns,
                parts: (share.parts.iter())
                    .map(|(at, kind, ns)| {
                        (kind.word(), kind.phrase(*at, mesh), *ns as f64 / share.requests.max(1) as f64)
                    })
                    .collect(),
            })
            .collect(),
    };
    // Requests that failed at once have no time that could have gone anywhere.
    let groups = run.totals.iter().flat_map(|totals| totals.groups());
    groups.filter(|(.., group)| group.slowest(1.0).mean_ns > 0.0).map(spent).collect()
}

/// The bounds of an experiment.
pub fn bounds<'a>(experiment: &'a Experiment) -> Vec<Bound<'a>> {
    let latencies = experiment.slos.iter().filter(|slo| {
        let is_latency = matches!(slo.metric, Metric::Quantile(_) | Metric::Max | Metric::Mean);
        is_latency && matches!(slo.comparison, Comparison::Less | Comparison::AtMost)
    });
    let of = |slo: &'a Slo| {
        let (load, target) = match slo.scope {
            Scope::All => (None, None),
            Scope::Load(load) => (Some(load), None),
            Scope::Target(load, target) => (Some(load), Some(target)),
            Scope::Service(_) => return None,
        };
        let (from_s, to_s) = slo.window.map_or((None, None), |(from, to)| (Some(from.secs()), Some(to.secs())));
        Some(Bound { slo: &slo.text, load, target, ns: slo.threshold * 1e9, from_s, to_s })
    };
    latencies.filter_map(of).collect()
}

/// The events of a run, without the steps of operations: their table has them.
pub(crate) fn events(run: &Run) -> impl Iterator<Item = &Event> {
    let all = run.events.iter().flatten();
    all.filter(|event| !matches!(event.kind, EventKind::StepDecided | EventKind::StepSettled))
}

/// Data that a reader would expect and not find.
pub(crate) fn missing(run: &Run) -> Vec<String> {
    let mut missing = Vec::new();
    if run.series.is_none() {
        missing.push("The run has no series.csv: it has no time series. Run the experiment again to have one.".into());
    }
    if run.events.is_none() {
        missing.push(
            "The run has no events.jsonl: faults are not marked, and operations as far as summary.json has them."
                .into(),
        );
    }
    missing
}
