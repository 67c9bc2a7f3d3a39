//! `p2c_peak_ewma`: of two distinct random ones that with the lower `estimate * (pending + 1)`.
//!
//! The estimate is sensitive to peaks: a slower sample replaces it, a faster one lets it decay. (Linkerd's and Finagle's
//! balancer; Ruslan Nigmatullin's and Marius Eriksen's "peak EWMA", as in `tower::load::PeakEwma`.)

use meshsim_actor::{Rng, Span, Time};

use super::Peer;

pub(super) fn pick(peers: &[Peer], start: Span, rng: &mut Rng) -> usize {
    let n = peers.len() as u32;
    let first = rng.below(n);
    let second = (first + 1 + rng.below(n - 1)) % n;
    let cost = |at: u32| {
        let peer = &peers[at as usize];
        let estimate = if peer.estimate_ns == 0.0 { start.nanos() as f64 } else { peer.estimate_ns };
        estimate * f64::from(peer.active + 1)
    };
    (if cost(second) < cost(first) { second } else { first }) as usize
}

pub(super) fn learn(peer: &mut Peer, decay: Span, now: Time, took: Span) {
    let took = took.nanos() as f64;
    if took >= peer.estimate_ns || peer.estimate_ns == 0.0 {
        peer.estimate_ns = took;
    } else {
        let kept = (-now.since(peer.learnt).secs() / decay.secs()).exp();
        peer.estimate_ns = took + (peer.estimate_ns - took) * kept;
    }
    peer.learnt = now;
}
