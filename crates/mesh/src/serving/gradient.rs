//! Adaptive concurrency: a limit that follows the latency, so that an instance is busy and its queue short.
//!
//! Envoy's gradient controller, with its defaults. Now and then the limit falls to `min_limit` until `min_rtt_requests`
//! requests are done: their latency is that of an idle instance, the minimal round trip. In between, at the end of each
//! `update`, the limit becomes `limit * gradient + sqrt(limit * gradient)` with `gradient = min_rtt * (1 + buffer) /
//! latency`, between 0.5 and 2. A limit that stays at its minimum for five updates measures the round trip anew.
//! Latencies run from the arrival to the reply.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter>; the
//! origin is Netflix's `Gradient` limit, <https://github.com/Netflix/concurrency-limits>.
//!
//! Envoy has timers. Here the first request after the due time does what they would: without requests the limit does
//! not matter.

use meshsim_actor::{Rng, Span, Time};
use serde::{Deserialize, Serialize};

use crate::measure::Histogram;

/// Settings of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gradient {
    /// Quantile of the latencies that stands for them, from 0 to 1.
    pub quantile: f64,
    /// The limit never exceeds this.
    pub max_limit: u32,
    /// Time between two changes of the limit. At least 1 ms.
    pub update: Span,
    /// Time from one measurement of the minimal round trip to the next.
    pub min_rtt_interval: Span,
    /// Requests of a measurement, at least 1.
    pub min_rtt_requests: u32,
    /// The interval is longer by a random part of this share.
    pub jitter: f64,
    /// Limit during a measurement, and at any time at least.
    pub min_limit: u32,
    /// Share of the minimal round trip by which latencies may exceed it.
    pub buffer: f64,
}

impl Default for Gradient {
    /// Envoy's; it has no default of the two intervals, for which its documentation uses 100 ms and 60 s.
    fn default() -> Self {
        Gradient {
            quantile: 0.5,
            max_limit: 1000,
            update: Span::from_millis(100),
            min_rtt_interval: Span::from_secs(60),
            min_rtt_requests: 50,
            jitter: 0.15,
            min_limit: 3,
            buffer: 0.25,
        }
    }
}

/// Updates in a row at the least limit after which the minimal round trip is measured anew.
const AT_LEAST_MAX: u32 = 5;

/// The streams of the jitter: apart from all other streams that a number keys.
const JITTER: u64 = u64::from_be_bytes(*b"gradient");

/// State of one instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    limit: u32,
    min_rtt: Span,
    /// Latencies since the last change.
    samples: Histogram,
    /// Time of the next change.
    update_at: Time,
    /// Time of the next measurement.
    measure_at: Time,
    /// During a measurement, the limit that comes after it.
    deferred: Option<u32>,
    /// Beginning of the latest measurement; requests from before it are no samples.
    since: Time,
    /// Changes in a row that left it at the least limit.
    at_least: u32,
    /// Measurements so far.
    measured: u64,
}

impl State {
    /// It begins with a measurement.
    pub(super) fn new(of: &Gradient, now: Time) -> Self {
        let mut state = State {
            limit: of.min_limit,
            min_rtt: Span::ZERO,
            samples: Histogram::coarse(),
            update_at: now + of.update,
            measure_at: now,
            deferred: None,
            since: now,
            at_least: 0,
            measured: 0,
        };
        state.measure(of, now);
        state
    }

    /// The limit now.
    pub(super) fn limit(&mut self, of: &Gradient, now: Time) -> u32 {
        self.follow(of, now);
        self.limit
    }

    /// A request that arrived at `arrived` is done.
    pub(super) fn ended(&mut self, of: &Gradient, arrived: Time, key: u64, now: Time) {
        self.follow(of, now);
        if arrived < self.since {
            return;
        }
        self.samples.record(now.since(arrived));
        let is_measured = self.samples.count() >= u64::from(of.min_rtt_requests);
        if let Some(deferred) = self.deferred.filter(|_| is_measured) {
            self.min_rtt = self.sampled(of);
            self.change(deferred, of, now);
            self.deferred = None;
            self.measured += 1;
            let jitter = Rng::keyed(JITTER, key, self.measured).unit() * of.jitter;
            self.measure_at = now + of.min_rtt_interval.scaled(1.0 + jitter);
            self.update_at = now + of.update;
        }
    }

