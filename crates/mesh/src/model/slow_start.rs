//! Slow start: instances that are new get fewer requests.

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

/// Slow start of a service's instances. (Envoy's `slow_start_config`.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowStart {
    /// Time from the first view that has an instance until it has its full weight.
    pub window: Span,
    /// Above 1, the weight rises faster at first; below 1, faster at the end. Envoy's default: 1, linear.
    pub aggression: f64,
    /// Share of its weight that an instance has from the beginning. Envoy's default: 0.1.
    pub min_weight: f64,
}

impl SlowStart {
    /// The share of its weight that an instance has at this age: `max((age / window)^(1 / aggression), min_weight)`.
    pub fn share(&self, age: Span) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let passed = age.secs() / self.window.secs();
        passed.powf(1.0 / self.aggression).max(self.min_weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_rises_by_envoys_formula() {
        let share = |aggression, age| {
            let it = SlowStart { window: Span::from_secs(10), aggression, min_weight: 0.1 };
            it.share(Span::from_millis(age))
        };
        assert_eq!([0, 500, 5_000, 9_000, 10_000, 90_000].map(|age| share(1.0, age)), [0.1, 0.1, 0.5, 0.9, 1.0, 1.0]);
        // Envoy's documentation: with an aggression of 2 half of the window has passed at 0.707.
        assert!((share(2.0, 5_000) - 0.5_f64.sqrt()).abs() < 1e-12 && (share(0.5, 5_000) - 0.25).abs() < 1e-12);
    }
}
