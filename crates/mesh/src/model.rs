//! What a mesh is made of: plain data, checked by whoever makes it (the experiment file, or a program).
//!
//! Everything refers to everything else by index, so that no name is compared while a run goes on.

use std::sync::Arc;

use meshsim_actor::{ActorId, Dist, Span, Time};
use serde::{Deserialize, Serialize};

use crate::criterion::Criterion;
use crate::measure::Verb;
use crate::program::Program;

/// The coordinator's number among the actors. Nodes follow it, then clients, then the gateway if there is one.
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
    /// What runs on them.
    pub services: Vec<Service>,
    /// What is asked of them; load `i` is offered by actor `1 + nodes + i`.
    pub loads: Vec<Load>,
    /// What is done to them, by rising [`Operation::at`].
    pub operations: Vec<Operation>,
    /// How the coordinator works.
    pub control: Control,
    /// Who has a proxy of its own.
    pub proxy: ProxyPer,
    /// What all randomness of the run comes from. An actor draws from its own stream; what is to move no draw of it is
    /// drawn from a stream that is keyed by this.
    pub seed: u64,
    /// There is a gateway, through which those outside ask: after the clients.
    pub has_gateway: bool,
    /// What the clients count for SLOs.
    pub criteria: Vec<Criterion>,
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

    /// The actor that is the gateway, where there is one.
    pub fn gateway_actor(&self) -> ActorId {
        ActorId(1 + (self.nodes.len() + self.loads.len()) as u32)
    }

    /// Whoever stands outside and is no actor, but speaks to the gateway and the coordinator, and is answered: a person
    /// or a program. The first number that no actor has.
    pub fn outside(&self) -> ActorId {
        ActorId(self.actor_count() as u32)
    }

    /// How many actors there are: the coordinator, the nodes, the clients, the gateway.
    pub fn actor_count(&self) -> usize {
        1 + self.nodes.len() + self.loads.len() + usize::from(self.has_gateway)
    }

    /// An actor's name for people, unique in the mesh: `coordinator`, the node's or the load's name, `gateway`; and
    /// `outside`, which is no actor's.
    pub fn actor_name(&self, actor: ActorId) -> &str {
        match actor.index() {
            0 => "coordinator",
            i if i <= self.nodes.len() => &self.nodes[i - 1].name,
            i if i <= self.nodes.len() + self.loads.len() => &self.loads[i - 1 - self.nodes.len()].name,
            _ if actor == self.gateway_actor() && self.has_gateway => "gateway",
            _ if actor == self.outside() => "outside",
            _ => "nobody",
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

    /// From when on the figures of services are those of the run: when the first load's warm-up is over. Time zero, if
    /// there is no load.
    pub fn measured_from(&self) -> Time {
        self.loads.iter().map(|load| load.start + load.warmup).min().unwrap_or(Time::ZERO)
    }

    /// A service by its number.
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id.index()]
    }

    /// True if there is such an endpoint: what comes over a wire may name any.
    pub fn has_endpoint(&self, service: ServiceId, endpoint: EndpointId) -> bool {
        self.services.get(service.index()).is_some_and(|service| endpoint.index() < service.endpoints.len())
    }
}

/// Who has a proxy of its own: what callers know of whom they call, their retry budgets and their turns belong to it.
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
    /// Cores: what computes shares them, each request at most one. Instances reserve shares of them when they are placed
    /// ([`Service::cpu`]).
    pub cores: f64,
    /// Where it stands: an index into [`Mesh::zones`].
    pub zone: u16,
    /// When it comes: [`Time::ZERO`] if it is there at the start, [`Time::NEVER`] if it comes only when somebody brings
    /// it.
    pub joins: Time,
}

impl NodeSpec {
    /// True if the run begins with it.
    pub fn is_there_at_start(&self) -> bool {
        self.joins == Time::ZERO
    }

