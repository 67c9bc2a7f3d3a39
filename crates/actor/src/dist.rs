//! Distributions of durations: service times, latencies.

use rand_distr::Distribution;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{Rng, Span};

/// A distribution of spans. Every draw is at least zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Dist {
    /// Always the same span.
    Constant(Span),
    /// Uniform between two bounds.
    Uniform {
        /// Lower bound.
        low: Span,
        /// Upper bound.
        high: Span,
    },
    /// Exponential, after a constant offset: `at_least + Exp(mean)`.
    Exponential {
        /// Added to every draw.
        at_least: Span,
        /// Mean of the exponential part.
        mean: Span,
    },
    /// Normal, cut at zero.
    Normal {
        /// Mean before the cut.
        mean: Span,
        /// Standard deviation before the cut.
        sd: Span,
    },
    /// Log-normal, given by its median and the standard deviation of its logarithm.
    LogNormal {
        /// Median.
        median: Span,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// Pareto (type I): the smallest value, and the exponent of the tail.
    Pareto {
        /// Smallest value.
        scale: Span,
        /// Tail exponent; the mean is finite above 1, the variance above 2.
        shape: f64,
    },
    /// Erlang: the sum of `k` exponentials.
    Erlang {
        /// Number of stages.
        k: u32,
        /// Mean of the sum.
        mean: Span,
    },
    /// Hyper-exponential: one of several exponentials, by weight.
    Hyper(Arc<[(f64, Span)]>),
    /// One of the listed values, each equally likely.
    Table(Arc<[Span]>),
}

/// Reason why parameters do not form a distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistError(pub &'static str);

impl std::fmt::Display for DistError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for DistError {}

impl Dist {
    /// Checks the parameters. Drawing from a distribution that fails this check gives zeros or extremes, but never
    /// panics.
    pub fn validate(&self) -> Result<(), DistError> {
        let positive = |x: f64, what| if x.is_finite() && x > 0.0 { Ok(()) } else { Err(DistError(what)) };
        match self {
            Dist::Constant(_) | Dist::Exponential { .. } | Dist::Normal { .. } => Ok(()),
            Dist::Uniform { low, high } if low > high => Err(DistError("the lower bound is above the upper one")),
            Dist::Uniform { .. } => Ok(()),
            Dist::LogNormal { sigma, .. } if sigma.is_finite() && *sigma >= 0.0 => Ok(()),
            Dist::LogNormal { .. } => Err(DistError("sigma must be zero or more")),
            Dist::Pareto { shape, .. } => positive(*shape, "the shape must be above zero"),
            Dist::Erlang { k, .. } => positive(f64::from(*k), "an Erlang needs at least one stage"),
            Dist::Hyper(parts) => {
                parts.iter().try_for_each(|(w, _)| positive(*w, "every weight must be above zero"))?;
                if parts.is_empty() { Err(DistError("a mixture needs at least one part")) } else { Ok(()) }
            }
            Dist::Table(values) if values.is_empty() => Err(DistError("a table needs at least one value")),
            Dist::Table(_) => Ok(()),
        }
    }

    /// Draws one span.
    #[inline]
    pub fn sample(&self, rng: &mut Rng) -> Span {
        match self {
            Dist::Constant(span) => *span,
            Dist::Exponential { at_least, mean } => *at_least + exponential(rng, *mean),
            other => other.sample_slow(rng),
        }
    }

    fn sample_slow(&self, rng: &mut Rng) -> Span {
        match self {
            Dist::Constant(span) => *span,
            Dist::Exponential { at_least, mean } => *at_least + exponential(rng, *mean),
            Dist::Uniform { low, high } => *low + (*high - *low).scaled(rng.unit()),
            Dist::Normal { mean, sd } => {
                let z: f64 = rand_distr::StandardNormal.sample(rng);
                Span::from_secs_f64(mean.secs() + sd.secs() * z)
            }
            Dist::LogNormal { median, sigma } => {
                let z: f64 = rand_distr::StandardNormal.sample(rng);
                median.scaled((sigma * z).exp())
            }
            // By inversion; 1 - u is in (0, 1].
            Dist::Pareto { scale, shape } => scale.scaled((1.0 - rng.unit()).powf(-1.0 / shape)),
            Dist::Erlang { k, mean } => {
                let stage = mean.scaled(1.0 / f64::from(*k));
                (0..*k).fold(Span::ZERO, |sum, _| sum + exponential(rng, stage))
            }
            Dist::Hyper(parts) => {
                let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
                let mut left = rng.unit() * total;
                let chosen = parts.iter().find(|(weight, _)| {
                    left -= weight;
                    left < 0.0
                });
                chosen.or(parts.last()).map_or(Span::ZERO, |(_, mean)| exponential(rng, *mean))
            }
            Dist::Table(values) if values.is_empty() => Span::ZERO,
            Dist::Table(values) => values[rng.below(values.len() as u32) as usize],
        }
    }

