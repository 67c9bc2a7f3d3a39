//! Contexts: the state of a trace at one point, with the messages in flight, the armed timers and the clocks of the
//! actors. A writer maintains it and writes it before some chunks. A reader that begins there knows as much as one that
//! has read the whole trace up to there.

use meshsim_actor::{ActorId, Fate, MessageId, Time, Timer};
use serde::de::DeserializeOwned;

use crate::format::{Take, put};
use crate::read_error::ReadErrorKind;
use crate::store::{ByActor, BySlot, Rising};

/// State of a trace at the beginning of a chunk.
#[derive(Clone, Debug)]
pub struct Context<M, T> {
    /// The actors, by rising id.
    pub(crate) lives: Vec<(ActorId, LifeThen<T>)>,
    /// The messages in flight.
    pub(crate) in_flight: Vec<(MessageId, SentThen, M)>,
    /// Bytes that the [caller of the writer](crate::Writer::close_chunk) added; `None` if there are none.
    pub extra: Option<Vec<u8>>,
}

/// State of an actor at that point.
#[derive(Clone, Debug)]
pub(crate) struct LifeThen<T> {
    pub(crate) incarnation: u32,
    pub(crate) lamport: u64,
    pub(crate) input: Option<u64>,
    /// Record, due time and tick of each timer.
    pub(crate) armed: Vec<(Timer, u64, Time, T)>,
}

/// A message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentThen {
    pub(crate) record: u64,
    pub(crate) at: Time,
    pub(crate) lamport: u64,
    pub(crate) to: ActorId,
    pub(crate) copies: u32,
    pub(crate) arrived: u32,
    pub(crate) is_doubled: bool,
    pub(crate) was_held: bool,
}

/// A context with more bytes is not written.
pub(crate) const CONTEXT_BYTES_MAX: usize = 8 << 20;

/// Location of the encoded message, or of the timer with its tick.
#[derive(Clone, Debug)]
enum Content {
    /// In the records of the current chunk.
    Here(u32, u32),
    /// Copied when its chunk was closed.
    Kept(Box<[u8]>),
}

impl Content {
    fn keep(&mut self, block: &[u8]) {
        if let Content::Here(start, end) = *self {
            *self = Content::Kept(block[start as usize..end as usize].into());
        }
    }

