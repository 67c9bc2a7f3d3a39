//! Reading a trace back.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::sync::Arc;

use meshsim_actor::{ActorId, Fate, MessageId, Note, Power, Time, Timer, What};
use serde::de::DeserializeOwned;

use crate::chunk::{self, Chunk, HEAD_BYTES, Head};
use crate::format::{ACTORS_MAX, Bytes, Kind, MAGIC, SAME, Take, VERSION, WORDS_MAX};
use crate::index::{self, END, FOOTER_BYTES, FRONT_BYTES, Index};
use crate::{Context, Header};

/// Reads a trace, record by record.
///
/// Any bytes may come: it never panics, holds at most one chunk, and says where it stopped understanding. After an
/// error it yields nothing more. `R` needs no buffer of its own.
///
/// What can be sought in can also be read from the middle: [`index`](Self::index) says what the chunks hold, and
/// [`seek`](Self::seek) goes to one of them.
#[derive(Debug)]
pub struct Reader<R, M, T> {
    input: Input<R>,
    header: Header,
    /// Where the first chunk begins.
    first_chunk: u64,
    /// The chunk at hand.
    chunk: Bytes,
    /// Where its context and its records begin.
    parts: [usize; 2],
    /// Records of it that were not read yet.
    left: u32,
    words: Vec<Arc<str>>,
    at: Time,
    actor: ActorId,
    /// The number of the next record.
    next: u64,
    /// The moment of the last record.
    last: Option<Time>,
    ended: bool,
    left_out: BTreeMap<String, u64>,
    types: PhantomData<fn() -> (M, T)>,
}

/// One record of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<M, T> {
    /// Its place in the trace, from 0.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// Whose.
    pub actor: ActorId,
    /// What.
    pub entry: Entry<M, T>,
}

/// What a record says: [`What`](meshsim_actor::What), owned, and with each content once.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<M, T> {
    /// The actor began.
    Start {
        /// How often it had been rebooted.
        incarnation: u32,
    },
    /// It took in this message. Its content stands with the [`Entry::Send`] of that id.
    Deliver(MessageId),
    /// It took in this timer. Its tick stands with the last [`Entry::Arm`] of that handle.
    Fire(Timer),
    /// It sent a message.
    Send {
        /// To whom.
        to: ActorId,
        /// Its count: with the record's actor the [`MessageId`].
        seq: u64,
        /// The content.
        msg: M,
    },
    /// It armed a timer.
    Arm {
        /// Its handle.
        timer: Timer,
        /// When it is to fire.
        at: Time,
        /// What the actor will be told.
        tick: T,
    },
    /// It disarmed a timer.
    Disarm(Timer),
    /// It remarked something.
    Note {
        /// What happened, in one word.
        what: Arc<str>,
        /// What it happened to.
        subject: u64,
        /// A number that belongs to it.
        value: u64,
    },
    /// The network decided what becomes of a message.
    Fate(MessageId, Fate),
    /// Something was done to its machine.
    Power(Power),
}

impl<M: Clone, T> From<What<'_, M, T>> for Entry<M, T> {
    fn from(what: What<'_, M, T>) -> Self {
        match what {
            What::Start { incarnation } => Entry::Start { incarnation },
            What::Deliver(envelope) => Entry::Deliver(envelope.id()),
            What::Fire(timer, _) => Entry::Fire(timer),
            What::Send(envelope) => Entry::Send { to: envelope.to, seq: envelope.seq, msg: envelope.msg.clone() },
            What::Arm { timer, at, tick } => Entry::Arm { timer, at, tick },
            What::Disarm(timer) => Entry::Disarm(timer),
            What::Note(Note { what, subject, value }) => Entry::Note { what: what.into(), subject, value },
            What::Fate(id, fate) => Entry::Fate(id, fate),
            What::Power(power) => Entry::Power(power),
        }
    }
}

