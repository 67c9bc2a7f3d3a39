//! Writer of a trace during a run.

use std::collections::BTreeMap;
use std::io::{self, Write};

use meshsim_actor::{ActorId, EntryRef, Fate, MachineAction, MessageId, Recorder, Span, Time, Timer};
use serde::Serialize;

use crate::chunk::{CHUNK_BYTES, Gathering, RAW_BYTES_MAX, pack, rare};
use crate::context::{CONTEXT_BYTES_MAX, Open};
use crate::format::{Frame, MAGIC, RecordKind, SAME, VERSION, WORDS_MAX, put, put_text};
use crate::index::Entries;
use crate::{Entry, Header, Record};

/// A context is written when the records since the last one take this many times its bytes.
const CONTEXT_SHARE: usize = 8;

/// Writes a trace.
///
/// Records are collected in a chunk, which is compressed and passed on when it is full, so `out` needs no buffer of its
/// own. Memory is bounded by a chunk, one record, the open messages and timers of the run, and some hundred bytes of
/// index for each chunk. The first error is kept, nothing is written after it, and [`finish`](Self::finish) reports it:
/// a recorder cannot report errors during the run.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    /// Records of the current chunk.
    block: Vec<u8>,
    /// Time of the last record.
    at: Time,
    actor: ActorId,
    records: u64,
    words: Vec<Box<str>>,
    /// Description of the current chunk.
    chunk: Gathering,
    open: Open,
    /// Context at the beginning of the current chunk; empty if none is written.
    context: Vec<u8>,
    /// Bytes that the caller added to the last context.
    extra_bytes: usize,
    /// Bytes of records since the last context.
    since_context: usize,
    /// Bytes passed on.
    offset: u64,
    index: Entries,
    left_out: BTreeMap<String, u64>,
    /// True if every record so far was [tagged](Self::tag).
    is_tagged: bool,
    /// The number after that of the last tagged record.
    tagged: u64,
    /// A chunk is closed when its records span this time.
    span_max: Span,
    error: Option<WriteError>,
}

/// Reason why a trace is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A message or a tick could not be encoded.
    #[error("a message cannot be recorded: {0}")]
    Message(#[from] meshsim_wire::Error),
}

impl<W: Write> Writer<W> {
    /// Begins a trace.
    pub fn new(out: W, header: &Header) -> Self {
        let mut writer = Writer {
            out,
            block: Vec::with_capacity(CHUNK_BYTES + 4096),
            at: Time::ZERO,
            actor: ActorId(u32::MAX),
            records: 0,
            words: Vec::new(),
            chunk: Gathering::default(),
            open: Open::default(),
            context: Vec::new(),
            extra_bytes: 0,
            since_context: 0,
            offset: 0,
            index: Entries::default(),
            left_out: BTreeMap::new(),
            is_tagged: true,
            tagged: 0,
            span_max: Span::MAX,
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
            if writer.block.len() >= CHUNK_BYTES {
                writer.hand_on_header();
            }
        }
        put_text(&mut writer.block, &header.keep);
        writer.hand_on_header();
        writer
    }

    /// A writer that goes on as this one would, to another output, which has [all that this one passed
    /// on](Self::passed_on).
    pub fn fork<V: Write>(&self, out: V) -> Writer<V> {
        Writer {
            out,
            block: self.block.clone(),
            at: self.at,
            actor: self.actor,
            records: self.records,
            words: self.words.clone(),
            chunk: self.chunk.clone(),
            open: self.open.clone(),
            context: self.context.clone(),
            extra_bytes: self.extra_bytes,
            since_context: self.since_context,
            offset: self.offset,
            index: self.index.clone(),
            left_out: self.left_out.clone(),
            is_tagged: self.is_tagged,
            tagged: self.tagged,
            span_max: self.span_max,
            error: self.error.as_ref().map(|error| io::Error::other(error.to_string()).into()),
        }
    }

    /// Its output.
    pub fn out(&self) -> &W {
        &self.out
    }

