//! The caches of an instance: keys that its requests find, by least recent use.

use std::collections::BTreeMap;

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::model::{Cache, EndpointId};

/// A step of a script: the endpoint, and the position in its program.
pub(super) type StepAt = (EndpointId, u32);

/// The caches of an instance, by the step that looks into them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Caches(BTreeMap<StepAt, Lru>);

/// Keys by their last use. At most as many as the cache holds, and as there are keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Lru {
    keys: BTreeMap<u64, Entry>,
    /// Keys by their last use.
    by_use: BTreeMap<u64, u64>,
    /// Number of uses.
    uses: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Entry {
    used: u64,
    /// Time at which the entry expires.
    until: Time,
}

impl Caches {
    /// True if the key is known now; it has then been used.
    #[inline(never)]
    pub(super) fn look_up(&mut self, step: StepAt, key: u64, now: Time) -> bool {
        self.0.get_mut(&step).is_some_and(|lru| lru.look_up(key, now))
    }

    /// The key is known from now on.
    #[inline(never)]
    pub(super) fn fill(&mut self, step: StepAt, key: u64, cache: &Cache, now: Time) {
        let until = cache.ttl.map_or(Time::NEVER, |ttl| now + ttl);
        self.0.entry(step).or_default().fill(key, until, cache.size);
    }

    /// No key is known any more.
    pub(super) fn flush(&mut self) {
        self.0.clear();
    }
}

impl Lru {
    fn look_up(&mut self, key: u64, now: Time) -> bool {
        let Some(entry) = self.keys.get_mut(&key) else { return false };
        self.by_use.remove(&entry.used);
        if entry.until <= now {
            self.keys.remove(&key);
            return false;
        }
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, key);
        true
    }

    fn fill(&mut self, key: u64, until: Time, size: Option<u32>) {
        self.uses += 1;
        if let Some(former) = self.keys.insert(key, Entry { used: self.uses, until }) {
            self.by_use.remove(&former.used);
        }
        self.by_use.insert(self.uses, key);
        while size.is_some_and(|size| self.keys.len() > size as usize)
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use meshsim_actor::Span;

    use super::*;
    use crate::model::Keys;

    const STEP: StepAt = (EndpointId(0), 0);

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    #[test]
    fn the_key_that_was_used_longest_ago_makes_room() {
        let cache = Cache { keys: Keys::default(), size: Some(2), ttl: None };
        let mut caches = Caches::default();
        caches.fill(STEP, 1, &cache, at(0));
        caches.fill(STEP, 2, &cache, at(0));
        assert!(caches.look_up(STEP, 1, at(1)));
        caches.fill(STEP, 3, &cache, at(2));
        assert_eq!([1, 2, 3].map(|key| caches.look_up(STEP, key, at(3))), [true, false, true]);
        assert!(!caches.look_up((EndpointId(0), 5), 1, at(3)), "each step has a cache of its own");
        caches.flush();
        assert!(!caches.look_up(STEP, 1, at(4)));
    }

    #[test]
    fn a_key_expires_however_often_it_is_used_and_a_later_filling_renews_it() {
        let cache = Cache { keys: Keys::default(), size: None, ttl: Some(Span::from_millis(10)) };
        let mut caches = Caches::default();
        caches.fill(STEP, 1, &cache, at(0));
        assert!(caches.look_up(STEP, 1, at(5)) && caches.look_up(STEP, 1, at(9)));
        assert!(!caches.look_up(STEP, 1, at(10)));
        caches.fill(STEP, 1, &cache, at(12));
        caches.fill(STEP, 1, &cache, at(15));
        assert!(caches.look_up(STEP, 1, at(24)) && !caches.look_up(STEP, 1, at(25)));
    }
}