    fn len(&self) -> usize {
        match self {
            Content::Here(start, end) => (end - start) as usize,
            Content::Kept(bytes) => bytes.len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Content::Kept(bytes) = self {
            put(out, |frame| frame.number(bytes.len() as u64));
            out.extend_from_slice(bytes);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct ReplayedActor {
    incarnation: u32,
    lamport: u64,
    input: Option<u64>,
    armed: BySlot<Timer, (u64, Time, Content)>,
    /// Its messages in flight, by its count.
    sent: Rising<(SentThen, Content)>,
    /// It has content in the current chunk.
    is_here: bool,
}

/// Maintains the context while records are written, by the rules of [`Deriver`](crate::Deriver).
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    lives: ByActor<ReplayedActor>,
    /// Actors with content in the current chunk.
    here: Vec<ActorId>,
    /// Approximate size of all timers and messages, in bytes.
    bytes: usize,
}

/// Approximate size of a timer in a context, of a message, and of an actor, in bytes.
fn timer_bytes((.., content): &(u64, Time, Content)) -> usize {
    12 + content.len()
}

fn message_bytes((_, content): &(SentThen, Content)) -> usize {
    24 + content.len()
}

const ACTOR_BYTES: usize = 8;

impl Open {
    #[inline]
    fn life(&mut self, actor: ActorId) -> &mut ReplayedActor {
        self.lives.entry(actor)
    }

    pub(crate) fn start(&mut self, actor: ActorId, record: u64, incarnation: u32) {
        let Open { lives, bytes, .. } = self;
        let life = lives.entry(actor);
        life.incarnation = incarnation;
        *bytes -= life.armed.values().map(timer_bytes).sum::<usize>();
        life.armed.clear();
        life.take_in(record);
    }

    pub(crate) fn deliver(&mut self, actor: ActorId, record: u64, id: MessageId) {
        let lamport = self.gone(id, true);
        let life = self.life(actor);
        life.lamport = life.lamport.max(lamport);
        life.take_in(record);
    }

    pub(crate) fn fire(&mut self, actor: ActorId, record: u64, timer: Timer) {
        self.drop_timer(actor, timer).take_in(record);
    }

    #[inline]
    fn drop_timer(&mut self, actor: ActorId, timer: Timer) -> &mut ReplayedActor {
        let Open { lives, bytes, .. } = self;
        let life = lives.entry(actor);
        *bytes -= life.armed.remove(timer).as_ref().map_or(0, timer_bytes);
        life
    }

    /// Adds a message; `place` is the location of its content in the block.
    pub(crate) fn send(&mut self, id: MessageId, record: u64, at: Time, to: ActorId, place: (usize, usize)) {
        let Open { lives, here, bytes } = self;
        let life = lives.entry(id.from);
        life.lamport += 1;
        let lamport = life.lamport;
        let (is_doubled, was_held) = (false, false);
        let sent = SentThen { record, at, lamport, to, copies: 1, arrived: 0, is_doubled, was_held };
        let sent = (sent, Content::Here(place.0 as u32, place.1 as u32));
        *bytes += message_bytes(&sent);
        *bytes -= life.sent.insert(id.seq, sent).as_ref().map_or(0, message_bytes);
        life.has_here(id.from, here);
    }

    pub(crate) fn arm(&mut self, actor: ActorId, record: u64, timer: Timer, due: Time, place: (usize, usize)) {
        let Open { lives, here, bytes } = self;
        let life = lives.entry(actor);
        life.lamport += 1;
        let armed = (record, due, Content::Here(place.0 as u32, place.1 as u32));
        *bytes += timer_bytes(&armed);
        *bytes -= life.armed.insert(timer, armed).as_ref().map_or(0, timer_bytes);
        life.has_here(actor, here);
    }

    pub(crate) fn disarm(&mut self, actor: ActorId, timer: Timer) {
        self.drop_timer(actor, timer).lamport += 1;
    }

    pub(crate) fn note(&mut self, actor: ActorId) {
        self.life(actor).lamport += 1;
    }

    pub(crate) fn persist(&mut self, actor: ActorId) {
        self.life(actor).lamport += 1;
    }

    pub(crate) fn durable(&mut self, actor: ActorId, record: u64) {
        self.life(actor).take_in(record);
    }

    /// Returns the receiver of the message.
    pub(crate) fn fate(&mut self, id: MessageId, fate: Fate) -> Option<ActorId> {
        let (sent, _) = self.lives.get_mut(id.from)?.sent.get_mut(id.seq)?;
        let to = sent.to;
        match fate {
            Fate::Duplicate(..) => {
                sent.copies = sent.copies.saturating_add(1);
                sent.is_doubled = true;
            }
            Fate::Hold(_) => sent.was_held = true,
            Fate::Lost(_) => _ = self.gone(id, false),
            Fate::Deliver(_) => {}
        }
        Some(to)
    }

    /// Counts a copy that arrived or was lost. Returns the Lamport clock of the sending.
    fn gone(&mut self, id: MessageId, arrived: bool) -> u64 {
        let Open { lives, bytes, .. } = self;
        let Some(outbox) = lives.get_mut(id.from).map(|life| &mut life.sent) else { return 0 };
        let Some((sent, _)) = outbox.get_mut(id.seq) else { return 0 };
        let lamport = sent.lamport;
        sent.copies -= 1;
        sent.arrived += u32::from(arrived);
        if sent.copies == 0 {
            *bytes -= outbox.remove(id.seq).as_ref().map_or(0, message_bytes);
        }
        lamport
    }

    /// Copies the content of open items from the current chunk, whose bytes are about to be dropped.
    pub(crate) fn keep(&mut self, block: &[u8]) {
        for actor in self.here.drain(..) {
            let Some(life) = self.lives.get_mut(actor) else { continue };
            life.is_here = false;
            life.armed.values_mut().for_each(|(.., content)| content.keep(block));
            life.sent.values_mut().for_each(|(_, content)| content.keep(block));
        }
    }

    /// Approximate size in bytes.
    pub(crate) fn estimate(&self) -> usize {
        self.bytes + ACTOR_BYTES * self.lives.len()
    }

    /// Appends the context, after all its content was [kept](Self::keep).
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put(out, |frame| frame.number(self.lives.len() as u64));
        for (actor, life) in self.lives.iter() {
            put(out, |frame| {
                frame.number(u64::from(actor.0));
                frame.number(u64::from(life.incarnation));
                frame.number(life.lamport);
                frame.number(life.input.map_or(0, |input| input + 1));
                frame.number(life.armed.values().count() as u64);
            });
            for (_, (record, due, content)) in life.armed.iter() {
                put(out, |frame| {
                    frame.number(*record);
                    frame.number(due.nanos());
                });
                content.write(out);
            }
        }
        let in_flight =
            || self.lives.iter().flat_map(|(from, life)| life.sent.iter().map(move |(seq, sent)| (from, seq, sent)));
        put(out, |frame| frame.number(in_flight().count() as u64));
        for (from, seq, (sent, content)) in in_flight() {
            put(out, |frame| {
                frame.number(u64::from(from.0));
                frame.number(seq);
                frame.number(sent.record);
                frame.number(sent.at.nanos());
                frame.number(sent.lamport);
            });
            put(out, |frame| {
                frame.number(u64::from(sent.to.0));
                frame.number(u64::from(sent.copies));
                frame.number(u64::from(sent.arrived));
                frame.byte(u8::from(sent.is_doubled) | u8::from(sent.was_held) << 1);
            });
            content.write(out);
        }
    }
}

impl ReplayedActor {
    fn take_in(&mut self, record: u64) {
        self.lamport += 1;
        self.input = Some(record);
    }

    /// It has content in the current chunk.
    #[inline]
    fn has_here(&mut self, actor: ActorId, here: &mut Vec<ActorId>) {
        if !self.is_here {
            self.is_here = true;
            here.push(actor);
        }
    }
}

impl<M: DeserializeOwned, T: DeserializeOwned> Context<M, T> {
    /// Reads the output of [`Open::write`], and the bytes of the caller after it.
    pub(crate) fn read(from: &mut &[u8]) -> Result<Self, ReadErrorKind> {
        let mut lives = Vec::new();
        for _ in 0..from.number()? {
            let actor = from.actor()?;
            let incarnation = from.narrow("an incarnation beyond 32 bits")?;
            let lamport = clock(from)?;
            let input = from.number()?.checked_sub(1);
            let mut armed = Vec::new();
            for _ in 0..from.number()? {
                let (record, due) = (from.number()?, Time::from_nanos(from.number()?));
                let (timer, tick) = from.blob()?;
                armed.push((timer, record, due, tick));
            }
            lives.push((actor, LifeThen { incarnation, lamport, input, armed }));
        }
        let mut in_flight = Vec::new();
        for _ in 0..from.number()? {
            let id = from.message_id()?;
            let (record, at, lamport) = (from.number()?, Time::from_nanos(from.number()?), clock(from)?);
            let to = from.actor()?;
            let copies = from.narrow("more copies than there can be")?;
            let arrived = from.narrow("more copies than there can be")?;
            let flags = from.byte()?;
            if copies == 0 || copies.checked_add(arrived).is_none() {
                return Err(ReadErrorKind::Corrupt("a message in flight without a copy"));
            }
            let (is_doubled, was_held) = (flags & 1 != 0, flags & 2 != 0);
            let sent = SentThen { record, at, lamport, to, copies, arrived, is_doubled, was_held };
            in_flight.push((id, sent, from.blob()?));
        }
        let extra = Some(std::mem::take(from).to_vec()).filter(|extra| !extra.is_empty());
        Ok(Context { lives, in_flight, extra })
    }
}

/// A Lamport clock, which cannot exceed 64 bits.
fn clock(from: &mut &[u8]) -> Result<u64, ReadErrorKind> {
    let clock = from.number()?;
    if clock > 1 << 62 { Err(ReadErrorKind::Corrupt("a clock that no run reaches")) } else { Ok(clock) }
}
