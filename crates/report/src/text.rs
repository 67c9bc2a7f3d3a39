//! A summary for people: aligned, at most about a hundred columns wide, every figure with its unit.

use std::collections::BTreeSet;

use meshsim_experiment::{Experiment, Size};
use meshsim_mesh::measure::Verb;

use crate::show::{count, number, operation_in_words, plural, rate, span};
use crate::summary::{OperationSummary, Requests, Summary};
use crate::table::{Cell, Look, Paint, Table};

/// Services that are listed at most; all are in the summary for machines.
const SERVICES_MAX: usize = 10;
/// Operations of one kind that begin together are shown as one row from this many on.
const TOGETHER_MIN: usize = 3;
/// Rows of operations that are listed at most.
const OPERATIONS_MAX: usize = 40;

/// What is going to be simulated, before it is.
pub fn intention(experiment: &Experiment, is_live: bool, paint: Paint) -> String {
    let simulated = Size::new(experiment);
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
        "{}  {}{}, seed {}\n  {}\n",
        paint.on(Look::Bold, &experiment.name),
        experiment.duration,
        if is_live { "" } else { " of virtual time" },
        experiment.seed,
        parts.join(", "),
    );
    if !experiment.has_call_graph && simulated.services > 1 {
        out += &format!("  {}\n", paint.on(Look::Warn, "no service calls another: the file has no call graph"));
    }
    out
}

/// What came out.
pub fn summary(summary: &Summary, paint: Paint) -> String {
    let mut out = String::new();
    let (of_loads, of_services) =
        (load_span(summary), format!("0s to {}, warm-up included", seconds(summary.reached_s)));
    for (title, beside, body) in [
        ("Operations", "", operations(summary, paint)),
        ("Requests", &of_loads, requests(summary, paint)),
        ("Latency", "from the planned moment to the answer", latencies(summary, paint)),
        ("Busiest services", &of_services, services(summary, paint)),
        ("Busiest nodes", "cores that were busy, on average", nodes(summary, paint)),
        ("Real work", "by --work busy", real_work(summary, paint)),
        ("Calls that failed", "between services, once or more often", calls(summary, paint)),
        ("From outside", "", outside(summary)),
        ("Not measured", "", gaps(summary, paint)),
        ("Messages", "", messages(summary)),
        ("SLO", "", slo(summary, paint)),
    ] {
        if body.is_empty() {
            continue;
        }
        let gap = if beside.is_empty() { "" } else { "  " };
        out += &format!("\n{}{gap}{}\n{body}", paint.on(Look::Bold, title), paint.on(Look::Dim, beside));
    }
    if summary.cut_short {
        let text = format!("cut short at {} of {}", seconds(summary.reached_s), seconds(summary.duration_s));
        out += &format!("\n{}\n", paint.on(Look::Warn, &text));
    }
    out
}

/// The span that the figures of the loads are of, in words.
fn load_span(summary: &Summary) -> String {
    let mut spans = summary.loads.iter().map(|load| (load.from_s, load.to_s));
    let Some(first) = spans.next() else { return String::new() };
    match spans.all(|span| span == first) {
        true => format!("{} to {}, without warm-up", seconds(first.0), seconds(first.1)),
        false => "each load from the end of its warm-up to its own end".into(),
    }
}

fn real_work(summary: &Summary, paint: Paint) -> String {
    let Some(work) = &summary.real_work else { return String::new() };
    let (line, warning) = work.lines();
    let warning = warning.map(|text| format!("  {}\n", paint.on(Look::Warn, &text)));
    format!("  {line}\n{}", warning.unwrap_or_default())
}

fn outside(summary: &Summary) -> String {
    summary.outside.lines().iter().map(|line| format!("  {line}\n")).collect()
}

