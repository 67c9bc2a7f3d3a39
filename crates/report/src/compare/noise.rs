//! Bounds below which a difference between runs is noise.
//!
//! Two runs of one experiment with different seeds differ. The bounds are derived from a summary:
//!
//! - **Counts** are taken as Poisson counts: the difference of counts a and b has the standard error sqrt(a + b). Calls
//!   that one request causes come together: a service that is called k times by each has the standard error sqrt(k (a +
//!   b)).
//! - **Percentiles** get a band that assumes no distribution. Of n samples, the number below the q-quantile is
//!   binomial, so the quantile lies between those of the ranks q n +- z sqrt(n q (1 - q)) (Conover, *Practical
//!   Nonparametric Statistics*, 3.2). The samples at these ranks are interpolated linearly between the percentiles of
//!   the summary. Where the density of latencies falls, such a line errs to the outside above a percentile and to the
//!   inside below it, so the wider of the two sides is used for both; below p50 a summary has no percentile. The bands
//!   of two runs add up as independent errors do. With z = 3 the upper rank exists whenever the percentile is reported
//!   at all (ten samples beyond it).
//! - **Settle times**, of which a run has one for each operation, are compared with the scatter of all its steps: each
//!   goes to all nodes alike, so each is a draw of the same distribution. Steps of the same time travel together and
//!   count once. The scatter is 1.4826 times the median distance from the median (the standard deviation, if it were
//!   normal), so a step that a crash delayed does not change it.
//! - **A floor**, a fraction of the base, holds below that: smaller differences are negligible. It is the only bound
//!   for messages, and for settle times of a run with few steps. Decisions (steps, outcomes, the history) have no
//!   noise.
//!
//! Counts are taken as independent. Requests that fail in one crash are not: there the true noise is larger than this
//! band, and only more seeds can show by how much. `calibration.rs` tests, figure by figure, how often random noise
//! alone is reported as a difference.

use schemars::JsonSchema;
use serde::Serialize;

use crate::figures::Latency;
use crate::summary::Summary;

/// Bounds of noise: a difference within either of them is noise.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Noise {
    /// This share of the base.
    pub floor: f64,
    /// So many standard errors of the difference of two runs that differ by chance alone; not for messages.
    pub standard_errors: f64,
}

/// 99.7 % of differences by chance lie within three standard errors: a report of a hundred figures marks less than one.
const STANDARD_ERRORS: f64 = 3.0;

/// Of these, so many count where requests are alike. The latencies of those that queue thin out towards long ones, and
/// the line between two percentiles errs to the outside there, by a third from p50 on: with all of them,
/// `calibration.rs` calls no difference in a hundred that chance makes one, but misses too many true ones.
const QUEUED: f64 = 0.9;

/// Number of step times that an estimate of the scatter needs.
const MOMENTS_MIN: usize = 5;

/// The default floor.
const FLOOR: f64 = 0.05;

impl Default for Noise {
    fn default() -> Self {
        Noise::with_floor(FLOOR)
    }
}

/// A difference to the base.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Difference {
    /// The figure minus that of the base, in the figure's unit. (Counts of runs with different measured times: minus
    /// the count that the base would have in the time of this run.)
    pub absolute: i64,
    /// The same as a share of the base's figure; `null` if that is 0.
    pub share: Option<f64>,
    /// The largest difference, up or down, that is taken for noise; in the figure's unit.
    pub band: u64,
    /// The difference is larger than the band.
    pub beyond: bool,
}

impl Noise {
    /// With another floor, as a share of the base.
    pub fn with_floor(floor: f64) -> Self {
        Noise { floor, standard_errors: STANDARD_ERRORS }
    }

    /// Two counts. `ratio`: how much longer the second was counted. `together`: how many of them have one cause.
    pub(super) fn counts(self, base: u64, other: u64, ratio: f64, together: f64) -> Difference {
        let expected = base as f64 * ratio;
        // If both have the same rate, the variance of the first is a, that of the second ratio * a, and the sum of the
        // counts estimates a.
        let variance = (base as f64 + other as f64) * ratio * together;
        self.difference(expected, other, self.standard_errors * variance.sqrt())
    }

