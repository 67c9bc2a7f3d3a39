//! KEDA: it brings a service from zero to its first instances, and back to zero; between them, Kubernetes' autoscaler
//! follows the same figure.
//!
//! Sources: `pkg/scaling/executor/scale_scaledobjects.go` of <https://github.com/kedacore/keda/tree/v2.16.0>
//! ([`Memory::poll`]), and `GetExternalPerPodMetricReplicas` of Kubernetes' `replica_calculator.go`
//! ([`Memory::sync`]); defaults of <https://keda.sh/docs/2.16/reference/scaledobject-spec/>. `fallback`, idle replicas,
//! scaling modifiers and jobs do not exist, and a service has one trigger.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::hpa::{Hpa, Recommender};
use crate::model::ServiceId;

/// Settings of a `ScaledObject`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keda {
    /// Fewest instances (`minReplicaCount`: 0).
    pub min: u32,
    /// The figure.
    pub signal: Backlog,
    /// The figure that one instance is to have. Above 0.
    pub target: f64,
    /// The service is active while the figure is above this (`activationThreshold`: 0).
    pub activation: f64,
    /// Time between two looks of KEDA itself (`pollingInterval`: 30 s).
    pub poll: Span,
    /// Time from the last look at which the service was active until it goes to zero (`cooldownPeriod`: 300 s).
    pub cooldown: Span,
    /// Time between two measurements.
    pub scrape: Span,
    /// The autoscaler between one instance and the most; its signal and target are not used.
    pub hpa: Hpa,
}

/// Figure that KEDA follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backlog {
    /// Messages in the queues of this service: published and not consumed.
    Queue(ServiceId),
    /// Requests in service, waiting, and held by callers (as in KEDA's HTTP add-on).
    Requests,
}

/// Memory of KEDA and of the autoscaler that it made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Last look at which the service was active.
    last_active: Option<Time>,
    recommender: Recommender,
}

impl Memory {
    /// KEDA's own look, at a service with `current` instances: the number that it gets. `figure` is what is known, and
    /// whether that is all of it. (`RequestScale`, `scaleFromZeroOrIdle`, `scaleToZeroOrIdle`)
    pub fn poll(&mut self, of: &Keda, current: u32, (figure, is_whole): (f64, bool), now: Time) -> u32 {
        if figure > of.activation {
            self.last_active = Some(now);
            return if current == 0 { of.min.max(1) } else { current };
        }
        if !is_whole {
            // A trigger that fails, without a fallback.
            return current;
        }
        let has_cooled = self.last_active.is_none_or(|last| last + of.cooldown < now);
        match current {
            0 if of.min == 0 => 0,
            _ if of.min == 0 && has_cooled => 0,
            current => current.max(of.min),
        }
    }

