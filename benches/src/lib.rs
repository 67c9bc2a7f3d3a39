//! The workloads of the benchmarks, as actors of meshsim and as a bare loop around the event queue. The same work with
//! the peers is in `speed/peers`.
//!
//! Every workload is a `prepare` that builds it and brings it to its steady state, and a `run` that does a given amount
//! of work; only `run` is measured.

pub mod bare;
pub mod broadcast;
pub mod idle;
pub mod mm1;
pub mod phold;
pub mod ping_pong;

use meshsim_actor::{Actor, Recorder, Time};
use meshsim_fault::{Network, NetworkSpec};
use meshsim_run::Simulation;
use meshsim_sim::Sim;

/// A workload that can be measured.
pub trait Work {
    /// Does at least `amount` of work (events, messages or requests, depending on the workload), and returns its exact
    /// amount.
    fn run(&mut self, amount: u64) -> Done;
}

/// Work done by a [`Work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Units of work: the same for every contender.
    pub work: u64,
    /// Events that the contender needed.
    pub events: u64,
}

/// The seed of every workload.
pub const SEED: u64 = 42;

/// A network from parameters that are known to be valid.
pub fn network(spec: NetworkSpec) -> Network {
    Network::new(spec).unwrap_or_else(|error| panic!("{error}"))
}

/// A run of meshsim's actors; work is counted in messages delivered.
impl<A: Actor, R: Recorder<A::Msg, A::Tick>> Work for Sim<A, R> {
    fn run(&mut self, amount: u64) -> Done {
        let before = self.counts();
        while self.counts().delivered - before.delivered < amount {
            self.run_slice(Time::NEVER, amount);
        }
        let after = self.counts();
        Done { work: after.delivered - before.delivered, events: after.events - before.events }
    }
}

/// A run of a mesh; work is counted in messages delivered.
impl Work for Simulation {
    fn run(&mut self, amount: u64) -> Done {
        let before = self.counts();
        while self.counts().delivered - before.delivered < amount && self.step() {}
        let after = self.counts();
        Done { work: after.delivered - before.delivered, events: after.events - before.events }
    }
}
