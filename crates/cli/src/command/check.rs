//! `meshsim check`

use meshsim_actor::Span;
use meshsim_experiment::Experiment;
use meshsim_experiment::check::{CheckReport, ClosedEstimate, LoadEstimate, check};
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{count, number, plural, rate, text};

use super::{Source, exact};
use crate::error::{Error, Exit};
use crate::memory;
use crate::screen::{Screen, paragraph};

pub(super) const ABOUT: &str = "Report the problems of an experiment, and predict its results";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim check examples/hotel/mesh.yaml
  meshsim check mesh.yaml --set services.geo.instances=1
  meshsim check mesh.yaml --json | jq '.warnings'

Exit codes: 0 valid, with or without warnings, 2 the experiment is invalid, or this machine lacks the memory for a \
simulated run.";

/// Rows of a list that are printed; all are in the JSON.
const ROWS_MAX: usize = 20;
/// The busiest nodes are printed.
const NODES_MAX: usize = 5;
/// Columns of the text.
const WIDTH: usize = 80;
/// Callees that are named of one caller.
const CALLEES_MAX: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Print the findings as JSON
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
        memory::assure_here(findings.resources, screen)?;
        Ok(Exit::Success)
    }
}

fn seconds(secs: f64) -> String {
    if secs.is_finite() { Span::from_secs_f64(secs).to_string() } else { "endless".into() }
}

fn render(experiment: &Experiment, findings: &CheckReport, source: &Source, paint: Paint) -> String {
    let mut out = text::intention(experiment, false, paint);
    let mut section = |title: &str, beside: &str, body: String| {
        if !body.is_empty() {
            out += &format!("\n{}  {}\n{body}", paint.on(Style::Bold, title), paint.on(Style::Dim, beside));
        }
    };
    section("Size", "of a simulated run without a trace", size(findings));
    section("Call graph", "calls per request, retries included, over all loads", graph(findings));
    section("Services", "expected, at the loads' mean rates", services(findings, paint));
    section("Requests", "expected, while nothing waits", loads(findings, paint));
    section("Limits", "first to be full, if the load grows in this mix; S: its instances", situations(findings, paint));
    section("Nodes", "expected cores in use, at the loads' mean rates", nodes(findings, paint));
    section("Rollouts", "if every analysis succeeds, and instances are ready in time", rollouts(findings, paint));
    section("Rates", "of the recurrences, and the bound above which they never settle", gains(findings, paint));
    let body: String = findings.not_modelled.iter().map(|line| paragraph("  - ", line, 4, WIDTH)).collect();
    section("Not modelled", "", body);
    out.push('\n');
    for warning in findings.warnings.iter().take(ROWS_MAX) {
        let place = warning.line.map_or_else(String::new, |line| format!("{}:{line}: ", source.file.display()));
        let text = paragraph("warning: ", &format!("{place}{}", warning.message), 2, WIDTH);
        out += &text.replacen("warning:", &paint.on(Style::Warn, "warning:"), 1);
    }
    match findings.warnings.len() {
        0 => out += &format!("{}\n", paint.on(Style::Good, "nothing to warn of")),
        n => more(&mut out, n),
    }
    out
}

fn size(findings: &CheckReport) -> String {
    let needed = findings.resources;
    let events = plural(needed.events.round() as u64, "event");
    format!("  about {events}, {} of memory\n", memory::bytes(needed.memory_bytes))
}

/// A name that fits its column.
fn short(name: &str, chars: usize) -> String {
    if name.chars().count() <= chars {
        return name.to_owned();
    }
    name.chars().take(chars.saturating_sub(3)).chain("...".chars()).collect()
}

