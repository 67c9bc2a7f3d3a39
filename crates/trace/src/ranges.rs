//! Sets of numbers, stored as ranges, for the index of a chunk.

use std::collections::BTreeMap;

use crate::format::{Take, put};
use crate::read_error::ReadErrorKind;

/// Largest number of ranges of a set. Beyond it the closest ranges are joined: a set may then hold additional numbers,
/// never fewer.
pub(crate) const RANGES_MAX: usize = 4096;

/// Numbers below this are collected as bits.
const LOW: u64 = 1 << 20;

/// A set of numbers, which may hold some that were never added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(
    /// First and last number of each range, rising and disjoint.
    Vec<(u64, u64)>,
);

impl Ranges {
    /// True if this number may be in the set; false if it is not.
    pub fn contains(&self, number: u64) -> bool {
        self.overlaps(number, number)
    }

    /// True if a number from `first` to `last` may be in the set.
    pub fn overlaps(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < first);
        self.0.get(at).is_some_and(|range| range.0 <= last)
    }

    /// The ranges, rising: first and last number of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put(out, |frame| frame.number(self.0.len() as u64));
        let mut before = 0;
        for (first, last) in self.iter() {
            put(out, |frame| {
                frame.number(first - before);
                frame.number(last - first);
            });
            before = last;
        }
    }

    pub(crate) fn read(from: &mut impl Take) -> Result<Self, ReadErrorKind> {
        let count = from.number()?;
        if count > RANGES_MAX as u64 {
            return Err(ReadErrorKind::Corrupt("a set of more ranges than there can be"));
        }
        let mut ranges = Vec::new();
        let mut before = 0_u64;
        for _ in 0..count {
            let first = before.checked_add(from.number()?);
            let range = first.and_then(|first| Some((first, first.checked_add(from.number().ok()?)?)));
            let range = range.ok_or(ReadErrorKind::Corrupt("a set that does not rise"))?;
            before = range.1;
            ranges.push(range);
        }
        Ok(Ranges(ranges))
    }
}

/// A set during its collection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    low: Vec<u64>,
    /// The others, as bits in pages: the requests of a chunk are close together.
    high: BTreeMap<u64, Page>,
    /// The page at hand, which is not in `high`.
    page: Option<(u64, Page)>,
    /// The number added last: the same number is often added again.
    last: Option<u64>,
}

/// Numbers of a page.
const PAGE: u64 = 512;

type Page = [u64; (PAGE / 64) as usize];

impl Gathered {
    #[inline]
    pub(crate) fn insert(&mut self, number: u64) {
        if self.last != Some(number) {
            self.last = Some(number);
            self.keep(number);
        }
    }

    fn keep(&mut self, number: u64) {
        if number >= LOW {
            return self.keep_high(number);
        }
        let word = (number / 64) as usize;
        if self.low.len() <= word {
            self.low.resize(word + 1, 0);
        }
        self.low[word] |= 1 << (number % 64);
    }

    fn keep_high(&mut self, number: u64) {
        let (at, word, bit) = (number / PAGE, (number % PAGE / 64) as usize, 1 << (number % 64));
        if let Some((page, words)) = &mut self.page
            && *page == at
        {
            words[word] |= bit;
            return;
        }
        let mut words = self.high.remove(&at).unwrap_or_default();
        words[word] |= bit;
        if let Some((page, words)) = self.page.replace((at, words)) {
            self.high.insert(page, words);
        }
    }

