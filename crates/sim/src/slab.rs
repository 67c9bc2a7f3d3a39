//! Store of the messages in flight.

use serde::{Deserialize, Serialize};

/// A store that gives each entry a small index. The index that became free last is used first, while it is still in the
/// cache.
///
/// The queue moves each event about three times. With the messages here it moves only 24 bytes, however long a message
/// is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Stores `it` and returns its index.
    #[inline]
    pub(crate) fn put(&mut self, it: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(it);
            return place;
        }
        self.places.push(Some(it));
        (self.places.len() - 1) as u32
    }

    /// Takes the entry at this index.
    #[inline]
    pub(crate) fn take(&mut self, place: u32) -> Option<T> {
        let it = self.places[place as usize].take();
        self.free.push(place);
        it
    }

    /// Returns the entry at this index.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        self.places[place as usize].as_ref()
    }
}
