//! `update`: `V' = V + g (U - V)`, where each instance has a whole version and V is their mean.

use meshsim_actor::Rng;

use super::rolling::{Rolling, roll, share_of};
use super::{Desired, Iteration, Observed, canary};
use crate::model::Strategy;

/// Update of the instances as in the file, and the number of the iteration.
#[derive(Clone, Copy)]
pub(super) struct Update<'a> {
    pub(super) to: u32,
    pub(super) rate: f64,
    pub(super) strategy: &'a Strategy,
    pub(super) k: u32,
}

pub(super) fn iterate(update: Update<'_>, wanted: &mut Desired, observed: Observed<'_>, rng: &mut Rng) -> Iteration {
    let turn = step(update, wanted, observed, rng);
    if matches!(turn, Iteration::Last | Iteration::Reached) {
        wanted.rolling = None;
    }
    turn
}

fn step(update: Update<'_>, wanted: &mut Desired, observed: Observed<'_>, rng: &mut Rng) -> Iteration {
    let Update { to, rate, strategy, k } = update;
    wanted.rolling = match *strategy {
        Strategy::Rolling { max_surge, max_unavailable } => Some(Rolling { max_surge, max_unavailable }),
        _ => None,
    };
    if let Strategy::Canary { weights } = strategy {
        return canary::iterate(to, weights, k as usize, wanted, observed);
    }
    // Instances that come from now on are of the version that is wanted, whichever operation they come by.
    wanted.target = to;
    // Extra instances of a superseded update are extra for a rolling one, and for no other.
    let dropped = if wanted.rolling.is_some() {
        wanted.canary = None;
        0
    } else {
        canary::leave(wanted, to) + wanted.drop_extra(observed)
    };
    let old = wanted.other_than(to);
    if old == 0 && wanted.extra() == 0 {
        wanted.v = f64::from(to);
        return if dropped > 0 { Iteration::Last } else { Iteration::Reached };
    }
    match strategy {
        Strategy::Bernoulli => {
            let moved = (0..old).filter(|_| rng.chance(rate)).count() as u32;
            wanted.move_to(to, moved, observed);
            wanted.v += rate * (f64::from(to) - wanted.v);
        }
        Strategy::Batch => {
            wanted.move_to(to, share_of(rate, old).min(old), observed);
            wanted.v += rate * (f64::from(to) - wanted.v);
        }
        Strategy::Rolling { max_surge, max_unavailable } => {
            if !roll(wanted, Rolling { max_surge: *max_surge, max_unavailable: *max_unavailable }, observed) {
                return Iteration::Wait;
            }
            wanted.v = wanted.v_mean();
        }
        Strategy::Canary { .. } => unreachable!("it was turned above"),
    }
    if wanted.other_than(to) > 0 || wanted.extra() > 0 {
        return Iteration::Step;
    }
    wanted.v = f64::from(to);
    Iteration::Last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Amount;
    use crate::operation::count_of;

    fn service_of(n: u32) -> Desired {
        Desired::of_one_version(n, 1)
    }

    fn rolling(max_surge: f64, max_unavailable: f64) -> Strategy {
        Strategy::Rolling { max_surge: Amount::Share(max_surge), max_unavailable: Amount::Share(max_unavailable) }
    }

    #[test]
    fn a_rolling_update_of_ten_takes_two_rounds_within_its_bounds() {
        let strategy = rolling(0.25, 0.25);
        let mut wanted = service_of(10);
        let mut rng = Rng::stream(1, "x");
        let mut rounds = vec![];
        let mut ready = wanted.versions.clone();
        loop {
            let before = count_of(&wanted.versions, 2);
            match iterate(
                Update { to: 2, rate: 1.0, strategy: &strategy, k: 0 },
                &mut wanted,
                Observed::of(&ready),
                &mut rng,
            ) {
                Iteration::Wait => panic!("all that was wanted was ready"),
                turn => {
                    let new = count_of(&wanted.versions, 2);
                    let available = before.min(new) + wanted.other_than(2);
                    assert!(available >= 8 && wanted.running() <= 13, "{available} {wanted:?}");
                    rounds.push(new - before);
                    ready = wanted.versions.clone();
                    if turn != Iteration::Step {
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
        let strategy = rolling(0.25, 0.25);
        let mut wanted = service_of(10);
        let mut rng = Rng::stream(1, "x");
        let first = wanted.versions.clone();
        let observed = Observed::of(&first);
        assert_eq!(
            iterate(Update { to: 2, rate: 1.0, strategy: &strategy, k: 0 }, &mut wanted, observed, &mut rng),
            Iteration::Step
        );
        assert_eq!(
            iterate(Update { to: 2, rate: 1.0, strategy: &strategy, k: 1 }, &mut wanted, observed, &mut rng),
            Iteration::Wait
        );
    }

    #[test]
    fn shares_that_both_round_to_0_mean_one_at_a_time() {
        let strategy = rolling(0.0, 0.1);
        let mut wanted = service_of(3);
        let mut ready = wanted.versions.clone();
        let mut rng = Rng::stream(1, "x");
        let mut steps = 0;
        while iterate(
            Update { to: 2, rate: 1.0, strategy: &strategy, k: steps },
            &mut wanted,
            Observed::of(&ready),
            &mut rng,
        ) == Iteration::Step
        {
            assert!(wanted.running() <= 3);
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
                iterate(
                    Update { to: 2, rate: 0.2, strategy: &Strategy::Bernoulli, k: 0 },
                    &mut wanted,
                    Observed::default(),
                    &mut rng,
                );
                total += 1;
            }
        }
        let mean = f64::from(total) / f64::from(runs);
        assert!((mean - 23.746_818).abs() < 0.35, "{mean}");
    }

    #[test]
    fn a_batch_rounds_up() {
        let mut rng = Rng::stream(1, "x");
        let mut wanted = service_of(10);
        iterate(
            Update { to: 2, rate: 0.3, strategy: &Strategy::Batch, k: 0 },
            &mut wanted,
            Observed::default(),
            &mut rng,
        );
        assert_eq!((wanted.versions.as_slice(), wanted.v), (&[(1, 7), (2, 3)][..], 1.3));
    }
}
