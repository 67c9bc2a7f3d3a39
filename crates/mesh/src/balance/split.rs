//! Traffic split: calls go to parts of a service's instances, by weight.
//!
//! A part is the instances of a version, or those on nodes with some labels. A call draws its part once, so its retries
//! keep it; if no instance of the part is ready, it goes to all. (Istio's weighted routes to subsets:
//! <https://istio.io/latest/docs/tasks/traffic-management/traffic-shifting/>; a single part is Envoy's load balancer
//! subset, <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets>.)

use std::sync::Arc;

use meshsim_actor::Rng;

use super::memo;
use crate::model::{Mesh, Part};
use crate::proxy::Pool;
use crate::view::InstanceRef;

/// The part of `all` that a call goes to; `None`: all.
pub(crate) fn part(
    parts: &[Part],
    all: &Arc<[InstanceRef]>,
    mesh: &Mesh,
    rng: &mut Rng,
) -> Option<(Pool, Arc<[InstanceRef]>)> {
    let sum = parts.iter().fold(0.0, |sum, part| sum + part.weight);
    let mut left = rng.unit() * sum;
    let drawn = parts.iter().position(|part| {
        left -= part.weight;
        left < 0.0
    });
    let at = drawn.unwrap_or(parts.len() - 1);
    let some = memo::by_part(all, parts, mesh, |lists| lists[at].clone());
    (!some.is_empty()).then_some((Pool::Part(at as u16), some))
}

impl Part {
    /// True if an instance belongs to it.
    pub(super) fn has(&self, instance: &InstanceRef, mesh: &Mesh) -> bool {
        let on_node = |nodes: &Vec<bool>| {
            mesh.node_index(instance.node).and_then(|node| nodes.get(node)).copied().unwrap_or(false)
        };
        self.version.is_none_or(|version| version == instance.version) && self.nodes.as_ref().is_none_or(on_node)
    }
}
