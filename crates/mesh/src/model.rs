//! The model of a mesh: plain data, checked by its author (the experiment file, or a program).
//!
//! All references are indexes, so that no name is compared during a run.

mod balancer;
mod cache;
mod journey;
mod queue;
mod selection;
pub mod setting;
mod sizes;
mod slow_start;
mod targeting;

use std::sync::Arc;

use meshsim_actor::{ActorId, Dist, Span, Time};
use serde::{Deserialize, Serialize};

use crate::autoscale::Autoscale;
use crate::criterion::Criterion;
use crate::measure::OperationKind;
use crate::policy::{CallRules, CallRulesId, ServicePolicies};
use crate::program::Program;
use crate::serving::ServingPolicies;
use crate::serving::priority::Priority;

pub use balancer::{Balancer, CHOICES_MAX, Choices, Keys, MAGLEV_MAX, MAGLEV_SIZE, RING_MAX, RING_MIN};
pub use cache::{Cache, Cached};
pub use journey::{JOURNEY_MADE_MAX, Journey, JourneyStep};
pub use queue::{Queue, Queued};
pub use selection::{AWARE_MIN, Part, Selection, ZoneRouting};
pub use setting::{Setting, Settings};
pub use sizes::{SizedWork, Sizes};
pub use slow_start::SlowStart;
pub(crate) use targeting::drawn;
pub use targeting::{MixStage, Targeting};

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

/// One step of a script. Steps run one after the other; the request holds its slot during all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScriptStep {
    /// Computes for so long on a core of its own at normal speed: longer where others want the cores, and on a slow
    /// machine.
    Work(Dist),
    /// Computes for longer where the request is larger.
    SizedWork(SizedWork),
    /// Waits for this long, whatever the machine.
    Sleep(Dist),
    /// Calls another service and waits for the reply.
    Call(Call),
    /// Runs scripts side by side and waits for all of them.
    Parallel(Vec<Vec<ScriptStep>>),
    /// Runs exactly one of these scripts, drawn by their weights, of which one is above 0.
    OneOf(Vec<(f64, Vec<ScriptStep>)>),
    /// Runs a script several times, one after the other.
    Repeat(Repeat),
    /// Runs a script beside the rest, which does not wait for it. It outlives the request, whose deadline and slot it does
    /// not have; a failure ends it, is counted, and has no other effect.
    Async(Vec<ScriptStep>),
    /// Runs a script unless a cache has the key of the request.
    Cached(Cached),
    /// Publishes a message, which is consumed later.
    Queued(Queued),
}

/// A script that runs several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Least number of times.
    pub least: u32,
    /// Weights of this number of times, of one more, and so on; one of them is above 0.
    pub weights: Vec<f64>,
    /// The script.
    pub script: Vec<ScriptStep>,
}

impl Repeat {
    /// Times that it runs at most.
    pub fn most(&self) -> u32 {
        self.least + (self.weights.len() as u32).saturating_sub(1)
    }

    /// Probability that it runs once more after it has run `done` times.
    pub fn goes_on(&self, done: u32) -> f64 {
        let from = |times: u32| {
            let first = times.saturating_sub(self.least) as usize;
            self.weights.iter().skip(first).fold(0.0, |sum, weight| sum + weight)
        };
        let (now, later) = (from(done), from(done + 1));
        if done < self.least {
            1.0
        } else if now > 0.0 {
            later / now
        } else {
            0.0
        }
    }
}

/// A call of another service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Service to call.
    pub service: ServiceId,
    /// Endpoint to call.
    pub endpoint: EndpointId,
    /// Probability that the call is made at all.
    pub probability: f64,
    /// Number of calls.
    pub count: u32,
    /// All of them side by side, instead of one after the other. Whether they are made at all is drawn once.
    pub parallel: bool,
    /// The script continues without waiting, and a failure does not affect it. The call outlives the request, whose
    /// deadline and path are not passed on.
    pub detached: bool,
    /// Size of the request.
    pub request_bytes: u32,
    /// The request is as large as the one for which it is made, instead.
    pub keeps_size: bool,
    /// The script continues if the call fails.
    pub optional: bool,
    /// Timeout and retries.
    pub policy: CallPolicy,
}

/// Maximum number of attempts after the first: a request has one byte for their number.
pub const RETRIES_MAX: u32 = u8::MAX as u32;

/// Timeout and retries of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallPolicy {
    /// Timeout of one attempt. `None`: none.
    pub timeout: Option<Span>,
    /// Attempts after the first; more than [`RETRIES_MAX`] count as that.
    pub retries: u32,
    /// Backoff and budget of these retries.
    pub retry: Retry,
    /// Further policies: an entry of [`Mesh::call_rules`].
    pub rules: Option<CallRulesId>,
}

