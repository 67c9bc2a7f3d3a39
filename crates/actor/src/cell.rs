//! The only way to run an actor.

use std::hint::black_box;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, Reboot};
use crate::machine::{Condition, Machine};
use crate::pace::Pace;
use crate::{
    Actor, ActorId, Effect, Effects, EntryRef, Envelope, Event, Impairment, MachineAction, Note, Recorder, Rng, Span,
    Time,
};

/// An actor with its id, random stream, timers and machine.
///
/// 48 bytes beside the actor, in whole cache lines: with a million small actors, each step costs the misses of one
/// line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(align(64))]
pub struct Cell<A: Actor> {
    actor: A,
    rng: Rng,
    sent: u64,
    timers: Timers<A::Tick>,
    /// `None`: no machine fault has acted on it yet. The machine is up, and has worked all the time.
    pub(crate) machine: Option<Box<Machine<A>>>,
    id: ActorId,
    incarnation: u32,
}

/// Input that a host brings to an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input<M> {
    /// Start of an incarnation.
    Start,
    /// A message that has arrived.
    Deliver(Envelope<M>),
    /// A timer that is due.
    Fire(Timer),
    /// The sync of this position, which an [`Effect::Persist`] began, has ended.
    Durable(u64),
}

/// Handle of an armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timer {
    slot: u32,
    generation: u32,
}

impl Timer {
    /// Number of its slot among the timers of its actor. Slots are used again, so it is below the number of timers that
    /// the actor had armed at once.
    #[inline]
    pub fn slot(self) -> u32 {
        self.slot
    }
}

impl<A: Actor> Cell<A> {
    /// Wraps `actor` with its id and its random stream.
    pub fn new(id: ActorId, actor: A, rng: Rng) -> Self {
        Cell { actor, rng, sent: 0, timers: Timers::default(), machine: None, id, incarnation: 0 }
    }

    /// Wraps an actor in incarnation number `incarnation`. Its earlier incarnations ran in other processes, and their
    /// state is lost. Its messages are counted from a number that no earlier incarnation can have reached.
    pub fn with_incarnation(id: ActorId, actor: A, rng: Rng, incarnation: u32) -> Self {
        Cell { incarnation, sent: u64::from(incarnation) << 40, ..Cell::new(id, actor, rng) }
    }

    /// Runs the actor on one input. Appends its effects to `out`; the host must carry them out in order.
    ///
    /// Returns false if nothing happened: the timer is disarmed, belongs to an earlier incarnation, or belongs to work that
    /// is not done yet because the pace of the machine has changed; or the sync is one of an earlier incarnation.
    #[inline]
    pub fn step(
        &mut self,
        now: Time,
        input: Input<A::Msg>,
        out: &mut Effects<A::Msg, A::Tick>,
        trace: &mut impl Recorder<A::Msg, A::Tick>,
    ) -> bool {
        let event = match input {
            Input::Start => {
                trace.record(now, self.id, EntryRef::Start { incarnation: self.incarnation });
                Event::Start
            }
            Input::Deliver(envelope) => {
                trace.record(now, self.id, EntryRef::Deliver(&envelope));
                Event::Message { from: envelope.from, msg: envelope.msg }
            }
            Input::Fire(timer) => {
                let worked = self.pace().map_or(Span::MAX, |pace| pace.worked(now));
                let Some(tick) = self.timers.take_due(timer, worked) else { return false };
                trace.record(now, self.id, EntryRef::Fire(timer, tick));
                Event::Timer(tick)
            }
            Input::Durable(position) => return self.synced(now, position, out, trace),
        };
        let first = out.len();
        let mut cx = Cx {
            now,
            id: self.id,
            incarnation: self.incarnation,
            condition: self.machine.as_deref().map(|machine| &machine.condition),
            rng: &mut self.rng,
            is_noted: trace.is_on(),
            sent: &mut self.sent,
            timers: &mut self.timers,
            out,
        };
        self.actor.on(event, &mut cx);
        if let Some(disk) = self.machine.as_mut().and_then(|machine| machine.disk.as_mut()) {
            disk.gate(&self.actor, out, first, &mut self.sent);
        }
        for effect in &out[first..] {
            trace.record(now, self.id, effect.entry(now));
        }
        true
    }

