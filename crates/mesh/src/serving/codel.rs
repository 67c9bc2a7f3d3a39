//! CoDel, controlled delay: once requests have waited for longer than a target throughout an interval, the oldest ones
//! are refused, one at a time and ever faster, until the wait is below the target again.
//!
//! A queue that only absorbs a burst is short again within an interval, and loses nothing. One that stands is due to
//! load, and only adds to latency: after the first refusal the next ones follow at `interval / sqrt(n)`.
//!
//! Kathleen Nichols and Van Jacobson, *Controlling Queue Delay*, ACM Queue 10(5), 2012,
//! <https://queue.acm.org/detail.cfm?id=2209336>; its control law and pseudocode: RFC 8289,
//! <https://www.rfc-editor.org/rfc/rfc8289#section-5>. For requests, and beside the newest first (`lifo_after`), Ben
//! Maurer, *Fail at Scale*, ACM Queue 13(8), 2015, <https://queue.acm.org/detail.cfm?id=2839461>.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

/// Settings of CoDel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codel {
    /// Acceptable standing wait for a slot.
    pub target: Span,
    /// Time for which requests may wait longer than that.
    pub interval: Span,
}

impl Default for Codel {
    /// Those of its sources: 5 ms and 100 ms.
    fn default() -> Self {
        Codel { target: Span::from_millis(5), interval: Span::from_millis(100) }
    }
}

/// If refusing begins again within this many intervals of `next`, it resumes near its former rate (RFC 8289).
const RESUME_INTERVALS: u64 = 16;

/// State of one instance.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Earliest time of a refusal: one interval after the wait rose above the target; `None` while it is below.
    above_from: Option<Time>,
    /// Requests are being refused.
    is_dropping: bool,
    /// The previous call refused a request, so `next` must still be advanced.
    has_dropped: bool,
    /// Time of the next refusal.
    next: Time,
    /// Refusals since it began to refuse.
    count: u32,
    /// Value of `count` when refusing last began.
    count_before: u32,
}

impl State {
    /// True if the oldest of the waiting requests, which has waited for so long, is refused; `others` wait behind it.
    /// After a refusal the caller asks again, for the request that is now the oldest.
    pub(super) fn drops(&mut self, of: &Codel, waited: Span, others: usize, now: Time) -> bool {
        let is_due = self.is_due(of, waited, others, now);
        let has_dropped = std::mem::take(&mut self.has_dropped);
        if !self.is_dropping {
            if is_due {
                self.begin(of, now);
            }
            return is_due;
        }
        self.is_dropping = is_due;
        if is_due && has_dropped {
            self.next = law(of, self.next, self.count);
        }
        let drops = is_due && now >= self.next;
        if drops {
            self.count = self.count.saturating_add(1);
            self.has_dropped = true;
        }
        drops
    }

    /// No request waits any more.
    pub(super) fn emptied(&mut self) {
        (self.above_from, self.is_dropping, self.has_dropped) = (None, false, false);
    }

    /// True if requests have waited for longer than the target throughout an interval. Never with at most one request
    /// behind the oldest (RFC 8289: a backlog of one packet).
    fn is_due(&mut self, of: &Codel, waited: Span, others: usize, now: Time) -> bool {
        if waited < of.target || others <= 1 {
            self.above_from = None;
            return false;
        }
        now >= *self.above_from.get_or_insert(now + of.interval)
    }

    fn begin(&mut self, of: &Codel, now: Time) {
        self.is_dropping = true;
        // If it ended a short time ago, the rate that was right then is nearly right now.
        let before = self.count.saturating_sub(self.count_before);
        let is_soon = now.since(self.next) < of.interval * RESUME_INTERVALS;
        self.count = if before > 1 && is_soon { before } else { 1 };
        self.count_before = self.count;
        self.next = law(of, now, self.count);
    }
}

/// The control law: the time of the refusal after the `count`-th.
fn law(of: &Codel, at: Time, count: u32) -> Time {
    at + of.interval.scaled(1.0 / f64::from(count.max(1)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    /// Milliseconds at which requests are refused, if a slot is free each millisecond and the oldest then has waited
    /// for so many milliseconds.
    fn refused(state: &mut State, from: u64, to: u64, waited: impl Fn(u64) -> u64) -> Vec<u64> {
        let of = Codel::default();
        let mut all = vec![];
        for now in from..to {
            while state.drops(&of, Span::from_millis(waited(now)), 50, ms(now)) {
                all.push(now);
            }
        }
        all
    }

    #[test]
    fn refusals_follow_the_control_law() {
        // The wait is above the target from 0 on, for an interval at 100 ms; then 100 / sqrt(n) ms each: 100, 70.71,
        // 57.74, 50, 44.72, 40.82, 37.80 and 35.36.
        let found = refused(&mut State::default(), 0, 550, |_| 20);
        assert_eq!(found, [100, 200, 271, 329, 379, 424, 464, 502, 538]);
    }

    #[test]
    fn a_wait_below_the_target_ends_it_and_a_short_one_begins_nothing() {
        let mut state = State::default();
        // A burst is worked off within an interval.
        assert_eq!(refused(&mut state, 0, 1_000, |now| 90_u64.saturating_sub(now % 500)), []);
        // One short wait among long ones begins the interval anew.
        let found = refused(&mut state, 1_000, 1_300, |now| if now == 1_050 { 1 } else { 20 });
        assert_eq!(found, [1_151, 1_251]);
    }

    #[test]
    fn a_queue_that_stands_again_soon_is_refused_at_the_former_rate() {
        let mut state = State::default();
        let first = refused(&mut state, 0, 1_000, |_| 20);
        assert_eq!(first.len(), 27);
        // After 200 ms of short waits it begins where it was: the next comes after 100 / sqrt(26) = 19.6 ms.
        assert_eq!(refused(&mut state, 1_000, 1_200, |_| 1), []);
        let again = refused(&mut state, 1_200, 1_330, |_| 20);
        assert_eq!(again, [1_300, 1_320]);
        // After a long time it begins slowly.
        refused(&mut state, 1_330, 4_000, |_| 1);
        assert_eq!(refused(&mut state, 4_000, 4_250, |_| 20), [4_100, 4_200]);
    }

    #[test]
    fn the_last_request_of_a_queue_is_never_refused() {
        let (of, mut state) = (Codel::default(), State::default());
        assert!((0..1_000).all(|now| !state.drops(&of, Span::from_secs(9), 1, ms(now))));
    }
}
