//! Time series of the run: a row of bars for each figure, with operations and faults marked below.

use meshsim_mesh::policy::PolicyGroup;

use super::lines;
use crate::aftermath::{Aftermath, Disturbance, Window};
use crate::show::{count, fine_seconds, number, percent, span};
use crate::table::{Paint, Style};
use crate::wrap::{shortened, width};

/// Minimum number of windows of the section.
const WINDOWS_MIN: usize = 2;
/// Columns of the names of rows.
const NAMES: usize = 9;
/// Maximum number of faults and operations that are named below their marks.
const NAMED_MAX: usize = 4;
/// With less room to the right of its mark a name stands to the left of it.
const NAME_ROOM_MIN: usize = 24;
/// Columns between two labels of the axis, at least.
const LABELS_APART: usize = 10;

/// Mapping of windows to characters.
struct Scale {
    /// Windows in one character.
    merged: usize,
    /// Characters of one window, where `merged` is 1.
    stretched: usize,
    /// Characters in all.
    bars: usize,
    /// Seconds of a character.
    character_s: f64,
}

impl Scale {
    fn new(windows: &[Window], room: usize) -> Option<Self> {
        let (count, room) = (windows.len(), room.max(10));
        let length_s = windows.first().map_or(0.0, |it| it.to_s - it.from_s);
        if count < WINDOWS_MIN || length_s <= 0.0 {
            return None;
        }
        let merged = count.div_ceil(room);
        let stretched = (room / count).max(1);
        let bars = if merged > 1 { count.div_ceil(merged) } else { count * stretched };
        Some(Scale { merged, stretched, bars, character_s: length_s * merged as f64 / stretched as f64 })
    }

    /// The worst of each character's windows.
    fn values(&self, windows: &[Window], of: impl Fn(&Window) -> f64) -> Vec<f64> {
        let worst = windows.chunks(self.merged).map(|some| some.iter().map(&of).fold(0.0, f64::max));
        worst.flat_map(|value| std::iter::repeat_n(value, self.stretched)).collect()
    }

    /// The character that a time is in.
    fn at(&self, secs: f64) -> usize {
        ((secs / self.character_s + 1e-9) as usize).min(self.bars - 1)
    }
}

/// Windows whose figures are the columns at the right.
struct Row {
    name: &'static str,
    values: Vec<f64>,
    figure: String,
}

/// Length of the time that one character covers, in words.
pub(super) fn scale(aftermath: &Aftermath, paint: Paint) -> String {
    let Some(scale) = Scale::new(&aftermath.windows, room(paint, 6)) else { return String::new() };
    let length = fine_seconds(aftermath.windows[0].to_s - aftermath.windows[0].from_s);
    let each = match (scale.merged, scale.stretched) {
        (1, 1) => format!("{length} a character"),
        (1, n) => format!("{length} every {n} characters"),
        (n, _) => format!("a character is the worst of {n} windows of {length}"),
    };
    format!("{each}; bars from 0 to the maximum")
}

/// Columns for bars, beside names and figures.
fn room(paint: Paint, figures: usize) -> usize {
    paint.columns.saturating_sub(2 + NAMES + 1 + 2 + figures)
}

pub(super) fn course(aftermath: &Aftermath, paint: Paint) -> String {
    let Some(scale) = Scale::new(&aftermath.windows, room(paint, 6)) else { return String::new() };
    let rows = rows(aftermath, &scale);
    let figures = rows.iter().map(|row| row.figure.len()).max().unwrap_or(0);
    let mut out = axis(aftermath, &scale, figures, paint);
    for row in &rows {
        let bars = bars(&row.values, paint);
        let line = format!("  {:<NAMES$} {bars}  {:>figures$}", row.name, row.figure);
        out += &format!("{}\n", line.trim_end());
    }
    out += &marks(aftermath, &scale, paint);
    out + &worst(aftermath, paint)
}