    /// The sync of a position has ended: sends what waited for it.
    #[cold]
    fn synced(
        &mut self,
        now: Time,
        position: u64,
        out: &mut Effects<A::Msg, A::Tick>,
        trace: &mut impl Recorder<A::Msg, A::Tick>,
    ) -> bool {
        let Some(machine) = &mut self.machine else { return false };
        let Some(disk) = &mut machine.disk else { return false };
        let first = out.len();
        if !disk.synced(position, self.id, &mut self.sent, out) {
            return false;
        }
        machine.drop_idle_disk();
        trace.record(now, self.id, EntryRef::Durable(position));
        for effect in &out[first..] {
            trace.record(now, self.id, effect.entry(now));
        }
        true
    }

    /// Restarts the actor after its machine went down. The actor drops the state in memory (all state, if `wiped`) and
    /// its timers; its next incarnation begins with [`Input::Start`].
    pub fn reboot(&mut self, wiped: bool) {
        let mut disk = self.machine.as_mut().and_then(|machine| machine.disk.as_mut());
        let found = match &mut disk {
            _ if wiped => Reboot::Wiped,
            None => Reboot::Kept,
            Some(disk) => Reboot::Found(disk.crash(&mut self.rng)),
        };
        self.actor.reboot(found);
        if let Some(disk) = disk.filter(|_| wiped) {
            disk.wipe(self.actor.disk());
        }
        self.timers.clear();
        self.incarnation += 1;
    }

    /// Gives the actor durable state that it had in an earlier incarnation, in another process. The machine has not begun
    /// yet.
    pub fn restore(&mut self, disk: A::Disk) {
        self.actor.reboot(Reboot::Found(disk));
    }

    pub(crate) fn disk(&self) -> Option<&Disk<A>> {
        self.machine.as_ref()?.disk.as_ref()
    }

    /// Duration of a sync of the machine's disk that begins now; `None`: it is full. A sync then ends when
    /// [`switch`](Cell::switch) changes the disk.
    pub fn sync_span(&self) -> Option<Span> {
        let span = self.disk().and_then(|disk| disk.sync).unwrap_or(Span::ZERO);
        Some(span).filter(|span| *span < Span::MAX)
    }

    /// True while messages of the actor wait for its disk.
    pub fn is_syncing(&self) -> bool {
        self.disk().is_some_and(|disk| disk.syncing().is_some())
    }

    /// The durable state that a sync up to `position` writes.
    pub fn durable_state(&self, position: u64) -> Option<&A::Disk> {
        self.disk()?.image(position)
    }

    /// Changes the pace of the machine: slower, faster, paused or resumed. Returns the new end times of the work in
    /// progress, in order. The host wakes the actor at these times, beside the times planned earlier. A wake-up that is
    /// now too early runs nothing, and one that is too late finds the timer gone. The result is empty if the pace
    /// stays, or while the machine is paused.
    ///
    /// An impairment of the machine begins or ends likewise, and its disk becomes slower or faster; both wake nothing.
    pub fn set_pace(&mut self, now: Time, power: &MachineAction) -> Vec<(Time, Timer)> {
        match power {
            MachineAction::Crash | MachineAction::Wipe | MachineAction::Restart | MachineAction::Restored => {
                return Vec::new();
            }
            MachineAction::Disk(sync) => {
                let image = self.actor.disk();
                self.machine_mut().set_disk(*sync, image);
                return Vec::new();
            }
            MachineAction::Impair(_) | MachineAction::Recover(_) => {
                self.machine_mut().impair(power);
                return Vec::new();
            }
            MachineAction::Pause | MachineAction::Resume | MachineAction::Speed(_) => {}
        }
        let machine = self.machine.get_or_insert_with(|| Box::new(Machine::running()));
        let pace = machine.condition.pace.get_or_insert_with(|| Pace::normal(now));
        if !pace.change(now, power) {
            return Vec::new();
        }
        let working = self.timers.working(pace.worked(now)).into_iter();
        working.map(|(done, timer)| (pace.when(done), timer)).filter(|(at, _)| *at < Time::NEVER).collect()
    }

    /// Takes over the pace and the impairments of `former`, an earlier incarnation on the same machine, except that the
    /// machine is not paused.
    pub fn keep_pace(&mut self, former: &Cell<A>, now: Time) {
        let machine = self.machine_mut();
        machine.condition = former.machine.as_ref().map_or_else(Condition::default, |it| it.condition.clone());
        self.set_pace(now, &MachineAction::Resume);
    }

