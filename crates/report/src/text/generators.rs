//! Lateness of the processes that sent the requests of a live run.

use super::{ROWS_MAX, more};
use crate::show::{count, span};
use crate::summary::Summary;
use crate::table::{Paint, Style, Table, TableCell};

/// Subject of the table.
pub(super) const ABOUT: &str = "from planned send time to sending";

pub(super) fn generators(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["<process", "sent", "later than 100ms", "p50", "p99", "max", "<loads"]);
    for it in summary.generators.iter().take(ROWS_MAX) {
        table.row([
            it.process.as_str().into(),
            count(it.sent).into(),
            TableCell::new(count(it.late), if it.late > 0 { Style::Warn } else { Style::Plain }),
            span(it.lag.p50_ns).into(),
            span(it.lag.p99_ns).into(),
            span(it.lag.max_ns).into(),
            it.loads.join(", ").into(),
        ]);
    }
    table.render(paint) + &more(summary.generators.len(), ROWS_MAX, paint)
}
