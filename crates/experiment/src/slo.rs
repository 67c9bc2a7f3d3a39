//! What must hold when a run has ended: `users.search p99 < 80ms from 10s to 20s`.

use std::collections::BTreeMap;

use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::criterion::{Bound, Criterion};
use meshsim_mesh::model::ServiceId;

use crate::compile::Names;
use crate::problem::{Place, Reporter, nearest, one_of, shortened};
use crate::schema::File;
use crate::section::At;
use crate::units;

/// One line of the file's `slo`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Slo {
    /// As it is written in the file.
    pub text: String,
    /// Whose figure is compared.
    pub scope: Scope,
    /// Which figure.
    pub metric: Metric,
    /// How.
    pub comparison: Comparison,
    /// With what, in the metric's unit: seconds, a share (1 % is 0.01), a number, or a number per second.
    pub threshold: f64,
    /// Only what was planned from the first moment until before the second: `from .. to ..`, or when a fault holds, or
    /// for a time after a fault or an operation. `None`: the whole run, without warm-up.
    /// Never with a service: its figures are not kept over time.
    pub window: Option<(Time, Time)>,
}

/// Whose figure an [`Slo`] is about.
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
    /// What the instances of a service did, whoever called them.
    Service(ServiceId),
}

impl Scope {
    /// The loads that it takes in; none where it is a service.
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
    /// done / offered: what was never answered is not done.
    DoneOfOffered,
    /// (offered - done - failed) / offered: the share without an answer when the run ended.
    Unfinished,
    /// How many failed.
    Failed,
    /// Done per second of the time measured.
    Rate,
}

/// How a figure is compared with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
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

/// Reads one line and resolves whom it is about.
pub(crate) fn compile(
    line: &At<String>,
    names: &Names<'_>,
    parts: &Parts,
    mesh: &Mesh,
    reporter: &mut Reporter,
) -> Option<Slo> {
    let text = line.value.trim();
    let place = line.place;
    let Some(sign) = text.find(['<', '>', '=']) else {
        reporter.report(place, format!("`{}` compares nothing", shortened(text))).help(EXAMPLE);
        return None;
    };
    let (left, right) = text.split_at(sign);
    let comparisons =
        [("<=", Comparison::AtMost), (">=", Comparison::AtLeast), ("<", Comparison::Less), (">", Comparison::More)];
    let found = comparisons.iter().find_map(|(sign, comparison)| Some((*comparison, right.strip_prefix(sign)?)));
    let Some((comparison, right)) = found else {
        reporter.report(place, "a figure is compared by <, <=, > or >=").help(EXAMPLE);
        return None;
    };
    let left = left.trim();
    let (scope, metric) = left.rsplit_once(char::is_whitespace).unwrap_or(("", left));
    let found = match within(left) {
        Some((_, limit)) => {
            let limit = limit.map_err(|error| reporter.report(place, error.message).help(error.help)).ok()?;
            Some(Metric::Within(limit))
        }
        None => METRICS.iter().find(|(name, _)| *name == metric).map(|(_, metric)| *metric),
    };
    let scope = within(left).map_or(scope, |(scope, _)| scope);
    let Some(metric) = found else {
        let known = || METRICS.iter().map(|(name, _)| *name).chain([WITHIN]);
        reporter
            .report(place, format!("`{}` is no metric", shortened(metric)))
            .label(nearest(metric, known()).map(|near| format!("did you mean `{near}`?")))
            .help(format!("write {}", one_of(known())));
        return None;
    };
    let scope = scope_of(scope.trim(), names, mesh, place, reporter);
    let words = [" from ", " during ", " after "];
    let first = words.into_iter().filter_map(|word| Some((right.find(word)?, word))).min();
    let (threshold, part) = match first {
        Some((at, word)) => (&right[..at], Some((word.trim(), right[at + word.len()..].trim()))),
        None => (right, None),
    };
    let threshold = match metric {
        Metric::Quantile(_) | Metric::Max | Metric::Mean => units::duration(threshold).map(|span| span.secs()),
        Metric::Errors | Metric::Unfinished | Metric::Within(_) => units::share(threshold),
        Metric::DoneOfOffered => units::ratio(threshold),
        Metric::Failed => units::whole(threshold, 0, u64::MAX).map(|count| count as f64),
        Metric::Rate => units::rate(threshold),
    };
    let threshold = threshold.map_err(|error| reporter.report(place, error.message).help(error.help)).ok();
    let window = match part {
        None => Some(None),
        Some(("from", window)) => window_of(window, place, reporter).map(Some),
        Some(("during", name)) => parts.during(name, place, reporter).map(Some),
        Some((_, after)) => parts.after(after, place, reporter).map(Some),
    };
    let (scope, window) = (scope?, window?);
    if let Scope::Service(_) = scope {
        let (what, help) = match (window, metric) {
            (Some(_), _) => ("a service's figures are kept for the whole run", "leave out the part of the run"),
            (_, Metric::Within(_)) => ("a service's answers are not counted by a bound", "write a percentile"),
            _ => return Some(Slo { text: text.to_owned(), scope, metric, comparison, threshold: threshold?, window }),
        };
        reporter.report(place, what).help(format!("{help}, or name a load: each of its requests is counted"));
        return None;
    }
    Some(Slo { text: text.to_owned(), scope, metric, comparison, threshold: threshold?, window })
}

