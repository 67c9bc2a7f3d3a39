//! Events that an actor recorded, each with its time, for the event log of a run.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::model::{Mesh, ServiceId};

/// Entries that the diaries of all nodes of a mesh may hold together. In a mesh of more nodes they hold none, and only
/// count.
const ENTRIES_MAX: usize = 1 << 17;

/// A node that may hold fewer entries than this divides them: each of its services has a diary of its own.
const PLENTY: usize = 16;

/// Entries by time. What comes when it is full is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diary<T> {
    /// The first that came.
    pub entries: Vec<T>,
    /// Events left out because the diary was full.
    pub left_out: u64,
}

impl<T> Default for Diary<T> {
    fn default() -> Self {
        Diary { entries: Vec::new(), left_out: 0 }
    }
}

impl<T> Diary<T> {
    /// Writes an entry down, if fewer than `most` are there.
    pub(crate) fn write(&mut self, entry: T, most: usize) {
        match self.entries.len() < most {
            true => self.entries.push(entry),
            false => self.left_out = self.left_out.saturating_add(1),
        }
    }
}

/// Entries that the diary of one node may hold.
pub(crate) fn entries_of_node(mesh: &Mesh) -> usize {
    match ENTRIES_MAX / mesh.nodes.len().max(1) {
        few if few < PLENTY => few / 4,
        plenty => plenty,
    }
}

/// Entries that the coordinator's diary may hold.
pub(crate) const ENTRIES_OF_COORDINATOR: usize = ENTRIES_MAX;

/// Change of a node's state, as the coordinator saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// The heartbeats of the node arrive, and it was absent or dead before.
    Back,
    /// The node missed heartbeats for too long, and is declared dead.
    Dead,
    /// The node left on request.
    Left,
    /// Other nodes refuse connections with the node: nothing more is placed on it.
    Shunned,
    /// The drain of the node has begun: nothing more is placed on it.
    Cordoned,
    /// The drained node has no instances left.
    Drained,
    /// The drain of the node is over: instances may be placed on it again.
    Uncordoned,
    /// The pool of the node needs it, and has ordered it.
    Ordered,
    /// The ordered node is in service: instances may be placed on it.
    Added,
    /// The pool of the node does not need it any more: it is in reserve.
    Removed,
}

impl Seen {
    /// True for what says whether the node itself is alive.
    pub fn is_of_life(self) -> bool {
        matches!(self, Seen::Back | Seen::Dead | Seen::Left)
    }
}

/// A node came, left, or was declared dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Time of the change.
    pub at: Time,
    /// Index into [`Mesh::nodes`].
    pub node: u32,
    /// The change.
    pub seen: Seen,
}

/// An instance came, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// Time of the change. An instance whose machine went down is gone since the last event of its service there.
    pub at: Time,
    /// Its service.
    pub service: ServiceId,
    /// Its number on its node.
    pub ordinal: u32,
    /// Its version.
    pub version: u32,
    /// True if it accepts requests now; false if it is gone.
    pub came: bool,
}
