//! Machines that go down and keep their disks.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, MachineAction, Outage};

/// The machines go down, and come up again when the fault ends. They lose the state in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crash {
    /// The machines.
    pub actors: ActorSet,
}

impl Disturbance for Crash {
    fn outage(&self) -> Option<Outage<'_>> {
        Some(Outage { actors: &self.actors, begin: MachineAction::Crash, end: MachineAction::Restart })
    }
}
