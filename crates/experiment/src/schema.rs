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
use crate::values::{Bandwidth, Budget, Joins, Name, Rate, Real, Share, Size, Spots, StrategyName, Timeout, Whole};

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
    /// What a mesh is, what is done to it, what load it gets, and what must hold.
    struct File in "an experiment" {
        /// What the run is called; by default as the folder of a `mesh.yaml`, or as the file.
        optional name: At<Name>;
        /// What all randomness of the run comes from: the same file and seed give the same run.
        or seed: Whole<0, { u64::MAX }> = "1";
        /// How long the run lasts, in virtual time.
        or duration: At<Span> = "60s";
        /// The machines, in groups.
        required nodes: At<Many<NodeGroup>>;
        /// What lies between the machines.
        or network: Network = "";
        /// How the coordinator works.
        or control: Control = "";
        /// Who has a proxy of its own, with its own counts, turns and retry budgets: each instance, or each node.
        or proxy: ProxyPer = "instance";
        /// What runs on the machines, by name.
        required services: At<Named<Service>>;
        /// What is done to the services. One that no `deploy` names is deployed at 0s.
        or operations: At<Vec<At<Operation>>> = "";
        /// What is asked of the services, by name.
        or load: At<Named<At<Load>>> = "";
        /// What goes wrong; always reverted after `for`.
        or faults: At<Vec<At<Fault>>> = "";
        /// What must hold: `[load, load.endpoint or service] metric comparison threshold [any ..] [from .. to ..]`, or `recovery < 10s after FAULT`.
        or slo: Vec<At<String>> = "";
    }
}

section! {
    /// A group of machines.
    struct NodeGroup in "a group of nodes" {
        /// The machine's name; several machines are called name-0, name-1, ...
        required name: At<Name>;
        /// How many machines; one, which is the default, has the plain name.
        or count: Whole<1, NODES_MAX> = "1";
        /// Cores of each machine; instances reserve shares of them.
        or cores: Real<100_000> = "8";
        /// Where the machines stand; `default` if it is left out.
        optional zone: At<Name>;
        /// When the machines come; `never`: only when somebody brings them. A fault that names one before keeps it from coming until it is over.
        or joins: Joins = "0s";
    }
}

