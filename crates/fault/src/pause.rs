//! Machines stand still; what arrives waits.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, Outage, Power};

/// The machines stand still (a long garbage collection, a stopped virtual machine); what arrives meanwhile, and timers
/// that fall due, are taken in when they go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Which.
    pub actors: ActorSet,
}

impl Disturbance for Pause {
    fn outage(&self) -> Option<Outage<'_>> {
        Some(Outage { actors: &self.actors, begin: Power::Pause, end: Power::Resume })
    }
}
