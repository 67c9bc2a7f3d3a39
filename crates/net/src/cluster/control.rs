//! Control messages between processes, beside the messages of their actors.

use std::fmt;

use meshsim_actor::{ActorId, Counts, Time};
use meshsim_fault::Fault;
use meshsim_wire::Refusal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::assignments::Join;
use crate::clock::ClockSample;
use crate::worker::Worked;

/// Bytes of one part of a long value.
pub const PART_BYTES: usize = 256 << 10;

/// Id of a process: its index in the order of joining. The hub has 0.
pub type ProcessId = u32;
/// Id of the hub.
pub const HUB: ProcessId = 0;
/// Role of the hub.
pub(crate) const HUB_ROLE: &str = "coordinator";

/// Purpose of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Purpose {
    /// The dialler wants to host actors; sent to the hub.
    Join(Join),
    /// The dialler sends messages of the actors that it hosts, as announced by the hub, to the process with the boot id
    /// `to`: another process may be at the same address.
    Peer {
        /// Id of the dialler.
        process: ProcessId,
        /// Boot id of the dialler.
        boot_id: u64,
        /// Boot id of the process that it dials.
        to: u64,
    },
    /// The dialler asks whether the process is healthy.
    Probe,
}

/// Identity of a process that sends messages, and its actors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// Id of the process.
    pub process: ProcessId,
    /// Boot id of the process: a number drawn at its start.
    pub boot_id: u64,
    /// Its actors, with their incarnations.
    pub actors: Vec<Assigned>,
}

/// An actor in one of its incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The actor.
    pub actor: ActorId,
    /// Its incarnation.
    pub incarnation: u32,
}

/// Answer of an acceptor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The dialler is a member from now on.
    Joined(Joined),
    /// The dialler may send messages of its actors.
    Peer,
    /// Status of the process, in one line for a person.
    Healthy(String),
}

/// Admission of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// Id of the run: a number drawn at its start. A coordinator that restarts begins another run.
    pub run: u64,
    /// Id of the process in this run.
    pub process: ProcessId,
    /// Its actors; none if the hub has their results, and the process may end.
    pub actors: Vec<Assigned>,
    /// True if the process was admitted before and keeps its state.
    pub resumed: bool,
    /// True if work uses processor time.
    pub is_busy: bool,
    /// True if the run is traced.
    pub is_traced: bool,
    /// Length of the experiment in bytes; it follows in parts.
    pub payload_bytes: u64,
}

/// Messages on the connection between a member and the hub; [`Control::Ping`] and [`Control::Pong`] on every
/// connection.
///
/// To add one: write a variant at the end, as earlier ones keep their numbers; a sample of it in `golden.rs`; and what
/// its receiver does, in `HubMachine::said` or `MemberMachine::obey`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Control {
    /// Asks for a sign of life and for the count of the peer; carries the sender's count.
    Ping(u64),
    /// Answer to a ping: the count of its sender, and that of the answering process, which is the hub's if the hub
    /// answers.
    Pong {
        /// The count that the ping carried.
        sent: u64,
        /// Count of the answering process.
        count: u64,
    },

    /// Hub to member: the next part of the experiment.
    Payload(Blob),
    /// Member to hub: my actors are ready to begin, or to continue; bound on my clock error in nanoseconds, and number
    /// of the manual faults that I have received.
    Ready {
        /// Bound on the clock error.
        error_ns: u64,
        /// Number of manual faults received.
        faults: u32,
    },
    /// Hub to member: addresses and actors of other processes.
    Peers(Vec<Peer>),
    /// Hub to member: start of the run in the hub's count, and its planned end.
    Begin {
        /// Start of the run, in the hub's count.
        zero: u64,
        /// Planned end.
        end: Time,
    },
    /// Hub to member: an added fault.
    Fault(Box<Fault>),
    /// Hub to member: the run ends at this time; send your results.
    End {
        /// End of the run.
        at: Time,
    },
    /// Member to hub: the next part of the results of an actor.
    ActorResults {
        /// The actor.
        actor: ActorId,
        /// The next part.
        part: Blob,
        /// True if it is the last part of this actor.
        last: bool,
    },
    /// Member to hub: the next part of the trace.
    Trace(Blob),
    /// Member to hub: all results are sent.
    Done(Box<ProcessReport>),
    /// Hub to member: you may leave.
    Leave,
    /// Member to hub: my actors have left while the run continues; I am sending my results.
    Left,
    /// Member to hub: a handshake of this process with me failed for its certificate or secret. `why` is for people.
    Refused {
        /// The process that is refused: the other one, or this one.
        process: ProcessId,
        /// The reason, for people.
        why: String,
    },
    /// Member to hub: the new results of an actor, at this time of the run.
    News {
        /// The actor.
        actor: ActorId,
        /// Time of the results.
        at: Time,
        /// The results.
        news: Blob,
    },
    /// Hub to member: end of a fault at this time. The index counts the faults of the experiment first, then the manual
    /// ones.
    EndFault {
        /// Index of the fault.
        fault: u32,
        /// Time from which it no longer holds.
        at: Time,
    },
}

/// Address of a process, and the actors that it hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The process and its actors.
    pub sender: Sender,
    /// Address at which other processes reach it; empty for the hub.
    pub address: String,
}

/// Report of a process at the end of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// Names of the actors that it hosted.
    pub actors: Vec<String>,
    /// Host name of its machine, as the process sees it.
    pub hostname: String,
    /// Its process id there.
    pub pid: u32,
    /// Largest clock error against the hub, in nanoseconds, by a bound that is measured on joining and every second; 0
    /// for the hub. The clock is corrected meanwhile.
    pub clock_error_ns: u64,
    /// The same over the run: the largest of each of at most 64 equal parts; empty for the hub, and if the run was
    /// shorter than a second.
    pub clock: Vec<ClockSample>,
    /// Peak memory in bytes; 0 if the operating system does not report it.
    pub memory_peak_bytes: u64,
    /// Processor time in nanoseconds; 0 if the operating system does not report it.
    pub processor_ns: u64,
    /// Its counters.
    pub counts: Counts,
    /// Work items that slept instead of using processor time, because the work queue was full.
    pub slept_instead: u64,
    /// Real work, by actor of this process; empty if work is a timer.
    pub worked: Vec<Worked>,
    /// Reason why the process could not write its trace.
    pub trace_error: Option<String>,
}

/// Bytes, serialised as a block.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

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

/// The results of an actor, in parts as a member sends them.
pub fn parts(actor: ActorId, bytes: &[u8]) -> impl Iterator<Item = Control> {
    // An actor without results still has a last part.
    let count = bytes.len().div_ceil(PART_BYTES).max(1);
    let part = move |index: usize| {
        let start = index * PART_BYTES;
        let part = bytes[start..bytes.len().min(start + PART_BYTES)].to_vec();
        Control::ActorResults { actor, part: Blob(part), last: index + 1 == count }
    };
    (0..count).map(part)
}

/// Refusal for this reason; `retryable`: another attempt may succeed.
pub(crate) fn refusal(why: impl Into<String>, retryable: bool) -> Refusal {
    Refusal { why: why.into(), retryable }
}
