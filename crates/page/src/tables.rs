//! Figures as tables, in the HTML itself: they can be read, sorted and copied, and need no script.

use std::fmt::Write;

use meshsim_report::{FailureCounts, count, number, operation_in_words};

use crate::embed::text;
use crate::head::{moment, share, spaced, unit_apart};
use crate::model::{TimeGroup, TimeSpent, events, time_spent};
use crate::{RUNS_MAX, Run};

/// Maximum number of rows of a table; the rest is counted.
const ROWS_MAX: usize = 500;

/// Content of a table cell.
pub(crate) struct Cell {
    html: String,
    /// The exact figure, for sorting and copying.
    value: Option<String>,
    is_bad: bool,
}

impl Cell {
    pub(crate) fn html(html: String) -> Self {
        Cell { html, value: None, is_bad: false }
    }

    pub(crate) fn text(it: &str) -> Self {
        Cell::html(text(it))
    }

    pub(crate) fn count(n: u64) -> Self {
        Cell { html: count(n), value: Some(n.to_string()), is_bad: false }
    }

    /// In nanoseconds.
    pub(crate) fn time(ns: Option<u64>) -> Self {
        Cell { html: spaced(ns), value: Some(ns.map_or_else(String::new, |ns| ns.to_string())), is_bad: false }
    }

    pub(crate) fn figure(shown: String, exact: Option<f64>) -> Self {
        Cell { html: text(&shown), value: Some(exact.map_or_else(String::new, |it| it.to_string())), is_bad: false }
    }

    fn number(it: f64) -> Self {
        Cell::figure(number(it), Some(it))
    }

    pub(crate) fn bad_if(mut self, is_bad: bool) -> Self {
        self.is_bad = is_bad;
        self
    }
}

/// A table. Columns with exact figures are right-aligned.
pub(crate) fn table(id: &str, heads: &[&str], rows: &[Vec<Cell>]) -> String {
    let is_figure = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.value.is_some()));
    let mut out = format!("<div class=\"scroll\"><table data-table=\"{id}\"><thead><tr>");
    for (column, head) in heads.iter().enumerate() {
        let class = if is_figure(column) { " class=\"n\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", text(head));
    }
    out += "</tr></thead><tbody>";
    for row in rows.iter().take(ROWS_MAX) {
        out += "<tr>";
        for cell in row {
            let bad = if cell.is_bad { " bad" } else { "" };
            let _ = match &cell.value {
                Some(value) => write!(out, "<td class=\"n{bad}\" data-value=\"{}\">{}</td>", text(value), cell.html),
                None => write!(out, "<td>{}</td>", cell.html),
            };
        }
        out += "</tr>";
    }
    out += "</tbody></table></div>";
    let more = rows.len().saturating_sub(ROWS_MAX);
    if more > 0 {
        let _ =
            write!(out, "<p class=\"remark\">And {} more, in summary.json and events.jsonl.</p>", count(more as u64));
    }
    out
}

/// All tables of all runs.
pub(crate) fn tables(runs: &[Run]) -> String {
    let of_run = |(index, run): (usize, &Run)| {
        let of = if runs.len() > 1 { format!(" of {}", run.label) } else { String::new() };
        let tables = [
            ("Services", services(run)),
            ("Calls between services", calls(run)),
            ("Where the time went", time(run)),
            ("Operations", operations(run)),
            ("Rollouts", rollouts(run)),
            ("Autoscalers", autoscalers(run)),
            ("Nodes", nodes(run)),
            ("Proxies", proxies(run)),
            ("Generators", generators(run)),
            ("Events", happened(run)),
        ];
        let mut out = format!("<section class=\"tables\" data-run=\"{index}\"><h2>Tables{}</h2>", text(&of));
        for (title, table) in tables.into_iter().filter(|(_, table)| !table.is_empty()) {
            let _ = write!(out, "<details><summary>{title}</summary>{table}</details>");
        }
        out + "</section>"
    };
    runs.iter().take(RUNS_MAX).enumerate().map(of_run).collect()
}

fn time(run: &Run) -> String {
    let spent = time_spent(run);
    let rows = spent.iter().flat_map(|of| of.groups.iter().map(move |group| (of, group)));
    let rows = rows.flat_map(|(of, group)| group.parts.iter().map(move |part| (of, group, part)));
    let row = |(of, group, (_, words, ns)): (&TimeSpent, &TimeGroup, &(&str, String, f64))| {
        vec![
            Cell::text(&of.endpoint),
            Cell::text(group.name),
            Cell::count(group.requests),
            Cell::text(words),
            Cell::time(Some(*ns as u64)),
            Cell::figure(
                unit_apart(&meshsim_report::percent(ns / group.mean_ns.max(1.0))),
                Some(ns / group.mean_ns.max(1.0)),
            ),
        ]
    };
    let rows: Vec<Vec<Cell>> = rows.map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    table("time", &["endpoint", "requests by latency", "requests", "part of the critical path", "mean", "share"], &rows)
}