    /// Bytes that it has passed on to its output.
    pub fn passed_on(&self) -> u64 {
        self.offset
    }

    /// Closes a chunk also when its records span this much time, so that a concurrent reader is not far behind.
    pub fn closing_every(mut self, span: Span) -> Self {
        self.span_max = span;
        self
    }

    fn hand_on_header(&mut self) {
        let header = std::mem::take(&mut self.block);
        self.hand_on(&header);
        self.block = header;
        self.block.clear();
    }

    fn hand_on(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        if self.error.is_none()
            && let Err(error) = self.out.write_all(bytes)
        {
            self.error = Some(error.into());
        }
    }

    /// Ends the trace and returns its output.
    ///
    /// # Errors
    /// The first error since the beginning. The output is then not a complete trace.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.close(None::<fn(&mut Vec<u8>)>);
        let index = std::mem::take(&mut self.index);
        let ending = index.finish(self.offset, self.records, &self.left_out);
        self.hand_on(&ending);
        if self.error.is_none()
            && let Err(error) = self.out.flush()
        {
            self.error = Some(error.into());
        }
        self.error.map_or(Ok(self.out), Err)
    }

    /// Sets the number of omitted records of each kind, for the end of the trace.
    pub fn leave_out(&mut self, left_out: BTreeMap<String, u64>) {
        self.left_out = left_out;
    }

    /// True if the current chunk is full. The next record closes it, unless [`close_chunk`](Self::close_chunk) does so
    /// before.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.block.len() >= CHUNK_BYTES || self.spans_enough()
    }

    #[inline]
    fn spans_enough(&self) -> bool {
        self.span_max < Span::MAX && self.chunk.times.is_some_and(|(from, to)| to.since(from) >= self.span_max)
    }

    /// Closes the current chunk. If the next one gets a context, `extra` adds bytes of the caller to it.
    pub fn close_chunk(&mut self, extra: impl FnOnce(&mut Vec<u8>)) {
        self.close(Some(extra));
    }

    #[cold]
    fn close(&mut self, extra: Option<impl FnOnce(&mut Vec<u8>)>) {
        if self.block.is_empty() {
            return;
        }
        self.open.keep(&self.block);
        let mut raw = Vec::with_capacity(self.context.len() + self.block.len() + 8);
        put(&mut raw, |frame| frame.number(self.context.len() as u64));
        raw.extend_from_slice(&self.context);
        raw.extend_from_slice(&self.block);
        let mut packed = Vec::new();
        pack(&raw, &mut packed);
        let chunk = self.chunk.take(self.offset, self.records, !self.context.is_empty(), self.is_tagged);
        self.index.add(&chunk);
        debug_assert!(raw.len() <= RAW_BYTES_MAX, "a block, one message and a context fit");
        let mut bytes = chunk.head(raw.len(), &packed);
        bytes.extend_from_slice(&packed);
        self.hand_on(&bytes);

        self.since_context += self.block.len();
        self.block.clear();
        self.words.clear();
        (self.at, self.actor) = (Time::ZERO, ActorId(u32::MAX));
        self.context.clear();
        self.begin_context(extra);
    }

    /// Writes the context if one is due.
    fn begin_context(&mut self, extra: Option<impl FnOnce(&mut Vec<u8>)>) {
        let estimate = self.open.estimate() + self.extra_bytes;
        if estimate > CONTEXT_BYTES_MAX / 2 || self.since_context < estimate.saturating_mul(CONTEXT_SHARE) {
            return;
        }
        self.open.write(&mut self.context);
        let len = self.context.len();
        extra.into_iter().for_each(|extra| extra(&mut self.context));
        self.extra_bytes = self.context.len() - len;
        match self.context.len() > CONTEXT_BYTES_MAX {
            true => self.context.clear(),
            false => self.since_context = 0,
        }
    }

    /// Sets the service and the request of the next record, for the index. If one record is not tagged, the index has
    /// no services and requests from there on.
    #[inline]
    pub fn tag(&mut self, service: Option<u64>, request: Option<u64>) {
        if self.is_full() {
            self.close(None::<fn(&mut Vec<u8>)>);
        }
        service.into_iter().for_each(|service| self.chunk.services.insert(service));
        request.into_iter().for_each(|request| self.chunk.requests.insert(request));
        self.tagged = self.records + 1;
    }

    /// Writes tag, time and actor, and what `fill` adds.
    #[inline(always)]
    fn begin(&mut self, at: Time, actor: ActorId, kind: RecordKind, fill: impl FnOnce(&mut Frame<'_>)) {
        if self.is_full() {
            self.close(None::<fn(&mut Vec<u8>)>);
        }
        let (at_before, actor_before) = (self.at, self.actor);
        (self.at, self.actor) = (at, actor);
        self.chunk.at(at);
        self.chunk.actors.insert(u64::from(actor.0));
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

    /// Notes in the description of the chunk that a rare record follows.
    fn begin_rare(&mut self, kind: RecordKind, is_lost: bool) {
        if self.is_full() {
            self.close(None::<fn(&mut Vec<u8>)>);
        }
        self.chunk.rare |= rare(kind, is_lost);
    }

    /// Writes a value; returns its location in the block.
    #[inline(always)]
    fn blob<V: Serialize>(&mut self, value: &V) -> (usize, usize) {
        // The length is known only afterwards. One byte is kept free for it, which is nearly always enough.
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
        (self.block.len() - len, self.block.len())
    }

    #[cold]
    fn long_blob(&mut self, place: usize, len: usize) {
        let mut number = Vec::new();
        put(&mut number, |frame| frame.number(len as u64));
        self.block.splice(place..=place, number);
    }

    fn deliver(&mut self, at: Time, actor: ActorId, id: MessageId) {
        self.begin(at, actor, RecordKind::Deliver, |frame| put_id(frame, id));
        self.chunk.actors.insert(u64::from(id.from.0));
        self.open.deliver(actor, self.records, id);
        self.end();
    }

    fn send<M: Serialize>(&mut self, at: Time, actor: ActorId, to: ActorId, seq: u64, msg: &M) {
        self.begin(at, actor, RecordKind::Send, |frame| {
            frame.number(u64::from(to.0));
            frame.number(seq);
        });
        let place = self.blob(msg);
        self.chunk.actors.insert(u64::from(to.0));
        self.open.send(MessageId { from: actor, seq }, self.records, at, to, place);
        self.end();
    }

    fn arm<T: Serialize>(&mut self, at: Time, actor: ActorId, timer: Timer, due: Time, tick: &T) {
        self.begin(at, actor, RecordKind::Arm, |frame| frame.number(due.nanos().wrapping_sub(at.nanos())));
        let place = self.blob(&(timer, tick));
        self.open.arm(actor, self.records, timer, due, place);
        self.end();
    }

    /// Writes a record that was read from another trace.
    pub fn put<M: Serialize, T: Serialize>(&mut self, record: &Record<M, T>) {
        let (at, actor) = (record.at, record.actor);
        match &record.entry {
            Entry::Start { incarnation } => self.start(at, actor, *incarnation),
            Entry::Deliver(id) => self.deliver(at, actor, *id),
            Entry::Fire(timer) => self.fire(at, actor, *timer),
            Entry::Send { to, seq, msg } => self.send(at, actor, *to, *seq, msg),
            Entry::Arm { timer, at: due, tick } => self.arm(at, actor, *timer, *due, tick),
            Entry::Disarm(timer) => self.disarm(at, actor, *timer),
            Entry::Note { what, subject, value } => self.note(at, actor, what, *subject, *value),
            Entry::Fate(id, fate) => self.fate(at, actor, *id, *fate),
            Entry::Power(power) => self.power(at, actor, power),
            Entry::Persist(position) => self.persist(at, actor, *position),
            Entry::Durable(position) => self.durable(at, actor, *position),
        }
    }

    fn fire(&mut self, at: Time, actor: ActorId, timer: Timer) {
        self.begin(at, actor, RecordKind::Fire, |_| {});
        self.blob(&timer);
        self.open.fire(actor, self.records, timer);
        self.end();
    }

    fn disarm(&mut self, at: Time, actor: ActorId, timer: Timer) {
        self.begin(at, actor, RecordKind::Disarm, |_| {});
        self.blob(&timer);
        self.open.disarm(actor, timer);
        self.end();
    }

    fn start(&mut self, at: Time, actor: ActorId, incarnation: u32) {
        self.begin_rare(RecordKind::Start, false);
        self.begin(at, actor, RecordKind::Start, |frame| frame.number(u64::from(incarnation)));
        self.open.start(actor, self.records, incarnation);
        self.end();
    }

    fn fate(&mut self, at: Time, actor: ActorId, id: MessageId, fate: Fate) {
        self.begin_rare(RecordKind::Fate, matches!(fate, Fate::Lost(_)));
        self.begin(at, actor, RecordKind::Fate, |frame| put_id(frame, id));
        self.blob(&fate);
        let receiver = self.open.fate(id, fate);
        for actor in receiver.into_iter().chain([id.from]) {
            self.chunk.actors.insert(u64::from(actor.0));
        }
        self.end();
    }

    fn power(&mut self, at: Time, actor: ActorId, power: &MachineAction) {
        self.begin_rare(RecordKind::MachineAction, false);
        self.begin(at, actor, RecordKind::MachineAction, |_| {});
        self.blob(power);
        self.end();
    }

    fn persist(&mut self, at: Time, actor: ActorId, position: u64) {
        self.begin(at, actor, RecordKind::Persist, |frame| frame.number(position));
        self.open.persist(actor);
        self.end();
    }

    fn durable(&mut self, at: Time, actor: ActorId, position: u64) {
        self.begin(at, actor, RecordKind::Durable, |frame| frame.number(position));
        self.open.durable(actor, self.records);
        self.end();
    }

    fn note(&mut self, at: Time, actor: ActorId, what: &str, subject: u64, value: u64) {
        if self.is_full() {
            self.close(None::<fn(&mut Vec<u8>)>);
        }
        // Compared by content: two addresses of one text would make the bytes depend on the compiler.
        let known = self.words.iter().position(|word| **word == *what);
        let number = known.unwrap_or(self.words.len());
        self.begin(at, actor, RecordKind::Note, |frame| frame.number(number as u64));
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
        self.open.note(actor);
        self.end();
    }

    #[inline(always)]
    fn end(&mut self) {
        self.records += 1;
        self.is_tagged &= self.tagged == self.records;
    }
}

#[inline(always)]
fn put_id(frame: &mut Frame<'_>, id: MessageId) {
    frame.number(u64::from(id.from.0));
    frame.number(id.seq);
}

impl<M: Serialize, T: Serialize, W: Write> Recorder<M, T> for Writer<W> {
    // The caller knows the kind of its entry, so this match disappears where it is inlined.
    #[inline(always)]
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, M, T>) {
        match what {
            EntryRef::Deliver(envelope) => self.deliver(at, actor, envelope.id()),
            EntryRef::Send(envelope) => self.send(at, actor, envelope.to, envelope.seq, &envelope.msg),
            EntryRef::Fire(timer, _) => self.fire(at, actor, timer),
            EntryRef::Arm { timer, at: due, tick } => self.arm(at, actor, timer, due, &tick),
            EntryRef::Disarm(timer) => self.disarm(at, actor, timer),
            EntryRef::Start { incarnation } => self.start(at, actor, incarnation),
            EntryRef::Note(note) => self.note(at, actor, note.what, note.subject, note.value),
            EntryRef::Fate(id, fate) => self.fate(at, actor, id, fate),
            EntryRef::Power(power) => self.power(at, actor, power),
            EntryRef::Persist(position) => self.persist(at, actor, position),
            EntryRef::Durable(position) => self.durable(at, actor, position),
        }
    }
}