fn rows(aftermath: &Aftermath, scale: &Scale) -> Vec<Row> {
    let windows = &aftermath.windows;
    let max = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let per_s = |it: &Window| it.offered as f64 / (it.to_s - it.from_s).max(f64::MIN_POSITIVE);
    let row = |name, of: &dyn Fn(&Window) -> f64, figure: &dyn Fn(f64) -> String| {
        let values = scale.values(windows, of);
        let figure = figure(max(&values));
        Row { name, values, figure }
    };
    let mut rows = vec![
        row("offered", &per_s, &|it| format!("{}/s", number(it))),
        row(aftermath.tail.as_str(), &|it| it.tail_ns.unwrap_or(0) as f64, &|it| span((it > 0.0).then_some(it as u64))),
        row("failed", &Window::failed_share, &|it| if it >= 0.1 { format!("{:.0}%", it * 100.0) } else { percent(it) }),
        row("in flight", &|it| it.in_flight, &number),
    ];
    for (at, group) in PolicyGroup::ALL.into_iter().enumerate() {
        if windows.iter().any(|it| it.policies[at] > 0) {
            rows.push(row(group.as_str(), &|it| it.policies[at] as f64, &number));
        }
    }
    if windows.iter().any(|it| it.look_ups > 0) {
        rows.push(row("misses", &Window::missed_share, &|it| format!("{:.0}%", it * 100.0)));
    }
    if windows.iter().any(|it| it.messages > 0.0) {
        rows.push(row("messages", &|it| it.messages, &number));
    }
    rows
}

/// Bars in eighths of a line, or in five heights of ASCII; a value above zero is never drawn as zero.
pub fn bars(values: &[f64], paint: Paint) -> String {
    const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 5] = ['_', '.', '-', '=', '#'];
    let heights: &[char] = if paint.ascii { &ASCII } else { &EIGHTHS };
    let max = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| {
        let steps = heights.len() as f64;
        let height = (value / max * steps).ceil().clamp(1.0, steps) as usize;
        if *value > 0.0 { heights[height - 1] } else { ' ' }
    };
    values.iter().map(bar).collect()
}

/// Seconds above the bars.
fn axis(aftermath: &Aftermath, scale: &Scale, figures: usize, paint: Paint) -> String {
    let end_s = aftermath.windows.last().map_or(0.0, |it| it.to_s);
    let step_s = step_s(scale.character_s * LABELS_APART as f64, end_s);
    let mut text = String::new();
    for index in 0.. {
        let at_s = step_s * f64::from(index);
        let column = (at_s / scale.character_s).round() as usize;
        let label = fine_seconds(at_s);
        if at_s > end_s * 1.000_001 || column + label.len() > scale.bars + 1 {
            break;
        }
        text.extend(std::iter::repeat_n(' ', column.saturating_sub(text.len())));
        text += &label;
    }
    let line = format!("  {:NAMES$} {text:<bars$}  {:>figures$}", "", "max", bars = scale.bars);
    format!("{}\n", paint.on(Style::Dim, &line))
}

/// The least round length of time that is not below this: one of a clock or a calendar, where the run lasts an hour.
fn step_s(least: f64, end_s: f64) -> f64 {
    const OF_CLOCK: [f64; 10] = [60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0, 21_600.0, 43_200.0];
    let is_enough = |it: &f64| *it >= least * 0.999;
    let of_decade = |unit: f64| {
        let power = unit * 10_f64.powf((least / unit).log10().floor());
        [1.0, 2.0, 5.0].map(|it| it * power).into_iter().find(is_enough).unwrap_or(10.0 * power)
    };
    match end_s {
        end_s if end_s < 3_600.0 => of_decade(1.0),
        _ => OF_CLOCK.into_iter().find(is_enough).unwrap_or_else(|| of_decade(86_400.0)),
    }
}

