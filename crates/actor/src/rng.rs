//! The random number generator of a run, and its streams.

use rand::{Rng as RngCore, RngExt, TryRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

/// A stream of random numbers: PCG XSL 128/64 (MCG), O'Neill 2014, "PCG: A Family of Simple Fast Space-Efficient
/// Statistically Good Algorithms for Random Number Generation". 16 bytes of state, about 1 ns a number.
///
/// Every stream is derived from the run's seed and a label or a key, so switching one on or off moves no other.
/// Implements `rand`'s generator trait, so `rand_distr` and [`Dist`](crate::Dist) draw from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rng(Pcg64Mcg);

impl Rng {
    /// The stream named `label` of the run with this seed.
    pub fn stream(seed: u64, label: &str) -> Self {
        // FNV-1a (Fowler, Noll, Vo): names are short and few.
        let hash =
            label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self::keyed(seed, hash, 0)
    }

    /// The stream with a numeric key, for things so numerous that a stored generator for each would cost too much.
    ///
    /// The network draws the fate of a message from the key (sender, receiver, count). So each link has a stream that
    /// needs no memory, and a fate does not depend on other messages. (Counter-based generation: Salmon et al. 2011,
    /// "Parallel random numbers: as easy as 1, 2, 3".)
    #[inline]
    pub fn keyed(seed: u64, a: u64, b: u64) -> Self {
        let low = mix(seed ^ mix(a ^ mix(b)));
        let high = mix(low ^ a.rotate_left(32) ^ b);
        Rng(Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low)))
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        RngCore::next_u64(&mut self.0)
    }

    /// Uniform in [0, 1).
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// True with this probability. Probabilities of zero and one draw nothing, so a fault that is switched off changes
    /// no other draw.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            false
        } else if probability >= 1.0 {
            true
        } else {
            self.unit() < probability
        }
    }

    /// Uniform in 0..n, without bias.
    ///
    /// # Panics
    /// If `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        self.0.random_range(0..n)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014), after its increment so that zero does not map to zero.
#[inline]
pub fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl TryRng for Rng {
    type Error = Infallible;
    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }
    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(dest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_are_pinned() {
        // If this fails, every user's seeds give other runs: that is a breaking change.
        let mut named = Rng::stream(7, "node-3");
        let mut keyed = Rng::keyed(7, 1, 2);
        assert_eq!(
            [named.next_u64(), named.next_u64()],
            [3_717_117_123_612_794_411, 1_933_622_814_929_193_058],
            "named"
        );
        assert_eq!(
            [keyed.next_u64(), keyed.next_u64()],
            [1_650_130_498_521_868_778, 6_266_275_686_679_466_008],
            "keyed"
        );
    }

    #[test]
    fn first_numbers_of_neighbouring_keys_are_uniform_and_uncorrelated() {
        let n = 100_000_u64;
        let first = |i| Rng::keyed(1, i, 0).unit();
        let mean = (0..n).map(first).sum::<f64>() / n as f64;
        let product = (0..n).map(|i| (first(i) - 0.5) * (first(i + 1) - 0.5)).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.004, "mean {mean}");
        assert!(product.abs() < 0.002, "covariance {product}");
    }

    #[test]
    fn certain_chances_draw_nothing() {
        let mut rng = Rng::stream(1, "x");
        let before = rng.clone();
        assert!(!rng.chance(0.0) && rng.chance(1.0));
        assert_eq!(rng, before);
    }
}