    /// Two percentiles of the share `q`. `factor`: so many requests say as much as one independent one. `resolution`:
    /// the step between two figures that the histograms tell apart.
    pub(super) fn percentiles(
        self,
        q: f64,
        (base, base_latency): (u64, &Latency),
        (other, other_latency): (u64, &Latency),
        factor: f64,
        resolution: f64,
    ) -> Difference {
        let half =
            |value: u64, latency: &Latency| self.half_width(q, value, latency, factor) + resolution * value as f64;
        self.difference(base as f64, other, half(base, base_latency).hypot(half(other, other_latency)))
    }

    /// Two settling times, each with the scatter of its run's steps.
    pub(super) fn settling(self, (base, mine): (u64, f64), (other, theirs): (u64, f64)) -> Difference {
        self.difference(base as f64, other, self.standard_errors * mine.hypot(theirs))
    }

    /// Two figures of which nothing else is known.
    pub(super) fn single(self, base: u64, other: u64) -> Difference {
        self.difference(base as f64, other, 0.0)
    }

    /// Two figures that chance has no part in.
    pub(super) fn exact(base: u64, other: u64) -> Difference {
        Noise { floor: 0.0, standard_errors: 0.0 }.single(base, other)
    }

    fn difference(self, expected: f64, other: u64, band: f64) -> Difference {
        let exact = other as f64 - expected;
        let absolute = exact.round() as i64;
        let band = band.max(self.floor * expected);
        let share = (expected > 0.0).then(|| exact / expected);
        Difference { absolute, share, band: band as u64, beyond: exact.abs() > band }
    }

    /// Largest distance of the true quantile from the measured one.
    fn half_width(self, q: f64, value: u64, latency: &Latency, factor: f64) -> f64 {
        // See QUEUED.
        let errors = if factor > 1.0 { QUEUED * self.standard_errors } else { self.standard_errors };
        let reach = errors * (q * (1.0 - q) * factor / latency.count as f64).sqrt();
        let up = quantile(latency, q + reach).map_or(0.0, |upper| upper - value as f64);
        let down = quantile(latency, q - reach).map_or(0.0, |lower| value as f64 - lower);
        up.max(down).max(0.0)
    }
}

