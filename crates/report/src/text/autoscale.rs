//! The decisions of autoscalers.

use super::{ROWS_MAX, lines};
use crate::show::{count, fine_seconds};
use crate::summary::{AutoscalerSummary, Summary};
use crate::table::{Paint, Style, Table};

/// One line for each service that is autoscaled.
pub(super) fn autoscalers(summary: &Summary, paint: Paint) -> String {
    if summary.autoscalers.is_empty() {
        return String::new();
    }
    let mut table =
        Table::new(["<service", "<kind", "looks", "up", "down", "turns", "range", "no signal", "some missing", "off"]);
    for it in &summary.autoscalers {
        let range = match it.range {
            Some((least, most)) if least == most => count(u64::from(least)),
            Some((least, most)) => format!("{} to {}", count(u64::from(least)), count(u64::from(most))),
            None => "as they were".into(),
        };
        table.row([
            it.service.as_ref().into(),
            it.kind.as_ref().into(),
            count(it.looks).into(),
            count(it.up).into(),
            count(it.down).into(),
            count(it.turns).into(),
            range.into(),
            count(it.blind).into(),
            count(it.partly_blind).into(),
            count(it.off).into(),
        ]);
    }
    table.fitted(paint) + &proxied(summary, paint) + &decisions(summary, paint)
}

/// How often Knative's activator would have been in the path, which the run does not show.
fn proxied(summary: &Summary, paint: Paint) -> String {
    let of = |it: &AutoscalerSummary| format!("{} {} of {}", it.service, count(it.proxied), count(it.looks));
    let knative = summary.autoscalers.iter().filter(|it| it.kind == "knative" && it.proxied > 0);
    let all: Vec<String> = knative.map(of).collect();
    if all.is_empty() {
        return String::new();
    }
    let legend = format!(
        "looks at which Knative's activator would have been in the path of all requests (here it only holds those for \
         which there is no instance): {}",
        all.join(", ")
    );
    lines(&legend, Style::Dim, paint)
}

/// A signal: a share, or a number.
fn figure(kind: &str, signal: f64) -> String {
    if kind == "capacity" { format!("{:.0} %", 100.0 * signal) } else { format!("{signal:.2}") }
}

/// The first decisions of each autoscaler.
fn decisions(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["at", "<decision", "from", "to", "asked for", "signal"]);
    let mut hidden = 0;
    for it in &summary.autoscalers {
        hidden += it.left_out + it.decisions.len().saturating_sub(ROWS_MAX) as u64;
        for decision in it.decisions.iter().take(ROWS_MAX) {
            let asked = decision.asked.map_or_else(|| "-".into(), |asked| count(u64::from(asked)));
            let signal = decision.signal.map_or_else(|| "-".into(), |signal| figure(&it.kind, signal));
            let (from, to) = (count(u64::from(decision.from)), count(u64::from(decision.to)));
            let word = if decision.to > decision.from { "up" } else { "down" };
            table.row([
                fine_seconds(decision.at_s).into(),
                format!("{} {word}", it.service).into(),
                from.into(),
                to.into(),
                asked.into(),
                signal.into(),
            ]);
        }
    }
    if summary.autoscalers.iter().all(|it| it.decisions.is_empty()) {
        return String::new();
    }
    let rest = if hidden > 0 { format!("and {} more, in summary.json; ", count(hidden)) } else { String::new() };
    let legend = "asked for: by the signal alone, before the limits on its pace; turns: changes of direction";
    format!("\n{}{}", table.fitted(paint), lines(&format!("{rest}{legend}"), Style::Dim, paint))
}