    /// End time of work that begins at `now` and takes `span`, if the pace of the machine stays.
    #[inline]
    pub fn work_done(&self, now: Time, span: Span) -> Time {
        match self.pace() {
            None => now + span,
            Some(pace) => pace.when(pace.worked(now) + span),
        }
    }

    /// New end time of work whose timer fired too early because the worker of the host does not follow the pace of the
    /// machine. It assumes that the pace stays. `None` if the timer is not armed, if its work is done, or if the
    /// machine is paused: [`switch`](Cell::switch) returns the new time when the machine resumes.
    pub fn work_left(&self, now: Time, timer: Timer) -> Option<Time> {
        let pace = self.pace()?;
        let done = self.timers.done(timer).filter(|done| *done > pace.worked(now))?;
        Some(pace.when(done)).filter(|at| *at < Time::NEVER)
    }

    #[inline]
    fn pace(&self) -> Option<&Pace> {
        self.machine.as_ref()?.condition.pace.as_ref()
    }

    pub(crate) fn machine_mut(&mut self) -> &mut Machine<A> {
        self.machine.get_or_insert_with(|| Box::new(Machine::running()))
    }

    /// True while the timer is armed. A host may drop timers that are not armed at any time.
    #[inline]
    pub fn is_armed(&self, timer: Timer) -> bool {
        self.timers.is_armed(timer)
    }

    /// Reads both ends of the cell to bring it into the cache, for a host that knows which actor runs next.
    #[inline]
    pub fn prefetch(&self) {
        black_box((self.sent, self.incarnation));
    }

    /// Id of the actor.
    pub fn id(&self) -> ActorId {
        self.id
    }

    /// Number of reboots of the actor.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The actor, for reading its measurements.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// The actor, for a host whose run goes on otherwise than its origin. Only [`step`](Self::step) runs it.
    pub fn actor_mut(&mut self) -> &mut A {
        &mut self.actor
    }
}

/// Context of an actor while it handles one event.
pub struct Cx<'a, M, T> {
    now: Time,
    id: ActorId,
    incarnation: u32,
    condition: Option<&'a Condition>,
    rng: &'a mut Rng,
    is_noted: bool,
    sent: &'a mut u64,
    timers: &'a mut Timers<T>,
    out: &'a mut Effects<M, T>,
}

impl<'a, M, T: Copy> Cx<'a, M, T> {
    /// Current time.
    #[inline]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Id of this actor.
    #[inline]
    pub fn id(&self) -> ActorId {
        self.id
    }

    /// Number of times that the machine of this actor went down and came up again.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Clock of the actor's machine: the time for which it has worked. It follows the speed of the machine and stops
    /// while the machine is paused. Only differences have a meaning: a later incarnation may begin with another value.
    #[inline]
    pub fn worked(&self) -> Span {
        match self.condition.and_then(|condition| condition.pace.as_ref()) {
            None => self.now.since(Time::ZERO),
            Some(pace) => pace.worked(self.now),
        }
    }

    /// Impairments of the actor's machine that hold now, in the order in which they began.
    #[inline]
    pub fn impairments(&self) -> &'a [Arc<Impairment>] {
        self.condition.map_or(&[], |condition| &condition.impaired)
    }

    /// Random stream of this actor.
    #[inline]
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Sends a message. It may be lost without notice.
    #[inline]
    pub fn send(&mut self, to: ActorId, msg: M) {
        let seq = *self.sent;
        *self.sent += 1;
        self.out.push(Effect::Send(Envelope { from: self.id, to, seq, msg }));
    }

    /// Arms a timer that fires at `at` and carries `tick`.
    #[inline]
    pub fn arm(&mut self, at: Time, tick: T) -> Timer {
        let timer = self.timers.arm(tick, Span::ZERO);
        self.out.push(Effect::Arm { timer, at, tick });
        timer
    }

    /// Arms a timer that carries `tick` and fires when the machine has worked for `span`: later if it is slowed down or
    /// paused in the meantime, earlier if it becomes faster.
    #[inline]
    pub fn work(&mut self, span: Span, tick: T) -> Timer {
        let timer = self.timers.arm(tick, self.worked() + span);
        self.out.push(Effect::Work { timer, span, tick });
        timer
    }

    /// Disarms a timer. Does nothing if the timer has fired or is already disarmed.
    ///
    /// Costs one store: the host does not search its queue.
    #[inline]
    pub fn disarm(&mut self, timer: Timer) {
        if self.timers.take(timer).is_some() {
            self.out.push(Effect::Disarm(timer));
        }
    }

    /// Writes a note into the trace, if there is one.
    #[inline]
    pub fn note(&mut self, what: &'static str, subject: u64, value: u64) {
        if self.is_noted {
            self.out.push(Effect::Note(Note { what, subject, value }));
        }
    }
}

