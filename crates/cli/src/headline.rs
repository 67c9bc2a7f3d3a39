//! One line on the state of a run in progress: `4.7s of 10s  201/s  p99 91ms  0.7% failed  node-2 down`.

use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::course::Window;
use meshsim_report::{SoFar, percent, rate, span, window_quantile};

/// Span of the recent figures: long enough for a percentile, short enough to be current.
const RECENT: Span = Span::from_secs(10);
/// Nodes that are named.
const NAMED_MAX: usize = 2;

/// Recent figures of the loads; empty before any request was due.
pub(crate) fn figures(so_far: &SoFar, now: Time, mesh: &Mesh) -> String {
    let from = Time::ZERO + now.since(Time::ZERO + RECENT);
    let (window, per_s) = so_far.of_loads(None, from, now, mesh);
    let mut words = Vec::new();
    if window.offered > 0 {
        words.push(rate(per_s));
        words.extend(highest(&window).map(|(name, ns)| format!("{name} {}", span(Some(ns)))));
        let failed = window.failed.total() as f64 / window.offered as f64;
        words.push(format!("{} failed", percent(failed)));
    }
    let dead = so_far.dead();
    let named: Vec<&str> =
        dead.iter().take(NAMED_MAX).filter_map(|node| Some(mesh.nodes.get(*node)?.name.as_str())).collect();
    match dead.len().saturating_sub(named.len()) {
        0 if named.is_empty() => {}
        0 => words.push(format!("{} down", named.join(", "))),
        more => words.push(format!("{} and {more} more down", named.join(", "))),
    }
    words.join("  ")
}

/// The highest percentile with enough requests beyond it.
pub(crate) fn highest(window: &Window) -> Option<(&'static str, u64)> {
    let all = [("p99", 0.99), ("p90", 0.9), ("p50", 0.5)];
    all.into_iter().find_map(|(name, q)| Some((name, window_quantile(window, q)?)))
}

#[cfg(test)]
mod tests {
    use meshsim_mesh::sparse::Scale;

    use super::*;

    fn window(done: u64) -> Window {
        let mut window = Window { offered: done, done, ..Window::default() };
        window.slowest.latency_ns = 100_000_000;
        (0..done).for_each(|n| window.latency.record(Scale::Fine.bucket(Span::from_millis(1 + n % 100))));
        window
    }

    #[test]
    fn a_percentile_that_rests_on_single_requests_is_not_said() {
        let named = |done| highest(&window(done)).map(|(name, _)| name);
        assert_eq!(
            [19, 20, 99, 100, 999, 1_000].map(named),
            [None, Some("p50"), Some("p50"), Some("p90"), Some("p90"), Some("p99")]
        );
    }
}
