//! Messages in flight in a stretch of time: one by one, or as densities if they are too many.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Serialize;

use super::densities::{Cell, Change};
use super::index::{Index, fate};
use super::overview::{Facts, Message};

/// Messages that are sent one by one.
pub(super) const SINGLE_MAX: usize = 20_000;
/// Of more messages, so many are sent one by one: those of the request, lost ones and control messages.
const SPECIAL_MAX: usize = 2_000;

/// Columns of a tile.
pub(super) const TILE_COLUMNS: usize = 256;
/// Nanoseconds of a column at level 0, as a power of two; each level has columns of twice the time.
pub(super) const COLUMN_BITS: u32 = 10;
/// The level at which a tile is some 78 hours long.
pub(super) const LEVEL_MAX: u32 = 30;

/// The messages of a stretch of time.
#[derive(Serialize)]
pub(super) struct Extent {
    from_ns: u64,
    to_ns: u64,
    /// Number of messages.
    total: usize,
    /// Of these, lost.
    lost: usize,
    /// Of these, for the request that was asked for.
    own: usize,
    /// All of them follow; if not, the marked ones.
    is_whole: bool,
    /// After `from_ns`; those that were sent before it are negative.
    sent: Vec<i64>,
    /// From sending to arrival or loss; -1 if neither came.
    took: Vec<i64>,
    from: Vec<u32>,
    to: Vec<u32>,
    words: Vec<u32>,
    fate: Vec<u16>,
    record: Vec<u64>,
    end: Vec<u64>,
    /// Kind and words, by number.
    said: BTreeMap<u32, (&'static str, String)>,
}

/// The numbers of messages of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) messages: usize,
    pub(super) lost: usize,
}

impl Extent {
    /// All that were on their way between two moments, with those for a request marked.
    pub(super) fn new(index: &Index, (from_ns, to_ns): (u64, u64), root: Option<u64>, single_max: usize) -> Self {
        let messages = &index.messages;
        let is_own = |at: usize| root.is_some_and(|root| messages.root[at] == root);
        let (mut total, mut lost, mut own) = (0, 0, 0);
        for at in messages.within(from_ns, to_ns) {
            total += 1;
            lost += usize::from(messages.fate[at] & fate::LOST != 0);
            own += usize::from(is_own(at));
        }
        let is_whole = total <= single_max;
        let mut extent = Extent { total, lost, own, is_whole, ..Extent::empty((from_ns, to_ns), Total::default()) };
        // If not all fit: the request's own, then lost ones, then control messages.
        let ranks: [&dyn Fn(usize) -> bool; 3] =
            [&|at| is_own(at), &|at| !is_own(at) && messages.fate[at] & fate::LOST != 0, &|at| {
                !is_own(at) && messages.fate[at] & (fate::LOST | fate::CONTROL) == fate::CONTROL
            }];
        match is_whole {
            true => messages.within(from_ns, to_ns).for_each(|at| extent.push(index, at, is_own(at))),
            false => {
                for rank in ranks {
                    let room = SPECIAL_MAX.saturating_sub(extent.sent.len());
                    let those = messages.within(from_ns, to_ns).filter(|at| rank(*at)).take(room);
                    those.for_each(|at| extent.push(index, at, is_own(at)));
                }
            }
        }
        extent
    }

    fn empty((from_ns, to_ns): (u64, u64), total: Total) -> Self {
        Extent {
            from_ns,
            to_ns,
            total: total.messages,
            lost: total.lost,
            own: 0,
            is_whole: false,
            sent: Vec::new(),
            took: Vec::new(),
            from: Vec::new(),
            to: Vec::new(),
            words: Vec::new(),
            fate: Vec::new(),
            record: Vec::new(),
            end: Vec::new(),
            said: BTreeMap::new(),
        }
    }

    /// A stretch of time with more records than are read for it: the messages of a request, which are in these parts,
    /// lost ones and control messages.
    pub(super) fn of_overview(
        facts: &Facts,
        (from, to): (u64, u64),
        total: Total,
        (root, parts): (Option<u64>, &[std::sync::Arc<Index>]),
    ) -> Self {
        let mut extent = Extent::empty((from, to), total);
        // Numbers of wordings are those of a part; here they are one after the other.
        let mut base = facts.words.len() as u32;
        for part in parts {
            let messages = &part.messages;
            let of_part = |at: &usize| part.span.contains(&messages.record[*at]);
            for at in messages.within(from, to).filter(of_part).filter(|at| root == Some(messages.root[*at])) {
                extent.own += 1;
                if extent.sent.len() < SPECIAL_MAX {
                    extent.push(part, at, true);
                    let words = messages.words[at];
                    if let (Some(said), Some(last)) = (extent.said.remove(&words), extent.words.last_mut()) {
                        *last = base + words;
                        extent.said.insert(base + words, said);
                    }
                }
            }
            base += part.words.len() as u32;
        }
        let own: BTreeSet<u64> = extent.record.iter().copied().collect();
        for special in [&facts.lost, &facts.control] {
            let room = SPECIAL_MAX.saturating_sub(extent.sent.len());
            let those = special.iter().filter(|it| it.sent <= to && it.end.at >= from && !own.contains(&it.record));
            those.take(room).for_each(|it| extent.push_message(facts, it));
        }
        extent
    }

