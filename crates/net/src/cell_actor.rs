//! The actors of this process, each cell in one actix actor, and the delivery of other processes' messages to them.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix::{Addr, Context, Handler};
use meshsim_actor::{Actor, ActorId, Cell, Effect, Effects, Input, LossReason, MachineAction, Span, Time};
use meshsim_wire::{FrameKind, Splitter};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use crate::agenda::Due;
use crate::cluster::{Control, PING, ProcessId};
use crate::run_spec::Live;
use crate::shared::{HostShared, Route};
use crate::transport::{LinkError, Reader, SILENCE};
use crate::turn::after_others;

/// Messages that may wait in the mailbox of one actor. Each connection passes on the messages of one read and then lets
/// the actors run, and so does the agenda with its due entries. So only an actor that sends to itself without end
/// reaches this bound; messages beyond it are lost as to a full queue.
const MAILBOX_MAX: usize = 1 << 16;

/// The actix actor around a cell.
pub(crate) struct CellActor<A: Live> {
    cell: Cell<A>,
    shell: Rc<HostShared<A>>,
    effects: Effects<A::Msg, A::Tick>,
}

/// Content of the mailbox of an actor.
pub(crate) enum Mail<M> {
    One(Input<M>),
    Many(Vec<Input<M>>),
    /// Begin of the run.
    Begin,
    /// The machine is absent until a restart starts it.
    Absent,
    Power(MachineAction),
}

impl<M> actix::Message for Mail<M> {
    type Result = ();
}

/// Inspects the cell between two steps.
pub(crate) struct Inspect<A: Actor>(pub(crate) InspectFn<A>);

/// The function that inspects a cell.
pub(crate) type InspectFn<A> = Box<dyn FnOnce(&Cell<A>) + Send>;

impl<A: Actor> actix::Message for Inspect<A> {
    type Result = ();
}

/// None of its fields is ever pinned.
impl<A: Live> Unpin for CellActor<A> {}

impl<A: Live> HostShared<A> {
    /// Receives the messages of another process until the connection ends.
    pub(crate) async fn read(
        &self,
        reader: &mut Reader,
        splitter: &mut Splitter,
        from: ProcessId,
        mut hear: impl FnMut(Control) -> Result<(), LinkError>,
    ) -> LinkError {
        let mut batch = Batch { to: None, inputs: Vec::new() };
        // One timer for all reads: it is set again when it fires, and not at every read.
        let mut quiet = pin!(sleep(SILENCE));
        let mut heard = self.clock.own();
        loop {
            if let Err(error) = self.take_in(splitter, from, &mut batch, &mut hear) {
                return error;
            }
            // The actors run before the next read: unread bytes wait at the sender.
            after_others().await;
            tokio::select! {
                biased;
                read = reader.read_buf(splitter.room()) => match read {
                    Ok(0) => return LinkError::Ended,
                    Ok(_) => heard = self.clock.own(),
                    Err(error) => return LinkError::Broken(error),
                },
                () = &mut quiet => {
                    let mut silent = Duration::from_nanos(self.clock.own() - heard);
                    if silent > SILENCE + PING {
                        // This process stood still: silence counts from now.
                        heard = self.clock.own();
                        silent = Duration::ZERO;
                    } else if silent >= SILENCE {
                        return LinkError::Silent(SILENCE);
                    }
                    quiet.set(sleep(SILENCE - silent));
                }
            }
        }
    }

    /// Passes the messages of one read that are due to their actors, and keeps the others until they are due.
    fn take_in(
        &self,
        splitter: &mut Splitter,
        from: ProcessId,
        batch: &mut Batch<A>,
        hear: &mut impl FnMut(Control) -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        let now = self.now();
        while let Some(frame) = splitter.next_frame()? {
            if frame.kind != FrameKind::Envelope {
                hear(frame.expect(FrameKind::Control)?)?;
                continue;
            }
            let (due, envelope) = frame.envelope::<A::Msg>()?;
            let routes = self.routes();
            if !matches!(routes.get(envelope.from.index()), Some(Route::There(sender, _)) if *sender == from) {
                let what = format!("sent a message of actor {}, which is not its own", envelope.from);
                return Err(LinkError::ProtocolViolation(what));
            }
            match routes.get(envelope.to.index()) {
                // Before the run begins no actor accepts messages. A message may take many times its wire size in
                // memory.
                Some(Route::Here(_)) if due > now || now == Time::ZERO => {
                    self.hold(due, frame.bytes().len().max(envelope.memory_bytes()), envelope);
                }
                Some(Route::Here(addr)) => {
                    if batch.to.as_ref().is_none_or(|(to, _)| *to != envelope.to) {
                        batch.hand_over(self, now);
                        batch.to = Some((envelope.to, addr.clone()));
                    }
                    batch.inputs.push(Input::Deliver(envelope));
                }
                // The actor was here when the sender looked it up.
                _ => self.lose(now, &envelope, LossReason::NoSuchActor),
            }
        }
        batch.hand_over(self, now);
        Ok(())
    }
}

