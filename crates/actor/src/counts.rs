//! Counters of a host.

use serde::{Deserialize, Serialize};

use crate::LossReason;

/// Counters of a run, or of one process of it. `sent + duplicated = delivered + all lost + held + in flight` at any
/// moment, summed over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Inputs that actors processed: starts, deliveries and timers.
    pub events: u64,
    /// Messages that actors sent.
    pub sent: u64,
    /// Copies that the network made.
    pub duplicated: u64,
    /// Messages that actors received.
    pub delivered: u64,
    /// Messages that the network holds at present.
    pub held: u64,
    /// Attempts of the transport after the first, for messages whose earlier attempts were lost.
    pub resent: u64,
    /// Messages lost because all attempts of the transport were lost.
    pub lost_loss: u64,
    /// Messages dropped for good, by chance.
    pub lost_drop: u64,
    /// Messages lost at a partition.
    pub lost_partition: u64,
    /// Messages lost because the receiver was down.
    pub lost_down: u64,
    /// Messages lost because a queue was full.
    pub lost_full: u64,
    /// Messages lost because no actor has the receiver's id.
    pub lost_no_such_actor: u64,
    /// Timers that fired.
    pub fired: u64,
    /// Timers found disarmed, or left from an earlier incarnation, when their time came near.
    pub dropped: u64,
}

impl Counts {
    /// Number of all lost messages.
    pub fn lost(&self) -> u64 {
        self.lost_loss
            + self.lost_drop
            + self.lost_partition
            + self.lost_down
            + self.lost_full
            + self.lost_no_such_actor
    }

    /// Counts a lost message.
    pub fn lose(&mut self, cause: LossReason) {
        let count = match cause {
            LossReason::Loss => &mut self.lost_loss,
            LossReason::Partition => &mut self.lost_partition,
            LossReason::Down => &mut self.lost_down,
            LossReason::Full => &mut self.lost_full,
            LossReason::Drop => &mut self.lost_drop,
            LossReason::NoSuchActor => &mut self.lost_no_such_actor,
        };
        *count += 1;
    }

    /// Adds the counters of another process.
    pub fn merge(&mut self, other: &Counts) {
        let Counts {
            events,
            sent,
            duplicated,
            delivered,
            held,
            resent,
            lost_loss,
            lost_drop,
            lost_partition,
            lost_down,
            lost_full,
            lost_no_such_actor,
            fired,
            dropped,
        } = other;
        self.events = self.events.saturating_add(*events);
        self.sent = self.sent.saturating_add(*sent);
        self.duplicated = self.duplicated.saturating_add(*duplicated);
        self.delivered = self.delivered.saturating_add(*delivered);
        self.held = self.held.saturating_add(*held);
        self.resent = self.resent.saturating_add(*resent);
        self.lost_drop = self.lost_drop.saturating_add(*lost_drop);
        self.lost_loss = self.lost_loss.saturating_add(*lost_loss);
        self.lost_partition = self.lost_partition.saturating_add(*lost_partition);
        self.lost_down = self.lost_down.saturating_add(*lost_down);
        self.lost_full = self.lost_full.saturating_add(*lost_full);
        self.lost_no_such_actor = self.lost_no_such_actor.saturating_add(*lost_no_such_actor);
        self.fired = self.fired.saturating_add(*fired);
        self.dropped = self.dropped.saturating_add(*dropped);
    }
}
