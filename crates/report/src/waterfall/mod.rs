//! Where the time of a request went, from the trace of a run.
//!
//! [`Follower`] reads a trace record by record and gives back each request when it has ended. [`Waterfall`] is what is
//! known of one: its calls, their tries, and what each instance did for them. [`Waterfall::critical_path`] cuts the time
//! from the planned moment to the answer into pieces, without gaps or overlaps: they add up to the latency exactly.
//! [`Totals`] adds the pieces of many requests up.

pub mod drawn;
mod follow;
pub mod svg;
pub mod text;
mod totals;
mod walk;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::model::{EndpointId, ServiceId};

pub use follow::{Follower, SLOTS_LOOKED_AT};
pub use totals::{Group, Share, Totals};
pub use walk::{Kind, Piece};

/// A request that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Waterfall {
    /// [`RequestId::root`](meshsim_mesh::RequestId::root).
    pub root: u64,
    /// When it was due.
    pub due: Time,
    /// When its client had the answer, or gave it up.
    pub ended: Time,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The calls made for it, in the order in which they began. The first is the client's own.
    pub calls: Vec<Call>,
    /// What instances did for it.
    pub hops: Vec<Hop>,
    /// Calls that are not kept, because there were too many or they lie too deep.
    pub left_out: u64,
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// [`RequestId::key`](meshsim_mesh::RequestId::key).
    pub key: u64,
    /// The hop whose script makes it; `None` for the client's.
    pub by: Option<usize>,
    /// How many calls lie above it.
    pub depth: u16,
    /// What is called, if it came to be sent.
    pub callee: Option<(ServiceId, EndpointId)>,
    /// When it began.
    pub began: Time,
    /// When it ended for its caller.
    pub ended: Option<Time>,
    /// Its tries.
    pub tries: Vec<Try>,
}

/// One try of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// Which, from 0.
    pub attempt: u8,
    /// When it was sent, or would have been if there had been an instance.
    pub sent: Time,
    /// The node and the number of the instance that it was sent to.
    pub to: Option<(ActorId, u32)>,
    /// When it ended for its caller.
    pub ended: Option<Time>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The hop whose answer ended it.
    pub answer: Option<usize>,
    /// What came of it at the instance: more than one if the message was duplicated.
    pub hops: Vec<usize>,
}

/// What an instance did for a try.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// The call that it is for.
    pub call: usize,
    /// The node.
    pub node: ActorId,
    /// When the request arrived.
    pub arrived: Time,
    /// What it waited for, if it had to wait.
    pub queue: Option<Queue>,
    /// When it got a slot.
    pub slot: Option<Time>,
    /// When it was answered or dropped.
    pub ended: Option<Time>,
    /// How that was.
    pub end: Option<End>,
    /// Its script, and the branches that run beside it. The first is the script.
    pub frames: Vec<Frame>,
}

/// What held the slots of an instance when a request came that had to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many slots it had.
    pub slots: u64,
    /// Of these, how many were held by requests that waited for calls, by the service called.
    pub calls: Vec<(ServiceId, u64)>,
    /// How many were held by requests that worked.
    pub working: u64,
    /// How many were held by requests that slept.
    pub sleeping: u64,
}

/// How a hop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Answered,
    /// It was refused.
    TurnedAway,
    /// Its caller had given it up.
    Late,
    /// Its instance had to go.
    Cut,
}

/// A script, or a branch of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// In how many forks it lies.
    pub depth: u16,
    /// When it began.
    pub began: Time,
    /// When it was done.
    pub ended: Option<Time>,
    /// What it did, each thing until the next began.
    pub steps: Vec<(Time, Step)>,
}

/// What a script does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It works: so much on an idle machine.
    Work(Span),
    /// It sleeps.
    Sleep,
    /// It makes a call.
    Call(usize),
    /// It waits for branches, which are frames.
    Fork(Vec<usize>),
}

impl Waterfall {
    /// From the planned moment until the answer.
    pub fn latency(&self) -> Span {
        self.ended.since(self.due)
    }

    /// Tries beyond the first, of all its calls.
    pub fn retries(&self) -> u64 {
        self.calls.iter().map(|call| (call.tries.len() as u64).saturating_sub(1)).sum()
    }
}
