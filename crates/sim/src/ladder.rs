//! The event queue.

use std::collections::VecDeque;
use std::mem;

use meshsim_actor::Time;

/// A ladder queue: Tang, Goh, Thng 2005, "Ladder queue: an O(1) priority queue structure for large-scale discrete event
/// simulation".
///
/// What is far away lies unsorted in `top`; what is nearer lies in the buckets of `rungs`, each rung finer than the one
/// before; only the few events that are next lie sorted in `bottom`. An event is moved about three times, each time to
/// the end of a list, whatever the number of events; a heap moves it along a path of cache misses instead.
///
/// **Equal times leave in the order in which they came.** No ticket is stored for that: all events of one time are in
/// one list at any moment, lists are appended to, moved as a whole and sorted stably. So (time, order of arrival) is
/// the total order.
///
/// Differences from the paper: widths are powers of two, so a bucket is found by a shift; buckets are vectors whose
/// memory is used again, not linked lists; a rung begins at the first event of the list it is made from, so a list
/// whose events lie close together is split once and not once for each factor of its width.
#[derive(Clone, Debug)]
pub struct Ladder<T> {
    /// Ascending; all before `bottom_end`.
    bottom: VecDeque<Entry<T>>,
    bottom_end: u64,
    /// From coarse to fine: each took the place of one bucket of the one before, and ends where that bucket did.
    rungs: Vec<Rung<T>>,
    /// Not before `top_start`.
    top: Vec<Entry<T>>,
    top_start: u64,
    top_last: u64,
    len: usize,
    /// Rungs that are not in use, kept for their memory.
    spare: Vec<Rung<T>>,
    /// Lists that were emptied, the last one first: its memory is still in the cache.
    pool: Vec<Vec<Entry<T>>>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    at: u64,
    item: T,
}

#[derive(Clone, Debug)]
struct Rung<T> {
    start: u64,
    end: u64,
    /// A bucket is 2^shift ns wide; the last one reaches to `end`.
    shift: u32,
    used: usize,
    /// The first bucket that was not yet taken, and where it begins; `end` when all are taken.
    next: usize,
    next_start: u64,
    /// `used` buckets, and perhaps more that are kept for their memory.
    buckets: Vec<Vec<Entry<T>>>,
}

/// A list of at most this many events is sorted rather than split.
const SORT_MAX: usize = 48;
/// A rung has at most this many buckets, so that their ends stay in the cache while events are dealt out to them.
const BUCKETS_MAX: usize = 4096;
/// Events that a bucket is to hold.
const BUCKET_MEAN: usize = 12;
/// With no more events than this, they all stay sorted.
const SMALL: usize = 16;

impl<T> Default for Ladder<T> {
    fn default() -> Self {
        Ladder {
            bottom: VecDeque::new(),
            bottom_end: 0,
            rungs: Vec::new(),
            top: Vec::new(),
            top_start: 0,
            top_last: 0,
            len: 0,
            spare: Vec::new(),
            pool: Vec::new(),
        }
    }
}

