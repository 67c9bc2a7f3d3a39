//! What to expect of a run, before it runs: estimates from the file alone.
//!
//! Visits are exact expectations of the call graph, for services as they are deployed. Times and utilisations are
//! estimates: they know no waiting, no failures, no retries and no operations, and take the mean of parallel branches
//! for the longest of their means.

use meshsim_actor::{Span, Time};
use meshsim_fault::{Kind, NetworkSpec};
use meshsim_mesh::Mesh;
use meshsim_mesh::measure::WINDOWS_MAX;
use meshsim_mesh::model::{
    Arrivals, Change, EndpointId, Feedback, Load, NodeSpec, Operation, Rounding, Service, Step, Strategy,
};
use serde::Serialize;

use crate::graph::{Graph, VISITS_MAX};
use crate::{Experiment, Size};

/// A request that causes more visits than this is worth a warning.
const MANY_VISITS: f64 = 10_000.0;

/// Steps after which a simulated recurrence counts as endless.
const STEPS_MAX: u32 = 100_000;

/// What [`check`] found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// What is simulated.
    pub size: Size,
    /// The services, in the order of the file.
    pub services: Vec<ServiceEstimate>,
    /// Who calls whom, by caller and callee in the order of the file.
    pub edges: Vec<Edge>,
    /// The loads, in the order of the file.
    pub loads: Vec<LoadEstimate>,
    /// The rates of `extend` and `update`, beside the largest that is stable.
    pub gains: Vec<Gain>,
    /// What cannot work, or not as expected.
    pub warnings: Vec<Warning>,
}

/// What a service will have to do.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceEstimate {
    /// Its name.
    pub name: String,
    /// Instances when it is deployed.
    pub instances: u32,
    /// Requests that they serve at once, together.
    pub slots: u64,
    /// Requests that it gets per second, from all loads at their mean rates.
    pub rate: f64,
    /// Mean time that a request holds its slot, in seconds: its work and its calls, without any waiting for slots.
    pub held: f64,
    /// `rate * held / slots`; 0 for a service that gets nothing.
    pub utilisation: f64,
}

/// One service calls another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edge {
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Expected calls per request, over all loads at their mean rates; without loads, per visit of the caller's
    /// endpoints, each as often as the others.
    pub calls: f64,
}

/// What a request of a load will cause.
#[derive(Clone, Debug, Serialize)]
pub struct LoadEstimate {
    /// Its name.
    pub name: String,
    /// Requests planned per second, on average from its start to its end.
    pub rate: f64,
    /// Service visits per request, its own included.
    pub visits: f64,
    /// The same for each service that it reaches, in the order of the file.
    pub visits_by_service: Vec<(String, f64)>,
    /// Latency of a request when nothing waits for a slot, in seconds: the least that can be hoped for, on average.
    pub unloaded: f64,
}

/// A recurrence's rate beside its bound.
#[derive(Clone, Debug, Serialize)]
pub struct Gain {
    /// Its place in [`Mesh::operations`].
    pub operation: usize,
    /// `extend` or `update`.
    pub verb: &'static str,
    /// Of which service.
    pub service: String,
    /// The rate.
    pub rate: f64,
    /// By how many steps that which it starts from is late.
    pub delay: u32,
    /// The rate must stay below this: `2 sin(pi / (2 (2 delay + 1)))`.
    pub bound: f64,
    /// The fastest rate that does not overshoot: `delay^delay / (delay + 1)^(delay + 1)`.
    pub fastest: f64,
}

/// What cannot work, or not as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Warning {
    /// In one word, for machines: `unstable`, `stuck`, `overload`, ...
    pub kind: &'static str,
    /// For people.
    pub message: String,
    /// The line of the file that it is about, where there is one.
    pub line: Option<u32>,
}

