//! The actor that autoscales the services of a mesh.

use std::sync::Arc;

use meshsim_actor::{ActorId, Event, Span, Time};
use serde::{Deserialize, Serialize};

use super::Controller;
use super::demand::{Demand, Demands, Known};
use super::pods::NodeSamples;
use super::signal::{self, ServiceScale};
use super::state::{Seen, State, controller};
use crate::actors::MeshCx;
use crate::message::{Msg, Operate, Operated, Tick};
use crate::model::{COORDINATOR, Change, Feedback, Mesh, Operation, Rounding, ServiceId};
use crate::operation::slots;

/// Decisions of one service that are kept for the report; later ones are counted.
pub const DECISIONS_MAX: usize = 10_000;

/// The autoscaler of all services that have one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Autoscaler {
    #[serde(with = "meshsim_actor::shared")]
    pub(crate) mesh: Arc<Mesh>,
    /// Samples of instances.
    samples: NodeSamples,
    /// The services that are measured as a whole, by rising id.
    measured: Vec<Followed>,
    /// The services that are autoscaled, by rising id.
    services: Vec<Scaled>,
    /// Number of the latest operation that was sent.
    operations: u64,
}

/// One service whose demand an autoscaler follows: its own, or one by whose queues another is scaled.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Followed {
    service: ServiceId,
    /// Time between two rounds.
    every: Span,
    /// The callers that are no nodes are asked, too.
    asks_callers: bool,
    /// Number of the latest round, and the answers.
    round: u64,
    demands: Demands,
}

/// One autoscaled service.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Scaled {
    service: ServiceId,
    state: State,
    standing: Standing,
}

/// The acts of an autoscaler for one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Decisions that changed the number of instances, or the capacity, in order.
    pub decisions: Vec<Decision>,
    /// Further ones that are not kept.
    pub left_out: u64,
    /// Times at which a decision was due.
    pub looks: u64,
    /// Of these, without any measurement.
    pub blind: u64,
    /// Of these, with some instances without a measurement.
    pub partly_blind: u64,
    /// Of these, at which the autoscaler was off.
    pub off: u64,
    /// Of these, at which Knative's activator would have been in the path of requests.
    pub proxied: u64,
    /// Decisions that the coordinator refused.
    pub refused: u64,
}

/// A decision of an autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its time.
    pub at: Time,
    /// Instances that were wanted; of an autoscaler of the capacity, slots of one instance.
    pub from: u32,
    /// The same from now on.
    pub to: u32,
    /// Instances, or slots, that the signal asked for, before the limits; `None`: too few or too many were wanted,
    /// whatever it was.
    pub asked: Option<u32>,
    /// The measured signal, in the unit of the target; `None`: there was none.
    pub signal: Option<f64>,
}

impl Autoscaler {
    /// An autoscaler that knows nothing yet.
    pub fn new(mesh: Arc<Mesh>) -> Self {
        let scaled =
            |service| Scaled { service, state: State::new(&mesh, service, None), standing: Standing::default() };
        let services = signal::services(&mesh).map(scaled).collect();
        let measured = Followed::all(&mesh);
        Autoscaler { mesh, samples: NodeSamples::default(), measured, services, operations: 0 }
    }

    /// By service: what was done for it.
    pub fn standings(&self) -> impl Iterator<Item = (ServiceId, &Standing)> {
        self.services.iter().map(|scaled| (scaled.service, &scaled.standing))
    }

