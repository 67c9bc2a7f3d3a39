//! Operations on services.

use meshsim_actor::Span;
use meshsim_mesh::model::{Amount, Feedback, Rounding};

use super::INSTANCES_MAX;
use super::limits::{Steps, Version};
use super::rollout::{AbortRollout, PauseRollout, ResumeRollout, Rollout};
use crate::section::{At, OneOrMore, Raw, by_key, section};
use crate::values::{Fraction, Name, Real, StrategyName, Whole};

by_key! {
    /// An operation on a service, or on the services of a node.
    enum Operation in "an operation" {
        "deploy" => Deploy,
        "undeploy" => Undeploy,
        "flush" => Flush,
        "extend" => Extend,
        "scale" => Scale,
        "update" => Update,
        "set" => Set,
        "rollout" => Rollout,
        "pause_rollout" => PauseRollout,
        "resume_rollout" => ResumeRollout,
        "abort_rollout" => AbortRollout,
        "drain" => Drain,
    }
}

impl Operation {
    /// Its name, and its time.
    pub(crate) fn named(&self) -> (Option<&At<Name>>, Span) {
        let (name, at) = match self {
            Operation::Deploy(it) => (&it.name, &it.at),
            Operation::Undeploy(it) => (&it.name, &it.at),
            Operation::Flush(it) => (&it.name, &it.at),
            Operation::Extend(it) => (&it.name, &it.at),
            Operation::Scale(it) => (&it.name, &it.at),
            Operation::Update(it) => (&it.name, &it.at),
            Operation::Set(it) => (&it.name, &it.at),
            Operation::Rollout(it) => (&it.name, &it.at),
            Operation::PauseRollout(it) => (&it.name, &it.at),
            Operation::ResumeRollout(it) => (&it.name, &it.at),
            Operation::AbortRollout(it) => (&it.name, &it.at),
            Operation::Drain(it) => (&it.name, &it.at),
        };
        (name.as_ref(), at.value)
    }
}

section! {
    /// Starts the instances of services, as the file describes them.
    struct Deploy in "a deploy" {
        /// The service, or a list of services.
        required deploy: OneOrMore<At<String>>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Removes all instances of services.
    struct Undeploy in "an undeploy" {
        /// The service, or a list of services.
        required undeploy: OneOrMore<At<String>>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Empties the caches of services, at all instances.
    struct Flush in "a flush" {
        /// The service, or a list of services.
        required flush: OneOrMore<At<String>>;
        /// Time at which it happens.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// S' = S + rate * (to - S): instances move toward a target.
    struct Extend in "an extend" {
        /// The service.
        required extend: At<String>;
        /// Time of the first step.
        or at: At<Span> = "0s";
        /// Target of S (T).
        required to: Whole<0, INSTANCES_MAX>;
        /// Fraction of the remaining distance that one step covers (a): stable below 2, or less with delay; without
        /// overshoot up to 1.
        required rate: Real<100>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Maximum number of steps [default: until settled].
        optional times: Steps;
        /// Rounding of the real S to whole instances.
        or rounding: Rounding = "away";
        /// Value of S from which a step starts.
        or feedback: Feedback = "commanded";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// C' = C * by: the capacity is multiplied.
    struct Scale in "a scale" {
        /// The service.
        required scale: At<String>;
        /// Time of the first step.
        or at: At<Span> = "0s";
        /// Factor of one step (b).
        required by: Real<1_000_000>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Maximum number of steps; required unless the service has the limit toward which C moves.
        optional times: Steps;
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// V' = V + rate * (to - V): the version moves toward the newest.
    struct Update in "an update" {
        /// The service.
        required update: At<String>;
        /// Time of the first step.
        or at: At<Span> = "0s";
        /// Target of V (U).
        required to: Version;
        /// Fraction of the old instances that one step moves (g); for `batch` and `bernoulli`.
        optional rate: At<Real<100>>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Maximum number of steps [default: until settled].
        optional times: Steps;
        /// Order in which instances are replaced [default: `batch`].
        optional strategy: StrategyName;
        /// For `rolling`: number of instances allowed above S: a number, or a percentage,
        /// rounded up [default: 25%].
        optional max_surge: At<Amount>;
        /// For `rolling`: number of ready instances allowed below S: a number, or a percentage,
        /// rounded down [default: 25%].
        optional max_unavailable: At<Amount>;
        /// For `canary`: the share of the requests that goes to the new version after each step, rising. That share of
        /// the N instances, rounded up, is added to them.
        optional weights: At<Vec<At<Fraction>>>;
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Gives a setting of a service another value, while requests come.
    struct Set in "a set" {
        /// The setting: `services.NAME.KEY`, with the key of a balancer or a policy; or of `timeout`, `retries`,
        /// `retry`, `hedge` or `fallback`, for all calls of the service.
        required set: At<String>;
        /// Its value, as in the file; or `none`.
        required to: Raw;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Takes nodes out of service: nothing more is placed on them, and their instances are evicted as the disruption
    /// budgets of the services allow.
    struct Drain in "a drain" {
        /// The node or the group of nodes, or a list of them.
        required drain: OneOrMore<At<String>>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Time for which nothing is placed on the nodes [default: to the end of the run].
        optional length as "for": At<Span>;
        /// Time after which evictions that no budget has allowed are given up [default: none].
        optional timeout: At<Span>;
        /// Time until an eviction that a budget has not allowed is tried again.
        or every: At<Span> = "5s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
