//! Adaptive LIFO: first in, first out while an instance keeps up; once requests have waited without a break for a time,
//! last in, first out. The newest request has the best chance to be answered before its caller gives up.
//!
//! Ben Maurer, *Fail at Scale*, ACM Queue 13(8), 2015, <https://queue.acm.org/detail.cfm?id=2839461>: there a queue
//! that was not empty in the last 100 ms counts as overload.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

/// State of one instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Time at which the queue was last empty, if it is not empty.
    since: Time,
}

impl State {
    /// A request was put into the queue, which has `waiting` now.
    pub(super) fn waits(&mut self, waiting: usize, now: Time) {
        if waiting <= 1 {
            self.since = now;
        }
    }

    /// True if the newest of the waiting requests is next.
    pub(super) fn is_newest_first(&self, after: Span, now: Time) -> bool {
        now.since(self.since) >= after
    }
}
