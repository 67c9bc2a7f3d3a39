//! SLOs over every stretch of a length: `p99 < 200ms any 10s`.
//!
//! A stretch begins with each tenth of its length, so each overlaps nine tenths of the next. Clients and nodes count
//! each tenth, request by request, and a stretch is ten of them. The rest at the end, less than a tenth, belongs to the
//! last stretch. A stretch in which no request was due counts only for a rate.
//!
//! While a run is in progress, a stretch is as many windows as the length takes, and begins with each window.

use meshsim_actor::Time;
use meshsim_experiment::{Comparison, Experiment, Metric, PIECES, Slo};
use meshsim_mesh::course::Window;
use meshsim_mesh::criterion::Count;

use super::windows::{self, Seen};
use super::{Finding, Found, Outcome, Part, counts_of, figure, judged, share, time_of};
use crate::show::{count, span};
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
        gap: has_gap(index, it, experiment, measured),
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

/// The same by windows, of a run in progress.
pub(super) fn so_far(slo: &Slo, experiment: &Experiment, measured: &Measured) -> (Outcome, Finding) {
    let nothing = || (Outcome::Unknown, Err("nothing was measured"));
    let (Some(course), Some(length)) = (measured.courses.of(slo.scope, measured.now), slo.any) else {
        return nothing();
    };
    let shape = course.shape();
    let windows: Vec<&Window> = course.windows().collect();
    let begin = |at: usize| Time::from_nanos(shape.length_ns.saturating_mul(at as u64));
    let (from, to) = slo.window.unwrap_or((Time::ZERO, Time::NEVER));
    let (from, to) = (from.max(experiment.mesh.measured_from()), to.min(measured.now));
    let first = from.nanos().div_ceil(shape.length_ns) as usize;
    // The last window is a whole one only if the run ends with it. A run that is shorter than a stretch is one.
    let end = windows.len().min(((to.nanos() / shape.length_ns) as usize).max(first + 1));
    let windows = windows.get(first..end).unwrap_or_default();
    let together = (length.nanos().div_ceil(shape.length_ns) as usize).clamp(1, windows.len().max(1));
    let is_node = |actor| experiment.mesh.node_index(actor).is_some();
    let (mut looked_at, mut failed) = (0_u64, 0_u64);
    let mut worst: Option<(Outcome, f64, Stretch, Finding)> = None;
    for (at, part) in (first..).zip(windows.windows(together)) {
        let it = Stretch { first: at, from: begin(at), to: begin(at + together).min(measured.now) };
        let mut all = Window::default();
        part.iter().for_each(|window| all.later(window));
        let gap = measured.gaps.iter().any(|gap| is_node(gap.actor) && gap.from < it.to && it.from < gap.to);
        if all.offered == 0 && !gap && slo.metric != Metric::Rate {
            continue;
        }
        let seen = Seen::of_window(&all, shape.scale, it.to.since(it.from));
        let (outcome, found) = judged(slo, windows::figure(slo.metric, &seen, gap));
        looked_at += 1;
        failed += u64::from(outcome == Outcome::Fail);
        let bad = away(slo, found.as_ref().map_or(0.0, |found| found.figure));
        if worst.as_ref().is_none_or(|(other, than, ..)| (outcome, bad) > (*other, *than)) {
            worst = Some((outcome, bad, it, found));
        }
    }
    let Some((outcome, _, it, found)) = worst else { return nothing() };
    let told = found.map(|found| {
        let found = told(found, &it, (failed, looked_at));
        let windows = format!("in windows of {}", span(Some(shape.length_ns)));
        Found { remark: Some(found.remark.into_iter().chain([windows]).collect::<Vec<_>>().join("; ")), ..found }
    });
    (outcome, told)
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
    let (_, end) = slo.span(&experiment.mesh, experiment.duration);
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
    away(slo, figure)
}

/// The greater, the farther a figure is from holding.
fn away(slo: &Slo, figure: f64) -> f64 {
    if matches!(slo.comparison, Comparison::Less | Comparison::AtMost) { figure } else { -figure }
}

/// True if requests of this stretch were not measured.
fn has_gap(index: usize, it: &Stretch, experiment: &Experiment, measured: &Measured) -> bool {
    let of_it = |gap: &&crate::gap::Gap| {
        let mut criteria = counts_of(index, experiment, measured).map(|(criterion, _)| criterion.scope);
        criteria.any(|scope| scope.is_counted_by(gap.actor, &experiment.mesh))
    };
    let unreached = measured.now < it.to.min(Time::ZERO + experiment.duration);
    unreached || measured.gaps.iter().filter(of_it).any(|gap| gap.from < it.to && it.from < gap.to)
}
