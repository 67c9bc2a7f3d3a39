//! Predictions for a run: estimates from the file alone.
//!
//! Each family of findings has a file: visits and times (`flow`, `loads`), operations by the coordinator's own
//! functions (`timeline`, `rollouts`), saturation (`capacity`), timeouts, reserved cores, cycles of held slots, faults,
//! SLOs, and settings outside the run. [`CheckReport::not_modelled`] lists what none of them models.
//!
//! To add one: a file here, and a line in [`check`].

mod autoscale;
mod capacity;
mod closed;
mod deadlock;
mod drains;
mod faults;
mod flow;
mod hashing;
mod impaired;
mod loads;
mod mixes;
mod policies;
mod queues;
mod reserved;
mod resources;
mod rollouts;
mod slos;
mod span;
mod timeline;
mod timeouts;
mod times;
mod zones;

use std::collections::BTreeMap;

use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;
use meshsim_mesh::model::{Balancer, Change, EndpointId, Operation, ProxyPer, Service, ServiceId};
use serde::Serialize;

pub use capacity::{Full, NodeEstimate, Situation};
pub use closed::ClosedEstimate;
pub use resources::ResourceEstimate;
pub use rollouts::{Gain, RolloutEstimate, RolloutStepEstimate, fastest_without_overshoot, stability_bound};

use crate::graph::VISITS_MAX;
use crate::{Experiment, ModelSize};
use capacity::{Asked, Capacity};
use flow::{Flow, Late, Setting};
use span::Hop;
use timeline::Timeline;

/// A request that causes more visits than this is worth a warning.
const MANY_VISITS: f64 = 10_000.0;

/// Findings of [`check`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct CheckReport {
    /// Size of the model.
    pub size: ModelSize,
    /// Memory and events of a simulated run.
    pub resources: ResourceEstimate,
    /// The services, in the order of the file.
    pub services: Vec<ServiceEstimate>,
    /// Call graph, by caller and callee in the order of the file.
    pub edges: Vec<Edge>,
    /// The loads, in the order of the file.
    pub loads: Vec<LoadEstimate>,
    /// The first service or node to be full, as deployed, during and after each operation, and during each fault; by
    /// time.
    pub situations: Vec<Situation>,
    /// The nodes, in the order of the file; without spares.
    pub nodes: Vec<NodeEstimate>,
    /// The rates of `extend` and `update`, beside the largest that is stable.
    pub gains: Vec<Gain>,
    /// The rollouts, as they go if no analysis fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<RolloutEstimate>,
    /// Problems that make the run fail or differ from its purpose.
    pub warnings: Vec<Warning>,
    /// Features of the run that these estimates leave out, a sentence each.
    pub not_modelled: Vec<String>,
}

/// Predicted work of a service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceEstimate {
    /// Its name.
    pub name: String,
    /// Instances when it is deployed.
    pub instances: u32,
    /// Requests that they serve at once, together.
    pub slots: u64,
    /// Requests that it gets per second, from all loads at their mean rates, retries included.
    pub rate: f64,
    /// Mean time that a request holds its slot, in seconds: its work and its calls with their timeouts and retries,
    /// without any waiting for slots.
    pub slot_time: f64,
    /// `rate * slot_time / slots`; 0 for a service that gets nothing.
    pub utilisation: f64,
}

/// One service calls another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edge {
    /// Calling service.
    pub from: String,
    /// Called endpoint.
    pub to: String,
    /// Expected calls per request, retries included, over all loads at their mean rates; without loads, per visit of
    /// the caller's endpoints, each as often as the others.
    pub calls: f64,
}

