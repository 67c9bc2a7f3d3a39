//! Requests at a node, and the scripts that they run.
//!
//! A request that has a slot is a task. A frame is a position in its script: one for the script itself and one for each
//! branch that runs beside others.

use meshsim_actor::{ActorId, Span, Time, mix};
use serde::{Deserialize, Serialize};
use slotmap::{Key, new_key_type};

use super::cancel::Cancellable;
use super::hosting::{HostedServices, InstanceState};
use super::late::Late;
use super::processor::{Done, Owner, Processor};
use super::queues::QueuedMessage;
use super::{Node, detached, queues};
use crate::actors::MeshCx;
use crate::call::{CallOutcome, CallSpec, Caller};
use crate::course::{Course, Shape};
use crate::edge::Used;
use crate::impaired::{self, HANGING, Onset};
use crate::mark;
use crate::measure::Failure;
use crate::message::{Msg, Reply, Request, Tick};
use crate::model::{Mesh, ProxyPer, ServiceId};
use crate::path::{HOPS_MAX, Hop, Path};
use crate::policy::PolicyEvent;
use crate::program::Instruction;
use crate::proxy::ProxyId;
use crate::request_id::Draw;
use crate::serving::{self, Arrival};
use crate::slots::Slots;

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
    parent: Option<FrameKey>,
    pc: u32,
    /// Branches that it waits for.
    pending: u32,
    /// Remaining repetitions of the call at `pc`; `None`: not begun.
    repeats: Option<u32>,
    /// Index of the branch in its parent.
    copy: u32,
}

/// State of a frame that has run as far as it could.
enum FrameStatus {
    /// It waits for a timer, a reply or its branches.
    Waits,
    /// It began branches, which run now.
    Forked,
    /// Its branch, or the whole script, is done.
    Ended,
}

impl Work {
    fn new(cores: f64) -> Self {
        Work {
            tasks: Slots::default(),
            frames: Slots::default(),
            processor: Processor::new(cores),
            calls: Caller::new(),
            late: Late::default(),
            cancellable: Cancellable::default(),
        }
    }

    /// Takes a request out that has ended.
    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Task> {
        let task = self.tasks.remove(key)?;
        self.cancellable.ended(task.caller, &task.request, key);
        Some(task)
    }

