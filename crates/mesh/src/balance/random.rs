//! `random`: each instance is equally likely.

use meshsim_actor::Rng;

pub(super) fn pick(n: usize, rng: &mut Rng) -> usize {
    // A single instance needs no draw.
    if n == 1 { 0 } else { rng.below(n as u32) as usize }
}
