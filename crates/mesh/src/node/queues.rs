//! Queues of messages ([`Queued`](crate::model::Queued)): published by scripts, consumed at least once.
//!
//! A message is a task of its own, from its publication until it is consumed or a dead letter; each delivery is a run
//! of its script, with draws of its own. A delivery has a visibility time. When that is over, a message that was not
//! consumed waits to be delivered again; what an unfinished delivery has called is not told of it, so it may be done
//! twice. (Amazon SQS: visibility timeout, and maximum receives before the dead-letter queue.)

use std::collections::{BTreeMap, VecDeque};

use meshsim_actor::{Time, Timer};
use serde::{Deserialize, Serialize};

use super::Node;
use super::caches::StepAt;
use super::hosting::{HostedService, HostedServices};
use super::work::{FrameKey, Role, ScriptFrame, TASKS_MAX, Task, TaskKey, Work, number};
use crate::actors::MeshCx;
use crate::mark;
use crate::measure::{Failure, QueueCounts};
use crate::message::Tick;
use crate::model::{Mesh, Queue};
use crate::program::Instruction;
use crate::request_id::RequestId;

/// The queues of an instance, by the step that publishes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Queues(BTreeMap<StepAt, InstanceQueue>);

/// Messages of one queue at one instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct InstanceQueue {
    /// Those that wait for a consumer, in order. At most the size of the queue, and those that were delivered before.
    waiting: VecDeque<TaskKey>,
    /// Deliveries that run.
    busy: u32,
}

/// State of a message.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct QueuedMessage {
    step: StepAt,
    /// Name of the request that published it.
    id: RequestId,
    /// Deliveries so far.
    deliveries: u32,
    /// Ends the visibility time of the last.
    timer: Option<Timer>,
    /// The last one runs.
    is_running: bool,
}

impl Work {
    /// Publishes a message of the queue at instruction `pc` for the task of a frame. Returns the first frame of its
    /// delivery, if a consumer is free.
    ///
    /// # Errors
    /// If the queue, or the node, is full.
    #[inline(never)]
    pub(super) fn publish(
        &mut self,
        frame: FrameKey,
        (of, pc): (TaskKey, u32),
        queue: Queue,
        hosting: &mut HostedServices,
        cx: &mut MeshCx<'_>,
    ) -> Result<Option<FrameKey>, Failure> {
        let now = cx.now();
        let task = &self.tasks[of];
        let request = task.request;
        let step = (request.endpoint, pc);
        let (hosted, at) = hosting.instance_of(&request);
        let here = hosted.instances[at].queue_of(step);
        let is_full = here.busy >= queue.consumers && here.waiting.len() >= queue.size as usize;
        let depth = here.waiting.len() as u32 + u32::from(here.busy >= queue.consumers);
        let counts = counts(hosted, now);
        if is_full || self.tasks.len() >= TASKS_MAX {
            counts.into_iter().for_each(|counts| counts.refused += 1);
            return Err(Failure::Refused);
        }
        if let Some(counts) = counts {
            counts.published += 1;
            counts.depth_peak = counts.depth_peak.max(depth);
        }
        let message = QueuedMessage { step, id: request.id, deliveries: 0, timer: None, is_running: false };
        let key = self.tasks.insert(task.beside(now, Role::Message(Box::new(message))));
        cx.note(mark::DETACHED, number(frame), number(key));
        let instance = &mut hosted.instances[at];
        instance.blocks += 1;
        instance.queue_of(step).waiting.push_back(key);
        hosted.places.messages(self.tasks[key].place, now, 1);
        Ok(self.deliver(hosted, at, step, queue, cx))
    }

    /// Delivers the message that waits first, if a consumer is free. Returns the first frame of the delivery.
    fn deliver(
        &mut self,
        hosted: &mut HostedService,
        at: usize,
        step: StepAt,
        queue: Queue,
        cx: &mut MeshCx<'_>,
    ) -> Option<FrameKey> {
        let here = hosted.instances[at].queue_of(step);
        if here.busy >= queue.consumers {
            return None;
        }
        let key = here.waiting.pop_front()?;
        here.busy += 1;
        let task = &mut self.tasks[key];
        let Role::Message(message) = &mut task.role else { return None };
        message.deliveries += 1;
        message.is_running = true;
        message.timer = Some(cx.arm(cx.now() + queue.visibility, Tick::Visible(key)));
        let (deliveries, published) = (message.deliveries, task.arrived);
        hosted.places.messages(task.place, cx.now(), -1);
        task.failure = None;
        task.request.id = message.id.call(task.request.attempt, step.1, deliveries);
        if let Some(counts) = counts(hosted, published) {
            counts.deliveries += 1;
            if deliveries == 1 {
                counts.wait.record(cx.now().since(published));
            }
        }
        let first = self.frames.insert(ScriptFrame::first(key, step.1 + 1));
        cx.note(mark::SLOT, number(key), number(first));
        Some(first)
    }
}