/// Says what to expect of a run.
pub fn check(experiment: &Experiment) -> Findings {
    let mesh = &experiment.mesh;
    let graph = Graph::deployed(mesh);
    let mut findings = Findings::default();
    let hop = mean_hop(mesh, &experiment.network);

    // None: calls in circles that never settle, which is said below.
    let script_times = graph.solve(|vertex, times| {
        let service = &mesh.services[graph.service(vertex)];
        let index = vertex - graph.vertex(meshsim_mesh::model::ServiceId(graph.service(vertex) as u16), EndpointId(0));
        script_time(&service.endpoint(service.version, EndpointId(index as u16)).script, &graph, times, hop)
    });
    let times = script_times.unwrap_or_else(|| vec![0.0; graph.len()]);

    // All loads together: requests per second at each endpoint.
    let mut arriving = vec![0.0; graph.len()];
    let mut planned = 0.0;
    let mut settles = true;
    for load in &mesh.loads {
        let rate = mean_rate(load);
        let asked = asked(load, &graph);
        let visits = graph.visits(&asked);
        settles &= visits.is_some();
        let visits = visits.unwrap_or_else(|| asked.clone());
        let unloaded = asked.iter().zip(&times).map(|(share, time)| share * (time + 2.0 * hop)).sum();
        let mut by_service = vec![0.0; mesh.services.len()];
        for (vertex, count) in visits.iter().enumerate() {
            arriving[vertex] += rate * count;
            by_service[graph.service(vertex)] += count;
        }
        planned += rate;
        findings.loads.push(LoadEstimate {
            name: load.name.clone(),
            rate,
            visits: visits.iter().sum(),
            visits_by_service: named(mesh, &by_service),
            unloaded,
        });
    }

    findings.services = services(mesh, &graph, &arriving, &times);
    findings.edges = edges(mesh, &graph, &arriving, planned);
    findings.size = Size::new(experiment);
    findings.gains = gains(experiment);

    let mut warnings = Warnings { experiment, list: vec![] };
    warnings.circles(&graph, settles, &findings.loads);
    warnings.recurrences(&findings.gains);
    warnings.overload(&findings.services);
    warnings.cores();
    warnings.timeouts();
    warnings.times();
    findings.warnings = warnings.list;
    findings
}

/// What is asked for per request, by vertex.
fn asked(load: &Load, graph: &Graph<'_>) -> Vec<f64> {
    let mut asked = vec![0.0; graph.len()];
    let total: f64 = load.mix.iter().map(|target| target.weight).sum();
    for target in load.mix.iter().filter(|_| total > 0.0) {
        asked[graph.vertex(target.service, target.endpoint)] += target.weight / total;
    }
    asked
}

fn named(mesh: &Mesh, by_service: &[f64]) -> Vec<(String, f64)> {
    let reached = mesh.services.iter().zip(by_service).filter(|(_, visits)| **visits > 0.0);
    reached.map(|(service, visits)| (service.name.clone(), *visits)).collect()
}

/// The nodes that are counted on: spares come only when somebody brings them.
fn expected(mesh: &Mesh) -> impl Iterator<Item = &NodeSpec> {
    mesh.nodes.iter().filter(|node| !node.is_spare())
}

/// Mean time of a message from one node to another, both chosen at random, in seconds.
fn mean_hop(mesh: &Mesh, network: &NetworkSpec) -> f64 {
    let count = expected(mesh).count().max(1) as f64;
    let side = network.latency.len().isqrt();
    let mut by_zone = vec![0.0; side];
    for node in expected(mesh) {
        if let Some(nodes) = by_zone.get_mut(if side > 1 { usize::from(node.zone) } else { 0 }) {
            *nodes += 1.0;
        }
    }
    let far: f64 = (0..side * side)
        .map(|pair| {
            let weight = by_zone[pair / side] * by_zone[pair % side] / (count * count);
            if weight > 0.0 { weight * network.latency[pair].mean_secs() } else { 0.0 }
        })
        .sum();
    // Two instances share a node once in `count` times.
    far * (1.0 - 1.0 / count) + network.local.mean_secs() / count
}

