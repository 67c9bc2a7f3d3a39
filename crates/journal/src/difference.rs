//! The difference between two images of a key: the new one as pieces of the old one, with bytes between them.
//!
//! A log that grows costs what is new, also if its length stands before it and other state behind it. A difference is a
//! list of hunks: `u32` offset and `u32` length of a piece of the old image, `u32` number of added bytes, and these.

use crate::format::{take, take_u32};

/// A piece of the old image is found again if it has this many bytes.
const BLOCK_BYTES: usize = 16;

/// Bytes after a changed one in which the images are expected to agree again at the same distance.
const NEAR_BYTES: usize = 64;

/// After this many blocks that are not in the old image, the rest is written as it is. This bounds the time.
const MISSES_MAX: usize = 1 << 14;

/// Length of a hunk without its added bytes.
pub(crate) const HUNK_BYTES: usize = 12;

/// The new image as a difference from the old one; at most [`HUNK_BYTES`] longer than the new image.
pub(crate) fn difference(old: &[u8], new: &[u8]) -> Vec<u8> {
    let head = common_head(old, new);
    let tail = common_tail(&old[head..], &new[head..]);
    let mut hunks = Vec::new();
    let mut copy = (0, head);
    let mut search = Search::new(&old[..old.len() - tail], &new[..new.len() - tail]);
    // The ends of the copied piece in the old image and in the new one.
    let mut ends = (head, head);
    while let Some((from, at)) = search.next(ends) {
        let length = common_head(&search.old[from..], &search.new[at..]);
        push(&mut hunks, copy, &new[ends.1..at]);
        copy = (from, length);
        ends = (from + length, at + length);
    }
    push(&mut hunks, copy, &new[ends.1..new.len() - tail]);
    if tail > 0 {
        push(&mut hunks, (old.len() - tail, tail), &[]);
    }
    if hunks.len() > new.len() + HUNK_BYTES {
        hunks.clear();
        push(&mut hunks, (0, 0), new);
    }
    hunks
}

/// The new image; none if this is no difference from the old one, or the new image is longer than `bytes_max`.
pub(crate) fn apply(old: &[u8], mut hunks: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut new = Vec::new();
    while !hunks.is_empty() {
        let (from, length) = (take_u32(&mut hunks)? as usize, take_u32(&mut hunks)? as usize);
        let copied = old.get(from..from.checked_add(length)?)?;
        let added = take_u32(&mut hunks)? as usize;
        let added = take(&mut hunks, added)?;
        if copied.len() + added.len() > bytes_max - new.len() {
            return None;
        }
        new.extend_from_slice(copied);
        new.extend_from_slice(added);
    }
    Some(new)
}

fn push(hunks: &mut Vec<u8>, (from, length): (usize, usize), added: &[u8]) {
    for number in [from, length, added.len()] {
        hunks.extend_from_slice(&(number as u32).to_le_bytes());
    }
    hunks.extend_from_slice(added);
}

/// The search for pieces of the old image, in rising order.
struct Search<'a> {
    old: &'a [u8],
    new: &'a [u8],
    /// The blocks of the old image, sorted, with their offsets. Built when it is first needed.
    index: Option<Vec<(&'a [u8], usize)>>,
    misses: usize,
}

impl<'a> Search<'a> {
    fn new(old: &'a [u8], new: &'a [u8]) -> Self {
        Search { old, new, index: None, misses: 0 }
    }

