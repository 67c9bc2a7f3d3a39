//! The model of a mesh: plain data, checked by its author (the experiment file, or a program).
//!
//! All references are indexes, so that no name is compared during a run.

mod balancer;
mod cache;
mod journey;
mod load;
mod nodes;
mod operation;
mod queue;
mod rollout;
mod script;
mod selection;
pub mod setting;
mod sizes;
mod slow_start;
mod targeting;
mod technology;

use meshsim_actor::{ActorId, Span, Time};
use serde::{Deserialize, Serialize};

use crate::autoscale::Autoscale;
use crate::criterion::Criterion;
use crate::policy::{CallRules, ServicePolicies};
use crate::program::Program;
use crate::serving::ServingPolicies;
use crate::serving::priority::Priority;

pub use balancer::{Balancer, CHOICES_MAX, Choices, IDLE_MAX, Keys, MAGLEV_MAX, MAGLEV_SIZE, RING_MAX, RING_MIN};
pub use cache::{Cache, Cached};
pub use journey::{JOURNEY_MADE_MAX, Journey, JourneyStep};
pub use nodes::{DisruptionBudget, Drain, NodePool};
pub use queue::{Queue, Queued};
pub use rollout::{
    Analysis, AnalysisMetric, CHECK_BYTES_MAX, CHECKS_MAX, Check, ROLLOUT_STEPS_MAX, Rollout, RolloutStep, Steer,
    WINDOW_ROUNDS_MAX,
};
pub use selection::{AWARE_MIN, Part, Selection, ZoneRouting};
pub use setting::{Setting, Settings};
pub use sizes::{SizedWork, Sizes};
pub use slow_start::SlowStart;
pub use targeting::{MixStage, Targeting};
pub use technology::{DataPlane, ProxyStation, Push, Technology};

pub(crate) use targeting::drawn;

pub use load::{Arrivals, Load, Process, Stage, Target, Users};
pub use operation::{Amount, Change, Feedback, Operation, Rounding, Strategy};
pub use script::{Backoff, Call, CallPolicy, RETRIES_MAX, Repeat, Retry, ScriptStep};

/// The coordinator's number among the actors. Nodes follow it, then clients, then the
/// autoscaler and the gateway if there are.
pub const COORDINATOR: ActorId = ActorId(0);

/// A service's place in [`Mesh::services`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceId(pub u16);

impl ServiceId {
    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An endpoint's place in [`Service::endpoints`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(pub u16);

impl EndpointId {
    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All that the actors of a run know from the start. Shared by all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mesh {
    /// Names of the zones that nodes and clients stand in.
    pub zones: Vec<String>,
    /// The machines; node `i` is actor `1 + i`.
    pub nodes: Vec<NodeSpec>,
    /// Services that run on them.
    pub services: Vec<Service>,
    /// Loads; load `i` is offered by actor `1 + nodes + i`.
    pub loads: Vec<Load>,
    /// Operations, by rising [`Operation::at`].
    pub operations: Vec<Operation>,
    /// Settings of the coordinator.
    pub control: Control,
    /// Owners of proxies.
    pub proxy: ProxyPer,
    /// Seed of all randomness of the run. An actor draws from its own stream; a draw that must not shift others comes
    /// from a stream keyed by this.
    pub seed: u64,
    /// True if a service is autoscaled: there is an autoscaler, whose actor follows the clients.
    pub has_autoscaler: bool,
    /// True if there is a gateway for external clients; its actor comes last.
    pub has_gateway: bool,
    /// Criteria of SLOs, which the clients count.
    pub criteria: Vec<Criterion>,
    /// Weights of the instances on each node for balancers, above 0; empty: they are all 1.
    pub weights: Vec<f64>,
    /// Policies of calls that [`CallPolicy::rules`] refers to.
    pub call_rules: Vec<CallRules>,
    /// Groups of nodes of which as many are in service as instances need; the others are always.
    pub pools: Vec<NodePool>,
    /// Its proxies, if it has a technology whose proxies take time; `None`: calls pass none.
    pub data_plane: Option<Box<DataPlane>>,
}

impl Mesh {
    /// The actor that is node `index`.
    pub fn node_actor(&self, index: usize) -> ActorId {
        ActorId(1 + index as u32)
    }

    /// The node that is this actor, if it is one.
    pub fn node_index(&self, actor: ActorId) -> Option<usize> {
        actor.index().checked_sub(1).filter(|index| *index < self.nodes.len())
    }

    /// The cores of an actor's machine; 1 for one that is no node.
    pub fn cores(&self, actor: ActorId) -> f64 {
        self.node_index(actor).map_or(1.0, |index| self.nodes[index].cores)
    }

