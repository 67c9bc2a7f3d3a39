//! Caches of scripts, and the share of hits that theory expects of them.

use meshsim_actor::{Dist, Span};
use serde::{Deserialize, Serialize};

use super::{Keys, ScriptStep};

/// A script that runs unless the key of the request is in a cache. Each instance has a cache of its own, empty at
/// first, which the script fills when it succeeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cached {
    /// The cache.
    pub cache: Cache,
    /// Time of a hit.
    pub hit: Dist,
    /// Runs on a miss.
    pub script: Vec<ScriptStep>,
}

/// A cache of keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    /// The keys of requests. Their number is known.
    pub keys: Keys,
    /// Number of keys that it holds; the one that was used longest ago makes room (LRU). `None`: all keys.
    pub size: Option<u32>,
    /// Time from its filling until a key is no longer known, however often it is used. `None`: no limit.
    pub ttl: Option<Span>,
}

/// A number of ranks that are alike: how many, and the probability of each.
type Ranks = (f64, f64);

impl Cache {
    /// Share of requests that find their key, when the cache has been full for long and nothing expires: Che's
    /// approximation (Che, Tung and Wang, "Hierarchical Web Caching Systems", IEEE JSAC 2002). A key with probability p
    /// is there with probability `1 - exp(-p T)`, where T is such that the expected number of keys there is the size.
    pub fn expected_hits(&self) -> f64 {
        let (Some(size), Some(count)) = (self.size, self.keys.count) else { return 1.0 };
        let size = f64::from(size);
        if size >= f64::from(count.get()) {
            return 1.0;
        }
        let ranks = ranks(count.get(), self.keys.skew);
        let there = |time: f64| ranks.iter().map(|(n, p)| n * -(-p * time).exp_m1()).sum::<f64>();
        let (mut low, mut high) = (0.0, size);
        while there(high) < size && high < 1e18 {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if there(middle) < size { low = middle } else { high = middle }
        }
        ranks.iter().map(|(n, p)| n * p * -(-p * high).exp_m1()).sum()
    }
}

/// Zipf's law for `count` keys: the first ranks by themselves, later ones in groups, each at most 1 % wider than all
/// before it.
fn ranks(count: u32, skew: f64) -> Vec<Ranks> {
    let count = f64::from(count);
    let (mut ranks, mut first) = (vec![], 1.0);
    while first <= count {
        let n = (first / 100.0_f64).floor().max(1.0).min(count - first + 1.0);
        ranks.push((n, (first + (n - 1.0) / 2.0).powf(-skew)));
        first += n;
    }
    let all: f64 = ranks.iter().map(|(n, weight)| n * weight).sum();
    ranks.into_iter().map(|(n, weight)| (n, weight / all)).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn hits(count: u32, skew: f64, size: u32) -> f64 {
        let keys = Keys { count: NonZeroU32::new(count), skew };
        Cache { keys, size: Some(size), ttl: None }.expected_hits()
    }

    #[test]
    fn keys_that_are_all_alike_hit_as_many_as_there_is_room_for() {
        assert!((hits(1000, 0.0, 250) - 0.25).abs() < 1e-9);
        assert_eq!((hits(10, 1.0, 10), hits(10, 1.0, 20)), (1.0, 1.0));
    }

    #[test]
    fn groups_of_ranks_change_the_share_of_hits_by_less_than_a_thousandth() {
        let exact: Vec<Ranks> = {
            let all: f64 = (1..=20_000).map(|rank| f64::from(rank).powf(-0.8)).sum();
            (1..=20_000).map(|rank| (1.0, f64::from(rank).powf(-0.8) / all)).collect()
        };
        let there = |time: f64| exact.iter().map(|(_, p)| -(-p * time).exp_m1()).sum::<f64>();
        let (mut low, mut high) = (0.0, 1e9);
        for _ in 0..80 {
            let middle = (low + high) / 2.0;
            if there(middle) < 1000.0 { low = middle } else { high = middle }
        }
        let by_rank: f64 = exact.iter().map(|(_, p)| p * -(-p * high).exp_m1()).sum();
        assert!((hits(20_000, 0.8, 1000) - by_rank).abs() < 1e-3, "{by_rank}");
    }
}
