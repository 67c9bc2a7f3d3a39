//! Actors in virtual time.
//!
//! A [`Sim`] holds actors, the network between them, and a queue of what is to happen; it takes the first of it, runs
//! the actor it concerns, and does what the actor wants done: the verbs are `step`, `perform`, `send`, as in every
//! host. Time passes only from event to event. The order is total, (time, order of arrival), so a run repeats from its
//! seed.
//!
//! Generic over the actors: it knows no mesh.

mod ladder;
mod sim;
mod slab;
mod snapshot;

pub use ladder::Ladder;
pub use sim::{Run, Sim};
pub use snapshot::Snapshot;

#[cfg(test)]
mod tests;
