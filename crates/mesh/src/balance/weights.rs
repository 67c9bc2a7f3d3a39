//! Weights of instances: those of their nodes, times those of their zones for the service, less while they are new.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{Rng, Time};
use serde::{Deserialize, Serialize};

use super::Occasion;
use crate::model::{Mesh, Service, ServiceId};
use crate::view::{InstanceRef, InstanceView};

/// New instances, by service and rising (node, ordinal), each with the time from which a caller knows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Young(BTreeMap<ServiceId, Vec<(InstanceRef, Time)>>);

impl Young {
    /// The new instances of a service.
    pub(crate) fn of(&self, service: ServiceId) -> &[(InstanceRef, Time)] {
        self.0.get(&service).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The view has changed.
    pub(crate) fn follow(&mut self, old: &InstanceView, mesh: &Mesh, view: &InstanceView, now: Time) {
        let slow =
            mesh.services.iter().zip(0..).filter_map(|(service, at)| Some((ServiceId(at), slow_start(service)?)));
        for (service, slow) in slow {
            let (before, ready) = (old.instances(service), view.instances(service));
            let mut young = self.0.remove(&service).unwrap_or_default();
            young.retain(|(it, since)| now.since(*since) < slow.window && ready.binary_search(it).is_ok());
            if !Arc::ptr_eq(before, ready) {
                young.extend(ready.iter().filter(|it| before.binary_search(it).is_err()).map(|it| (*it, now)));
                young.sort_unstable_by_key(|(it, _)| *it);
            }
            if !young.is_empty() {
                self.0.insert(service, young);
            }
        }
    }
}

fn zone_weights(service: &Service) -> &[f64] {
    service.selection.as_ref().map_or(&[], |it| &it.zone_weights)
}

fn slow_start(service: &Service) -> Option<crate::model::SlowStart> {
    service.selection.as_ref()?.slow_start
}

impl Mesh {
    /// True if callers of any service watch for new instances.
    pub(crate) fn has_slow_start(&self) -> bool {
        self.services.iter().any(|service| slow_start(service).is_some())
    }

    /// True if the instances of a service may differ in weight.
    pub(crate) fn is_weighted(&self, service: ServiceId) -> bool {
        !self.weights.is_empty()
            || !zone_weights(self.service(service)).is_empty()
            || slow_start(self.service(service)).is_some()
    }

    /// The weight of an instance that is not new.
    pub(crate) fn weight(&self, service: ServiceId, instance: InstanceRef) -> f64 {
        let Some(node) = self.node_index(instance.node) else { return 1.0 };
        let of_zone = zone_weights(self.service(service)).get(usize::from(self.nodes[node].zone));
        self.weights.get(node).copied().unwrap_or(1.0) * of_zone.copied().unwrap_or(1.0)
    }
}

impl Occasion<'_> {
    /// True if instances may differ in weight.
    pub(super) fn is_weighted(&self) -> bool {
        self.mesh.is_weighted(self.service)
    }

    /// The weight of an instance now.
    pub(super) fn weight(&self, instance: InstanceRef) -> f64 {
        let young = self.young.binary_search_by_key(&instance, |(it, _)| *it).ok().map(|at| self.young[at].1);
        let share = match (slow_start(self.mesh.service(self.service)), young) {
            (Some(slow), Some(since)) => slow.share(self.now.since(since)),
            _ => 1.0,
        };
        share * self.mesh.weight(self.service, instance)
    }
}

/// Draws before the last one is taken whatever its weight.
const DRAWS_MAX: u32 = 100;

/// One of `instances`, in proportion to its weight. (Rejection: a caller keeps no table of weights.)
#[inline(never)]
pub(super) fn draw(instances: &[InstanceRef], occasion: &Occasion<'_>, rng: &mut Rng) -> u32 {
    let n = instances.len() as u32;
    if n == 1 {
        return 0;
    }
    let most = |weights: &[f64]| weights.iter().copied().fold(1.0, f64::max);
    let most = most(&occasion.mesh.weights) * most(zone_weights(occasion.mesh.service(occasion.service)));
    let mut drawn = rng.below(n);
    for _ in 0..DRAWS_MAX {
        if rng.unit() * most < occasion.weight(instances[drawn as usize]) {
            break;
        }
        drawn = rng.below(n);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::{instances, service};

    #[test]
    fn draws_are_in_proportion_to_the_weights() {
        let mesh =
            Mesh { weights: vec![1.0, 3.0, 0.5, 0.5], nodes: crate::balance::tests::nodes(4), ..Mesh::default() };
        let mesh = Mesh { services: vec![service()], ..mesh };
        let occasion =
            Occasion { mesh: &mesh, service: ServiceId(0), root: 0, now: Time::ZERO, board: None, young: &[] };
        let (four, mut rng) = (instances(4), Rng::stream(1, "x"));
        let mut counts = [0_u32; 4];
        (0..50_000).for_each(|_| counts[draw(&four, &occasion, &mut rng) as usize] += 1);
        for (count, expected) in counts.into_iter().zip([10_000, 30_000, 5_000, 5_000]) {
            assert!(count.abs_diff(expected) < 450, "{counts:?}");
        }
    }
}
