//! Responses of a gateway, for people.

use std::collections::BTreeSet;

use meshsim_actor::Span;
use meshsim_mesh::coordinator::Presence;
use meshsim_mesh::measure::OperationKind;
use meshsim_report::events::{Event, EventKind};
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{OperationSummary, Verdict, count, number, span};

use meshsim_gateway::{
    FaultBegun, Healed, Moment, Operation, Phase, RequestReport, Service, StartedOperations, Status,
};

/// Deeper calls are not set in any further.
const DEPTH_SHOWN_MAX: usize = 32;
/// Nodes that are listed; all are in `--json`.
const NODES_LISTED_MAX: usize = 32;

/// The number of processes that are connected.
pub(super) fn processes(status: &Status) -> String {
    match status.processes.iter().filter(|process| process.connected).count() {
        1 => "1 process".into(),
        connected => format!("{connected} processes"),
    }
}

pub(super) fn status(status: &Status, paint: Paint) -> String {
    let mut out = format!(
        "{}, seed {}: {} at {:.1}s, {}\n",
        paint.on(Style::Bold, &status.experiment),
        status.seed,
        status.phase.as_str(),
        status.time_s,
        processes(status),
    );
    if status.phase == Phase::Waiting && !status.missing.is_empty() {
        out += &format!("  {}\n", paint.on(Style::Warn, &format!("waiting for {}", status.missing.join(", "))));
    }
    for fault in &status.faults {
        let until = fault.until_s.map_or_else(|| "to the end".into(), |until| format!("until {until:.1}s"));
        let line = format!("{}: since {:.1}s, {until}", fault.what, fault.from_s);
        out += &format!("  {}\n", paint.on(Style::Bad, &line));
    }
    for rollout in &status.rollouts {
        let measured = rollout.measured.as_ref().map_or_else(String::new, |it| format!("; {it}"));
        let line = format!("rollout {} to {}: {}{measured}", rollout.service, rollout.to, rollout.standing);
        out += &format!("  {}\n", paint.on(Style::Good, &line));
    }
    for silent in &status.silent {
        let line = format!("{} is silent since {:.1}s: its figures are missing", silent.actor, silent.since_s);
        out += &format!("  {}\n", paint.on(Style::Warn, &line));
    }
    if !status.recent.is_empty() {
        out += &format!("\n{}", recent(&status.recent, paint));
    }
    if !status.slo.is_empty() {
        out += &format!("\n{}", slos(&status.slo).render(paint));
    }
    // In a cluster of containers the machine is the container.
    let machine =
        |process: Option<usize>| process.and_then(|at| status.processes.get(at)).map_or("", |it| it.hostname.as_str());
    let mut nodes = Table::new(["<node", "instances", "<state", "<machine"]);
    for node in status.nodes.iter().take(NODES_LISTED_MAX) {
        nodes.row([
            node.name.as_str().into(),
            node.instances.to_string().into(),
            TableCell::new(node.state.as_str(), style_of(node.state)),
            machine(node.process).into(),
        ]);
    }
    out +=
        &format!("\n{}\n{}", services(&status.services).render(paint), nodes.without_empty_columns(&[]).render(paint));
    if let more @ 1.. = status.nodes.len().saturating_sub(NODES_LISTED_MAX) {
        let dead = status.nodes.iter().filter(|node| node.state == Presence::Dead).count();
        out += &paint.on(Style::Dim, &format!("  and {more} more; {dead} are dead in all\n"));
    }
    out
}

/// The services: what is wanted, and what is there.
pub(super) fn services(all: &[Service]) -> Table {
    let mut table = Table::new(["<service", "instances", "ready", "capacity", "version", "generation"]);
    for service in all {
        let style = if service.ready == service.values.instances { Style::Plain } else { Style::Warn };
        table.row([
            service.name.as_str().into(),
            service.values.instances.to_string().into(),
            TableCell::new(service.ready.to_string(), style),
            number(service.values.capacity).into(),
            number(service.values.version).into(),
            service.generation.to_string().into(),
        ]);
    }
    table
}

/// Style of a node in this state.
pub(super) fn style_of(state: Presence) -> Style {
    match state {
        Presence::Alive => Style::Plain,
        Presence::Dead | Presence::Shunned => Style::Bad,
        Presence::Pending | Presence::Left | Presence::Reserve => Style::Dim,
        Presence::Leaving | Presence::Cordoned => Style::Warn,
    }
}

/// The SLOs, as they come out by now.
pub(super) fn slos(all: &[Verdict]) -> Table {
    let mut table = Table::new(["<SLO, so far", "<", "measured"]);
    for it in all {
        table.row([it.slo.as_str().into(), it.outcome.cell(), it.figure_text.as_str().into()]);
    }
    table
}

