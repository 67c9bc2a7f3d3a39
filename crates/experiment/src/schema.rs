//! The format of the file, by an example that has everything:
//!
//! ```yaml
#![doc = include_str!("format.yaml")]
//! ```
//!
//! The sections below are the same format as tables, from which both the decoder and the JSON Schema are made.

use meshsim_actor::{Dist, Span};
use meshsim_mesh::model::{Amount, Backoff, Balancer, Feedback, Placement, Process, ProxyPer, Rounding};
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::problem::Reporter;
use crate::section::{As, At, Field, Many, Named, OneOrMore, by_key, schema_of, section};
use crate::tree::{Key, Node, Value};
use crate::values::{
    Bandwidth, Budget, ByteSize, FaultTargets, Fraction, Joins, Name, Rate, Real, StrategyName, Timeout, Whole,
};

/// The JSON Schema (2020-12) of the experiment file, with a description of every field.
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<As<File>>();
    schema.insert("title".into(), "meshsim experiment".into());
    schema.to_value()
}

/// Most machines of a mesh.
pub const NODES_MAX: u64 = 1_000_000;
/// Most services of a mesh: a service's number has 16 bits.
pub const SERVICES_MAX: usize = 65_535;
/// Most endpoints of a service.
pub const ENDPOINTS_MAX: usize = 1_000;
/// Most instances of a service.
pub const INSTANCES_MAX: u64 = 1_000_000;
/// Most loads.
pub const LOADS_MAX: usize = 1_000;
/// Most users of a load.
pub const USERS_MAX: u64 = 1_000_000;
/// Most operations and most faults.
pub const EVENTS_MAX: usize = 10_000;
/// Most zones.
pub const ZONES_MAX: usize = 256;
/// Highest version.
pub const VERSION_MAX: u64 = 1_000_000;

type Version = Whole<0, VERSION_MAX>;
type Steps = Whole<1, 1_000_000>;

section! {
    /// Mesh, operations, load, faults and SLOs of a run.
    struct File in "an experiment" {
        /// Name of the run [default: name of the folder of a `mesh.yaml`, or of the file].
        optional name: At<Name>;
        /// Seed of all randomness of the run: the same file and seed give the same run.
        or seed: Whole<0, { u64::MAX }> = "1";
        /// Duration of the run, in virtual time.
        or duration: At<Span> = "60s";
        /// The machines, in groups.
        required nodes: At<Many<NodeGroup>>;
        /// The network between the machines.
        or network: Network = "";
        /// Settings of the control plane.
        or control: Control = "";
        /// Owner of a proxy, with its own balancer state and retry budgets: each instance, or each node.
        or proxy: ProxyPer = "instance";
        /// The services, by name.
        required services: At<Named<Service>>;
        /// Operations on services. A service that no `deploy` names is deployed at 0s.
        or operations: At<Vec<At<Operation>>> = "";
        /// The loads, by name.
        or load: At<Named<At<Load>>> = "";
        /// The faults; each is reverted after `for`.
        or faults: At<Vec<At<Fault>>> = "";
        /// The SLOs: `[load, load.endpoint or service] metric comparison threshold [any ..] [from .. to ..]`, or `recovery < 10s after FAULT`.
        or slo: Vec<At<String>> = "";
    }
}

section! {
    /// A group of machines.
    struct NodeGroup in "a group of nodes" {
        /// The machine's name; several machines are called name-0, name-1, ...
        required name: At<Name>;
        /// Number of machines; a single one, the default, has the plain name.
        or count: Whole<1, NODES_MAX> = "1";
        /// Cores of each machine, which instances reserve.
        or cores: Real<100_000> = "8";
        /// Zone of the machines [default: `default`].
        optional zone: At<Name>;
        /// Time at which the machines join; `never`: only when a process starts one in a live run. An earlier fault that names one delays its join until the fault has ended.
        or joins: Joins = "0s";
    }
}

