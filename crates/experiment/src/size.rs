//! How much there is to simulate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Experiment, graph};

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Size {
    /// Machines.
    pub nodes: usize,
    /// Of these, those that come when the run has begun, or when somebody brings them. Runs that were written before
    /// there was such a thing have none.
    #[serde(default)]
    pub nodes_later: usize,
    /// Services.
    pub services: usize,
    /// Instances, as first deployed.
    pub instances: u64,
    /// Pairs of services of which the first calls the second, in whatever version.
    pub edges: usize,
    /// Operations, with the deploys that nobody wrote.
    pub operations: usize,
    /// Loads.
    pub loads: usize,
    /// Faults.
    pub faults: usize,
}

impl Size {
    /// Counts what an experiment consists of.
    pub fn new(experiment: &Experiment) -> Self {
        let mesh = &experiment.mesh;
        Size {
            nodes: mesh.nodes.len(),
            nodes_later: mesh.nodes.iter().filter(|node| !node.is_there_at_start()).count(),
            services: mesh.services.len(),
            instances: mesh.services.iter().map(|service| u64::from(service.instances)).sum(),
            edges: graph::edges(mesh).len(),
            operations: mesh.operations.len(),
            loads: mesh.loads.len(),
            faults: experiment.network.faults.len(),
        }
    }
}
