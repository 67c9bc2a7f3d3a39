//! Reader of a trace.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::sync::Arc;

use meshsim_actor::{ActorId, EntryRef, Fate, MachineAction, MessageId, Note, Time, Timer};
use serde::de::DeserializeOwned;

use crate::chunk::{self, Chunk, HEAD_BYTES, Head};
use crate::format::{Bytes, RecordKind, SAME, Take, WORDS_MAX};
use crate::index::{self, END, FOOTER_BYTES, FRONT_BYTES, Index};
use crate::input::{Input, read_header};
use crate::read_error::{ReadError, ReadErrorKind};
use crate::{Context, Header};

/// Reads a trace, record by record.
///
/// Any bytes are safe input: it never panics, holds at most one chunk, and reports the position of an error. After an
/// error it yields no more records. `R` needs no buffer of its own.
///
/// A seekable trace can also be read from the middle: [`index`](Self::index) describes the chunks, and
/// [`seek`](Self::seek) moves to one of them.
#[derive(Debug)]
pub struct Reader<R, M, T> {
    input: Input<R>,
    header: Header,
    /// Offset of the first chunk.
    first_chunk: u64,
    /// The current chunk.
    chunk: Bytes,
    /// Offsets of its context and its records.
    parts: [usize; 2],
    /// Number of its records that are not read yet.
    left: u32,
    words: Vec<Arc<str>>,
    at: Time,
    actor: ActorId,
    /// Number of the next record.
    next: u64,
    /// Time of the last record.
    last: Option<Time>,
    /// Offset behind the last whole chunk that was read, or begun to be read.
    behind: u64,
    ended: bool,
    left_out: BTreeMap<String, u64>,
    types: PhantomData<fn() -> (M, T)>,
}

/// One record of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<M, T> {
    /// Its index in the trace, from 0.
    pub seq: u64,
    /// Its time.
    pub at: Time,
    /// Its actor.
    pub actor: ActorId,
    /// Its content.
    pub entry: Entry<M, T>,
}

/// Content of a record: [`EntryRef`](meshsim_actor::EntryRef), owned, and with each content stored once.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<M, T> {
    /// The actor began.
    Start {
        /// Number of earlier reboots.
        incarnation: u32,
    },
    /// The actor received this message. Its content is in the [`Entry::Send`] of that id.
    Deliver(MessageId),
    /// The actor received this timer. Its tick is in the last [`Entry::Arm`] of that handle.
    Fire(Timer),
    /// The actor sent a message.
    Send {
        /// Receiver.
        to: ActorId,
        /// The sender's count: with the record's actor it is the [`MessageId`].
        seq: u64,
        /// The content.
        msg: M,
    },
    /// The actor armed a timer.
    Arm {
        /// Handle.
        timer: Timer,
        /// Due time.
        at: Time,
        /// Value that the event will carry.
        tick: T,
    },
    /// The actor disarmed a timer.
    Disarm(Timer),
    /// The actor wrote a note.
    Note {
        /// The change, in one word.
        what: Arc<str>,
        /// Number of the service or node that changed.
        subject: u64,
        /// A number that belongs to the change.
        value: u64,
    },
    /// A sync of the actor's durable state up to this position began.
    Persist(u64),
    /// The actor's durable state is on its disk up to this position.
    Durable(u64),
    /// The network decided the fate of a message.
    Fate(MessageId, Fate),
    /// A machine action on the actor's machine.
    Power(MachineAction),
}

impl<M: Clone, T> From<EntryRef<'_, M, T>> for Entry<M, T> {
    fn from(what: EntryRef<'_, M, T>) -> Self {
        match what {
            EntryRef::Start { incarnation } => Entry::Start { incarnation },
            EntryRef::Deliver(envelope) => Entry::Deliver(envelope.id()),
            EntryRef::Fire(timer, _) => Entry::Fire(timer),
            EntryRef::Send(envelope) => Entry::Send { to: envelope.to, seq: envelope.seq, msg: envelope.msg.clone() },
            EntryRef::Arm { timer, at, tick } => Entry::Arm { timer, at, tick },
            EntryRef::Disarm(timer) => Entry::Disarm(timer),
            EntryRef::Note(Note { what, subject, value }) => Entry::Note { what: what.into(), subject, value },
            EntryRef::Persist(position) => Entry::Persist(position),
            EntryRef::Durable(position) => Entry::Durable(position),
            EntryRef::Fate(id, fate) => Entry::Fate(id, fate),
            EntryRef::Power(power) => Entry::Power(power.clone()),
        }
    }
}

