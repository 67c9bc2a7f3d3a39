//! Balancing: a caller's choice among the instances of a service.
//!
//! Each policy is a file with a `pick`. The state that it keeps of the instances is in [`Known`]. Callers share no
//! state, as real proxies share none. There are many callers, so the state is sparse: it holds nothing for an instance
//! that has no request in flight and whose estimate has faded.
//!
//! To add one: a file here, a variant of [`Balancer`], and of [`Known`] if it remembers anything; a line in each
//! `match`.

mod connection;
mod edf;
pub(crate) mod hosts;
mod keys;
mod least_loaded;
mod least_request;
mod maglev;
mod memo;
pub(crate) mod narrow;
mod p2c_peak_ewma;
mod random;
mod ranking;
mod ring_hash;
mod round_robin;
pub(crate) mod split;
pub(crate) mod subset;
pub(crate) mod weights;
mod zones;

use std::sync::Arc;

use meshsim_actor::{Rng, Span, Time, mix};
use serde::{Deserialize, Serialize};

use crate::board::LoadBoard;
use crate::model::{Balancer, Choices, Mesh, ServiceId};
use crate::view::InstanceRef;

use connection::Kept;
use edf::Deadlines;
use least_request::UnderWay;
use p2c_peak_ewma::Estimates;
use ranking::Ranking;

/// The call for which an instance is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The mesh.
    pub mesh: &'a Mesh,
    /// Service that is called.
    pub service: ServiceId,
    /// The request that entered the mesh: [`RequestId::root`](crate::RequestId::root).
    pub root: u64,
    /// The caller's time.
    pub now: Time,
    /// The latest load board of the service, if it has one.
    pub board: Option<&'a Arc<LoadBoard>>,
    /// Its instances that are new, each with the time from which the caller knows it, by rising (node, ordinal).
    pub young: &'a [(InstanceRef, Time)],
}

/// Takes in the latest list of instances. Returns the former one if it had other instances.
///
/// An equal list can be another one in memory: those of zones are made anew when a run is resumed.
fn replaced(known: &mut Arc<[InstanceRef]>, latest: &Arc<[InstanceRef]>) -> Option<Arc<[InstanceRef]>> {
    if Arc::ptr_eq(known, latest) {
        return None;
    }
    let old = std::mem::replace(known, latest.clone());
    (old != *latest).then_some(old)
}

/// A hash of an instance that does not depend on the others.
fn hash_of(instance: InstanceRef) -> u64 {
    mix(u64::from(instance.node.0) << 32 | u64::from(instance.ordinal))
}

/// State that one caller keeps of the instances of one service, as its balancer needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Known {
    /// For `random`, for those that hash, and for `least_loaded`: nothing.
    Nothing,
    /// For `round_robin`: whose turn it is.
    Turn(u32),
    /// For `least_request`: requests in flight.
    UnderWay(Box<UnderWay>),
    /// For `least_request` of all: instances by their requests in flight.
    Ranking(Box<Ranking>),
    /// For `round_robin` and `least_request` with weights: deadlines.
    Deadlines(Box<Deadlines>),
    /// For `p2c_peak_ewma`: requests in flight, and latency estimates.
    Estimates(Box<Estimates>),
    /// For `connection`: idle connections.
    Kept(Box<Kept>),
}

impl Known {
    /// State without any instance. `place` is the position at which turns begin: any number, a different one for each
    /// caller.
    pub fn new(balancer: &Balancer, place: u32) -> Self {
        match balancer {
            Balancer::Random | Balancer::RingHash { .. } | Balancer::Maglev { .. } | Balancer::LeastLoaded { .. } => {
                Known::Nothing
            }
            Balancer::RoundRobin => Known::Turn(place),
            Balancer::LeastRequest { choices: Choices::All } => Known::Ranking(Box::default()),
            Balancer::LeastRequest { .. } => Known::UnderWay(Box::default()),
            Balancer::PeakEwma { .. } => Known::Estimates(Box::default()),
            Balancer::Connection { .. } => Known::Kept(Box::default()),
        }
    }

    /// The same for instances that may differ in weight.
    pub fn weighted(balancer: &Balancer, place: u32) -> Self {
        match balancer {
            Balancer::RoundRobin => Known::Deadlines(Box::new(Deadlines::new(false, place))),
            Balancer::LeastRequest { .. } => Known::Deadlines(Box::new(Deadlines::new(true, place))),
            _ => Known::new(balancer, place),
        }
    }

