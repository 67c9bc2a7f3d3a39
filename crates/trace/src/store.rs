//! Stores of what is open at one point of a trace, for those who follow its records one by one.
//!
//! In the trace of a run, ids, slots and counts are small or rise by one, so each store finds them by index. A trace is
//! also a file from outside, which may hold any numbers: those are kept in trees, so memory follows the number of
//! entries and never the size of a number.

use std::collections::{BTreeMap, VecDeque};

use meshsim_actor::{ActorId, Timer};

/// Actors with lower ids are found by index; those of more actors if so many were there.
const DENSE_MAX: usize = 1 << 14;

/// A slot that is this far beyond all others is not found by index.
const GAP_MAX: usize = 64;

/// Values by actor.
#[derive(Clone, Debug)]
pub struct ByActor<V> {
    /// At most twice as long as there are values, or [`DENSE_MAX`].
    dense: Vec<Option<V>>,
    /// Those of all other actors.
    sparse: BTreeMap<ActorId, V>,
    len: usize,
}

impl<V> Default for ByActor<V> {
    fn default() -> Self {
        ByActor { dense: Vec::new(), sparse: BTreeMap::new(), len: 0 }
    }
}

impl<V: Default> ByActor<V> {
    /// The value of an actor; it begins as the default.
    #[inline]
    pub fn entry(&mut self, actor: ActorId) -> &mut V {
        if self.dense.get(actor.index()).is_none_or(Option::is_none) {
            self.begin(actor);
        }
        match self.dense.get_mut(actor.index()) {
            Some(Some(value)) => value,
            _ => self.sparse.entry(actor).or_default(),
        }
    }

    /// Gives an actor that is not found by index its value, unless it has one.
    #[inline(never)]
    fn begin(&mut self, actor: ActorId) {
        let at = actor.index();
        if at >= self.dense.len() && at >= DENSE_MAX.max(2 * self.len) {
            self.len += usize::from(!self.sparse.contains_key(&actor));
            return;
        }
        if at >= self.dense.len() {
            self.grow(at + 1);
        }
        if self.dense[at].is_none() {
            self.dense[at] = Some(V::default());
            self.len += 1;
        }
    }

    /// Lets more actors be found by index.
    fn grow(&mut self, len: usize) {
        self.dense.resize_with(len, || None);
        while let Some(first) = self.sparse.first_entry().filter(|first| first.key().index() < len) {
            let (actor, value) = first.remove_entry();
            self.dense[actor.index()] = Some(value);
        }
    }

    /// The value of an actor, if it was ever asked for.
    #[inline]
    pub fn get(&self, actor: ActorId) -> Option<&V> {
        match self.dense.get(actor.index()) {
            Some(slot) => slot.as_ref(),
            None => self.sparse.get(&actor),
        }
    }