/// The armed timers of one actor.
///
/// A handle is a slot and the generation of the slot. Disarming raises the generation, so a stale entry in the queue of
/// a host is recognised when it comes up, and no host has to search for it.
///
/// Boxed: an actor that never arms a timer costs only a pointer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Timers<T>(Option<Box<Slots<T>>>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot; each free slot holds the index of the next.
    free: u32,
    /// Generation of the slots that do not exist yet: above every handle of an earlier incarnation.
    generation: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot<T> {
    generation: u32,
    /// For work, the machine's clock when it is done; otherwise zero.
    done: Span,
    state: SlotState<T>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SlotState<T> {
    Armed(T),
    Free { next: u32 },
}

const NONE: u32 = u32::MAX;

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers(None)
    }
}

impl<T: Copy> Timers<T> {
    #[inline]
    fn arm(&mut self, tick: T, done: Span) -> Timer {
        let none_yet = || Box::new(Slots { slots: Vec::with_capacity(1), free: NONE, generation: 0 });
        self.0.get_or_insert_with(none_yet).arm(tick, done)
    }

    /// Takes the timer, unless it belongs to work that is not done when the machine's clock reads `worked`.
    #[inline]
    fn take_due(&mut self, timer: Timer, worked: Span) -> Option<T> {
        let slots = self.0.as_mut()?;
        let done = slots.slots.get(timer.slot as usize)?.done;
        if done > worked { None } else { slots.take(timer) }
    }

    /// Reading of the machine's clock at which the work of a timer is done; `None` if the timer is not armed.
    fn done(&self, timer: Timer) -> Option<Span> {
        let slot = self.0.as_ref()?.slots.get(timer.slot as usize)?;
        let is_armed = matches!(slot.state, SlotState::Armed(_)) && slot.generation == timer.generation;
        is_armed.then_some(slot.done)
    }

    /// Work that is not done when the machine's clock reads `worked`, in the order of its end.
    fn working(&self, worked: Span) -> Vec<(Span, Timer)> {
        let slots = self.0.iter().flat_map(|slots| slots.slots.iter().enumerate());
        let armed = slots.filter(|(_, slot)| matches!(slot.state, SlotState::Armed(_)) && slot.done > worked);
        let timer = |(at, slot): (usize, &Slot<T>)| (slot.done, Timer { slot: at as u32, generation: slot.generation });
        let mut working: Vec<_> = armed.map(timer).collect();
        working.sort_unstable();
        working
    }

    #[inline]
    fn take(&mut self, timer: Timer) -> Option<T> {
        self.0.as_mut()?.take(timer)
    }

    #[inline]
    fn is_armed(&self, timer: Timer) -> bool {
        self.0.as_ref().is_some_and(|slots| slots.is_armed(timer))
    }

    fn clear(&mut self) {
        if let Some(slots) = &mut self.0 {
            slots.clear();
        }
    }
}

