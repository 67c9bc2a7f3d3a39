//! The virtual-time host.

use std::collections::{BTreeSet, VecDeque};
use std::hint::black_box;

use meshsim_actor::{
    Actor, ActorId, Cell, Counts, Effect, Effects, EntryRef, Envelope, Fate, Input, Ledger, LossReason, MachineAction,
    Message, Recorder, Rng, Span, Switched, Time, Timer,
};
use meshsim_fault::{Fault, Network, NetworkError};
use serde::{Deserialize, Serialize};

use crate::ladder::Ladder;
use crate::slab::Slab;
use crate::snapshot::Snapshot;

/// Runs actors in virtual time. `R` records the run; the default records nothing and costs nothing.
#[derive(Clone, Debug)]
pub struct Sim<A: Actor, R = ()> {
    now: Time,
    cells: Vec<Cell<A>>,
    queue: Ladder<Due>,
    /// The messages in the queue.
    in_flight: Slab<Envelope<A::Msg>>,
    network: Network,
    machine_actions: Powers,
    /// Number of actors that have begun; the others begin now, in the order of their ids.
    begun: usize,
    /// Inputs due now, before anything in the queue: first inputs of incarnations, and inputs that waited at paused
    /// machines.
    ready: VecDeque<(ActorId, Input<A::Msg>)>,
    /// Effects of the current step; kept for its memory.
    effects: Effects<A::Msg, A::Tick>,
    ledger: Ledger,
    seed: u64,
    recorder: R,
}

/// Entry of the queue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Due {
    /// A message to an actor, and its index in `in_flight`.
    Deliver(ActorId, u32),
    /// A message that the network held.
    Release(ActorId, u32),
    Fire(ActorId, Timer),
    /// The end of a sync.
    Durable(ActorId, u64),
}

/// Plan of the machine actions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Powers {
    /// In order of time.
    all: Vec<(Time, ActorId, MachineAction)>,
    /// Number of actions carried out, and the time of the next one.
    done: usize,
    next: Time,
    /// Absent machines whose actors are not added yet.
    absent: BTreeSet<ActorId>,
}

/// Reason why the simulation returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// No event is left.
    Idle,
    /// The time was reached; later events remain.
    Reached,
    /// The requested number of events was processed before the time was reached.
    Stopped,
}

impl<A: Actor> Sim<A> {
    /// An empty run with this seed and network.
    pub fn new(seed: u64, network: Network) -> Self {
        Sim::with_recorder(seed, network, ())
    }
}

impl<A: Actor, R: Recorder<A::Msg, A::Tick>> Sim<A, R> {
    /// An empty run with a recorder.
    pub fn with_recorder(seed: u64, network: Network, recorder: R) -> Self {
        Sim {
            now: Time::ZERO,
            cells: Vec::new(),
            queue: Ladder::default(),
            in_flight: Slab::default(),
            machine_actions: Powers::new(network.machine_actions(), network.absent()),
            network,
            begun: 0,
            ready: VecDeque::new(),
            effects: Vec::new(),
            ledger: Ledger::default(),
            seed,
            recorder,
        }
    }

    /// Adds an actor, which begins now. Its random stream is derived from the seed and `label`, which should be unique.
    pub fn add(&mut self, actor: A, label: &str) -> ActorId {
        self.add_with(actor, Rng::stream(self.seed, label))
    }

    /// Adds an actor whose random stream is derived from the seed and its id, for millions of actors that need no
    /// names.
    pub fn add_unnamed(&mut self, actor: A) -> ActorId {
        /// Distinct from the network's keys: no sender has this id.
        const ACTORS: u64 = u64::MAX;
        self.add_with(actor, Rng::keyed(self.seed, ACTORS, self.cells.len() as u64))
    }

