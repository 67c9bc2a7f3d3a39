//! What stands above the course: operations, faults, and what followed by itself.

use meshsim_mesh::measure::Verb;
use meshsim_report::events::EventKind;
use meshsim_report::{OperationSummary, count, number};
use serde::Serialize;

use crate::Run;

/// Bars and marks, each by time.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Lanes {
    pub(crate) bars: Vec<Bar>,
    marks: Vec<Mark>,
}

/// An operation from begun to settled, or a fault from began to ended.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) is_fault: bool,
    pub(crate) what: String,
    pub(crate) from_s: f64,
    /// The end of the run, if it lasted until then.
    pub(crate) to_s: f64,
    /// When its steps were decided.
    ticks: Vec<f64>,
}

/// What happened at one moment.
#[derive(Debug, Serialize)]
struct Mark {
    at_s: f64,
    what: String,
}

/// Of a run: what it was told to do, what went wrong, and what it did about that.
pub(crate) fn of(run: &Run) -> Lanes {
    let mut bars: Vec<Bar> = operations(run).chain(faults(run)).collect();
    bars.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
    Lanes { bars, marks: marks(run) }
}

/// In words, as in the file.
pub(crate) fn words(operation: &OperationSummary) -> String {
    let OperationSummary { verb, service, to, .. } = operation;
    let to = to.map(number);
    match (verb, to) {
        (Verb::Scale, Some(by)) => format!("scale {service} by {by}"),
        (verb, Some(to)) => format!("{} {service} to {to}", verb.as_str()),
        (verb, None) => format!("{} {service}", verb.as_str()),
    }
}

/// All but the deploys with which a run begins, and the coordinator's repairs, which are marks.
fn operations(run: &Run) -> impl Iterator<Item = Bar> {
    let is_shown = |it: &&OperationSummary| match it.verb {
        Verb::Deploy => it.began_s > 0.0,
        Verb::Repair => false,
        _ => true,
    };
    run.summary.operations.iter().filter(is_shown).map(|operation| Bar {
        is_fault: false,
        what: words(operation),
        from_s: operation.began_s,
        to_s: operation.settling_ns.map_or(run.summary.reached_s, |ns| operation.began_s + ns as f64 / 1e9),
        ticks: operation.steps.iter().map(|step| step.decided_s).collect(),
    })
}

fn faults(run: &Run) -> impl Iterator<Item = Bar> {
    let events = || run.events.iter().flatten();
    events().filter(|event| event.kind == EventKind::FaultBegan).map(move |began| {
        let is_its_end = |it: &&_| {
            let it: &meshsim_report::events::Event = it;
            it.kind == EventKind::FaultEnded && it.fault == began.fault && it.at_s >= began.at_s
        };
        let ended = events().find(is_its_end).map(|event| event.at_s);
        let to_s = ended.unwrap_or(run.summary.reached_s);
        Bar { is_fault: true, what: began.what.clone(), from_s: began.at_s, to_s, ticks: Vec::new() }
    })
}

fn marks(run: &Run) -> Vec<Mark> {
    let mut all: Vec<(f64, &str, &str)> = Vec::new();
    for event in run.events.iter().flatten() {
        let word = match event.kind {
            EventKind::NodeDead => "dead",
            EventKind::NodeBack => "back",
            _ => continue,
        };
        all.push((event.at_s, word, event.node.as_deref().unwrap_or("")));
    }
    let repairs = run.summary.operations.iter().filter(|it| it.verb == Verb::Repair);
    all.extend(repairs.map(|it| (it.began_s, "repaired", it.service.as_str())));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // What is so near that no eye could tell is one mark.
    let near = run.summary.reached_s / 200.0;
    let mut marks: Vec<Mark> = Vec::new();
    for together in all.chunk_by(|a, b| b.0 - a.0 < near) {
        let mut parts = Vec::new();
        for word in ["dead", "back", "repaired"] {
            let names: Vec<&str> = together.iter().filter(|it| it.1 == word).map(|it| it.2).collect();
            match (word, names.len()) {
                (_, 0) => {}
                (_, 1..=3) => parts.push(format!("{} {word}", names.join(", "))),
                ("repaired", n) => parts.push(format!("{} services repaired", count(n as u64))),
                (_, n) => parts.push(format!("{} nodes {word}", count(n as u64))),
            }
        }
        marks.push(Mark { at_s: together[0].0, what: parts.join("; ") });
    }
    marks
}
