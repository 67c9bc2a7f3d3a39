//! Nodes that are drained, and nodes that come and go with the need for them.

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use super::Amount;

/// A node is cordoned, and its instances are evicted: they go, and others are placed on other nodes in their place.
/// (`kubectl drain`, <https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/>.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Index of the node in [`Mesh::nodes`](super::Mesh::nodes).
    pub node: u32,
    /// Time for which nothing is placed on the node; `None`: to the end of the run.
    pub lasts: Option<Span>,
    /// Time after which the drain is given up, if a disruption budget has not allowed to evict all instances. Those
    /// that are left stay. `None`: no limit.
    pub timeout: Option<Span>,
}

/// Limit on the instances of a service that evictions may make unavailable. (Kubernetes' `PodDisruptionBudget`,
/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/>.) It does not hold for nodes that die, nor for
/// operations on the service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum DisruptionBudget {
    /// So many are to be ready; a share of S is rounded up.
    MinAvailable(Amount),
    /// So many may not be ready; a share of S is rounded up.
    MaxUnavailable(Amount),
}

impl DisruptionBudget {
    /// Number of instances that are to be ready, of `instances`.
    ///
    /// Kubernetes rounds both shares up (`pkg/controller/disruption/disruption.go`, `getExpectedPodCount`).
    pub fn ready_min(self, instances: u32) -> u32 {
        let of = |amount| match amount {
            Amount::Instances(count) => count,
            // Shares are percentages in the file: the product must not be a hair above a whole number.
            Amount::Share(share) => (f64::from(instances) * share - 1e-9).ceil() as u32,
        };
        match self {
            DisruptionBudget::MinAvailable(amount) => of(amount),
            DisruptionBudget::MaxUnavailable(amount) => instances.saturating_sub(of(amount)),
        }
    }

    /// Number of instances that may be evicted now, of `ready` ones, where a service is to have `instances`.
    pub fn allows(self, instances: u32, ready: u32) -> u32 {
        ready.saturating_sub(self.ready_min(instances))
    }
}

/// A group of nodes of which as many are in service as instances need. The nodes of the group that are not are in
/// reserve: nothing is placed on them. (Kubernetes' cluster autoscaler,
/// <https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md>.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodePool {
    /// Name of the group.
    pub name: String,
    /// Index of its first node in [`Mesh::nodes`](super::Mesh::nodes).
    pub first: u32,
    /// Number of its nodes.
    pub count: u32,
    /// Fewest nodes in service; the run begins with these.
    pub min: u32,
    /// Time from the decision until a node is in service.
    pub delay: Span,
    /// Time between two looks. (`--scan-interval`.)
    pub scan: Span,
    /// Time for which a node must be unneeded before it goes. (`--scale-down-unneeded-time`.)
    pub unneeded: Span,
    /// A node is unneeded if less than this share of its cores is reserved, and its instances have room elsewhere.
    /// (`--scale-down-utilization-threshold`.)
    pub below: f64,
}

impl NodePool {
    /// Indexes of its nodes.
    pub fn nodes(&self) -> std::ops::Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_rounds_both_shares_up() {
        let min = |share| DisruptionBudget::MinAvailable(Amount::Share(share));
        let max = |share| DisruptionBudget::MaxUnavailable(Amount::Share(share));
        // 7 pods, 50 %: 4 are to be ready; 30 %: 3 may be missing. 10 pods: 70 % are seven, and not eight.
        assert_eq!([min(0.5).ready_min(7), max(0.3).ready_min(7), min(0.7).ready_min(10)], [4, 4, 7]);
        assert_eq!([min(0.0).ready_min(7), max(0.0).ready_min(7), min(1.0).ready_min(7)], [0, 7, 7]);
        let one = DisruptionBudget::MaxUnavailable(Amount::Instances(1));
        assert_eq!([one.allows(3, 3), one.allows(3, 2), one.allows(0, 0)], [1, 0, 0]);
        let two = DisruptionBudget::MinAvailable(Amount::Instances(2));
        assert_eq!([two.allows(3, 3), two.allows(3, 1), two.allows(1, 1)], [1, 0, 0]);
    }
}
