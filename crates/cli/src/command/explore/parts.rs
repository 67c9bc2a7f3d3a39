//! Answers about stretches of time: messages, densities and requests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use meshsim_experiment::printable;
use meshsim_report::waterfall::drawn::{Drawn, Row};
use meshsim_report::waterfall::text;
use serde_json::{Value, json};

use super::answers::{Explorer, Refused};
use super::extent::{COLUMN_BITS, Extent, SINGLE_MAX, TILE_COLUMNS, Tile, Total};
use super::index::{Index, fate};
use super::overview::{Ended, Facts};
use super::pages::{RECORDS_MAX, each, records, within};
use crate::error::Error;
use crate::flow::requests::follower;

/// Requests of a stretch of time that are listed: the slowest, and the first that failed.
const LISTED_MAX: usize = 10;
/// Chunks in which the messages of one request are looked for.
const REQUEST_CHUNKS: usize = 64;
/// Chunks before a request that are read to know which requests held the slots that it waited for.
const HOLDER_CHUNKS: usize = 16;

fn latency(it: &Ended) -> u64 {
    it.ended.since(it.due).nanos()
}

/// The slowest of these requests that were done, and the first that failed.
fn listed(due: &[Ended]) -> (Vec<Ended>, Vec<Ended>) {
    let mut slowest: Vec<&Ended> = due.iter().filter(|it| it.failure.is_none()).collect();
    let key = |it: &&Ended| (std::cmp::Reverse(latency(it)), it.due);
    if slowest.len() > LISTED_MAX {
        slowest.select_nth_unstable_by_key(LISTED_MAX, key);
        slowest.truncate(LISTED_MAX);
    }
    slowest.sort_by_key(key);
    let failed = due.iter().filter(|it| it.failure.is_some()).take(LISTED_MAX);
    (slowest.into_iter().copied().collect(), failed.copied().collect())
}

impl Explorer {
    fn over(&self, chunks: Range<usize>) -> Result<Arc<Index>, Error> {
        self.pages.over(chunks, &self.now().chunks, &self.source, &self.overview)
    }

    /// Number of records of these chunks.
    fn size(&self, chunks: &Range<usize>) -> u64 {
        let span = records(&self.now().chunks.chunks[chunks.clone()]);
        span.end - span.start
    }

    fn root(&self, name: Option<&str>) -> Option<u64> {
        name.and_then(|name| text::root(name, self.mesh()))
    }

    /// The messages of a stretch of time, those of a request marked.
    pub(super) fn extent(&self, (from, to): (u64, u64), request: Option<&str>) -> Result<Value, Refused> {
        let chunks = within(&self.now().chunks.chunks, from, to);
        let root = self.root(request);
        let extent = if self.size(&chunks) <= RECORDS_MAX {
            Extent::new(&*self.over(self.or_before(chunks))?, (from, to), root, SINGLE_MAX)
        } else {
            let total = self.total((from, to))?;
            let parts = self.of_request(root, chunks)?;
            Extent::of_overview(&self.overview.facts(), (from, to), total, (root, &parts))
        };
        serde_json::to_value(extent).map_err(|error| Refused::new(500, error.to_string(), ""))
    }

    /// The messages of a window as [`extent`](Self::extent) has them, for a file: all one by one, if they are not too
    /// many.
    pub(super) fn window(&self, window: (u64, u64), most: usize) -> Result<Result<(Extent, Arc<Index>), usize>, Error> {
        let total = self.total(window)?;
        if total.messages > most {
            return Ok(Err(total.messages));
        }
        let part = self.over(self.or_before(within(&self.now().chunks.chunks, window.0, window.1)))?;
        Ok(Ok((Extent::new(&part, window, None, most), part)))
    }

    /// Chunks, or the last chunk before them if they are none: what is under way then is known behind it.
    fn or_before(&self, chunks: Range<usize>) -> Range<usize> {
        let all = self.now().chunks.chunks.len();
        if !chunks.is_empty() || all == 0 {
            return chunks;
        }
        let at = chunks.start.min(all - 1);
        at..at + 1
    }

