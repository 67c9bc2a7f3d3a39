//! Bounds of random durations, and the durations of messages and backoffs.

use meshsim_actor::Dist;
use meshsim_fault::NetworkSpec;
use meshsim_mesh::Mesh;
use meshsim_mesh::model::{Backoff, NodeSpec, Retry};

/// Standard deviations beyond which a normal draw is not expected: once in ten thousand times.
const SIGMAS: f64 = 3.72;
/// The same of an exponential, in means: `ln 10^4`.
const MEANS: f64 = 9.21;

/// Lower bound of a draw, in seconds; without a bound, the value below which one of ten thousand draws lies.
pub(super) fn least(dist: &Dist) -> f64 {
    match dist {
        Dist::Constant(span) => span.secs(),
        Dist::Uniform { low, .. } => low.secs(),
        Dist::Exponential { at_least, .. } => at_least.secs(),
        Dist::Normal { mean, sd } => (mean.secs() - SIGMAS * sd.secs()).max(0.0),
        Dist::LogNormal { median, sigma } => median.secs() * (-SIGMAS * sigma).exp(),
        Dist::Pareto { scale, .. } => scale.secs(),
        Dist::Erlang { .. } | Dist::Hyper(_) => 0.0,
        Dist::Table(values) => values.iter().map(|value| value.secs()).reduce(f64::min).unwrap_or(0.0),
    }
}

/// Upper bound of a draw, in seconds; without a bound, the value above which one of ten thousand draws lies, or a
/// longer one.
pub(super) fn most(dist: &Dist) -> f64 {
    match dist {
        Dist::Constant(span) => span.secs(),
        Dist::Uniform { high, .. } => high.secs(),
        Dist::Exponential { at_least, mean } => at_least.secs() + MEANS * mean.secs(),
        Dist::Normal { mean, sd } => mean.secs() + SIGMAS * sd.secs(),
        Dist::LogNormal { median, sigma } => median.secs() * (SIGMAS * sigma).exp(),
        Dist::Pareto { scale, shape } => scale.secs() * 1e4f64.powf(1.0 / shape),
        Dist::Erlang { mean, .. } => MEANS * mean.secs(),
        Dist::Hyper(parts) => MEANS * parts.iter().map(|(_, mean)| mean.secs()).fold(0.0, f64::max),
        Dist::Table(values) => values.iter().map(|value| value.secs()).fold(0.0, f64::max),
    }
}

/// Mean and longest wait before retry `n` (from 1), in seconds: as the calling side draws it.
pub(super) fn backoff(n: u32, retry: &Retry) -> (f64, f64) {
    let cap = retry.cap.secs();
    match retry.backoff {
        Backoff::Fixed => (retry.base.min(retry.cap).secs(), retry.base.min(retry.cap).secs()),
        Backoff::Jittered => {
            let window = retry.base.secs() * (2f64.powi(n.min(32) as i32) - 1.0);
            // Uniform, and what lies above the cap is the cap.
            let mean = if window <= cap { window / 2.0 } else { cap - cap * cap / (2.0 * window) };
            (mean, window.min(cap))
        }
    }
}

/// Duration of a message from one node to another, both chosen at random, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hop {
    pub(super) mean: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// The nodes without the spares, which join only when a process starts them.
pub(super) fn expected(mesh: &Mesh) -> impl Iterator<Item = &NodeSpec> {
    mesh.nodes.iter().filter(|node| !node.is_spare())
}

