//! Machines that work at a multiple of their speed.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, MachineAction, Outage};

/// The machines work at this multiple of their speed. Two such faults at once multiply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    /// The machines.
    pub actors: ActorSet,
    /// The multiple, above 0: 0.5 doubles the duration of work.
    pub factor: f64,
}

impl Disturbance for Slow {
    fn outage(&self) -> Option<Outage<'_>> {
        Some(Outage { actors: &self.actors, begin: MachineAction::Speed(self.factor), end: MachineAction::Speed(1.0) })
    }

    fn validate(&self) -> Result<(), String> {
        if self.factor.is_finite() && self.factor > 0.0 {
            Ok(())
        } else {
            Err(format!("a speed is above zero, not {}", self.factor))
        }
    }
}
