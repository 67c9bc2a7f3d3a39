//! Autoscalers of services.

use meshsim_actor::Span;
use meshsim_mesh::autoscale::hpa::Select;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::INSTANCES_MAX;
use crate::problem::{Reporter, nearest};
use crate::section::{At, Field, by_key, schema_of, section};
use crate::tree::{Node, Value};
use crate::values::{Budget, Fraction, Limit, Real, Whole};

/// An autoscaler: Kubernetes' by its own keys, or another kind by its name.
#[derive(Clone, Debug)]
pub(crate) enum Autoscale {
    Hpa(Hpa),
    Other(Other),
}

impl Field for Autoscale {
    const NAME: &'static str = "Autoscale";
    const MAY_BE_EMPTY: bool = true;
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        // A misspelt kind is told from the keys of Kubernetes' own.
        let is_kind = |key: &str| Other::KEYS.contains(&key) || nearest(key, Other::KEYS.iter().copied()).is_some();
        match &node.value {
            Value::Map(entries) if entries.iter().any(|(key, _)| is_kind(&key.text)) => {
                Other::decode(node, reporter).map(Autoscale::Other)
            }
            _ => Hpa::decode(node, reporter).map(Autoscale::Hpa),
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (hpa, other) = (schema_of::<Hpa>(generator), schema_of::<Other>(generator));
        let description = "An autoscaler: Kubernetes' by its keys, or another kind by its name.";
        json_schema!({ "description": description, "anyOf": [hpa, other] })
    }
}

section! {
    /// Knative's pod autoscaler.
    struct Knative in "`autoscale`" {
        /// Its settings.
        required knative: At<KnativeSettings>;
    }
}
section! {
    /// KEDA.
    struct Keda in "`autoscale`" {
        /// Its settings.
        required keda: At<KedaSettings>;
    }
}
section! {
    /// An autoscaler of the capacity.
    struct Capacity in "`autoscale`" {
        /// Its settings.
        required capacity: CapacitySettings;
    }
}
by_key! {
    /// A kind of autoscaler, by its name.
    enum Other in "`autoscale`" {
        "knative" => Knative,
        "keda" => Keda,
        "capacity" => Capacity,
    }
}

section! {
    /// Knative's pod autoscaler, by concurrency; the defaults are Knative's.
    struct KnativeSettings in "`knative`" {
        /// Fewest instances.
        or min: At<Whole<0, INSTANCES_MAX>> = "0";
        /// Most instances.
        or max: At<Limit> = "none";
        /// Requests that an instance is to have at once.
        or concurrency: Real<1_000_000> = "100";
        /// Share of these that is aimed at.
        or utilisation: At<Fraction> = "70%";
        /// Time over which concurrency is a mean.
        or stable_window: At<Span> = "60s";
        /// The same in a panic.
        or panic_window: At<Span> = "6s";
        /// Panics when the mean of the panic window asks for so many times the ready instances.
        or panic_threshold: Real<1_000> = "2";
        /// Most times the ready instances in one decision.
        or max_scale_up_rate: At<Real<1_000_000>> = "1000";
        /// The ready instances are divided by at most this in one decision.
        or max_scale_down_rate: At<Real<1_000_000>> = "2";
        /// Declines follow the highest decision of this time.
        or scale_down_delay: Span = "0s";
        /// Time for which the last instance stays after the activator has come into the path.
        or scale_to_zero_grace_period: Span = "30s";
        /// Spare capacity, in requests, below which Knative's activator stays in the path. The report counts how often;
        /// requests take the same path.
        or target_burst_capacity: Real<1_000_000, true> = "200";
        /// Time between two decisions; at least 1 ms.
        or tick: At<Span> = "2s";
        /// Time between two measurements; at least 1 ms.
        or scrape: At<Span> = "1s";
    }
}

section! {
    /// KEDA, with the autoscaler of Kubernetes that it makes; the defaults are theirs. Give one of `queue` and
    /// `requests`.
    struct KedaSettings in "`keda`" {
        /// Fewest instances.
        or min: At<Whole<0, INSTANCES_MAX>> = "0";
        /// Most instances.
        or max: At<Whole<1, INSTANCES_MAX>> = "100";
        /// Messages for each instance, of those that are published and not consumed.
        optional queue: At<Real<1_000_000>>;
        /// Service whose queues these are [default: the service itself].
        optional of: At<String>;
        /// Requests for each instance: in service, waiting, and held by callers.
        optional requests: At<Real<1_000_000>>;
        /// The service is active while there are more than this.
        or activation: Real<1_000_000, true> = "0";
        /// Time between two looks of KEDA itself; at least 1 ms.
        or poll: At<Span> = "30s";
        /// Time from the last look at which the service was active until it goes to zero.
        or cooldown: Span = "300s";
        /// Time between two measurements; at least 1 ms.
        or scrape: At<Span> = "1s";
        /// Time between two looks of Kubernetes' autoscaler.
        or sync: At<Span> = "15s";
        /// Relative distance from the target within which nothing is changed.
        or tolerance: Fraction = "10%";
        /// Limits on growth.
        or up: Growth = "";
        /// Limits on decline.
        or down: Decline = "";
    }
}

section! {
    /// An autoscaler of the capacity C of each instance: `C' = C * measured / utilisation`, at most twice or half at
    /// once, within `capacity_min` and `capacity_max`.
    struct CapacitySettings in "`capacity`" {
        /// Wanted share of the slots that are busy.
        required utilisation: At<Fraction>;
        /// Relative distance from the target within which nothing is changed.
        or tolerance: Fraction = "10%";
        /// Time between two decisions, over which the utilisation is a mean; at least 1 ms.
        or sync: At<Span> = "15s";
        /// Declines follow the highest recommendation of this time.
        or window: Span = "300s";
        /// Time between two measurements; at least 1 ms.
        or scrape: At<Span> = "1s";
    }
}

section! {
    /// Kubernetes' horizontal pod autoscaler; the defaults are Kubernetes'. Give one of `cpu` and `concurrency`.
    struct Hpa in "`autoscale`" {
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
