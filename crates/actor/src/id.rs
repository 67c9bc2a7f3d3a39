//! Ids of actors and messages, and the envelope around a message.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Message;

/// Id of an actor: its index among the actors of the run, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorId(pub u32);

impl ActorId {
    /// The id as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Id of a message, unique in the run: its sender, and the number of messages that the sender had sent before.
///
/// A duplicate made by the network keeps the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Sender.
    pub from: ActorId,
    /// The sender's count, from 0. It continues when the sender restarts.
    pub seq: u64,
}

/// A message with sender, receiver and number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// Sender.
    pub from: ActorId,
    /// Receiver.
    pub to: ActorId,
    /// The sender's count of messages. Together with `from` it is the [`MessageId`] of the message.
    pub seq: u64,
    /// The content.
    pub msg: M,
}

impl<M> Envelope<M> {
    /// Id of the message, unique in the run.
    pub fn id(&self) -> MessageId {
        MessageId { from: self.from, seq: self.seq }
    }
}

impl<M: Message> Envelope<M> {
    /// Bytes of memory that the message takes while it waits.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.msg.heap_bytes())
    }
}
