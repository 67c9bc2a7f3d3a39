//! Requests that are cancelled: the caller has its reply from elsewhere, and the instance drops them.
//!
//! One that waits leaves the queue. One that runs gives its slot and its share of the cores back, and the calls that it
//! made are cancelled, too. A block that outlives its request goes on. A cancelled request counts as dropped
//! unanswered, because its caller has given up.
//!
//! A node finds a request by what its caller calls it, in a list that it keeps only in a mesh whose callers cancel.

use std::collections::BTreeMap;

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

use super::Node;
use super::work::{Task, TaskKey, number};
use crate::actors::MeshCx;
use crate::mark;
use crate::message::{Cancel, Request};
use crate::model::Mesh;

/// Requests at a node, by their callers' names for them; `None` if no caller cancels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cancellable(Option<BTreeMap<(ActorId, Cancel), TaskKey>>);

impl Cancellable {
    pub(super) fn new(mesh: &Mesh) -> Self {
        Cancellable(mesh.cancels().then(BTreeMap::new))
    }

    pub(super) fn came(&mut self, from: ActorId, request: &Request, task: TaskKey) {
        if let Some(known) = &mut self.0 {
            known.insert((from, Cancel::of(request)), task);
        }
    }

    /// The task has ended.
    pub(super) fn ended(&mut self, from: ActorId, request: &Request, task: TaskKey) {
        let Some(known) = &mut self.0 else { return };
        let of = (from, Cancel::of(request));
        // The network may have made a copy of the request, which has a task of its own.
        if known.get(&of) == Some(&task) {
            known.remove(&of);
        }
    }

    fn find(&self, from: ActorId, it: &Cancel) -> Option<TaskKey> {
        self.0.as_ref()?.get(&(from, *it)).copied()
    }
}

impl Cancel {
    pub(crate) fn of(request: &Request) -> Self {
        Cancel { call: request.call, attempt: request.attempt, incarnation: request.incarnation }
    }
}

impl Mesh {
    /// True if callers cancel requests.
    fn cancels(&self) -> bool {
        self.call_rules.iter().any(|rules| rules.hedge.is_some_and(|hedge| hedge.cancel))
    }
}

impl Node {
    /// Drops a request.
    pub(super) fn cancel(&mut self, from: ActorId, it: &Cancel, cx: &mut MeshCx<'_>) {
        let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return };
        let Some(key) = work.cancellable.find(from, it) else { return work.stations.cancel(from, it) };
        let Some(Task { request, arrived, place, .. }) = work.tasks.get(key) else { return };
        let (service, ordinal, arrived, place) = (request.service, request.ordinal, *arrived, *place);
        let now = cx.now();
        let Some(hosted) = hosting.get(service) else { return };
        let Ok(at) = hosted.find(ordinal) else { return };
        match hosted.instances[at].leaves_queue(key) {
            true => {
                hosted.places.leaves_queue(place, now);
                hosted.waited(arrived, now);
            }
            false => {
                for done in work.drop_scripts(|of, _| of == key, true, &self.mesh, cx) {
                    hosted.worked(&done, now);
                }
                work.late.forget(key);
                hosted.busy_changed(now, -1);
                hosted.instances[at].active -= 1;
            }
        }
        work.remove(key);
        hosted.expired(place, arrived, now);
        cx.note(mark::LATE, number(key), 0);
        // Its slot is free, or an instance that was to go has nothing left to do.
        self.begin_waiting(service, ordinal, cx);
    }
}