impl<T: Copy> Slots<T> {
    #[inline]
    fn arm(&mut self, tick: T, done: Span) -> Timer {
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let timer = Timer { slot: self.free, generation: slot.generation };
            let SlotState::Free { next } = slot.state else { unreachable!("an armed slot on the free list") };
            self.free = next;
            (slot.state, slot.done) = (SlotState::Armed(tick), done);
            return timer;
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Slot { generation: self.generation, done, state: SlotState::Armed(tick) });
        Timer { slot, generation: self.generation }
    }

    #[inline]
    fn take(&mut self, timer: Timer) -> Option<T> {
        let slot = self.slots.get_mut(timer.slot as usize)?;
        if slot.generation != timer.generation {
            return None;
        }
        let SlotState::Armed(tick) = slot.state else { return None };
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = SlotState::Free { next: self.free };
        self.free = timer.slot;
        Some(tick)
    }

    #[inline]
    fn is_armed(&self, timer: Timer) -> bool {
        self.slots
            .get(timer.slot as usize)
            .is_some_and(|slot| slot.generation == timer.generation && matches!(slot.state, SlotState::Armed(_)))
    }

    fn clear(&mut self) {
        let newest = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(self.generation);
        *self = Slots { slots: Vec::new(), free: NONE, generation: newest.wrapping_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    /// Arms two timers at the start; the first to fire disarms the other and notes it.
    #[derive(Clone, Debug, Default)]
    struct Alarm {
        timers: Vec<Timer>,
        heard: Vec<u8>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Beep;
    impl Message for Beep {
        fn kind(&self) -> &'static str {
            "beep"
        }
    }

    impl Actor for Alarm {
        type Msg = Beep;
        type Tick = u8;
        type Disk = ();
        fn disk(&self) {}

        fn on(&mut self, event: Event<Beep, u8>, cx: &mut Cx<'_, Beep, u8>) {
            match event {
                Event::Start => self.timers = vec![cx.arm(Time::ZERO, 1), cx.arm(cx.now() + Span::from_secs(1), 2)],
                Event::Timer(tick) => {
                    self.heard.push(tick);
                    cx.disarm(self.timers[1]);
                    cx.send(ActorId(9), Beep);
                }
                Event::Message { .. } => {}
            }
        }
    }

    fn started() -> (Cell<Alarm>, Vec<Timer>) {
        let mut cell = Cell::new(ActorId(0), Alarm::default(), Rng::stream(1, "alarm"));
        cell.step(Time::ZERO, Input::Start, &mut Vec::new(), &mut ());
        let timers = cell.actor().timers.clone();
        (cell, timers)
    }

    #[test]
    fn a_small_actor_takes_one_cache_line() {
        #[derive(Clone, Debug)]
        struct Small(u64, u64);
        impl Actor for Small {
            type Msg = Beep;
            type Tick = u8;
            type Disk = ();
            fn disk(&self) {}

            fn on(&mut self, _: Event<Beep, u8>, _: &mut Cx<'_, Beep, u8>) {
                (self.0, self.1) = (self.1, self.0);
            }
        }
        assert_eq!(size_of::<Cell<Small>>(), 64);
    }

    #[test]
    fn a_disarmed_timer_runs_nothing() {
        let (mut cell, timers) = started();
        let mut out = Vec::new();
        assert!(cell.step(Time::ZERO, Input::Fire(timers[0]), &mut out, &mut ()));
        assert!(!cell.step(Time::ZERO, Input::Fire(timers[1]), &mut out, &mut ()));
        assert!(!cell.step(Time::ZERO, Input::Fire(timers[0]), &mut out, &mut ()), "a timer fires once");
        assert_eq!(cell.actor().heard, [1]);
        assert_eq!(out.len(), 2, "one disarm, one message: {out:?}");
    }

    #[test]
    fn timers_of_an_earlier_incarnation_run_nothing_when_their_slot_is_reused() {
        let (mut cell, old) = started();
        cell.reboot(false);
        cell.step(Time::ZERO, Input::Start, &mut Vec::new(), &mut ());
        for timer in old {
            assert!(!cell.is_armed(timer));
            assert!(!cell.step(Time::ZERO, Input::Fire(timer), &mut Vec::new(), &mut ()));
        }
        assert_eq!((cell.incarnation(), cell.actor().heard.len()), (1, 0));
    }

    #[test]
    fn messages_are_counted_through_reboots() {
        let (mut cell, timers) = started();
        let mut out = Vec::new();
        cell.step(Time::ZERO, Input::Fire(timers[0]), &mut out, &mut ());
        cell.reboot(true);
        cell.step(Time::ZERO, Input::Start, &mut out, &mut ());
        let again = cell.actor().timers[0];
        cell.step(Time::ZERO, Input::Fire(again), &mut out, &mut ());
        let seqs: Vec<u64> = out
            .iter()
            .filter_map(|effect| if let Effect::Send(envelope) = effect { Some(envelope.seq) } else { None })
            .collect();
        assert_eq!(seqs, [0, 1]);
    }
}
