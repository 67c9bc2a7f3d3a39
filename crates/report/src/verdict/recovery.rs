//! `recovery < 10s after FAULT`: from the fault's end until every other SLO holds over three windows in a row.
//!
//! The windows are those of the time series of loads and services; if these have several lengths, the longest. A window
//! in which requests were not measured, or have no reply yet, may hold or not, as may the time beyond the end of the
//! run. A window in which no request was due is skipped.

use meshsim_actor::{Span, Time};
use meshsim_experiment::{Experiment, Metric, Scope, Slo};
use meshsim_mesh::course::{Course, Window};

use super::{Finding, Found, share};
use crate::aftermath::BACK_WINDOWS;
use crate::show;
use crate::summary::{Measured, per_second};

/// Verdict of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Holds,
    /// The first SLO that does not, by its place.
    Fails(usize),
    /// It may hold or not.
    Maybe,
    /// No request was due.
    Nothing,
}

pub(super) fn found(slo: &Slo, experiment: &Experiment, measured: &Measured) -> Finding {
    let Some((end, _)) = slo.window.filter(|(end, _)| *end < measured.now) else {
        return Err("the run ended before the fault");
    };
    let (length, said) = said(experiment, measured).ok_or("nothing was measured")?;
    // The first window that begins when the fault has ended, and those after it.
    let first = end.nanos().div_ceil(length.nanos()) as usize;
    let after: Vec<(usize, Said)> =
        (first..said.len()).map(|at| (at, said[at])).filter(|(_, said)| *said != Said::Nothing).collect();
    let begin = |at: usize| (length * at as u64).nanos().saturating_sub(end.nanos());
    // In a row, up to the end of the run and beyond it.
    let row = |counts: fn(Said) -> bool, beyond: bool| {
        let is_row = |from: usize| {
            let here = &after[from..after.len().min(from + BACK_WINDOWS)];
            here.iter().all(|(_, said)| counts(*said)) && (beyond || here.len() == BACK_WINDOWS)
        };
        (0..after.len()).find(|from| is_row(*from)).map(|from| after[from].0)
    };
    let could = row(|said| !matches!(said, Said::Fails(_)), true).unwrap_or(said.len().max(first));
    let did = row(|said| said == Said::Holds, false);
    let secs = |at: usize| Span::from_nanos(begin(at)).secs();
    let until = did.unwrap_or(could);
    let last = after.iter().take_while(|(at, _)| *at < until).filter_map(|(at, said)| match said {
        Said::Fails(slo) => Some((*at, *slo)),
        _ => None,
    });
    let last = last.last().map(|(at, slo)| {
        let over = Span::from_nanos(length.nanos().saturating_mul(at as u64 + 1));
        format!("`{}` did not hold until {over}", experiment.slos[slo].text)
    });
    let unsure = match did {
        None => Some("not all held again before the run ended".to_owned()),
        Some(did) if did != could => Some("not all of it was measured".to_owned()),
        Some(_) => None,
    };
    let windows = format!("in windows of {}", show::span(Some(length.nanos())));
    let remark = unsure.into_iter().chain(last).chain([windows]).collect::<Vec<_>>().join("; ");
    Ok(Found { figure: secs(until), least: secs(could), most: did.map_or(f64::INFINITY, secs), remark: Some(remark) })
}

/// Verdicts of each whole window of the run for the SLOs that windows can decide, and the length of the windows.
fn said(experiment: &Experiment, measured: &Measured) -> Option<(Span, Vec<Said>)> {
    let slos = experiment.slos.iter().enumerate().filter(|(_, slo)| slo.is_of_windows());
    let mut courses: Vec<(usize, &Slo, Course)> = Vec::new();
    for (index, slo) in slos {
        match measured.courses.of(slo.scope, measured.now) {
            Some(course) => courses.push((index, slo, course)),
            // A service that no node has hosted got no request.
            None if matches!(slo.scope, Scope::Service(_)) => {}
            None => return None,
        }
    }
    // A gap of nodes is one of services.
    let is_of_nodes = courses.iter().any(|(_, slo, _)| matches!(slo.scope, Scope::Service(_)));
    let length_ns = courses.iter().map(|(.., course)| course.shape().length_ns).max()?;
    for (.., course) in &mut courses {
        course.widen(length_ns);
        course.settle(measured.now);
    }
    let mut windows: Vec<_> =
        courses.iter().map(|(index, slo, course)| (*index, *slo, course, course.windows())).collect();
    let whole = measured.now.nanos() / length_ns;
    let said = (0..whole).map(|at| {
        let (from, to) = (Time::from_nanos(at * length_ns), Time::from_nanos((at + 1) * length_ns));
        let is_covered = |actor| experiment.mesh.load_index(actor).is_some() || is_of_nodes;
        let is_missing = measured.gaps.iter().any(|gap| is_covered(gap.actor) && gap.from < to && from < gap.to);
        let of_all = windows.iter_mut().map(|(index, slo, course, windows)| match windows.next() {
            Some(window) => one(*index, slo, course, window),
            None => Said::Nothing,
        });
        let all = of_all.fold(Said::Nothing, worse);
        if is_missing && !matches!(all, Said::Fails(_)) { Said::Maybe } else { all }
    });
    Some((Span::from_nanos(length_ns), said.collect()))
}

/// Combined verdict of two SLOs on a window.
fn worse(one: Said, other: Said) -> Said {
    match (one, other) {
        (Said::Fails(slo), _) | (_, Said::Fails(slo)) => Said::Fails(slo),
        (Said::Maybe, _) | (_, Said::Maybe) => Said::Maybe,
        (Said::Holds, _) | (_, Said::Holds) => Said::Holds,
        (Said::Nothing, Said::Nothing) => Said::Nothing,
    }
}

/// Verdict of one SLO on a window.
fn one(index: usize, slo: &Slo, course: &Course, window: &Window) -> Said {
    let scale = course.shape().scale;
    let (done, failed) = (window.done, window.failed.total().saturating_add(window.expired));
    if window.offered == 0 && slo.metric != Metric::Rate {
        return Said::Nothing;
    }
    if window.offered > done.saturating_add(failed) {
        return Said::Maybe;
    }
    let figure = match slo.metric {
        Metric::Quantile(_) | Metric::Max | Metric::Mean if done == 0 => return Said::Maybe,
        Metric::Quantile(q) => match window.latency.quantiles(scale, [q]) {
            [Some(latency)] => latency.min(Span::from_nanos(window.slowest.latency_ns)).secs(),
            [None] => return Said::Maybe,
        },
        Metric::Max => Span::from_nanos(window.slowest.latency_ns).secs(),
        Metric::Mean => Span::from_nanos(window.done_sum_ns / done.max(1)).secs(),
        Metric::Within(limit) => share(window.latency.at_most(scale, limit), done.saturating_add(failed)),
        Metric::Errors => share(failed, done.saturating_add(failed)),
        Metric::DoneOfOffered => share(done, window.offered),
        Metric::Rate => per_second(done, Span::from_nanos(course.shape().length_ns)),
        Metric::Unfinished | Metric::Failed | Metric::Recovery => return Said::Nothing,
    };
    if slo.comparison.holds(figure, slo.threshold) { Said::Holds } else { Said::Fails(index) }
}
