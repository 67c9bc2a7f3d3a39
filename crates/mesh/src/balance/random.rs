//! `random`: each equally likely.

use meshsim_actor::Rng;

use super::Peer;

pub(super) fn pick(peers: &[Peer], rng: &mut Rng) -> usize {
    rng.below(peers.len() as u32) as usize
}
