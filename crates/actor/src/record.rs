//! What a host writes down while it runs actors.

use serde::{Deserialize, Serialize};

use crate::{ActorId, Envelope, MessageId, Note, Span, Time, Timer};

/// Takes down a run as it happens.
///
/// The runner calls it, never an actor. Everything recorded between two [`What::Start`], [`What::Deliver`] or
/// [`What::Fire`] of any actor was caused by the first of them.
pub trait Recorder<M, T> {
    /// Something happened to, or was done by, `actor` at `at`.
    fn record(&mut self, at: Time, actor: ActorId, what: What<'_, M, T>);

    /// False if nothing is taken down. Actors then [note](crate::Cx::note) nothing.
    #[inline]
    fn is_on(&self) -> bool {
        true
    }
}

/// Takes nothing down, and costs nothing.
impl<M, T> Recorder<M, T> for () {
    #[inline]
    fn record(&mut self, _: Time, _: ActorId, _: What<'_, M, T>) {}

    #[inline]
    fn is_on(&self) -> bool {
        false
    }
}

impl<M, T, R: Recorder<M, T>> Recorder<M, T> for &mut R {
    #[inline]
    fn record(&mut self, at: Time, actor: ActorId, what: What<'_, M, T>) {
        (**self).record(at, actor, what);
    }

    #[inline]
    fn is_on(&self) -> bool {
        (**self).is_on()
    }
}

/// Takes down if it is there.
impl<M, T, R: Recorder<M, T>> Recorder<M, T> for Option<R> {
    #[inline]
    fn record(&mut self, at: Time, actor: ActorId, what: What<'_, M, T>) {
        if let Some(recorder) = self {
            recorder.record(at, actor, what);
        }
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.as_ref().is_some_and(Recorder::is_on)
    }
}

/// What there is to record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What<'a, M, T> {
    /// The actor began, for the `incarnation`-th time (from 0).
    Start {
        /// How often it had been rebooted.
        incarnation: u32,
    },
    /// The actor took in a message.
    Deliver(&'a Envelope<M>),
    /// The actor took in a timer.
    Fire(Timer, T),
    /// The actor sent a message.
    Send(&'a Envelope<M>),
    /// The actor armed a timer.
    Arm {
        /// Its handle.
        timer: Timer,
        /// When it is to fire.
        at: Time,
        /// What the actor will be told.
        tick: T,
    },
    /// The actor disarmed a timer.
    Disarm(Timer),
    /// The actor remarked something.
    Note(Note),
    /// The network decided what becomes of a message that `actor` sent; recorded unless it is simply delivered.
    Fate(MessageId, Fate),
    /// Something was done to the machine of `actor`.
    Power(Power),
}

/// What a network does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It arrives after this long.
    Deliver(Span),
    /// It never arrives.
    Lost(Cause),
    /// It arrives twice, after these spans.
    Duplicate(Span, Span),
    /// It is kept back, and arrives at this time.
    Hold(Time),
}

/// Why a message was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The link lost all tries, and the transport gave up.
    Loss,
    /// A partition stood between.
    Partition,
    /// The receiver's machine was down.
    Down,
    /// A queue was full.
    Full,
    /// Nobody has that number.
    Nobody,
    /// The link dropped it for good, by chance.
    Drop,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 6] = [Cause::Loss, Cause::Drop, Cause::Partition, Cause::Down, Cause::Full, Cause::Nobody];

    /// One word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Loss => "loss",
            Cause::Partition => "partition",
            Cause::Down => "down",
            Cause::Full => "full",
            Cause::Nobody => "nobody",
            Cause::Drop => "drop",
        }
    }
}

/// What can be done to the machine of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Power {
    /// It goes down: memory is lost, the disk is kept. Messages to it are lost while it is down.
    Crash,
    /// It goes down and its disk is lost.
    Wipe,
    /// It comes up again.
    Restart,
    /// It stands still: what arrives waits.
    Pause,
    /// It goes on.
    Resume,
    /// It works at this multiple of its speed: 1 is normal, 0.5 takes twice as long.
    Speed(f64),
}
