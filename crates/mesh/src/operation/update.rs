//! `update`: `V' = V + g (U - V)`, where each instance has a whole version and V is their mean.

use meshsim_actor::Rng;

use super::{Observed, Turn, Wanted, count_of};
use crate::model::Strategy;

pub(super) fn turn(
    to: u32,
    rate: f64,
    strategy: &Strategy,
    k: u32,
    wanted: &mut Wanted,
    observed: Observed<'_>,
    rng: &mut Rng,
) -> Turn {
    let old = wanted.other_than(to);
    if old == 0 {
        wanted.v = f64::from(to);
        return Turn::Reached;
    }
    let all = wanted.instances();
    match strategy {
        Strategy::Bernoulli => {
            let moved = (0..old).filter(|_| rng.chance(rate)).count() as u32;
            wanted.move_to(to, moved);
            wanted.v += rate * (f64::from(to) - wanted.v);
        }
        Strategy::Batch => {
            wanted.move_to(to, share_of(rate, old).min(old));
            wanted.v += rate * (f64::from(to) - wanted.v);
        }
        Strategy::Canary { weights } => {
            let Some(weight) = weights.get(k as usize) else { return Turn::Reached };
            let new = count_of(&wanted.versions, to);
            wanted.move_to(to, share_of(*weight, all).saturating_sub(new).min(old));
            wanted.v = wanted.v_mean();
            if k as usize + 1 == weights.len() {
                return Turn::Last;
            }
        }
        Strategy::Rolling { max_surge, max_unavailable } => {
            // `s` holds the wanted number while the instances are more for a time.
            let n = wanted.s.round().max(0.0) as u32;
            if !roll(to, n, *max_surge, *max_unavailable, wanted, observed) {
                return Turn::Wait;
            }
            wanted.v = wanted.v_mean();
        }
    }
    if wanted.other_than(to) > 0 {
        return Turn::Step;
    }
    wanted.v = f64::from(to);
    Turn::Last
}

/// `ceil(share * n)`, with the noise of the product taken off.
fn share_of(share: f64, n: u32) -> u32 {
    (share * f64::from(n) - 1e-9).ceil().max(0.0) as u32
}

/// One round as a Kubernetes Deployment controller makes it; false if the reports do not allow any.
///
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>
fn roll(to: u32, n: u32, max_surge: f64, max_unavailable: f64, wanted: &mut Wanted, observed: Observed<'_>) -> bool {
    let surge = share_of(max_surge, n);
    let unavailable = match (max_unavailable * f64::from(n) + 1e-9).floor() as u32 {
        0 if surge == 0 => 1,
        some => some,
    };
    let old = wanted.other_than(to);
    let new = count_of(&wanted.versions, to);
    let new_ready = count_of(observed.ready, to).min(new);

    let spare = (old + new_ready).saturating_sub(n.saturating_sub(unavailable));
    let removed = spare.min(old);
    let room = (n + surge).saturating_sub(old - removed + new);
    let created = room.min(n.saturating_sub(new));
    if removed == 0 && created == 0 {
        return false;
    }
    // Those that are replaced one for one move; the difference grows or shrinks the whole.
    let moved = removed.min(created);
    wanted.move_to(to, moved);
    super::add(&mut wanted.versions, to, created - moved);
    let mut surplus = removed - moved;
    for (version, count) in &mut wanted.versions {
        let gone = if *version == to { 0 } else { surplus.min(*count) };
        *count -= gone;
        surplus -= gone;
    }
    wanted.versions.retain(|(_, count)| *count > 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_of(n: u32) -> Wanted {
        Wanted { deployed: true, s: f64::from(n), v: 1.0, versions: vec![(1, n)], ..Wanted::default() }
    }

    #[test]
    fn a_rolling_update_of_ten_takes_two_rounds_of_new_instances_within_its_bounds() {
        let strategy = Strategy::Rolling { max_surge: 0.25, max_unavailable: 0.25 };
        let mut wanted = service_of(10);
        let mut rng = Rng::stream(1, "x");
        let mut rounds = vec![];
        let mut ready = wanted.versions.clone();
        loop {
            let before = count_of(&wanted.versions, 2);
            match turn(2, 1.0, &strategy, 0, &mut wanted, Observed { ready: &ready }, &mut rng) {
                Turn::Wait => panic!("all that was wanted was ready"),
                turn => {
                    let new = count_of(&wanted.versions, 2);
                    let available = before.min(new) + wanted.other_than(2);
                    assert!(available >= 8 && wanted.instances() <= 13, "{available} {wanted:?}");
                    rounds.push(new - before);
                    ready = wanted.versions.clone();
                    if turn != Turn::Step {
                        break;
                    }
                }
            }
        }
        assert_eq!(rounds, [5, 5, 0], "two rounds create, the last only takes the old ones away");
        assert_eq!((wanted.versions, wanted.v), (vec![(2, 10)], 2.0));
    }

    #[test]
    fn a_rolling_update_waits_for_reports() {
        let strategy = Strategy::Rolling { max_surge: 0.25, max_unavailable: 0.25 };
        let mut wanted = service_of(10);
        let mut rng = Rng::stream(1, "x");
        let first = wanted.versions.clone();
        let observed = Observed { ready: &first };
        assert_eq!(turn(2, 1.0, &strategy, 0, &mut wanted, observed, &mut rng), Turn::Step);
        assert_eq!(turn(2, 1.0, &strategy, 1, &mut wanted, observed, &mut rng), Turn::Wait);
    }

    #[test]
    fn neither_surge_nor_unavailable_means_one_at_a_time() {
        let strategy = Strategy::Rolling { max_surge: 0.0, max_unavailable: 0.0 };
        let mut wanted = service_of(3);
        let mut ready = wanted.versions.clone();
        let mut rng = Rng::stream(1, "x");
        let mut steps = 0;
        while turn(2, 1.0, &strategy, steps, &mut wanted, Observed { ready: &ready }, &mut rng) == Turn::Step {
            assert!(wanted.instances() <= 3);
            ready = wanted.versions.clone();
            steps += 1;
        }
        assert_eq!((steps, wanted.versions), (2, vec![(2, 3)]));
    }

    #[test]
    fn bernoulli_moves_all_in_the_expected_number_of_steps() {
        // g = .2, N = 100: 23.746818 steps in the mean.
        let mut rng = Rng::stream(11, "bernoulli");
        let runs = 4000;
        let mut total = 0;
        for _ in 0..runs {
            let mut wanted = service_of(100);
            while wanted.other_than(2) > 0 {
                turn(2, 0.2, &Strategy::Bernoulli, 0, &mut wanted, Observed::default(), &mut rng);
                total += 1;
            }
        }
        let mean = f64::from(total) / f64::from(runs);
        assert!((mean - 23.746_818).abs() < 0.35, "{mean}");
    }

    #[test]
    fn batch_and_canary_round_up() {
        let mut rng = Rng::stream(1, "x");
        let mut wanted = service_of(10);
        turn(2, 0.3, &Strategy::Batch, 0, &mut wanted, Observed::default(), &mut rng);
        assert_eq!((wanted.versions.as_slice(), wanted.v), (&[(1, 7), (2, 3)][..], 1.3));
        let mut wanted = service_of(10);
        let canary = Strategy::Canary { weights: [0.05, 0.5, 1.0].into() };
        let new: Vec<u32> = (0..3)
            .map(|k| {
                turn(2, 1.0, &canary, k, &mut wanted, Observed::default(), &mut rng);
                count_of(&wanted.versions, 2)
            })
            .collect();
        assert_eq!(new, [1, 5, 10]);
    }
}
