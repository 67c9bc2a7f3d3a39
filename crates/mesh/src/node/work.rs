//! Requests at a node, and the scripts that they run.
//!
//! A request that has a slot is a task. A frame is a position in its script: one for the script itself and one for each
//! branch that runs beside others.

use meshsim_actor::{ActorId, Time, mix};
use serde::{Deserialize, Serialize};
use slotmap::{Key, new_key_type};

use super::cancel::Cancellable;
use super::hosting::HostedServices;
use super::late::Late;
use super::processor::{Done, Owner, Processor, Runner};
use super::queues::{self, QueuedMessage};
use super::{Node, detached};
use crate::actors::MeshCx;
use crate::call::{CallOutcome, Caller};
use crate::course::{Course, Shape};
use crate::edge::{Counted, Used};
use crate::impaired;
use crate::mark;
use crate::measure::Failure;
use crate::message::{Msg, Reply, Request};
use crate::model::{Mesh, ServiceId};
use crate::path::{Hop, Path};
use crate::request_id::Draw;
use crate::slots::Slots;
use crate::station::Stations;

new_key_type! {
    /// Names a request at a node.
    pub struct TaskKey;
    /// Names a place in a running script.
    pub struct FrameKey;
}

/// Requests that a node may hold; the next is refused. A bound of memory: the queues of the instances come first.
pub const TASKS_MAX: usize = 1 << 20;

/// Work of a node. Lost with memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) tasks: Slots<TaskKey, Task>,
    pub(super) frames: Slots<FrameKey, ScriptFrame>,
    pub(super) processor: Processor,
    pub(super) calls: Caller<FrameKey>,
    pub(super) late: Late,
    pub(super) cancellable: Cancellable,
    /// The proxies of the node and of its instances.
    pub(super) stations: Stations,
}

/// A request that waits or is being worked on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) caller: ActorId,
    pub(super) request: Request,
    /// The version of its instance.
    pub(super) version: u32,
    pub(super) arrived: Time,
    /// Index of its place in those of its service.
    pub(super) place: u32,
    /// The first thing that went wrong.
    pub(super) failure: Option<Failure>,
    /// A call that was optional has failed, here or below.
    pub(super) degraded: bool,
    /// If it is wanted: the hop to here, and those of the calls made for it.
    pub(super) path: Option<Box<Path>>,
    pub(super) role: Role,
}

/// Kind of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Role {
    /// A request, which has a slot and gets a reply.
    Request,
    /// A block of a script that its request does not wait for.
    Block,
    /// A message in a queue.
    Message(Box<QueuedMessage>),
}

/// A place in a script.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ScriptFrame {
    pub(super) task: TaskKey,
    /// The frame that waits for this branch.
    pub(super) parent: Option<FrameKey>,
    pub(super) pc: u32,
    /// Branches that it waits for.
    pub(super) pending: u32,
    /// Remaining repetitions of the call at `pc`; `None`: not begun.
    pub(super) repeats: Option<u32>,
    /// Index of the branch in its parent.
    pub(super) copy: u32,
}

impl Work {
    #[cold]
    pub(super) fn new(node: ActorId, mesh: &Mesh) -> Self {
        Work {
            tasks: Slots::default(),
            frames: Slots::default(),
            processor: Processor::new(mesh.cores(node)),
            calls: Caller::new(),
            late: Late::default(),
            cancellable: Cancellable::new(mesh),
            stations: Stations::default(),
        }
    }

    /// Takes a request out that has ended.
    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Task> {
        let task = self.tasks.remove(key)?;
        self.cancellable.ended(task.caller, &task.request, key);
        Some(task)
    }

    /// Ends the scripts of some tasks: their work, their calls and their frames. If it `cancels`, the called instances
    /// are told so. Returns what was done of the work.
    pub(super) fn drop_scripts(
        &mut self,
        is_dropped: impl Fn(TaskKey, &Task) -> bool,
        cancels: bool,
        mesh: &Mesh,
        cx: &mut MeshCx<'_>,
    ) -> Vec<Done> {
        let (tasks, frames) = (&self.tasks, &self.frames);
        let is_of = |frame: &ScriptFrame| is_dropped(frame.task, &tasks[frame.task]);
        let is_gone = |frame: FrameKey| frames.get(frame).is_some_and(is_of);
        let done = self.processor.cut(is_gone, cx);
        self.calls.cancel(|owner| is_gone(*owner), cancels, mesh, cx);
        self.frames.retain(|_, frame| !is_of(frame));
        done
    }

