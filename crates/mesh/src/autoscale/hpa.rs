//! Kubernetes' horizontal pod autoscaler, as its controller computes it: the number of instances that a measured mean
//! asks for, then the limits on how fast it may change.
//!
//! Sources: `replica_calculator.go` and `horizontal.go` of
//! <https://github.com/kubernetes/kubernetes/tree/v1.31.0/pkg/controller/podautoscaler>, and
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>. The defaults of the settings are those
//! of the controller manager and of `autoscaling/v2`.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

/// Settings of a horizontal pod autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hpa {
    /// Fewest instances, at least 1.
    pub min: u32,
    /// Most instances, at least `min`.
    pub max: u32,
    /// The measured signal.
    pub signal: Signal,
    /// Wanted mean of the signal over the instances: a share of the reserved cores, or requests in flight. Above 0.
    pub target: f64,
    /// Time between two decisions (`--horizontal-pod-autoscaler-sync-period`: 15 s).
    pub sync: Span,
    /// Relative distance from the target within which nothing is changed (`--horizontal-pod-autoscaler-tolerance`:
    /// 0.1).
    pub tolerance: f64,
    /// After [`cpu_initialization`](Self::cpu_initialization), an instance that is not ready is left out only if it
    /// never was ready: if its last change came within this time of its start
    /// (`--horizontal-pod-autoscaler-initial-readiness-delay`: 30 s).
    pub initial_readiness: Span,
    /// Time from an instance's start during which its processor time counts only once it was ready for a whole
    /// measurement (`--horizontal-pod-autoscaler-cpu-initialization-period`: 5 min).
    pub cpu_initialization: Span,
    /// Limits on growth.
    pub up: Pace,
    /// Limits on decline.
    pub down: Pace,
}

/// Signal that an autoscaler follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Processor time in use, as a share of what an instance reserves ([`Service::cpu`](crate::model::Service::cpu)); a
    /// `Resource` metric with a target `Utilization`.
    Cpu,
    /// Requests in service and waiting, per instance; a `Pods` metric with a target `AverageValue`.
    Concurrency,
}

/// Limits on the change of the number of instances in one direction (`behavior.scaleUp`, `behavior.scaleDown`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The mildest recommendation of this time is followed (`stabilizationWindowSeconds`).
    pub window: Span,
    /// Instances that may be added or removed in a period; `None`: no such limit.
    pub instances: Option<u32>,
    /// Share of the instances at the start of a period that may be added or removed in it; `None`: no such limit.
    pub share: Option<f64>,
    /// The period.
    pub period: Span,
    /// The limit that holds if there are two.
    pub select: Select,
}

/// Choice between two limits (`selectPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// The one that allows the larger change.
    Max,
    /// The one that allows the smaller change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// An instance as the autoscaler sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pod {
    /// True if it runs at all: it is known to a node that answers, or it was before the node stopped answering.
    pub is_running: bool,
    /// It accepts requests.
    pub is_ready: bool,
    /// Time of its creation.
    pub created: Time,
    /// Time at which it last became ready, or stopped being so; its creation, if it never was ready.
    pub since: Time,
    /// Its measured value; `None`: missing.
    pub value: Option<Measured>,
}

/// A measurement of one instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The value, in the unit of the target.
    pub value: f64,
    /// Time at which it was taken.
    pub at: Time,
    /// Time over which it is a mean.
    pub window: Span,
}

/// Instances by what their measurement is worth.
#[derive(Default)]
struct Groups {
    /// Values of those that count.
    values: Vec<f64>,
    not_ready: usize,
    missing: usize,
}

