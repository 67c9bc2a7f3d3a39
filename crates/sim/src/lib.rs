//! Actors in virtual time.
//!
//! A [`Sim`] holds actors, the network between them, and a queue of future events. It takes the first event, runs its
//! actor, and carries out the actor's effects; the functions are `step`, `perform` and `send`, as in every host. Time
//! advances only from event to event. The order is total, (time, order of arrival), so a run repeats from its seed.
//!
//! It is generic over the actors and does not depend on the mesh.

mod ladder;
mod sim;
mod slab;
mod snapshot;

pub use ladder::Ladder;
pub use sim::{RunStatus, Sim};
pub use snapshot::Snapshot;

#[cfg(test)]
mod tests;
