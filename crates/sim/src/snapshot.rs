//! A run at one moment.

use std::collections::VecDeque;

use meshsim_actor::{Actor, ActorId, Cell, Envelope, Input, Ledger, Time};
use meshsim_fault::Network;
use serde::{Deserialize, Serialize};

use crate::ladder::Ladder;
use crate::sim::{Due, Powers};
use crate::slab::Slab;

/// A run at one moment: the actors with their timers and generators, what is to happen and in which order, the messages
/// under way, the network, the machines, the counts.
///
/// [`Sim::resume`](crate::Sim::resume) goes on from it, in this process or, by serde, in another. It holds no recorder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot<A: Actor> {
    pub(crate) now: Time,
    pub(crate) cells: Vec<Cell<A>>,
    pub(crate) queue: Ladder<Due>,
    pub(crate) travelling: Slab<Envelope<A::Msg>>,
    pub(crate) network: Network,
    pub(crate) powers: Powers,
    pub(crate) begun: usize,
    pub(crate) ready: VecDeque<(ActorId, Input<A::Msg>)>,
    pub(crate) ledger: Ledger,
    pub(crate) seed: u64,
}
