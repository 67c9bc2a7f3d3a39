//! `least_request`: the least busy of some randomly drawn instances.
//!
//! By default two with replacement, and the first wins a tie, as in Envoy's `LeastRequestLoadBalancer`; the theory is
//! Mitzenmacher 2001, "The Power of Two Choices in Randomized Load Balancing".

use std::sync::Arc;

use meshsim_actor::Rng;
use serde::{Deserialize, Serialize};

use crate::model::{CHOICES_MAX, Choices};
use crate::view::InstanceRef;

/// A caller's requests in flight, by instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UnderWay {
    /// The instances that `counts` refers to.
    #[serde(with = "meshsim_actor::shared")]
    instances: Arc<[InstanceRef]>,
    counts: Counts,
}

/// Numbers above zero by place, most of them zero or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Counts {
    /// The counts above zero, by rising position.
    Sparse(Vec<(u32, u32)>),
    /// All counts, and the number of those above zero.
    Dense(Vec<u32>, u32),
}

/// Up to this many entries, or a 64th of the instances if that is less, the counts above zero are kept in a sparse
/// list. Beyond it, finding a count would become a search, and adding one would move all entries behind it. So a caller
/// takes at most 256 bytes for an instance with a request in flight.
const SPARSE_MAX: usize = 1024;

impl UnderWay {
    pub(super) fn pick(&mut self, choices: Choices, instances: &Arc<[InstanceRef]>, rng: &mut Rng) -> usize {
        self.follow(instances);
        let n = instances.len() as u32;
        let picked = match choices {
            // A single instance needs no draw.
            _ if n == 1 => 0,
            Choices::Replaced(draws) => self.least((0..draws.max(1)).map(|_| rng.below(n))),
            Choices::Distinct(draws) => self.least(Distinct::new(n, draws.max(1), rng)),
            Choices::All => self.least(0..n),
        };
        self.counts.add(picked, instances.len());
        picked as usize
    }

    /// The least busy one of those drawn, the first of equals.
    #[inline]
    fn least(&self, mut drawn: impl Iterator<Item = u32>) -> u32 {
        let mut least = drawn.next().unwrap_or(0);
        let mut active = self.counts.get(least);
        for at in drawn {
            let its = self.counts.get(at);
            if its < active {
                (least, active) = (at, its);
            }
        }
        least
    }

    pub(super) fn ended(&mut self, to: InstanceRef) {
        // An instance that has gone leaves no state; one that was gone and came back starts anew.
        if let Ok(at) = self.instances.binary_search(&to) {
            self.counts.take(at as u32);
        }
    }

    /// The instances have changed: those that stay keep their counts.
    fn follow(&mut self, instances: &Arc<[InstanceRef]>) {
        if !Arc::ptr_eq(&self.instances, instances) {
            // The lists are not compared: that would take longer than to find the few that have requests in flight.
            let old = std::mem::replace(&mut self.instances, instances.clone());
            self.counts.follow(&old, instances);
        }
    }
}

/// Draws so many of `n`, each at most once; every order of every choice is equally likely.
pub(super) struct Distinct<'a> {
    n: u32,
    left: u32,
    /// The first `drawn` are those that were drawn, by rising place.
    chosen: [u32; CHOICES_MAX as usize],
    drawn: usize,
    rng: &'a mut Rng,
}

impl<'a> Distinct<'a> {
    pub(super) fn new(n: u32, draws: u32, rng: &'a mut Rng) -> Self {
        Distinct { n, left: draws.min(n).min(CHOICES_MAX), chosen: [0; CHOICES_MAX as usize], drawn: 0, rng }
    }
}

impl Iterator for Distinct<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        // The so-and-so-manieth of those that are left: each one below it that was drawn moves it on by one.
        let mut place = self.rng.below(self.n - self.drawn as u32);
        let mut at = 0;
        while at < self.drawn && self.chosen[at] <= place {
            (place, at) = (place + 1, at + 1);
        }
        self.chosen.copy_within(at..self.drawn, at + 1);
        self.chosen[at] = place;
        self.drawn += 1;
        Some(place)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Counts::Sparse(Vec::new())
    }
}

