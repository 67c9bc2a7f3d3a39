//! Writing a trace while a run goes on.

use std::io::{self, Write};

use meshsim_actor::{ActorId, MessageId, Recorder, Time, What};
use serde::Serialize;

use crate::Header;
use crate::format::{Kind, MAGIC, SAME, VERSION, WORDS_MAX, cut, put_number};

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
    words: Vec<&'static str>,
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
        for number in [VERSION, header.seed, header.actors.len() as u64] {
            put_number(&mut writer.block, number);
        }
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
        self.block.push(Kind::End as u8);
        put_number(&mut self.block, self.records);
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

    #[inline(always)]
    fn begin(&mut self, at: Time, actor: ActorId, kind: Kind) {
        if at == self.at && actor == self.actor {
            self.block.push(kind as u8 | SAME);
        } else {
            self.block.push(kind as u8);
            put_number(&mut self.block, at.nanos().wrapping_sub(self.at.nanos()));
            put_number(&mut self.block, u64::from(actor.0));
            (self.at, self.actor) = (at, actor);
        }
    }

    #[inline(always)]
    fn message_id(&mut self, id: MessageId) {
        put_number(&mut self.block, u64::from(id.from.0));
        put_number(&mut self.block, id.seq);
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
        let mut number = Vec::with_capacity(9);
        put_number(&mut number, len as u64);
        self.block.splice(place..=place, number);
    }

    fn word(&mut self, word: &'static str) {
        // By content: two addresses of one text would make the bytes depend on the compiler.
        match self.words.iter().position(|known| *known == word) {
            Some(number) => put_number(&mut self.block, number as u64),
            None => {
                put_number(&mut self.block, self.words.len() as u64);
                put_text(&mut self.block, word);
                if self.words.len() < WORDS_MAX {
                    self.words.push(word);
                }
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

impl<M: Serialize, T: Serialize, W: Write> Recorder<M, T> for Writer<W> {
    #[inline]
    fn record(&mut self, at: Time, actor: ActorId, what: What<'_, M, T>) {
        match what {
            What::Deliver(envelope) => {
                self.begin(at, actor, Kind::Deliver);
                self.message_id(envelope.id());
            }
            What::Send(envelope) => {
                self.begin(at, actor, Kind::Send);
                put_number(&mut self.block, u64::from(envelope.to.0));
                put_number(&mut self.block, envelope.seq);
                self.blob(&envelope.msg);
            }
            What::Fire(timer, _) => {
                self.begin(at, actor, Kind::Fire);
                self.blob(&timer);
            }
            What::Arm { timer, at: due, tick } => {
                self.begin(at, actor, Kind::Arm);
                put_number(&mut self.block, due.nanos().wrapping_sub(at.nanos()));
                self.blob(&(timer, tick));
            }
            What::Disarm(timer) => {
                self.begin(at, actor, Kind::Disarm);
                self.blob(&timer);
            }
            What::Start { incarnation } => {
                self.begin(at, actor, Kind::Start);
                put_number(&mut self.block, u64::from(incarnation));
            }
            What::Note(note) => {
                self.begin(at, actor, Kind::Note);
                self.word(note.what);
                put_number(&mut self.block, note.subject);
                put_number(&mut self.block, note.value);
            }
            What::Fate(id, fate) => {
                self.begin(at, actor, Kind::Fate);
                self.message_id(id);
                self.blob(&fate);
            }
            What::Power(power) => {
                self.begin(at, actor, Kind::Power);
                self.blob(&power);
            }
        }
        self.records += 1;
        self.hand_on_if_full();
    }
}