fn reasons(it: &FailureCounts) -> String {
    let all = [
        (it.refused, "refused"),
        (it.error, "error"),
        (it.timeout, "timeout"),
        (it.lost, "lost"),
        (it.no_instance, "no instance"),
        (it.cut, "cut"),
    ];
    let parts: Vec<String> =
        all.iter().filter(|it| it.0 > 0).map(|(n, reason)| format!("{} {reason}", count(*n))).collect();
    if parts.is_empty() { "\u{2013}".into() } else { parts.join(", ") }
}

fn services(run: &Run) -> String {
    let row = |it: &meshsim_report::ServiceSummary| {
        let busy = it.utilisation.map_or("\u{2013}".into(), |it| unit_apart(&meshsim_report::percent(it)));
        vec![
            Cell::text(&it.name),
            Cell::count(it.values.instances.into()),
            Cell::number(it.values.capacity),
            Cell::number(it.values.version),
            Cell::count(it.arrived),
            Cell::count(it.done),
            Cell::count(it.failed).bad_if(it.failed > 0),
            Cell::count(it.expired),
            Cell::figure(busy, it.utilisation),
            Cell::number(it.cores_busy),
            Cell::time(it.latency.p50_ns),
            Cell::time(it.latency.p90_ns),
            Cell::time(it.latency.p99_ns),
            Cell::time(it.latency.max_ns),
            Cell::time(it.waited_mean_ns),
            Cell::count(it.queue_peak.into()),
            Cell::text(&reasons(&it.failures)),
        ]
    };
    let heads = [
        "service",
        "S",
        "C",
        "V",
        "arrived",
        "done",
        "failed",
        "expired",
        "slots busy",
        "cores",
        "p50",
        "p90",
        "p99",
        "max",
        "mean wait",
        "longest queue",
        "failed by",
    ];
    table("services", &heads, &run.summary.services.iter().map(row).collect::<Vec<_>>())
}

fn calls(run: &Run) -> String {
    let row = |it: &meshsim_report::EdgeSummary| {
        vec![
            Cell::text(&it.from),
            Cell::text(&it.to),
            Cell::count(it.calls),
            Cell::count(it.done),
            Cell::count(it.failed).bad_if(it.failed > 0),
            Cell::figure(share(it.failed, it.calls), Some(it.failed as f64 / it.calls.max(1) as f64)),
            Cell::count(it.tolerated),
            Cell::count(it.attempts),
            Cell::count(it.retries),
            Cell::text(&reasons(&it.attempts_failed)),
        ]
    };
    if run.summary.calls.is_empty() {
        return String::new();
    }
    let heads =
        ["from", "to", "calls", "done", "failed", "share", "tolerated", "attempts", "retries", "attempts failed by"];
    table("calls", &heads, &run.summary.calls.iter().map(row).collect::<Vec<_>>())
}

/// Table of the events of rollouts, with the figures of each measurement.
fn rollouts(run: &Run) -> String {
    let all = run.summary.operations.iter().filter_map(|it| Some((operation_in_words(it), it.rollout.as_ref()?)));
    let mut rows = Vec::new();
    for (name, entry) in all.flat_map(|(name, rollout)| rollout.entries.iter().map(move |it| (name.clone(), it))) {
        let measured = entry.measurement.as_ref();
        rows.push(vec![
            Cell::figure(moment(entry.at_s), Some(entry.at_s)),
            Cell::text(&name),
            Cell::text(&entry.kind),
            Cell::text(&entry.what).bad_if(entry.is_bad()),
            measured.map_or_else(|| Cell::text(""), |it| Cell::count(it.requests)),
            measured.map_or_else(|| Cell::text(""), |it| Cell::count(it.failed)),
            measured.map_or_else(|| Cell::text(""), |it| Cell::count(it.nodes_missing.into())),
        ]);
    }
    if rows.is_empty() {
        return String::new();
    }
    table("rollouts", &["at", "rollout", "event", "", "requests", "failed", "nodes missing"], &rows)
}

