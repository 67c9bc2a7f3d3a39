//! Calls between services.

use super::requests::{OVER_BUDGET, over_budget};
use super::{ROWS_MAX, lines, more};
use crate::show::count;
use crate::summary::Summary;
use crate::table::{Paint, Style, Table, TableCell};

/// The edges on which something failed, the most attempts first.
pub(super) fn calls(summary: &Summary, paint: Paint) -> String {
    let mut edges: Vec<_> = summary.calls.iter().filter(|edge| edge.retries > 0 || edge.failed > 0).collect();
    // Equal ones stay in the order of the file.
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.attempts));
    let mut table = Table::new([
        "<from",
        "<to",
        "calls",
        "attempts",
        "retries",
        "over budget",
        "failed",
        "tolerated",
        "<attempts failed by",
    ]);
    for edge in edges.iter().take(ROWS_MAX) {
        table.row([
            edge.from.as_str().into(),
            edge.to.as_str().into(),
            count(edge.calls).into(),
            count(edge.attempts).into(),
            count(edge.retries).into(),
            over_budget(edge.over_budget),
            TableCell::new(count(edge.failed), if edge.failed > 0 { Style::Warn } else { Style::Plain }),
            count(edge.tolerated).into(),
            edge.attempts_failed.in_words().into(),
        ]);
    }
    if edges.is_empty() {
        return String::new();
    }
    let mut table = table.without_empty_columns(&["0"]).without_if_narrow(&["calls", "retries"]);
    let out = table.fitted(paint) + &more(edges.len(), ROWS_MAX, paint);
    let parts =
        [("over budget", OVER_BUDGET), ("tolerated", "tolerated: the call was optional, and its caller went on")];
    let said: Vec<&str> = parts.into_iter().filter(|(name, _)| table.has(name)).map(|(_, text)| text).collect();
    if said.is_empty() { out } else { out + &lines(&said.join("; "), Style::Dim, paint) }
}
