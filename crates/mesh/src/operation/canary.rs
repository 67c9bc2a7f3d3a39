//! A canary: some instances of a new version beside the existing ones, and a fraction of the requests for them.
//!
//! The S instances of the old version stay. Beside them come `ceil(w S)` new ones, for the weight w of the step, at
//! least one. The weight is a share of requests: callers draw the version of each request, once so many new instances
//! are ready ([`Canary::in_force`]). At a weight of 1 the old ones go when S new ones are ready, and not before.
//!
//! A weight that was in force stays in force while any instance of the canary is ready, also where these are fewer than
//! it asked for, as after a crash or an extend: a weight is a rule of routing, and no measure of capacity. (Istio's
//! weighted routes and Flagger's canaries do the same.)

use serde::{Deserialize, Serialize};

use super::rolling::share_of;
use super::{Desired, Iteration, Observed, add, count_of};
use crate::model::Amount;

/// The canary in progress: it lasts until its weight is 1 and the old instances are gone, or an update supersedes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// The new version. Its instances are [extra](Desired::extra).
    pub version: u32,
    /// The weights of the steps so far, rising, in [0, 1]. Never empty; the last one is wanted.
    pub weights: Vec<f64>,
    /// The highest weight that was in force so far; 0 if none was.
    pub reached: f64,
    /// Its instances, whatever its weight is; `None`: as many as the weight asks for.
    pub scale: Option<Amount>,
}

impl Canary {
    /// The share of requests that the new version is to get.
    pub fn weight(&self) -> f64 {
        self.weights.last().copied().unwrap_or(0.0)
    }

    /// The share of requests that it gets while `ready` of its instances are ready beside `n` others: the highest
    /// weight so far for which these are enough, or that was in force before; 0 if there are none, or too few from the
    /// start.
    pub fn in_force(&self, n: u32, ready: u32) -> f64 {
        if ready == 0 {
            return 0.0;
        }
        let enough = self.weights.iter().rev().find(|weight| self.instances_for(**weight, n) <= ready);
        enough.copied().unwrap_or(0.0).max(self.reached)
    }

    /// Instances of it that are to be there beside `n` others.
    pub fn beside(&self, n: u32) -> u32 {
        match self.weight() {
            0.0 if self.scale.is_none() => 0,
            weight => self.instances_for(weight, n),
        }
    }

    /// Instances for which a weight is in force beside `n` others.
    fn instances_for(&self, weight: f64, n: u32) -> u32 {
        match self.scale {
            None => canary_instances(weight, n),
            Some(Amount::Instances(count)) => count,
            Some(Amount::Share(share)) => share_of(share, n),
        }
    }

    /// So many of its instances are ready beside `n` others: the weight that is in force now was.
    pub(super) fn saw(&mut self, n: u32, ready: u32) {
        self.reached = self.reached.max(self.in_force(n, ready));
    }

    /// The weight becomes this. Callers keep to a lower one until it is in force.
    fn weigh(&mut self, weight: f64) {
        self.weights.retain(|before| *before < weight);
        self.weights.push(weight);
        self.reached = self.reached.min(weight);
    }
}

/// Number of instances of a canary of this weight beside `n` others: `ceil(weight * n)`, at least one if there are any.
pub fn canary_instances(weight: f64, n: u32) -> u32 {
    share_of(weight, n).max(u32::from(n > 0))
}