    /// The number of messages that were on their way in a stretch of time.
    fn total(&self, (from, to): (u64, u64)) -> Result<Total, Error> {
        let now = self.now();
        let all = &now.chunks.chunks;
        let last = all.partition_point(|chunk| chunk.from.nanos() <= to);
        let first = all.partition_point(|chunk| chunk.to.nanos() < from);
        let (mut sent, mut ended) = (Total::default(), Total::default());
        {
            let facts = self.overview.facts();
            for counts in facts.chunks.iter().take(last.saturating_sub(1)) {
                sent.messages += counts.sent as usize;
                sent.lost += counts.sent_lost as usize;
            }
            for counts in facts.chunks.iter().take(first) {
                ended.messages += counts.ended as usize;
                ended.lost += counts.ended_lost as usize;
            }
        }
        if let Some(last) = last.checked_sub(1) {
            let part = self.over(last..last + 1)?;
            let span = records(&all[last..=last]);
            let messages = &part.messages;
            for at in (0..messages.len()).filter(|at| messages.sent[*at] <= to && span.contains(&messages.record[*at]))
            {
                sent.messages += 1;
                sent.lost += usize::from(messages.fate[at] & fate::LOST != 0);
            }
        }
        if first < all.len() {
            let part = self.over(first..first + 1)?;
            let span = records(&all[first..=first]);
            let messages = &part.messages;
            let is_before = |at: &usize| messages.arrived[*at] < from && span.contains(&messages.end[*at]);
            for at in (0..messages.len()).filter(is_before) {
                ended.messages += 1;
                ended.lost += usize::from(messages.fate[at] & fate::LOST != 0);
            }
        }
        let messages = sent.messages.saturating_sub(ended.messages);
        Ok(Total { messages, lost: sent.lost.saturating_sub(ended.lost) })
    }

    /// The parts among these chunks with messages of a request.
    fn of_request(&self, root: Option<u64>, chunks: Range<usize>) -> Result<Vec<Arc<Index>>, Error> {
        let Some(root) = root else { return Ok(Vec::new()) };
        let (now, ended) = (self.now(), self.overview.facts().request(root));
        let has = |at: &usize| {
            let chunk = &now.chunks.chunks[*at];
            let is_then = ended.is_none_or(|it| chunk.from <= it.ended && chunk.to >= it.due);
            is_then && chunk.requests.as_ref().is_none_or(|set| set.contains(root))
        };
        chunks.filter(has).take(REQUEST_CHUNKS).map(|at| self.over(at..at + 1)).collect()
    }

    /// The number of a message: its sender's count, from the record of its sending.
    pub(super) fn message_number(&self, record: u64) -> Result<u64, Error> {
        let mut number = None;
        let now = self.now();
        if let Some(chunk) = now.chunks.with_record(record) {
            each(chunk..chunk + 1, &now.chunks, &self.source, |item| {
                if item.record.seq < record {
                    return ControlFlow::Continue(());
                }
                number = item.derived.message.as_ref().map(|(id, _)| id.seq);
                ControlFlow::Break(())
            })?;
        }
        number.ok_or_else(|| Error::WrongInput(format!("record {record} sends no message"), "choose a message".into()))
    }

    /// Densities.
    pub(super) fn tile(&self, level: &str, number: &str) -> Result<Value, Refused> {
        let none = || Refused::new(404, "there is no such tile", "tiles are /tile/LEVEL/NUMBER");
        let (level, number) = level.parse::<u32>().ok().zip(number.parse::<u64>().ok()).ok_or_else(none)?;
        let (first, [from, to]) = Tile::span(level, number).ok_or_else(none)?;
        let known = self.overview.facts().densities.columns(COLUMN_BITS + level, first, TILE_COLUMNS);
        let tile = match known {
            Some(columns) => Tile::of_columns(level, from, columns),
            None => {
                let mut tile = Tile::empty(level, from);
                let now = self.now();
                let mut chunks = within(&now.chunks.chunks, from, to);
                while !chunks.is_empty() {
                    let fits = |end: &usize| self.size(&(chunks.start..*end)) <= RECORDS_MAX;
                    let end = (chunks.start + 1..=chunks.end).rev().find(fits).unwrap_or(chunks.start + 1);
                    tile.add(&*self.over(chunks.start..end)?, &records(&now.chunks.chunks[chunks.start..end]));
                    chunks.start = end;
                }
                tile
            }
        };
        serde_json::to_value(tile).map_err(|error| Refused::new(500, error.to_string(), ""))
    }

