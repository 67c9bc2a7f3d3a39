//! Services that fail, are late, hang, refuse or are slow.

use std::sync::Arc;

use meshsim_actor::{Impairment, ImpairmentKind};
use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, MachineAction, Outage};

/// The machines impair one program: the others on them stay as they are. Two such faults at once combine: shares as
/// independent draws, latencies add up, slots and speeds multiply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The machines that run the program, or those that call it.
    pub actors: ActorSet,
    /// The program, and what happens to it.
    pub impairment: Arc<Impairment>,
}

impl Service {
    /// True if it changes nothing, by its own figures.
    pub fn is_idle(&self) -> bool {
        match &self.impairment.effect {
            ImpairmentKind::Errors(share) | ImpairmentKind::Hang(share) | ImpairmentKind::Refuse(share) => {
                *share == 0.0
            }
            ImpairmentKind::Latency(added) => added.mean_secs() == 0.0,
            ImpairmentKind::Slots(factor) | ImpairmentKind::Speed(factor) => *factor == 1.0,
        }
    }
}

impl Disturbance for Service {
    fn outage(&self) -> Option<Outage<'_>> {
        let begin = MachineAction::Impair(self.impairment.clone());
        Some(Outage { actors: &self.actors, begin, end: MachineAction::Recover(self.impairment.key) })
    }

    fn validate(&self) -> Result<(), String> {
        self.impairment.effect.validate()
    }
}
