//! One actix actor around one cell.

use std::collections::VecDeque;
use std::rc::Rc;

use actix::{Context, Handler};
use meshsim_actor::{Actor, Cause, Cell, Effect, Effects, Fate, Input, Power, Recorder, Time, What};
use meshsim_wire::{MESSAGE_BYTES_MAX, encode_into};

use crate::cast::Live;
use crate::host::{Shell, in_memory};

/// Parcels that may wait at one actor. Each connection hands over what one read brought and then lets the actors run, and so
/// does the agenda with what is due: this is reached by an actor alone that sends to itself without end; beyond it messages
/// are lost as to a full queue.
const MAILBOX_MAX: usize = 1 << 16;

/// Inputs that wait at a machine that is paused, or has not begun; messages beyond are lost as to a full queue.
const WAITING_MAX: usize = 1 << 20;
/// Bytes of memory of messages that wait at all such machines of a process, or of the wire where that is more. Likewise.
pub(crate) const WAITING_BYTES_MAX: usize = 128 << 20;

/// A cell, and how its machine stands.
pub(crate) struct Hosted<A: Live> {
    cell: Cell<A>,
    shell: Rc<Shell<A>>,
    has_begun: bool,
    is_down: bool,
    is_paused: bool,
    waiting: VecDeque<Input<A::Msg>>,
    /// Bytes of the messages among them.
    waiting_bytes: usize,
    effects: Effects<A::Msg, A::Tick>,
}

/// What comes to an actor.
pub(crate) enum Parcel<M> {
    One(Input<M>),
    Many(Vec<Input<M>>),
    /// Its machine is not there yet: a restart brings it.
    Absent,
    Power(Power),
}

impl<M> actix::Message for Parcel<M> {
    type Result = ();
}

/// Lets somebody look at the cell, between two steps.
pub(crate) struct Look<A: Actor>(pub(crate) Glance<A>);

/// What is looked at.
pub(crate) type Glance<A> = Box<dyn FnOnce(&Cell<A>) + Send>;

impl<A: Actor> actix::Message for Look<A> {
    type Result = ();
}

/// Nothing in it is ever pinned.
impl<A: Live> Unpin for Hosted<A> {}

impl<A: Live> Hosted<A> {
    pub(crate) fn new(cell: Cell<A>, shell: Rc<Shell<A>>) -> Self {
        Hosted {
            cell,
            shell,
            has_begun: false,
            is_down: false,
            is_paused: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            effects: Vec::new(),
        }
    }

    /// Runs the actor on an input, if its machine can.
    #[inline]
    fn take_in(&mut self, input: Input<A::Msg>) {
        let now = self.shell.now();
        if now > self.shell.end() {
            // The run is over: what has not arrived by now is still under way.
            return;
        }
        if self.is_down || self.is_paused || !self.has_begun {
            return self.withhold(now, input);
        }
        self.step(now, input);
    }

    #[inline]
    fn step(&mut self, now: Time, input: Input<A::Msg>) {
        let message = matches!(input, Input::Deliver(_));
        let timer = matches!(input, Input::Fire(_));
        let ran = self.cell.step(now, input, &mut self.effects, &mut *self.shell.tape());
        let mut counts = self.shell.counts();
        if ran {
            counts.events += 1;
            counts.delivered += u64::from(message);
            counts.fired += u64::from(timer);
            drop(counts);
            self.perform(now);
        } else {
            counts.dropped += 1;
        }
    }

    /// Does what the actor wants done.
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
                // The cell forgets it too.
                Effect::Disarm(timer) => self.shell.take_back(actor, timer),
                // For the trace.
                Effect::Note(_) => {}
            }
        }
    }

    fn power(&mut self, power: Power) {
        let now = self.shell.now();
        if now > self.shell.end() {
            return;
        }
        self.shell.tape().record(now, self.cell.id(), What::Power(power));
        for (done, timer) in self.cell.set_pace(now, power) {
            self.shell.arm(done, self.cell.id(), timer);
        }
        match power {
            Power::Crash | Power::Wipe => {
                self.is_down = true;
                self.shell.take_back_all(self.cell.id());
                // A life that has not begun has nothing to lose.
                if self.has_begun {
                    self.cell.reboot(power == Power::Wipe);
                }
                self.take_waiting().into_iter().for_each(|input| self.withhold(now, input));
            }
            // Who was not down has begun already.
            Power::Restart if !self.is_down => {}
            Power::Restart => {
                self.is_down = false;
                self.begin();
            }
            Power::Pause => self.is_paused = true,
            Power::Resume => {
                self.is_paused = false;
                self.take_in_waiting();
            }
            Power::Speed(_) => {}
        }
    }

    /// A life begins, unless the machine is down: then its restart begins it.
    fn begin(&mut self) {
        if self.is_down {
            return;
        }
        self.has_begun = true;
        if self.is_paused {
            self.waiting.push_front(Input::Start);
        } else {
            self.step(self.shell.now(), Input::Start);
            self.take_in_waiting();
        }
    }

    fn take_in_waiting(&mut self) {
        self.take_waiting().into_iter().for_each(|input| self.take_in(input));
    }

    fn take_waiting(&mut self) -> VecDeque<Input<A::Msg>> {
        self.shell.forget_waiting(std::mem::take(&mut self.waiting_bytes));
        std::mem::take(&mut self.waiting)
    }

    /// True if one more may wait; it is counted then.
    fn has_room(&mut self, input: &Input<A::Msg>) -> bool {
        let bytes = match input {
            Input::Deliver(envelope) => {
                let mut wire = Vec::new();
                // What is too long to be sent came from this process and counts as the longest.
                let wire = encode_into(&envelope.msg, &mut wire).map_or(MESSAGE_BYTES_MAX, |()| wire.len());
                wire.max(in_memory(envelope))
            }
            Input::Start | Input::Fire(_) => 0,
        };
        let has_room = self.waiting.len() < WAITING_MAX && self.shell.note_waiting(bytes);
        self.waiting_bytes += if has_room { bytes } else { 0 };
        has_room
    }

    /// What becomes of an input to a machine that cannot take it in.
    #[cold]
    fn withhold(&mut self, now: Time, input: Input<A::Msg>) {
        let cause = if self.is_down {
            Cause::Down
        } else if self.has_room(&input) {
            return self.waiting.push_back(input);
        } else {
            Cause::Full
        };
        match input {
            Input::Deliver(envelope) => {
                self.shell.counts().lose(cause);
                self.shell.tape().record(now, envelope.from, What::Fate(envelope.id(), Fate::Lost(cause)));
            }
            Input::Fire(_) => self.shell.counts().dropped += 1,
            // The restart begins it.
            Input::Start => {}
        }
    }
}

impl<A: Live> actix::Actor for Hosted<A> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX_MAX);
    }
}

impl<A: Live> Handler<Parcel<A::Msg>> for Hosted<A> {
    type Result = ();

    #[inline]
    fn handle(&mut self, parcel: Parcel<A::Msg>, _: &mut Self::Context) {
        match parcel {
            Parcel::One(Input::Start) => self.begin(),
            Parcel::One(input) => self.take_in(input),
            Parcel::Many(inputs) => inputs.into_iter().for_each(|input| self.take_in(input)),
            Parcel::Absent => self.is_down = true,
            Parcel::Power(power) => self.power(power),
        }
    }
}

impl<A: Live> Handler<Look<A>> for Hosted<A> {
    type Result = ();

    fn handle(&mut self, look: Look<A>, _: &mut Self::Context) {
        look.0(&self.cell);
    }
}