/// Results of the requests of the last windows.
fn recent(moments: &[Moment], paint: Paint) -> String {
    let mut table = Table::new(["<due", "requests", "done", "failed", "open", "p50", "p90", "p99"]);
    for it in moments {
        let failed = TableCell::new(count(it.failed), if it.failed > 0 { Style::Bad } else { Style::Plain });
        let open = if it.open > 0 { count(it.open) } else { String::new() };
        table.row([
            format!("{} to {}s", number(it.from_s), number(it.to_s)).into(),
            count(it.offered).into(),
            count(it.done).into(),
            failed,
            open.into(),
            span(it.p50_ns).into(),
            span(it.p90_ns).into(),
            span(it.p99_ns).into(),
        ]);
    }
    table.without_empty_columns(&["-", ""]).render(paint)
}

/// Target of an operation, in a few words.
fn target(operation: &OperationSummary) -> String {
    let mut words = Vec::new();
    let preposition = if operation.kind == OperationKind::Scale { "by" } else { "to" };
    words.extend(operation.to.map(|to| format!("{preposition} {to}")));
    words.extend(operation.rate.map(|rate| format!("rate {rate}")));
    words.extend(operation.strategy.as_deref().map(str::to_owned));
    words.join(", ")
}

pub(super) fn operations(operations: &[Operation], paint: Paint) -> String {
    let mut table = Table::new(["#", "<operation", "<service", "<target", "<source", "began", "steps", "<outcome"]);
    for Operation { index, summary: operation } in operations {
        let style = match &*operation.outcome {
            "refused" | "stuck" => Style::Warn,
            _ if operation.unplaced > 0 => Style::Bad,
            _ => Style::Plain,
        };
        let outcome = match operation.unplaced {
            0 => operation.outcome.clone().into_owned(),
            unplaced => format!("{}, {unplaced} unplaced", operation.outcome),
        };
        table.row([
            index.to_string().into(),
            operation.kind.as_str().into(),
            operation.service.as_str().into(),
            target(operation).into(),
            if operation.manual {
                "manual"
            } else if operation.automatic {
                "autoscaler"
            } else {
                ""
            }
            .into(),
            format!("{:.2}s", operation.began_s).into(),
            operation.step_count.to_string().into(),
            TableCell::new(outcome, style),
        ]);
    }
    if operations.is_empty() {
        return "no operation has begun\n".into();
    }
    let reasons: BTreeSet<&str> = operations.iter().filter_map(|it| it.summary.unplaced_reason.as_deref()).collect();
    let mut out = table.render(paint);
    for reason in reasons {
        out += &format!("  {}\n", paint.on(Style::Warn, &format!("unplaced: {reason}")));
    }
    out
}

pub(super) fn operation(operation: Operation, paint: Paint) -> String {
    let mut steps =
        Table::new(["step", "generation", "decided", "settled", "instances", "unplaced", "S", "C", "V", "acks"]);
    for step in &operation.summary.steps {
        let settled = step.settle_time_ns.map(|ns| step.decided_s + ns as f64 / 1e9);
        steps.row([
            step.n.to_string().into(),
            step.generation.to_string().into(),
            format!("{:.2}s", step.decided_s).into(),
            settled.map_or_else(|| "-".into(), |at| format!("{at:.2}s")).into(),
            step.values.instances.to_string().into(),
            match step.unplaced {
                0 => "".into(),
                unplaced => TableCell::new(unplaced.to_string(), Style::Bad),
            },
            number(step.s).into(),
            number(step.values.capacity).into(),
            number(step.values.version).into(),
            step.acks.to_string().into(),
        ]);
    }
    let head = operations(std::slice::from_ref(&operation), paint);
    if operation.summary.step_count == 0 {
        head
    } else {
        format!("{head}\n{}", steps.without_empty_columns(&[]).render(paint))
    }
}

pub(super) fn begun(begun: StartedOperations) -> String {
    let list = |indices: &[usize]| indices.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut out = format!("begun: {} of `meshsim ctl operations`\n", list(&begun.operations));
    if !begun.refused.is_empty() {
        out += &format!("rejected, not applicable in the current state: {}\n", list(&begun.refused));
    }
    out
}

pub(super) fn fault(begun: FaultBegun) -> String {
    format!("begins at {:.2}s, ends at {:.2}s\n", begun.begins_s, begun.ends_s)
}

pub(super) fn healed(healed: Healed) -> String {
    format!("{} ends at {:.2}s\n", healed.what, healed.ends_s)
}

