//! Progress of the nodes, as the coordinator knows it: alive or not, and the steps that they have acknowledged.

use meshsim_actor::{Span, Time, Timer};
use serde::{Deserialize, Serialize};

use crate::model::NodeSpec;

/// State of a node with regard to leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Leave {
    /// It has not asked to leave.
    Stays,
    /// It has asked to leave: its instances are placed on other nodes.
    Leaves,
    /// It was informed that nothing is placed on it any more.
    Released,
    /// It stays, but other nodes refuse connections with it: its instances are placed on other nodes.
    Shunned,
}

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NodeProgress {
    pub(super) alive: bool,
    /// State of leaving; a node that leaves and is not alive has left.
    pub(super) leave: Leave,
    /// The last step that it acknowledged.
    pub(super) acked: u64,
    /// The last step that was sent to it.
    pub(super) sent: u64,
    /// Its acknowledgements count for steps after this one: it is not in the audience of steps decided before it joined
    /// or while it was dead.
    pub(super) since: u64,
    /// Identity of its disk; 0: unknown until its first message.
    pub(super) lineage: u32,
    pub(super) incarnation: u32,
    pub(super) heard: Time,
    /// Timer that resends the steps that are not acknowledged.
    pub(super) resend: Option<Timer>,
    /// Time at which that is due.
    pub(super) resend_due: Time,
    /// Number of consecutive resends.
    pub(super) resends: u32,
    /// The last report of this life that was taken in.
    pub(super) report: u64,
}

impl NodeProgress {
    /// A node before the run. One that joins later counts as dead: it is in no audience and is sent nothing until its
    /// first message arrives.
    pub(super) fn new(node: &NodeSpec) -> Self {
        NodeProgress {
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

    /// Wait before the next resend: doubling, capped, with up to a quarter of jitter on top (`unit` is uniform in [0,
    /// 1)).
    pub(super) fn backoff(&self, base: Span, cap: Span, unit: f64) -> Span {
        let doubled = base * (1_u64 << self.resends.min(20));
        doubled.min(cap).scaled(1.0 + unit / 4.0)
    }
}