    /// Chooses one of `instances`, which are not empty, and counts a request there.
    pub fn pick(
        &mut self,
        balancer: &Balancer,
        instances: &Arc<[InstanceRef]>,
        occasion: &Occasion<'_>,
        rng: &mut Rng,
    ) -> usize {
        if let (Known::Kept(kept), Balancer::Connection { idle, .. }) = (&mut *self, balancer)
            && let Some(at) = kept.pick(instances, *idle, occasion.now)
        {
            return at;
        }
        match (self, balancer) {
            (Known::Deadlines(deadlines), _) => deadlines.pick(instances, occasion),
            (Known::Turn(turn), _) => round_robin::pick(instances.len(), turn),
            (Known::UnderWay(in_flight), Balancer::LeastRequest { choices }) => {
                in_flight.pick(*choices, instances, rng)
            }
            (Known::Ranking(ranking), _) => ranking.pick(instances, rng),
            (Known::Estimates(estimates), Balancer::PeakEwma { decay, start }) => {
                estimates.pick(instances, *decay, *start, occasion, rng)
            }
            (_, Balancer::RingHash { keys, .. } | Balancer::Maglev { keys, .. }) => {
                let key = keys.of(occasion.mesh.seed, occasion.root);
                memo::hashed(balancer, instances, (occasion.mesh, occasion.service), key)
            }
            (_, Balancer::LeastLoaded { choices, .. }) => least_loaded::pick(*choices, instances, occasion, rng),
            _ if occasion.is_weighted() => weights::draw(instances, occasion, rng) as usize,
            _ => random::pick(instances.len(), rng),
        }
    }

    /// A request to `to` that took `took` is no longer in flight.
    pub fn ended(&mut self, balancer: &Balancer, to: InstanceRef, now: Time, took: Span) {
        match (self, balancer) {
            (Known::UnderWay(in_flight), _) => in_flight.ended(to),
            (Known::Ranking(ranking), _) => ranking.ended(to),
            (Known::Deadlines(deadlines), _) => deadlines.ended(to),
            (Known::Estimates(estimates), Balancer::PeakEwma { decay, .. }) => estimates.ended(to, *decay, now, took),
            (Known::Kept(kept), Balancer::Connection { max_idle, .. }) => kept.ended(to, *max_idle, now),
            _ => {}
        }
    }

    /// True if requests follow connections, which those that are given up close.
    pub(crate) fn keeps_connections(&self) -> bool {
        matches!(self, Known::Kept(_))
    }

    /// A request to `to` is no longer in flight, and its latency is unknown.
    pub fn cancelled(&mut self, to: InstanceRef) {
        match self {
            Known::UnderWay(in_flight) => in_flight.ended(to),
            Known::Ranking(ranking) => ranking.ended(to),
            Known::Deadlines(deadlines) => deadlines.ended(to),
            Known::Estimates(estimates) => estimates.cancelled(to),
            // Its connection is closed, and was not among the idle ones.
            Known::Nothing | Known::Turn(_) | Known::Kept(_) => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{NodeSpec, Service};
    use meshsim_actor::ActorId;

    /// This number of instances, each on its own node.
    pub(crate) fn instances(count: u32) -> Arc<[InstanceRef]> {
        (1..=count).map(|node| InstanceRef { node: ActorId(node), ordinal: 0, version: 1 }).collect()
    }

    /// A service with default settings.
    pub(crate) fn service() -> Service {
        crate::operation::tests::service()
    }

    /// This many nodes in one zone.
    pub(crate) fn nodes(count: u32) -> Vec<NodeSpec> {
        let node = |i| NodeSpec { name: format!("node-{i}"), cores: 8.0, zone: 0, joins: Time::ZERO };
        (0..count).map(node).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("balance", &include_str!("mod.rs").replace("pub(crate) mod", "mod"));
    }

    #[test]
    fn round_robin_goes_in_turn_from_its_place_and_random_reaches_all_alike() {
        let (four, mut rng) = (instances(4), Rng::stream(1, "x"));
        let mesh = Mesh { services: vec![service()], ..Mesh::default() };
        let occasion =
            Occasion { mesh: &mesh, service: ServiceId(0), root: 0, now: Time::ZERO, board: None, young: &[] };
        let mut in_turn = Known::new(&Balancer::RoundRobin, 6);
        let picks: Vec<usize> =
            (0..6).map(|_| in_turn.pick(&Balancer::RoundRobin, &four, &occasion, &mut rng)).collect();
        assert_eq!(picks, [2, 3, 0, 1, 2, 3]);
        let mut counts = [0_u32; 4];
        let mut random = Known::new(&Balancer::Random, 6);
        (0..40_000).for_each(|_| counts[random.pick(&Balancer::Random, &four, &occasion, &mut rng)] += 1);
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 400), "{counts:?}");
    }
}