    fn add_with(&mut self, actor: A, rng: Rng) -> ActorId {
        let id = ActorId(self.cells.len() as u32);
        let mut cell = Cell::new(id, actor, rng);
        if self.machine_actions.absent.remove(&id) {
            cell.set_absent(self.now, &mut self.ledger, &mut self.recorder);
        }
        self.cells.push(cell);
        id
    }

    /// Processes all events up to and including `until`, which is then the current time; [`Time::NEVER`] runs until no
    /// event is left. Can be called again with a later time.
    pub fn run_until(&mut self, until: Time) -> RunStatus {
        self.run_slice(until, u64::MAX)
    }

    /// [`run_until`](Self::run_until), but stops after `steps` steps, so that the caller can show progress or
    /// interrupt.
    pub fn run_slice(&mut self, until: Time, steps: u64) -> RunStatus {
        // Events due at `NEVER` do not happen.
        let last = until.min(Time::NEVER - Span::from_nanos(1));
        for _ in 0..steps {
            if !self.advance(last) {
                if until < Time::NEVER {
                    self.now = self.now.max(until);
                }
                return if self.is_idle() { RunStatus::Idle } else { RunStatus::Reached };
            }
        }
        RunStatus::Stopped
    }

    /// Processes one event, whenever it is due. Returns false if none is left.
    pub fn step(&mut self) -> bool {
        self.run_slice(Time::NEVER, 1) == RunStatus::Stopped
    }

    /// Current time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Counters of the run.
    pub fn counts(&self) -> Counts {
        Counts { resent: self.network.resent(), ..self.ledger.counts }
    }

    /// Messages that are in flight or wait at a paused machine. Counted one by one: for checks, not for each step.
    pub fn in_flight(&self) -> u64 {
        let waiting: usize = self.cells.iter().map(Cell::waiting).sum();
        let ready = self.ready.iter().filter(|(_, input)| matches!(input, Input::Deliver(_))).count();
        let in_flight = self.queue.iter().filter(|due| matches!(due, Due::Deliver(..))).count();
        (in_flight + ready + waiting) as u64
    }

    /// One actor, for reading its measurements.
    ///
    /// # Panics
    /// If no actor has this id.
    pub fn actor(&self, id: ActorId) -> &A {
        self.cells[id.index()].actor()
    }

    /// All actors, by id.
    pub fn actors(&self) -> impl ExactSizeIterator<Item = &A> {
        self.cells.iter().map(Cell::actor)
    }

    /// The recorder.
    pub fn recorder(&self) -> &R {
        &self.recorder
    }

    /// Ends the run and returns its recorder.
    pub fn into_recorder(self) -> R {
        self.recorder
    }

    /// All actors, by id: for a run that goes on otherwise than its origin.
    pub fn actors_mut(&mut self) -> impl Iterator<Item = &mut A> {
        self.cells.iter_mut().map(Cell::actor_mut)
    }

    /// Adds a fault that begins later than now. The run goes on as one whose network had it from the beginning.
    ///
    /// # Errors
    /// If the network does not take it: see [`Network::add`].
    pub fn add_fault(&mut self, fault: Fault) -> Result<(), NetworkError> {
        self.network.add(fault)?;
        self.machine_actions.replan(self.network.machine_actions());
        Ok(())
    }

    /// The run as it is now, without its recorder.
    pub fn snapshot(&self) -> Snapshot<A>
    where
        A: Clone,
    {
        Snapshot {
            now: self.now,
            cells: self.cells.clone(),
            queue: self.queue.clone(),
            in_flight: self.in_flight.clone(),
            network: self.network.clone(),
            machine_actions: self.machine_actions.clone(),
            begun: self.begun,
            ready: self.ready.clone(),
            ledger: self.ledger.clone(),
            seed: self.seed,
        }
    }

    /// Resumes a run from a snapshot: the same events follow as in the original.
    pub fn resume(snapshot: Snapshot<A>, recorder: R) -> Self {
        let Snapshot { now, cells, queue, in_flight, network, machine_actions, begun, ready, ledger, seed } = snapshot;
        let effects = Vec::new();
        Sim { now, cells, queue, in_flight, network, machine_actions, begun, ready, effects, ledger, seed, recorder }
    }

