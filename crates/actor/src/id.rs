//! Who an actor is, and what a message carries besides its content.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Message;

/// An actor's number: its place among the actors of the run, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorId(pub u32);

impl ActorId {
    /// The number as an index.
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

/// A message's name in the whole run: its sender, and how many the sender had sent before.
///
/// A duplicate made by the network keeps the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Who sent it.
    pub from: ActorId,
    /// The sender's count, from 0; it goes on rising when the sender is restarted.
    pub seq: u64,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// Who sent it.
    pub from: ActorId,
    /// Who is to get it.
    pub to: ActorId,
    /// The sender's count of messages: with `from` it is the message's [`MessageId`].
    pub seq: u64,
    /// The content.
    pub msg: M,
}

impl<M> Envelope<M> {
    /// The message's name in the whole run.
    pub fn id(&self) -> MessageId {
        MessageId { from: self.from, seq: self.seq }
    }
}

impl<M: Message> Envelope<M> {
    /// Bytes of memory that it takes while it waits.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.msg.heap_bytes())
    }
}
