//! Figures of the services, of the nodes, and of the calls between services.

use std::borrow::Cow;
use std::collections::BTreeMap;

use meshsim_actor::Span;
use meshsim_experiment::Experiment;
use meshsim_mesh::measure::{BlockCounts, CacheCounts, QueueCounts};
use meshsim_mesh::model::ServiceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Measured;
use super::operations::{Course, Values};
use super::requests::{FailureCounts, failures, per_second, policies};
use crate::figures::Latency;
use crate::show::endpoint_in_words;

/// Figures of the instances of a service, from the end of the first load's warm-up to the end of the run.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// S, C and V at the end.
    pub values: Values,
    /// Requests that arrived.
    pub arrived: u64,
    /// Answered well.
    pub done: u64,
    /// Of these, successful although an optional call failed, at any depth.
    #[serde(default)]
    pub degraded: u64,
    /// Answered badly.
    pub failed: u64,
    /// Answered badly, by reason.
    pub failures: FailureCounts,
    /// Dropped unanswered, because the caller had given up.
    pub expired: u64,
    /// Arrived per second of that time.
    pub arrived_per_s: f64,
    /// Share of the slots' time that was taken; `null` if there never was a slot.
    pub utilisation: Option<f64>,
    /// Cores that its requests kept busy, on average over that time; of a slow machine, the number that would be busy
    /// on a normal one.
    #[serde(default)]
    pub cores_busy: f64,
    /// Latency from arrival to reply, of successful requests.
    pub latency: Latency,
    /// Mean time that an arrived request waited for a slot.
    pub waited_mean_ns: Option<u64>,
    /// Maximum number of requests that waited at one instance at once.
    pub queue_peak: u32,
    /// Actions of the policies of its instances, by kind: refusals by limit, deadline, priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Cow<'static, str>, u64>,
    /// Blocks of its scripts that were not waited for (`async`) and have ended; `null` if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<BlockSummary>,
    /// Look-ups in its caches; `null` if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caches: Option<CacheSummary>,
    /// Messages that were published at it; `null` if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueSummary>,
}

/// Look-ups in caches.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct CacheSummary {
    /// Those that found their key.
    pub hits: u64,
    /// The others.
    pub misses: u64,
    /// Share of hits.
    pub hit_rate: f64,
}

impl CacheSummary {
    fn new(counts: &CacheCounts) -> Option<Self> {
        let CacheCounts { hits, misses } = *counts;
        let all = hits.saturating_add(misses);
        (all > 0).then(|| CacheSummary { hits, misses, hit_rate: hits as f64 / all as f64 })
    }
}

/// Messages that were published at a service after the warm-up.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct QueueSummary {
    /// Those that were published.
    pub published: u64,
    /// Those that found the queue full.
    pub refused: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Deliveries after the first of their messages.
    pub redeliveries: u64,
    /// Those that were consumed.
    pub consumed: u64,
    /// Those that became dead letters.
    pub dead: u64,
    /// Those that were lost with their instance or its node.
    pub lost: u64,
    /// Those that were in a queue when the run ended.
    pub left: u64,
    /// Maximum number of messages that waited at one instance at once.
    pub depth_peak: u32,
    /// Time from publication to the first delivery.
    pub wait: Latency,
    /// Time from publication until the message was consumed.
    pub age: Latency,
}

impl QueueSummary {
    fn new(counts: &QueueCounts) -> Self {
        let QueueCounts { published, refused, deliveries, dead, lost, depth_peak, .. } = *counts;
        let consumed = counts.age.count();
        let left = published.saturating_sub(consumed.saturating_add(dead).saturating_add(lost));
        let (wait, age) = (Latency::new(&counts.wait), Latency::new(&counts.age));
        let redeliveries = deliveries.saturating_sub(counts.wait.count());
        QueueSummary { published, refused, deliveries, redeliveries, consumed, dead, lost, left, depth_peak, wait, age }
    }
}

/// Blocks of scripts that were not waited for and have ended.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct BlockSummary {
    /// Those that came to their end.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that failed, by reason.
    pub failures: FailureCounts,
}

impl BlockSummary {
    fn new(blocks: &BlockCounts) -> Option<Self> {
        let (done, failed) = (blocks.done, blocks.failed.total());
        (done > 0 || failed > 0).then(|| BlockSummary { done, failed, failures: failures(&blocks.failed) })
    }
}