section! {
    /// The network between the machines.
    struct Network in "the network" {
        /// One-way latency of messages between nodes, unless `zones` gives another.
        or latency: Dist = "0.25ms";
        /// One-way latency of messages between instances of one node.
        or local: Dist = "20us";
        /// Share of the attempts of messages between nodes that are lost. The transport (TCP) retries after 200 ms or the round trip, whichever is longer, doubles this delay up to 120 s, and gives up after 15 retries.
        or loss: Fraction = "0%";
        /// Share of the messages between nodes that are never delivered.
        or drop: Fraction = "0%";
        /// One-way latencies between zones, row = from: a CSV file in ms, or a map of maps. A missing pair has the latency of the opposite direction.
        optional zones: At<Zones>;
        /// Standard deviation of the latencies between zones, as a share of each (normal).
        or jitter: At<Fraction> = "0%";
        /// Bandwidth of each link [default: no limit].
        optional bandwidth: Bandwidth;
        /// Bytes that may wait for a link with a `bandwidth`; a message beyond them is lost.
        optional queue: At<ByteSize>;
    }
}

/// Latencies between zones: in a file, or in place.
#[derive(Clone, Debug)]
pub(crate) enum Zones {
    File(String),
    Here(Named<Named<Dist>>),
}

impl Field for Zones {
    const NAME: &'static str = "Zones";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, .. } => Some(Zones::File(text.clone())),
            _ => Named::decode(node, reporter).map(Zones::Here),
        }
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let here = schema_of::<Named<Named<Dist>>>(generator);
        json_schema!({
            "description": "A CSV file (first row and first column: zones; one-way milliseconds), or the same as a map of maps of distributions.",
            "anyOf": [{ "type": "string", "examples": ["latencies.csv"] }, here]
        })
    }
}

section! {
    /// Settings of the control plane.
    struct Control in "the control" {
        /// Placement of instances on nodes.
        or placement: Placement = "spread";
        /// Time between two heartbeats of a node.
        or heartbeat: At<Span> = "1s";
        /// Number of missed heartbeats after which a node is declared dead.
        or missed: Whole<1, 1_000_000> = "3";
        /// Delay after which a step without acknowledgement is resent; it then doubles.
        or resend: At<Span> = "500ms";
        /// Maximum of this delay.
        or resend_cap: At<Span> = "5s";
        /// Time for which changes of the ready instances are collected before they are sent to callers (Istio: 100ms).
        or debounce: Span = "100ms";
    }
}

section! {
    /// An independently deployable component.
    struct Service in "a service" {
        /// Instances when it is deployed (S).
        or instances: Whole<0, INSTANCES_MAX> = "1";
        /// Requests that one instance serves concurrently (C); it has max(1, round(C)) slots.
        or capacity: At<Real<1_000_000>> = "1";
        /// Lower limit of C.
        optional capacity_min: At<Real<1_000_000>>;
        /// Upper limit of C.
        optional capacity_max: At<Real<1_000_000>>;
        /// Version when it is deployed (V).
        or version: Version = "1";
        /// Cores that one instance reserves on its node.
        or cpu: Real<100_000, true> = "0.1";
        /// Cores that all requests of one instance may use together [default: those of the node].
        optional cpu_limit: Real<100_000>;
        /// Requests that may wait at one instance; one beyond them is refused.
        or queue: Whole<0, 1_000_000> = "1000";
        /// Time from the creation of an instance until it accepts requests.
        or start_delay: Span = "0s";
        /// Time for which an instance that is being removed still accepts requests, because callers may hold an older view.
        or drain_delay: Span = "1s";
        /// Time from the order to stop until the remaining requests of the instance are cut off, `drain_delay` included [default: no limit].
        optional grace: Span;
        /// Balancer with which its callers choose one of its instances.
        or balancer: Balancer = "least_request";
        /// Its endpoints, by name.
        required endpoints: At<Named<Endpoint>>;
        /// Endpoints that change from a version on, by version; the others stay as they are.
        or versions: Named<Behaviour> = "";
    }
}

