//! The only way to run an actor.

use std::hint::black_box;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::pace::Pace;
use crate::{Actor, ActorId, Effect, Effects, Envelope, Event, Note, Power, Recorder, Rng, Span, Time, What};

/// An actor with what it needs to live: its number, its stream of randomness, its timers, its machine.
///
/// 48 bytes beside the actor, and whole cache lines: with a million small actors each step costs the misses of one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(align(64))]
pub struct Cell<A: Actor> {
    actor: A,
    rng: Rng,
    sent: u64,
    timers: Timers<A::Tick>,
    /// `None`: nothing was done to the machine yet. It is up, and has worked all the time.
    pub(crate) machine: Option<Box<Machine<A::Msg>>>,
    id: ActorId,
    incarnation: u32,
}

/// What a host brings to an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input<M> {
    /// The beginning of a life.
    Start,
    /// A message that arrived.
    Deliver(Envelope<M>),
    /// A timer that is due.
    Fire(Timer),
}

/// A handle to an armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timer {
    slot: u32,
    generation: u32,
}

impl<A: Actor> Cell<A> {
    /// Gives `actor` its number and its stream of randomness.
    pub fn new(id: ActorId, actor: A, rng: Rng) -> Self {
        Cell { actor, rng, sent: 0, timers: Timers::default(), machine: None, id, incarnation: 0 }
    }

    /// An actor that begins its life number `incarnation`, and whose earlier lives were in other processes, gone with
    /// all that they held. Its messages are counted from where no earlier life can have come to.
    pub fn reborn(id: ActorId, actor: A, rng: Rng, incarnation: u32) -> Self {
        Cell { incarnation, sent: u64::from(incarnation) << 40, ..Cell::new(id, actor, rng) }
    }

    /// Runs the actor on one input. Its effects are appended to `out`, which the host must carry out in order.
    ///
    /// False if there was nothing to run: the timer had been disarmed, or belongs to an earlier life, or is of work that
    /// is not done yet because the machine's pace has changed.
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
                trace.record(now, self.id, What::Start { incarnation: self.incarnation });
                Event::Start
            }
            Input::Deliver(envelope) => {
                trace.record(now, self.id, What::Deliver(&envelope));
                Event::Message { from: envelope.from, msg: envelope.msg }
            }
            Input::Fire(timer) => {
                let worked = self.pace().map_or(Span::MAX, |pace| pace.worked(now));
                let Some(tick) = self.timers.take_due(timer, worked) else { return false };
                trace.record(now, self.id, What::Fire(timer, tick));
                Event::Timer(tick)
            }
        };
        let first = out.len();
        let mut cx = Cx {
            now,
            id: self.id,
            incarnation: self.incarnation,
            pace: self.machine.as_ref().and_then(|machine| machine.pace.as_ref()),
            rng: &mut self.rng,
            is_noted: trace.is_on(),
            sent: &mut self.sent,
            timers: &mut self.timers,
            out,
        };
        self.actor.on(event, &mut cx);
        for effect in &out[first..] {
            trace.record(now, self.id, effect.what(now));
        }
        true
    }

    /// The machine went down: the actor forgets what only memory held (all, if `wiped`), its timers are gone, and its
    /// next life begins with [`Input::Start`].
    pub fn reboot(&mut self, wiped: bool) {
        self.actor.reboot(wiped);
        self.timers.clear();
        self.incarnation += 1;
    }

    /// The machine goes slower or faster, stands still, or goes on. Gives back when the work in progress is done now, by
    /// its end: the host wakes the actor then, beside what it had planned. What that brings too early runs nothing, and
    /// what it brings too late finds the timer gone. Empty if the pace stays, or while the machine stands still.
    pub fn set_pace(&mut self, now: Time, power: Power) -> Vec<(Time, Timer)> {
        if matches!(power, Power::Crash | Power::Wipe | Power::Restart) {
            return Vec::new();
        }
        let machine = self.machine.get_or_insert_with(|| Box::new(Machine::running()));
        let pace = machine.pace.get_or_insert_with(|| Pace::normal(now));
        if !pace.change(now, power) {
            return Vec::new();
        }
        let working = self.timers.working(pace.worked(now)).into_iter();
        working.map(|(done, timer)| (pace.when(done), timer)).filter(|(at, _)| *at < Time::NEVER).collect()
    }

    /// This is another life on the machine of `former`, which runs at the same pace, and does not stand still.
    pub fn keep_pace(&mut self, former: &Cell<A>, now: Time) {
        self.machine_mut().pace = former.pace().cloned();
        self.set_pace(now, Power::Resume);
    }

    /// When work that is begun at `now` and takes `span` is done, if the machine's pace stays.
    #[inline]
    pub fn work_done(&self, now: Time, span: Span) -> Time {
        match self.pace() {
            None => now + span,
            Some(pace) => pace.when(pace.worked(now) + span),
        }
    }

    /// When the work of a timer is done that fired too early, because the host's worker does not follow the machine's
    /// pace. It assumes that the pace stays. `None` if the timer is not armed, if its work is done, or if the machine is
    /// paused: [`switch`](Cell::switch) returns the new time when the machine resumes.
    pub fn work_left(&self, now: Time, timer: Timer) -> Option<Time> {
        let pace = self.pace()?;
        let done = self.timers.done(timer).filter(|done| *done > pace.worked(now))?;
        Some(pace.when(done)).filter(|at| *at < Time::NEVER)
    }

    #[inline]
    fn pace(&self) -> Option<&Pace> {
        self.machine.as_ref()?.pace.as_ref()
    }

    pub(crate) fn machine_mut(&mut self) -> &mut Machine<A::Msg> {
        self.machine.get_or_insert_with(|| Box::new(Machine::running()))
    }

    /// True while the timer is armed. A host may drop one that is not, whenever it likes.
    #[inline]
    pub fn is_armed(&self, timer: Timer) -> bool {
        self.timers.is_armed(timer)
    }

    /// Reads both ends of the cell, and so brings it into the cache: for a host that knows who is next.
    #[inline]
    pub fn touch(&self) {
        black_box((self.sent, self.incarnation));
    }

    /// The actor's number.
    pub fn id(&self) -> ActorId {
        self.id
    }

    /// How often the actor was rebooted.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The actor, to read what it measured.
    pub fn actor(&self) -> &A {
        &self.actor
    }
}