    /// Ends the scripts of some tasks: their work, their calls and their frames. If it `cancels`, the called instances are
    /// told so. Returns what was done of the work.
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
    fn messages(&self) -> impl Iterator<Item = (ServiceId, Time)> + '_ {
        let messages = self.tasks.iter().filter(|(_, task)| matches!(task.role, Role::Message(_)));
        messages.map(|(_, task)| (task.request.service, task.arrived))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.tasks.len()
    }

    /// Requests at this node: owner, and time of arrival.
    pub(super) fn in_flight_at(&self) -> impl Iterator<Item = (Owner, Time)> + '_ {
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
    fn owner(&self) -> Owner {
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
    /// A request arrives: it gets a slot, waits for one, or is refused.
    pub(super) fn request(&mut self, from: ActorId, request: Request, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        let hosted = self.hosting.as_mut().and_then(|hosting| hosting.get(request.service));
        let Some(hosted) = hosted else { return refuse(from, &request, 0, cx) };
        if let Some(served) = hosted.measured(now) {
            served.arrived += 1;
        }
        let found = hosted.find(request.ordinal).ok();
        let place = match found {
            Some(at) => hosted.instances[at].place,
            None => hosted.nowhere(now),
        };
        let window = hosted.places.course(place).at(now);
        window.offered += 1;
        window.retries += u64::from(request.attempt > 0);
        if request.deadline <= now {
            window.expired += 1;
            if let Some(served) = hosted.measured(now) {
                served.expired += 1;
            }
            cx.note(mark::LATE, request.id.key, 0);
            return;
        }
        let service = self.mesh.service(request.service);
        let mut slots = hosted.slots();
        let mut instance = found.map(|at| &mut hosted.instances[at]);
        let work = self.work.get_or_insert_with(|| Box::new(Work::new(self.mesh.cores(cx.id()))));
        let known = request.endpoint.index() < service.endpoints.len();
        let version = instance.as_ref().map_or(0, |instance| instance.version);
        slots = impaired::slots(slots, request.service, version, request.ordinal, cx);
        let accepting = instance.as_mut().filter(|instance| {
            let takes = matches!(instance.state, InstanceState::Ready | InstanceState::Draining);
            let room = instance.active < slots || instance.queue.len() < service.queue as usize;
            let is_accepted = takes && room && known && work.tasks.len() < TASKS_MAX;
            is_accepted && !impaired::refuses(&request, version, &self.mesh, cx)
        });
        let admission = match (accepting, service.serving.as_deref()) {
            (None, _) => Err(None),
            (Some(_), None) => Ok(()),
            (Some(instance), Some(of)) => {
                let arrival = Arrival {
                    deadline: request.deadline,
                    priority: serving::priority::of(&request, version, &self.mesh),
                    there: instance.active + instance.queue.len() as u32,
                    room: slots.saturating_add(service.queue),
                };
                instance.guard.get_or_insert_default().admit(of, &arrival, now).map_err(Some)
            }
        };
        let (Some(instance), Ok(())) = (instance, admission) else {
            if let Some(served) = hosted.measured(now) {
                served.failed.count(Failure::Refused);
            }
            if let Err(Some(event)) = admission {
                hosted.shed(event, place, now);
            }
            hosted.places.course(place).failed(now, Span::ZERO, Failure::Refused);
            return refuse(from, &request, version, cx);
        };
        let path = request.traced.then(|| Box::new(Hop::arrived(&request, cx.id(), version, now).into()));
        let task = work.tasks.insert(Task {
            caller: from,
            request,
            version,
            arrived: now,
            place,
            failure: None,
            degraded: false,
            path,
            role: Role::Request,
        });
        work.cancellable.came(from, &request, task, &self.mesh);
        let is_to_wait = instance.active >= slots;
        hosted.places.came(place, is_to_wait, now);
        if !is_to_wait {
            if let Some((service, ordinal)) = self.begin(task, cx) {
                self.begin_waiting(service, ordinal, cx);
            }
        } else {
            instance.waits(task, now);
            let waiting = instance.queue.len() as u32;
            if let Some(served) = hosted.measured(now) {
                served.queue_peak = served.queue_peak.max(waiting);
            }
            cx.note(mark::QUEUED, number(task), u64::from(slots));
        }
    }

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
        let waiting: Vec<TaskKey> = hosted.instances[at].queue.iter().copied().collect();
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
                if let Some(served) = hosted.measured(arrived) {
                    served.waited_ns = served.waited_ns.saturating_add(now.since(arrived).nanos());
                }
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
                if let Some(served) = hosted.measured(task.arrived) {
                    served.failed.count(Failure::Cut);
                }
                let took = now.since(task.arrived);
                hosted.places.ended(task.place, now).failed(task.arrived, took, Failure::Cut);
                cut_off(key, task, Failure::Cut, cx);
            }
        }
        hosted.cut(at, cx);
    }

    /// Capacity may have grown, or instances come: those that wait begin.
    pub(super) fn slots_changed(&mut self, service: ServiceId, cx: &mut MeshCx<'_>) {
        let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(service)) else { return };
        let ordinals: Vec<u32> =
            hosted.instances.iter().filter(|i| !i.queue.is_empty()).map(|instance| instance.ordinal).collect();
        for ordinal in ordinals {
            self.begin_waiting(service, ordinal, cx);
        }
    }

    /// Gives a task a slot of its instance and begins its script. If the script ends at once, returns the owner of the
    /// slot.
    fn begin(&mut self, key: TaskKey, cx: &mut MeshCx<'_>) -> Option<(ServiceId, u32)> {
        let (work, hosting) = (self.work.as_mut()?, self.hosting.as_mut()?);
        let task = &mut work.tasks[key];
        if let Some(path) = &mut task.path {
            path.hops[0].began = cx.now();
        }
        let hosted = hosting.get(task.request.service).expect("the service of a task is hosted");
        if let Some(served) = hosted.measured(task.arrived) {
            served.waited_ns += cx.now().since(task.arrived).nanos();
        }
        hosted.busy_changed(cx.now(), 1);
        let at = hosted.find(task.request.ordinal).expect("the instance of a task is there");
        hosted.instances[at].active += 1;
        let frame = work.frames.insert(ScriptFrame::first(key, 0));
        cx.note(mark::SLOT, number(key), number(frame));
        match impaired::onset(&task.request, task.version, &self.mesh, cx) {
            Onset::Now => return self.run_script(frame, cx),
            Onset::Late(wait) => {
                cx.note(mark::SLEEP, number(frame), wait.nanos());
                cx.arm(cx.now() + wait, Tick::Frame(frame));
            }
            Onset::Hangs => self.hang(frame, cx),
        }
        None
    }

    /// A request hangs: it keeps its slot, and looks again later.
    fn hang(&mut self, frame: FrameKey, cx: &mut MeshCx<'_>) {
        cx.note(mark::SLEEP, number(frame), HANGING.nanos());
        cx.arm(cx.now() + HANGING, Tick::Hanging(frame));
    }

    /// A request that hung begins its script, unless it still hangs.
    pub(super) fn look_if_it_hangs(&mut self, frame: FrameKey, cx: &mut MeshCx<'_>) {
        let Some(work) = &self.work else { return };
        // It may have been cut meanwhile.
        let Some(task) = work.frames.get(frame).and_then(|frame| work.tasks.get(frame.task)) else { return };
        match impaired::hangs(&task.request, task.version, &self.mesh, cx) {
            true => self.hang(frame, cx),
            false => self.run(frame, cx),
        }
    }

    /// Slots are free: the first that wait get them. Those whose caller has given up go unanswered.
    pub(super) fn begin_waiting(&mut self, service: ServiceId, ordinal: u32, cx: &mut MeshCx<'_>) {
        loop {
            let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return };
            let Some(hosted) = hosting.get(service) else { return };
            let Ok(at) = hosted.find(ordinal) else { return };
            let slots = hosted.slots();
            let instance = &mut hosted.instances[at];
            let slots = impaired::slots(slots, service, instance.version, ordinal, cx);
            if instance.active >= slots {
                return;
            }
            let of = self.mesh.service(service).serving.as_deref();
            let Some(next) = instance.take(of, cx.now()) else { return hosted.remove_if_closed(at, cx) };
            let place = instance.place;
            hosted.places.leaves_queue(place, cx.now());
            let deadline = work.tasks[next].request.deadline;
            if deadline > cx.now() && of.is_some_and(|of| serving::is_too_late(of, deadline, cx.now())) {
                self.shed(next, PolicyEvent::ShedDeadline, cx);
            } else if deadline <= cx.now() {
                // Its deadline passed in the queue; the waiting time still counts.
                let arrived = work.remove(next).map_or(cx.now(), |task| task.arrived);
                let waited = cx.now().since(arrived);
                if let Some(served) = hosted.measured(arrived) {
                    served.waited_ns += waited.nanos();
                    served.expired += 1;
                }
                let course = hosted.places.ended(place, cx.now());
                course.left(arrived, waited);
                course.at(arrived).expired += 1;
                cx.note(mark::LATE, number(next), 0);
            } else {
                // If its slot is free again already, the next look sees it: a long queue must not become a deep stack.
                self.begin(next, cx);
            }
        }
    }

    /// Refuses a request that has waited.
    fn shed(&mut self, key: TaskKey, event: PolicyEvent, cx: &mut MeshCx<'_>) {
        let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return };
        let Some(task) = work.remove(key) else { return };
        let Some(hosted) = hosting.get(task.request.service) else { return };
        let waited = cx.now().since(task.arrived);
        hosted.shed(event, task.place, task.arrived);
        if let Some(served) = hosted.measured(task.arrived) {
            served.waited_ns += waited.nanos();
            served.failed.count(Failure::Refused);
        }
        hosted.places.ended(task.place, cx.now()).failed(task.arrived, waited, Failure::Refused);
        cut_off(key, task, Failure::Refused, cx);
    }

    /// Continues a script. If it is done, its slot is free for the next.
    pub(super) fn run(&mut self, frame: FrameKey, cx: &mut MeshCx<'_>) {
        // Its request may have been cut while it slept.
        if !self.work.as_ref().is_some_and(|work| work.frames.contains_key(frame)) {
            return;
        }
        if let Some((service, ordinal)) = self.run_script(frame, cx) {
            self.begin_waiting(service, ordinal, cx);
        }
    }

    /// Handles a wake: the scripts whose work is done continue.
    pub(super) fn work_done(&mut self, cx: &mut MeshCx<'_>) {
        while let Some(done) = self.work.as_mut().and_then(|work| work.processor.next_done(cx)) {
            self.count_work(done, cx.now());
            self.run(done.frame, cx);
        }
    }

    /// Counts work of the processor for the service that it was done for.
    pub(super) fn count_work(&mut self, done: Done, now: Time) {
        let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(done.owner.service)) else { return };
        hosted.worked(&done, now);
        if self.mesh.service(done.owner.service).autoscale.is_some()
            && let Some(work) = &self.work
            && let Some(task) = work.frames.get(done.frame).and_then(|frame| work.tasks.get(frame.task))
        {
            hosted.gauge_work(task.request.ordinal, done.worked);
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

    /// Runs a frame as far as it goes, then the frames that were waiting for it. If the script is done, returns the
    /// owner of its slot: the service and the instance.
    fn run_script(&mut self, frame: FrameKey, cx: &mut MeshCx<'_>) -> Option<(ServiceId, u32)> {
        let mut freed = None;
        // Only a fork has more than one that can run; without one nothing is allocated.
        let mut branches: Vec<FrameKey> = Vec::new();
        let mut next = Some(frame);
        while let Some(key) = next {
            next = match self.run_frame(key, &mut branches, cx) {
                FrameStatus::Waits | FrameStatus::Forked => branches.pop(),
                FrameStatus::Ended => self.end_frame(key, &mut freed, cx).or_else(|| branches.pop()),
            };
        }
        freed
    }

    /// Runs one frame until it waits, forks or ends.
    fn run_frame(&mut self, key: FrameKey, branches: &mut Vec<FrameKey>, cx: &mut MeshCx<'_>) -> FrameStatus {
        let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return FrameStatus::Waits };
        loop {
            let frame = &mut work.frames[key];
            let task = &work.tasks[frame.task];
            if task.failure.is_some() {
                return FrameStatus::Ended;
            }
            let request = &task.request;
            let draws = |frame: &ScriptFrame| request.draws(self.mesh.seed, Draw::Instruction(frame.pc));
            let endpoint = self.mesh.service(request.service).endpoint(task.version, request.endpoint);
            let (span, worked) = match endpoint.program.at(frame.pc) {
                Instruction::Work(dist) => {
                    (impaired::work(dist.sample(&mut draws(frame)), request, task.version, cx), true)
                }
                Instruction::SizedWork(work) => {
                    let span = work.sample(request.bytes, &mut draws(frame));
                    (impaired::work(span, request, task.version, cx), true)
                }
                Instruction::Sleep(dist) => (dist.sample(&mut draws(frame)), false),
                Instruction::Call(call) => {
                    let begun = frame.repeats;
                    let repeats =
                        begun.unwrap_or_else(|| if draws(frame).chance(call.probability) { call.count } else { 0 });
                    if repeats == 0 {
                        (frame.pc, frame.repeats) = (frame.pc + 1, None);
                        continue;
                    }
                    frame.repeats = Some(repeats - 1);
                    // The copies beside each other are branches, those after each other are counted down.
                    let copy = frame.copy.wrapping_add(call.count - repeats);
                    let callee = CallSpec {
                        id: request.id.call(request.attempt, frame.pc, copy),
                        by: Some(request.service),
                        optional: call.optional && !call.detached,
                        service: call.service,
                        endpoint: call.endpoint,
                        bytes: if call.keeps_size { request.bytes } else { call.request_bytes },
                        policy: call.policy,
                        deadline: if call.detached { Time::NEVER } else { request.deadline },
                        traced: request.traced && !call.detached,
                    };
                    // The null key names no frame, so no frame waits for the call.
                    let owner = if call.detached { FrameKey::null() } else { key };
                    let proxy = match self.mesh.proxy {
                        ProxyPer::Instance => hosting.proxy(request.service, request.ordinal, &mut work.calls),
                        ProxyPer::Node => ProxyId::ONLY,
                    };
                    cx.note(mark::CALL, number(key), callee.id.key);
                    let ended = work.calls.call(callee, owner, proxy, &self.mesh, &self.view, cx);
                    if let Some(ended) = &ended {
                        count(hosting, ended, &self.mesh);
                    }
                    match ended {
                        _ if call.detached => continue,
                        None => return FrameStatus::Waits,
                        Some(ended) if ended.failure.is_some() && !call.optional => {
                            work.tasks[frame.task].failure = ended.failure;
                            return FrameStatus::Ended;
                        }
                        Some(_) => {
                            work.tasks[frame.task].degraded = true;
                            continue;
                        }
                    }
                }
                Instruction::Fork { probability, branches: starts, join } => {
                    frame.pc = *join;
                    if starts.is_empty() || !draws(frame).chance(*probability) {
                        continue;
                    }
                    frame.pending = starts.len() as u32;
                    let parent = *frame;
                    // The last is run first: begin with the first.
                    for (copy, pc) in starts.iter().enumerate().rev() {
                        let (task, parent) = (parent.task, Some(key));
                        let branch =
                            ScriptFrame { task, parent, pc: *pc, pending: 0, repeats: None, copy: copy as u32 };
                        let branch = work.frames.insert(branch);
                        cx.note(mark::FORK, number(key), number(branch));
                        branches.push(branch);
                    }
                    return FrameStatus::Forked;
                }
                Instruction::Skip { probability, to } => {
                    let is_skipped = *probability >= 1.0 || draws(frame).chance(*probability);
                    frame.pc = if is_skipped { *to } else { frame.pc + 1 };
                    continue;
                }
                Instruction::Detach { to } => {
                    let block = frame.pc + 1;
                    frame.pc = *to;
                    let of = frame.task;
                    branches.extend(work.detach(key, of, block, hosting, cx));
                    continue;
                }
                Instruction::LookUp { cache, hit, to } => {
                    let (step, key) = ((request.endpoint, frame.pc), cache.keys.of(self.mesh.seed, request.id.root));
                    let (hosted, at) = hosting.instance_of(request);
                    let kept = hosted.instances[at].kept.get_or_insert_default();
                    let is_hit = kept.caches.look_up(step, key, cx.now());
                    if let Some(served) = hosted.measured(task.arrived) {
                        served.caches.hits += u64::from(is_hit);
                        served.caches.misses += u64::from(!is_hit);
                    }
                    if !is_hit {
                        frame.pc += 1;
                        continue;
                    }
                    let span = hit.sample(&mut draws(frame));
                    frame.pc = *to - 1;
                    (span, false)
                }
                Instruction::Fill { of } => {
                    if let Instruction::LookUp { cache, .. } = endpoint.program.at(*of) {
                        let key = cache.keys.of(self.mesh.seed, request.id.root);
                        let (hosted, at) = hosting.instance_of(request);
                        let kept = hosted.instances[at].kept.get_or_insert_default();
                        kept.caches.fill((request.endpoint, *of), key, cache, cx.now());
                    }
                    frame.pc += 1;
                    continue;
                }
                Instruction::Publish { queue, to } => {
                    let (of, pc) = (frame.task, frame.pc);
                    frame.pc = *to;
                    match work.publish(key, (of, pc), *queue, hosting, cx) {
                        Ok(delivery) => branches.extend(delivery),
                        Err(failure) => work.tasks[of].failure = Some(failure),
                    }
                    continue;
                }
                Instruction::End => return FrameStatus::Ended,
            };
            frame.pc += 1;
            if span.is_zero() {
                continue;
            }
            cx.note(if worked { mark::WORK } else { mark::SLEEP }, number(key), span.nanos());
            if worked {
                let limit = self.mesh.service(request.service).cpu_limit;
                work.processor.begin(key, span, (task.owner(), request.ordinal), limit, cx);
            } else {
                cx.arm(cx.now() + span, Tick::Frame(key));
            }
            return FrameStatus::Waits;
        }
    }

    /// A call of this frame has ended: a failure that matters ends the script.
    fn take_result(&mut self, ended: CallOutcome<FrameKey>) {
        let Some(work) = &mut self.work else { return };
        let Some(frame) = work.frames.get(ended.owner) else { return };
        let task = &mut work.tasks[frame.task];
        if let (Some(path), Some(below)) = (&mut task.path, ended.path) {
            if path.hops.len() < HOPS_MAX {
                work.late.await_those_of(frame.task, ended.call, &below);
            }
            path.append(*below, 1);
        }
        match ended.failure {
            None => task.degraded |= ended.degraded,
            Some(_) if ended.counted.optional => task.degraded = true,
            Some(failure) => _ = task.failure.get_or_insert(failure),
        }
    }

    /// Ends a frame. Returns the frame that can continue because of it.
    fn end_frame(
        &mut self,
        key: FrameKey,
        freed: &mut Option<(ServiceId, u32)>,
        cx: &mut MeshCx<'_>,
    ) -> Option<FrameKey> {
        let work = self.work.as_mut()?;
        let frame = work.frames.remove(key)?;
        cx.note(mark::FRAME_ENDED, number(key), 0);
        let Some(parent) = frame.parent else {
            match work.tasks.get(frame.task).map(|task| &task.role) {
                Some(Role::Block) => self.end_block(frame.task, cx),
                Some(Role::Message(_)) => return self.end_delivery(frame.task, cx),
                Some(Role::Request) | None => *freed = self.end_task(frame.task, cx),
            }
            return None;
        };
        let waiting = &mut work.frames[parent];
        waiting.pending -= 1;
        (waiting.pending == 0).then_some(parent)
    }

    /// Ends a script: the caller gets its reply. Returns the owner of the free slot.
    fn end_task(&mut self, key: TaskKey, cx: &mut MeshCx<'_>) -> Option<(ServiceId, u32)> {
        let (work, hosting) = (self.work.as_mut()?, self.hosting.as_mut()?);
        let task = work.remove(key)?;
        if task.path.is_some() {
            work.late.forget(key);
        }
        let (request, now) = (task.request, cx.now());
        let endpoint = self.mesh.service(request.service).endpoint(task.version, request.endpoint);
        let draw_error = || request.draws(self.mesh.seed, Draw::Error).chance(endpoint.errors);
        let is_impaired = || impaired::fails(&request, task.version, &self.mesh, cx);
        let failure = task.failure.or_else(|| (draw_error() || is_impaired()).then_some(Failure::Error));

        let hosted = hosting.get(request.service).expect("the service of a task is hosted");
        let took = now.since(task.arrived);
        let course = hosted.places.ended(task.place, now);
        match failure {
            None => {
                course.done(task.arrived, took, request.id.root);
                hosted.done(task.arrived, took, task.degraded);
            }
            Some(failure) => {
                course.failed(task.arrived, took, failure);
                if let Some(served) = hosted.measured(task.arrived) {
                    served.failed.count(failure);
                }
            }
        }
        hosted.busy_changed(now, -1);
        let at = hosted.find(request.ordinal).expect("the instance of a task is there");
        let instance = &mut hosted.instances[at];
        instance.active -= 1;
        if let (Some(guard), Some(of)) = (&mut instance.guard, &self.mesh.service(request.service).serving) {
            let place = u64::from(cx.id().0) << 32 | u64::from(request.ordinal);
            let key = mix(self.mesh.seed ^ mix(place ^ u64::from(request.service.0) << 16));
            guard.ended(of, task.arrived, key, now);
        }
        let mut path = task.path;
        if let Some(path) = &mut path {
            (path.hops[0].ended, path.hops[0].failure) = (now, failure);
        }
        cx.note(mark::ANSWERED, number(key), 0);
        answer(task.caller, &request, failure, task.degraded, endpoint.response_bytes, path, cx);
        Some((request.service, request.ordinal))
    }
}

