//! The parts that all actors of a process share: the clock, the network, the agenda, the outboxes.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use meshsim_actor::{
    ActorId, EntryRef, Envelope, Fate, Input, Ledger, LossReason, Message, Recorder, Span, Time, Timer,
};
use meshsim_fault::Network;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::agenda::{Agenda, Due, HELD_MAX};
use crate::alarm::Alarm;
use crate::cell_actor::{CellActor, Mail};
use crate::clock::Clock;
use crate::cluster::ProcessId;
use crate::disks::MaybeDisks;
use crate::host::HostOptions;
use crate::run_spec::{Live, RunSpec, TraceSink};
use crate::transport::Outbox;
use crate::turn::after_others;
use crate::worker::{Work, Worker};

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
    pub(crate) network: RefCell<Network>,
    pub(crate) routes: RefCell<Vec<Route<A>>>,
    pub(crate) agenda: RefCell<Agenda<A::Msg>>,
    alarm: Alarm,
    /// Notifies the agenda of an entry that is due before the alarm rings.
    pub(crate) is_earlier: Notify,
    /// The clock was corrected since the alarm was set: it would ring late.
    was_corrected: Cell<bool>,
    pub(crate) trace_sink: RefCell<OptionalSink<A::Msg, A::Tick>>,
    pub(crate) ledger: RefCell<Ledger>,
    /// Release times of the messages that the network holds; past ones are removed at the next look.
    releases: RefCell<BinaryHeap<Reverse<Time>>>,
    pub(crate) end: Cell<Time>,
    outside: Option<ActorId>,
    outside_seq: Cell<u64>,
    pub(crate) answers: RefCell<Option<Answers<A::Msg>>>,
    pub(crate) worker: Option<Worker>,
    pub(crate) slept_instead: Cell<u64>,
    pub(crate) disks: MaybeDisks<A>,
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
pub(crate) struct OptionalSink<M, T>(pub(crate) Option<Box<dyn TraceSink<M, T>>>);

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
    /// Creates it, without actors, and starts its background tasks.
    pub(crate) fn start(
        options: &HostOptions,
        run_spec: &RunSpec<A>,
        clock: Clock,
    ) -> io::Result<(Rc<Self>, Vec<AbortHandle>)> {
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
            was_corrected: Cell::new(false),
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
            disks: RefCell::default(),
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
        Ok((shell, tasks))
    }

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
    pub(crate) fn held(&self) -> u64 {
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

    pub(crate) fn later(&self, at: Time, actor: ActorId, due: Due<A::Msg>) {
        self.agenda.borrow_mut().push(at, actor, due);
        self.wake_by(at);
    }

    fn wake_by(&self, at: Time) {
        if at < self.alarm.at() {
            self.is_earlier.notify_one();
        }
    }

    /// Moves the offset of the clock to this one; the alarm is set again.
    pub(crate) fn correct_clock(&self, offset: i64) {
        self.clock.correct(offset);
        self.was_corrected.set(true);
        self.is_earlier.notify_one();
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
            let was_corrected = self.was_corrected.take();
            if (next < self.alarm.at() || was_corrected) && self.clock.knows_zero() {
                self.alarm.set(next, self.clock.until(next));
            }
            tokio::select! {
                biased;
                rang_for = self.alarm.rings() => {
                    if self.clock.has_begun() && self.now().since(rang_for) > LATE {
                        // This process stood still. Messages that arrived meanwhile are processed before timers: a
                        // timer must not miss a reply that has arrived.
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
            Due::Durable(position) => addr.do_send(Mail::One(Input::Durable(position))),
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
