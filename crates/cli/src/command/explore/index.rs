//! All messages of a run in columns, by time of sending, with the facts of the trace: built in one reading, and queried
//! from then on without the trace.
//!
//! A message takes 45 bytes, a record 4: a run of 10^7 records, a third of which are sendings, takes some 200 MB.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use meshsim_actor::{ActorId, Fate, LossReason, MachineAction, Time};
use meshsim_mesh::measure::Failure;
use meshsim_report::waterfall::Follower;
use meshsim_trace::{Entry, Sent};

use crate::error::Error;
use crate::flow::words::{About, TYPES, Wording};
use crate::flow::{Item, Source};

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

/// Different wordings that are kept; the messages beyond them are called by their kind alone.
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
    pub(super) record: Vec<u32>,
    /// The record of its arrival, or of its loss.
    pub(super) end: Vec<u32>,
    /// The request that it is for; `u64::MAX` if it is for none.
    pub(super) root: Vec<u64>,
    /// The latest arrival among all messages up to the end of each block.
    reach: Vec<u64>,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) root: u64,
    pub(super) due: Time,
    pub(super) ended: Time,
    pub(super) failure: Option<Failure>,
}

/// Facts about a run after one reading of its trace.
#[derive(Default)]
pub(super) struct Index {
    pub(super) messages: Messages,
    /// The kind of a message, and its content.
    pub(super) words: Vec<(&'static str, String)>,
    /// Of each record, how far back its cause is; 0 if it has none.
    back: Vec<u32>,
    /// Machines that were down: whose, from when, until when.
    pub(super) down: Vec<(ActorId, Time, Option<Time>)>,
    /// By the time at which they were due.
    pub(super) requests: Vec<Ended>,
    /// When the last record was.
    pub(super) last: Time,
    /// Why the trace could not be read to its end.
    pub(super) trouble: Option<String>,
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
        let same = self.sent_within(at, at + 1).filter(|place| u64::from(self.record[*place]) == record);
        same.take(copy as usize + 1).last()
    }

    /// The message that was sent by a record, or ended with it.
    pub(super) fn of_record(&self, record: u64) -> Option<usize> {
        let record = u32::try_from(record).ok()?;
        let sent = self.record.iter().position(|it| *it == record);
        sent.or_else(|| self.end.iter().position(|it| *it == record))
    }