/// Table of the decisions of autoscalers, with the signal of each.
fn autoscalers(run: &Run) -> String {
    let all = run.summary.autoscalers.iter().flat_map(|of| of.decisions.iter().map(move |it| (of, it)));
    let row = |(of, it): (&meshsim_report::AutoscalerSummary, &meshsim_report::DecisionSummary)| {
        let asked = it.asked.map_or_else(|| Cell::text(""), |asked| Cell::count(asked.into()));
        let signal = it.signal.map_or_else(|| Cell::text(""), |signal| Cell::figure(number(signal), Some(signal)));
        vec![
            Cell::figure(moment(it.at_s), Some(it.at_s)),
            Cell::text(&of.service),
            Cell::text(&of.kind),
            Cell::count(it.from.into()),
            Cell::count(it.to.into()),
            asked,
            signal,
        ]
    };
    let mut rows: Vec<(f64, Vec<Cell>)> = all.map(|(of, it)| (it.at_s, row((of, it)))).collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|(_, row)| row).collect();
    table("autoscalers", &["at", "service", "kind", "from", "to", "asked for", "signal"], &rows)
}

fn operations(run: &Run) -> String {
    let row = |it: &meshsim_report::OperationSummary| {
        let remark = it.unplaced_reason.as_deref().unwrap_or("");
        vec![
            Cell::figure(moment(it.began_s), Some(it.began_s)),
            Cell::text(&operation_in_words(it)),
            Cell::text(&it.outcome),
            Cell::count(it.step_count as u64),
            Cell::time(it.settle_time_ns),
            Cell::figure(it.residual.map_or("\u{2013}".into(), number), it.residual),
            Cell::count(it.messages),
            Cell::count(it.resent),
            Cell::count(it.acks),
            Cell::count(it.unplaced.into()),
            Cell::text(remark),
        ]
    };
    if run.summary.operations.is_empty() {
        return String::new();
    }
    let heads = [
        "at",
        "operation",
        "outcome",
        "steps",
        "settled in",
        "residual",
        "messages",
        "resent",
        "acknowledged",
        "unplaced",
        "",
    ];
    table("operations", &heads, &run.summary.operations.iter().map(row).collect::<Vec<_>>())
}

fn nodes(run: &Run) -> String {
    if run.summary.nodes.is_empty() {
        return String::new();
    }
    let row = |it: &meshsim_report::NodeSummary| {
        let busy = unit_apart(&meshsim_report::percent(it.utilisation));
        let cores = [Cell::number(it.cores), Cell::number(it.cores_busy), Cell::figure(busy, Some(it.utilisation))];
        std::iter::once(Cell::text(&it.name)).chain(cores).collect::<Vec<Cell>>()
    };
    table("nodes", &["node", "cores", "busy", "share"], &run.summary.nodes.iter().map(row).collect::<Vec<_>>())
}

fn proxies(run: &Run) -> String {
    let Some(mesh) = run.summary.mesh.as_ref().filter(|mesh| !mesh.by.is_empty()) else { return String::new() };
    let row = |it: &meshsim_report::ProxySummary| {
        let megabytes = it.memory_bytes as f64 / 1e6;
        vec![
            Cell::text(&if it.is_load { format!("load {}", it.name) } else { it.name.clone() }),
            Cell::count(it.passes),
            Cell::number(it.cores_busy),
            Cell::time(it.work_mean_ns),
            Cell::time(it.waited_mean_ns),
            Cell::figure(format!("{megabytes:.0} MB"), Some(megabytes)),
        ]
    };
    let heads = ["for", "passages", "cores", "work each", "waited", "memory"];
    let all = format!(
        "<p class=\"remark\">{}: {} in all, {} cores busy on average, {:.0} MB.</p>",
        text(&mesh.technology),
        meshsim_report::count(mesh.proxies),
        number(mesh.cores_busy),
        mesh.memory_bytes as f64 / 1e6
    );
    table("proxies", &heads, &mesh.by.iter().map(row).collect::<Vec<_>>()) + &all
}

fn generators(run: &Run) -> String {
    let row = |it: &meshsim_report::GeneratorSummary| {
        vec![
            Cell::text(&it.process),
            Cell::text(&it.loads.join(", ")),
            Cell::count(it.sent),
            Cell::count(it.late).bad_if(it.late > 0),
            Cell::time(it.lag.p50_ns),
            Cell::time(it.lag.p99_ns),
            Cell::time(it.lag.max_ns),
        ]
    };
    let heads = ["process", "loads", "sent", "later than 100 ms", "lag p50", "p99", "max"];
    let rows: Vec<Vec<Cell>> = run.summary.generators.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table("generators", &heads, &rows) }
}

fn happened(run: &Run) -> String {
    let rows: Vec<Vec<Cell>> =
        events(run).map(|it| vec![Cell::figure(moment(it.at_s), Some(it.at_s)), Cell::text(&it.what)]).collect();
    if rows.is_empty() { String::new() } else { table("events", &["at", "what"], &rows) }
}
