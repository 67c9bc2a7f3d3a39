//! Results and latencies of the requests of loads.

use super::lines;
use crate::show::{self, count, fine_seconds, rate};
use crate::summary::{LoadSummary, Requests, Summary, TargetSummary};
use crate::table::{Paint, Style, Table, TableCell};

/// The span that the figures of the loads are of, in words.
pub(super) fn span(summary: &Summary) -> String {
    let mut spans = summary.loads.iter().map(|load| (load.from_s, load.to_s));
    let Some(first) = spans.next() else { return String::new() };
    match spans.all(|span| span == first) {
        true => format!("{} to {}, without warm-up", fine_seconds(first.0), fine_seconds(first.1)),
        false => "each load from the end of its warm-up to its own end".into(),
    }
}

/// The rows of a table by load and target: a load with one target is one row.
fn by_target(summary: &Summary) -> Vec<(String, &Requests)> {
    let mut rows = Vec::new();
    for load in &summary.loads {
        match load.targets.as_slice() {
            [only] => rows.push((format!("{} {}", load.name, only.target), &load.requests)),
            targets => {
                rows.push((load.name.clone(), &load.requests));
                let name = |target: &TargetSummary| match &target.step {
                    Some(step) => format!("  {step} {}", target.target),
                    None => format!("  {}", target.target),
                };
                rows.extend(targets.iter().map(|target| (name(target), &target.requests)));
            }
        }
    }
    rows
}

pub(super) fn requests(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new([
        "<load",
        "offered",
        "done",
        "degraded",
        "failed",
        "unfinished",
        "retries",
        "over budget",
        "goodput",
        "<failed by",
    ]);
    for (name, requests) in by_target(summary) {
        table.row([
            name.into(),
            count(requests.offered).into(),
            count(requests.done).into(),
            match requests.degraded {
                0 => "".into(),
                degraded => TableCell::new(count(degraded), Style::Warn),
            },
            TableCell::new(count(requests.failed), if requests.failed > 0 { Style::Warn } else { Style::Plain }),
            count(requests.unfinished).into(),
            match requests.retries {
                0 => "".into(),
                retries => count(retries).into(),
            },
            over_budget(requests.over_budget),
            rate(requests.done_per_s).into(),
            requests.failures.in_words().into(),
        ]);
    }
    let spare = &["retries", "goodput", "unfinished", "degraded"];
    let mut table = table.without_empty_columns(&[]).without_if_narrow(spare);
    let out = table.fitted(paint);
    if !out.is_empty() && table.has("over budget") { out + &lines(OVER_BUDGET, Style::Dim, paint) } else { out }
}

/// Note below a table with such a column.
pub(super) const OVER_BUDGET: &str = "over budget: not retried, because the retry budget allowed no more";

/// Calls that were not retried because the retry budget allowed no more; empty if there were none.
pub(super) fn over_budget(calls: u64) -> TableCell {
    if calls == 0 { "".into() } else { TableCell::new(count(calls), Style::Warn) }
}

/// The span that is called latency. A user of a closed load without pacing has no plan: it sends when it has thought.
pub(super) fn latency_span(summary: &Summary) -> &'static str {
    let has_plan = |load: &LoadSummary| load.closed.as_ref().is_none_or(|closed| closed.pacing_ns.is_some());
    match (summary.loads.iter().any(has_plan), summary.loads.iter().all(has_plan)) {
        (_, true) => "from planned send time to reply",
        (false, false) => "from sending to reply",
        (true, false) => "from planned send time to reply; from sending for users without pacing",
    }
}

