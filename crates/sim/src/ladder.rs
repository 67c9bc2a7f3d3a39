//! The event queue.

use meshsim_actor::Time;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod sorted;

use sorted::Sorted;

/// A ladder queue: Tang, Goh, Thng 2005, "Ladder queue: an O(1) priority queue structure for large-scale discrete event
/// simulation".
///
/// Far events are unsorted in `top`. Nearer ones are in the buckets of `rungs`, each rung finer than the one before.
/// Only the few next events are sorted, in `bottom`. An event is moved about three times, each time to the end of a
/// list, whatever the number of events; a heap moves it along a path of cache misses instead.
///
/// **Events of equal time leave in the order of their arrival.** No ticket is stored for that: all events of one time
/// are in one list at any moment, and lists are appended to, moved as a whole and sorted stably. So the total order is
/// (time, order of arrival).
///
/// Differences from the paper: widths are powers of two, so a bucket is found by a shift; a bucket is a list of chunks
/// in one common store, so memory follows the number of events and not the longest bucket; a rung begins at the first
/// event of the list it is made from, so a list whose events lie close together is split once and not once for each
/// factor of its width.
#[derive(Clone, Debug)]
pub struct Ladder<T> {
    /// Ascending; all times are before `bottom_end`.
    bottom: Sorted<T>,
    bottom_end: u64,
    /// From coarse to fine: each replaces one bucket of the rung before, and ends where that bucket did.
    rungs: Vec<Rung>,
    /// No time is before `top_start`.
    top: Bucket,
    top_start: u64,
    top_last: u64,
    /// Store of the entries of `top` and of all buckets.
    chunks: Chunks<T>,
    len: usize,
    /// Rungs that are not in use, kept for their memory.
    spare: Vec<Rung>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Entry<T> {
    at: u64,
    item: T,
}

#[derive(Clone, Debug, Default)]
struct Rung {
    start: u64,
    end: u64,
    /// The width of a bucket is 2^shift ns; the last one reaches to `end`.
    shift: u32,
    /// The first bucket that was not yet taken, and its first time; `end` when all are taken.
    next: usize,
    next_start: u64,
    buckets: Vec<Bucket>,
}

/// A list of entries in the order of their arrival: a chain of chunks, all full except the last.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    len: u32,
    first: u32,
    last: u32,
}

/// Store of all buckets: chunk number `c` is `entries[c * CHUNK..][..CHUNK]`, and `next[c]` is the chunk after it in
/// its bucket.
#[derive(Clone, Debug)]
struct Chunks<T> {
    entries: Vec<Entry<T>>,
    next: Vec<u32>,
    /// Free chunks. The one that became free last is used first, while it is in the cache.
    free: Vec<u32>,
}

/// Entries of a chunk: with more, half-empty chunks waste more; with fewer, chains are longer.
const CHUNK: usize = 8;
/// A list of at most this many events is sorted rather than split.
const SORT_MAX: usize = 48;
/// A rung has at most this many buckets, so that their ends stay in the cache while events are distributed over them.
const BUCKETS_MAX: usize = 4096;
/// Intended mean number of events in a bucket.
const BUCKET_MEAN: usize = 12;
/// Up to this number of events, all of them stay sorted.
const SMALL: usize = 16;

impl<T> Default for Ladder<T> {
    fn default() -> Self {
        Ladder {
            bottom: Sorted::default(),
            bottom_end: 0,
            rungs: Vec::new(),
            top: Bucket::default(),
            top_start: 0,
            top_last: 0,
            chunks: Chunks { entries: Vec::new(), next: Vec::new(), free: Vec::new() },
            len: 0,
            spare: Vec::new(),
        }
    }
}

