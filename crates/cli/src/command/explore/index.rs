//! The messages of a part of a run in columns, by time of sending: read from its chunks, and queried from then on
//! without the trace.
//!
//! A message takes 53 bytes, a record 4.

use std::collections::BTreeMap;
use std::ops::Range;

use meshsim_actor::{ActorId, Fate, LossReason};
use meshsim_mesh::Msg;
use meshsim_trace::{Entry, Sent};

use crate::flow::Item;
use crate::flow::words::{About, Names, Wording};

/// Fate of a message, and facts about it: bits of [`Messages::fate`].
pub(super) mod fate {
    /// It was lost; why, is in [`REASON`].
    pub(crate) const LOST: u16 = 1;
    /// The message is the second copy that the network made of one message.
    pub(crate) const COPY: u16 = 2;
    /// The network held it back.
    pub(crate) const HELD: u16 = 4;
    /// It came after its sender had given up.
    pub(crate) const LATE: u16 = 8;
    /// It had not arrived when the trace ended.
    pub(crate) const UNDER_WAY: u16 = 16;
    /// The message is a control message: neither a request nor a reply.
    pub(crate) const CONTROL: u16 = 32;
    /// The message belongs to the request that the page asked for.
    pub(crate) const OWN: u16 = 64;
    /// Position of the loss reason: its index in `LossReason::ALL`.
    pub(crate) const REASON: u32 = 8;
}

/// Different wordings that are kept of a part; the messages beyond them are called by their kind alone.
const WORDINGS_MAX: usize = 1 << 16;

/// Messages between two entries of [`Messages::reach`].
const BLOCK: usize = 1 << 10;

/// Messages in columns, in the order in which they were sent.
#[derive(Default)]
pub(super) struct Messages {
    /// When, in nanoseconds.
    pub(super) sent: Vec<u64>,
    /// When it arrived or was lost; `u64::MAX` if neither.
    pub(super) arrived: Vec<u64>,
    pub(super) from: Vec<u32>,
    pub(super) to: Vec<u32>,
    /// Its place in [`Index::words`].
    pub(super) words: Vec<u32>,
    pub(super) fate: Vec<u16>,
    /// The record of its sending.
    pub(super) record: Vec<u64>,
    /// The record of its arrival, or of its loss; 0 if neither came.
    pub(super) end: Vec<u64>,
    /// The request that it is for; `u64::MAX` if it is for none.
    pub(super) root: Vec<u64>,
    /// The latest arrival among all messages up to the end of each block.
    reach: Vec<u64>,
}

impl Messages {
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// The messages that were on their way in a stretch of time, in the order of their sending.
    pub(super) fn within(&self, from: u64, to: u64) -> impl Iterator<Item = usize> + '_ {
        let after = self.sent.partition_point(|sent| *sent <= to);
        // Blocks of which all have arrived before need no look.
        let first = self.reach.partition_point(|reach| *reach < from) * BLOCK;
        (first.min(after)..after).filter(move |at| self.arrived[*at] >= from)
    }

    /// Those that were sent in a stretch of time, the end not included.
    pub(super) fn sent_within(&self, from: u64, to: u64) -> std::ops::Range<usize> {
        let first = self.sent.partition_point(|sent| *sent < from);
        first..self.sent.partition_point(|sent| *sent < to).max(first)
    }

    /// The message that a record is about, of which `copy` others came before.
    fn find(&self, record: u64, at: u64, copy: u32) -> Option<usize> {
        let same = self.sent_within(at, at + 1).filter(|place| self.record[*place] == record);
        same.take(copy as usize + 1).last()
    }

    /// The message that was sent by a record, or ended with it.
    pub(super) fn of_record(&self, record: u64) -> Option<usize> {
        let sent = self.record.iter().position(|it| *it == record);
        let is_end = |at: &usize| self.end[*at] == record && self.fate[*at] & fate::UNDER_WAY == 0;
        sent.or_else(|| (0..self.end.len()).find(is_end))
    }

    /// The sending of a message of this request at a moment, to an actor.
    pub(super) fn of_try(&self, root: u64, sent: u64, to: u32) -> Option<u64> {
        let mut those = self.sent_within(sent, sent + 1).filter(|at| self.root[*at] == root && self.to[*at] == to);
        those.next().map(|at| self.record[at])
    }

    /// All messages are there: what [`within`](Self::within) skips can be said.
    pub(super) fn seal(&mut self) {
        let mut most = 0;
        self.reach = (self.arrived.chunks(BLOCK))
            .map(|block| {
                most = block.iter().fold(most, |most, at| most.max(*at));
                most
            })
            .collect();
    }
}

/// Facts about some consecutive chunks of a trace.
#[derive(Default)]
pub(super) struct Index {
    pub(super) messages: Messages,
    /// The kind of a message, and its content.
    pub(super) words: Vec<(&'static str, String)>,
    /// Its records.
    pub(super) span: Range<u64>,
    /// Of each of them, how far back its cause is; 0 if it has none.
    back: Vec<u32>,
    /// Messages whose end was not found among the records that were read.
    pub(super) open: usize,
}

impl Index {
    /// The record that this one follows from, if this is one of its records and has a cause.
    pub(super) fn cause(&self, record: u64) -> Option<u64> {
        let at = record.checked_sub(self.span.start)?;
        let back = u64::from(*self.back.get(usize::try_from(at).ok()?)?);
        if back > 0 { record.checked_sub(back) } else { None }
    }

