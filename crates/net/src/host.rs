//! The host of the actors of this process.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor as _, Addr};
use meshsim_actor::{
    ActorId, Cell as ActorCell, Counts, EntryRef, Envelope, Fate, Input, Ledger, LossReason, MachineAction, Message,
    Recorder, Span, Time, Timer,
};
use meshsim_fault::{Fault, Network, NetworkError};
use meshsim_wire::FrameKind;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::agenda::{Agenda, Due, HELD_MAX};
use crate::alarm::Alarm;
use crate::cell_actor::{CellActor, Inspect, Mail};
use crate::clock::Clock;
use crate::control::{Assigned, Control, HUB_ROLE, Peer, ProcessId, Sender};
use crate::dial;
use crate::link::{Credentials, LinkError};
use crate::outbox::Outbox;
use crate::run_spec::{Live, RunSpec, TraceSink};
use crate::turn::after_others;
use crate::worker::{Work, Worked, Worker};

/// Options of a host.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// How this process and its peers authenticate each other.
    pub credentials: Credentials,
    /// Id of the process.
    pub process: u32,
    /// Boot id of the process: no other start of a process has it.
    pub life: u64,
    /// How work is done.
    pub work: Work,
    /// True if the run is traced.
    pub is_traced: bool,
}

/// Runs some actors of a [`RunSpec`] in this process. It needs an actix system, and stays in its thread.
pub struct Host<A: Live> {
    pub(crate) shell: Rc<HostShared<A>>,
    pub(crate) run_spec: Rc<RunSpec<A>>,
    pub(crate) credentials: Rc<Credentials>,
    /// Identity of this process, for those to which it sends messages.
    me: RefCell<Sender>,
    here: RefCell<BTreeMap<ActorId, Addr<CellActor<A>>>>,
    peers: RefCell<BTreeMap<ProcessId, Known>>,
    /// Outbox of the connection to the hub, while there is one.
    hub: RefCell<Option<Rc<Outbox>>>,
    /// Background tasks.
    tasks: RefCell<Vec<AbortHandle>>,
}

/// Another process, as announced by the hub.
struct Known {
    peer: Peer,
    outbox: Rc<Outbox>,
    /// Task that keeps it connected.
    task: AbortHandle,
}

/// Entries of the agenda that are processed in a row before the actors run. More than their mailboxes hold may be due
/// at one time, for example when a partition ends that has held messages.
const AT_ONCE_MAX: usize = 1024;

/// A timer that is later than this shows that this process stood still.
const LATE: Span = Span::from_secs(1);
/// Time in which it then receives the messages that have arrived, before its timers fire.
const CATCH_UP: Duration = Duration::from_millis(50);

/// State that all actors of a process share: the clock, the network, the agenda, the outboxes.
pub(crate) struct HostShared<A: Live> {
    pub(crate) clock: Clock,
    network: RefCell<Network>,
    routes: RefCell<Vec<Route<A>>>,
    agenda: RefCell<Agenda<A::Msg>>,
    alarm: Alarm,
    /// Notifies the agenda of an entry that is due before the alarm rings.
    is_earlier: Notify,
    trace_sink: RefCell<OptionalSink<A::Msg, A::Tick>>,
    ledger: RefCell<Ledger>,
    /// Release times of the messages that the network holds; past ones are removed at the next look.
    releases: RefCell<BinaryHeap<Reverse<Time>>>,
    end: Cell<Time>,
    outside: Option<ActorId>,
    outside_seq: Cell<u64>,
    answers: RefCell<Option<Answers<A::Msg>>>,
    worker: Option<Worker>,
    slept_instead: Cell<u64>,
}

/// Receives the messages that actors send to the external client.
pub(crate) type Answers<M> = Box<dyn Fn(Envelope<M>)>;

/// Location of an actor.
pub(crate) enum Route<A: Live> {
    NoSuchActor,
    Here(Addr<CellActor<A>>),
    There(ProcessId, Rc<Outbox>),
}

/// The trace of this process, if there is one.
pub(crate) struct OptionalSink<M, T>(Option<Box<dyn TraceSink<M, T>>>);

