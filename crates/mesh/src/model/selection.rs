//! Selection: the instances of a service among which a balancer chooses.

use serde::{Deserialize, Serialize};

use super::SlowStart;

/// Rules that narrow the instances of a service for a call before a balancer chooses one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Preference for the caller's zone; `None`: zones do not matter.
    pub zones: Option<ZoneRouting>,
    /// Share of ready instances, from 0 to 1, below which a caller sends to all instances, failed ones too (Envoy's
    /// `healthy_panic_threshold`, which is 0.5 there and 0 in Istio). 0: never.
    pub panic_threshold: f64,
    /// Slow start of new instances; `None`: they get their share at once.
    pub slow_start: Option<SlowStart>,
    /// Parts of the instances among which calls are split by weight; empty: they are not.
    pub split: Vec<Part>,
    /// Instances that one caller uses; `None`: all.
    pub subset: Option<u32>,
    /// Factor on the weights of the instances in each zone, above 0; empty: 1.
    pub zone_weights: Vec<f64>,
}

/// Part of the instances of a service that gets a share of the calls. (A subset of Istio's `DestinationRule`, with its
/// weight in a route of a `VirtualService`.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Instances of this version alone.
    pub version: Option<u32>,
    /// Instances on these nodes alone, by index: those that have its labels.
    pub nodes: Option<Vec<bool>>,
    /// Its share, relative to the other parts.
    pub weight: f64,
}

/// Preference for instances in the caller's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ZoneRouting {
    /// As many requests stay in the zone as its instances can take if every zone's are to be equally loaded (Envoy's
    /// zone aware routing).
    Aware {
        /// Ready instances below which zones do not matter. Envoy's default: [`AWARE_MIN`].
        min_instances: u32,
    },
    /// All requests stay in the zone, except those for which it has too few ready instances (Istio's locality failover,
    /// as Envoy's priorities).
    Failover,
}

/// Envoy's default for [`ZoneRouting::Aware::min_instances`](ZoneRouting::Aware): its `min_cluster_size`.
pub const AWARE_MIN: u32 = 6;