/// Messages for one actor, in a row.
struct Batch<A: Live> {
    to: Option<(ActorId, Addr<CellActor<A>>)>,
    inputs: Vec<Input<A::Msg>>,
}

impl<A: Live> Batch<A> {
    fn hand_over(&mut self, shell: &HostShared<A>, now: Time) {
        let Some((_, addr)) = self.to.take() else { return };
        let parcel = match self.inputs.len() {
            1 => self.inputs.pop().map_or(Mail::Many(vec![]), Mail::One),
            _ => Mail::Many(std::mem::take(&mut self.inputs)),
        };
        if let Err(error) = addr.try_send(parcel) {
            shell.lose_parcel(now, error.into_inner());
        }
    }
}

impl<A: Live> CellActor<A> {
    /// Its machine accepts no input before the run begins.
    pub(crate) fn new(mut cell: Cell<A>, shell: Rc<HostShared<A>>) -> Self {
        cell.await_beginning();
        CellActor { cell, shell, effects: Vec::new() }
    }

    /// Carries out the effects of the actor.
    #[inline]
    fn perform(&mut self, now: Time) {
        let actor = self.cell.id();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send(envelope) => self.shell.send(now, envelope),
                Effect::Arm { at: Time::NEVER, .. } => {}
                Effect::Arm { timer, at, .. } => self.shell.arm(at, actor, timer),
                Effect::Work { timer, span, .. } => {
                    self.shell.work(self.cell.work_done(now, span), span, actor, timer);
                }
                Effect::Persist(position) => {
                    let ends = self.cell.sync_span().map_or(Time::NEVER, |sync| now + sync);
                    match (&*self.shell.disks.borrow(), self.cell.durable_state(position)) {
                        (Some(disks), Some(state)) => disks.persist(actor, position, state, ends),
                        _ if ends < Time::NEVER => self.shell.later(ends, actor, Due::Durable(position)),
                        _ => {}
                    }
                }
                // The cell drops the timer too.
                Effect::Disarm(timer) => self.shell.take_back(actor, timer),
                // Notes are for the trace.
                Effect::Note(_) => {}
            }
        }
    }

    /// Applies an action to the machine; returns the inputs that it is to take then.
    fn power(&mut self, now: Time, power: MachineAction) -> Vec<Input<A::Msg>> {
        let actor = self.cell.id();
        let has_journal = self.shell.disks.borrow().is_some();
        let power = match power {
            // The journal stays when a fault of the disk ends.
            MachineAction::Disk(None) if has_journal => MachineAction::Disk(Some(Span::ZERO)),
            power => power,
        };
        if matches!(power, MachineAction::Crash | MachineAction::Wipe) {
            self.shell.take_back_all(actor);
        }
        let switched = self.cell.switch(now, power, &mut self.shell.ledger(), &mut *self.shell.trace_sink());
        switched.timers.into_iter().for_each(|(done, timer)| self.shell.arm(done, actor, timer));
        switched.inputs
    }
}

impl<A: Live> actix::Actor for CellActor<A> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX_MAX);
    }
}

impl<A: Live> Handler<Mail<A::Msg>> for CellActor<A> {
    type Result = ();

    #[inline]
    fn handle(&mut self, parcel: Mail<A::Msg>, _: &mut Self::Context) {
        let mut now = self.shell.now();
        let (first, others) = match parcel {
            Mail::One(input) => (Some(input), Vec::new()),
            Mail::Many(inputs) => (None, inputs),
            _ if now > self.shell.end() => return,
            Mail::Begin => (None, self.cell.begin(&mut self.shell.ledger())),
            Mail::Power(power) => (None, self.power(now, power)),
            Mail::Absent => {
                return self.cell.set_absent(now, &mut self.shell.ledger(), &mut *self.shell.trace_sink());
            }
        };
        for input in first.into_iter().chain(others) {
            if now > self.shell.end() {
                // The run has ended: messages that have not arrived by now stay in flight.
                return;
            }
            let fired = if let Input::Fire(timer) = &input { Some(*timer) } else { None };
            let (mut ledger, mut trace_sink) = (self.shell.ledger(), self.shell.trace_sink());
            let ran = self.cell.take(now, input, &mut ledger, &mut self.effects, &mut *trace_sink);
            drop((ledger, trace_sink));
            if ran {
                self.perform(now);
            } else if let Some((timer, at)) = fired.and_then(|timer| Some((timer, self.cell.work_left(now, timer)?))) {
                // The worker thread runs at full speed, whatever the speed of the machine.
                self.shell.arm(at, self.cell.id(), timer);
            }
            now = self.shell.now();
        }
    }
}

impl<A: Live> Handler<Inspect<A>> for CellActor<A> {
    type Result = ();

    fn handle(&mut self, look: Inspect<A>, _: &mut Self::Context) {
        look.0(&self.cell);
    }
}
