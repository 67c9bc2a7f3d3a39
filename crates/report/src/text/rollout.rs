//! Section of the report about rollouts.

use super::{ROWS_MAX, lines};
use crate::show::{count, fine_seconds, operation_in_words, percent};
use crate::summary::{RolloutEntry, Summary};
use crate::table::{Paint, Style, Table, TableCell};
use crate::wrap::wrapped;

/// Entries of one rollout that are listed at most: half of them its first, half its last.
const ENTRIES_MAX: usize = 2 * ROWS_MAX;
/// Columns of the time before each entry.
const TIME_COLUMNS: usize = 12;

/// One line for each rollout, and what happened to it.
pub(super) fn rollouts(summary: &Summary, paint: Paint) -> String {
    let all = || summary.operations.iter().filter_map(|it| Some((it, it.rollout.as_ref()?)));
    if all().next().is_none() {
        return String::new();
    }
    let mut table = Table::new(["<rollout", "weight", "measurements", "failed", "inconclusive", "<stands at"]);
    for (operation, rollout) in all().take(ROWS_MAX) {
        let measured = || rollout.entries.iter().filter_map(|entry| entry.measurement.as_ref());
        let of = |verdict: &str| count(measured().filter(|it| it.verdict == verdict).count() as u64);
        let style = match &*operation.outcome {
            "reached" => Style::Good,
            "rolled_back" | "aborted" => Style::Bad,
            _ => Style::Warn,
        };
        let stands = match &*operation.outcome {
            "reached" => "promoted".into(),
            "superseded" => format!("superseded at {}", rollout.standing()),
            _ => rollout.standing(),
        };
        table.row([
            operation_in_words(operation).into(),
            percent(rollout.weight).into(),
            count(measured().count() as u64).into(),
            of("failed").into(),
            of("inconclusive").into(),
            TableCell::new(stands, style),
        ]);
    }
    let mut out = table.fitted(paint);
    for (operation, rollout) in all().take(ROWS_MAX) {
        out += &format!("\n  {}\n", paint.on(Style::Bold, &operation_in_words(operation)));
        let entries = &rollout.entries;
        let hidden = entries.len().saturating_sub(ENTRIES_MAX);
        let (first, last) = entries.split_at(if hidden > 0 { ENTRIES_MAX / 2 } else { entries.len() });
        first.iter().for_each(|entry| out += &line(entry, paint));
        if hidden > 0 {
            let text = format!("{} more, in events.jsonl", count(hidden as u64));
            out += &lines(&text, Style::Dim, paint);
            last[hidden..].iter().for_each(|entry| out += &line(entry, paint));
        }
    }
    out
}

fn line(entry: &RolloutEntry, paint: Paint) -> String {
    let style = match (&*entry.kind, entry.measurement.as_ref().map(|it| &*it.verdict)) {
        (_, Some("failed")) | ("aborted", _) => Style::Bad,
        (_, Some("inconclusive")) | ("paused", _) => Style::Warn,
        (_, Some(_)) => Style::Dim,
        ("promoted", _) => Style::Good,
        _ => Style::Plain,
    };
    let time = format!("{:>width$}  ", fine_seconds(entry.at_s), width = TIME_COLUMNS - 2);
    let room = paint.columns.saturating_sub(TIME_COLUMNS).max(20);
    let texts = wrapped(&entry.what, room);
    let mut out = String::new();
    for (index, text) in texts.iter().enumerate() {
        let before = if index == 0 { time.clone() } else { " ".repeat(TIME_COLUMNS) };
        out += &format!("{before}{}\n", paint.on(style, text));
    }
    out
}
