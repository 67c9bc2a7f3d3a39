//! The memory of an autoscaler, and its look at the measurements, by kind.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use super::Controller;
use super::capacity;
use super::demand::Known;
use super::hpa::Recommender;
use super::keda::{self, Backlog, Keda};
use super::knative::Kpa;
use super::pods::NodeSamples;
use super::signal::ServiceScale;
use crate::model::{Mesh, ServiceId};
use crate::operation::slots;

/// Memory of an autoscaler, by kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum State {
    Hpa(Recommender),
    Knative(Box<Kpa>),
    Keda(Box<KedaLooks>),
    Capacity(Box<capacity::Memory>),
}

/// Memory of KEDA, whose looks and those of Kubernetes' autoscaler have times of their own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct KedaLooks {
    memory: keda::Memory,
    /// Times of the next looks.
    next: [Time; 2],
    /// The looks for which the coordinator's answer is awaited.
    due: [bool; 2],
    /// A caller has told that it holds a request.
    is_pushed: bool,
}

/// Indexes of KEDA's own looks, and of those of Kubernetes' autoscaler.
const POLL: usize = 0;
const SYNC: usize = 1;

/// Inputs of one look of an autoscaler.
pub(super) struct Seen<'a> {
    pub(super) scale: &'a ServiceScale,
    /// The demand for the service that it follows.
    pub(super) known: Known,
    pub(super) samples: &'a NodeSamples,
    pub(super) mesh: &'a Mesh,
}

/// Result of a look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Instances, or slots of one, from now on; `None`: as they are.
    pub(super) to: Option<u32>,
    /// For an autoscaler of the capacity: the factor.
    pub(super) factor: Option<f64>,
    pub(super) asked: Option<u32>,
    pub(super) signal: Option<f64>,
    pub(super) is_blind: bool,
    pub(super) is_partly_blind: bool,
    /// Knative's activator would be in the path of requests.
    pub(super) is_proxied: bool,
}

impl Look {
    fn of(known: Known) -> Self {
        Look { is_blind: known.is_blind, is_partly_blind: known.is_partly_blind, ..Look::default() }
    }
}

/// The settings of a service's autoscaler, if it has one.
pub(super) fn controller(mesh: &Mesh, service: ServiceId) -> Option<&Controller> {
    mesh.service(service).autoscale.as_deref().map(|it| &it.by)
}

impl State {
    /// The memory of an autoscaler at the start of the run, or of one that has `restarted` then.
    ///
    /// # Panics
    /// If the service has no autoscaler.
    pub(super) fn new(mesh: &Mesh, service: ServiceId, restarted: Option<Time>) -> Self {
        match (controller(mesh, service).expect("only services that are autoscaled are listed"), restarted) {
            (Controller::Hpa(_), _) => State::Hpa(Recommender::default()),
            (Controller::Knative(of), None) => State::Knative(Box::new(Kpa::new(of, mesh.service(service).instances))),
            (Controller::Knative(of), Some(now)) => State::Knative(Box::new(Kpa::restarted(of, now))),
            (Controller::Keda(_), _) => State::Keda(Box::default()),
            (Controller::Capacity(of), _) => State::Capacity(Box::new(capacity::Memory::new(of))),
        }
    }

    /// Plans the next looks, now that those before are due.
    pub(super) fn plan(&mut self, by: &Controller, now: Time) {
        if let (State::Keda(looks), Controller::Keda(keda)) = (self, by) {
            looks.plan(keda, now);
        }
    }

    /// Time of the next look.
    pub(super) fn next(&self, by: &Controller, now: Time) -> Time {
        match self {
            State::Keda(looks) => looks.next[POLL].min(looks.next[SYNC]),
            State::Hpa(_) | State::Knative(_) | State::Capacity(_) => now + by.period(),
        }
    }

    /// Looks at the measurements of a service.
    pub(super) fn look(&mut self, by: &Controller, seen: &Seen<'_>, now: Time) -> Look {
        let Seen { scale, known, .. } = *seen;
        match (self, by) {
            (State::Hpa(recommender), Controller::Hpa(hpa)) => {
                let pods = seen.samples.pods(scale, hpa, seen.mesh, now);
                let asked = hpa.replicas(scale.desired, &pods, now);
                Look {
                    to: Some(recommender.decide(hpa, scale.desired, asked, now)),
                    asked,
                    signal: hpa.mean(&pods, now),
                    is_blind: asked.is_none(),
                    is_partly_blind: pods.iter().any(|pod| pod.value.is_none()),
                    ..Look::default()
                }
            }
            (State::Knative(kpa), Controller::Knative(knative)) => {
                let wanted = kpa.scale(knative, scale.ready, now);
                let to = kpa.reconcile(knative, scale.ready, now);
                let (asked, signal) = (wanted.map(|it| it.desired), wanted.map(|it| it.mean));
                Look { to, asked, signal, is_proxied: kpa.is_proxied(), ..Look::of(known) }
            }
            (State::Keda(looks), Controller::Keda(keda)) => looks.look(keda, scale.desired, known, now),
            (State::Capacity(memory), Controller::Capacity(of)) => {
                let signal = memory.measured(now);
                let service = seen.mesh.service(scale.service);
                let limits = (service.capacity_min, service.capacity_max);
                let capacity = signal
                    .map(|measured| memory.decide(of, scale.capacity, limits, measured, now))
                    .filter(|capacity| *capacity > 0.0 && *capacity != scale.capacity);
                let asked = signal.map(|measured| slots(scale.capacity * measured / of.target));
                let factor = capacity.map(|capacity| capacity / scale.capacity);
                Look { to: capacity.map(slots), factor, asked, signal, is_blind: signal.is_none(), ..Look::of(known) }
            }
            _ => unreachable!("the memory is made for the controller"),
        }
    }
}

impl KedaLooks {
    /// A caller holds a request: KEDA looks now.
    pub(super) fn pushed(&mut self) {
        (self.due[POLL], self.is_pushed) = (true, true);
    }

    fn plan(&mut self, keda: &Keda, now: Time) {
        for (at, every) in [keda.poll, keda.hpa.sync].into_iter().enumerate() {
            if self.next[at] <= now {
                // The first ones are an interval after the start.
                self.due[at] |= self.next[at] > Time::ZERO;
                self.next[at] = now + every;
            }
        }
    }

    fn look(&mut self, keda: &Keda, desired: u32, known: Known, now: Time) -> Look {
        let figure = match keda.signal {
            Backlog::Queue(_) => known.messages,
            Backlog::Requests => known.requests.max(u64::from(std::mem::take(&mut self.is_pushed))),
        } as f64;
        let is_whole = !known.is_blind && !known.is_partly_blind;
        let (mut to, mut asked) = (desired, None);
        if std::mem::take(&mut self.due[POLL]) {
            to = self.memory.poll(keda, to, (figure, is_whole), now);
        }
        if std::mem::take(&mut self.due[SYNC]) && to == desired {
            (asked, to) = self.memory.sync(keda, to, is_whole.then_some(figure), now);
        }
        Look { to: Some(to), asked, signal: (!known.is_blind).then_some(figure), ..Look::of(known) }
    }
}
