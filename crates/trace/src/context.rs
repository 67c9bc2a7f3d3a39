//! What is open at a moment of a run: the messages under way, the armed timers, and where each actor's clocks stand. A
//! writer keeps it, and writes it in front of some chunks; whoever begins to read there knows what one knows who has read
//! all.

use std::collections::{BTreeMap, VecDeque};

use meshsim_actor::{ActorId, Fate, MessageId, Time, Timer};
use serde::de::DeserializeOwned;

use crate::format::{Take, put};
use crate::reader::Trouble;

/// What was open when a chunk began.
#[derive(Clone, Debug)]
pub struct Context<M, T> {
    /// The actors, by rising number.
    pub(crate) lives: Vec<(ActorId, LifeThen<T>)>,
    /// The messages under way.
    pub(crate) under_way: Vec<(MessageId, SentThen, M)>,
    /// What whoever [gave it to the writer](crate::Writer::close_chunk) makes of it; `None` if nobody did.
    pub extra: Option<Vec<u8>>,
}

/// An actor at that moment.
#[derive(Clone, Debug)]
pub(crate) struct LifeThen<T> {
    pub(crate) incarnation: u32,
    pub(crate) lamport: u64,
    pub(crate) input: Option<u64>,
    /// Record, due time and tick of each timer.
    pub(crate) armed: Vec<(Timer, u64, Time, T)>,
}

/// A message under way.
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

/// A context that takes more bytes is not written.
pub(crate) const CONTEXT_BYTES_MAX: usize = 8 << 20;

/// Where the encoded message, or the timer with its tick, stands.
#[derive(Debug)]
enum Content {
    /// In the records of the chunk at hand.
    Here(u32, u32),
    /// It was kept when its chunk was closed.
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

#[derive(Debug, Default)]
struct Life {
    incarnation: u32,
    lamport: u64,
    input: Option<u64>,
    armed: BTreeMap<Timer, (u64, Time, Content)>,
    sent: Outbox,
}

/// Actors with lower numbers are found by their place.
const DENSE_MAX: usize = 1 << 14;

/// Keeps what is open while records are written. Its rules are those of [`Deriver`](crate::Deriver).
#[derive(Debug, Default)]
pub(crate) struct Open {
    dense: Vec<Life>,
    sparse: BTreeMap<ActorId, Life>,
}

/// The messages of one sender that are under way, by its count.
#[derive(Debug, Default)]
struct Outbox {
    /// Counts rise, so the oldest stands first; what has arrived leaves a hole until those before it have.
    messages: VecDeque<(u64, Option<(SentThen, Content)>)>,
    holes: usize,
}

impl Outbox {
    fn push(&mut self, seq: u64, sent: (SentThen, Content)) {
        match self.messages.back() {
            // Only a trace that was put together from strange parts has this.
            Some((last, _)) if *last >= seq => match self.messages.binary_search_by_key(&seq, |(of, _)| *of) {
                Ok(at) => self.messages[at].1 = Some(sent),
                Err(at) => self.messages.insert(at, (seq, Some(sent))),
            },
            _ => self.messages.push_back((seq, Some(sent))),
        }
    }

    fn get_mut(&mut self, seq: u64) -> Option<&mut (SentThen, Content)> {
        let at = self.messages.binary_search_by_key(&seq, |(of, _)| *of).ok()?;
        self.messages[at].1.as_mut()
    }

    fn remove(&mut self, seq: u64) {
        let Ok(at) = self.messages.binary_search_by_key(&seq, |(of, _)| *of) else { return };
        self.messages[at].1 = None;
        self.holes += 1;
        while let Some((_, None)) = self.messages.front() {
            self.messages.pop_front();
            self.holes = self.holes.saturating_sub(1);
        }
        if self.holes > 32 && self.holes > self.messages.len() / 2 {
            self.messages.retain(|(_, sent)| sent.is_some());
            self.holes = 0;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &(SentThen, Content))> {
        self.messages.iter().filter_map(|(seq, sent)| Some((*seq, sent.as_ref()?)))
    }
}

impl Open {
    #[inline]
    fn life(&mut self, actor: ActorId) -> &mut Life {
        let at = actor.index();
        if at >= DENSE_MAX {
            return self.sparse.entry(actor).or_default();
        }
        if at >= self.dense.len() {
            self.dense.resize_with(at + 1, Life::default);
        }
        &mut self.dense[at]
    }

    fn known(&mut self, actor: ActorId) -> Option<&mut Life> {
        if actor.index() < DENSE_MAX { self.dense.get_mut(actor.index()) } else { self.sparse.get_mut(&actor) }
    }

    /// The actors of which anything is known, by rising number.
    fn lives(&self) -> impl Iterator<Item = (ActorId, &Life)> {
        let dense = (0..).map(ActorId).zip(&self.dense);
        dense.chain(self.sparse.iter().map(|(actor, life)| (*actor, life))).filter(|(_, life)| !life.is_new())
    }

    pub(crate) fn start(&mut self, actor: ActorId, record: u64, incarnation: u32) {
        let life = self.life(actor);
        life.incarnation = incarnation;
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
        let life = self.life(actor);
        life.armed.remove(&timer);
        life.take_in(record);
    }

