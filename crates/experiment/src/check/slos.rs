//! SLOs that contradict each other, and SLOs that cannot be met.

use meshsim_actor::Span;

use super::{Checked, LoadEstimate, Warnings, loads, plain};
use crate::slo::{Comparison, Metric, Scope, Slo};

/// SLOs that are compared with each other; each with all.
const COMPARED_MAX: usize = 1_000;

pub(super) fn look(checked: &Checked<'_>, estimates: &[LoadEstimate], warnings: &mut Warnings<'_>) {
    let slos = &checked.experiment.slos;
    let slos = &slos[..slos.len().min(COMPARED_MAX)];
    for (index, one) in slos.iter().enumerate() {
        let before = slos[..index].iter().find(|other| contradict(one, other) || contradict(other, one));
        if let Some(other) = before {
            let message = format!("`{}` and `{}` cannot both hold", other.text, one.text);
            warnings.warn("slo", None, message);
        }
        if let Some(why) = impossible(checked, one) {
            warnings.warn("slo", None, format!("`{}` cannot hold: {why}", one.text));
        } else if let Some(expected) = expected_errors(checked, estimates, one) {
            let message = format!("`{}` is not expected to hold: {expected} of the requests fail", one.text);
            warnings.warn("slo", None, message);
        }
    }
}

/// The share of requests that is expected to fail by the error rates of the file, where an SLO allows less.
fn expected_errors(checked: &Checked<'_>, estimates: &[LoadEstimate], slo: &Slo) -> Option<String> {
    let most = match slo.metric {
        Metric::Errors if is_upper(slo) => slo.threshold,
        Metric::DoneOfOffered if !is_upper(slo) => 1.0 - slo.threshold,
        _ => return None,
    };
    let errors = match slo.scope {
        Scope::Load(index) => estimates[index].errors,
        Scope::Target(index, target) => {
            let entry = loads::asked(&checked.experiment.mesh.loads[index], &checked.flow, &checked.entered);
            entry.targets.get(target)?.2.fail
        }
        Scope::All => {
            let rate: f64 = estimates.iter().map(|load| load.rate).sum();
            let failed: f64 = estimates.iter().map(|load| load.rate * load.errors).sum();
            if rate > 0.0 { failed / rate } else { 0.0 }
        }
        Scope::Service(_) => return None,
    };
    // Above the rounding error of an error rate that is just allowed.
    (errors > most + 1e-9).then(|| format!("{}%", plain(errors * 100.0)))
}

fn is_upper(slo: &Slo) -> bool {
    matches!(slo.comparison, Comparison::Less | Comparison::AtMost)
}

fn is_strict(slo: &Slo) -> bool {
    matches!(slo.comparison, Comparison::Less | Comparison::More)
}

/// True if `low` bounds something from below that is at most what `high` bounds from above, and nothing lies between.
fn contradict(low: &Slo, high: &Slo) -> bool {
    let of_one = low.scope == high.scope && low.window == high.window && low.any == high.any;
    if !of_one || is_upper(low) || !is_upper(high) {
        return false;
    }
    // A lower percentile is at most a higher one, and that at most the maximum; so is the mean.
    let ordered = match (low.metric, high.metric) {
        (Metric::Quantile(one), Metric::Quantile(other)) => one <= other,
        (Metric::Quantile(_) | Metric::Mean, Metric::Max) => true,
        (Metric::Within(one), Metric::Within(other)) => one <= other,
        (one, other) => one == other,
    };
    let is_empty =
        low.threshold > high.threshold || (low.threshold == high.threshold && (is_strict(low) || is_strict(high)));
    ordered && is_empty
}

/// Reason why no run can meet it.
fn impossible(checked: &Checked<'_>, slo: &Slo) -> Option<String> {
    let (mesh, bound) = (&checked.experiment.mesh, slo.threshold);
    let below = |most: f64| bound < most || (bound == most && slo.comparison == Comparison::Less);
    let above = |least: f64| bound > least || (bound == least && slo.comparison == Comparison::More);
    match slo.metric {
        Metric::Errors | Metric::Failed if is_upper(slo) && below(0.0) => Some("it is never below 0".into()),
        Metric::DoneOfOffered | Metric::Errors | Metric::Within(_) if !is_upper(slo) && above(1.0) => {
            Some("it is never above 100%".into())
        }
        Metric::Quantile(_) | Metric::Max | Metric::Mean if is_upper(slo) => {
            let targets = |index: usize| {
                let entry = loads::asked(&mesh.loads[index], &checked.flow, &checked.entered);
                entry.targets.into_iter().map(|(_, _, one)| one.answer).collect::<Vec<f64>>()
            };
            let answers = match slo.scope {
                Scope::Load(index) => targets(index),
                Scope::Target(index, target) => targets(index).get(target).copied().into_iter().collect(),
                Scope::All => (0..mesh.loads.len().min(100)).flat_map(targets).collect(),
                Scope::Service(_) => vec![],
            };
            // With other versions it may be sooner.
            let is_one = mesh.services.iter().all(|service| service.behaviours.len() == 1);
            let least = answers.into_iter().reduce(f64::min).filter(|_| is_one)?;
            below(least).then(|| format!("an answer takes at least {}", Span::from_secs_f64(least)))
        }
        _ => None,
    }
}
