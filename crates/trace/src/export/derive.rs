//! What follows from the order of the records, and is therefore not stored.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Fate, Message, MessageId, Timer};

use crate::{Entry, Record};

/// Walks along a trace.
#[derive(Debug, Default)]
pub(super) struct Deriver {
    lives: BTreeMap<ActorId, Life>,
    under_way: BTreeMap<MessageId, Sent>,
}

#[derive(Debug, Default)]
struct Life {
    incarnation: u32,
    lamport: u64,
    /// The record that the actor's effects follow from: what it took in last.
    input: Option<u64>,
    /// The records that armed the timers which may still fire.
    armed: BTreeMap<Timer, u64>,
}

/// What is known of a message after its sending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The record of it.
    pub(super) seq: u64,
    pub(super) lamport: u64,
    pub(super) to: ActorId,
    pub(super) kind: &'static str,
    pub(super) bytes: u32,
    /// Copies that may still arrive.
    copies: u32,
    arrived: u32,
}

/// What a record means in its place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Derived {
    /// How often the actor's machine had been rebooted.
    pub(super) incarnation: u32,
    /// The actor's Lamport clock after what happened. What the network or the machine does is no event of the actor:
    /// it bears the clock of the message, or the actor's as it stands.
    pub(super) lamport: u64,
    /// The record that this one follows from: the sending of what is delivered, the arming of what fires, the input
    /// that an effect answers.
    pub(super) cause: Option<u64>,
    /// The message that it is about; of a delivery, which copy.
    pub(super) message: Option<(MessageId, Option<Sent>)>,
    /// Which copy of the message this is, from 0.
    pub(super) copy: u32,
}

impl Deriver {
    /// Takes in the next record of the trace.
    pub(super) fn derive<M: Message, T>(&mut self, record: &Record<M, T>) -> Derived {
        let life = self.lives.entry(record.actor).or_default();
        let mut derived = Derived { cause: life.input, ..Derived::default() };
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
                derived.cause = life.armed.remove(timer);
                life.take_in(record.seq);
            }
            Entry::Send { to, seq, msg } => {
                life.lamport += 1;
                let id = MessageId { from: record.actor, seq: *seq };
                let sent = Sent {
                    seq: record.seq,
                    lamport: life.lamport,
                    to: *to,
                    kind: msg.kind(),
                    bytes: msg.bytes(),
                    copies: 1,
                    arrived: 0,
                };
                self.under_way.insert(id, sent);
                derived.message = Some((id, Some(sent)));
            }
            Entry::Arm { timer, .. } => {
                life.lamport += 1;
                life.armed.insert(*timer, record.seq);
            }
            Entry::Disarm(timer) => {
                life.lamport += 1;
                life.armed.remove(timer);
            }
            Entry::Note { .. } => life.lamport += 1,
            Entry::Fate(id, fate) => {
                let sent = self.under_way.get(id).copied();
                derived.incarnation = life.incarnation;
                derived.lamport = sent.map_or(life.lamport, |sent| sent.lamport);
                derived.cause = sent.map(|sent| sent.seq);
                derived.message = Some((*id, sent));
                match fate {
                    Fate::Lost(_) => gone(&mut self.under_way, *id, false),
                    Fate::Duplicate(..) => {
                        if let Some(sent) = self.under_way.get_mut(id) {
                            sent.copies = sent.copies.saturating_add(1);
                        }
                    }
                    Fate::Deliver(_) | Fate::Hold(_) => {}
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
}

/// A copy arrived or was lost; after the last one the message is forgotten.
fn gone(under_way: &mut BTreeMap<MessageId, Sent>, id: MessageId, arrived: bool) {
    if let Some(sent) = under_way.get_mut(&id) {
        sent.copies -= 1;
        sent.arrived += u32::from(arrived);
        if sent.copies == 0 {
            under_way.remove(&id);
        }
    }
}

impl Life {
    fn take_in(&mut self, seq: u64) {
        self.lamport += 1;
        self.input = Some(seq);
    }
}