    fn push_message(&mut self, facts: &Facts, message: &Message) {
        self.sent.push(message.sent as i64 - self.from_ns as i64);
        self.took.push(message.end.at.saturating_sub(message.sent) as i64);
        self.from.push(message.from);
        self.to.push(message.to);
        self.words.push(message.words);
        self.fate.push(message.fate);
        self.record.push(message.record);
        self.end.push(message.end.record);
        if let Some(said) = facts.words.get(message.words as usize) {
            self.said.entry(message.words).or_insert_with(|| said.clone());
        }
    }

    fn push(&mut self, index: &Index, at: usize, is_own: bool) {
        let messages = &index.messages;
        let (sent, arrived) = (messages.sent[at], messages.arrived[at]);
        self.sent.push(sent as i64 - self.from_ns as i64);
        self.took.push(if arrived == u64::MAX { -1 } else { arrived.saturating_sub(sent) as i64 });
        self.from.push(messages.from[at]);
        self.to.push(messages.to[at]);
        self.words.push(messages.words[at]);
        self.fate.push(messages.fate[at] | if is_own { fate::OWN } else { 0 });
        self.record.push(messages.record[at]);
        self.end.push(messages.end[at]);
        if let Some((kind, words)) = index.words.get(messages.words[at] as usize) {
            self.said.entry(messages.words[at]).or_insert_with(|| (kind, words.clone()));
        }
    }

    /// The records of the sending of those that were lost, and of control messages: the first so many.
    pub(super) fn odd(&self, most: usize) -> Vec<u64> {
        let all = || self.record.iter().zip(&self.fate);
        let lost = all().filter(|(_, bits)| *bits & fate::LOST != 0);
        let control = all().filter(|(_, bits)| *bits & (fate::LOST | fate::CONTROL) == fate::CONTROL);
        lost.chain(control).take(most).map(|(record, _)| *record).collect()
    }
}

/// Messages that each actor sent, received and lost, column by column. An actor without messages has no entry.
#[derive(Default, Serialize)]
pub(super) struct Tile {
    from_ns: u64,
    column_ns: u64,
    actors: BTreeMap<u32, Density>,
}

#[derive(Serialize)]
struct Density {
    sent: Vec<u32>,
    received: Vec<u32>,
    lost: Vec<u32>,
}

impl Tile {
    /// The stretch of time of tile `number` of a level: its first column, and its first and last moment; `None` if
    /// there is no such tile.
    pub(super) fn span(level: u32, number: u64) -> Option<(u64, [u64; 2])> {
        if level > LEVEL_MAX {
            return None;
        }
        let first = number.checked_mul(TILE_COLUMNS as u64)?;
        let column_ns = 1_u64 << (COLUMN_BITS + level);
        let from = first.checked_mul(column_ns)?;
        let to = from.checked_add(column_ns * TILE_COLUMNS as u64)?;
        Some((first, [from, to - 1]))
    }

    /// An empty tile.
    pub(super) fn empty(level: u32, from_ns: u64) -> Self {
        Tile { from_ns, column_ns: 1 << (COLUMN_BITS + level), actors: BTreeMap::new() }
    }

    /// A tile from columns of its actors.
    pub(super) fn of_columns(level: u32, from_ns: u64, actors: BTreeMap<u32, Vec<Cell>>) -> Self {
        let density = |cells: Vec<Cell>| Density {
            sent: cells.iter().map(|cell| cell.sent).collect(),
            received: cells.iter().map(|cell| cell.received).collect(),
            lost: cells.iter().map(|cell| cell.lost).collect(),
        };
        let actors = actors.into_iter().map(|(actor, cells)| (actor, density(cells))).collect();
        Tile { actors, ..Tile::empty(level, from_ns) }
    }

