//! Data that follows from the order of the records, and is therefore not stored.

use meshsim_actor::{ActorId, Fate, Message, MessageId, Time, Timer};

use crate::store::{ByActor, BySlot, Rising};
use crate::{Context, Entry, Record};

/// Derives this data record by record.
///
/// `T` is the actors' tick. `A` is data about a message that the caller needs when the message arrives or is lost,
/// besides [`Sent`]; it is created at the sending. Memory grows with the number of messages in flight, armed timers and
/// actors.
#[derive(Clone, Debug)]
pub struct Deriver<T, A = ()> {
    lives: ByActor<ReplayedActor<T, A>>,
}

impl<T, A> Default for Deriver<T, A> {
    fn default() -> Self {
        Deriver { lives: ByActor::default() }
    }
}

#[derive(Clone, Debug)]
struct ReplayedActor<T, A> {
    incarnation: u32,
    lamport: u64,
    /// The cause of the actor's effects: the record of its last input.
    input: Option<u64>,
    /// The beginning of the sync under way.
    sync: Option<u64>,
    /// The timers which may still fire.
    armed: BySlot<Timer, Armed<T>>,
    /// Its messages in flight, by its count.
    sent: Rising<Sent<A>>,
}

/// A timer that may still fire.
#[derive(Clone, Copy, Debug)]
pub struct Armed<T> {
    /// Record of the arming.
    pub seq: u64,
    /// Due time.
    pub due: Time,
    /// Value that the event carries.
    pub tick: T,
}

impl<T, A> Default for ReplayedActor<T, A> {
    fn default() -> Self {
        let (armed, sent) = (BySlot::default(), Rising::default());
        ReplayedActor { incarnation: 0, lamport: 0, input: None, sync: None, armed, sent }
    }
}

/// Data about a message after its sending.
#[derive(Clone, Copy, Debug)]
pub struct Sent<A = ()> {
    /// Record of the sending.
    pub seq: u64,
    /// Time of the sending.
    pub at: Time,
    /// The sender's Lamport clock.
    pub lamport: u64,
    /// Receiver.
    pub to: ActorId,
    /// Kind of the message: [`Message::kind`].
    pub kind: &'static str,
    /// Size of the message in bytes: [`Message::bytes`].
    pub bytes: u32,
    /// True if the network duplicated it.
    pub is_doubled: bool,
    /// True if the network held it.
    pub was_held: bool,
    /// Data of the caller.
    pub about: A,
    /// Copies that may still arrive.
    copies: u32,
    arrived: u32,
}

impl<A> Sent<A> {
    /// Number of copies that may still arrive.
    pub fn copies(&self) -> u32 {
        self.copies
    }

    /// Number of copies that have arrived.
    pub fn arrived(&self) -> u32 {
        self.arrived
    }
}

/// Data derived for a record.
#[derive(Clone, Copy, Debug)]
pub struct Derived<T, A = ()> {
    /// Number of earlier reboots of the actor.
    pub incarnation: u32,
    /// Lamport clock of the actor after the record. Actions of the network or the machine are not events of the actor:
    /// they have the clock of the message, or the current clock of the actor.
    pub lamport: u64,
    /// Record of the cause: the sending of a delivered message, the arming of a timer that fires, the beginning of a sync
    /// that ends (unless the reading began during it), the input that an effect follows from.
    pub cause: Option<u64>,
    /// The message of the record, and its sending if that is in the trace.
    pub message: Option<(MessageId, Option<Sent<A>>)>,
    /// Number of the copy of the message, from 0.
    pub copy: u32,
    /// Value of a timer that fires or is disarmed.
    pub tick: Option<T>,
}

impl<T: Copy, A: Copy> Deriver<T, A> {
    /// Begins in the middle of a trace, with its context there. Calls `about` for each message in flight, with its id,
    /// receiver and content.
    pub fn resumed<M: Message>(context: &Context<M, T>, mut about: impl FnMut(MessageId, ActorId, &M) -> A) -> Self {
        let mut lives: ByActor<ReplayedActor<T, A>> = ByActor::default();
        for (actor, then) in &context.lives {
            let life = lives.entry(*actor);
            (life.incarnation, life.lamport, life.input) = (then.incarnation, then.lamport, then.input);
            for (timer, seq, due, tick) in &then.armed {
                life.armed.insert(*timer, Armed { seq: *seq, due: *due, tick: *tick });
            }
        }
        let mut sent = |id: MessageId, then: &crate::context::SentThen, msg: &M| Sent {
            seq: then.record,
            at: then.at,
            lamport: then.lamport,
            to: then.to,
            kind: msg.kind(),
            bytes: msg.bytes(),
            is_doubled: then.is_doubled,
            was_held: then.was_held,
            about: about(id, then.to, msg),
            copies: then.copies,
            arrived: then.arrived,
        };
        for (id, then, msg) in &context.in_flight {
            lives.entry(id.from).sent.insert(id.seq, sent(*id, then, msg));
        }
        Deriver { lives }
    }

