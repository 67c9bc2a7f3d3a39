//! Latencies, counted in buckets.

use std::fmt;

use meshsim_actor::Span;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sparse::{Scale, Sparse};

/// A histogram of spans up to an hour; longer ones count as that.
///
/// Fine: three significant digits, from a nanosecond on; for figures that a person asked for. Coarse: two significant
/// digits, from a microsecond on; a sixteenth of the memory, for figures that exist thousands of times. (HdrHistogram,
/// Gil Tene; the sum is kept beside it, so that the mean is exact.)
#[derive(Clone)]
pub struct Histogram {
    /// Takes no memory until something is recorded.
    pub(super) counts: Option<Box<hdrhistogram::Histogram<u64>>>,
    pub(super) sum_ns: u128,
    /// The shortest and the longest, exactly; of no spans, the greatest and the least of numbers.
    pub(super) extremes_ns: (u64, u64),
    pub(super) is_coarse: bool,
}

/// The longest span that a [`Histogram`] tells apart.
pub const HISTOGRAM_MAX: Span = Span::from_secs(3600);

impl Default for Histogram {
    /// Fine and empty.
    fn default() -> Self {
        Histogram { counts: None, sum_ns: 0, extremes_ns: (u64::MAX, 0), is_coarse: false }
    }
}

impl Histogram {
    /// Coarse and empty.
    pub fn coarse() -> Self {
        Histogram { is_coarse: true, ..Histogram::default() }
    }

    pub(super) fn counts_mut(&mut self) -> &mut hdrhistogram::Histogram<u64> {
        let (least_ns, digits) = if self.is_coarse { (1000, 2) } else { (1, 3) };
        self.counts.get_or_insert_with(|| {
            let counts = hdrhistogram::Histogram::new_with_bounds(least_ns, 4 * least_ns, digits);
            let mut counts = counts.expect("bounds are valid");
            counts.auto(true);
            Box::new(counts)
        })
    }

    /// Records one span.
    pub fn record(&mut self, span: Span) {
        self.record_n(span, 1);
    }

    /// Adds the latencies of a window of a time series; `longest` is exact. The shortest is unknown afterwards.
    pub(crate) fn take(&mut self, scale: Scale, latencies: &Sparse, sum_ns: u64, longest: Span) {
        let counts = self.counts_mut();
        for (bucket, count) in latencies.filled() {
            let ns = scale.longest(bucket).min(HISTOGRAM_MAX).nanos();
            counts.record_n(ns, count.into()).expect("the histogram grows by itself");
        }
        self.sum_ns = self.sum_ns.saturating_add(sum_ns.into());
        self.extremes_ns = (0, self.extremes_ns.1.max(longest.nanos()));
    }

    pub(super) fn record_n(&mut self, span: Span, n: u64) {
        let ns = span.min(HISTOGRAM_MAX).nanos();
        self.sum_ns = self.sum_ns.saturating_add(u128::from(span.nanos()) * u128::from(n));
        self.extremes_ns = (self.extremes_ns.0.min(span.nanos()), self.extremes_ns.1.max(span.nanos()));
        self.counts_mut().record_n(ns, n).expect("the histogram grows by itself");
    }

    /// Number of spans.
    pub fn count(&self) -> u64 {
        self.counts.as_ref().map_or(0, |c| c.len())
    }

    /// Their exact mean; zero if there are none.
    pub fn mean(&self) -> Span {
        Span::from_nanos((self.sum_ns / u128::from(self.count().max(1))) as u64)
    }

    /// The span below which the share `q` of them lies (0 to 1), to the digits of the histogram, and never beyond the
    /// shortest and the longest; zero if there are none.
    pub fn quantile(&self, q: f64) -> Span {
        self.clamped(self.counts.as_ref().map_or(0, |c| c.value_at_quantile(q)))
    }

