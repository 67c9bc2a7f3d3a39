//! The live host: the same actors as real processes over TCP. The only crate that knows actix, tokio, sockets and the
//! wall clock.
//!
//! - A [`Host`] runs some actors in this process: an actix actor around each [`Cell`](meshsim_actor::Cell). Its verbs are
//!   those of every host: `take` (let one thing happen), `perform` (carry out the effects), `send` (ask the network for
//!   the message's fate).
//! - A cluster is a [`Hub`] and its members. The hub's process hosts the coordinator; the others [`join`] it, are told
//!   what they host and where the others are, align their clocks with it, begin at the same moment, and hand in what
//!   they found when the run is over.
//!
//! Generic over the actors: it knows no mesh. What is run comes in a [`Cast`].
//!
//! A message is written at once, with the moment at which it is due; its receiver's host waits for that moment. So what
//! the real network takes is part of the modelled latency, not on top of it, and no message arrives before it was sent,
//! however the clocks of the processes differ.

mod accept;
mod agenda;
mod alarm;
mod attention;
mod cast;
mod clock;
mod complaints;
mod control;
mod departures;
mod dial;
#[doc(hidden)]
pub mod golden;
mod host;
mod hosted;
mod hub;
mod leave;
mod link;
mod member;
mod news;
mod outbox;
mod seats;
mod stream;
mod text;
mod turn;
mod usage;
mod worker;

pub use cast::{BeginTape, Cast, Live, Seat, Tape, TellFindings, TellNews, TellRefused, Told};
pub use control::ProcessReport;
pub use departures::Departure;
pub use host::{Host, HostOptions};
pub use hub::{Handle, Hub, HubError, HubOptions, KeepTraces, Performance, Phase, ProcessState, Snapshot};
pub use leave::{Leave, Leaving};
pub use link::Credentials;
pub use member::{MemberError, MemberOptions, join, probe};
pub use news::{News, TakeNews};
pub use outbox::{OUTBOX_BYTES_MAX, Outbox};
pub use seats::Join;
pub use stream::{Tls, TlsError};
pub use worker::{Work, Worked};
