//! Token bucket: requests over time, with bursts. A bucket holds up to `burst` tokens and gets one each `every`; a
//! request takes one, or is refused.
//!
//! The bucket fills continuously, so its state is one time: that at which it will be full. (The generic cell rate
//! algorithm, ITU-T I.371; Envoy's `local_ratelimit`, whose tokens come at the ends of a `fill_interval`:
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/local_rate_limit_filter>.) With Poisson
//! arrivals it refuses the share that an M/D/1 queue with room for `burst` requests would.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

/// Settings of a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBucket {
    /// Time in which one token comes.
    pub every: Span,
    /// Tokens that it holds, at least 1. It begins full.
    pub burst: u32,
}

/// State of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Time at which it is full.
    full: Time,
}

impl State {
    /// True if it holds a token.
    pub(crate) fn has_one(self, of: &TokenBucket, now: Time) -> bool {
        self.full.since(now) <= of.every * u64::from(of.burst.saturating_sub(1))
    }

    /// Takes a token; false if there is none.
    pub(crate) fn take(&mut self, of: &TokenBucket, now: Time) -> bool {
        let has_one = self.has_one(of, now);
        if has_one {
            self.full = self.full.max(now) + of.every;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_then_one_each_interval() {
        let of = TokenBucket { every: Span::from_millis(10), burst: 3 };
        let mut state = State::default();
        let mut passed = |ms: u64| state.take(&of, Time::from_nanos(ms * 1_000_000));
        let taken: Vec<u64> = (0..50).flat_map(|ms| [ms, ms]).filter(|ms| passed(*ms)).collect();
        assert_eq!(taken, [0, 0, 1, 10, 20, 30, 40]);
        // After a pause it is full, and not fuller.
        assert_eq!((0..5).filter(|_| passed(10_000)).count(), 3);
    }
}
