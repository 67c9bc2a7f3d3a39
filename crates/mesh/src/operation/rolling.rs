//! A rolling update: which instances go and come in one round, as a Kubernetes Deployment decides it.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>

use serde::{Deserialize, Serialize};

use super::{Observed, Wanted, add, count_of};
use crate::model::Amount;

/// The bounds of the rolling update under way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rolling {
    /// How many instances more than N there may be.
    pub max_surge: Amount,
    /// How many ready ones fewer than N there may be.
    pub max_unavailable: Amount,
}

/// How many instances more than `n`, and how many ready ones fewer, there may be.
///
/// A share of the surge is rounded up and one of the unavailable down. Where both come to 0 one may be unavailable, or
/// the update could never begin. (Kubernetes' `ResolveFenceposts`.)
pub fn rolling_bounds(max_surge: Amount, max_unavailable: Amount, n: u32) -> (u32, u32) {
    let surge = match max_surge {
        Amount::Instances(count) => count,
        Amount::Share(share) => share_of(share, n),
    };
    let unavailable = match max_unavailable {
        Amount::Instances(count) => count,
        Amount::Share(share) => (share * f64::from(n) + 1e-9).floor() as u32,
    };
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        bounds => bounds,
    }
}

/// `ceil(share * n)`, with the noise of the product taken off.
pub(super) fn share_of(share: f64, n: u32) -> u32 {
    (share * f64::from(n) - 1e-9).ceil().max(0.0) as u32
}

/// One round toward N instances of the target version; false if the reports do not allow any change.
///
/// Old instances that are not ready go first: nobody misses them. They go only as far as the rest could still make up
/// the least number of ready ones, so that an update that comes while instances start does not start all of them again.
/// Then old ones that are ready go, as far as ready ones stay above the bound. New ones come as far as the surge
/// allows. N may have changed since the last round: what is new beyond it goes too.
pub(super) fn roll(wanted: &mut Wanted, rolling: Rolling, observed: Observed<'_>) -> bool {
    let (n, to) = (wanted.instances, wanted.target);
    let (surge, unavailable) = rolling_bounds(rolling.max_surge, rolling.max_unavailable, n);
    let (least, most) = (n.saturating_sub(unavailable), n.saturating_add(surge));
    let before = wanted.versions.clone();

    let mut new = count_of(&wanted.versions, to).min(n);
    let new_ready = observed.available(to).min(new);
    let old = wanted.other_than(to);
    let old_ready: u32 = wanted.old(to).map(|(version, count)| observed.available(version).min(count)).sum();

    let unready_gone = (old - old_ready).min((old + new_ready).saturating_sub(least));
    let ready_gone = old_ready.min((old_ready + new_ready).saturating_sub(least));
    let old = old - unready_gone - ready_gone;
    // Only after N became less: new ones that start make room before anything that is ready does.
    new -= (new - new_ready).min((old + new).saturating_sub(most));
    new += (n - new).min(most.saturating_sub(old + new));

    // A round that removes ready ones removes all that are not ready, so the order of taking is that of the counts.
    wanted.take_others(to, unready_gone + ready_gone, observed);
    wanted.versions.retain(|(version, _)| *version != to);
    add(&mut wanted.versions, to, new);
    wanted.versions != before
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Amount = Amount::Share(0.25);

    #[test]
    fn bounds_are_those_of_a_deployment() {
        use Amount::{Instances, Share};
        let table = [
            (QUARTER, QUARTER, 10, (3, 2)),
            (QUARTER, QUARTER, 1, (1, 0)),
            (QUARTER, QUARTER, 7, (2, 1)),
            (Instances(1), Instances(1), 6, (1, 1)),
            (Instances(0), Share(0.25), 3, (0, 1)),
            (Share(0.0), Share(0.1), 9, (0, 1)),
            (Share(1.0), Instances(0), 4, (4, 0)),
            (Share(0.07), Share(0.07), 100, (7, 7)),
        ];
        for (surge, unavailable, n, bounds) in table {
            assert_eq!(rolling_bounds(surge, unavailable, n), bounds, "{surge:?} {unavailable:?} of {n}");
        }
    }

    #[test]
    fn an_old_instance_that_is_not_ready_goes_before_one_that_is() {
        // Four, of which one is not ready: three must be, so only that one may go.
        let mut wanted = Wanted { target: 2, ..Wanted::of_one_version(4, 1) };
        let rolling = Rolling { max_surge: QUARTER, max_unavailable: QUARTER };
        assert!(roll(&mut wanted, rolling, Observed::of(&[(1, 3)])));
        assert_eq!(wanted.versions, [(1, 3), (2, 2)]);
        assert!(!roll(&mut wanted, rolling, Observed::of(&[(1, 3)])), "no more until a new one is ready");
    }

    #[test]
    fn an_update_while_all_instances_start_leaves_enough_of_them_starting() {
        let mut wanted = Wanted { target: 2, ..Wanted::of_one_version(10, 1) };
        roll(&mut wanted, Rolling { max_surge: QUARTER, max_unavailable: QUARTER }, Observed::default());
        assert_eq!(wanted.versions, [(1, 8), (2, 5)]);
    }

    #[test]
    fn every_state_and_every_report_keep_the_bounds() {
        let amounts = [0.0, 0.25, 0.5, 1.0].map(Amount::Share).into_iter().chain([0, 1, 3].map(Amount::Instances));
        for (max_surge, max_unavailable) in amounts.clone().flat_map(|a| amounts.clone().map(move |b| (a, b))) {
            for (n, old, new) in (0..7).flat_map(|n| (0..9).flat_map(move |o| (0..9).map(move |w| (n, o, w)))) {
                for (old_ready, new_ready) in (0..=old).flat_map(|o| (0..=new).map(move |w| (o, w))) {
                    let versions: Vec<(u32, u32)> = [(1, old), (2, new)].into_iter().filter(|v| v.1 > 0).collect();
                    let mut wanted = Wanted { target: 2, versions, ..Wanted::of_one_version(n, 1) };
                    let ready = [(1, old_ready), (2, new_ready)];
                    roll(&mut wanted, Rolling { max_surge, max_unavailable }, Observed::of(&ready));
                    let (surge, unavailable) = rolling_bounds(max_surge, max_unavailable, n);
                    let left = [1, 2].map(|v| count_of(&wanted.versions, v).min(ready[v as usize - 1].1));
                    // What is ready stays ready, or the bound is kept; there is no more than allowed, or there is less.
                    let least = n.saturating_sub(unavailable).min(old_ready + new_ready);
                    let what = format!("N {n}, {old_ready}/{old} old and {new_ready}/{new} new: {wanted:?}");
                    assert!(left[0] + left[1] >= least, "{what}");
                    assert!(wanted.running() <= n + surge, "{what}");
                    assert!(count_of(&wanted.versions, 2) <= n, "{what}");
                }
            }
        }
    }
}
