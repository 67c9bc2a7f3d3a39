//! Reading a trace back.

use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::sync::Arc;

use meshsim_actor::{ActorId, Fate, MessageId, Note, Power, Time, Timer, What};
use serde::de::DeserializeOwned;

use crate::Header;
use crate::format::{ACTORS_MAX, Kind, MAGIC, SAME, TEXT_BYTES_MAX, VERSION, WORDS_MAX, number, number_tail};

/// Reads a trace, record by record.
///
/// Any bytes may come: it never panics, holds at most one record, and says where it stopped understanding. After an
/// error it yields nothing more. `R` needs no buffer of its own.
#[derive(Debug)]
pub struct Reader<R, M, T> {
    input: Input<R>,
    header: Header,
    words: Vec<Arc<str>>,
    at: Time,
    actor: ActorId,
    records: u64,
    ended: bool,
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
        let ReadError { offset, records, trouble } = self;
        let place = format_args!("after {records} record{}, at byte {offset}", if *records == 1 { "" } else { "s" });
        match trouble {
            Trouble::Io(error) => write!(f, "{error}"),
            Trouble::NotATrace => f.write_str("not a trace: it does not begin as one"),
            Trouble::Version(version) => {
                write!(f, "a trace of format {version}; this program reads format {VERSION}")
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
        let header =
            read_header(&mut input).map_err(|trouble| ReadError { offset: input.offset, records: 0, trouble })?;
        Ok(Reader {
            input,
            header,
            words: Vec::new(),
            at: Time::ZERO,
            actor: ActorId(u32::MAX),
            records: 0,
            ended: false,
            types: PhantomData,
        })
    }

    /// What stands at the beginning.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn read(&mut self) -> Result<Option<Record<M, T>>, Trouble> {
        let tag = self.input.byte()?;
        let kind = *Kind::ALL.get(usize::from(tag & !SAME)).ok_or(Trouble::Corrupt("no such kind of record"))?;
        if kind == Kind::End {
            return self.end();
        }
        if tag & SAME == 0 {
            self.at = Time::from_nanos(self.at.nanos().wrapping_add(self.input.number()?));
            self.actor = self.input.actor()?;
        }
        let entry = match kind {
            Kind::End => return self.end(),
            Kind::Start => Entry::Start { incarnation: self.input.narrow("an incarnation beyond 32 bits")? },
            Kind::Deliver => Entry::Deliver(self.input.message_id()?),
            Kind::Fire => Entry::Fire(self.input.blob()?),
            Kind::Send => Entry::Send { to: self.input.actor()?, seq: self.input.number()?, msg: self.input.blob()? },
            Kind::Arm => {
                let at = Time::from_nanos(self.at.nanos().wrapping_add(self.input.number()?));
                let (timer, tick) = self.input.blob()?;
                Entry::Arm { timer, at, tick }
            }
            Kind::Disarm => Entry::Disarm(self.input.blob()?),
            Kind::Note => {
                Entry::Note { what: self.word()?, subject: self.input.number()?, value: self.input.number()? }
            }
            Kind::Fate => Entry::Fate(self.input.message_id()?, self.input.blob()?),
            Kind::Power => Entry::Power(self.input.blob()?),
        };
        let seq = self.records;
        self.records += 1;
        Ok(Some(Record { seq, at: self.at, actor: self.actor, entry }))
    }

    fn end(&mut self) -> Result<Option<Record<M, T>>, Trouble> {
        if self.input.number()? != self.records {
            return Err(Trouble::Corrupt("another count of records at the end"));
        }
        match self.input.fill(1)? {
            0 => Ok(None),
            _ => Err(Trouble::Corrupt("bytes after the end")),
        }
    }

    fn word(&mut self) -> Result<Arc<str>, Trouble> {
        let number = self.input.number()?;
        if let Some(word) = usize::try_from(number).ok().and_then(|number| self.words.get(number)) {
            return Ok(word.clone());
        }
        if number != self.words.len() as u64 {
            return Err(Trouble::Corrupt("a word that was not introduced"));
        }
        let word: Arc<str> = self.input.text()?.into();
        if self.words.len() < WORDS_MAX {
            self.words.push(word.clone());
        }
        Ok(word)
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
        read.map_err(|trouble| ReadError { offset: understood, records: self.records, trouble }).transpose()
    }
}

fn read_header<R: Read>(input: &mut Input<R>) -> Result<Header, Trouble> {
    match input.bytes(MAGIC.len()) {
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
    Ok(Header { seed, actors })
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

    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&[u8], Trouble> {
        if self.block.len() - self.start < len && self.fill(len)? < len {
            return Err(Trouble::CutOff);
        }
        let start = self.start;
        self.start += len;
        self.offset += len as u64;
        Ok(&self.block[start..self.start])
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Trouble> {
        Ok(self.bytes(1)?[0])
    }

    #[inline]
    fn number(&mut self) -> Result<u64, Trouble> {
        let first = self.byte()?;
        Ok(number(first, self.bytes(number_tail(first))?))
    }

    fn narrow(&mut self, trouble: &'static str) -> Result<u32, Trouble> {
        u32::try_from(self.number()?).map_err(|_| Trouble::Corrupt(trouble))
    }

    fn actor(&mut self) -> Result<ActorId, Trouble> {
        self.narrow("an actor beyond 32 bits").map(ActorId)
    }

    fn message_id(&mut self) -> Result<MessageId, Trouble> {
        Ok(MessageId { from: self.actor()?, seq: self.number()? })
    }

    fn blob<V: DeserializeOwned>(&mut self) -> Result<V, Trouble> {
        let len = self.number()?;
        if len > meshsim_wire::MESSAGE_BYTES_MAX as u64 {
            return Err(Trouble::Corrupt("a value longer than any"));
        }
        Ok(meshsim_wire::decode(self.bytes(len as usize)?)?)
    }

    fn text(&mut self) -> Result<String, Trouble> {
        let len = self.number()?;
        if len > TEXT_BYTES_MAX as u64 {
            return Err(Trouble::Corrupt("a text longer than any"));
        }
        let text =
            std::str::from_utf8(self.bytes(len as usize)?).map_err(|_| Trouble::Corrupt("a text not in UTF-8"))?;
        Ok(text.to_owned())
    }
}
