//! SLOs, conditions on the results of a run: `users.search p99 < 80ms from 10s to 20s`.

mod condition;
mod criteria;
mod parts;

use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::model::ServiceId;

use crate::compile::Names;
use crate::problem::{Location, Reporter, nearest, one_of, shortened};
use crate::section::At;
use crate::units;

pub(crate) use condition::condition;
pub(crate) use criteria::{criteria, look};
pub use meshsim_mesh::criterion::Comparison;
pub(crate) use parts::Parts;

/// One line of the file's `slo`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Slo {
    /// As it is written in the file.
    pub text: String,
    /// Requests that are measured.
    pub scope: Scope,
    /// Metric that is compared.
    pub metric: Metric,
    /// Comparison operator.
    pub comparison: Comparison,
    /// With what, in the metric's unit: seconds, a share (1 % is 0.01), a number, or a number per second.
    pub threshold: f64,
    /// Only requests planned from the first time until before the second: `from .. to ..`, or while a fault holds, or
    /// for a time after a fault or an operation; at a service, those that arrive then. `None`: the whole run, without
    /// warm-up. For [`Metric::Recovery`], from the fault's end until the threshold has passed.
    pub window: Option<(Time, Time)>,
    /// It must hold over every stretch of this length, `any ..`; `None`: over all of it at once.
    pub any: Option<Span>,
}

/// Requests that an [`Slo`] measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All loads together.
    All,
    /// One load.
    Load(usize),
    /// One target of a load: indexes into [`Mesh::loads`](meshsim_mesh::Mesh::loads) and into its
    /// [`mix`](meshsim_mesh::model::Load::mix).
    Target(usize, usize),
    /// Requests at the instances of a service, from all callers.
    Service(ServiceId),
}

impl Scope {
    /// Its loads; none for a service.
    pub fn loads(self, mesh: &Mesh) -> std::ops::Range<usize> {
        match self {
            Scope::All => 0..mesh.loads.len(),
            Scope::Load(load) | Scope::Target(load, _) => load..load + 1,
            Scope::Service(_) => 0..0,
        }
    }
}

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The latency below which this share of the requests lies (0.99 for `p99`), in seconds.
    Quantile(f64),
    /// The longest latency, in seconds.
    Max,
    /// The mean latency, in seconds.
    Mean,
    /// Of all requests that ended, the share that was answered within this time.
    Within(Span),
    /// failed / (done + failed).
    Errors,
    /// done / offered: an unanswered request is not done.
    DoneOfOffered,
    /// (offered - done - failed) / offered: the share without a reply when the run ended.
    Unfinished,
    /// Number of failed requests.
    Failed,
    /// Done per second of the time measured.
    Rate,
    /// From the end of a fault until every other SLO holds over three windows in a row, in seconds.
    Recovery,
}

const METRICS: [(&str, Metric); 13] = [
    ("p50", Metric::Quantile(0.5)),
    ("p75", Metric::Quantile(0.75)),
    ("p90", Metric::Quantile(0.9)),
    ("p95", Metric::Quantile(0.95)),
    ("p99", Metric::Quantile(0.99)),
    ("p99.9", Metric::Quantile(0.999)),
    ("max", Metric::Max),
    ("mean", Metric::Mean),
    ("errors", Metric::Errors),
    ("done/offered", Metric::DoneOfOffered),
    ("unfinished", Metric::Unfinished),
    ("failed", Metric::Failed),
    ("rate", Metric::Rate),
];

const EXAMPLE: &str = "write it as in `users.search p99 < 80ms`, `errors < 1%` or `max < 50ms from 10s to 20s`";
/// The metric that takes a time.
const WITHIN: &str = "within";
/// The metric that is about a fault.
const RECOVERY: &str = "recovery";
/// An SLO over every stretch of a length is counted in so many pieces of each: a stretch begins with each piece.
pub const PIECES: u64 = 10;

