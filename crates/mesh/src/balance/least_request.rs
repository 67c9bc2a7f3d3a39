//! `least_request`: the less busy of two random ones.
//!
//! With replacement, and the first wins a tie, as in Envoy's `LeastRequestLoadBalancer`; the theory is Mitzenmacher
//! 2001, "The Power of Two Choices in Randomized Load Balancing".

use meshsim_actor::Rng;

use super::Peer;

pub(super) fn pick(peers: &[Peer], rng: &mut Rng) -> usize {
    let n = peers.len() as u32;
    let (first, second) = (rng.below(n) as usize, rng.below(n) as usize);
    if peers[second].active < peers[first].active { second } else { first }
}
