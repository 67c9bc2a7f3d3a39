//! The top of a report before the plots: verdicts, the sentence, and the figures of loads. It needs no script.

use meshsim_report::{LoadSummary, Outcome, Requests, Summary, count, percent, seconds, span};

use crate::embed::{name, text};
use crate::finding::finding;
use crate::model::missing;
use crate::tables::{Cell, table};
use crate::{RUNS_MAX, Run};

/// A length of time with a space before its unit.
pub(crate) fn spaced(ns: Option<u64>) -> String {
    unit_apart(&span(ns))
}

/// A share with a space before its sign.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "\u{2013}".into() } else { unit_apart(&percent(part as f64 / whole as f64)) }
}

/// A time of the run, given in seconds: `12.3 s`, `3 d 18 h`.
pub(crate) fn moment(secs: f64) -> String {
    unit_apart(&seconds(secs))
}

/// `152ms` as `152 ms`: a space that does not break before the unit. `3d18h` has two units.
pub(crate) fn unit_apart(figure: &str) -> String {
    // After each unit another amount may follow.
    let is_next = |pair: &[u8]| pair[0].is_ascii_alphabetic() && pair[1].is_ascii_digit();
    if let Some(at) = figure.as_bytes().windows(2).position(is_next)
        && figure.starts_with(|c: char| c.is_ascii_digit())
    {
        return format!("{}\u{a0}{}", unit_apart(&figure[..=at]), unit_apart(&figure[at + 1..]));
    }
    match figure.rfind(|c: char| c.is_ascii_digit()) {
        Some(last) if last + 1 < figure.len() => format!("{}\u{a0}{}", &figure[..=last], &figure[last + 1..]),
        _ if figure == "-" => "\u{2013}".into(),
        _ => figure.into(),
    }
}

/// The title of the page.
pub(crate) fn title(runs: &[Run]) -> String {
    match runs {
        [] => "meshsim report".into(),
        [run] => format!("{}: {}", run.summary.name, verdict(&run.summary)),
        [first, others @ ..] => format!("{} beside {} more", first.label, count(others.len() as u64)),
    }
}

fn verdict(summary: &Summary) -> String {
    let of = |outcome| summary.slo.iter().filter(|it| it.outcome == outcome).count();
    let (all, failed, unknown) = (summary.slo.len(), of(Outcome::Fail), of(Outcome::Unknown));
    let slos = if all == 1 { "SLO" } else { "SLOs" };
    match (all, failed, unknown) {
        (0, ..) => "no SLO".into(),
        (1, 0, 0) => "its SLO holds".into(),
        (2, 0, 0) => "both SLOs hold".into(),
        (_, 0, 0) => format!("all {all} SLOs hold"),
        (1, 1, _) => "its SLO fails".into(),
        (2, 2, _) => "both SLOs fail".into(),
        (_, n, _) if n == all => format!("all {all} SLOs fail"),
        (_, 0, n) => format!("{n} of {all} {slos} unknown"),
        (_, n, _) => format!("{n} of {all} {slos} {}", if n == 1 { "fails" } else { "fail" }),
    }
}

/// A section for each run: the page shows one at a time, and all of them where no script runs.
pub(crate) fn head(runs: &[Run]) -> String {
    let sections = runs.iter().take(RUNS_MAX).enumerate().map(|(index, run)| {
        let summary = &run.summary;
        let reached = moment(summary.reached_s);
        let cut = match summary.cut_short {
            true => format!(" of {}, cut short", moment(summary.duration_s)),
            false => String::new(),
        };
        let class = match summary.outcome {
            Outcome::Pass => "pass",
            Outcome::Unknown => "unknown",
            Outcome::Fail => "fail",
        };
        let missing: String =
            missing(run).iter().map(|it| format!("<p class=\"remark\">{}</p>", text(it))).collect();
        format!(
            "<section class=\"head\" data-run=\"{index}\"><div><p class=\"kind\">meshsim report \u{b7} {} \u{b7} seed {} \
             \u{b7} {reached}{cut} \u{b7} {} messages</p><h1>{}: <span class=\"{class}\">{}</span></h1>\
             <div class=\"sentence\">{}{missing}</div>{}</div><div>{}{}</div></section>",
            name(&run.label),
            summary.seed,
            count(summary.traffic.sent),
            name(&summary.name),
            verdict(summary),
            finding(run),
            loads(summary),
            slos(summary),
            gaps(summary),
        )
    });
    sections.collect()
}