/// What an actor may ask for while it handles one event.
pub struct Cx<'a, M, T> {
    now: Time,
    id: ActorId,
    incarnation: u32,
    pace: Option<&'a Pace>,
    rng: &'a mut Rng,
    is_noted: bool,
    sent: &'a mut u64,
    timers: &'a mut Timers<T>,
    out: &'a mut Effects<M, T>,
}

impl<M, T: Copy> Cx<'_, M, T> {
    /// What time it is.
    #[inline]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The actor's own number.
    #[inline]
    pub fn id(&self) -> ActorId {
        self.id
    }

    /// How often the actor's machine went down and came up again.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The clock of the actor's machine: for how long it has worked. It follows the machine's speed, and stands still
    /// while the machine does. Only differences mean something: a later life may begin with another value.
    #[inline]
    pub fn worked(&self) -> Span {
        match self.pace {
            None => self.now.since(Time::ZERO),
            Some(pace) => pace.worked(self.now),
        }
    }

    /// The actor's own stream of randomness.
    #[inline]
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Sends a message. It may be lost; nobody will say so.
    #[inline]
    pub fn send(&mut self, to: ActorId, msg: M) {
        let seq = *self.sent;
        *self.sent += 1;
        self.out.push(Effect::Send(Envelope { from: self.id, to, seq, msg }));
    }

    /// Asks to be told `tick` at `at`.
    #[inline]
    pub fn arm(&mut self, at: Time, tick: T) -> Timer {
        let timer = self.timers.arm(tick, Span::ZERO);
        self.out.push(Effect::Arm { timer, at, tick });
        timer
    }

    /// Asks to be told `tick` when the machine has worked for `span`: later if it is slowed down or stands still in the
    /// meantime, earlier if it is made faster.
    #[inline]
    pub fn work(&mut self, span: Span, tick: T) -> Timer {
        let timer = self.timers.arm(tick, self.worked() + span);
        self.out.push(Effect::Work { timer, span, tick });
        timer
    }

    /// Takes back [`arm`](Self::arm). Nothing happens if the timer has fired or was disarmed.
    ///
    /// Costs a store: the host is not asked to search its queue.
    #[inline]
    pub fn disarm(&mut self, timer: Timer) {
        if self.timers.take(timer).is_some() {
            self.out.push(Effect::Disarm(timer));
        }
    }

    /// Remarks something in the trace, if there is one.
    #[inline]
    pub fn note(&mut self, what: &'static str, subject: u64, value: u64) {
        if self.is_noted {
            self.out.push(Effect::Note(Note { what, subject, value }));
        }
    }
}

/// The armed timers of one actor.
///
/// A handle is a slot and the slot's generation: disarming raises the generation, so what still lies in a host's queue
/// is known to be dead when it comes up, and neither host has to find it.
///
/// Boxed: an actor that never armed one pays for a pointer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Timers<T>(Option<Box<Slots<T>>>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot; each free slot names the next.
    free: u32,
    /// The generation of slots not yet made: above every handle of an earlier life.
    generation: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot<T> {
    generation: u32,
    /// Of work: the machine's clock when it is done. Zero for all else.
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

    /// Takes it, unless it is of work that is not done when the machine's clock stands at `worked`.
    #[inline]
    fn take_due(&mut self, timer: Timer, worked: Span) -> Option<T> {
        let slots = self.0.as_mut()?;
        let done = slots.slots.get(timer.slot as usize)?.done;
        if done > worked { None } else { slots.take(timer) }
    }

    /// The reading of the machine's clock at which the work of a timer is done; `None` if the timer is not armed.
    fn done(&self, timer: Timer) -> Option<Span> {
        let slot = self.0.as_ref()?.slots.get(timer.slot as usize)?;
        let is_armed = matches!(slot.state, SlotState::Armed(_)) && slot.generation == timer.generation;
        is_armed.then_some(slot.done)
    }

    /// The work that is not done when the machine's clock stands at `worked`, by its end.
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

    /// Arms two timers at the start; the first to fire disarms the other and says so.
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
    fn timers_of_an_earlier_life_run_nothing_although_their_slots_are_used_again() {
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