    /// The actor that offers load `index`.
    pub fn client_actor(&self, index: usize) -> ActorId {
        ActorId(1 + (self.nodes.len() + index) as u32)
    }

    /// The load that this actor offers, if it offers one.
    pub fn load_index(&self, actor: ActorId) -> Option<usize> {
        actor.index().checked_sub(1 + self.nodes.len()).filter(|index| *index < self.loads.len())
    }

    /// The actor that is the autoscaler, where there is one.
    pub fn autoscaler_actor(&self) -> ActorId {
        ActorId(1 + (self.nodes.len() + self.loads.len()) as u32)
    }

    /// True if this actor is the autoscaler.
    pub fn is_autoscaler(&self, actor: ActorId) -> bool {
        self.has_autoscaler && actor == self.autoscaler_actor()
    }

    /// The actors that call services and are no nodes: the clients, and the gateway if there is one.
    pub(crate) fn callers_beside(&self) -> impl Iterator<Item = ActorId> + '_ {
        let clients = (0..self.loads.len()).map(|load| self.client_actor(load));
        clients.chain(self.has_gateway.then(|| self.gateway_actor()))
    }

    /// The actor that is the gateway, where there is one.
    pub fn gateway_actor(&self) -> ActorId {
        ActorId(self.autoscaler_actor().0 + u32::from(self.has_autoscaler))
    }

    /// Id of the external client: a person or program that is no actor, but sends to the gateway and the coordinator
    /// and gets replies. The first id that no actor has.
    pub fn external_client(&self) -> ActorId {
        ActorId(self.actor_count() as u32)
    }

    /// Number of actors: the coordinator, the nodes, the clients, the autoscaler, the gateway.
    pub fn actor_count(&self) -> usize {
        1 + self.nodes.len() + self.loads.len() + usize::from(self.has_autoscaler) + usize::from(self.has_gateway)
    }

    /// An actor's name for people, unique in the mesh: `coordinator`, the node's or the load's name, `autoscaler`,
    /// `gateway`; and `external`, which is no actor's.
    pub fn actor_name(&self, actor: ActorId) -> &str {
        match actor.index() {
            0 => "coordinator",
            i if i <= self.nodes.len() => &self.nodes[i - 1].name,
            i if i <= self.nodes.len() + self.loads.len() => &self.loads[i - 1 - self.nodes.len()].name,
            _ if self.is_autoscaler(actor) => "autoscaler",
            _ if actor == self.gateway_actor() && self.has_gateway => "gateway",
            _ if actor == self.external_client() => "external",
            _ => "unknown",
        }
    }

    /// An actor's zone, as an index into [`Mesh::zones`]. The coordinator and the gateway stand in the first.
    pub fn actor_zone(&self, actor: ActorId) -> u16 {
        match actor.index() {
            0 => 0,
            i if i <= self.nodes.len() => self.nodes[i - 1].zone,
            i => self.loads.get(i - 1 - self.nodes.len()).map_or(0, |load| load.zone),
        }
    }

    /// Time from which the figures of services count: the end of the first load's warm-up. Time zero, if there is no
    /// load.
    pub fn measured_from(&self) -> Time {
        self.loads.iter().map(|load| load.start + load.warmup).min().unwrap_or(Time::ZERO)
    }

    /// A service by its number.
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id.index()]
    }

    /// True if there is such an endpoint: a message from the wire may name any.
    pub fn has_endpoint(&self, service: ServiceId, endpoint: EndpointId) -> bool {
        self.services.get(service.index()).is_some_and(|service| endpoint.index() < service.endpoints.len())
    }
}

/// Owners of proxies: the state that callers keep of instances, their retry budgets and their round-robin positions are
/// kept per proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyPer {
    /// Each instance (a sidecar).
    #[default]
    Instance,
    /// Each node: its instances call through one (an ambient mesh).
    Node,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Cores: what computes shares them, each request at most one. Instances reserve shares of them when they are
    /// placed ([`Service::cpu`]).
    pub cores: f64,
    /// Its zone: an index into [`Mesh::zones`].
    pub zone: u16,
    /// Time at which it joins: [`Time::ZERO`] if it is there at the start, [`Time::NEVER`] for a spare, which joins
    /// only when a process starts it.
    pub joins: Time,
}

impl NodeSpec {
    /// True if the run begins with it.
    pub fn is_there_at_start(&self) -> bool {
        self.joins == Time::ZERO
    }

    /// True for a spare, which joins only when a process starts it.
    pub fn is_spare(&self) -> bool {
        self.joins == Time::NEVER
    }
}

