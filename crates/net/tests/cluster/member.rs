//! A member machine as an actor, with a driver as small as it can be. The process may be killed and start again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use meshsim_actor::{ActorId, Cx, Span, Time};
use meshsim_fault::Fault;
use meshsim_net::cluster::{Assigned, Blob, Control, Failure, MemberEffect, MemberEvent, MemberMachine, MemberSpec};
use meshsim_net::{Join, MemberError};

use crate::Tick;
use crate::wire::{BEAT, Frame, Key, Pipe, Wire};
use crate::world::{End, Shared, results};

/// Bytes of one part of the results.
const PART: usize = 24;

/// The course of a member, as it was drawn.
#[derive(Clone, Debug)]
pub(crate) struct MemberPlan {
    pub(crate) join: Join,
    pub(crate) start: Time,
    pub(crate) patience: Duration,
    /// When it is asked to leave.
    pub(crate) leaves: Option<Time>,
    /// When it drops its connection, and whether the hub is told.
    pub(crate) cuts: Vec<(Time, bool)>,
    /// Time between two parts of its results.
    pub(crate) pause: Span,
    /// True if it never sends its results.
    pub(crate) hangs: bool,
    /// True if it says twice that it is ready, once.
    pub(crate) says_twice: bool,
    /// How often it is started again when it has failed.
    pub(crate) restarts: u32,
    /// Difference between its count and the time of the simulation.
    pub(crate) offset: u64,
    pub(crate) actors: usize,
    pub(crate) payload: Vec<u8>,
}

/// A process that runs a member, and starts again when it is killed.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) plan: MemberPlan,
    world: Shared,
    boots: u64,
    attempts: u64,
    restarts: u32,
    said_twice: bool,
    running: Option<Running>,
    /// True if it is done for good.
    is_over: bool,
}

#[derive(Debug)]
struct Running {
    machine: MemberMachine,
    boot: u64,
    pipe: Option<Pipe>,
    /// Its run and its actors.
    hosted: Option<(u64, Vec<Assigned>)>,
    /// The run that it was last admitted to.
    admitted: u64,
    has_begun: bool,
    faults: Vec<Fault>,
    healed: BTreeMap<usize, Time>,
    /// Incarnations of the actors that it knows.
    knows: BTreeMap<ActorId, u32>,
    /// True if it has sent all its results, and has not been let go.
    is_uncertain: bool,
    has_left: bool,
    parts: VecDeque<Control>,
    waits: u32,
}

