//! Size of the simulated model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Experiment, graph};

/// Numbers of the parts of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ModelSize {
    /// Machines.
    pub nodes: usize,
    /// Of these, those that join after the start, spares included. Summaries written before this existed have none.
    #[serde(default)]
    pub nodes_later: usize,
    /// Services.
    pub services: usize,
    /// Instances, as first deployed.
    pub instances: u64,
    /// Pairs of services of which the first calls the second, in whatever version.
    pub edges: usize,
    /// Operations, implicit deploys included.
    pub operations: usize,
    /// Loads.
    pub loads: usize,
    /// Faults.
    pub faults: usize,
}

impl ModelSize {
    /// Counts the parts of an experiment.
    pub fn new(experiment: &Experiment) -> Self {
        let mesh = &experiment.mesh;
        ModelSize {
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
