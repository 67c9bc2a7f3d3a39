//! Requests at an instance: one that arrives gets a slot, waits for one, or is refused.

use meshsim_actor::ActorId;

use super::Node;
use super::hosting::{HostedService, InstanceState};
use super::work::{FrameKey, Role, ScriptFrame, TASKS_MAX, Task, TaskKey, Work, cut_off, number, refuse};
use crate::actors::MeshCx;
use crate::impaired::{self, HANGING, Onset};
use crate::mark;
use crate::measure::Failure;
use crate::message::{Request, Tick};
use crate::model::ServiceId;
use crate::mutant::Mutant;
use crate::path::Hop;
use crate::policy::PolicyEvent;
use crate::serving::{self, Arrival, Taken};

impl Node {
    /// A request arrives: it gets a slot, waits for one, or is refused.
    pub(super) fn request(&mut self, from: ActorId, request: Request, cx: &mut MeshCx<'_>) {
        let now = cx.now();
        let hosted = self.hosting.as_mut().and_then(|hosting| hosting.get(request.service));
        let Some(hosted) = hosted else { return refuse(from, &request, 0, cx) };
        let found = hosted.find(request.ordinal).ok();
        let place = match found {
            Some(at) => hosted.instances[at].place,
            None => hosted.nowhere(now),
        };
        hosted.arrived(place, request.attempt > 0, now);
        if request.deadline <= now {
            hosted.came_late(place, now);
            cx.note(mark::LATE, request.id.key, 0);
            return;
        }
        let service = self.mesh.service(request.service);
        let mut slots = hosted.slots() + u32::from(Mutant::SlotTooMany.is_on());
        let mut instance = found.map(|at| &mut hosted.instances[at]);
        let work = self.work.get_or_insert_with(|| Box::new(Work::new(cx.id(), &self.mesh)));
        let known = request.endpoint.index() < service.endpoints.len();
        let version = instance.as_ref().map_or(0, |instance| instance.version);
        slots = impaired::slots(slots, request.service, version, request.ordinal, cx);
        let accepting = instance.as_mut().filter(|instance| {
            let takes = matches!(instance.state, InstanceState::Ready | InstanceState::Draining);
            let queue = service.queue as usize + usize::from(Mutant::QueueTooLong.is_on());
            let room = instance.active < slots || instance.waiting() < queue;
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
                    there: instance.active + instance.waiting() as u32,
                    room: slots.saturating_add(service.queue),
                };
                instance.guard_mut().admit(of, &arrival, now).map_err(Some)
            }
        };
        let (Some(at), Some(instance), Ok(())) = (found, instance, admission) else {
            if let Err(Some(event)) = admission {
                hosted.shed(event, place, now);
            }
            hosted.refused(place, now);
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
        work.cancellable.came(from, &request, task);
        let is_to_wait = instance.active >= slots;
        hosted.places.came(place, is_to_wait, now);
        if !is_to_wait {
            let frame = take_slot(task, work, hosted, at, cx);
            if let Some((service, ordinal)) = self.begin_script(task, frame, cx) {
                self.begin_waiting(service, ordinal, cx);
            }
        } else {
            instance.waits(task, now);
            let waiting = instance.waiting() as u32;
            if let Some(served) = hosted.measured(now) {
                served.queue_peak = served.queue_peak.max(waiting);
            }
            cx.note(mark::QUEUED, number(task), u64::from(slots));
        }
    }

    /// Capacity may have grown, or instances come: those that wait begin.
    pub(super) fn slots_changed(&mut self, service: ServiceId, cx: &mut MeshCx<'_>) {
        let Some(hosted) = self.hosting.as_mut().and_then(|hosting| hosting.get(service)) else { return };
        let ordinals: Vec<u32> =
            hosted.instances.iter().filter(|i| i.waiting() > 0).map(|instance| instance.ordinal).collect();
        for ordinal in ordinals {
            self.begin_waiting(service, ordinal, cx);
        }
    }

    /// Gives a task a slot of its instance and begins its script. If the script ends at once, returns the owner of the
    /// slot.
    fn begin(&mut self, key: TaskKey, cx: &mut MeshCx<'_>) -> Option<(ServiceId, u32)> {
        let (work, hosting) = (self.work.as_mut()?, self.hosting.as_mut()?);
        let (hosted, at) = hosting.instance_of(&work.tasks[key].request);
        let frame = take_slot(key, work, hosted, at, cx);
        self.begin_script(key, frame, cx)
    }

    /// Begins the script of a task that has a slot. If it ends at once, returns the owner of the slot.
    fn begin_script(&mut self, key: TaskKey, frame: FrameKey, cx: &mut MeshCx<'_>) -> Option<(ServiceId, u32)> {
        let task = &self.work.as_ref()?.tasks[key];
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
    pub(super) fn hang(&mut self, frame: FrameKey, cx: &mut MeshCx<'_>) {
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
            let taken = instance.take(of, |task| work.tasks[task].arrived, cx.now());
            let Some(taken) = taken else { return hosted.remove_if_closed(at, cx) };
            let place = instance.place;
            hosted.places.leaves_queue(place, cx.now());
            let next = match taken {
                Taken::Served(next) => next,
                Taken::Refused(late) => {
                    self.shed(late, PolicyEvent::ShedDelay, cx);
                    continue;
                }
            };
            let deadline = work.tasks[next].request.deadline;
            if deadline <= cx.now() {
                // Its deadline passed in the queue; the waiting time still counts.
                let arrived = work.remove(next).map_or(cx.now(), |task| task.arrived);
                hosted.waited(arrived, cx.now());
                hosted.expired(place, arrived, cx.now());
                cx.note(mark::LATE, number(next), 0);
            } else if of.is_some_and(|of| serving::is_too_late(of, deadline, cx.now())) {
                self.shed(next, PolicyEvent::ShedDeadline, cx);
            } else {
                // If its slot is free again already, the next look sees it: a long queue must not become a deep stack.
                self.begin(next, cx);
            }
        }
    }

    /// Refuses a request that has waited.
    pub(super) fn shed(&mut self, key: TaskKey, event: PolicyEvent, cx: &mut MeshCx<'_>) {
        let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return };
        let Some(task) = work.remove(key) else { return };
        let Some(hosted) = hosting.get(task.request.service) else { return };
        hosted.shed(event, task.place, task.arrived);
        hosted.waited(task.arrived, cx.now());
        hosted.failed(task.place, task.arrived, Failure::Refused, cx.now());
        cut_off(key, task, Failure::Refused, cx);
    }
}

/// Gives a task a slot of its instance, which is at `at`. Returns the first frame of its script.
fn take_slot(key: TaskKey, work: &mut Work, hosted: &mut HostedService, at: usize, cx: &mut MeshCx<'_>) -> FrameKey {
    let task = &mut work.tasks[key];
    if let Some(path) = &mut task.path {
        path.hops[0].began = cx.now();
    }
    hosted.waited(task.arrived, cx.now());
    hosted.busy_changed(cx.now(), 1);
    hosted.instances[at].active += 1;
    let frame = work.frames.insert(ScriptFrame::first(key, 0));
    cx.note(mark::SLOT, number(key), number(frame));
    frame
}
