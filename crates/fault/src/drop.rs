//! Messages that are lost for good.

use meshsim_actor::LossReason;
use serde::{Deserialize, Serialize};

use crate::{Disturbance, InTransit, Link, PendingFate, Time, verdict::probability};

/// Each message is lost for good with a probability, independently: no transport sends it again. It tests the losses
/// that actors must survive by themselves; for a link that loses packets under TCP see [`Loss`](crate::Loss).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drop {
    /// The links.
    pub on: Link,
    /// Probability of the loss, in 0..=1.
    pub probability: f64,
}

impl Disturbance for Drop {
    fn amend(&mut self, _: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        if message.is_on(&self.on) && message.chance(self.probability) {
            verdict.lost = Some(LossReason::Drop);
        }
    }

    fn validate(&self) -> Result<(), String> {
        probability(self.probability)
    }
}