/// Parses one line and resolves its scope.
pub(crate) fn compile(
    line: &At<String>,
    names: &Names<'_>,
    parts: &Parts,
    mesh: &Mesh,
    reporter: &mut Reporter,
) -> Option<Slo> {
    let text = line.value.trim();
    let place = line.place;
    let (left, comparison, right) = compared(text, EXAMPLE, place, reporter)?;
    let (scope, metric) = left.rsplit_once(char::is_whitespace).unwrap_or(("", left));
    let found = match within(left) {
        Some((_, limit)) => {
            let limit = limit.map_err(|error| reporter.report(place, error.message).help(error.help)).ok()?;
            Some(Metric::Within(limit))
        }
        None => METRICS.iter().find(|(name, _)| *name == metric).map(|(_, metric)| *metric),
    };
    let scope = within(left).map_or(scope, |(scope, _)| scope);
    if metric == RECOVERY {
        return recovery(Line { text, place, scope: scope.trim(), comparison }, right, parts, reporter);
    }
    let Some(metric) = found else {
        let known = || METRICS.iter().map(|(name, _)| *name).chain([WITHIN, RECOVERY]);
        reporter
            .report(place, format!("unknown metric `{}`", shortened(metric)))
            .label(nearest(metric, known()).map(|near| format!("did you mean `{near}`?")))
            .help(format!("write {}", one_of(known())));
        return None;
    };
    let scope = scope_of(scope.trim(), names, mesh, place, reporter);
    let (right, part) = cut(right, &[" from ", " during ", " after "]);
    if let (_, Some((word, length))) = cut(right, &[" every ", " each ", " over "]) {
        reporter
            .report(place, format!("an SLO has no `{word}`"))
            .label(Some(format!("did you mean `any {}`?", shortened(length))))
            .help("`p99 < 80ms any 10s` must hold over every 10s of the run");
        return None;
    }
    let (threshold, any) = cut(right, &[" any "]);
    let any = match any {
        None => Some(None),
        Some((_, length)) => stretch(length, place, reporter).map(Some),
    };
    let threshold = match metric {
        Metric::Quantile(_) | Metric::Max | Metric::Mean => units::duration(threshold).map(|span| span.secs()),
        Metric::Errors | Metric::Unfinished | Metric::Within(_) => units::share(threshold),
        Metric::DoneOfOffered => units::ratio(threshold),
        Metric::Failed => units::whole(threshold, 0, u64::MAX).map(|count| count as f64),
        Metric::Rate => units::rate(threshold),
        Metric::Recovery => return None,
    };
    let threshold = threshold.map_err(|error| reporter.report(place, error.message).help(error.help)).ok();
    let window = match part {
        None => Some(None),
        Some(("from", window)) => window_of(window, place, reporter).map(Some),
        Some(("during", name)) => parts.during(name, place, reporter).map(Some),
        Some((_, after)) => parts.after(after, place, reporter).map(Some),
    };
    let (scope, window, any) = (scope?, window?, any?);
    if any.is_some() && matches!(metric, Metric::Unfinished) {
        reporter
            .report(place, "what is unfinished is known of the whole run")
            .help("leave out `any`, or write `done/offered > 0.99 any 10s`");
        return None;
    }
    Some(Slo { text: text.to_owned(), scope, metric, comparison, threshold: threshold?, window, any })
}

/// Takes a comparison apart: what stands on its left, trimmed, and what on its right.
fn compared<'t>(
    text: &'t str,
    example: &str,
    place: Location,
    reporter: &mut Reporter,
) -> Option<(&'t str, Comparison, &'t str)> {
    let Some(sign) = text.find(['<', '>', '=']) else {
        reporter.report(place, format!("`{}` compares nothing", shortened(text))).help(example);
        return None;
    };
    let (left, right) = text.split_at(sign);
    let comparisons =
        [("<=", Comparison::AtMost), (">=", Comparison::AtLeast), ("<", Comparison::Less), (">", Comparison::More)];
    let found = comparisons.iter().find_map(|(sign, comparison)| Some((*comparison, right.strip_prefix(sign)?)));
    let Some((comparison, right)) = found else {
        reporter.report(place, "a figure is compared by <, <=, > or >=").help(example);
        return None;
    };
    Some((left.trim(), comparison, right))
}

/// Cuts the text at the first of these words, and returns that word and the text after it.
fn cut<'t>(text: &'t str, words: &[&'static str]) -> (&'t str, Option<(&'static str, &'t str)>) {
    match words.iter().filter_map(|word| Some((text.find(word)?, *word))).min() {
        Some((at, word)) => (&text[..at], Some((word.trim(), text[at + word.len()..].trim()))),
        None => (text, None),
    }
}

/// Length of the stretches, each of which must meet the SLO: `10s`.
fn stretch(text: &str, place: Location, reporter: &mut Reporter) -> Option<Span> {
    match units::duration(text) {
        Ok(length) if length.nanos() >= PIECES => Some(length),
        Ok(_) => {
            reporter
                .report(place, "a stretch of no length has no requests")
                .help("write it as in `p99 < 80ms any 10s`");
            None
        }
        Err(error) => {
            reporter.report(place, error.message).help(error.help);
            None
        }
    }
}

/// A line that is parsed step by step.
struct Line<'t> {
    text: &'t str,
    place: Location,
    scope: &'t str,
    comparison: Comparison,
}

/// `recovery < 10s after FAULT`.
fn recovery(line: Line<'_>, right: &str, parts: &Parts, reporter: &mut Reporter) -> Option<Slo> {
    const EXAMPLE: &str = "write it as in `recovery < 10s after outage`";
    let Line { text, place, scope, comparison } = line;
    if !scope.is_empty() {
        reporter
            .report(place, format!("recovery is until every other SLO holds, not one of `{}`", shortened(scope)))
            .help(EXAMPLE);
        return None;
    }
    let (threshold, fault) = cut(right, &[" from ", " during ", " after ", " any "]);
    let Some(("after", fault)) = fault else {
        reporter.report(place, "this does not say after which fault").help(EXAMPLE);
        return None;
    };
    let threshold = units::duration(threshold);
    let threshold = threshold.map_err(|error| reporter.report(place, error.message).help(error.help)).ok();
    let (from, threshold) = (parts.ends(fault, place, reporter)?, threshold?);
    Some(Slo {
        text: text.to_owned(),
        scope: Scope::All,
        metric: Metric::Recovery,
        comparison,
        threshold: threshold.secs(),
        window: Some((from, from + threshold)),
        any: None,
    })
}

