//! Writing a trace while a run goes on.

use std::io::{self, Write};

use meshsim_actor::{ActorId, Fate, MessageId, Power, Recorder, Time, Timer, What};
use serde::Serialize;

use crate::format::{Frame, Kind, MAGIC, SAME, VERSION, WORDS_MAX, put, put_text};
use crate::{Entry, Header, Record};

/// Bytes gathered before they are handed on. A block that fits the second-level cache is written fastest.
const BLOCK_BYTES: usize = 128 << 10;

/// Writes a trace.
///
/// Records are gathered in one block and handed on when it is full, so `out` needs no buffer of its own. Memory is
/// bounded by the block and one record. The first error is kept, nothing is written after it, and
/// [`finish`](Self::finish) reports it: a recorder has nobody to tell while the run goes on.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    block: Vec<u8>,
    /// Of the record before.
    at: Time,
    actor: ActorId,
    records: u64,
    words: Vec<Box<str>>,
    error: Option<WriteError>,
}

/// Why a trace is not complete.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It could not be written to where it goes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A message or a tick could not be written down.
    #[error("a message cannot be recorded: {0}")]
    Message(#[from] meshsim_wire::Error),
}

impl<W: Write> Writer<W> {
    /// Begins a trace.
    pub fn new(out: W, header: &Header) -> Self {
        let mut writer = Writer {
            out,
            block: Vec::with_capacity(BLOCK_BYTES + 4096),
            at: Time::ZERO,
            actor: ActorId(u32::MAX),
            records: 0,
            words: Vec::new(),
            error: None,
        };
        writer.block.extend_from_slice(&MAGIC);
        put(&mut writer.block, |frame| {
            for number in [VERSION, header.seed, header.actors.len() as u64] {
                frame.number(number);
            }
        });
        for name in &header.actors {
            put_text(&mut writer.block, name);
            writer.hand_on_if_full();
        }
        writer
    }

    /// Ends the trace and gives back where it went.
    ///
    /// # Errors
    /// The first that occurred since the beginning. What was written is then not a complete trace.
    pub fn finish(mut self) -> Result<W, WriteError> {
        put(&mut self.block, |frame| {
            frame.byte(Kind::End as u8);
            frame.number(self.records);
        });
        self.hand_on();
        if self.error.is_none()
            && let Err(error) = self.out.flush()
        {
            self.error = Some(error.into());
        }
        self.error.map_or(Ok(self.out), Err)
    }

    #[inline]
    fn hand_on_if_full(&mut self) {
        if self.block.len() >= BLOCK_BYTES {
            self.hand_on();
        }
    }

    #[cold]
    fn hand_on(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.out.write_all(&self.block)
        {
            self.error = Some(error.into());
        }
        self.block.clear();
    }

