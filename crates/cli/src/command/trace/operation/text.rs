//! The steps of an operation as text: node by step, and one step on each node.

use meshsim_actor::Span;
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{count, number, plural};

use super::{Place, Step, after, nodes_slowest_first, slowest_first, state, way};
use crate::flow::line::cut;
use crate::screen::{paragraph, width};

/// `heading` is the number of the operation and what it is.
pub(super) fn write(heading: [&str; 2], steps: &[Step], only: Option<u64>, most: usize, paint: Paint) -> String {
    let [number, what] = heading;
    let mut text = format!("{}  {what}\n", paint.on(Style::Bold, number));
    if only.is_none() && steps.len() > 1 {
        text += &matrix(steps, most, paint);
    }
    let shown = steps.iter().find(|step| Some(step.n) == only).or_else(|| super::slowest(steps));
    if let Some(step) = shown {
        text += &one(step, most, paint);
    }
    text
}

/// Node by step: after how long each had acknowledged each.
fn matrix(steps: &[Step], most: usize, paint: Paint) -> String {
    const COLUMN: usize = 9;
    let fitting = (width().saturating_sub(20) / COLUMN).clamp(1, steps.len());
    let nodes = nodes_slowest_first(steps);
    let headings = steps.iter().take(fitting).map(|step| format!("step {}", step.n));
    let mut table = Table::new(std::iter::once("<acknowledged after".to_owned()).chain(headings));
    for node in nodes.iter().take(most) {
        let mut row: Vec<TableCell> = vec![cut(node, 18).into()];
        row.extend(steps.iter().take(fitting).map(|step| match step.nodes.iter().find(|place| place.node == *node) {
            None => TableCell::from(""),
            Some(place) => {
                let (words, style) = state(step, place);
                TableCell::new(words, style)
            }
        }));
        table.row(row);
    }
    let mut text = format!("\n{}", table.render(paint));
    if nodes.len() > most {
        text += &format!("  and {} that were quicker\n", plural((nodes.len() - most) as u64, "node"));
    }
    if steps.len() > fitting {
        text += &format!("  and {}: `--step N` shows one\n", plural((steps.len() - fitting) as u64, "step"));
    }
    text
}

/// Shows one step on each node.
fn one(step: &Step, most: usize, paint: Paint) -> String {
    let nodes = slowest_first(step);
    let decided = step.decided_ns as f64 / 1e9;
    let mut text = format!("\n{}, decided at {decided:.6}s\n", paint.on(Style::Bold, &format!("Step {}", step.n)));
    let mut table = Table::new(["<node", "sent", "delivered", "applied", "acknowledged", "resent", "lost", "refused"]);
    for place in nodes.iter().take(most) {
        let span = |at| TableCell::from(after(step, at).map_or_else(|| "-".into(), |span: Span| format!("+{span}")));
        let lost: u64 = place.lost.values().sum();
        let many = |n: u64| if n > 0 { TableCell::new(count(n), Style::Warn) } else { "".into() };
        table.row([
            TableCell::from(cut(&place.node, 14)),
            span(place.sent),
            span(place.delivered),
            span(place.applied),
            span(place.acknowledged),
            many(place.resent),
            many(lost),
            place.refused.map_or_else(
                || "".into(),
                |at| TableCell::new(format!("+{}", after(step, Some(at)).unwrap_or(Span::ZERO)), Style::Bad),
            ),
        ]);
    }
    text += &table.without_empty_columns(&["-"]).render(paint);
    if nodes.len() > most {
        text += &format!("  and {} that were quicker\n", plural((nodes.len() - most) as u64, "node"));
    }
    if let Some(last) = nodes.first() {
        text += &format!("\n{}", paragraph("", &why(step, last, nodes.len()), 0, width()));
    }
    text
}

/// The last node, and the reason: the parts of the time between the decision and the acknowledgement.
pub(super) fn why(step: &Step, last: &Place, count_of_nodes: usize) -> String {
    let mut parts = Vec::new();
    for (from, to) in &last.down {
        let secs = |ns: u64| format!("{}s", number(ns as f64 / 1e9));
        match to {
            Some(to) => parts.push(format!("it was down from {} to {}", secs(*from), secs(*to))),
            None => parts.push(format!("it was down from {}", secs(*from))),
        }
    }
    let lost: u64 = last.lost.values().sum();
    if lost > 0 {
        let reasons: Vec<&str> = last.lost.keys().copied().collect();
        parts.push(format!(
            "{} to it {} lost ({})",
            plural(lost, "message"),
            if lost == 1 { "was" } else { "were" },
            reasons.join(", ")
        ));
    }
    if last.acknowledgements_lost > 0 {
        parts.push(format!("{} lost", plural(last.acknowledgements_lost, "acknowledgement")));
    }
    if let Some((_, record)) = last.refused {
        parts.push(format!("it refused the step (record {record})"));
    }
    let points = way(step, last);
    const STAGES: [&str; 4] =
        ["waited to be sent", "was on its way to the node", "waited there to be applied", "took to be acknowledged"];
    let gaps = points.windows(2).zip(STAGES).filter_map(|(pair, stage)| match pair {
        [Some((from, _)), Some((to, _))] => Some((to.saturating_sub(*from), stage)),
        _ => None,
    });
    // The first of the longest.
    if let Some((longest, stage)) = gaps.reduce(|best, next| if next.0 > best.0 { next } else { best }) {
        parts.push(format!("most of the time, {}, it {stage}", Span::from_nanos(longest)));
    }
    let who = match after(step, last.acknowledged) {
        Some(span) if count_of_nodes > 1 => {
            format!("Last of {}: {}, after {span}", plural(count_of_nodes as u64, "node"), last.node)
        }
        Some(span) => format!("{} acknowledged after {span}", last.node),
        None => format!("{} never acknowledged it", last.node),
    };
    let record = last.acknowledged.map_or_else(String::new, |(_, record)| format!(" (record {record})"));
    format!("{who}{record}: {}.", parts.join("; "))
}
