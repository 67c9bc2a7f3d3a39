//! A hub machine as an actor, with a driver as small as it can be.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Cx, Span, Time};
use meshsim_fault::Fault;
use meshsim_net::cluster::{
    Closure, ConnectionId, Control, HubEffect, HubEvent, HubMachine, HubMemory, HubSpec, Phase, TICK,
};
use meshsim_net::{ActorSpec, ClusterStatus, RunResult};

use crate::wire::{BEAT, Frame, Key, Pipe, Wire};
use crate::world::{Shared, results};
use crate::{HEALED, Tick};

/// The course of a hub, as it was drawn.
#[derive(Clone, Debug)]
pub(crate) struct HubPlan {
    pub(crate) actors: Vec<ActorSpec>,
    pub(crate) end: Time,
    pub(crate) stop: Time,
    /// Manual faults: when each is added, and when it is ended, if it is.
    pub(crate) faults: Vec<(Time, Fault, Option<Time>)>,
    /// Difference between its count and the time of the simulation.
    pub(crate) offset: u64,
    pub(crate) payload: Vec<u8>,
    /// True if it has a disk: started again, it goes on with its run.
    pub(crate) keeps: bool,
}

/// A process that runs a hub.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) plan: HubPlan,
    world: Shared,
    boots: u64,
    running: Option<Running>,
    /// What its disk has, if it has one.
    memory: Option<HubMemory>,
    is_over: bool,
}

#[derive(Debug)]
struct Running {
    machine: HubMachine,
    run: u64,
    boot: u64,
    phase: Phase,
    pipes: BTreeMap<Key, (Pipe, Line)>,
    keys: BTreeMap<ConnectionId, Key>,
    connected: u64,
    has_faults: usize,
    /// Time of the last results.
    handed_in: Time,
}

/// State of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Its number and the boot id of its process, once it is admitted.
    admitted: Option<(ConnectionId, u64)>,
    /// True if the last results on it were not the last part.
    is_in_parts: bool,
}