/// Rows with operations and faults, and the names of some below.
fn marks(aftermath: &Aftermath, scale: &Scale, paint: Paint) -> String {
    let mut out = String::new();
    let (operation, fault) = if paint.ascii { ('=', 'x') } else { ('═', '▒') };
    for (name, is_fault, mark) in [("operation", false, operation), ("fault", true, fault)] {
        let mut line = vec![' '; scale.bars];
        let mut is_empty = true;
        for it in aftermath.disturbances.iter().filter(|it| it.is_fault == is_fault) {
            let from = scale.at(it.from_s);
            // An interval that ends where a character begins does not include it.
            let to = scale.at(it.to_s - scale.character_s * 1e-6).max(from);
            line[from..=to].fill(mark);
            is_empty = false;
        }
        if !is_empty {
            let line: String = line.into_iter().collect();
            out += &format!("  {name:<NAMES$} {}\n", line.trim_end());
        }
    }
    out + &names(&aftermath.disturbances, scale, paint)
}

fn names(all: &[Disturbance], scale: &Scale, paint: Paint) -> String {
    // Faults first, where not all are named; each by time.
    let mut named: Vec<&Disturbance> = all.iter().filter(|it| it.is_fault).take(NAMED_MAX).collect();
    let room = NAMED_MAX - named.len();
    named.extend(all.iter().filter(|it| !it.is_fault).take(room));
    named.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
    let (line, corner, branch, left) = if paint.ascii { ('|', '\'', '|', '\'') } else { ('│', '└', '├', '┘') };
    let mut out = String::new();
    while let Some(last) = named.pop() {
        let column = scale.at(last.from_s);
        let mut text: Vec<char> = vec![' '; column];
        named.iter().map(|it| scale.at(it.from_s)).filter(|it| *it < column).for_each(|it| text[it] = line);
        let is_shared = named.iter().any(|it| scale.at(it.from_s) == column);
        let room = paint.columns.saturating_sub(2 + NAMES + 1 + column + 2);
        let name = &last.what;
        let line: String = if width(name) > room && room < NAME_ROOM_MIN {
            // Crosses the lines that come from above, which continue below.
            let name = shortened(name, column.saturating_sub(1), paint.cut());
            let free = column - width(&name) - 1;
            let text: String = text[..free].iter().collect();
            format!("{text}{name} {}", if is_shared { line } else { left })
        } else {
            let text: String = text.iter().collect();
            format!("{text}{} {}", if is_shared { branch } else { corner }, shortened(name, room, paint.cut()))
        };
        out += &format!("  {:NAMES$} {line}\n", "");
    }
    let more = all.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        out += &format!("  {:NAMES$} and {} more, below\n", "", count(more as u64));
    }
    out
}

/// The worst windows in a sentence.
fn worst(aftermath: &Aftermath, paint: Paint) -> String {
    let Some(windows) = aftermath.worst() else { return String::new() };
    let sum = |of: fn(&Window) -> u64| windows.iter().map(of).sum::<u64>();
    let max = |of: fn(&Window) -> Option<u64>| windows.iter().filter_map(of).max();
    let (failed, offered) = (sum(|it| it.failed), sum(|it| it.offered));
    let (from, to) = (fine_seconds(windows[0].from_s), fine_seconds(windows[windows.len() - 1].to_s));
    let mut text = format!("worst from {from} to {to}: {} of {} failed", count(failed), count(offered));
    if failed > 0 {
        text += &format!(" ({})", percent(failed as f64 / offered as f64));
    }
    let (tail, tail_ns, max_ns) = (aftermath.tail.as_str(), max(|it| it.tail_ns), max(|it| it.max_ns));
    if tail_ns.is_some() && tail_ns != max_ns {
        text += &format!(", {tail} {}", span(tail_ns));
    }
    if max_ns.is_some() {
        text += &format!(", max {}", span(max_ns));
    }
    if let Some(load) = &aftermath.tail_of {
        text += &format!("; latencies of {load}");
    }
    lines(&text, Style::Plain, paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_marked_at_hours_and_days() {
        let steps = [(12.0, 100.0), (100.0, 600.0), (100.0, 7_200.0), (50_000.0, 604_800.0), (90_000.0, 1e6)];
        assert_eq!(steps.map(|(least, end_s)| step_s(least, end_s)), [20.0, 100.0, 120.0, 86_400.0, 172_800.0]);
    }
}
