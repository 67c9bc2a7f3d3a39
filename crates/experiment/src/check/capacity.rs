//! Saturation: the service that is full first, and at what rate; as deployed, while each operation runs, and during
//! each fault.
//!
//! A service is full when the arriving requests hold all its slots (Little's law: slots held = rate * time held, the
//! calls that it makes included), and a node is full when the work of its instances takes all its cores.

use std::collections::BTreeSet;

use meshsim_actor::{Span, Time};
use meshsim_fault::{Disturbance, FaultKind};
use meshsim_mesh::coordinator::Layout;
use meshsim_mesh::model::{Change, Load, ProxyPer, ServiceId};
use serde::Serialize;

use super::flow::{Flow, Setting};
use super::impaired::{self, Hit};
use super::loads::{self, Rates};
use super::span::Hop;
use super::timeline::{Moment, count_of, name_of, total};
use super::{Checked, Warnings, plain, shown};

/// Limits of the situations that are examined, and of the endpoints in all of them together.
const SITUATIONS_MAX: usize = 200;
const WORK_MAX: usize = 4_000_000;
/// Limit of the nodes that are examined during placement.
const PLACING_MAX: usize = 20_000_000;

/// A time of the run, and the service or node that is full first if the load grows then, in the same mix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Situation {
    /// `as deployed`, `extend geo to 20`, `crash`, ...
    pub what: String,
    /// Time, in seconds.
    pub at: f64,
    /// The line of the file that makes it, where there is one.
    pub line: Option<u32>,
    /// Requests per second that the loads offer: for `as deployed` and `afterwards` on average, otherwise the most
    /// while it lasts.
    pub offered: f64,
    /// The first to be full; `None`: no requests are offered.
    pub first: Option<Full>,
    /// During a fault of a service: share of the offered requests that fail, retries included, while nothing waits.
    /// Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<f64>,
}

/// A service that has no free slot left, or a node that has no free core.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Full {
    /// Its name.
    pub name: String,
    /// For a service with a canary, the full instances: those of this version; `None`: those that stay, or all.
    pub version: Option<u32>,
    /// `slots`, `cpu_limit` or `proxies` of a service, or `cores` of a node.
    pub of: &'static str,
    /// Rate in requests per second of all loads together.
    pub rate: f64,
    /// For a service: instances that accept requests then.
    pub instances: u32,
    /// For a service: desired instances then.
    pub wanted: u32,
}

/// Estimate of the work of a node's instances.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeEstimate {
    /// Its name.
    pub name: String,
    /// Its cores.
    pub cores: f64,
    /// Cores that its instances keep busy on average, as deployed and at the loads' mean rates.
    pub busy: f64,
}

/// The services at one time.
struct State {
    moments: Vec<Option<Moment>>,
    layout: Layout,
    joined: usize,
    placed: usize,
}

/// A situation to examine, with its time.
struct Look {
    at: Time,
    window: (Time, Time),
    what: String,
    line: Option<u32>,
    subject: Option<ServiceId>,
    fault: Option<usize>,
    is_after: bool,
}

pub(super) struct Capacity {
    pub(super) situations: Vec<Situation>,
    pub(super) nodes: Vec<NodeEstimate>,
    /// True if not all situations were examined.
    pub(super) is_cut: bool,
    pub(super) is_placed: bool,
}