impl Default for CallPolicy {
    /// 15 s, as Envoy's route timeout; no retries.
    fn default() -> Self {
        CallPolicy { timeout: Some(Span::from_secs(15)), retries: 0, retry: Retry::default(), rules: None }
    }
}

/// Backoff and budget of retries.
///
/// A retry is made only while the caller's retries in flight to that service are below `max(budget_min, budget *
/// active)` (Envoy's `retry_budget`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Rule by which the wait before a retry follows from `base` and `cap`.
    pub backoff: Backoff,
    /// Envoy's default: 25 ms.
    pub base: Span,
    /// Longest wait. Envoy's default: ten times the base.
    pub cap: Span,
    /// Fraction of the requests in flight that may be retries; `None`: all of them. Envoy's default: 0.2.
    pub budget: Option<f64>,
    /// Retries that are allowed even if few requests are in flight. Envoy's default: 3.
    pub budget_min: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            backoff: Backoff::Jittered,
            base: Span::from_millis(25),
            cap: Span::from_millis(250),
            budget: Some(0.2),
            budget_min: 3,
        }
    }
}

/// Wait of a caller before a retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// Before the `n`-th uniformly in `[0, (2^n - 1) * base)`, at most `cap` (Envoy's `retry_back_off`).
    #[default]
    Jittered,
    /// `base` before each, at most `cap`.
    Fixed,
}

/// Load on entry services: in an open loop, where each request is sent at its planned time, however slow earlier
/// replies are; or in a closed loop, by [users](Arrivals::Users) who wait for replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// Zone of its client: an index into [`Mesh::zones`].
    pub zone: u16,
    /// The first time at which a request may be planned.
    pub start: Time,
    /// No request is planned at or after this.
    pub end: Time,
    /// Planned times of the requests, counted from `start`; or the users who send them.
    pub arrivals: Arrivals,
    /// Targets.
    pub mix: Vec<Target>,
    /// Rule by which a request gets one of them.
    pub targeting: Targeting,
    /// Sizes of the requests, if they vary.
    pub sizes: Option<Box<Sizes>>,
    /// Timeout and retries of the client.
    pub policy: CallPolicy,
    /// Travels with the request: a server drops work whose caller has given up. Counted from the planned time.
    pub deadline: Option<Span>,
    /// Class of its requests, and of the calls made for them.
    pub priority: Priority,
    /// Requests planned before `start + warmup` are offered but not measured.
    pub warmup: Span,
    /// Length of the windows of its [time series](crate::course::Course).
    pub window: Span,
}

/// One kind of request of a load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The entry service.
    pub service: ServiceId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its share, relative to the other targets.
    pub weight: f64,
    /// Size of the request; the mean, if [`Load::sizes`] vary.
    pub request_bytes: u32,
}

/// Planned times of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Arrivals {
    /// By a rate that may change over time.
    Rate {
        /// Evenly, or at random.
        process: Process,
        /// The rate, piece by piece. After the last piece nothing more is planned.
        stages: Arc<[Stage]>,
    },
    /// At given times, rising, counted from the load's start.
    Stamps(Arc<[Span]>),
    /// In closed loop: when users have their answers and have thought.
    Users(Users),
}

/// The users of a closed load. They send fewer requests to a slow mesh; the omitted requests are not measured
/// (coordinated omission).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Users {
    /// Number of users.
    pub count: u32,
    /// Think time of a user: from the reply, or from giving up, to its next request.
    pub think: Dist,
    /// Shortest time between the starts of two requests of a user. The latency of a request that starts later, because
    /// the previous reply was late, runs from its planned start.
    pub pacing: Option<Span>,
}

impl Arrivals {
    /// One rate for the whole run.
    pub fn steady(process: Process, per_second: f64) -> Self {
        Arrivals::Rate { process, stages: Arc::new([Stage { length: Span::MAX, from: per_second, to: per_second }]) }
    }

    /// The users, of a closed load.
    pub fn users(&self) -> Option<&Users> {
        if let Arrivals::Users(users) = self { Some(users) } else { None }
    }

    /// Time, counted from the load's start, before which both plan the same requests by the same draws.
    pub fn same_until(&self, other: &Arrivals) -> Span {
        let mut same = Span::ZERO;
        let (Arrivals::Rate { process, stages }, Arrivals::Rate { process: of_other, stages: others }) = (self, other)
        else {
            return same;
        };
        if process != of_other {
            return same;
        }
        for (stage, other) in stages.iter().zip(others.iter()) {
            let is_level = [stage.to, other.from, other.to].iter().all(|rate| *rate == stage.from);
            if stage == other || is_level {
                same += stage.length.min(other.length);
            }
            if stage != other {
                break;
            }
        }
        same
    }

