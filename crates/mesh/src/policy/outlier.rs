//! Outlier detection: a caller takes instances that fail out of its balancing for a while.
//!
//! The arithmetic and the defaults are Envoy's. An instance is ejected when it fails so many times in a row, or at the
//! end of an interval, when its success rate lies so many standard deviations below the mean of all, or when so large a
//! share of its requests failed. It stays out for `base_ejection_time` times the number of its ejections; each interval
//! without an ejection forgets one of them. An ejection that would take more than `max_ejected` of the instances out is
//! not made. So with the default of 10 %, a service with fewer than ten instances loses none, unless
//! `always_eject_one_host` is set.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto>

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::{AttemptEnd, Marks, PolicyEvent};
use crate::view::InstanceRef;

/// Settings of outlier detection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outliers {
    /// Failures in a row that eject; `None`: any number.
    pub consecutive_failures: Option<u32>,
    /// Ejection by success rate: standard deviations below the mean; `None`: none.
    pub stdev_factor: Option<f64>,
    /// Instances with enough requests that ejection by success rate needs.
    pub success_rate_hosts: u32,
    /// Requests in an interval from which on an instance's success rate counts.
    pub success_rate_volume: u32,
    /// Ejection by failures: share of an instance's requests, from 0 to 1; `None`: none.
    pub failure_share: Option<f64>,
    /// Instances with enough requests that ejection by failures needs.
    pub failure_hosts: u32,
    /// Requests in an interval from which on an instance's failures count.
    pub failure_volume: u32,
    /// Time between two sweeps: rates are judged, and instances come back, only at a sweep. At least 1 ms.
    pub interval: Span,
    /// Length of an ejection, times the number of ejections.
    pub base_ejection_time: Span,
    /// Limit of that product.
    pub max_ejection_time: Span,
    /// Share of the instances that may be out at once, from 0 to 1.
    pub max_ejected: f64,
    /// One instance may be out, whatever [`max_ejected`](Self::max_ejected) is.
    pub always_eject_one_host: bool,
    /// If a smaller share than this is left, all instances are used, ejected ones too (Envoy's panic threshold).
    pub panic_threshold: f64,
}

impl Default for Outliers {
    /// Envoy's.
    fn default() -> Self {
        Outliers {
            consecutive_failures: Some(5),
            stdev_factor: Some(1.9),
            success_rate_hosts: 5,
            success_rate_volume: 100,
            failure_share: None,
            failure_hosts: 5,
            failure_volume: 50,
            interval: Span::from_secs(10),
            base_ejection_time: Span::from_secs(30),
            max_ejection_time: Span::from_secs(300),
            max_ejected: 0.1,
            always_eject_one_host: false,
            panic_threshold: 0.5,
        }
    }
}

/// State of one caller for one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Instances that have any state.
    hosts: BTreeMap<InstanceRef, Host>,
    /// Instances that the next two fields refer to.
    #[serde(with = "meshsim_actor::shared")]
    all: Arc<[InstanceRef]>,
    /// Of these, those that are not ejected.
    #[serde(with = "meshsim_actor::shared")]
    left: Arc<[InstanceRef]>,
    /// An instance was ejected, or came back, since `left` was made.
    changed: bool,
    /// Time of the next sweep; `None` before the first request.
    next: Option<Time>,
    /// Events that have not been reported yet.
    marks: Marks,
}

/// State of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Host {
    /// Failures since the last success.
    in_a_row: u32,
    /// Results in this interval.
    done: u32,
    failed: u32,
    /// Ejections that are not forgotten.
    times: u32,
    /// Time of the ejection, while it is ejected.
    ejected: Option<Time>,
}

