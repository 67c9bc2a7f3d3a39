//! Conditions of the analyses of rollouts: `p99 < 80ms`, `errors <= 150% of old`.

use meshsim_mesh::model::{AnalysisMetric, CHECK_BYTES_MAX, Check};

use super::{METRICS, Metric, compared, within};
use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::section::At;
use crate::units;

const EXAMPLE: &str = "write it as in `errors < 1%`, `p99 < 80ms`, `within 50ms > 99%` or `p99 <= 150% of old`";

/// Parses one condition.
pub(crate) fn condition(line: &At<String>, reporter: &mut Reporter) -> Option<Check> {
    let text = line.value.trim();
    let place = line.place;
    if text.len() > CHECK_BYTES_MAX {
        reporter.report(place, "this condition is too long").help(EXAMPLE);
        return None;
    }
    let (left, comparison, right) = compared(text, EXAMPLE, place, reporter)?;
    let metric = match within(left) {
        Some(("", limit)) => {
            let limit = limit.map_err(|error| reporter.report(place, error.message).help(error.help)).ok()?;
            Some(AnalysisMetric::Within(limit))
        }
        Some(_) => None,
        None => METRICS.iter().find(|(name, _)| *name == left).and_then(|(_, metric)| of_version(*metric)),
    };
    let Some(metric) = metric else {
        let known = || METRICS.iter().filter(|(_, metric)| of_version(*metric).is_some()).map(|(name, _)| *name);
        let known = || known().chain(["within"]);
        reporter
            .report(place, format!("`{}` is no figure of a version", shortened(left)))
            .label(nearest(left, known()).map(|near| format!("did you mean `{near}`?")))
            .help(format!("an analysis is of the rollout's service; it knows {}", one_of(known())));
        return None;
    };
    let right = right.trim();
    let of_old = right.strip_suffix("of old").map(str::trim);
    let threshold = match (of_old, metric) {
        (Some(multiple), _) => units::percentage(multiple),
        (None, AnalysisMetric::Quantile(_) | AnalysisMetric::Mean) => units::duration(right).map(|span| span.secs()),
        (None, AnalysisMetric::Errors | AnalysisMetric::Within(_)) => units::share(right),
    };
    let threshold = threshold.map_err(|error| reporter.report(place, error.message).help(error.help)).ok()?;
    Some(Check { text: text.into(), metric, comparison, threshold, of_old: of_old.is_some() })
}

fn of_version(metric: Metric) -> Option<AnalysisMetric> {
    match metric {
        Metric::Quantile(q) => Some(AnalysisMetric::Quantile(q)),
        Metric::Mean => Some(AnalysisMetric::Mean),
        Metric::Within(limit) => Some(AnalysisMetric::Within(limit)),
        Metric::Errors => Some(AnalysisMetric::Errors),
        Metric::Max | Metric::DoneOfOffered | Metric::Unfinished | Metric::Failed | Metric::Rate | Metric::Recovery => {
            None
        }
    }
}