    /// The same where some spans had not ended when they were measured last: `pending` holds how long they had lasted.
    /// `None` if so many had not that the share is not reached. (Kaplan and Meier, "Nonparametric Estimation from
    /// Incomplete Observations", 1958; an end at the same time comes before a loss.)
    pub fn quantile_with(&self, pending: &Histogram, q: f64) -> Option<Span> {
        if pending.count() == 0 {
            return (self.count() > 0).then(|| self.quantile(q));
        }
        let filled = |histogram: &Histogram| -> Vec<(u64, u64)> {
            let counts = histogram.counts.iter().flat_map(|counts| counts.iter_recorded());
            counts.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())).collect()
        };
        let lost = filled(pending);
        let mut lost = lost.iter().peekable();
        let mut at_risk = self.count().saturating_add(pending.count());
        let mut surviving = 1.0;
        for (ns, ended) in filled(self) {
            while let Some((_, count)) = lost.next_if(|(at, _)| *at < ns) {
                at_risk -= count;
            }
            surviving *= 1.0 - ended as f64 / at_risk as f64;
            at_risk -= ended;
            // The share is given in decimals, which no float is.
            if 1.0 - surviving + 1e-12 >= q {
                return Some(self.clamped(ns));
            }
        }
        None
    }

    pub(super) fn clamped(&self, ns: u64) -> Span {
        let (least, most) = self.extremes_ns;
        Span::from_nanos(if least > most { 0 } else { ns.clamp(least, most) })
    }

    /// Its content: spans, to the digits of the histogram, by rising length, each with its number.
    pub fn recorded(&self) -> impl Iterator<Item = (Span, u64)> + '_ {
        let counts = self.counts.iter().flat_map(|counts| counts.iter_recorded());
        counts.map(|bucket| (self.clamped(bucket.value_iterated_to()), bucket.count_at_value()))
    }

    /// Number of spans longer than this, to the digits of the histogram.
    pub fn count_above(&self, span: Span) -> u64 {
        let counts = self.counts.iter().flat_map(|counts| counts.iter_recorded());
        let above = counts.filter(|bucket| bucket.value_iterated_to() > span.nanos());
        above.fold(0, |sum, bucket| sum.saturating_add(bucket.count_at_value()))
    }

    /// The longest, exactly; zero if there are none.
    pub fn max(&self) -> Span {
        Span::from_nanos(self.extremes_ns.1)
    }

    /// Adds all spans of another one.
    pub fn merge(&mut self, other: &Histogram) {
        if let Some(counts) = &other.counts {
            // The measurements of another process may have any value.
            self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
            let ((a, b), (c, d)) = (self.extremes_ns, other.extremes_ns);
            self.extremes_ns = (a.min(c), b.max(d));
            self.counts_mut().add(&**counts).expect("the histogram grows by itself");
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans, mean {}", self.count(), self.mean())
    }
}

/// Serialised form: the filled buckets.
#[derive(Serialize, Deserialize)]
pub(super) struct Buckets {
    pub(super) is_coarse: bool,
    pub(super) sum_ns: u128,
    pub(super) extremes_ns: (u64, u64),
    pub(super) filled: Vec<(u64, u64)>,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let filled = self
            .counts
            .iter()
            .flat_map(|counts| counts.iter_recorded())
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
            .collect();
        Buckets { is_coarse: self.is_coarse, sum_ns: self.sum_ns, extremes_ns: self.extremes_ns, filled }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let buckets = Buckets::deserialize(deserializer)?;
        let mut histogram = Histogram { is_coarse: buckets.is_coarse, ..Histogram::default() };
        for (ns, count) in buckets.filled {
            if ns > HISTOGRAM_MAX.nanos() * 2 {
                return Err(D::Error::custom("a bucket beyond the range of the histogram"));
            }
            histogram.record_n(Span::from_nanos(ns), count);
        }
        histogram.sum_ns = buckets.sum_ns;
        histogram.extremes_ns = buckets.extremes_ns;
        Ok(histogram)
    }
}
