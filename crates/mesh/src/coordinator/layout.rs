//! Placement without a coordinator, for predictions of where instances will be.

use super::placement::{NodeResources, Placing, ServicePlacement};
use crate::message::Share;
use crate::model::{Mesh, ServiceId};
use crate::operation::{Desired, count_of};

/// Placement of the instances of a mesh, as its coordinator makes it when all desired instances are ready.
#[derive(Clone, Debug)]
pub struct Layout {
    machines: NodeResources,
    placed: Vec<ServicePlacement>,
}

impl Layout {
    /// The nodes that are there at the start, without instances.
    pub fn new(mesh: &Mesh) -> Self {
        Layout { machines: NodeResources::new(mesh), placed: vec![ServicePlacement::new(); mesh.services.len()] }
    }

    /// A node joins, or is given up: it gets instances from the next [`place`](Self::place) on, or none.
    pub fn set_alive(&mut self, node: usize, alive: bool) {
        self.machines.set_alive(node, alive);
    }

    /// Places the desired instances of a service.
    pub fn place(&mut self, mesh: &Mesh, service: ServiceId, wanted: &Desired) {
        let (policy, cpu) = (mesh.control.placement, mesh.service(service).cpu);
        let placed = &mut self.placed[service.index()];
        let before = std::mem::take(placed);
        let ready_on = |node: u32, version: u32| {
            let at = before.binary_search_by_key(&node, |(at, _)| *at);
            at.map_or(0, |at| count_of(&before[at].1, version))
        };
        *placed =
            self.machines.place(Placing { policy, cpu, wanted, ready_on: &ready_on, replaces_on: &ready_on }, &before);
    }

    /// The instances of a service by version: (node, share) by rising node.
    pub fn placed(&self, service: ServiceId) -> &[(u32, Share)] {
        &self.placed[service.index()]
    }
}
