//! Evaluation of SLOs against the measurements.
//!
//! A verdict covers all requests of an SLO, and some of them may not have been measured. So it is derived from the
//! range of possible figures, whatever the missing requests were: FAIL if no figure of the range holds, PASS if all do,
//! else UNKNOWN.

mod recovery;
mod stretches;
mod windows;

use meshsim_actor::{Span, Time};
use meshsim_experiment::{Comparison, Experiment, Metric, Scope, Slo};
use meshsim_mesh::criterion::{self, Count, Criterion};
use meshsim_mesh::measure::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::figures::{has_enough, samples_needed};
use crate::show;
use crate::summary::{Measured, per_second, planned_time};
use crate::table::{Style, TableCell};

/// Verdict of an [`Slo`].
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Verdict {
    /// As it is written in the file.
    pub slo: String,
    /// Its outcome.
    pub outcome: Outcome,
    /// The measured figure, in the unit of `threshold`: seconds, a fraction, a count, or a count per second. `null` if
    /// there is none. It lies on the side of the threshold that was counted, request by request.
    pub figure: Option<f64>,
    /// The threshold.
    pub threshold: f64,
    /// The figure with its unit, for people.
    pub figure_text: String,
    /// Further remarks: few samples, missing measurements, or the reason why there is no figure.
    pub remark: Option<String>,
}

/// Outcome of an SLO, or the worst of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds, and no missing measurement could change that.
    #[default]
    Pass,
    /// Undecided: nothing was measured, or missing measurements could decide it.
    Unknown,
    /// It does not hold, whatever the missing measurements.
    Fail,
}

impl Outcome {
    /// Its cell in a table.
    pub fn cell(self) -> TableCell {
        match self {
            Outcome::Pass => TableCell::new("PASS", Style::Good),
            Outcome::Unknown => TableCell::new("UNKNOWN", Style::Warn),
            Outcome::Fail => TableCell::new("FAIL", Style::Bad),
        }
    }
}

/// A figure, and between which others the true one lies.
struct Found {
    figure: f64,
    least: f64,
    most: f64,
    remark: Option<String>,
}

type Finding = Result<Found, &'static str>;

/// The least positive share: of some among we know not how many.
const SOME: f64 = f64::MIN_POSITIVE;
/// The greatest share that is not all.
const NOT_ALL: f64 = 1.0 - f64::EPSILON;

impl Verdict {
    pub(crate) fn new(index: usize, slo: &Slo, experiment: &Experiment, measured: &Measured) -> Self {
        let (outcome, found) = match slo.metric {
            Metric::Recovery => judged(slo, recovery::found(slo, experiment, measured)),
            _ if slo.any.is_some() => stretches::found(index, slo, experiment, measured),
            _ => judged(slo, of_requests(index, slo, experiment, measured)),
        };
        Verdict::of(slo, outcome, found)
    }

    /// Of a run in progress, by the windows of its time series: parts of it count by whole windows, and a request
    /// without an answer may still get one.
    pub(crate) fn so_far(slo: &Slo, experiment: &Experiment, measured: &Measured) -> Self {
        let (outcome, found) = match slo.metric {
            Metric::Recovery => judged(slo, recovery::found(slo, experiment, measured)),
            _ if slo.any.is_some() => stretches::so_far(slo, experiment, measured),
            _ => judged(slo, windows::so_far(slo, experiment, measured)),
        };
        Verdict::of(slo, outcome, found)
    }

    fn of(slo: &Slo, outcome: Outcome, found: Finding) -> Self {
        let (figure, remark) = match found {
            Ok(found) => (Some(found.figure), found.remark),
            Err(why) => (None, Some(why.to_string())),
        };
        let figure_text = figure.map_or_else(|| "-".into(), |figure| text(slo.metric, figure, slo.threshold));
        Verdict { slo: slo.text.clone(), outcome, figure, threshold: slo.threshold, figure_text, remark }
    }
}

/// Outcome of an SLO by its range of figures.
fn judged(slo: &Slo, found: Finding) -> (Outcome, Finding) {
    let holds = |figure| slo.comparison.holds(figure, slo.threshold);
    let outcome = match found.as_ref().map(|found| (holds(found.least), holds(found.most))) {
        Ok((true, true)) => Outcome::Pass,
        Ok((false, false)) => Outcome::Fail,
        _ => Outcome::Unknown,
    };
    (outcome, found)
}

