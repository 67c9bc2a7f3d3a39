//! Answers to calls that were given up, while the request that they were made for goes on.
//!
//! What was done below a try that timed out is known when its answer comes, and not before. Until the request answers
//! its own caller, such an answer takes the place of the try in its [path](crate::path). After that it comes too late for
//! everybody: an answer that was given is not given again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::work::TaskKey;
use crate::call::CallKey;
use crate::message::Reply;
use crate::path::{Hop, Path};

/// One try: the number of its call, and which of its tries it is.
type Try = (u64, u8);

/// The tries that were given up, of calls that have ended, whose answers a path still waits for. Nothing is kept for
/// requests whose path nobody wants.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Late {
    /// For which request it was made, and the hop that stands for it in the path.
    tries: BTreeMap<Try, (TaskKey, Hop)>,
    /// The tries of each request: at most as many as its path has hops.
    tasks: BTreeMap<TaskKey, Vec<Try>>,
}

impl Late {
    /// A call has ended that a request made, and this is its path.
    pub(super) fn await_those_of(&mut self, task: TaskKey, call: CallKey, path: &Path) {
        for hop in path.given_up() {
            let of = (call.number(), hop.attempt);
            self.tries.insert(of, (task, *hop));
            self.tasks.entry(task).or_default().push(of);
        }
    }

    /// An answer has come: to which request it belongs, and the hop whose place it takes, if it is awaited.
    pub(super) fn came(&mut self, reply: &Reply) -> Option<(TaskKey, Hop)> {
        self.tries.remove(&(reply.call, reply.attempt))
    }

    /// A request is over.
    pub(super) fn forget(&mut self, task: TaskKey) {
        for of in self.tasks.remove(&task).unwrap_or_default() {
            self.tries.remove(&of);
        }
    }
}