    /// Mean in seconds; infinite for a Pareto of shape 1 or less. For `Normal`, the mean before the cut at zero.
    pub fn mean_secs(&self) -> f64 {
        match self {
            Dist::Constant(span) => span.secs(),
            Dist::Uniform { low, high } => (low.secs() + high.secs()) / 2.0,
            Dist::Exponential { at_least, mean } => at_least.secs() + mean.secs(),
            Dist::Normal { mean, .. } | Dist::Erlang { mean, .. } => mean.secs(),
            Dist::LogNormal { median, sigma } => median.secs() * (sigma * sigma / 2.0).exp(),
            Dist::Pareto { scale, shape } if *shape > 1.0 => scale.secs() * shape / (shape - 1.0),
            Dist::Pareto { .. } => f64::INFINITY,
            Dist::Hyper(parts) => {
                let total: f64 = parts.iter().map(|(w, _)| w).sum();
                parts.iter().map(|(w, mean)| w * mean.secs()).sum::<f64>() / total
            }
            Dist::Table(values) => values.iter().map(|v| v.secs()).sum::<f64>() / values.len().max(1) as f64,
        }
    }
}

#[inline]
fn exponential(rng: &mut Rng, mean: Span) -> Span {
    let x: f64 = rand_distr::Exp1.sample(rng);
    mean.scaled(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Span {
        Span::from_millis(n)
    }

    fn all() -> Vec<(Dist, f64)> {
        vec![
            (Dist::Constant(ms(5)), 0.0),
            (Dist::Uniform { low: ms(2), high: ms(8) }, 3.0 / 25.0),
            (Dist::Exponential { at_least: Span::ZERO, mean: ms(5) }, 1.0),
            (Dist::Normal { mean: ms(10), sd: ms(2) }, 0.04),
            (Dist::LogNormal { median: ms(5), sigma: 0.5 }, (0.25f64).exp() - 1.0),
            (Dist::Pareto { scale: ms(4), shape: 5.0 }, 1.0 / 15.0),
            (Dist::Erlang { k: 4, mean: ms(5) }, 0.25),
            // Balanced means, cs2 = 4.
            (
                Dist::Hyper(Arc::new([
                    (0.887_298_334, ms(5).scaled(0.563_508_327)),
                    (0.112_701_666, ms(5).scaled(4.436_491_673)),
                ])),
                4.0,
            ),
            (Dist::Table(Arc::new([ms(1), ms(9)])), 16.0 / 25.0),
        ]
    }

    #[test]
    fn draws_have_the_mean_and_squared_variation_of_their_parameters() {
        for (dist, cs2) in all() {
            dist.validate().unwrap();
            let mut rng = Rng::stream(3, "draws");
            let n = 400_000;
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..n {
                let x = dist.sample(&mut rng).secs();
                sum += x;
                squares += x * x;
            }
            let mean = sum / f64::from(n);
            let got_cs2 = squares / f64::from(n) / (mean * mean) - 1.0;
            assert!((mean / dist.mean_secs() - 1.0).abs() < 0.015, "{dist:?}: mean {mean}");
            assert!((got_cs2 - cs2).abs() < 0.03 * (1.0 + cs2), "{dist:?}: cs2 {got_cs2}, not {cs2}");
        }
    }

    #[test]
    fn the_draws_are_pinned() {
        // A new version of `rand_distr` that draws other numbers would change every result: this test notices it first.
        let shown: Vec<u64> =
            all().iter().map(|(dist, _)| dist.sample(&mut Rng::stream(3, "pinned")).nanos()).collect();
        assert_eq!(
            shown,
            [5_000_000, 6_995_169, 5_578_565, 11_792_374, 7_826_626, 5_718_362, 5_349_255, 756_410, 1_000_000]
        );
    }

    #[test]
    fn nonsense_is_named_and_never_panics() {
        let nonsense = [
            Dist::Uniform { low: ms(2), high: ms(1) },
            Dist::LogNormal { median: ms(1), sigma: f64::NAN },
            Dist::Pareto { scale: ms(1), shape: 0.0 },
            Dist::Erlang { k: 0, mean: ms(1) },
            Dist::Hyper(Arc::new([])),
            Dist::Table(Arc::new([])),
        ];
        for dist in nonsense {
            assert!(dist.validate().is_err(), "{dist:?}");
            dist.sample(&mut Rng::stream(1, "x"));
        }
    }
}