impl<T: Copy> Ladder<T> {
    /// All events, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        let buckets = self.rungs.iter().flat_map(|rung| &rung.buckets).chain([&self.top]);
        let listed = buckets.flat_map(|bucket| self.chunks.iter(*bucket)).map(|entry| entry.item);
        self.bottom.left().iter().map(|entry| entry.item).chain(listed)
    }

    /// Adds an event after all others of the same time.
    #[inline]
    pub fn push(&mut self, at: Time, item: T) {
        self.len += 1;
        self.put(Entry { at: at.nanos(), item });
    }

    /// Due time of the first event.
    ///
    /// Calls `keep` once for each event, shortly before it is due, and drops the events for which it returns false.
    #[inline]
    pub fn next_time(&mut self, keep: impl FnMut(&T) -> bool) -> Option<Time> {
        if self.bottom.is_empty() && self.len > 0 {
            self.refill(keep);
        }
        self.bottom.left().first().map(|entry| Time::from_nanos(entry.at))
    }

    /// Takes the event whose time [`next_time`](Self::next_time) returned.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let entry = self.bottom.take_first()?;
        self.len -= 1;
        Some(entry.item)
    }

    #[inline]
    fn put(&mut self, entry: Entry<T>) {
        if entry.at >= self.top_start {
            if self.len <= SMALL && self.top.len == 0 && self.rungs.is_empty() {
                self.top_start = entry.at.saturating_add(1);
                self.bottom_end = self.top_start;
                self.bottom.push(entry);
            } else {
                self.top_last = self.top_last.max(entry.at);
                self.chunks.push(&mut self.top, entry);
            }
        } else if entry.at < self.bottom_end {
            self.put_bottom(entry);
        } else if let Some(rung) = self.rungs.iter_mut().find(|rung| entry.at >= rung.next_start) {
            self.chunks.push(rung.bucket(entry.at), entry);
        } else {
            unreachable!("the bottom ends where the finest rung begins");
        }
    }

    #[inline]
    fn put_bottom(&mut self, entry: Entry<T>) {
        let left = self.bottom.left();
        let place = left.partition_point(|other| other.at <= entry.at);
        if place.min(left.len() - place) > SORT_MAX {
            // The times differ, so the list can be split.
            let mut list = Bucket::default();
            left.iter().for_each(|other| self.chunks.push(&mut list, *other));
            self.bottom.clear();
            self.split(list, self.bottom_end);
            return self.put(entry);
        }
        self.bottom.insert(place, entry);
    }

    /// Refills the empty bottom with the next events.
    fn refill(&mut self, mut keep: impl FnMut(&T) -> bool) {
        while self.bottom.is_empty() {
            if let Some(rung) = self.rungs.last_mut() {
                if let Some(list) = rung.take() {
                    self.bottom_end = rung.next_start;
                    self.lower(list, &mut keep);
                } else {
                    self.spare.extend(self.rungs.pop());
                }
            } else if self.top.len > 0 {
                self.top_start = std::mem::take(&mut self.top_last).saturating_add(1);
                self.bottom_end = self.top_start;
                let list = std::mem::take(&mut self.top);
                self.lower(list, &mut keep);
            } else {
                return;
            }
        }
    }

    /// Moves a list that ends where the bottom does to the bottom, or to a finer rung.
    fn lower(&mut self, list: Bucket, keep: &mut impl FnMut(&T) -> bool) {
        if list.len as usize > SORT_MAX && !self.chunks.at_one_time(list) {
            return self.split(list, self.bottom_end);
        }
        let (bottom, len) = (&mut self.bottom, &mut self.len);
        self.chunks.take(list, |_, entry| {
            if keep(&entry.item) {
                bottom.push(entry);
            } else {
                *len -= 1;
            }
        });
        bottom.sort();
    }

    /// Distributes a list, which holds at least two times and ends at `end`, over a new rung.
    fn split(&mut self, list: Bucket, end: u64) {
        let edges = |(first, last): (u64, u64), entry: Entry<T>| (first.min(entry.at), last.max(entry.at));
        let (first, last) = self.chunks.iter(list).fold((u64::MAX, 0), edges);
        let mut rung = self.spare.pop().unwrap_or_default();
        rung.cover(first, last, end, list.len as usize);
        self.chunks.take(list, |chunks, entry| chunks.push(rung.bucket(entry.at), entry));
        self.bottom_end = rung.start;
        self.rungs.push(rung);
    }
}

impl Rung {
    /// Makes buckets for `len` events in `first..=last`, at least two of them used.
    fn cover(&mut self, first: u64, last: u64, end: u64, len: usize) {
        let wanted = (len / BUCKET_MEAN).clamp(2, BUCKETS_MAX) as u64;
        let range = last - first;
        self.shift = u64::BITS - (range / wanted).leading_zeros();
        (self.start, self.end, self.next, self.next_start) = (first, end, 0, first);
        self.buckets.clear();
        self.buckets.resize((range >> self.shift) as usize + 1, Bucket::default());
    }

    /// The bucket of a time that is not before `next_start`.
    #[inline]
    fn bucket(&mut self, at: u64) -> &mut Bucket {
        let last = self.buckets.len() - 1;
        let place = ((at - self.start) >> self.shift) as usize;
        &mut self.buckets[place.min(last)]
    }

    /// The next bucket that is not empty.
    fn take(&mut self) -> Option<Bucket> {
        let Some(skipped) = self.buckets[self.next..].iter().position(|bucket| bucket.len > 0) else {
            (self.next, self.next_start) = (self.buckets.len(), self.end);
            return None;
        };
        let list = std::mem::take(&mut self.buckets[self.next + skipped]);
        self.next += skipped + 1;
        // The last bucket reaches to the end, so nothing here can overflow.
        let all = self.next == self.buckets.len();
        self.next_start = if all { self.end } else { self.start + ((self.next as u64) << self.shift) };
        Some(list)
    }
}

impl<T: Copy> Chunks<T> {
    /// Makes a bucket of these entries.
    fn list(&mut self, entries: Vec<Entry<T>>) -> Bucket {
        let mut bucket = Bucket::default();
        entries.into_iter().for_each(|entry| self.push(&mut bucket, entry));
        bucket
    }