impl Hub {
    pub(crate) fn new(plan: HubPlan, world: Shared) -> Self {
        Hub { plan, world, boots: 0, running: None, memory: None, is_over: false }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ids of the actors of processes that are connected, while it runs.
    pub(crate) fn connected(&self) -> Option<Vec<ActorId>> {
        let running = self.running.as_ref()?;
        (running.phase < Phase::Ending).then(|| connected(&running.machine.status(0), &self.plan.actors))
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_, Wire, Tick>) {
        if self.is_over {
            return;
        }
        self.boots += 1;
        let boot = 1_000_000 + self.boots;
        let memory = self.memory.clone();
        let run = memory.as_ref().map_or(5_000_000 + self.boots, HubMemory::run);
        let has_faults = memory.as_ref().map_or(0, HubMemory::faults);
        let spec = HubSpec {
            run,
            boot_id: boot,
            hostname: "hub".into(),
            pid: self.boots as u32,
            end: self.plan.end,
            is_busy: false,
            is_traced: false,
            payload_bytes: self.plan.payload.len() as u64,
            actors: self.plan.actors.clone(),
            here: vec![ActorId(0)],
        };
        let (goes_on, mut effects) = (memory.is_some(), Vec::new());
        let machine = match memory {
            Some(memory) => HubMachine::recalled(self.count(cx), spec, memory, &mut effects),
            None => HubMachine::new(self.count(cx), spec),
        };
        self.memory = self.plan.keeps.then(|| machine.memory());
        {
            let mut world = self.world.borrow_mut();
            world.run(run).hub = boot;
            let me = machine.me().clone();
            let joined = meshsim_net::cluster::Joined {
                run,
                process: 0,
                actors: me.actors.clone(),
                resumed: false,
                is_busy: false,
                is_traced: false,
                payload_bytes: 0,
            };
            world.admitted(&joined, boot);
            world.ready(run, &me);
            if goes_on {
                let phase = machine.phase();
                world.see(if phase == Phase::Ending {
                    "a hub went on collecting"
                } else {
                    "a hub went on with its run"
                });
            } else if self.boots > 1 {
                world.see("the hub was lost");
            }
        }
        let phase = machine.phase();
        let (pipes, keys) = (BTreeMap::new(), BTreeMap::new());
        self.running =
            Some(Running { machine, run, boot, phase, pipes, keys, connected: 0, has_faults, handed_in: Time::ZERO });
        cx.arm(cx.now() + Span::from_nanos(TICK.as_nanos() as u64), Tick::Beat(0));
        cx.arm(self.plan.stop.max(cx.now()), Tick::Stop);
        for (index, (at, _, until)) in self.plan.faults.iter().enumerate() {
            cx.arm((*at).max(cx.now()), Tick::Fault(index as u32));
            if let Some(until) = until {
                cx.arm((*until).max(cx.now()), Tick::EndFault(index as u32));
            }
        }
        effects.into_iter().for_each(|effect| self.perform(effect, boot, cx));
    }

    pub(crate) fn reboot(&mut self) {
        self.running = None;
    }

    fn count(&self, cx: &Cx<'_, Wire, Tick>) -> u64 {
        cx.now().nanos() + self.plan.offset
    }

    pub(crate) fn message(&mut self, from: ActorId, wire: Wire, cx: &mut Cx<'_, Wire, Tick>) {
        let now = cx.now();
        let Some(running) = &mut self.running else {
            if let Wire::Dial(key) | Wire::Frame(key, ..) = wire {
                cx.send(from, Wire::Reset(key));
            }
            return;
        };
        match wire {
            Wire::Dial(key) if running.pipes.contains_key(&key) => {}
            Wire::Dial(key) => {
                let mut pipe = Pipe::new(key, from, now);
                pipe.send(Frame::Challenge, cx);
                running.pipes.insert(key, (pipe, Line::default()));
            }
            Wire::Reset(key) => self.ended(key, "ended the connection", cx),
            Wire::Frame(key, seq, frame) => match running.pipes.get_mut(&key) {
                Some((pipe, _)) => {
                    for frame in pipe.receive(now, seq, frame) {
                        self.frame(key, frame, cx);
                    }
                }
                None => cx.send(from, Wire::Reset(key)),
            },
        }
    }

    fn frame(&mut self, key: Key, frame: Frame, cx: &mut Cx<'_, Wire, Tick>) {
        let Some(running) = &mut self.running else { return };
        let Some((_, line)) = running.pipes.get_mut(&key) else { return };
        match (frame, line.admitted) {
            (Frame::Join(join), None) => {
                running.connected += 1;
                let connection = ConnectionId(running.connected);
                line.admitted = Some((connection, join.boot_id));
                running.keys.insert(connection, key);
                let address = join.address.clone();
                self.give(HubEvent::Joins { connection, join, address }, cx);
            }
            (Frame::Said(control), Some((connection, _))) => {
                if let Control::ActorResults { last, .. } = &control {
                    line.is_in_parts = !last;
                    running.handed_in = cx.now();
                }
                if matches!(control, Control::Done(_)) {
                    running.handed_in = cx.now();
                }
                self.give(HubEvent::Said { connection, control }, cx);
            }
            (other, _) => self.world.borrow_mut().wrong.push(format!("a member said {other:?}")),
        }
    }

    /// A connection is over on this side.
    fn ended(&mut self, key: Key, why: &str, cx: &mut Cx<'_, Wire, Tick>) {
        let Some(running) = &mut self.running else { return };
        let Some((_, line)) = running.pipes.remove(&key) else { return };
        if line.is_in_parts {
            self.world.borrow_mut().see("results were cut by a loss of the connection");
        }
        if let Some((connection, _)) = line.admitted {
            running.keys.remove(&connection);
            self.give(HubEvent::Ended { connection, why: why.into() }, cx);
        }
    }

    pub(crate) fn tick(&mut self, tick: Tick, cx: &mut Cx<'_, Wire, Tick>) {
        let now = cx.now();
        let Some(running) = &mut self.running else { return };
        match tick {
            Tick::Beat(n) => {
                cx.arm(now + Span::from_nanos(TICK.as_nanos() as u64), Tick::Beat(n + 1));
                if n % 10 == 0 {
                    let silent =
                        running.pipes.values_mut().filter_map(|(pipe, _)| pipe.is_silent(now).then_some(pipe.key));
                    for key in silent.collect::<Vec<Key>>() {
                        if let Some((pipe, _)) = self.running.as_ref().and_then(|it| it.pipes.get(&key)) {
                            pipe.reset(cx);
                        }
                        self.ended(key, "said nothing for 5 s", cx);
                    }
                }
                self.give(HubEvent::Tick, cx);
            }
            Tick::Stop => self.give(HubEvent::Stop, cx),
            Tick::Fault(index) if running.phase != Phase::Ending && index as usize >= running.has_faults => {
                let fault = self.plan.faults[index as usize].1.clone();
                running.has_faults = running.has_faults.max(index as usize + 1);
                self.world.borrow_mut().run(running.run).faults.push(fault.clone());
                self.give(HubEvent::FaultAdded(fault), cx);
            }
            Tick::EndFault(index) if running.phase != Phase::Ending && running.has_faults > index as usize => {
                let index = index as usize;
                self.world.borrow_mut().run(running.run).healed.insert(index, now);
                self.give(HubEvent::FaultEnded { index, at: now }, cx);
            }
            Tick::HandIn => {
                running.handed_in = now;
                let bytes = results(ActorId(0), running.boot);
                self.give(HubEvent::Found { actor: ActorId(0), bytes }, cx);
                self.give(HubEvent::Reported(Box::default()), cx);
            }
            Tick::Gone => {
                let pipes: Vec<Key> = running.pipes.keys().copied().collect();
                for key in pipes {
                    cx.send(key.0, Wire::Reset(key));
                }
                (self.running, self.is_over) = (None, true);
            }
            _ => {}
        }
    }

    /// Gives the machine an event, and carries out the effects.
    fn give(&mut self, event: HubEvent, cx: &mut Cx<'_, Wire, Tick>) {
        let (now, count) = (cx.now(), self.count(cx));
        let Some(running) = &mut self.running else { return };
        let boot = if let HubEvent::Joins { join, .. } = &event { join.boot_id } else { 0 };
        if !matches!(event, HubEvent::Tick | HubEvent::Said { control: Control::Ping(_), .. }) {
            self.world.borrow_mut().note(now, || format!("hub: {event:?}"));
        }
        let mut effects = Vec::new();
        running.machine.take(count, event, &mut effects);
        self.memory = self.plan.keeps.then(|| running.machine.memory());
        let phase = running.machine.phase();
        if phase < running.phase {
            self.world.borrow_mut().wrong.push(format!("the phase goes from {:?} to {phase:?}", running.phase));
        }
        running.phase = phase;
        for effect in effects {
            self.perform(effect, boot, cx);
        }
    }

    fn perform(&mut self, effect: HubEffect, boot: u64, cx: &mut Cx<'_, Wire, Tick>) {
        let now = cx.now();
        let Some(running) = &mut self.running else { return };
        let mut world = self.world.borrow_mut();
        let is_said_often = matches!(&effect, HubEffect::Tell { control: Control::Pong { .. }, .. });
        if !is_said_often {
            world.note(now, || format!("hub: -> {effect:?}"));
        }
        match effect {
            HubEffect::Admit { connection, joined } => {
                world.admitted(&joined, boot);
                let of_same =
                    running.pipes.values().filter(|(_, line)| line.admitted.is_some_and(|(_, by)| by == boot));
                match (joined.resumed, running.phase) {
                    (true, _) if of_same.count() > 1 => world.see("a process returned before its loss was noticed"),
                    (true, Phase::Ending) => world.see("a process returned during collection"),
                    (true, _) => world.see("a process returned"),
                    (false, _) => {}
                }
                if !joined.resumed && joined.actors.iter().any(|seated| seated.incarnation > 0) {
                    world.see("a lost process was replaced, or one that left was followed");
                }
                let Some((pipe, _)) = running.keys.get(&connection).and_then(|key| running.pipes.get_mut(key)) else {
                    return;
                };
                let is_new = !joined.resumed;
                pipe.send(Frame::Joined(joined), cx);
                for part in self.plan.payload.chunks(7).filter(|_| is_new) {
                    let part = meshsim_net::cluster::Blob(part.to_vec());
                    pipe.send(Frame::Said(Control::Payload(part)), cx);
                }
            }
            HubEffect::Refuse { connection, refusal } => {
                if refusal.why.contains("taken its place") {
                    world.see("a process that was replaced came back");
                }
                if refusal.why.contains("the run is over") {
                    world.see("a process came during collection");
                }
                let Some(key) = running.keys.remove(&connection) else { return };
                if let Some((mut pipe, _)) = running.pipes.remove(&key) {
                    pipe.send(Frame::Refused(refusal.why, refusal.retryable), cx);
                }
            }
            HubEffect::Tell { to, control } => {
                if matches!(control, Control::End { .. }) {
                    let connected = connected(&running.machine.status(0), &self.plan.actors);
                    let boots = to.iter().filter_map(|it| running.pipes[&running.keys[it]].1.admitted);
                    boots.for_each(|(_, boot)| world.told_of_end(running.run, boot, &connected));
                }
                for connection in to {
                    let pipe = running.keys.get(&connection).and_then(|key| running.pipes.get_mut(key));
                    match pipe {
                        Some((pipe, _)) => pipe.send(Frame::Said(control.clone()), cx),
                        None => world.wrong.push(format!("{control:?} is told on a connection that has ended")),
                    }
                }
            }
            HubEffect::Close { connection, why } => {
                match &why {
                    Closure::Denied(_) => world.see("a process became ready after the end"),
                    Closure::Violation(what) if what.contains("twice") => world.see("a process was ready twice"),
                    Closure::Violation(what) if what.contains("old connection") => {
                        world.see("a process spoke on an old connection");
                    }
                    Closure::Violation(what) => world.wrong.push(format!("a member {what}")),
                }
                drop(world);
                let Some(key) = running.keys.get(&connection).copied() else { return };
                cx.send(key.0, Wire::Reset(key));
                self.ended(key, "was refused", cx);
            }
            HubEffect::Reach { sender, .. } => world.ready(running.run, &sender),
            HubEffect::Begin { zero, .. } => {
                let actors = running.machine.me().actors.clone();
                world.begun(running.run, running.boot, &actors, zero);
            }
            HubEffect::End { .. } => drop(cx.arm(now + Span::from_millis(40), Tick::HandIn)),
            HubEffect::Stopped { .. } => {
                world.see("the hub was stopped while it waited");
                cx.arm(now, Tick::Gone);
            }
            HubEffect::Finish => {
                let result = running.machine.result();
                let waited = now.since(running.handed_in.max(HEALED));
                if waited > Span::from_secs(21) {
                    world.wrong.push(format!("the hub waits for results for {waited}"));
                }
                see_result(&result, &mut world);
                world.finished(running.run, result);
                cx.arm(now + Span::from_millis(20), Tick::Gone);
            }
            HubEffect::Log(_, line) => {
                if line.contains("not waited for any longer") {
                    world.see("the hub lost its patience with the results");
                }
            }
            HubEffect::Discard(_) | HubEffect::News(_) | HubEffect::Trace { .. } | HubEffect::Refused(_) => {}
        }
    }
}

/// Ids of the actors of processes that are connected.
fn connected(status: &ClusterStatus, actors: &[ActorSpec]) -> Vec<ActorId> {
    let names = status.processes.iter().filter(|it| it.connected).flat_map(|it| &it.actors);
    let id = |name: &String| actors.iter().position(|spec| spec.name == *name).map(|index| ActorId(index as u32));
    names.filter_map(id).collect()
}

fn see_result(result: &RunResult, world: &mut crate::world::World) {
    world.see("a run ended");
    for (is_so, what) in [
        (!result.lost.is_empty(), "results were lost"),
        (!result.restarts.is_empty(), "an actor restarted elsewhere"),
        (!result.departures.is_empty(), "an actor left"),
        (!result.former.is_empty(), "an actor left and came back"),
        (!result.absent.is_empty(), "an actor never came"),
    ] {
        if is_so {
            world.see(what);
        }
    }
}

/// The interval at which a hub looks for silent connections is that of the beats of a member.
const _: () = assert!(BEAT.nanos() as u128 == 10 * TICK.as_nanos());