    pub(crate) fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        match event {
            Event::Start => self.start(cx),
            Event::Message { from, msg: Msg::Sample(sample) } => self.samples.take(from, *sample, &self.mesh),
            Event::Message { from, msg: Msg::Demand(demand) } => self.demanded(from, *demand, cx),
            Event::Message { from, msg: Msg::Held { service } } => self.held(from, service, cx),
            Event::Message { from: COORDINATOR, msg: Msg::Scale(scale) } => self.decide(&scale, cx),
            Event::Message { from: COORDINATOR, msg: Msg::Operated(operated) } => self.operated(operated),
            // A peer that keeps to the protocol sends an autoscaler nothing else.
            Event::Message { .. } => {}
            Event::Timer(Tick::Sample) => self.sample(cx),
            Event::Timer(Tick::Demand(service)) => self.ask_demand(service, cx),
            Event::Timer(Tick::Scale(service)) => self.look(service, cx),
            Event::Timer(_) => unreachable!("an autoscaler arms no such timer"),
        }
    }

    /// The machine went down: measurements and recommendations were in memory.
    pub(crate) fn reboot(&mut self) {
        self.samples.clear();
        self.measured.iter_mut().for_each(|followed| followed.demands = Demands::default());
    }

    fn start(&mut self, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        if mesh.services.iter().any(|service| service.is_sampled()) {
            self.sample(cx);
        }
        for at in 0..self.measured.len() {
            self.ask_demand(self.measured[at].service, cx);
        }
        for Scaled { service, state, .. } in &mut self.services {
            let Some(by) = controller(&mesh, *service) else { continue };
            if cx.incarnation() > 0 {
                *state = State::new(&mesh, *service, Some(cx.now()));
            }
            state.plan(by, cx.now());
            cx.arm(state.next(by, cx.now()), Tick::Scale(*service));
        }
    }

    fn index(&self, service: ServiceId) -> Option<usize> {
        self.services.binary_search_by_key(&service, |scaled| scaled.service).ok()
    }

    /// Asks all nodes for samples.
    fn sample(&mut self, cx: &mut MeshCx<'_>) {
        let round = self.samples.next_round();
        for node in 0..self.mesh.nodes.len() {
            cx.send(self.mesh.node_actor(node), Msg::AskSample { round });
        }
        cx.arm(cx.now() + self.mesh.control.metrics, Tick::Sample);
    }

    /// Asks for the demand for a service.
    fn ask_demand(&mut self, service: ServiceId, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        let Some(followed) = self.measured.iter_mut().find(|it| it.service == service) else { return };
        followed.round += 1;
        let ask = Msg::AskDemand { service, round: followed.round };
        let nodes = (0..mesh.nodes.len()).map(|node| mesh.node_actor(node));
        let callers = mesh.callers_beside().filter(|_| followed.asks_callers);
        nodes.chain(callers).for_each(|to| cx.send(to, ask.clone()));
        cx.arm(cx.now() + followed.every, Tick::Demand(service));
    }

    /// An answer about the demand for a service.
    fn demanded(&mut self, from: ActorId, demand: Demand, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        let is_caller = mesh.node_index(from).is_some() || mesh.callers_beside().any(|caller| caller == from);
        let Some(followed) = self.measured.iter_mut().find(|it| it.service == demand.service) else { return };
        if !is_caller || demand.round > followed.round {
            return;
        }
        let Some(total) = followed.demands.take(from, demand) else { return };
        for scaled in self.services.iter_mut().filter(|it| it.service == demand.service) {
            match &mut scaled.state {
                State::Knative(kpa) => kpa.record(total.requests, cx.now()),
                State::Capacity(memory) => memory.record(total, cx.now()),
                State::Hpa(_) | State::Keda(_) => {}
            }
        }
    }

    /// A caller begins to hold requests for a service: one that has nothing is looked at now.
    fn held(&mut self, from: ActorId, service: ServiceId, cx: &mut MeshCx<'_>) {
        let is_caller = from != COORDINATOR && from.index() < self.mesh.actor_count();
        let Some(at) = self.index(service).filter(|_| is_caller) else { return };
        match &mut self.services[at].state {
            State::Knative(kpa) if kpa.is_at_zero() => kpa.record(1.0, cx.now()),
            // KEDA's HTTP add-on pushes.
            State::Keda(keda) if self.mesh.service(service).reports_held() => keda.pushed(),
            _ => return,
        }
        cx.send(COORDINATOR, Msg::AskScale { service });
    }

    /// A decision is due: asks the coordinator for the instances that are wanted, and decides on its answer.
    fn look(&mut self, service: ServiceId, cx: &mut MeshCx<'_>) {
        let (mesh, Some(at)) = (self.mesh.clone(), self.index(service)) else { return };
        let Some(by) = controller(&mesh, service) else { return };
        let state = &mut self.services[at].state;
        state.plan(by, cx.now());
        cx.arm(state.next(by, cx.now()), Tick::Scale(service));
        cx.send(COORDINATOR, Msg::AskScale { service });
    }

    fn decide(&mut self, scale: &ServiceScale, cx: &mut MeshCx<'_>) {
        let (mesh, Some(at)) = (self.mesh.clone(), self.index(scale.service)) else { return };
        let Some(by) = controller(&mesh, scale.service) else { return };
        self.services[at].standing.looks += 1;
        if !scale.is_on {
            self.services[at].standing.off += 1;
            return;
        }
        let followed = self.measured.iter_mut().find(|it| it.service == by.measured(scale.service));
        let known = followed.map_or_else(Known::default, |it| it.demands.known(it.round));
        let seen = Seen { scale, known, samples: &self.samples, mesh: &mesh };
        let Scaled { state, standing, .. } = &mut self.services[at];
        let look = state.look(by, &seen, cx.now());
        standing.proxied += u64::from(look.is_proxied);
        standing.blind += u64::from(look.is_blind);
        standing.partly_blind += u64::from(!look.is_blind && look.is_partly_blind);
        let from = match by {
            Controller::Capacity(_) => slots(scale.capacity),
            _ => scale.desired,
        };
        let change = match (look.factor, look.to) {
            (Some(by), _) => Change::Scale { by },
            (None, Some(to)) if to != from => {
                Change::Extend { to, rate: 1.0, rounding: Rounding::Away, feedback: Feedback::default() }
            }
            _ => return,
        };
        let (to, asked, signal) = (look.to.unwrap_or(from), look.asked, look.signal);
        match standing.decisions.len() < DECISIONS_MAX {
            true => standing.decisions.push(Decision { at: cx.now(), from, to, asked, signal }),
            false => standing.left_out += 1,
        }
        self.operations += 1;
        let times = look.factor.map(|_| 1);
        let operation = Operation { at: cx.now(), service: scale.service, change, every: by.period(), times };
        let ask = u64::from(scale.service.0) << 48 | self.operations & ((1 << 48) - 1);
        cx.send(COORDINATOR, Msg::Operate(Box::new(Operate { ask, operation })));
    }

    fn operated(&mut self, operated: Operated) {
        let service = ServiceId((operated.ask >> 48) as u16);
        if (operated.history.is_none() || operated.is_refused)
            && let Some(at) = self.index(service)
        {
            self.services[at].standing.refused += 1;
        }
    }
}

impl Followed {
    /// All of a mesh. A service that several autoscalers follow is measured as often as the one that asks most often.
    fn all(mesh: &Mesh) -> Vec<Self> {
        let mut all: Vec<Followed> = Vec::new();
        for (by, own) in signal::services(mesh).filter_map(|own| Some((controller(mesh, own)?, own))) {
            let Some(every) = by.scrape() else { continue };
            let service = by.measured(own);
            let asks_callers = mesh.service(own).reports_held();
            match all.iter_mut().find(|it| it.service == service) {
                Some(it) => {
                    it.every = it.every.min(every);
                    it.asks_callers |= asks_callers;
                }
                None => all.push(Followed { service, every, asks_callers, round: 0, demands: Demands::default() }),
            }
        }
        all.sort_by_key(|it| it.service);
        all
    }
}