/// Usage of the cores of a node.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its name.
    pub name: String,
    /// Number of its cores.
    pub cores: f64,
    /// Busy cores, on average from the end of the first load's warm-up to the end of the run; of a slow machine, the
    /// number that would be busy on a normal one.
    pub cores_busy: f64,
    /// The same as a share of its cores.
    pub utilisation: f64,
}

/// Results of the calls from one service to one endpoint, of those that have ended and were made after the first load's
/// warm-up.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct EdgeSummary {
    /// The service that called.
    pub from: String,
    /// Called endpoint: `service.endpoint`.
    pub to: String,
    /// Calls, whatever the number of attempts of each.
    pub calls: u64,
    /// Calls whose last attempt succeeded.
    pub done: u64,
    /// Calls whose last attempt failed.
    pub failed: u64,
    /// Failed calls, by the reason of the last attempt.
    pub failures: FailureCounts,
    /// Of these, optional ones: the request continued without them.
    pub tolerated: u64,
    /// Attempts, the first of each call too.
    pub attempts: u64,
    /// Attempts after the first of each call.
    pub retries: u64,
    /// Attempts that failed, by reason: those that a retry made good too.
    pub attempts_failed: FailureCounts,
    /// Calls that failed without the retry that their policy has, because the retry budget allowed no more then.
    #[serde(default)]
    pub over_budget: u64,
    /// The acts of the policies of these calls, by kind: overflows, ejections, hedges.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Cow<'static, str>, u64>,
}

pub(super) fn services(experiment: &Experiment, measured: &Measured, course: &Course) -> Vec<ServiceSummary> {
    let from = experiment.mesh.measured_from();
    let services = experiment.mesh.services.iter().zip(&measured.served).enumerate();
    services
        .map(|(index, (service, served))| ServiceSummary {
            name: service.name.clone(),
            values: course.at_the_end(ServiceId(index as u16)),
            arrived: served.arrived,
            done: served.done,
            degraded: served.degraded,
            failed: served.failed.total(),
            failures: failures(&served.failed),
            expired: served.expired,
            arrived_per_s: per_second(served.arrived, measured.now.since(from)),
            utilisation: (served.slot_ns > 0).then(|| served.busy_ns as f64 / served.slot_ns as f64),
            cores_busy: cores_busy(served.work_ns, measured.now.since(from)),
            latency: Latency::new(&served.latency),
            waited_mean_ns: served.waited_ns.checked_div(served.arrived),
            queue_peak: served.queue_peak,
            policies: policies(&served.policies),
            blocks: BlockSummary::new(&served.blocks),
            caches: CacheSummary::new(&served.caches),
            queue: served.queue.as_deref().map(QueueSummary::new),
        })
        .collect()
}

pub(super) fn nodes(experiment: &Experiment, measured: &Measured) -> Vec<NodeSummary> {
    let from = experiment.mesh.measured_from();
    let nodes = experiment.mesh.nodes.iter().zip(&measured.worked_ns).filter(|(_, worked_ns)| **worked_ns > 0);
    nodes
        .map(|(node, worked_ns)| {
            let cores_busy = cores_busy(*worked_ns, measured.now.since(from));
            let utilisation = cores_busy / node.cores;
            NodeSummary { name: node.name.clone(), cores: node.cores, cores_busy, utilisation }
        })
        .collect()
}

pub(super) fn calls(experiment: &Experiment, measured: &Measured) -> Vec<EdgeSummary> {
    let mesh = &experiment.mesh;
    let callers = mesh.services.iter().zip(&measured.served);
    let edges = callers.flat_map(|(caller, served)| {
        served.calls.iter().map(move |(edge, used)| (caller, edge, &used.calls, &used.policies))
    });
    edges
        // The measurements of another process may have any value.
        .filter(|(_, edge, ..)| mesh.has_endpoint(edge.service, edge.endpoint))
        .map(|(caller, edge, calls, done_by)| EdgeSummary {
            from: caller.name.clone(),
            to: endpoint_in_words(mesh, edge.service, edge.endpoint),
            calls: calls.calls(),
            done: calls.done,
            failed: calls.failed.total(),
            failures: failures(&calls.failed),
            tolerated: calls.tolerated,
            attempts: calls.attempts,
            retries: calls.retries(),
            attempts_failed: failures(&calls.attempts_failed),
            over_budget: calls.over_budget,
            policies: policies(done_by),
        })
        .collect()
}

fn cores_busy(worked_ns: u64, time: Span) -> f64 {
    if time.is_zero() { 0.0 } else { worked_ns as f64 / time.nanos() as f64 }
}