impl Capacity {
    pub(super) fn new(checked: &Checked<'_>, warnings: &mut Warnings<'_>) -> Self {
        let rates = Rates::new(checked.experiment, &checked.rates);
        let deployed = Deployed::new(checked);
        let mut situations = vec![];
        let nodes = deployed.look(checked, &rates, &mut situations, warnings);
        let mut looks = looks(checked);
        looks.sort_by_key(|look| look.at);
        let most = SITUATIONS_MAX.min(WORK_MAX / checked.flow.graph.len().max(1));
        let most = if checked.flow.graph.has_circle() { most.min(10) } else { most };
        let is_cut = looks.len() > most;
        looks.truncate(most);
        let mut state = State::new(checked);
        let mut next = 0;
        let moments = &checked.timeline.moments;
        for look in looks {
            while moments.get(next).is_some_and(|moment| moment.at <= look.at) {
                state.take(checked, &moments[next]);
                next += 1;
            }
            let situation = state.look(checked, &rates, &look);
            if look.is_after {
                // Said only where it tells something new.
                let known = |it: &&Situation| it.line == look.line && it.first.is_some();
                if situations.iter().rev().find(known).is_some_and(|it: &Situation| same(it, &situation)) {
                    continue;
                }
            } else {
                warn(&situation, &look, checked, warnings);
            }
            situations.push(situation);
        }
        let is_placed = state.placed <= PLACING_MAX;
        Capacity { situations, nodes, is_cut, is_placed }
    }
}

fn same(one: &Situation, other: &Situation) -> bool {
    let key = |it: &Situation| it.first.as_ref().map(|full| (full.name.clone(), (full.rate * 1e3).round()));
    key(one) == key(other)
}

fn warn(situation: &Situation, look: &Look, checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let Some(full) = &situation.first else { return };
    // A service that is always full is reported already.
    let is_new = checked.full_anyway.is_none_or(|rate| full.rate < rate * (1.0 - 1e-9));
    if situation.offered < full.rate || !is_new {
        return;
    }
    let when = format!("{} at {}", look.what, shown(look.at));
    let name = match full.version {
        Some(version) => format!("version {version} of `{}`", full.name),
        None => format!("`{}`", full.name),
    };
    let message = match full.of {
        "cores" => format!(
            "during {when} the cores of `{}` are full at {} requests/s, and {} are offered",
            full.name,
            plain(full.rate),
            plain(situation.offered)
        ),
        _ if full.instances == 0 => {
            format!("during {when} {name} has no instance, and {} requests/s are offered", plain(situation.offered))
        }
        _ => format!(
            "during {when} {name} has {} of {} instances and is full at {} requests/s, and {} are offered",
            full.instances,
            full.wanted,
            plain(full.rate),
            plain(situation.offered)
        ),
    };
    warnings.warn("full", look.line, message);
}

/// All operations and faults within the run.
fn looks(checked: &Checked<'_>) -> Vec<Look> {
    let (experiment, timeline) = (checked.experiment, &checked.timeline);
    let mesh = &experiment.mesh;
    let mut looks = vec![];
    for course in &timeline.courses {
        let operation = &mesh.operations[course.operation];
        let has_steps = matches!(
            operation.change,
            Change::Extend { .. } | Change::Update { .. } | Change::Scale { .. } | Change::Rollout(_)
        );
        if !has_steps || matches!(course.end, Some(meshsim_mesh::operation::Iteration::Refused)) {
            continue;
        }
        let until = course.until.max(course.from);
        let of_it =
            |moment: &&Moment| moment.service == operation.service && moment.at >= course.from && moment.at <= until;
        // A canary, where its instances have the most to do.
        let load = |moment: &Moment| {
            let canary = moment.wanted.canary.as_ref()?;
            let shares = moment.wanted.request_shares(&moment.ready);
            let (_, share) = shares.iter().find(|(version, _)| *version == canary.version)?;
            Some((share / f64::from(count_of(&moment.ready, canary.version)), *share))
        };
        let heavier = |a: &(f64, f64, Time), b: &(f64, f64, Time)| a.0.total_cmp(&b.0).then(b.2.cmp(&a.2));
        let canaries =
            timeline.moments.iter().filter(of_it).filter_map(|it| load(it).map(|(each, w)| (each, w, it.at)));
        let heaviest = canaries.max_by(heavier);
        // The time at which its service has the fewest slots.
        let slots = |moment: &Moment| f64::from(total(&moment.ready)) * moment.slots;
        let fewest = timeline.moments.iter().filter(of_it).min_by(|a, b| slots(a).total_cmp(&slots(b)));
        let at = fewest.map_or(course.from, |moment| moment.at);
        let what = name_of(operation, &mesh.service(operation.service).name);
        let line = experiment.operation_lines.get(course.operation).copied().flatten();
        let window = (course.from, until);
        let subject = Some(operation.service);
        looks.push(Look { at, window, what: what.clone(), line, subject, fault: None, is_after: false });
        if let Some((_, share, at)) = heaviest {
            let what = format!("{what} with {} % of the requests", plain(100.0 * share));
            looks.push(Look { at, window, what, line, subject, fault: None, is_after: false });
        }
        if until < checked.end {
            let what = format!("after {what}");
            let window = (until, checked.end);
            looks.push(Look { at: until, window, what, line, subject, fault: None, is_after: true });
        }
    }
    let faults = experiment.network.faults.iter().zip(&experiment.fault_lines).enumerate();
    for (index, (fault, line)) in faults.filter(|(_, (fault, _))| fault.at < checked.end) {
        let of_service = matches!(fault.kind, FaultKind::Service(_));
        let mut actors = fault.kind.outage().into_iter().flat_map(|outage| outage.actors.iter());
        if of_service || actors.any(|actor| mesh.node_index(actor).is_some()) {
            let window = (fault.at, fault.until.min(checked.end));
            let (what, line) = (fault.name().to_owned(), Some(*line));
            looks.push(Look { at: fault.at, window, what, line, subject: None, fault: Some(index), is_after: false });
        }
    }
    looks
}

