//! Coarse latencies by time, from which a report estimates how much consecutive requests resemble each other.
//!
//! Requests that wait in one queue are late together, so a thousand of them carry less information about the queue than
//! a thousand independent ones. The loss is estimated by cutting the run into batches of equal length, each much longer
//! than the correlation time of a queue (batch means: Law, *Simulation Modeling and Analysis*, 9.5.3).

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

/// Most batches that are kept: where one more would be needed, each two neighbours become one. So a run of any length
/// ends with half as many to as many as this.
pub const BATCHES_MAX: usize = 64;

/// The length of a batch before the first two became one: about a millisecond.
const LENGTH_MIN_NS: u64 = 1 << 20;

/// Steps of an octave, as a power of two. A step is at most an eighth.
const STEPS_LOG2: u32 = 3;

/// Buckets that there can be.
const BUCKETS_MAX: usize = 64 << STEPS_LOG2;

/// Counts of latencies, by batch and bucket. At most [`BATCHES_MAX`] batches of some 2 KiB, mostly of a tenth of that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct Batches {
    kept: Kept,
}

/// Serialised form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// The length of each batch: [`LENGTH_MIN_NS`] times a power of two.
    length_ns: u64,
    batches: Vec<Batch>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Batch {
    /// The bucket of the first of `counts`.
    first: u16,
    counts: Vec<u32>,
}

impl Default for Kept {
    fn default() -> Self {
        Kept { length_ns: LENGTH_MIN_NS, batches: Vec::new() }
    }
}

impl TryFrom<Kept> for Batches {
    type Error = &'static str;

    fn try_from(kept: Kept) -> Result<Self, Self::Error> {
        let is_length = kept.length_ns >= LENGTH_MIN_NS && kept.length_ns.is_power_of_two();
        let fits = |batch: &Batch| usize::from(batch.first) + batch.counts.len() <= BUCKETS_MAX;
        let is_sound = is_length && kept.batches.len() <= BATCHES_MAX && kept.batches.iter().all(fits);
        if is_sound { Ok(Batches { kept }) } else { Err("batches of latencies beyond their bounds") }
    }
}

impl From<Batches> for Kept {
    fn from(batches: Batches) -> Self {
        batches.kept
    }
}

/// The bucket of a latency: its octave, and the next bits.
fn bucket(nanos: u64) -> u16 {
    let nanos = nanos.max(1 << STEPS_LOG2);
    let octave = nanos.ilog2();
    let step = nanos >> (octave - STEPS_LOG2) & ((1 << STEPS_LOG2) - 1);
    (u64::from(octave) << STEPS_LOG2 | step) as u16
}

impl Batches {
    /// Records a request that was planned `since` after the first batch began.
    pub fn record(&mut self, since: Span, latency: Span) {
        let kept = &mut self.kept;
        while since.nanos() / kept.length_ns >= BATCHES_MAX as u64 {
            kept.halve();
        }
        let index = (since.nanos() / kept.length_ns) as usize;
        if kept.batches.len() <= index {
            kept.batches.resize(index + 1, Batch::default());
        }
        kept.batches[index].add(bucket(latency.nanos()), 1);
    }

