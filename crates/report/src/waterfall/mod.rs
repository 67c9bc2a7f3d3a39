//! Breakdown of the time of a request, from the trace of a run.
//!
//! [`Follower`] reads a trace record by record and returns each request when it has ended. [`Waterfall`] is one
//! request: its calls, their attempts, and the hops at the instances. [`Waterfall::critical_path`] cuts the time from
//! the planned time to the reply into pieces, without gaps or overlaps: they add up to the latency exactly. [`Totals`]
//! adds the pieces of many requests up.

pub mod drawn;
mod follow;
pub mod svg;
pub mod text;
mod totals;
pub mod totals_text;
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
    /// Time at which it was due.
    pub due: Time,
    /// Time at which its client had the reply, or gave up.
    pub ended: Time,
    /// Reason of the failure; `None` on success.
    pub failure: Option<Failure>,
    /// The calls made for it, in the order in which they began. The first is the client's own.
    pub calls: Vec<Call>,
    /// Hops at instances.
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
    /// Number of calls above it.
    pub depth: u16,
    /// The called endpoint, if the call was sent.
    pub callee: Option<(ServiceId, EndpointId)>,
    /// Start time.
    pub began: Time,
    /// End time for its caller.
    pub ended: Option<Time>,
    /// Its attempts.
    pub tries: Vec<Try>,
}

/// One attempt of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Try {
    /// Number of the attempt, from 0.
    pub attempt: u8,
    /// Time from which it waited for its service to have a ready instance, if it did.
    pub activated: Option<Time>,
    /// Time from which a circuit breaker held it back, if one did.
    pub held: Option<Time>,
    /// Time from which it waited for a connection to its instance, if it did.
    pub pooled: Option<Time>,
    /// Time from which it was at the proxy of its caller, if it has one.
    pub passing: Option<Time>,
    /// Time of the send, also if there was no instance to send to.
    pub sent: Time,
    /// Time at which it came to the node of its instance, and to the proxies there.
    pub came: Option<Time>,
    /// The node and the number of the instance that it was sent to.
    pub to: Option<(ActorId, u32)>,
    /// End time for its caller.
    pub ended: Option<Time>,
    /// Reason of the failure; `None` on success.
    pub failure: Option<Failure>,
    /// The hop whose reply ended it.
    pub answer: Option<usize>,
    /// Its hops at the instance: more than one if the message was duplicated.
    pub hops: Vec<usize>,
}

/// Processing of an attempt at an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// The call that it is for.
    pub call: usize,
    /// The node.
    pub node: ActorId,
    /// Time of arrival of the request.
    pub arrived: Time,
    /// State of the queue, if it had to wait.
    pub queue: Option<Queue>,
    /// Time at which it got a slot.
    pub slot: Option<Time>,
    /// Time of its reply or drop.
    pub ended: Option<Time>,
    /// Its end.
    pub end: Option<End>,
    /// Its script, and the branches that run beside it. The first is the script.
    pub frames: Vec<Frame>,
}

/// Holders of the slots of an instance when a request came that had to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Number of slots.
    pub slots: u64,
    /// Of these, the number held by requests that waited for calls, by the called service.
    pub calls: Vec<(ServiceId, u64)>,
    /// Number held by requests that worked.
    pub working: u64,
    /// Number held by requests that slept.
    pub sleeping: u64,
    /// True if the trace holds only some requests, so that the holders are not in it.
    pub is_of_some: bool,
}

/// End of a hop.
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
    /// Number of forks around it.
    pub depth: u16,
    /// Start time.
    pub began: Time,
    /// End time.
    pub ended: Option<Time>,
    /// Its steps, each lasting until the next.
    pub steps: Vec<(Time, Step)>,
}

/// Step of a script.
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
    /// It begins a block, which is a frame, and does not wait for it.
    Detach(usize),
}

impl Waterfall {
    /// Time from the planned time until the reply.
    pub fn latency(&self) -> Span {
        self.ended.since(self.due)
    }

    /// Attempts beyond the first, of all its calls.
    pub fn retries(&self) -> u64 {
        self.calls.iter().map(|call| (call.tries.len() as u64).saturating_sub(1)).sum()
    }
}