impl<M, T> Recorder<M, T> for OptionalSink<M, T> {
    #[inline]
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, M, T>) {
        if let Some(trace_sink) = &mut self.0 {
            trace_sink.record(at, actor, what);
        }
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

impl<A: Live> HostShared<A> {
    #[inline]
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// End of the run: no event follows it.
    #[inline]
    pub(crate) fn end(&self) -> Time {
        self.end.get()
    }

    #[inline]
    pub(crate) fn trace_sink(&self) -> RefMut<'_, OptionalSink<A::Msg, A::Tick>> {
        self.trace_sink.borrow_mut()
    }

    #[inline]
    pub(crate) fn ledger(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// Locations of the actors, by id.
    #[inline]
    pub(crate) fn routes(&self) -> Ref<'_, Vec<Route<A>>> {
        self.routes.borrow()
    }

    /// Number of messages that the network holds now.
    fn held(&self) -> u64 {
        let (now, mut releases) = (self.now().min(self.end()), self.releases.borrow_mut());
        while releases.peek().is_some_and(|Reverse(release)| *release <= now) {
            releases.pop();
        }
        releases.len() as u64
    }

    /// Discards the messages that wait here and those that are put in from now on; returns the number of those that
    /// wait.
    pub(crate) fn discard(&self, outbox: &Outbox) -> u64 {
        outbox.set_unreachable(true);
        let lost = outbox.clear();
        self.ledger().counts.lost_down += lost;
        lost
    }

    /// Asks the network for the fate of a message and sends it accordingly.
    #[inline]
    pub(crate) fn send(&self, now: Time, envelope: Envelope<A::Msg>) {
        self.ledger().counts.sent += 1;
        let Envelope { from, to, seq, .. } = envelope;
        if Some(to) == self.outside {
            return self.answer(now, envelope);
        }
        let fate = if to.index() < self.routes.borrow().len() {
            self.network.borrow_mut().fate(now, from, to, seq, envelope.msg.bytes())
        } else {
            Fate::Lost(LossReason::NoSuchActor)
        };
        let Fate::Deliver(delay) = fate else { return self.send_with_fate(now, envelope, fate) };
        self.carry(now, now + delay, envelope);
    }

    #[cold]
    fn send_with_fate(&self, now: Time, envelope: Envelope<A::Msg>, fate: Fate) {
        self.trace_sink().record(now, envelope.from, EntryRef::Fate(envelope.id(), fate));
        match fate {
            Fate::Deliver(delay) => _ = self.carry(now, now + delay, envelope),
            Fate::Lost(cause) => self.ledger().counts.lose(cause),
            Fate::Duplicate(first, second) => {
                self.ledger().counts.duplicated += 1;
                self.carry(now, now + first, envelope.clone());
                self.carry(now, now + second, envelope);
            }
            Fate::Hold(_) if self.held() >= HELD_MAX as u64 => self.lose(now, &envelope, LossReason::Full),
            Fate::Hold(until) => {
                if self.carry(now, until.max(now), envelope) && until > now {
                    self.releases.borrow_mut().push(Reverse(until));
                }
            }
        }
    }

    /// Passes a message on toward its receiver; returns false if it is lost.
    #[inline]
    fn carry(&self, now: Time, due: Time, envelope: Envelope<A::Msg>) -> bool {
        let lost = match &self.routes.borrow()[envelope.to.index()] {
            Route::There(_, outbox) => match outbox.put_envelope(due, &envelope) {
                Ok(()) => return true,
                Err(cause) => cause,
            },
            Route::Here(_) if due > now => return self.hold(due, 0, envelope),
            Route::Here(addr) => match addr.try_send(Mail::One(Input::Deliver(envelope))) {
                Ok(()) => return true,
                // The mailbox is full: an actor sends to itself without end.
                Err(error) => {
                    self.lose_parcel(now, error.into_inner());
                    return false;
                }
            },
            // Its process has not joined, or is gone.
            Route::NoSuchActor => LossReason::Down,
        };
        self.lose(now, &envelope, lost);
        false
    }

    /// Keeps a message until it is due; returns false if it is lost. `bytes`: its bytes of memory if it came from
    /// another process, else 0.
    pub(crate) fn hold(&self, due: Time, bytes: usize, envelope: Envelope<A::Msg>) -> bool {
        let held = self.agenda.borrow_mut().hold(due, bytes, envelope);
        match &held {
            Ok(()) => self.wake_by(due),
            Err(envelope) => self.lose(self.now(), envelope, LossReason::Full),
        }
        held.is_ok()
    }

    #[cold]
    pub(crate) fn lose(&self, now: Time, envelope: &Envelope<A::Msg>, cause: LossReason) {
        self.ledger().counts.lose(cause);
        self.trace_sink().record(now, envelope.from, EntryRef::Fate(envelope.id(), Fate::Lost(cause)));
    }

    #[cold]
    pub(crate) fn lose_parcel(&self, now: Time, parcel: Mail<A::Msg>) {
        let inputs = match parcel {
            Mail::One(input) => vec![input],
            Mail::Many(inputs) => inputs,
            Mail::Begin | Mail::Absent | Mail::Power(_) => vec![],
        };
        for input in inputs {
            if let Input::Deliver(envelope) = input {
                self.lose(now, &envelope, LossReason::Full);
            }
        }
    }

    /// Arms a timer of an actor.
    pub(crate) fn arm(&self, at: Time, actor: ActorId, timer: Timer) {
        self.later(at, actor, Due::Fire(timer));
    }

    /// Starts work of `span` on an actor's machine; it is done at `done` if the pace of the machine stays.
    pub(crate) fn work(&self, done: Time, span: Span, actor: ActorId, timer: Timer) {
        if let Some(worker) = &self.worker {
            if worker.work(actor, timer, span) {
                return;
            }
            self.slept_instead.set(self.slept_instead.get() + 1);
        }
        if done < Time::NEVER {
            self.arm(done, actor, timer);
        }
    }

    /// Removes a work item that is done or cancelled.
    pub(crate) fn take_back(&self, actor: ActorId, timer: Timer) {
        if let Some(worker) = &self.worker {
            worker.end(actor, timer);
        }
    }

    /// Cancels all work items of this actor.
    pub(crate) fn take_back_all(&self, actor: ActorId) {
        if let Some(worker) = &self.worker {
            worker.end_all(actor);
        }
    }

    fn later(&self, at: Time, actor: ActorId, due: Due<A::Msg>) {
        self.agenda.borrow_mut().push(at, actor, due);
        self.wake_by(at);
    }

    fn wake_by(&self, at: Time) {
        if at < self.alarm.at() {
            self.is_earlier.notify_one();
        }
    }

    /// Dispatches the entries of the agenda when they are due. The alarm is set when the actors have run: their
    /// requests are often due before all other entries, or at once.
    async fn run_agenda(self: Rc<Self>) {
        loop {
            if self.clock.has_begun() {
                let now = self.now();
                let mut happened = 0;
                loop {
                    let due = self.agenda.borrow_mut().pop(now);
                    let Some((actor, due)) = due else { break };
                    self.dispatch(now, actor, due);
                    happened += 1;
                    if happened % AT_ONCE_MAX == 0 {
                        after_others().await;
                    }
                }
                if happened > 0 {
                    after_others().await;
                    continue;
                }
            }
            let next = self.agenda.borrow().next().unwrap_or(Time::NEVER);
            if next < self.alarm.at() && self.clock.knows_zero() {
                self.alarm.set(next, self.clock.until(next));
            }
            tokio::select! {
                biased;
                rang_for = self.alarm.rings() => {
                    if self.clock.has_begun() && self.now().since(rang_for) > LATE {
                        // This process stood still. Messages that arrived meanwhile are processed before timers: a
                        // timer must not miss a reply that has arrived.
                        // timer must not find a reply missing that has arrived.
                        sleep(CATCH_UP).await;
                    }
                }
                () = self.is_earlier.notified() => {}
            }
        }
    }

    pub(crate) fn dispatch(&self, now: Time, actor: ActorId, due: Due<A::Msg>) {
        let routes = self.routes.borrow();
        let Some(Route::Here(addr)) = routes.get(actor.index()) else { return };
        match due {
            Due::Begin => addr.do_send(Mail::Begin),
            Due::Absent => addr.do_send(Mail::Absent),
            Due::Power(power) => addr.do_send(Mail::Power(power)),
            // Bounded by the number of timers that the actor has armed.
            Due::Fire(timer) => addr.do_send(Mail::One(Input::Fire(timer))),
            Due::Deliver(envelope) => {
                if let Err(error) = addr.try_send(Mail::One(Input::Deliver(*envelope))) {
                    self.lose_parcel(now, error.into_inner());
                }
            }
        }
    }

    /// Delivers a message from the external client. It takes no time, and no fault affects it.
    pub(crate) fn inject(&self, to: ActorId, msg: A::Msg) {
        let Some(from) = self.outside else { return };
        let now = self.now();
        let seq = self.outside_seq.replace(self.outside_seq.get() + 1);
        let envelope = Envelope { from, to, seq, msg };
        self.ledger().counts.sent += 1;
        self.trace_sink().record(now, from, EntryRef::Send(&envelope));
        if to.index() < self.routes.borrow().len() {
            self.carry(now, now, envelope);
        } else {
            self.lose(now, &envelope, LossReason::NoSuchActor);
        }
    }

    /// Passes a message to the external client.
    #[cold]
    fn answer(&self, now: Time, envelope: Envelope<A::Msg>) {
        self.trace_sink().record(now, envelope.to, EntryRef::Deliver(&envelope));
        self.ledger().counts.delivered += 1;
        if let Some(answers) = &*self.answers.borrow() {
            answers(envelope);
        }
    }
}

