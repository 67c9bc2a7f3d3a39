//! The nodes, as the coordinator knows them: alive or not, and how far they are.

use meshsim_actor::{Span, Time, Timer};
use serde::{Deserialize, Serialize};

use crate::model::NodeSpec;

/// Whether a node leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Leave {
    /// It has not said so.
    Stays,
    /// It has: what it has is placed elsewhere.
    Leaves,
    /// It was told that nothing is placed on it any more.
    Released,
    /// It stays, and others refuse to talk with it: what it has is placed elsewhere.
    Shunned,
}

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) alive: bool,
    /// Whether it leaves; one that leaves and is not alive has left.
    pub(super) leave: Leave,
    /// The last step that it acknowledged.
    pub(super) acked: u64,
    /// The last step that was sent to it.
    pub(super) sent: u64,
    /// Its acknowledgements count for steps after this one: what was decided before it joined, or while it was dead,
    /// did not wait for it.
    pub(super) since: u64,
    /// Which disk it has; 0: not heard yet.
    pub(super) lineage: u32,
    pub(super) incarnation: u32,
    pub(super) heard: Time,
    /// Sends what is not acknowledged again.
    pub(super) resend: Option<Timer>,
    /// When that is planned.
    pub(super) resend_due: Time,
    /// How often in a row that happened.
    pub(super) resends: u32,
    /// The last report of this life that was taken in.
    pub(super) report: u64,
}

impl Member {
    /// A node before the run. One that joins later is as if dead: nobody waits for it, and it gets nothing until it is
    /// heard of.
    pub(super) fn new(node: &NodeSpec) -> Self {
        Member {
            alive: node.is_there_at_start(),
            leave: Leave::Stays,
            acked: 0,
            sent: 0,
            since: 0,
            lineage: 0,
            incarnation: 0,
            heard: Time::ZERO,
            resend: None,
            resend_due: Time::ZERO,
            resends: 0,
            report: 0,
        }
    }

    /// How long to wait before the next resend: doubling, capped, with up to a quarter of jitter on top (`unit` is
    /// uniform in [0, 1)).
    pub(super) fn backoff(&self, base: Span, cap: Span, unit: f64) -> Span {
        let doubled = base * (1_u64 << self.resends.min(20));
        doubled.min(cap).scaled(1.0 + unit / 4.0)
    }
}
