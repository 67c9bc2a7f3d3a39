//! `meshsim trace operation`: progress of the steps of an operation on each node.

mod svg;
mod text;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use meshsim_actor::{ActorId, Fate, MachineAction, Span, Time};
use meshsim_mesh::model::COORDINATOR;
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{OperationSummary, Summary, count, number, plural};
use meshsim_trace::{Chunk, Entry};
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::flow::line::cut;
use crate::flow::words::Names;
use crate::flow::{Item, Source};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Show the steps of an operation on each node, and the last node";

pub(super) const HELP: &str = "\
Examples:
  meshsim trace operation last                     the operations of the run, with their numbers
  meshsim trace operation last 5                   node by step: when each had acknowledged; and the slowest step
  meshsim trace operation last 5 --step 9          one step on each node: sent, delivered, applied, acknowledged
  meshsim trace operation last 5 --svg > steps.svg

Times run from the decision of the step. `by 7` is a node that has the step from a later message.";

/// Nodes of a step that are shown; those that are quicker are counted.
const NODES_MAX: usize = 16;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`
    run: PathBuf,
    /// The operation, by its number in the list that is shown without one
    operation: Option<usize>,
    /// Show this step on each node
    #[arg(long, value_name = "N", requires = "operation")]
    step: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a picture
    #[arg(long, conflicts_with = "json", requires = "operation")]
    svg: bool,
    /// Show all nodes
    #[arg(long)]
    wide: bool,
}

/// One step on one node. Times are nanoseconds since the run began.
#[derive(Clone, Debug, Default, Serialize)]
struct Place {
    node: String,
    /// First sent to it: when, and by which record.
    sent: Option<(u64, u64)>,
    /// Sent again so many times.
    resent: u64,
    /// Of all these, lost, by reason.
    lost: BTreeMap<&'static str, u64>,
    delivered: Option<(u64, u64)>,
    applied: Option<(u64, u64)>,
    /// Time at which the coordinator received the first acknowledgement that covers it.
    acknowledged: Option<(u64, u64)>,
    /// Acknowledgements of it that were lost.
    acknowledgements_lost: u64,
    refused: Option<(u64, u64)>,
    /// Spans in which the node was down between the decision and its acknowledgement: from, to.
    down: Vec<(u64, Option<u64>)>,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub(in crate::command) struct Step {
    n: u64,
    decided_ns: u64,
    nodes: Vec<Place>,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = Source::open(&self.run, screen)?;
        let Some(summary) = &source.summary else {
            let why = format!("the operations of {} are not known", source.label);
            return Err(Error::WrongInput(why, "they stand in the summary.json beside the trace of a run".into()));
        };
        let Some(wanted) = self.operation else {
            return match self.json {
                true => screen.print_json(&summary.operations).map(|()| Exit::Success),
                false => screen.print(&list(summary, screen.paint())).map(|()| Exit::Success),
            };
        };
        let Some(operation) = wanted.checked_sub(1).and_then(|at| summary.operations.get(at)) else {
            let why = format!("unknown operation {wanted}");
            let help = match summary.operations.len() {
                0 => "the run has none".into(),
                n => format!("the run has operations 1 to {n}: `meshsim trace operation {}` lists them", source.label),
            };
            return Err(Error::WrongInput(why, help));
        };
        if let Some(step) = self.step.filter(|step| !operation.steps.iter().any(|it| it.n == *step)) {
            let all: Vec<String> = operation.steps.iter().map(|step| step.n.to_string()).collect();
            let help = if all.is_empty() { "it has none".into() } else { format!("its steps are {}", all.join(", ")) };
            return Err(Error::WrongInput(format!("operation {wanted} has no step {step}"), help));
        }
        let numbers: Vec<u64> = operation.steps.iter().map(|step| step.n).collect();
        let steps = gather(&source, &numbers, &Window::default())?;
        if self.json {
            return screen
                .print_json(&serde_json::json!({ "operation": operation, "steps": steps }))
                .map(|()| Exit::Success);
        }
        let steps_told = plural(steps.len() as u64, "step");
        let (began, outcome) = (number(operation.began_s), &operation.outcome);
        let what = format!("{}, from {began}s, {outcome}, {steps_told}", name(operation));
        let heading = [&*format!("Operation {wanted}"), &what];
        let most = if self.wide { usize::MAX } else { NODES_MAX };
        let text = match self.svg {
            true => svg::draw(heading, &steps, self.step, most),
            false => text::write(heading, &steps, self.step, most, screen.paint()),
        };
        screen.print(&text).map(|()| Exit::Success)
    }
}

/// Lists all operations of a run.
fn list(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["n", "<operation", "began", "<ended", "steps", "settled", "resent"]);
    for (at, operation) in (1..).zip(&summary.operations) {
        table.row([
            TableCell::from(count(at)),
            cut(&name(operation), 28).into(),
            format!("{}s", number(operation.began_s)).into(),
            operation.outcome.to_string().into(),
            count(operation.step_count as u64).into(),
            operation.settle_time_ns.map_or_else(|| "-".into(), |ns| Span::from_nanos(ns).to_string()).into(),
            count(operation.resent).into(),
        ]);
    }
    match summary.operations.is_empty() {
        true => "the run has no operations\n".into(),
        false => table.render(paint),
    }
}

/// `extend payment to 12`.
pub(in crate::command) fn name(operation: &OperationSummary) -> String {
    let to = operation.to.map_or_else(String::new, |to| format!(" to {}", number(to)));
    format!("{} {}{to}", operation.kind.as_str(), operation.service)
}

/// The part of a trace that is read for steps.
#[derive(Default)]
pub(in crate::command) struct Window {
    /// First moment, in nanoseconds.
    pub(in crate::command) from: u64,
    /// Last moment; `None`: the end of the trace.
    pub(in crate::command) to: Option<u64>,
    /// Machines that are down before, and since when.
    pub(in crate::command) down: BTreeMap<ActorId, Time>,
}

/// Reads all about the steps of these numbers out of a part of the trace.
pub(in crate::command) fn gather(source: &Source, numbers: &[u64], window: &Window) -> Result<Vec<Step>, Error> {
    let names = &source.names;
    let mut steps: BTreeMap<u64, (Time, BTreeMap<ActorId, Place>)> = BTreeMap::new();
    let mut down = window.down.clone();
    let to = window.to.map_or(Time::NEVER, Time::from_nanos);
    let is_in = |chunk: &Chunk| chunk.to.nanos() >= window.from && chunk.from <= to;
    source.each_of(is_in, |item| {
        let record = &item.record;
        let now = (record.at.nanos(), record.seq);
        if let Entry::Note { what, value, .. } = &record.entry
            && &**what == "decide"
            && record.actor == COORDINATOR
            && numbers.contains(value)
        {
            let nodes = down
                .iter()
                .map(|(node, since)| (*node, Place { down: vec![(since.nanos(), None)], ..place(names, *node) }));
            steps.insert(*value, (record.at, nodes.collect()));
        }
        if let Entry::Power(power) = &record.entry {
            let open = steps
                .values_mut()
                .map(|(_, nodes)| nodes.entry(record.actor).or_insert_with(|| place(names, record.actor)));
            let open = open.filter(|place| place.acknowledged.is_none());
            match power {
                MachineAction::Crash | MachineAction::Wipe => {
                    down.entry(record.actor).or_insert(record.at);
                    open.for_each(|place| place.down.push((now.0, None)));
                }
                MachineAction::Restart => {
                    down.remove(&record.actor);
                    open.filter_map(|place| place.down.last_mut()).for_each(|last| last.1 = Some(now.0));
                }
                _ => {}
            }
            return ControlFlow::Continue(());
        }
        for (n, (_, nodes)) in &mut steps {
            take(item, *n, nodes, names);
        }
        ControlFlow::Continue(())
    })?;
    let step = |(n, (decided, nodes)): (u64, (Time, BTreeMap<ActorId, Place>))| Step {
        n,
        decided_ns: decided.nanos(),
        // A node that was only seen to be down had no part in it.
        nodes: nodes.into_values().filter(|place| place.sent.is_some() || place.applied.is_some()).collect(),
    };
    Ok(steps.into_iter().map(step).collect())
}

fn place(names: &Names, node: ActorId) -> Place {
    Place { node: names.actor(node).to_owned(), ..Place::default() }
}

/// Applies a record to the progress of step `n`.
fn take(item: &Item, n: u64, nodes: &mut BTreeMap<ActorId, Place>, names: &Names) {
    fn at<'a>(nodes: &'a mut BTreeMap<ActorId, Place>, node: ActorId, names: &Names) -> &'a mut Place {
        nodes.entry(node).or_insert_with(|| place(names, node))
    }
    let record = &item.record;
    let now = Some((record.at.nanos(), record.seq));
    if let Entry::Note { what, value, .. } = &record.entry {
        let covers = match &**what {
            "apply" | "refuse" => *value == n,
            "snapshot" => *value >= n,
            _ => false,
        };
        if covers && record.actor != COORDINATOR {
            let place = at(nodes, record.actor, names);
            match &**what {
                "refuse" => place.refused = place.refused.or(now),
                _ => place.applied = place.applied.or(now),
            }
        }
        return;
    }
    let (Some(sent), Some(sender)) = (item.sent(), item.sender()) else { return };
    let Some((first, last)) = sent.about.steps else { return };
    let is_order = sender == COORDINATOR && matches!(sent.kind, "snapshot") && last >= n
        || sender == COORDINATOR && sent.kind != "snapshot" && (first..=last).contains(&n);
    if is_order {
        let place = at(nodes, sent.to, names);
        match &record.entry {
            Entry::Send { .. } if place.sent.is_none() => place.sent = now,
            Entry::Send { .. } => place.resent += 1,
            Entry::Deliver(_) => place.delivered = place.delivered.or(now),
            Entry::Fate(_, Fate::Lost(cause)) => *place.lost.entry(cause.as_str()).or_default() += 1,
            _ => {}
        }
    }
    if matches!(sent.kind, "ack" | "hello") && last >= n {
        let place = at(nodes, sender, names);
        match &record.entry {
            Entry::Deliver(_) => place.acknowledged = place.acknowledged.or(now),
            Entry::Fate(_, Fate::Lost(_)) if place.acknowledged.is_none() => place.acknowledgements_lost += 1,
            _ => {}
        }
    }
}

/// The time of something after the decision.
fn after(step: &Step, at: Option<(u64, u64)>) -> Option<Span> {
    at.map(|(ns, _)| Span::from_nanos(ns.saturating_sub(step.decided_ns)))
}

/// The way of a step to a node and back: decided, sent, delivered, applied, acknowledged.
fn way(step: &Step, place: &Place) -> [Option<(u64, u64)>; 5] {
    [Some((step.decided_ns, 0)), place.sent, place.delivered, place.applied, place.acknowledged]
}

/// The nodes of a step, the slowest first: those that have not acknowledged it, then by time.
fn slowest_first(step: &Step) -> Vec<&Place> {
    let mut nodes: Vec<&Place> = step.nodes.iter().collect();
    nodes.sort_by_key(|place| std::cmp::Reverse(place.acknowledged.map_or(u64::MAX, |(ns, _)| ns)));
    nodes
}

/// The nodes of all steps, the slowest first.
fn nodes_slowest_first(steps: &[Step]) -> Vec<&str> {
    let mut slowest: BTreeMap<&str, u64> = BTreeMap::new();
    for step in steps {
        for place in &step.nodes {
            let took = after(step, place.acknowledged).map_or(u64::MAX, |span| span.nanos());
            let worst = slowest.entry(&place.node).or_default();
            *worst = took.max(*worst);
        }
    }
    let mut nodes: Vec<(&str, u64)> = slowest.into_iter().collect();
    nodes.sort_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
    nodes.into_iter().map(|(node, _)| node).collect()
}

/// The step that took longest, or that not all acknowledged: the one to look at.
fn slowest(steps: &[Step]) -> Option<&Step> {
    let time =
        |step: &&Step| slowest_first(step).first().map(|place| after(step, place.acknowledged).unwrap_or(Span::MAX));
    steps.iter().rev().max_by_key(time)
}

/// Progress of a node with a step: the time of its acknowledgement, or a word.
fn state(step: &Step, place: &Place) -> (String, Style) {
    match (after(step, place.acknowledged), place) {
        (Some(span), place) if place.resent > 0 => (format!("{span} +{}", place.resent), Style::Warn),
        (Some(span), _) => (span.to_string(), Style::Plain),
        (None, Place { refused: Some(_), .. }) => ("refused".into(), Style::Bad),
        (None, Place { applied: Some(_), .. }) => ("applied".into(), Style::Warn),
        (None, Place { delivered: Some(_), .. }) => ("delivered".into(), Style::Warn),
        (None, Place { sent: Some(_), .. }) => ("sent".into(), Style::Bad),
        (None, _) => ("not sent".into(), Style::Bad),
    }
}
