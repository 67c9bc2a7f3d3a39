//! Signals of an autoscaler: the messages with which it asks nodes and the coordinator, and their answers.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::model::{Mesh, ServiceId};
use crate::node::hosting::INSTANCES_MAX;

/// Answer of a node: its instances of the services that are autoscaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeSample {
    /// The round that asked for it.
    pub round: u64,
    /// Time at which it was taken, by the node's clock.
    pub at: Time,
    /// The instances, by rising (service, ordinal).
    pub instances: Vec<InstanceSample>,
}

impl NodeSample {
    /// False if it cannot be from a node: its instances do not rise, or there are too many.
    pub(crate) fn is_sound(&self, mesh: &Mesh) -> bool {
        let rise = self.instances.windows(2).all(|it| (it[0].service, it[0].ordinal) < (it[1].service, it[1].ordinal));
        let is_known = |it: &InstanceSample| it.service.index() < mesh.services.len();
        rise && self.instances.len() <= INSTANCES_MAX && self.instances.iter().all(is_known)
    }
}

/// One instance at the time of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSample {
    /// Its service.
    pub service: ServiceId,
    /// Its number on the node.
    pub ordinal: u32,
    /// Time of its creation.
    pub created: Time,
    /// Time at which it became ready; `None`: not yet.
    pub ready: Option<Time>,
    /// Processor time that it has used since its creation, in nanoseconds; work in progress counts when it is done.
    pub work_ns: u64,
    /// Requests in service and waiting.
    pub requests: u32,
}

/// Answer of the coordinator: the instances that a service is to have, and has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceScale {
    /// The service.
    pub service: ServiceId,
    /// The number wanted now.
    pub desired: u32,
    /// Instances that are ready, as nodes last reported.
    pub ready: u32,
    /// C.
    pub capacity: f64,
    /// False: its autoscaler is off.
    pub is_on: bool,
    /// Nodes on which they are placed, by rising actor, with the number on each.
    pub placed: Vec<(u32, u32)>,
}

/// The measurements that an instance of an autoscaled service keeps for its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gauge {
    pub(crate) created: Time,
    pub(crate) ready: Option<Time>,
    pub(crate) work_ns: u64,
}

/// The services that are autoscaled.
pub fn services(mesh: &Mesh) -> impl Iterator<Item = ServiceId> + '_ {
    let of =
        |(at, service): (usize, &crate::model::Service)| service.autoscale.is_some().then_some(ServiceId(at as u16));
    mesh.services.iter().enumerate().filter_map(of)
}