/// Saturation: the service or node that is full first, and at what rate.
fn situations(findings: &CheckReport, paint: Paint) -> String {
    let mut table = Table::new(["at", "<", "<full first", "<", "S", "full at", "offered"]);
    let known = || findings.situations.iter().filter(|it| it.first.is_some());
    for situation in known().take(ROWS_MAX) {
        let Some(full) = &situation.first else { continue };
        let style = if situation.offered >= full.rate { Style::Bad } else { Style::Plain };
        let name = match full.version {
            Some(version) => format!("{} v{version}", short(&full.name, 12)),
            None => short(&full.name, 16),
        };
        let instances = match full.of {
            "cores" => String::new(),
            _ if full.instances == full.wanted => count(u64::from(full.instances)),
            _ => format!("{}/{}", full.instances, full.wanted),
        };
        table.row([
            seconds(situation.at).into(),
            situation.what.as_str().into(),
            name.into(),
            full.of.into(),
            instances.into(),
            TableCell::new(rate(full.rate), style),
            rate(situation.offered).into(),
        ]);
    }
    if known().next().is_none() {
        return String::new();
    }
    let mut out = table.render(paint);
    more(&mut out, known().count());
    let failing = known().take(ROWS_MAX).filter_map(|it| Some((it, it.errors?)));
    for (situation, errors) in failing {
        let (what, at) = (&situation.what, seconds(situation.at));
        let text = format!("{what} at {at}: {:.2}% of the requests fail while nothing waits", errors * 100.0);
        out += &paragraph("  ", &text, 2, WIDTH);
    }
    out
}

/// The busiest nodes.
fn nodes(findings: &CheckReport, paint: Paint) -> String {
    let mut nodes: Vec<_> = findings.nodes.iter().filter(|node| node.busy > 0.0).collect();
    if nodes.is_empty() {
        return String::new();
    }
    // Equal ones stay in the order of the file.
    nodes.sort_by(|a, b| (b.busy / b.cores).total_cmp(&(a.busy / a.cores)));
    let mut table = Table::new(["<node", "cores", "in use", "utilisation"]);
    for node in nodes.iter().take(NODES_MAX) {
        let utilisation = node.busy / node.cores;
        let style = if utilisation >= 1.0 { Style::Bad } else { Style::Plain };
        table.row([
            short(&node.name, 30).into(),
            number(node.cores).into(),
            number(node.busy).into(),
            TableCell::new(format!("{:.1}%", utilisation * 100.0), style),
        ]);
    }
    let mut out = table.render(paint);
    if nodes.len() > NODES_MAX {
        out += &format!("  and {} less busy, in --json\n", count((nodes.len() - NODES_MAX) as u64));
    }
    out
}