    /// Times of publication of the messages in its queues, with their services.
    pub(super) fn messages(&self) -> impl Iterator<Item = (ServiceId, Time)> + '_ {
        let messages = self.tasks.iter().filter(|(_, task)| matches!(task.role, Role::Message(_)));
        messages.map(|(_, task)| (task.request.service, task.arrived))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.tasks.len()
    }

    /// Requests at this node: owner, and time of arrival.
    pub(super) fn in_flight_at(&self) -> impl Iterator<Item = (Owner, Time)> + Clone + '_ {
        self.tasks
            .iter()
            .filter(|(_, task)| matches!(task.role, Role::Request))
            .map(|(_, task)| (task.owner(), task.arrived))
    }
}

impl ScriptFrame {
    /// The first of a task, which begins with this instruction.
    pub(super) fn first(task: TaskKey, pc: u32) -> Self {
        ScriptFrame { task, parent: None, pc, pending: 0, repeats: None, copy: 0 }
    }
}

impl Task {
    pub(super) fn owner(&self) -> Owner {
        Owner { service: self.request.service, place: self.place }
    }

    /// A task of this role that begins now for this one, and that no caller waits for.
    pub(super) fn beside(&self, now: Time, role: Role) -> Self {
        let request = Request { deadline: Time::NEVER, traced: false, ..self.request };
        let (caller, version, place) = (self.caller, self.version, self.place);
        Task { caller, request, version, arrived: now, place, failure: None, degraded: false, path: None, role }
    }
}

impl Node {
    /// Handles a reply: the script that waits for it continues. If none waits for it any more, the path of its request
    /// may still include it.
    pub(super) fn reply(&mut self, reply: Reply, cx: &mut MeshCx<'_>) {
        let Some(work) = &mut self.work else { return };
        let is_of_this_incarnation = reply.incarnation == cx.incarnation() as u16;
        if reply.path.is_some()
            && is_of_this_incarnation
            && let Some((task, given_up)) = work.late.came(&reply)
        {
            let path = work.tasks.get_mut(task).and_then(|task| task.path.as_mut());
            if let (Some(path), Some(late)) = (path, reply.path) {
                path.come_late(&given_up, *late, 1);
            }
            return;
        }
        if let Some(ended) = work.calls.reply(reply, &self.mesh, cx) {
            self.call_ended(ended, cx);
        }
    }

    /// A call that a frame had made has ended.
    pub(super) fn call_ended(&mut self, ended: CallOutcome<FrameKey>, cx: &mut MeshCx<'_>) {
        if let Some(hosting) = &mut self.hosting {
            count(hosting, &ended, &self.mesh);
        }
        let frame = ended.owner;
        // No frame waits for a detached call.
        if frame.is_null() {
            return;
        }
        self.take_result(ended);
        self.run(frame, cx);
    }