fn gaps(summary: &Summary, paint: Paint) -> String {
    const GAPS_MAX: usize = 20;
    let mut out = String::new();
    for gap in summary.gaps.iter().take(GAPS_MAX) {
        let why = match &*gap.reason {
            "lost" => "its process was lost, and what it had measured with it",
            "replaced" => "its process was lost, and another took its place at the end of this",
            _ => "its machine was down",
        };
        let text = format!("{} {}, {} to {}: {why}", gap.kind, gap.of, seconds(gap.from_s), seconds(gap.to_s));
        out += &format!("  {}\n", paint.on(Look::Warn, &text));
    }
    if let more @ 1.. = summary.gaps.len().saturating_sub(GAPS_MAX) {
        out += &format!("  and {} more, in summary.json\n", count(more as u64));
    }
    out
}

/// A moment or a length of time in seconds: `12.3s`.
fn seconds(secs: f64) -> String {
    let text = format!("{secs:.3}");
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

fn operations(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new([
        "at",
        "<operation",
        "steps",
        "generation",
        "settled in",
        "<result",
        "residual",
        "messages",
        "resent",
        "acks",
        "<",
    ]);
    let mut rest = &summary.operations[..];
    let mut rows = 0;
    // Why instances are unplaced: each reason once.
    let mut reasons: BTreeSet<&str> = BTreeSet::new();
    while let Some(first) = rest.first() {
        let together = rest.iter().take_while(|other| is_together(first, other)).count();
        let taken = if together >= TOGETHER_MIN { together } else { 1 };
        let (group, others) = rest.split_at(taken);
        rest = others;
        rows += 1;
        if rows <= OPERATIONS_MAX {
            table.row(operation_row(group));
            reasons.extend(group.iter().filter_map(|operation| operation.unplaced_reason.as_deref()));
        }
    }
    let mut out = table.without_empty_columns(&["-"]).render(paint);
    if rows > OPERATIONS_MAX {
        out += &format!("  and {} more, in summary.json\n", count((rows - OPERATIONS_MAX) as u64));
    }
    for reason in reasons.iter().take(SERVICES_MAX) {
        out += &format!("  {}\n", paint.on(Look::Warn, &format!("unplaced: {reason}")));
    }
    out
}

fn is_together(a: &OperationSummary, b: &OperationSummary) -> bool {
    let simple = matches!(a.verb, Verb::Deploy | Verb::Undeploy | Verb::Repair);
    simple && (a.verb, &a.ending) == (b.verb, &b.ending) && a.began_s == b.began_s
}

fn operation_row(group: &[OperationSummary]) -> Vec<Cell> {
    let first = &group[0];
    let name = match group.len() {
        1 => {
            // A rate of 1 is no recurrence.
            let at = first.rate.filter(|rate| *rate != 1.0).map_or_else(String::new, |r| format!(" at {}", number(r)));
            operation_in_words(first) + &at
        }
        n => format!("{} {}", first.verb.as_str(), plural(n as u64, "service")),
    };
    let sum = |what: fn(&OperationSummary) -> u64| count(group.iter().map(what).sum());
    let settled = group.iter().map(|o| o.settling_ns).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
    let result = match (group.len(), first.verb) {
        (1, Verb::Scale) => changed("C", first.before.capacity, first.after.capacity),
        (1, Verb::Update) => changed("V", first.before.version, first.after.version),
        _ => {
            let instances = |values: fn(&OperationSummary) -> u32| group.iter().map(|o| f64::from(values(o))).sum();
            changed("S", instances(|o| o.before.instances), instances(|o| o.after.instances))
        }
    };
    let same = group.iter().all(|o| o.generation == first.generation);
    let generation = first.generation.filter(|_| same);
    let unplaced: u32 = group.iter().map(|o| o.unplaced).sum();
    let (mut ending, mut look) = match &*first.ending {
        "reached" => (String::new(), Look::Good),
        "running" => ("still running".into(), Look::Warn),
        // As many steps as it was allowed: what was asked for.
        "stopped" => ("stopped".into(), Look::Plain),
        "stuck" => ("stuck".into(), Look::Bad),
        "refused" => ("refused".into(), Look::Bad),
        other => (other.into(), Look::Warn),
    };
    if unplaced > 0 {
        ending = [ending, format!("{} unplaced", count(u64::from(unplaced)))].join(", ");
        ending = ending.trim_start_matches(", ").into();
        look = Look::Bad;
    }
    vec![
        seconds(first.began_s).into(),
        name.into(),
        sum(|o| o.step_count as u64).into(),
        generation.map_or("-".into(), count).into(),
        span(settled).into(),
        result.into(),
        first.residual.map_or("-".into(), number).into(),
        sum(|o| o.messages).into(),
        match group.iter().map(|o| o.resent).sum() {
            0 => "-".into(),
            resent => count(resent),
        }
        .into(),
        sum(|o| o.acknowledgements).into(),
        Cell::new(ending, look),
    ]
}

fn changed(what: &str, from: f64, to: f64) -> String {
    if from == to { format!("{what} {}", number(to)) } else { format!("{what} {} -> {}", number(from), number(to)) }
}

/// The rows of a table by load and target: a load with one target is one row.
fn by_target(summary: &Summary) -> Vec<(String, &Requests)> {
    let mut rows = Vec::new();
    for load in &summary.loads {
        match load.targets.as_slice() {
            [only] => rows.push((format!("{} {}", load.name, only.target), &load.requests)),
            targets => {
                rows.push((load.name.clone(), &load.requests));
                rows.extend(targets.iter().map(|target| (format!("  {}", target.target), &target.requests)));
            }
        }
    }
    rows
}

fn requests(summary: &Summary, paint: Paint) -> String {
    let mut table =
        Table::new(["<load", "offered", "done", "degraded", "failed", "unfinished", "retries", "rate", "<failed by"]);
    for (name, requests) in by_target(summary) {
        let reasons = requests.failures.most_frequent();
        let reasons: Vec<String> = reasons.iter().map(|(why, n)| format!("{} {why}", count(*n))).collect();
        table.row([
            name.into(),
            count(requests.offered).into(),
            count(requests.done).into(),
            match requests.degraded {
                0 => "".into(),
                degraded => Cell::new(count(degraded), Look::Warn),
            },
            Cell::new(count(requests.failed), if requests.failed > 0 { Look::Warn } else { Look::Plain }),
            count(requests.unfinished).into(),
            count(requests.retries).into(),
            rate(requests.done_per_s).into(),
            reasons.join(", ").into(),
        ]);
    }
    table.without_empty_columns(&[]).render(paint)
}

fn latencies(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["<load", "mean", "p50", "p75", "p90", "p95", "p99", "p99.9", "max"]);
    let mut thin = false;
    for (name, requests) in by_target(summary) {
        let mut row = |name: String, latency: &crate::Latency| {
            let figures = [
                latency.mean_ns,
                latency.p50_ns,
                latency.p75_ns,
                latency.p90_ns,
                latency.p95_ns,
                latency.p99_ns,
                latency.p999_ns,
                latency.max_ns,
            ];
            thin |= latency.max_ns.is_some() && figures.contains(&None);
            let last = figures.len() - 1;
            let text = |(at, nanos): (usize, Option<u64>)| match nanos {
                Some(_) if latency.at_least && (at == 0 || at == last) => format!("at least {}", span(nanos)).into(),
                _ => span(nanos).into(),
            };
            let figures = figures.into_iter().enumerate().map(text);
            let cells: Vec<Cell> = std::iter::once(name.into()).chain(figures).collect();
            table.row(cells);
        };
        if requests.latency.max_ns.is_none() {
            continue;
        }
        let indent = name.len() - name.trim_start().len();
        row(name, &requests.latency);
        // Only a generator that was late makes a difference worth a row; a real one is always some microseconds late.
        if is_apart(&requests.latency, &requests.uncorrected) {
            row(format!("{:indent$}  from sending", ""), &requests.uncorrected);
        }
    }
    let mut out = table.render(paint);
    if thin {
        let why = "-  fewer than 10 requests lie beyond that percentile, or too few were answered";
        out += &format!("  {}\n", paint.on(Look::Dim, why));
    }
    out
}