impl<A: Live> Host<A> {
    /// Starts a host without actors.
    ///
    /// # Errors
    /// If the operating system provides no timer or thread, or the trace cannot be opened.
    ///
    /// # Panics
    /// If the network of the specification is invalid: its creator has to check it.
    pub fn start(options: HostOptions, run_spec: Rc<RunSpec<A>>) -> io::Result<Rc<Self>> {
        Self::start_at(options, run_spec, Clock::start())
    }

    /// Starts a host with a clock that is already aligned.
    pub(crate) fn start_at(options: HostOptions, run_spec: Rc<RunSpec<A>>, clock: Clock) -> io::Result<Rc<Self>> {
        let network = Network::new(run_spec.network.clone()).expect("the cast's network was checked");
        let trace_sink = if options.is_traced { Some((run_spec.trace_sink)()?) } else { None };
        let (worker, done) = match options.work {
            Work::Sleep => (None, None),
            Work::Busy => {
                let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
                let (worker, done) = Worker::start(cores, clock.count())?;
                (Some(worker), Some(done))
            }
        };
        let shell = Rc::new(HostShared {
            clock,
            network: RefCell::new(network),
            routes: RefCell::new((0..run_spec.actors.len()).map(|_| Route::NoSuchActor).collect()),
            agenda: RefCell::new(Agenda::new()),
            alarm: Alarm::new()?,
            is_earlier: Notify::new(),
            trace_sink: RefCell::new(OptionalSink(trace_sink)),
            ledger: RefCell::default(),
            releases: RefCell::default(),
            end: Cell::new(Time::NEVER),
            outside: run_spec.outside,
            // Each process sends for the external client, with message numbers of its own.
            outside_seq: Cell::new(u64::from(options.process) << 32),
            answers: RefCell::new(None),
            worker,
            slept_instead: Cell::new(0),
        });
        let mut tasks = vec![tokio::task::spawn_local(shell.clone().run_agenda()).abort_handle()];
        if let Some(mut done) = done {
            let shell = shell.clone();
            let happens = async move {
                while let Some((actor, timer)) = done.recv().await {
                    shell.take_back(actor, timer);
                    shell.dispatch(shell.now(), actor, Due::Fire(timer));
                }
            };
            tasks.push(tokio::task::spawn_local(happens).abort_handle());
        }
        Ok(Rc::new(Host {
            shell,
            run_spec,
            credentials: Rc::new(options.credentials),
            me: RefCell::new(Sender { process: options.process, life: options.life, actors: Vec::new() }),
            here: RefCell::new(BTreeMap::new()),
            peers: RefCell::new(BTreeMap::new()),
            hub: RefCell::new(None),
            tasks: RefCell::new(tasks),
        }))
    }