    /// Writes tag, time and actor, and what `fill` adds.
    #[inline(always)]
    fn begin(&mut self, at: Time, actor: ActorId, kind: Kind, fill: impl FnOnce(&mut Frame<'_>)) {
        let (at_before, actor_before) = (self.at, self.actor);
        (self.at, self.actor) = (at, actor);
        put(&mut self.block, |frame| {
            if at == at_before && actor == actor_before {
                frame.byte(kind as u8 | SAME);
            } else {
                frame.byte(kind as u8);
                frame.number(at.nanos().wrapping_sub(at_before.nanos()));
                frame.number(u64::from(actor.0));
            }
            fill(frame);
        });
    }

    #[inline(always)]
    fn blob<V: Serialize>(&mut self, value: &V) {
        // The length is known afterwards. One byte is kept free for it, which is nearly always enough.
        let place = self.block.len();
        self.block.push(0);
        if let Err(error) = meshsim_wire::encode_into(value, &mut self.block) {
            self.error.get_or_insert(error.into());
        }
        let len = self.block.len() - place - 1;
        if len < 128 {
            self.block[place] = (len as u8) << 1 | 1;
        } else {
            self.long_blob(place, len);
        }
    }

    #[cold]
    fn long_blob(&mut self, place: usize, len: usize) {
        let mut number = Vec::new();
        put(&mut number, |frame| frame.number(len as u64));
        self.block.splice(place..=place, number);
    }

    fn deliver(&mut self, at: Time, actor: ActorId, id: MessageId) {
        self.begin(at, actor, Kind::Deliver, |frame| put_id(frame, id));
        self.end();
    }

    fn send<M: Serialize>(&mut self, at: Time, actor: ActorId, to: ActorId, seq: u64, msg: &M) {
        self.begin(at, actor, Kind::Send, |frame| {
            frame.number(u64::from(to.0));
            frame.number(seq);
        });
        self.blob(msg);
        self.end();
    }

    fn arm<T: Serialize>(&mut self, at: Time, actor: ActorId, timer: Timer, due: Time, tick: &T) {
        let after = due.nanos().wrapping_sub(at.nanos());
        self.timer(at, actor, Kind::Arm, Some(after), &(timer, tick));
    }

    /// Writes a record that was read from another trace.
    pub fn put<M: Serialize, T: Serialize>(&mut self, record: &Record<M, T>) {
        let (at, actor) = (record.at, record.actor);
        match &record.entry {
            Entry::Start { incarnation } => self.start(at, actor, *incarnation),
            Entry::Deliver(id) => self.deliver(at, actor, *id),
            Entry::Fire(timer) => self.timer(at, actor, Kind::Fire, None, timer),
            Entry::Send { to, seq, msg } => self.send(at, actor, *to, *seq, msg),
            Entry::Arm { timer, at: due, tick } => self.arm(at, actor, *timer, *due, tick),
            Entry::Disarm(timer) => self.timer(at, actor, Kind::Disarm, None, timer),
            Entry::Note { what, subject, value } => self.note(at, actor, what, *subject, *value),
            Entry::Fate(id, fate) => self.fate(at, actor, *id, *fate),
            Entry::Power(power) => self.power(at, actor, *power),
        }
    }

    /// Records with a timer: `after` is what arming has more than the others.
    fn timer<V: Serialize>(&mut self, at: Time, actor: ActorId, kind: Kind, after: Option<u64>, value: &V) {
        self.begin(at, actor, kind, |frame| {
            if let Some(after) = after {
                frame.number(after);
            }
        });
        self.blob(value);
        self.end();
    }

    fn start(&mut self, at: Time, actor: ActorId, incarnation: u32) {
        self.begin(at, actor, Kind::Start, |frame| frame.number(u64::from(incarnation)));
        self.end();
    }

    fn fate(&mut self, at: Time, actor: ActorId, id: MessageId, fate: Fate) {
        self.begin(at, actor, Kind::Fate, |frame| put_id(frame, id));
        self.blob(&fate);
        self.end();
    }

    fn power(&mut self, at: Time, actor: ActorId, power: Power) {
        self.begin(at, actor, Kind::Power, |_| {});
        self.blob(&power);
        self.end();
    }

    fn note(&mut self, at: Time, actor: ActorId, what: &str, subject: u64, value: u64) {
        // By content: two addresses of one text would make the bytes depend on the compiler.
        let known = self.words.iter().position(|word| **word == *what);
        let number = known.unwrap_or(self.words.len());
        self.begin(at, actor, Kind::Note, |frame| frame.number(number as u64));
        if known.is_none() {
            put_text(&mut self.block, what);
            if self.words.len() < WORDS_MAX {
                self.words.push(what.into());
            }
        }
        put(&mut self.block, |frame| {
            frame.number(subject);
            frame.number(value);
        });
        self.end();
    }

    #[inline(always)]
    fn end(&mut self) {
        self.records += 1;
        self.hand_on_if_full();
    }
}

#[inline(always)]
fn put_id(frame: &mut Frame<'_>, id: MessageId) {
    frame.number(u64::from(id.from.0));
    frame.number(id.seq);
}

impl<M: Serialize, T: Serialize, W: Write> Recorder<M, T> for Writer<W> {
    // The caller knows what it records, so nothing is left of this match where it is inlined.
    #[inline(always)]
    fn record(&mut self, at: Time, actor: ActorId, what: What<'_, M, T>) {
        match what {
            What::Deliver(envelope) => self.deliver(at, actor, envelope.id()),
            What::Send(envelope) => self.send(at, actor, envelope.to, envelope.seq, &envelope.msg),
            What::Fire(timer, _) => self.timer(at, actor, Kind::Fire, None, &timer),
            What::Arm { timer, at: due, tick } => self.arm(at, actor, timer, due, &tick),
            What::Disarm(timer) => self.timer(at, actor, Kind::Disarm, None, &timer),
            What::Start { incarnation } => self.start(at, actor, incarnation),
            What::Note(note) => self.note(at, actor, note.what, note.subject, note.value),
            What::Fate(id, fate) => self.fate(at, actor, id, fate),
            What::Power(power) => self.power(at, actor, power),
        }
    }
}