/// Mean time that a script takes, given that of the endpoints.
fn script_time(script: &[Step], graph: &Graph<'_>, times: &[f64], hop: f64) -> f64 {
    script
        .iter()
        .map(|step| match step {
            Step::Work(dist) | Step::Sleep(dist) => dist.mean_secs(),
            Step::Call(call) if call.detached => 0.0,
            Step::Call(call) => {
                let one = times[graph.vertex(call.service, call.endpoint)] + 2.0 * hop;
                let one = call.policy.timeout.map_or(one, |timeout| one.min(timeout.secs()));
                let in_turn = if call.parallel { 1.0 } else { f64::from(call.count) };
                call.probability * in_turn * one
            }
            Step::Parallel(branches) => {
                branches.iter().map(|branch| script_time(branch, graph, times, hop)).fold(0.0, f64::max)
            }
        })
        .sum()
}

/// Requests per second, on average from start to end.
fn mean_rate(load: &Load) -> f64 {
    let length = load.end.since(load.start);
    if length.is_zero() {
        return 0.0;
    }
    let planned: f64 = match &load.arrivals {
        Arrivals::Stamps(stamps) => stamps.partition_point(|stamp| *stamp < length) as f64,
        Arrivals::Rate { stages, .. } => {
            let mut begin = Span::ZERO;
            let mut planned = 0.0;
            for stage in stages.iter() {
                if begin >= length {
                    break;
                }
                let taken = stage.length.min(length - begin);
                let part = if stage.length.is_zero() { 0.0 } else { taken.secs() / stage.length.secs() };
                let end = stage.from + (stage.to - stage.from) * part;
                planned += (stage.from + end) / 2.0 * taken.secs();
                begin += stage.length;
            }
            planned
        }
    };
    planned / length.secs()
}

fn services(mesh: &Mesh, graph: &Graph<'_>, arriving: &[f64], times: &[f64]) -> Vec<ServiceEstimate> {
    let mut rates = vec![0.0; mesh.services.len()];
    let mut busy = vec![0.0; mesh.services.len()];
    let mut plain = vec![(0.0, 0.0); mesh.services.len()];
    for vertex in 0..graph.len() {
        let service = graph.service(vertex);
        rates[service] += arriving[vertex];
        busy[service] += arriving[vertex] * times[vertex];
        plain[service].0 += times[vertex];
        plain[service].1 += 1.0;
    }
    let estimate = |(index, service): (usize, &Service)| {
        let slots = u64::from(service.instances) * service.capacity.round().max(1.0) as u64;
        let (rate, busy) = (rates[index], busy[index]);
        let utilisation = match (busy > 0.0, slots) {
            (false, _) => 0.0,
            (true, 0) => f64::INFINITY,
            (true, slots) => busy / slots as f64,
        };
        let held = if rate > 0.0 { busy / rate } else { plain[index].0 / f64::max(plain[index].1, 1.0) };
        ServiceEstimate { name: service.name.clone(), instances: service.instances, slots, rate, held, utilisation }
    };
    mesh.services.iter().enumerate().map(estimate).collect()
}

fn edges(mesh: &Mesh, graph: &Graph<'_>, arriving: &[f64], planned: f64) -> Vec<Edge> {
    let mut by_pair = std::collections::BTreeMap::new();
    for (vertex, calls) in graph.calls.iter().enumerate() {
        let from = graph.service(vertex);
        let weight = match planned > 0.0 {
            true => arriving[vertex] / planned,
            false => 1.0 / mesh.services[from].endpoints.len() as f64,
        };
        for (callee, calls) in calls {
            *by_pair.entry((from, graph.service(*callee))).or_insert(0.0) += weight * calls;
        }
    }
    let name = |index: usize| mesh.services[index].name.clone();
    by_pair.into_iter().map(|((from, to), calls)| Edge { from: name(from), to: name(to), calls }).collect()
}

/// The largest rate that is stable when what a recurrence starts from is `delay` steps late.
pub fn stability_bound(delay: u32) -> f64 {
    2.0 * (std::f64::consts::PI / (2.0 * (2.0 * f64::from(delay) + 1.0))).sin()
}

/// The fastest rate without overshoot when what a recurrence starts from is `delay` steps late.
pub fn fastest_without_overshoot(delay: u32) -> f64 {
    let d = f64::from(delay);
    if delay == 0 { 1.0 } else { (d / (d + 1.0)).powf(d) / (d + 1.0) }
}