    /// Hosts an actor, which begins with the run. `incarnation`: number of its earlier incarnations in other processes.
    pub fn host(&self, actor: ActorId, incarnation: u32) {
        let (fresh, rng) = ((self.run_spec.actor)(actor), self.run_spec.rng(actor));
        let cell = match incarnation {
            0 => ActorCell::new(actor, fresh, rng),
            _ => ActorCell::with_incarnation(actor, fresh, rng, incarnation),
        };
        let addr = CellActor::new(cell, self.shell.clone()).start();
        self.shell.routes.borrow_mut()[actor.index()] = Route::Here(addr.clone());
        self.here.borrow_mut().insert(actor, addr);
        self.me.borrow_mut().actors.push(Assigned { actor, incarnation });
    }

    /// Begins the run at this value of the hub's count, or at once if it is past.
    pub(crate) fn begin_at(&self, zero: u64, end: Time) {
        let shell = &self.shell;
        if shell.clock.knows_zero() {
            // A run begins once, however often this is called.
            return;
        }
        shell.clock.begin_at(zero);
        shell.end.set(end);
        let now = shell.now();
        for actor in self.here.borrow().keys() {
            self.stand(*actor, now);
            shell.later(now, *actor, Due::Begin);
        }
        let machine_actions = shell.network.borrow().powers_from(now);
        self.plan(machine_actions);
        shell.is_earlier.notify_one();
    }