/// Each caller with those that it calls.
fn graph(findings: &CheckReport) -> String {
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
            if column > indent && column + len > WIDTH {
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

/// Notes the number of rows of a list that are not printed.
fn more(out: &mut String, rows: usize) {
    if rows > ROWS_MAX {
        *out += &format!("  and {} more, in --json\n", count((rows - ROWS_MAX) as u64));
    }
}

fn services(findings: &CheckReport, paint: Paint) -> String {
    let mut table = Table::new(["<service", "instances", "slots", "offered", "slot time", "utilisation"]);
    let mut services: Vec<_> = findings.services.iter().collect();
    if services.len() > ROWS_MAX {
        // If not all are shown, the busiest are. Equal ones stay in the order of the file.
        services.sort_by(|a, b| b.utilisation.total_cmp(&a.utilisation));
    }
    for service in services.iter().take(ROWS_MAX) {
        let style = match service.utilisation {
            u if u >= 1.0 => Style::Bad,
            u if u >= 0.8 => Style::Warn,
            _ => Style::Plain,
        };
        table.row([
            service.name.as_str().into(),
            count(u64::from(service.instances)).into(),
            count(service.slots).into(),
            rate(service.rate).into(),
            seconds(service.slot_time).into(),
            match service.utilisation.is_finite() {
                true => TableCell::new(format!("{:.1}%", service.utilisation * 100.0), style),
                false => TableCell::new("no slots", style),
            },
        ]);
    }
    let mut out = table.render(paint);
    more(&mut out, findings.services.len());
    out
}

fn loads(findings: &CheckReport, paint: Paint) -> String {
    let mut table = Table::new(["<load", "offered", "service visits", "errors", "latency", "worst"]);
    for load in findings.loads.iter().take(ROWS_MAX) {
        table.row([
            load.name.as_str().into(),
            TableCell::from(format!("{}{}", if is_bound(load) { "<= " } else { "" }, rate(load.rate))),
            TableCell::from(format!("{}{}", if load.is_exact { "" } else { "<= " }, exact(load.visits, 3))),
            format!("{}%", exact(load.errors * 100.0, 2)).into(),
            seconds(load.unloaded).into(),
            seconds(load.worst).into(),
        ]);
    }
    let mut out = table.render(paint);
    more(&mut out, findings.loads.len());
    let closed = findings.loads.iter().take(ROWS_MAX).filter_map(|load| Some((load, load.closed.as_ref()?)));
    closed.for_each(|(load, closed)| out += &paragraph("  ", &of_users(load, closed), 2, WIDTH));
    out
}

/// True if the load's rate is an upper bound.
fn is_bound(load: &LoadEstimate) -> bool {
    load.closed.as_ref().is_some_and(|closed| closed.response.is_none())
}

/// Basis of the rate of a closed load.
fn of_users(load: &LoadEstimate, closed: &ClosedEstimate) -> String {
    let mut of = format!("`{}`: closed loop of {}", load.name, plural(closed.users.into(), "user"));
    if closed.think > 0.0 {
        of += &format!(", {} to think", seconds(closed.think));
    }
    if let Some(pacing) = closed.pacing {
        of += &format!(", a request each {} at most", seconds(pacing));
    }
    let rate = rate(load.rate);
    match (closed.response, &closed.bound_by) {
        (Some(response), _) => format!(
            "{of}: {rate}, and {} for a request with its waiting (mean value analysis of one queue)",
            seconds(response)
        ),
        (None, Some(service)) => format!("{of}: at most {rate}, when the slots of `{service}` are full"),
        (None, None) => format!("{of}: at most {rate}, while nothing waits"),
    }
}

/// The steps of rollouts, with the instances that are to run.
fn rollouts(findings: &CheckReport, paint: Paint) -> String {
    let mut out = String::new();
    for rollout in findings.rollouts.iter().take(ROWS_MAX) {
        let length = match rollout.length {
            Some(length) => format!("takes {}", seconds(length)),
            None => "does not end within the run".into(),
        };
        out += &format!("  {} to {} at {}: {length}\n", rollout.service, rollout.to, seconds(rollout.at));
        let mut table = Table::new(["at", "<step", "weight", "old", "new"]);
        for step in rollout.steps.iter().take(ROWS_MAX) {
            table.row([
                seconds(step.at).into(),
                step.what.as_str().into(),
                meshsim_report::percent(step.weight).into(),
                count(step.old.into()).into(),
                count(step.new.into()).into(),
            ]);
        }
        out += &table.render(paint);
        more(&mut out, rollout.steps.len());
    }
    more(&mut out, findings.rollouts.len());
    out
}

fn gains(findings: &CheckReport, paint: Paint) -> String {
    let mut table = Table::new(["<operation", "rate", "delay", "stable below", "no overshoot up to"]);
    for gain in findings.gains.iter().take(ROWS_MAX) {
        let style = if gain.rate >= gain.bound { Style::Bad } else { Style::Plain };
        table.row([
            format!("{} {}", gain.verb, gain.service).into(),
            TableCell::new(exact(gain.rate, 6), style),
            format!("{} step{}", gain.delay, if gain.delay == 1 { "" } else { "s" }).into(),
            exact(gain.bound, 6).into(),
            exact(gain.fastest, 6).into(),
        ]);
    }
    let mut out = table.render(paint);
    more(&mut out, findings.gains.len());
    out
}
