//! State of the step protocol: what decides how the delivery of steps goes on, and nothing else.
//!
//! Two actors with the same state here react to the same steps and acknowledgements with the same ones. Times, counters,
//! measurements and generators are left out, so that a search over all runs recognises a state that it has seen.

use crate::message::Share;
use crate::model::ServiceId;

/// The protocol at a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeProtocol {
    /// The last step applied.
    pub applied: u64,
    /// The digest after it.
    pub digest: u64,
    /// The highest term seen.
    pub epoch: u64,
    /// Identity of the disk; 0 before the first start.
    pub lineage: u32,
    /// Number and term of each step that waits for an earlier one, by rising number.
    pub early: Vec<(u64, u64)>,
    /// The gap up to this step was asked for; 0: none.
    pub asked_to: u64,
    /// Generation and instances of each service that the node was told to host.
    pub services: Vec<(ServiceId, u64, Share)>,
}

/// The protocol at the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CoordinatorProtocol {
    /// Its term.
    pub epoch: u64,
    /// Digest of each step, from step 1 on.
    pub digests: Vec<u64>,
    /// The last step that was broadcast.
    pub broadcast: u64,
    /// Number of nodes that have not acknowledged each step.
    pub waiting: Vec<u32>,
    /// The nodes.
    pub members: Vec<MemberProtocol>,
    /// Steps of each operation that has begun, and whether it goes on.
    pub operations: Vec<(u32, bool)>,
}

/// State of the step protocol for one node, as the coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberProtocol {
    /// True unless the node is declared dead.
    pub alive: bool,
    /// The last step that the node acknowledged.
    pub acked: u64,
    /// The last step that was sent to the node.
    pub sent: u64,
    /// Steps up to this one do not wait for the node.
    pub since: u64,
    /// Identity of the node's disk; 0: unknown.
    pub lineage: u32,
    /// The node's incarnation.
    pub incarnation: u32,
    /// A resend is planned.
    pub resends: bool,
}
