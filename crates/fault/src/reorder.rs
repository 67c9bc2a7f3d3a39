//! Some messages are overtaken by later ones.

use serde::{Deserialize, Serialize};

use crate::{Disturbance, Link, Passing, Span, Time, Verdict, verdict::probability};

/// A share of the messages is delayed by up to `within`, evenly, so that later ones pass them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reorder {
    /// Where.
    pub on: Link,
    /// The share, in 0..=1.
    pub probability: f64,
    /// The longest delay.
    pub within: Span,
}

impl Disturbance for Reorder {
    fn amend(&mut self, _: Time, message: &mut Passing, verdict: &mut Verdict) {
        if self.on.concerns(message.from, message.to) && message.chance(self.probability) {
            verdict.delay += self.within.scaled(message.rng().unit());
        }
    }

    fn validate(&self) -> Result<(), String> {
        probability(self.probability)
    }
}