impl Hpa {
    /// The number of instances that the signal asks for, without limits on its change; `None` if no instance that is
    /// ready has a measurement. `current` is the number that is wanted now. (`GetResourceReplicas`,
    /// `GetMetricReplicas`)
    pub fn replicas(&self, current: u32, pods: &[Pod], now: Time) -> Option<u32> {
        let Groups { mut values, not_ready, missing } = self.groups(pods, now);
        if values.is_empty() {
            return None;
        }
        let ready = values.len();
        let ratio = self.ratio(&values);
        let fills_up = not_ready > 0 && ratio > 1.0;
        if !fills_up && missing == 0 {
            return Some(if self.is_close(ratio) { current } else { ceil(ratio * ready as f64) });
        }
        // Missing ones count so that they dampen the change, whichever way it goes.
        if ratio < 1.0 {
            let full = if self.signal == Signal::Cpu { self.target.max(1.0) } else { self.target };
            values.extend(std::iter::repeat_n(full, missing));
        } else if ratio > 1.0 {
            values.extend(std::iter::repeat_n(0.0, missing));
        }
        if fills_up {
            values.extend(std::iter::repeat_n(0.0, not_ready));
        }
        let dampened = self.ratio(&values);
        let turns = (ratio < 1.0 && dampened > 1.0) || (ratio > 1.0 && dampened < 1.0);
        if self.is_close(dampened) || turns {
            return Some(current);
        }
        let replicas = ceil(dampened * values.len() as f64);
        let turns = (dampened < 1.0 && replicas > current) || (dampened > 1.0 && replicas < current);
        Some(if turns { current } else { replicas })
    }

    /// The number of instances for a figure that is a sum over all of them, of which each is to have `target`.
    /// (`GetExternalPerPodMetricReplicas`)
    pub fn replicas_of_sum(&self, current: u32, sum: f64, target: f64) -> u32 {
        let ratio = sum / (target * f64::from(current));
        if self.is_close(ratio) { current } else { ceil(sum / target) }
    }

    /// Mean of the measurements that count, in the unit of the target; `None`: there is none.
    pub fn mean(&self, pods: &[Pod], now: Time) -> Option<f64> {
        let values = self.groups(pods, now).values;
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Sorts the instances (`groupPods`).
    fn groups(&self, pods: &[Pod], now: Time) -> Groups {
        let mut groups = Groups::default();
        for pod in pods {
            match pod.value {
                _ if !pod.is_running => groups.not_ready += 1,
                None => groups.missing += 1,
                Some(measured) if self.signal == Signal::Cpu && self.is_unready(pod, measured, now) => {
                    groups.not_ready += 1;
                }
                Some(measured) => groups.values.push(measured.value),
            }
        }
        groups
    }

    /// True if the processor time of an instance says nothing yet.
    fn is_unready(&self, pod: &Pod, measured: Measured, now: Time) -> bool {
        if pod.created + self.cpu_initialization > now {
            !pod.is_ready || measured.at < pod.since + measured.window
        } else {
            !pod.is_ready && pod.created + self.initial_readiness > pod.since
        }
    }

    /// Mean of the values, in targets. A utilisation is a whole percentage, as Kubernetes computes it.
    fn ratio(&self, values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        match self.signal {
            Signal::Cpu => (100.0 * mean + 1e-9).floor() / (100.0 * self.target),
            Signal::Concurrency => mean / self.target,
        }
    }

    fn is_close(&self, ratio: f64) -> bool {
        // A ratio such as 1.1 is not exact.
        (ratio - 1.0).abs() <= self.tolerance + 1e-9
    }
}

/// Rounds up, but for what a sum of inexact numbers adds.
fn ceil(replicas: f64) -> u32 {
    (replicas - 1e-9).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

/// Memory of an autoscaler: what it recommended and changed lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recommender {
    recommended: Vec<(Time, u32)>,
    /// Instances that were added (above 0) and removed.
    changed: Vec<(Time, i64)>,
}

impl Recommender {
    /// The number of instances that a service with `current` gets, which the signal asks to have `asked`. At most one
    /// decision at a time. (`reconcileAutoscaler`, `recordInitialRecommendation`,
    /// `normalizeDesiredReplicasWithBehaviors`)
    pub fn decide(&mut self, hpa: &Hpa, current: u32, asked: Option<u32>, now: Time) -> u32 {
        if self.recommended.is_empty() {
            // A controller that has just started remembers what it found.
            self.recommended.push((now, current));
        }
        let wanted = if current == 0 {
            // Autoscaling is off for a service that was scaled to nothing.
            0
        } else if current > hpa.max {
            hpa.max
        } else if current < hpa.min {
            hpa.min
        } else if let Some(asked) = asked {
            let stable = self.stabilised(hpa, current, asked, now);
            self.limited(hpa, current, stable, now)
        } else {
            current
        };
        if wanted != current {
            self.changed.push((now, i64::from(wanted) - i64::from(current)));
        }
        wanted
    }

