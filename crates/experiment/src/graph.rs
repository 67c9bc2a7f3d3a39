//! The call graph: expected visits, the time of a request, and calls that never end.
//!
//! A vertex is an endpoint. The expectation for a script is linear in those for the endpoints that it calls, so one
//! pass over the vertices, callers first or callees first, computes them all. If calls form a cycle with a probability
//! below 1, the passes are repeated until nothing changes any more.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_mesh::Mesh;
use meshsim_mesh::model::{Call, EndpointId, ScriptStep, ServiceId};

use crate::problem::{Location, Reporter};

/// More expected visits than this are no request any more.
pub(crate) const VISITS_MAX: f64 = 1e9;

/// Passes over a graph with cycles: visits of a cycle that is followed with probability 0.99 settle in 3,000.
const PASSES_MAX: usize = 20_000;
/// Limit of the edges that are visited in all passes together.
const WORK_MAX: usize = 200_000_000;

/// The endpoints of a mesh and the calls between them.
pub(crate) struct Graph<'a> {
    mesh: &'a Mesh,
    /// The first vertex of each service.
    first: Vec<usize>,
    /// For each vertex, its callees with their expected number of calls: probability times count, one entry for each
    /// callee.
    pub(crate) calls: Vec<Vec<(usize, f64)>>,
    /// Callers before callees, if there is no cycle.
    order: Option<Vec<usize>>,
}

/// A call as a script makes it, wherever in the script it stands; with the times that the script comes to it on
/// average, and whether it comes to it in any case.
pub(crate) fn for_each_call<'a>(script: &'a [ScriptStep], visit: &mut impl FnMut(&'a Call, Reach)) {
    visit_calls(script, Reach { times: 1.0, is_certain: true, is_awaited: true }, visit);
}

/// The number of times that a script comes to a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Mean number of times.
    pub(crate) times: f64,
    /// It does so at least once.
    pub(crate) is_certain: bool,
    /// The request waits for it: it does not stand in an `async` block.
    pub(crate) is_awaited: bool,
}

fn visit_calls<'a>(script: &'a [ScriptStep], reach: Reach, visit: &mut impl FnMut(&'a Call, Reach)) {
    for step in script {
        match step {
            ScriptStep::Call(call) => visit(call, reach),
            ScriptStep::Parallel(branches) => branches.iter().for_each(|branch| visit_calls(branch, reach, visit)),
            ScriptStep::OneOf(choices) => {
                let all: f64 = choices.iter().map(|(weight, _)| weight).sum();
                for (weight, script) in choices.iter().filter(|(weight, _)| *weight > 0.0) {
                    let (times, is_certain) = (reach.times * weight / all, reach.is_certain && *weight >= all);
                    visit_calls(script, Reach { times, is_certain, ..reach }, visit);
                }
            }
            ScriptStep::Repeat(it) => {
                let (times, _) = (0..it.most()).fold((0.0, 1.0), |(times, reached), done| {
                    let reached = reached * it.goes_on(done);
                    (times + reached, reached)
                });
                let is_certain = reach.is_certain && it.goes_on(0) >= 1.0;
                if times > 0.0 {
                    visit_calls(&it.script, Reach { times: reach.times * times, is_certain, ..reach }, visit);
                }
            }
            ScriptStep::Cached(it) => {
                let times = reach.times * (1.0 - it.cache.expected_hits());
                visit_calls(&it.script, Reach { times, is_certain: false, ..reach }, visit);
            }
            ScriptStep::Queued(it) => visit_calls(&it.script, Reach { is_awaited: false, ..reach }, visit),
            ScriptStep::Async(script) => visit_calls(script, Reach { is_awaited: false, ..reach }, visit),
            ScriptStep::Work(_) | ScriptStep::SizedWork(_) | ScriptStep::Sleep(_) => {}
        }
    }
}

