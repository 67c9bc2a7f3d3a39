//! Machines that go down and lose their disks.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, MachineAction, Outage};

/// The machines go down, and come up again with empty disks when the fault ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wipe {
    /// The machines.
    pub actors: ActorSet,
}

impl Disturbance for Wipe {
    fn outage(&self) -> Option<Outage<'_>> {
        Some(Outage { actors: &self.actors, begin: MachineAction::Wipe, end: MachineAction::Restart })
    }
}