/// Predicted effects of a request of a load.
#[derive(Clone, Debug, Serialize)]
pub struct LoadEstimate {
    /// Its name.
    pub name: String,
    /// Requests planned per second, on average from its start to its end. Of a closed load, how many are expected, or
    /// an upper bound: see `closed`.
    pub rate: f64,
    /// Basis of the rate of a closed load; `None` for an open one.
    pub closed: Option<ClosedEstimate>,
    /// Service visits per request, its own included, and those of retries.
    pub visits: f64,
    /// The same for each service that it reaches, in the order of the file.
    pub visits_by_service: Vec<(String, f64)>,
    /// True if the visits are the exact expectation while nothing waits and no fault holds; false if they are a bound
    /// or an estimate, and [`CheckReport::not_modelled`] says why.
    pub is_exact: bool,
    /// Share of the requests that fail, retries included.
    pub errors: f64,
    /// Mean latency of a request when nothing waits for a slot, in seconds.
    pub unloaded: f64,
    /// The latency of a request if every attempt fails as late as its timeout allows, in seconds, without any waiting
    /// for a slot. Infinite if calls in a cycle have no timeout.
    pub worst: f64,
}

/// A problem that makes the run fail or differ from its purpose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Warning {
    /// In one word, for machines: `unstable`, `stuck`, `overload`, ...
    pub kind: &'static str,
    /// For people.
    pub message: String,
    /// The line of the file that it is about, where there is one.
    pub line: Option<u32>,
}

/// Inputs that all families share.
struct Checked<'a> {
    experiment: &'a Experiment,
    /// The end of the run.
    end: Time,
    /// A message over the network.
    hop: Hop,
    /// The same with the proxies between two instances, and between a load and an instance.
    called: Hop,
    entered: Hop,
    /// Of services as they are deployed.
    flow: Flow<'a>,
    timeline: Timeline,
    /// Join times of the nodes that are not there at the start, by time.
    joins: Vec<(Time, usize)>,
    /// The mean rate of each load, in requests per second.
    rates: Vec<f64>,
    /// Rate from which on the loads alone are too much for the initial deployment.
    full_anyway: Option<f64>,
}

/// Predicts the results of a run.
pub fn check(experiment: &Experiment) -> CheckReport {
    let mesh = &experiment.mesh;
    let hop = Hop::new(mesh, &experiment.network);
    let (called, entered) = (hop.through_proxies(mesh, false), hop.through_proxies(mesh, true));
    let flow = Flow::new(mesh, Setting::deployed(mesh), &called);
    let end = Time::ZERO + experiment.duration;
    let joins = capacity::joins(experiment);
    let timeline = Timeline::default();
    let (rates, closed): (Vec<f64>, Vec<_>) = closed::rates(mesh, &flow, &entered).into_iter().unzip();
    let mut checked =
        Checked { experiment, end, hop, called, entered, flow, timeline, joins, rates, full_anyway: None };
    checked.timeline = Timeline::new(&checked);

    let mut findings = CheckReport { size: ModelSize::new(experiment), ..CheckReport::default() };
    let rates = checked.rates.clone();
    let planned: f64 = rates.iter().sum();
    let (mut arriving, mut settles) = (vec![0.0; checked.flow.graph.len()], checked.flow.settles);
    for ((load, rate), closed) in mesh.loads.iter().zip(&rates).zip(closed) {
        let entry = loads::asked(load, &checked.flow, &checked.entered);
        let visits = checked.flow.graph.visits(&entry.asked);
        settles &= visits.is_some();
        let visits = visits.unwrap_or_else(|| entry.asked.clone());
        let mut by_service = vec![0.0; mesh.services.len()];
        for (vertex, count) in visits.iter().enumerate() {
            arriving[vertex] += rate * count;
            by_service[checked.flow.graph.service(vertex)] += count;
        }
        let mean = |of: fn(&flow::Tries) -> f64| {
            let part = |(share, _, one): &(f64, usize, flow::Tries)| share * of(one);
            entry.targets.iter().map(part).sum()
        };
        findings.loads.push(LoadEstimate {
            name: load.name.clone(),
            rate: *rate,
            closed,
            visits: visits.iter().sum(),
            visits_by_service: named(mesh, &by_service),
            is_exact: true,
            errors: mean(|one| one.fail),
            unloaded: mean(|one| one.time),
            worst: entry.targets.iter().map(|(_, _, one)| one.worst).fold(0.0, f64::max),
        });
    }
    findings.services = services(&checked, &Asked::new(&checked, &checked.flow, &rates));
    findings.edges = edges(mesh, &checked.flow, &arriving, planned);
    findings.gains = rollouts::gains(&checked);
    findings.rollouts = rollouts::estimates(&checked);

    let mut warnings = Warnings { experiment, list: vec![] };
    circles(&checked, settles, &findings.loads, &mut warnings);
    deadlock::look(&checked, &findings.services, &mut warnings);
    rollouts::look(&checked, &findings, &mut warnings);
    overload(&findings.services, &mut warnings);
    queues::look(&checked, &arriving, &mut warnings);
    mixes::look(&checked, &findings.services, &mut warnings);
    hashing::look(&checked, &findings.services, &mut warnings);
    zones::look(&checked, &mut warnings);
    reserved::look(&checked, &mut warnings);
    autoscale::look(&checked, &mut warnings);
    drains::look(&checked, &mut warnings);
    let full = findings.services.iter().map(|service| service.utilisation).fold(0.0, f64::max);
    checked.full_anyway = (full >= 1.0).then_some(planned / full);
    let capacity = if settles { Some(Capacity::new(&checked, &mut warnings)) } else { None };
    timeouts::look(&checked, &mut warnings);
    policies::look(&checked, &findings.services, &mut warnings);
    times::look(&checked, &findings.loads, &mut warnings);
    faults::look(&checked, &mut warnings);
    slos::look(&checked, &findings.loads, &mut warnings);
    findings.resources = resources::estimate(&checked, &findings.loads);
    findings.warnings = warnings.list;
    not_modelled(&checked, &arriving, capacity.as_ref(), &mut findings);
    if let Some(capacity) = capacity {
        (findings.situations, findings.nodes) = (capacity.situations, capacity.nodes);
    }
    findings
}

