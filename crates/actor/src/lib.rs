//! What an actor is, and the only way to run one.
//!
//! An [`Actor`] reacts to an [`Event`] and returns at once. Whatever it wants from the world (a message sent, a timer,
//! a note in the trace) it asks of its [`Cx`], which turns the wish into an [`Effect`]: plain data that a host carries
//! out. Time and randomness come from the same `Cx`. So an actor cannot tell virtual time from a wall clock, nor one
//! process from three containers, and a run repeats from its seed.
//!
//! A host wraps each actor into a [`Cell`], brings it inputs by [`Cell::take`], and does to its machine what faults ask
//! by [`Cell::switch`]. [`Cell::step`] is below both, and nothing else runs an actor.
//!
//! This crate knows nothing of meshes, sockets, clocks or files.

mod actor;
mod cell;
mod counts;
mod dist;
mod id;
mod machine;
mod pace;
mod record;
mod rng;
pub mod shared;
mod time;

pub use actor::{Actor, Effect, Effects, Event, Message, Note};
pub use cell::{Cell, Cx, Input, Timer};
pub use counts::Counts;
pub use dist::{Dist, DistError};
pub use id::{ActorId, Envelope, MessageId};
pub use machine::{Ledger, Switched, WAITING_BYTES_MAX, WAITING_MAX};
pub use record::{Cause, Fate, Power, Recorder, What};
pub use rng::{Rng, mix};
pub use time::{Span, Time};