    /// Puts an actor's machine into the state that it has when it begins, perhaps in the middle of a run: absent until
    /// its time, or as the faults have left it. A machine that a process brings is no longer absent.
    fn stand(&self, actor: ActorId, now: Time) {
        let mut network = self.shell.network.borrow_mut();
        match network.absent().iter().find(|(absent, _)| *absent == actor) {
            Some((_, Time::NEVER)) => network.bring(actor, now),
            Some((_, comes)) if *comes > now => self.shell.later(now, actor, Due::Absent),
            _ => {}
        }
        for power in network.standing(actor, now) {
            self.shell.later(now, actor, Due::Power(power));
        }
    }

    /// Begins the run now, without an end, for processes that need no hub.
    pub fn begin(&self) {
        self.begin_at(self.shell.clock.shared(), Time::NEVER);
    }

    fn plan(&self, machine_actions: Vec<(Time, ActorId, MachineAction)>) {
        let here = self.here.borrow();
        for (at, actor, power) in machine_actions.into_iter().filter(|(_, actor, _)| here.contains_key(actor)) {
            self.shell.later(at, actor, Due::Power(power));
        }
    }

    /// Adds a fault that holds from its `at`.
    ///
    /// # Errors
    /// If its parameters are invalid.
    pub(crate) fn add_fault(&self, fault: Fault) -> Result<(), NetworkError> {
        self.change_network(fault.at, |network| network.add(fault))
    }

    /// Ends a fault at `at`, unless it ends before. The index counts the faults of the experiment first, then the added
    /// ones.
    ///
    /// # Errors
    /// If there is no such fault.
    pub(crate) fn end_fault(&self, index: usize, at: Time) -> Result<(), NetworkError> {
        self.change_network(at, |network| network.end(index, at))
    }

