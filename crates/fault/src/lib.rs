//! Faults, and the network model that decides the fate of each message.
//!
//! A [`Network`] decides the [`Fate`] of each message: its time of arrival, loss or duplication. It is built from a
//! [`NetworkSpec`], which is plain data, so a run can be saved and repeated. Both hosts ask it: the simulator before it
//! schedules a message, the live host before it writes to a socket. No actor knows that it exists.
//!
//! A [`Fault`] holds for a period and has a [`FaultKind`]. Each kind that concerns messages amends one [`PendingFate`]
//! in turn, so faults combine: delays add up, one drop is enough, a held message is still duplicated. A kind that
//! concerns machines names the actions on them at its start and at its end ([`Network::machine_actions`]).
//!
//! All randomness about a message comes from the stream (seed, sender and receiver, sender's count). So its fate does
//! not depend on other messages, and a fault that is switched off draws nothing. The processes of a live run each hold
//! a network of their own and need not agree on anything: see [`Network`].
//!
//! To add one: write `src/x.rs` with a plain-data struct that implements [`Disturbance`], and name it in the two lists
//! below.

use meshsim_actor::{ActorId, Fate, MachineAction, Span, Time};
use serde::{Deserialize, Serialize};

mod actors;
mod machine_actions;
mod network;
mod verdict;

mod bandwidth;
mod crash;
mod deliver;
mod disk;
mod drop;
mod duplicate;
mod latency;
mod loss;
mod partition;
mod pause;
mod reorder;
mod service;
mod slow;
mod wipe;

pub use actors::{ActorSelector, ActorSet, Link};
pub use bandwidth::Bandwidth;
pub use crash::Crash;
pub use deliver::Deliver;
pub use disk::Disk;
pub use drop::Drop;
pub use duplicate::Duplicate;
pub use latency::Latency;
pub use loss::{Loss, RETRIES_MAX, RETRY_AFTER_MAX, RETRY_AFTER_MIN};
pub use network::{FAULTS_MAX, Network, NetworkError, NetworkSpec};
pub use partition::{Cut, Partition};
pub use pause::Pause;
pub use reorder::Reorder;
pub use service::Service;
pub use slow::Slow;
pub use verdict::{InTransit, PendingFate};
pub use wipe::Wipe;

/// A disturbance that holds from [`at`](Self::at) to [`until`](Self::until), and is always reverted then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Start.
    pub at: Time,
    /// End; [`Time::NEVER`] for a fault that holds to the end of the run.
    pub until: Time,
    /// Kind, with its parameters.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault of this kind that holds in `at..until`.
    pub fn new(at: Time, until: Time, kind: impl Into<FaultKind>) -> Self {
        Fault { at, until, kind: kind.into() }
    }

    /// Name of its kind.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }
}

/// The effect of a kind of fault. The defaults have no effect.
pub trait Disturbance {
    /// Amends the fate of a message that is sent while the fault holds. `until` is the end of the fault.
    fn amend(&mut self, until: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        let _ = (until, message, verdict);
    }

    /// Actions on machines at the start and the end of the fault.
    fn outage(&self) -> Option<Outage<'_>> {
        None
    }

    /// Checks the parameters and describes the problem, if any. A fault that fails this check may have no effect, but
    /// never panics.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The actions of a fault on machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Outage<'a> {
    /// The machines.
    pub actors: &'a ActorSet,
    /// Action at the start.
    pub begin: MachineAction,
    /// Action at the end.
    pub end: MachineAction,
}

macro_rules! register {
    ($($variant:ident: $name:literal, $doc:literal;)*) => {
        /// A kind of fault, with its parameters.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum FaultKind {
            $(#[doc = $doc] $variant($variant),)*
        }

        $(impl From<$variant> for FaultKind {
            fn from(it: $variant) -> Self {
                FaultKind::$variant(it)
            }
        })*

        impl FaultKind {
            /// Names of all kinds.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Name of the kind.
            pub fn name(&self) -> &'static str {
                match self { $(FaultKind::$variant(_) => $name,)* }
            }
        }

        impl Disturbance for FaultKind {
            fn amend(&mut self, until: Time, message: &mut InTransit, verdict: &mut PendingFate) {
                match self { $(FaultKind::$variant(it) => it.amend(until, message, verdict),)* }
            }
            fn outage(&self) -> Option<Outage<'_>> {
                match self { $(FaultKind::$variant(it) => it.outage(),)* }
            }
            fn validate(&self) -> Result<(), String> {
                match self { $(FaultKind::$variant(it) => it.validate(),)* }
            }
        }
    };
}

register! {
    Bandwidth: "bandwidth", "Links carry only so many bytes a second.";
    Crash: "crash", "Machines go down; their disks are kept.";
    Deliver: "deliver", "Messages arrive that other faults would lose.";
    Disk: "disk", "Disks take time; a crash loses what is not synced.";
    Drop: "drop", "Some messages are lost for good.";
    Duplicate: "duplicate", "Some messages arrive twice.";
    Latency: "latency", "Messages take longer.";
    Loss: "loss", "Links lose packets; the transport sends them again, later.";
    Partition: "partition", "Some cannot reach others.";
    Pause: "pause", "Machines stand still; what arrives waits.";
    Reorder: "reorder", "Some messages are overtaken by later ones.";
    Service: "service", "Services fail, are late, hang, refuse or are slow.";
    Slow: "slow", "Machines work at a multiple of their speed.";
    Wipe: "wipe", "Machines go down, and their disks are lost.";
}

#[cfg(test)]
mod tests;
