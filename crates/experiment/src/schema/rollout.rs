//! Rollouts with analysis, in the words of Argo Rollouts.

use meshsim_actor::Span;

use super::limits::Version;
use crate::section::{At, by_key, section};
use crate::values::{CanaryScale, Fraction, Name, Promotion, RolloutPause, Whole};

section! {
    /// A new version comes beside the old one, step by step, and goes again if measurements are bad.
    struct Rollout in "a rollout" {
        /// The service.
        required rollout: At<String>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// The new version.
        required to: Version;
        /// Its steps, in order; after the last one the new version gets all requests.
        optional steps: At<Vec<RolloutStep>>;
        /// Instead of steps: all instances of the new version come, are tested, and get all requests at once.
        optional blue_green: Box<At<BlueGreen>>;
        /// Analysis in the background, from the first weight on.
        optional analysis: Box<At<Analysis>>;
        /// Longest time between two looks at the reports of the nodes.
        or every: At<Span> = "1s";
        /// Time for which the old instances stay when the new version has all requests.
        or scale_down_delay: Span = "30s";
        /// Time for which the new instances stay when the rollout was aborted.
        or abort_scale_down_delay: Span = "30s";
        /// Time within which the instances of a step must be ready, or the rollout is aborted [default: none].
        optional progress_deadline: Span;
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}

by_key! {
    /// A step of a rollout.
    enum RolloutStep in "a step" {
        "set_weight" => SetWeight,
        "set_canary_scale" => SetCanaryScale,
        "pause" => PauseStep,
        "analysis" => AnalysisStep,
    }
}

section! {
    /// The new version gets a share of the requests.
    struct SetWeight in "a step" {
        /// The share of the requests. That share of the N instances, rounded up, comes beside them.
        required set_weight: Fraction;
    }
}
section! {
    /// The new version gets instances, whatever its weight is.
    struct SetCanaryScale in "a step" {
        /// A number of instances, or a share of N; or `match_traffic_weight`.
        required set_canary_scale: CanaryScale;
    }
}
section! {
    /// Nothing happens for a time.
    struct PauseStep in "a step" {
        /// The time; or `{}`: until the rollout is resumed.
        required pause: RolloutPause;
    }
}
section! {
    /// The new version is measured; the step is done when that has succeeded.
    struct AnalysisStep in "a step" {
        /// The analysis.
        required analysis: At<Analysis>;
    }
}

section! {
    /// Measurements of the new version, and conditions on them.
    struct Analysis in "an analysis" {
        /// Conditions, as in `errors < 1%`, `p99 < 80ms`, `within 50ms > 99%`, or `p99 <= 150% of old`: all must hold.
        required metrics: At<Vec<At<String>>>;
        /// Time between two measurements.
        required interval: At<Span>;
        /// A measurement is about the requests that ended in this time; at least `control.metrics` [default:
        /// `interval`].
        optional window: At<Span>;
        /// Time until the first measurement [default: `interval`].
        optional initial_delay: Span;
        /// Number of measurements [default: 1 in a step, in the background until the rollout ends].
        optional count: Whole<1, 1_000_000>;
        /// More failed measurements than these abort the rollout.
        or failure_limit: Whole<0, 1_000_000> = "0";
        /// More inconclusive measurements than these pause it.
        or inconclusive_limit: Whole<0, 1_000_000> = "0";
        /// With fewer requests a measurement is inconclusive.
        or min_requests: Whole<1, 1_000_000_000> = "1";
    }
}

section! {
    /// The new version comes at full size, is tested, and gets all requests at once.
    struct BlueGreen in "`blue_green`" {
        /// Share of the requests that the new version gets before the switch, to test it.
        or test_weight: At<Fraction> = "0%";
        /// Analysis before the switch.
        optional pre_promotion_analysis: At<Analysis>;
        /// Time from the moment when all is ready until the switch; or `never`: until the rollout is resumed.
        or auto_promotion: Promotion = "0s";
        /// Analysis after the switch, while the old instances are still there.
        optional post_promotion_analysis: At<Analysis>;
    }
}

section! {
    /// Pauses the rollout of a service.
    struct PauseRollout in "a pause" {
        /// The service.
        required pause_rollout: At<String>;
        /// Time at which it happens.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Resumes the rollout of a service that is paused, or ends a step that is a pause.
    struct ResumeRollout in "a resume" {
        /// The service.
        required resume_rollout: At<String>;
        /// Time at which it happens.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Aborts the rollout of a service: the old version gets all requests again.
    struct AbortRollout in "an abort" {
        /// The service.
        required abort_rollout: At<String>;
        /// Time at which it happens.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
