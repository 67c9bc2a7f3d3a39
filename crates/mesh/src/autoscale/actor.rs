//! The actor that autoscales the services of a mesh.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshsim_actor::{ActorId, Event, Span, Time};
use serde::{Deserialize, Serialize};

use super::Autoscale;
use super::hpa::{Hpa, Measured, Pod, Recommender, Signal};
use super::signal::{self, InstanceSample, NodeSample, ServiceScale};
use crate::actors::MeshCx;
use crate::message::{Msg, Operate, Operated, Tick};
use crate::model::{COORDINATOR, Change, Feedback, Mesh, Operation, Rounding, ServiceId};

/// Decisions of one service that are kept for the report; later ones are counted.
pub const DECISIONS_MAX: usize = 10_000;

/// Rounds for which a sample counts: of a node that has missed one more, its instances have no measurement.
const ROUNDS_KEPT: u64 = 2;

/// The autoscaler of all services that have one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Autoscaler {
    #[serde(with = "meshsim_actor::shared")]
    pub(crate) mesh: Arc<Mesh>,
    /// Number of the latest round of samples.
    round: u64,
    /// The latest sample of each node, and the one before.
    samples: BTreeMap<ActorId, Samples>,
    /// The services that are autoscaled, by rising id.
    services: Vec<Scaled>,
    /// Number of the latest operation that was sent.
    operations: u64,
}

/// Samples of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Samples {
    latest: NodeSample,
    /// By service and number: the sample before the latest one, of the same instance.
    before: BTreeMap<(ServiceId, u32), (Time, InstanceSample)>,
}

/// One autoscaled service.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Scaled {
    service: ServiceId,
    recommender: Recommender,
    standing: Standing,
}

/// The acts of an autoscaler for one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Decisions that changed the number of instances, in order.
    pub decisions: Vec<Decision>,
    /// Further ones that are not kept.
    pub left_out: u64,
    /// Times at which a decision was due.
    pub looks: u64,
    /// Of these, without a measurement of any instance that is ready.
    pub blind: u64,
    /// Of these, with some instances without a measurement.
    pub partly_blind: u64,
    /// Decisions that the coordinator refused.
    pub refused: u64,
}

/// A decision of an autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its time.
    pub at: Time,
    /// Instances that were wanted.
    pub from: u32,
    /// Instances that are wanted from now on.
    pub to: u32,
    /// Instances that the signal asked for, before the limits; `None`: too few or too many were wanted, whatever it
    /// was.
    pub asked: Option<u32>,
}

impl Autoscaler {
    /// An autoscaler that knows nothing yet.
    pub fn new(mesh: Arc<Mesh>) -> Self {
        let scaled = |service| Scaled { service, recommender: Recommender::default(), standing: Standing::default() };
        let services = signal::services(&mesh).map(scaled).collect();
        Autoscaler { mesh, round: 0, samples: BTreeMap::new(), services, operations: 0 }
    }

    /// By service: what was done for it.
    pub fn standings(&self) -> impl Iterator<Item = (ServiceId, &Standing)> {
        self.services.iter().map(|scaled| (scaled.service, &scaled.standing))
    }

