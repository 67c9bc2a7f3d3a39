//! Machines that stop for a while.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, MachineAction, Outage};

/// The machines stop (a long garbage collection, a stopped virtual machine). Messages that arrive meanwhile, and timers
/// that fall due, are processed when the machines resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// The machines.
    pub actors: ActorSet,
}

impl Disturbance for Pause {
    fn outage(&self) -> Option<Outage<'_>> {
        Some(Outage { actors: &self.actors, begin: MachineAction::Pause, end: MachineAction::Resume })
    }
}