/// What the clients have to count, for the lines that are about loads.
pub(crate) fn criteria(slos: &[Slo], mesh: &Mesh) -> Vec<Criterion> {
    let mut criteria = Vec::new();
    for (index, slo) in slos.iter().enumerate() {
        let bound = match slo.metric {
            Metric::Quantile(_) | Metric::Max | Metric::Mean => Some(Bound {
                than: Span::from_secs_f64(slo.threshold),
                // `> x` is the contrary of `<= x`.
                inclusive: matches!(slo.comparison, Comparison::AtMost | Comparison::More),
            }),
            Metric::Within(than) => Some(Bound { than, inclusive: true }),
            _ => None,
        };
        for load in slo.scope.loads(mesh) {
            let spec = &mesh.loads[load];
            let (from, to) = slo.window.unwrap_or((Time::ZERO, Time::NEVER));
            criteria.push(Criterion {
                slo: index as u32,
                load: load as u32,
                target: if let Scope::Target(_, target) = slo.scope { Some(target as u32) } else { None },
                from: from.max(spec.start + spec.warmup),
                to,
                bound,
                keeps_histogram: slo.window.is_some() && matches!(slo.metric, Metric::Quantile(_)),
            });
        }
    }
    criteria
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

fn window_of(text: &str, place: Place, reporter: &mut Reporter) -> Option<(Time, Time)> {
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

fn scope_of(text: &str, names: &Names<'_>, mesh: &Mesh, place: Place, reporter: &mut Reporter) -> Option<Scope> {
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
            // What the load's description lacks was reported there.
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

/// When the operations and faults that have names begin and end.
#[derive(Debug, Default)]
pub(crate) struct Parts(BTreeMap<String, Moments>);

#[derive(Clone, Copy, Debug)]
struct Moments {
    from: Time,
    /// When a fault ends. When an operation has settled is known only in the run.
    to: Option<Time>,
}

impl Parts {
    /// The names of a file; each may be there once.
    pub(crate) fn new(file: &File, reporter: &mut Reporter) -> Self {
        let mut all = Parts::default();
        let operations = file.operations.value.iter().filter_map(|it| {
            let (name, at) = it.value.named();
            Some((name?, Moments { from: Time::ZERO + at, to: None }))
        });
        let faults = file.faults.value.iter().filter_map(|it| {
            let (name, at, length) = it.value.named();
            let from = Time::ZERO + at;
            Some((name?, Moments { from, to: Some(from + length) }))
        });
        for (name, moments) in operations.chain(faults) {
            if all.0.insert(name.value.0.clone(), moments).is_some() {
                reporter
                    .report(name.place, format!("`{}` is there twice", shortened(&name.value.0)))
                    .help("an SLO could not tell which it is about: give one of them another name");
            }
        }
        all
    }

    fn find(&self, name: &str, place: Place, reporter: &mut Reporter) -> Option<Moments> {
        let found = self.0.get(name).copied();
        if found.is_none() {
            let known = || self.0.keys().map(String::as_str);
            let help = match self.0.len() {
                0 => format!("give a fault or an operation this name: `name: {}`", shortened(name)),
                _ => format!("write {}", one_of(known())),
            };
            reporter
                .report(place, format!("no fault and no operation has the name `{}`", shortened(name)))
                .label(nearest(name, known()).map(|near| format!("did you mean `{near}`?")))
                .help(help);
        }
        found
    }

    /// While a fault holds.
    fn during(&self, name: &str, place: Place, reporter: &mut Reporter) -> Option<(Time, Time)> {
        let Moments { from, to } = self.find(name, place, reporter)?;
        if to.is_none() {
            reporter
                .report(place, format!("`{name}` is an operation: when it will have settled is not known"))
                .help(format!("write `after {name} for 10s`: the 10s after it begins"));
        }
        Some((from, to?))
    }

    /// For a time after a fault has ended, or an operation has begun: `outage for 10s`.
    fn after(&self, text: &str, place: Place, reporter: &mut Reporter) -> Option<(Time, Time)> {
        let Some((name, length)) = text.split_once(" for ") else {
            reporter.report(place, "this part has no length").help("write `after outage for 10s`");
            return None;
        };
        let length = units::duration(length);
        let length = length.map_err(|error| reporter.report(place, error.message).help(error.help)).ok();
        let Moments { from, to } = self.find(name.trim(), place, reporter)?;
        let (from, length) = (to.unwrap_or(from), length?);
        if length.is_zero() {
            reporter.report(place, "a part of no length has no requests").help("write `after outage for 10s`");
            return None;
        }
        Some((from, from + length))
    }
}