    pub(crate) fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        match event {
            Event::Start => self.start(cx),
            Event::Message { from, msg: Msg::Sample(sample) } => self.sampled(from, *sample),
            Event::Message { from: COORDINATOR, msg: Msg::Scale(scale) } => self.decide(&scale, cx),
            Event::Message { from: COORDINATOR, msg: Msg::Operated(operated) } => self.operated(operated),
            // A peer that keeps to the protocol sends an autoscaler nothing else.
            Event::Message { .. } => {}
            Event::Timer(Tick::Sample) => self.sample(cx),
            Event::Timer(Tick::Scale(service)) => self.look(service, cx),
            Event::Timer(_) => unreachable!("an autoscaler arms no such timer"),
        }
    }

    /// The machine went down: samples and recommendations were in memory.
    pub(crate) fn reboot(&mut self) {
        self.samples.clear();
        self.services.iter_mut().for_each(|scaled| scaled.recommender = Recommender::default());
    }

    fn start(&mut self, cx: &mut MeshCx<'_>) {
        self.sample(cx);
        for scaled in &self.services {
            let Autoscale::Hpa(hpa) = self.settings(scaled.service);
            cx.arm(cx.now() + hpa.sync, Tick::Scale(scaled.service));
        }
    }

    fn settings(&self, service: ServiceId) -> &Autoscale {
        self.mesh.service(service).autoscale.as_deref().expect("only services that are autoscaled are listed")
    }

    /// Asks all nodes for samples.
    fn sample(&mut self, cx: &mut MeshCx<'_>) {
        self.round += 1;
        for node in 0..self.mesh.nodes.len() {
            cx.send(self.mesh.node_actor(node), Msg::AskSample { round: self.round });
        }
        cx.arm(cx.now() + self.mesh.control.metrics, Tick::Sample);
    }

    fn sampled(&mut self, from: ActorId, sample: NodeSample) {
        let is_sound = self.mesh.node_index(from).is_some() && sample.is_sound(&self.mesh);
        if !is_sound || sample.round > self.round {
            return;
        }
        let before = match self.samples.get(&from) {
            Some(known) if sample.at <= known.latest.at => return,
            Some(known) => {
                let of = |it: &InstanceSample| ((it.service, it.ordinal), (known.latest.at, *it));
                known.latest.instances.iter().map(of).collect()
            }
            None => BTreeMap::new(),
        };
        self.samples.insert(from, Samples { latest: sample, before });
    }

    /// A decision is due: asks the coordinator for the instances that are wanted, and decides on its answer.
    fn look(&mut self, service: ServiceId, cx: &mut MeshCx<'_>) {
        let Autoscale::Hpa(hpa) = self.settings(service);
        cx.arm(cx.now() + hpa.sync, Tick::Scale(service));
        cx.send(COORDINATOR, Msg::AskScale { service });
    }

    fn decide(&mut self, scale: &ServiceScale, cx: &mut MeshCx<'_>) {
        let Ok(at) = self.services.binary_search_by_key(&scale.service, |scaled| scaled.service) else { return };
        let now = cx.now();
        let mesh = self.mesh.clone();
        let Some(Autoscale::Hpa(hpa)) = mesh.service(scale.service).autoscale.as_deref() else { return };
        let pods = self.pods(scale, hpa, now);
        let asked = hpa.replicas(scale.desired, &pods, now);
        let Scaled { recommender, standing, .. } = &mut self.services[at];
        standing.looks += 1;
        standing.blind += u64::from(asked.is_none());
        standing.partly_blind += u64::from(asked.is_some() && pods.iter().any(|pod| pod.value.is_none()));
        let to = recommender.decide(hpa, scale.desired, asked, now);
        if to == scale.desired {
            return;
        }
        match standing.decisions.len() < DECISIONS_MAX {
            true => standing.decisions.push(Decision { at: now, from: scale.desired, to, asked }),
            false => standing.left_out += 1,
        }
        self.operations += 1;
        let change = Change::Extend { to, rate: 1.0, rounding: Rounding::Away, feedback: Feedback::default() };
        let operation = Operation { at: now, service: scale.service, change, every: hpa.sync, times: None };
        let ask = u64::from(scale.service.0) << 48 | self.operations & ((1 << 48) - 1);
        cx.send(COORDINATOR, Msg::Operate(Box::new(Operate { ask, operation })));
    }

    fn operated(&mut self, operated: Operated) {
        let service = ServiceId((operated.ask >> 48) as u16);
        if (operated.history.is_none() || operated.is_refused)
            && let Ok(at) = self.services.binary_search_by_key(&service, |scaled| scaled.service)
        {
            self.services[at].standing.refused += 1;
        }
    }

    /// The instances of a service: those of which there is a sample, and those that are placed besides.
    fn pods(&self, scale: &ServiceScale, hpa: &Hpa, now: Time) -> Vec<Pod> {
        let mut pods = Vec::new();
        for (node, placed) in &scale.placed {
            let placed = *placed as usize;
            let known = pods.len();
            let samples = self.samples.get(&self.mesh.node_actor(*node as usize));
            let is_fresh = samples.is_some_and(|it| it.latest.round + ROUNDS_KEPT > self.round);
            if let Some(samples) = samples {
                let here = samples.latest.instances.iter().filter(|it| it.service == scale.service).take(placed);
                pods.extend(here.map(|it| self.pod(it, samples, is_fresh, hpa)));
            }
            // The others have not been created yet, as far as the node has told.
            let unseen = placed.saturating_sub(pods.len() - known);
            let pod = Pod { is_running: false, is_ready: false, created: now, since: now, value: None };
            pods.extend(std::iter::repeat_n(pod, unseen));
        }
        pods
    }

    fn pod(&self, it: &InstanceSample, samples: &Samples, is_fresh: bool, hpa: &Hpa) -> Pod {
        let at = samples.latest.at;
        let value = match hpa.signal {
            Signal::Concurrency => Some(Measured { value: it.requests.into(), at, window: Span::ZERO }),
            Signal::Cpu => samples.before.get(&(it.service, it.ordinal)).and_then(|(then, old)| {
                // Another instance had the number before.
                if old.created != it.created || at <= *then {
                    return None;
                }
                let window = at.since(*then);
                let cores = self.mesh.service(it.service).cpu;
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
}
