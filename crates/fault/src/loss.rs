//! Some messages never arrive.

use meshsim_actor::Cause;
use serde::{Deserialize, Serialize};

use crate::{Disturbance, Link, Passing, Time, Verdict, verdict::probability};

/// Each message is lost with a probability, independently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Where.
    pub on: Link,
    /// How likely, in 0..=1.
    pub probability: f64,
}

impl Disturbance for Loss {
    fn amend(&mut self, _: Time, message: &mut Passing, verdict: &mut Verdict) {
        if self.on.concerns(message.from, message.to) && message.chance(self.probability) {
            verdict.lost = Some(Cause::Loss);
        }
    }

    fn validate(&self) -> Result<(), String> {
        probability(self.probability)
    }
}
