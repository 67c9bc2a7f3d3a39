//! Instances by version: what one node has of a service.

use std::mem::size_of;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::operation;

/// Number of instances of each version that one node must run: rising versions, counts above zero.
///
/// A mesh has one for each service on each node, and nearly all have one version. That is kept in the value itself, in
/// 16 bytes; only several versions take a list of their own.
#[derive(Clone, Debug, Default)]
pub struct Share(Versions);

#[derive(Clone, Debug, Default)]
enum Versions {
    #[default]
    None,
    One((u32, u32)),
    #[expect(clippy::box_collection, reason = "a vector in place would make every share larger")]
    More(Box<Vec<(u32, u32)>>),
}

impl Share {
    /// No instances.
    pub const fn new() -> Self {
        Share(Versions::None)
    }

    /// Adds instances of a version.
    pub fn add(&mut self, version: u32, count: u32) {
        match &mut self.0 {
            Versions::One((only, have)) if *only == version => *have += count,
            _ => self.change(|list| operation::add(list, version, count)),
        }
    }

    /// Takes instances of a version away: at most as many as there are.
    pub(crate) fn take(&mut self, version: u32, count: u32) {
        self.change(|list| {
            list.iter_mut().filter(|(v, _)| *v == version).for_each(|(_, have)| *have -= count.min(*have));
            list.retain(|(_, have)| *have > 0);
        });
    }

    fn change(&mut self, act: impl FnOnce(&mut Vec<(u32, u32)>)) {
        let mut list = match std::mem::take(&mut self.0) {
            Versions::None => Vec::new(),
            Versions::One(one) => vec![one],
            Versions::More(list) => *list,
        };
        act(&mut list);
        *self = list.into();
    }

    /// Bytes that it takes beside the value itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Versions::None | Versions::One(_) => 0,
            Versions::More(list) => size_of::<Vec<(u32, u32)>>() + list.capacity() * size_of::<(u32, u32)>(),
        }
    }
}

impl Deref for Share {
    type Target = [(u32, u32)];

    #[inline]
    fn deref(&self) -> &[(u32, u32)] {
        match &self.0 {
            Versions::None => &[],
            Versions::One(one) => std::slice::from_ref(one),
            Versions::More(list) => list,
        }
    }
}

impl From<Vec<(u32, u32)>> for Share {
    fn from(list: Vec<(u32, u32)>) -> Self {
        match list[..] {
            [] => Share::new(),
            [one] => Share(Versions::One(one)),
            _ => Share(Versions::More(Box::new(list))),
        }
    }
}

impl FromIterator<(u32, u32)> for Share {
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(counts: I) -> Self {
        counts.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a Share {
    type Item = &'a (u32, u32);
    type IntoIter = std::slice::Iter<'a, (u32, u32)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::hash::Hash for Share {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Share) -> bool {
        **self == **other
    }
}

impl Eq for Share {}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self[..].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Share::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_its_list_whatever_the_number_of_versions() {
        let mut share = Share::new();
        let mut list = Vec::new();
        for (version, count) in [(3, 2), (3, 1), (1, 5), (2, 1)] {
            share.add(version, count);
            operation::add(&mut list, version, count);
            assert_eq!(*share, *list);
            assert_eq!(share, list.iter().copied().collect());
        }
        share.take(1, 2);
        assert_eq!(*share, [(1, 3), (2, 1), (3, 3)]);
        share.take(1, 9);
        share.take(2, 1);
        share.take(7, 1);
        assert_eq!((&*share, share.heap_bytes()), (&[(3, 3)][..], 0));
        share.take(3, 3);
        assert!(share.is_empty());
    }

    #[test]
    fn a_share_takes_sixteen_bytes() {
        assert_eq!(size_of::<Share>(), 16);
    }
}
