//! The sentence at the top of a report, composed by rules from the results of `meshsim_report::aftermath`.

use meshsim_report::aftermath::{ABOVE, Aftermath, Disturbance};
use meshsim_report::count;

use crate::Run;
use crate::embed;
use crate::head::{moment, share, spaced};

/// Limit of the faults and operations that are described one by one.
const TOLD_MAX: usize = 4;

/// One sentence or a few, as HTML; empty without a time series.
pub(crate) fn finding(run: &Run) -> String {
    if run.series.is_none() {
        return String::new();
    }
    let aftermath = run.aftermath();
    let failed: u64 = aftermath.windows.iter().map(|it| it.failed).sum();
    let offered: u64 = aftermath.windows.iter().map(|it| it.offered).sum();
    if offered == 0 {
        return "<p>No request was due in the time measured.</p>".into();
    }
    let totals =
        || format!("<b>{} of {}</b> requests failed ({}).", count(failed), count(offered), share(failed, offered));
    let Some(usual) = aftermath.usual else {
        return format!("<p>{} Too few windows lie outside of faults and operations for a usual range.</p>", totals());
    };

    let bars = &aftermath.disturbances;
    let mut told: Vec<String> = bars.iter().filter_map(|bar| tell(bar, &aftermath, usual.tail_ns)).collect();
    let quiet = bars.iter().filter(|bar| !bar.is_fault && bar.left.is_none()).count();
    let more = told.len().saturating_sub(TOLD_MAX);
    told.truncate(TOLD_MAX);
    if told.is_empty() {
        told.push(format!("{} Nothing left its range.", totals()));
    }
    if more > 0 {
        told.push(format!("{more} more faults and operations left the range; see the course."));
    }
    if failed > 0 && !bars.is_empty() {
        told.push(belongs(&aftermath, failed));
    }
    let operations = bars.iter().filter(|bar| !bar.is_fault).count();
    if quiet > 0 {
        told.push(match (quiet, operations) {
            (1, 1) => "During the operation nothing left its range.".into(),
            (n, all) if n == all => format!("During the {n} operations nothing left its range."),
            (n, all) => format!("During {n} of {all} operations nothing left its range."),
        });
    }
    format!("<p>{}</p>", told.join(" "))
}

/// Effect of a fault or an operation; `None` if no figure left its range.
fn tell(bar: &Disturbance, aftermath: &Aftermath, usual_ns: f64) -> Option<String> {
    let (from, over) = bar.left?;
    let during = &aftermath.windows[from..over];
    let failed = during.iter().map(|it| it.failed).sum();
    let offered = during.iter().map(|it| it.offered).sum();
    let worst = during.iter().filter_map(|it| it.tail_ns).max().unwrap_or(0);
    let (from, end) = (moment(during[0].from_s), moment(during[during.len() - 1].to_s));
    let mut text = format!(
        "<em>{}</em> ({}): of the requests due from {from} to {end} <b>{} of {} failed ({})</b>",
        embed::name(&bar.what),
        moment(bar.from_s),
        count(failed),
        count(offered),
        share(failed, offered)
    );
    if worst as f64 > usual_ns * ABOVE && usual_ns > 0.0 {
        let (tail, usual) = (aftermath.tail.as_str(), spaced(Some(usual_ns as u64)));
        text += &format!(", and {tail} rose from {usual} to {}", spaced(Some(worst)));
    }
    text += &match over < aftermath.windows.len() {
        true => format!("; from {end} on all was as before."),
        false => "; it had not recovered when the run ended.".to_owned(),
    };
    Some(text)
}

fn belongs(aftermath: &Aftermath, failed: u64) -> String {
    let mut shares = aftermath.failures();
    let outside = shares.pop().unwrap_or(0);
    let mut shares: Vec<(&Disturbance, u64)> = aftermath.disturbances.iter().zip(shares).collect();
    shares.retain(|it| it.1 > 0);
    shares.sort_by_key(|it| std::cmp::Reverse(it.1));
    let rest: u64 = shares.iter().skip(TOLD_MAX).map(|it| it.1).sum();
    let mut parts: Vec<String> = shares
        .iter()
        .take(TOLD_MAX)
        .map(|(bar, n)| format!("{} in <em>{}</em>", count(*n), embed::name(&bar.what)))
        .collect();
    if rest > 0 {
        parts.push(format!("{} in others", count(rest)));
    }
    if outside > 0 {
        parts.push(format!("{} in none of these", count(outside)));
    }
    format!("Of all {} failures, by time, {}.", count(failed), parts.join(", "))
}
