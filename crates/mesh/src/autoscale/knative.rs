//! Knative's pod autoscaler (KPA), by concurrency: the number of instances for the mean of a minute, and in a panic for
//! that of six seconds; and to zero, once callers are known to hold requests for a service without instances.
//!
//! Sources, of <https://github.com/knative/serving/tree/knative-v1.15.0>: `pkg/autoscaler/scaling/autoscaler.go`
//! ([`Kpa::scale`]), `pkg/reconciler/autoscaling/kpa/kpa.go` and `scaler.go` ([`Kpa::reconcile`]), and
//! `pkg/autoscaler/config/config.go` for the defaults. Three things are not as there:
//!
//! - Its controller reconciles when something changes; this one at its ticks, each 2 s, and when a caller begins to
//!   hold requests.
//! - Its activator stays in the path of requests while the spare capacity is below `target-burst-capacity`, and
//!   balances them so that no instance gets more than it serves at once. Here the report says for how many ticks that
//!   would be so; callers hold requests only while there is no instance.
//! - `initial-scale`, `activation-scale` and the metric `rps` do not exist: a service begins with its `instances`.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::operation::TO_MAX;

/// Time after which instances that do not become ready are given up (`activationTimeout`: the progress deadline of a
/// revision, 600 s, and 10 s).
const ACTIVATION_TIMEOUT: Span = Span::from_secs(610);

/// Settings of a Knative pod autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knative {
    /// Fewest instances (`min-scale`: 0).
    pub min: u32,
    /// Most instances (`max-scale`); `None`: no limit.
    pub max: Option<u32>,
    /// Requests that an instance is to have at once (`container-concurrency-target-default`: 100). Above 0.
    pub concurrency: f64,
    /// Share of these that is aimed at (`container-concurrency-target-percentage`: 70 %). Above 0.
    pub utilisation: f64,
    /// Time over which concurrency is a mean (`stable-window`: 60 s).
    pub stable: Span,
    /// The same in a panic (`panic-window-percentage`, 10 % of it: 6 s).
    pub panic: Span,
    /// Panics when the short mean asks for so many times the ready instances (`panic-threshold-percentage`: 2).
    pub panic_threshold: f64,
    /// Most times the ready instances in one decision (`max-scale-up-rate`: 1000).
    pub up_rate: f64,
    /// The ready instances are divided by at most this in one decision (`max-scale-down-rate`: 2).
    pub down_rate: f64,
    /// Declines follow the highest decision of this time (`scale-down-delay`: 0 s).
    pub down_delay: Span,
    /// Time for which the last instance stays after the activator has come into the path
    /// (`scale-to-zero-grace-period`: 30 s).
    pub grace: Span,
    /// Spare capacity, in requests, below which the activator stays in the path (`target-burst-capacity`: 200, as in
    /// `config.go`; the documentation says 211). 0: it is in the path at zero instances only. Its -1 (always) does not
    /// exist; a large number does the same.
    pub burst: f64,
    /// Time between two decisions (`tick-interval`: 2 s).
    pub tick: Span,
    /// Time between two measurements (`scrapeTickInterval`: 1 s).
    pub scrape: Span,
}

/// The result of a look at the means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    /// Instances that are wanted, before `min` and `max`.
    pub desired: u32,
    /// Spare capacity, above the target burst capacity; below 0, the activator stays in the path.
    pub excess: f64,
    /// Mean that decided.
    pub mean: f64,
}

/// Memory of a Knative pod autoscaler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kpa {
    stable: Window,
    panic: Window,
    /// False: the first look of an autoscaler that has restarted.
    has_begun: bool,
    /// Last time at which the threshold of a panic was exceeded; `None`: no panic.
    panics_since: Option<Time>,
    /// Most instances that were wanted in the panic.
    panic_max: u32,
    /// Decisions of the delay of declines.
    delayed: Vec<(Time, u32)>,
    /// The latest valid decision, and its spare capacity; `None`: there was none (-1 in the source).
    latest: Option<(u32, f64)>,
    activity: Activity,
    /// Since when the activator is in the path; `None`: it is not.
    proxied: Option<Time>,
}

