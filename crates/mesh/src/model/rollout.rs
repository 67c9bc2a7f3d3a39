//! Rollouts: a new version is introduced step by step, and rolled back if its measurements fail.
//!
//! The words are those of Argo Rollouts (<https://argo-rollouts.readthedocs.io/en/stable/features/canary/>,
//! <https://argo-rollouts.readthedocs.io/en/stable/features/analysis/>).

use std::fmt;
use std::sync::Arc;

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use super::{Amount, Control};
use crate::criterion::Comparison;

/// Steps of a rollout at most.
pub const ROLLOUT_STEPS_MAX: usize = 100;
/// Conditions of an analysis at most.
pub const CHECKS_MAX: usize = 16;
/// Rounds of samples that the window of an analysis may be long.
pub const WINDOW_ROUNDS_MAX: u64 = 120;
/// Length of the text of a condition at most, in bytes.
pub const CHECK_BYTES_MAX: usize = 200;

/// A rollout of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The new version.
    pub to: u32,
    /// Its steps, in order. After the last one the new version gets all requests, whatever its weight was.
    pub steps: Vec<RolloutStep>,
    /// Analysis in the background, from the first weight that is in force until the old instances go.
    pub analysis: Option<Analysis>,
    /// Time for which the old instances stay when the new version has all requests. (Argo Rollouts: 30 s.)
    pub scale_down_delay: Span,
    /// Time for which the new instances stay when the rollout was aborted. (Argo Rollouts: 30 s.)
    pub abort_scale_down_delay: Span,
    /// Time within which the instances of a step must be ready: else the rollout is aborted. `None`: it waits.
    pub progress_deadline: Option<Span>,
}

impl Rollout {
    /// All its analyses, the one in the background first.
    pub fn analyses(&self) -> impl Iterator<Item = &Analysis> {
        let of_steps = self.steps.iter().filter_map(|step| match step {
            RolloutStep::Analysis(analysis) => Some(analysis),
            _ => None,
        });
        self.analysis.iter().chain(of_steps)
    }

    /// Rounds of samples in its longest window.
    pub(crate) fn window_rounds(&self, control: &Control) -> u64 {
        self.analyses().map(|analysis| analysis.rounds(control)).max().unwrap_or(0)
    }

    /// `Err`: the reason why no file may say this.
    pub(crate) fn validate(&self, control: &Control) -> Result<(), &'static str> {
        let require = |holds: bool, what| if holds { Ok(()) } else { Err(what) };
        require(self.steps.len() <= ROLLOUT_STEPS_MAX, "a rollout has at most 100 steps")?;
        for step in &self.steps {
            match step {
                RolloutStep::SetWeight(weight) => {
                    require((0.0..=1.0).contains(weight), "a weight is a share of the requests, up to 100%")?;
                }
                RolloutStep::SetCanaryScale(Some(Amount::Share(share))) => {
                    require((0.0..=1.0).contains(share), "a canary's scale is a share of the instances, up to 100%")?;
                }
                RolloutStep::SetCanaryScale(Some(Amount::Instances(count))) => {
                    require(*count <= crate::operation::TO_MAX, "too many instances")?;
                }
                RolloutStep::SetCanaryScale(None) | RolloutStep::Pause(_) | RolloutStep::Analysis(_) => {}
            }
        }
        self.analyses().try_for_each(|analysis| analysis.validate(control))
    }
}

/// A step of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RolloutStep {
    /// The share of the requests that the new version gets, from 0 to 1. It is done when the weight is in force.
    SetWeight(f64),
    /// Number of instances of the new version, in addition to the S. It does not depend on the weight; `None`: as many
    /// as the weight requires. The step is done when they are ready.
    SetCanaryScale(Option<Amount>),
    /// Waits for this time; `None`: until the rollout is resumed.
    Pause(Option<Span>),
    /// Takes the measurements of an analysis. The step is done when the analysis has succeeded.
    Analysis(Analysis),
}

