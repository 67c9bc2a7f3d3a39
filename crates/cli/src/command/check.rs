//! `meshsim check`

use meshsim_actor::Span;
use meshsim_experiment::Experiment;
use meshsim_experiment::check::{Findings, check};
use meshsim_report::table::{Cell, Look, Paint, Table};
use meshsim_report::{count, number, rate, text};

use super::{Source, exact};
use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Say what is wrong with an experiment, and what to expect of it";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim check examples/hotel/mesh.yaml
  meshsim check mesh.yaml --set services.geo.instances=1
  meshsim check mesh.yaml --json | jq '.warnings'

Warnings are no errors: the exit code is 0. A file that is wrong is not run: 2.";

/// Rows of a list that are printed; all are in the JSON.
const ROWS_MAX: usize = 20;
/// Callees that are named of one caller.
const CALLEES_MAX: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(self.json, screen)?;
        let findings = check(&experiment);
        if self.json {
            screen.print_json(&findings)?;
        } else {
            let text = render(&experiment, &findings, &self.source, screen.paint());
            screen.print(&text)?;
        }
        Ok(Exit::Well)
    }
}

fn seconds(secs: f64) -> String {
    if secs.is_finite() { Span::from_secs_f64(secs).to_string() } else { "endless".into() }
}

fn render(experiment: &Experiment, findings: &Findings, source: &Source, paint: Paint) -> String {
    let mut out = text::intention(experiment, paint);
    let mut section = |title: &str, beside: &str, body: String| {
        if !body.is_empty() {
            out += &format!("\n{}  {}\n{body}", paint.on(Look::Bold, title), paint.on(Look::Dim, beside));
        }
    };
    section("Who calls whom", "calls per request, over all loads", graph(findings));
    section("Services", "expected, at the loads' mean rates", services(findings, paint));
    section("Requests", "expected, while nothing waits", loads(findings, paint));
    section("Rates", "of the recurrences, and the bound above which they oscillate for ever", gains(findings, paint));
    out.push('\n');
    for warning in findings.warnings.iter().take(ROWS_MAX) {
        let place = warning.line.map_or_else(String::new, |line| format!("{}:{line}: ", source.file.display()));
        out += &format!("{} {place}{}\n", paint.on(Look::Warn, "warning:"), warning.message);
    }
    match findings.warnings.len() {
        0 => out += &format!("{}\n", paint.on(Look::Good, "nothing to warn of")),
        n => more(&mut out, n),
    }
    out
}

/// Each caller with those that it calls.
fn graph(findings: &Findings) -> String {
    let mut out = String::new();
    let callers = || findings.edges.chunk_by(|a, b| a.from == b.from);
    let width = callers().take(ROWS_MAX).map(|callees| callees[0].from.chars().count()).max().unwrap_or(0);
    for callees in callers().take(ROWS_MAX) {
        let untold = callees.len().saturating_sub(CALLEES_MAX);
        let mut texts: Vec<String> =
            callees.iter().take(CALLEES_MAX).map(|edge| format!("{} {}", edge.to, number(edge.calls))).collect();
        if untold > 0 {
            texts.push(format!("and {} more", count(untold as u64)));
        }
        let mut line = format!("  {:width$}  -> ", callees[0].from);
        let (indent, mut column) = (width + 7, width + 7);
        for (i, text) in texts.iter().enumerate() {
            let comma = if i + 1 < texts.len() { ", " } else { "" };
            let text = format!("{text}{comma}");
            let len = text.chars().count();
            if column > indent && column + len > 98 {
                line.truncate(line.trim_end().len());
                line += &format!("\n{:indent$}", "");
                column = indent;
            }
            line += &text;
            column += len;
        }
        out += &format!("{line}\n");
    }
    more(&mut out, callers().count());
    out
}

/// Says how many rows of a list are not printed.
fn more(out: &mut String, rows: usize) {
    if rows > ROWS_MAX {
        *out += &format!("  and {} more, in --json\n", count((rows - ROWS_MAX) as u64));
    }
}

fn services(findings: &Findings, paint: Paint) -> String {
    let mut table = Table::new(["<service", "instances", "slots", "rate", "held", "utilisation"]);
    let mut services: Vec<_> = findings.services.iter().collect();
    if services.len() > ROWS_MAX {
        // Where not all are shown, those that matter are. Equal ones stay in the order of the file.
        services.sort_by(|a, b| b.utilisation.total_cmp(&a.utilisation));
    }
    for service in services.iter().take(ROWS_MAX) {
        let look = match service.utilisation {
            u if u >= 1.0 => Look::Bad,
            u if u >= 0.8 => Look::Warn,
            _ => Look::Plain,
        };
        table.row([
            service.name.as_str().into(),
            count(u64::from(service.instances)).into(),
            count(service.slots).into(),
            rate(service.rate).into(),
            seconds(service.held).into(),
            Cell::new(format!("{:.1}%", service.utilisation * 100.0), look),
        ]);
    }
    let mut out = table.render(paint);
    more(&mut out, findings.services.len());
    out
}

fn loads(findings: &Findings, paint: Paint) -> String {
    let mut table = Table::new(["<load", "rate", "service visits", "latency"]);
    for load in findings.loads.iter().take(ROWS_MAX) {
        table.row([
            load.name.as_str().into(),
            rate(load.rate).into(),
            Cell::from(exact(load.visits, 3)),
            seconds(load.unloaded).into(),
        ]);
    }
    let mut out = table.render(paint);
    more(&mut out, findings.loads.len());
    out
}

fn gains(findings: &Findings, paint: Paint) -> String {
    let mut table = Table::new(["<operation", "rate", "delay", "stable below", "no overshoot up to"]);
    for gain in findings.gains.iter().take(ROWS_MAX) {
        let look = if gain.rate >= gain.bound { Look::Bad } else { Look::Plain };
        table.row([
            format!("{} {}", gain.verb, gain.service).into(),
            Cell::new(exact(gain.rate, 6), look),
            format!("{} step{}", gain.delay, if gain.delay == 1 { "" } else { "s" }).into(),
            exact(gain.bound, 6).into(),
            exact(gain.fastest, 6).into(),
        ]);
    }
    let mut out = table.render(paint);
    more(&mut out, findings.gains.len());
    out
}