/// Why a trace cannot be read, or not further.
#[derive(Debug)]
pub struct ReadError {
    /// How many bytes of the file had been understood.
    pub offset: u64,
    /// How many records had been read.
    pub records: u64,
    /// The moment of the last of them.
    pub at: Option<Time>,
    /// What is wrong there.
    pub trouble: Trouble,
}

/// What is wrong with a trace.
#[derive(Debug)]
pub enum Trouble {
    /// It could not be read at all.
    Io(io::Error),
    /// The file does not begin as a trace does.
    NotATrace,
    /// A version of the format that this program does not know.
    Version(u64),
    /// The file ends before the trace does: the run was killed, or the disk was full.
    CutOff,
    /// Bytes that no writer writes.
    Corrupt(&'static str),
    /// A message, tick or other value that is not of the type that was asked for.
    Value(meshsim_wire::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReadError { offset, records, at, trouble } = self;
        let until = at.map_or_else(String::new, |at| format!(", at {:.3} s", at.secs()));
        let plural = if *records == 1 { "" } else { "s" };
        let place = format_args!("after {records} record{plural}{until} (byte {offset})");
        match trouble {
            Trouble::Io(error) => write!(f, "{error}"),
            Trouble::NotATrace => f.write_str("not a trace: it does not begin as one"),
            Trouble::Version(version) => {
                write!(f, "a trace of format {version}; this program reads format {VERSION}: make it again")
            }
            Trouble::CutOff => write!(f, "cut off {place}"),
            Trouble::Corrupt(what) => write!(f, "corrupt {place}: {what}"),
            Trouble::Value(error) => write!(f, "corrupt {place}: a value {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.trouble {
            Trouble::Io(error) => Some(error),
            Trouble::Value(error) => Some(error),
            _ => None,
        }
    }
}

impl From<meshsim_wire::Error> for Trouble {
    fn from(error: meshsim_wire::Error) -> Self {
        Trouble::Value(error)
    }
}

impl<R: Read, M: DeserializeOwned, T: DeserializeOwned> Reader<R, M, T> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is not that of a trace.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut input = Input { source: input, block: Vec::new(), start: 0, offset: 0 };
        let header = read_header(&mut input);
        let header = header.map_err(|trouble| ReadError { offset: input.offset, records: 0, at: None, trouble })?;
        Ok(Reader {
            first_chunk: input.offset,
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
            ended: false,
            left_out: BTreeMap::new(),
            types: PhantomData,
        })
    }

    /// What stands at the beginning.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many records of each [kind](crate::export::kind) the writer left out. It stands at the end, so it is known when
    /// the last record has been read.
    pub fn left_out(&self) -> &BTreeMap<String, u64> {
        &self.left_out
    }

    /// What was open when the chunk at hand began: that of the record that was read last, or after
    /// [`seek`](Self::seek) the one that is next. `None` if it does not say.
    ///
    /// # Errors
    /// If it cannot be understood.
    pub fn context(&self) -> Result<Option<Context<M, T>>, ReadError> {
        let [start, end] = self.parts;
        let bytes = self.chunk.data.get(start..end).filter(|bytes| !bytes.is_empty());
        let read = bytes.map(|mut bytes| Context::read(&mut bytes)).transpose();
        read.map_err(|trouble| self.error(self.input.offset, cut_is_corrupt(trouble)))
    }

    fn read(&mut self) -> Result<Option<Record<M, T>>, Trouble> {
        while self.left == 0 {
            if !self.chunk.is_empty() {
                return Err(Trouble::Corrupt("bytes after the last record of a chunk"));
            }
            if !self.next_chunk()? {
                return Ok(None);
            }
        }
        self.record().map(Some).map_err(cut_is_corrupt)
    }

