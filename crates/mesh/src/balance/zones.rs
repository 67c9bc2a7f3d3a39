//! Zones: which zone's instances a call goes to, and when a caller panics.
//!
//! - `aware` is Envoy's zone aware routing
//!   (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/zone_aware>): if the zone
//!   has no smaller share of the instances than of the callers, all calls stay in it. Otherwise the part stays that
//!   loads its instances like those elsewhere, and the rest goes to the zones with more instances than callers, in
//!   proportion to this surplus.
//! - `failover` is Istio's locality failover
//!   (<https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/failover/>), which configures
//!   Envoy's priorities
//!   (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority>): the caller's
//!   zone is the first priority, all others are the second. A priority takes min(1, 1.4 h) of the calls, where h is its
//!   share of ready instances.
//! - The panic threshold
//!   (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold>): if the
//!   share of ready instances is below it, calls go to all instances, failed ones too, so that those that remain get no
//!   more than before.

use meshsim_actor::Rng;

/// Envoy's overprovisioning factor: how much a priority may lose before it gives calls away.
const OVERPROVISIONING: f64 = 1.4;

/// The zone to which a call of a caller in zone `local` goes, or `None` if zones do not matter. `callers` and `ready`
/// are the callers and the ready instances of each zone.
pub(crate) fn aware(local: usize, callers: &[u32], ready: &[u32], min: u32, rng: &mut Rng) -> Option<usize> {
    let all: u32 = ready.iter().sum();
    let of = |counts: &[u32], zone: usize| f64::from(counts.get(zone).copied().unwrap_or(0));
    if all < min || ready.iter().filter(|count| **count > 0).count() < 2 || of(ready, local) == 0.0 {
        return None;
    }
    let callers_all = f64::from(callers.iter().sum::<u32>());
    // A caller that is not in the view yet is one all the same.
    let mine = of(callers, local).max(1.0) / callers_all.max(1.0);
    let its = of(ready, local) / f64::from(all);
    if its >= mine || rng.unit() < its / mine {
        return Some(local);
    }
    let surplus = |zone: usize| {
        let calls = of(callers, zone) / callers_all.max(1.0);
        if zone == local { 0.0 } else { (of(ready, zone) / f64::from(all) - calls).max(0.0) }
    };
    Some(drawn((0..ready.len()).map(surplus), rng).unwrap_or(local))
}

/// The zone to which a call of a caller in zone `local` goes; `hosts` are the ready and the failed instances of each
/// zone. Not all of the ready ones are zero.
pub(crate) fn failover(local: usize, ready: &[u32], hosts: &[u32], rng: &mut Rng) -> usize {
    let of = |counts: &[u32], zone: usize| f64::from(counts.get(zone).copied().unwrap_or(0));
    let sum = |counts: &[u32]| counts.iter().map(|count| f64::from(*count)).sum::<f64>();
    let health =
        |ready: f64, all: f64| if ready > 0.0 { (OVERPROVISIONING * ready / all.max(ready)).min(1.0) } else { 0.0 };
    let here = health(of(ready, local), of(hosts, local));
    let there = health(sum(ready) - of(ready, local), sum(hosts) - of(hosts, local));
    // Priorities that are not healthy enough together share all calls in proportion.
    let stays = here / (here + there.min(1.0 - here)).max(f64::MIN_POSITIVE);
    if stays >= 1.0 || rng.unit() < stays {
        return local;
    }
    let others = (0..ready.len()).map(|zone| if zone == local { 0.0 } else { of(ready, zone) });
    drawn(others, rng).unwrap_or(local)
}

/// True if so few instances of all are ready that calls go to all of them. `threshold` is a share.
pub(crate) fn is_panic(ready: usize, all: usize, threshold: f64) -> bool {
    threshold > 0.0 && (ready as f64) < threshold * all as f64
}

