//! Which request each record of a trace belongs to.
//!
//! [`Owners`] reads records one by one, in a run or from its trace. What it says follows from the messages, which carry
//! the name of their request, and from what actors [note](meshsim_mesh::mark). The same records give the same answers,
//! in one reading or in several that are [continued](Owners::from_bytes).

//!
//! - [`owners`]: the rules.
//! - `open`: what is open, by actor.
//! - `stored`: the same as bytes, in the contexts of a trace.

mod open;
pub mod owners;
mod stored;

use meshsim_actor::{Fate, MessageId, Time, Timer};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::{EndpointId, ServiceId};
use meshsim_trace::{Entry, Record};
use serde::{Deserialize, Serialize};

pub use owners::Owners;

/// A request, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The request that entered the mesh: [`RequestId::root`](meshsim_mesh::RequestId::root).
    pub root: u64,
    /// Which of the calls made for it, by their beginning; 0 is the client's own.
    pub hop: u32,
    /// Which try of that call, from 0.
    pub attempt: u8,
}

/// The part of a run to which a record belongs: the control plane, all traffic, or one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Of {
    /// The mesh itself: control messages, machines, timers of the control plane, and what is not known.
    Control,
    /// Requests, but none of its own: the clock of a load, the processor of a node, a request from outside.
    Traffic,
    /// This request.
    Request(Owner),
}

/// Facts about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The part of the run to which it belongs.
    pub of: Of,
    /// The service that it is about.
    pub service: Option<ServiceId>,
    /// The endpoint that it is about.
    pub endpoint: Option<EndpointId>,
    /// A reply to a try that has been given up.
    pub is_late: bool,
    /// A request has ended with it for its client.
    pub ended: Option<Ended>,
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When it was due.
    pub due: Time,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

impl Known {
    /// The request that it belongs to.
    pub fn owner(&self) -> Option<Owner> {
        match self.of {
            Of::Request(owner) => Some(owner),
            Of::Control | Of::Traffic => None,
        }
    }
}

/// A record, as far as it matters here. A run knows the content of what arrives; a trace has it with its sending.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The actor began, in this life.
    Start(u32),
    /// It took in a message.
    Deliver(MessageId, Option<&'a Msg>),
    /// It took in a timer.
    Fire(Timer),
    /// It sent a message.
    Send(MessageId, &'a Msg),
    /// It armed a timer.
    Arm(Timer, &'a Tick),
    /// It disarmed a timer.
    Disarm(Timer),
    /// It remarked something: the word, the subject, the value.
    Note(&'a str, u64, u64),
    /// The network decided the fate of a message.
    Fate(MessageId, Fate),
    /// Something was done to its machine.
    MachineAction,
    /// A sync of its durable state began.
    Persist,
    /// A sync of its durable state ended.
    Durable,
}

impl<'a> From<&'a Record<Msg, Tick>> for Seen<'a> {
    fn from(record: &'a Record<Msg, Tick>) -> Self {
        match &record.entry {
            Entry::Start { incarnation } => Seen::Start(*incarnation),
            Entry::Deliver(id) => Seen::Deliver(*id, None),
            Entry::Fire(timer) => Seen::Fire(*timer),
            Entry::Send { seq, msg, .. } => Seen::Send(MessageId { from: record.actor, seq: *seq }, msg),
            Entry::Arm { timer, tick, .. } => Seen::Arm(*timer, tick),
            Entry::Disarm(timer) => Seen::Disarm(*timer),
            Entry::Note { what, subject, value } => Seen::Note(what, *subject, *value),
            Entry::Fate(id, fate) => Seen::Fate(*id, *fate),
            Entry::Power(_) => Seen::MachineAction,
            Entry::Persist(_) => Seen::Persist,
            Entry::Durable(_) => Seen::Durable,
        }
    }
}

/// Nothing is known.
const PLAIN: Known = Known { of: Of::Control, service: None, endpoint: None, is_late: false, ended: None };