    /// True if it comes only when somebody brings it.
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
    /// Cores that the requests of one instance may have together while they compute; `None`: as many as there are. (What
    /// Kubernetes calls a limit, where [`cpu`](Self::cpu) is a request.)
    pub cpu_limit: Option<f64>,
    /// From the creation of an instance until it takes requests.
    pub start_delay: Span,
    /// From the decision to take an instance away until it is gone: so long it takes requests of callers that have not
    /// heard of it yet. What it works on it finishes, within [`grace`](Self::grace). (A Kubernetes `preStop` sleep.)
    pub drain_delay: Span,
    /// From the same decision until what the instance still works on is cut off: its requests fail as
    /// [`Failure::Cut`](crate::measure::Failure::Cut). The drain delay is part of it, and ends with it at the latest.
    /// `None`: it may take as long as it takes. (Kubernetes' `terminationGracePeriodSeconds`.)
    pub grace: Option<Span>,
    /// Requests that may wait at one instance; the next is refused.
    pub queue: u32,
    /// How its callers choose one of its instances.
    pub balancer: Balancer,
    /// Names of its endpoints.
    pub endpoints: Vec<String>,
    /// What the endpoints do, by rising [`Behaviour::from_version`]; the first holds for all earlier versions too.
    pub behaviours: Vec<Behaviour>,
}

impl Service {
    /// What an endpoint does in an instance of this version.
    #[inline]
    pub fn endpoint(&self, version: u32, endpoint: EndpointId) -> &Endpoint {
        let behaviour = match self.behaviours.as_slice() {
            [only] => only,
            all => all.iter().rev().find(|b| b.from_version <= version).unwrap_or(&all[0]),
        };
        &behaviour.endpoints[endpoint.index()]
    }
}

/// What a service does from some version on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// The first version that behaves so.
    pub from_version: u32,
    /// One for each of [`Service::endpoints`], in the same order.
    pub endpoints: Vec<Endpoint>,
}

/// What an endpoint does with a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The script, as a person thinks of it.
    pub script: Vec<Step>,
    /// The script, as a node runs it.
    pub program: Program,
    /// Probability that a request whose script succeeded fails all the same.
    pub errors: f64,
    /// Size of the reply.
    pub response_bytes: u32,
}

impl Endpoint {
    /// An endpoint that runs this script, never fails by itself and answers with 1 KiB.
    pub fn new(script: Vec<Step>) -> Self {
        Endpoint { program: Program::compile(&script), script, errors: 0.0, response_bytes: 1024 }
    }
}

/// One line of a script. Lines run one after the other; the request keeps its slot through all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Computes for so long on a core of its own at normal speed: longer where others want the cores, and on a slow
    /// machine.
    Work(Dist),
    /// Waits for this long, whatever the machine.
    Sleep(Dist),
    /// Calls another service and waits for the answer.
    Call(Call),
    /// Runs scripts side by side and waits for all of them.
    Parallel(Vec<Vec<Step>>),
}

/// A call of another service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Whom.
    pub service: ServiceId,
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Probability that the call is made at all.
    pub probability: f64,
    /// How many times.
    pub count: u32,
    /// All of them side by side, instead of one after the other. Whether they are made at all is drawn once.
    pub parallel: bool,
    /// The script goes on without waiting, and a failure does not matter to it. The call outlives the request, whose
    /// deadline and path do not travel with it.
    pub detached: bool,
    /// Size of the request.
    pub request_bytes: u32,
    /// If it fails, go on as if it had not been made.
    pub optional: bool,
    /// Timeout and retries.
    pub policy: CallPolicy,
}

/// Most tries after the first: a request has a byte for which one it is.
pub const RETRIES_MAX: u32 = u8::MAX as u32;

/// What a caller does about a call that does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallPolicy {
    /// Give one try up after this long. `None`: wait for ever.
    pub timeout: Option<Span>,
    /// Tries after the first; more than [`RETRIES_MAX`] count as that.
    pub retries: u32,
    /// How long to wait before them, and how many are allowed.
    pub retry: Retry,
}

impl Default for CallPolicy {
    /// 15 s, as Envoy's route timeout; no retries.
    fn default() -> Self {
        CallPolicy { timeout: Some(Span::from_secs(15)), retries: 0, retry: Retry::default() }
    }
}

