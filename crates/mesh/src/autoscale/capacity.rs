//! A vertical autoscaler: the recurrence `C' = C b`, closed by a measured signal.
//!
//! b is the measured utilisation of the slots over the wanted one, as the number of instances is in Kubernetes' formula
//! (`desired = ceil(current * measured / target)`,
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details>), with its tolerance
//! and its stabilisation window. C changes by at most a factor of 2 in one decision, and stays within the limits of the
//! service. Where all slots are busy, more requests than that may wait: b is then at most 1 / target, and C grows again
//! at the next decision.

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::demand::Total;
use super::window::Window;

/// Largest factor of one decision.
pub const FACTOR_MAX: f64 = 2.0;

/// Settings of an autoscaler of the capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utilisation {
    /// u: wanted share of the slots that are busy, above 0.
    pub target: f64,
    /// Distance of b from 1 within which nothing is changed.
    pub tolerance: f64,
    /// Time between two decisions, over which the utilisation is a mean.
    pub sync: Span,
    /// Declines follow the highest recommendation of this time.
    pub window: Span,
    /// Time between two measurements.
    pub scrape: Span,
}

/// Memory of an autoscaler of the capacity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    busy: Window,
    slots: Window,
    recommended: Vec<(Time, f64)>,
}

impl Memory {
    /// An autoscaler that has seen nothing.
    pub fn new(of: &Utilisation) -> Self {
        Memory { busy: Window::new(of.sync), slots: Window::new(of.sync), recommended: Vec::new() }
    }

    pub(super) fn record(&mut self, of: Total, now: Time) {
        self.busy.record(now, of.busy);
        self.slots.record(now, of.slots);
    }

    /// Share of the slots that were busy; `None`: none were there, or nothing was measured.
    pub(super) fn measured(&self, now: Time) -> Option<f64> {
        let slots = self.slots.mean(now);
        (slots > 0.0 && !self.slots.is_empty(now)).then(|| self.busy.mean(now) / slots)
    }

    /// The capacity that instances of `capacity` get, with this share of their slots busy, within `limits`.
    pub fn decide(&mut self, of: &Utilisation, capacity: f64, limits: (f64, f64), measured: f64, now: Time) -> f64 {
        if self.recommended.is_empty() {
            self.recommended.push((now, capacity));
        }
        let b = measured / of.target;
        let is_close = (b - 1.0).abs() <= of.tolerance + 1e-9;
        let factor = if is_close { 1.0 } else { b.clamp(1.0 / FACTOR_MAX, FACTOR_MAX) };
        let wanted = (capacity * factor).clamp(limits.0, limits.1);
        self.recommended.retain(|(at, _)| *at + of.window > now);
        let highest = self.recommended.iter().map(|(_, it)| *it).fold(wanted, f64::max);
        self.recommended.push((now, wanted));
        if wanted < capacity { highest.min(capacity) } else { wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(window: u64) -> Utilisation {
        let (sync, scrape) = (Span::from_secs(15), Span::from_secs(1));
        Utilisation { target: 0.5, tolerance: 0.1, sync, window: Span::from_secs(window), scrape }
    }

    /// The capacity after each `(seconds, measured)`.
    fn followed(of: &Utilisation, start: f64, limits: (f64, f64), measured: &[(u64, f64)]) -> Vec<f64> {
        let (mut memory, mut capacity) = (Memory::new(of), start);
        let decide = |(at, measured): &(u64, f64)| {
            capacity = memory.decide(of, capacity, limits, *measured, Time::ZERO + Span::from_secs(*at));
            capacity
        };
        measured.iter().map(decide).collect()
    }

    #[test]
    fn the_capacity_follows_the_utilisation_by_hand() {
        let (at_once, wide) = (of(0), (0.0, 1e6));
        // b = measured / 0.5, unless it is within 10 % of 1.
        assert_eq!(followed(&at_once, 10.0, wide, &[(0, 0.5)]), [10.0]);
        assert_eq!(followed(&at_once, 10.0, wide, &[(0, 0.55)]), [10.0], "10 % above is close enough");
        assert_eq!(followed(&at_once, 10.0, wide, &[(0, 0.6)]), [12.0]);
        assert_eq!(followed(&at_once, 10.0, wide, &[(0, 0.45)]), [10.0], "10 % below is close enough");
        assert_eq!(followed(&at_once, 10.0, wide, &[(0, 0.4)]), [8.0]);
        assert_eq!(followed(&at_once, 10.0, wide, &[(0, 1.0), (15, 1.0)]), [20.0, 40.0], "at most twice at once");
        assert_eq!(followed(&at_once, 10.0, wide, &[(0, 0.0), (15, 0.0)]), [5.0, 2.5], "at least half of it");
        assert_eq!(followed(&at_once, 10.0, (4.0, 16.0), &[(0, 1.0), (15, 0.0), (30, 0.0)]), [16.0, 8.0, 4.0]);
        // Declines wait until no recommendation of the window was higher; growth does not.
        let late = of(60);
        assert_eq!(
            followed(&late, 10.0, wide, &[(0, 0.25), (45, 0.25), (60, 0.25), (75, 1.0)]),
            [10.0, 10.0, 5.0, 10.0]
        );
        assert_eq!(followed(&late, 10.0, wide, &[(0, 0.25), (15, 0.4), (60, 0.25)]), [10.0, 10.0, 8.0]);
    }
}