/// State of the service (the condition `Active` of a `PodAutoscaler`), and since when.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Activity {
    /// `Unknown`: instances are wanted, and fewer are ready.
    Activating(Time),
    /// `True`.
    Active(Time),
    /// `False`: none is wanted.
    Inactive(Time),
}

impl Kpa {
    /// The autoscaler of a service that is deployed with so many instances.
    pub fn new(of: &Knative, instances: u32) -> Self {
        let is_idle = instances == 0;
        Kpa {
            has_begun: true,
            latest: is_idle.then_some((0, -1.0)),
            activity: if is_idle { Activity::Inactive(Time::ZERO) } else { Activity::Activating(Time::ZERO) },
            proxied: is_idle.then_some(Time::ZERO),
            ..Kpa::restarted(of, Time::ZERO)
        }
    }

    /// One that has lost its memory.
    pub fn restarted(of: &Knative, now: Time) -> Self {
        Kpa {
            stable: Window::new(of.stable),
            panic: Window::new(of.panic),
            has_begun: false,
            panics_since: None,
            panic_max: 0,
            delayed: Vec::new(),
            latest: None,
            activity: Activity::Activating(now),
            proxied: None,
        }
    }

    /// Takes in requests that an actor had on average since its last answer.
    pub fn record(&mut self, requests: f64, now: Time) {
        self.stable.record(now, requests);
        self.panic.record(now, requests);
    }

    /// True if a caller that begins to hold requests is to be heard at once. (`MultiScaler.Poke`)
    pub fn is_at_zero(&self) -> bool {
        self.latest.is_some_and(|(desired, _)| desired == 0)
    }

    /// True while the activator is in the path of requests.
    pub fn is_proxied(&self) -> bool {
        self.proxied.is_some()
    }

    /// The number of instances for the means of the windows, with so many instances ready; `None`: there are no data.
    /// (`autoscaler.Scale`)
    pub fn scale(&mut self, of: &Knative, ready: u32, now: Time) -> Option<Scaled> {
        if !std::mem::replace(&mut self.has_begun, true) && ready > 1 {
            // Without its memory it would scale down: a panic keeps at least what is there.
            (self.panics_since, self.panic_max) = (Some(now), ready);
        }
        if self.stable.is_empty(now) {
            return None;
        }
        let (stable, panic) = (self.stable.mean(now), self.panic.mean(now));
        let there = f64::from(ready.max(1));
        let target = (of.concurrency * of.utilisation).max(0.01);
        let (most, fewest) = ((of.up_rate * there).ceil(), (there / of.down_rate).floor());
        let count = |wanted: f64| wanted.max(fewest).min(most).clamp(0.0, f64::from(TO_MAX)) as u32;
        let (wanted, wanted_in_panic) = ((stable / target).ceil(), (panic / target).ceil());
        if wanted_in_panic / there >= of.panic_threshold {
            self.panics_since = Some(now);
        } else if self.panics_since.is_some_and(|since| since + of.stable < now) {
            (self.panics_since, self.panic_max) = (None, 0);
        }
        let (mut desired, mut mean) = (count(wanted), stable);
        if self.panics_since.is_some() {
            if count(wanted_in_panic) > desired {
                (desired, mean) = (count(wanted_in_panic), panic);
            }
            // No decline in a panic.
            self.panic_max = self.panic_max.max(desired);
            desired = self.panic_max;
        }
        if !of.down_delay.is_zero() {
            self.delayed.retain(|(at, _)| *at + of.down_delay > now);
            self.delayed.push((now, desired));
            desired = self.delayed.iter().map(|(_, it)| *it).fold(desired, u32::max);
        }
        let excess = match of.burst {
            0.0 => 0.0,
            burst => (f64::from(ready) * of.concurrency - burst - panic).floor(),
        };
        self.latest = Some((desired, excess));
        Some(Scaled { desired, excess, mean })
    }