fn named(mesh: &Mesh, by_service: &[f64]) -> Vec<(String, f64)> {
    let reached = mesh.services.iter().zip(by_service).filter(|(_, visits)| **visits > 0.0);
    reached.map(|(service, visits)| (service.name.clone(), *visits)).collect()
}

fn services(checked: &Checked<'_>, asked: &Asked) -> Vec<ServiceEstimate> {
    let mesh = &checked.experiment.mesh;
    let estimate = |(index, service): (usize, &Service)| {
        let slots = u64::from(service.instances) * service.capacity.round().max(1.0) as u64;
        let (rate, busy) = (asked.rate[index], asked.held[index]);
        let utilisation = match (busy > 0.0, slots) {
            (false, _) => 0.0,
            (true, 0) => f64::INFINITY,
            (true, slots) => busy / slots as f64,
        };
        let plain = || {
            let first = checked.flow.graph.vertex(ServiceId(index as u16), EndpointId(0));
            let times = &checked.flow.profiles[first..first + service.endpoints.len()];
            times.iter().map(|profile| profile.time).sum::<f64>() / f64::max(times.len() as f64, 1.0)
        };
        let slot_time = if rate > 0.0 { busy / rate } else { plain() };
        let (name, instances) = (service.name.clone(), service.instances);
        ServiceEstimate { name, instances, slots, rate, slot_time, utilisation }
    };
    mesh.services.iter().enumerate().map(estimate).collect()
}

fn edges(mesh: &Mesh, flow: &Flow<'_>, arriving: &[f64], planned: f64) -> Vec<Edge> {
    let mut by_pair = BTreeMap::new();
    for (vertex, calls) in flow.graph.calls.iter().enumerate() {
        let from = flow.graph.service(vertex);
        let weight = match planned > 0.0 {
            true => arriving[vertex] / planned,
            false => 1.0 / mesh.services[from].endpoints.len() as f64,
        };
        for (callee, calls) in calls {
            *by_pair.entry((from, flow.graph.service(*callee))).or_insert(0.0) += weight * calls;
        }
    }
    let name = |index: usize| mesh.services[index].name.clone();
    by_pair.into_iter().map(|((from, to), calls)| Edge { from: name(from), to: name(to), calls }).collect()
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
}

