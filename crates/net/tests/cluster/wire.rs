//! Connections over a network that loses, delays and reorders messages.
//!
//! A frame that is lost is not sent again: what follows it waits, and the connection breaks after a silence, as one of
//! TCP does in a partition. A process that has ended, or does not know the connection, answers with a reset.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Cx, Message, Span, Time};
use meshsim_net::Join;
use meshsim_net::cluster::{Control, Joined};
use serde::{Deserialize, Serialize};

/// After this long without a frame in order, a connection is broken.
const SILENCE: Span = Span::from_secs(5);
/// Interval of the checks for that, and of the pings of a member.
pub(crate) const BEAT: Span = Span::from_secs(1);

/// A connection: the actor that dials, and the number of its attempt.
pub(crate) type Key = (ActorId, u64);

/// A message of the simulated network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Wire {
    /// Opens a connection.
    Dial(Key),
    /// The next frame of one direction.
    Frame(Key, u32, Frame),
    /// The sender has no such connection, or ends it.
    Reset(Key),
}

/// The content of a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// Hub to member: are you there?
    Challenge,
    Join(Join),
    Joined(Joined),
    /// The reason, and whether another attempt may succeed.
    Refused(String, bool),
    Said(Control),
}

impl Message for Wire {
    fn kind(&self) -> &'static str {
        match self {
            Wire::Dial(_) => "dial",
            Wire::Frame(..) => "frame",
            Wire::Reset(_) => "reset",
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) key: Key,
    other: ActorId,
    sent: u32,
    heard: u32,
    early: BTreeMap<u32, Frame>,
    heard_at: Time,
    checked_at: Time,
}

impl Pipe {
    pub(crate) fn new(key: Key, other: ActorId, now: Time) -> Self {
        Pipe { key, other, sent: 0, heard: 0, early: BTreeMap::new(), heard_at: now, checked_at: now }
    }

    pub(crate) fn send<T: Copy>(&mut self, frame: Frame, cx: &mut Cx<'_, Wire, T>) {
        cx.send(self.other, Wire::Frame(self.key, self.sent, frame));
        self.sent += 1;
    }

    pub(crate) fn reset<T: Copy>(&self, cx: &mut Cx<'_, Wire, T>) {
        cx.send(self.other, Wire::Reset(self.key));
    }

    /// True if it has heard nothing but its admission.
    pub(crate) fn is_new(&self) -> bool {
        self.heard <= 2
    }

    /// Takes a frame; returns those that are now in order.
    pub(crate) fn receive(&mut self, now: Time, seq: u32, frame: Frame) -> Vec<Frame> {
        if seq >= self.heard {
            self.early.insert(seq, frame);
        }
        let mut frames = Vec::new();
        while let Some(frame) = self.early.remove(&self.heard) {
            self.heard += 1;
            self.heard_at = now;
            frames.push(frame);
        }
        frames
    }

    /// True if the other side has been silent for too long. Time in which this process stood still does not count.
    pub(crate) fn is_silent(&mut self, now: Time) -> bool {
        if now.since(std::mem::replace(&mut self.checked_at, now)) > BEAT + BEAT / 2 {
            self.heard_at = now;
        }
        now.since(self.heard_at) >= SILENCE
    }
}