    /// The requests that were due in a stretch of time: how many, the slowest, and the first that failed.
    pub(super) fn requests(&self, extent: (u64, u64)) -> Value {
        let facts = self.overview.facts();
        let due = facts.due(extent);
        let (slowest, failures) = listed(due);
        let done = due.iter().filter(|it| it.failure.is_none()).count();
        let listed = |it: &Ended| {
            let failure = it.failure.map(meshsim_mesh::measure::Failure::as_str);
            json!({
                "request": text::name(it.root, self.mesh()),
                "due_ns": it.due.nanos(),
                "latency_ns": latency(it),
                "failure": failure,
            })
        };
        json!({
            "ended": due.len(),
            "done": done,
            "failed": due.len() - done,
            "slowest": slowest.iter().map(listed).collect::<Vec<_>>(),
            "failures": failures.iter().map(listed).collect::<Vec<_>>(),
        })
    }

    /// The roots of those that [`requests`](Self::requests) lists.
    pub(super) fn listed_roots(&self, extent: (u64, u64)) -> BTreeSet<u64> {
        let (slowest, failures) = listed(self.overview.facts().due(extent));
        slowest.into_iter().chain(failures).map(|it| it.root).collect()
    }

    /// A request as the page draws it.
    pub(super) fn request(&self, name: &str) -> Result<Value, Refused> {
        let none = || {
            let why = format!("`{}` is not a request that ended in this run", printable(name));
            Refused::new(404, why, "requests are called LOAD/NUMBER, counted from 0")
        };
        let root = self.root(Some(name)).ok_or_else(none)?;
        self.kept(&format!("request {name}"), || {
            let drawn = self.drawn(&BTreeSet::from([root]))?;
            drawn.into_values().next().ok_or_else(none)
        })
    }

    /// These requests as the page draws them, each with the records of the sending of its tries; by name.
    pub(super) fn drawn(&self, roots: &BTreeSet<u64>) -> Result<BTreeMap<String, Value>, Error> {
        let mut found = BTreeMap::new();
        for root in roots {
            let chunks = self.chunks_of(&self.overview.facts(), *root);
            let mut follower = follower(&self.source);
            let mut waterfall = None;
            each(chunks, &self.now().chunks, &self.source, |item| {
                waterfall = follower.take(&item.record).filter(|of| of.root == *root);
                if waterfall.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            let Some(of) = waterfall else { continue };
            let drawn = Drawn::new(&of, self.mesh());
            let records: Result<Vec<Option<u64>>, Error> =
                drawn.rows.iter().map(|row| self.sending(*root, drawn.due_ns, row)).collect();
            found.insert(drawn.request.clone(), json!({ "drawn": drawn, "records": records? }));
        }
        Ok(found)
    }

    /// The record of the sending of a try.
    fn sending(&self, root: u64, due: u64, row: &Row) -> Result<Option<u64>, Error> {
        let Some(to) = row.node else { return Ok(None) };
        let sent = due + row.sent_ns;
        for chunk in within(&self.now().chunks.chunks, sent, sent) {
            if let Some(record) = self.over(chunk..chunk + 1)?.messages.of_try(root, sent, to) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The chunks that tell all about a request: from the time at which the oldest request was due that was under way
    /// with it and may have held its slots.
    fn chunks_of(&self, facts: &Facts, root: u64) -> Range<usize> {
        let now = self.now();
        let all = &now.chunks.chunks;
        let of = match facts.request(root) {
            Some(it) => within(all, it.due.nanos(), it.ended.nanos()),
            None => {
                let has = |at: &usize| all[*at].requests.as_ref().is_none_or(|set| set.contains(root));
                let first = (0..all.len()).find(has).unwrap_or(all.len());
                first..(first..all.len()).rev().find(has).map_or(first, |last| last + 1)
            }
        };
        let Some(chunk) = all.get(of.start) else { return of };
        let due = facts.request(root).map_or(chunk.from, |it| it.due);
        let oldest = facts.oldest_under_way(due);
        let before = all.partition_point(|chunk| chunk.to < oldest);
        before.clamp(of.start.saturating_sub(HOLDER_CHUNKS), of.start)..of.end
    }
}