    /// Likewise.
    #[inline]
    pub fn get_mut(&mut self, actor: ActorId) -> Option<&mut V> {
        match self.dense.get_mut(actor.index()) {
            Some(slot) => slot.as_mut(),
            None => self.sparse.get_mut(&actor),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no value was ever asked for.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values, by rising actor.
    pub fn iter(&self) -> impl Iterator<Item = (ActorId, &V)> {
        let dense = (0..).map(ActorId).zip(&self.dense).filter_map(|(actor, slot)| Some((actor, slot.as_ref()?)));
        dense.chain(self.sparse.iter().map(|(actor, value)| (*actor, value)))
    }

    /// All values, by rising actor.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.dense.iter_mut().flatten().chain(self.sparse.values_mut())
    }
}

/// A key that names a slot and one use of it. Slots are used again, so their numbers are low.
pub trait Slotted: Copy + Ord {
    /// Number of the slot.
    fn slot(self) -> usize;
}

impl Slotted for Timer {
    #[inline]
    fn slot(self) -> usize {
        Timer::slot(self) as usize
    }
}

/// The number of a task, a frame or a call of a mesh: its slot is in the lower half.
impl Slotted for u64 {
    #[inline]
    fn slot(self) -> usize {
        self as u32 as usize
    }
}

/// Values by a key that names a slot.
#[derive(Clone, Debug)]
pub struct BySlot<K, V> {
    dense: Vec<Option<(K, V)>>,
    /// Those whose slot has another value, or is far beyond the others.
    sparse: BTreeMap<K, V>,
}

impl<K, V> Default for BySlot<K, V> {
    fn default() -> Self {
        BySlot { dense: Vec::new(), sparse: BTreeMap::new() }
    }
}

impl<K: Slotted, V> BySlot<K, V> {
    /// Adds a value; returns the one that had this key.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = key.slot();
        if at >= self.dense.len() && at - self.dense.len() < GAP_MAX {
            self.dense.resize_with(at + 1, || None);
        }
        match self.dense.get_mut(at) {
            Some(Some((of, former))) if *of == key => Some(std::mem::replace(former, value)),
            // The key itself may have come when its slot had another value.
            Some(slot @ None) if self.sparse.is_empty() => {
                *slot = Some((key, value));
                None
            }
            _ => self.sparse.insert(key, value),
        }
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: K) -> Option<&V> {
        match self.dense.get(key.slot()) {
            Some(Some((of, value))) if *of == key => Some(value),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&key),
        }
    }

    /// Likewise.
    #[inline]
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self.dense.get_mut(key.slot()) {
            Some(Some((of, value))) if *of == key => Some(value),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get_mut(&key),
        }
    }

    /// Takes out a value.
    #[inline]
    pub fn remove(&mut self, key: K) -> Option<V> {
        match self.dense.get_mut(key.slot()) {
            Some(slot) if slot.as_ref().is_some_and(|(of, _)| *of == key) => slot.take().map(|(_, value)| value),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.remove(&key),
        }
    }

    /// Takes out all values.
    pub fn clear(&mut self) {
        self.dense.clear();
        self.sparse.clear();
    }

    /// All values, by rising key.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let dense = self.dense.iter().flatten().map(|(key, value)| (*key, value));
        let mut all: Vec<_> = dense.chain(self.sparse.iter().map(|(key, value)| (*key, value))).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter()
    }

    /// All values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.dense.iter().flatten().map(|(_, value)| value).chain(self.sparse.values())
    }

    /// Likewise.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.dense.iter_mut().flatten().map(|(_, value)| value).chain(self.sparse.values_mut())
    }
}

/// Values by numbers that mostly rise by one, and that are taken out in about that order.
#[derive(Clone, Debug)]
pub struct Rising<V> {
    /// The lowest number is first. A value that was taken out leaves a hole until those before it are taken out, too.
    entries: VecDeque<(u64, Option<V>)>,
    holes: usize,
}

impl<V> Default for Rising<V> {
    fn default() -> Self {
        Rising { entries: VecDeque::new(), holes: 0 }
    }
}

impl<V> Rising<V> {
    /// Adds a value; returns the one that had this number.
    #[inline]
    pub fn insert(&mut self, number: u64, value: V) -> Option<V> {
        if self.entries.back().is_none_or(|(last, _)| *last < number) {
            self.entries.push_back((number, Some(value)));
            return None;
        }
        match self.find(number) {
            Ok(at) => {
                let former = self.entries[at].1.replace(value);
                self.holes -= usize::from(former.is_none());
                former
            }
            Err(at) => {
                self.entries.insert(at, (number, Some(value)));
                None
            }
        }
    }

    /// The place of a number, or the place where it would be.
    #[inline]
    fn find(&self, number: u64) -> Result<usize, usize> {
        let Some((first, _)) = self.entries.front() else { return Err(0) };
        let guess = number.wrapping_sub(*first) as usize;
        match self.entries.get(guess) {
            Some((of, _)) if *of == number => Ok(guess),
            _ => self.entries.binary_search_by_key(&number, |(of, _)| *of),
        }
    }

    /// The value of a number.
    #[inline]
    pub fn get(&self, number: u64) -> Option<&V> {
        self.entries[self.find(number).ok()?].1.as_ref()
    }

    /// Likewise.
    #[inline]
    pub fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        let at = self.find(number).ok()?;
        self.entries[at].1.as_mut()
    }

    /// Takes out a value.
    #[inline]
    pub fn remove(&mut self, number: u64) -> Option<V> {
        let at = self.find(number).ok()?;
        let value = self.entries[at].1.take()?;
        self.holes += 1;
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
            self.holes -= 1;
        }
        if self.holes > 32 && self.holes > self.entries.len() / 2 {
            self.entries.retain(|(_, value)| value.is_some());
            self.holes = 0;
        }
        Some(value)
    }

    /// All values, by rising number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.entries.iter().filter_map(|(number, value)| Some((*number, value.as_ref()?)))
    }

    /// All values, by rising number.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().filter_map(|(_, value)| value.as_mut())
    }
}
