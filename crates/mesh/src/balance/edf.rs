//! Weighted `round_robin` and `least_request`: the earliest deadline first.
//!
//! Each instance has a deadline. The one with the earliest is chosen, and gets the next one 1 / weight later: so each
//! is chosen in proportion to its weight, as evenly as possible. For `least_request` the weight is divided by the
//! requests in flight, this one included (Envoy's `active_request_bias` of 1). (Envoy's `EdfLoadBalancerBase`, which
//! does the same if weights differ:
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#weighted-least-request>.)
//!
//! A caller keeps 24 bytes for each instance, so callers of services with weights take more memory than others.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use meshsim_actor::Rng;
use serde::{Deserialize, Serialize};

use super::least_request::Counts;
use super::{Occasion, replaced};
use crate::view::InstanceRef;

/// A caller's deadlines of the instances of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deadlines {
    /// The instances that the other fields refer to.
    #[serde(with = "meshsim_actor::shared")]
    instances: Arc<[InstanceRef]>,
    queue: BinaryHeap<Next>,
    /// The deadline of the last choice.
    now: f64,
    /// Choices and instances so far: ties go to the first.
    order: u64,
    /// Requests in flight, for `least_request`.
    active: Option<Counts>,
    /// The streams from which the first deadlines are drawn: the caller's own.
    place: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Next {
    deadline: f64,
    order: u64,
    at: u32,
}

impl Eq for Next {}

impl Ord for Next {
    /// The earliest deadline is the greatest, as the heap gives the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Deadlines {
    /// No instances yet. With `counts`, the requests in flight lower the weight.
    pub(super) fn new(counts: bool, place: u32) -> Self {
        let active = counts.then(Counts::default);
        Deadlines { instances: Arc::default(), queue: BinaryHeap::new(), now: 0.0, order: 0, active, place }
    }

    #[inline(never)]
    pub(super) fn pick(&mut self, instances: &Arc<[InstanceRef]>, occasion: &Occasion<'_>) -> usize {
        self.follow(instances, occasion);
        let Some(next) = self.queue.pop() else { return 0 };
        self.now = next.deadline;
        let mut weight = occasion.weight(instances[next.at as usize]);
        if let Some(active) = &mut self.active {
            active.add(next.at, instances.len());
            weight /= f64::from(active.get(next.at));
        }
        self.order += 1;
        self.queue.push(Next { deadline: self.now + 1.0 / weight, order: self.order, at: next.at });
        next.at as usize
    }

    pub(super) fn ended(&mut self, to: InstanceRef) {
        if let (Some(active), Ok(at)) = (&mut self.active, self.instances.binary_search(&to)) {
            active.take(at as u32);
        }
    }

    /// The instances have changed: those that stay keep their deadlines and counts. Each new one begins at a point of
    /// its interval that is drawn for this caller, so that callers do not act as one.
    fn follow(&mut self, instances: &Arc<[InstanceRef]>, occasion: &Occasion<'_>) {
        let Some(old) = replaced(&mut self.instances, instances) else { return };
        let mut known = vec![None; instances.len()];
        for next in std::mem::take(&mut self.queue) {
            if let Ok(at) = instances.binary_search(&old[next.at as usize]) {
                known[at] = Some(Next { at: at as u32, ..next });
            }
        }
        let first = |(at, known): (usize, Option<Next>)| {
            known.unwrap_or_else(|| {
                let name = super::hash_of(instances[at]);
                let phase = Rng::keyed(occasion.mesh.seed ^ PHASES, self.place.into(), name).unit();
                self.order += 1;
                let deadline = self.now + phase / occasion.weight(instances[at]);
                Next { deadline, order: self.order, at: at as u32 }
            })
        };
        self.queue = known.into_iter().enumerate().map(first).collect();
        if let Some(active) = &mut self.active {
            active.follow(&old, instances);
        }
    }
}

/// The streams of first deadlines: apart from all other streams that a number keys.
const PHASES: u64 = u64::from_be_bytes(*b"\0\0phases");

#[cfg(test)]
mod tests {
    use meshsim_actor::Time;

    use super::*;
    use crate::balance::tests::{instances, nodes, service};
    use crate::model::{Mesh, ServiceId};

    fn mesh(weights: &[f64]) -> Mesh {
        let nodes = nodes(weights.len() as u32);
        Mesh { weights: weights.to_vec(), nodes, services: vec![service()], ..Mesh::default() }
    }

    fn occasion(mesh: &Mesh) -> Occasion<'_> {
        Occasion { mesh, service: ServiceId(0), root: 0, now: Time::ZERO, board: None, young: &[] }
    }

    #[test]
    fn each_is_chosen_by_its_weight_and_as_evenly_as_possible() {
        let (mesh, four) = (mesh(&[1.0, 3.0, 0.5, 1.0]), instances(4));
        let mut known = Deadlines::new(false, 9);
        let picks: Vec<usize> = (0..5_500).map(|_| known.pick(&four, &occasion(&mesh))).collect();
        for (at, expected) in [1_000_usize, 3_000, 500, 1_000].into_iter().enumerate() {
            // In every stretch, not only on the whole.
            for stretch in picks.chunks(550) {
                let count = stretch.iter().filter(|picked| **picked == at).count();
                assert!(count.abs_diff(expected / 10) <= 1, "{at}: {count}");
            }
        }
    }

    #[test]
    fn callers_begin_with_instances_of_their_own() {
        let (mesh, four) = (mesh(&[1.0; 4]), instances(4));
        let mut firsts = [0_u32; 4];
        (0..4_000).for_each(|place| firsts[Deadlines::new(false, place).pick(&four, &occasion(&mesh))] += 1);
        assert!(firsts.iter().all(|count| count.abs_diff(1_000) < 120), "{firsts:?}");
    }

    #[test]
    fn requests_in_flight_lower_the_weight_and_instances_keep_theirs() {
        let (mesh, three) = (mesh(&[1.0; 4]), instances(3));
        let mut known = Deadlines::new(true, 1);
        // The first two never answer.
        let mut counts = [0_u32; 4];
        for _ in 0..3_000 {
            let at = known.pick(&three, &occasion(&mesh));
            counts[at] += 1;
            if at == 2 {
                known.ended(three[2]);
            }
        }
        // The n-th choice of one that never answers comes n later: n^2 / 2 is the number of choices of the third.
        let expected = (2.0 * f64::from(counts[2])).sqrt();
        for count in &counts[..2] {
            assert!((f64::from(*count) / expected - 1.0).abs() < 0.05, "{counts:?}");
        }
        let four = instances(4);
        let mut answered = || {
            let at = known.pick(&four, &occasion(&mesh));
            known.ended(four[at]);
            at
        };
        let next: Vec<usize> = (0..20).map(|_| answered()).collect();
        // The first two have one deadline each, and their next one is some 76 choices later.
        assert!(next.contains(&3) && next.iter().filter(|at| **at < 2).count() <= 2, "{next:?}");
    }
}