impl State {
    fn new(checked: &Checked<'_>) -> Self {
        let mesh = &checked.experiment.mesh;
        State { moments: vec![None; mesh.services.len()], layout: Layout::new(mesh), joined: 0, placed: 0 }
    }

    fn take(&mut self, checked: &Checked<'_>, moment: &Moment) {
        let mesh = &checked.experiment.mesh;
        while let Some((at, node)) = checked.joins.get(self.joined).filter(|(at, _)| *at <= moment.at) {
            let _ = at;
            self.layout.set_alive(*node, true);
            self.joined += 1;
        }
        let known = &mut self.moments[moment.service.index()];
        let is_placed = known.as_ref().is_some_and(|known| known.wanted.versions == moment.wanted.versions);
        if !is_placed && self.placed <= PLACING_MAX {
            self.placed += mesh.nodes.len();
            self.layout.place(mesh, moment.service, &moment.wanted);
        }
        *known = Some(moment.clone());
    }

    fn look(&self, checked: &Checked<'_>, rates: &Rates, look: &Look) -> Situation {
        let experiment = checked.experiment;
        let mesh = &experiment.mesh;
        let mut down = BTreeSet::new();
        let mut speed = vec![1.0; mesh.nodes.len()];
        if let Some(fault) = look.fault.map(|index| &experiment.network.faults[index]) {
            let actors = fault.kind.outage().into_iter().flat_map(|outage| outage.actors.iter());
            for node in actors.filter_map(|actor| mesh.node_index(actor)) {
                match &fault.kind {
                    FaultKind::Service(_) => {}
                    FaultKind::Slow(slow) => speed[node] = slow.factor,
                    _ => drop(down.insert(node)),
                }
            }
        }
        let mut setting = Setting::deployed(mesh);
        let of_service = look.fault.and_then(|index| match &experiment.network.faults[index].kind {
            FaultKind::Service(it) => Some(it),
            _ => None,
        });
        if let Some(it) = of_service {
            let service = ServiceId(it.impairment.subject.program);
            setting.hits.push(Hit::new(it, self.layout.placed(service), mesh));
        }
        let mut pools = vec![];
        for (index, service) in mesh.services.iter().enumerate() {
            let Some(moment) = &self.moments[index] else {
                setting.present[index] = false;
                continue;
            };
            let wanted = total(&moment.wanted.versions);
            let mut ready = moment.ready.clone();
            let (mut count, mut pace, mut hit) = (0, 0.0, 0);
            for (node, share) in self.layout.placed(ServiceId(index as u16)) {
                let here = total(share);
                if down.contains(&(*node as usize)) {
                    hit += here;
                    for (version, lost) in share {
                        ready.iter_mut().filter(|(v, _)| v == version).for_each(|(_, n)| *n = n.saturating_sub(*lost));
                    }
                } else {
                    count += here;
                    pace += f64::from(here) / speed[*node as usize];
                }
            }
            ready.retain(|(_, count)| *count > 0);
            let there = total(&ready);
            let is_meant = hit > 0 || look.subject == Some(ServiceId(index as u16));
            setting.present[index] = there > 0 || (is_meant && wanted > 0);
            let versions = if ready.is_empty() { &moment.wanted.versions } else { &ready };
            let shares = moment.wanted.request_shares(versions);
            setting.mix[index] = if shares.is_empty() { vec![(service.version, 1.0)] } else { shares };
            setting.stretch[index] = if count > 0 { pace / f64::from(count) } else { 1.0 };
            let pool = Pool {
                service: index,
                canary: None,
                instances: there,
                wanted: moment.wanted.instances,
                slots: moment.slots * impaired::slots(&setting.hits, index, moment.slots),
                held: 1.0,
                work: 1.0,
            };
            let canary = moment.wanted.canary.as_ref();
            match canary.map(|canary| (canary.version, count_of(&ready, canary.version))) {
                Some((version, beside)) if beside > 0 && there > beside => {
                    let wanted = moment.wanted.extra();
                    pools.push(Pool { canary: Some((version, true)), instances: beside, wanted, ..pool });
                    pools.push(Pool { canary: Some((version, false)), instances: there - beside, ..pool });
                }
                _ => pools.push(pool),
            }
        }
        let flow = Flow::new(mesh, setting.clone(), &checked.called);
        let most = if look.is_after { rates.mean() } else { rates.most(look.window) };
        let offered = most.iter().sum();
        // If nothing is offered at this time, the mix is that of the whole run.
        let mixed = if offered > 0.0 { most } else { rates.mean() };
        let asked = Asked::new(checked, &flow, &mixed);
        let planned = mixed.iter().sum();
        let busy = self.busy(checked, &asked, &down);
        let cores = |node: usize| mesh.nodes[node].cores * speed[node];
        for pool in &mut pools {
            (pool.held, pool.work) = pool.asked(checked, &setting, &flow, &asked);
        }
        let first = first(checked, planned, &pools, (&busy, &proxied(checked, &asked)), cores);
        let errors = of_service.map(|_| failing(checked, &flow, &mixed));
        Situation { what: look.what.clone(), at: look.at.secs(), line: look.line, offered, first, errors }
    }

