//! Criteria that the clients and nodes of a mesh count for SLOs, and checks that need all SLOs together.

use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::criterion::{self, Bound, Criterion, Pieces};

use super::{Comparison, Metric, PIECES, Scope, Slo};
use crate::problem::Reporter;
use crate::section::At;

/// Most pieces of an SLO.
const PIECES_MAX: u64 = 20_000;

/// Reports what only all lines together tell: a recovery of nothing, and stretches without number.
pub(crate) fn look(slos: &[Slo], lines: &[At<String>], mesh: &Mesh, duration: Span, reporter: &mut Reporter) {
    let place = |slo: &Slo| lines.iter().find(|line| line.value.trim() == slo.text).map(|line| line.place);
    for slo in slos {
        let Some(place) = place(slo) else { continue };
        if slo.metric == Metric::Recovery && !slos.iter().any(Slo::is_of_windows) {
            reporter
                .report(place, "there is no other SLO that could hold again")
                .help("write one of a load over the whole run beside it, as in `p99 < 80ms` or `errors < 1%`");
        }
        let count = slo.any.map_or(0, |length| pieces_in(slo, length, mesh, duration));
        if count > PIECES_MAX {
            reporter.report(place, format!("there are {count} stretches in this run")).help(format!(
                "write `any {}` or more",
                slo.any.map_or(Span::ZERO, |length| length.scaled(count as f64 / PIECES_MAX as f64))
            ));
        }
    }
}

impl Slo {
    /// From when to when an SLO over stretches is looked at: as long as its service, or one of its loads, is measured,
    /// and its part.
    pub fn span(&self, mesh: &Mesh, duration: Span) -> (Time, Time) {
        let end = Time::ZERO + duration;
        let loads = || self.scope.loads(mesh).filter_map(|load| mesh.loads.get(load));
        let (from, to) = match self.scope {
            Scope::Service(_) => (mesh.measured_from(), end),
            _ => (
                loads().map(|load| load.start + load.warmup).min().unwrap_or(Time::ZERO),
                loads().map(|load| load.end).max().unwrap_or(Time::ZERO).min(end),
            ),
        };
        let (first, last) = self.window.unwrap_or((Time::ZERO, Time::NEVER));
        (from.max(first), to.min(last))
    }
}

fn pieces_in(slo: &Slo, length: Span, mesh: &Mesh, duration: Span) -> u64 {
    let (from, to) = slo.span(mesh, duration);
    (to.since(from).nanos() / (length.nanos() / PIECES).max(1)).max(1)
}

/// Criteria for the clients and nodes.
pub(crate) fn criteria(slos: &[Slo], mesh: &Mesh, duration: Span) -> Vec<Criterion> {
    let mut criteria = Vec::new();
    for (index, slo) in slos.iter().enumerate().filter(|(_, slo)| slo.metric != Metric::Recovery) {
        let pieces = slo.any.map(|length| Pieces {
            origin: slo.span(mesh, duration).0,
            length: Span::from_nanos(length.nanos() / PIECES),
            count: pieces_in(slo, length, mesh, duration).min(PIECES_MAX) as u32,
        });
        let bound = match slo.metric {
            Metric::Quantile(_) | Metric::Max | Metric::Mean => Some(Bound {
                than: Span::from_secs_f64(slo.threshold),
                // `> x` is the contrary of `<= x`.
                inclusive: matches!(slo.comparison, Comparison::AtMost | Comparison::More),
            }),
            Metric::Within(than) => Some(Bound { than, inclusive: true }),
            _ => None,
        };
        let (from, to) = slo.window.unwrap_or((Time::ZERO, Time::NEVER));
        let criterion = |scope: criterion::Scope, measured_from: Time| Criterion {
            slo: index as u32,
            scope,
            from: from.max(measured_from),
            to,
            bound,
            keeps_histogram: (slo.window.is_some() || slo.any.is_some()) && matches!(slo.metric, Metric::Quantile(_)),
            pieces,
        };
        match slo.scope {
            Scope::Service(service) => {
                criteria.push(criterion(criterion::Scope::Service(service), mesh.measured_from()));
            }
            Scope::All | Scope::Load(_) | Scope::Target(..) => criteria.extend(slo.scope.loads(mesh).map(|load| {
                let target = if let Scope::Target(_, target) = slo.scope { Some(target as u32) } else { None };
                let spec = &mesh.loads[load];
                criterion(criterion::Scope::Load { load: load as u32, target }, spec.start + spec.warmup)
            })),
        }
    }
    criteria
}
