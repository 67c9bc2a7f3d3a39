//! Late replies to calls that were given up, while the request that they were made for continues.
//!
//! The hops below an attempt that timed out are unknown until its reply comes. Until the request replies to its own
//! caller, such a late reply replaces the attempt in its [path](crate::path). Later it is ignored: a reply is sent
//! once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::work::TaskKey;
use crate::call::CallKey;
use crate::message::Reply;
use crate::path::{Hop, Path};

/// An attempt: the number of its call, and the number of the attempt.
type Try = (u64, u8);

/// Attempts that were given up, of calls that have ended, whose replies a path still needs. Untraced requests keep
/// nothing here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Late {
    /// The request for which it was made, and its hop in the path.
    tries: BTreeMap<Try, (TaskKey, Hop)>,
    /// Attempts of each request: at most as many as its path has hops.
    tasks: BTreeMap<TaskKey, Vec<Try>>,
}

impl Late {
    /// Registers the unanswered attempts of a call that has ended, by its path.
    #[cold]
    pub(super) fn await_those_of(&mut self, task: TaskKey, call: CallKey, path: &Path) {
        for hop in path.given_up() {
            let of = (call.number(), hop.attempt);
            self.tries.insert(of, (task, *hop));
            self.tasks.entry(task).or_default().push(of);
        }
    }

    /// Handles a reply: returns the request to which it belongs and the hop that it replaces, if it is awaited.
    #[cold]
    pub(super) fn came(&mut self, reply: &Reply) -> Option<(TaskKey, Hop)> {
        self.tries.remove(&(reply.call, reply.attempt))
    }

    /// Removes the attempts of a request that has ended.
    pub(super) fn forget(&mut self, task: TaskKey) {
        for of in self.tasks.remove(&task).unwrap_or_default() {
            self.tries.remove(&of);
        }
    }
}