fn gains(experiment: &Experiment) -> Vec<Gain> {
    let mesh = &experiment.mesh;
    let round_trip = round_trip(mesh, &experiment.network);
    let gain = |(index, operation): (usize, &Operation)| {
        let service = mesh.service(operation.service);
        let (rate, delay) = match &operation.change {
            Change::Extend { rate, feedback: Feedback::Commanded, .. } => (*rate, 0),
            Change::Extend { rate, feedback: Feedback::Observed, .. } => {
                // An instance is reported when it is ready.
                let late = round_trip + service.start_delay.secs();
                (*rate, (late / operation.every.secs()).min(1e6) as u32)
            }
            Change::Update { rate, strategy: Strategy::Batch | Strategy::Bernoulli, .. } => (*rate, 0),
            _ => return None,
        };
        Some(Gain {
            operation: index,
            verb: operation.change.verb().as_str(),
            service: service.name.clone(),
            rate,
            delay,
            bound: stability_bound(delay),
            fastest: fastest_without_overshoot(delay),
        })
    };
    mesh.operations.iter().enumerate().filter_map(gain).collect()
}

/// From the coordinator to the farthest zone with nodes and back, on average, in seconds.
fn round_trip(mesh: &Mesh, network: &NetworkSpec) -> f64 {
    let side = network.latency.len().isqrt();
    let mean = |from: usize, to: usize| network.latency.get(from * side + to).map_or(0.0, |dist| dist.mean_secs());
    let mut used = vec![false; side.max(1)];
    for node in expected(mesh) {
        if let Some(zone) = used.get_mut(if side > 1 { usize::from(node.zone) } else { 0 }) {
            *zone = true;
        }
    }
    let zones = used.iter().enumerate().filter(|(_, used)| **used).map(|(zone, _)| zone);
    zones.map(|zone| mean(0, zone) + mean(zone, 0)).fold(0.0, f64::max)
}

struct Warnings<'a> {
    experiment: &'a Experiment,
    list: Vec<Warning>,
}