/// Backoff and budget of retries.
///
/// A retry is made only while the caller's retries under way to that service are below
/// `max(budget_min, budget * active)` (Envoy's `retry_budget`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// How the wait before a retry comes from `base` and `cap`.
    pub backoff: Backoff,
    /// Envoy's default: 25 ms.
    pub base: Span,
    /// Longest wait. Envoy's default: ten times the base.
    pub cap: Span,
    /// Share of the requests under way that may be retries; `None`: all of them. Envoy's default: 0.2.
    pub budget: Option<f64>,
    /// Retries that are allowed however few requests are under way. Envoy's default: 3.
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

/// How long a caller waits before a retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// Before the `n`-th uniformly in `[0, (2^n - 1) * base)`, at most `cap` (Envoy's `retry_back_off`).
    #[default]
    Jittered,
    /// `base` before each, at most `cap`.
    Fixed,
}

/// How a caller chooses among the instances of a service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Balancer {
    /// Each equally likely.
    Random,
    /// In turn.
    RoundRobin,
    /// The one with the fewest of this caller's requests under way, among those that it looks at.
    LeastRequest {
        /// At whom it looks.
        choices: Choices,
    },
    /// The one of two distinct random ones with the lower `estimate * (pending + 1)`, where the estimate is a peak-
    /// sensitive moving average of its latency. (Linkerd's balancer: decay 10 s, start 30 ms.)
    PeakEwma {
        /// Time constant with which a slow sample is forgotten.
        decay: Span,
        /// Estimate of an instance not yet heard of.
        start: Span,
    },
}

/// At how many instances a caller looks before it chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choices {
    /// At so many random ones, and perhaps at one of them twice; the first wins a tie. (Envoy's `LEAST_REQUEST`: two.)
    Replaced(u32),
    /// At so many random ones, each once; the first wins a tie.
    Distinct(u32),
    /// At all of them; chance decides a tie. ("Join the shortest queue", as far as this caller knows the queues.)
    All,
}

/// Most instances that a caller draws before it chooses, if it does not look at all.
pub const CHOICES_MAX: u32 = 64;

impl Default for Balancer {
    /// As Envoy where `least_request` is configured.
    fn default() -> Self {
        Balancer::LeastRequest { choices: Choices::Replaced(2) }
    }
}

/// Requests offered to entry services: in open loop, where what is planned is sent, however slow the answers are; or in
/// closed loop, by [users](Arrivals::Users) who wait for answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// Where its client stands: an index into [`Mesh::zones`].
    pub zone: u16,
    /// The first moment at which a request may be planned.
    pub start: Time,
    /// No request is planned at or after this.
    pub end: Time,
    /// When requests are planned, counted from `start`; or the users who send them.
    pub arrivals: Arrivals,
    /// What is asked for, by weight.
    pub mix: Vec<Target>,
    /// Timeout and retries of the client.
    pub policy: CallPolicy,
    /// Travels with the request: a server drops work whose caller has given up. Counted from the planned time.
    pub deadline: Option<Span>,
    /// Requests planned before `start + warmup` are offered but not measured.
    pub warmup: Span,
    /// Length of the windows of its [`Course`](crate::course::Course).
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
    /// Size of the request.
    pub request_bytes: u32,
}

/// When requests are planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Arrivals {
    /// By a rate that may change over time.
    Rate {
        /// Evenly, or at random.
        process: Process,
        /// The rate, piece by piece. After the last piece nothing more is planned.
        stages: Arc<[Stage]>,
    },
    /// At given moments, rising, counted from the load's start.
    Stamps(Arc<[Span]>),
    /// In closed loop: when users have their answers and have thought.
    Users(Users),
}

