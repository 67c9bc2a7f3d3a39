//! SLOs over every stretch of a length: `p99 < 200ms any 10s`.
//!
//! A stretch begins with each tenth of its length, so each overlaps nine tenths of the next. The clients count each
//! tenth, request by request, and a stretch is ten of them. The rest at the end, less than a tenth, belongs to the last
//! stretch. A stretch in which no request was due counts only for a rate.

use meshsim_actor::Time;
use meshsim_experiment::{Comparison, Experiment, Metric, PIECES, Slo};
use meshsim_mesh::criterion::Count;

use super::{Finding, Found, Outcome, Part, counts_of, figure, judged, share, time_of};
use crate::show::count;
use crate::summary::Measured;

/// One stretch: its first piece, and from when to when it is.
struct Stretch {
    first: usize,
    from: Time,
    to: Time,
}

/// The worst stretch, and how it came out: an SLO holds if it holds in each.
pub(super) fn found(index: usize, slo: &Slo, experiment: &Experiment, measured: &Measured) -> (Outcome, Finding) {
    let stretches = stretches(index, experiment, measured);
    let part = |it: &Stretch| Part {
        gap: has_gap(slo, it, experiment, measured),
        time: time_of(slo, it.from, it.to, experiment, measured),
    };
    let length = stretches.1;
    let pieces = |it: &Stretch| {
        let first = it.first;
        counts_of(index, experiment, measured).flat_map(move |(_, counts)| &counts[first..first + length])
    };
    let (mut looked_at, mut failed) = (0_u64, 0_u64);
    let mut worst: Option<(Outcome, f64, &Stretch)> = None;
    for it in &stretches.0 {
        let (mut counted, part) = (Count::default(), part(it));
        pieces(it).for_each(|piece| counted.merge(piece));
        if counted.offered == 0 && !part.gap && slo.metric != Metric::Rate {
            continue;
        }
        let (outcome, found) = judged(slo, figure(slo, &counted, &part, (&counted.latency, &counted.pending)));
        looked_at += 1;
        failed += u64::from(outcome == Outcome::Fail);
        let bad = badness(slo, &counted, found.as_ref().map_or(0.0, |found| found.figure));
        if worst.is_none_or(|(other, than, _)| (outcome, bad) > (other, than)) {
            worst = Some((outcome, bad, it));
        }
    }
    let Some((outcome, _, it)) = worst else { return (Outcome::Unknown, Err("nothing was measured")) };
    // Only of this one the figure is shown.
    let counted = Count::of_pieces(pieces(it));
    let found = figure(slo, &counted, &part(it), (&counted.latency, &counted.pending));
    (outcome, found.map(|found| told(found, it, (failed, looked_at))))
}

fn told(found: Found, it: &Stretch, (failed, all): (u64, u64)) -> Found {
    let (from, to) = (it.from.since(Time::ZERO), it.to.since(Time::ZERO));
    let mut remark = format!("worst from {from} to {to}");
    if failed > 0 {
        remark += &format!("; it fails in {} of {} stretches", count(failed), count(all));
    }
    let remark = found.remark.iter().fold(remark, |text, more| format!("{text}; {more}"));
    Found { remark: Some(remark), ..found }
}

/// The stretches that the run reached, and of how many pieces each is.
fn stretches(index: usize, experiment: &Experiment, measured: &Measured) -> (Vec<Stretch>, usize) {
    let first =
        counts_of(index, experiment, measured).find_map(|(criterion, _)| Some((criterion.pieces?, criterion.places())));
    let Some((pieces, count)) = first else { return (Vec::new(), 0) };
    let length = (PIECES as usize).min(count);
    let slo = &experiment.slos[index];
    let loads = slo.scope.loads(&experiment.mesh).map(|load| experiment.mesh.loads[load].end);
    let end = loads.max().unwrap_or(Time::ZERO).min(Time::ZERO + experiment.duration);
    let end = slo.window.map_or(end, |(_, to)| to.min(end));
    let of = |first: usize| {
        let to = if first + length == count { end } else { pieces.begin(first + length) };
        Stretch { first, from: pieces.begin(first), to }
    };
    // Of a run that was ended early, those that it reached; at least one.
    let reached = |it: &Stretch| it.first == 0 || it.to <= measured.now;
    ((0..=count - length).map(of).filter(reached).collect(), length)
}

/// Distance from holding, to find the worst of several with the same outcome.
fn badness(slo: &Slo, counted: &Count, figure: f64) -> f64 {
    let figure = match slo.metric {
        // The histogram is not read for each stretch: the number beyond the bound is enough.
        Metric::Quantile(_) => {
            let decided = counted.done.saturating_add(counted.outlived);
            1.0 - share(counted.within, decided)
        }
        _ => figure,
    };
    if matches!(slo.comparison, Comparison::Less | Comparison::AtMost) { figure } else { -figure }
}

/// True if requests of this stretch were not measured.
fn has_gap(slo: &Slo, it: &Stretch, experiment: &Experiment, measured: &Measured) -> bool {
    let mesh = &experiment.mesh;
    let loads = slo.scope.loads(mesh);
    let of_it = |gap: &&crate::gap::Gap| mesh.load_index(gap.actor).is_some_and(|load| loads.contains(&load));
    let unreached = measured.now < it.to.min(Time::ZERO + experiment.duration);
    unreached || measured.gaps.iter().filter(of_it).any(|gap| gap.from < it.to && it.from < gap.to)
}