    fn is_idle(&mut self) -> bool {
        self.machine_actions.next == Time::NEVER && self.next_time() == Time::NEVER
    }

    /// Due time of the first entry of the queue.
    #[inline]
    fn next_time(&mut self) -> Time {
        let (cells, in_flight, dropped) = (&self.cells, &self.in_flight, &mut self.ledger.counts.dropped);
        let next = self.queue.next_time(|due| match due {
            // The timeout of a request is nearly always disarmed before it is due.
            Due::Fire(actor, timer) => {
                let armed = cells[actor.index()].is_armed(*timer);
                *dropped += u64::from(!armed);
                armed
            }
            // Prefetch: with a million actors each is a cache miss, and here several are fetched at once.
            Due::Deliver(to, place) | Due::Release(to, place) => {
                cells[to.index()].prefetch();
                black_box(in_flight.get(*place).map(|envelope| envelope.seq));
                true
            }
            Due::Durable(..) => true,
        });
        next.unwrap_or(Time::NEVER)
    }

    /// Processes the next event, unless it is due after `last`.
    #[inline]
    fn advance(&mut self, last: Time) -> bool {
        if self.begun < self.cells.len() {
            let actor = ActorId(self.begun as u32);
            self.begun += 1;
            self.take_in(actor, Input::Start);
        } else if let Some((actor, input)) = self.ready.pop_front() {
            self.take_in(actor, input);
        } else {
            let due = self.next_time();
            if self.machine_actions.next.min(due) > last {
                return false;
            }
            if self.machine_actions.next <= due {
                self.now = self.machine_actions.next;
                self.power();
                return true;
            }
            self.now = due;
            match self.queue.pop() {
                Some(Due::Deliver(to, place)) => self.arrive(to, place),
                Some(Due::Release(to, place)) => {
                    self.ledger.counts.held -= 1;
                    self.arrive(to, place);
                }
                Some(Due::Fire(actor, timer)) => self.take_in(actor, Input::Fire(timer)),
                Some(Due::Durable(actor, position)) => self.take_in(actor, Input::Durable(position)),
                None => {}
            }
        }
        true
    }

    #[inline]
    fn arrive(&mut self, to: ActorId, place: u32) {
        if let Some(envelope) = self.in_flight.take(place) {
            self.take_in(to, Input::Deliver(envelope));
        }
    }

    /// Brings an actor an input and carries out its effects.
    #[inline]
    fn take_in(&mut self, actor: ActorId, input: Input<A::Msg>) {
        let Sim { now, ledger, effects, recorder, .. } = self;
        if self.cells[actor.index()].take(*now, input, ledger, effects, recorder) {
            self.perform(actor);
        }
    }

    /// Carries out the effects of the actor.
    #[inline]
    fn perform(&mut self, actor: ActorId) {
        let Sim { now, cells, queue, in_flight, network, effects, ledger, recorder, .. } = self;
        let (now, actors) = (*now, cells.len());
        let mut post = Post::<A, R> { now, actors, queue, in_flight, network, ledger, recorder };
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(envelope) => post.send(envelope),
                Effect::Arm { at: Time::NEVER, .. } => {}
                Effect::Arm { timer, at, .. } => post.queue.push(at.max(now), Due::Fire(actor, timer)),
                Effect::Work { timer, span, .. } => {
                    let done = cells[actor.index()].work_done(now, span);
                    if done < Time::NEVER {
                        post.queue.push(done, Due::Fire(actor, timer));
                    }
                }
                Effect::Persist(position) => {
                    if let Some(sync) = cells[actor.index()].sync_span() {
                        post.queue.push(now + sync, Due::Durable(actor, position));
                    }
                }
                // The cell drops disarmed timers, and so does the queue; notes are for the trace.
                Effect::Disarm(_) | Effect::Note(_) => {}
            }
        }
    }

    /// Carries out the next machine action.
    #[cold]
    fn power(&mut self) {
        let Some((actor, power)) = self.machine_actions.take() else { return };
        let Some(cell) = self.cells.get_mut(actor.index()) else {
            // The actor of an absent machine is not added yet: it begins when it is added.
            if power == MachineAction::Restart {
                self.machine_actions.absent.remove(&actor);
            }
            return;
        };
        let Switched { timers, inputs } = cell.switch(self.now, power, &mut self.ledger, &mut self.recorder);
        timers.into_iter().for_each(|(done, timer)| self.queue.push(done, Due::Fire(actor, timer)));
        self.ready.extend(inputs.into_iter().map(|input| (actor, input)));
    }
}