impl<T> Ladder<T> {
    /// Every event in it, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let rungs = self.rungs.iter().flat_map(|rung| rung.buckets.iter().flatten());
        self.bottom.iter().chain(rungs).chain(&self.top).map(|entry| &entry.item)
    }

    /// Adds an event, after all of the same time.
    #[inline]
    pub fn push(&mut self, at: Time, item: T) {
        self.len += 1;
        self.put(Entry { at: at.nanos(), item });
    }

    /// When the first event is due.
    ///
    /// `keep` is asked once for each event, shortly before it is due, whether it still matters; what does not is
    /// dropped.
    #[inline]
    pub fn next_time(&mut self, keep: impl FnMut(&T) -> bool) -> Option<Time> {
        if self.bottom.is_empty() && self.len > 0 {
            self.refill(keep);
        }
        self.bottom.front().map(|entry| Time::from_nanos(entry.at))
    }

    /// Takes the event that [`next_time`](Self::next_time) spoke of.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let entry = self.bottom.pop_front()?;
        self.len -= 1;
        Some(entry.item)
    }

    #[inline]
    fn put(&mut self, entry: Entry<T>) {
        if entry.at >= self.top_start {
            if self.len <= SMALL && self.top.is_empty() && self.rungs.is_empty() {
                self.top_start = entry.at.saturating_add(1);
                self.bottom_end = self.top_start;
                self.bottom.push_back(entry);
            } else {
                self.top_last = self.top_last.max(entry.at);
                self.top.push(entry);
            }
        } else if entry.at < self.bottom_end {
            self.put_bottom(entry);
        } else if let Some(rung) = self.rungs.iter_mut().find(|rung| entry.at >= rung.next_start) {
            rung.put(entry, &mut self.pool);
        } else {
            unreachable!("the bottom ends where the finest rung begins");
        }
    }

    #[inline]
    fn put_bottom(&mut self, entry: Entry<T>) {
        let place = self.bottom.partition_point(|other| other.at <= entry.at);
        if place.min(self.bottom.len() - place) > SORT_MAX {
            // There are earlier and later ones, so it can be split.
            let list = Vec::from(mem::take(&mut self.bottom));
            let emptied = self.split(list, self.bottom_end);
            self.pool.push(emptied);
            return self.put(entry);
        }
        self.bottom.insert(place, entry);
    }

    /// Fills the empty bottom with what is next.
    fn refill(&mut self, mut keep: impl FnMut(&T) -> bool) {
        while self.bottom.is_empty() {
            if let Some(rung) = self.rungs.last_mut() {
                let Some(list) = rung.take() else {
                    self.spare.extend(self.rungs.pop());
                    continue;
                };
                self.bottom_end = rung.next_start;
                let emptied = self.lower(list, self.bottom_end, &mut keep);
                self.pool.push(emptied);
            } else if !self.top.is_empty() {
                self.top_start = mem::take(&mut self.top_last).saturating_add(1);
                self.bottom_end = self.top_start;
                let list = mem::take(&mut self.top);
                self.top = self.lower(list, self.top_start, &mut keep);
            } else {
                return;
            }
        }
    }

    /// Moves a list that ends at `end` to the bottom, or to a finer rung. Gives back an empty list, for its memory.
    fn lower(&mut self, mut list: Vec<Entry<T>>, end: u64, keep: &mut impl FnMut(&T) -> bool) -> Vec<Entry<T>> {
        if list.len() > SORT_MAX && list.iter().any(|entry| entry.at != list[0].at) {
            return self.split(list, end);
        }
        let before = list.len();
        list.retain(|entry| keep(&entry.item));
        self.len -= before - list.len();
        list.sort_by_key(|entry| entry.at);
        let mut old = Vec::from(mem::replace(&mut self.bottom, VecDeque::from(list)));
        old.clear();
        old
    }

    /// Deals a list, which holds at least two times, out to a new rung.
    fn split(&mut self, mut list: Vec<Entry<T>>, end: u64) -> Vec<Entry<T>> {
        let (first, last) =
            list.iter().fold((u64::MAX, 0), |(first, last), entry| (first.min(entry.at), last.max(entry.at)));
        let mut rung = self.spare.pop().unwrap_or_else(Rung::empty);
        rung.cover(first, last, end, list.len());
        list.drain(..).for_each(|entry| rung.put(entry, &mut self.pool));
        self.bottom_end = rung.start;
        self.rungs.push(rung);
        list
    }
}

impl<T> Rung<T> {
    fn empty() -> Self {
        Rung { start: 0, end: 0, shift: 0, used: 0, next: 0, next_start: 0, buckets: Vec::new() }
    }

    /// Makes buckets for `len` events in `first..=last`, at least two of them used.
    fn cover(&mut self, first: u64, last: u64, end: u64, len: usize) {
        let wanted = (len / BUCKET_MEAN).clamp(2, BUCKETS_MAX) as u64;
        let range = last - first;
        self.shift = u64::BITS - (range / wanted).leading_zeros();
        self.used = (range >> self.shift) as usize + 1;
        (self.start, self.end, self.next, self.next_start) = (first, end, 0, first);
        if self.buckets.len() < self.used {
            self.buckets.resize_with(self.used, Vec::new);
        }
    }

    #[inline]
    fn put(&mut self, entry: Entry<T>, pool: &mut Vec<Vec<Entry<T>>>) {
        let bucket = ((entry.at - self.start) >> self.shift) as usize;
        let bucket = &mut self.buckets[bucket.min(self.used - 1)];
        if bucket.capacity() == 0 {
            *bucket = pool.pop().unwrap_or_default();
        }
        bucket.push(entry);
    }

    /// The next bucket that holds anything.
    fn take(&mut self) -> Option<Vec<Entry<T>>> {
        let left = &mut self.buckets[self.next..self.used];
        let Some(skipped) = left.iter().position(|bucket| !bucket.is_empty()) else {
            (self.next, self.next_start) = (self.used, self.end);
            return None;
        };
        let list = mem::take(&mut left[skipped]);
        self.next += skipped + 1;
        // The last bucket reaches to the end, so nothing here can overflow.
        self.next_start =
            if self.next == self.used { self.end } else { self.start + ((self.next as u64) << self.shift) };
        Some(list)
    }
}

#[cfg(test)]
mod tests;
