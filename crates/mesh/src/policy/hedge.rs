//! Hedging: a second attempt at another instance while the first is still in flight. The first good reply wins.
//!
//! The caller sends it after a fixed delay, or when the first attempt has taken longer than a share of the latest ones.
//! A hedge counts as a retry for the budget, and never waits for a connection. The instances whose replies are not
//! needed any more are told so and drop the request, and cancel the calls that they made for it; or they do the work,
//! without
//! `cancel`. (gRPC cancels: "all other outstanding hedged requests are cancelled".)
//!
//! Dean and Barroso, *The Tail at Scale*, <https://doi.org/10.1145/2408776.2408794>; gRPC's hedging policy,
//! <https://github.com/grpc/proposal/blob/master/A6-client-retries.md>.

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

/// Settings of hedging.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hedge {
    /// Time after which an attempt is sent beside those in flight.
    pub after: HedgeAfter,
    /// Attempts of a call that may be sent so.
    pub max: u32,
    /// The other attempts are cancelled when one has succeeded.
    pub cancel: bool,
}

/// Time after which an attempt is hedged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum HedgeAfter {
    /// So long after the last attempt was sent.
    Delay(Span),
    /// At this quantile, from 0 to 1, of the latest [`SAMPLES`] latencies of this caller to the service; none before
    /// the first [`SAMPLES_MIN`].
    Quantile(f64),
}

/// Most hedges of one call.
pub const HEDGES_MAX: u32 = 10;
/// Latencies that a quantile is taken of.
pub const SAMPLES: usize = 1000;
/// Latencies from which on a quantile is taken.
pub const SAMPLES_MIN: usize = 100;
/// Latencies after which the quantile is taken anew.
const EVERY: u32 = 50;

/// The latest latencies of one caller to one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Latencies {
    /// At most [`SAMPLES`]; the oldest is at `next`.
    samples: Vec<Span>,
    next: usize,
    /// Samples until the quantile is taken anew.
    left: u32,
    delay: Option<Span>,
}

impl Latencies {
    pub(super) fn record(&mut self, took: Span, quantile: f64) {
        if self.samples.len() < SAMPLES {
            self.samples.push(took);
        } else {
            self.samples[self.next] = took;
            self.next = (self.next + 1) % SAMPLES;
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.take_quantile(quantile);
        }
    }

    /// Takes the quantile anew, if there are enough latencies.
    pub(super) fn take_quantile(&mut self, quantile: f64) {
        if self.samples.len() >= SAMPLES_MIN {
            let mut sorted = self.samples.clone();
            sorted.sort_unstable();
            let rank = (quantile * sorted.len() as f64).ceil() as usize;
            self.delay = Some(sorted[rank.clamp(1, sorted.len()) - 1]);
            self.left = EVERY;
        }
    }

    pub(super) fn delay(&self) -> Option<Span> {
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_the_quantile_of_the_latest_latencies() {
        let mut latencies = Latencies::default();
        for ms in 1..=99 {
            latencies.record(Span::from_millis(ms), 0.9);
            assert_eq!(latencies.delay(), None);
        }
        latencies.record(Span::from_millis(100), 0.9);
        assert_eq!(latencies.delay(), Some(Span::from_millis(90)));
        // Of the thousand latest, half are slow.
        (0..2000).for_each(|n| latencies.record(Span::from_millis(if n % 2 == 0 { 1 } else { 500 }), 0.9));
        assert_eq!(latencies.delay(), Some(Span::from_millis(500)));
        assert_eq!(latencies.samples.len(), SAMPLES);
    }
}