fn loads(summary: &Summary) -> String {
    if summary.loads.is_empty() {
        return "<p>No load.</p>".into();
    }
    let mut rows = Vec::new();
    for load in &summary.loads {
        let (from, to) = (moment(load.from_s), moment(load.to_s));
        let label = Cell::html(format!("<b>{}</b> <small>{from} to {to}</small>", name(&load.name)));
        rows.push(requests(label, &load.requests));
        if load.targets.len() > 1 {
            rows.extend(load.targets.iter().map(|it| requests(Cell::text(&it.target), &it.requests)));
        }
    }
    let heads = ["load", "offered", "done", "failed", "unfinished", "p50", "p90", "p99", "p99.9", "max"];
    let told = |load: &LoadSummary| {
        let words = text(&load.closed_in_words()?);
        Some(format!("<p class=\"remark\"><b>{}</b>: {words} (Coordinated omission.)</p>", name(&load.name)))
    };
    let closed: String = summary.loads.iter().filter_map(told).collect();
    table("loads", &heads, &rows) + &closed
}

fn requests(label: Cell, it: &Requests) -> Vec<Cell> {
    let time = |ns: Option<u64>| Cell::time(ns);
    vec![
        label,
        Cell::count(it.offered),
        Cell::count(it.done),
        Cell::count(it.failed).bad_if(it.failed > 0),
        Cell::count(it.unfinished),
        time(it.latency.p50_ns),
        time(it.latency.p90_ns),
        time(it.latency.p99_ns),
        time(it.latency.p999_ns),
        time(it.latency.max_ns),
    ]
}

fn slos(summary: &Summary) -> String {
    if summary.slo.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<Cell>> = summary
        .slo
        .iter()
        .map(|it| {
            let (mark, word, class) = match it.outcome {
                Outcome::Pass => ("\u{2713}", "PASS", "pass"),
                Outcome::Unknown => ("?", "UNKNOWN", "unknown"),
                Outcome::Fail => ("\u{2715}", "FAIL", "fail"),
            };
            let remark = it.remark.as_ref().map_or(String::new(), |it| format!("<br><small>{}</small>", text(it)));
            vec![
                Cell::html(format!("<span class=\"{class}\">{mark}</span> {}{remark}", text(&it.slo))),
                Cell::figure(unit_apart(&it.figure_text), it.figure),
                Cell::html(format!("<span class=\"{class}\">{word}</span>")),
            ]
        })
        .collect();
    table("slos", &["SLO", "measured", ""], &rows)
}

fn gaps(summary: &Summary) -> String {
    const SHOWN_MAX: usize = 6;
    let line = |it: &meshsim_report::GapSummary| {
        let (from, to) = (moment(it.from_s), moment(it.to_s));
        format!("<li>{} {}, {from} to {to}: {}</li>", text(&it.kind), name(&it.of), text(&it.reason))
    };
    if summary.gaps.is_empty() {
        return String::new();
    }
    let more = summary.gaps.len().saturating_sub(SHOWN_MAX);
    let more = if more > 0 { format!("<li>and {more} more</li>") } else { String::new() };
    let lines: String = summary.gaps.iter().take(SHOWN_MAX).map(line).collect();
    format!("<div class=\"remark\"><b>Not measured</b><ul>{lines}{more}</ul></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_stands_apart_from_its_figure() {
        let shown = ["152ms", "1.6%", "-", "2d23h57min52s", "7d", "at least 5ms", "655/s", "1,204"].map(unit_apart);
        let wanted = ["152 ms", "1.6 %", "\u{2013}", "2 d 23 h 57 min 52 s", "7 d", "at least 5 ms", "655 /s", "1,204"];
        assert_eq!(shown.map(|it| it.replace('\u{a0}', " ")), wanted);
    }
}
