//! What processes say to each other, beside carrying their actors' messages.

use std::fmt;

use meshsim_actor::{ActorId, Counts, Time};
use meshsim_fault::Fault;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::seats::Join;
use crate::worker::Worked;

/// Which process: its place in the order in which they joined. The hub's is 0.
pub(crate) type ProcessId = u32;
/// The hub's process.
pub(crate) const HUB: ProcessId = 0;
/// What it is among the processes.
pub(crate) const HUB_ROLE: &str = "coordinator";

/// What a dialler wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// To be given actors to host, by the hub.
    Join(Join),
    /// To bring messages of the actors that it hosts, as the hub has said it does, to the process of this life: at the
    /// same address may be another.
    Bring { process: ProcessId, life: u64, to: u64 },
    /// To know whether the process is well.
    Probe,
}

/// Who may bring messages, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sender {
    pub(crate) process: ProcessId,
    /// Which life of the process: a number drawn at its start.
    pub(crate) life: u64,
    /// What it hosts, with the incarnations.
    pub(crate) actors: Vec<Seated>,
}

/// An actor, and which of its lives is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seated {
    pub(crate) actor: ActorId,
    pub(crate) incarnation: u32,
}

/// What an acceptor answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Joined(Joined),
    Bring,
    /// How the process is, in one line for a person.
    Well(String),
}

/// A process is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// Which run this is: a number drawn at its start. A coordinator that was started again begins another.
    pub(crate) run: u64,
    pub(crate) process: ProcessId,
    pub(crate) actors: Vec<Seated>,
    /// It was in before, and goes on with what it has.
    pub(crate) resumed: bool,
    /// Work burns processor time.
    pub(crate) is_busy: bool,
    /// What happens is to be written down.
    pub(crate) is_traced: bool,
    /// How long the charter is, which follows in parts.
    pub(crate) charter_bytes: u64,
}

/// Said on the connection between a member and the hub; [`Control::Ping`] and [`Control::Pong`] on every one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Are you there, and what is your count? With the asker's.
    Ping(u64),
    /// I am. The asker's count, and the answerer's, which is the hub's if the hub answers.
    Pong { sent: u64, count: u64 },

    /// Hub to member: the next part of what is performed.
    Charter(Blob),
    /// Member to hub: my actors wait to begin, or go on; my clock is right within so many nanoseconds, and I have heard of
    /// so many faults by hand.
    Ready { error_ns: u64, faults: u32 },
    /// Hub to member: where others are.
    Peers(Vec<Peer>),
    /// Hub to member: the run begins at this moment of the hub's count, and ends at this time.
    Begin { zero: u64, end: Time },
    /// Hub to member: something more goes wrong.
    Fault(Box<Fault>),
    /// Hub to member: the run ends at this time; hand in what you have.
    End { at: Time },
    /// Member to hub: the next part of what an actor found.
    Findings { actor: ActorId, part: Blob, last: bool },
    /// Member to hub: the next part of what was written down.
    Trace(Blob),
    /// Member to hub: that was all.
    Done(Box<ProcessReport>),
    /// Hub to member: you may go.
    Leave,
    /// Member to hub: my actors have left, though the run goes on; I hand in what I have.
    Left,
    /// Member to hub: this process is not taken for who it is, in a handshake with me. For people: why.
    Refused { process: ProcessId, why: String },
    /// Member to hub: what an actor has found since it was last asked, at this time of the run.
    News { actor: ActorId, at: Time, news: Blob },
    /// Hub to member: a fault, by its place among those of the experiment and then those by hand, ends at this time.
    EndFault { fault: u32, at: Time },
}

/// Where a process is and what it hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) sender: Sender,
    pub(crate) address: String,
}

/// How a process was, when the run was over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// The names of the actors that it hosted.
    pub actors: Vec<String>,
    /// The machine's name, as the process sees it.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// Its clock agreed with the hub's within this whenever they were compared: when it joined, and every second. 0 for the
    /// hub's own.
    pub clock_error_ns: u64,
    /// Most memory that it had, in bytes; 0 where the machine does not say.
    pub memory_peak_bytes: u64,
    /// Processor time that it took, in nanoseconds; 0 where the machine does not say.
    pub processor_ns: u64,
    /// What it counted.
    pub counts: Counts,
    /// Pieces of work that were slept instead of burnt, because too many waited.
    pub slept_instead: u64,
    /// What real work came to, by actor of this process; nothing where work is a timer.
    pub worked: Vec<Worked>,
    /// It could not write down what happened.
    pub trace_error: Option<String>,
}

/// Bytes, written as such.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Visitor).map(Blob)
    }
}

/// Bytes of one part of something long.
pub(crate) const PART_BYTES: usize = 256 << 10;