impl Warnings<'_> {
    fn warn(&mut self, kind: &'static str, line: Option<u32>, message: String) {
        self.list.push(Warning { kind, message, line });
    }

    fn line(&self, operation: usize) -> Option<u32> {
        self.experiment.operation_lines.get(operation).copied().flatten()
    }

    fn circles(&mut self, graph: &Graph<'_>, settles: bool, loads: &[LoadEstimate]) {
        if graph.has_circle() && settles {
            let visits: Vec<String> =
                loads.iter().map(|load| format!("{:.3} of `{}`", load.visits, load.name)).collect();
            let visits = if visits.is_empty() {
                String::new()
            } else {
                format!(": expected visits per request {}", visits.join(", "))
            };
            self.warn("circle", None, format!("calls go round in a circle, with a probability below 100%{visits}"));
        }
        if !settles {
            let message = format!(
                "calls go round in a circle and multiply: expected visits exceed {VISITS_MAX:.0}, a request may never end"
            );
            self.warn("endless", None, message);
        }
        for load in loads.iter().filter(|load| load.visits > MANY_VISITS && settles) {
            let message = format!("one request of `{}` causes {:.0} service visits", load.name, load.visits);
            self.warn("many_visits", None, message);
        }
    }

    fn recurrences(&mut self, gains: &[Gain]) {
        for gain in gains.iter().filter(|gain| gain.rate >= gain.bound) {
            let late = match gain.delay {
                0 => String::new(),
                1 => ", 1 step late".to_owned(),
                n => format!(", {n} steps late"),
            };
            let message = format!(
                "{} {} at rate {}{late}, does not settle: it is stable below {:.6}, and fastest without overshoot at {:.6}",
                gain.verb, gain.service, gain.rate, gain.bound, gain.fastest
            );
            self.warn("unstable", self.line(gain.operation), message);
        }
        let mesh = &self.experiment.mesh;
        // S of each service as the operations leave it, one after the other.
        let mut instances: Vec<f64> = vec![0.0; mesh.services.len()];
        for (index, operation) in mesh.operations.iter().enumerate() {
            let s = &mut instances[operation.service.index()];
            match &operation.change {
                Change::Deploy => *s = f64::from(mesh.service(operation.service).instances),
                Change::Undeploy => *s = 0.0,
                Change::Extend { to, rate, rounding, .. } => {
                    let (from, target) = (*s, f64::from(*to));
                    let (end, stuck) = course(from, target, *rate, *rounding, operation.times.unwrap_or(STEPS_MAX));
                    *s = end;
                    if stuck && end != target {
                        let name = &mesh.service(operation.service).name;
                        let message = format!(
                            "extend {name} stops at {end} of {target}: `rounding: {}` takes no step there at rate {rate}; `away` arrives",
                            rounding_word(*rounding)
                        );
                        self.warn("stuck", self.line(index), message);
                    }
                }
                Change::Scale { .. } | Change::Update { .. } => {}
            }
        }
    }

    fn overload(&mut self, services: &[ServiceEstimate]) {
        for service in services.iter().filter(|service| service.utilisation >= 1.0) {
            let message = match service.slots {
                0 => format!("`{}` has no instances for {:.1} requests/s", service.name, service.rate),
                slots => format!(
                    "`{}` is overloaded as deployed: {:.1} requests/s hold a slot for {} each, which takes {:.1} slots, and it has {slots}",
                    service.name,
                    service.rate,
                    Span::from_secs_f64(service.held),
                    service.rate * service.held
                ),
            };
            self.warn("overload", None, message);
        }
    }

    fn cores(&mut self) {
        let mesh = &self.experiment.mesh;
        let largest = expected(mesh).map(|node| node.cores).fold(0.0, f64::max);
        let all: f64 = expected(mesh).map(|node| node.cores).sum();
        for service in mesh.services.iter().filter(|service| service.cpu > largest && service.instances > 0) {
            let message = format!(
                "an instance of `{}` reserves {} cores, and no node has more than {largest}",
                service.name, service.cpu
            );
            self.warn("cores", None, message);
        }
        let most = |(index, service): (usize, &Service)| {
            let extended = mesh.operations.iter().filter(|operation| operation.service.index() == index);
            let targets = extended.filter_map(|operation| match operation.change {
                Change::Extend { to, .. } => Some(to),
                _ => None,
            });
            f64::from(targets.fold(service.instances, u32::max)) * service.cpu
        };
        let deployed: f64 = mesh.services.iter().map(|service| f64::from(service.instances) * service.cpu).sum();
        let extended: f64 = mesh.services.iter().enumerate().map(most).sum();
        if deployed > all {
            let message = format!(
                "the instances reserve {} cores, and the nodes have {}: some find no place",
                round(deployed),
                round(all)
            );
            self.warn("cores", None, message);
        } else if extended > all {
            let message = format!(
                "when all are extended, the instances reserve {} cores, and the nodes have {}: some find no place",
                round(extended),
                round(all)
            );
            self.warn("cores", None, message);
        }
        if deployed <= all {
            self.cores_in_time();
        }
    }

    /// There will be room for all, but perhaps not yet when they are deployed.
    fn cores_in_time(&mut self) {
        let mesh = &self.experiment.mesh;
        let mut nodes: Vec<_> = expected(mesh).collect();
        nodes.sort_by_key(|node| node.joins);
        let mut nodes = nodes.into_iter().peekable();
        let (mut there, mut deployed) = (0.0, vec![false; mesh.services.len()]);
        for together in mesh.operations.chunk_by(|one, other| one.at == other.at) {
            let at = together[0].at;
            while let Some(node) = nodes.next_if(|node| node.joins <= at) {
                there += node.cores;
            }
            if nodes.peek().is_none() {
                return;
            }
            for operation in together {
                match operation.change {
                    Change::Deploy => deployed[operation.service.index()] = true,
                    Change::Undeploy => deployed[operation.service.index()] = false,
                    _ => {}
                }
            }
            let services = mesh.services.iter().zip(&deployed).filter(|(_, deployed)| **deployed);
            let reserved: f64 = services.map(|(service, _)| f64::from(service.instances) * service.cpu).sum();
            if reserved > there {
                let message = format!(
                    "the instances reserve {} cores at {}, and the nodes that are there by then have {}: some find no place until others join",
                    round(reserved),
                    shown(at),
                    round(there)
                );
                self.warn("cores", None, message);
                return;
            }
        }
    }

    /// Something may be lost, and somebody waits for it for ever.
    fn timeouts(&mut self) {
        let (mesh, network) = (&self.experiment.mesh, &self.experiment.network);
        let loses = |kind: &Kind| match kind {
            // `loss` is not among them: what the transport sends again is late, not lost.
            Kind::Drop(drop) => drop.probability > 0.0,
            Kind::Partition(partition) => !partition.hold,
            Kind::Crash(_) | Kind::Wipe(_) | Kind::Bandwidth(_) => true,
            _ => false,
        };
        let cause = match network.faults.iter().find(|fault| loses(&fault.kind)) {
            _ if network.drop > 0.0 => "the network drops messages".to_owned(),
            _ if network.bandwidth.is_some() => "links with a bandwidth lose what they cannot queue".to_owned(),
            Some(fault) => format!("a {} loses messages", fault.name()),
            None => return,
        };
        let mut waiting: Vec<String> = vec![];
        for service in &mesh.services {
            let endpoints = service.behaviours.iter().flat_map(|behaviour| &behaviour.endpoints);
            if endpoints.into_iter().any(|endpoint| waits_for_ever(&endpoint.script)) {
                waiting.push(format!("calls of `{}`", service.name));
            }
        }
        waiting.extend(
            mesh.loads.iter().filter(|load| load.policy.timeout.is_none()).map(|load| format!("`{}`", load.name)),
        );
        if let Some(last) = waiting.pop() {
            let who = if waiting.is_empty() { last } else { format!("{} and {last}", waiting.join(", ")) };
            self.warn("no_timeout", None, format!("{cause}, and {who} would wait for ever: `timeout: none`"));
        }
    }

    /// What lies outside the run, or is too fine to be kept.
    fn times(&mut self) {
        let experiment = self.experiment;
        let end = Time::ZERO + experiment.duration;
        for (index, operation) in experiment.mesh.operations.iter().enumerate().filter(|(_, o)| o.at >= end) {
            let name = &experiment.mesh.service(operation.service).name;
            let verb = operation.change.verb().as_str();
            self.warn(
                "late",
                self.line(index),
                format!("{verb} {name} at {}, after the end of the run", shown(operation.at)),
            );
        }
        let late = || experiment.mesh.nodes.iter().filter(|node| (end..Time::NEVER).contains(&node.joins));
        if let Some(first) = late().next() {
            let message = match late().count() {
                1 => format!("`{}` joins at {}, after the end of the run", first.name, shown(first.joins)),
                n => format!("`{}` and {} others join after the end of the run", first.name, n - 1),
            };
            self.warn("late", None, message);
        }
        let faults = experiment.network.faults.iter().zip(&experiment.fault_lines);
        for (fault, line) in faults.filter(|(fault, _)| fault.at >= end) {
            self.warn(
                "late",
                Some(*line),
                format!("a {} at {}, after the end of the run", fault.name(), shown(fault.at)),
            );
        }
        for load in &experiment.mesh.loads {
            let length = load.end.min(end).since(load.start);
            if length.is_zero() {
                self.warn(
                    "late",
                    None,
                    format!("`{}` begins at {}, after the end of the run", load.name, shown(load.start)),
                );
            } else if load.warmup >= length {
                self.warn(
                    "unmeasured",
                    None,
                    format!("`{}` is warm-up from its start to its end: nothing is measured", load.name),
                );
            }
            if let Some(message) = cut(load, end) {
                self.warn("cut", None, message);
            }
            let windows = load.end.min(end).since(load.start).nanos() / load.window.nanos().max(1);
            if windows > WINDOWS_MAX as u64 {
                let message = format!(
                    "`{}` asks for {windows} windows, and {WINDOWS_MAX} are kept: a `window` of {} would do",
                    load.name,
                    Span::from_secs(length.secs() as u64 / WINDOWS_MAX as u64 + 1)
                );
                self.warn("windows", None, message);
            }
        }
        for slo in &experiment.slos {
            if slo.window.is_some_and(|(from, _)| from >= end) {
                self.warn("late", None, format!("`{}` is about a time after the end of the run", slo.text));
            }
        }
        if experiment.mesh.loads.is_empty() && !experiment.slos.is_empty() {
            self.warn("no_load", None, "there are `slo` lines, but no load to measure".to_owned());
        }
    }
}

