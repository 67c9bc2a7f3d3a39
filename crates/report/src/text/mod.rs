//! A summary for people: aligned, as wide as the terminal, every figure with its unit. One file for each group of
//! sections.

mod autoscale;
mod calls;
mod course;
mod faults;
mod generators;
mod messages;
mod operations;
mod policies;
mod proxies;
mod requests;
mod rollout;
mod services;
mod slo;

use meshsim_experiment::{Experiment, ModelSize};

use crate::aftermath::Aftermath;
use crate::show::{count, fine_seconds, plural};
use crate::summary::Summary;
use crate::table::{Paint, Style};
use crate::wrap::wrapped;

pub use course::bars;

/// Rows of a table that are listed at most; all are in the summary for machines.
const ROWS_MAX: usize = 10;

/// Description of a simulation before it starts.
pub fn intention(experiment: &Experiment, is_live: bool, paint: Paint) -> String {
    let simulated = ModelSize::new(experiment);
    let mut nodes = plural(simulated.nodes as u64, "node");
    if simulated.nodes_later > 0 {
        let at_start = simulated.nodes.saturating_sub(simulated.nodes_later);
        nodes += &format!(" ({} at the start)", count(at_start as u64));
    }
    let mut parts = vec![
        nodes,
        plural(simulated.services as u64, "service"),
        plural(simulated.instances, "instance"),
        plural(simulated.edges as u64, "edge"),
        plural(simulated.operations as u64, "operation"),
        plural(simulated.loads as u64, "load"),
    ];
    if !experiment.slos.is_empty() {
        parts.push(plural(experiment.slos.len() as u64, "SLO"));
    }
    let mut out = format!(
        "{}  {}{}, seed {}\n{}",
        paint.on(Style::Bold, &experiment.name),
        experiment.duration,
        if is_live { "" } else { " of virtual time" },
        experiment.seed,
        lines(&parts.join(", "), Style::Plain, paint),
    );
    if !experiment.has_call_graph && simulated.services > 1 {
        out += &lines("no service calls another: the file has no call graph", Style::Warn, paint);
    }
    out
}

/// The report of a run.
pub fn summary(summary: &Summary, aftermath: &Aftermath, paint: Paint) -> String {
    let mut out = String::new();
    let of_services = services::span_in_words(summary);
    let of_nodes = format!("cores that were busy, on average, {of_services}");
    let proxies_of = summary.mesh.as_ref().map_or_else(String::new, |mesh| format!("of {}", mesh.technology));
    for (title, beside, body) in [
        ("Operations", "", operations::operations(summary, paint)),
        ("Rollouts", "", rollout::rollouts(summary, paint)),
        ("Requests", &*requests::span(summary), requests::requests(summary, paint)),
        ("Latency", requests::latency_span(summary), requests::latencies(summary, paint)),
        ("Journeys", "of users, from the first request to the last reply", requests::journeys(summary, paint)),
        ("Closed loops", "the omitted waiting (coordinated omission)", requests::closed(summary, paint)),
        ("Generators", generators::ABOUT, generators::generators(summary, paint)),
        ("Course", &*course::scale(aftermath, paint), course::course(aftermath, paint)),
        ("Faults and operations", faults::ABOUT, faults::faults(aftermath, paint)),
        ("Busiest services", &of_services, services::services(summary, paint)),
        ("Busiest nodes", &of_nodes, services::nodes(summary, paint)),
        ("Proxies", &*proxies_of, proxies::proxies(summary, paint)),
        ("Async blocks", "of scripts, not waited for", services::blocks(summary, paint)),
        ("Caches", "of scripts", services::caches(summary, paint)),
        ("Queues", "of messages", services::queues(summary, paint)),
        ("Real work", "by --work busy", messages::real_work(summary, paint)),
        ("Calls that failed", "between services, once or more often", calls::calls(summary, paint)),
        ("Policies", "of callers; of instances where `from` is empty", policies::policies(summary, paint)),
        ("Autoscalers", "decisions, and looks without measurements", autoscale::autoscalers(summary, paint)),
        ("From outside", "", messages::external(summary, paint)),
        ("Not measured", "", messages::gaps(summary, paint)),
        ("Messages", "", messages::messages(summary, paint)),
        ("SLO", "", slo::slo(summary, paint)),
    ] {
        if body.is_empty() {
            continue;
        }
        let gap = if beside.is_empty() { "" } else { "  " };
        out += &format!("\n{}{gap}{}\n{body}", paint.on(Style::Bold, title), paint.on(Style::Dim, beside));
    }
    if let Some(why) = &summary.invalid {
        let about = "INVALID: the figures are more about the generator of the requests than about the mesh.";
        out += &format!("\n{}{}", lines(about, Style::Bad, paint), lines(why, Style::Plain, paint));
    }
    if summary.cut_short {
        let text = format!("cut short at {} of {}", fine_seconds(summary.reached_s), fine_seconds(summary.duration_s));
        out += &format!("\n{}\n", paint.on(Style::Warn, &text));
    }
    out
}

/// A sentence on its own lines, indented by two.
fn lines(text: &str, style: Style, paint: Paint) -> String {
    let lines = wrapped(text, paint.columns.saturating_sub(2).max(20));
    lines.iter().map(|line| format!("  {}\n", paint.on(style, line))).collect()
}

/// Note on the rows that a table leaves out; empty if it leaves out none.
fn more(all: usize, shown: usize, paint: Paint) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        left => lines(&format!("and {} more, in summary.json", count(left as u64)), Style::Dim, paint),
    }
}

/// Ten columns in eighths; in ASCII, whole ones.
fn bar(share: f64, paint: Paint) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if paint.ascii {
        return format!("{:<10}", "#".repeat((share.clamp(0.0, 1.0) * 10.0).round() as usize));
    }
    let eighths = (share.clamp(0.0, 1.0) * 80.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    format!("{bar:<10}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_ten_columns_wide() {
        for share in [0.0, 0.004, 0.33, 0.5, 0.999, 1.0, 1.7, f64::NAN] {
            assert_eq!(bar(share, Paint::default()).chars().count(), 10, "{share}");
        }
        assert_eq!(bar(0.5, Paint::default()), "█████     ");
        assert_eq!(bar(0.3375, Paint::default()), "███▍      ");
    }
}
