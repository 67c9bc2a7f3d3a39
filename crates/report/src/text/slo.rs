//! Verdicts of the SLOs.

use crate::summary::Summary;
use crate::table::{Paint, Style, Table, TableCell};

pub(super) fn slo(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["<", "<", "<", "<"]);
    for verdict in &summary.slo {
        let remark = verdict.remark.clone().unwrap_or_default();
        table.row([
            verdict.outcome.cell(),
            verdict.slo.as_str().into(),
            verdict.figure_text.as_str().into(),
            TableCell::new(remark, Style::Dim),
        ]);
    }
    let text = table.render(paint);
    // There is nothing to read in the headings.
    text.split_once('\n').map_or_else(String::new, |(_, rows)| rows.to_string())
}
