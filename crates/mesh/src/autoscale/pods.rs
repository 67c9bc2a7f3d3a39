//! Instances as Kubernetes' autoscaler sees them: measured one by one, in samples of their nodes.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Span, Time};
use serde::{Deserialize, Serialize};

use super::hpa::{Hpa, Measured, Pod, Signal};
use super::signal::{InstanceSample, NodeSample, ServiceScale};
use crate::model::{Mesh, ServiceId};

/// Rounds for which a sample counts: of a node that has missed one more, its instances have no measurement.
const ROUNDS_KEPT: u64 = 2;

/// The latest samples of all nodes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct NodeSamples {
    /// Number of the latest round.
    round: u64,
    by_node: BTreeMap<ActorId, Samples>,
}

/// Samples of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Samples {
    latest: NodeSample,
    /// By service and number: the sample before the latest one, of the same instance.
    before: BTreeMap<(ServiceId, u32), (Time, InstanceSample)>,
}

impl NodeSamples {
    /// A round begins: its number.
    pub(super) fn next_round(&mut self) -> u64 {
        self.round += 1;
        self.round
    }

    /// Forgets all samples.
    pub(super) fn clear(&mut self) {
        self.by_node.clear();
    }

    pub(super) fn take(&mut self, from: ActorId, sample: NodeSample, mesh: &Mesh) {
        let is_sound = mesh.node_index(from).is_some() && sample.is_sound(mesh);
        if !is_sound || sample.round > self.round {
            return;
        }
        let before = match self.by_node.get(&from) {
            Some(known) if sample.at <= known.latest.at => return,
            Some(known) => {
                let of = |it: &InstanceSample| ((it.service, it.ordinal), (known.latest.at, *it));
                known.latest.instances.iter().map(of).collect()
            }
            None => BTreeMap::new(),
        };
        self.by_node.insert(from, Samples { latest: sample, before });
    }

    /// The instances of a service: those of which there is a sample, and those that are placed besides.
    pub(super) fn pods(&self, scale: &ServiceScale, hpa: &Hpa, mesh: &Mesh, now: Time) -> Vec<Pod> {
        let mut pods = Vec::new();
        for (node, placed) in &scale.placed {
            let placed = *placed as usize;
            let known = pods.len();
            let samples = self.by_node.get(&mesh.node_actor(*node as usize));
            let is_fresh = samples.is_some_and(|it| it.latest.round + ROUNDS_KEPT > self.round);
            if let Some(samples) = samples {
                let here = samples.latest.instances.iter().filter(|it| it.service == scale.service).take(placed);
                pods.extend(here.map(|it| pod(it, samples, is_fresh, hpa, mesh)));
            }
            // The others have not been created yet, as far as the node has told.
            let unseen = placed.saturating_sub(pods.len() - known);
            let pod = Pod { is_running: false, is_ready: false, created: now, since: now, value: None };
            pods.extend(std::iter::repeat_n(pod, unseen));
        }
        pods
    }
}

fn pod(it: &InstanceSample, samples: &Samples, is_fresh: bool, hpa: &Hpa, mesh: &Mesh) -> Pod {
    let at = samples.latest.at;
    let value = match hpa.signal {
        Signal::Concurrency => Some(Measured { value: it.requests.into(), at, window: Span::ZERO }),
        Signal::Cpu => samples.before.get(&(it.service, it.ordinal)).and_then(|(then, old)| {
            // Another instance had the number before.
            if old.created != it.created || at <= *then {
                return None;
            }
            let window = at.since(*then);
            let cores = mesh.service(it.service).cpu;
            let used = it.work_ns.saturating_sub(old.work_ns) as f64 / window.nanos() as f64;
            Some(Measured { value: used / cores, at, window })
        }),
    };
    Pod {
        is_running: true,
        is_ready: it.ready.is_some(),
        created: it.created,
        since: it.ready.unwrap_or(it.created),
        value: value.filter(|_| is_fresh),
    }
}
