//! `least_request` with `choices: all`: one of the least busy of all instances ("join the shortest queue", counted by
//! the requests of this caller; random among equals).
//!
//! A pick does not visit all instances: the busy ones lie in buckets by their number of requests, and those in no
//! bucket are idle. So a pick takes about as long with 20,000 instances as with ten, and an idle instance takes no
//! memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::Rng;
use serde::{Deserialize, Serialize};

use super::replaced;
use crate::view::InstanceRef;

/// A caller's requests in flight, by instance and by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ranking {
    /// The instances that the other fields refer to.
    #[serde(with = "meshsim_actor::shared")]
    instances: Arc<[InstanceRef]>,
    /// Instances with requests in flight, by rising position: their bucket, and their index in it.
    busy: BTreeMap<u32, (u32, u32)>,
    /// By number of requests in flight: the instances with that number. No bucket is empty.
    buckets: BTreeMap<u32, Vec<u32>>,
}

/// Random draws of an instance that may be idle, before the idle ones are searched for. Where half are idle, one of the
/// draws nearly always succeeds.
const DRAWS: u32 = 8;

impl Ranking {
    #[inline(never)]
    pub(super) fn pick(&mut self, instances: &Arc<[InstanceRef]>, rng: &mut Rng) -> usize {
        self.follow(instances);
        let n = instances.len() as u32;
        let picked = if n == 1 {
            0
        } else if (self.busy.len() as u32) < n {
            self.idle(n, rng)
        } else {
            // All are busy, so there is a bucket, and it is not empty.
            let least = self.buckets.first_key_value().map_or(&[][..], |(_, least)| least);
            if least.is_empty() { 0 } else { least[rng.below(least.len() as u32) as usize] }
        };
        let active = self.busy.get(&picked).map_or(0, |(active, _)| *active);
        self.set(picked, active + 1);
        picked as usize
    }

    pub(super) fn ended(&mut self, to: InstanceRef) {
        // An instance that has gone leaves no state; one that was gone and came back starts anew.
        let Ok(at) = self.instances.binary_search(&to) else { return };
        if let Some((active, _)) = self.busy.get(&(at as u32)) {
            self.set(at as u32, active - 1);
        }
    }

    /// An instance without requests in flight. There must be one.
    fn idle(&self, n: u32, rng: &mut Rng) -> u32 {
        for _ in 0..DRAWS {
            let drawn = rng.below(n);
            if !self.busy.contains_key(&drawn) {
                return drawn;
            }
        }
        // They are few: the next one after a random position, wrapping around.
        let from = rng.below(n);
        let first_gap = |from: u32, to: u32| {
            let run = self.busy.range(from..to).zip(from..).take_while(|((at, _), place)| *at == place).count();
            Some(from + run as u32).filter(|place| *place < to)
        };
        first_gap(from, n).or_else(|| first_gap(0, from)).unwrap_or(from)
    }

    /// Sets the number of requests in flight at `place`.
    fn set(&mut self, place: u32, active: u32) {
        if let Some((old, index)) = self.busy.remove(&place)
            && let Some(bucket) = self.buckets.get_mut(&old)
        {
            bucket.swap_remove(index as usize);
            if let Some(moved) = bucket.get(index as usize) {
                self.busy.insert(*moved, (old, index));
            } else if bucket.is_empty() {
                self.buckets.remove(&old);
            }
        }
        if active > 0 {
            let bucket = self.buckets.entry(active).or_default();
            self.busy.insert(place, (active, bucket.len() as u32));
            bucket.push(place);
        }
    }

    /// The instances have changed: those that stay keep their state.
    fn follow(&mut self, instances: &Arc<[InstanceRef]>) {
        let Some(old) = replaced(&mut self.instances, instances) else { return };
        self.buckets.clear();
        for (place, (active, _)) in std::mem::take(&mut self.busy) {
            if let Ok(at) = instances.binary_search(&old[place as usize]) {
                self.set(at as u32, active);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;

    #[test]
    fn the_picked_instance_is_one_of_the_least_busy_and_each_of_these_may_be() {
        let mut rng = Rng::stream(1, "x");
        let mut known = Ranking::default();
        let mut views = [instances(40), instances(37)].into_iter().cycle();
        let mut view = instances(40);
        let mut plain: BTreeMap<InstanceRef, u32> = BTreeMap::new();
        let mut picked = [0_u32; 40];
        for round in 0..40_000 {
            if round % 500 == 0 {
                view = views.next().expect("they go in a circle");
                plain.retain(|instance, _| view.contains(instance));
            }
            // Waves: nearly all are busy, then nearly none.
            if rng.chance(if round / 400 % 2 == 0 { 0.6 } else { 0.35 }) {
                let at = known.pick(&view, &mut rng);
                picked[at] += 1;
                let of = |instance| plain.get(instance).copied().unwrap_or(0);
                let least = view.iter().map(of).min().expect("there are some");
                assert_eq!(of(&view[at]), least, "round {round}");
                *plain.entry(view[at]).or_default() += 1;
                // A new view is followed by the next pick.
                assert!(known.busy.len() <= plain.len(), "idle ones are kept in round {round}");
            } else if !plain.is_empty() {
                let at = rng.below(plain.len() as u32) as usize;
                let to = *plain.keys().nth(at).expect("there are so many");
                known.ended(to);
                let left = plain[&to] - 1;
                plain.insert(to, left);
                plain.retain(|_, left| *left > 0);
            }
        }
        assert!(picked.iter().all(|count| *count > 200), "{picked:?}");
    }
}