impl Counts {
    #[inline]
    pub(super) fn get(&self, at: u32) -> u32 {
        match self {
            Counts::Sparse(counts) => counts.binary_search_by_key(&at, |(at, _)| *at).map_or(0, |i| counts[i].1),
            Counts::Dense(counts, _) => counts[at as usize],
        }
    }

    /// Increments the count at `at`, of `n` positions.
    #[inline]
    pub(super) fn add(&mut self, at: u32, n: usize) {
        match self {
            Counts::Sparse(counts) => match counts.binary_search_by_key(&at, |(at, _)| *at) {
                Ok(i) => counts[i].1 += 1,
                Err(i) => {
                    counts.insert(i, (at, 1));
                    self.settle(n);
                }
            },
            Counts::Dense(counts, busy) => {
                *busy += u32::from(counts[at as usize] == 0);
                counts[at as usize] += 1;
            }
        }
    }

    /// Decrements the count at `at`; never below zero.
    #[inline]
    pub(super) fn take(&mut self, at: u32) {
        match self {
            Counts::Sparse(counts) => {
                let Ok(i) = counts.binary_search_by_key(&at, |(at, _)| *at) else { return };
                counts[i].1 -= 1;
                if counts[i].1 == 0 {
                    counts.remove(i);
                }
            }
            Counts::Dense(counts, busy) => {
                let count = &mut counts[at as usize];
                *busy -= u32::from(*count == 1);
                *count = count.saturating_sub(1);
                // Below the bound itself, so that one request more or less does not move everything.
                if (*busy as usize) < sparse_max(counts.len()) / 4 {
                    let mut sparse = Vec::with_capacity(*busy as usize);
                    self.for_each(|at, count| sparse.push((at, count)));
                    *self = Counts::Sparse(sparse);
                }
            }
        }
    }

    /// The instances have changed: those that stay keep their counts.
    pub(super) fn follow(&mut self, old: &[InstanceRef], instances: &[InstanceRef]) {
        let mut stay = Vec::new();
        self.for_each(|at, count| {
            if let Ok(now_at) = instances.binary_search(&old[at as usize]) {
                stay.push((now_at as u32, count));
            }
        });
        *self = Counts::Sparse(stay);
        self.settle(instances.len());
    }

    /// Becomes dense where there are too many of `n` places for a search.
    fn settle(&mut self, n: usize) {
        let Counts::Sparse(counts) = self else { return };
        if counts.len() <= sparse_max(n) {
            return;
        }
        let mut dense = vec![0; n];
        counts.iter().for_each(|(at, count)| dense[*at as usize] = *count);
        *self = Counts::Dense(dense, counts.len() as u32);
    }

    /// All counts above zero, by rising position.
    fn for_each(&self, mut act: impl FnMut(u32, u32)) {
        match self {
            Counts::Sparse(counts) => counts.iter().for_each(|(at, count)| act(*at, *count)),
            Counts::Dense(counts, _) => {
                let busy = counts.iter().enumerate().filter(|(_, count)| **count > 0);
                busy.for_each(|(at, count)| act(at as u32, *count));
            }
        }
    }
}