/// Mean size of the requests to each vertex, in bytes, of requests that loads ask for this often.
///
/// A call that keeps the size of its request passes on the mean of its caller's.
pub(crate) fn mean_sizes(graph: &Graph<'_>, mesh: &Mesh, mix: &[Vec<(u32, f64)>], rates: &[f64]) -> Vec<f64> {
    const PASSES: usize = 16;
    let mut asked = vec![0.0; graph.len()];
    let mut bytes = vec![0.0; graph.len()];
    for (load, rate) in mesh.loads.iter().zip(rates) {
        let all: f64 = load.mix.iter().map(|target| target.weight).sum();
        for target in load.mix.iter().filter(|_| all > 0.0) {
            let (vertex, rate) = (graph.vertex(target.service, target.endpoint), rate * target.weight / all);
            asked[vertex] += rate;
            bytes[vertex] += rate * load.sizes.as_ref().map_or(target.request_bytes.into(), |sizes| sizes.mean());
        }
    }
    let visits = graph.visits(&asked).unwrap_or(asked);
    let mut means = vec![DEFAULT_BYTES; graph.len()];
    // Callers are not sorted: each pass carries sizes that are kept one call further.
    for _ in 0..PASSES {
        let mut sums = bytes.clone();
        for vertex in 0..graph.len() {
            let service = graph.service(vertex);
            let endpoint = EndpointId((vertex - graph.first[service]) as u16);
            for (version, share) in &mix[service] {
                for_each_call(&mesh.services[service].endpoint(*version, endpoint).script, &mut |call, reach| {
                    let size = if call.keeps_size { means[vertex] } else { f64::from(call.request_bytes) };
                    let calls = visits[vertex] * share * reach.times * call.probability * f64::from(call.count);
                    sums[graph.vertex(call.service, call.endpoint)] += calls * size;
                });
            }
        }
        let mean = |(sum, visits): (&f64, &f64)| if *visits > 0.0 { sum / visits } else { DEFAULT_BYTES };
        means = sums.iter().zip(&visits).map(mean).collect();
    }
    means
}

/// True if the work of any script depends on the size of its request.
pub(crate) fn has_sized_work(script: &[ScriptStep]) -> bool {
    script.iter().any(|step| match step {
        ScriptStep::SizedWork(_) => true,
        ScriptStep::Parallel(branches) => branches.iter().any(|branch| has_sized_work(branch)),
        ScriptStep::OneOf(choices) => choices.iter().any(|(_, script)| has_sized_work(script)),
        ScriptStep::Repeat(it) => has_sized_work(&it.script),
        ScriptStep::Cached(it) => has_sized_work(&it.script),
        ScriptStep::Queued(it) => has_sized_work(&it.script),
        ScriptStep::Async(script) => has_sized_work(script),
        ScriptStep::Work(_) | ScriptStep::Sleep(_) | ScriptStep::Call(_) => false,
    })
}

/// Size of a request of which the file says nothing.
const DEFAULT_BYTES: f64 = 1024.0;

/// Callers and callees, by their indexes among the services, in any version.
pub(crate) fn edges(mesh: &Mesh) -> BTreeSet<(usize, usize)> {
    let mut edges = BTreeSet::new();
    for (caller, service) in mesh.services.iter().enumerate() {
        for endpoint in service.behaviours.iter().flat_map(|behaviour| &behaviour.endpoints) {
            for_each_call(&endpoint.script, &mut |call, _| {
                edges.insert((caller, call.service.index()));
            });
        }
    }
    edges
}

/// A cycle of services of which each holds a slot while it waits for one of the next, in whatever versions.
pub(crate) fn held_circle(mesh: &Mesh) -> Vec<usize> {
    let mut waits: Vec<Vec<(usize, f64)>> = vec![vec![]; mesh.services.len()];
    for (service, callees) in mesh.services.iter().zip(&mut waits) {
        for endpoint in service.behaviours.iter().flat_map(|behaviour| &behaviour.endpoints) {
            for_each_call(&endpoint.script, &mut |call, reach| {
                if reach.is_awaited && !call.detached && call.probability > 0.0 && call.count > 0 {
                    callees.push((call.service.index(), 1.0));
                }
            });
        }
        callees.sort_by_key(|(callee, _)| *callee);
        callees.dedup_by_key(|(callee, _)| *callee);
    }
    circle(&waits)
}

