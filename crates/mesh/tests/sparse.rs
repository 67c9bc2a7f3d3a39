//! Histograms of windows, from outside.

use std::collections::BTreeMap;

use meshsim_actor::Rng;
use meshsim_mesh::sparse::{Scale, Sparse};

#[test]
fn no_value_is_lost_however_many_wait_to_be_sorted_in() {
    for (buckets, values) in [(10, 300), (3_000, 20_000)] {
        let (mut rng, mut sparse, mut all) = (Rng::keyed(1, 0, 0), Sparse::default(), BTreeMap::new());
        for n in 1..=values {
            let bucket = rng.below(buckets) as u16;
            sparse.record(bucket);
            *all.entry(bucket).or_insert(0_u64) += 1;
            assert_eq!(sparse.count(), n);
        }
        let mut settled = sparse.clone();
        settled.settle();
        let mut up_to = 0;
        for (bucket, count) in all {
            up_to += count;
            let longest = Scale::Coarse.longest(bucket);
            assert_eq!(sparse.at_most(Scale::Coarse, longest), up_to);
            assert_eq!(settled.at_most(Scale::Coarse, longest), up_to);
        }
    }
}