    /// The mildest recommendation of the windows (`stabilizeRecommendationWithBehaviors`).
    fn stabilised(&mut self, hpa: &Hpa, current: u32, asked: u32, now: Time) -> u32 {
        let within = |window: Span, at: Time| at + window > now;
        let of = |window: Span| {
            let recent =
                self.recommended.iter().filter(move |(at, _)| within(window, *at)).map(|(_, replicas)| *replicas);
            recent.chain([asked])
        };
        let up = of(hpa.up.window).min().unwrap_or(asked);
        let down = of(hpa.down.window).max().unwrap_or(asked);
        let longest = hpa.up.window.max(hpa.down.window);
        self.recommended.retain(|(at, _)| within(longest, *at));
        self.recommended.push((now, asked));
        current.max(up).min(down)
    }

    /// Limits the change per period (`convertDesiredReplicasWithBehaviorRate`).
    fn limited(&mut self, hpa: &Hpa, current: u32, wanted: u32, now: Time) -> u32 {
        let longest = hpa.up.period.max(hpa.down.period);
        self.changed.retain(|(at, _)| *at + longest > now);
        if wanted > current {
            let limit = self.limit(&hpa.up, current, now, true).max(current);
            wanted.min(limit).min(hpa.max)
        } else if wanted < current {
            let limit = self.limit(&hpa.down, current, now, false).min(current);
            wanted.max(limit).max(hpa.min)
        } else {
            wanted
        }
    }

