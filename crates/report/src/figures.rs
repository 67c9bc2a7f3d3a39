//! The figures of a histogram that are reported.

use meshsim_actor::Span;
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::Histogram;
use meshsim_mesh::sparse::Scale;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Samples that must lie beyond a percentile before it is reported. With fewer it is the figure of a handful of
/// requests and moves from seed to seed: p99.9 takes 10,000 requests, p50 takes 20.
pub(crate) const SAMPLES_BEYOND_MIN: u64 = 10;

/// Distribution of a duration. A percentile with fewer than ten samples beyond it is `null`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Latency {
    /// Number of samples.
    pub count: u64,
    /// Their mean, in nanoseconds; `null` if there were none, like all that follows.
    pub mean_ns: Option<u64>,
    /// Half of them took at most this, in nanoseconds. Percentiles have three significant digits.
    pub p50_ns: Option<u64>,
    /// 75 % took at most this.
    pub p75_ns: Option<u64>,
    /// 90 %.
    pub p90_ns: Option<u64>,
    /// 95 %.
    pub p95_ns: Option<u64>,
    /// 99 %.
    pub p99_ns: Option<u64>,
    /// 99.9 %.
    #[serde(rename = "p99.9_ns")]
    pub p999_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
    /// Some requests had been in flight for longer than every reply took when the run ended. Their ages are then in
    /// `mean_ns` and `max_ns`, which are lower bounds. Percentiles account for all requests in flight (the estimate of
    /// Kaplan and Meier), and are `null` where too few were answered.
    #[serde(default)]
    pub at_least: bool,
}

impl Latency {
    /// The figures of a histogram.
    pub fn new(histogram: &Histogram) -> Self {
        Self::with_pending(histogram, &Histogram::default())
    }

    /// The figures of answered requests, where `pending` holds the ages of the others.
    pub fn with_pending(histogram: &Histogram, pending: &Histogram) -> Self {
        let count = histogram.count();
        let all = count.saturating_add(pending.count());
        let at_least = pending.max() > histogram.max();
        let nanos = |done: Span, open: Span, open_count: u64| {
            let sum = u128::from(done.nanos()) * u128::from(count) + u128::from(open.nanos()) * u128::from(open_count);
            sum.checked_div(u128::from(count.saturating_add(open_count))).map(|mean| mean as u64)
        };
        // The share is given in thousandths: a float decides nothing.
        let percentile = |thousandths: u64| {
            let enough = has_enough(all, thousandths as f64 / 1000.0);
            let found = || histogram.quantile_with(pending, thousandths as f64 / 1000.0);
            if enough { found().map(Span::nanos) } else { None }
        };
        Latency {
            count,
            mean_ns: match at_least {
                true => nanos(histogram.mean(), pending.mean(), pending.count()),
                false => (count > 0).then(|| histogram.mean().nanos()),
            },
            p50_ns: percentile(500),
            p75_ns: percentile(750),
            p90_ns: percentile(900),
            p95_ns: percentile(950),
            p99_ns: percentile(990),
            p999_ns: percentile(999),
            max_ns: (count > 0 || at_least).then(|| histogram.max().max(pending.max()).nanos()),
            at_least,
        }
    }
}

/// True if enough of `count` samples lie beyond the share `q`.
pub(crate) fn has_enough(count: u64, q: f64) -> bool {
    // 1 - 0.99 is a little less than a hundredth.
    count as f64 * (1.0 - q) + 1e-6 > SAMPLES_BEYOND_MIN as f64
}

/// Number of samples that the percentile of the fraction `q` needs.
pub(crate) fn samples_needed(q: f64) -> u64 {
    (SAMPLES_BEYOND_MIN as f64 / (1.0 - q)).round() as u64
}

/// A percentile of what a load's window took, in nanoseconds; `None` if fewer than ten requests are beyond it.
pub fn window_quantile(window: &Window, q: f64) -> Option<u64> {
    if !has_enough(window.done, q) {
        return None;
    }
    let mut latency = window.latency.clone();
    latency.settle();
    let [longest] = latency.quantiles(Scale::Fine, [q]);
    Some(longest?.nanos().min(window.slowest.latency_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u64) -> Latency {
        let mut histogram = Histogram::default();
        for i in 1..=count {
            histogram.record(Span::from_micros(i));
        }
        Latency::new(&histogram)
    }

    #[test]
    fn a_percentile_is_reported_from_ten_samples_beyond_it_on() {
        for (count, shown) in [(0, 0), (19, 0), (20, 1), (40, 2), (100, 3), (200, 4), (999, 4), (1_000, 5), (10_000, 6)]
        {
            let l = of(count);
            let all = [l.p50_ns, l.p75_ns, l.p90_ns, l.p95_ns, l.p99_ns, l.p999_ns];
            assert_eq!(all.iter().flatten().count(), shown, "{count}: {all:?}");
            assert_eq!((l.max_ns.is_some(), l.mean_ns.is_some()), (count > 0, count > 0));
        }
        assert_eq!((samples_needed(0.99), samples_needed(0.999), samples_needed(0.5)), (1_000, 10_000, 20));
    }
}