impl State {
    /// The instances that an attempt may go to.
    pub(super) fn candidates(&mut self, of: &Outliers, all: &Arc<[InstanceRef]>, now: Time) -> Arc<[InstanceRef]> {
        if !Arc::ptr_eq(&self.all, all) {
            self.all = all.clone();
            self.changed = true;
        }
        self.sweep(of, now);
        if std::mem::take(&mut self.changed) {
            let is_out = |it: &InstanceRef| self.hosts.get(it).is_some_and(|host| host.ejected.is_some());
            let out = all.iter().filter(|it| is_out(it)).count();
            let left = all.len() - out;
            self.left = if out == 0 || (left as f64) < of.panic_threshold * all.len() as f64 {
                all.clone()
            } else {
                all.iter().filter(|it| !is_out(it)).copied().collect()
            };
        }
        self.left.clone()
    }

    /// The settings have changed: the instances that are left are found anew.
    pub(super) fn look_again(&mut self) {
        self.changed = true;
    }

    /// Counts the result of an attempt. Returns what has happened since the last one.
    pub(super) fn ended(&mut self, of: &Outliers, to: InstanceRef, end: AttemptEnd, now: Time) -> Marks {
        self.sweep(of, now);
        let counts_rates = of.stdev_factor.is_some() || of.failure_share.is_some();
        match end {
            AttemptEnd::Cancelled => {}
            AttemptEnd::Done if counts_rates => {
                let host = self.hosts.entry(to).or_default();
                host.in_a_row = 0;
                host.done = host.done.saturating_add(1);
            }
            AttemptEnd::Done => {
                if let Some(host) = self.hosts.get_mut(&to) {
                    host.in_a_row = 0;
                }
            }
            AttemptEnd::Failed(_) => {
                let host = self.hosts.entry(to).or_default();
                host.in_a_row = host.in_a_row.saturating_add(1);
                host.failed = host.failed.saturating_add(1);
                if host.ejected.is_none() && of.consecutive_failures.is_some_and(|most| host.in_a_row >= most) {
                    // As in Envoy, also if it is not ejected because too many are.
                    host.in_a_row = 0;
                    self.eject(of, to, now);
                }
            }
        }
        std::mem::take(&mut self.marks)
    }

    /// Ejects an instance, unless too many are ejected.
    fn eject(&mut self, of: &Outliers, it: InstanceRef, now: Time) {
        let all = self.all.len().max(1) as f64;
        let is_there = |it: &InstanceRef| self.all.binary_search(it).is_ok();
        let out = self.hosts.iter().filter(|(it, host)| host.ejected.is_some() && is_there(it)).count();
        // The least number above a share is not missed by rounding: 1 of 10 is 10 %.
        let fits = (out + 1) as f64 <= of.max_ejected * all + 1e-9;
        if !(fits || of.always_eject_one_host && out == 0) {
            self.marks.count(PolicyEvent::EjectionSpared);
            return;
        }
        let host = self.hosts.entry(it).or_default();
        host.ejected = Some(now);
        if of.base_ejection_time * u64::from(host.times) < of.max_ejection_time + of.base_ejection_time {
            host.times += 1;
        }
        self.changed = true;
        self.marks.count(PolicyEvent::Ejected);
    }

    /// Makes up for the sweeps until now. Nothing happens between two requests, so they need no timer.
    fn sweep(&mut self, of: &Outliers, now: Time) {
        let interval = of.interval.max(Span::from_millis(1));
        let mut at = *self.next.get_or_insert(now + interval);
        while at <= now {
            if self.hosts.is_empty() {
                let behind = now.since(at).nanos() / interval.nanos();
                at += interval * behind;
            } else {
                self.sweep_at(of, at);
            }
            at += interval;
        }
        self.next = Some(at);
    }