impl Member {
    pub(crate) fn new(plan: MemberPlan, world: Shared) -> Self {
        let restarts = plan.restarts;
        Member { plan, world, boots: 0, attempts: 0, restarts, said_twice: false, running: None, is_over: false }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Its actors, while it takes part in a run.
    pub(crate) fn attends(&self) -> Option<&[Assigned]> {
        let running = self.running.as_ref().filter(|it| it.machine.is_attending())?;
        Some(&running.hosted.as_ref()?.1)
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_, Wire, Tick>) {
        if self.is_over {
            return;
        }
        cx.arm(self.plan.start.max(cx.now()), Tick::Start);
        let now = cx.now();
        for (index, (at, _)) in self.plan.cuts.iter().enumerate().filter(|(_, (at, _))| *at >= now) {
            cx.arm(*at, Tick::Cut(index as u32));
        }
        if let Some(at) = self.plan.leaves.filter(|at| *at >= now) {
            cx.arm(at, Tick::Ask);
        }
    }

    pub(crate) fn reboot(&mut self) {
        if self.running.take().is_some() {
            self.world.borrow_mut().see("a member was killed");
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_, Wire, Tick>) {
        self.boots += 1;
        let boot = u64::from(cx.id().0) * 1000 + self.boots;
        let spec = MemberSpec { hub: "hub".into(), boot_id: boot, patience: self.plan.patience };
        self.running = Some(Running {
            machine: MemberMachine::new(spec),
            boot,
            pipe: None,
            hosted: None,
            admitted: 0,
            has_begun: false,
            faults: Vec::new(),
            healed: BTreeMap::new(),
            knows: BTreeMap::new(),
            is_uncertain: false,
            has_left: false,
            parts: VecDeque::new(),
            waits: 0,
        });
        self.give(MemberEvent::Start, cx);
    }

    pub(crate) fn message(&mut self, from: ActorId, wire: Wire, cx: &mut Cx<'_, Wire, Tick>) {
        let now = cx.now();
        let pipe = self.running.as_mut().and_then(|running| running.pipe.as_mut());
        match (wire, pipe) {
            (Wire::Frame(key, seq, frame), Some(pipe)) if pipe.key == key => {
                for frame in pipe.receive(now, seq, frame) {
                    self.frame(key, frame, cx);
                }
            }
            (Wire::Reset(key), Some(pipe)) if pipe.key == key => self.failed("ended the connection", true, cx),
            (Wire::Frame(key, ..), _) => cx.send(from, Wire::Reset(key)),
            (Wire::Dial(_) | Wire::Reset(_), _) => {}
        }
    }

    fn frame(&mut self, key: Key, frame: Frame, cx: &mut Cx<'_, Wire, Tick>) {
        let Some(running) = &mut self.running else { return };
        let Some(pipe) = running.pipe.as_mut().filter(|pipe| pipe.key == key) else { return };
        match frame {
            Frame::Challenge => {
                let pid = self.boots as u32;
                let join = Join { boot_id: running.boot, pid, ..self.plan.join.clone() };
                pipe.send(Frame::Join(join), cx);
            }
            Frame::Joined(joined) => {
                running.admitted = joined.run;
                self.give(MemberEvent::Admitted(joined), cx);
            }
            Frame::Refused(why, is_retryable) => {
                running.pipe = None;
                self.give(MemberEvent::Failed(Failure { why, is_retryable }), cx);
            }
            Frame::Said(control) => self.give(MemberEvent::Said(control), cx),
            Frame::Join(_) => self.world.borrow_mut().wrong.push("the hub asked to join".into()),
        }
    }

    /// The connection is over on this side.
    fn failed(&mut self, why: &str, is_told: bool, cx: &mut Cx<'_, Wire, Tick>) {
        let Some(running) = &mut self.running else { return };
        let Some(pipe) = running.pipe.take() else { return };
        if is_told {
            pipe.reset(cx);
        }
        running.parts.clear();
        self.give(MemberEvent::Failed(Failure { why: why.into(), is_retryable: true }), cx);
    }

    pub(crate) fn tick(&mut self, tick: Tick, cx: &mut Cx<'_, Wire, Tick>) {
        let now = cx.now();
        if let Tick::Start = tick {
            return if self.running.is_none() && !self.is_over {
                self.begin(cx)
            };
        }
        let Some(running) = &mut self.running else { return };
        let key = running.pipe.as_ref().map_or(0, |pipe| pipe.key.1);
        match tick {
            Tick::Woken(wait) if wait == running.waits => self.give(MemberEvent::Woken, cx),
            Tick::Beat(attempt) if attempt == key => {
                let Some(pipe) = &mut running.pipe else { return };
                if pipe.is_silent(now) {
                    return self.failed("said nothing for 5 s", true, cx);
                }
                if running.machine.is_attending() {
                    pipe.send(Frame::Said(Control::Ping(now.nanos() + self.plan.offset)), cx);
                }
                cx.arm(now + BEAT, Tick::Beat(attempt));
            }
            Tick::Cut(index) if running.pipe.is_some() => {
                let is_told = self.plan.cuts[index as usize].1;
                self.failed("broke off", is_told, cx);
            }
            Tick::Ask => self.give(MemberEvent::AskedToLeave, cx),
            Tick::Left(attempt) if attempt == key => self.give(MemberEvent::ActorsLeft(true), cx),
            Tick::Part(attempt) if attempt == key => match running.parts.pop_front() {
                Some(part) => {
                    running.pipe.iter_mut().for_each(|pipe| pipe.send(Frame::Said(part.clone()), cx));
                    cx.arm(now + self.plan.pause, Tick::Part(attempt));
                }
                None => self.give(MemberEvent::Gathered(Box::default()), cx),
            },
            _ => {}
        }
    }

    /// Gives the machine an event, and carries out the effects.
    fn give(&mut self, event: MemberEvent, cx: &mut Cx<'_, Wire, Tick>) {
        let (now, id, count) = (cx.now(), cx.id(), cx.now().nanos() + self.plan.offset);
        let Some(running) = &mut self.running else { return };
        if !matches!(event, MemberEvent::Said(Control::Pong { .. } | Control::Payload(_))) {
            self.world.borrow_mut().note(now, || format!("{id} {}: {event:?}", running.boot));
        }
        let mut effects = Vec::new();
        running.machine.take(count, event, &mut effects);
        for effect in effects {
            self.perform(effect, cx);
        }
    }

    fn perform(&mut self, effect: MemberEffect, cx: &mut Cx<'_, Wire, Tick>) {
        let (now, id) = (cx.now(), cx.id());
        let Some(running) = &mut self.running else { return };
        let world = &self.world;
        if !matches!(effect, MemberEffect::Tell(Control::Ping(_)) | MemberEffect::Compare { .. }) {
            world.borrow_mut().note(now, || format!("{id} {}: -> {effect:?}", running.boot));
        }
        let key = running.pipe.as_ref().map_or(0, |pipe| pipe.key.1);
        match effect {
            MemberEffect::Dial => {
                self.attempts += 1;
                let key = (id, self.attempts);
                running.pipe = Some(Pipe::new(key, ActorId(0), now));
                cx.send(ActorId(0), Wire::Dial(key));
                cx.arm(now + BEAT, Tick::Beat(self.attempts));
            }
            MemberEffect::Wait(pause) => {
                running.waits += 1;
                cx.arm(now + Span::from_nanos(pause.as_nanos() as u64), Tick::Woken(running.waits));
            }
            MemberEffect::HangUp => running.pipe = None,
            MemberEffect::Prepare(payload) => {
                if payload != self.plan.payload {
                    world.borrow_mut().wrong.push(format!("{id} received {payload:?}"));
                }
                self.give(MemberEvent::Prepared(Ok(self.plan.actors)), cx);
            }
            MemberEffect::Host(joined, _) => running.hosted = Some((joined.run, joined.actors)),
            MemberEffect::Drop => {
                running.hosted = None;
                (running.faults, running.healed, running.knows) = Default::default();
                world.borrow_mut().see("a member that had not begun entered again");
            }
            MemberEffect::Tell(control) => {
                let Some(pipe) = &mut running.pipe else {
                    return world.borrow_mut().wrong.push(format!("{control:?} is told without a connection"));
                };
                let is_twice = matches!(control, Control::Ready { .. }) && self.plan.says_twice && !self.said_twice;
                match control {
                    Control::Done(_) => running.is_uncertain = true,
                    Control::Left if std::mem::replace(&mut running.has_left, true) => {
                        world.borrow_mut().see("a process that had left returned");
                    }
                    Control::Ready { .. } if std::mem::take(&mut running.is_uncertain) => {
                        world.borrow_mut().see("all results were sent in vain");
                    }
                    _ => {}
                }
                if is_twice {
                    self.said_twice = true;
                    pipe.send(Frame::Said(control.clone()), cx);
                }
                pipe.send(Frame::Said(control), cx);
            }
            MemberEffect::Begin { zero, .. } => {
                let Some((run, actors)) = &running.hosted else { return };
                if std::mem::replace(&mut running.has_begun, true) {
                    world.borrow_mut().wrong.push(format!("{} begins twice", running.boot));
                }
                world.borrow_mut().begun(*run, running.boot, actors, zero);
            }
            MemberEffect::AddFault(fault) => running.faults.push(*fault),
            MemberEffect::EndFault { fault, at } => drop(running.healed.insert(fault as usize, at)),
            MemberEffect::End { .. } => {
                let Some((run, _)) = &running.hosted else { return };
                let mut world = world.borrow_mut();
                if !running.has_begun {
                    world.wrong.push(format!("{} is told of the end, and not of the beginning", running.boot));
                }
                world.hears_of_end(*run, running.boot, &running.knows);
                let of = world.run(*run);
                if (&of.faults, &of.healed) != (&running.faults, &running.healed) {
                    let known = (of.faults.len(), of.healed.clone());
                    let line =
                        format!("{} has {:?} {:?} of {known:?}", running.boot, running.faults.len(), running.healed);
                    world.wrong.push(line);
                }
            }
            MemberEffect::Leave => drop(cx.arm(now + self.plan.pause * 3, Tick::Left(key))),
            MemberEffect::HandIn if self.plan.hangs => {}
            MemberEffect::HandIn => {
                let Some((_, actors)) = &running.hosted else { return };
                running.parts = actors.iter().flat_map(|seated| parts(seated.actor, running.boot)).collect();
                cx.arm(now + self.plan.pause, Tick::Part(key));
            }
            MemberEffect::Finish(result) => self.finished(result, cx),
            MemberEffect::Meet(peers) => {
                for seated in peers.iter().flat_map(|peer| &peer.sender.actors) {
                    let before = running.knows.insert(seated.actor, seated.incarnation);
                    if before > Some(seated.incarnation) {
                        let line = format!("{} is told of {seated:?} after {before:?}", running.boot);
                        world.borrow_mut().wrong.push(line);
                    }
                }
            }
            MemberEffect::Attend | MemberEffect::Compare { .. } | MemberEffect::Log(..) => {}
        }
    }

    fn finished(&mut self, result: Result<(), MemberError>, cx: &mut Cx<'_, Wire, Tick>) {
        let Some(running) = self.running.take() else { return };
        if let Some(pipe) = &running.pipe {
            pipe.reset(cx);
        }
        let mut world = self.world.borrow_mut();
        let begun = running.hosted.clone().filter(|_| running.has_begun);
        let is_elsewhere = begun.as_ref().is_some_and(|(run, _)| running.admitted != *run);
        let says_so = matches!(result, Err(MemberError::OtherRun(_)));
        if is_elsewhere != says_so {
            world
                .wrong
                .push(format!("{} is in run {begun:?} and joined {}: {result:?}", running.boot, running.admitted));
        }
        if running.is_uncertain && result.is_ok() && running.pipe.as_ref().is_some_and(|pipe| pipe.is_new()) {
            world.see("a process was told that its results are there");
        }
        world.see(match &result {
            Ok(()) => "a member ended well",
            Err(MemberError::OtherRun(_)) => "a member joined another run",
            Err(MemberError::LeftOut(..)) => "a member was left out",
            Err(MemberError::Lost(..)) => "a member gave up",
            Err(MemberError::Refused(..)) => "a member was refused",
            Err(MemberError::Payload(_) | MemberError::Io(_)) => "a member could not host",
        });
        world.ends.push(End { boot: running.boot, begun, is_well: result.is_ok() });
        if result.is_ok() || self.restarts == 0 {
            self.is_over = true;
        } else {
            self.restarts -= 1;
            cx.arm(cx.now() + Span::from_millis(700), Tick::Start);
        }
    }
}

/// The results of an actor, in parts that are smaller than those of a driver.
fn parts(actor: ActorId, boot: u64) -> Vec<Control> {
    let bytes = results(actor, boot);
    let count = bytes.len().div_ceil(PART);
    let part =
        |(n, part): (usize, &[u8])| Control::ActorResults { actor, part: Blob(part.to_vec()), last: n + 1 == count };
    bytes.chunks(PART).enumerate().map(part).collect()
}