/// An event of the run as one line.
pub(super) fn event(event: &Event, paint: Paint) -> String {
    let (style, words) = event_in_words(event);
    format!("{:>9.2}s  {}\n", event.at_s, paint.on(style, &words))
}

/// An event in words, and their look.
pub(super) fn event_in_words(event: &Event) -> (Style, String) {
    let (style, word) = match event.kind {
        EventKind::FaultBegan => (Style::Bad, "fault began"),
        EventKind::FaultEnded => (Style::Plain, "fault ended"),
        EventKind::NodeDead | EventKind::NodeShunned => (Style::Bad, ""),
        EventKind::NodeLeft | EventKind::NodeCordoned => (Style::Warn, ""),
        EventKind::OperationBegan => (Style::Good, "began"),
        EventKind::OperationSettled => (Style::Good, "settled"),
        EventKind::StepDecided => (Style::Dim, "decided"),
        EventKind::StepSettled => (Style::Dim, "settled"),
        EventKind::NodeBack | EventKind::Rollout | EventKind::Autoscaled => (Style::Plain, ""),
        EventKind::NodeDrained | EventKind::NodeUncordoned => (Style::Plain, ""),
        EventKind::NodeOrdered | EventKind::NodeAdded | EventKind::NodeRemoved => (Style::Plain, ""),
        EventKind::Analysis => (Style::Dim, ""),
        EventKind::InstanceReady | EventKind::InstanceGone | EventKind::LeftOut => (Style::Dim, ""),
    };
    let words = if word.is_empty() { event.what.clone() } else { format!("{word}: {}", event.what) };
    (style, words)
}

pub(super) fn asked(asked: RequestReport, paint: Paint) -> String {
    let ms = |ms: f64| Span::from_secs_f64(ms / 1e3).to_string();
    let how = match &asked.failure {
        None if asked.degraded => paint.on(Style::Warn, "done, without an optional call that failed,"),
        None => paint.on(Style::Good, "done"),
        Some(failure) => paint.on(Style::Bad, &format!("failed: {failure}")),
    };
    let took = ms(asked.took_ms);
    let mut out = format!("{}/{}: {how} in {took}, asked at {:.2}s\n", asked.service, asked.endpoint, asked.asked_s);
    let mut table = Table::new(["<call", "<instance", "version", "at", "waited", "took", "<failure"]);
    for hop in asked.path.iter().flatten() {
        let failure = match (hop.failure.as_deref(), hop.answered) {
            (Some(failure), true) if hop.late => format!("{failure}, answered late"),
            (Some(failure), true) => failure.to_owned(),
            (Some(failure), false) => format!("{failure}, no answer"),
            (None, false) => "no answer".to_owned(),
            (None, true) => String::new(),
        };
        table.row([
            format!("{}{}/{}", "  ".repeat(usize::from(hop.depth).min(DEPTH_SHOWN_MAX)), hop.service, hop.endpoint)
                .into(),
            format!("{}#{}", hop.node, hop.instance).into(),
            hop.version.to_string().into(),
            ms(hop.at_ms).into(),
            ms(hop.waited_ms).into(),
            ms(hop.took_ms).into(),
            TableCell::new(failure, Style::Bad),
        ]);
    }
    out += &table.without_empty_columns(&[]).render(paint);
    if asked.path_beyond > 0 {
        out += &paint.on(Style::Dim, &format!("  and {} more\n", asked.path_beyond));
    }
    if asked.path.iter().flatten().any(|hop| !hop.answered) {
        out += &paint.on(Style::Dim, BELOW_UNKNOWN);
    }
    out
}

/// A path holds what its callers knew when they answered.
const BELOW_UNKNOWN: &str = "  no answer: the caller answered first, so the hops below are not known here.\n  \
                             The trace of the run has them: `meshsim trace request`.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_hop_without_an_answer_says_where_the_hops_below_it_are() {
        let text = |answered: bool| {
            let hop = serde_json::json!({
                "depth": 0, "service": "a", "endpoint": "get", "node": "n", "instance": 0, "version": 1,
                "at_ms": 0.0, "waited_ms": 0.0, "took_ms": 5.0, "failure": "timeout", "answered": answered, "late": answered,
            });
            let answer = serde_json::json!({
                "status": "failed", "failure": "timeout", "service": "a", "endpoint": "get", "asked_s": 1.0, "took_ms": 5.0,
                "retries": 0, "bytes": 0, "path": [hop],
            });
            asked(serde_json::from_value(answer).unwrap(), Paint::default())
        };
        assert!(
            text(false).contains("no answer\n") && text(false).contains("meshsim trace request"),
            "{}",
            text(false)
        );
        assert!(text(true).contains("answered late") && !text(true).contains("trace request"), "{}", text(true));
    }
}
