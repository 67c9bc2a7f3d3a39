//! Messages that take longer.

use meshsim_actor::Dist;
use serde::{Deserialize, Serialize};

use crate::{Disturbance, InTransit, Link, PendingFate, Time};

/// Each message takes longer by a span that is drawn anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The links.
    pub on: Link,
    /// Added latency.
    pub added: Dist,
}

impl Disturbance for Latency {
    fn amend(&mut self, _: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        if message.is_on(&self.on) {
            verdict.delay += match self.added {
                Dist::Constant(span) => span,
                _ => self.added.sample(message.rng()),
            };
        }
    }

    fn validate(&self) -> Result<(), String> {
        self.added.validate().map_err(|error| error.to_string())
    }
}