section! {
    /// What lies between the machines.
    struct Network in "the network" {
        /// How long a message takes from one node to another, one way, where no zones say otherwise.
        or latency: Dist = "0.25ms";
        /// How long a message takes between instances of one node, one way.
        or local: Dist = "20us";
        /// Share of the tries of messages between nodes that are lost. The transport (TCP) tries again after 200 ms or the round trip, whichever is longer, then after twice as long and so on, at most 120 s; after 15 retries it gives up.
        or loss: Share = "0%";
        /// Share of the messages between nodes that are lost for good.
        or drop: Share = "0%";
        /// One-way latencies between zones, row = from: a CSV file in ms, or a map of maps. A pair that only stands the other way round is taken from there.
        optional zones: At<Zones>;
        /// Standard deviation of the latencies between zones, as a share of each (normal).
        or jitter: At<Share> = "0%";
        /// What each link carries; by default there is no limit.
        optional bandwidth: Bandwidth;
        /// Bytes that may wait for a link with a `bandwidth`; what finds more is lost.
        optional queue: At<Size>;
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
    /// How the coordinator and the nodes keep in touch.
    struct Control in "the control" {
        /// How instances are put on nodes.
        or placement: Placement = "spread";
        /// Time between two heartbeats of a node.
        or heartbeat: At<Span> = "1s";
        /// Heartbeats that may be missing before a node counts as dead.
        or missed: Whole<1, 1_000_000> = "3";
        /// A step that is not acknowledged is sent again after this long, then after twice as long, and so on.
        or resend: At<Span> = "500ms";
        /// ... but never after more than this.
        or resend_cap: At<Span> = "5s";
        /// Changes of endpoints are gathered for this long before callers are told (Istio: 100ms).
        or debounce: Span = "100ms";
    }
}

section! {
    /// An independently deployable component.
    struct Service in "a service" {
        /// Instances when it is deployed (S).
        or instances: Whole<0, INSTANCES_MAX> = "1";
        /// Requests that one instance serves at once (C); it has max(1, round(C)) slots.
        or capacity: At<Real<1_000_000>> = "1";
        /// C never goes below this.
        optional capacity_min: At<Real<1_000_000>>;
        /// C never goes above this.
        optional capacity_max: At<Real<1_000_000>>;
        /// Version when it is deployed (V).
        or version: Version = "1";
        /// Cores that one instance reserves on its node.
        or cpu: Real<100_000, true> = "0.1";
        /// Cores that the requests of one instance may have together while they compute; by default as many as there are.
        optional cpu_limit: Real<100_000>;
        /// Requests that may wait at one instance; the next is refused.
        or queue: Whole<0, 1_000_000> = "1000";
        /// From the creation of an instance until it takes requests.
        or start_delay: Span = "0s";
        /// An instance that is taken away takes requests for this long still, of callers that have not heard of it.
        or drain_delay: Span = "1s";
        /// From the order to go until what an instance still works on is cut off, `drain_delay` included; by default it takes as long as it takes.
        optional grace: Span;
        /// How its callers choose one of its instances.
        or balancer: Balancer = "least_request";
        /// What it can be asked, by name.
        required endpoints: At<Named<Endpoint>>;
        /// Endpoints that behave otherwise from a version on, by version; the others stay as they are.
        or versions: Named<Behaviour> = "";
    }
}

section! {
    /// What an endpoint does with a request.
    struct Endpoint in "an endpoint" {
        /// Share of the requests that fail although all went well.
        or errors: Share = "0%";
        /// Size of the reply.
        or response: Size = "1 KiB";
        /// What is done, line by line; the request keeps its slot through all of it.
        or script: Vec<Step> = "";
    }
}

section! {
    /// What a service does from some version on.
    struct Behaviour in "a version" {
        /// The endpoints that behave otherwise, in full.
        required endpoints: Named<Endpoint>;
    }
}

by_key! {
    /// One line of a script.
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
        /// For how long; a slow node takes longer.
        required work: Dist;
    }
}
section! {
    /// Waits.
    struct Sleep in "a step of sleep" {
        /// For how long, whatever the node.
        required sleep: Dist;
    }
}
section! {
    /// Calls another service and waits for the answer.
    struct CallStep in "a step with a call" {
        /// Whom: `service` or `service.endpoint`; or the call in full.
        required call: Call;
    }
}
section! {
    /// Runs branches side by side and waits for all of them.
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
        /// Whom: `service`, where it has one endpoint only, or `service.endpoint`.
        required to: At<String>;
        /// Probability that the call is made at all.
        or probability: Share = "100%";
        /// How many times, one after the other.
        or count: Whole<1, 10_000> = "1";
        /// All `count` of them side by side; whether they are made at all is drawn once for all.
        or parallel: bool = "false";
        /// Send it and go on: nobody waits for the answer, and a failure does not matter. It outlives the request, whose deadline does not hold for it.
        or detached as "async": bool = "false";
        /// Size of the request.
        or request: Size = "1 KiB";
        /// If it fails, go on as if it had not been made.
        or optional: bool = "false";
        /// One try is given up after this long; `none` waits for ever.
        or timeout: Timeout = "15s";
        /// Tries after the first.
        or retries: Whole<0, 255> = "0";
        /// How long to wait before them, and how many are allowed.
        or retry: Retry = "";
    }
}

/// A call: only whom, or in full.
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
        /// What the wait is made of; see `backoff`.
        or base: Span = "25ms";
        /// ... but never longer than this; ten times the base if it is left out.
        optional cap: Span;
        /// Share of the requests under way to a service that may be retries; `none` allows every retry.
        or budget: Budget = "20%";
        /// Retries that are allowed however few requests are under way.
        or budget_min: Whole<0, 1_000_000> = "3";
    }
}

by_key! {
    /// Something that is done to a service.
    enum Operation in "an operation" {
        "deploy" => Deploy,
        "undeploy" => Undeploy,
        "extend" => Extend,
        "scale" => Scale,
        "update" => Update,
    }
}