/// An independently deployable component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// S: instances when it is deployed.
    pub instances: u32,
    /// C: requests that one instance serves at once, when it is deployed. A real number in the recurrence; an instance
    /// has `max(1, round(C))` slots.
    pub capacity: f64,
    /// C never goes below this.
    pub capacity_min: f64,
    /// C never goes above this.
    pub capacity_max: f64,
    /// V: version when it is deployed.
    pub version: u32,
    /// Cores that one instance reserves on its node.
    pub cpu: f64,
    /// Cores that the requests of one instance may have together while they compute; `None`: as many as there are.
    /// (What Kubernetes calls a limit, where [`cpu`](Self::cpu) is a request.)
    pub cpu_limit: Option<f64>,
    /// Time from the creation of an instance until it accepts requests.
    pub start_delay: Span,
    /// Time for which an instance that is being removed still accepts requests, because callers may hold an older view.
    /// It then finishes its requests, within [`grace`](Self::grace). (A Kubernetes `preStop` sleep.)
    pub drain_delay: Span,
    /// Time from the same decision until the remaining requests of the instance are cut off: they fail as
    /// [`Failure::Cut`](crate::measure::Failure::Cut). The drain delay is part of it, and ends with it at the latest.
    /// `None`: no limit. (Kubernetes' `terminationGracePeriodSeconds`.)
    pub grace: Option<Span>,
    /// Requests that may wait at one instance; the next is refused.
    pub queue: u32,
    /// Balancer with which its callers choose one of its instances.
    pub balancer: Balancer,
    /// Instances among which the balancer chooses; `None`: all that are ready.
    pub selection: Option<Box<Selection>>,
    /// Policies of its callers; `None`: none.
    pub policies: Option<Box<ServicePolicies>>,
    /// Policies of its instances; `None`: none.
    pub serving: Option<Box<ServingPolicies>>,
    /// Its autoscaler; `None`: its instances change by operations only.
    pub autoscale: Option<Box<Autoscale>>,
    /// Its disruption budget; `None`: evictions may take all its instances at once.
    pub disruption_budget: Option<DisruptionBudget>,
    /// Names of its endpoints.
    pub endpoints: Vec<String>,
    /// Behaviours of the endpoints, by rising [`Behaviour::from_version`]; the first holds for all earlier versions
    /// too.
    pub behaviours: Vec<Behaviour>,
}

impl Service {
    /// Behaviour of an endpoint in an instance of this version.
    #[inline]
    pub fn endpoint(&self, version: u32, endpoint: EndpointId) -> &Endpoint {
        let behaviour = match self.behaviours.as_slice() {
            [only] => only,
            all => all.iter().rev().find(|b| b.from_version <= version).unwrap_or(&all[0]),
        };
        &behaviour.endpoints[endpoint.index()]
    }
}

/// Behaviour of a service from some version on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// The first version that behaves so.
    pub from_version: u32,
    /// One for each of [`Service::endpoints`], in the same order.
    pub endpoints: Vec<Endpoint>,
}

/// Processing of a request by an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The script, as a person thinks of it.
    pub script: Vec<ScriptStep>,
    /// The script, as a node runs it.
    pub program: Program,
    /// Probability that a request fails although its script succeeded.
    pub errors: f64,
    /// Size of the reply.
    pub response_bytes: u32,
    /// Class of its requests; `None`: that of the load.
    pub priority: Option<Priority>,
}

impl Endpoint {
    /// An endpoint that runs this script, never fails at random and replies with 1 KiB.
    pub fn new(script: Vec<ScriptStep>) -> Self {
        Endpoint { program: Program::compile(&script), script, errors: 0.0, response_bytes: 1024, priority: None }
    }
}

/// Settings of the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Placement of instances on nodes.
    pub placement: Placement,
    /// Time between two heartbeats of a node.
    pub heartbeat: Span,
    /// Heartbeats that may be missing before a node counts as dead.
    pub missed: u32,
    /// The first resend of a step that was not acknowledged comes after this long; each further one after twice as
    /// long, with jitter.
    pub resend: Span,
    /// ... but never after more than this.
    pub resend_cap: Span,
    /// Time for which changes of the ready instances are collected before the view is published. (Istio's
    /// `PILOT_DEBOUNCE_AFTER` is 100 ms.)
    pub debounce: Span,
    /// Time between two rounds in which the autoscaler, or the coordinator for a rollout, asks the nodes for samples.
    /// (metrics-server's `--metric-resolution` is 15 s.)
    pub metrics: Span,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            placement: Placement::Spread,
            heartbeat: Span::from_secs(1),
            missed: 3,
            resend: Span::from_millis(500),
            resend_cap: Span::from_secs(5),
            debounce: Span::from_millis(100),
            metrics: Span::from_secs(15),
        }
    }
}

/// Placement of instances on nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placement {
    /// Evenly by free cores: each node's share is rounded by largest remainder.
    #[default]
    Spread,
    /// On as few nodes as possible: the fullest that still has room (best fit).
    BinPack,
}
