//! Subsets: each caller uses some of a service's instances alone, so that an instance has few callers.
//!
//! The instances stand in a ring, and so do the callers: caller `i` of `N` uses `size` instances from place `i * n / N`
//! on. So each of `n` instances has `N * size / n` callers, give or take one, without a word between them. (Twitter's
//! deterministic aperture, <https://blog.x.com/engineering/en_us/topics/infrastructure/2019/daperture-load-balancer>;
//! Google's deterministic subsetting, <https://sre.google/sre-book/load-balancing-datacenter/>.)
//!
//! The callers of a service are the ready instances of the calling service, or all loads. A caller that is not in the
//! view yet counts as the one that it will be.

use std::sync::Arc;

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

use crate::model::{Mesh, ServiceId};
use crate::view::{InstanceRef, InstanceView};

/// The instances that one caller uses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Subset {
    /// All instances, and the caller's place and the number of callers, from which `some` follows.
    #[serde(with = "meshsim_actor::shared")]
    all: Arc<[InstanceRef]>,
    place: (u32, u32),
    #[serde(with = "meshsim_actor::shared")]
    some: Arc<[InstanceRef]>,
}

impl Subset {
    /// The `size` of these instances that the caller at this place uses. The list stays the same value while nothing
    /// changes.
    pub(crate) fn of(&mut self, all: &Arc<[InstanceRef]>, size: u32, place: (u32, u32)) -> Arc<[InstanceRef]> {
        if !Arc::ptr_eq(&self.all, all) || self.place != place {
            (self.all, self.place) = (all.clone(), place);
            self.some = some(all, size as usize, place);
        }
        self.some.clone()
    }
}

fn some(all: &Arc<[InstanceRef]>, size: usize, (place, callers): (u32, u32)) -> Arc<[InstanceRef]> {
    if size >= all.len() {
        return all.clone();
    }
    let first = (place as usize * all.len() / callers.max(1) as usize) % all.len();
    let mut some: Vec<InstanceRef> = all.iter().cycle().skip(first).take(size).copied().collect();
    some.sort_unstable();
    some.into()
}

/// Place of a caller among all callers, and their number.
pub(crate) fn place(
    (actor, by, ordinal): (ActorId, Option<ServiceId>, Option<u32>),
    mesh: &Mesh,
    view: &InstanceView,
) -> (u32, u32) {
    let Some(service) = by else {
        return (mesh.load_index(actor).unwrap_or(0) as u32, mesh.loads.len() as u32);
    };
    let callers = view.instances(service);
    // A proxy of a node stands at the place of the first instance there.
    let at = callers.partition_point(|it| (it.node, it.ordinal) < (actor, ordinal.unwrap_or(0)));
    (at as u32, callers.len().max(at + 1) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::balance::tests::instances;

    #[test]
    fn each_instance_has_its_part_of_the_callers_give_or_take_one() {
        for (n, callers, size) in [(10, 40, 3), (7, 20, 5), (100, 30, 10), (5, 5, 5), (12, 5, 4)] {
            let all = instances(n);
            let mut used: BTreeMap<InstanceRef, u32> = all.iter().map(|it| (*it, 0)).collect();
            for place in 0..callers {
                let some = Subset::default().of(&all, size, (place, callers));
                assert!(some.len() == size as usize && some.is_sorted());
                some.iter().for_each(|it| *used.get_mut(it).unwrap() += 1);
            }
            let each = f64::from(callers * size) / f64::from(n);
            let off = used.values().map(|count| (f64::from(*count) - each).abs()).fold(0.0, f64::max);
            assert!(off <= 1.0, "{n} {callers} {size}: {used:?}");
        }
    }

    #[test]
    fn the_list_stays_the_same_value_until_the_instances_or_the_callers_change() {
        let (all, mut subset) = (instances(10), Subset::default());
        let first = subset.of(&all, 3, (1, 4));
        assert!(Arc::ptr_eq(&first, &subset.of(&all, 3, (1, 4))));
        assert_ne!(first, subset.of(&all, 3, (2, 4)));
        assert_ne!(first, subset.of(&instances(20), 3, (1, 4)));
    }
}