    /// The number of instances that the service gets, after the latest look; `None`: it keeps those that it has.
    /// (`Reconciler.reconcile`, `scaler.Scale`, `handleScaleToZero`, `computeActiveCondition`)
    pub fn reconcile(&mut self, of: &Knative, ready: u32, now: Time) -> Option<u32> {
        let bounded = |desired: u32| desired.max(of.min).min(of.max.unwrap_or(u32::MAX));
        let is_activating = matches!(self.activity, Activity::Activating(_));
        let desired = match self.latest {
            Some((desired, _)) => Some(bounded(desired)),
            None if is_activating => Some(bounded(0)),
            None => None,
        };
        let (want, is_applied) = match desired {
            Some(0) => self.to_zero(of, now),
            desired => (desired, desired.is_some()),
        };
        let excess = self.latest.map_or_else(|| of.first_excess(), |(_, excess)| excess);
        let is_inactive = matches!(self.activity, Activity::Inactive(_));
        self.proxied = match want == Some(0) || excess < 0.0 || (want.is_none() && is_inactive) {
            true => self.proxied.or(Some(now)),
            false => None,
        };
        let is_wanted = want.is_some_and(|want| want > 0) || !is_inactive;
        self.activity = match self.activity {
            Activity::Inactive(_) if want == Some(0) => self.activity,
            _ if want == Some(0) => Activity::Inactive(now),
            activity if !is_wanted => activity,
            Activity::Activating(_) if ready < of.min.max(1) => self.activity,
            _ if ready < of.min.max(1) => Activity::Activating(now),
            Activity::Active(_) => self.activity,
            _ => Activity::Active(now),
        };
        want.filter(|_| is_applied)
    }

    /// No instance is wanted: the number that the autoscaler says, and whether the service gets it.
    fn to_zero(&self, of: &Knative, now: Time) -> (Option<u32>, bool) {
        match self.activity {
            Activity::Activating(since) if now.since(since) > ACTIVATION_TIMEOUT => (Some(0), true),
            Activity::Activating(_) => (None, false),
            Activity::Active(since) if now.since(since) >= of.stable => (Some(0), false),
            Activity::Active(_) => (Some(1), true),
            Activity::Inactive(since) => {
                let is_over = |since: Time| now.since(since) >= of.grace;
                (Some(0), is_over(since) || self.proxied.is_some_and(is_over))
            }
        }
    }
}