    /// Cores that the instances of each node keep busy, and the proxies there.
    fn busy(&self, checked: &Checked<'_>, asked: &Asked, down: &BTreeSet<usize>) -> Vec<f64> {
        let mesh = &checked.experiment.mesh;
        let mut busy = vec![0.0; mesh.nodes.len()];
        let work = asked.work.iter().zip(proxied(checked, asked)).map(|(work, of_proxies)| work + of_proxies);
        for (index, work) in work.enumerate().filter(|(_, work)| *work > 0.0) {
            let placed = self.layout.placed(ServiceId(index as u16));
            let up = || placed.iter().filter(|(node, _)| !down.contains(&(*node as usize)));
            let all: u32 = up().map(|(_, share)| total(share)).sum();
            for (node, share) in up() {
                busy[*node as usize] += work * f64::from(total(share)) / f64::from(all.max(1));
            }
        }
        busy
    }
}

/// Instances of a service that share their arriving requests: all of them, or a canary's, or those beside it.
#[derive(Clone, Copy)]
struct Pool {
    service: usize,
    /// The canary's version, and whether these are its instances.
    canary: Option<(u32, bool)>,
    instances: u32,
    wanted: u32,
    /// Slots of an instance.
    slots: f64,
    /// Slots that their requests hold.
    held: f64,
    /// Cores that these keep busy.
    work: f64,
}