impl Hop {
    pub(super) fn new(mesh: &Mesh, network: &NetworkSpec) -> Self {
        let count = expected(mesh).count().max(1) as f64;
        let side = network.latency.len().isqrt();
        let mut by_zone = vec![0.0; side];
        for node in expected(mesh) {
            if let Some(nodes) = by_zone.get_mut(if side > 1 { usize::from(node.zone) } else { 0 }) {
                *nodes += 1.0;
            }
        }
        let mut hop = Hop { mean: 0.0, least: least(&network.local), most: most(&network.local) };
        for pair in 0..side * side {
            let weight = by_zone[pair / side] * by_zone[pair % side] / (count * count);
            if weight > 0.0 {
                let dist = &network.latency[pair];
                hop.mean += weight * dist.mean_secs();
                (hop.least, hop.most) = (hop.least.min(least(dist)), hop.most.max(most(dist)));
            }
        }
        // Two instances share a node once in `count` times.
        hop.mean = hop.mean * (1.0 - 1.0 / count) + network.local.mean_secs() / count;
        hop
    }
}

impl Hop {
    /// The same with half of the time that a request takes at the proxies on its way, which its reply passes at once;
    /// `of_load`: from a load, and not from an instance.
    pub(super) fn through_proxies(self, mesh: &Mesh, of_load: bool) -> Self {
        let Some(plane) = mesh.data_plane.as_deref() else { return self };
        let passed = plane.on_the_way_out(of_load).into_iter().chain(plane.on_the_way_in());
        passed.fold(self, |hop, station| Hop {
            mean: hop.mean + (station.work.mean_secs() + station.latency.mean_secs()) / 2.0,
            least: hop.least + (least(&station.work) + least(&station.latency)) / 2.0,
            most: hop.most + (most(&station.work) + most(&station.latency)) / 2.0,
        })
    }
}

/// Time from the coordinator to the farthest zone with nodes and back, on average, in seconds.
pub(super) fn round_trip(mesh: &Mesh, network: &NetworkSpec) -> f64 {
    let side = network.latency.len().isqrt();
    let mean = |from: usize, to: usize| network.latency.get(from * side + to).map_or(0.0, |dist| dist.mean_secs());
    let mut used = vec![false; side.max(1)];
    for node in expected(mesh) {
        if let Some(zone) = used.get_mut(if side > 1 { usize::from(node.zone) } else { 0 }) {
            *zone = true;
        }
    }
    let zones = used.iter().enumerate().filter(|(_, used)| **used).map(|(zone, _)| zone);
    zones.map(|zone| mean(0, zone) + mean(zone, 0)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::{Rng, Span};

    #[test]
    fn hardly_any_draw_lies_outside_its_bounds() {
        let ms = Span::from_millis;
        let dists = [
            Dist::Constant(ms(5)),
            Dist::Uniform { low: ms(2), high: ms(8) },
            Dist::Exponential { at_least: ms(1), mean: ms(5) },
            Dist::Normal { mean: ms(10), sd: ms(2) },
            Dist::LogNormal { median: ms(5), sigma: 0.5 },
            Dist::Pareto { scale: ms(4), shape: 2.5 },
            Dist::Erlang { k: 4, mean: ms(5) },
            Dist::Hyper(std::sync::Arc::new([(9.0, ms(1)), (1.0, ms(40))])),
            Dist::Table(std::sync::Arc::new([ms(1), ms(9)])),
        ];
        for dist in dists {
            let mut rng = Rng::stream(1, "bounds");
            let outside = (0..100_000).map(|_| dist.sample(&mut rng).secs());
            let outside = outside.filter(|it| *it < least(&dist) - 1e-9 || *it > most(&dist) + 1e-9).count();
            assert!(outside <= 40, "{dist:?}: {outside} of 100,000");
        }
    }

    #[test]
    fn a_backoff_has_the_mean_of_its_window_cut_at_the_cap() {
        let retry = Retry::default();
        assert_eq!(backoff(1, &retry), (0.0125, 0.025));
        // [0, 375 ms), and a third of that is above 250 ms.
        let (mean, longest) = backoff(4, &retry);
        assert!((mean - (0.125 * 2.0 / 3.0 + 0.25 / 3.0)).abs() < 1e-12 && longest == 0.25, "{mean}");
        let fixed = Retry { backoff: Backoff::Fixed, ..retry };
        assert_eq!(backoff(4, &fixed), (0.025, 0.025));
    }
}