    fn sweep_at(&mut self, of: &Outliers, at: Time) {
        for host in self.hosts.values_mut() {
            let length = (of.base_ejection_time * u64::from(host.times)).min(of.max_ejection_time);
            match host.ejected {
                None => host.times = host.times.saturating_sub(1),
                Some(since) if length <= at.since(since) => {
                    (host.ejected, host.in_a_row) = (None, 0);
                    self.changed = true;
                }
                Some(_) => {}
            }
        }
        for it in self.below_the_others(of).into_iter().chain(self.failing(of)) {
            if self.hosts.get(&it).is_some_and(|host| host.ejected.is_none()) {
                self.eject(of, it, at);
            }
        }
        self.hosts.retain(|_, host| {
            (host.done, host.failed) = (0, 0);
            *host != Host::default()
        });
    }

    /// Success rates of the instances that are not ejected and have enough requests.
    fn rates(&self, volume: u32) -> Vec<(InstanceRef, f64)> {
        let judged = self.hosts.iter().filter(|(_, host)| host.ejected.is_none());
        let rate = |host: &Host| f64::from(host.done) / f64::from(host.done.saturating_add(host.failed));
        judged
            .filter(|(_, host)| host.done.saturating_add(host.failed) >= volume.max(1))
            .map(|(it, host)| (*it, rate(host)))
            .collect()
    }

    /// The instances whose success rate is so far below the mean.
    fn below_the_others(&self, of: &Outliers) -> Vec<InstanceRef> {
        let Some(factor) = of.stdev_factor else { return Vec::new() };
        let rates = self.rates(of.success_rate_volume);
        if rates.is_empty() || rates.len() < of.success_rate_hosts as usize {
            return Vec::new();
        }
        let least = threshold(&rates, factor);
        rates.into_iter().filter(|(_, rate)| *rate < least).map(|(it, _)| it).collect()
    }

    /// The instances of which so large a share failed.
    fn failing(&self, of: &Outliers) -> Vec<InstanceRef> {
        let Some(share) = of.failure_share else { return Vec::new() };
        let rates = self.rates(of.failure_volume);
        if rates.len() < of.failure_hosts as usize {
            return Vec::new();
        }
        rates.into_iter().filter(|(_, rate)| 1.0 - rate >= share).map(|(it, _)| it).collect()
    }
}