    /// The sending of a message of this request at a moment, to an actor.
    pub(super) fn of_try(&self, root: u64, sent: u64, to: u32) -> Option<u32> {
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

impl Index {
    /// Reads the trace of a run. One that is cut off or damaged is read up to there.
    pub(super) fn read(source: &Source) -> Result<Self, Error> {
        let mut reading = Reading::default();
        let read = source.each(|item| match reading.take(item, source) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        });
        let mut index = reading.index;
        match read {
            Ok(()) => {}
            Err(Error::Trace(_, error)) => index.trouble = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        if index.back.len() > u32::MAX as usize {
            let why = format!("{} has more records than can be explored at once", source.label);
            return Err(Error::WrongInput(why, "`meshsim trace` looks at it in pieces".into()));
        }
        index.messages.seal();
        index.requests.sort_by_key(|it| (it.due, it.root));
        Ok(index)
    }

    /// Number of records.
    pub(super) fn records(&self) -> u64 {
        self.back.len() as u64
    }

    /// The record that this one follows from.
    pub(super) fn cause(&self, record: u64) -> Option<u64> {
        let back = u64::from(*self.back.get(record as usize)?);
        (back > 0).then(|| record - back)
    }

    /// The records that follow from this one, however far: the first so many, and whether there are more among the
    /// next `look` records.
    pub(super) fn effects(&self, record: u64, most: usize, look: u64) -> (Vec<u64>, bool) {
        let mut found = vec![record];
        for next in record + 1..(record + look).min(self.records()) {
            if self.cause(next).is_some_and(|cause| found.binary_search(&cause).is_ok()) {
                if found.len() > most {
                    return (found.split_off(1), true);
                }
                found.push(next);
            }
        }
        (found.split_off(1), false)
    }
}

/// An index in the making.
#[derive(Default)]
struct Reading {
    index: Index,
    follower: Follower,
    wordings: BTreeMap<Wording, u32>,
    down: BTreeMap<ActorId, usize>,
}

impl Reading {
    /// Takes in a record. False if there is no room for more.
    fn take(&mut self, item: &Item, source: &Source) -> bool {
        let record = &item.record;
        let seq = record.seq;
        self.index.last = self.index.last.max(record.at);
        self.index.back.push(item.derived.cause.map_or(0, |cause| u32::try_from(seq - cause).unwrap_or(0)));
        if let Some(of) = self.follower.take(record) {
            self.index.requests.push(Ended { root: of.root, due: of.due, ended: of.ended, failure: of.failure });
        }
        match &record.entry {
            Entry::Power(power) => self.power(record.actor, record.at, power),
            Entry::Send { .. } => {
                if let (Some(sent), Some(from)) = (item.sent(), item.sender()) {
                    self.send(sent, from, source);
                }
            }
            Entry::Fate(_, Fate::Duplicate(..)) => {
                if let (Some(sent), Some(from)) = (item.sent(), item.sender()) {
                    self.send(sent, from, source);
                    self.last_fate(fate::COPY);
                }
            }
            Entry::Fate(_, Fate::Hold(_)) => {
                if let Some(at) = item.sent().and_then(|sent| self.index.messages.find(sent.seq, sent.at.nanos(), 0)) {
                    self.index.messages.fate[at] |= fate::HELD;
                }
            }
            Entry::Fate(_, Fate::Lost(cause)) => {
                let reason = LossReason::ALL.iter().position(|it| it == cause).unwrap_or(0) as u16;
                self.end(item, fate::LOST | reason << fate::REASON);
            }
            Entry::Deliver(_) => self.end(item, if item.is_late { fate::LATE } else { 0 }),
            _ => {}
        }
        seq < u64::from(u32::MAX)
    }

    fn send(&mut self, sent: &Sent<About>, from: ActorId, source: &Source) {
        let words = self.words(&sent.about, source);
        let messages = &mut self.index.messages;
        // Times of a live run never go back either: its traces are merged by time.
        let at = messages.sent.last().map_or(sent.at.nanos(), |last| sent.at.nanos().max(*last));
        messages.sent.push(at);
        messages.arrived.push(u64::MAX);
        messages.from.push(from.0);
        messages.to.push(sent.to.0);
        messages.words.push(words);
        let is_request = matches!(sent.kind, "request" | "reply");
        messages.fate.push(fate::UNDER_WAY | if is_request { 0 } else { fate::CONTROL });
        messages.record.push(sent.seq as u32);
        messages.end.push(0);
        messages.root.push(sent.about.root.unwrap_or(u64::MAX));
    }

    fn last_fate(&mut self, bits: u16) {
        if let Some(last) = self.index.messages.fate.last_mut() {
            *last |= bits;
        }
    }

    /// The message that a record is about arrives, or is lost.
    fn end(&mut self, item: &Item, bits: u16) {
        let Some(sent) = item.sent() else { return };
        let messages = &mut self.index.messages;
        let Some(at) = messages.find(sent.seq, sent.at.nanos(), item.derived.copy) else { return };
        messages.arrived[at] = item.record.at.nanos();
        messages.end[at] = item.record.seq as u32;
        messages.fate[at] = messages.fate[at] & !fate::UNDER_WAY | bits;
    }

    fn words(&mut self, about: &About, source: &Source) -> u32 {
        let wording = about.wording();
        if let Some(at) = self.wordings.get(&wording) {
            return *at;
        }
        let kind = wording.0;
        let is_full = self.wordings.len() >= WORDINGS_MAX;
        let wording = if is_full { (kind, None, None, None, None, None, None) } else { wording };
        let words = if is_full { kind.to_owned() } else { source.names.message(about) };
        let Index { words: all, .. } = &mut self.index;
        *self.wordings.entry(wording).or_insert_with(|| {
            let known = TYPES.iter().find(|it| **it == kind).copied();
            all.push((known.unwrap_or("message"), words));
            all.len() as u32 - 1
        })
    }

    fn power(&mut self, actor: ActorId, at: Time, power: &MachineAction) {
        match power {
            MachineAction::Crash | MachineAction::Wipe if !self.down.contains_key(&actor) => {
                self.down.insert(actor, self.index.down.len());
                self.index.down.push((actor, at, None));
            }
            MachineAction::Restart => {
                if let Some(place) = self.down.remove(&actor) {
                    self.index.down[place].2 = Some(at);
                }
            }
            _ => {}
        }
    }
}
