//! Autoscalers of services.

use meshsim_actor::Span;
use meshsim_mesh::autoscale::hpa::Select;

use super::INSTANCES_MAX;
use crate::section::{At, section};
use crate::values::{Budget, Fraction, Limit, Real, Whole};

section! {
    /// Kubernetes' horizontal pod autoscaler; the defaults are Kubernetes'. Give one of `cpu` and `concurrency`.
    struct Autoscale in "`autoscale`" {
        /// Fewest instances.
        or min: At<Whole<1, INSTANCES_MAX>> = "1";
        /// Most instances.
        required max: At<Whole<1, INSTANCES_MAX>>;
        /// Wanted mean of the processor time in use, as a share of the reserved cores (`cpu` of the service).
        optional cpu: At<Fraction>;
        /// Wanted mean of the requests in service and waiting, per instance.
        optional concurrency: At<Real<1_000_000>>;
        /// Time between two decisions; at least 1 ms.
        or sync: At<Span> = "15s";
        /// Relative distance from the target within which nothing is changed.
        or tolerance: Fraction = "10%";
        /// An instance that lost its readiness within this time of its start counts as one that never was ready.
        or initial_readiness: Span = "30s";
        /// Time from an instance's start in which its processor time counts only once it was ready for a whole
        /// measurement.
        or cpu_initialization: Span = "5m";
        /// Limits on growth.
        or up: Growth = "";
        /// Limits on decline.
        or down: Decline = "";
    }
}

section! {
    /// Limits on the instances that an autoscaler adds.
    struct Growth in "`up`" {
        /// The lowest recommendation of this time is followed.
        or window: Span = "0s";
        /// Instances that may be added in a period.
        or instances: Limit = "4";
        /// Share of the instances at the start of a period that may be added in it.
        or share: Budget = "100%";
        /// The period.
        or period: Span = "15s";
        /// The limit that holds, of the two: the larger one, the smaller one, or no growth at all.
        or select: Select = "max";
    }
}

section! {
    /// Limits on the instances that an autoscaler removes.
    struct Decline in "`down`" {
        /// The highest recommendation of this time is followed.
        or window: Span = "300s";
        /// Instances that may be removed in a period.
        or instances: Limit = "none";
        /// Share of the instances at the start of a period that may be removed in it.
        or share: Budget = "100%";
        /// The period.
        or period: Span = "15s";
        /// The limit that holds, of the two: the one of the larger change, that of the smaller, or no decline at all.
        or select: Select = "max";
    }
}