    /// The same arrivals at `factor` times the rate. Given times and users stay as they are.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        match self {
            Arrivals::Rate { process, stages } => {
                let scaled = |stage: &Stage| Stage { from: stage.from * factor, to: stage.to * factor, ..*stage };
                Arrivals::Rate { process: *process, stages: stages.iter().map(scaled).collect() }
            }
            Arrivals::Stamps(_) | Arrivals::Users(_) => self.clone(),
        }
    }
}

/// Spacing of the planned times at a given rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// Evenly spaced.
    Constant,
    /// At random, independent of each other.
    Poisson,
}

/// A piece of a rate: linear from one value to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Duration.
    pub length: Span,
    /// Requests per second at its beginning.
    pub from: f64,
    /// Requests per second at its end.
    pub to: f64,
}

/// An operation of the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Time at which it begins.
    pub at: Time,
    /// To which service.
    pub service: ServiceId,
    /// The change.
    pub change: Change,
    /// Time between the steps of a recurrence.
    pub every: Span,
    /// Maximum number of steps; `None`: until settled.
    pub times: Option<u32>,
}

/// Change of a service by an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Bring the service up as its [`Service`] says.
    Deploy,
    /// Take all its instances away.
    Undeploy,
    /// Empty the caches of its instances.
    Flush,
    /// `S' = S + rate (to - S)`.
    Extend {
        /// T: instances wanted in the end.
        to: u32,
        /// a, above 0.
        rate: f64,
        /// Rounding of the real S to whole instances.
        rounding: Rounding,
        /// Value of S from which the recurrence starts.
        feedback: Feedback,
    },
    /// `C' = C * by`, within the service's limits.
    Scale {
        /// b, above 0.
        by: f64,
    },
    /// `V' = V + rate (to - V)`.
    Update {
        /// U: version wanted in the end.
        to: u32,
        /// g, above 0.
        rate: f64,
        /// Order in which instances of the new version replace the old ones.
        strategy: Strategy,
    },
    /// One of its settings has another value from now on.
    Set(Box<Setting>),
}

impl Change {
    /// The operation's name.
    pub fn kind(&self) -> OperationKind {
        match self {
            Change::Deploy => OperationKind::Deploy,
            Change::Undeploy => OperationKind::Undeploy,
            Change::Flush => OperationKind::Flush,
            Change::Extend { .. } => OperationKind::Extend,
            Change::Scale { .. } => OperationKind::Scale,
            Change::Update { .. } => OperationKind::Update,
            Change::Set(_) => OperationKind::Set,
        }
    }
}

/// Rounding of a real number of instances to a whole one: once, for the whole mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// The step is rounded away from zero, and an overshoot is rounded towards the target: it arrives at every rate
    /// below 2.
    #[default]
    Away,
    /// The step is rounded to the nearest whole number, halves away from zero; an overshoot is rounded towards the
    /// target. Below a rate of 1 it can stop short of it.
    Nearest,
    /// The step is rounded toward minus infinity. Below a rate of 1 it can stop below the target.
    Floor,
    /// S stays real; only the numbers sent to the nodes are rounded (to the nearest).
    Carry,
    /// The step is rounded up with its fraction as probability, else down.
    Stochastic,
}

/// Value of S from which an extend starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feedback {
    /// The desired state, as the coordinator has decided it.
    #[default]
    Commanded,
    /// The observed state, as the nodes last reported it; stale by network delay and lost messages.
    Observed,
}

/// A number of instances, or a fraction of N. (Kubernetes' `IntOrString`.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Amount {
    /// This number, whatever N is.
    Instances(u32),
    /// From 0 to 1.
    Share(f64),
}

impl Amount {
    /// True if it is nothing, whatever N is.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Instances(0)) || self == Amount::Share(0.0)
    }
}

/// Order in which the steps of an update replace instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Strategy {
    /// Each old one with probability `rate`.
    Bernoulli,
    /// `ceil(rate * old)` of them.
    Batch,
    /// As a Kubernetes Deployment: at most `max_surge` more than N instances, at most `max_unavailable` fewer ready
    /// ones; see [`rolling_bounds`](crate::operation::rolling_bounds). Each turn does as much as the nodes' reports
    /// allow.
    Rolling {
        /// A share of N is rounded up.
        max_surge: Amount,
        /// A share of N is rounded down.
        max_unavailable: Amount,
    },
    /// By step: the share of requests that goes to the new version. So many instances of it as are that share of N come
    /// beside the N; see [`Canary`](crate::operation::Canary).
    Canary {
        /// Rising, in (0, 1].
        weights: Arc<[f64]>,
    },
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
    /// Time between two rounds in which the autoscaler asks the nodes for samples. (metrics-server's
    /// `--metric-resolution` is 15 s.)
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
