//! Snapshots of a run.

use std::collections::VecDeque;

use meshsim_actor::{Actor, ActorId, Cell, Envelope, Input, Ledger, Time};
use meshsim_fault::Network;
use serde::{Deserialize, Serialize};

use crate::ladder::Ladder;
use crate::sim::{Due, Powers};
use crate::slab::Slab;

/// A run at one point in time: the actors with their timers and random streams, the queue in its order, the messages in
/// flight, the network, the machines, the counters.
///
/// [`Sim::resume`](crate::Sim::resume) continues it, in this process or, through serde, in another. It holds no
/// recorder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot<A: Actor> {
    pub(crate) now: Time,
    pub(crate) cells: Vec<Cell<A>>,
    pub(crate) queue: Ladder<Due>,
    pub(crate) in_flight: Slab<Envelope<A::Msg>>,
    pub(crate) network: Network,
    pub(crate) machine_actions: Powers,
    pub(crate) begun: usize,
    pub(crate) ready: VecDeque<(ActorId, Input<A::Msg>)>,
    pub(crate) ledger: Ledger,
    pub(crate) seed: u64,
}
