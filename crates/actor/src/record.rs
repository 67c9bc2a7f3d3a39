//! Trace entries, and the [`Recorder`] that receives them from a host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ActorId, Envelope, Impairment, MessageId, Note, Span, Time, Timer};

/// Receives the trace entries of a run as they happen.
///
/// The host calls it, never an actor. An [`EntryRef::Start`], [`EntryRef::Deliver`], [`EntryRef::Fire`] or
/// [`EntryRef::Durable`] is the cause of all later entries up to the next such entry, of any actor.
pub trait Recorder<M, T> {
    /// Records an entry of `actor` at the time `at`.
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, M, T>);

    /// False if it records nothing. Actors then write no [notes](crate::Cx::note).
    #[inline]
    fn is_on(&self) -> bool {
        true
    }
}

/// Records nothing, and costs nothing.
impl<M, T> Recorder<M, T> for () {
    #[inline]
    fn record(&mut self, _: Time, _: ActorId, _: EntryRef<'_, M, T>) {}

    #[inline]
    fn is_on(&self) -> bool {
        false
    }
}

impl<M, T, R: Recorder<M, T>> Recorder<M, T> for &mut R {
    #[inline]
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, M, T>) {
        (**self).record(at, actor, what);
    }

    #[inline]
    fn is_on(&self) -> bool {
        (**self).is_on()
    }
}

/// Records if there is a recorder.
impl<M, T, R: Recorder<M, T>> Recorder<M, T> for Option<R> {
    #[inline]
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, M, T>) {
        if let Some(recorder) = self {
            recorder.record(at, actor, what);
        }
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.as_ref().is_some_and(Recorder::is_on)
    }
}

/// A trace entry, with its contents borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EntryRef<'a, M, T> {
    /// The actor began incarnation number `incarnation`, from 0.
    Start {
        /// Number of earlier reboots.
        incarnation: u32,
    },
    /// The actor received a message.
    Deliver(&'a Envelope<M>),
    /// The actor received a timer.
    Fire(Timer, T),
    /// The actor sent a message.
    Send(&'a Envelope<M>),
    /// The actor armed a timer.
    Arm {
        /// Handle.
        timer: Timer,
        /// Due time.
        at: Time,
        /// Value that the event will carry.
        tick: T,
    },
    /// The actor disarmed a timer.
    Disarm(Timer),
    /// The actor wrote a note.
    Note(Note),
    /// A sync of the actor's durable state up to this position began.
    Persist(u64),
    /// The actor's durable state is on its disk up to this position.
    Durable(u64),
    /// The network decided the fate of a message that `actor` sent; recorded unless it is simply delivered.
    Fate(MessageId, Fate),
    /// A machine action on the machine of `actor`.
    Power(&'a MachineAction),
}

/// Decision of the network on one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The message arrives after this span.
    Deliver(Span),
    /// The message never arrives.
    Lost(LossReason),
    /// The message arrives twice, after these spans.
    Duplicate(Span, Span),
    /// The message is held, and arrives at this time.
    Hold(Time),
}

/// Reason for the loss of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossReason {
    /// The link lost all attempts, and the transport gave up.
    Loss,
    /// A partition separated sender and receiver.
    Partition,
    /// The receiver's machine was down.
    Down,
    /// A queue was full.
    Full,
    /// No actor has the receiver's id.
    NoSuchActor,
    /// The link dropped it for good, by chance.
    Drop,
}

impl LossReason {
    /// All reasons.
    pub const ALL: [LossReason; 6] = [
        LossReason::Loss,
        LossReason::Drop,
        LossReason::Partition,
        LossReason::Down,
        LossReason::Full,
        LossReason::NoSuchActor,
    ];

    /// The reason in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            LossReason::Loss => "loss",
            LossReason::Partition => "partition",
            LossReason::Down => "down",
            LossReason::Full => "full",
            LossReason::NoSuchActor => "no_such_actor",
            LossReason::Drop => "drop",
        }
    }
}

/// Action on the machine of an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MachineAction {
    /// The machine goes down. It loses its memory and keeps its disk. Messages to it are lost while it is down.
    Crash,
    /// The machine goes down and loses its disk too.
    Wipe,
    /// The machine comes up again.
    Restart,
    /// The machine stops; messages and timers wait.
    Pause,
    /// The machine continues.
    Resume,
    /// The machine works at this multiple of its normal speed: 0.5 takes twice as long.
    Speed(f64),
    /// The machine impairs a part of its actor's work.
    Impair(Arc<Impairment>),
    /// The impairment with this key ends.
    Recover(u64),
    /// The actor begins with the durable state of an earlier incarnation in another process, from a journal.
    Restored,
    /// A sync of the machine's disk takes this long; [`Span::MAX`]: the disk is full, and no sync ends. What is not synced
    /// is lost by a crash. `None`: what an actor writes is on the disk at once, as at the start of a run.
    Disk(Option<Span>),
}