    /// Returns the set, and begins a new one.
    pub(crate) fn take(&mut self) -> Ranges {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut add = |number: u64| match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        };
        let mut add_word = |first: u64, mut bits: u64| {
            while bits != 0 {
                add(first + u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        };
        for (at, word) in self.low.iter_mut().enumerate() {
            add_word(at as u64 * 64, std::mem::take(word));
        }
        self.high.extend(self.page.take());
        for (page, words) in std::mem::take(&mut self.high) {
            for (at, word) in words.into_iter().enumerate() {
                add_word(page * PAGE + at as u64 * 64, word);
            }
        }
        self.last = None;
        join_closest(&mut ranges);
        Ranges(ranges)
    }
}

/// Joins the closest ranges until there are at most [`RANGES_MAX`].
fn join_closest(ranges: &mut Vec<(u64, u64)>) {
    let Some(extra) = ranges.len().checked_sub(RANGES_MAX).filter(|extra| *extra > 0) else { return };
    let mut gaps: Vec<(u64, usize)> = ranges.windows(2).map(|pair| pair[1].0 - pair[0].1).zip(1..).collect();
    gaps.select_nth_unstable(extra - 1);
    let mut is_joined = vec![false; ranges.len()];
    gaps[..extra].iter().for_each(|(_, at)| is_joined[*at] = true);
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(RANGES_MAX);
    for (range, is_joined) in ranges.iter().zip(is_joined) {
        match joined.last_mut() {
            Some(last) if is_joined => last.1 = range.1,
            _ => joined.push(*range),
        }
    }
    *ranges = joined;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Bytes;

    fn gathered(numbers: impl IntoIterator<Item = u64>) -> Ranges {
        let mut gathered = Gathered::default();
        numbers.into_iter().for_each(|number| gathered.insert(number));
        let ranges = gathered.take();
        assert_eq!(gathered.take(), Ranges::default(), "it begins anew");
        ranges
    }

    fn written(ranges: &Ranges) -> Vec<u8> {
        let mut out = Vec::new();
        ranges.write(&mut out);
        out
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_comes_back() {
        let numbers = [3, 4, 5, 4, 0, 65_535, 65_536, 65_537, 1 << 40, u64::MAX];
        let ranges = gathered(numbers);
        assert_eq!(
            ranges.iter().collect::<Vec<_>>(),
            [(0, 0), (3, 5), (65_535, 65_537), (1 << 40, 1 << 40), (u64::MAX, u64::MAX)]
        );
        assert!(numbers.iter().all(|number| ranges.contains(*number)));
        assert!(![1, 2, 6, 65_538, u64::MAX - 1].iter().any(|number| ranges.contains(*number)));
        assert!(ranges.overlaps(1, 3) && ranges.overlaps(5, 9) && !ranges.overlaps(6, 65_534));
        assert_eq!(Ranges::read(&mut Bytes::new(written(&ranges))).unwrap(), ranges);
    }

    #[test]
    fn numbers_that_come_in_any_order_make_the_same_set() {
        let mut numbers: Vec<u64> =
            (0..2_000).map(|n: u64| (1 << 40) | (n.wrapping_mul(0x9e37_79b9) % 100_000)).collect();
        let ranges = gathered(numbers.iter().copied());
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(ranges, gathered(numbers.iter().copied()));
        assert!(numbers.iter().all(|number| ranges.contains(*number)));
        let count: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
        assert_eq!(count, numbers.len() as u64);
    }

    #[test]
    fn a_set_of_too_many_ranges_joins_the_closest_and_loses_none() {
        // Pairs whose numbers are closer to each other than to the next pair.
        let numbers: Vec<u64> = (0..3_000).flat_map(|at| [at * 1_000, at * 1_000 + 2]).collect();
        let ranges = gathered(numbers.iter().copied());
        assert_eq!(ranges.iter().count(), RANGES_MAX);
        assert!(numbers.iter().all(|number| ranges.contains(*number)));
        assert!(!ranges.contains(500), "pairs are not joined with each other");
    }

    #[test]
    fn hostile_sets_are_refused() {
        let mut too_many = Vec::new();
        put(&mut too_many, |frame| frame.number(RANGES_MAX as u64 + 1));
        let mut wraps = Vec::new();
        put(&mut wraps, |frame| [1, u64::MAX, 1].into_iter().for_each(|number| frame.number(number)));
        for bytes in [too_many, wraps, written(&gathered([7]))[..2].to_vec()] {
            assert!(Ranges::read(&mut Bytes::new(bytes)).is_err());
        }
    }
}
