//! The resources that a simulated run needs: memory and events.

use super::{Checked, LoadEstimate};
use serde::Serialize;

/// An estimate of what a simulated run without a trace needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ResourceEstimate {
    /// Events that the simulator processes: heartbeats, steps, requests, and the work for them.
    pub events: f64,
    /// Largest memory, in bytes.
    pub memory_bytes: f64,
}

// Measured (Linux, x86-64, peak resident memory), one service calling another, 3 s: 300,000 nodes without instances 341
// MB; 1,000 nodes with 1,000,000 instances 190 MB; 100,000 nodes with 100,000 instances 694 MB at 1,000 requests/s,
// when few of them are reached, and 1,005 MB at 20,000/s. The estimate is 350 MB, 179 MB, and 945 MB.

/// The program itself, in bytes.
const BASE_BYTES: f64 = 20e6;
/// A node without instances.
const NODE_BYTES: f64 = 1_100.0;
/// The bytes that a node has besides once it has an instance that calls and is called.
const HOST_BYTES: f64 = 8_000.0;
/// An instance.
const INSTANCE_BYTES: f64 = 150.0;
/// A request under way, at each service that it visits.
const VISIT_BYTES: f64 = 1_000.0;

/// Events of a visit: the request and the reply arrive, and the work ends.
const EVENTS_A_VISIT: f64 = 3.0;
/// Events of a heartbeat: its timer, and its arrival.
const EVENTS_A_BEAT: f64 = 2.0;
/// Events of a step at each node: its arrival, and that of the acknowledgement.
const EVENTS_A_STEP: f64 = 2.0;

pub(super) fn estimate(checked: &Checked<'_>, loads: &[LoadEstimate]) -> ResourceEstimate {
    let (experiment, mesh) = (checked.experiment, &checked.experiment.mesh);
    let nodes = mesh.nodes.len() as f64;
    let instances: f64 = mesh.services.iter().map(|service| f64::from(service.instances)).sum();
    let beats = experiment.duration.secs() / mesh.control.heartbeat.secs().max(1e-9);
    let mut events = nodes * (EVENTS_A_BEAT * beats + EVENTS_A_STEP * mesh.operations.len() as f64);
    let mut under_way = 0.0;
    for (load, estimate) in mesh.loads.iter().zip(loads) {
        let lasts = load.end.min(checked.end).since(load.start).secs().max(0.0);
        events += estimate.rate * lasts * (1.0 + EVENTS_A_VISIT * estimate.visits);
        under_way += estimate.rate * estimate.unloaded.min(lasts) * estimate.visits;
    }
    let memory_bytes = BASE_BYTES
        + NODE_BYTES * nodes
        + HOST_BYTES * nodes.min(instances)
        + INSTANCE_BYTES * instances
        + VISIT_BYTES * under_way;
    ResourceEstimate { events, memory_bytes }
}