pub(super) fn iterate(to: u32, weights: &[f64], k: usize, wanted: &mut Desired, observed: Observed<'_>) -> Iteration {
    let dropped = if wanted.canary.as_ref().is_some_and(|canary| canary.version != to) { leave(wanted, to) } else { 0 };
    if settle(to, wanted) {
        return if dropped > 0 { Iteration::Last } else { Iteration::Reached };
    }
    let before = wanted.versions.clone();
    let canary = of_version(to, wanted);
    match weights.get(k) {
        Some(weight) => {
            canary.weigh(*weight);
            canary.scale = None;
        }
        None if canary.weight() >= 1.0 && observed.available(to) >= wanted.instances => {
            promote(wanted);
            return Iteration::Last;
        }
        None => {}
    }
    stay_with_most(to, wanted);
    follow(wanted, observed);

    let weight = wanted.canary.as_ref().map_or(0.0, Canary::weight);
    let is_settled = weight < 1.0 && count_of(&wanted.versions, to) == canary_instances(weight, wanted.instances);
    let moved = k < weights.len() || wanted.versions != before;
    match (k + 1 < weights.len(), is_settled, moved) {
        (true, ..) | (false, false, true) => Iteration::Step,
        (false, true, true) => Iteration::Last,
        (false, true, false) => Iteration::Reached,
        (false, false, false) => Iteration::Wait,
    }
}

/// The canary of this version: the one in progress, or a new one.
fn of_version(to: u32, wanted: &mut Desired) -> &mut Canary {
    wanted.canary.get_or_insert_with(|| Canary { version: to, weights: Vec::new(), reached: 0.0, scale: None })
}

/// If an update to the canary's version stopped before its end: those that are to stay are of the version that most are
/// of.
fn stay_with_most(to: u32, wanted: &mut Desired) {
    if wanted.target == to {
        let most = wanted.old(to).max_by_key(|(version, count)| (*count, *version));
        wanted.target = most.map_or(to, |(version, _)| version);
    }
}

/// Sets the weight and the instances of a rollout's canary, which begins if there is none.
pub(crate) fn set(to: u32, weight: f64, scale: Option<Amount>, wanted: &mut Desired, observed: Observed<'_>) {
    if wanted.canary.as_ref().is_some_and(|canary| canary.version != to) {
        leave(wanted, to);
    }
    let canary = of_version(to, wanted);
    canary.weigh(weight);
    canary.scale = scale;
    stay_with_most(to, wanted);
    follow(wanted, observed);
}

/// Removes the canary of this version. Returns the number of removed instances.
pub(crate) fn remove(version: u32, wanted: &mut Desired) -> u32 {
    wanted.canary = None;
    let gone = take_away(version, wanted);
    wanted.v = wanted.v_mean();
    gone
}

fn take_away(version: u32, wanted: &mut Desired) -> u32 {
    let gone = count_of(&wanted.versions, version);
    wanted.versions.retain(|(of, _)| *of != version);
    gone
}

/// S instances of other versions, and beside them as many of the new one as its weight asks for. Of the new ones, more
/// than that stay only where they make up for others that are not ready.
pub(crate) fn follow(wanted: &mut Desired, observed: Observed<'_>) {
    let Some(canary) = &wanted.canary else { return };
    let (version, n) = (canary.version, wanted.instances);
    let beside = canary.beside(n);
    let have = count_of(&wanted.versions, version);
    // Without those of the new version, nothing is extra.
    wanted.versions.retain(|(other, _)| *other != version);
    let missing = n.saturating_sub(wanted.running());
    add(&mut wanted.versions, wanted.target, missing);
    wanted.drop_extra(observed);
    let ready: u32 = wanted.versions.iter().map(|(other, count)| observed.available(*other).min(*count)).sum();
    let stay = have.min(beside.saturating_add(n - ready.min(n)));
    add(&mut wanted.versions, version, beside.max(stay));
    wanted.v = wanted.v_mean();
}

/// Ends the canary for another update: if it is to another version, the canary's instances are removed at once, and the
/// requests go to those that had stayed. Returns the number of removed instances.
pub(super) fn leave(wanted: &mut Desired, to: u32) -> u32 {
    let Some(canary) = wanted.canary.take().filter(|canary| canary.version != to) else { return 0 };
    take_away(canary.version, wanted)
}

/// True if all instances are of this version, or there are none. Then those that come are of it, too, and it is no
/// canary.
pub(crate) fn settle(to: u32, wanted: &mut Desired) -> bool {
    let has_only = wanted.other_than(to) == 0;
    if has_only {
        (wanted.target, wanted.canary, wanted.v) = (to, None, f64::from(to));
    }
    has_only
}