    /// The look of Kubernetes' autoscaler: the number of instances for which the figure asks, and the one that the
    /// service gets. It does nothing for a service without instances.
    pub fn sync(&mut self, of: &Keda, current: u32, figure: Option<f64>, now: Time) -> (Option<u32>, u32) {
        let asked = figure.filter(|_| current > 0).map(|figure| of.hpa.replicas_of_sum(current, figure, of.target));
        (asked, self.recommender.decide(&of.hpa, current, asked, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscale::hpa::{Pace, Select, Signal};

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    /// KEDA's defaults, with 5 messages for each instance.
    fn keda(min: u32) -> Keda {
        let pace = |window, instances| Pace {
            window: Span::from_secs(window),
            instances,
            share: Some(1.0),
            period: Span::from_secs(15),
            select: Select::Max,
        };
        Keda {
            min,
            signal: Backlog::Queue(ServiceId(0)),
            target: 5.0,
            activation: 0.0,
            poll: Span::from_secs(30),
            cooldown: Span::from_secs(300),
            scrape: Span::from_secs(1),
            hpa: Hpa {
                min: min.max(1),
                max: 100,
                signal: Signal::Concurrency,
                target: 5.0,
                sync: Span::from_secs(15),
                tolerance: 0.1,
                initial_readiness: Span::from_secs(30),
                cpu_initialization: Span::from_secs(300),
                up: pace(0, Some(4)),
                down: pace(300, None),
            },
        }
    }

    /// Computed from `scale_scaledobjects.go` on paper.
    #[test]
    fn only_the_way_to_zero_and_back_is_kedas() {
        let (zero, two, late) = (keda(0), keda(2), Keda { activation: 10.0, ..keda(0) });
        let (all, some) = (true, false);
        // (what, settings, last active, instances, figure, at, expected)
        let cases = [
            ("at zero, nothing to do", &zero, None, 0, (0.0, all), 1000, 0),
            ("at zero, a message", &zero, None, 0, (1.0, all), 1000, 1),
            ("at zero, a thousand: Kubernetes does the rest", &zero, None, 0, (1000.0, all), 1000, 1),
            ("at zero, as many as do not activate", &late, None, 0, (10.0, all), 1000, 0),
            ("at zero, one more than these", &late, None, 0, (11.0, all), 1000, 1),
            ("at zero with a minimum, a message", &two, None, 0, (1.0, all), 1000, 2),
            ("at zero with a minimum, nothing", &two, None, 0, (0.0, all), 1000, 2),
            ("below the minimum", &two, Some(990), 1, (0.0, all), 1000, 2),
            ("active below the minimum: left to Kubernetes", &two, None, 1, (1.0, all), 1000, 1),
            ("idle at the minimum", &two, None, 2, (0.0, all), 1000, 2),
            ("active", &zero, Some(990), 3, (7.0, all), 1000, 3),
            ("idle, and warm", &zero, Some(990), 3, (0.0, all), 1000, 3),
            ("idle for the cooldown", &zero, Some(700), 3, (0.0, all), 1000, 3),
            ("idle for longer", &zero, Some(699), 3, (0.0, all), 1000, 0),
            ("idle, and never active: at once", &zero, None, 3, (0.0, all), 1000, 0),
            ("too little to be active, and cold", &late, Some(600), 3, (9.0, all), 1000, 0),
            ("idle for longer, with a minimum", &two, Some(600), 3, (0.0, all), 1000, 3),
            ("a trigger that fails changes nothing", &zero, Some(600), 3, (0.0, some), 1000, 3),
            ("a trigger that fails at zero", &zero, None, 0, (0.0, some), 1000, 0),
            ("what is known is enough to be active", &zero, None, 0, (1.0, some), 1000, 1),
        ];
        assert!(cases.len() >= 15);
        for (what, of, last_active, current, figure, second, expected) in cases {
            let mut memory = Memory { last_active: last_active.map(at), ..Memory::default() };
            assert_eq!(memory.poll(of, current, figure, at(second)), expected, "{what}");
        }
    }

    #[test]
    fn an_active_look_begins_the_cooldown_anew() {
        let of = keda(0);
        let mut memory = Memory::default();
        let polls = [(0, 3.0), (30, 0.0), (60, 1.0), (360, 0.0), (390, 0.0)];
        let seen = polls.map(|(second, figure)| memory.poll(&of, 2, (figure, true), at(second)));
        assert_eq!(seen, [2, 2, 2, 2, 0]);
    }

    /// Computed from `replica_calculator.go` on paper: a sum over all instances, with a target for each.
    #[test]
    fn between_one_and_the_most_kubernetes_follows_the_figure() {
        let of = keda(0);
        let cases = [
            ("at the target", 4, Some(20.0), (Some(4), 4)),
            ("10 % above is close enough", 4, Some(22.0), (Some(4), 4)),
            ("above", 4, Some(23.0), (Some(5), 5)),
            ("far above: at most 4 or 100 % at once", 4, Some(400.0), (Some(80), 8)),
            ("one instance, far above", 1, Some(400.0), (Some(80), 5)),
            ("below: the window keeps it", 4, Some(5.0), (Some(1), 4)),
            ("nothing", 4, Some(0.0), (Some(0), 4)),
            ("unknown", 4, None, (None, 4)),
            ("none: Kubernetes does nothing", 0, Some(50.0), (None, 0)),
            ("more than the most", 120, Some(600.0), (Some(120), 100)),
        ];
        for (what, current, figure, expected) in cases {
            assert_eq!(Memory::default().sync(&of, current, figure, at(1000)), expected, "{what}");
        }
    }
}
