//! Correlation between the latencies of consecutive requests.

use meshsim_mesh::batches::Batches;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number of batches that an estimate of the variance needs.
const BATCHES_MIN: usize = 8;

/// Correlation of consecutive requests: those that wait in one queue are late together.
///
/// A percentile of n such requests varies, from run to run, as that of n / factor independent ones would.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Correlation {
    /// The factor of p50, at least 1: how many times larger the variance is of the share of requests that lie below it
    /// than it would be for independent requests.
    pub p50: f64,
    /// The factor of p90.
    pub p90: f64,
    /// The factor of p99.
    pub p99: f64,
    /// The largest correlation between neighbouring batches, of those of the three percentiles: -1 to 1. If it is far
    /// above 0, batches are shorter than the correlation time, and the factors too small: the run is too short.
    pub adjacent: f64,
}

/// From this correlation between neighbouring batches on, a run is too short to tell how much alike its requests are.
/// By chance alone, that of twenty batches seldom exceeds it.
const ALIKE: f64 = 0.5;

impl Correlation {
    /// Estimate from batches of equal length; `None` if there are too few of them.
    pub(crate) fn new(batches: &Batches) -> Option<Self> {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|q| factor(&batches.below(q)));
        let ((p50, one), (p90, two), (p99, three)) = (p50?, p90?, p99?);
        Some(Correlation { p50, p90, p99, adjacent: one.max(two).max(three) })
    }

    /// True if the run is too short to tell how much alike its requests are.
    pub fn is_untold(&self) -> bool {
        self.adjacent > ALIKE
    }

    /// The larger of each.
    pub(crate) fn larger(self, other: Self) -> Self {
        Correlation {
            p50: self.p50.max(other.p50),
            p90: self.p90.max(other.p90),
            p99: self.p99.max(other.p99),
            adjacent: self.adjacent.max(other.adjacent),
        }
    }

    /// The factor of the percentile that is nearest to the share `q`.
    pub(crate) fn factor(&self, q: f64) -> f64 {
        match q {
            q if q < 0.7 => self.p50,
            q if q < 0.95 => self.p90,
            _ => self.p99,
        }
    }
}

/// The factor of a fraction, from the number of requests in each batch and of those below it; and the correlation
/// between neighbouring batches.
///
/// The residual of a batch is the number of its requests below, minus the number expected if it were like all. Its
/// variance is estimated from the differences of neighbours (von Neumann 1941), so that a trend of the load or of the
/// latency does not count as random.
fn factor(batches: &[(u64, u64)]) -> Option<(f64, f64)> {
    if batches.len() < BATCHES_MIN {
        return None;
    }
    let count: f64 = batches.iter().map(|(count, _)| *count as f64).sum();
    let share = batches.iter().map(|(_, below)| *below as f64).sum::<f64>() / count;
    let independent = count * share * (1.0 - share);
    if independent <= 0.0 || !independent.is_finite() {
        // All alike: there is nothing to vary.
        return Some((1.0, 0.0));
    }
    let residuals: Vec<f64> = batches.iter().map(|(count, below)| *below as f64 - share * *count as f64).collect();
    let pairs = (residuals.len() - 1) as f64;
    let squares: f64 = residuals.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum();
    let variance = squares / (2.0 * pairs);
    let all: f64 = residuals.iter().map(|residual| residual * residual).sum();
    let adjacent = if all > 0.0 { 1.0 - squares / (2.0 * all) } else { 0.0 };
    Some(((variance * residuals.len() as f64 / independent).max(1.0), adjacent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_vary_as_independent_requests_do_have_the_factor_one() {
        // 100 requests a batch, half of them below, give or take a standard deviation of 5.
        let around = |deviation: i64| -> Vec<(u64, u64)> {
            let signs = [1, 1, -1, -1, 1, -1, -1, 1, -1, 1, 1, -1];
            signs.iter().map(|sign| (100, (50 + sign * deviation) as u64)).collect()
        };
        let (one, _) = factor(&around(5)).unwrap();
        assert!((1.0..1.5).contains(&one), "{one}");
        let (sixteen, _) = factor(&around(20)).unwrap();
        assert!((14.0..24.0).contains(&sixteen), "{sixteen}");
    }

    #[test]
    fn a_trend_is_not_taken_for_chance_but_said_to_be_alike() {
        let rising: Vec<(u64, u64)> = (0..20).map(|n| (1000, 405 + 10 * n)).collect();
        let (factor, adjacent) = factor(&rising).unwrap();
        assert!(factor < 1.5 && adjacent > 0.8, "{factor} {adjacent}");
    }

    #[test]
    fn too_few_batches_say_nothing_and_equal_latencies_do_not_vary() {
        assert_eq!(factor(&[(10, 5); 7]), None);
        assert_eq!(factor(&[(10, 0); 9]), Some((1.0, 0.0)));
        assert_eq!(factor(&[(0, 0); 9]), Some((1.0, 0.0)));
    }
}