section! {
    /// Processing of a request.
    struct Endpoint in "an endpoint" {
        /// Share of the requests that fail at random.
        or errors: Fraction = "0%";
        /// Size of the reply.
        or response: ByteSize = "1 KiB";
        /// Steps that run one after the other; the request holds its slot during all of them.
        or script: Vec<Step> = "";
    }
}

section! {
    /// Behaviour of a service from a version on.
    struct Behaviour in "a version" {
        /// The changed endpoints, in full.
        required endpoints: Named<Endpoint>;
    }
}

by_key! {
    /// One step of a script.
    enum Step in "a step" {
        "work" => Work,
        "sleep" => Sleep,
        "call" => CallStep,
        "parallel" => Parallel,
    }
}

section! {
    /// Computes.
    struct Work in "a step of work" {
        /// Processor time; a slow node takes longer.
        required work: Dist;
    }
}
section! {
    /// Waits.
    struct Sleep in "a step of sleep" {
        /// Duration, on any node.
        required sleep: Dist;
    }
}
section! {
    /// Calls another service and waits for the reply.
    struct CallStep in "a step with a call" {
        /// Callee: `service` or `service.endpoint`; or the call in full.
        required call: Call;
    }
}
section! {
    /// Runs branches concurrently and waits for all of them.
    struct Parallel in "a parallel step" {
        /// The branches: each is a step, or a list of steps that run one after the other.
        required parallel: Vec<Branch>;
    }
}

/// A step, or several in a row.
#[derive(Clone, Debug)]
pub(crate) struct Branch(pub(crate) Vec<Step>);

impl Field for Branch {
    const NAME: &'static str = "Branch";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        OneOrMore::decode(node, reporter).map(|OneOrMore(steps)| Branch(steps))
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        OneOrMore::<Step>::schema(generator)
    }
}

section! {
    /// A call of another service, in full.
    struct CallInFull in "a call" {
        /// Callee: `service`, if it has only one endpoint, or `service.endpoint`.
        required to: At<String>;
        /// Probability that the call is made at all.
        or probability: Fraction = "100%";
        /// Number of calls, one after the other.
        or count: Whole<1, 10_000> = "1";
        /// Makes all `count` calls concurrently; `probability` is drawn once for all of them.
        or parallel: bool = "false";
        /// Sends the call without waiting for the reply; a failure has no effect. The call outlives the request, whose deadline does not apply to it.
        or detached as "async": bool = "false";
        /// Size of the request.
        or request: ByteSize = "1 KiB";
        /// A failure of the call does not fail the request.
        or optional: bool = "false";
        /// Timeout of one attempt; or `none`.
        or timeout: Timeout = "15s";
        /// Attempts after the first.
        or retries: Whole<0, 255> = "0";
        /// Backoff and budget of these retries.
        or retry: Retry = "";
    }
}

/// A call: only the callee, or in full.
#[derive(Clone, Debug)]
pub(crate) struct Call(pub(crate) CallInFull);

impl Field for Call {
    const NAME: &'static str = "Call";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Map(_) = node.value {
            return CallInFull::decode(node, reporter).map(Call);
        }
        if let Value::List(callees) = &node.value {
            let help = match &callees[..] {
                [one] => format!("did you mean `call: {}`?", one.inline()),
                _ => "write a step for each: `- call: a`, then `- call: b`; or all at once: `- parallel: [{ call: a }, { call: b }]`"
                    .to_owned(),
            };
            reporter.report(node.place, "a call has one callee, not a list").help(help);
            return None;
        }
        let key = Key { text: "to".to_owned(), place: node.place, invented: false };
        let full = Node { place: node.place, value: Value::Map(vec![(key, node.clone())]) };
        CallInFull::decode(&full, reporter).map(Call)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let full = schema_of::<CallInFull>(generator);
        json_schema!({
            "description": "Whom: `service` or `service.endpoint`; or the call in full.",
            "anyOf": [{ "type": "string", "examples": ["geo", "rate.get"] }, full]
        })
    }
}