    /// Most instances, or fewest, that the rules of a direction allow now.
    fn limit(&self, pace: &Pace, current: u32, now: Time, is_up: bool) -> u32 {
        if pace.select == Select::Disabled {
            return current;
        }
        let since = self.changed.iter().filter(|(at, _)| *at + pace.period > now).map(|(_, by)| by).sum::<i64>();
        let start = (i64::from(current) - since).max(0) as f64;
        let sign = if is_up { 1.0 } else { -1.0 };
        let by_number = pace.instances.map(|number| start + sign * f64::from(number));
        let by_share = pace.share.map(|share| {
            let proposed = start * (1.0 + sign * share);
            if is_up { (proposed - 1e-9).ceil() } else { (proposed + 1e-9).floor() }
        });
        let larger = (pace.select == Select::Max) == is_up;
        let chosen = match (by_number, by_share) {
            (Some(a), Some(b)) if larger => a.max(b),
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(if is_up { f64::from(u32::MAX) } else { 0.0 }),
        };
        chosen.clamp(0.0, f64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_nanos(3_600_000_000_000);

    fn hpa(signal: Signal, target: f64) -> Hpa {
        let share = |window, instances| Pace {
            window: Span::from_secs(window),
            instances,
            share: Some(1.0),
            period: Span::from_secs(15),
            select: Select::Max,
        };
        Hpa {
            min: 1,
            max: 100,
            signal,
            target,
            sync: Span::from_secs(15),
            tolerance: 0.1,
            initial_readiness: Span::from_secs(30),
            cpu_initialization: Span::from_secs(300),
            up: share(0, Some(4)),
            down: share(300, None),
        }
    }

    fn ago(seconds: u64) -> Time {
        Time::from_nanos(NOW.nanos() - seconds * 1_000_000_000)
    }

    /// An instance that has been ready for half an hour.
    fn old(value: f64) -> Pod {
        let measured = Measured { value, at: ago(5), window: Span::from_secs(15) };
        Pod { is_running: true, is_ready: true, created: ago(1810), since: ago(1800), value: Some(measured) }
    }

    /// One of a node that does not answer.
    fn missing() -> Pod {
        Pod { value: None, ..old(0.0) }
    }

    /// One that has not been created yet.
    fn pending() -> Pod {
        Pod { is_running: false, is_ready: false, created: NOW, since: NOW, value: None }
    }

    fn all(values: &[f64]) -> Vec<Pod> {
        values.iter().map(|value| old(*value)).collect()
    }

    fn and(values: &[f64], others: &[Pod]) -> Vec<Pod> {
        all(values).into_iter().chain(others.iter().copied()).collect()
    }

    /// Computed from `replica_calculator.go` on paper; its own tests have several of these situations.
    #[test]
    fn the_wanted_number_is_that_of_kubernetes() {
        let cpu = hpa(Signal::Cpu, 0.5);
        let requests = hpa(Signal::Concurrency, 10.0);
        let young =
            |value, created, since, is_ready| Pod { created: ago(created), since: ago(since), is_ready, ..old(value) };
        let cases = [
            ("at the target", &cpu, 3, all(&[0.5, 0.5, 0.5]), Some(3)),
            ("twice the target", &cpu, 3, all(&[1.0, 1.0, 1.0]), Some(6)),
            ("half the target", &cpu, 4, all(&[0.25, 0.25, 0.25, 0.25]), Some(2)),
            ("the mean counts", &cpu, 3, all(&[0.2, 0.5, 1.1]), Some(4)),
            ("10 % above is close enough", &cpu, 10, all(&[0.55; 10]), Some(10)),
            ("12 % above is not", &cpu, 10, all(&[0.56; 10]), Some(12)),
            ("10 % below is close enough", &cpu, 10, all(&[0.45; 10]), Some(10)),
            ("12 % below is not", &cpu, 10, all(&[0.44; 10]), Some(9)),
            ("a percentage is whole", &cpu, 10, all(&[0.559; 10]), Some(10)),
            ("rounded up", &cpu, 2, all(&[0.6, 0.6]), Some(3)),
            ("idle", &cpu, 5, all(&[0.0; 5]), Some(0)),
            ("nothing is measured", &cpu, 3, vec![missing(), missing(), missing()], None),
            ("none exists yet", &cpu, 2, vec![pending(), pending()], None),
            ("growth: a missing one counts as idle", &cpu, 4, and(&[1.0, 1.0, 1.0], &[missing()]), Some(6)),
            ("growth that a missing one cancels", &cpu, 4, and(&[0.7, 0.7], &[missing(), missing()]), Some(4)),
            ("growth dampened into the tolerance", &cpu, 5, and(&[0.65; 4], &[missing()]), Some(5)),
            ("decline: a missing one counts as full", &cpu, 4, and(&[0.1, 0.1, 0.1], &[missing()]), Some(3)),
            ("decline that a missing one cancels", &cpu, 2, and(&[0.25], &[missing()]), Some(2)),
            ("decline with most of them missing", &cpu, 4, and(&[0.1], &[missing(), missing(), missing()]), Some(4)),
            ("growth: one that starts counts as idle", &cpu, 3, and(&[0.9, 0.9], &[pending()]), Some(4)),
            ("growth that starting ones cancel", &cpu, 4, and(&[1.0, 1.0], &[pending(), pending()]), Some(4)),
            ("decline: one that starts does not count", &cpu, 3, and(&[0.2, 0.2], &[pending()]), Some(1)),
            ("at the target: one that starts does not count", &cpu, 3, and(&[0.5, 0.5], &[pending()]), Some(3)),
            ("growth: missing and starting ones", &cpu, 4, and(&[1.5, 1.5], &[missing(), pending()]), Some(6)),
            (
                "young, and ready for less than a measurement",
                &cpu,
                2,
                and(&[0.5], &[young(2.0, 40, 15, true)]),
                Some(2),
            ),
            ("young, and ready for a whole measurement", &cpu, 2, and(&[0.5], &[young(2.0, 40, 20, true)]), Some(5)),
            ("young, and not ready", &cpu, 2, and(&[0.9], &[young(2.0, 40, 40, false)]), Some(2)),
            ("old, and never ready", &cpu, 2, and(&[0.9], &[young(0.9, 400, 380, false)]), Some(2)),
            ("old, and not ready any more", &cpu, 2, and(&[0.9], &[young(0.9, 400, 100, false)]), Some(4)),
            ("requests: at the target", &requests, 3, all(&[10.0, 10.0, 10.0]), Some(3)),
            ("requests: not rounded to percents", &requests, 10, all(&[11.09; 10]), Some(12)),
            ("requests: 10 % above is close enough", &requests, 10, all(&[11.0; 10]), Some(10)),
            ("requests: a young one counts at once", &requests, 2, and(&[10.0], &[young(30.0, 5, 5, true)]), Some(4)),
            ("requests: a missing one counts as at the target", &requests, 2, and(&[2.0], &[missing()]), Some(2)),
            ("requests: decline with a missing one", &requests, 4, and(&[2.0; 3], &[missing()]), Some(2)),
            ("requests: growth with a missing one", &requests, 3, and(&[25.0, 25.0], &[missing()]), Some(5)),
        ];
        assert!(cases.len() >= 30);
        for (what, hpa, current, pods, expected) in cases {
            assert_eq!(hpa.replicas(current, &pods, NOW), expected, "{what}");
        }
    }

    /// A service that follows an autoscaler: at each `(seconds, asked)`, the number that it gets.
    fn followed(hpa: &Hpa, start: u32, asked: &[(u64, u32)]) -> Vec<u32> {
        let (mut recommender, mut current) = (Recommender::default(), start);
        let decide = |(at, asked): &(u64, u32)| {
            let now = NOW + Span::from_secs(*at);
            current = recommender.decide(hpa, current, Some(*asked), now);
            current
        };
        asked.iter().map(decide).collect()
    }

    #[test]
    fn changes_are_limited_as_in_kubernetes() {
        let plain = hpa(Signal::Cpu, 0.5);
        // By 4 instances or by 100 % in 15 s, whichever is more.
        assert_eq!(followed(&plain, 1, &[(0, 50), (15, 50), (30, 50), (45, 50)]), [5, 10, 20, 40]);
        // A second decision within the period counts from its beginning.
        assert_eq!(followed(&plain, 10, &[(0, 15), (5, 50), (14, 50), (15, 50)]), [15, 20, 20, 30]);
        // Declines wait until no recommendation of five minutes was higher.
        assert_eq!(followed(&plain, 10, &[(0, 10), (15, 4), (285, 4), (300, 4), (315, 1)]), [10, 10, 10, 4, 4]);
        assert_eq!(
            followed(&plain, 10, &[(0, 2), (299, 2), (300, 2)]),
            [10, 10, 2],
            "the first look remembers the start"
        );
        // At most one of the limits, and never beyond the range.
        assert_eq!(followed(&Hpa { max: 8, ..plain.clone() }, 3, &[(0, 50)]), [7]);
        assert_eq!(followed(&Hpa { max: 8, ..plain.clone() }, 6, &[(0, 50)]), [8]);
        let at_once = Pace { window: Span::ZERO, ..plain.down.clone() };
        assert_eq!(followed(&Hpa { min: 3, down: at_once, ..plain.clone() }, 6, &[(0, 0)]), [3]);
        // Out of range: back at once, whatever is measured.
        assert_eq!(followed(&Hpa { max: 8, ..plain.clone() }, 20, &[(0, 50)]), [8]);
        assert_eq!(followed(&Hpa { min: 3, ..plain.clone() }, 1, &[(0, 1)]), [3]);
        assert_eq!(followed(&plain, 0, &[(0, 9)]), [0], "autoscaling is off at zero");

        let slow = Pace { select: Select::Min, ..plain.up.clone() };
        assert_eq!(followed(&Hpa { up: slow, ..plain.clone() }, 2, &[(0, 50), (15, 50)]), [4, 8]);
        let never = Pace { select: Select::Disabled, ..plain.down.clone() };
        assert_eq!(followed(&Hpa { down: never, ..plain.clone() }, 9, &[(0, 1)]), [9]);
        let gentle = Pace { window: Span::ZERO, share: Some(0.1), ..plain.down.clone() };
        // 10 % of 15, rounded down to 13.
        assert_eq!(followed(&Hpa { down: gentle, ..plain.clone() }, 15, &[(0, 1), (15, 1)]), [13, 11]);
        let steps = Pace { window: Span::ZERO, instances: Some(2), share: None, ..plain.down.clone() };
        assert_eq!(followed(&Hpa { down: steps, ..plain.clone() }, 9, &[(0, 1), (14, 1), (15, 1)]), [7, 7, 5]);
        let late = Pace { window: Span::from_secs(60), ..plain.up.clone() };
        // Growth waits too, if it is given a window: the lowest recommendation of a minute.
        assert_eq!(followed(&Hpa { up: late, ..plain }, 4, &[(0, 4), (15, 8), (45, 8), (60, 6)]), [4, 4, 4, 6]);
    }
}
