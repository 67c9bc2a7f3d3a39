//! Mean of a signal over a time, in buckets of a second.
//!
//! Source: `TimedFloat64Buckets` of Knative's
//! <https://github.com/knative/serving/blob/knative-v1.15.0/pkg/autoscaler/aggregation/bucketing.go>.

use std::collections::VecDeque;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

/// Length of a bucket.
const BUCKET: Span = Span::from_secs(1);

/// The buckets of a window, the last of which is that of the latest value. Empty ones count as 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Window {
    /// Number of buckets of the window, at least 1.
    length: u64,
    /// Sums of the values, by rising bucket without gaps; at most `length`.
    sums: VecDeque<f64>,
    /// The bucket of the first value, and of the latest; `None`: there is no value.
    span: Option<(u64, u64)>,
}

fn bucket(at: Time) -> u64 {
    at.nanos() / BUCKET.nanos()
}

impl Window {
    /// A window of this length, in whole seconds.
    pub(super) fn new(length: Span) -> Self {
        let length = length.nanos().div_ceil(BUCKET.nanos()).max(1);
        Window { length, sums: VecDeque::new(), span: None }
    }

    /// Adds a value to the bucket of this time. After a pause as long as the window it begins anew.
    pub(super) fn record(&mut self, at: Time, value: f64) {
        let now = bucket(at);
        match &mut self.span {
            Some((_, last)) if now < last.saturating_sub(self.sums.len() as u64 - 1) => {}
            Some((_, last)) if now <= *last => {
                let from_last = (*last - now) as usize;
                let at = self.sums.len() - 1 - from_last;
                self.sums[at] += value;
            }
            Some((_, last)) if now - *last < self.length => {
                (*last + 1..now).for_each(|_| self.sums.push_back(0.0));
                self.sums.push_back(value);
                *last = now;
                while self.sums.len() as u64 > self.length {
                    self.sums.pop_front();
                }
            }
            _ => {
                self.sums = VecDeque::from([value]);
                self.span = Some((now, now));
            }
        }
    }

    /// True if there was no value for longer than the window.
    pub(super) fn is_empty(&self, now: Time) -> bool {
        self.span.is_none_or(|(_, last)| bucket(now).saturating_sub(last) > self.length)
    }

    /// Mean of the buckets. A window that began lately is as long as it has been filled; one without recent values
    /// ends with the latest.
    pub(super) fn mean(&self, now: Time) -> f64 {
        let Some((first, last)) = self.span else { return 0.0 };
        let silent = bucket(now).saturating_sub(last);
        if silent >= self.length {
            return 0.0;
        }
        let buckets = (last - first + 1).min(self.length - silent);
        let sum: f64 = self.sums.iter().rev().take(buckets as usize).sum();
        // Six digits, as in the source, so that sums of inexact numbers do not ask for one instance more.
        (sum / buckets as f64 * 1e6 + 1e-6).floor() / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Time {
        Time::ZERO + Span::from_secs_f64(seconds)
    }

    #[test]
    fn a_window_is_as_long_as_it_was_filled_and_forgets_what_is_older() {
        let mut window = Window::new(Span::from_secs(4));
        assert!(window.is_empty(at(9.0)) && window.mean(at(9.0)) == 0.0);
        window.record(at(10.0), 8.0);
        assert_eq!(window.mean(at(10.0)), 8.0, "one second");
        window.record(at(10.9), 2.0);
        assert_eq!(window.mean(at(10.9)), 10.0, "of two actors in one second: their sum");
        window.record(at(11.0), 2.0);
        assert_eq!(window.mean(at(11.0)), 6.0);
        window.record(at(13.0), 4.0);
        assert_eq!(window.mean(at(13.0)), 4.0, "a second without a value counts as 0");
        window.record(at(14.0), 0.0);
        assert_eq!(window.mean(at(14.0)), 1.5, "the first is gone");
        // Nothing comes any more: the window ends with the latest value.
        assert_eq!(window.mean(at(15.0)), 1.333333, "6 digits");
        assert_eq!(window.mean(at(17.0)), 0.0);
        assert!(!window.is_empty(at(18.0)) && window.mean(at(18.0)) == 0.0);
        assert!(window.is_empty(at(19.0)));
        // It begins anew, also for the length.
        window.record(at(18.0), 7.0);
        assert_eq!(window.mean(at(18.0)), 7.0);
        // One that comes late counts in its own second, if that is in the window.
        window.record(at(20.0), 0.0);
        window.record(at(19.0), 2.0);
        window.record(at(15.0), 99.0);
        assert_eq!(window.mean(at(20.0)), 3.0);
    }
}
