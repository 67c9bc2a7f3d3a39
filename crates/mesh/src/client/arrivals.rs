//! Planned times of the requests of a load.
//!
//! A rate that changes over time is turned into times by its integral: the next request is planned where the integral
//! has grown by one (evenly) or by an exponential draw (Poisson). So both follow the rate exactly, through ramps and
//! steps, and no time is rounded to a grid. (Inversion of a non-homogeneous Poisson process: Çinlar 1975.) An evenly
//! planned request lies in the middle of its interval, so ten a second for a second are ten, whatever came before.

use meshsim_actor::{Rng, Span};
use rand_distr::Distribution;
use serde::{Deserialize, Serialize};

use crate::model::{Arrivals, Process, Stage};

/// A request may fall on the end of its stage; rounding must not push it beyond.
const NOISE: f64 = 1e-9;

/// Position of a load in its plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The stage, or the next stamp.
    index: usize,
    /// Start of the stage, counted from the load's start.
    began: Span,
    /// Offset into the stage of the last planned request, in seconds.
    into: f64,
    /// Something was planned already.
    has_begun: bool,
}

impl Plan {
    /// The next planned time, counted from the load's start; `None` when the plan has ended, and in a closed loop,
    /// whose users send after they have their replies.
    pub fn next(&mut self, arrivals: &Arrivals, rng: &mut Rng) -> Option<Span> {
        match arrivals {
            Arrivals::Stamps(stamps) => {
                let stamp = stamps.get(self.index).copied();
                self.index += 1;
                stamp
            }
            Arrivals::Users(_) => None,
            Arrivals::Rate { process, stages } => {
                let grow = match process {
                    Process::Constant if !self.has_begun => 0.5,
                    Process::Constant => 1.0,
                    Process::Poisson => rand_distr::Exp1.sample(rng),
                };
                self.has_begun = true;
                self.advance(stages, grow)
            }
        }
    }

    /// Advances until the integral of the rate has grown by `grow`.
    fn advance(&mut self, stages: &[Stage], mut grow: f64) -> Option<Span> {
        while let Some(stage) = stages.get(self.index) {
            let left = stage.length.secs() - self.into;
            let here = stage.rate_at(self.into);
            let slope = stage.slope();
            let until_end = left * (here + stage.to) / 2.0;
            if until_end >= grow - NOISE {
                self.into += time_for(grow, here, slope).min(left);
                return Some(self.began + Span::from_secs_f64(self.into));
            }
            grow -= until_end;
            self.began += stage.length;
            self.into = 0.0;
            self.index += 1;
        }
        None
    }
}

impl Stage {
    fn slope(&self) -> f64 {
        // The endless stage of a steady rate has no slope; nor has one without length.
        if self.from == self.to || self.length.is_zero() { 0.0 } else { (self.to - self.from) / self.length.secs() }
    }

    fn rate_at(&self, into: f64) -> f64 {
        self.from + self.slope() * into
    }
}

/// Solves `rate t + slope t^2 / 2 = grow` for the smallest t >= 0, in the form that does not cancel.
fn time_for(grow: f64, rate: f64, slope: f64) -> f64 {
    let root = (rate * rate + 2.0 * slope * grow).max(0.0).sqrt();
    2.0 * grow / (rate + root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(process: Process, stages: &[(u64, f64, f64)]) -> Vec<f64> {
        let stages =
            stages.iter().map(|(secs, from, to)| Stage { length: Span::from_secs(*secs), from: *from, to: *to });
        let arrivals = Arrivals::Rate { process, stages: stages.collect() };
        let (mut plan, mut rng) = (Plan::default(), Rng::stream(1, "plan"));
        std::iter::from_fn(|| plan.next(&arrivals, &mut rng)).map(Span::secs).collect()
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced_through_changes_of_the_rate() {
        let planned = plan(Process::Constant, &[(1, 4.0, 4.0), (1, 0.0, 0.0), (1, 2.0, 2.0)]);
        assert_eq!(planned, [0.125, 0.375, 0.625, 0.875, 2.25, 2.75]);
    }

    #[test]
    fn a_ramp_plans_as_many_as_its_area_and_where_its_integral_says() {
        let planned = plan(Process::Constant, &[(10, 0.0, 20.0)]);
        assert_eq!(planned.len(), 100);
        for (i, t) in planned.iter().enumerate() {
            assert!((t - (i as f64 + 0.5).sqrt()).abs() < 1e-6, "request {i} at {t}");
        }
        assert_eq!(plan(Process::Constant, &[(10, 20.0, 0.0)]).len(), 100);
    }

    #[test]
    fn a_ramp_from_one_rate_to_another_follows_its_slope_up_and_down() {
        // 10 t + t^2 requests by t, and 30 t - t^2 / 2 in the 20 seconds after: 200 and 400 in all.
        let planned = plan(Process::Constant, &[(10, 10.0, 30.0), (20, 30.0, 10.0)]);
        assert_eq!(planned.len(), 600);
        for (i, t) in planned.iter().enumerate() {
            let grown =
                if *t <= 10.0 { 10.0 * t + t * t } else { 200.0 + 30.0 * (t - 10.0) - (t - 10.0).powi(2) / 2.0 };
            assert!((grown - (i as f64 + 0.5)).abs() < 1e-5, "request {i} at {t}: {grown}");
        }
        let poisson = plan(Process::Poisson, &[(100, 100.0, 300.0)]);
        let first = poisson.iter().filter(|t| **t < 50.0).count() as f64;
        // 7,500 and 12,500.
        assert!(
            (first - 7_500.0).abs() < 4.0 * 87.0 && (poisson.len() as f64 - 20_000.0).abs() < 4.0 * 142.0,
            "{first}"
        );
    }

    #[test]
    fn poisson_arrivals_have_the_rate_of_their_stage_and_independent_gaps() {
        let planned = plan(Process::Poisson, &[(100, 1000.0, 1000.0), (100, 100.0, 100.0)]);
        let first = planned.iter().filter(|t| **t < 100.0).count() as f64;
        let second = planned.len() as f64 - first;
        assert!((first - 100_000.0).abs() < 1_300.0 && (second - 10_000.0).abs() < 400.0, "{first} {second}");
        let gaps: Vec<f64> = planned.windows(2).take(90_000).map(|w| w[1] - w[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let cv2 = gaps.iter().map(|g| (g / mean - 1.0).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((cv2 - 1.0).abs() < 0.03, "{cv2}");
    }

    #[test]
    fn rates_of_zero_and_endless_stages_come_to_an_end_or_go_on() {
        assert_eq!(plan(Process::Poisson, &[(10, 0.0, 0.0)]), [0.0; 0]);
        let steady = Arrivals::steady(Process::Constant, 1000.0);
        let (mut plan, mut rng) = (Plan::default(), Rng::stream(1, "plan"));
        assert_eq!((0..5000).filter_map(|_| plan.next(&steady, &mut rng)).last(), Some(Span::from_micros(4_999_500)));
    }
}
