//! Messages that later ones overtake.

use serde::{Deserialize, Serialize};

use crate::{Disturbance, InTransit, Link, PendingFate, Span, Time, verdict::probability};

/// A fraction of the messages is delayed by up to `within`, uniformly, so that later ones overtake them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reorder {
    /// The links.
    pub on: Link,
    /// The fraction, in 0..=1.
    pub probability: f64,
    /// The longest delay.
    pub within: Span,
}

impl Disturbance for Reorder {
    fn amend(&mut self, _: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        if message.is_on(&self.on) && message.chance(self.probability) {
            verdict.delay += self.within.scaled(message.rng().unit());
        }
    }

    fn validate(&self) -> Result<(), String> {
        probability(self.probability)
    }
}
