//! The sentence at the top of a report, put together from facts by rule.
//!
//! Failures and latencies have a range: from the 1st to the 99th percentile of the windows that are in no fault, in no
//! operation, and not within [`AFTER_S`] after one. What leaves it upwards during a fault or an operation is told with
//! when it was over: at the first of three windows back in range. Failures belong to faults and operations by time.

use std::collections::BTreeMap;

use meshsim_report::series::{Kind, Series};
use meshsim_report::{count, number};

use crate::Run;
use crate::embed;
use crate::head::{share, spaced};
use crate::lanes::{self, Bar};

/// For so long after a fault or an operation what happens may be its doing, in seconds.
const AFTER_S: f64 = 5.0;
/// With fewer windows there is no range.
const WINDOWS_MIN: usize = 20;
/// A p90 must be above its range by this factor: by chance a few windows in a hundred leave the range of the others.
const ABOVE: f64 = 1.25;
/// Most faults and operations that are told one by one.
const TOLD_MAX: usize = 4;

/// All loads in one window; the p90 is that of the load with most requests.
#[derive(Clone, Copy, Default)]
struct Window {
    from_s: f64,
    to_s: f64,
    offered: u64,
    failed: u64,
    p90_ns: Option<u64>,
}

/// Where something left its range: windows `from..over`.
struct Left {
    from: usize,
    over: usize,
}

