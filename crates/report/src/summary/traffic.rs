//! Totals of a run's messages.

use meshsim_actor::Counts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Totals of a run, as counted by the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Traffic {
    /// Starts, deliveries and timers: what actors took in.
    pub events: u64,
    /// Messages that actors sent.
    pub sent: u64,
    /// Copies that the network made.
    pub duplicated: u64,
    /// Messages that actors took in.
    pub delivered: u64,
    /// Further attempts of the transport for messages whose earlier attempts were lost on a link with `loss`.
    #[serde(default)]
    pub resent: u64,
    /// Lost on a link with `loss`: the transport gave up.
    pub lost_loss: u64,
    /// Lost for good on a link with `drop`.
    #[serde(default)]
    pub lost_drop: u64,
    /// Lost at a partition.
    pub lost_partition: u64,
    /// Lost because the receiver was down.
    pub lost_down: u64,
    /// Lost because a queue was full.
    pub lost_full: u64,
    /// Lost because no actor has the receiver's id.
    #[serde(alias = "lost_nobody")]
    pub lost_no_such_actor: u64,
}

impl From<Counts> for Traffic {
    fn from(counts: Counts) -> Self {
        Traffic {
            events: counts.events,
            sent: counts.sent,
            duplicated: counts.duplicated,
            delivered: counts.delivered,
            resent: counts.resent,
            lost_loss: counts.lost_loss,
            lost_drop: counts.lost_drop,
            lost_partition: counts.lost_partition,
            lost_down: counts.lost_down,
            lost_full: counts.lost_full,
            lost_no_such_actor: counts.lost_no_such_actor,
        }
    }
}

impl Traffic {
    /// Messages that had neither arrived nor been lost when the run ended.
    pub fn in_flight(&self) -> u64 {
        let chance = self.lost_loss.saturating_add(self.lost_drop);
        let lost = [chance, self.lost_partition, self.lost_down, self.lost_full, self.lost_no_such_actor];
        let ended = lost.into_iter().fold(self.delivered, u64::saturating_add);
        self.sent.saturating_add(self.duplicated).saturating_sub(ended)
    }
}
