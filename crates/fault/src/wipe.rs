//! Machines go down, and their disks are lost.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, Outage, Power};

/// The machines go down, and come up again with empty disks when the fault is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wipe {
    /// Which.
    pub actors: ActorSet,
}

impl Disturbance for Wipe {
    fn outage(&self) -> Option<Outage<'_>> {
        Some(Outage { actors: &self.actors, begin: Power::Wipe, end: Power::Restart })
    }
}