/// True if a figure differs by more than a hundredth.
fn is_apart(a: &crate::Latency, b: &crate::Latency) -> bool {
    let figures = |latency: &crate::Latency| {
        [latency.mean_ns, latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.max_ns].map(|ns| ns.unwrap_or(0))
    };
    figures(a).into_iter().zip(figures(b)).any(|(a, b)| a.abs_diff(b) > a / 100)
}

fn services(summary: &Summary, paint: Paint) -> String {
    let mut busiest: Vec<_> = summary.services.iter().filter(|service| service.arrived > 0).collect();
    // Utilisation in parts per million: a float decides no order. Equal ones stay in the order of the file.
    let parts = |utilisation: Option<f64>| (utilisation.unwrap_or(0.0) * 1e6) as u64;
    busiest.sort_by_key(|service| std::cmp::Reverse(parts(service.utilisation)));
    let mut table = Table::new([
        "<service",
        "S",
        "C",
        "<utilisation",
        "cores",
        "rate",
        "p50",
        "p99",
        "mean wait",
        "longest queue",
        "failed",
        "expired",
    ]);
    for service in busiest.iter().take(SERVICES_MAX) {
        let utilisation = service.utilisation.unwrap_or(0.0);
        let look = match utilisation {
            u if u >= 0.95 => Look::Bad,
            u if u >= 0.8 => Look::Warn,
            _ => Look::Plain,
        };
        table.row([
            service.name.as_str().into(),
            count(u64::from(service.values.instances)).into(),
            number(service.values.capacity).into(),
            Cell::new(format!("{} {:>6}", bar(utilisation), format!("{:.1}%", utilisation * 100.0)), look),
            cores(service.cores_busy).into(),
            rate(service.arrived_per_s).into(),
            span(service.latency.p50_ns).into(),
            span(service.latency.p99_ns).into(),
            span(service.waited_mean_ns).into(),
            count(u64::from(service.queue_peak)).into(),
            count(service.failed).into(),
            count(service.expired).into(),
        ]);
    }
    let mut out = table.without_empty_columns(&["0"]).render(paint);
    if busiest.len() > SERVICES_MAX {
        let text = format!("and {} more, in summary.json", count((busiest.len() - SERVICES_MAX) as u64));
        out += &format!("  {}\n", paint.on(Look::Dim, &text));
    }
    out
}