/// The users of a closed load. A slow mesh is asked less often by them: what it would have been asked meanwhile is not
/// measured (coordinated omission).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Users {
    /// How many there are.
    pub count: u32,
    /// How long a user thinks: from the reply, or from when it has given up, to its next request.
    pub think: Dist,
    /// The least time from the beginning of a request to that of the user's next. A request that begins later, because
    /// the reply before it was late, has its latency from when it was to begin.
    pub pacing: Option<Span>,
}

impl Arrivals {
    /// One rate for ever.
    pub fn steady(process: Process, per_second: f64) -> Self {
        Arrivals::Rate { process, stages: Arc::new([Stage { length: Span::MAX, from: per_second, to: per_second }]) }
    }

    /// The users, of a closed load.
    pub fn users(&self) -> Option<&Users> {
        if let Arrivals::Users(users) = self { Some(users) } else { None }
    }

    /// The same course at a rate so many times as high. Given moments and users stay as they are.
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

/// How a rate becomes moments.
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
    /// How long it lasts.
    pub length: Span,
    /// Requests per second at its beginning.
    pub from: f64,
    /// Requests per second at its end.
    pub to: f64,
}

/// Something the coordinator is told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// When.
    pub at: Time,
    /// To which service.
    pub service: ServiceId,
    /// What.
    pub change: Change,
    /// Time between the steps of a recurrence.
    pub every: Span,
    /// Most steps; `None`: until it has settled.
    pub times: Option<u32>,
}

/// What an operation changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Bring the service up as its [`Service`] says.
    Deploy,
    /// Take all its instances away.
    Undeploy,
    /// `S' = S + rate (to - S)`.
    Extend {
        /// T: instances wanted in the end.
        to: u32,
        /// a, above 0.
        rate: f64,
        /// How the real S becomes whole instances.
        rounding: Rounding,
        /// Which S the recurrence starts from.
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
        /// How the new version comes.
        strategy: Strategy,
    },
}

impl Change {
    /// The operation's name.
    pub fn verb(&self) -> Verb {
        match self {
            Change::Deploy => Verb::Deploy,
            Change::Undeploy => Verb::Undeploy,
            Change::Extend { .. } => Verb::Extend,
            Change::Scale { .. } => Verb::Scale,
            Change::Update { .. } => Verb::Update,
        }
    }
}

/// How a real number of instances becomes a whole one: once, for the whole mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// The step is rounded away from zero, and what it passes the target by towards the target: it arrives at every rate
    /// below 2.
    #[default]
    Away,
    /// The step is rounded to the nearest whole number, halves away from zero; what it passes the target by is rounded
    /// towards the target. Below a rate of 1 it can stop short of it.
    Nearest,
    /// The step is rounded toward minus infinity. Below a rate of 1 it can stop below the target.
    Floor,
    /// S stays real; only what the nodes get is rounded (to the nearest).
    Carry,
    /// The step is rounded up with its fraction as probability, else down.
    Stochastic,
}

/// Which S an extend starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feedback {
    /// What the coordinator has decided.
    #[default]
    Commanded,
    /// What the nodes last reported: late by the network, and by whatever was lost.
    Observed,
}

/// So many instances, or a share of N. (Kubernetes' `IntOrString`.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Amount {
    /// As many, whatever N is.
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

/// How the new version comes in the steps of an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Strategy {
    /// Each old one with probability `rate`.
    Bernoulli,
    /// `ceil(rate * old)` of them.
    Batch,
    /// As a Kubernetes Deployment: at most `max_surge` more than N instances, at most `max_unavailable` fewer ready ones;
    /// see [`rolling_bounds`](crate::operation::rolling_bounds). Each turn does as much as the nodes' reports allow.
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

/// How the coordinator and the nodes keep in touch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// How instances are put on nodes.
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
    /// Changes of endpoints are gathered for this long before callers are told. (Istio's `PILOT_DEBOUNCE_AFTER` is
    /// 100 ms.)
    pub debounce: Span,
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
        }
    }
}

/// How instances are put on nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placement {
    /// Evenly by free cores: each node's share is rounded by largest remainder.
    #[default]
    Spread,
    /// On as few nodes as possible: the fullest that still has room (best fit).
    BinPack,
}
