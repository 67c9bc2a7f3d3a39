//! Queues of messages, as a broker keeps them.

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use super::ScriptStep;

/// A script that publishes a message, which is consumed later, at least once. The script that publishes goes on at
/// once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// The queue.
    pub queue: Queue,
    /// Consumes a message.
    pub script: Vec<ScriptStep>,
}

/// A queue of messages, at each instance of its service, which is the broker: its messages survive the death of the
/// instances that its consumers call, and are delivered again. It is in memory: it is lost with its own instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Messages that are consumed concurrently; the others wait, the first published first.
    pub consumers: u32,
    /// Messages that may wait; the script that publishes the next fails as refused.
    pub size: u32,
    /// Time from a delivery until the message is delivered again, if it was not consumed by then or has failed.
    pub visibility: Span,
    /// Deliveries of a message; after the last it is a dead letter.
    pub deliveries: u32,
}