impl Knative {
    /// Spare capacity before the first decision, with an initial scale of 1.
    fn first_excess(&self) -> f64 {
        match self.burst {
            0.0 => 0.0,
            burst => (self.concurrency - burst).trunc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    /// Knative's defaults, with a target of 10 of which 70 % are aimed at.
    fn knative() -> Knative {
        Knative {
            min: 0,
            max: None,
            concurrency: 10.0,
            utilisation: 0.7,
            stable: Span::from_secs(60),
            panic: Span::from_secs(6),
            panic_threshold: 2.0,
            up_rate: 1000.0,
            down_rate: 2.0,
            down_delay: Span::ZERO,
            grace: Span::from_secs(30),
            burst: 200.0,
            tick: Span::from_secs(2),
            scrape: Span::from_secs(1),
        }
    }

    /// One whose service had `old` requests at once for 54 s, and `late` for the 6 s since then, until 59 s.
    fn filled(of: &Knative, old: f64, late: f64) -> Kpa {
        let mut kpa = Kpa::new(of, 1);
        (0..60).for_each(|second| kpa.record(if second < 54 { old } else { late }, at(second)));
        kpa
    }

    /// Computed from `autoscaler.go` on paper. The target is 7, and both means are those of `filled`.
    #[test]
    fn the_wanted_number_is_that_of_knative() {
        let plain = knative();
        let slow_up = Knative { up_rate: 1.5, ..plain.clone() };
        let no_down = Knative { down_rate: 1.1, ..plain.clone() };
        let whole = Knative { utilisation: 1.0, ..plain.clone() };
        let calm = Knative { panic_threshold: 10.0, ..plain.clone() };
        // (what, settings, requests before, in the last six seconds, ready, wanted)
        let cases = [
            ("idle, one instance: half of it, rounded down", &plain, 0.0, 0.0, 1, 0),
            ("idle, two", &plain, 0.0, 0.0, 2, 1),
            ("idle, nine", &plain, 0.0, 0.0, 9, 4),
            ("a little", &plain, 0.01, 0.01, 1, 1),
            ("at the target", &plain, 7.0, 7.0, 1, 1),
            ("a little above", &plain, 7.1, 7.1, 1, 2),
            ("three times the target of three", &plain, 21.0, 21.0, 3, 3),
            ("a half more", &plain, 30.0, 30.0, 3, 5),
            ("a decline to less than half", &plain, 7.0, 7.0, 10, 5),
            ("a decline to more than half", &plain, 49.0, 49.0, 10, 7),
            ("a decline of at most a tenth", &no_down, 7.0, 7.0, 11, 10),
            ("growth by at most a half", &slow_up, 49.0, 49.0, 4, 6),
            ("growth by at least one", &slow_up, 14.0, 14.0, 1, 2),
            ("none is ready: as if one was", &plain, 14.0, 14.0, 0, 2),
            ("none is ready, and growth is limited", &slow_up, 70.0, 70.0, 0, 2),
            ("the whole target", &whole, 21.0, 21.0, 3, 3),
            // 54 s of 7 and 6 s of 140: a mean of 20.3, and a panic for 20.
            ("a panic", &plain, 7.0, 140.0, 1, 20),
            ("twice what is ready is a panic", &plain, 7.0, 14.0, 1, 2),
            // 54 s of 7 and 6 s of 13: a mean of 7.6; 13 ask for 2 instances, and 2 / 2 is below 2.
            ("less than twice is none", &plain, 7.0, 13.0, 2, 2),
            ("no panic: the mean of the minute", &calm, 7.0, 60.0, 1, 2),
            // A peak that is over: the long mean is above the short one.
            ("the short mean is low", &plain, 70.0, 0.0, 10, 9),
            ("a sudden silence", &plain, 7.0, 0.0, 1, 1),
            ("a panic limited by the rate", &slow_up, 7.0, 140.0, 2, 3),
        ];
        assert!(cases.len() >= 20);
        for (what, of, old, late, ready, expected) in cases {
            let scaled = filled(of, old, late).scale(of, ready, at(59)).expect("there are data");
            assert_eq!(scaled.desired, expected, "{what}");
        }
    }

    #[test]
    fn a_panic_lasts_for_a_minute_after_the_threshold_was_exceeded_last() {
        let of = knative();
        let desired = |kpa: &mut Kpa, ready, second| kpa.scale(&of, ready, at(second)).unwrap().desired;
        let mut kpa = filled(&of, 7.0, 70.0);
        assert_eq!(desired(&mut kpa, 1, 59), 10);
        // With ten instances ready, the threshold is not exceeded any more.
        for second in 60..=122 {
            kpa.record(7.0, at(second));
            let wanted = desired(&mut kpa, 10, second);
            let expected = if second <= 119 { 10 } else { 5 };
            assert_eq!(wanted, expected, "at {second} s: it ends after the minute");
        }
    }

    #[test]
    fn declines_wait_for_the_delay() {
        let of = Knative { stable: Span::from_secs(10), down_delay: Span::from_secs(10), ..knative() };
        let mut kpa = filled(&of, 35.0, 35.0);
        assert_eq!(kpa.scale(&of, 5, at(59)).unwrap().desired, 5);
        (60..70).for_each(|second| kpa.record(0.0, at(second)));
        let mut desired = |second| kpa.scale(&of, 5, at(second)).unwrap().desired;
        assert_eq!((desired(68), desired(69)), (5, 2));
        let none = &mut Kpa::new(&of, 1);
        assert_eq!(none.scale(&of, 1, at(5)), None, "no data");
    }

    #[test]
    fn an_autoscaler_that_restarts_keeps_what_is_ready_for_a_minute() {
        let of = knative();
        let mut kpa = Kpa::restarted(&of, at(100));
        kpa.record(0.0, at(100));
        assert_eq!(kpa.scale(&of, 6, at(101)).unwrap().desired, 6);
        let mut one = Kpa::restarted(&of, at(100));
        one.record(0.0, at(100));
        assert_eq!(one.scale(&of, 1, at(101)).unwrap().desired, 0, "one instance is no reason");
        (101..170).for_each(|second| kpa.record(0.0, at(second)));
        assert_eq!(kpa.scale(&of, 6, at(161)).unwrap().desired, 6);
        assert_eq!(kpa.scale(&of, 6, at(162)).unwrap().desired, 3);
    }

    #[test]
    fn the_spare_capacity_is_that_of_knative() {
        // Ready instances times the whole target, less the burst and what is there now.
        let excess = |burst, ready| {
            let of = Knative { burst, ..knative() };
            filled(&of, 30.0, 30.0).scale(&of, ready, at(59)).unwrap().excess
        };
        assert_eq!(excess(200.0, 5), 50.0 - 200.0 - 30.0);
        assert_eq!(excess(200.0, 23), 0.0);
        assert_eq!(excess(0.0, 0), 0.0, "in the path at zero instances only");
        assert_eq!(knative().first_excess(), -190.0);
    }

    /// Decisions of `reconcile`, each after a look: its second, the desired instances and the ready ones.
    fn reconciled(of: &Knative, kpa: &mut Kpa, looks: &[(u64, u32, u32)]) -> Vec<Option<u32>> {
        let look = |(second, desired, ready): &(u64, u32, u32)| {
            kpa.latest = Some((*desired, kpa.latest.map_or(0.0, |(_, excess)| excess)));
            kpa.reconcile(of, *ready, at(*second))
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn the_last_instance_goes_after_the_window_and_the_grace() {
        let of = Knative { burst: 0.0, ..knative() };
        let mut kpa = Kpa::new(&of, 1);
        let looks = [
            (0, 1, 0),   // activating
            (2, 1, 1),   // active
            (10, 0, 1),  // not for a minute yet: at most one stays
            (40, 0, 2),  // the same, with two
            (62, 0, 1),  // a minute: inactive, and the activator comes into the path
            (64, 0, 1),  // the grace
            (91, 0, 1),  // still
            (92, 0, 1),  // 30 s
            (94, 3, 0),  // requests are held
            (96, 0, 1),  // active again, for another minute
            (98, 0, 1),  // the same
            (156, 0, 1), // inactive again
            (186, 0, 1), // and gone
        ];
        let applied = reconciled(&of, &mut kpa, &looks);
        let expected =
            [Some(1), Some(1), Some(1), Some(1), None, None, None, Some(0), Some(3), None, Some(1), None, Some(0)];
        assert_eq!(applied, expected);
    }

    #[test]
    fn an_activator_that_was_in_the_path_needs_no_grace() {
        // The spare capacity is below the burst all the time.
        let of = knative();
        let mut kpa = Kpa::new(&of, 1);
        kpa.latest = Some((1, -190.0));
        let applied = reconciled(&of, &mut kpa, &[(0, 1, 0), (2, 1, 1), (62, 0, 1), (64, 0, 1)]);
        assert_eq!(applied, [Some(1), Some(1), None, Some(0)]);
        assert!(kpa.is_proxied());
    }

    #[test]
    fn limits_hold_and_a_service_without_data_keeps_what_it_has() {
        let of = Knative { min: 2, max: Some(5), ..knative() };
        let mut kpa = Kpa::new(&of, 3);
        assert_eq!(kpa.reconcile(&of, 0, at(0)), Some(2), "without data, the fewest while it comes up");
        assert_eq!(reconciled(&of, &mut kpa, &[(2, 9, 3), (4, 0, 5), (6, 3, 2)]), [Some(5), Some(2), Some(3)]);
        let of = knative();
        let mut kpa = Kpa::new(&of, 3);
        assert_eq!(kpa.reconcile(&of, 3, at(2)), None);
        assert_eq!(kpa.reconcile(&of, 3, at(4)), None);
        let mut idle = Kpa::new(&of, 0);
        assert!(idle.is_at_zero() && idle.is_proxied());
        assert_eq!(idle.reconcile(&of, 0, at(2)), None);
        let mut stuck = Kpa::new(&of, 1);
        let looks = [(0, 1, 0), (600, 0, 0), (611, 0, 0), (613, 0, 0)];
        assert_eq!(reconciled(&of, &mut stuck, &looks), [Some(1), None, Some(0), None], "it never came up");
    }
}