/// The figure with its unit; so long that it does not look equal to a threshold that it is not.
fn text(metric: Metric, figure: f64, threshold: f64) -> String {
    let is_time = matches!(metric, Metric::Quantile(_) | Metric::Max | Metric::Mean | Metric::Recovery);
    let short = |figure: f64| match metric {
        _ if is_time => Span::from_secs_f64(figure).to_string(),
        Metric::Errors | Metric::Unfinished | Metric::Within(_) => show::percent(figure),
        // Written as a share in the file.
        Metric::DoneOfOffered => format!("{figure:.4}"),
        Metric::Failed => show::count(figure as u64),
        Metric::Rate => show::rate(figure),
        _ => format!("{figure}"),
    };
    let text = short(figure);
    match metric {
        _ if figure == threshold || text != short(threshold) => text,
        _ if is_time => show::exact_span(Span::from_secs_f64(figure)),
        Metric::Errors | Metric::Unfinished | Metric::Within(_) => format!("{}%", figure * 100.0),
        Metric::Rate => format!("{figure}/s"),
        _ => format!("{figure}"),
    }
}

fn remark_on(metric: Metric, count: u64) -> Option<String> {
    match metric {
        Metric::Quantile(q) if !has_enough(count, q) => Some(format!(
            "only {} answers: this percentile takes {}",
            show::count(count),
            show::count(samples_needed(q))
        )),
        _ => None,
    }
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// A share of which `maybe` more may belong to the part, and with a gap unknown many to the part or to the rest.
fn share_of(part: u64, of: u64, maybe: u64, gap: bool) -> Finding {
    if of.saturating_add(maybe) == 0 {
        return Err("nothing was measured");
    }
    let all = of.saturating_add(maybe);
    let (figure, mut least, mut most) = (share(part, of), share(part, all), share(part.saturating_add(maybe), all));
    if gap {
        least = if part > 0 { SOME } else { 0.0 };
        most = if part < of { NOT_ALL } else { 1.0 };
    }
    Ok(Found { figure, least, most, remark: None })
}

/// A figure that missing measurements can only increase.
fn at_least(figure: f64, maybe: f64, gap: bool) -> Finding {
    Ok(Found { figure, least: figure, most: if gap { f64::INFINITY } else { figure + maybe }, remark: None })
}

/// A figure that missing measurements can move in any direction.
fn anywhere(figure: f64, gap: bool, remark: Option<String>) -> Finding {
    let (least, most) = if gap { (0.0, f64::INFINITY) } else { (figure, figure) };
    Ok(Found { figure, least, most, remark })
}

/// Figure of requests that were counted one by one.
fn of_requests(index: usize, slo: &Slo, experiment: &Experiment, measured: &Measured) -> Finding {
    let mut count = Count::default();
    counts_of(index, experiment, measured).for_each(|(_, counted)| counted.iter().for_each(|it| count.merge(it)));
    let (from, to) = slo.window.unwrap_or((Time::ZERO, Time::NEVER));
    let part =
        Part { gap: has_gap(index, slo, experiment, measured), time: time_of(slo, from, to, experiment, measured) };
    let all;
    let histograms = match slo.scope {
        _ if slo.window.is_some() => (&count.latency, &count.pending),
        Scope::Service(service) => (&measured.served[service.index()].latency, &count.pending),
        _ => {
            all = measured.of(slo.scope);
            (&all.latency, &all.pending)
        }
    };
    figure(slo, &count, &part, histograms)
}

/// Counts of clients or nodes for an SLO.
fn counts_of<'a>(
    index: usize,
    experiment: &'a Experiment,
    measured: &'a Measured,
) -> impl Iterator<Item = (&'a Criterion, &'a Vec<Count>)> {
    let all = experiment.mesh.criteria.iter().zip(&measured.counts);
    all.filter(move |(criterion, _)| criterion.slo as usize == index)
}

/// Facts about a part of a run beside its counts.
struct Part {
    /// Not all of it was measured.
    gap: bool,
    /// Time in which loads were measured in it.
    time: Span,
}