impl Pool {
    /// Slots and cores that its requests take.
    fn asked(&self, checked: &Checked<'_>, setting: &Setting, flow: &Flow<'_>, asked: &Asked) -> (f64, f64) {
        let Some((canary, is_new)) = self.canary else { return (asked.held[self.service], asked.work[self.service]) };
        let is_ours = |(version, _): &&(u32, f64)| (*version == canary) == is_new;
        let ours: Vec<(u32, f64)> = setting.mix[self.service].iter().filter(is_ours).copied().collect();
        let share: f64 = ours.iter().map(|(_, share)| share).sum();
        if share <= 0.0 {
            return (0.0, 0.0);
        }
        // Versions of these instances.
        let mut setting = setting.clone();
        setting.mix[self.service] = ours.into_iter().map(|(version, of_all)| (version, of_all / share)).collect();
        let alone = Flow::new(&checked.experiment.mesh, setting, &checked.called);
        let of_service = (0..flow.graph.len()).filter(|vertex| flow.graph.service(*vertex) == self.service);
        of_service.fold((0.0, 0.0), |(held, work), vertex| {
            let (rate, profile) = (share * asked.visits[vertex], &alone.profiles[vertex]);
            (held + rate * profile.time, work + rate * profile.work)
        })
    }

    fn full(&self, checked: &Checked<'_>, of: &'static str, rate: f64) -> Full {
        let name = checked.experiment.mesh.services[self.service].name.clone();
        let version = self.canary.and_then(|(version, is_new)| is_new.then_some(version));
        Full { name, version, of, rate, instances: self.instances, wanted: self.wanted }
    }
}

/// Arriving requests, by service.
pub(super) struct Asked {
    /// Requests per second.
    pub(super) rate: Vec<f64>,
    /// Slots that they hold.
    pub(super) held: Vec<f64>,
    /// Cores that they keep busy.
    pub(super) work: Vec<f64>,
    /// Requests per second, by vertex of the graph.
    visits: Vec<f64>,
}

impl Asked {
    pub(super) fn new(checked: &Checked<'_>, flow: &Flow<'_>, rates: &[f64]) -> Self {
        Asked::of_loads(&checked.experiment.mesh.loads, &checked.entered, flow, rates)
    }

    /// The demand of these loads at these rates.
    pub(super) fn of_loads(loads: &[Load], hop: &Hop, flow: &Flow<'_>, rates: &[f64]) -> Self {
        let services = flow.services();
        let mut asked = Asked {
            rate: vec![0.0; services],
            held: vec![0.0; services],
            work: vec![0.0; services],
            visits: Vec::new(),
        };
        let mut sought = vec![0.0; flow.graph.len()];
        for (load, rate) in loads.iter().zip(rates).filter(|(_, rate)| **rate > 0.0) {
            let tries = loads::asked(load, flow, hop);
            sought.iter_mut().zip(&tries.asked).for_each(|(all, one)| *all += rate * one);
        }
        let visits = flow.graph.visits(&sought).unwrap_or(sought);
        for (vertex, rate) in visits.iter().enumerate().filter(|(_, rate)| **rate > 0.0) {
            let (service, profile) = (flow.graph.service(vertex), &flow.profiles[vertex]);
            asked.rate[service] += rate;
            asked.held[service] += rate * profile.time;
            asked.work[service] += rate * profile.work;
        }
        asked.visits = visits;
        asked
    }
}

/// Cores that proxies keep busy for each service: for its requests, and for the calls that it makes.
fn proxied(checked: &Checked<'_>, asked: &Asked) -> Vec<f64> {
    let mesh = &checked.experiment.mesh;
    let mut busy = vec![0.0; mesh.services.len()];
    let Some(plane) = &mesh.data_plane else { return busy };
    let into: f64 = plane.on_the_way_in().map(|station| station.work.mean_secs()).sum();
    let out = plane.on_the_way_out(false).map_or(0.0, |station| station.work.mean_secs());
    let graph = &checked.flow.graph;
    for (vertex, rate) in asked.visits.iter().enumerate() {
        let calls: f64 = graph.calls[vertex].iter().map(|(_, times)| times).sum();
        busy[graph.service(vertex)] += rate * (into + calls * out);
    }
    busy
}

