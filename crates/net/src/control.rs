//! Control messages between processes, beside the messages of their actors.

use std::fmt;

use meshsim_actor::{ActorId, Counts, Time};
use meshsim_fault::Fault;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::assignments::Join;
use crate::clock::ClockSample;
use crate::worker::Worked;

/// Id of a process: its index in the order of joining. The hub has 0.
pub(crate) type ProcessId = u32;
/// Id of the hub.
pub(crate) const HUB: ProcessId = 0;
/// Role of the hub.
pub(crate) const HUB_ROLE: &str = "coordinator";

/// Purpose of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// The dialler wants to host actors; sent to the hub.
    Join(Join),
    /// The dialler sends messages of the actors that it hosts, as announced by the hub, to the process with the boot id
    /// `to`: another process may be at the same address.
    Peer { process: ProcessId, boot_id: u64, to: u64 },
    /// The dialler asks whether the process is healthy.
    Probe,
}

/// Identity of a process that sends messages, and its actors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sender {
    pub(crate) process: ProcessId,
    /// Boot id of the process: a number drawn at its start.
    pub(crate) boot_id: u64,
    /// Its actors, with their incarnations.
    pub(crate) actors: Vec<Assigned>,
}

/// An actor in one of its incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assigned {
    pub(crate) actor: ActorId,
    pub(crate) incarnation: u32,
}

/// Answer of an acceptor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Joined(Joined),
    Peer,
    /// Status of the process, in one line for a person.
    Healthy(String),
}

/// Admission of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// Id of the run: a number drawn at its start. A coordinator that restarts begins another run.
    pub(crate) run: u64,
    pub(crate) process: ProcessId,
    pub(crate) actors: Vec<Assigned>,
    /// True if the process was admitted before and keeps its state.
    pub(crate) resumed: bool,
    /// True if work uses processor time.
    pub(crate) is_busy: bool,
    /// True if the run is traced.
    pub(crate) is_traced: bool,
    /// Length of the experiment in bytes; it follows in parts.
    pub(crate) payload_bytes: u64,
}

/// Messages on the connection between a member and the hub; [`Control::Ping`] and [`Control::Pong`] on every
/// connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Asks for a sign of life and for the count of the peer; carries the sender's count.
    Ping(u64),
    /// Answer to a ping: the count of its sender, and that of the answering process, which is the hub's if the hub
    /// answers.
    Pong { sent: u64, count: u64 },

    /// Hub to member: the next part of the experiment.
    Payload(Blob),
    /// Member to hub: my actors are ready to begin, or to continue; bound on my clock error in nanoseconds, and number
    /// of the manual faults that I have received.
    Ready { error_ns: u64, faults: u32 },
    /// Hub to member: addresses and actors of other processes.
    Peers(Vec<Peer>),
    /// Hub to member: start of the run in the hub's count, and its planned end.
    Begin { zero: u64, end: Time },
    /// Hub to member: an added fault.
    Fault(Box<Fault>),
    /// Hub to member: the run ends at this time; send your results.
    End { at: Time },
    /// Member to hub: the next part of the results of an actor.
    ActorResults { actor: ActorId, part: Blob, last: bool },
    /// Member to hub: the next part of the trace.
    Trace(Blob),
    /// Member to hub: all results are sent.
    Done(Box<ProcessReport>),
    /// Hub to member: you may leave.
    Leave,
    /// Member to hub: my actors have left while the run continues; I am sending my results.
    Left,
    /// Member to hub: a handshake of this process with me failed for its certificate or secret. `why` is for people.
    Refused { process: ProcessId, why: String },
    /// Member to hub: the new results of an actor, at this time of the run.
    News { actor: ActorId, at: Time, news: Blob },
    /// Hub to member: end of a fault at this time. The index counts the faults of the experiment first, then the manual
    /// ones.
    EndFault { fault: u32, at: Time },
}

/// Address of a process, and the actors that it hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) sender: Sender,
    pub(crate) address: String,
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

/// Bytes of one part of a long value.
pub(crate) const PART_BYTES: usize = 256 << 10;
