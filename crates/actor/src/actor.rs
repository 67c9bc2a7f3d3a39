//! The contract between an actor and whoever runs it.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ActorId, Cx, Envelope, Span, Time, Timer, What};

/// What actors say to each other.
pub trait Message: Clone + Debug + Serialize + DeserializeOwned {
    /// The kind of the message in one word, for people: traces and reports group by it.
    fn kind(&self) -> &'static str;

    /// Bytes that the message takes on a wire, for links with limited bandwidth. Content that is only modelled (the
    /// kilobyte of a reply) counts too.
    fn bytes(&self) -> u32 {
        64
    }

    /// Bytes of memory that it holds beside its own size: its boxes and lists, and what it shares as if it were its own.
    /// Hosts bound by it what waits. A message that holds nothing has 0.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Something that reacts to events.
///
/// Duties: [`on`](Actor::on) returns at once (whatever takes time is asked for through [`Cx`]), takes time and
/// randomness only from `Cx`, and does the same for the same history. It holds its whole state, so that a run can be
/// written down and continued.
pub trait Actor: Sized {
    /// What it sends and receives.
    type Msg: Message;
    /// What it wants to be reminded of when a timer fires.
    type Tick: Copy + Debug + Serialize + DeserializeOwned;

    /// Reacts to one event.
    ///
    /// The first event of each life is [`Event::Start`]; then messages and timers come in the order of time. Messages
    /// may be late, lost, doubled and out of order. A timer fires once, not before its time, unless it was disarmed.
    fn on(&mut self, event: Event<Self::Msg, Self::Tick>, cx: &mut Cx<'_, Self::Msg, Self::Tick>);

    /// The machine went down and comes up again: forget what only memory held; if `wiped`, what the disk held too.
    /// All timers are gone. [`Event::Start`] follows.
    fn reboot(&mut self, wiped: bool) {
        let _ = wiped;
    }
}

/// What happens to an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event<M, T> {
    /// The actor begins: at the start of the run, and after each reboot.
    Start,
    /// A message arrived.
    Message {
        /// Who sent it.
        from: ActorId,
        /// What it says.
        msg: M,
    },
    /// A timer fired.
    Timer(T),
}

/// What an actor wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<M, T> {
    /// Carry this to its addressee.
    Send(Envelope<M>),
    /// Wake the actor at `at`.
    Arm {
        /// The handle to wake it with.
        timer: Timer,
        /// When. In the past means: as soon as possible.
        at: Time,
        /// What the actor will be told.
        tick: T,
    },
    /// Wake the actor when its machine has worked for `span`: after that span at normal speed where work is only
    /// modelled, after that much burnt processor time where a host lets it be real. While the machine stands still so
    /// does the work, and it follows the machine's speed: see [`Cell::set_pace`](crate::Cell::set_pace).
    Work {
        /// The handle to wake it with.
        timer: Timer,
        /// How long the work takes on this machine at normal speed.
        span: Span,
        /// What the actor will be told.
        tick: T,
    },
    /// Do not wake the actor with this handle. A host may ignore it: [`Cell`](crate::Cell) drops what was disarmed.
    Disarm(Timer),
    /// Write this into the trace.
    Note(Note),
}

impl<M, T: Copy> Effect<M, T> {
    /// What a trace says of it, if the actor asked for it at `now`.
    #[inline(always)]
    pub fn what(&self, now: Time) -> What<'_, M, T> {
        match self {
            Effect::Send(envelope) => What::Send(envelope),
            Effect::Arm { timer, at, tick } => What::Arm { timer: *timer, at: *at, tick: *tick },
            Effect::Work { timer, span, tick } => What::Arm { timer: *timer, at: now + *span, tick: *tick },
            Effect::Disarm(timer) => What::Disarm(*timer),
            Effect::Note(note) => What::Note(*note),
        }
    }
}

/// The effects of one step, in the order in which they were asked for. Hosts keep one and reuse it.
pub type Effects<M, T> = Vec<Effect<M, T>>;

/// A remark of an actor in the trace: what happened inside it that no message shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What happened, in one word: `apply`, `ack`, `dead`.
    pub what: &'static str,
    /// What it happened to: a service, a node, as the actor's documentation says.
    pub subject: u64,
    /// A number that belongs to it: a step, a count.
    pub value: u64,
}