fn sparse_max(n: usize) -> usize {
    (n / 64).clamp(16, SPARSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;

    const TWO: Choices = Choices::Replaced(2);

    #[test]
    fn the_busiest_is_taken_only_against_itself() {
        let four = instances(4);
        let mut rng = Rng::stream(1, "x");
        let counts = Counts::Sparse(vec![(1, 1), (2, 2), (3, 9)]);
        let known = UnderWay { instances: four.clone(), counts };
        let mut picked = [0_u32; 4];
        (0..16_000).for_each(|_| picked[known.clone().pick(TWO, &four, &mut rng)] += 1);
        // With replacement, rank r of 4 wins in (2 (4 - r) - 1) of 16 draws: 7, 5, 3, 1.
        for (count, sixteenths) in picked.iter().zip([7_000, 5_000, 3_000, 1_000]) {
            assert!(count.abs_diff(sixteenths) < 300, "{picked:?}");
        }
    }

    #[test]
    fn sparse_and_dense_count_alike() {
        let n = 200;
        let mut rng = Rng::stream(2, "x");
        let (mut counts, mut plain) = (Counts::default(), vec![0_u32; n]);
        let (mut was_dense, mut was_sparse_again) = (false, false);
        for round in 0..24_000 {
            let at = rng.below(n as u32);
            // Waves: many requests in flight, then few, for long enough that all of them end.
            if rng.chance(if round % 8_000 < 2_000 { 0.7 } else { 0.01 }) {
                counts.add(at, n);
                plain[at as usize] += 1;
            } else {
                counts.take(at);
                plain[at as usize] = plain[at as usize].saturating_sub(1);
            }
            assert!((0..n).all(|at| counts.get(at as u32) == plain[at]), "round {round}");
            was_dense |= matches!(counts, Counts::Dense(..));
            was_sparse_again |= was_dense && matches!(counts, Counts::Sparse(_));
        }
        assert!(was_dense && was_sparse_again);
    }

    #[test]
    fn what_is_under_way_follows_its_instance_through_changes_of_the_view() {
        let (three, mut rng) = (instances(3), Rng::stream(1, "x"));
        let mut known = UnderWay { instances: three.clone(), counts: Counts::Sparse(vec![(1, 5), (2, 7)]) };
        let later: Arc<[InstanceRef]> = Arc::new([three[0], InstanceRef { version: 2, ..three[1] }, three[2]]);
        let picked = known.pick(TWO, &later, &mut rng) as u32;
        let of = |known: &UnderWay, at| known.counts.get(at) - u32::from(picked == at);
        assert_eq!([0, 1, 2].map(|at| of(&known, at)), [0, 0, 7], "the second is another one now");
        known.ended(three[1]);
        known.ended(three[2]);
        assert_eq!([0, 1, 2].map(|at| of(&known, at)), [0, 0, 6]);
    }

    #[test]
    fn distinct_draws_are_distinct_and_every_ordered_choice_is_equally_likely() {
        let mut rng = Rng::stream(3, "x");
        let mut orders = std::collections::BTreeMap::new();
        for _ in 0..60_000 {
            let drawn: Vec<u32> = Distinct::new(5, 3, &mut rng).collect();
            *orders.entry(drawn).or_insert(0_u32) += 1;
        }
        // 5 * 4 * 3 of them.
        assert_eq!(orders.len(), 60);
        assert!(orders.keys().all(|o| o[0] != o[1] && o[0] != o[2] && o[1] != o[2]));
        assert!(orders.values().all(|count| count.abs_diff(1000) < 160), "{orders:?}");
        assert_eq!(Distinct::new(3, 9, &mut rng).count(), 3);
    }

    #[test]
    fn of_all_that_are_drawn_the_least_busy_is_taken() {
        let four = instances(4);
        let mut rng = Rng::stream(1, "x");
        let counts = Counts::Sparse(vec![(0, 1), (1, 1), (2, 2), (3, 9)]);
        let known = UnderWay { instances: four.clone(), counts };
        for (choices, never) in [(Choices::Distinct(2), 3), (Choices::Distinct(3), 2)] {
            let mut picked = [0_u32; 4];
            (0..6000).for_each(|_| picked[known.clone().pick(choices, &four, &mut rng)] += 1);
            assert!(picked[never..].iter().all(|count| *count == 0), "{choices:?}: {picked:?}");
            assert!(picked[0].abs_diff(picked[1]) < 300, "the first drawn of equals, so both alike: {picked:?}");
        }
    }
}
