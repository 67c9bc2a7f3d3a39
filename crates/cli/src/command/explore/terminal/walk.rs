//! A walk through the records of a run: forward, backward, to the next that matches.

use std::collections::VecDeque;
use std::sync::Arc;

use meshsim_trace::Entry;

use super::super::answers::Explorer;
use crate::error::Error;
use crate::flow::Item;
use crate::flow::select::{Selector, is_mark, is_timer};

/// Chunks whose records are kept.
const KEPT_MAX: usize = 4;

/// The records of a chunk.
type Records = Arc<Vec<Item>>;

/// Records of a run, read chunk by chunk.
pub(super) struct Walk<'a> {
    explorer: &'a Explorer,
    kept: VecDeque<(usize, Records)>,
    /// Timers and the steps of requests are shown too.
    pub(super) shows_all: bool,
}

/// A search through the chunks of a trace, a chunk at a time.
pub(super) struct Search {
    pub(super) is_forward: bool,
    /// The record at which the walk began; the walk does not return it.
    from: u64,
    /// The chunk that is next; `None`: none is left.
    chunk: Option<usize>,
}

/// Result of a part of a search.
pub(super) enum Found {
    Here(u64),
    NotYet,
    Nowhere,
}

impl<'a> Walk<'a> {
    pub(super) fn new(explorer: &'a Explorer) -> Self {
        Walk { explorer, kept: VecDeque::new(), shows_all: false }
    }

    pub(super) fn len(&self) -> u64 {
        self.explorer.now().chunks.records()
    }

    /// The records of a chunk. A damaged one ends at the damage.
    fn chunk(&mut self, chunk: usize) -> Result<Records, Error> {
        if let Some((_, records)) = self.kept.iter().find(|(of, _)| *of == chunk) {
            return Ok(records.clone());
        }
        let now = self.explorer.now();
        let chunks = &now.chunks;
        let end = chunks.chunks.get(chunk).map_or(0, |it| it.first + u64::from(it.records));
        let flow = self.explorer.source.flow_within(chunks, chunk..chunk + 1)?;
        let records = flow.map_while(Result::ok).take_while(|item| item.record.seq < end).collect();
        let records = Arc::new(records);
        self.kept.push_back((chunk, Arc::clone(&records)));
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        Ok(records)
    }

    /// Does something with a record, if the trace has it.
    pub(super) fn with<T>(&mut self, record: u64, work: impl FnOnce(&Item) -> T) -> Result<Option<T>, Error> {
        let Some(chunk) = self.explorer.now().chunks.with_record(record) else { return Ok(None) };
        let records = self.chunk(chunk)?;
        let at = records.partition_point(|item| item.record.seq < record);
        Ok(records.get(at).filter(|item| item.record.seq == record).map(work))
    }

    fn shows(&self, item: &Item) -> bool {
        self.shows_all || !is_timer(item) && !is_mark(item)
    }

    /// The next shown record after this one, or the one before it.
    pub(super) fn next(&mut self, from: u64, is_forward: bool) -> Result<Option<u64>, Error> {
        let mut search = self.search(from, is_forward);
        loop {
            let shows_all = self.shows_all;
            let is_shown = |item: &Item| shows_all || !is_timer(item) && !is_mark(item);
            match self.look(&mut search, None, is_shown)? {
                Found::Here(record) => return Ok(Some(record)),
                Found::NotYet => {}
                Found::Nowhere => return Ok(None),
            }
        }
    }

    /// The shown record at this moment, or the first after it, or the last of all.
    pub(super) fn at(&mut self, ns: u64) -> Result<u64, Error> {
        let now = self.explorer.now();
        let chunks = &now.chunks.chunks;
        let chunk = chunks.partition_point(|chunk| chunk.to.nanos() < ns).min(chunks.len().saturating_sub(1));
        let records = self.chunk(chunk)?;
        let at = records.partition_point(|item| item.record.at.nanos() < ns);
        let found = records.get(at..).unwrap_or_default().iter().find(|item| self.shows(item));
        match found.map(|item| item.record.seq) {
            Some(record) => Ok(record),
            None => {
                let last = records.last().map_or(0, |item| item.record.seq);
                Ok(self.next(last, true)?.or(self.next(last + 1, false)?).unwrap_or(last))
            }
        }
    }

    /// Begins a search behind a record, or before it.
    pub(super) fn search(&self, from: u64, is_forward: bool) -> Search {
        let now = self.explorer.now();
        let chunks = &now.chunks;
        let last = chunks.chunks.len().checked_sub(1);
        Search { is_forward, from, chunk: chunks.with_record(from).or(last) }
    }

    /// Looks through one chunk.
    pub(super) fn look(
        &mut self,
        search: &mut Search,
        selector: Option<&Selector>,
        is_wanted: impl Fn(&Item) -> bool,
    ) -> Result<Found, Error> {
        let Some(chunk) = search.chunk else { return Ok(Found::Nowhere) };
        let now = self.explorer.now();
        let count = now.chunks.chunks.len();
        search.chunk = match search.is_forward {
            true => Some(chunk + 1).filter(|next| *next < count),
            false => chunk.checked_sub(1),
        };
        let names = &self.explorer.source.names;
        let holds = now.chunks.chunks.get(chunk);
        if holds.is_none_or(|it| selector.is_some_and(|selector| !selector.may_hold(it, names))) {
            return Ok(Found::NotYet);
        }
        let records = self.chunk(chunk)?;
        let found = match search.is_forward {
            true => records.iter().find(|item| item.record.seq > search.from && is_wanted(item)),
            false => records.iter().rev().find(|item| item.record.seq < search.from && is_wanted(item)),
        };
        Ok(found.map_or(Found::NotYet, |item| Found::Here(item.record.seq)))
    }
}

impl Search {
    /// The part of the trace that is still to be looked through, in percent.
    pub(super) fn left(&self, chunks: usize) -> usize {
        let left = self.chunk.map_or(0, |at| if self.is_forward { chunks - at } else { at + 1 });
        left * 100 / chunks.max(1)
    }
}

/// True if it is a fault of a machine, a lost message, or the end of a request that failed.
pub(super) fn is_bad(item: &Item) -> bool {
    let is_fault = matches!(item.record.entry, Entry::Power(_));
    is_fault || item.is_lost() || item.ended.is_some_and(|ended| ended.failure.is_some())
}