/// The part of a simulation that sends messages: all but its actors and their effects.
struct Post<'a, A: Actor, R> {
    now: Time,
    /// Number of actors.
    actors: usize,
    queue: &'a mut Ladder<Due>,
    in_flight: &'a mut Slab<Envelope<A::Msg>>,
    network: &'a mut Network,
    ledger: &'a mut Ledger,
    recorder: &'a mut R,
}

impl<A: Actor, R: Recorder<A::Msg, A::Tick>> Post<'_, A, R> {
    /// Asks the network for the fate of a message and queues it accordingly.
    #[inline]
    fn send(&mut self, envelope: Envelope<A::Msg>) {
        self.ledger.counts.sent += 1;
        let Envelope { from, to, seq, .. } = envelope;
        let fate = if to.index() < self.actors {
            self.network.fate(self.now, from, to, seq, envelope.msg.bytes())
        } else {
            Fate::Lost(LossReason::NoSuchActor)
        };
        let Fate::Deliver(delay) = fate else { return self.send_with_fate(envelope, fate) };
        self.queue.push(self.now + delay, Due::Deliver(to, self.in_flight.put(envelope)));
    }

    #[cold]
    fn send_with_fate(&mut self, envelope: Envelope<A::Msg>, fate: Fate) {
        self.recorder.record(self.now, envelope.from, EntryRef::Fate(envelope.id(), fate));
        let to = envelope.to;
        match fate {
            Fate::Deliver(delay) => self.queue.push(self.now + delay, Due::Deliver(to, self.in_flight.put(envelope))),
            Fate::Lost(cause) => self.ledger.counts.lose(cause),
            Fate::Duplicate(first, second) => {
                self.ledger.counts.duplicated += 1;
                self.queue.push(self.now + first, Due::Deliver(to, self.in_flight.put(envelope.clone())));
                self.queue.push(self.now + second, Due::Deliver(to, self.in_flight.put(envelope)));
            }
            Fate::Hold(until) => {
                self.ledger.counts.held += 1;
                self.queue.push(until.max(self.now), Due::Release(to, self.in_flight.put(envelope)));
            }
        }
    }
}

impl Powers {
    fn new(all: Vec<(Time, ActorId, MachineAction)>, absent: &[(ActorId, Time)]) -> Self {
        let next = all.first().map_or(Time::NEVER, |(at, ..)| *at);
        Powers { all, done: 0, next, absent: absent.iter().map(|(actor, _)| *actor).collect() }
    }

    /// Takes another plan, which is the same up to now.
    fn replan(&mut self, all: Vec<(Time, ActorId, MachineAction)>) {
        self.all = all;
        self.next = self.all.get(self.done).map_or(Time::NEVER, |(at, ..)| *at);
    }

    /// Takes the next machine action.
    fn take(&mut self) -> Option<(ActorId, MachineAction)> {
        let (_, actor, power) = self.all.get(self.done)?.clone();
        self.done += 1;
        self.next = self.all.get(self.done).map_or(Time::NEVER, |(at, ..)| *at);
        Some((actor, power))
    }
}
