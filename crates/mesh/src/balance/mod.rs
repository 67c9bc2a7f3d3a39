//! How a caller chooses among the instances of a service.
//!
//! Each policy is a file with a `pick` over what this caller knows of the instances ([`Peer`]); nothing is shared between
//! callers, as between real proxies.
//!
//! To add one: a file here, a variant of [`Balancer`], a line in [`pick`] (and, if it learns, in [`learn`]).

mod least_request;
mod p2c_peak_ewma;
mod random;
mod round_robin;

use meshsim_actor::{Rng, Span, Time};
use serde::{Deserialize, Serialize};

use crate::model::Balancer;

/// What one caller knows of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// This caller's requests under way there.
    pub active: u32,
    /// What the policy has learnt of its latency, in nanoseconds; zero: nothing yet.
    pub estimate_ns: f64,
    /// When it learnt that.
    pub learnt: Time,
}

/// Chooses one of `peers`, which are not empty. `turn` is the caller's own counter for policies that go in turn.
pub fn pick(balancer: &Balancer, peers: &[Peer], turn: &mut u32, rng: &mut Rng) -> usize {
    if peers.len() == 1 {
        return 0;
    }
    match balancer {
        Balancer::Random => random::pick(peers, rng),
        Balancer::RoundRobin => round_robin::pick(peers, turn),
        Balancer::LeastRequest => least_request::pick(peers, rng),
        Balancer::PeakEwma { start, .. } => p2c_peak_ewma::pick(peers, *start, rng),
    }
}

/// Tells the policy how long a call took.
pub fn learn(balancer: &Balancer, peer: &mut Peer, now: Time, took: Span) {
    if let Balancer::PeakEwma { decay, .. } = balancer {
        p2c_peak_ewma::learn(peer, *decay, now, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("balance", include_str!("mod.rs"));
    }

    #[test]
    fn round_robin_goes_in_turn_and_random_reaches_all_alike() {
        let peers = [Peer::default(); 4];
        let (mut turn, mut rng) = (0, Rng::stream(1, "x"));
        let picks: Vec<usize> = (0..6).map(|_| pick(&Balancer::RoundRobin, &peers, &mut turn, &mut rng)).collect();
        assert_eq!(picks, [0, 1, 2, 3, 0, 1]);
        let mut counts = [0_u32; 4];
        (0..40_000).for_each(|_| counts[pick(&Balancer::Random, &peers, &mut turn, &mut rng)] += 1);
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 400), "{counts:?}");
    }

    #[test]
    fn least_request_takes_the_less_busy_of_two_so_the_busiest_is_taken_only_against_itself() {
        let peers = [0, 1, 2, 9].map(|active| Peer { active, ..Peer::default() });
        let (mut turn, mut rng) = (0, Rng::stream(1, "x"));
        let mut counts = [0_u32; 4];
        (0..16_000).for_each(|_| counts[pick(&Balancer::LeastRequest, &peers, &mut turn, &mut rng)] += 1);
        // With replacement, rank r of 4 wins in (2 (4 - r) - 1) of 16 draws: 7, 5, 3, 1.
        for (count, sixteenths) in counts.iter().zip([7_000, 5_000, 3_000, 1_000]) {
            assert!(count.abs_diff(sixteenths) < 300, "{counts:?}");
        }
    }

    #[test]
    fn peak_ewma_avoids_the_slow_one_at_once_and_forgives_with_its_time_constant() {
        let balancer = Balancer::PeakEwma { decay: Span::from_secs(10), start: Span::from_millis(30) };
        let mut peer = Peer::default();
        learn(&balancer, &mut peer, Time::ZERO, Span::from_millis(10));
        assert_eq!(peer.estimate_ns, 10e6);
        learn(&balancer, &mut peer, Time::ZERO, Span::from_millis(500));
        assert_eq!(peer.estimate_ns, 500e6, "a slower sample replaces the estimate");
        learn(&balancer, &mut peer, Time::from_nanos(10_000_000_000), Span::from_millis(10));
        let decayed = 10e6 + 490e6 / std::f64::consts::E;
        assert!((peer.estimate_ns / decayed - 1.0).abs() < 1e-9, "a faster one decays it: {}", peer.estimate_ns);

        let peers = [peer, Peer { estimate_ns: 10e6, ..peer }];
        let (mut turn, mut rng) = (0, Rng::stream(1, "x"));
        assert!((0..100).all(|_| pick(&balancer, &peers, &mut turn, &mut rng) == 1));
    }
}
