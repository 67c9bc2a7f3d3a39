//! The results for people.

use meshsim_actor::Time;

use super::{Breach, Verified};
use crate::show::count;
use crate::table::{Paint, Style, Table, TableCell};
use crate::wrap::wrapped;

/// A table of the rules, and the first breaches of each. `run` is the name of the run, for the command that explains a
/// record.
pub fn text(verified: &[Verified], run: &str, paint: Paint) -> String {
    let mut table = Table::new(["<rule", "checked", "broken"]);
    for it in verified {
        let style = if it.broken > 0 { Style::Bad } else { Style::Plain };
        table.row([it.rule.into(), count(it.checked).into(), TableCell::new(count(it.broken), style)]);
    }
    let mut out = table.fitted(paint);
    for Breach { record, at_s, actor, reason } in verified.iter().flat_map(|it| &it.breaches) {
        let at = Time::from_nanos((at_s * 1e9).round() as u64);
        let line = format!("record {record}, at {at}: {actor} {reason}");
        for line in wrapped(&line, paint.columns.saturating_sub(2).max(20)) {
            out += &format!("  {}\n", paint.on(Style::Bad, &line));
        }
    }
    if let Some(first) = verified.iter().flat_map(|it| &it.breaches).map(|breach| breach.record).min() {
        out += &format!("  `meshsim trace why {run} {first}` shows what led to the first of them\n");
    }
    out
}