    /// Processes the next record of the trace. If it is the sending of a message, `about` creates the data of the
    /// caller.
    pub fn derive<M: Message>(&mut self, record: &Record<M, T>, about: impl FnOnce(&M) -> A) -> Derived<T, A> {
        let mut derived = Derived { cause: None, incarnation: 0, lamport: 0, message: None, copy: 0, tick: None };
        // The sending of the message that the record is about.
        let sent = match &record.entry {
            Entry::Deliver(id) => self.gone(*id, true),
            Entry::Fate(id, fate) => self.meet(*id, *fate),
            _ => None,
        };
        let life = self.lives.entry(record.actor);
        derived.cause = life.input;
        match &record.entry {
            Entry::Start { incarnation } => {
                life.incarnation = *incarnation;
                life.armed.clear();
                derived.cause = None;
                life.take_in(record.seq);
            }
            Entry::Deliver(id) => {
                life.lamport = life.lamport.max(sent.map_or(0, |sent| sent.lamport));
                life.take_in(record.seq);
                derived.cause = sent.map(|sent| sent.seq);
                derived.message = Some((*id, sent));
                derived.copy = sent.map_or(0, |sent| sent.arrived);
            }
            Entry::Fire(timer) => {
                let armed = life.armed.remove(*timer);
                derived.cause = armed.map(|armed| armed.seq);
                derived.tick = armed.map(|armed| armed.tick);
                life.take_in(record.seq);
            }
            Entry::Send { to, seq, msg } => {
                life.lamport += 1;
                let id = MessageId { from: record.actor, seq: *seq };
                let sent = Sent {
                    seq: record.seq,
                    at: record.at,
                    lamport: life.lamport,
                    to: *to,
                    kind: msg.kind(),
                    bytes: msg.bytes(),
                    is_doubled: false,
                    was_held: false,
                    about: about(msg),
                    copies: 1,
                    arrived: 0,
                };
                life.sent.insert(*seq, sent);
                derived.message = Some((id, Some(sent)));
            }
            Entry::Arm { timer, at, tick } => {
                life.lamport += 1;
                life.armed.insert(*timer, Armed { seq: record.seq, due: *at, tick: *tick });
                derived.tick = Some(*tick);
            }
            Entry::Disarm(timer) => {
                life.lamport += 1;
                derived.tick = life.armed.remove(*timer).map(|armed| armed.tick);
            }
            Entry::Note { .. } => life.lamport += 1,
            Entry::Persist(_) => {
                life.lamport += 1;
                life.sync = Some(record.seq);
            }
            Entry::Durable(_) => {
                derived.cause = life.sync.take();
                life.take_in(record.seq);
            }
            Entry::Fate(id, _) => {
                derived.incarnation = life.incarnation;
                derived.lamport = sent.map_or(life.lamport, |sent| sent.lamport);
                derived.cause = sent.map(|sent| sent.seq);
                derived.message = Some((*id, sent));
                return derived;
            }
            Entry::Power(_) => {
                derived.cause = None;
            }
        }
        derived.incarnation = life.incarnation;
        derived.lamport = life.lamport;
        derived
    }

    /// Counts a copy that arrived or was lost; the message is dropped after the last one. Gives what it was before.
    fn gone(&mut self, id: MessageId, arrived: bool) -> Option<Sent<A>> {
        let messages = &mut self.lives.get_mut(id.from)?.sent;
        let sent = messages.get_mut(id.seq)?;
        let before = *sent;
        sent.copies -= 1;
        sent.arrived += u32::from(arrived);
        if sent.copies == 0 {
            messages.remove(id.seq);
        }
        Some(before)
    }

    /// Applies a decision of the network to a message. Gives what it is then.
    fn meet(&mut self, id: MessageId, fate: Fate) -> Option<Sent<A>> {
        if let Fate::Lost(_) = fate {
            return self.gone(id, false);
        }
        let sent = self.lives.get_mut(id.from)?.sent.get_mut(id.seq)?;
        match fate {
            Fate::Duplicate(..) => {
                sent.copies = sent.copies.saturating_add(1);
                sent.is_doubled = true;
            }
            Fate::Hold(_) => sent.was_held = true,
            Fate::Deliver(_) | Fate::Lost(_) => {}
        }
        Some(*sent)
    }

    /// The timers of an actor that may still fire after the last record.
    pub fn armed(&self, actor: ActorId) -> impl Iterator<Item = &Armed<T>> {
        self.lives.get(actor).into_iter().flat_map(|life| life.armed.iter().map(|(_, armed)| armed))
    }

    /// The messages in flight after the last record, by sender and number: the id and data of each.
    pub fn in_flight(&self) -> impl Iterator<Item = (MessageId, &Sent<A>)> {
        self.lives.iter().flat_map(|(from, life): (ActorId, &ReplayedActor<T, A>)| {
            life.sent.iter().map(move |(seq, sent)| (MessageId { from, seq }, sent))
        })
    }
}

impl<T, A> ReplayedActor<T, A> {
    fn take_in(&mut self, seq: u64) {
        self.lamport += 1;
        self.input = Some(seq);
    }
}