    /// Changes the network from `at` on, and with it the plan of machine actions.
    fn change_network(
        &self,
        at: Time,
        change: impl FnOnce(&mut Network) -> Result<(), NetworkError>,
    ) -> Result<(), NetworkError> {
        let now = self.shell.now();
        let mut network = self.shell.network.borrow_mut();
        let here = self.here.borrow();
        // The message may have taken long to arrive: then something has begun already.
        let is_late = at < now;
        let standing = |network: &Network| -> Vec<Vec<MachineAction>> {
            here.keys().filter(|_| is_late).map(|actor| network.standing(*actor, now)).collect()
        };
        let before = standing(&network);
        change(&mut network)?;
        // Nothing is planned before the start of the run is known: `begin_at` makes the plan from then on.
        if !self.shell.clock.knows_zero() {
            return Ok(());
        }
        // The whole plan is replaced, because outages may overlap. Overdue actions are not in it, and still happen.
        self.shell.agenda.borrow_mut().forget_powers(now);
        for ((actor, before), after) in here.keys().zip(before).zip(standing(&network)) {
            let undone = before.iter().filter(|power| !after.contains(power)).map(|power| undone(*power));
            let begun = after.iter().filter(|power| !before.contains(power)).copied();
            for power in undone.chain(begun) {
                self.shell.later(now, *actor, Due::Power(power));
            }
        }
        self.plan(network.powers_from(now));
        Ok(())
    }

    /// Sets the end of the run: no event follows it.
    pub(crate) fn end_at(&self, at: Time) {
        self.shell.end.set(at.min(self.shell.end()));
    }

    /// Registers another process and its address. This process connects to it when there is a message to send.
    pub(crate) fn learn(self: &Rc<Self>, peer: Peer) {
        let process = peer.sender.process;
        let old = self.peers.borrow_mut().remove(&process);
        let outbox = match old {
            Some(known) if known.peer == peer => {
                self.peers.borrow_mut().insert(process, known);
                return;
            }
            Some(known) => {
                known.task.abort();
                // Waiting messages are kept if the same process (the same boot id) is now at another address.
                if known.peer.sender.life == peer.sender.life {
                    known.outbox
                } else {
                    self.shell.discard(&known.outbox);
                    Rc::default()
                }
            }
            None => Rc::default(),
        };
        self.reach(&peer.sender, &outbox);
        let task = tokio::task::spawn_local(dial::bring(self.clone(), peer.clone(), outbox.clone()));
        self.peers.borrow_mut().insert(process, Known { peer, outbox, task: task.abort_handle() });
    }

    /// Routes messages for the actors of another process into this outbox.
    pub(crate) fn reach(&self, sender: &Sender, outbox: &Rc<Outbox>) {
        let mut routes = self.shell.routes.borrow_mut();
        let mut replaced = BTreeSet::new();
        for seated in &sender.actors {
            if let Some(route @ (Route::NoSuchActor | Route::There(..))) = routes.get_mut(seated.actor.index()) {
                let old = std::mem::replace(route, Route::There(sender.process, outbox.clone()));
                replaced.extend(match old {
                    Route::There(process, _) if process != sender.process => Some(process),
                    _ => None,
                });
            }
        }
        // A process without actors is gone: it is neither dialled nor accepted any more.
        for process in replaced {
            let has_some = routes.iter().any(|route| matches!(route, Route::There(there, _) if *there == process));
            if !has_some && let Some(known) = self.peers.borrow_mut().remove(&process) {
                known.task.abort();
                self.shell.discard(&known.outbox);
            }
        }
    }

    /// True if the hub has announced this process with this boot id.
    pub(crate) fn knows(&self, process: ProcessId, life: u64) -> bool {
        self.peers.borrow().get(&process).is_some_and(|known| known.peer.sender.life == life)
    }

