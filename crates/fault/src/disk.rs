//! Machines whose disks take time.

use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, MachineAction, Outage, Span};

/// A sync of the machines' disks takes this long, and a crash loses what was not synced. The times of two such faults at
/// once add up. Without such a fault, what is written is on the disk at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// The machines.
    pub actors: ActorSet,
    /// Duration of a sync; [`Span::MAX`]: the disks are full, and no sync ends before the fault does.
    pub sync: Span,
}

impl Disk {
    /// True if the disks are full.
    pub fn is_full(&self) -> bool {
        self.sync == Span::MAX
    }
}

impl Disturbance for Disk {
    fn outage(&self) -> Option<Outage<'_>> {
        let (begin, end) = (MachineAction::Disk(Some(self.sync)), MachineAction::Disk(None));
        Some(Outage { actors: &self.actors, begin, end })
    }
}