section! {
    /// Backoff and budget of retries; the defaults are Envoy's.
    struct Retry in "`retry`" {
        /// `jittered`: the n-th retry waits evenly between 0 and (2^n - 1) times `base`. `fixed`: each waits for `base`.
        or backoff: Backoff = "jittered";
        /// Base of the wait; see `backoff`.
        or base: Span = "25ms";
        /// Maximum of the wait [default: ten times the base].
        optional cap: Span;
        /// Share of the requests in flight to a service that may be retries; `none` allows every retry.
        or budget: Budget = "20%";
        /// Retries that are allowed even if few requests are in flight.
        or budget_min: Whole<0, 1_000_000> = "3";
    }
}

by_key! {
    /// An operation on a service.
    enum Operation in "an operation" {
        "deploy" => Deploy,
        "undeploy" => Undeploy,
        "extend" => Extend,
        "scale" => Scale,
        "update" => Update,
    }
}

impl Operation {
    /// Its name, and its time.
    pub(crate) fn named(&self) -> (Option<&At<Name>>, Span) {
        let (name, at) = match self {
            Operation::Deploy(it) => (&it.name, &it.at),
            Operation::Undeploy(it) => (&it.name, &it.at),
            Operation::Extend(it) => (&it.name, &it.at),
            Operation::Scale(it) => (&it.name, &it.at),
            Operation::Update(it) => (&it.name, &it.at),
        };
        (name.as_ref(), at.value)
    }
}

impl Fault {
    /// Its name, its time and its duration.
    pub(crate) fn named(&self) -> (Option<&At<Name>>, Span, Span) {
        let (name, at, length) = match self {
            Fault::Crash(it) => (&it.name, &it.at, &it.length),
            Fault::Wipe(it) => (&it.name, &it.at, &it.length),
            Fault::Pause(it) => (&it.name, &it.at, &it.length),
            Fault::Slow(it) => (&it.name, &it.at, &it.length),
            Fault::Partition(it) => (&it.name, &it.at, &it.length),
            Fault::OneWay(it) => (&it.name, &it.at, &it.length),
            Fault::Link(it) => (&it.name, &it.at, &it.length),
        };
        (name.as_ref(), at.value, length.value)
    }
}

