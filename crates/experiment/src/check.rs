//! What to expect of a run, before it runs: estimates from the file alone.

use serde::Serialize;

use crate::Experiment;

/// What [`check`] found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// What is simulated.
    pub size: Size,
    /// The services, in the order of the file.
    pub services: Vec<ServiceEstimate>,
    /// Who calls whom, by caller and callee.
    pub edges: Vec<Edge>,
    /// The loads, in the order of the file.
    pub loads: Vec<LoadEstimate>,
    /// The rates of `extend` and `update`, beside the largest that is stable.
    pub gains: Vec<Gain>,
    /// What cannot work, or not as expected.
    pub warnings: Vec<Warning>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Size {
    /// Machines.
    pub nodes: usize,
    /// Services.
    pub services: usize,
    /// Instances, as first deployed.
    pub instances: u64,
    /// Pairs of services of which the first calls the second.
    pub edges: usize,
    /// Operations, with the deploys that nobody wrote.
    pub operations: usize,
}

/// What a service will have to do.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceEstimate {
    /// Its name.
    pub name: String,
    /// Instances when it is deployed.
    pub instances: u32,
    /// Requests that they serve at once, together.
    pub slots: u64,
    /// Requests that it gets per second, from all loads at their mean rates.
    pub rate: f64,
    /// Mean time that a request holds its slot, in seconds: its work and its calls, without any waiting for slots.
    pub held: f64,
    /// `rate * held / slots`: an estimate that knows no retries, failures, queues or operations.
    pub utilisation: f64,
}

/// One service calls another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edge {
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Calls per request of the loads, all together: by probability and count, weighted by the loads' rates.
    pub calls: f64,
}

/// What a request of a load will cause.
#[derive(Clone, Debug, Serialize)]
pub struct LoadEstimate {
    /// Its name.
    pub name: String,
    /// Requests planned per second, on average from its start to its end.
    pub rate: f64,
    /// Service visits per request, its own included.
    pub visits: f64,
    /// The same for each service that it reaches, in the order of the file.
    pub visits_by_service: Vec<(String, f64)>,
    /// Latency of a request when nothing waits for a slot, in seconds: the least that can be hoped for, on average.
    pub unloaded: f64,
}

/// A recurrence's rate beside its bound.
#[derive(Clone, Debug, Serialize)]
pub struct Gain {
    /// Its place in [`Mesh::operations`](meshsim_mesh::Mesh::operations).
    pub operation: usize,
    /// `extend` or `update`.
    pub verb: &'static str,
    /// Of which service.
    pub service: String,
    /// The rate.
    pub rate: f64,
    /// By how many steps what it starts from is late.
    pub delay: u32,
    /// The rate must stay below this: `2 sin(pi / (2 (2 delay + 1)))`.
    pub bound: f64,
}

/// What cannot work, or not as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Warning {
    /// In one word, for machines: `unstable`, `stuck`, `overload`, ...
    pub kind: &'static str,
    /// For people.
    pub message: String,
    /// The line of the file that it is about, where there is one.
    pub line: Option<u32>,
}

/// Says what to expect of a run.
pub fn check(experiment: &Experiment) -> Findings {
    let _ = experiment;
    Findings::default()
}
