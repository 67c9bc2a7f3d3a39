//! What must hold, held against what was measured.

use meshsim_actor::{Span, Time};
use meshsim_experiment::{Comparison, Experiment, Metric, Scope, Slo};
use meshsim_mesh::measure::{Histogram, Served, Tally, Window};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::figures::{has_enough, samples_needed};
use crate::show;
use crate::summary::{Measured, measured_time, per_second};

/// How an [`Slo`] came out.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Verdict {
    /// As it is written in the file.
    pub slo: String,
    /// How it came out.
    pub outcome: Outcome,
    /// The figure, in the unit of `threshold`: seconds, a share, a count, or a count per second. `null` if it cannot be
    /// told.
    pub figure: Option<f64>,
    /// What it was compared with.
    pub threshold: f64,
    /// The figure with its unit, for people.
    pub figure_text: String,
    /// What else there is to say: how few samples stand behind the figure, or why there is none.
    pub remark: Option<String>,
}

/// Well or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    #[default]
    Pass,
    /// It does not hold, or cannot be told.
    Fail,
}

impl Verdict {
    pub(crate) fn new(slo: &Slo, experiment: &Experiment, measured: &Measured) -> Self {
        let found = match (slo.scope, slo.window) {
            (Scope::Service(service), None) => of_service(slo.metric, &measured.served[service.index()], measured.now),
            // A file cannot ask for it.
            (Scope::Service(_), Some(_)) => Err("a service's figures are not kept over time"),
            (scope, None) => of_requests(slo.metric, scope, experiment, measured),
            (scope, Some(window)) => of_window(slo.metric, scope, window, experiment, measured),
        };
        let (outcome, figure, remark) = match found {
            Ok(found) => {
                let holds = slo.comparison.holds(found.figure, slo.threshold);
                (if holds { Outcome::Pass } else { Outcome::Fail }, Some(found.figure), found.remark)
            }
            Err(why) => (Outcome::Fail, None, Some(why.to_string())),
        };
        let figure_text = figure.map_or_else(|| "-".into(), |figure| text(slo, figure));
        Verdict { slo: slo.text.clone(), outcome, figure, threshold: slo.threshold, figure_text, remark }
    }
}

/// The figure with its unit; so long that it does not look equal to a threshold that it misses.
fn text(slo: &Slo, figure: f64) -> String {
    let text = match slo.metric {
        Metric::Quantile(_) | Metric::Max | Metric::Mean => Span::from_secs_f64(figure).to_string(),
        Metric::Errors => show::percent(figure),
        // Written as a share in the file.
        Metric::DoneOfOffered => format!("{figure:.4}"),
        Metric::Failed => show::count(figure as u64),
        Metric::Rate => show::rate(figure),
    };
    let strict = matches!(slo.comparison, Comparison::Less | Comparison::More);
    let near = (figure - slo.threshold).abs() < slo.threshold.abs() * 0.005;
    if near
        && strict
        && figure != slo.threshold
        && matches!(slo.metric, Metric::Quantile(_) | Metric::Max | Metric::Mean)
    {
        return format!("{}ns", show::count(Span::from_secs_f64(figure).nanos()));
    }
    text
}

struct Found {
    figure: f64,
    remark: Option<String>,
}

type Finding = Result<Found, &'static str>;

fn plain(figure: f64) -> Finding {
    Ok(Found { figure, remark: None })
}

fn errors(done: u64, failed: u64) -> f64 {
    if failed == 0 { 0.0 } else { failed as f64 / done.saturating_add(failed) as f64 }
}

fn done_of_offered(done: u64, offered: u64) -> f64 {
    if offered == 0 { 1.0 } else { done as f64 / offered as f64 }
}

