//! Keys of requests: what a hashing balancer hashes.

use meshsim_actor::{Rng, mix};

use crate::model::Keys;

/// The streams of keys: apart from all other streams that a number keys.
const KEYS: u64 = u64::from_be_bytes(*b"hashkeys");

impl Keys {
    /// Key of the request that entered the mesh as `root` (see [`RequestId`](crate::RequestId)), in runs with this
    /// seed.
    pub(crate) fn of(self, seed: u64, root: u64) -> u64 {
        let Some(count) = self.count else { return mix(seed ^ KEYS ^ mix(root)) };
        let mut rng = Rng::keyed(seed ^ KEYS, root, 0);
        let rank = if self.skew > 0.0 { zipf(count.get(), self.skew, &mut rng) } else { rng.below(count.get()) };
        mix(seed ^ KEYS ^ u64::from(rank))
    }
}

/// A rank from 0 to n - 1: rank r with probability proportional to (r + 1)^-s.
///
/// (Rejection from the continuous power law, which takes two draws or a few more whatever `n` is: Devroye, *Non-Uniform
/// Random Variate Generation*, X.6.1.)
fn zipf(n: u32, s: f64, rng: &mut Rng) -> u32 {
    let n = f64::from(n);
    let is_one = (s - 1.0).abs() < 1e-9;
    let whole = if is_one { 1.0 + n.ln() } else { (n.powf(1.0 - s) - s) / (1.0 - s) };
    loop {
        let at = rng.unit() * whole;
        let x = if at <= 1.0 {
            at
        } else if is_one {
            (at - 1.0).exp()
        } else {
            (at * (1.0 - s) + s).powf(1.0 / (1.0 - s))
        };
        let rank = (x.floor() + 1.0).min(n);
        let kept = if rank > 1.0 { rank.powf(-s) * x.powf(s) } else { 1.0 };
        if rng.unit() < kept {
            return rank as u32 - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn ranks_are_drawn_by_zipfs_law() {
        for (n, s) in [(1, 1.0), (5, 0.5), (50, 1.0), (20, 2.5)] {
            let mut rng = Rng::stream(4, "zipf");
            let draws = 200_000.0;
            let mut counts = vec![0.0; n as usize];
            (0..draws as u32).for_each(|_| counts[zipf(n, s, &mut rng) as usize] += 1.0);
            let weights: Vec<f64> = (1..=n).map(|r| f64::from(r).powf(-s)).collect();
            let sum: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let p = weight / sum;
                let error = (p * (1.0 - p) / draws).sqrt();
                assert!((count / draws - p).abs() <= 4.0 * error + 1e-12, "{n} {s}: {counts:?}");
            }
        }
    }

    #[test]
    fn a_request_keeps_its_key_and_there_are_only_so_many() {
        let of = |keys: Keys| (0..1000).map(move |root| keys.of(7, root));
        let ten = Keys { count: NonZeroU32::new(10), skew: 0.0 };
        let distinct = |keys: Keys| of(keys).collect::<std::collections::BTreeSet<u64>>().len();
        assert!(of(ten).eq(of(ten)));
        assert_eq!((distinct(ten), distinct(Keys::default())), (10, 1000));
    }
}
