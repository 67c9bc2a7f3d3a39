//! How things stand, for those who look while the run goes on.

use super::Coordinator;
use crate::model::ServiceId;
use crate::operation::{Wanted, total};

impl Coordinator {
    /// Steps decided so far.
    pub fn steps(&self) -> u64 {
        self.log.last()
    }

    /// What is wanted of a service.
    pub fn wanted(&self, service: ServiceId) -> &Wanted {
        &self.services[service.index()].wanted
    }

    /// How many steps there were of a service.
    pub fn generation(&self, service: ServiceId) -> u64 {
        self.services[service.index()].generation
    }

    /// Instances of a service that take requests, as the nodes last reported.
    pub fn ready(&self, service: ServiceId) -> u32 {
        total(&self.endpoints.ready(service))
    }

    /// True unless the node has not been heard of for too long.
    pub fn is_alive(&self, node: usize) -> bool {
        self.members[node].alive
    }

    /// Instances, of any service, that a node is to have.
    pub fn placed_on(&self, node: usize) -> u32 {
        self.machines.instances(node)
    }
}