    #[inline]
    fn push(&mut self, bucket: &mut Bucket, entry: Entry<T>) {
        let place = bucket.len as usize % CHUNK;
        if place == 0 {
            let chunk = self.free.pop().unwrap_or_else(|| self.grow(entry));
            if bucket.len == 0 {
                bucket.first = chunk;
            } else {
                self.next[bucket.last as usize] = chunk;
            }
            bucket.last = chunk;
        }
        self.entries[bucket.last as usize * CHUNK + place] = entry;
        bucket.len += 1;
    }

    /// Makes a chunk. Its content does not matter until it is filled.
    #[cold]
    fn grow(&mut self, filler: Entry<T>) -> u32 {
        self.entries.resize(self.entries.len() + CHUNK, filler);
        self.next.push(0);
        (self.next.len() - 1) as u32
    }

    /// The entries of a bucket, in the order of their arrival.
    fn iter(&self, bucket: Bucket) -> impl Iterator<Item = Entry<T>> {
        let (mut chunk, mut left) = (bucket.first as usize, bucket.len as usize);
        std::iter::from_fn(move || {
            let entries = &self.entries[chunk * CHUNK..][..left.min(CHUNK)];
            left -= entries.len();
            chunk = self.next[chunk] as usize;
            Some(entries)
        })
        .take((bucket.len as usize).div_ceil(CHUNK))
        .flatten()
        .copied()
    }

    /// Passes the entries of a bucket to `each` in the order of their arrival, and frees the chunks on the way, so that
    /// entries pushed meanwhile can use them.
    #[inline]
    fn take(&mut self, bucket: Bucket, mut each: impl FnMut(&mut Self, Entry<T>)) {
        let (mut chunk, mut left) = (bucket.first as usize, bucket.len as usize);
        while left > 0 {
            let count = left.min(CHUNK);
            for place in 0..count {
                let entry = self.entries[chunk * CHUNK + place];
                each(self, entry);
            }
            let next = self.next[chunk] as usize;
            self.free.push(chunk as u32);
            (chunk, left) = (next, left - count);
        }
    }

    /// True if all entries of a bucket, which is not empty, are at one time.
    fn at_one_time(&self, bucket: Bucket) -> bool {
        let first = self.entries[bucket.first as usize * CHUNK].at;
        self.iter(bucket).all(|entry| entry.at == first)
    }
}

/// A ladder in bytes: its lists one by one, without free chunks and spare rungs. A ladder that is read back handles its
/// events as the original would: in the same order, and with the calls of `keep` at the same moments.
#[derive(Serialize, Deserialize)]
struct Written<T> {
    bottom: Vec<Entry<T>>,
    bottom_end: u64,
    rungs: Vec<WrittenRung<T>>,
    top: Vec<Entry<T>>,
    top_start: u64,
    top_last: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenRung<T> {
    start: u64,
    end: u64,
    shift: u32,
    next: u32,
    next_start: u64,
    buckets: Vec<Vec<Entry<T>>>,
}

impl<T: Copy + Serialize> Serialize for Ladder<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let list = |bucket: &Bucket| self.chunks.iter(*bucket).collect();
        let rung = |rung: &Rung| WrittenRung {
            start: rung.start,
            end: rung.end,
            shift: rung.shift,
            next: rung.next as u32,
            next_start: rung.next_start,
            buckets: rung.buckets.iter().map(list).collect(),
        };
        let written = Written {
            bottom: self.bottom.left().to_vec(),
            bottom_end: self.bottom_end,
            rungs: self.rungs.iter().map(rung).collect(),
            top: list(&self.top),
            top_start: self.top_start,
            top_last: self.top_last,
        };
        written.serialize(serializer)
    }
}

impl<'de, T: Copy + Deserialize<'de>> Deserialize<'de> for Ladder<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { bottom, bottom_end, rungs, top, top_start, top_last } = Written::deserialize(deserializer)?;
        let mut ladder = Ladder { bottom: bottom.into(), bottom_end, top_start, top_last, ..Ladder::default() };
        ladder.len = ladder.bottom.left().len() + top.len();
        ladder.top = ladder.chunks.list(top);
        for WrittenRung { start, end, shift, next, next_start, buckets } in rungs {
            ladder.len += buckets.iter().map(Vec::len).sum::<usize>();
            let buckets: Vec<Bucket> = buckets.into_iter().map(|entries| ladder.chunks.list(entries)).collect();
            let is_sound = shift < u64::BITS && !buckets.is_empty() && next as usize <= buckets.len();
            if !is_sound {
                return Err(D::Error::custom("a rung that no ladder has"));
            }
            ladder.rungs.push(Rung { start, end, shift, next: next as usize, next_start, buckets });
        }
        Ok(ladder)
    }
}

#[cfg(test)]
mod tests;