/// What is planned for a time after the end of the run, unless the load was told to end before.
fn cut(load: &Load, end: Time) -> Option<String> {
    if load.end < end || load.start >= end {
        return None;
    }
    let (length, name) = (end.since(load.start), &load.name);
    match &load.arrivals {
        Arrivals::Stamps(stamps) => {
            let last = stamps.last().filter(|last| **last >= length)?;
            let within = stamps.partition_point(|stamp| *stamp < length);
            Some(format!(
                "`{name}` replays {} requests over {:.1}s, and {within} of them lie within the run",
                stamps.len(),
                last.secs()
            ))
        }
        Arrivals::Rate { stages, .. } if stages.len() > 1 => {
            let all = stages.iter().fold(Span::ZERO, |sum, stage| sum + stage.length);
            (all > length)
                .then(|| format!("the arrivals of `{name}` last {all}, and {length} of that lie within the run"))
        }
        Arrivals::Rate { .. } => None,
    }
}

/// Cores to two places.
fn round(cores: f64) -> f64 {
    (cores * 100.0).round() / 100.0
}

fn shown(time: Time) -> Span {
    time.since(Time::ZERO)
}

fn waits_for_ever(script: &[Step]) -> bool {
    script.iter().any(|step| match step {
        Step::Call(call) => call.policy.timeout.is_none(),
        Step::Parallel(branches) => branches.iter().any(|branch| waits_for_ever(branch)),
        Step::Work(_) | Step::Sleep(_) => false,
    })
}

