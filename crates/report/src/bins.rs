//! Latencies in bins of a logarithmic scale, for a picture: twenty to a decade.

use std::collections::BTreeMap;

use meshsim_actor::Span;
use meshsim_mesh::measure::Histogram;

/// Bins to a decade.
pub const BINS_PER_DECADE: u32 = 20;

/// Lower bounds of the bins of a decade, in millionths of the start of the decade: 10^(n / 20). Written out, since the
/// powers of one machine's library need not be those of another's.
const BEGIN: [u64; BINS_PER_DECADE as usize] = [
    1_000_000, 1_122_018, 1_258_925, 1_412_538, 1_584_893, 1_778_279, 1_995_262, 2_238_721, 2_511_886, 2_818_383,
    3_162_278, 3_548_134, 3_981_072, 4_466_836, 5_011_872, 5_623_413, 6_309_573, 7_079_458, 7_943_282, 8_912_509,
];

/// Number of latencies in each bin that is not empty, by rising bin. Bin n starts at 10^(n / 20) nanoseconds; latencies
/// of zero are in bin 0.
pub(crate) fn bins(latency: &Histogram) -> Vec<(u32, u64)> {
    let mut bins = BTreeMap::new();
    for (span, count) in latency.recorded() {
        let all: &mut u64 = bins.entry(bin(span)).or_default();
        *all = all.saturating_add(count);
    }
    bins.into_iter().collect()
}

fn bin(span: Span) -> u32 {
    let decade = span.nanos().checked_ilog10().unwrap_or(0);
    let millionths = u128::from(span.nanos()) * 1_000_000 / 10_u128.pow(decade);
    let within = BEGIN.partition_point(|begin| u128::from(*begin) <= millionths);
    decade * BINS_PER_DECADE + (within as u32).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_is_a_twentieth_of_a_decade() {
        let of = |ns: u64| bin(Span::from_nanos(ns));
        assert_eq!([0, 1, 9, 10, 1_000, 1_000_000, 999_999].map(of), [0, 0, 19, 20, 60, 120, 119]);
        assert_eq!([1_122_017, 1_122_018, 5_000_000, 1_000_000_000].map(of), [120, 121, 133, 180]);
        assert_eq!(of(u64::MAX), 19 * 20 + 5);
        let mut latency = Histogram::default();
        [1_000_000, 1_050_000, 20_000_000].into_iter().for_each(|ns| latency.record(Span::from_nanos(ns)));
        assert_eq!(bins(&latency), [(120, 2), (146, 1)]);
    }
}