impl Node {
    /// The script of a delivery has ended. Returns the first frame of the next one.
    #[inline(never)]
    pub(super) fn end_delivery(&mut self, key: TaskKey, cx: &mut MeshCx<'_>) -> Option<FrameKey> {
        let work = self.work.as_mut()?;
        let task = work.tasks.get_mut(key)?;
        let failure = task.failure;
        let Role::Message(message) = &mut task.role else { return None };
        message.is_running = false;
        let is_over = failure.is_none() || message.deliveries >= queue_of(task, &self.mesh)?.deliveries;
        self.go_on(key, true, is_over.then_some(failure), cx)
    }

    /// The visibility time of a message is over.
    pub(super) fn visible_again(&mut self, key: TaskKey, cx: &mut MeshCx<'_>) {
        let Some(work) = &mut self.work else { return };
        let Some(task) = work.tasks.get_mut(key) else { return };
        let Some(queue) = queue_of(task, &self.mesh) else { return };
        let (service, ordinal, place) = (task.request.service, task.request.ordinal, task.place);
        let Role::Message(message) = &mut task.role else { return };
        message.timer = None;
        let (step, is_dead) = (message.step, message.deliveries >= queue.deliveries);
        let was_running = std::mem::take(&mut message.is_running);
        if was_running {
            let done = work.drop_scripts(|other, _| other == key, false, &self.mesh, cx);
            done.into_iter().for_each(|done| self.count_work(done, cx.now()));
        }
        if !is_dead
            && let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(service))
            && let Ok(at) = hosted.find(ordinal)
        {
            hosted.instances[at].queue_of(step).waiting.push_back(key);
            hosted.places.messages(place, cx.now(), 1);
        }
        if let Some(frame) = self.go_on(key, was_running, is_dead.then_some(Some(Failure::Timeout)), cx) {
            self.run(frame, cx);
        }
    }

    /// A consumer of a queue may be free, and a message may have come to its end: consumed, or for a failure a dead
    /// letter. Returns the first frame of the next delivery.
    fn go_on(
        &mut self,
        key: TaskKey,
        is_free: bool,
        end: Option<Option<Failure>>,
        cx: &mut MeshCx<'_>,
    ) -> Option<FrameKey> {
        let (work, hosting) = (self.work.as_mut()?, self.hosting.as_mut()?);
        let task = work.tasks.get(key)?;
        let (queue, request) = (queue_of(task, &self.mesh)?, task.request);
        let Role::Message(message) = &task.role else { return None };
        let (step, timer) = (message.step, message.timer);
        let (hosted, at) = hosting.instance_of(&request);
        hosted.instances[at].queue_of(step).busy -= u32::from(is_free);
        if let Some(failure) = end {
            if let Some(counts) = counts(hosted, task.arrived) {
                match failure {
                    None => counts.age.record(cx.now().since(task.arrived)),
                    Some(_) => counts.dead += 1,
                }
            }
            timer.into_iter().for_each(|timer| cx.disarm(timer));
            work.tasks.remove(key);
            cx.note(mark::BLOCK_ENDED, number(key), 0);
            hosted.instances[at].blocks -= 1;
        }
        let next = work.deliver(hosted, at, step, queue, cx);
        hosted.remove_if_closed(at, cx);
        next
    }
}

impl super::hosting::Instance {
    /// Messages that wait in its queues.
    pub(super) fn waiting_messages(&self) -> i32 {
        let queues = self.kept().into_iter().flat_map(|kept| kept.queues.0.values());
        queues.map(|queue| queue.waiting.len() as i32).sum()
    }

    /// Messages in its queues that are not consumed.
    pub(super) fn messages(&self) -> u32 {
        let queues = self.kept().into_iter().flat_map(|kept| kept.queues.0.values());
        queues.map(|queue| queue.waiting.len() as u32 + queue.busy).sum()
    }

    fn queue_of(&mut self, step: StepAt) -> &mut InstanceQueue {
        self.kept_mut().queues.0.entry(step).or_default()
    }
}

/// A message is lost with its instance or its node.
pub(super) fn lost(hosted: &mut HostedService, published: Time) {
    if let Some(counts) = counts(hosted, published) {
        counts.lost += 1;
    }
}

impl QueuedMessage {
    /// Its timer, which it needs no more.
    pub(super) fn take_timer(&mut self) -> Option<Timer> {
        self.timer.take()
    }
}

fn counts(hosted: &mut HostedService, published: Time) -> Option<&mut QueueCounts> {
    hosted.measured(published).map(|served| &mut **served.queue.get_or_insert_default())
}

/// The queue of a message.
fn queue_of(task: &Task, mesh: &Mesh) -> Option<Queue> {
    let Role::Message(message) = &task.role else { return None };
    let endpoint = mesh.service(task.request.service).endpoint(task.version, task.request.endpoint);
    match endpoint.program.at(message.step.1) {
        Instruction::Publish { queue, .. } => Some(*queue),
        _ => None,
    }
}
