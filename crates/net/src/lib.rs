//! The live host: the same actors as real processes over TCP. The only crate that knows actix, tokio, sockets and the
//! wall clock.
//!
//! - A [`Host`] runs some actors in this process: an actix actor around each [`Cell`](meshsim_actor::Cell). Its
//!   functions are those of every host: `take` (process one input), `perform` (carry out the effects), `send` (ask the
//!   network for the message's fate).
//! - A cluster is a [`Hub`] and its members. The hub's process hosts the coordinator. The other processes [`join`] it,
//!   receive their actors and the addresses of the others, align their clocks with the hub's, begin at the same time,
//!   and send their results when the run has ended. The protocol between them is in [`cluster`]: two state machines,
//!   which know no task, socket or clock.
//!
//! It is generic over the actors and does not depend on the mesh. The specification of a run is a [`RunSpec`].
//!
//! The sender writes a message immediately, with its due time; the receiving host delivers it at that time. So the
//! delay of the real network is part of the modelled latency and not added to it, and no message arrives before it was
//! sent, however the clocks of the processes differ.

mod accept;
mod agenda;
mod alarm;
mod cell_actor;
mod clock;
pub mod cluster;
mod dial;
mod disks;
#[doc(hidden)]
pub mod golden;
mod handle;
mod host;
mod hub;
mod leave;
mod member;
mod news;
mod peer_log;
mod run_spec;
mod shared;
mod text;
mod transport;
mod turn;
mod usage;
mod worker;

pub use clock::ClockSample;
pub use cluster::{ClusterStatus, Departure, Join, MemberError, Phase, ProcessReport, ProcessState, RunResult};
pub use disks::{DiskCodec, remove_journal};
pub use handle::Handle;
pub use host::{Host, HostOptions};
pub use hub::{Hub, HubError, HubJournal, HubOptions, KeepTraces};
pub use leave::{Leave, Leaving};
pub use member::{MemberOptions, join, probe};
pub use news::{News, TakeNews};
pub use run_spec::{ActorSpec, EncodeResults, Live, OpenSink, RunSpec, TellNews, TellRefused, Told, TraceSink};
pub use transport::{Credentials, OUTBOX_BYTES_MAX, Outbox, Tls, TlsError};
pub use worker::{Work, Worked};

/// Runs a future to its end in this thread, in the actix system that a [`Hub`] and [`join`] need around them.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix::System::new().block_on(future)
}
