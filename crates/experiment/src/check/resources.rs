//! The resources that a simulated run needs: memory and events.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Checked, LoadEstimate};

/// An estimate of what a simulated run without a trace needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ResourceEstimate {
    /// Events that the simulator processes: heartbeats, steps, requests, and the work for them.
    pub events: f64,
    /// Largest memory, in bytes.
    pub memory_bytes: f64,
}

// Measured (Linux, x86-64, peak resident memory of `meshsim run` without a trace), and estimated:
//
// - 300,000 nodes without instances: 369 MB, 365.
// - 1,000 nodes with 1,000,000 instances: 152 MB, 133. 10,000 nodes with 10,000,000 of ten services: 1.20 GB, 1.33.
// - 100,000 nodes with 2 services of an instance each, of which few are reached: 591 MB, 565; all are reached: 1.22 GB,
//   1.24. With 8 such services: 1.71 GB, 1.62.
// - 200 nodes with 200,000 instances that take a second to start: 165 MB, 154.
// - 1,000,000 nodes with 3 services and 10 instances each: 7.80 GB, 7.73 at 10,000 requests/s; 14.2 GB, 14.5 at 1,000,000.

/// The program itself, in bytes.
const BASE_BYTES: f64 = 20e6;
/// A node without instances, with all that its coordinator keeps of it.
const NODE_BYTES: f64 = 1_150.0;
/// A service on a node: its place in the coordinator and at the node, and its figures when the run ends.
const HOSTED_BYTES: f64 = 1_750.0;
/// The bytes that a service on a node takes besides, once a request has reached it there.
const REACHED_BYTES: f64 = 3_500.0;
/// An instance.
const INSTANCE_BYTES: f64 = 110.0;
/// The bytes that an instance takes besides while a timer makes it ready: the timer, and a readiness report under way.
const STARTING_BYTES: f64 = 550.0;
/// A request under way, at each service that it visits.
const VISIT_BYTES: f64 = 1_000.0;

/// Events of a visit: the request and the reply arrive, and the work ends.
const EVENTS_A_VISIT: f64 = 3.0;
/// Events of a heartbeat: its timer, and its arrival.
const EVENTS_A_BEAT: f64 = 2.0;
/// Events when a node starts: its start, its hello at the coordinator, and its first instance view.
const EVENTS_A_NODE: f64 = 3.0;
/// Events of a step at each node: the arrivals of the step, of its acknowledgement, and of the readiness report.
const EVENTS_A_STEP: f64 = 3.0;
/// Events of an instance that a timer makes ready: the timer, and the arrival of the readiness report.
const EVENTS_A_START: f64 = 2.0;

pub(super) fn estimate(checked: &Checked<'_>, loads: &[LoadEstimate]) -> ResourceEstimate {
    let (experiment, mesh) = (checked.experiment, &checked.experiment.mesh);
    let nodes = mesh.nodes.len() as f64;
    let beats = experiment.duration.secs() / mesh.control.heartbeat.secs().max(1e-9);
    // Operations that begin together are told together.
    let steps = mesh.operations.chunk_by(|a, b| a.at == b.at).count() as f64;
    let mut events = nodes * (EVENTS_A_NODE + EVENTS_A_BEAT * beats + EVENTS_A_STEP * steps);
    let mut under_way = 0.0;
    let mut visited: BTreeMap<&str, f64> = BTreeMap::new();
    for (load, estimate) in mesh.loads.iter().zip(loads) {
        let lasts = load.end.min(checked.end).since(load.start).secs().max(0.0);
        events += estimate.rate * lasts * (1.0 + EVENTS_A_VISIT * estimate.visits);
        under_way += estimate.rate * estimate.unloaded.min(lasts) * estimate.visits;
        for (service, visits) in &estimate.visits_by_service {
            *visited.entry(service).or_default() += estimate.rate * lasts * visits;
        }
    }
    let mut memory_bytes = BASE_BYTES + NODE_BYTES * nodes + VISIT_BYTES * under_way;
    for service in &mesh.services {
        let instances = f64::from(service.instances);
        let hosts = instances.min(nodes);
        let reached = visited.get(service.name.as_str()).map_or(0.0, |visits| visits.min(hosts));
        memory_bytes += INSTANCE_BYTES * instances + HOSTED_BYTES * hosts + REACHED_BYTES * reached;
        if !service.start_delay.is_zero() {
            memory_bytes += STARTING_BYTES * instances;
            events += EVENTS_A_START * instances;
        }
    }
    ResourceEstimate { events, memory_bytes }
}