/// One of these, in proportion to its weight; `None` if all are zero.
fn drawn(weights: impl Iterator<Item = f64> + Clone, rng: &mut Rng) -> Option<usize> {
    let sum: f64 = weights.clone().sum();
    let mut at = rng.unit() * sum;
    let mut last = None;
    for (index, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        last = Some(index);
        at -= weight;
        if at < 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 40_000;

    fn shares(mut draw: impl FnMut(&mut Rng) -> usize) -> [f64; 3] {
        let mut rng = Rng::stream(5, "zones");
        let mut counts = [0.0; 3];
        (0..DRAWS).for_each(|_| counts[draw(&mut rng)] += 1.0 / f64::from(DRAWS));
        counts
    }

    fn near(got: [f64; 3], expected: [f64; 3]) {
        for (got, p) in got.into_iter().zip(expected) {
            let error = (p * (1.0 - p) / f64::from(DRAWS)).sqrt();
            assert!((got - p).abs() <= 4.0 * error + 1e-9, "{got}, not {p}");
        }
    }

    #[test]
    fn calls_stay_in_a_zone_that_has_its_share_of_the_instances() {
        near(shares(|rng| aware(0, &[10, 10, 10], &[5, 5, 5], 6, rng).unwrap()), [1.0, 0.0, 0.0]);
        near(shares(|rng| aware(1, &[10, 10, 10], &[4, 6, 5], 6, rng).unwrap()), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn zone_aware_calls_load_all_instances_alike() {
        // Envoy's documentation: what a zone lacks goes to those with more instances than callers.
        let (callers, ready) = ([6, 3, 3], [2, 6, 4]);
        let mut load = [0.0; 3];
        for local in 0..3 {
            let to = shares(|rng| aware(local, &callers, &ready, 6, rng).unwrap());
            (0..3).for_each(|zone| load[zone] += f64::from(callers[local]) * to[zone]);
        }
        let each: Vec<f64> = (0..3).map(|zone| load[zone] / f64::from(ready[zone])).collect();
        assert!(each.iter().all(|load| (load - 1.0).abs() < 0.05), "{each:?}");
        near(shares(|rng| aware(0, &callers, &ready, 6, rng).unwrap()), [1.0 / 3.0, 0.5, 1.0 / 6.0]);
    }

    #[test]
    fn zones_do_not_matter_for_few_instances_or_one_zone_or_none_at_home() {
        let mut rng = Rng::stream(1, "x");
        assert_eq!(aware(0, &[1, 1], &[2, 3], 6, &mut rng), None);
        assert_eq!(aware(0, &[1, 1], &[9, 0], 6, &mut rng), None);
        assert_eq!(aware(0, &[1, 1, 1], &[0, 5, 5], 6, &mut rng), None);
        assert_eq!(aware(7, &[], &[5, 5], 6, &mut rng), None);
    }

    #[test]
    fn a_zone_keeps_its_calls_until_it_has_lost_two_sevenths() {
        let all = [10, 10, 20];
        // 1.4 * 8 / 10 is above 1; 1.4 * 5 / 10 is 0.7, and the rest goes by ready instances.
        near(shares(|rng| failover(0, &[8, 10, 20], &all, rng)), [1.0, 0.0, 0.0]);
        near(shares(|rng| failover(0, &[5, 10, 20], &all, rng)), [0.7, 0.1, 0.2]);
        near(shares(|rng| failover(0, &[0, 10, 20], &all, rng)), [0.0, 1.0 / 3.0, 2.0 / 3.0]);
        // 0.14 and 1.4 * 6 / 30 = 0.28 together are less than all: they are scaled.
        near(shares(|rng| failover(0, &[1, 2, 4], &all, rng)), [1.0 / 3.0, 2.0 / 9.0, 4.0 / 9.0]);
        near(shares(|rng| failover(0, &[1, 0, 0], &all, rng)), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_caller_panics_below_the_threshold_and_not_at_it() {
        assert_eq!([4, 5, 6].map(|ready| is_panic(ready, 10, 0.5)), [true, false, false]);
        assert!(!is_panic(0, 10, 0.0));
    }
}