fn circles(checked: &Checked<'_>, settles: bool, loads: &[LoadEstimate], warnings: &mut Warnings<'_>) {
    if checked.flow.graph.has_circle() && settles {
        let visits: Vec<String> = loads.iter().map(|load| format!("{:.3} of `{}`", load.visits, load.name)).collect();
        let visits = if visits.is_empty() {
            String::new()
        } else {
            format!(": expected visits per request {}", visits.join(", "))
        };
        let message = format!("calls go round in a circle, with a probability below 100%{visits}");
        warnings.warn("circle", None, message);
    }
    if !settles {
        let message = format!(
            "calls go round in a circle and multiply: expected visits exceed {VISITS_MAX:.0}, a request may never end"
        );
        warnings.warn("endless", None, message);
    }
    for load in loads.iter().filter(|load| load.visits > MANY_VISITS && settles) {
        let message = format!("one request of `{}` causes {:.0} service visits", load.name, load.visits);
        warnings.warn("many_visits", None, message);
    }
}

fn overload(services: &[ServiceEstimate], warnings: &mut Warnings<'_>) {
    let experiment = warnings.experiment;
    // One that begins at zero, and is brought up when requests come.
    let comes = |of: &Service| of.autoscale.as_deref().is_some_and(|it| it.by.range().is_some_and(|(min, _)| min == 0));
    let waits = |of: &Service| of.instances == 0 && comes(of);
    let over = experiment.mesh.services.iter().zip(services).filter(|(of, it)| it.utilisation >= 1.0 && !waits(of));
    for (_, service) in over {
        let message = match service.slots {
            0 => format!("`{}` has no instances for {:.1} requests/s", service.name, service.rate),
            slots => format!(
                "`{}` is overloaded as deployed: {:.1} requests/s with a slot time of {} need {:.1} slots; it has {slots}",
                service.name,
                service.rate,
                Span::from_secs_f64(service.slot_time),
                service.rate * service.slot_time
            ),
        };
        warnings.warn("overload", None, message);
    }
}