impl<'a> Graph<'a> {
    /// The calls that services make when their instances are of these versions, by service: (version, share).
    pub(crate) fn of_versions(mesh: &'a Mesh, mix: &[Vec<(u32, f64)>]) -> Self {
        let first = first_vertices(mesh);
        let mut calls = vec![];
        for (service, versions) in mesh.services.iter().zip(mix) {
            for index in 0..service.endpoints.len() {
                let mut callees = BTreeMap::new();
                for (version, share) in versions {
                    let endpoint = service.endpoint(*version, EndpointId(index as u16));
                    for_each_call(&endpoint.script, &mut |call, reach| {
                        *callees.entry(first[call.service.index()] + call.endpoint.index()).or_insert(0.0) +=
                            share * reach.times * call.probability * f64::from(call.count);
                    });
                }
                calls.push(callees.into_iter().collect());
            }
        }
        let order = order(&calls);
        Graph { mesh, first, calls, order }
    }

    pub(crate) fn vertex(&self, service: ServiceId, endpoint: EndpointId) -> usize {
        self.first[service.index()] + endpoint.index()
    }

    /// The service of a vertex.
    pub(crate) fn service(&self, vertex: usize) -> usize {
        self.first.partition_point(|first| *first <= vertex) - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn has_circle(&self) -> bool {
        self.order.is_none()
    }

    /// Expected visits of each vertex when these are asked for from outside. `None`: they never settle.
    pub(crate) fn visits(&self, asked: &[f64]) -> Option<Vec<f64>> {
        if let Some(order) = &self.order {
            let mut visits = asked.to_vec();
            for vertex in order {
                for (callee, calls) in &self.calls[*vertex] {
                    visits[*callee] += visits[*vertex] * calls;
                }
            }
            return Some(visits);
        }
        let (mut visits, mut wave) = (asked.to_vec(), asked.to_vec());
        self.repeat(|| {
            let mut next = vec![0.0; wave.len()];
            for (vertex, calls) in self.calls.iter().enumerate().filter(|(vertex, _)| wave[*vertex] > 0.0) {
                for (callee, calls) in calls {
                    next[*callee] += wave[vertex] * calls;
                }
            }
            visits.iter_mut().zip(&next).for_each(|(all, new)| *all += new);
            wave = std::mem::take(&mut next);
            (wave.iter().sum(), visits.iter().sum())
        })?;
        Some(visits)
    }

    /// Solves for something that each vertex has of itself and of those that it calls, beginning with `start`; `size`
    /// says how much a value is, to see when nothing changes any more. `None`: it never settles.
    pub(crate) fn solve<T: Copy>(
        &self,
        start: T,
        size: impl Fn(&T) -> f64,
        own: impl Fn(usize, &[T]) -> T,
    ) -> Option<Vec<T>> {
        let mut values = vec![start; self.len()];
        if let Some(order) = &self.order {
            for vertex in order.iter().rev() {
                values[*vertex] = own(*vertex, &values);
            }
            return Some(values);
        }
        self.repeat(|| {
            let mut change = 0.0;
            for vertex in 0..values.len() {
                let new = own(vertex, &values);
                change += (size(&new) - size(&values[vertex])).abs();
                values[vertex] = new;
            }
            (change, values.iter().map(&size).sum())
        })?;
        Some(values)
    }

    /// Repeats a pass, which says how much it changed and how much there is, until it changes nothing.
    fn repeat(&self, mut pass: impl FnMut() -> (f64, f64)) -> Option<()> {
        let edges: usize = self.calls.iter().map(Vec::len).sum::<usize>() + self.len();
        for _ in 0..PASSES_MAX.min(WORK_MAX / edges.max(1)) {
            let (change, total) = pass();
            if total.is_nan() || total > VISITS_MAX {
                return None;
            }
            if change <= 1e-12 * total.max(1.0) {
                return Some(());
            }
        }
        None
    }

    /// `service.endpoint`, for people.
    pub(crate) fn name(&self, vertex: usize) -> String {
        let service = self.service(vertex);
        let endpoint = &self.mesh.services[service].endpoints[vertex - self.first[service]];
        format!("{}.{endpoint}", self.mesh.services[service].name)
    }
}

fn first_vertices(mesh: &Mesh) -> Vec<usize> {
    mesh.services
        .iter()
        .scan(0, |next, service| {
            let first = *next;
            *next += service.endpoints.len();
            Some(first)
        })
        .collect()
}

/// Callers before callees; `None` if calls go round in a cycle. (Kahn's algorithm: no recursion, however long a chain.)
fn order(calls: &[Vec<(usize, f64)>]) -> Option<Vec<usize>> {
    let mut callers = vec![0usize; calls.len()];
    calls.iter().flatten().for_each(|(callee, _)| callers[*callee] += 1);
    let mut order: Vec<usize> = (0..calls.len()).filter(|vertex| callers[*vertex] == 0).collect();
    let mut next = 0;
    while let Some(vertex) = order.get(next).copied() {
        next += 1;
        for (callee, _) in &calls[vertex] {
            callers[*callee] -= 1;
            if callers[*callee] == 0 {
                order.push(*callee);
            }
        }
    }
    (order.len() == calls.len()).then_some(order)
}

/// Reports calls that never end: a cycle in which every call is certain.
///
/// Versions count together: while an update runs, the old and the new one are there side by side.
pub(crate) fn refuse_endless(mesh: &Mesh, places: &[Location], reporter: &mut Reporter) {
    let first = first_vertices(mesh);
    let count = mesh.services.iter().map(|service| service.endpoints.len()).sum();
    let mut certain: Vec<Vec<(usize, f64)>> = vec![vec![]; count];
    for (service, first_vertex) in mesh.services.iter().zip(&first) {
        for (index, endpoint) in service.behaviours.iter().flat_map(|b| b.endpoints.iter().enumerate()) {
            for_each_call(&endpoint.script, &mut |call, reach| {
                if call.probability >= 1.0 && reach.is_certain {
                    certain[first_vertex + index].push((first[call.service.index()] + call.endpoint.index(), 1.0));
                    let mirror = mesh.service(call.service).policies.as_ref().and_then(|it| it.mirror.as_ref());
                    if let Some((copy, endpoint)) = mirror.filter(|it| it.share >= 1.0).and_then(|it| it.of(call)) {
                        certain[first_vertex + index].push((first[copy.index()] + endpoint.index(), 1.0));
                    }
                }
            });
        }
    }
    for callees in &mut certain {
        callees.sort_by_key(|(callee, _)| *callee);
        callees.dedup_by_key(|(callee, _)| *callee);
    }
    let graph = Graph { mesh, first, calls: certain, order: None };
    if order(&graph.calls).is_some() {
        return;
    }
    let circle = circle(&graph.calls);
    let shown: Vec<String> =
        circle.iter().chain(circle.first()).map(|vertex| format!("`{}`", graph.name(*vertex))).collect();
    const SHOWN_MAX: usize = 12;
    let path = if shown.len() > SHOWN_MAX {
        format!("{} -> ... -> {}", shown[..SHOWN_MAX].join(" -> "), shown[shown.len() - 1])
    } else {
        shown.join(" -> ")
    };
    let place = circle.first().and_then(|vertex| places.get(graph.service(*vertex))).copied().unwrap_or_default();
    reporter
        .report(place, "these calls never end: every request would go round in a circle")
        .help(format!("{path}; take one of the calls out, or give it a `probability` below 100%"));
}

/// A cycle in a graph that has one: by removing what leads to none, then walking until a vertex comes again.
fn circle(calls: &[Vec<(usize, f64)>]) -> Vec<usize> {
    let mut callees: Vec<usize> = calls.iter().map(Vec::len).collect();
    let mut callers: Vec<Vec<usize>> = vec![vec![]; calls.len()];
    for (vertex, list) in calls.iter().enumerate() {
        list.iter().for_each(|(callee, _)| callers[*callee].push(vertex));
    }
    let mut ends: Vec<usize> = (0..calls.len()).filter(|vertex| callees[*vertex] == 0).collect();
    while let Some(vertex) = ends.pop() {
        for caller in &callers[vertex] {
            callees[*caller] -= 1;
            if callees[*caller] == 0 {
                ends.push(*caller);
            }
        }
    }
    // Each vertex that is left leads to another one that is left, so the walk comes round.
    let Some(mut vertex) = callees.iter().position(|left| *left > 0) else { return vec![] };
    let mut path: Vec<usize> = vec![];
    let mut seen = vec![usize::MAX; calls.len()];
    while seen[vertex] == usize::MAX {
        seen[vertex] = path.len();
        path.push(vertex);
        let Some((next, _)) = calls[vertex].iter().find(|(callee, _)| callees[*callee] > 0) else { return vec![] };
        vertex = *next;
    }
    path.split_off(seen[vertex])
}