    /// Adds the batches of another one, which began at the same time.
    pub fn merge(&mut self, other: &Batches) {
        let mut other = other.kept.clone();
        let kept = &mut self.kept;
        while other.length_ns < kept.length_ns {
            other.halve();
        }
        while kept.length_ns < other.length_ns {
            kept.halve();
        }
        if kept.batches.len() < other.batches.len() {
            kept.batches.resize(other.batches.len(), Batch::default());
        }
        kept.batches.iter_mut().zip(&other.batches).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    /// For each batch in order of time: how many latencies it holds, and how many of these lie below the edge between
    /// two buckets that comes nearest to the share `q` of all. Empty if nothing was recorded.
    pub fn below(&self, q: f64) -> Vec<(u64, u64)> {
        let mut all = vec![0_u64; BUCKETS_MAX];
        for batch in &self.kept.batches {
            for (count, all) in batch.counts.iter().zip(&mut all[usize::from(batch.first)..]) {
                *all += u64::from(*count);
            }
        }
        let wanted = q * all.iter().sum::<u64>() as f64;
        let mut sum = 0;
        // The distance of each edge, with what lies below it. They rise: the first that is not nearer ends it.
        let (mut edge, mut nearest) = (0, wanted);
        for (bucket, count) in all.iter().enumerate() {
            sum += count;
            let distance = (sum as f64 - wanted).abs();
            if distance < nearest {
                (edge, nearest) = (bucket + 1, distance);
            }
        }
        let counts = |batch: &Batch| {
            let below = edge.saturating_sub(batch.first.into()).min(batch.counts.len());
            let sum = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum();
            (sum(&batch.counts), sum(&batch.counts[..below]))
        };
        self.kept.batches.iter().map(counts).collect()
    }
}

impl Kept {
    /// Each two neighbours become one.
    fn halve(&mut self) {
        let mut merged: Vec<Batch> = Vec::with_capacity(BATCHES_MAX);
        for pair in self.batches.chunks(2) {
            let mut batch = pair[0].clone();
            pair[1..].iter().for_each(|other| batch.merge(other));
            merged.push(batch);
        }
        self.batches = merged;
        self.length_ns = self.length_ns.saturating_mul(2);
    }
}

impl Batch {
    fn add(&mut self, bucket: u16, count: u32) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = usize::from(self.first - bucket);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let at = usize::from(bucket - self.first);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(count);
    }

    fn merge(&mut self, other: &Batch) {
        for (bucket, count) in (other.first..).zip(&other.counts).filter(|(_, count)| **count > 0) {
            self.add(bucket, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Span {
        Span::from_secs(secs)
    }

    #[test]
    fn a_run_of_any_length_fills_at_least_half_of_the_batches() {
        for secs in [1, 10, 600, 86_400] {
            let mut batches = Batches::default();
            for n in 0..10_000 {
                batches.record(Span::from_nanos(at(secs).nanos() / 10_000 * n), Span::from_millis(5));
            }
            let below = batches.below(0.5);
            assert!((BATCHES_MAX / 2..=BATCHES_MAX).contains(&below.len()), "{secs} s: {}", below.len());
            assert_eq!(below.iter().map(|(count, _)| count).sum::<u64>(), 10_000);
        }
    }

    #[test]
    fn latencies_below_a_share_are_counted_by_batch() {
        let mut batches = Batches::default();
        // The first half of the run has short ones, the second long ones.
        for n in 0..3_200 {
            let latency = if n < 1_600 { 1_000 + n } else { 1_000_000 + n };
            batches.record(Span::from_millis(10 * n), Span::from_micros(latency));
        }
        let shares: Vec<f64> = batches.below(0.5).iter().map(|(count, below)| *below as f64 / *count as f64).collect();
        let middle = shares.iter().filter(|share| **share > 0.0 && **share < 1.0).count();
        assert!(middle <= 1 && shares[0] == 1.0 && shares[shares.len() - 1] == 0.0, "{shares:?}");
        assert_eq!(Batches::default().below(0.5), []);
    }

    #[test]
    fn merged_batches_are_those_of_both_whatever_their_lengths() {
        let (mut long, mut short, mut both) = (Batches::default(), Batches::default(), Batches::default());
        for n in 0..5_000 {
            let (since, latency) = (Span::from_millis(7 * n), Span::from_micros(n * n % 9_000));
            let part = if n < 100 { &mut short } else { &mut long };
            part.record(since, latency);
            both.record(since, latency);
        }
        let mut merged = short.clone();
        merged.merge(&long);
        long.merge(&short);
        assert_eq!((merged.below(0.9), long.below(0.9)), (both.below(0.9), both.below(0.9)));
    }

    #[test]
    fn extremes_have_buckets_and_batches_beyond_their_bounds_are_refused() {
        let mut batches = Batches::default();
        for latency in [0, 1, u64::MAX, u64::MAX / 2] {
            batches.record(Span::from_nanos(u64::MAX), Span::from_nanos(latency));
        }
        assert_eq!(Batches::try_from(Kept::from(batches.clone())), Ok(batches.clone()));
        let long = Kept { length_ns: 3 << 20, ..batches.kept.clone() };
        let many = Kept { batches: vec![Batch::default(); BATCHES_MAX + 1], ..Kept::default() };
        let wide = Kept { batches: vec![Batch { first: 500, counts: vec![1; 13] }], ..Kept::default() };
        assert!([long, many, wide].into_iter().all(|kept| Batches::try_from(kept).is_err()));
    }
}
