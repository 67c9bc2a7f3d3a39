//! Facts about a whole run that the page shows at once: requests, machines that were down, densities, and the messages
//! that stand out. They are gathered in one reading, which goes on while the page is already used.
//!
//! Memory is bounded: 32 bytes a request, 16 a chunk, and fixed sizes for the rest.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshsim_actor::{ActorId, Fate, MachineAction, Time};
use meshsim_mesh::measure::Failure;
use meshsim_trace::{Entry, Index as Chunks};

use super::densities::{Change, Densities};
use super::index::{End, Index, Words, class, fate};
use super::pages::LOOK_AHEAD;
use crate::error::Error;
use crate::flow::{Item, Source};

/// Messages of a kind that are kept: of more, every second, fourth, ..
const KEPT_MAX: usize = 1 << 16;
/// Messages that are kept because they end late.
const LATE_MAX: usize = 1 << 18;
/// Records that are taken in at once.
const BATCH: usize = 1 << 12;

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) root: u64,
    pub(super) due: Time,
    pub(super) ended: Time,
    pub(super) failure: Option<Failure>,
}

/// A message that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) sent: u64,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) words: u32,
    pub(super) fate: u16,
    pub(super) record: u64,
    pub(super) end: End,
}

/// Messages of a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Sent by its records, and of these lost whenever that was.
    pub(super) sent: u32,
    pub(super) sent_lost: u32,
    /// Ended by its records, and of these lost.
    pub(super) ended: u32,
    pub(super) ended_lost: u32,
}

/// Items at equal distances, at most [`KEPT_MAX`].
#[derive(Debug)]
pub(super) struct Thinned<T> {
    items: Vec<T>,
    every: usize,
    seen: usize,
}

impl<T> Default for Thinned<T> {
    fn default() -> Self {
        Thinned { items: Vec::new(), every: 1, seen: 0 }
    }
}

