//! The aggregate of many requests as text and as JSON.

use meshsim_actor::{ActorId, Span};
use meshsim_mesh::Mesh;
use meshsim_mesh::model::{EndpointId, ServiceId};
use serde::Serialize;

use super::text::{caller, endpoint, fit, service, share, time};
use super::{Group, Kind, Share, Totals};
use crate::show::{count, plural};
use crate::table::{Paint, Style};

/// All requests of each endpoint: the breakdown of their time, beside that of the slowest hundredth.
pub fn totals(of: &Totals, mesh: &Mesh, paint: Paint) -> String {
    let mut text = String::new();
    for (who, callee, group) in of.groups() {
        let heading = fit(&title(who, callee, mesh), 44);
        let Group { requests, failed, .. } = group;
        text += &format!("{}  {}", paint.on(Style::Bold, &heading), plural(*requests, "request"));
        if *failed > 0 {
            text += &format!(", {} failed", count(*failed));
        }
        let (all, slow) = (group.slowest(1.0), group.slowest(0.01));
        text += &format!("\n\n{:<42} {:>18} {:>18}\n", "mean of the critical path", "all", "slowest 1 %");
        let mut order = slow.parts.clone();
        order
            .extend(all.parts.iter().filter(|(at, kind, _)| !slow.parts.iter().any(|it| (it.0, it.1) == (*at, *kind))));
        let part = |of: &Share, at, kind| of.parts.iter().find(|it| (it.0, it.1) == (at, kind)).map_or(0, |it| it.2);
        for (at, kind, _) in order.iter().take(12) {
            let figure = |of: &Share| {
                let ns = part(of, *at, *kind) as f64 / of.requests.max(1) as f64;
                format!("{} {:>5}", time(Span::from_secs_f64(ns / 1e9)), share(ns, of.mean_ns))
            };
            let what = fit(&kind.phrase(*at, mesh), 42);
            text += &format!("{what:<42} {:>18} {:>18}\n", figure(&all), figure(&slow));
        }
        if let more @ 1.. = order.len().saturating_sub(12) {
            text += &format!("... and {more} smaller parts\n");
        }
        let mean = |of: &Share| format!("{} {:>5}", time(Span::from_secs_f64(of.mean_ns / 1e9)), "100 %");
        text += &format!("{:<42} {:>18} {:>18}\n", "latency", mean(&all), mean(&slow));
        text += &paint
            .on(Style::Dim, &format!("the slowest: {} from {} on", plural(slow.requests, "request"), time(slow.from)));
        text += "\n\n";
    }
    text
}

/// Groups of requests by latency: their names, and the share of all requests up to which each goes.
pub const RANKS: [(&str, f64); 4] =
    [("fastest half", 0.5), ("p50 to p90", 0.9), ("p90 to p99", 0.99), ("slowest 1 %", 1.0)];

/// `users: gateway.checkout`: who asked for what.
pub fn title(who: ActorId, callee: Option<(ServiceId, EndpointId)>, mesh: &Mesh) -> String {
    format!("{}: {}", caller(who, mesh), endpoint(callee, mesh))
}

/// Parts that are named in the short form.
const NAMED: usize = 3;

/// All requests of each endpoint in three lines: the largest parts of their time, and of that of the slowest hundredth.
pub fn short_totals(of: &Totals, mesh: &Mesh, paint: Paint) -> String {
    let mut text = String::new();
    // Requests that failed at once have no time that could have gone anywhere.
    for (who, callee, group) in of.groups().filter(|(.., group)| group.slowest(1.0).mean_ns > 0.0) {
        let heading = fit(&title(who, callee, mesh), 44);
        text += &format!("  {heading}\n");
        for (name, of) in [("all", group.slowest(1.0)), ("slowest 1 %", group.slowest(0.01))] {
            let parts: Vec<String> = of.parts.iter().take(NAMED).map(|part| named(part, &of, mesh)).collect();
            let mean = time(Span::from_secs_f64(of.mean_ns / 1e9));
            text += &format!("    {name:<12} {mean:>8}  {}\n", parts.join(", "));
        }
    }
    if text.is_empty() { text } else { format!("{}\n{text}", paint.on(Style::Bold, "Where a request's time went")) }
}

/// `54 % waiting for a slot of checkout`.
fn named((at, kind, ns): &(Option<ServiceId>, Kind, u128), of: &Share, mesh: &Mesh) -> String {
    let each = *ns as f64 / of.requests.max(1) as f64;
    format!("{} {}", share(each, of.mean_ns).trim(), kind.phrase(*at, mesh))
}

/// All requests of an endpoint for other programs.
#[derive(Clone, Debug, Serialize)]
pub struct TotalsJson {
    load: String,
    endpoint: String,
    requests: u64,
    failed: u64,
    all: ShareJson,
    slowest_hundredth: ShareJson,
}

#[derive(Clone, Debug, Serialize)]
struct ShareJson {
    requests: u64,
    from_ns: u64,
    mean_latency_ns: f64,
    parts: Vec<PartJson>,
}

#[derive(Clone, Debug, Serialize)]
struct PartJson {
    kind: &'static str,
    service: Option<String>,
    mean_ns: f64,
}

impl TotalsJson {
    /// One for each endpoint of each load.
    pub fn all(of: &Totals, mesh: &Mesh) -> Vec<Self> {
        let share = |it: Share| ShareJson {
            requests: it.requests,
            from_ns: it.from.nanos(),
            mean_latency_ns: it.mean_ns,
            parts: it
                .parts
                .iter()
                .map(|(at, kind, ns)| PartJson {
                    kind: kind.word(),
                    service: at.map(|at| service(Some(at), mesh)),
                    mean_ns: *ns as f64 / it.requests.max(1) as f64,
                })
                .collect(),
        };
        of.groups()
            .map(|(who, callee, group)| TotalsJson {
                load: caller(who, mesh),
                endpoint: endpoint(callee, mesh),
                requests: group.requests,
                failed: group.failed,
                all: share(group.slowest(1.0)),
                slowest_hundredth: share(group.slowest(0.01)),
            })
            .collect()
    }
}