/// Scatter of the settle times of a run's steps, in nanoseconds; 0 if there are too few.
pub(super) fn scatter(summary: &Summary) -> f64 {
    let steps = summary.operations.iter().flat_map(|operation| &operation.steps);
    let mut moments: Vec<(f64, u64)> = steps.filter_map(|step| Some((step.decided_s, step.settle_time_ns?))).collect();
    moments.sort_by(|a, b| a.0.total_cmp(&b.0));
    let moments = moments.chunk_by(|a, b| a.0 == b.0);
    let spans: Vec<u64> = moments.map(|steps| steps.iter().map(|(_, span)| *span).max().unwrap_or(0)).collect();
    if spans.len() < MOMENTS_MIN {
        return 0.0;
    }
    let middle = median(spans.clone());
    1.4826 * median(spans.iter().map(|span| span.abs_diff(middle)).collect()) as f64
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// A quantile between those of the summary; `None` below the lowest.
fn quantile(latency: &Latency, q: f64) -> Option<f64> {
    let known = [
        (0.5, latency.p50_ns),
        (0.75, latency.p75_ns),
        (0.9, latency.p90_ns),
        (0.95, latency.p95_ns),
        (0.99, latency.p99_ns),
        (0.999, latency.p999_ns),
        (1.0, latency.max_ns),
    ];
    let mut below: Option<(f64, f64)> = None;
    for (level, nanos) in known.into_iter().filter_map(|(level, nanos)| Some((level, nanos? as f64))) {
        if level >= q {
            let Some((lower, from)) = below else { return (level == q).then_some(nanos) };
            return Some(from + (nanos - from) * (q - lower) / (level - lower));
        }
        below = Some((level, nanos));
    }
    below.map(|(_, nanos)| nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::{Dist, Rng, Span};
    use meshsim_mesh::measure::Histogram;

    const BARE: Noise = Noise { floor: 0.0, standard_errors: 3.0 };

    #[test]
    fn a_difference_of_counts_is_noise_within_three_roots_or_the_floor() {
        let of = |noise: Noise, base, other| noise.counts(base, other, 1.0, 1.0);
        assert_eq!(of(BARE, 5_000, 5_300), Difference { absolute: 300, share: Some(0.06), band: 304, beyond: false });
        assert!(of(BARE, 5_000, 5_306).beyond && of(BARE, 5_306, 5_000).beyond);
        assert_eq!(of(Noise::with_floor(0.1), 5_000, 5_306).band, 500);
        assert_eq!((of(BARE, 0, 9).beyond, of(BARE, 0, 10).beyond, of(BARE, 0, 10).share), (false, true, None));
        assert_eq!(of(BARE, 7, 7), Difference { absolute: 0, share: Some(0.0), band: 11, beyond: false });
        // Four of a kind come together: the band is twice as wide.
        assert_eq!(BARE.counts(5_000, 5_000, 1.0, 4.0).band, 600);
    }

    #[test]
    fn a_count_of_a_longer_time_is_held_against_the_base_at_that_length() {
        let difference = BARE.counts(1_000, 2_000, 2.0, 1.0);
        assert_eq!((difference.absolute, difference.share, difference.beyond), (0, Some(0.0), false));
        assert!(BARE.counts(1_000, 1_000, 2.0, 1.0).beyond);
        // A tenth is expected and one came, within 0.995 of it: the shown figure is rounded, the compared one is not.
        assert_eq!(BARE.counts(10, 1, 0.01, 1.0), Difference { absolute: 1, share: Some(9.0), band: 0, beyond: false });
        // A missing count is a difference of -100 %, however small the count.
        assert_eq!(BARE.counts(1, 0, 0.7, 1.0).share, Some(-1.0));
    }

    #[test]
    fn settling_times_differ_by_more_than_the_scatter_of_both_runs_or_not() {
        let of = |base, other| BARE.settling((base, 30.0), (other, 40.0));
        assert_eq!(of(1_000, 1_150), Difference { absolute: 150, share: Some(0.15), band: 150, beyond: false });
        assert!(of(1_000, 1_151).beyond && of(1_151, 1_000).beyond);
        assert_eq!((median(vec![5, 1, 900]), median(vec![])), (5, 0));
    }

    #[test]
    fn quantiles_between_those_of_the_summary_lie_on_a_line() {
        let latency =
            Latency { count: 1_000, p50_ns: Some(100), p90_ns: Some(180), max_ns: Some(280), ..Latency::default() };
        let all: Vec<_> = [0.49, 0.5, 0.7, 0.9, 0.95, 1.0, 1.2].map(|q| quantile(&latency, q).map(f64::round)).into();
        assert_eq!(all, [None, Some(100.0), Some(140.0), Some(180.0), Some(230.0), Some(280.0), Some(280.0)]);
        assert_eq!(quantile(&Latency::default(), 0.5), None);
    }

    /// Hundreds of pairs of runs that differ by chance alone, of distributions that latencies have.
    #[test]
    fn percentiles_that_differ_by_chance_are_hardly_ever_beyond_the_band() {
        let dists = [
            Dist::Exponential { at_least: Span::ZERO, mean: Span::from_millis(5) },
            Dist::LogNormal { median: Span::from_millis(5), sigma: 0.5 },
            Dist::Uniform { low: Span::from_millis(1), high: Span::from_millis(9) },
        ];
        let mut rng = Rng::keyed(1, 2, 3);
        for dist in dists {
            for count in [1_000, 20_000] {
                let mut run = || {
                    let mut histogram = Histogram::default();
                    (0..count).for_each(|_| histogram.record(dist.sample(&mut rng)));
                    Latency::new(&histogram)
                };
                let pairs = 300;
                let mut beyond = [0; 3];
                for _ in 0..pairs {
                    let (a, b) = (run(), run());
                    for (index, (q, of)) in super::super::PERCENTILES.into_iter().enumerate() {
                        let (mine, theirs) = (of(&a).unwrap_or(0), of(&b).unwrap_or(0));
                        beyond[index] += u32::from(BARE.percentiles(q, (mine, &a), (theirs, &b), 1.0, 0.001).beyond);
                    }
                }
                assert!(beyond.iter().all(|n| *n <= 4), "{dist:?}, {count}: {beyond:?} of {pairs} beyond");
            }
        }
    }
}