/// Cores, as many digits as tell.
fn cores(busy: f64) -> String {
    match busy {
        0.0 => "0".into(),
        busy if busy < 0.01 => "< 0.01".into(),
        busy if busy < 10.0 => format!("{busy:.2}"),
        busy => format!("{busy:.0}"),
    }
}

/// Nodes of which a run says how busy they were; those below half are not worth a line.
const NODES_MAX: usize = 5;

fn nodes(summary: &Summary, paint: Paint) -> String {
    // In parts per million: a float decides no order.
    let parts = |utilisation: f64| (utilisation * 1e6) as u64;
    let mut busiest: Vec<_> = summary.nodes.iter().filter(|node| parts(node.utilisation) >= 500_000).collect();
    busiest.sort_by_key(|node| std::cmp::Reverse(parts(node.utilisation)));
    if busiest.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["<node", "cores", "busy", "<utilisation"]);
    for node in busiest.iter().take(NODES_MAX) {
        let look = match node.utilisation {
            u if u >= 0.95 => Look::Bad,
            u if u >= 0.8 => Look::Warn,
            _ => Look::Plain,
        };
        table.row([
            node.name.as_str().into(),
            number(node.cores).into(),
            cores(node.cores_busy).into(),
            Cell::new(format!("{} {:>6}", bar(node.utilisation), format!("{:.1}%", node.utilisation * 100.0)), look),
        ]);
    }
    let mut out = table.render(paint);
    if busiest.len() > NODES_MAX {
        let text = format!("and {} more, in summary.json", count((busiest.len() - NODES_MAX) as u64));
        out += &format!("  {}\n", paint.on(Look::Dim, &text));
    }
    out
}