/// Success rate below which an instance is an outlier: the mean, less `factor` standard deviations of the population.
fn threshold(rates: &[(InstanceRef, f64)], factor: f64) -> f64 {
    let n = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / n;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / n;
    mean - factor * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::instances;
    use crate::measure::Failure;

    const FAILED: AttemptEnd = AttemptEnd::Failed(Failure::Error);

    fn at(secs: u64) -> Time {
        Time::ZERO + Span::from_secs(secs)
    }

    /// `n` results of one instance.
    fn results(state: &mut State, of: &Outliers, to: InstanceRef, n: u32, end: AttemptEnd, now: Time) -> u8 {
        (0..n).map(|_| state.ended(of, to, end, now).of(PolicyEvent::Ejected)).sum()
    }

    #[test]
    fn the_threshold_is_the_one_of_envoys_documentation() {
        let rates: Vec<_> = instances(5).iter().copied().zip([0.5, 1.0, 1.0, 1.0, 1.0]).collect();
        assert!((threshold(&rates, 1.9) - 0.52).abs() < 1e-12);
    }

    #[test]
    fn five_failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let (of, all, mut state) = (Outliers::default(), instances(10), State::default());
        assert_eq!(state.candidates(&of, &all, at(0)).len(), 10);
        assert_eq!(results(&mut state, &of, all[3], 4, FAILED, at(1)), 0);
        assert_eq!(results(&mut state, &of, all[3], 1, AttemptEnd::Done, at(1)), 0);
        assert_eq!(results(&mut state, &of, all[3], 4, FAILED, at(1)), 0);
        assert_eq!(results(&mut state, &of, all[3], 1, FAILED, at(1)), 1);
        let left = state.candidates(&of, &all, at(2));
        assert!(left.len() == 9 && !left.contains(&all[3]));
        // The list stays the same value, so that a balancer keeps its state.
        assert!(Arc::ptr_eq(&left, &state.candidates(&of, &all, at(3))));
        // One of ten is all that may be out.
        assert_eq!(results(&mut state, &of, all[4], 50, FAILED, at(4)), 0);
    }

    #[test]
    fn a_success_ends_a_row_of_failures_where_no_rates_are_judged_too() {
        let of = Outliers { stdev_factor: None, ..Outliers::default() };
        let (all, mut state) = (instances(10), State::default());
        state.candidates(&of, &all, at(0));
        assert_eq!(results(&mut state, &of, all[3], 4, FAILED, at(1)), 0);
        assert_eq!(results(&mut state, &of, all[3], 1, AttemptEnd::Done, at(1)), 0);
        assert_eq!(results(&mut state, &of, all[3], 4, FAILED, at(1)), 0);
        assert_eq!(results(&mut state, &of, all[3], 1, FAILED, at(1)), 1);
    }

    #[test]
    fn an_instance_that_comes_back_begins_its_row_anew() {
        let (of, all, mut state) = (Outliers::default(), instances(10), State::default());
        state.candidates(&of, &all, at(0));
        assert_eq!(results(&mut state, &of, all[0], 5, FAILED, at(1)), 1);
        // Attempts that were in flight fail while it is out.
        assert_eq!(results(&mut state, &of, all[0], 4, FAILED, at(2)), 0);
        assert_eq!(state.candidates(&of, &all, at(40)).len(), 10);
        assert_eq!(results(&mut state, &of, all[0], 4, FAILED, at(41)), 0);
        assert_eq!(results(&mut state, &of, all[0], 1, FAILED, at(41)), 1);
    }

    #[test]
    fn each_ejection_is_longer_and_quiet_intervals_forget_them() {
        let (of, all, mut state) = (Outliers::default(), instances(10), State::default());
        let out = |state: &mut State, now| state.candidates(&of, &all, now).len() == 9;
        state.candidates(&of, &all, at(0));
        results(&mut state, &of, all[0], 5, FAILED, at(5));
        // Sweeps are at 10, 20, ...: the first one 30 s after the ejection is at 40.
        assert!(out(&mut state, at(39)) && !out(&mut state, at(40)));
        results(&mut state, &of, all[0], 5, FAILED, at(41));
        assert!(out(&mut state, at(109)) && !out(&mut state, at(110)), "twice the time");
        // Two quiet sweeps, at 120 and 130, forget both.
        results(&mut state, &of, all[0], 5, FAILED, at(131));
        assert!(out(&mut state, at(169)) && !out(&mut state, at(170)), "once the time again");
    }

    #[test]
    fn an_ejection_never_lasts_longer_than_its_limit() {
        let of = Outliers { max_ejection_time: Span::from_secs(60), ..Outliers::default() };
        let (all, mut state, mut now) = (instances(10), State::default(), 0);
        state.candidates(&of, &all, at(0));
        for _ in 0..20 {
            results(&mut state, &of, all[0], 5, FAILED, at(now));
            now += 70;
            assert_eq!(state.candidates(&of, &all, at(now)).len(), 10);
        }
    }

    #[test]
    fn an_ejection_of_an_instance_that_fails_again_at_once_is_no_longer_than_its_limit() {
        // Two base times are 60 s, more than the limit.
        let of = Outliers { max_ejection_time: Span::from_secs(40), ..Outliers::default() };
        let (all, mut state) = (instances(10), State::default());
        state.candidates(&of, &all, at(0));
        let mut now = 0;
        for expected in [30, 40, 40, 40] {
            results(&mut state, &of, all[0], 5, FAILED, at(now));
            let back = (now..).find(|now| state.candidates(&of, &all, at(*now)).len() == 10).unwrap();
            assert_eq!(back - now, expected);
            now = back;
        }
    }

    #[test]
    fn rates_are_judged_only_where_enough_instances_have_enough_requests() {
        let by_rate = Outliers { consecutive_failures: None, success_rate_hosts: 10, ..Outliers::default() };
        let by_share = Outliers {
            consecutive_failures: None,
            stdev_factor: None,
            failure_share: Some(0.5),
            failure_hosts: 10,
            ..Outliers::default()
        };
        for (of, volume) in [(by_rate, by_rate.success_rate_volume), (by_share, by_share.failure_volume)] {
            for (judged, left) in [(9, 10), (10, 9)] {
                let (all, mut state) = (instances(10), State::default());
                state.candidates(&of, &all, at(0));
                for (number, it) in all.iter().enumerate() {
                    let end = if number == 0 { FAILED } else { AttemptEnd::Done };
                    let requests = if number < judged { volume } else { volume - 1 };
                    results(&mut state, &of, *it, requests, end, at(1));
                }
                assert_eq!(state.candidates(&of, &all, at(10)).len(), left, "{judged} of 10 have {volume} requests");
            }
        }
    }

    #[test]
    fn under_ten_hosts_none_is_ejected_unless_one_always_may_be() {
        for (n, always, ejected) in [(9, false, 0), (10, false, 1), (9, true, 1), (19, false, 1), (20, false, 2)] {
            let of = Outliers { always_eject_one_host: always, ..Outliers::default() };
            let (all, mut state) = (instances(n), State::default());
            state.candidates(&of, &all, at(0));
            let sum: u8 = all.iter().map(|it| results(&mut state, &of, *it, 5, FAILED, at(1))).sum();
            assert_eq!(sum, ejected, "{n} hosts");
        }
    }

    #[test]
    fn a_success_rate_far_below_the_others_ejects_at_the_sweep() {
        let of = Outliers { consecutive_failures: None, ..Outliers::default() };
        let (all, mut state) = (instances(10), State::default());
        state.candidates(&of, &all, at(0));
        for it in all.iter() {
            let failed = if *it == all[7] { 20 } else { 1 };
            results(&mut state, &of, *it, failed, FAILED, at(1));
            results(&mut state, &of, *it, 100, AttemptEnd::Done, at(1));
        }
        assert_eq!(state.candidates(&of, &all, at(9)).len(), 10);
        let left = state.candidates(&of, &all, at(10));
        assert!(left.len() == 9 && !left.contains(&all[7]));
    }

    #[test]
    fn a_share_of_failures_ejects_only_with_enough_requests() {
        let of = Outliers {
            consecutive_failures: None,
            stdev_factor: None,
            failure_share: Some(0.85),
            ..Outliers::default()
        };
        for (volume, left) in [(49, 10), (50, 9)] {
            let (all, mut state) = (instances(10), State::default());
            state.candidates(&of, &all, at(0));
            for it in all.iter() {
                results(&mut state, &of, *it, volume, if *it == all[2] { FAILED } else { AttemptEnd::Done }, at(1));
            }
            assert_eq!(state.candidates(&of, &all, at(10)).len(), left);
        }
    }

    #[test]
    fn below_the_panic_threshold_ejected_instances_are_used_too() {
        for (panic_threshold, left) in [(0.5, 4), (0.0, 1)] {
            let of = Outliers { max_ejected: 1.0, panic_threshold, ..Outliers::default() };
            let (all, mut state) = (instances(4), State::default());
            state.candidates(&of, &all, at(0));
            all[1..].iter().for_each(|it| _ = results(&mut state, &of, *it, 5, FAILED, at(1)));
            assert_eq!(state.candidates(&of, &all, at(2)).len(), left);
        }
    }

    #[test]
    fn an_instance_without_failures_leaves_no_state() {
        let (of, all, mut state) = (Outliers::default(), instances(10), State::default());
        state.candidates(&of, &all, at(0));
        all.iter().for_each(|it| _ = results(&mut state, &of, *it, 9, AttemptEnd::Done, at(1)));
        state.candidates(&of, &all, at(1_000_000_000));
        assert!(state.hosts.is_empty());
    }
}