section! {
    /// Starts the instances of services, as the file describes them.
    struct Deploy in "a deploy" {
        /// The service, or a list of services.
        required deploy: OneOrMore<At<String>>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Removes all instances of services.
    struct Undeploy in "an undeploy" {
        /// The service, or a list of services.
        required undeploy: OneOrMore<At<String>>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// S' = S + rate * (to - S): instances move toward a target.
    struct Extend in "an extend" {
        /// The service.
        required extend: At<String>;
        /// Time of the first step.
        or at: At<Span> = "0s";
        /// Target of S (T).
        required to: Whole<0, INSTANCES_MAX>;
        /// Fraction of the remaining distance that one step covers (a): stable below 2, or less with delay; without overshoot up to 1.
        required rate: Real<100>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Maximum number of steps [default: until settled].
        optional times: Steps;
        /// Rounding of the real S to whole instances.
        or rounding: Rounding = "away";
        /// Value of S from which a step starts.
        or feedback: Feedback = "commanded";
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// C' = C * by: the capacity is multiplied.
    struct Scale in "a scale" {
        /// The service.
        required scale: At<String>;
        /// Time of the first step.
        or at: At<Span> = "0s";
        /// Factor of one step (b).
        required by: Real<1_000_000>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Maximum number of steps; required unless the service has the limit toward which C moves.
        optional times: Steps;
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// V' = V + rate * (to - V): the version moves toward the newest.
    struct Update in "an update" {
        /// The service.
        required update: At<String>;
        /// Time of the first step.
        or at: At<Span> = "0s";
        /// Target of V (U).
        required to: Version;
        /// Fraction of the old instances that one step moves (g); for `batch` and `bernoulli`.
        optional rate: At<Real<100>>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Maximum number of steps [default: until settled].
        optional times: Steps;
        /// Order in which instances are replaced [default: `batch`].
        optional strategy: StrategyName;
        /// For `rolling`: number of instances allowed above S: a number, or a percentage,
        /// rounded up [default: 25%].
        optional max_surge: At<Amount>;
        /// For `rolling`: number of ready instances allowed below S: a number, or a percentage,
        /// rounded down [default: 25%].
        optional max_unavailable: At<Amount>;
        /// For `canary`: the share of the requests that goes to the new version after each step, rising. That share of
        /// the N instances, rounded up, is added to them.
        optional weights: At<Vec<At<Fraction>>>;
        /// Name for SLOs and reports, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}

section! {
    /// Open-loop load by `arrivals`: each request is sent at its planned time, however slow earlier replies are. Or
    /// closed-loop load by `users`, who wait for replies.
    struct Load in "a load" {
        /// The service whose endpoints the mix names; without a mix `service` or `service.endpoint`.
        optional to: At<String>;
        /// Planned times of the requests. A load has this, or `users`.
        optional arrivals: Arrivals;
        /// Number of users of a closed loop; each sends a request after the reply to its last one and its think time.
        optional users: At<Whole<1, USERS_MAX>>;
        /// Think time of a user, from the reply (or the failure, or the timeout) to its next request [default: 0s].
        optional think: At<Dist>;
        /// Shortest time between the starts of two requests of a user [default: none].
        optional pacing: At<Span>;
        /// Targets, by weight: an endpoint of `to`, or `service.endpoint`, or a service with one endpoint.
        optional mix: At<Named<Real<1_000_000_000, true>>>;
        /// Size of a request.
        or request: ByteSize = "1 KiB";
        /// Timeout of one attempt; or `none`.
        or timeout: Timeout = "15s";
        /// Attempts after the first.
        or retries: Whole<0, 255> = "0";
        /// Backoff and budget of these retries.
        or retry: Retry = "";
        /// Services drop requests that are older than this, counted from the planned time [default: none].
        optional deadline: Span;
        /// Requests planned in the first part of the load are offered but not measured.
        or warmup: At<Span> = "0s";
        /// Time at which it begins.
        or from: At<Span> = "0s";
        /// Duration [default: to the end of the run].
        optional length as "for": At<Span>;
        /// Zone of its client [default: that of the first node].
        optional zone: At<Name>;
        /// Length of the windows of its time series; doubles in a run longer than 600 of them.
        or window: At<Span> = "1s";
    }
}

by_key! {
    /// Planned times of the requests.
    enum Arrivals in "`arrivals`" {
        "constant" => Constant,
        "poisson" => Poisson,
        "stages" => Stages,
        "replay" => Replay,
    }
}

section! {
    /// Evenly spaced.
    struct Constant in "`arrivals`" {
        /// Rate.
        required constant: Rate;
    }
}
section! {
    /// At random, independent of each other.
    struct Poisson in "`arrivals`" {
        /// Mean rate.
        required poisson: Rate;
    }
}
section! {
    /// At a rate that changes.
    struct Stages in "`arrivals`" {
        /// The pieces, one after the other; after the last, nothing more is planned.
        required stages: At<Vec<Stage>>;
        /// Evenly, or at random.
        or process: Process = "poisson";
    }
}
section! {
    /// A piece of a rate.
    struct Stage in "a stage" {
        /// Duration.
        required length as "for": Span;
        /// The rate at its beginning.
        required rate: Rate;
        /// The rate at its end, reached linearly [default: the rate at its beginning].
        optional to: Rate;
    }
}
section! {
    /// At times from a file.
    struct Replay in "`arrivals`" {
        /// A CSV file with a header: times (seconds, or dates with times), or with `per`, counts.
        required replay: At<String>;
        /// The column to read [default: the first].
        optional column: At<String>;
        /// Factor by which the times are compressed.
        or speed: Real<1_000_000> = "1";
        /// Each row is a count of requests over this interval.
        optional per: At<Span>;
        /// With `per`: evenly within each row, or at random [default: `poisson`].
        optional process: At<Process>;
    }
}

by_key! {
    /// A disturbance with a start and a duration.
    enum Fault in "a fault" {
        "crash" => Crash,
        "wipe" => Wipe,
        "pause" => Pause,
        "slow" => Slow,
        "partition" => Partition,
        "one_way" => OneWay,
        "link" => Link,
    }
}

section! {
    /// Machines go down and come up again; their disks are kept.
    struct Crash in "a crash" {
        /// Fault targets.
        required crash: FaultTargets;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines go down and come up again with empty disks.
    struct Wipe in "a wipe" {
        /// Fault targets.
        required wipe: FaultTargets;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines stand still; arriving messages wait.
    struct Pause in "a pause" {
        /// Fault targets.
        required pause: FaultTargets;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines work at a multiple of their speed.
    struct Slow in "a slow fault" {
        /// Fault targets.
        required slow: FaultTargets;
        /// The multiple: 0.5 takes twice as long.
        required factor: Real<1_000>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Islands that cannot reach each other. A single island is cut off from all others; a target on none of several islands reaches all of them.
    struct Partition in "a partition" {
        /// The islands: lists of fault targets.
        required partition: At<Vec<FaultTargets>>;
        /// Holds messages until the fault has ended, instead of losing them.
        or hold: bool = "false";
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// No message passes in one direction.
    struct OneWay in "a one-way partition" {
        /// The direction.
        required one_way: Direction;
        /// Holds messages until the fault has ended, instead of losing them.
        or hold: bool = "false";
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// From some targets to others.
    struct Direction in "a direction" {
        /// Senders.
        required from: FaultTargets;
        /// Receivers.
        required to: FaultTargets;
    }
}
section! {
    /// Disturbed messages on some links.
    struct Link in "a link fault" {
        /// The links.
        required link: At<Ends>;
        /// Added latency.
        optional latency: Dist;
        /// Share of the attempts of messages that are lost; the transport (TCP) retries, as in `network`. Each attempt meets the loss of its own time.
        optional loss: Fraction;
        /// Share of the messages that are never delivered.
        optional drop: Fraction;
        /// Share of the messages that arrive twice.
        optional duplicate: Duplicate;
        /// Some messages are overtaken by later ones.
        optional reorder: Reorder;
        /// Bandwidth of each of the links.
        optional bandwidth: Bandwidth;
        /// Bytes that may wait for a link with a `bandwidth`; a message beyond them is lost [default: 1 MiB].
        optional queue: At<ByteSize>;
        /// Time at which it begins.
        or at: At<Span> = "0s";
        /// Duration, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// Name for SLOs and reports, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Links between targets.
    struct Ends in "a link" {
        /// Senders.
        or from: FaultTargets = "all";
        /// Receivers.
        or to: FaultTargets = "all";
        /// The other direction too.
        or both: bool = "false";
    }
}

section! {
    /// Messages that arrive twice.
    struct DuplicateInFull in "`duplicate`" {
        /// Their share.
        required share: Fraction;
        /// Delay of the copy after the message.
        or lag: Dist = "1ms";
    }
}

/// A share of messages that arrive twice, or in full.
#[derive(Clone, Debug)]
pub(crate) struct Duplicate {
    pub(crate) share: Fraction,
    pub(crate) lag: Dist,
}

impl Field for Duplicate {
    const NAME: &'static str = "Duplicate";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Map(_) = node.value {
            return DuplicateInFull::decode(node, reporter).map(|it| Duplicate { share: it.share, lag: it.lag });
        }
        let lag = Dist::Constant(Span::from_millis(1));
        Fraction::decode(node, reporter).map(|share| Duplicate { share, lag })
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let share = schema_of::<Fraction>(generator);
        let full = schema_of::<DuplicateInFull>(generator);
        json_schema!({ "description": "A share of the messages, or also how late their copies are.", "anyOf": [share, full] })
    }
}

section! {
    /// A share of the messages is delayed, evenly up to a bound, so that later ones pass them.
    struct Reorder in "`reorder`" {
        /// Their share.
        required share: Fraction;
        /// The longest delay.
        required within: Span;
    }
}
