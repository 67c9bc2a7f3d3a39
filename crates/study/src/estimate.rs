//! Estimate of a figure from several runs: its mean, with a confidence interval.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Fraction of the intervals that contain the true mean.
pub const CONFIDENCE: f64 = 0.95;

/// The mean of a figure over runs with different seeds.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Estimate {
    /// Number of runs that have the figure.
    pub count: usize,
    /// Mean, in the unit of the figure.
    pub mean: f64,
    /// Half of the 95 % confidence interval: the true mean is in `mean` plus or minus this (Student's t, for
    /// independent runs). `null` for fewer than two runs.
    pub half_width: Option<f64>,
}

impl Estimate {
    /// The estimate from these figures; `None` if there are none.
    pub fn new(figures: &[f64]) -> Option<Self> {
        Self::with_confidence(figures, CONFIDENCE)
    }

    /// The same, with an interval that contains the true mean with this probability.
    pub fn with_confidence(figures: &[f64], confidence: f64) -> Option<Self> {
        let count = figures.len();
        if count == 0 {
            return None;
        }
        let mean = figures.iter().sum::<f64>() / count as f64;
        let half_width = (count > 1).then(|| {
            let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
            let of_mean = (squares / (count - 1) as f64 / count as f64).sqrt();
            quantile(1.0 - (1.0 - confidence) / 2.0, count - 1) * of_mean
        });
        Some(Estimate { count, mean, half_width })
    }

    /// True if there is an interval and it excludes zero.
    pub fn differs_from_zero(&self) -> bool {
        self.half_width.is_some_and(|half| self.mean.abs() > half)
    }
}

/// Quantile of Student's t with this many degrees of freedom, at least one.
fn quantile(share: f64, freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, freedom as f64).map_or(f64::INFINITY, |t| t.inverse_cdf(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_students_t() {
        // From tables: t(0.975) of 9 degrees of freedom is 2.262, of 1 it is 12.706.
        assert!((quantile(0.975, 9) - 2.262).abs() < 1e-3);
        assert!((quantile(0.975, 1) - 12.706).abs() < 1e-2);
        let estimate = Estimate::new(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        // The standard error is sqrt(2.5 / 5), t of 4 degrees of freedom 2.776.
        assert!((estimate.half_width.unwrap() - 2.776 * 0.5_f64.sqrt()).abs() < 1e-3);
        assert_eq!((estimate.mean, estimate.count), (3.0, 5));
    }

    #[test]
    fn one_run_has_a_mean_and_no_interval_and_none_has_neither() {
        assert_eq!(Estimate::new(&[7.0]), Some(Estimate { count: 1, mean: 7.0, half_width: None }));
        assert_eq!(Estimate::new(&[]), None);
        assert!(!Estimate::new(&[7.0]).unwrap().differs_from_zero());
    }

    #[test]
    fn equal_figures_have_an_interval_of_no_width() {
        let same = Estimate::new(&[2.0; 4]).unwrap();
        assert_eq!(same.half_width, Some(0.0));
        assert!(same.differs_from_zero());
        assert!(!Estimate::new(&[0.0; 4]).unwrap().differs_from_zero());
    }
}
