//! Deterministic actors, and the only way to run them.
//!
//! An [`Actor`] receives an [`Event`] and returns at once. It requests every action (send a message, arm a timer, write
//! a note into the trace) from its [`Cx`], which turns the request into an [`Effect`]: plain data that a host carries
//! out. Time and randomness come from the same `Cx`. So an actor cannot tell virtual time from a wall clock, nor one
//! process from three containers, and a run repeats from its seed.
//!
//! A host wraps each actor in a [`Cell`], brings it inputs with [`Cell::take`], and applies machine faults with
//! [`Cell::switch`]. Both call [`Cell::step`], and no other function runs an actor.
//!
//! This crate knows nothing of meshes, sockets, clocks or files.

mod actor;
mod cell;
mod counts;
mod disk;
mod dist;
mod id;
mod impairment;
mod machine;
mod pace;
mod record;
mod rng;
pub mod shared;
mod time;

pub use actor::{Actor, Effect, Effects, Event, Message, Note};
pub use cell::{Cell, Cx, Input, Timer};
pub use counts::Counts;
pub use disk::Reboot;
pub use dist::{Dist, DistError};
pub use id::{ActorId, Envelope, MessageId};
pub use impairment::{Impairment, ImpairmentKind, Side, Subject};
pub use machine::{Ledger, Switched, WAITING_BYTES_MAX, WAITING_MAX};
pub use record::{EntryRef, Fate, LossReason, MachineAction, Recorder};
pub use rng::{Rng, mix};
pub use time::{Span, Time};
