//! Histograms whose memory grows with their content: one for each window of a [`Course`](crate::course::Course).
//!
//! The buckets are those of a [`Histogram`](crate::measure::Histogram), so merged windows equal the histogram of the
//! whole run exactly.

use std::borrow::Cow;
use std::cmp::Ordering;

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use crate::measure::HISTOGRAM_MAX;

/// Least number of buckets recorded in order of arrival before they are sorted in.
const RECENT_MIN: usize = 256;

/// Division of time into buckets: linear up to `2 * 2^half`, in units of `2^unit` nanoseconds, then `2^half` to an
/// octave. (HdrHistogram, Gil Tene.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// Three significant digits, from a nanosecond on.
    Fine,
    /// Two significant digits, from a microsecond on.
    Coarse,
}

impl Scale {
    const fn shape(self) -> (u32, u32) {
        match self {
            Scale::Fine => (0, 10),
            Scale::Coarse => (9, 7),
        }
    }

    /// The bucket of a span.
    #[inline]
    pub fn bucket(self, span: Span) -> u16 {
        let (unit, half) = self.shape();
        let units = span.nanos().min(HISTOGRAM_MAX.nanos()) >> unit;
        // Number of bits to shift until the number has one more bit than `half`.
        let octave = (units >> half).checked_ilog2().unwrap_or(0);
        ((u64::from(octave) << half) + (units >> octave)) as u16
    }

    /// The longest span of a bucket.
    pub fn longest(self, bucket: u16) -> Span {
        let (unit, half) = self.shape();
        let bucket = u64::from(bucket);
        let octave = (bucket >> half).saturating_sub(1);
        let units = bucket - (octave << half);
        Span::from_nanos(((units + 1) << (octave + u64::from(unit))) - 1)
    }

    /// Number of buckets.
    pub(crate) fn buckets(self) -> usize {
        usize::from(self.bucket(HISTOGRAM_MAX)) + 1
    }
}

/// Counts by bucket, of the buckets that hold something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sparse {
    /// By rising bucket.
    counts: Vec<(u16, u32)>,
    /// Buckets recorded since the last sort.
    recent: Vec<u16>,
}

impl Sparse {
    /// One more in this bucket.
    #[inline]
    pub fn record(&mut self, bucket: u16) {
        if self.recent.len() >= self.recent_max() {
            self.sort_in();
        }
        self.recent.push(bucket);
    }

    /// Number of buckets that may wait to be sorted in. Each time all counts are copied, so as many wait as there are
    /// counts: then a value costs two copies, however many there are. (A bucket that waits takes a quarter of a count.)
    #[inline]
    fn recent_max(&self) -> usize {
        self.counts.len().max(RECENT_MIN)
    }

    /// The buckets that hold something, with how many; a bucket may come more than once.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (u16, u32)> + '_ {
        self.counts.iter().copied().chain(self.recent.iter().map(|bucket| (*bucket, 1)))
    }

    /// Bytes of its lists.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<(u16, u32)>() + self.recent.capacity() * size_of::<u16>()
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| u64::from(*count)).sum::<u64>() + self.recent.len() as u64
    }

    /// Number of values in buckets that end at `longest` or before.
    pub fn at_most(&self, scale: Scale, longest: Span) -> u64 {
        let below = self.filled().filter(|(bucket, _)| scale.longest(*bucket) <= longest);
        below.map(|(_, count)| u64::from(count)).sum()
    }

    /// Sorts in the recent values, and frees their memory.
    pub fn settle(&mut self) {
        self.sort_in();
        self.recent = Vec::new();
    }

    /// Sorts in the recent values. Returns an empty histogram that reuses their memory.
    pub(crate) fn close(&mut self) -> Sparse {
        self.sort_in();
        Sparse { counts: Vec::new(), recent: std::mem::take(&mut self.recent) }
    }

    fn sort_in(&mut self) {
        if self.recent.is_empty() {
            return;
        }
        self.recent.sort_unstable();
        let distinct = 1 + self.recent.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let mut counted = Vec::with_capacity(distinct);
        counted.extend(self.recent.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)));
        self.counts = if self.counts.is_empty() { counted } else { merged(&self.counts, &counted) };
        self.recent.clear();
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Sparse) {
        match (self.counts.is_empty(), other.counts.is_empty()) {
            (_, true) => {}
            (true, false) => self.counts.clone_from(&other.counts),
            (false, false) => self.counts = merged(&self.counts, &other.counts),
        }
        // Few are cheaper to sort together, and later.
        self.recent.extend_from_slice(&other.recent);
        if self.recent.len() > self.recent_max() {
            self.sort_in();
        }
    }

    /// The content without that of `other`, a part of it.
    pub(crate) fn without(mut self, other: &Sparse) -> Sparse {
        let (mut part, mut at) = (other.clone(), 0);
        self.sort_in();
        part.sort_in();
        for (bucket, count) in &mut self.counts {
            at += part.counts[at..].partition_point(|(other, _)| other < bucket);
            if let Some((_, taken)) = part.counts.get(at).filter(|(other, _)| other == bucket) {
                *count = count.saturating_sub(*taken);
            }
        }
        self.counts.retain(|(_, count)| *count > 0);
        self
    }

    /// For each of the shares (0 to 1, rising) the longest span of the bucket in which so large a share of them is
    /// reached;
    /// `None` if there are none.
    pub fn quantiles<const N: usize>(&self, scale: Scale, shares: [f64; N]) -> [Option<Span>; N] {
        debug_assert!(shares.is_sorted());
        let mut sorted = Cow::Borrowed(self);
        if !self.recent.is_empty() {
            sorted.to_mut().sort_in();
        }
        let count = sorted.count() as f64;
        let (mut counts, mut bucket, mut sum) = (sorted.counts.iter(), None, 0);
        shares.map(|share| {
            let wanted = ((share * count).ceil() as u64).max(1);
            while sum < wanted
                && let Some((next, count)) = counts.next()
            {
                sum += u64::from(*count);
                bucket = Some(*next);
            }
            bucket.map(|bucket| scale.longest(bucket))
        })
    }

    /// True if it may have been recorded with this scale: what another process measured may be anything.
    pub(crate) fn is_of(&self, scale: Scale) -> bool {
        let rises = self.counts.is_sorted_by(|a, b| a.0 < b.0);
        let fits = |bucket: &u16| usize::from(*bucket) < scale.buckets();
        rises && self.counts.iter().all(|(bucket, _)| fits(bucket)) && self.recent.iter().all(fits)
    }
}