    /// `place` is where its content stands in the block.
    pub(crate) fn send(&mut self, id: MessageId, record: u64, at: Time, to: ActorId, place: (usize, usize)) {
        let life = self.life(id.from);
        life.lamport += 1;
        let lamport = life.lamport;
        let (is_doubled, was_held) = (false, false);
        let sent = SentThen { record, at, lamport, to, copies: 1, arrived: 0, is_doubled, was_held };
        life.sent.push(id.seq, (sent, Content::Here(place.0 as u32, place.1 as u32)));
    }

    pub(crate) fn arm(&mut self, actor: ActorId, record: u64, timer: Timer, due: Time, place: (usize, usize)) {
        let life = self.life(actor);
        life.lamport += 1;
        life.armed.insert(timer, (record, due, Content::Here(place.0 as u32, place.1 as u32)));
    }

    pub(crate) fn disarm(&mut self, actor: ActorId, timer: Timer) {
        let life = self.life(actor);
        life.lamport += 1;
        life.armed.remove(&timer);
    }

    pub(crate) fn note(&mut self, actor: ActorId) {
        self.life(actor).lamport += 1;
    }

    /// Says to whom the message is under way.
    pub(crate) fn fate(&mut self, id: MessageId, fate: Fate) -> Option<ActorId> {
        let (sent, _) = self.known(id.from)?.sent.get_mut(id.seq)?;
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

    /// A copy arrived or was lost. Says the Lamport clock of its sending.
    fn gone(&mut self, id: MessageId, arrived: bool) -> u64 {
        let Some(outbox) = self.known(id.from).map(|life| &mut life.sent) else { return 0 };
        let Some((sent, _)) = outbox.get_mut(id.seq) else { return 0 };
        let lamport = sent.lamport;
        sent.copies -= 1;
        sent.arrived += u32::from(arrived);
        if sent.copies == 0 {
            outbox.remove(id.seq);
        }
        lamport
    }

    /// Copies what is open out of the chunk at hand, whose bytes are about to go.
    pub(crate) fn keep(&mut self, block: &[u8]) {
        for life in self.dense.iter_mut().chain(self.sparse.values_mut()) {
            life.armed.values_mut().for_each(|(.., content)| content.keep(block));
            let sent = life.sent.messages.iter_mut().filter_map(|(_, sent)| sent.as_mut());
            sent.for_each(|(_, content)| content.keep(block));
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn estimate(&self) -> usize {
        let of = |life: &Life| {
            let armed: usize = life.armed.values().map(|(.., content)| 12 + content.len()).sum();
            8 + armed + life.sent.iter().map(|(_, (_, content))| 24 + content.len()).sum::<usize>()
        };
        self.lives().map(|(_, life)| of(life)).sum()
    }

    /// Appends it, once all was [kept](Self::keep).
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put(out, |frame| frame.number(self.lives().count() as u64));
        for (actor, life) in self.lives() {
            put(out, |frame| {
                frame.number(u64::from(actor.0));
                frame.number(u64::from(life.incarnation));
                frame.number(life.lamport);
                frame.number(life.input.map_or(0, |input| input + 1));
                frame.number(life.armed.len() as u64);
            });
            for (record, due, content) in life.armed.values() {
                put(out, |frame| {
                    frame.number(*record);
                    frame.number(due.nanos());
                });
                content.write(out);
            }
        }
        let under_way =
            || self.lives().flat_map(|(from, life)| life.sent.iter().map(move |(seq, sent)| (from, seq, sent)));
        put(out, |frame| frame.number(under_way().count() as u64));
        for (from, seq, (sent, content)) in under_way() {
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

impl Life {
    fn take_in(&mut self, record: u64) {
        self.lamport += 1;
        self.input = Some(record);
    }

    /// Nothing has happened to it yet. (A message counts for its sender's clock.)
    fn is_new(&self) -> bool {
        self.lamport == 0 && self.incarnation == 0
    }
}

impl<M: DeserializeOwned, T: DeserializeOwned> Context<M, T> {
    /// Reads what [`Open::write`] wrote, and what stands behind it.
    pub(crate) fn read(from: &mut &[u8]) -> Result<Self, Trouble> {
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
        let mut under_way = Vec::new();
        for _ in 0..from.number()? {
            let id = from.message_id()?;
            let (record, at, lamport) = (from.number()?, Time::from_nanos(from.number()?), clock(from)?);
            let to = from.actor()?;
            let copies = from.narrow("more copies than there can be")?;
            let arrived = from.narrow("more copies than there can be")?;
            let flags = from.byte()?;
            if copies == 0 || copies.checked_add(arrived).is_none() {
                return Err(Trouble::Corrupt("a message under way without a copy"));
            }
            let (is_doubled, was_held) = (flags & 1 != 0, flags & 2 != 0);
            let sent = SentThen { record, at, lamport, to, copies, arrived, is_doubled, was_held };
            under_way.push((id, sent, from.blob()?));
        }
        let extra = Some(std::mem::take(from).to_vec()).filter(|extra| !extra.is_empty());
        Ok(Context { lives, under_way, extra })
    }
}

/// A Lamport clock, which nothing makes rise beyond 64 bits.
fn clock(from: &mut &[u8]) -> Result<u64, Trouble> {
    let clock = from.number()?;
    if clock > 1 << 62 { Err(Trouble::Corrupt("a clock that no run reaches")) } else { Ok(clock) }
}