    /// Role of a process, from the actors that the hub has announced for it.
    pub(crate) fn role_of(&self, process: ProcessId) -> &'static str {
        let peers = self.peers.borrow();
        let first = peers.get(&process).and_then(|known| known.peer.sender.actors.first());
        first.and_then(|seated| self.run_spec.actors.get(seated.actor.index())).map_or(HUB_ROLE, |seat| seat.role)
    }

    pub(crate) fn set_hub(&self, hub: Option<Rc<Outbox>>) {
        *self.hub.borrow_mut() = hub;
    }

    /// Reports to the hub that a process, perhaps this one, is refused for its certificate or secret.
    pub(crate) fn report(&self, process: ProcessId, error: &LinkError) {
        if let Some(hub) = &*self.hub.borrow() {
            hub.put(FrameKind::Control, &Control::Refused { process, why: error.to_string() });
        }
    }

    pub(crate) fn me(&self) -> Sender {
        self.me.borrow().clone()
    }

    /// Accepts messages from other processes.
    pub fn serve(self: &Rc<Self>, listener: TcpListener) {
        let serving = tokio::task::spawn_local(crate::accept::serve(listener, self.clone(), None));
        self.tasks.borrow_mut().push(serving.abort_handle());
    }

    /// Stops all actors of this process and releases everything.
    pub(crate) fn close(&self) {
        self.tasks.take().iter().for_each(AbortHandle::abort);
        for (_, known) in std::mem::take(&mut *self.peers.borrow_mut()) {
            known.task.abort();
        }
        // An actor ends when its last address is dropped.
        self.here.borrow_mut().clear();
        self.shell.routes.borrow_mut().clear();
    }

    /// Registers another process that hosts these actors, in a cluster without a hub. Both processes must do so.
    pub fn meet(self: &Rc<Self>, process: u32, life: u64, address: String, actors: &[ActorId]) {
        let actors = actors.iter().map(|actor| Assigned { actor: *actor, incarnation: 0 }).collect();
        self.learn(Peer { sender: Sender { process, life, actors }, address });
    }

    /// Inspects an actor of this process between two of its steps; `None` if it is not hosted here.
    pub async fn look<R: Send + 'static>(
        &self,
        actor: ActorId,
        look: impl FnOnce(&ActorCell<A>) -> R + Send + 'static,
    ) -> Option<R> {
        let addr = self.here.borrow().get(&actor).cloned()?;
        let (say, heard) = tokio::sync::oneshot::channel();
        let look = Inspect(Box::new(move |cell: &ActorCell<A>| {
            let _ = say.send(look(cell));
        }));
        addr.send(look).await.ok()?;
        heard.await.ok()
    }

    /// Waits until all messages to other processes are written.
    pub(crate) async fn written(&self) {
        let outboxes: Vec<Rc<Outbox>> = self.peers.borrow().values().map(|known| known.outbox.clone()).collect();
        for outbox in outboxes {
            outbox.room(0).await;
        }
    }

    /// Ids of the actors that this process hosts.
    pub fn actors(&self) -> Vec<ActorId> {
        self.here.borrow().keys().copied().collect()
    }

    /// Counters of this process.
    pub fn counts(&self) -> Counts {
        Counts { held: self.shell.held(), resent: self.shell.network.borrow().resent(), ..self.shell.ledger().counts }
    }

    /// Current time of the run.
    pub fn now(&self) -> Time {
        self.shell.now()
    }

    /// Real work, by actor; empty if work is a timer.
    pub(crate) fn worked(&self) -> Vec<Worked> {
        self.shell.worker.as_ref().map_or_else(Vec::new, Worker::worked)
    }

    pub(crate) fn slept_instead(&self) -> u64 {
        self.shell.slept_instead.get()
    }

    pub(crate) fn set_answers(&self, answers: Answers<A::Msg>) {
        *self.shell.answers.borrow_mut() = Some(answers);
    }

    /// Ends the trace of this process and returns it.
    pub(crate) fn take_tape(&self) -> Option<Box<dyn TraceSink<A::Msg, A::Tick>>> {
        self.shell.trace_sink().0.take()
    }
}

/// The machine action that reverts this one.
fn undone(power: MachineAction) -> MachineAction {
    match power {
        MachineAction::Crash | MachineAction::Wipe => MachineAction::Restart,
        MachineAction::Pause => MachineAction::Resume,
        MachineAction::Speed(_) => MachineAction::Speed(1.0),
        MachineAction::Restart | MachineAction::Resume => power,
    }
}

impl<A: Live> std::fmt::Debug for Host<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("me", &self.me.borrow()).finish_non_exhaustive()
    }
}
