//! Records of a run on disk: every input of an actor, every effect, every fate that the network decided.
//!
//! [`Writer`] is a [`Recorder`](meshsim_actor::Recorder), which a host passes to `Cell::step`. [`Reader`] reads its
//! file. [`Deriver`] adds the data that follows from the order of records, [`filter`] selects records, [`export`]
//! converts a file for other programs, and [`replay`] checks whether the actors repeat it.
//!
//! A file stores each underivable fact once: a message's content is in the record of its sending, which its delivery
//! refers to; a timer's tick is in the record of its arming. Lamport clocks, incarnations and causes follow from the
//! order of the records, and [`Deriver`] derives them. Records are in compressed [`Chunk`]s; an [`Index`] describes
//! each, and a [`Context`] before a chunk holds the state at its beginning, so that a reader can begin there.
//! `FORMAT.md` beside this crate describes the format.

mod chunk;
mod context;
mod derive;
pub mod export;
pub mod filter;
pub mod format;
mod growing;
mod index;
mod input;
mod merge;
mod ranges;
mod read_error;
mod reader;
pub mod replay;
pub mod store;
mod writer;

pub use chunk::{CHUNK_BYTES, Chunk, with_right_sums};
pub use context::Context;
pub use derive::{Armed, Derived, Deriver, Sent};
pub use growing::Growing;
pub use index::Index;
pub use merge::merge;
pub use ranges::Ranges;
pub use read_error::{ReadError, ReadErrorKind};
pub use reader::{Entry, Reader, Record};
pub use replay::Replay;
pub use writer::{WriteError, Writer};

/// Header of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The seed of the run.
    pub seed: u64,
    /// Names of the actors, by id. There may be fewer names than actors.
    pub actors: Vec<String>,
    /// Which records were kept, in words; empty if all were.
    pub keep: String,
}

impl Header {
    /// Name of the actor, or its id if it has none.
    pub fn name(&self, actor: meshsim_actor::ActorId) -> std::borrow::Cow<'_, str> {
        self.actors.get(actor.index()).map_or_else(|| actor.to_string().into(), |name| name.as_str().into())
    }
}