    fn record(&mut self) -> Result<Record<M, T>, Trouble> {
        let tag = self.chunk.byte()?;
        let kind = Kind::of_tag(tag)?;
        if tag & SAME == 0 {
            self.at = Time::from_nanos(self.at.nanos().wrapping_add(self.chunk.number()?));
            self.actor = self.chunk.actor()?;
        }
        let from = &mut self.chunk;
        let entry = match kind {
            Kind::Start => Entry::Start { incarnation: from.narrow("an incarnation beyond 32 bits")? },
            Kind::Deliver => Entry::Deliver(from.message_id()?),
            Kind::Fire => Entry::Fire(from.blob()?),
            Kind::Send => Entry::Send { to: from.actor()?, seq: from.number()?, msg: from.blob()? },
            Kind::Arm => {
                let at = Time::from_nanos(self.at.nanos().wrapping_add(from.number()?));
                let (timer, tick) = from.blob()?;
                Entry::Arm { timer, at, tick }
            }
            Kind::Disarm => Entry::Disarm(from.blob()?),
            Kind::Note => {
                let what = self.word()?;
                Entry::Note { what, subject: self.chunk.number()?, value: self.chunk.number()? }
            }
            Kind::Fate => Entry::Fate(from.message_id()?, from.blob()?),
            Kind::Power => Entry::Power(from.blob()?),
        };
        let seq = self.next;
        (self.next, self.left, self.last) = (seq + 1, self.left - 1, Some(self.at));
        Ok(Record { seq, at: self.at, actor: self.actor, entry })
    }

    /// Reads the next chunk; false if there is none, and the trace ends as one does.
    fn next_chunk(&mut self) -> Result<bool, Trouble> {
        match self.input.take(4).map(|magic| [magic[0], magic[1], magic[2], magic[3]])? {
            chunk::MAGIC => {}
            index::MAGIC => return self.end().map(|()| false),
            _ => return Err(Trouble::Corrupt("no chunk begins here")),
        }
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&chunk::MAGIC);
        bytes[4..].copy_from_slice(self.input.take(HEAD_BYTES - 4)?);
        let head = Head::read(&bytes)?;
        let rest = self.input.take(head.rest())?;
        head.unpack(&bytes, rest, &mut self.chunk.data)?;
        let chunk = head.chunk(0, &mut &rest[..head.sets]).map_err(cut_is_corrupt)?;
        if chunk.first != self.next || chunk.first.checked_add(u64::from(chunk.records)).is_none() {
            return Err(Trouble::Corrupt("a chunk that is not the next one"));
        }
        self.chunk.at = 0;
        let context = self.chunk.number().map_err(cut_is_corrupt)?;
        let start = self.chunk.at;
        let end = usize::try_from(context).ok().and_then(|len| start.checked_add(len));
        let end =
            end.filter(|end| *end <= self.chunk.data.len()).ok_or(Trouble::Corrupt("a context that is too long"))?;
        self.parts = [start, end];
        self.chunk.at = end;
        self.words.clear();
        (self.at, self.actor, self.left) = (Time::ZERO, ActorId(u32::MAX), chunk.records);
        Ok(true)
    }

    /// Reads what stands behind the last chunk.
    fn end(&mut self) -> Result<(), Trouble> {
        let begins = (self.input.offset - 4).to_le_bytes();
        let mut front = [0; FRONT_BYTES];
        front[4..].copy_from_slice(self.input.take(FRONT_BYTES - 4)?);
        let packed = index::packed_len(&front)?;
        let ending = index::read(&front, self.input.take(packed)?)?;
        if ending.records != self.next {
            return Err(Trouble::Corrupt("another count of records at the end"));
        }
        if *self.input.take(FOOTER_BYTES)? != *[begins, END].concat() {
            return Err(Trouble::Corrupt("an end that is none"));
        }
        self.left_out = ending.left_out;
        match self.input.fill(1)? {
            0 => Ok(()),
            _ => Err(Trouble::Corrupt("bytes after the end")),
        }
    }

    fn word(&mut self) -> Result<Arc<str>, Trouble> {
        let number = self.chunk.number()?;
        if let Some(word) = usize::try_from(number).ok().and_then(|number| self.words.get(number)) {
            return Ok(word.clone());
        }
        if number != self.words.len() as u64 {
            return Err(Trouble::Corrupt("a word that was not introduced"));
        }
        let word: Arc<str> = self.chunk.text()?.into();
        if self.words.len() < WORDS_MAX {
            self.words.push(word.clone());
        }
        Ok(word)
    }
}