impl Slo {
    /// True if it can be told of a window of a run whether it holds there: of figures that are no counts of the whole
    /// run, and that are not about a part of it.
    pub fn is_of_windows(&self) -> bool {
        let is_figure = match self.metric {
            Metric::Quantile(_) | Metric::Max | Metric::Mean | Metric::Within(_) => true,
            Metric::Errors | Metric::DoneOfOffered | Metric::Rate => true,
            Metric::Unfinished | Metric::Failed | Metric::Recovery => false,
        };
        is_figure && self.window.is_none()
    }
}

/// `scope within 200ms` as its scope and the time, if it is one.
fn within(left: &str) -> Option<(&str, Result<Span, units::UnitError>)> {
    let is_word = |at: usize| {
        let (before, after) = (&left[..at], &left[at + WITHIN.len()..]);
        let is_apart = |text: &str, ends: bool| text.is_empty() || ends;
        is_apart(before, before.ends_with(char::is_whitespace))
            && is_apart(after, after.starts_with(char::is_whitespace))
    };
    let at = left.find(WITHIN).filter(|at| is_word(*at))?;
    Some((left[..at].trim(), units::duration(&left[at + WITHIN.len()..])))
}

fn window_of(text: &str, place: Location, reporter: &mut Reporter) -> Option<(Time, Time)> {
    let read = text.split_once(" to ").map(|(from, to)| (units::duration(from), units::duration(to)));
    match read {
        Some((Ok(from), Ok(to))) if from < to => Some((Time::ZERO + from, Time::ZERO + to)),
        Some((Ok(_), Ok(_))) => {
            reporter.report(place, "this window ends before it begins").help("write `from 10s to 20s`");
            None
        }
        Some((Err(error), _) | (_, Err(error))) => {
            reporter.report(place, error.message).help(error.help);
            None
        }
        None => {
            reporter.report(place, "this window has no end").help("write `from 10s to 20s`");
            None
        }
    }
}

fn scope_of(text: &str, names: &Names<'_>, mesh: &Mesh, place: Location, reporter: &mut Reporter) -> Option<Scope> {
    if text.is_empty() {
        return Some(Scope::All);
    }
    let (kind, text) = match text.split_once(' ') {
        Some((kind @ ("load" | "service"), rest)) => (Some(kind), rest.trim()),
        _ => (None, text),
    };
    let (first, endpoint) = match text.split_once('.') {
        Some((first, endpoint)) => (first, Some(endpoint)),
        None => (text, None),
    };
    let load = names.load_index(first).filter(|_| kind != Some("service"));
    let service = names.service_id(first).filter(|_| kind != Some("load") && endpoint.is_none());
    match (load, service, endpoint) {
        (Some(_), Some(_), None) => {
            reporter
                .report(place, format!("`{first}` is a load and a service"))
                .help(format!("write `load {first}` or `service {first}`"));
            None
        }
        (Some(load), _, None) => Some(Scope::Load(load)),
        (None, Some(service), _) => Some(Scope::Service(service)),
        (Some(load), _, Some(endpoint)) => {
            // Missing parts of the load were reported there.
            let targets = mesh.loads.get(load).map_or(&[][..], |load| &load.mix);
            let name = |target: &meshsim_mesh::model::Target| {
                let service = mesh.service(target.service);
                (service.endpoints[target.endpoint.index()].as_str(), service.name.as_str())
            };
            let is_meant = |target: &meshsim_mesh::model::Target| {
                let (short, service) = name(target);
                endpoint == short || endpoint.split_once('.').is_some_and(|(s, e)| s == service && e == short)
            };
            let found = targets.iter().position(is_meant);
            if found.is_none() && !targets.is_empty() {
                let known = || targets.iter().map(|target| name(target).0);
                reporter
                    .report(place, format!("`{first}` does not ask for `{}`", shortened(endpoint)))
                    .label(nearest(endpoint, known()).map(|near| format!("did you mean `{first}.{near}`?")))
                    .help(format!("it asks for {}", one_of(known())));
            }
            found.map(|target| Scope::Target(load, target))
        }
        (None, None, _) if kind != Some("load") && names.service_id(first).is_some() => {
            reporter
                .report(place, "a service is measured as a whole, not by its endpoints")
                .help(format!("write `{first}`, or `load.endpoint`"));
            None
        }
        (None, None, _) => {
            let known = names.scopes();
            names.report_unknown("load or service", first, place, known, reporter);
            None
        }
    }
}
