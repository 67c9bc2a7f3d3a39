//! Records of a run on disk: every event taken in, every effect given out, every fate decided by the network.
//!
//! [`Writer`] is a [`Recorder`](meshsim_actor::Recorder): a host hands it to `Cell::step`. [`Reader`] reads its file
//! back. [`Deriver`] says what each record means in its place, [`filter`] chooses some of them, [`export`] turns a file
//! into what other programs open, and [`replay`] asks whether the actors do it again.
//!
//! A file holds what cannot be worked out, once: a message's content stands with its sending, and its delivery names
//! it; a timer's tick stands with its arming. Lamport clocks, incarnations and causes follow from the order of the
//! records, so [`Deriver`] derives them. Records stand in compressed [`Chunk`]s; an [`Index`] says what each holds, and a
//! [`Context`] in front of a chunk what was open when it began, so that a reader can begin there. `FORMAT.md` beside this
//! crate describes the format.

mod chunk;
mod context;
mod derive;
pub mod export;
pub mod filter;
pub mod format;
mod index;
mod merge;
mod ranges;
mod reader;
pub mod replay;
mod writer;

pub use chunk::{CHUNK_BYTES, Chunk, with_right_sums};
pub use context::Context;
pub use derive::{Armed, Derived, Deriver, Sent};
pub use index::Index;
pub use merge::merge;
pub use ranges::Ranges;
pub use reader::{Entry, ReadError, Reader, Record, Trouble};
pub use replay::Replay;
pub use writer::{WriteError, Writer};

/// What stands at the beginning of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The seed of the run.
    pub seed: u64,
    /// The names of the actors, by their numbers. May be shorter than there are actors.
    pub actors: Vec<String>,
    /// Which records were kept, in words; empty if all were.
    pub keep: String,
}

impl Header {
    /// The actor's name, or its number if it has none.
    pub fn name(&self, actor: meshsim_actor::ActorId) -> std::borrow::Cow<'_, str> {
        self.actors.get(actor.index()).map_or_else(|| actor.to_string().into(), |name| name.as_str().into())
    }
}