fn rounding_word(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Away => "away",
        Rounding::Nearest => "nearest",
        Rounding::Floor => "floor",
        Rounding::Carry => "carry",
        Rounding::Stochastic => "stochastic",
    }
}

/// Where the recurrence ends, and whether it is because no further step is taken.
fn course(from: f64, target: f64, rate: f64, rounding: Rounding, steps: u32) -> (f64, bool) {
    // As the coordinator rounds: 0.07 * 100 is 7.000000000000001, and is 7.
    const NOISE: f64 = 1e-9;
    // These two arrive by themselves, or to within one half.
    if matches!(rounding, Rounding::Carry | Rounding::Stochastic) {
        return (target, false);
    }
    let mut s = from;
    for _ in 0..steps {
        let step = rate * (target - s);
        let step = match rounding {
            Rounding::Nearest => step.signum() * (step.abs() + 0.5 + NOISE).floor(),
            Rounding::Floor => (step + NOISE).floor(),
            _ => step.signum() * (step.abs() - NOISE).ceil().max(0.0),
        };
        if step == 0.0 || s == target {
            return (s, true);
        }
        s = (s + step).clamp(0.0, 1e9);
    }
    (s, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_table() {
        let bounds = [2.0, 1.0, 0.618034, 0.445042, 0.347296, 0.284630];
        let fastest = [1.0, 0.25, 0.148148, 0.105469, 0.081920, 0.066980];
        for (delay, (bound, fast)) in bounds.into_iter().zip(fastest).enumerate() {
            assert!((stability_bound(delay as u32) - bound).abs() < 1e-6, "{delay}");
            assert!((fastest_without_overshoot(delay as u32) - fast).abs() < 1e-6, "{delay}");
        }
    }

    #[test]
    fn a_rounding_stops_where_the_table_says() {
        let table = [
            (Rounding::Away, [1000.0, 1000.0, 1000.0, 1000.0]),
            (Rounding::Nearest, [996.0, 998.0, 999.0, 1000.0]),
            (Rounding::Floor, [991.0, 996.0, 997.0, 999.0]),
        ];
        for (rounding, stops) in table {
            for (rate, stop) in [0.1, 0.2, 0.3, 0.5].into_iter().zip(stops) {
                assert_eq!(course(0.0, 1000.0, rate, rounding, 1000), (stop, true), "{rounding:?} {rate}");
            }
        }
    }
}