pub(super) fn latencies(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["<load", "mean", "p50", "p75", "p90", "p95", "p99", "p99.9", "max"]);
    let mut thin = false;
    for (name, requests) in by_target(summary) {
        let mut row = |name: String, latency: &crate::Latency| {
            let figures = [
                latency.mean_ns,
                latency.p50_ns,
                latency.p75_ns,
                latency.p90_ns,
                latency.p95_ns,
                latency.p99_ns,
                latency.p999_ns,
                latency.max_ns,
            ];
            thin |= latency.max_ns.is_some() && figures.contains(&None);
            let last = figures.len() - 1;
            let text = |(at, nanos): (usize, Option<u64>)| match nanos {
                Some(_) if latency.at_least && (at == 0 || at == last) => {
                    format!("at least {}", show::span(nanos)).into()
                }
                _ => show::span(nanos).into(),
            };
            let figures = figures.into_iter().enumerate().map(text);
            let cells: Vec<TableCell> = std::iter::once(name.into()).chain(figures).collect();
            table.row(cells);
        };
        if requests.latency.max_ns.is_none() {
            continue;
        }
        let indent = name.len() - name.trim_start().len();
        row(name, &requests.latency);
        // Only a generator that was late makes a difference worth a row; a real one is always some microseconds late.
        if is_apart(&requests.latency, &requests.uncorrected) {
            row(format!("{:indent$}  from sending", ""), &requests.uncorrected);
        }
    }
    let mut out = table.without_if_narrow(&["p75", "p95", "p99.9"]).render(paint);
    if thin {
        let why = "-  fewer than 10 requests lie beyond that percentile, or too few were answered";
        out += &lines(why, Style::Dim, paint);
    }
    out
}

/// Notes for readers of the figures of closed loads.
pub(super) fn closed(summary: &Summary, paint: Paint) -> String {
    let told =
        |load: &LoadSummary| Some(lines(&format!("{}: {}", load.name, load.closed_in_words()?), Style::Plain, paint));
    summary.loads.iter().filter_map(told).collect()
}

/// Journeys of the users of each load that has some.
pub(super) fn journeys(summary: &Summary, paint: Paint) -> String {
    let mut table =
        Table::new(["<load", "begun", "completed", "abandoned", "unfinished", "mean time", "p50", "p90", "p99"]);
    for (load, journeys) in summary.loads.iter().filter_map(|load| Some((load, load.journeys.as_ref()?))) {
        let time = |ns: Option<u64>| TableCell::from(show::span(ns));
        table.row([
            load.name.as_str().into(),
            count(journeys.begun).into(),
            count(journeys.completed).into(),
            TableCell::new(count(journeys.abandoned), if journeys.abandoned > 0 { Style::Warn } else { Style::Plain }),
            count(journeys.unfinished).into(),
            time(journeys.time.mean_ns),
            time(journeys.time.p50_ns),
            time(journeys.time.p90_ns),
            time(journeys.time.p99_ns),
        ]);
    }
    table.render(paint)
}

/// True if a figure differs by more than a hundredth.
fn is_apart(a: &crate::Latency, b: &crate::Latency) -> bool {
    let figures = |latency: &crate::Latency| {
        [latency.mean_ns, latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.max_ns].map(|ns| ns.unwrap_or(0))
    };
    figures(a).into_iter().zip(figures(b)).any(|(a, b)| a.abs_diff(b) > a / 100)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use meshsim_actor::Time;

    use super::*;
    use crate::summary::{Measured, Traffic};

    fn span_of(loads: &str) -> &'static str {
        let services = "services: { a: { endpoints: { get: {} } } }";
        let text = format!("nodes: [ {{ name: node }} ]\n{services}\nload: {{ {loads} }}\n");
        let experiment = meshsim_experiment::parse("mesh.yaml", &text, Path::new(""), &[]).unwrap();
        let measured = Measured::gather(&experiment.mesh, Time::ZERO, Traffic::default(), []);
        latency_span(&Summary::new(&experiment, &measured, false))
    }

    #[test]
    fn latency_runs_from_sending_where_users_have_no_plan() {
        let open = "open: { to: a, arrivals: { poisson: 1/s } }";
        let paced = "paced: { to: a, users: 2, pacing: 1s }";
        let closed = "closed: { to: a, users: 2, think: 1s }";
        assert_eq!(span_of(&[open, paced].join(", ")), "from planned send time to reply");
        assert_eq!(span_of(closed), "from sending to reply");
        let mixed = "from planned send time to reply; from sending for users without pacing";
        assert_eq!(span_of(&[paced, closed].join(", ")), mixed);
        // It stands behind the title, in a terminal of 80 columns.
        assert!("Latency  ".len() + mixed.len() <= 80);
    }
}
