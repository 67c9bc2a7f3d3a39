//! Faults and operations: their effects on requests, and the time until the run was back to normal.

use super::{ROWS_MAX, lines};
use crate::aftermath::{ABOVE, Aftermath, BACK_WINDOWS, Disturbance};
use crate::show::{count, seconds, span};
use crate::table::{Paint, Style, Table, TableCell};

/// Subject of the table.
pub(super) const ABOUT: &str = "requests due from the beginning until all was as before";

pub(super) fn faults(aftermath: &Aftermath, paint: Paint) -> String {
    let worst = format!("worst {}", aftermath.tail.as_str());
    let mut table =
        Table::new(["from".into(), "to".into(), "<what".into(), "failed".into(), worst, "recovered".into()]);
    let disturbances = &aftermath.disturbances;
    let shown = &disturbances[..disturbances.len().min(2 * ROWS_MAX)];
    // Events without an origin in the file are listed after those that may have caused them.
    let marks = aftermath.marks.iter().filter(|_| !shown.is_empty()).take(ROWS_MAX);
    let mut rows: Vec<(f64, Vec<TableCell>)> = shown.iter().map(|it| (it.from_s, row(it, aftermath))).collect();
    rows.extend(marks.map(|mark| {
        let text = TableCell::new(format!("  {}", mark.what), Style::Dim);
        (mark.at_s, vec![seconds(mark.at_s).into(), "".into(), text, "".into(), "".into(), "".into()])
    }));
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().for_each(|(_, row)| table.row(row));
    let mut out = table.without_empty_columns(&[]).render(paint);
    let left_out = disturbances.len() - shown.len();
    if left_out > 0 {
        out += &lines(&format!("and {} more, in events.jsonl", count(left_out as u64)), Style::Dim, paint);
    }
    if !shown.is_empty() && !aftermath.windows.is_empty() {
        let tail = aftermath.tail.as_str();
        let why = match aftermath.usual {
            None => "too few windows lie outside of these for a usual range, so the recovery is unknown".to_owned(),
            Some(_) => format!(
                "recovered: from the beginning until {BACK_WINDOWS} windows in a row had a share of failures and a {tail} of \
                 at most {ABOVE} times the usual maximum, which is that outside of these, and before a fault after which \
                 it stayed higher; at once: nothing changed; no: not until the end"
            ),
        };
        out += &lines(&why, Style::Dim, paint);
    }
    out
}

fn row(it: &Disturbance, aftermath: &Aftermath) -> Vec<TableCell> {
    let windows = it.windows(aftermath);
    let failed: u64 = windows.iter().map(|window| window.failed).sum();
    let is_known = !aftermath.windows.is_empty();
    let recovered = match it.recovery_s(aftermath) {
        _ if aftermath.usual.is_none() => TableCell::default(),
        None => "at once".into(),
        Some(Some(secs)) => format!("after {}", seconds(secs)).into(),
        Some(None) => TableCell::new("no", Style::Bad),
    };
    vec![
        seconds(it.from_s).into(),
        seconds(it.to_s).into(),
        it.what.as_str().into(),
        if is_known {
            TableCell::new(count(failed), if failed > 0 { Style::Warn } else { Style::Plain })
        } else {
            "".into()
        },
        if is_known { span(windows.iter().filter_map(|window| window.tail_ns).max()).into() } else { "".into() },
        recovered,
    ]
}