impl<R, M, T> Reader<R, M, T> {
    fn error(&self, offset: u64, trouble: Trouble) -> ReadError {
        ReadError { offset, records: self.next, at: self.last, trouble }
    }
}

impl<R: Read + Seek, M, T> Reader<R, M, T> {
    /// Says what the chunks hold. It stands at the end of a whole trace; else it is gathered from the chunks that there
    /// are. The reader is then at the first record.
    ///
    /// # Errors
    /// If the file cannot be read, or its index is not one of these chunks.
    pub fn index(&mut self) -> Result<Index, ReadError> {
        let index = index::of(&mut self.input.source, self.first_chunk);
        let index = index.map_err(|trouble| self.error(self.first_chunk, trouble))?;
        self.go_to(self.first_chunk, 0)?;
        Ok(index)
    }

    /// Goes to the beginning of a chunk of its [`index`](Self::index): the next record is its first.
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

    fn go_to(&mut self, offset: u64, next: u64) -> Result<(), ReadError> {
        let sought = self.input.source.seek(SeekFrom::Start(offset));
        sought.map_err(|error| self.error(offset, Trouble::Io(error)))?;
        self.input.block.clear();
        (self.input.start, self.input.offset) = (0, offset);
        self.chunk.data.clear();
        (self.chunk.at, self.parts, self.left) = (0, [0; 2], 0);
        (self.next, self.last, self.ended) = (next, None, false);
        Ok(())
    }
}

/// What ends too early within a chunk is no trace that was cut off.
fn cut_is_corrupt(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::CutOff => Trouble::Corrupt("a chunk that is shorter than it says"),
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

fn read_header<R: Read>(input: &mut Input<R>) -> Result<Header, Trouble> {
    match input.take(MAGIC.len()) {
        Ok(bytes) if bytes == MAGIC => {}
        Err(Trouble::Io(error)) => return Err(Trouble::Io(error)),
        _ => return Err(Trouble::NotATrace),
    }
    let version = input.number()?;
    if version != VERSION {
        return Err(Trouble::Version(version));
    }
    let seed = input.number()?;
    let count = input.number()?;
    if count > ACTORS_MAX {
        return Err(Trouble::Corrupt("more actors than there can be"));
    }
    let mut actors = Vec::new();
    for _ in 0..count {
        actors.push(input.text()?);
    }
    let keep = input.text()?;
    Ok(Header { seed, actors, keep })
}

/// Bytes as they come, a block at a time, and how many were taken.
#[derive(Debug)]
struct Input<R> {
    source: R,
    block: Vec<u8>,
    start: usize,
    offset: u64,
}

const READ_BYTES: usize = 64 << 10;

impl<R: Read> Input<R> {
    /// Has `len` bytes ready, or as many as there are; says how many. Sets aside no more than has come.
    fn fill(&mut self, len: usize) -> Result<usize, Trouble> {
        while self.block.len() - self.start < len {
            self.block.drain(..self.start);
            self.start = 0;
            let had = self.block.len();
            self.block.resize(had + READ_BYTES, 0);
            let got = loop {
                match self.source.read(&mut self.block[had..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.block.truncate(had + *got.as_ref().unwrap_or(&0));
            if got.map_err(Trouble::Io)? == 0 {
                break;
            }
        }
        Ok((self.block.len() - self.start).min(len))
    }
}

impl<R: Read> Take for Input<R> {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&[u8], Trouble> {
        if self.block.len() - self.start < len && self.fill(len)? < len {
            return Err(Trouble::CutOff);
        }
        let start = self.start;
        self.start += len;
        self.offset += len as u64;
        Ok(&self.block[start..self.start])
    }
}