/// One sentence or a few, as HTML; empty if there is no course over time to speak of.
pub(crate) fn finding(run: &Run) -> String {
    let Some(series) = &run.series else { return String::new() };
    let windows = windows(run, series);
    let failed: u64 = windows.iter().map(|it| it.failed).sum();
    let offered: u64 = windows.iter().map(|it| it.offered).sum();
    if offered == 0 {
        return "<p>No request was due in the time measured.</p>".into();
    }
    let bars = lanes::of(run).bars;
    let is_apart = |window: &&Window| {
        !bars.iter().any(|bar| window.to_s > bar.from_s && window.from_s < bar.to_s + AFTER_S) && window.offered > 0
    };
    let apart: Vec<&Window> = windows.iter().filter(is_apart).collect();
    let totals =
        || format!("<b>{} of {}</b> requests failed ({}).", count(failed), count(offered), share(failed, offered));
    if apart.len() < WINDOWS_MIN {
        return format!(
            "<p>{} Too few windows lie outside of faults and operations to say what is usual.</p>",
            totals()
        );
    }
    let share_max = at(apart.iter().map(|it| it.failed as f64 / it.offered as f64), 0.99);
    let p90s = || apart.iter().filter_map(|it| it.p90_ns).map(|ns| ns as f64);
    let (p90_max, p90_usual) = (at(p90s(), 0.99), at(p90s(), 0.5));
    let is_out = |it: &Window| {
        let share = if it.offered > 0 { it.failed as f64 / it.offered as f64 } else { 0.0 };
        share > share_max || it.p90_ns.is_some_and(|ns| p90_max > 0.0 && ns as f64 > p90_max * ABOVE)
    };

    let mut told = Vec::new();
    let mut owners: Vec<Option<usize>> = vec![None; windows.len()];
    let mut quiet = 0;
    for (index, bar) in bars.iter().enumerate() {
        let left = left(bar, &windows, is_out);
        for (place, window) in windows.iter().enumerate() {
            let until = left.as_ref().map_or(bar.to_s, |left| bar.to_s.max(windows[left.over - 1].to_s));
            // What was due just before it can fail of it.
            if window.to_s >= bar.from_s && window.from_s < until {
                owners[place] = Some(index);
            }
        }
        match left {
            None if !bar.is_fault => quiet += 1,
            None => {}
            Some(left) => told.push(tell(bar, &windows, &left, p90_usual)),
        }
    }
    let more = told.len().saturating_sub(TOLD_MAX);
    told.truncate(TOLD_MAX);
    if told.is_empty() {
        told.push(format!("{} Nothing left its range.", totals()));
    }
    if more > 0 {
        told.push(format!("{more} more faults and operations left the range; see the course."));
    }
    if failed > 0 && !bars.is_empty() {
        told.push(belongs(&bars, &windows, &owners, failed));
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

fn windows(run: &Run, series: &Series) -> Vec<Window> {
    let busiest = run.summary.loads.iter().max_by_key(|load| load.requests.offered).map(|load| load.name.as_str());
    let mut by_start: BTreeMap<u64, Window> = BTreeMap::new();
    for row in series.of(Kind::Load) {
        // Times are not negative, so their bits are in their order.
        let window = by_start.entry(row.from_s.to_bits()).or_default();
        (window.from_s, window.to_s) = (row.from_s, row.to_s);
        window.offered += row.offered;
        window.failed += row.failed;
        if busiest == Some(&row.name) {
            window.p90_ns = row.p90_ns;
        }
    }
    by_start.into_values().collect()
}

fn left(bar: &Bar, windows: &[Window], is_out: impl Fn(&Window) -> bool) -> Option<Left> {
    let is_near = |it: &Window| it.to_s > bar.from_s && it.from_s < bar.to_s + AFTER_S;
    let from = windows.iter().position(|it| is_near(it) && is_out(it))?;
    let back = (from + 1..windows.len()).find(|i| !windows[*i..].iter().take(3).any(&is_out));
    Some(Left { from, over: back.unwrap_or(windows.len()) })
}

fn tell(bar: &Bar, windows: &[Window], left: &Left, p90_usual: f64) -> String {
    let during = &windows[left.from..left.over];
    let failed = during.iter().map(|it| it.failed).sum();
    let offered = during.iter().map(|it| it.offered).sum();
    let worst = during.iter().filter_map(|it| it.p90_ns).max().unwrap_or(0);
    let (from, over) = (number(during[0].from_s), number(during[during.len() - 1].to_s));
    let mut text = format!(
        "<em>{}</em> ({} s): of the requests due from {from} to {over} s <b>{} of {} failed ({})</b>",
        embed::name(&bar.what),
        number(bar.from_s),
        count(failed),
        count(offered),
        share(failed, offered)
    );
    if worst as f64 > p90_usual * ABOVE && p90_usual > 0.0 {
        text += &format!(", and p90 rose from {} to {}", spaced(Some(p90_usual as u64)), spaced(Some(worst)));
    }
    text += &match left.over < windows.len() {
        true => format!("; from {over} s on all was as before."),
        false => "; it was not over when the run ended.".to_owned(),
    };
    text
}

fn belongs(bars: &[Bar], windows: &[Window], owners: &[Option<usize>], failed: u64) -> String {
    let mut by_owner: BTreeMap<Option<usize>, u64> = BTreeMap::new();
    for (window, owner) in windows.iter().zip(owners) {
        *by_owner.entry(*owner).or_default() += window.failed;
    }
    let outside = by_owner.remove(&None).unwrap_or(0);
    let mut shares: Vec<(usize, u64)> = by_owner.into_iter().filter_map(|(it, n)| Some((it?, n))).collect();
    shares.retain(|it| it.1 > 0);
    shares.sort_by_key(|it| std::cmp::Reverse(it.1));
    let rest: u64 = shares.iter().skip(TOLD_MAX).map(|it| it.1).sum();
    let mut parts: Vec<String> = shares
        .iter()
        .take(TOLD_MAX)
        .map(|(index, n)| format!("{} in <em>{}</em>", count(*n), embed::name(&bars[*index].what)))
        .collect();
    if rest > 0 {
        parts.push(format!("{} in others", count(rest)));
    }
    if outside > 0 {
        parts.push(format!("{} in none of these", count(outside)));
    }
    format!("Of all {} failures, by time, {}.", count(failed), parts.join(", "))
}

/// The value at this share of all, 0 if there is none.
fn at(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}
