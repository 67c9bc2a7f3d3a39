//! A node's disk: the steps that it has applied, and what they led to.

use meshsim_actor::Reboot;
use serde::{Deserialize, Serialize};

use super::Node;
use super::hosting::{HostedOnDisk, HostedServices};
use super::leave::Leave;
use super::steps::Applied;
use crate::mutant::Mutant;

/// Content of a node's disk: one record, so a step is on it with its number and its effect, or not at all (R3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeDisk {
    applied: Applied,
    services: Vec<HostedOnDisk>,
    leave: Option<Leave>,
}

impl Node {
    /// Content of its disk.
    pub(crate) fn disk(&self) -> NodeDisk {
        let hosting = self.hosting.as_ref();
        NodeDisk {
            applied: self.applied.durable(),
            services: hosting.map_or_else(Vec::new, |hosting| hosting.kept()),
            leave: hosting.and_then(|hosting| hosting.leave),
        }
    }

    /// The machine went down. The disk keeps the last applied step and the shares.
    pub(crate) fn reboot(&mut self, found: Reboot<NodeDisk>) {
        self.view = crate::view::no_view(&self.mesh);
        self.count_what_is_lost();
        self.work = None;
        match found {
            Reboot::Kept => {}
            Reboot::Found(disk) => {
                self.applied = disk.applied;
                if self.hosting.is_some() || !disk.services.is_empty() || disk.leave.is_some() {
                    let hosting = self.hosting.get_or_insert_with(|| Box::new(HostedServices::default()));
                    hosting.restore(&self.mesh, disk.services);
                    hosting.leave = disk.leave;
                }
            }
            Reboot::Wiped => {
                self.applied = Applied::default();
                self.hosting = None;
            }
        }
        if Mutant::TermForgotten.is_on() {
            self.applied.epoch = 0;
        }
        if let Some(hosting) = &mut self.hosting {
            hosting.power_off();
        }
    }
}