impl<T> Thinned<T> {
    fn push(&mut self, item: T) {
        if self.seen.is_multiple_of(self.every) {
            if self.items.len() == KEPT_MAX {
                let mut at = 0..;
                self.items.retain(|_| at.next().is_some_and(|at: usize| at.is_multiple_of(2)));
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.items.push(item);
            }
        }
        self.seen += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

/// The facts of a run that have been read so far.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Records that were read.
    pub(super) records: u64,
    /// All that is in the trace was read.
    pub(super) is_whole: bool,
    /// Messages, each copy of one counted.
    pub(super) messages: u64,
    /// By the time at which they were due.
    pub(super) requests: Vec<Ended>,
    /// Machines that were down: whose, from when, until when.
    pub(super) down: Vec<(ActorId, Time, Option<Time>)>,
    /// Time of the last record.
    pub(super) last: Time,
    /// Why the trace could not be read to its end.
    pub(super) trouble: Option<String>,
    pub(super) chunks: Vec<Counts>,
    pub(super) densities: Densities,
    pub(super) lost: Thinned<Message>,
    pub(super) control: Thinned<Message>,
    /// The kind of a message, and its content.
    pub(super) words: Vec<(&'static str, String)>,
    /// Ends of messages that come long after the sending: by its record, and the number of the copy.
    late: BTreeMap<(u64, u32), End>,
    /// Machines that are down, by their place in `down`.
    is_down: BTreeMap<ActorId, usize>,
}

/// The facts, as far as the trace was read.
#[derive(Debug, Default)]
pub(super) struct Overview {
    facts: Mutex<Facts>,
    is_whole: Condvar,
}

impl Overview {
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if all records were read, and none comes any more.
    pub(super) fn is_whole(&self) -> bool {
        self.facts().is_whole
    }

    /// True if the records up to this one were read, or all.
    pub(super) fn has_read(&self, until: u64) -> bool {
        let facts = self.facts();
        facts.is_whole || facts.records >= until
    }

    /// Waits until the trace was read, at most so long.
    pub(super) fn wait(&self, most: Duration) {
        let waited = self.is_whole.wait_timeout_while(self.facts(), most, |facts| !facts.is_whole);
        drop(waited);
    }

    /// Ends the messages of an index whose ends come long after their sending.
    pub(super) fn late_ends(&self, index: &mut Index) {
        let messages = &index.messages;
        let open = (0..messages.len()).filter(|at| messages.fate[*at] & fate::UNDER_WAY != 0);
        let open: Vec<(u64, u64)> = open.map(|at| (messages.record[at], messages.sent[at])).collect();
        let facts = self.facts();
        for sent in open {
            let ends = facts.late.range((sent.0, 0)..=(sent.0, u32::MAX));
            ends.for_each(|((_, copy), end)| index.end(sent, *copy, *end));
        }
    }

    /// Takes in the next records of a trace that grows. Their chunks are among these.
    pub(super) fn take(&self, items: &[Item], chunks: &Chunks, words: &mut Words<'_>) {
        let mut facts = self.facts();
        items.iter().for_each(|item| facts.take(item, chunks, words));
        facts.add(words);
    }

    /// Nothing more comes, for this reason if there is one.
    pub(super) fn end(&self, trouble: Option<String>) {
        let mut facts = self.facts();
        (facts.trouble, facts.is_whole) = (trouble, true);
        self.is_whole.notify_all();
    }

    /// Reads the trace. A trace that is cut off or damaged is read up to there. `is_over` ends it early.
    pub(super) fn read(&self, source: &Source, chunks: &Chunks, is_over: impl Fn() -> bool) {
        let mut words = Words::new(&source.names);
        let mut batch = Vec::with_capacity(BATCH);
        let mut read = || {
            let mut flow = source.flow()?;
            while !is_over() {
                let items = flow.by_ref().take(BATCH).map(|item| {
                    item.map(|item| batch.push(item)).map_err(|error| Error::Trace(source.path.clone(), error))
                });
                let ended = items.collect::<Result<Vec<()>, Error>>();
                let is_end = batch.len() < BATCH;
                self.take(&batch, chunks, &mut words);
                batch.clear();
                ended?;
                if is_end {
                    break;
                }
            }
            Ok::<(), Error>(())
        };
        self.end(read().err().map(|error| match error {
            Error::Trace(_, error) => error.to_string(),
            error => error.to_string(),
        }));
    }
}

impl Facts {
    /// Processes the next record.
    fn take(&mut self, item: &Item, chunks: &Chunks, words: &mut Words<'_>) {
        let record = &item.record;
        self.records = record.seq + 1;
        self.last = self.last.max(record.at);
        if let (Some(ended), Some(owner)) = (item.ended, item.owner) {
            let (due, failure) = (ended.due.min(record.at), ended.failure);
            self.requests.push(Ended { root: owner.root, due, ended: record.at, failure });
        }
        if let Entry::Power(power) = &record.entry {
            self.power(record.actor, record.at, power);
        }
        let Some(sent) = item.sent() else { return };
        if let Entry::Send { .. } | Entry::Fate(_, Fate::Duplicate(..)) = &record.entry {
            self.messages += 1;
            self.count(chunks, sent.seq, |counts| counts.sent += 1);
            self.densities.add(item.sender().unwrap_or(record.actor), sent.at.nanos(), Change::Sent);
        }
        let (Some(end), Some(from)) = (End::of(item), item.sender()) else { return };
        let is_lost = end.bits & fate::LOST != 0;
        self.count(chunks, record.seq, |counts| {
            counts.ended += 1;
            counts.ended_lost += u32::from(is_lost);
        });
        self.densities.add(sent.to, end.at, if is_lost { Change::Lost } else { Change::Received });
        if record.seq - sent.seq > LOOK_AHEAD && self.late.len() < LATE_MAX {
            self.late.insert((sent.seq, item.derived.copy), end);
        }
        let class = class(sent);
        if is_lost {
            self.count(chunks, sent.seq, |counts| counts.sent_lost += 1);
        } else if class == 0 {
            return;
        }
        let copy = if item.derived.copy > 0 { fate::COPY } else { 0 };
        let held = if sent.was_held { fate::HELD } else { 0 };
        let message = Message {
            sent: sent.at.nanos(),
            from: from.0,
            to: sent.to.0,
            words: words.of(&sent.about),
            fate: end.bits | class | copy | held,
            record: sent.seq,
            end,
        };
        if is_lost { self.lost.push(message) } else { self.control.push(message) }
    }

    fn count(&mut self, chunks: &Chunks, record: u64, change: impl FnOnce(&mut Counts)) {
        let Some(at) = chunks.with_record(record) else { return };
        if at >= self.chunks.len() {
            self.chunks.resize(at + 1, Counts::default());
        }
        change(&mut self.chunks[at]);
    }

    fn power(&mut self, actor: ActorId, at: Time, power: &MachineAction) {
        match power {
            MachineAction::Crash | MachineAction::Wipe if !self.is_down.contains_key(&actor) => {
                self.is_down.insert(actor, self.down.len());
                self.down.push((actor, at, None));
            }
            MachineAction::Restart => {
                if let Some(place) = self.is_down.remove(&actor) {
                    self.down[place].2 = Some(at);
                }
            }
            _ => {}
        }
    }

    /// Completes what was taken in: the wordings that are new, and the order of the requests.
    fn add(&mut self, words: &Words<'_>) {
        let new = words.all.get(self.words.len()..).unwrap_or_default().to_vec();
        self.words.extend(new);
        // They end nearly in that order, so this costs one pass over them.
        self.requests.sort_by_key(|it| (it.due, it.root));
    }

    /// The requests that have ended and were due in a stretch of time.
    pub(super) fn due(&self, (from, to): (u64, u64)) -> &[Ended] {
        let all = &self.requests;
        let first = all.partition_point(|it| it.due.nanos() < from);
        &all[first..all.partition_point(|it| it.due.nanos() <= to).max(first)]
    }

    /// The request of this root, if it has ended.
    pub(super) fn request(&self, root: u64) -> Option<Ended> {
        self.requests.iter().find(|it| it.root == root).copied()
    }

    /// The time at which the oldest request was due that was under way at this moment, among those that have ended.
    pub(super) fn oldest_under_way(&self, at: Time) -> Time {
        let before = self.requests.partition_point(|it| it.due <= at);
        let under_way = self.requests[..before].iter().find(|it| it.ended >= at);
        under_way.map_or(at, |it| it.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_beyond_the_bound_are_thinned_evenly() {
        let mut thinned = Thinned::default();
        (0..KEPT_MAX * 5).for_each(|n| thinned.push(n));
        let kept: Vec<usize> = thinned.iter().copied().collect();
        assert!((KEPT_MAX / 2..=KEPT_MAX).contains(&kept.len()), "{}", kept.len());
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == 8), "every eighth");
        assert_eq!(kept[0], 0);
    }
}
