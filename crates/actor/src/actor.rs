//! The contract between an actor and its host.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ActorId, Cx, EntryRef, Envelope, Reboot, Span, Time, Timer};

/// Messages that actors send to each other.
pub trait Message: Clone + Debug + Serialize + DeserializeOwned {
    /// Kind of the message in one word; traces and reports group by it.
    fn kind(&self) -> &'static str;

    /// Size of the message on a wire, in bytes, for links with limited bandwidth. Modelled content that is not really
    /// sent (the kilobyte of a reply) counts too.
    fn bytes(&self) -> u32 {
        64
    }

    /// Bytes of memory that the message holds beside its own size: its boxes and lists, and shared values as if they
    /// were its own. Hosts bound their queues by it. A message that holds nothing returns 0.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// True if the message tells others of [durable state](Actor::disk) of its sender. It leaves when that is on the disk,
    /// if the disk takes time: see [`MachineAction::Disk`](crate::MachineAction::Disk).
    fn reveals(&self) -> bool {
        false
    }
}

/// A state machine that reacts to events.
///
/// Implementations must return from [`on`](Actor::on) without blocking (time passes only through [`Cx`]), take time and
/// randomness only from `Cx`, and be deterministic: equal histories give equal effects. The value holds the whole state
/// of the actor, so a run can be serialised and resumed.
pub trait Actor: Sized {
    /// Type of the messages that it sends and receives.
    type Msg: Message;
    /// Value that it attaches to a timer and gets back when the timer fires.
    type Tick: Copy + Debug + Serialize + DeserializeOwned;
    /// Its durable state: what a crash of its machine keeps. `()` if it has none.
    type Disk: Clone + Debug + PartialEq + Serialize + DeserializeOwned;

    /// Reacts to one event.
    ///
    /// The first event of each incarnation is [`Event::Start`]; messages and timers follow in the order of time.
    /// Messages may be late, lost, duplicated and out of order. An armed timer fires once, not before its time, unless
    /// the actor disarms it.
    fn on(&mut self, event: Event<Self::Msg, Self::Tick>, cx: &mut Cx<'_, Self::Msg, Self::Tick>);

    /// Its durable state as it is now.
    fn disk(&self) -> Self::Disk;

    /// Restarts the actor after its machine went down: drops the state in memory, and takes the durable state that was
    /// found. All timers are gone. [`Event::Start`] follows.
    fn reboot(&mut self, found: Reboot<Self::Disk>) {
        let _ = found;
    }
}

/// Input of an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event<M, T> {
    /// The actor starts: at the start of the run, and after each reboot.
    Start,
    /// A message arrived.
    Message {
        /// Sender.
        from: ActorId,
        /// Content.
        msg: M,
    },
    /// A timer fired.
    Timer(T),
}

/// Action that an actor requests, as data.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<M, T> {
    /// Send this message to its receiver.
    Send(Envelope<M>),
    /// Fire a timer at the time `at`.
    Arm {
        /// Handle of the timer.
        timer: Timer,
        /// Due time. A time in the past means as soon as possible.
        at: Time,
        /// Value that the event carries.
        tick: T,
    },
    /// Fire a timer when the machine has worked for `span`. Modelled work takes `span` at normal speed; where the host
    /// does real work, it takes that much processor time. Work follows the speed of the machine and stops while the
    /// machine is paused: see [`Cell::set_pace`](crate::Cell::set_pace).
    Work {
        /// Handle of the timer.
        timer: Timer,
        /// Duration of the work on this machine at normal speed.
        span: Span,
        /// Value that the event carries.
        tick: T,
    },
    /// Sync the actor's [durable state](crate::Cell::durable_state) up to this position. The host answers with
    /// [`Input::Durable`](crate::Input::Durable) when the sync has ended. One is under way at a time.
    Persist(u64),
    /// Do not fire this timer. A host may ignore this effect: [`Cell`](crate::Cell) drops timers that are disarmed.
    Disarm(Timer),
    /// Write this note into the trace.
    Note(Note),
}

impl<M, T: Copy> Effect<M, T> {
    /// Trace entry of this effect, which the actor requested at `now`.
    #[inline(always)]
    pub fn entry(&self, now: Time) -> EntryRef<'_, M, T> {
        match self {
            Effect::Send(envelope) => EntryRef::Send(envelope),
            Effect::Arm { timer, at, tick } => EntryRef::Arm { timer: *timer, at: *at, tick: *tick },
            Effect::Work { timer, span, tick } => EntryRef::Arm { timer: *timer, at: now + *span, tick: *tick },
            Effect::Persist(position) => EntryRef::Persist(*position),
            Effect::Disarm(timer) => EntryRef::Disarm(*timer),
            Effect::Note(note) => EntryRef::Note(*note),
        }
    }
}

/// The effects of one step, in the order in which the actor requested them. Hosts keep one list and reuse it.
pub type Effects<M, T> = Vec<Effect<M, T>>;

/// A note of an actor in the trace, about a change inside it that no message shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The change, in one word: `apply`, `ack`, `dead`.
    pub what: &'static str,
    /// Number of the service or node that changed; the documentation of the actor says which.
    pub subject: u64,
    /// A number that belongs to the change: a step, a count.
    pub value: u64,
}