    /// Adds what these records of a part say. What its messages did before or after is in other parts.
    pub(super) fn add(&mut self, part: &Index, span: &Range<u64>) {
        let to_ns = self.from_ns + self.column_ns * TILE_COLUMNS as u64;
        let messages = &part.messages;
        for at in messages.within(self.from_ns, to_ns - 1) {
            if span.contains(&messages.record[at]) {
                self.count(messages.from[at], messages.sent[at], Change::Sent);
            }
            if messages.arrived[at] < u64::MAX && span.contains(&messages.end[at]) {
                let is_lost = messages.fate[at] & fate::LOST != 0;
                self.count(
                    messages.to[at],
                    messages.arrived[at],
                    if is_lost { Change::Lost } else { Change::Received },
                );
            }
        }
    }

    fn count(&mut self, actor: u32, at: u64, change: Change) {
        let column = at.checked_sub(self.from_ns).map(|since| (since / self.column_ns) as usize);
        let Some(column) = column.filter(|column| *column < TILE_COLUMNS) else { return };
        let none = || vec![0; TILE_COLUMNS];
        let density =
            self.actors.entry(actor).or_insert_with(|| Density { sent: none(), received: none(), lost: none() });
        match change {
            Change::Sent => density.sent[column] += 1,
            Change::Received => density.received[column] += 1,
            Change::Lost => density.lost[column] += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::Messages;
    use super::*;

    /// A message each 10 us from actor 1 to actor 2, which takes 1 ms; each hundredth is lost, the first takes a
    /// second.
    fn index(count: u64) -> Index {
        let mut messages = Messages::default();
        for n in 0..count {
            let is_lost = n % 100 == 7;
            messages.sent.push(n * 10_000);
            messages.arrived.push(n * 10_000 + if n == 0 { 1_000_000_000 } else { 1_000_000 });
            messages.from.push(1);
            messages.to.push(2);
            messages.words.push(0);
            messages.fate.push(if is_lost { fate::LOST } else { 0 });
            messages.record.push(n * 2);
            messages.end.push(n * 2 + 1);
            messages.root.push(n / 1_000);
        }
        messages.seal();
        let mut index = Index::default();
        (index.messages, index.words) = (messages, vec![("request", "request a.b".into())]);
        index.span = 0..count * 2;
        index
    }

    #[test]
    fn an_extent_has_what_is_under_way_in_it_however_long_ago_it_was_sent() {
        let index = index(50_000);
        let records = |from, to| Extent::new(&index, (from, to), None, SINGLE_MAX).record;
        // The first is still on its way, as are those of the last millisecond.
        let shown = records(300_000_000, 300_010_000);
        assert_eq!((shown[0], shown.len()), (0, 1 + 101 + 1));
        assert_eq!(records(1_000_000_001, u64::MAX).first(), None, "all have arrived");
    }

    #[test]
    fn too_many_messages_are_counted_and_those_of_the_request_and_lost_sent() {
        let index = index(50_000);
        let extent = Extent::new(&index, (0, u64::MAX), Some(3), SINGLE_MAX);
        assert_eq!((extent.total, extent.lost, extent.own, extent.is_whole), (50_000, 500, 1_000, false));
        let own = extent.fate.iter().filter(|bits| **bits & fate::OWN != 0).count();
        let lost = extent.fate.iter().filter(|bits| **bits & fate::LOST != 0).count();
        assert_eq!((own, lost, extent.sent.len()), (1_000, 500, 1_000 + 490));
    }

    #[test]
    fn tiles_of_every_level_count_every_message_once() {
        let index = index(50_000);
        for level in [0, 7, 12, 20, LEVEL_MAX] {
            let length = (1_u64 << (COLUMN_BITS + level)) * TILE_COLUMNS as u64;
            let last = 1_000_000_000 / length;
            // Of the lowest level a part: it has thousands of tiles.
            let tiles = if last > 2_000 { 0..=200 } else { 0..=last };
            let until = (*tiles.end() + 1) * length;
            let (mut sent, mut ended) = (0, 0);
            for number in tiles {
                let (_, [from, _]) = Tile::span(level, number).unwrap();
                let mut tile = Tile::empty(level, from);
                tile.add(&index, &(0..100_000));
                sent += tile.actors.get(&1).map_or(0, |it| it.sent.iter().sum::<u32>());
                ended += tile.actors.get(&2).map_or(0, |it| it.received.iter().chain(&it.lost).sum::<u32>());
            }
            let messages = &index.messages;
            assert_eq!(sent as usize, messages.sent.iter().filter(|at| **at < until).count(), "level {level}");
            assert_eq!(ended as usize, messages.arrived.iter().filter(|at| **at < until).count(), "level {level}");
        }
        assert!(Tile::span(LEVEL_MAX + 1, 0).is_none() && Tile::span(LEVEL_MAX, u64::MAX).is_none());
    }
}
