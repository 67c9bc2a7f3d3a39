//! What a network and a machine do to a run.
//!
//! A [`Network`] decides the [`Fate`] of each message: when it arrives, whether at all, whether twice. It is built from
//! a [`NetworkSpec`]: plain data, so a run can be written down and repeated. Both hosts ask it, one before it schedules,
//! the other before it writes to a socket; no actor knows that it exists.
//!
//! A [`Fault`] is something that holds for a while: [`Kind`] says what. Each kind that concerns messages amends one
//! [`Verdict`] in turn, so faults combine: delays add up, one drop is enough, a held message is still doubled. A kind
//! that concerns machines says what is done to them at its two ends ([`Network::powers`]).
//!
//! All randomness about a message comes from the stream (seed, sender and receiver, sender's count): what becomes of it
//! does not depend on any other message, and a fault that is switched off draws nothing. So the processes of a live run
//! each hold a network of their own and need not agree on anything: see [`Network`].
//!
//! To add one: write `src/x.rs` with a plain-data struct that implements [`Disturbance`], and name it in the two lists
//! below.

use meshsim_actor::{ActorId, Fate, Power, Span, Time};
use serde::{Deserialize, Serialize};

mod actors;
mod network;
mod powers;
mod verdict;

mod bandwidth;
mod crash;
mod drop;
mod duplicate;
mod latency;
mod loss;
mod partition;
mod pause;
mod reorder;
mod slow;
mod wipe;

pub use actors::{ActorSet, Actors, Link};
pub use bandwidth::Bandwidth;
pub use crash::Crash;
pub use drop::Drop;
pub use duplicate::Duplicate;
pub use latency::Latency;
pub use loss::{Loss, RETRIES_MAX, RETRY_AFTER_MAX, RETRY_AFTER_MIN};
pub use network::{FAULTS_MAX, Network, NetworkError, NetworkSpec};
pub use partition::{Cut, Partition};
pub use pause::Pause;
pub use reorder::Reorder;
pub use slow::Slow;
pub use verdict::{Passing, Verdict};
pub use wipe::Wipe;

/// Something that holds from [`at`](Self::at) until [`until`](Self::until), and is always taken back then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it begins.
    pub at: Time,
    /// When it is over; [`Time::NEVER`] for a fault that holds to the end of the run.
    pub until: Time,
    /// What it is.
    pub kind: Kind,
}

impl Fault {
    /// A fault of this kind that holds in `at..until`.
    pub fn new(at: Time, until: Time, kind: impl Into<Kind>) -> Self {
        Fault { at, until, kind: kind.into() }
    }

    /// Its kind in one word.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }
}

/// What a kind of fault does. One that says nothing does nothing.
pub trait Disturbance {
    /// Amends what is to become of a message that is sent while the fault holds. `until` is when the fault is over.
    fn amend(&mut self, until: Time, message: &mut Passing, verdict: &mut Verdict) {
        let _ = (until, message, verdict);
    }

    /// What is done to which machines when the fault begins and ends.
    fn outage(&self) -> Option<Outage<'_>> {
        None
    }

    /// Says what is wrong with the parameters, if something is. A fault that fails this may be without effect, but it
    /// never panics.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What a fault does to machines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage<'a> {
    /// To which.
    pub actors: &'a ActorSet,
    /// When it begins.
    pub begin: Power,
    /// When it is over.
    pub end: Power,
}

macro_rules! register {
    ($($variant:ident: $name:literal, $doc:literal;)*) => {
        /// What a fault is.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Kind {
            $(#[doc = $doc] $variant($variant),)*
        }

        $(impl From<$variant> for Kind {
            fn from(it: $variant) -> Self {
                Kind::$variant(it)
            }
        })*

        impl Kind {
            /// The names of all kinds.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The kind in one word.
            pub fn name(&self) -> &'static str {
                match self { $(Kind::$variant(_) => $name,)* }
            }
        }

        impl Disturbance for Kind {
            fn amend(&mut self, until: Time, message: &mut Passing, verdict: &mut Verdict) {
                match self { $(Kind::$variant(it) => it.amend(until, message, verdict),)* }
            }
            fn outage(&self) -> Option<Outage<'_>> {
                match self { $(Kind::$variant(it) => it.outage(),)* }
            }
            fn validate(&self) -> Result<(), String> {
                match self { $(Kind::$variant(it) => it.validate(),)* }
            }
        }
    };
}

register! {
    Bandwidth: "bandwidth", "Links carry only so many bytes a second.";
    Crash: "crash", "Machines go down; their disks are kept.";
    Drop: "drop", "Some messages are lost for good.";
    Duplicate: "duplicate", "Some messages arrive twice.";
    Latency: "latency", "Messages take longer.";
    Loss: "loss", "Links lose packets; the transport sends them again, later.";
    Partition: "partition", "Some cannot reach others.";
    Pause: "pause", "Machines stand still; what arrives waits.";
    Reorder: "reorder", "Some messages are overtaken by later ones.";
    Slow: "slow", "Machines work at a multiple of their speed.";
    Wipe: "wipe", "Machines go down, and their disks are lost.";
}

#[cfg(test)]
mod tests;
