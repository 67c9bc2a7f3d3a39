//! Operations and their steps.

use std::collections::BTreeSet;

use meshsim_mesh::measure::OperationKind;

use super::{ROWS_MAX, lines, more};
use crate::show::{count, fine_seconds, named, number, operation_in_words, plural, span};
use crate::summary::{OperationSummary, Summary};
use crate::table::{Paint, Style, Table, TableCell};

/// Operations of one kind that begin together are shown as one row from this many on.
const TOGETHER_MIN: usize = 3;
/// Rows of operations that are listed at most.
const OPERATIONS_MAX: usize = 40;

pub(super) fn operations(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new([
        "at",
        "<operation",
        "steps",
        "generation",
        "settled in",
        "<result",
        "residual",
        "messages",
        "resent",
        "acks",
        "<",
    ]);
    let (automatic, others): (Vec<_>, Vec<_>) =
        summary.operations.iter().partition(|it| it.automatic && it.kind != OperationKind::Drain);
    let mut rest = &others[..];
    let mut rows = 0;
    // Reasons of the unplaced instances, each once.
    let mut reasons: BTreeSet<&str> = BTreeSet::new();
    while let Some(first) = rest.first() {
        let together = rest.iter().take_while(|other| is_together(first, other)).count();
        let taken = if together >= TOGETHER_MIN { together } else { 1 };
        let (group, others) = rest.split_at(taken);
        rest = others;
        rows += 1;
        if rows <= OPERATIONS_MAX {
            table.row(operation_row(group));
            reasons.extend(group.iter().filter_map(|operation| operation.unplaced_reason.as_deref()));
        }
    }
    let spare = &["acks", "resent", "messages", "generation", "steps"];
    let mut table = table.without_empty_columns(&["-"]).without_if_narrow(spare);
    let mut out = table.fitted(paint) + &more(rows, OPERATIONS_MAX, paint);
    for reason in reasons.iter().take(ROWS_MAX) {
        out += &lines(&format!("unplaced: {reason}"), Style::Warn, paint);
    }
    if !automatic.is_empty() {
        let all = plural(automatic.len() as u64, "operation");
        out += &lines(&format!("and {all} of autoscalers, listed below"), Style::Dim, paint);
    }
    let legend = legend(summary, &table);
    if !legend.is_empty() {
        out += &lines(&legend, Style::Dim, paint);
    }
    out
}

/// Legend of the letters and words that occur in the table.
fn legend(summary: &Summary, table: &Table) -> String {
    let of = |kinds: &[OperationKind]| summary.operations.iter().any(|operation| kinds.contains(&operation.kind));
    let others = [OperationKind::Deploy, OperationKind::Undeploy, OperationKind::Extend, OperationKind::Repair];
    let parts = [
        (of(&others), "S instances"),
        (of(&[OperationKind::Scale]), "C requests that an instance serves at once"),
        (of(&[OperationKind::Update, OperationKind::Rollout]), "V mean version"),
        (table.has("generation"), "generation: steps of the service so far"),
        (table.has("residual"), "residual: target minus reached value"),
    ];
    let said: Vec<&str> = parts.into_iter().filter(|(is_there, _)| *is_there).map(|(_, text)| text).collect();
    if summary.operations.is_empty() { String::new() } else { said.join("; ") }
}

fn is_together(a: &OperationSummary, b: &OperationSummary) -> bool {
    let simple = matches!(
        a.kind,
        OperationKind::Deploy | OperationKind::Undeploy | OperationKind::Flush | OperationKind::Repair
    );
    simple && (a.kind, &a.outcome, &a.name) == (b.kind, &b.outcome, &b.name) && a.began_s == b.began_s
}

fn operation_row(group: &[&OperationSummary]) -> Vec<TableCell> {
    let first = group[0];
    let name = match group.len() {
        1 => {
            // A rate of 1 is no recurrence.
            let at = first.rate.filter(|rate| *rate != 1.0).map_or_else(String::new, |r| format!(" at {}", number(r)));
            operation_in_words(first) + &at
        }
        n => named(first.name.as_deref(), &format!("{} {}", first.kind.as_str(), plural(n as u64, "service"))),
    };
    let sum = |what: fn(&OperationSummary) -> u64| count(group.iter().map(|it| what(it)).sum());
    let settled =
        group.iter().map(|o| o.settle_time_ns).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
    let result = match (group.len(), first.kind) {
        (1, OperationKind::Scale) => changed("C", first.before.capacity, first.after.capacity),
        (1, OperationKind::Update | OperationKind::Rollout) => changed("V", first.before.version, first.after.version),
        _ => {
            let instances = |values: fn(&OperationSummary) -> u32| group.iter().map(|o| f64::from(values(o))).sum();
            changed("S", instances(|o| o.before.instances), instances(|o| o.after.instances))
        }
    };
    let same = group.iter().all(|o| o.generation == first.generation);
    let generation = first.generation.filter(|_| same);
    let unplaced: u32 = group.iter().map(|o| o.unplaced).sum();
    let (mut outcome, mut style) = match &*first.outcome {
        "reached" => (String::new(), Style::Good),
        "running" => ("still running".into(), Style::Warn),
        // All of its allowed steps: as requested.
        "step_limit" => ("step limit".into(), Style::Plain),
        "stuck" => ("stuck".into(), Style::Bad),
        "refused" => ("refused".into(), Style::Bad),
        "rolled_back" => ("rolled back".into(), Style::Bad),
        other => (other.into(), Style::Warn),
    };
    let left: u32 = group.iter().filter_map(|o| o.drain.as_ref()).map(|drain| drain.left).sum();
    if left > 0 {
        let refused = format!("{} left by its disruption budget", count(u64::from(left)));
        outcome = [outcome, refused].join(", ").trim_start_matches(", ").into();
        style = Style::Bad;
    }
    if unplaced > 0 {
        outcome = [outcome, format!("{} unplaced", count(u64::from(unplaced)))].join(", ");
        outcome = outcome.trim_start_matches(", ").into();
        style = Style::Bad;
    }
    vec![
        fine_seconds(first.began_s).into(),
        name.into(),
        sum(|o| o.step_count as u64).into(),
        generation.map_or("-".into(), count).into(),
        span(settled).into(),
        result.into(),
        first.residual.map_or("-".into(), number).into(),
        sum(|o| o.messages).into(),
        match group.iter().map(|o| o.resent).sum() {
            0 => "-".into(),
            resent => count(resent),
        }
        .into(),
        sum(|o| o.acks).into(),
        TableCell::new(outcome, style),
    ]
}

fn changed(what: &str, from: f64, to: f64) -> String {
    if from == to { format!("{what} {}", number(to)) } else { format!("{what} {} -> {}", number(from), number(to)) }
}