/// The service or node that is full first when the load grows and its mix stays.
fn first(
    checked: &Checked<'_>,
    offered: f64,
    pools: &[Pool],
    (busy, proxied): (&[f64], &[f64]),
    cores: impl Fn(usize) -> f64,
) -> Option<Full> {
    let mesh = &checked.experiment.mesh;
    let mut most: Option<(f64, Full)> = None;
    let mut take = |utilisation: f64, full: Full| {
        if utilisation > most.as_ref().map_or(0.0, |(most, _)| *most) {
            most = Some((utilisation, full));
        }
    };
    for pool in pools.iter().filter(|pool| pool.held > 0.0) {
        let utilisation = pool.held / (f64::from(pool.instances) * pool.slots);
        take(utilisation, pool.full(checked, "slots", offered / utilisation));
    }
    for pool in pools.iter().filter(|pool| pool.work > 0.0) {
        let Some(limit) = mesh.services[pool.service].cpu_limit else { continue };
        let utilisation = pool.work / (f64::from(pool.instances) * limit);
        take(utilisation, pool.full(checked, "cpu_limit", offered / utilisation));
    }
    let sidecars = mesh.data_plane.as_deref().filter(|plane| plane.per == ProxyPer::Instance);
    if let Some(proxy) = sidecars.and_then(|plane| plane.proxy.as_ref()) {
        for pool in pools.iter().filter(|pool| pool.canary.is_none() && pool.instances > 0) {
            let utilisation = proxied[pool.service] / f64::from(pool.instances) / f64::from(proxy.workers);
            take(utilisation, pool.full(checked, "proxies", offered / utilisation));
        }
    }
    for (node, busy) in busy.iter().enumerate().filter(|(_, busy)| **busy > 0.0) {
        let utilisation = busy / cores(node);
        let (name, rate) = (mesh.nodes[node].name.clone(), offered / utilisation);
        take(utilisation, Full { name, version: None, of: "cores", rate, instances: 0, wanted: 0 });
    }
    most.map(|(_, full)| full)
}

/// Share of the requests of all loads that fail.
fn failing(checked: &Checked<'_>, flow: &Flow<'_>, rates: &[f64]) -> f64 {
    let loads = checked.experiment.mesh.loads.iter().zip(rates).filter(|(_, rate)| **rate > 0.0);
    let (failed, all) = loads.fold((0.0, 0.0), |(failed, all), (load, rate)| {
        let targets = loads::asked(load, flow, &checked.entered).targets;
        let fail: f64 = targets.iter().map(|(share, _, tries)| share * tries.fail).sum();
        (failed + rate * fail, all + rate)
    });
    if all > 0.0 { failed / all } else { 0.0 }
}

/// All services as their descriptions say, at any time.
struct Deployed(State);

impl Deployed {
    fn new(checked: &Checked<'_>) -> Self {
        let mesh = &checked.experiment.mesh;
        let mut state = State::new(checked);
        // Nodes that join later are there too.
        checked.joins.iter().for_each(|(_, node)| state.layout.set_alive(*node, true));
        state.joined = checked.joins.len();
        let mut order: Vec<ServiceId> = vec![];
        let mut seen = vec![false; mesh.services.len()];
        let deploys = mesh.operations.iter().filter(|operation| operation.change == Change::Deploy);
        for service in deploys.map(|operation| operation.service) {
            if !std::mem::replace(&mut seen[service.index()], true) {
                order.push(service);
            }
        }
        for id in order {
            let service = mesh.service(id);
            let mut wanted = meshsim_mesh::operation::Desired::default();
            let mut rng = meshsim_actor::Rng::keyed(0, 0, 0);
            let observed = meshsim_mesh::operation::Observed::default();
            meshsim_mesh::operation::iterate(&Change::Deploy, 0, service, &mut wanted, observed, &mut rng);
            let (ready, slots) = (wanted.versions.clone(), wanted.c.round().max(1.0));
            state.take(checked, &Moment { at: Time::ZERO, service: id, wanted, ready, slots });
        }
        Deployed(state)
    }