/// Lists the features that the estimates leave out, and the loads whose visits are no exact expectation.
fn not_modelled(checked: &Checked<'_>, arriving: &[f64], capacity: Option<&Capacity>, findings: &mut CheckReport) {
    let (mesh, flow) = (&checked.experiment.mesh, &checked.flow);
    let mut list: Vec<String> = vec![];
    let mut bounds = vec![];
    let reached = |vertex: usize| arriving[vertex] > 0.0;

    let budgets = timeouts::binding_budgets(checked, arriving, &findings.loads);
    if let Some(first) = budgets.first() {
        let others = and_more(budgets.len());
        list.push(format!("Retry budgets: {first} may hold retries back{others}. Visits are at most those shown."));
        bounds.push(());
    }
    let late = |late: Late| flow.met.late.iter().filter(move |(key, it)| it.0 == late && reached(key.0));
    let unsure: Vec<_> = late(Late::Sometimes).chain(late(Late::Mostly)).collect();
    if let Some(((caller, callee), _)) = unsure.first() {
        let (caller, callee) = (flow.graph.name(*caller), flow.graph.name(*callee));
        let others = and_more(unsure.len());
        list.push(format!(
            "Timeouts that come sometimes: calls from `{caller}` to `{callee}`{others}. They count as if they came never."
        ));
        bounds.push(());
    }
    if flow.met.failing_branches {
        list.push("A failure in one parallel branch ends the others: visits are at most those shown.".into());
        bounds.push(());
    }
    let policies = policies::not_modelled(checked, |service| {
        (0..arriving.len()).any(|vertex| flow.graph.service(vertex) == service && reached(vertex))
    });
    bounds.extend(policies.iter().map(|_| ()));
    list.extend(policies);
    for load in &mut findings.loads {
        load.is_exact = bounds.is_empty() && flow.settles;
    }
    if mesh.loads.iter().any(|load| load.sizes.is_some()) {
        list.push("Sizes of requests that vary: they count at their mean.".into());
    }
    if flow.met.caches.iter().any(|vertex| reached(*vertex)) {
        list.push(
            "Caches: hits count as of caches that have been full for long, by Che's approximation, and as if no key expired."
                .into(),
        );
        findings.loads.iter_mut().for_each(|load| load.is_exact = false);
    }
    if flow.met.queues.iter().any(|queue| reached(queue.vertex)) {
        list.push("Queues: each message counts as delivered once, when it is published.".into());
    }
    if flow.met.joins {
        list.push(
            "Parallel branches that vary: the longest takes longer than the longest mean, which is shown.".into(),
        );
    }
    if !mesh.loads.is_empty() {
        list.push("Waiting for slots and cores, and the failures and retries that it causes.".into());
    }
    let closed = || findings.loads.iter().filter_map(|load| load.closed.as_ref());
    if closed().any(|closed| closed.response.is_none()) {
        list.push("Users who wait: closed loads ask at most as often as shown.".into());
    }
    if closed().next().is_some() && (!mesh.operations.is_empty() || !checked.experiment.network.faults.is_empty()) {
        list.push(
            "Closed loads ask less often while operations and faults make services slow: they count at their rate as \
             deployed."
                .into(),
        );
    }
    if mesh.loads.iter().any(|load| load.journey().is_some()) {
        list.push(
            "Journeys: their requests count at the load's rate of that time, and as if no journey was abandoned."
                .into(),
        );
        let can_fail = |load: &LoadEstimate| load.errors > 0.0;
        for (load, estimate) in mesh.loads.iter().zip(&mut findings.loads) {
            estimate.is_exact &= load.journey().is_none() || !can_fail(estimate);
        }
    }
    if mesh.loads.iter().any(mixes::changes) {
        list.push("Mixes that change: they count at their means, and saturation is looked at where they bend.".into());
    }
    if mesh.loads.iter().any(|load| load.deadline.is_some()) {
        list.push("Deadlines: requests count as if they had none.".into());
    }
    let network = &checked.experiment.network;
    if network.loss > 0.0 || network.drop > 0.0 || network.bandwidth.is_some() {
        list.push("Messages that the network loses, delays or queues.".into());
    }
    let links: Vec<&str> = network.faults.iter().filter(|f| faults::is_of_links(&f.kind)).map(|f| f.name()).collect();
    if let Some(first) = links.first() {
        let others = and_more(links.len());
        list.push(format!("Faults of links: {first}{others}."));
    }
    if !network.faults.is_empty() {
        list.push("Repairs: saturation during a fault is estimated at its beginning.".into());
    }
    let is_analysed = |operation: &Operation| match &operation.change {
        Change::Rollout(rollout) => rollout.analyses().next().is_some(),
        _ => false,
    };
    if mesh.operations.iter().any(is_analysed) {
        list.push("Analyses of rollouts: each is assumed to succeed.".into());
    }
    if timeline_draws(checked) {
        list.push("Operations that draw (`bernoulli`, `stochastic`): one of their courses is followed.".into());
    }
    if !checked.timeline.is_whole || capacity.is_some_and(|capacity| capacity.is_cut || !capacity.is_placed) {
        list.push("Some operations and faults: there are too many to examine each.".into());
    }
    if let Some(plane) = mesh.data_plane.as_ref().filter(|plane| plane.proxy.is_some()) {
        list.push("Handshakes of new connections at proxies.".into());
        if plane.per == ProxyPer::Node {
            list.push("Workers of the proxies of nodes: only the cores that they take count.".into());
        }
    }
    if mesh.services.iter().any(|service| matches!(service.balancer, Balancer::Connection { .. })) {
        list.push("Balancing by connection: instances count as if they got the same.".into());
    }
    list.extend(hashing::left_out(mesh, &findings.services));
    list.extend(zones::left_out(mesh));
    if capacity.is_none() {
        list.push("Saturation: expected visits have no bound.".into());
    }
    findings.not_modelled = list;
}

fn timeline_draws(checked: &Checked<'_>) -> bool {
    use meshsim_mesh::model::{Rounding, Strategy};
    checked.experiment.mesh.operations.iter().any(|operation| {
        matches!(
            operation.change,
            Change::Update { strategy: Strategy::Bernoulli, .. }
                | Change::Extend { rounding: Rounding::Stochastic, .. }
        )
    })
}

/// `, and 3 more`, where not all of a list are named but the first.
fn and_more(count: usize) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

/// A figure with at most three digits that matter, for sentences.
fn plain(figure: f64) -> String {
    let digits = if figure >= 100.0 {
        0
    } else if figure >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{figure:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn shown(time: Time) -> Span {
    time.since(Time::ZERO)
}
