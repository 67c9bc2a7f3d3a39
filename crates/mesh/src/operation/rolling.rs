//! A rolling update: the instances that are removed and added in one round, as a Kubernetes Deployment decides it.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>

use serde::{Deserialize, Serialize};

use super::{Desired, Observed, add, count_of};
use crate::model::Amount;

/// Bounds of the rolling update in progress.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rolling {
    /// Number of instances allowed above N.
    pub max_surge: Amount,
    /// Number of ready instances allowed below N.
    pub max_unavailable: Amount,
}

/// Number of instances allowed above `n`, and of ready ones allowed below it.
///
/// A fraction of the surge is rounded up and one of the unavailable down. Where both come to 0 one may be unavailable,
/// or the update could never begin. (Kubernetes' `ResolveFenceposts`.)
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
/// Old instances that are not ready are removed first, since they serve no request. They go only while the rest could
/// still make up the least number of ready ones, so that an update that comes while instances start does not restart
/// all of them. Then old ones that are ready are removed, while the number of ready ones stays above the bound. New
/// ones are added within the surge. N may have changed since the last round: new instances beyond it are removed too.
pub(super) fn roll(wanted: &mut Desired, rolling: Rolling, observed: Observed<'_>) -> bool {
    let (n, to) = (wanted.instances, wanted.target);
    let (surge, unavailable) = rolling_bounds(rolling.max_surge, rolling.max_unavailable, n);
    let (least, most) = (n.saturating_sub(unavailable), n.saturating_add(surge));
    let before = wanted.versions.clone();

    let mut new = count_of(&wanted.versions, to).min(n);
    let new_ready = observed.available(to).min(new);
    let old = wanted.other_than(to);

    // Unready instances are removed first, so their number is not needed: if more are ready than the least number,
    // these are all unready ones and the ready ones beyond it; if fewer are, these are some of the unready ones.
    let gone = old.min((old + new_ready).saturating_sub(least));
    let old = old - gone;
    // Only after N became less: new ones that start make room before anything that is ready does.
    new -= (new - new_ready).min((old + new).saturating_sub(most));
    new += (n - new).min(most.saturating_sub(old + new));

    wanted.take_others(to, gone, observed);
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
        let mut wanted = Desired { target: 2, ..Desired::of_one_version(4, 1) };
        let rolling = Rolling { max_surge: QUARTER, max_unavailable: QUARTER };
        assert!(roll(&mut wanted, rolling, Observed::of(&[(1, 3)])));
        assert_eq!(wanted.versions, [(1, 3), (2, 2)]);
        assert!(!roll(&mut wanted, rolling, Observed::of(&[(1, 3)])), "no more until a new one is ready");
    }

    #[test]
    fn an_update_while_all_instances_start_leaves_enough_of_them_starting() {
        let mut wanted = Desired { target: 2, ..Desired::of_one_version(10, 1) };
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
                    let mut wanted = Desired { target: 2, versions, ..Desired::of_one_version(n, 1) };
                    let ready = [(1, old_ready), (2, new_ready)];
                    roll(&mut wanted, Rolling { max_surge, max_unavailable }, Observed::of(&ready));
                    let (surge, unavailable) = rolling_bounds(max_surge, max_unavailable, n);
                    let left = [1, 2].map(|v| count_of(&wanted.versions, v).min(ready[v as usize - 1].1));
                    // Ready instances stay ready, or the bound is kept; the number stays within the limit, or shrinks.
                    let least = n.saturating_sub(unavailable).min(old_ready + new_ready);
                    let what = format!("N {n}, {old_ready}/{old} old and {new_ready}/{new} new: {wanted:?}");
                    assert!(left[0] + left[1] >= least, "{what}");
                    assert!(wanted.running() <= n + surge, "{what}");
                    assert!(count_of(&wanted.versions, 2) <= n, "{what}");
                }
            }
        }
    }

    /// Calls `see` with every state of `N` and three versions of which 3 is wanted, and with every report of each. A
    /// report is late: it may say more of a version than there is to be of it.
    fn each_state_of_two_old_versions(mut see: impl FnMut(u32, [u32; 3], [u32; 3])) {
        let counts = |most: u32| (0..=most).flat_map(move |a| (0..=most).map(move |b| (a, b)));
        for ((n, new), (first, second)) in counts(4).flat_map(|a| counts(3).map(move |b| (a, b))) {
            for ((a, b), new_ready) in counts(4).flat_map(|a| (0..=4).map(move |b| (a, b))) {
                see(n, [first, second, new], [a, b, new_ready]);
            }
        }
    }

    fn listed(counts: [u32; 3]) -> Vec<(u32, u32)> {
        (1..).zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn the_bounds_hold_with_several_old_versions_and_unready_ones_go_first() {
        use Amount::Instances;
        for (max_surge, max_unavailable) in [(1, 0), (0, 1), (2, 1)].map(|(a, b)| (Instances(a), Instances(b))) {
            each_state_of_two_old_versions(|n, have, reported| {
                let versions = listed(have);
                let mut wanted = Desired { target: 3, versions, ..Desired::of_one_version(n, 1) };
                roll(&mut wanted, Rolling { max_surge, max_unavailable }, Observed::of(&listed(reported)));
                let left = [1, 2, 3].map(|version| count_of(&wanted.versions, version));
                // An absent instance is not ready, and a new one that the round adds is not ready yet.
                let ready = |there: [u32; 3]| [0, 1, 2].map(|v| there[v].min(have[v]).min(reported[v]));
                let (before, after) = (ready(have), ready(left));
                let all = |counts: [u32; 3]| counts.iter().sum::<u32>();
                let (surge, unavailable) = rolling_bounds(max_surge, max_unavailable, n);
                let what = format!("N {n}, {have:?} of which {reported:?} are ready: {left:?}");
                assert!(all(after) >= n.saturating_sub(unavailable).min(all(before)), "{what}");
                assert!(all(left) <= n + surge && left[2] <= n, "{what}");
                // One that is ready goes when no old one that is not is left, of whichever version.
                let is_one_gone = (0..2).any(|v| after[v] < before[v]);
                assert!(!is_one_gone || (0..2).all(|v| left[v] == after[v]), "{what}");
            });
        }
    }
}
