//! What follows from the order of the records, and is therefore not stored.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Fate, Message, MessageId, Time, Timer};

use crate::{Context, Entry, Record};

/// Walks along a trace.
///
/// `T` is the actors' tick. `A` is whatever the reader of the trace wants to know of a message when it arrives or is
/// lost, besides what [`Sent`] holds: it is made when the message is sent. Memory grows with the messages under way, the
/// armed timers and the actors.
#[derive(Debug)]
pub struct Deriver<T, A = ()> {
    lives: BTreeMap<ActorId, Life<T>>,
    under_way: BTreeMap<MessageId, Sent<A>>,
}

impl<T, A> Default for Deriver<T, A> {
    fn default() -> Self {
        Deriver { lives: BTreeMap::new(), under_way: BTreeMap::new() }
    }
}

#[derive(Debug)]
struct Life<T> {
    incarnation: u32,
    lamport: u64,
    /// The record that the actor's effects follow from: what it took in last.
    input: Option<u64>,
    /// The timers which may still fire.
    armed: BTreeMap<Timer, Armed<T>>,
}

/// A timer that may still fire.
#[derive(Clone, Copy, Debug)]
pub struct Armed<T> {
    /// The record of its arming.
    pub seq: u64,
    /// When it is to fire.
    pub due: Time,
    /// What the actor will be told.
    pub tick: T,
}

impl<T> Default for Life<T> {
    fn default() -> Self {
        Life { incarnation: 0, lamport: 0, input: None, armed: BTreeMap::new() }
    }
}

/// What is known of a message after its sending.
#[derive(Clone, Copy, Debug)]
pub struct Sent<A = ()> {
    /// The record of it.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// The sender's Lamport clock.
    pub lamport: u64,
    /// To whom.
    pub to: ActorId,
    /// Of what kind: [`Message::kind`].
    pub kind: &'static str,
    /// How long: [`Message::bytes`].
    pub bytes: u32,
    /// The network has made two of it.
    pub is_doubled: bool,
    /// The network has held it back.
    pub was_held: bool,
    /// What the reader wanted to know of it.
    pub about: A,
    /// Copies that may still arrive.
    copies: u32,
    arrived: u32,
}

/// What a record means in its place.
#[derive(Clone, Copy, Debug)]
pub struct Derived<T, A = ()> {
    /// How often the actor's machine had been rebooted.
    pub incarnation: u32,
    /// The actor's Lamport clock after what happened. What the network or the machine does is no event of the actor:
    /// it bears the clock of the message, or the actor's as it stands.
    pub lamport: u64,
    /// The record that this one follows from: the sending of what is delivered, the arming of what fires, the input
    /// that an effect answers.
    pub cause: Option<u64>,
    /// The message that it is about; its sending, if that is in the trace.
    pub message: Option<(MessageId, Option<Sent<A>>)>,
    /// Which copy of the message this is, from 0.
    pub copy: u32,
    /// What the actor is told by a timer that fires, or would have been told by one that is disarmed.
    pub tick: Option<T>,
}

impl<T: Copy, A: Copy> Deriver<T, A> {
    /// Begins in the middle of a trace, with what was open there. `about` is asked for each message under way: its id, its
    /// receiver and its content.
    pub fn resumed<M: Message>(context: &Context<M, T>, mut about: impl FnMut(MessageId, ActorId, &M) -> A) -> Self {
        let life = |life: &crate::context::LifeThen<T>| Life {
            incarnation: life.incarnation,
            lamport: life.lamport,
            input: life.input,
            armed: life
                .armed
                .iter()
                .map(|(timer, seq, due, tick)| (*timer, Armed { seq: *seq, due: *due, tick: *tick }))
                .collect(),
        };
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
        Deriver {
            lives: context.lives.iter().map(|(actor, then)| (*actor, life(then))).collect(),
            under_way: context.under_way.iter().map(|(id, then, msg)| (*id, sent(*id, then, msg))).collect(),
        }
    }

    /// Takes in the next record of the trace. If it is the sending of a message, `about` says what is to be known of it.
    pub fn derive<M: Message>(&mut self, record: &Record<M, T>, about: impl FnOnce(&M) -> A) -> Derived<T, A> {
        let life = self.lives.entry(record.actor).or_default();
        let mut derived = Derived { cause: life.input, incarnation: 0, lamport: 0, message: None, copy: 0, tick: None };
        match &record.entry {
            Entry::Start { incarnation } => {
                life.incarnation = *incarnation;
                life.armed.clear();
                derived.cause = None;
                life.take_in(record.seq);
            }
            Entry::Deliver(id) => {
                let sent = self.under_way.get(id).copied();
                life.lamport = life.lamport.max(sent.map_or(0, |sent| sent.lamport));
                life.take_in(record.seq);
                derived.cause = sent.map(|sent| sent.seq);
                derived.message = Some((*id, sent));
                derived.copy = sent.map_or(0, |sent| sent.arrived);
                gone(&mut self.under_way, *id, true);
            }
            Entry::Fire(timer) => {
                let armed = life.armed.remove(timer);
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
                self.under_way.insert(id, sent);
                derived.message = Some((id, Some(sent)));
            }
            Entry::Arm { timer, at, tick } => {
                life.lamport += 1;
                life.armed.insert(*timer, Armed { seq: record.seq, due: *at, tick: *tick });
                derived.tick = Some(*tick);
            }
            Entry::Disarm(timer) => {
                life.lamport += 1;
                derived.tick = life.armed.remove(timer).map(|armed| armed.tick);
            }
            Entry::Note { .. } => life.lamport += 1,
            Entry::Fate(id, fate) => {
                if let Some(sent) = self.under_way.get_mut(id) {
                    match fate {
                        Fate::Duplicate(..) => {
                            sent.copies = sent.copies.saturating_add(1);
                            sent.is_doubled = true;
                        }
                        Fate::Hold(_) => sent.was_held = true,
                        Fate::Deliver(_) | Fate::Lost(_) => {}
                    }
                }
                let sent = self.under_way.get(id).copied();
                derived.incarnation = life.incarnation;
                derived.lamport = sent.map_or(life.lamport, |sent| sent.lamport);
                derived.cause = sent.map(|sent| sent.seq);
                derived.message = Some((*id, sent));
                if let Fate::Lost(_) = fate {
                    gone(&mut self.under_way, *id, false);
                }
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

    /// The timers of an actor that may still fire after the last record.
    pub fn armed(&self, actor: ActorId) -> impl Iterator<Item = &Armed<T>> {
        self.lives.get(&actor).into_iter().flat_map(|life| life.armed.values())
    }

    /// The messages that are under way after the last record, by sender and number: their ids, and what is known of each.
    pub fn under_way(&self) -> impl Iterator<Item = (MessageId, &Sent<A>)> {
        self.under_way.iter().map(|(id, sent)| (*id, sent))
    }
}

/// A copy arrived or was lost; after the last one the message is forgotten.
fn gone<A>(under_way: &mut BTreeMap<MessageId, Sent<A>>, id: MessageId, arrived: bool) {
    if let Some(sent) = under_way.get_mut(&id) {
        sent.copies -= 1;
        sent.arrived += u32::from(arrived);
        if sent.copies == 0 {
            under_way.remove(&id);
        }
    }
}

impl<T> Life<T> {
    fn take_in(&mut self, seq: u64) {
        self.lamport += 1;
        self.input = Some(seq);
    }
}
