//! Figures of requests that were counted in windows, and not by the bound of an SLO.
//!
//! The histogram of a window has two or three digits, so its percentile lies anywhere in a bucket.

use meshsim_actor::{Span, Time};
use meshsim_experiment::{Experiment, Metric, Scope, Slo};
use meshsim_mesh::course::Window;
use meshsim_mesh::sparse::Scale;

use super::{Finding, Found, anywhere, at_least, remark_on, share, share_of, time_of};
use crate::summary::{Measured, per_second};

/// Requests that were due in some time, and their outcomes.
pub(super) struct Seen<'a> {
    offered: u64,
    done: u64,
    /// Those that were dropped because their callers had given up among them.
    failed: u64,
    /// Those that may still be done or fail.
    open: u64,
    latency: Latencies<'a>,
    time: Span,
}

/// Latencies of those that were answered.
struct Latencies<'a>(&'a Window, Scale);

impl Latencies<'_> {
    fn max(&self) -> Span {
        Span::from_nanos(self.0.slowest.latency_ns)
    }

    fn mean(&self) -> Span {
        Span::from_nanos(self.0.done_sum_ns / self.0.done.max(1))
    }

    /// Between which two the percentile lies; the second is shown.
    fn quantile(&self, q: f64) -> (Span, Span) {
        let Latencies(window, scale) = self;
        let [longest] = window.latency.quantiles(*scale, [q]);
        let longest = longest.unwrap_or(Span::ZERO);
        let before = scale.bucket(longest).checked_sub(1).map(|bucket| scale.longest(bucket));
        let least = before.map_or(Span::ZERO, |before| before + Span::from_nanos(1));
        (least.min(self.max()), longest.min(self.max()))
    }

    /// Between which numbers that of the answers within a time lies.
    fn within(&self, limit: Span) -> (u64, u64) {
        let Latencies(window, scale) = self;
        let most = scale.longest(scale.bucket(limit));
        (window.latency.at_most(*scale, limit), window.latency.at_most(*scale, most))
    }
}

impl<'a> Seen<'a> {
    /// Of windows that were merged, which last so long together. Their percentiles can be read. In a run that goes on,
    /// what has no answer may still get one.
    pub(super) fn of_window(window: &'a Window, scale: Scale, time: Span) -> Self {
        let failed = window.failed.total().saturating_add(window.expired);
        let open = window.offered.saturating_sub(window.done).saturating_sub(failed);
        Seen { offered: window.offered, done: window.done, failed, open, latency: Latencies(window, scale), time }
    }
}

/// Figure of a run in progress, by the whole windows of the SLO's part that have ended.
pub(super) fn so_far(slo: &Slo, experiment: &Experiment, measured: &Measured) -> Finding {
    let course = measured.courses.of(slo.scope, measured.now).ok_or("nothing was measured")?;
    let shape = course.shape();
    let begin = |window: u64| Time::from_nanos(shape.length_ns.saturating_mul(window));
    let (from, to) = slo.window.unwrap_or((Time::ZERO, Time::NEVER));
    let from = match slo.scope {
        Scope::Service(_) => from.max(experiment.mesh.measured_from()),
        _ => from,
    };
    let (first, end) = (from.nanos().div_ceil(shape.length_ns), to.min(measured.now).nanos() / shape.length_ns);
    let mut all = Window::default();
    let windows = course.windows().take(end as usize).skip(first as usize);
    windows.for_each(|window| all.later(window));
    let time = time_of(slo, begin(first), begin(end), experiment, measured);
    match slo.metric {
        Metric::Unfinished => Err("it is known when the run has ended"),
        _ if all.offered == 0 => Err("nothing was measured"),
        metric => figure(metric, &Seen::of_window(&all, shape.scale, time), false),
    }
}

/// The figure of what was seen; with a gap not all of it was measured.
pub(super) fn figure(metric: Metric, seen: &Seen<'_>, gap: bool) -> Finding {
    let Seen { offered, done, failed, open, ref latency, time } = *seen;
    let ended = done.saturating_add(failed);
    let mut found = match metric {
        Metric::Errors => share_of(failed, ended, open, gap),
        Metric::DoneOfOffered => share_of(done, offered.saturating_sub(open), open, gap),
        Metric::Unfinished => share_of(offered.saturating_sub(ended), offered, 0, gap),
        Metric::Failed if offered == 0 && !gap => Err("nothing was measured"),
        Metric::Failed => at_least(failed as f64, open as f64, gap),
        Metric::Rate if time.is_zero() => Err("nothing was measured"),
        Metric::Rate => at_least(per_second(done, time), 0.0, gap),
        Metric::Within(limit) => {
            let (least, most) = latency.within(limit);
            let (least, most) = (share(least, ended), share(most, ended));
            share_of(0, ended, 0, gap).map(|found| match gap {
                true => Found { figure: least, least: 0.0, most: 1.0, ..found },
                false => Found { figure: least, least, most, ..found },
            })
        }
        Metric::Recovery => Err("it is not a figure of some requests"),
        _ if done == 0 => Err("nothing was answered"),
        Metric::Max => at_least(latency.max().secs(), 0.0, gap),
        Metric::Mean => anywhere(latency.mean().secs(), gap, None),
        Metric::Quantile(q) => {
            let (least, most) = latency.quantile(q);
            let found = anywhere(most.secs(), gap, remark_on(metric, done))?;
            Ok(if gap { found } else { Found { least: least.secs(), ..found } })
        }
    };
    if let Ok(found) = &mut found
        && gap
    {
        found.remark = Some("what some nodes measured is missing".into());
    }
    found
}
