//! Whom a fault concerns.

use std::fmt;

use meshsim_actor::ActorId;
use serde::{Deserialize, Serialize};

/// Some actors. Asking for one costs a bit test, whatever their number.
///
/// Written down as a list of numbers.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<ActorId>", into = "Vec<ActorId>")]
pub struct ActorSet {
    // No trailing zero words, so that equal sets are equal.
    words: Vec<u64>,
}

impl ActorSet {
    /// True if `actor` is one of them.
    #[inline]
    pub fn contains(&self, actor: ActorId) -> bool {
        self.words.get(actor.index() / 64).is_some_and(|word| word >> (actor.0 % 64) & 1 == 1)
    }

    /// Adds one.
    pub fn insert(&mut self, actor: ActorId) {
        let word = actor.index() / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (actor.0 % 64);
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = ActorId> + '_ {
        let bits = |word: u64| (0..64u32).filter(move |bit| word >> bit & 1 == 1);
        self.words
            .iter()
            .enumerate()
            .flat_map(move |(i, word)| bits(*word).map(move |bit| ActorId(i as u32 * 64 + bit)))
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

impl FromIterator<ActorId> for ActorSet {
    fn from_iter<I: IntoIterator<Item = ActorId>>(actors: I) -> Self {
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

/// All actors, or some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actors {
    /// Everyone.
    #[default]
    All,
    /// These.
    Only(ActorSet),
}

impl Actors {
    /// True if `actor` is one of them.
    #[inline]
    pub fn contains(&self, actor: ActorId) -> bool {
        match self {
            Actors::All => true,
            Actors::Only(set) => set.contains(actor),
        }
    }
}

impl From<ActorSet> for Actors {
    fn from(set: ActorSet) -> Self {
        Actors::Only(set)
    }
}

impl FromIterator<ActorId> for Actors {
    fn from_iter<I: IntoIterator<Item = ActorId>>(actors: I) -> Self {
        Actors::Only(actors.into_iter().collect())
    }
}

/// Between whom messages are concerned. An actor's messages to itself never are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Senders.
    pub from: Actors,
    /// Receivers.
    pub to: Actors,
    /// True if messages the other way are concerned too.
    pub both: bool,
}

impl Link {
    /// Everyone to everyone else.
    pub fn all() -> Self {
        Link::default()
    }

    /// From some to others, and not back.
    pub fn one_way(from: impl Into<Actors>, to: impl Into<Actors>) -> Self {
        Link { from: from.into(), to: to.into(), both: false }
    }

    /// Between some and others, in both directions.
    pub fn between(one: impl Into<Actors>, other: impl Into<Actors>) -> Self {
        Link { from: one.into(), to: other.into(), both: true }
    }

    /// True if a message from `from` to `to` is concerned.
    #[inline]
    pub fn concerns(&self, from: ActorId, to: ActorId) -> bool {
        let forth = self.from.contains(from) && self.to.contains(to);
        let back = self.both && self.from.contains(to) && self.to.contains(from);
        from != to && (forth || back)
    }
}