    /// The next piece after these ends: its offsets in the old image and in the new one.
    fn next(&mut self, (old_end, new_end): (usize, usize)) -> Option<(usize, usize)> {
        let last = self.new.len().checked_sub(BLOCK_BYTES)?;
        if old_end + BLOCK_BYTES > self.old.len() {
            return None;
        }
        let near = (new_end..=last.min(new_end + NEAR_BYTES)).map(|at| (old_end + (at - new_end), at));
        let is_same = |&(from, at): &(usize, usize)| {
            self.old.get(from..from + BLOCK_BYTES) == Some(&self.new[at..at + BLOCK_BYTES])
        };
        if let Some(found) = { near }.find(is_same) {
            return Some(found);
        }
        let old = self.old;
        let index = self.index.get_or_insert_with(|| {
            let mut blocks: Vec<_> = old[old_end..].chunks_exact(BLOCK_BYTES).zip(0..).collect();
            for (_, offset) in &mut blocks {
                *offset = old_end + *offset * BLOCK_BYTES;
            }
            blocks.sort_unstable();
            blocks
        });
        for at in new_end..=last {
            let block = &self.new[at..at + BLOCK_BYTES];
            let found = index.partition_point(|entry| *entry < (block, old_end));
            if let Some(&(_, from)) = index.get(found).filter(|entry| entry.0 == block) {
                let before = common_tail(&old[old_end..from], &self.new[new_end..at]);
                return Some((from - before, at - before));
            }
            self.misses += 1;
            if self.misses > MISSES_MAX {
                break;
            }
        }
        None
    }
}

/// Length of the common beginning; whole chunks are compared at once.
fn common_head(a: &[u8], b: &[u8]) -> usize {
    const CHUNK: usize = 64;
    let whole = a.chunks_exact(CHUNK).zip(b.chunks_exact(CHUNK)).take_while(|(a, b)| a == b).count() * CHUNK;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

/// Length of the common end.
fn common_tail(a: &[u8], b: &[u8]) -> usize {
    const CHUNK: usize = 64;
    let whole = a.rchunks_exact(CHUNK).zip(b.rchunks_exact(CHUNK)).take_while(|(a, b)| a == b).count() * CHUNK;
    let (a, b) = (&a[..a.len() - whole], &b[..b.len() - whole]);
    whole + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cost(old: &[u8], new: &[u8]) -> usize {
        let hunks = difference(old, new);
        assert_eq!(apply(old, &hunks, new.len()).as_deref(), Some(new));
        assert!(hunks.len() <= new.len() + HUNK_BYTES);
        hunks.len()
    }

    /// An image: a counter, a log with its length before it, another log, and state behind them.
    fn image(entries: u32, others: u32) -> Vec<u8> {
        let log =
            |entries: u32| (0..entries).flat_map(|n| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let mut image = entries.to_le_bytes().to_vec();
        image.extend(log(entries));
        image.extend(others.to_le_bytes());
        image.extend(log(others).map(|byte| byte ^ 0x55));
        image.extend([7; 100]);
        image
    }

    #[test]
    fn a_growing_log_costs_its_new_bytes() {
        assert!(cost(&image(10_000, 0), &image(10_001, 0)) <= 100);
        assert!(cost(&image(10_000, 5_000), &image(10_001, 5_002)) <= 150);
        assert!(cost(&image(10_000, 5_000), &image(10_000, 5_000)) <= 2 * HUNK_BYTES);
    }

    #[test]
    fn a_log_whose_begin_is_dropped_costs_its_new_bytes() {
        let old = image(10_000, 10);
        let mut new = old.clone();
        new.drain(4..804);
        new.splice(70_000..70_000, [9; 50]);
        assert!(cost(&old, &new) <= 150);
    }

    #[test]
    fn a_difference_never_makes_an_image_beyond_the_bound() {
        let hunks = difference(&[1; 100], &[1; 101]);
        assert_eq!(apply(&[1; 100], &hunks, 100), None);
    }

    proptest! {
        #[test]
        fn a_difference_gives_the_new_image(
            old in prop::collection::vec(0u8..3, 0..300), new in prop::collection::vec(0u8..3, 0..300),
            cut in 0usize..300, other in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            cost(&old, &new);
            let mut changed = old.clone();
            let cut = cut.min(changed.len());
            changed.splice(cut..(cut + 5).min(old.len()), other);
            cost(&old, &changed);
        }

        #[test]
        fn random_bytes_are_no_difference_or_a_bounded_image(
            old in prop::collection::vec(any::<u8>(), 0..50), hunks in prop::collection::vec(0u8..4, 0..100),
        ) {
            prop_assert!(apply(&old, &hunks, 64).is_none_or(|new| new.len() <= 64));
        }
    }
}
