//! `ring_hash`: each instance has many points on a ring of hashes; a request goes to the instance of the first point
//! from its key on.
//!
//! The number of points follows Envoy's `RingHashLoadBalancer`
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#ring-hash>):
//! the smallest multiple at which the lightest instance has whole points and the ring has at least `min_size`, but
//! never more than `max_size`. With k points each, the shares of N instances vary by (N - 1) / (N k + 1), the squared
//! coefficient of variation of a Beta(k, (N - 1) k).

use meshsim_actor::mix;

use crate::view::InstanceRef;

/// Points on a ring, by rising hash.
#[derive(Debug)]
pub(super) struct Ring {
    hashes: Vec<u64>,
    /// Position of the instance that has the point.
    owners: Vec<u32>,
}

impl Ring {
    /// A ring for these instances, which are not empty, with these weights, which are above 0.
    pub(super) fn new(
        instances: &[InstanceRef],
        weight: impl Fn(InstanceRef) -> f64,
        min_size: u32,
        max_size: u32,
    ) -> Self {
        let sum: f64 = instances.iter().map(|it| weight(*it)).sum();
        let least = instances.iter().map(|it| weight(*it) / sum).fold(1.0, f64::min);
        let points = ((least * f64::from(min_size)).ceil() / least).min(f64::from(max_size));
        let mut ring: Vec<(u64, u32)> = Vec::with_capacity(points.ceil() as usize);
        let mut wanted = 0.0;
        for (at, instance) in (0..).zip(instances) {
            wanted += points * weight(*instance) / sum;
            let name = super::hash_of(*instance);
            let mut copy = 0;
            // Sums of shares are not exact; a point more or less of a whole ring does not matter.
            while (ring.len() as f64) + 1e-6 < wanted {
                ring.push((mix(name ^ mix(copy)), at));
                copy += 1;
            }
        }
        ring.sort_unstable();
        let (hashes, owners) = ring.into_iter().unzip();
        Ring { hashes, owners }
    }

    /// Position of the instance for this key.
    #[inline]
    pub(super) fn find(&self, key: u64) -> usize {
        let at = self.hashes.partition_point(|hash| *hash < key);
        self.owners[if at == self.owners.len() { 0 } else { at }] as usize
    }

    /// Share of the ring of each of `n` instances.
    #[cfg(test)]
    fn shares(&self, n: usize) -> Vec<f64> {
        let mut shares = vec![0.0; n];
        for (at, owner) in self.owners.iter().enumerate() {
            let before = self.hashes[(at + self.hashes.len() - 1) % self.hashes.len()];
            shares[*owner as usize] += self.hashes[at].wrapping_sub(before) as f64 / 2_f64.powi(64);
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;
    use crate::model::{RING_MAX, RING_MIN};

    #[test]
    fn the_ring_has_the_size_that_envoy_gives_it() {
        let size = |n, min, max| Ring::new(&instances(n), |_| 1.0, min, max).owners.len();
        assert_eq!((size(1, 1024, RING_MAX), size(2, 1024, RING_MAX)), (1024, 1024));
        // Whole points for each: 3 * 342, 1000 * 2, and one each for more instances than points.
        assert_eq!(
            (size(3, 1024, RING_MAX), size(1000, 1024, RING_MAX), size(5000, 1024, RING_MAX)),
            (1026, 2000, 5000)
        );
        assert_eq!(size(1000, 1024, 1500), 1500);
    }

    #[test]
    fn the_shares_of_a_ring_vary_as_the_beta_distribution_says() {
        // The closed form is a mean over rings: each is made of other instances.
        let (n, k, rings) = (20_u32, 51.0, 400);
        let mut squares = Vec::new();
        for ring in 0..rings {
            let others: Vec<InstanceRef> =
                instances(n * rings).iter().skip((ring * n) as usize).take(n as usize).copied().collect();
            let shares = Ring::new(&others, |_| 1.0, 1001, RING_MAX).shares(n as usize);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let mean = 1.0 / f64::from(n);
            squares.push(shares.iter().map(|share| (share / mean - 1.0).powi(2)).sum::<f64>() / f64::from(n));
        }
        let expected = f64::from(n - 1) / (f64::from(n) * k + 1.0);
        let mean = squares.iter().sum::<f64>() / f64::from(rings);
        let variance = squares.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / f64::from(rings - 1);
        let error = (variance / f64::from(rings)).sqrt();
        assert!((mean - expected).abs() < 4.0 * error, "{mean}, not {expected} +- {error}");
    }

    #[test]
    fn only_the_keys_of_an_instance_that_goes_move() {
        let all = instances(10);
        let fewer: Vec<InstanceRef> = all.iter().copied().filter(|it| *it != all[3]).collect();
        // As many points each: 103 of 10, and 103 of 9.
        let before = Ring::new(&all, |_| 1.0, RING_MIN, RING_MAX);
        let after = Ring::new(&fewer, |_| 1.0, 920, RING_MAX);
        let mut moved = 0;
        for key in (0..20_000).map(mix) {
            let (old, new) = (all[before.find(key)], fewer[after.find(key)]);
            assert!(old == new || old == all[3]);
            moved += u32::from(old != new);
        }
        assert!((1_200..2_900).contains(&moved), "{moved}");
    }

    #[test]
    fn twice_the_weight_is_twice_the_points() {
        let four = instances(4);
        let ring = Ring::new(&four, |it| if it == four[1] { 2.0 } else { 1.0 }, 1024, RING_MAX);
        let count = |at| ring.owners.iter().filter(|owner| **owner == at).count();
        assert_eq!([0, 1, 2, 3].map(count), [205, 410, 205, 205]);
    }
}
