//! Messages that arrive twice.

use meshsim_actor::Dist;
use serde::{Deserialize, Serialize};

use crate::{Disturbance, InTransit, Link, PendingFate, Time, verdict::probability};

/// A copy of the message arrives too, some time after it. Two such faults together still make one copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Duplicate {
    /// The links.
    pub on: Link,
    /// Probability of a copy, in 0..=1.
    pub probability: f64,
    /// Time from the arrival of the message to that of its copy.
    pub lag: Dist,
}

impl Disturbance for Duplicate {
    fn amend(&mut self, _: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        if message.is_on(&self.on) && message.chance(self.probability) {
            let lag = match self.lag {
                Dist::Constant(span) => span,
                _ => self.lag.sample(message.rng()),
            };
            verdict.copy.get_or_insert(lag);
        }
    }

    fn validate(&self) -> Result<(), String> {
        probability(self.probability)?;
        self.lag.validate().map_err(|error| error.to_string())
    }
}