/// Counts a call that has ended, for the service that made it.
fn count(hosting: &mut HostedServices, ended: &CallOutcome<FrameKey>, mesh: &Mesh) {
    for counted in ended.counted() {
        if let Some(hosted) = counted.by.and_then(|service| hosting.get(service)) {
            let unused = || Used::new(Course::new(Shape::of_nodes(mesh)));
            let counts = hosted.measured(counted.began).is_some();
            hosted.served.calls.entry(counted.edge).or_insert_with(unused).count(counted, counts);
        }
    }
}

/// A task or a frame, in a note.
pub(super) fn number(key: impl Key) -> u64 {
    key.data().as_ffi()
}

/// Ends a request before its script has, with this failure.
fn cut_off(key: TaskKey, task: Task, failure: Failure, cx: &mut MeshCx<'_>) {
    let mut path = task.path;
    if let Some(path) = &mut path {
        (path.hops[0].ended, path.hops[0].failure) = (cx.now(), Some(failure));
    }
    cx.note(mark::CUT, number(key), 0);
    answer(task.caller, &task.request, Some(failure), false, 0, path, cx);
}

/// The instance takes no more, or is not there.
fn refuse(to: ActorId, request: &Request, version: u32, cx: &mut MeshCx<'_>) {
    let failure = Some(Failure::Refused);
    let hop = Hop { failure, ..Hop::arrived(request, cx.id(), version, cx.now()) };
    let path = request.traced.then(|| Box::new(hop.into()));
    cx.note(mark::TURNED_AWAY, request.id.key, 0);
    answer(to, request, failure, false, 0, path, cx);
}

fn answer(
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