/// The edges on which something failed, the most attempts first.
fn calls(summary: &Summary, paint: Paint) -> String {
    let mut edges: Vec<_> = summary.calls.iter().filter(|edge| edge.retries > 0 || edge.failed > 0).collect();
    // Equal ones stay in the order of the file.
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.attempts));
    let mut table =
        Table::new(["<from", "<to", "calls", "attempts", "retries", "failed", "tolerated", "<attempts failed by"]);
    for edge in edges.iter().take(SERVICES_MAX) {
        let reasons = edge.attempts_failed.most_frequent();
        let reasons: Vec<String> = reasons.iter().map(|(why, n)| format!("{} {why}", count(*n))).collect();
        table.row([
            edge.from.as_str().into(),
            edge.to.as_str().into(),
            count(edge.calls).into(),
            count(edge.attempts).into(),
            count(edge.retries).into(),
            Cell::new(count(edge.failed), if edge.failed > 0 { Look::Warn } else { Look::Plain }),
            count(edge.tolerated).into(),
            reasons.join(", ").into(),
        ]);
    }
    if edges.is_empty() {
        return String::new();
    }
    let mut out = table.without_empty_columns(&["0"]).render(paint);
    if edges.len() > SERVICES_MAX {
        let text = format!("and {} more, in summary.json", count((edges.len() - SERVICES_MAX) as u64));
        out += &format!("  {}\n", paint.on(Look::Dim, &text));
    }
    out
}

/// Ten columns in eighths.
fn bar(share: f64) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * 80.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    format!("{bar:<10}")
}

fn messages(summary: &Summary) -> String {
    let traffic = &summary.traffic;
    let operations = &summary.operations;
    let sum = |what: fn(&OperationSummary) -> u64| operations.iter().map(what).sum::<u64>();
    let mut line = format!("  {} sent, {} delivered", count(traffic.sent), count(traffic.delivered));
    for (n, what) in [
        (traffic.duplicated, "doubled"),
        (traffic.resent, "tries again after a loss"),
        (traffic.lost_loss, "given up after losses"),
        (traffic.lost_drop, "dropped by chance"),
        (traffic.lost_partition, "lost at a partition"),
        (traffic.lost_down, "lost to machines that were down"),
        (traffic.lost_full, "lost to full queues"),
        (traffic.lost_nobody, "to nobody"),
        (traffic.under_way(), "still under way"),
    ] {
        if n > 0 {
            line += &format!(", {} {what}", count(n));
        }
    }
    format!(
        "{line}\n  of these for operations: {} orders ({} resent), {} acknowledgements\n",
        count(sum(|o| o.messages)),
        count(sum(|o| o.resent)),
        count(sum(|o| o.acknowledgements)),
    )
}

fn slo(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["<", "<", "<", "<"]);
    for verdict in &summary.slo {
        let remark = verdict.remark.clone().unwrap_or_default();
        table.row([
            verdict.outcome.cell(),
            verdict.slo.as_str().into(),
            verdict.figure_text.as_str().into(),
            Cell::new(remark, Look::Dim),
        ]);
    }
    let text = table.render(paint);
    // There is nothing to read in the headings.
    text.split_once('\n').map_or_else(String::new, |(_, rows)| rows.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_ten_columns_wide() {
        for share in [0.0, 0.004, 0.33, 0.5, 0.999, 1.0, 1.7, f64::NAN] {
            assert_eq!(bar(share).chars().count(), 10, "{share}");
        }
        assert_eq!(bar(0.5), "█████     ");
        assert_eq!(bar(0.3375), "███▍      ");
    }

    #[test]
    fn moments_are_seconds_without_needless_digits() {
        assert_eq!([0.0, 60.0, 12.3, 1.0625].map(seconds), ["0s", "60s", "12.3s", "1.062s"]);
    }
}
