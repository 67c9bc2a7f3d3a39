//! Scripts of requests: a frame runs until it waits, forks or ends.

use meshsim_actor::{Span, Time};
use slotmap::Key;

use super::Node;
use super::work::{FrameKey, Role, ScriptFrame, count, number};
use crate::actors::MeshCx;
use crate::call::{CallOutcome, CallSpec};
use crate::impaired;
use crate::mark;
use crate::message::Tick;
use crate::model::{ProxyPer, ServiceId};
use crate::path::HOPS_MAX;
use crate::program::Instruction;
use crate::proxy::ProxyId;
use crate::request_id::Draw;

/// State of a frame that has run as far as it could.
enum FrameStatus {
    /// It waits for a timer, a reply or its branches.
    Waits,
    /// It began branches, which run now.
    Forked,
    /// Its branch, or the whole script, is done.
    Ended,
    /// It is at an instruction that few scripts have.
    Rare,
}

impl Node {
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

    /// Runs a frame as far as it goes, then the frames that were waiting for it. If the script is done, returns the
    /// owner of its slot: the service and the instance.
    pub(super) fn run_script(&mut self, frame: FrameKey, cx: &mut MeshCx<'_>) -> Option<(ServiceId, u32)> {
        let mut freed = None;
        // Only a fork has more than one that can run; without one nothing is allocated.
        let mut branches: Vec<FrameKey> = Vec::new();
        let mut next = Some(frame);
        while let Some(key) = next {
            next = match self.run_frame(key, &mut branches, cx) {
                FrameStatus::Waits | FrameStatus::Forked => branches.pop(),
                FrameStatus::Ended => self.end_frame(key, &mut freed, cx).or_else(|| branches.pop()),
                FrameStatus::Rare => self.run_rare(key, &mut branches, cx).or_else(|| branches.pop()),
            };
        }
        freed
    }

    /// Runs one frame until it waits, forks, ends or comes to a rare instruction.
    fn run_frame(&mut self, key: FrameKey, branches: &mut Vec<FrameKey>, cx: &mut MeshCx<'_>) -> FrameStatus {
        let (Some(work), Some(hosting)) = (&mut self.work, &mut self.hosting) else { return FrameStatus::Waits };
        let frame = &mut work.frames[key];
        let task = &mut work.tasks[frame.task];
        if task.failure.is_some() {
            return FrameStatus::Ended;
        }
        let request = &task.request;
        let draws = |frame: &ScriptFrame| request.draws(self.mesh.seed, Draw::Instruction(frame.pc));
        let endpoint = self.mesh.service(request.service).endpoint(task.version, request.endpoint);
        loop {
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
                            task.failure = ended.failure;
                            return FrameStatus::Ended;
                        }
                        Some(_) => {
                            task.degraded = true;
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
                Instruction::Detach { .. }
                | Instruction::LookUp { .. }
                | Instruction::Fill { .. }
                | Instruction::Publish { .. } => return FrameStatus::Rare,
                Instruction::End => return FrameStatus::Ended,
            };
            frame.pc += 1;
            if span.is_zero() {
                continue;
            }
            if worked {
                cx.note(mark::WORK, number(key), span.nanos());
                let limit = self.mesh.service(request.service).cpu_limit;
                work.processor.begin(key, span, (task.owner(), request.ordinal), limit, cx);
            } else {
                sleep(key, span, cx);
            }
            return FrameStatus::Waits;
        }
    }

    /// Runs a rare instruction. Returns the frame if it continues at once.
    #[inline(never)]
    fn run_rare(&mut self, key: FrameKey, branches: &mut Vec<FrameKey>, cx: &mut MeshCx<'_>) -> Option<FrameKey> {
        let (work, hosting) = (self.work.as_mut()?, self.hosting.as_mut()?);
        let frame = &mut work.frames[key];
        let (of, pc) = (frame.task, frame.pc);
        let task = &work.tasks[of];
        let request = &task.request;
        let program = &self.mesh.service(request.service).endpoint(task.version, request.endpoint).program;
        match program.at(pc) {
            Instruction::Detach { to } => {
                frame.pc = *to;
                branches.extend(work.detach(key, of, pc + 1, hosting, cx));
            }
            Instruction::LookUp { cache, hit, to } => {
                let stored = cache.keys.of(self.mesh.seed, request.id.root);
                let (hosted, at) = hosting.instance_of(request);
                let kept = hosted.instances[at].kept_mut();
                let is_hit = kept.caches.look_up((request.endpoint, pc), stored, cx.now());
                if let Some(served) = hosted.measured(task.arrived) {
                    served.caches.hits += u64::from(is_hit);
                    served.caches.misses += u64::from(!is_hit);
                }
                let stores = hosted.places.course(task.place).at(cx.now()).stores();
                *(if is_hit { &mut stores.hits } else { &mut stores.misses }) += 1;
                frame.pc = if is_hit { *to } else { pc + 1 };
                if is_hit {
                    let span = hit.sample(&mut request.draws(self.mesh.seed, Draw::Instruction(pc)));
                    if !span.is_zero() {
                        sleep(key, span, cx);
                        return None;
                    }
                }
            }
            Instruction::Fill { of } => {
                if let Instruction::LookUp { cache, .. } = program.at(*of) {
                    let stored = cache.keys.of(self.mesh.seed, request.id.root);
                    let (hosted, at) = hosting.instance_of(request);
                    let kept = hosted.instances[at].kept_mut();
                    kept.caches.fill((request.endpoint, *of), stored, cache, cx.now());
                }
                frame.pc += 1;
            }
            Instruction::Publish { queue, to } => {
                frame.pc = *to;
                match work.publish(key, (of, pc), *queue, hosting, cx) {
                    Ok(delivery) => branches.extend(delivery),
                    Err(failure) => work.tasks[of].failure = Some(failure),
                }
            }
            Instruction::Work(_)
            | Instruction::SizedWork(_)
            | Instruction::Sleep(_)
            | Instruction::Call(_)
            | Instruction::Fork { .. }
            | Instruction::Skip { .. }
            | Instruction::End => unreachable!("`run_frame` runs it"),
        }
        Some(key)
    }

    /// A call of this frame has ended: a failure that matters ends the script.
    pub(super) fn take_result(&mut self, ended: CallOutcome<FrameKey>) {
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
}

/// A frame continues after this time.
fn sleep(frame: FrameKey, span: Span, cx: &mut MeshCx<'_>) {
    cx.note(mark::SLEEP, number(frame), span.nanos());
    cx.arm(cx.now() + span, Tick::Frame(frame));
}