impl<R: Read, M: DeserializeOwned, T: DeserializeOwned> Reader<R, M, T> {
    /// Reads the header.
    ///
    /// # Errors
    /// If the bytes are not the header of a trace.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut input = Input { source: input, block: Vec::new(), start: 0, offset: 0 };
        let header = read_header(&mut input);
        let header = header.map_err(|trouble| ReadError { offset: input.offset, records: 0, at: None, trouble })?;
        let input_offset = input.offset;
        Ok(Reader {
            first_chunk: input_offset,
            input,
            header,
            chunk: Bytes::default(),
            parts: [0; 2],
            left: 0,
            words: Vec::new(),
            at: Time::ZERO,
            actor: ActorId(u32::MAX),
            next: 0,
            last: None,
            behind: input_offset,
            ended: false,
            left_out: BTreeMap::new(),
            types: PhantomData,
        })
    }

    /// Header of the trace.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Number of omitted records of each [kind](crate::export::kind). It is at the end of the trace, so it is known
    /// when the last record has been read.
    pub fn left_out(&self) -> &BTreeMap<String, u64> {
        &self.left_out
    }

    /// Context of the current chunk: that of the last record read, or after [`seek`](Self::seek) that of the next
    /// record. `None` if the chunk has no context.
    ///
    /// # Errors
    /// If it cannot be decoded.
    pub fn context(&self) -> Result<Option<Context<M, T>>, ReadError> {
        let [start, end] = self.parts;
        let bytes = self.chunk.data.get(start..end).filter(|bytes| !bytes.is_empty());
        let read = bytes.map(|mut bytes| Context::read(&mut bytes)).transpose();
        read.map_err(|trouble| self.error(self.input.offset, cut_is_corrupt(trouble)))
    }

    fn read(&mut self) -> Result<Option<Record<M, T>>, ReadErrorKind> {
        while self.left == 0 {
            if !self.chunk.is_empty() {
                return Err(ReadErrorKind::Corrupt("bytes after the last record of a chunk"));
            }
            self.behind = self.input.offset;
            if !self.next_chunk()? {
                return Ok(None);
            }
        }
        self.record().map(Some).map_err(cut_is_corrupt)
    }

    fn record(&mut self) -> Result<Record<M, T>, ReadErrorKind> {
        let tag = self.chunk.byte()?;
        let kind = RecordKind::of_tag(tag)?;
        if tag & SAME == 0 {
            self.at = Time::from_nanos(self.at.nanos().wrapping_add(self.chunk.number()?));
            self.actor = self.chunk.actor()?;
        }
        let from = &mut self.chunk;
        let entry = match kind {
            RecordKind::Start => Entry::Start { incarnation: from.narrow("an incarnation beyond 32 bits")? },
            RecordKind::Deliver => Entry::Deliver(from.message_id()?),
            RecordKind::Fire => Entry::Fire(from.blob()?),
            RecordKind::Send => Entry::Send { to: from.actor()?, seq: from.number()?, msg: from.blob()? },
            RecordKind::Arm => {
                let at = Time::from_nanos(self.at.nanos().wrapping_add(from.number()?));
                let (timer, tick) = from.blob()?;
                Entry::Arm { timer, at, tick }
            }
            RecordKind::Disarm => Entry::Disarm(from.blob()?),
            RecordKind::Note => {
                let what = self.word()?;
                Entry::Note { what, subject: self.chunk.number()?, value: self.chunk.number()? }
            }
            RecordKind::Fate => Entry::Fate(from.message_id()?, from.blob()?),
            RecordKind::MachineAction => Entry::Power(from.blob()?),
            RecordKind::Persist => Entry::Persist(from.number()?),
            RecordKind::Durable => Entry::Durable(from.number()?),
        };
        let seq = self.next;
        (self.next, self.left, self.last) = (seq + 1, self.left - 1, Some(self.at));
        Ok(Record { seq, at: self.at, actor: self.actor, entry })
    }

    /// Reads the next chunk; returns false if there is none, and the trace ends correctly.
    fn next_chunk(&mut self) -> Result<bool, ReadErrorKind> {
        match self.input.take(4).map(|magic| [magic[0], magic[1], magic[2], magic[3]])? {
            chunk::MAGIC => {}
            index::MAGIC => return self.end().map(|()| false),
            _ => return Err(ReadErrorKind::Corrupt("no chunk begins here")),
        }
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&chunk::MAGIC);
        bytes[4..].copy_from_slice(self.input.take(HEAD_BYTES - 4)?);
        let head = Head::read(&bytes)?;
        let rest = self.input.take(head.rest())?;
        head.unpack(&bytes, rest, &mut self.chunk.data)?;
        let chunk = head.chunk(0, &mut &rest[..head.sets]).map_err(cut_is_corrupt)?;
        if chunk.first != self.next || chunk.first.checked_add(u64::from(chunk.records)).is_none() {
            return Err(ReadErrorKind::Corrupt("a chunk that is not the next one"));
        }
        self.chunk.at = 0;
        let context = self.chunk.number().map_err(cut_is_corrupt)?;
        let start = self.chunk.at;
        let end = usize::try_from(context).ok().and_then(|len| start.checked_add(len));
        let end = end
            .filter(|end| *end <= self.chunk.data.len())
            .ok_or(ReadErrorKind::Corrupt("a context that is too long"))?;
        self.parts = [start, end];
        self.chunk.at = end;
        self.words.clear();
        (self.at, self.actor, self.left) = (Time::ZERO, ActorId(u32::MAX), chunk.records);
        Ok(true)
    }

    /// Reads the bytes after the last chunk.
    fn end(&mut self) -> Result<(), ReadErrorKind> {
        let begins = (self.input.offset - 4).to_le_bytes();
        let mut front = [0; FRONT_BYTES];
        front[4..].copy_from_slice(self.input.take(FRONT_BYTES - 4)?);
        let packed = index::packed_len(&front)?;
        let ending = index::read(&front, self.input.take(packed)?)?;
        if ending.records != self.next {
            return Err(ReadErrorKind::Corrupt("another count of records at the end"));
        }
        if *self.input.take(FOOTER_BYTES)? != *[begins, END].concat() {
            return Err(ReadErrorKind::Corrupt("an end that is none"));
        }
        self.left_out = ending.left_out;
        match self.input.fill(1)? {
            0 => Ok(()),
            _ => Err(ReadErrorKind::Corrupt("bytes after the end")),
        }
    }

    fn word(&mut self) -> Result<Arc<str>, ReadErrorKind> {
        let number = self.chunk.number()?;
        if let Some(word) = usize::try_from(number).ok().and_then(|number| self.words.get(number)) {
            return Ok(word.clone());
        }
        if number != self.words.len() as u64 {
            return Err(ReadErrorKind::Corrupt("a word that was not introduced"));
        }
        let word: Arc<str> = self.chunk.text()?.into();
        if self.words.len() < WORDS_MAX {
            self.words.push(word.clone());
        }
        Ok(word)
    }
}

