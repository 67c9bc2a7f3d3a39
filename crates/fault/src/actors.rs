//! The actors and links that a fault selects.

use std::fmt;

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

/// A set of actors. A lookup costs a bit test, whatever the size of the set, if its ids are close to each other. Its
/// memory depends on the number of actors, not on their ids.
///
/// Serialised as a list of ids.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<ActorId>", into = "Vec<ActorId>")]
pub struct ActorSet {
    /// One entry for each block of 64 ids with a member, by rising number: the block, and a bit for each id.
    words: Vec<(u32, u64)>,
}

impl ActorSet {
    /// True if the set contains `actor`.
    #[inline]
    pub fn contains(&self, actor: ActorId) -> bool {
        self.place(actor.0 / 64).is_ok_and(|at| self.words[at].1 >> (actor.0 % 64) & 1 == 1)
    }

    /// Adds an actor.
    pub fn insert(&mut self, actor: ActorId) {
        let bit = 1 << (actor.0 % 64);
        match self.place(actor.0 / 64) {
            Ok(at) => self.words[at].1 |= bit,
            Err(at) => self.words.insert(at, (actor.0 / 64, bit)),
        }
    }

    /// Index of the word, or the index at which to insert it.
    #[inline]
    fn place(&self, word: u32) -> Result<usize, usize> {
        // Usually no block is missing between the first one and this.
        let first = self.words.first().map_or(0, |(first, _)| *first);
        let likely = word.wrapping_sub(first) as usize;
        match self.words.get(likely) {
            Some((there, _)) if *there == word => Ok(likely),
            _ => self.words.binary_search_by_key(&word, |(there, _)| *there),
        }
    }

    /// All actors of the set, by id.
    pub fn iter(&self) -> impl Iterator<Item = ActorId> + '_ {
        let bits = |word: u64| (0..64u32).filter(move |bit| word >> bit & 1 == 1);
        self.words.iter().flat_map(move |(n, word)| bits(*word).map(move |bit| ActorId(n * 64 + bit)))
    }

    /// True if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

impl FromIterator<ActorId> for ActorSet {
    fn from_iter<I: IntoIterator<Item = ActorId>>(actors: I) -> Self {
        let mut actors: Vec<ActorId> = actors.into_iter().collect();
        // Sorted, so that each id is appended at the end.
        actors.sort_unstable();
        let mut set = ActorSet::default();
        actors.into_iter().for_each(|actor| set.insert(actor));
        set
    }
}

impl From<Vec<ActorId>> for ActorSet {
    fn from(actors: Vec<ActorId>) -> Self {
        actors.into_iter().collect()
    }
}

impl From<ActorSet> for Vec<ActorId> {
    fn from(set: ActorSet) -> Self {
        set.iter().collect()
    }
}

impl fmt::Debug for ActorSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// All actors, or a set of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorSelector {
    /// All actors.
    #[default]
    All,
    /// Only the actors of this set.
    Only(ActorSet),
}

impl ActorSelector {
    /// True if it selects `actor`.
    #[inline]
    pub fn contains(&self, actor: ActorId) -> bool {
        match self {
            ActorSelector::All => true,
            ActorSelector::Only(set) => set.contains(actor),
        }
    }
}

impl From<ActorSet> for ActorSelector {
    fn from(set: ActorSet) -> Self {
        ActorSelector::Only(set)
    }
}

impl FromIterator<ActorId> for ActorSelector {
    fn from_iter<I: IntoIterator<Item = ActorId>>(actors: I) -> Self {
        ActorSelector::Only(actors.into_iter().collect())
    }
}

/// Pairs of senders and receivers. An actor's messages to itself never match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Senders.
    pub from: ActorSelector,
    /// Receivers.
    pub to: ActorSelector,
    /// True if messages in the opposite direction match too.
    pub both: bool,
    /// Only the message with this number, which is the sender's count; `None`: all.
    pub message: Option<u64>,
}

impl Link {
    /// From every actor to every other.
    pub fn all() -> Self {
        Link::default()
    }

    /// From some actors to others, and not back.
    pub fn one_way(from: impl Into<ActorSelector>, to: impl Into<ActorSelector>) -> Self {
        Link { from: from.into(), to: to.into(), both: false, message: None }
    }

    /// Between some actors and others, in both directions.
    pub fn between(one: impl Into<ActorSelector>, other: impl Into<ActorSelector>) -> Self {
        Link { from: one.into(), to: other.into(), both: true, message: None }
    }

    /// True if a message from `from` to `to` matches.
    #[inline]
    pub fn concerns(&self, from: ActorId, to: ActorId) -> bool {
        let forth = self.from.contains(from) && self.to.contains(to);
        let back = self.both && self.from.contains(to) && self.to.contains(from);
        from != to && (forth || back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_exactly_its_inserted_actors_in_any_order() {
        let numbers = [64, 3, u32::MAX, 0, 200, 63, 100_000, 3];
        let set: ActorSet = numbers.into_iter().map(ActorId).collect();
        let mut inserted = ActorSet::default();
        numbers.into_iter().for_each(|actor| inserted.insert(ActorId(actor)));
        assert_eq!(set, inserted);
        let all: Vec<u32> = set.iter().map(|actor| actor.0).collect();
        assert_eq!(all, [0, 3, 63, 64, 200, 100_000, u32::MAX]);
        for actor in (0..300).chain([99_999, 100_000, 100_001, u32::MAX - 1, u32::MAX]) {
            assert_eq!(set.contains(ActorId(actor)), all.contains(&actor), "{actor}");
        }
        assert!(ActorSet::default().is_empty() && !ActorSet::default().contains(ActorId(0)));
    }

    #[test]
    fn a_high_number_takes_no_more_memory_than_a_low_one() {
        let set = ActorSet::from(vec![ActorId(u32::MAX)]);
        assert_eq!((set.words.len(), Vec::from(set)), (1, vec![ActorId(u32::MAX)]));
    }
}
