//! How much happened.

use meshsim_actor::Cause;
use serde::{Deserialize, Serialize};

/// How much happened in a run. `sent + duplicated = delivered + all lost + held + in flight` at any moment
/// ([`Sim::in_flight`](crate::Sim::in_flight)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Starts, deliveries and timers: what actors took in.
    pub events: u64,
    /// Messages that actors sent.
    pub sent: u64,
    /// Copies that the network made.
    pub duplicated: u64,
    /// Messages that actors took in.
    pub delivered: u64,
    /// Messages that are kept back now.
    pub held: u64,
    /// Lost by chance.
    pub lost_loss: u64,
    /// Lost at a partition.
    pub lost_partition: u64,
    /// Lost because the receiver was down.
    pub lost_down: u64,
    /// Lost because a queue was full.
    pub lost_full: u64,
    /// Lost because nobody has the receiver's number.
    pub lost_nobody: u64,
    /// Timers that fired.
    pub fired: u64,
    /// Timers that were found disarmed, or left from an earlier life, when their time came near.
    pub dropped: u64,
}

impl Counts {
    /// All messages that were lost.
    pub fn lost(&self) -> u64 {
        self.lost_loss + self.lost_partition + self.lost_down + self.lost_full + self.lost_nobody
    }

    pub(crate) fn lose(&mut self, cause: Cause) {
        let count = match cause {
            Cause::Loss => &mut self.lost_loss,
            Cause::Partition => &mut self.lost_partition,
            Cause::Down => &mut self.lost_down,
            Cause::Full => &mut self.lost_full,
            Cause::Nobody => &mut self.lost_nobody,
        };
        *count += 1;
    }
}
