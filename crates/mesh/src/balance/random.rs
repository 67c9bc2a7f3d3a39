//! `random`: each equally likely.

use meshsim_actor::Rng;

pub(super) fn pick(n: usize, rng: &mut Rng) -> usize {
    // Where there is no choice nothing is drawn.
    if n == 1 { 0 } else { rng.below(n as u32) as usize }
}