impl Operation {
    /// Its name, and when it begins.
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
    /// Its name, when it begins, and how long it holds.
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
    /// Brings services up as they are described.
    struct Deploy in "a deploy" {
        /// Which service, or a list of them.
        required deploy: OneOrMore<At<String>>;
        /// When.
        or at: At<Span> = "0s";
        /// What SLOs and reports call it, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// Takes all instances of services away.
    struct Undeploy in "an undeploy" {
        /// Which service, or a list of them.
        required undeploy: OneOrMore<At<String>>;
        /// When.
        or at: At<Span> = "0s";
        /// What SLOs and reports call it, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// S' = S + rate * (to - S): instances move toward a target.
    struct Extend in "an extend" {
        /// Which service.
        required extend: At<String>;
        /// When the first step is taken.
        or at: At<Span> = "0s";
        /// Instances wanted in the end (T).
        required to: Whole<0, INSTANCES_MAX>;
        /// Share of the way that one step goes (a): stable below 2, or less with delay; without overshoot up to 1.
        required rate: Real<100>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Most steps; by default until it has settled.
        optional times: Steps;
        /// How the real S becomes whole instances.
        or rounding: Rounding = "away";
        /// Which S a step starts from.
        or feedback: Feedback = "commanded";
        /// What SLOs and reports call it, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// C' = C * by: the capacity is multiplied.
    struct Scale in "a scale" {
        /// Which service.
        required scale: At<String>;
        /// When the first step is taken.
        or at: At<Span> = "0s";
        /// Factor of one step (b).
        required by: Real<1_000_000>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Most steps; needed unless the service has the limit that C runs toward.
        optional times: Steps;
        /// What SLOs and reports call it, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}
section! {
    /// V' = V + rate * (to - V): the version moves toward the newest.
    struct Update in "an update" {
        /// Which service.
        required update: At<String>;
        /// When the first step is taken.
        or at: At<Span> = "0s";
        /// Version wanted in the end (U).
        required to: Version;
        /// Share of the old instances that one step moves (g); for `batch` and `bernoulli`.
        optional rate: At<Real<100>>;
        /// Time between two steps.
        or every: At<Span> = "1s";
        /// Most steps; by default until it has settled.
        optional times: Steps;
        /// How the new version comes; `batch` if it is left out.
        optional strategy: StrategyName;
        /// For `rolling`: how many instances more than wanted there may be: a number, or a percentage,
        /// rounded up; 25% if it is left out.
        optional max_surge: At<Amount>;
        /// For `rolling`: how many ready instances may be missing: a number, or a percentage,
        /// rounded down; 25% if it is left out.
        optional max_unavailable: At<Amount>;
        /// For `canary`: the share of the requests that goes to the new version after each step, rising. As many
        /// instances as are that share of N come beside the N.
        optional weights: At<Vec<At<Share>>>;
        /// What SLOs and reports call it, as in `errors < 1% after rollout for 10s`.
        optional name: At<Name>;
    }
}

section! {
    /// Requests offered: by `arrivals` in open loop, where what is planned is sent, however slow the answers are; or by
    /// `users` in closed loop, who wait for answers.
    struct Load in "a load" {
        /// The service whose endpoints the mix names; without a mix `service` or `service.endpoint`.
        optional to: At<String>;
        /// When requests are planned. A load has this, or `users`.
        optional arrivals: Arrivals;
        /// How many users send requests, each when it has the answer to its last one and has thought: a closed loop.
        optional users: At<Whole<1, USERS_MAX>>;
        /// How long a user thinks, from the reply (or the failure, or the timeout) to its next request; 0s if it is left out.
        optional think: At<Dist>;
        /// The least time from the beginning of a user's request to that of its next; by default none.
        optional pacing: At<Span>;
        /// What is asked for, by weight: an endpoint of `to`, or `service.endpoint`, or a service with one endpoint.
        optional mix: At<Named<Real<1_000_000_000, true>>>;
        /// Size of a request.
        or request: Size = "1 KiB";
        /// One try is given up after this long; `none` waits for ever.
        or timeout: Timeout = "15s";
        /// Tries after the first.
        or retries: Whole<0, 255> = "0";
        /// How long to wait before them, and how many are allowed.
        or retry: Retry = "";
        /// A server drops requests that are older than this, counted from the planned moment; by default none.
        optional deadline: Span;
        /// Requests planned in the first part of the load are offered but not measured.
        or warmup: At<Span> = "0s";
        /// When it begins.
        or from: At<Span> = "0s";
        /// How long it lasts; by default to the end of the run.
        optional length as "for": At<Span>;
        /// Where its client stands; by default where the first node stands.
        optional zone: At<Name>;
        /// Length of the windows in which its course over time is kept; doubles where a run is longer than 600 of them.
        or window: At<Span> = "1s";
    }
}

by_key! {
    /// When requests are planned.
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
        /// How many.
        required constant: Rate;
    }
}
section! {
    /// At random, independent of each other.
    struct Poisson in "`arrivals`" {
        /// How many, on average.
        required poisson: Rate;
    }
}
section! {
    /// By a rate that changes.
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
        /// How long it lasts.
        required length as "for": Span;
        /// The rate at its beginning.
        required rate: Rate;
        /// The rate at its end, reached in a straight line; by default as at its beginning.
        optional to: Rate;
    }
}
section! {
    /// As a file says.
    struct Replay in "`arrivals`" {
        /// A CSV file with a header: moments (seconds, or dates with times), or with `per`, counts.
        required replay: At<String>;
        /// The column to read; by default the first.
        optional column: At<String>;
        /// How much faster than it was.
        or speed: Real<1_000_000> = "1";
        /// Each row is a count of requests over this long.
        optional per: At<Span>;
        /// With `per`: evenly within each row, or at random; `poisson` if it is left out.
        optional process: At<Process>;
    }
}

by_key! {
    /// Something that goes wrong for a while.
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
        /// Which.
        required crash: Spots;
        /// When.
        or at: At<Span> = "0s";
        /// How long it holds, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// What SLOs and reports call it, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines go down and come up again with empty disks.
    struct Wipe in "a wipe" {
        /// Which.
        required wipe: Spots;
        /// When.
        or at: At<Span> = "0s";
        /// How long it holds, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// What SLOs and reports call it, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines stand still; what arrives waits.
    struct Pause in "a pause" {
        /// Which.
        required pause: Spots;
        /// When.
        or at: At<Span> = "0s";
        /// How long it holds, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// What SLOs and reports call it, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Machines work at a multiple of their speed.
    struct Slow in "a slow fault" {
        /// Which.
        required slow: Spots;
        /// The multiple: 0.5 takes twice as long.
        required factor: Real<1_000>;
        /// When.
        or at: At<Span> = "0s";
        /// How long it holds, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// What SLOs and reports call it, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Islands that cannot reach each other. A single island is cut off from everybody else; a place on none of several islands reaches all of them.
    struct Partition in "a partition" {
        /// The islands: lists of places.
        required partition: At<Vec<Spots>>;
        /// Messages are kept back and arrive when it is over, instead of being lost.
        or hold: bool = "false";
        /// When.
        or at: At<Span> = "0s";
        /// How long it holds, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// What SLOs and reports call it, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Nothing passes in one direction.
    struct OneWay in "a one-way partition" {
        /// The direction.
        required one_way: Direction;
        /// Messages are kept back and arrive when it is over, instead of being lost.
        or hold: bool = "false";
        /// When.
        or at: At<Span> = "0s";
        /// How long it holds, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// What SLOs and reports call it, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// From some places to others.
    struct Direction in "a direction" {
        /// Senders.
        required from: Spots;
        /// Receivers.
        required to: Spots;
    }
}
section! {
    /// Messages on some links fare worse.
    struct Link in "a link fault" {
        /// Which links.
        required link: At<Ends>;
        /// Added to what a message takes anyway.
        optional latency: Dist;
        /// Share of the tries of messages that are lost; the transport (TCP) tries again, as in `network`. Each try meets the loss of its own moment.
        optional loss: Share;
        /// Share of the messages that are lost for good.
        optional drop: Share;
        /// Share of the messages that arrive twice.
        optional duplicate: Duplicate;
        /// Some messages are overtaken by later ones.
        optional reorder: Reorder;
        /// What each of the links carries.
        optional bandwidth: Bandwidth;
        /// Bytes that may wait for a link with a `bandwidth`; what finds more is lost. 1 MiB if it is left out.
        optional queue: At<Size>;
        /// When.
        or at: At<Span> = "0s";
        /// How long it holds, as in `5s`; then it is reverted.
        required length as "for": At<Span>;
        /// What SLOs and reports call it, as in `errors < 5% during outage`.
        optional name: At<Name>;
    }
}
section! {
    /// Links between places.
    struct Ends in "a link" {
        /// Senders.
        or from: Spots = "all";
        /// Receivers.
        or to: Spots = "all";
        /// The other direction too.
        or both: bool = "false";
    }
}

section! {
    /// Messages that arrive twice.
    struct DuplicateInFull in "`duplicate`" {
        /// How many of them.
        required share: Share;
        /// How long after the message its copy arrives.
        or lag: Dist = "1ms";
    }
}

/// A share of messages that arrive twice, or in full.
#[derive(Clone, Debug)]
pub(crate) struct Duplicate {
    pub(crate) share: Share,
    pub(crate) lag: Dist,
}

impl Field for Duplicate {
    const NAME: &'static str = "Duplicate";
    fn decode(node: &Node, reporter: &mut Reporter) -> Option<Self> {
        if let Value::Map(_) = node.value {
            return DuplicateInFull::decode(node, reporter).map(|it| Duplicate { share: it.share, lag: it.lag });
        }
        let lag = Dist::Constant(Span::from_millis(1));
        Share::decode(node, reporter).map(|share| Duplicate { share, lag })
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let share = schema_of::<Share>(generator);
        let full = schema_of::<DuplicateInFull>(generator);
        json_schema!({ "description": "A share of the messages, or also how late their copies are.", "anyOf": [share, full] })
    }
}

section! {
    /// A share of the messages is delayed, evenly up to a bound, so that later ones pass them.
    struct Reorder in "`reorder`" {
        /// How many of them.
        required share: Share;
        /// The longest delay.
        required within: Span;
    }
}