impl<R, M, T> Reader<R, M, T> {
    fn error(&self, offset: u64, trouble: ReadErrorKind) -> ReadError {
        ReadError { offset, records: self.next, at: self.last, trouble }
    }
}

impl<R: Read + Seek, M, T> Reader<R, M, T> {
    /// Reads the index at the end of a complete trace, or rebuilds it from the existing chunks. The reader is then at
    /// the first record.
    ///
    /// # Errors
    /// If the file cannot be read, or its index does not fit its chunks.
    pub fn index(&mut self) -> Result<Index, ReadError> {
        let index = index::of(&mut self.input.source, self.first_chunk);
        let index = index.map_err(|trouble| self.error(self.first_chunk, trouble))?;
        self.go_to(self.first_chunk, 0)?;
        Ok(index)
    }

    /// Moves to the beginning of a chunk of its [`index`](Self::index): the next record is the first of that chunk.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn seek(&mut self, chunk: &Chunk) -> Result<(), ReadError>
    where
        M: DeserializeOwned,
        T: DeserializeOwned,
    {
        self.go_to(chunk.offset, chunk.first)?;
        let read = self.next_chunk();
        self.ended = read.is_err();
        read.map(drop).map_err(|trouble| self.error(chunk.offset, trouble))
    }

    /// Goes on behind the last whole chunk, where the file may have grown since it was [cut off](ReadErrorKind::CutOff)
    /// there.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn go_on(&mut self) -> Result<(), ReadError> {
        self.go_to(self.behind, self.next)
    }

    fn go_to(&mut self, offset: u64, next: u64) -> Result<(), ReadError> {
        let sought = self.input.source.seek(SeekFrom::Start(offset));
        sought.map_err(|error| self.error(offset, ReadErrorKind::Io(error)))?;
        self.input.block.clear();
        (self.input.start, self.input.offset) = (0, offset);
        self.chunk.data.clear();
        (self.chunk.at, self.parts, self.left) = (0, [0; 2], 0);
        (self.next, self.last, self.ended, self.behind) = (next, None, false, offset);
        Ok(())
    }
}

/// A chunk that ends too early is corrupt; the trace was not truncated there.
fn cut_is_corrupt(trouble: ReadErrorKind) -> ReadErrorKind {
    match trouble {
        ReadErrorKind::CutOff => ReadErrorKind::Corrupt("a chunk that is shorter than it says"),
        trouble => trouble,
    }
}

impl<R: Read, M: DeserializeOwned, T: DeserializeOwned> Iterator for Reader<R, M, T> {
    type Item = Result<Record<M, T>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let understood = self.input.offset;
        let read = self.read();
        self.ended = !matches!(read, Ok(Some(_)));
        read.map_err(|trouble| self.error(understood, trouble)).transpose()
    }
}
