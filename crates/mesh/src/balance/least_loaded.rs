//! `least_loaded`: the instance with the fewest requests by a board that all callers read, and that may be old.
//!
//! Between two refreshes all callers send to the same few instances: the older the board, the more of them. So fewer
//! choices are better with an older board, and with a very old one a random choice is best (Mitzenmacher 2000, "How
//! Useful Is Old Information?", IEEE Transactions on Parallel and Distributed Systems 11(1)).

use std::sync::Arc;

use meshsim_actor::Rng;

use super::least_request::Distinct;
use super::{Occasion, memo, weights};
use crate::board::LoadBoard;
use crate::model::{Choices, Mesh};
use crate::view::InstanceRef;

/// Chooses one of `instances`. Without a board, each is equally likely.
#[inline(never)]
pub(super) fn pick(choices: Choices, instances: &Arc<[InstanceRef]>, occasion: &Occasion<'_>, rng: &mut Rng) -> usize {
    let n = instances.len() as u32;
    let Some(board) = occasion.board.filter(|_| n > 1) else {
        return if occasion.is_weighted() {
            weights::draw(instances, occasion, rng) as usize
        } else {
            super::random::pick(instances.len(), rng)
        };
    };
    let least = |drawn: &mut dyn Iterator<Item = u32>| {
        let load = |at: u32| load(instances[at as usize], board, occasion.mesh);
        // The first of equals.
        drawn.min_by(|a, b| load(*a).total_cmp(&load(*b))).unwrap_or(0) as usize
    };
    match choices {
        Choices::Replaced(draws) => least(&mut (0..draws.max(1)).map(|_| rng.below(n))),
        Choices::Distinct(draws) => least(&mut Distinct::new(n, draws.max(1), rng)),
        Choices::All => memo::least_loaded(instances, board, occasion.mesh, |least| {
            least.get(rng.below(least.len().max(1) as u32) as usize).copied().unwrap_or(0) as usize
        }),
    }
}

/// Requests at an instance with the one that would come, by its weight: with equal weights, the fewest requests are the
/// least load.
fn load(instance: InstanceRef, board: &LoadBoard, mesh: &Mesh) -> f64 {
    (f64::from(board.requests(instance.node, instance.ordinal)) + 1.0) / mesh.weight(board.service, instance)
}

/// Positions of the instances with the least load on the board.
pub(super) fn least(instances: &[InstanceRef], board: &LoadBoard, mesh: &Mesh) -> Vec<u32> {
    let mut least = Vec::new();
    let mut fewest = f64::INFINITY;
    for (at, instance) in (0..).zip(instances) {
        let load = load(*instance, board, mesh);
        if load < fewest {
            fewest = load;
            least.clear();
        }
        if load == fewest {
            least.push(at);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::{instances, service};
    use crate::board::InstanceLoad;
    use crate::model::ServiceId;
    use meshsim_actor::Time;

    #[test]
    fn the_least_loaded_on_the_board_is_chosen_whatever_has_happened_since() {
        let four = instances(4);
        let loads = [3, 1, 1].iter().zip(&*four);
        let loads = loads.map(|(requests, it)| InstanceLoad { node: it.node, ordinal: 0, requests: *requests });
        let mut loads: Vec<InstanceLoad> = loads.collect();
        loads.push(InstanceLoad { node: four[3].node, ordinal: 0, requests: 9 });
        let board = Arc::new(LoadBoard { service: ServiceId(0), round: 1, incarnation: 0, loads });
        let mesh = Mesh { services: vec![service()], ..Mesh::default() };
        let mut rng = Rng::stream(1, "x");
        let mut picked = |choices, board: Option<&Arc<LoadBoard>>| {
            let (service, now) = (ServiceId(0), Time::ZERO);
            let occasion = Occasion { mesh: &mesh, service, root: 0, now, board, young: &[] };
            let mut counts = [0_u32; 4];
            (0..16_000).for_each(|_| counts[pick(choices, &four, &occasion, &mut rng)] += 1);
            counts.map(|count| count.div_ceil(500) * 500 / 1000)
        };
        assert_eq!(picked(Choices::All, Some(&board))[0], 0);
        assert_eq!(picked(Choices::All, Some(&board))[3], 0);
        assert!(picked(Choices::All, Some(&board))[1].abs_diff(8) <= 1);
        // Of two draws with replacement: 9 only against itself, 3 against itself and 9.
        let two = picked(Choices::Replaced(2), Some(&board));
        assert!(two[3] <= 1 && two[0].abs_diff(3) <= 1 && two[1].abs_diff(6) <= 1, "{two:?}");
        assert!(picked(Choices::All, None).iter().all(|count| count.abs_diff(4) <= 1));
        // One that is not on the board is idle, as far as anybody knows.
        let five = instances(5);
        assert_eq!(least(&five, &board, &mesh), [4]);
    }
}