    fn look(
        &self,
        checked: &Checked<'_>,
        rates: &Rates,
        situations: &mut Vec<Situation>,
        warnings: &mut Warnings<'_>,
    ) -> Vec<NodeEstimate> {
        let mesh = &checked.experiment.mesh;
        let look = |is_after: bool| Look {
            at: Time::ZERO,
            window: (Time::ZERO, checked.end),
            what: "as deployed".into(),
            line: None,
            subject: None,
            fault: None,
            is_after,
        };
        let mean = self.0.look(checked, rates, &look(true));
        let peak = self.0.look(checked, rates, &look(false));
        let is_full = |it: &Situation| it.first.as_ref().is_some_and(|full| it.offered >= full.rate);
        if is_full(&peak)
            && !is_full(&mean)
            && let Some(full) = &peak.first
        {
            let message = format!(
                "at the peak of the loads {} requests/s are offered, and {} `{}` are full at {}",
                plain(peak.offered),
                match full.of {
                    "cores" => "the cores of",
                    "proxies" => "the proxies of",
                    _ => "the slots of",
                },
                full.name,
                plain(full.rate)
            );
            warnings.warn("peak", None, message);
        }
        situations.push(mean);
        let asked = Asked::new(checked, &checked.flow, &rates.mean());
        let busy = self.0.busy(checked, &asked, &BTreeSet::new());
        let nodes = mesh.nodes.iter().zip(busy).filter(|(node, _)| !node.is_spare());
        let nodes: Vec<NodeEstimate> =
            nodes.map(|(node, busy)| NodeEstimate { name: node.name.clone(), cores: node.cores, busy }).collect();
        let over: Vec<&NodeEstimate> = nodes.iter().filter(|node| node.busy >= node.cores).collect();
        if let Some(worst) = over.iter().max_by(|a, b| (a.busy / a.cores).total_cmp(&(b.busy / b.cores))) {
            let others = if over.len() > 1 { format!(", and so for {} more", over.len() - 1) } else { String::new() };
            let message = format!(
                "`{}` has {} and is asked for {} cores of work: what waits there grows{others}",
                worst.name,
                if worst.cores == 1.0 { "1 core".into() } else { format!("{} cores", plain(worst.cores)) },
                plain(worst.busy)
            );
            warnings.warn("processor", None, message);
        }
        nodes
    }
}

/// Join times of the nodes that are not there at the start, by time; without spares.
pub(super) fn joins(checked: &crate::Experiment) -> Vec<(Time, usize)> {
    let nodes = checked.mesh.nodes.iter().enumerate();
    let late = nodes.filter(|(_, node)| !node.is_there_at_start() && !node.is_spare());
    let mut joins: Vec<(Time, usize)> = late.map(|(index, node)| (node.joins, index)).collect();
    joins.sort();
    joins
}

/// Shortest drain delay that loses no request: callers learn that an instance goes only after the debounce, a message
/// from the node, one to the callers, and one request in flight.
pub(super) fn heard_of_after(checked: &Checked<'_>) -> Span {
    let mesh = &checked.experiment.mesh;
    let instances = mesh.services.iter().map(|service| u64::from(service.instances)).sum();
    let push =
        mesh.data_plane.as_ref().map_or(Span::ZERO, |plane| plane.push_delay(instances, mesh.nodes.len() as u64));
    mesh.control.debounce + push + Span::from_secs_f64((3.0 * checked.hop.mean).min(1e6))
}