    /// Ends a message, which was sent by this record at this time, or the copy of it with this number.
    pub(super) fn end(&mut self, sent: (u64, u64), copy: u32, end: End) {
        let messages = &mut self.messages;
        let Some(at) = messages.find(sent.0, sent.1, copy) else { return };
        self.open -= usize::from(messages.fate[at] & fate::UNDER_WAY != 0);
        messages.arrived[at] = end.at;
        messages.end[at] = end.record;
        messages.fate[at] = messages.fate[at] & !fate::UNDER_WAY | end.bits;
    }
}

/// Arrival or loss of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) record: u64,
    /// In nanoseconds.
    pub(super) at: u64,
    /// Its part of the [`fate`].
    pub(super) bits: u16,
}

impl End {
    /// The end of a message, if the record is one.
    pub(super) fn of(item: &Item) -> Option<Self> {
        let bits = match &item.record.entry {
            Entry::Fate(_, Fate::Lost(cause)) => {
                let reason = LossReason::ALL.iter().position(|it| it == cause).unwrap_or(0) as u16;
                fate::LOST | reason << fate::REASON
            }
            Entry::Deliver(_) if item.is_late => fate::LATE,
            Entry::Deliver(_) => 0,
            _ => return None,
        };
        Some(End { record: item.record.seq, at: item.record.at.nanos(), bits })
    }
}

/// Wordings of messages, each stored once.
pub(super) struct Words<'a> {
    names: &'a Names,
    known: BTreeMap<Wording, u32>,
    /// The kind of a message, and its content.
    pub(super) all: Vec<(&'static str, String)>,
}

impl<'a> Words<'a> {
    pub(super) fn new(names: &'a Names) -> Self {
        Words { names, known: BTreeMap::new(), all: Vec::new() }
    }

    /// The number of a wording.
    pub(super) fn of(&mut self, about: &About) -> u32 {
        let wording = about.wording();
        if let Some(at) = self.known.get(&wording) {
            return *at;
        }
        let kind = wording.0;
        let is_full = self.known.len() >= WORDINGS_MAX;
        let wording = if is_full { (kind, None, None, None, None, None, None) } else { wording };
        *self.known.entry(wording).or_insert_with(|| {
            let known = Msg::KINDS.iter().find(|it| **it == kind).copied();
            let words = if is_full { kind.to_owned() } else { self.names.message(about) };
            self.all.push((known.unwrap_or("message"), words));
            self.all.len() as u32 - 1
        })
    }
}

/// An index in the making.
pub(super) struct Reading<'a> {
    index: Index,
    words: Words<'a>,
}

impl<'a> Reading<'a> {
    /// Begins an index of these records.
    pub(super) fn new(span: Range<u64>, names: &'a Names) -> Self {
        Reading { index: Index { span, ..Index::default() }, words: Words::new(names) }
    }

    /// Adds a message that is under way before the first record.
    pub(super) fn is_under_way(&mut self, sent: &Sent<About>, from: ActorId) {
        for copy in sent.arrived()..sent.arrived().saturating_add(sent.copies()) {
            let held = if sent.was_held { fate::HELD } else { 0 };
            self.send(sent, from, held | if copy > 0 { fate::COPY } else { 0 });
        }
    }

    /// Processes the next record. Of the records behind its own, only the ends of its messages matter.
    pub(super) fn take(&mut self, item: &Item) {
        let record = &item.record;
        let is_own = self.index.span.contains(&record.seq);
        if is_own {
            let back = item.derived.cause.and_then(|cause| u32::try_from(record.seq - cause).ok());
            self.index.back.push(back.unwrap_or(0));
        }
        let Some(sent) = item.sent() else { return };
        let key = (sent.seq, sent.at.nanos());
        match (&record.entry, item.sender()) {
            (Entry::Send { .. }, Some(from)) if is_own => self.send(sent, from, 0),
            (Entry::Fate(_, Fate::Duplicate(..)), Some(from)) => {
                if self.index.messages.find(key.0, key.1, 0).is_some() {
                    self.send(sent, from, fate::COPY);
                }
            }
            (Entry::Fate(_, Fate::Hold(_)), _) => {
                if let Some(at) = self.index.messages.find(key.0, key.1, 0) {
                    self.index.messages.fate[at] |= fate::HELD;
                }
            }
            _ => {
                if let Some(end) = End::of(item) {
                    self.index.end(key, item.derived.copy, end);
                }
            }
        }
    }

    /// True if all its messages have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.index.open == 0
    }

    fn send(&mut self, sent: &Sent<About>, from: ActorId, bits: u16) {
        let messages = &mut self.index.messages;
        // Times of a live run never go back either: its traces are merged by time.
        let at = messages.sent.last().map_or(sent.at.nanos(), |last| sent.at.nanos().max(*last));
        messages.sent.push(at);
        messages.arrived.push(u64::MAX);
        messages.from.push(from.0);
        messages.to.push(sent.to.0);
        messages.words.push(self.words.of(&sent.about));
        messages.fate.push(fate::UNDER_WAY | bits | class(sent));
        messages.record.push(sent.seq);
        messages.end.push(0);
        messages.root.push(sent.about.root.unwrap_or(u64::MAX));
        self.index.open += 1;
    }

    /// The index of the records so far.
    pub(super) fn end(mut self) -> Index {
        self.index.messages.seal();
        self.index.words = self.words.all;
        self.index
    }
}

/// [`fate::CONTROL`] for a message that is neither a request nor a reply.
pub(super) fn class(sent: &Sent<About>) -> u16 {
    if matches!(sent.kind, "request" | "reply") { 0 } else { fate::CONTROL }
}