/// Two lists of counts as one.
fn merged(mut a: &[(u16, u32)], mut b: &[(u16, u32)]) -> Vec<(u16, u32)> {
    let mut out: Vec<(u16, u32)> = Vec::with_capacity(a.len() + b.len());
    while let ([(first, count), others @ ..], [(second, more), rest @ ..]) = (a, b) {
        let (at, sum) = match first.cmp(second) {
            Ordering::Less => (*first, *count),
            Ordering::Equal => (*first, count.saturating_add(*more)),
            Ordering::Greater => (*second, *more),
        };
        out.push((at, sum));
        a = if first <= second { others } else { a };
        b = if second <= first { rest } else { b };
    }
    out.extend_from_slice(a);
    out.extend_from_slice(b);
    out
}

#[cfg(test)]
mod tests {
    use meshsim_actor::Rng;

    use super::*;
    use crate::measure::Histogram;

    #[test]
    fn every_span_is_in_its_bucket_and_buckets_follow_each_other() {
        for scale in [Scale::Fine, Scale::Coarse] {
            for bucket in 0..scale.buckets() as u16 {
                let longest = scale.longest(bucket);
                assert_eq!(scale.bucket(longest.min(HISTOGRAM_MAX)), bucket, "{scale:?}");
                if usize::from(bucket) + 1 < scale.buckets() {
                    assert_eq!(scale.bucket(longest + Span::from_nanos(1)), bucket + 1, "{scale:?}");
                }
            }
            assert_eq!(scale.bucket(Span::MAX), scale.bucket(HISTOGRAM_MAX));
        }
    }

    #[test]
    fn windows_together_have_the_percentiles_of_the_histogram_of_all() {
        let mut rng = Rng::stream(7, "spans");
        for (scale, mut all) in [(Scale::Fine, Histogram::default()), (Scale::Coarse, Histogram::coarse())] {
            let mut parts = vec![Sparse::default(); 7];
            for n in 0..20_000 {
                let span = Span::from_nanos((rng.unit() * 40.0).exp2() as u64);
                all.record(span);
                parts[n % 7].record(scale.bucket(span));
                if n % 997 == 0 {
                    let mut together = Sparse::default();
                    parts.iter().for_each(|part| together.merge(part));
                    assert_eq!(together.count(), n as u64 + 1);
                    let shares = [0.001, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
                    for (q, found) in shares.into_iter().zip(together.quantiles(scale, shares)) {
                        let (least, most) = (all.quantile(0.0), all.max());
                        let found = found.unwrap().min(most).max(least);
                        assert_eq!(found, all.quantile(q).max(least), "{scale:?}, {q} of {n}");
                    }
                }
            }
        }
        assert_eq!(Sparse::default().quantiles(Scale::Fine, [0.5, 1.0]), [None; 2]);
    }

    #[test]
    fn what_cannot_have_been_recorded_is_told() {
        let of = |counts: &[(u16, u32)]| Sparse { counts: counts.to_vec(), recent: Vec::new() };
        assert!(of(&[(1, 1), (2, u32::MAX)]).is_of(Scale::Coarse));
        assert!(!of(&[(2, 1), (1, 1)]).is_of(Scale::Coarse) && !of(&[(1, 1), (1, 1)]).is_of(Scale::Coarse));
        assert!(!of(&[(u16::MAX, 1)]).is_of(Scale::Coarse));
    }
}
