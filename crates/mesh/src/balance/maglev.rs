//! `maglev`: a table of a prime number of places that the instances fill in turn, each in an order of its own; a
//! request goes to the instance at the place of its key.
//!
//! (Eisenbud et al. 2016, "Maglev: A Fast and Reliable Software Network Load Balancer", 3.4; with weights as in Envoy's
//! `MaglevTable`:
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#maglev>.)

use meshsim_actor::mix;

use crate::view::InstanceRef;

/// Position of an instance, by place.
#[derive(Debug)]
pub(super) struct Table(Vec<u32>);

/// Filling of the table by one instance.
struct Filler {
    /// Its next place, and the distance to the one after it.
    place: u64,
    skip: u64,
    /// It takes a place in a round only when its weights so far have reached this.
    due: f64,
}

/// No instance yet. There are fewer instances than that.
const FREE: u32 = u32::MAX;

impl Table {
    /// A table for these instances, which are not empty, with these weights, which are above 0. `size` is a prime;
    /// instances beyond it get no place.
    pub(super) fn new(instances: &[InstanceRef], weight: impl Fn(InstanceRef) -> f64, size: u32) -> Self {
        let places = u64::from(size);
        let most = instances.iter().map(|it| weight(*it)).fold(0.0, f64::max);
        let filler = |instance: &InstanceRef| {
            let name = super::hash_of(*instance);
            let skip = mix(name ^ 1) % places.saturating_sub(1).max(1) + 1;
            Filler { place: mix(name) % places, skip, due: 0.0 }
        };
        let mut fillers: Vec<Filler> = instances.iter().map(filler).collect();
        let mut table = vec![FREE; size as usize];
        let (mut left, mut round) = (size, 0.0);
        while left > 0 {
            round += 1.0;
            for (at, filler) in (0..).zip(&mut fillers) {
                if left == 0 {
                    break;
                }
                // One with a third of the greatest weight takes a place in every third round.
                if round * weight(instances[at as usize]) < filler.due {
                    continue;
                }
                filler.due += most;
                // The skips of a prime number of places reach every place.
                while table[filler.place as usize] != FREE {
                    filler.place = (filler.place + filler.skip) % places;
                }
                table[filler.place as usize] = at;
                left -= 1;
            }
        }
        Table(table)
    }

    /// Position of the instance for this key.
    #[inline]
    pub(super) fn find(&self, key: u64) -> usize {
        self.0[(key % self.0.len() as u64) as usize] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;
    use crate::model::MAGLEV_SIZE;

    fn counts(table: &Table, n: usize) -> Vec<u32> {
        let mut counts = vec![0; n];
        table.0.iter().for_each(|at| counts[*at as usize] += 1);
        counts
    }

    #[test]
    fn every_instance_has_the_same_share_within_one_percent() {
        for n in [1, 2, 7, 100, 600] {
            let counts = counts(&Table::new(&instances(n), |_| 1.0, MAGLEV_SIZE), n as usize);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            // In turn: they differ by at most one place.
            assert!(most - least <= 1 && f64::from(*most) <= 1.01 * f64::from(*least), "{n}: {least} to {most}");
        }
    }

    #[test]
    fn the_keys_of_an_instance_that_goes_move_and_few_others() {
        for n in [10_u32, 100] {
            let all = instances(n);
            let fewer: Vec<InstanceRef> = all.iter().copied().filter(|it| *it != all[3]).collect();
            let before = Table::new(&all, |_| 1.0, MAGLEV_SIZE);
            let after = Table::new(&fewer, |_| 1.0, MAGLEV_SIZE);
            let pairs = before.0.iter().zip(&after.0).map(|(old, new)| (all[*old as usize], fewer[*new as usize]));
            let (mut gone, mut moved) = (0, 0);
            for (old, new) in pairs {
                gone += u32::from(old == all[3]);
                moved += u32::from(old != all[3] && old != new);
            }
            let share = |count: u32| f64::from(count) / f64::from(MAGLEV_SIZE);
            assert!((share(gone) * f64::from(n) - 1.0).abs() < 0.01);
            println!("{n}: {} moved beside {}", share(moved), share(gone));
            // The paper's figure 12: some 2 % of the places at a hundred times as many places as instances.
            assert!(share(moved) > 0.0 && share(moved) < 0.04, "{n}: {}", share(moved));
        }
    }

    #[test]
    fn twice_the_weight_is_twice_the_places() {
        let three = instances(3);
        let table = Table::new(&three, |it| if it == three[0] { 2.0 } else { 1.0 }, 1009);
        let counts = counts(&table, 3);
        assert!(counts[0].abs_diff(505) <= 2 && counts[1].abs_diff(252) <= 2, "{counts:?}");
    }

    #[test]
    fn a_table_with_fewer_places_than_instances_is_full() {
        let table = Table::new(&instances(20), |_| 1.0, 7);
        assert_eq!(counts(&table, 20).iter().sum::<u32>(), 7);
    }
}
