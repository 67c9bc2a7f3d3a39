//! Services and nodes, the busiest first.

use super::{ROWS_MAX, bar, lines, more};
use crate::show::{count, fine_seconds, number, rate, span};
use crate::summary::Summary;
use crate::table::{Paint, Style, Table, TableCell};

/// The span that the figures of the services are of, in words: that of the loads, where these have one and last as long
/// as the run.
pub(super) fn span_in_words(summary: &Summary) -> String {
    let from = summary.loads.iter().map(|load| load.from_s).fold(f64::INFINITY, f64::min);
    match from.is_finite() {
        true => format!("{} to {}, without warm-up", fine_seconds(from), fine_seconds(summary.reached_s)),
        false => format!("0s to {}", fine_seconds(summary.reached_s)),
    }
}

pub(super) fn services(summary: &Summary, paint: Paint) -> String {
    let mut busiest: Vec<_> = summary.services.iter().filter(|service| service.arrived > 0).collect();
    // Utilisation in parts per million: a float decides no order. Equal ones stay in the order of the file.
    let parts = |utilisation: Option<f64>| (utilisation.unwrap_or(0.0) * 1e6) as u64;
    busiest.sort_by_key(|service| std::cmp::Reverse(parts(service.utilisation)));
    let mut table = Table::new([
        "<service", "S", "C", "busy", "<", "cores", "offered", "p50", "p99", "wait", "queue", "failed", "expired",
    ]);
    for service in busiest.iter().take(ROWS_MAX) {
        let utilisation = service.utilisation.unwrap_or(0.0);
        let style = match utilisation {
            u if u >= 0.95 => Style::Bad,
            u if u >= 0.8 => Style::Warn,
            _ => Style::Plain,
        };
        table.row([
            service.name.as_str().into(),
            count(u64::from(service.values.instances)).into(),
            number(service.values.capacity).into(),
            TableCell::new(format!("{:.1}%", utilisation * 100.0), style),
            TableCell::new(bar(utilisation, paint), style),
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
    let mut table = table.without_empty_columns(&["0"]).without_if_narrow(&["", "p50", "cores"]);
    let mut out = table.fitted(paint) + &more(busiest.len(), ROWS_MAX, paint);
    let parts = [
        ("S", "S instances"),
        ("C", "C requests that each serves at once"),
        ("busy", "busy: share of these slots' time"),
        ("wait", "wait: mean time in the queue"),
        ("queue", "queue: longest at one instance"),
        ("expired", "expired: the caller had given up"),
    ];
    let said: Vec<&str> = parts.into_iter().filter(|(name, _)| table.has(name)).map(|(_, text)| text).collect();
    if !busiest.is_empty() {
        out += &lines(&said.join("; "), Style::Dim, paint);
    }
    out
}

/// Blocks that no script waited for, of the services that had some.
pub(super) fn blocks(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["<service", "done", "failed", "<why"]);
    for (service, blocks) in summary.services.iter().filter_map(|it| Some((it, it.blocks.as_ref()?))).take(ROWS_MAX) {
        table.row([
            service.name.as_str().into(),
            count(blocks.done).into(),
            TableCell::new(count(blocks.failed), if blocks.failed > 0 { Style::Warn } else { Style::Plain }),
            blocks.failures.in_words().into(),
        ]);
    }
    table.without_empty_columns(&[]).render(paint)
}

/// Caches of the services that have some.
pub(super) fn caches(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new(["<service", "hits", "misses", "hit rate"]);
    for (service, caches) in summary.services.iter().filter_map(|it| Some((it, it.caches.as_ref()?))).take(ROWS_MAX) {
        table.row([
            service.name.as_str().into(),
            count(caches.hits).into(),
            count(caches.misses).into(),
            format!("{:.1}%", caches.hit_rate * 100.0).into(),
        ]);
    }
    table.render(paint)
}

/// Queues of the services that have some.
pub(super) fn queues(summary: &Summary, paint: Paint) -> String {
    let mut table = Table::new([
        "<service",
        "published",
        "refused",
        "consumed",
        "again",
        "dead",
        "lost",
        "left",
        "depth",
        "wait",
        "p99 wait",
        "age",
        "p99 age",
    ]);
    for (service, queue) in summary.services.iter().filter_map(|it| Some((it, it.queue.as_ref()?))).take(ROWS_MAX) {
        let bad = |number: u64| TableCell::new(count(number), if number > 0 { Style::Warn } else { Style::Plain });
        table.row([
            service.name.as_str().into(),
            count(queue.published).into(),
            bad(queue.refused),
            count(queue.consumed).into(),
            count(queue.redeliveries).into(),
            bad(queue.dead),
            bad(queue.lost),
            count(queue.left).into(),
            count(u64::from(queue.depth_peak)).into(),
            span(queue.wait.mean_ns).into(),
            span(queue.wait.p99_ns).into(),
            span(queue.age.mean_ns).into(),
            span(queue.age.p99_ns).into(),
        ]);
    }
    let mut table = table.without_empty_columns(&["0"]).without_if_narrow(&["p99 wait", "p99 age"]);
    let out = table.fitted(paint);
    if out.is_empty() {
        return out;
    }
    let about =
        "depth: most that waited at one instance; wait: from publication to the first delivery; age: until consumed";
    out + &lines(about, Style::Dim, paint)
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

pub(super) fn nodes(summary: &Summary, paint: Paint) -> String {
    // In parts per million: a float decides no order.
    let parts = |utilisation: f64| (utilisation * 1e6) as u64;
    let mut busiest: Vec<_> = summary.nodes.iter().filter(|node| parts(node.utilisation) >= 500_000).collect();
    busiest.sort_by_key(|node| std::cmp::Reverse(parts(node.utilisation)));
    if busiest.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["<node", "cores", "in use", "busy", "<"]);
    for node in busiest.iter().take(NODES_MAX) {
        let style = match node.utilisation {
            u if u >= 0.95 => Style::Bad,
            u if u >= 0.8 => Style::Warn,
            _ => Style::Plain,
        };
        table.row([
            node.name.as_str().into(),
            number(node.cores).into(),
            cores(node.cores_busy).into(),
            TableCell::new(format!("{:.1}%", node.utilisation * 100.0), style),
            TableCell::new(bar(node.utilisation, paint), style),
        ]);
    }
    table.render(paint) + &more(busiest.len(), NODES_MAX, paint)
}
