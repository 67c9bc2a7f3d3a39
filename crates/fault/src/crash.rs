//! Machines go down; their disks are kept.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, Outage, Power};

/// The machines go down, and come up again when the fault is over. What only memory held is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crash {
    /// Which.
    pub actors: ActorSet,
}

impl Disturbance for Crash {
    fn outage(&self) -> Option<Outage<'_>> {
        Some(Outage { actors: &self.actors, begin: Power::Crash, end: Power::Restart })
    }
}