/// A figure of a histogram, if the metric is one.
fn of_latency(metric: Metric, latency: &Histogram) -> Option<Finding> {
    let figure = match metric {
        Metric::Quantile(q) => latency.quantile(q),
        Metric::Max => latency.max(),
        Metric::Mean => latency.mean(),
        Metric::Errors | Metric::DoneOfOffered | Metric::Failed | Metric::Rate => return None,
    };
    let count = latency.count();
    if count == 0 {
        return Some(Err("nothing was answered"));
    }
    let remark = match metric {
        Metric::Quantile(q) if !has_enough(count, q) => Some(format!(
            "only {} answers: this percentile takes {}",
            show::count(count),
            show::count(samples_needed(q))
        )),
        _ => None,
    };
    Some(Ok(Found { figure: figure.secs(), remark }))
}

fn of_service(metric: Metric, served: &Served, now: Time) -> Finding {
    if let Some(found) = of_latency(metric, &served.latency) {
        return found;
    }
    let failed = served.failed.total().saturating_add(served.expired);
    plain(match metric {
        Metric::Errors => errors(served.done, failed),
        Metric::DoneOfOffered => done_of_offered(served.done, served.arrived),
        Metric::Failed => failed as f64,
        _ => per_second(served.done, now.since(Time::ZERO)),
    })
}

fn of_requests(metric: Metric, scope: Scope, experiment: &Experiment, measured: &Measured) -> Finding {
    let tally = match scope {
        Scope::Target(load, target) => measured.tallies[load][target].clone(),
        Scope::Load(load) => measured.all(Some(load)),
        Scope::All | Scope::Service(_) => measured.all(None),
    };
    if let Some(found) = of_latency(metric, &tally.latency) {
        return found;
    }
    plain(match metric {
        Metric::Errors => errors(tally.done, tally.failed.total()),
        Metric::DoneOfOffered => done_of_offered(tally.done, tally.offered),
        Metric::Failed => tally.failed.total() as f64,
        _ => {
            let times = loads(scope, experiment).map(|load| measured_time(&experiment.mesh.loads[load], measured.now));
            let (from, to) = times.fold((Time::NEVER, Time::ZERO), |(a, b), (from, to)| (a.min(from), b.max(to)));
            per_second(tally.done, to.since(from))
        }
    })
}

/// The loads that a scope takes in.
fn loads(scope: Scope, experiment: &Experiment) -> std::ops::Range<usize> {
    match scope {
        Scope::Load(load) | Scope::Target(load, _) => load..load + 1,
        Scope::All | Scope::Service(_) => 0..experiment.mesh.loads.len(),
    }
}

/// Windows count where they begin within the stretch of time.
fn of_window(
    metric: Metric,
    scope: Scope,
    (from, to): (Time, Time),
    experiment: &Experiment,
    measured: &Measured,
) -> Finding {
    let mut sum = Window::default();
    for load in loads(scope, experiment) {
        let spec = &experiment.mesh.loads[load];
        let tallies: &[Tally] = match scope {
            Scope::Target(_, target) => std::slice::from_ref(&measured.tallies[load][target]),
            _ => &measured.tallies[load],
        };
        for (index, window) in tallies.iter().flat_map(|tally| tally.windows.iter().enumerate()) {
            let begins = spec.start + spec.window * index as u64;
            if from <= begins && begins < to {
                sum.merge(window);
            }
        }
    }
    let answered = |nanos: Option<u64>| match nanos {
        Some(nanos) => plain(Span::from_nanos(nanos).secs()),
        None => Err("nothing was answered"),
    };
    match metric {
        Metric::Max => answered((sum.done > 0).then_some(sum.latency_max_ns)),
        Metric::Mean => answered(sum.latency_sum_ns.checked_div(sum.done)),
        // A file cannot ask for it.
        Metric::Quantile(_) => Err("percentiles are not kept over time"),
        Metric::Errors => plain(errors(sum.done, sum.failed)),
        Metric::DoneOfOffered => plain(done_of_offered(sum.done, sum.offered)),
        Metric::Failed => plain(sum.failed as f64),
        Metric::Rate => plain(per_second(sum.done, to.min(measured.now).since(from))),
    }
}