impl fmt::Display for RolloutStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RolloutStep::SetWeight(weight) => write!(f, "set_weight {}", Percent(*weight)),
            RolloutStep::SetCanaryScale(None) => f.write_str("set_canary_scale match_traffic_weight"),
            RolloutStep::SetCanaryScale(Some(Amount::Instances(count))) => write!(f, "set_canary_scale {count}"),
            RolloutStep::SetCanaryScale(Some(Amount::Share(share))) => {
                write!(f, "set_canary_scale {}", Percent(*share))
            }
            RolloutStep::Pause(Some(length)) => write!(f, "pause {length}"),
            RolloutStep::Pause(None) => f.write_str("pause until resumed"),
            RolloutStep::Analysis(analysis) => {
                let texts: Vec<&str> = analysis.checks.iter().map(|check| &*check.text).collect();
                write!(f, "analysis {}", texts.join(", "))
            }
        }
    }
}

/// A share as a percentage, without the noise of floats.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.4}", self.0 * 100.0);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Measurements of the new version, and what they must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Conditions: all must hold. At least one.
    pub checks: Vec<Check>,
    /// Time between two measurements.
    pub interval: Span,
    /// A measurement is about the requests that ended in this time before the latest samples.
    pub window: Span,
    /// Time until the first measurement.
    pub initial_delay: Span,
    /// Number of measurements; `None`: as long as the rollout goes on.
    pub count: Option<u32>,
    /// More failed measurements than these abort the rollout. (Argo Rollouts: 0.)
    pub failure_limit: u32,
    /// More inconclusive measurements than these pause it. (Argo Rollouts: 0.)
    pub inconclusive_limit: u32,
    /// With fewer requests in the window, a measurement is inconclusive.
    pub min_requests: u64,
}

impl Analysis {
    /// Rounds of samples in its window.
    pub(crate) fn rounds(&self, control: &Control) -> u64 {
        self.window.nanos().div_ceil(control.metrics.nanos().max(1)).max(1)
    }

    fn validate(&self, control: &Control) -> Result<(), &'static str> {
        let require = |holds: bool, what| if holds { Ok(()) } else { Err(what) };
        require((1..=CHECKS_MAX).contains(&self.checks.len()), "an analysis has 1 to 16 conditions")?;
        require(self.interval >= crate::operation::EVERY_MIN, "there must be at least 1ms between two measurements")?;
        require(self.count != Some(0), "an analysis takes at least one measurement")?;
        let fit = (1..=WINDOW_ROUNDS_MAX).contains(&self.rounds(control)) && self.window >= control.metrics;
        require(fit, "the window of an analysis is 1 to 120 rounds of samples long (`control.metrics`)")?;
        for check in &self.checks {
            let is_share = |share: f64| (0.0..=1.0).contains(&share);
            let is_sound = match check.metric {
                AnalysisMetric::Quantile(q) => is_share(q),
                AnalysisMetric::Errors | AnalysisMetric::Mean | AnalysisMetric::Within(_) => true,
            };
            let fits = check.threshold.is_finite() && check.threshold >= 0.0 && check.text.len() <= CHECK_BYTES_MAX;
            require(is_sound && fits, "a condition of an analysis has no meaning")?;
        }
        Ok(())
    }
}

/// A condition of an analysis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// As it is written in the file: `p99 < 80ms`, `errors <= 150% of old`.
    pub text: Arc<str>,
    /// The figure.
    pub metric: AnalysisMetric,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what: seconds, a share (1 % is 0.01), or a multiple of the old version's figure.
    pub threshold: f64,
    /// True if it is compared with the same figure of the old version, in the same time.
    pub of_old: bool,
}

/// A figure of a version, as its instances counted it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum AnalysisMetric {
    /// failed / (done + failed).
    Errors,
    /// The latency below which this share of the answered requests lies, to two digits, in seconds.
    Quantile(f64),
    /// The mean latency, in seconds.
    Mean,
    /// Of all requests that ended, the share that was answered within this time, to two digits.
    Within(Span),
}

/// A change of a rollout in progress, by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    /// It takes no further step.
    Pause,
    /// The rollout continues, whichever reason had paused it.
    Resume,
    /// It goes back to the old version.
    Abort,
}
