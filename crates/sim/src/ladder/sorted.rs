//! The sorted end of a ladder.

use super::Entry;

/// Entries by rising time, in one piece. They are taken from the front, and mostly inserted near it.
#[derive(Clone, Debug)]
pub(super) struct Sorted<T> {
    /// The first `taken` are not in it any more: their room serves those that are inserted near the front.
    entries: Vec<Entry<T>>,
    taken: usize,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Sorted { entries: Vec::new(), taken: 0 }
    }
}

impl<T> From<Vec<Entry<T>>> for Sorted<T> {
    fn from(entries: Vec<Entry<T>>) -> Self {
        Sorted { entries, taken: 0 }
    }
}

impl<T: Copy> Sorted<T> {
    /// All entries.
    #[inline]
    pub(super) fn left(&self) -> &[Entry<T>] {
        &self.entries[self.taken..]
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.taken = 0;
    }

    #[inline]
    pub(super) fn take_first(&mut self) -> Option<Entry<T>> {
        let first = *self.entries.get(self.taken)?;
        self.taken += 1;
        if self.is_empty() {
            self.clear();
        }
        Some(first)
    }

    /// Adds an entry as the last, whatever its time.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry<T>) {
        self.make_room();
        self.entries.push(entry);
    }

    /// Inserts an entry, and moves those before it or those after it, whichever are fewer.
    #[inline]
    pub(super) fn insert(&mut self, place: usize, entry: Entry<T>) {
        self.make_room();
        let at = self.taken + place;
        if self.taken > 0 && place < self.entries.len() - at {
            self.entries.copy_within(self.taken..at, self.taken - 1);
            self.taken -= 1;
            self.entries[at - 1] = entry;
        } else {
            self.entries.insert(at, entry);
        }
    }

    /// Sorts all entries; those of equal time keep their order.
    pub(super) fn sort(&mut self) {
        self.entries[self.taken..].sort_by_key(|entry| entry.at);
    }

    /// Drops those that were taken, before the list grows and when they are at least half of it.
    #[inline]
    fn make_room(&mut self) {
        if self.entries.len() == self.entries.capacity() && 2 * self.taken >= self.entries.len() {
            self.entries.drain(..self.taken);
            self.taken = 0;
        }
    }
}
