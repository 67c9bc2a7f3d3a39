//! The steps of an operation as a picture: node by step, and in each place the way of the step from its decision to its
//! acknowledgement, all on one scale.

use std::fmt::Write as _;

use meshsim_actor::Span;
use meshsim_report::picture::{self, escaped};
use meshsim_report::plural;
use meshsim_report::table::Style;
use meshsim_report::wrap::wrapped;

use super::text::why;
use super::{Place, Step, after, nodes_slowest_first, slowest, slowest_first, state, way};
use crate::flow::line::cut;

/// Steps that are drawn.
const STEPS_MAX: usize = 12;

/// Pixels: of the names at the left, of a step and its bar, of a node, above the first.
const LEFT: f64 = 150.0;
const COLUMN: f64 = 132.0;
const BAR: f64 = 116.0;
const ROW: f64 = 34.0;
const TOP: f64 = 76.0;
/// Pixels of a character, and of a line of words.
const CHAR: f64 = 6.6;
const LINE: f64 = 17.0;

const STYLE: &str = "\
.off{fill:#edf0f3}.queue{fill:#343a42}.way{fill:#2f7fbf}.held{fill:#e3a512}.back{fill:#86b6da}.warn{fill:#8a6100}.last{font-weight:650}\
@media(prefers-color-scheme:dark){.off{fill:#22272d}.queue{fill:#fff}.way{fill:#4f9bd6}.held{fill:#f3dc83}.back{fill:#35658c}.warn{fill:#f3dc83}}";

/// The parts of the way of a step.
const KEY: [(&str, &str); 4] = [
    ("queue", "waits to be sent"),
    ("way", "on its way to the node"),
    ("held", "waits there to be applied"),
    ("back", "until it is acknowledged"),
];

pub(super) fn draw(heading: [&str; 2], steps: &[Step], only: Option<u64>, most: usize) -> String {
    let wanted: Vec<Step> = steps.iter().filter(|step| only.is_none_or(|n| step.n == n)).cloned().collect();
    let shown = &wanted[..wanted.len().min(STEPS_MAX)];
    let nodes = nodes_slowest_first(shown);
    let (rows, left_out) = (&nodes[..nodes.len().min(most)], nodes.len().saturating_sub(most));
    let width = (LEFT + COLUMN * shown.len() as f64 + 16.0).max(760.0);
    let longest = shown.iter().flat_map(|step| step.nodes.iter().filter_map(|place| after(step, place.acknowledged)));
    let scale = BAR / longest.max().unwrap_or(Span::ZERO).nanos().max(1) as f64;

    let mut out = format!("<style>{STYLE}</style>\n");
    let [number, what] = heading;
    let title = format!("{number}: {what}");
    let text = |x: f64, y: f64, class: &str, words: &str| picture::text(x, y, "start", class, words);
    out += &text(16.0, 26.0, "title", &cut(&title, (width / 8.0) as usize));
    let legend =
        "from the decision of a step to its acknowledgement, on one scale; +2: sent again twice; bold: the last node";
    out += &text(16.0, 44.0, "mut", legend);
    for (column, step) in shown.iter().enumerate() {
        let last = slowest_first(step).first().map(|place| place.node.clone());
        let x = LEFT + COLUMN * column as f64;
        out += &text(x, TOP - 8.0, "", &format!("step {}", step.n));
        for (row, node) in rows.iter().enumerate() {
            let Some(place) = step.nodes.iter().find(|place| place.node == *node) else { continue };
            let is_last = last.as_deref() == Some(*node) && step.nodes.len() > 1;
            out += &cell(step, place, is_last, scale, [x, TOP + ROW * row as f64]);
        }
    }
    for (row, node) in rows.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        out += &text(16.0, y + 15.0, "", &cut(node, ((LEFT - 24.0) / CHAR) as usize));
    }
    let mut y = TOP + ROW * rows.len() as f64 + LINE;
    let more =
        [(left_out, "node", "that were quicker"), (wanted.len() - shown.len(), "more step", "that are not drawn")];
    for (count, what, which) in more.into_iter().filter(|(count, ..)| *count > 0) {
        out += &text(16.0, y, "mut", &format!("and {} {which}", plural(count as u64, what)));
        y += LINE;
    }
    if let Some((step, last)) = slowest(shown).and_then(|step| Some((step, *slowest_first(step).first()?))) {
        let words = format!("Step {}. {}", step.n, why(step, last, step.nodes.len()));
        for line in wrapped(&words, ((width - 32.0) / CHAR) as usize) {
            out += &text(16.0, y + 6.0, "", &line);
            y += LINE;
        }
    }
    y += 22.0;
    let mut x = 16.0;
    for (class, words) in KEY {
        let _ = write!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\"/>", y - 9.0);
        out += &text(x + 15.0, y, "mut", words);
        x += 40.0 + CHAR * words.len() as f64;
    }
    picture::svg(width, y + 16.0, &title, &out)
}

/// A step on a node: its progress in words, and its way as a bar. The last node stands out.
fn cell(step: &Step, place: &Place, is_last: bool, scale: f64, [x, y]: [f64; 2]) -> String {
    let (words, style) = state(step, place);
    let class = match style {
        Style::Bad => "badink",
        Style::Warn => "warn",
        _ => "",
    };
    let class = if is_last { format!("{class} last") } else { class.to_owned() };
    let mut out = format!("<g><title>{}</title>\n", escaped(&told(step, place)));
    out += &picture::text(x, y + 12.0, "start", &class, &cut(&words, (BAR / CHAR) as usize));
    let mut bar = |class: &str, from: f64, to: f64| {
        let (from, wide) = (x + from.min(BAR), (to.min(BAR) - from.min(BAR)).max(0.6));
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{from:.2}\" y=\"{}\" width=\"{wide:.2}\" height=\"7\"/>",
            y + 18.0
        );
    };
    bar("off", 0.0, BAR);
    let points = way(step, place);
    let at = |point: Option<(u64, u64)>| after(step, point).map(|span| span.nanos() as f64 * scale);
    // A part whose end is not known is not drawn.
    let known: Vec<(f64, usize)> = points.iter().enumerate().filter_map(|(n, point)| Some((at(*point)?, n))).collect();
    for pair in known.windows(2) {
        let ((from, _), (to, end)) = (pair[0], pair[1]);
        bar(KEY[end - 1].0, from, to.max(from));
    }
    out + "</g>\n"
}

/// All about a step on a node, in a line.
fn told(step: &Step, place: &Place) -> String {
    let points = [
        ("sent", place.sent),
        ("delivered", place.delivered),
        ("applied", place.applied),
        ("acknowledged", place.acknowledged),
        ("refused", place.refused),
    ];
    let point = |(word, at): (&str, Option<(u64, u64)>)| {
        let record = at?.1;
        Some(format!("{word} +{} (record {record})", after(step, at)?))
    };
    let mut parts: Vec<String> = points.into_iter().filter_map(point).collect();
    let lost: u64 = place.lost.values().sum();
    for (count, what) in [(place.resent, "resent"), (lost, "lost")].into_iter().filter(|(count, _)| *count > 0) {
        parts.push(format!("{what} {}", plural(count, "time")));
    }
    format!("{}, step {}: {}", place.node, step.n, parts.join(", "))
}