    /// Cuts off an instance whose grace has passed: its running and waiting requests fail, and release its slots, its
    /// share of the cores and its calls. Their callers get replies; the services that they called are not informed.
    pub(super) fn cut(&mut self, service: ServiceId, ordinal: u32, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(service)) else { return };
        let Ok(at) = hosted.find(ordinal) else { return };
        let waiting: Vec<TaskKey> = hosted.instances[at].queue().collect();
        if let Some(work) = &mut self.work {
            let is_here = |task: &Task| (task.request.service, task.request.ordinal) == (service, ordinal);
            let mut tasks: Vec<_> =
                work.tasks.iter().filter(|(_, task)| is_here(task)).map(|(key, task)| (task.arrived, key)).collect();
            tasks.sort_unstable();
            for done in work.drop_scripts(|_, task| is_here(task), false, &self.mesh, cx) {
                hosted.worked(&done, now);
            }
            for key in waiting {
                let arrived = work.tasks.get(key).map_or(now, |task| task.arrived);
                hosted.places.leaves_queue(hosted.instances[at].place, now);
                hosted.waited(arrived, now);
            }
            let (place, messages) = (hosted.instances[at].place, hosted.instances[at].waiting_messages());
            if messages > 0 {
                hosted.places.messages(place, now, -messages);
            }
            for (_, key) in tasks {
                let Some(mut task) = work.remove(key) else { continue };
                let failure = Some(Failure::Cut);
                match &mut task.role {
                    Role::Request => {}
                    Role::Block => {
                        detached::ended(hosted, &task, key, failure, cx);
                        continue;
                    }
                    Role::Message(message) => {
                        message.take_timer().into_iter().for_each(|timer| cx.disarm(timer));
                        queues::lost(hosted, task.arrived);
                        cx.note(mark::BLOCK_ENDED, number(key), 0);
                        continue;
                    }
                }
                work.late.forget(key);
                hosted.failed(task.place, task.arrived, Failure::Cut, now);
                cut_off(key, task, Failure::Cut, cx);
            }
        }
        hosted.cut(at, cx);
    }

    /// Handles a wake: the scripts whose work is done continue.
    pub(super) fn work_done(&mut self, cx: &mut MeshCx<'_>) {
        while let Some(done) = self.work.as_mut().and_then(|work| work.processor.next_done(cx)) {
            match done.runner {
                Runner::Script(frame) => {
                    self.count_work(done, cx.now());
                    self.run(frame, cx);
                }
                Runner::Pass(pass) => self.pass_worked(pass, cx),
            }
        }
    }

    /// Counts work of the processor for the service that it was done for.
    pub(super) fn count_work(&mut self, done: Done, now: Time) {
        let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(done.owner.service)) else { return };
        hosted.worked(&done, now);
        if self.mesh.service(done.owner.service).is_sampled()
            && let Runner::Script(frame) = done.runner
            && let Some(work) = &self.work
            && let Some(task) = work.frames.get(frame).and_then(|frame| work.tasks.get(frame.task))
        {
            hosted.gauge_work(task.request.ordinal, done.worked);
        }
    }

    /// Counts the copies of calls that have ended.
    #[inline]
    pub(super) fn count_copies(&mut self) {
        if self.work.as_ref().is_some_and(|work| work.calls.has_copies()) {
            self.count_ended_copies();
        }
    }

    #[cold]
    fn count_ended_copies(&mut self) {
        let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return };
        for counted in work.calls.take_copies() {
            count_by_edge(hosting, &counted, &self.mesh);
        }
    }

    /// The machine went down: counts the work done until then, and the requests in flight as lost.
    pub(super) fn count_what_is_lost(&mut self) {
        let (Some(work), Some(hosting)) = (&self.work, &mut self.hosting) else { return };
        for done in work.processor.in_progress() {
            if let Some(hosted) = hosting.get(done.owner.service) {
                // The time of the crash is unknown here: at most the duration of the work has passed.
                hosted.worked(&done, done.began + done.worked);
            }
        }
        for (owner, arrived) in work.in_flight_at() {
            if let Some(hosted) = hosting.get(owner.service) {
                hosted.places.lost(owner.place, arrived);
            }
        }
        for (service, published) in work.messages() {
            if let Some(hosted) = hosting.get(service) {
                queues::lost(hosted, published);
            }
        }
    }

    /// Ends a script: the caller gets its reply. Returns the owner of the free slot, if something waits for it.
    pub(super) fn end_task(&mut self, key: TaskKey, cx: &mut MeshCx<'_>) -> Option<(ServiceId, u32)> {
        let (work, hosting) = (self.work.as_mut()?, self.hosting.as_mut()?);
        let task = work.tasks.get_mut(key)?;
        let mut path = task.path.take();
        if path.is_some() {
            work.late.forget(key);
        }
        let (request, now) = (&task.request, cx.now());
        let endpoint = self.mesh.service(request.service).endpoint(task.version, request.endpoint);
        let draw_error = || request.draws(self.mesh.seed, Draw::Error).chance(endpoint.errors);
        let is_impaired = || impaired::fails(request, task.version, &self.mesh, cx);
        let failure = task.failure.or_else(|| (draw_error() || is_impaired()).then_some(Failure::Error));

        let hosted = hosting.get(request.service).expect("the service of a task is hosted");
        match failure {
            None => hosted.answered(task.place, task.arrived, task.degraded, request.id.root, now),
            Some(failure) => hosted.failed(task.place, task.arrived, failure, now),
        }
        hosted.busy_changed(now, -1);
        let at = hosted.find(request.ordinal).expect("the instance of a task is there");
        let instance = &mut hosted.instances[at];
        instance.active -= 1;
        if let (Some(guard), Some(of)) = (instance.guard(), &self.mesh.service(request.service).serving) {
            let place = u64::from(cx.id().0) << 32 | u64::from(request.ordinal);
            let key = mix(self.mesh.seed ^ mix(place ^ u64::from(request.service.0) << 16));
            guard.ended(of, task.arrived, key, now);
        }
        let freed = instance.awaits_slot().then_some((request.service, request.ordinal));
        if let Some(path) = &mut path {
            (path.hops[0].ended, path.hops[0].failure) = (now, failure);
        }
        cx.note(mark::ANSWERED, number(key), 0);
        answer(task.caller, request, failure, task.degraded, endpoint.response_bytes, path, cx);
        work.cancellable.ended(task.caller, request, key);
        work.tasks.discard(key);
        freed
    }
}