/// The new version has all requests, and instances enough for them: the old ones go.
pub(crate) fn promote(wanted: &mut Desired) {
    let Some(canary) = wanted.canary.take() else { return };
    wanted.target = canary.version;
    wanted.versions.clear();
    add(&mut wanted.versions, canary.version, wanted.instances);
    wanted.v = f64::from(canary.version);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(to: u32, weights: &[f64], k: usize, wanted: &mut Desired, ready: &[(u32, u32)]) -> Iteration {
        iterate(to, weights, k, wanted, Observed::of(ready))
    }

    #[test]
    fn a_share_of_n_comes_beside_n_and_at_least_one() {
        let table = [(0.1, 10, 1), (0.1, 11, 2), (0.1, 1, 1), (0.5, 3, 2), (1.0, 7, 7), (1e-12, 4, 1), (0.5, 0, 0)];
        for (weight, n, beside) in table {
            assert_eq!(canary_instances(weight, n), beside, "{weight} of {n}");
        }
    }

    #[test]
    fn the_old_ones_go_when_as_many_new_ones_are_ready_and_not_before() {
        let weights = [0.1, 0.5, 1.0];
        let mut wanted = Desired::of_one_version(10, 1);
        let mut step = |k, ready: &[(u32, u32)]| {
            let turn = canary(2, &weights, k, &mut wanted, ready);
            (turn, wanted.versions.clone(), wanted.extra(), wanted.target)
        };
        assert_eq!(step(0, &[(1, 10)]), (Iteration::Step, vec![(1, 10), (2, 1)], 1, 1));
        assert_eq!(step(1, &[(1, 10), (2, 1)]), (Iteration::Step, vec![(1, 10), (2, 5)], 5, 1));
        assert_eq!(step(2, &[(1, 10), (2, 5)]), (Iteration::Step, vec![(1, 10), (2, 10)], 10, 1));
        assert_eq!(step(3, &[(1, 10), (2, 9)]), (Iteration::Wait, vec![(1, 10), (2, 10)], 10, 1));
        assert_eq!(step(3, &[(1, 10), (2, 10)]), (Iteration::Last, vec![(2, 10)], 0, 2));
        assert_eq!((wanted.v, wanted.canary), (2.0, None));
    }

    #[test]
    fn an_update_of_a_service_without_instances_gives_the_version_of_those_that_come() {
        let mut wanted = Desired::of_one_version(0, 1);
        assert_eq!(canary(2, &[0.5], 0, &mut wanted, &[]), Iteration::Reached);
        wanted.set_instances(3, Observed::of(&[]));
        assert_eq!((wanted.versions, wanted.v), (vec![(2, 3)], 2.0));
    }

    #[test]
    fn a_weight_is_in_force_once_its_instances_are_ready() {
        let mut canary = Canary { version: 2, weights: vec![0.1, 0.5, 1.0], reached: 0.0, scale: None };
        let shares = [0, 1, 4, 5, 9, 10].map(|ready| canary.in_force(10, ready));
        assert_eq!(shares, [0.0, 0.1, 0.1, 0.5, 0.5, 1.0]);
        // It stays in force while one of them is ready, beside ten or twenty, until a lower one is decided.
        canary.saw(10, 5);
        let shares = [0, 1, 4, 5, 9, 10].map(|ready| canary.in_force(10, ready));
        assert_eq!(shares, [0.0, 0.5, 0.5, 0.5, 0.5, 1.0]);
        assert_eq!(canary.in_force(20, 5), 0.5);
        canary.weigh(0.2);
        assert_eq!((canary.in_force(10, 1), canary.in_force(10, 2)), (0.2, 0.2));
    }

    #[test]
    fn requests_follow_the_weight_and_use_the_other_version_if_one_has_none() {
        let weights = vec![0.1, 0.5];
        let canary = Some(Canary { version: 3, weights, reached: 0.0, scale: None });
        let wanted = Desired { canary, ..Desired::of_one_version(4, 1) };
        assert_eq!(wanted.request_shares(&[(1, 3), (2, 1), (3, 2)]), [(1, 0.375), (2, 0.125), (3, 0.5)]);
        assert_eq!(wanted.request_shares(&[(1, 4), (3, 1)]), [(1, 0.9), (3, 0.1)]);
        assert_eq!(wanted.request_shares(&[(1, 4)]), [(1, 1.0)]);
        assert_eq!(wanted.request_shares(&[(3, 1)]), [(3, 1.0)]);
        assert_eq!(Desired::of_one_version(4, 1).request_shares(&[(1, 3), (2, 1)]), [(1, 0.75), (2, 0.25)]);
    }

    #[test]
    fn the_last_weight_stays_and_v_is_the_mean_over_all_instances() {
        let mut wanted = Desired::of_one_version(3, 1);
        assert_eq!(canary(2, &[0.1], 0, &mut wanted, &[(1, 3)]), Iteration::Last);
        assert_eq!((wanted.instances, wanted.extra(), wanted.v), (3, 1, 1.25));
        // A lower weight, set manually: fewer instances, in force at once.
        assert_eq!(canary(2, &[0.9], 0, &mut wanted, &[(1, 3), (2, 1)]), Iteration::Last);
        assert_eq!(wanted.versions, [(1, 3), (2, 3)]);
        assert_eq!(canary(2, &[0.5], 0, &mut wanted, &[(1, 3), (2, 3)]), Iteration::Last);
        assert_eq!(wanted.versions, [(1, 3), (2, 2)]);
        assert_eq!(wanted.canary.map(|canary| canary.weights), Some(vec![0.1, 0.5]));
    }

    #[test]
    fn s_follows_an_extend_and_the_canary_follows_s() {
        let mut wanted = Desired::of_one_version(10, 1);
        canary(2, &[0.2], 0, &mut wanted, &[(1, 10)]);
        let ready = [(1, 10), (2, 2)];
        let mut to = |n| {
            wanted.set_instances(n, Observed::of(&ready));
            (wanted.versions.clone(), wanted.extra())
        };
        assert_eq!(to(21), (vec![(1, 21), (2, 5)], 5));
        assert_eq!(to(4), (vec![(1, 4), (2, 1)], 1));
        assert_eq!(to(0), (vec![], 0));
        assert_eq!(to(2), (vec![(1, 2), (2, 1)], 1));
    }

    #[test]
    fn a_canary_of_another_version_takes_the_place_of_one_whose_instances_go() {
        let mut wanted = Desired::of_one_version(10, 1);
        canary(2, &[0.2], 0, &mut wanted, &[(1, 10)]);
        assert_eq!(canary(3, &[0.5, 1.0], 0, &mut wanted, &[(1, 10), (2, 2)]), Iteration::Step);
        assert_eq!((wanted.versions.clone(), wanted.target), (vec![(1, 10), (3, 5)], 1));
        // Back to what had stayed.
        assert_eq!(canary(1, &[0.5, 1.0], 0, &mut wanted, &[(1, 10), (3, 5)]), Iteration::Last);
        assert_eq!((wanted.versions, wanted.canary), (vec![(1, 10)], None));
    }

    #[test]
    fn a_canary_of_mixed_versions_keeps_ready_instances_until_replaced() {
        // A batch update to 2 stopped at four of ten.
        let mixed = Desired { target: 2, versions: vec![(1, 6), (2, 4)], ..Desired::of_one_version(10, 1) };
        let mut wanted = mixed;
        assert_eq!(canary(2, &[0.1], 0, &mut wanted, &[(1, 6), (2, 4)]), Iteration::Step);
        assert_eq!((wanted.versions.clone(), wanted.target), (vec![(1, 10), (2, 4)], 1));
        assert_eq!(canary(2, &[0.1], 1, &mut wanted, &[(1, 6), (2, 4)]), Iteration::Wait);
        assert_eq!(canary(2, &[0.1], 1, &mut wanted, &[(1, 10), (2, 4)]), Iteration::Last);
        assert_eq!(wanted.versions, [(1, 10), (2, 1)]);
    }
}
