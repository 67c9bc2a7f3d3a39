//! A store of things under keys that are never used twice.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};
use slotmap::{Key, KeyData};

/// A store that assigns a key to each thing. The slot that became free last is used first, and counts its uses: so a
/// key shows whether its thing still exists.
///
/// The keys equal those of `slotmap::SlotMap`. Unlike it, the store serialises the order of its free slots, so that a
/// resumed run assigns the same keys: they are in the bytes of a trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slots<K, V> {
    /// Slot number `n`, from 1, is at `n - 1`.
    slots: Vec<Slot<V>>,
    /// The number of the slot that is used next; that of one that is not there yet if none is free.
    free: u32,
    len: u32,
    key: PhantomData<K>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot<V> {
    /// Odd while something is there, so that it is enough to compare it with that of a key, which is odd.
    version: u32,
    /// While it is free: the number of the slot that became free before it.
    next: u32,
    it: Option<V>,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: 1, len: 0, key: PhantomData }
    }
}

fn key<K: Key>(number: u32, version: u32) -> K {
    KeyData::from_ffi(u64::from(version) << 32 | u64::from(number)).into()
}

/// Index of the slot of a key. The null key has no slot.
#[inline]
fn place(key: impl Key) -> usize {
    (key.data().as_ffi() as u32).wrapping_sub(1) as usize
}

#[inline]
fn version_of(key: impl Key) -> u32 {
    (key.data().as_ffi() >> 32) as u32
}

impl<K: Key, V> Slots<K, V> {
    /// Number of things.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Adds a thing.
    #[inline]
    pub(crate) fn insert(&mut self, it: V) -> K {
        self.len += 1;
        let number = self.free;
        if let Some(slot) = self.slots.get_mut(number as usize - 1) {
            self.free = slot.next;
            slot.version |= 1;
            slot.it = Some(it);
            return key(number, slot.version);
        }
        assert!(number < u32::MAX, "there are no more keys");
        self.free = number + 1;
        self.slots.push(Slot { version: 1, next: 0, it: Some(it) });
        key(number, 1)
    }

    /// Removes and returns a thing, if it exists.
    #[inline]
    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let slot = self.slots.get(place(key))?;
        if slot.version == version_of(key) { self.empty(place(key)) } else { None }
    }

    /// Removes a thing, if it exists, where it stands: a large one is not moved.
    #[inline]
    pub(crate) fn discard(&mut self, key: K) {
        if self.contains_key(key) {
            self.free(place(key)).it = None;
        }
    }

    #[inline]
    fn empty(&mut self, place: usize) -> Option<V> {
        self.free(place).it.take()
    }

    /// Makes a slot that is taken the next to be used. Its thing is still in it.
    #[inline]
    fn free(&mut self, place: usize) -> &mut Slot<V> {
        let slot = &mut self.slots[place];
        slot.version = slot.version.wrapping_add(1);
        slot.next = self.free;
        self.free = place as u32 + 1;
        self.len -= 1;
        slot
    }

    /// True if it is there.
    #[inline]
    pub(crate) fn contains_key(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// A thing, if it is there.
    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let slot = self.slots.get(place(key))?;
        if slot.version == version_of(key) { slot.it.as_ref() } else { None }
    }

    /// A thing, if it is there.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let slot = self.slots.get_mut(place(key))?;
        if slot.version == version_of(key) { slot.it.as_mut() } else { None }
    }

    /// All things, by the number of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> + Clone {
        (1..).zip(&self.slots).filter_map(|(number, slot)| Some((key(number, slot.version), slot.it.as_ref()?)))
    }

    /// All things, by the number of their slots.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().filter_map(|slot| slot.it.as_mut())
    }

    /// Removes all things for which `keep` returns false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(K, &mut V) -> bool) {
        for place in 0..self.slots.len() {
            let Slot { version, it, .. } = &mut self.slots[place];
            if let Some(it) = it
                && !keep(key(place as u32 + 1, *version), it)
            {
                self.empty(place);
            }
        }
    }
}

impl<K: Key, V> Index<K> for Slots<K, V> {
    type Output = V;

    #[inline]
    fn index(&self, key: K) -> &V {
        self.get(key).unwrap_or_else(|| panic!("nothing is under this key any more"))
    }
}

impl<K: Key, V> IndexMut<K> for Slots<K, V> {
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut V {
        self.get_mut(key).unwrap_or_else(|| panic!("nothing is under this key any more"))
    }
}

#[cfg(test)]
mod tests {
    use meshsim_actor::Rng;
    use slotmap::{DefaultKey, SlotMap};

    use super::*;

    /// The two, after the same insertions and removals; and what both hold.
    fn used(seed: u64, rounds: u32) -> (Slots<DefaultKey, u32>, SlotMap<DefaultKey, u32>, Vec<DefaultKey>) {
        let (mut slots, mut map, mut keys) = (Slots::default(), SlotMap::new(), vec![]);
        go_on(&mut slots, &mut map, &mut keys, seed, rounds);
        (slots, map, keys)
    }

    fn go_on(
        slots: &mut Slots<DefaultKey, u32>,
        map: &mut SlotMap<DefaultKey, u32>,
        keys: &mut Vec<DefaultKey>,
        seed: u64,
        rounds: u32,
    ) {
        let mut rng = Rng::keyed(seed, 0, 0);
        for round in 0..rounds {
            if keys.is_empty() || rng.chance(0.5) {
                let key = slots.insert(round);
                assert_eq!(key, map.insert(round));
                keys.push(key);
            } else if rng.chance(0.9) {
                let key = keys.swap_remove(rng.below(keys.len() as u32) as usize);
                assert_eq!(slots.remove(key), map.remove(key));
                assert_eq!((slots.remove(key), slots.get(key), slots.contains_key(key)), (None, None, false));
            } else {
                let keep = |_: DefaultKey, it: &mut u32| !it.is_multiple_of(3);
                slots.retain(keep);
                map.retain(keep);
                keys.retain(|key| map.contains_key(*key));
            }
            assert_eq!(slots.len(), map.len());
        }
        assert!(slots.iter().eq(map.iter()));
    }

    #[test]
    fn the_keys_and_their_order_are_those_of_a_slot_map() {
        for seed in 0..50 {
            let (mut slots, map, keys) = used(seed, 300);
            for key in keys {
                assert_eq!((slots[key], slots.get(key).copied()), (map[key], map.get(key).copied()));
                slots[key] += 1;
            }
        }
    }

    #[test]
    fn what_was_written_down_goes_on_with_the_same_keys() {
        for seed in 0..50 {
            let (slots, mut map, mut keys) = used(seed, 300);
            let mut bytes = Vec::new();
            meshsim_wire::encode_into(&slots, &mut bytes).unwrap();
            let mut read = meshsim_wire::decode(&bytes).unwrap();
            go_on(&mut read, &mut map, &mut keys, seed + 1, 300);
        }
    }
}