/// Counts a call that has ended, for the service that made it.
pub(super) fn count(hosting: &mut HostedServices, ended: &CallOutcome<FrameKey>, mesh: &Mesh) {
    ended.counted().for_each(|counted| count_by_edge(hosting, counted, mesh));
}

fn count_by_edge(hosting: &mut HostedServices, counted: &Counted, mesh: &Mesh) {
    if let Some(hosted) = counted.by.and_then(|service| hosting.get(service)) {
        let unused = || Box::new(Used::new(Course::new(Shape::of_nodes(mesh))));
        let counts = hosted.measured(counted.began).is_some();
        let calls = &mut hosted.figures.get_or_insert_default().served.calls;
        calls.entry(counted.edge).or_insert_with(unused).count(counted, counts);
    }
}

/// A task or a frame, in a note.
pub(super) fn number(key: impl Key) -> u64 {
    key.data().as_ffi()
}

/// Ends a request before its script has, with this failure.
pub(super) fn cut_off(key: TaskKey, task: Task, failure: Failure, cx: &mut MeshCx<'_>) {
    let mut path = task.path;
    if let Some(path) = &mut path {
        (path.hops[0].ended, path.hops[0].failure) = (cx.now(), Some(failure));
    }
    cx.note(mark::CUT, number(key), 0);
    answer(task.caller, &task.request, Some(failure), false, 0, path, cx);
}

/// The instance takes no more, or is not there.
#[cold]
pub(super) fn refuse(to: ActorId, request: &Request, version: u32, cx: &mut MeshCx<'_>) {
    let failure = Some(Failure::Refused);
    let hop = Hop { failure, ..Hop::arrived(request, cx.id(), version, cx.now()) };
    let path = request.traced.then(|| Box::new(hop.into()));
    cx.note(mark::TURNED_AWAY, request.id.key, 0);
    answer(to, request, failure, false, 0, path, cx);
}

pub(super) fn answer(
    to: ActorId,
    request: &Request,
    failure: Option<Failure>,
    degraded: bool,
    bytes: u32,
    path: Option<Box<Path>>,
    cx: &mut MeshCx<'_>,
) {
    // An error is a status line, whatever the size of a successful reply.
    let bytes = if failure.is_some() { 64 } else { bytes };
    let degraded = degraded && failure.is_none();
    let Request { call, attempt, incarnation, .. } = *request;
    cx.send(to, Msg::Reply(Reply { call, attempt, incarnation, failure, degraded, bytes, path }));
}