/// The figure of the counts; the latencies, and the ages of requests in flight, give the displayed value of a
/// percentile.
fn figure(slo: &Slo, count: &Count, part: &Part, histograms: (&Histogram, &Histogram)) -> Finding {
    let Part { gap, time } = *part;
    let overdue = count.overdue;
    let mut found = match slo.metric {
        Metric::Errors => share_of(count.failed, count.done.saturating_add(count.failed), overdue, gap),
        // An unfinished request younger than the bound carries no information; an older one misses it.
        Metric::Within(_) => {
            let ended = count.done.saturating_add(count.failed).saturating_add(count.outlived);
            share_of(count.within, ended, 0, gap)
        }
        Metric::DoneOfOffered => share_of(count.done, count.offered, 0, gap),
        Metric::Unfinished => share_of(count.unfinished(), count.offered, 0, gap),
        Metric::Failed if count.offered == 0 && !gap => Err("nothing was measured"),
        Metric::Failed => at_least(count.failed as f64, overdue as f64, gap),
        Metric::Rate if time.is_zero() => Err("nothing was measured"),
        Metric::Rate => at_least(per_second(count.done, time), 0.0, gap),
        Metric::Max if count.done + count.outlived == 0 => Err("nothing was answered"),
        Metric::Max => at_least(nanos(count.done_max_ns.max(count.pending_max_ns)), 0.0, gap),
        Metric::Mean => {
            // An unfinished request younger than the bound carries no information; an older one misses it.
            let sum = count.done_sum_ns.saturating_add(count.outlived_sum_ns);
            match sum.checked_div(u128::from(count.done.saturating_add(count.outlived))) {
                Some(mean) => anywhere(nanos(mean as u64), gap, None),
                None => Err("nothing was answered"),
            }
        }
        Metric::Quantile(q) => quantile(q, slo, count, gap, histograms),
        Metric::Recovery => Err("nothing was measured"),
    };
    if let Ok(found) = &mut found {
        let what = |n: u64, what: &str| format!("{} {what}", show::count(n));
        let mut missing = Vec::new();
        if gap {
            missing.push("not all of it was measured".to_owned());
        }
        match slo.metric {
            Metric::Quantile(_) | Metric::Max | Metric::Mean | Metric::Within(_) if count.outlived > 0 => {
                missing.push(what(count.outlived, "unanswered for longer than that"));
            }
            Metric::Errors | Metric::Failed if overdue > 0 => missing.push(what(overdue, "unanswered")),
            _ => {}
        }
        missing.extend(found.remark.take());
        found.remark = (!missing.is_empty()).then(|| missing.join("; "));
    }
    found
}

fn nanos(nanos: u64) -> f64 {
    Span::from_nanos(nanos).secs()
}

/// The verdict comes from the requests within the bound, which were counted; the histogram gives the figure that is
/// shown, on the side of the bound where the counts put it.
fn quantile(q: f64, slo: &Slo, count: &Count, gap: bool, (latency, pending): (&Histogram, &Histogram)) -> Finding {
    let decided = count.done.saturating_add(count.outlived);
    if decided == 0 {
        return Err("nothing was answered");
    }
    let is_within = is_within(q, count);
    let shown = latency.quantile_with(pending, q).map_or(count.pending_max_ns.max(count.done_max_ns), Span::nanos);
    let bound = Span::from_secs_f64(slo.threshold).nanos();
    let inclusive = matches!(slo.comparison, Comparison::AtMost | Comparison::More);
    let shown = match (is_within, inclusive) {
        (true, true) => shown.min(bound),
        (true, false) => shown.min(bound.saturating_sub(1)),
        (false, true) => shown.max(bound.saturating_add(1)),
        (false, false) => shown.max(bound),
    };
    // The very threshold where it is met: its nanoseconds may be no float.
    let figure = if shown == bound { slo.threshold } else { nanos(shown) };
    anywhere(figure, gap, remark_on(slo.metric, decided))
}

/// True if so large a share of those whose latency is decided is within the bound.
fn is_within(q: f64, count: &Count) -> bool {
    // A share of at most three decimals, as whole thousandths: no float decides.
    let thousandths = u128::from((q * 1000.0).round() as u64);
    let decided = count.done.saturating_add(count.outlived);
    u128::from(count.within) * 1000 >= thousandths * u128::from(decided)
}

/// True if requests that the SLO covers were not measured.
fn has_gap(index: usize, slo: &Slo, experiment: &Experiment, measured: &Measured) -> bool {
    let mesh = &experiment.mesh;
    // A run that was ended early has its figures of the time that it reached; a part that it did not reach has none.
    let is_unreached = |to: Time| slo.window.is_some() && measured.now < to.min(Time::ZERO + experiment.duration);
    let of_slo = || mesh.criteria.iter().filter(|criterion| criterion.slo as usize == index);
    of_slo().any(|criterion| {
        let to = match criterion.scope {
            criterion::Scope::Load { load, .. } => criterion.to.min(mesh.loads[load as usize].end),
            criterion::Scope::Service(_) => criterion.to,
        };
        let mut gaps = measured.gaps.iter().filter(|gap| criterion.scope.is_counted_by(gap.actor, mesh));
        is_unreached(to) || gaps.any(|gap| gap.from < to && criterion.from < gap.to)
    })
}

/// Time in which the loads, or a service, were measured within a part of the run: of several loads, from the first to
/// the last.
fn time_of(slo: &Slo, first: Time, last: Time, experiment: &Experiment, measured: &Measured) -> Span {
    if let Scope::Service(_) = slo.scope {
        return last.min(measured.now).since(first.max(experiment.mesh.measured_from()));
    }
    let times = slo.scope.loads(&experiment.mesh).map(|load| {
        let (from, to) = planned_time(&experiment.mesh.loads[load], measured.now);
        (from.max(first), to.min(last))
    });
    let times = times.filter(|(from, to)| from < to);
    let (from, to) = times.fold((Time::NEVER, Time::ZERO), |(a, b), (from, to)| (a.min(from), b.max(to)));
    if from < to { to.since(from) } else { Span::ZERO }
}