    /// Does what was due until now.
    fn follow(&mut self, of: &Gradient, now: Time) {
        if self.deferred.is_some() {
            return;
        }
        if now >= self.update_at {
            if self.samples.count() > 0 {
                let latency = self.sampled(of);
                self.change(next(self.limit, self.min_rtt, latency, of), of, now);
            }
            let passed = now.since(self.update_at).nanos() / of.update.nanos().max(1);
            self.update_at += of.update * (passed + 1);
        }
        if now >= self.measure_at {
            self.measure(of, now);
        }
    }

    fn measure(&mut self, of: &Gradient, now: Time) {
        self.deferred = Some(self.limit);
        self.samples = Histogram::coarse();
        self.since = now;
        self.change(of.min_limit, of, now);
    }

    fn sampled(&mut self, of: &Gradient) -> Span {
        std::mem::replace(&mut self.samples, Histogram::coarse()).quantile(of.quantile)
    }

    fn change(&mut self, limit: u32, of: &Gradient, now: Time) {
        let stays = self.deferred.is_none() && self.limit == of.min_limit && limit == of.min_limit;
        self.at_least = if stays { self.at_least + 1 } else { 0 };
        self.limit = limit;
        if self.at_least >= AT_LEAST_MAX {
            self.measure_at = now;
        }
    }
}

/// The limit after one with which requests took `latency`.
fn next(limit: u32, min_rtt: Span, latency: Span, of: &Gradient) -> u32 {
    let ratio = if latency.is_zero() { f64::INFINITY } else { min_rtt.secs() * (1.0 + of.buffer) / latency.secs() };
    let gradient = ratio.clamp(0.5, 2.0);
    let allowed = f64::from(limit) * gradient;
    ((allowed + allowed.sqrt()) as u32).min(of.max_limit).max(of.min_limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Span {
        Span::from_millis(ms)
    }

    #[test]
    fn the_limit_follows_envoys_formula() {
        let of = Gradient::default();
        // 100 * 1.25 + sqrt(125), 100 * 0.625 + sqrt(62.5), and the bounds of the gradient and of the limit.
        for (limit, latency, expected) in
            [(100, 10, 136), (100, 20, 70), (100, 1_000, 57), (100, 1, 214), (900, 1, 1000), (3, 1_000, 3)]
        {
            assert_eq!(next(limit, ms(10), ms(latency), &of), expected, "{limit} {latency}");
        }
    }

    /// Requests that take `latency` each, one each millisecond, for this long. Returns the limits.
    fn limits(of: &Gradient, latency: impl Fn(u64) -> Span, millis: u64) -> Vec<u32> {
        let mut state = State::new(of, Time::ZERO);
        (0..millis)
            .map(|n| {
                let now = Time::ZERO + ms(n + 1000);
                let took = latency(n);
                state.ended(of, Time::from_nanos(now.nanos() - took.nanos()), 7, now);
                state.limit(of, now)
            })
            .collect()
    }

    #[test]
    fn it_measures_then_rises_and_measures_again_within_the_jitter() {
        let of = Gradient::default();
        let limits = limits(&of, |_| ms(10), 140_000);
        assert!(limits[..49].iter().all(|limit| *limit == 3) && limits[120..300].iter().any(|limit| *limit > 3));
        assert_eq!(limits[30_000], 1000, "latencies that do not rise leave no bound but the greatest");
        let measures: Vec<usize> = (1..limits.len()).filter(|n| limits[*n] == 3 && limits[*n - 1] > 3).collect();
        assert_eq!(measures.len(), 2, "{measures:?}");
        assert!((60_000..=69_100).contains(&measures[0]) && (60_000..69_100).contains(&(measures[1] - measures[0])));
        assert_eq!(limits[measures[0] + 60], 1000, "the limit from before comes back");
    }

    #[test]
    fn a_limit_that_stays_at_its_minimum_measures_the_round_trip_anew() {
        let of = Gradient::default();
        // Requests that took 1 ms take 100 ms for good: without a new measurement the limit would stay at 3.
        let limits = limits(&of, |n| if n < 60 { ms(1) } else { ms(100) }, 20_000);
        assert!(limits[19_999] > 100, "{}", limits[19_999]);
    }
}
