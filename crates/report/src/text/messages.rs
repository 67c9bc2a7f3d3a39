//! Totals of messages, and the limits of the figures: real work, external changes, gaps.

use super::{lines, more};
use crate::show::{count, fine_seconds};
use crate::summary::{OperationSummary, Summary};
use crate::table::{Paint, Style};

pub(super) fn real_work(summary: &Summary, paint: Paint) -> String {
    let Some(work) = &summary.real_work else { return String::new() };
    let (line, warning) = work.lines();
    let warning = warning.map(|text| lines(&text, Style::Warn, paint));
    lines(&line, Style::Plain, paint) + &warning.unwrap_or_default()
}

pub(super) fn external(summary: &Summary, paint: Paint) -> String {
    summary.external.lines().iter().map(|line| lines(line, Style::Plain, paint)).collect()
}

pub(super) fn gaps(summary: &Summary, paint: Paint) -> String {
    const GAPS_MAX: usize = 20;
    let mut out = String::new();
    for gap in summary.gaps.iter().take(GAPS_MAX) {
        let why = match &*gap.reason {
            "lost" => "its process was lost; its measurements are missing",
            "replaced" => "its process was lost, and another took its place at the end of this",
            _ => "its machine was down",
        };
        let text =
            format!("{} {}, {} to {}: {why}", gap.kind, gap.of, fine_seconds(gap.from_s), fine_seconds(gap.to_s));
        out += &lines(&text, Style::Warn, paint);
    }
    out + &more(summary.gaps.len(), GAPS_MAX, paint)
}

pub(super) fn messages(summary: &Summary, paint: Paint) -> String {
    let traffic = &summary.traffic;
    let operations = &summary.operations;
    let sum = |what: fn(&OperationSummary) -> u64| operations.iter().map(what).sum::<u64>();
    let mut line = format!("{} sent, {} delivered", count(traffic.sent), count(traffic.delivered));
    for (n, what) in [
        (traffic.duplicated, "doubled"),
        (traffic.resent, "tries again after a loss"),
        (traffic.lost_loss, "given up after losses"),
        (traffic.lost_drop, "dropped by chance"),
        (traffic.lost_partition, "lost at a partition"),
        (traffic.lost_down, "lost to machines that were down"),
        (traffic.lost_full, "lost to full queues"),
        (traffic.lost_no_such_actor, "to no actor"),
        (traffic.in_flight(), "still in flight"),
    ] {
        if n > 0 {
            line += &format!(", {} {what}", count(n));
        }
    }
    let operations = format!(
        "of these for operations: {} orders ({} resent), {} acknowledgements",
        count(sum(|o| o.messages)),
        count(sum(|o| o.resent)),
        count(sum(|o| o.acks)),
    );
    lines(&line, Style::Plain, paint) + &lines(&operations, Style::Plain, paint)
}
