//! The call graph of a draft, and its consequences: visits, times, requests in progress.

use std::collections::BTreeMap;

use meshsim_actor::Span;

use super::draft::{Call, Draft, Endpoint, Entry, Service, Step, calls};

/// Duration of a message from one node to another, as [`write`](super::write) guesses it.
pub(crate) const HOP: Span = Span::from_micros(250);

/// The endpoints of a draft, and the calls between them.
pub(crate) struct Graph<'d> {
    draft: &'d Draft,
    /// As in version 1.
    pub(crate) endpoints: Vec<(&'d Service, &'d Endpoint)>,
    index: BTreeMap<(&'d str, &'d str), usize>,
    calls: Vec<Calls>,
    /// Callees before their callers, in whatever version; or, if calls go round, the endpoints of a cycle.
    pub(crate) order: Result<Vec<usize>, Vec<usize>>,
}

/// Number of calls of an endpoint for one request, by callee.
#[derive(Default)]
pub(crate) struct Calls {
    /// On average in version 1, if nothing fails.
    pub(crate) base: Vec<(usize, f64)>,
    /// On average in the version that calls most, with every retry made.
    pub(crate) most: Vec<(usize, f64)>,
}

/// Demand on a service for each request per second of the clients, over all its instances.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Demand {
    /// Requests in progress, by Little's law: visits per second times the time that each takes. With every retry made,
    /// and as slow as the slowest version.
    pub(crate) in_progress: f64,
    /// Cores that compute.
    pub(crate) cores: f64,
}

impl<'d> Graph<'d> {
    /// The graph of a draft. Calls that lead nowhere are left out, and given to `lost`.
    pub(crate) fn of(draft: &'d Draft, mut lost: impl FnMut(&Call)) -> Self {
        let of = |service: &'d Service| service.endpoints.iter().map(move |endpoint| (service, endpoint));
        let endpoints: Vec<_> = draft.services.iter().flat_map(of).collect();
        let name = |(number, (service, endpoint)): (usize, &(&'d Service, &'d Endpoint))| {
            ((service.name.as_str(), endpoint.name.as_str()), number)
        };
        let index: BTreeMap<_, _> = endpoints.iter().enumerate().map(name).collect();
        let mut calls_of: Vec<Calls> = Vec::with_capacity(endpoints.len());
        for (service, endpoint) in &endpoints {
            let mut of = Calls::default();
            let mut most = BTreeMap::<usize, f64>::new();
            for (version, variant) in variants(service, endpoint).enumerate() {
                let mut here = BTreeMap::<usize, f64>::new();
                for (call, times) in calls(&variant.script) {
                    match index.get(&(call.service.as_str(), call.endpoint.as_str())) {
                        Some(callee) => {
                            *here.entry(*callee).or_default() += times * f64::from(call.retries + 1);
                            if version == 0 {
                                of.base.push((*callee, times));
                            }
                        }
                        None => lost(call),
                    }
                }
                for (callee, times) in here {
                    let most = most.entry(callee).or_default();
                    *most = most.max(times);
                }
            }
            of.most = most.into_iter().collect();
            calls_of.push(of);
        }
        let edges: Vec<Vec<usize>> =
            calls_of.iter().map(|calls| calls.most.iter().map(|(callee, _)| *callee).collect()).collect();
        Graph { draft, endpoints, index, calls: calls_of, order: order(&edges) }
    }

    /// Expected visits of one request of each entry, its own included: v(n) = 1 + sum of calls * v(callee).
    pub(crate) fn visits_below(&self, calls: impl Fn(&Calls) -> &[(usize, f64)], entries: &[Entry]) -> Vec<f64> {
        let mut visits = vec![1.0; self.endpoints.len()];
        for number in self.order.iter().flatten() {
            let below = calls(&self.calls[*number]).iter().map(|(callee, times)| times * visits[*callee]);
            visits[*number] += below.sum::<f64>();
        }
        entries.iter().map(|entry| self.find(entry).map_or(0.0, |number| visits[number])).collect()
    }

    /// Demand on each service for one request per second.
    pub(crate) fn demand(&self) -> Vec<Demand> {
        let mut demand = vec![Demand::default(); self.draft.services.len()];
        let Ok(order) = &self.order else { return demand };
        let mut times = vec![0.0; self.endpoints.len()];
        for number in order {
            let (service, endpoint) = self.endpoints[*number];
            let time = |variant: &Endpoint| self.script_time(&variant.script, &times);
            times[*number] = variants(service, endpoint).map(time).fold(0.0, f64::max);
        }
        let weight: f64 = self.draft.entries.iter().map(|entry| entry.weight).sum();
        let mut visits = vec![0.0; self.endpoints.len()];
        for entry in &self.draft.entries {
            if let Some(number) = self.find(entry) {
                visits[number] += entry.weight / weight;
            }
        }
        for number in order.iter().rev() {
            for (callee, times) in &self.calls[*number].most {
                visits[*callee] += visits[*number] * times;
            }
        }
        let mut number = 0;
        for (demand, service) in demand.iter_mut().zip(&self.draft.services) {
            for endpoint in &service.endpoints {
                let work = |variant: &Endpoint| work_of(&variant.script);
                demand.in_progress += visits[number] * times[number];
                demand.cores += visits[number] * variants(service, endpoint).map(work).fold(0.0, f64::max);
                number += 1;
            }
        }
        demand
    }

    fn find(&self, entry: &Entry) -> Option<usize> {
        self.index.get(&(entry.service.as_str(), entry.endpoint.as_str())).copied()
    }

    /// Mean time of a script in seconds, with every retry made.
    fn script_time(&self, script: &[Step], times: &[f64]) -> f64 {
        let time = |step: &Step| match step {
            Step::Work(time) | Step::Sleep(time) => time.mean.secs(),
            Step::Call(call) if call.detached => 0.0,
            Step::Call(call) => {
                let callee = self.index.get(&(call.service.as_str(), call.endpoint.as_str()));
                let one = callee.map_or(0.0, |callee| times[*callee]) + 2.0 * HOP.secs();
                let one = call.timeout.map_or(one, |timeout| one.min(timeout.secs()));
                let retries = f64::from(call.retries);
                let in_turn = if call.parallel { 1.0 } else { f64::from(call.count) };
                call.probability * in_turn * (one * (retries + 1.0) + call.backoff.secs() * retries)
            }
            Step::Parallel(branches) => {
                branches.iter().map(|branch| self.script_time(branch, times)).fold(0.0, f64::max)
            }
            Step::OneOf(choices) => mean(choices, |script| self.script_time(script, times)),
        };
        script.iter().map(time).sum()
    }
}

/// An endpoint as in version 1, and as in each later version that has its own.
fn variants<'d>(service: &'d Service, endpoint: &'d Endpoint) -> impl Iterator<Item = &'d Endpoint> {
    let later = service.versions.iter().flat_map(|version| &version.endpoints);
    std::iter::once(endpoint).chain(later.filter(|later| later.name == endpoint.name))
}

/// The mean of a figure over scripts of which one runs.
fn mean(choices: &[(f64, Vec<Step>)], of: impl Fn(&[Step]) -> f64) -> f64 {
    let all: f64 = choices.iter().map(|(weight, _)| weight).sum();
    choices.iter().map(|(weight, script)| weight / all * of(script)).sum()
}

/// Seconds that a script computes.
fn work_of(script: &[Step]) -> f64 {
    let work = |step: &Step| match step {
        Step::Work(time) => time.mean.secs(),
        Step::Sleep(_) | Step::Call(_) => 0.0,
        Step::Parallel(branches) => branches.iter().map(|branch| work_of(branch)).sum(),
        Step::OneOf(choices) => mean(choices, work_of),
    };
    script.iter().map(work).sum()
}

/// The nodes of a graph, each after all that it points to; or, if there is a cycle, the nodes of one, in order.
///
/// Kahn's algorithm, without recursion: a chain may be as long as there are services.
pub(crate) fn order(graph: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut sources = vec![Vec::new(); graph.len()];
    for (source, targets) in graph.iter().enumerate() {
        targets.iter().for_each(|target| sources[*target].push(source));
    }
    let mut open: Vec<usize> = graph.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..graph.len()).filter(|node| open[*node] == 0).collect();
    let mut next = 0;
    while let Some(&target) = order.get(next) {
        next += 1;
        for source in &sources[target] {
            open[*source] -= 1;
            if open[*source] == 0 {
                order.push(*source);
            }
        }
    }
    let Some(start) = (0..graph.len()).find(|node| open[*node] > 0) else { return Ok(order) };
    // Whatever is open points to something open, so following such edges comes round.
    let mut path = vec![start];
    let mut place = vec![None; graph.len()];
    loop {
        let last = path[path.len() - 1];
        if let Some(first) = place[last] {
            return Err(path[first..path.len() - 1].to_vec());
        }
        place[last] = Some(path.len() - 1);
        path.push(graph[last].iter().copied().find(|target| open[*target] > 0).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use super::super::draft::Varying;
    use super::*;
    use crate::problem::Location;

    #[test]
    fn the_order_has_what_is_called_before_its_callers() {
        assert_eq!(order(&[vec![1, 1, 2], vec![2], vec![]]), Ok(vec![2, 1, 0]));
        let n = 60_000;
        let chain: Vec<_> = (0..n).map(|i| if i + 1 < n { vec![i + 1] } else { vec![] }).collect();
        assert_eq!(order(&chain).unwrap()[0], n - 1, "a long chain is no deep recursion");
    }

    #[test]
    fn a_cycle_is_found_without_what_leads_to_it() {
        assert_eq!(order(&[vec![1], vec![2], vec![3, 1], vec![]]), Err(vec![1, 2]));
        assert_eq!(order(&[vec![0]]), Err(vec![0]));
    }

    #[test]
    fn demand_is_visits_times_time_with_every_retry() {
        let ms = |ms| Varying::constant(Span::from_millis(ms));
        let service = |name: &str, script| Service {
            endpoints: vec![Endpoint { name: "do".into(), script, ..Endpoint::default() }],
            ..Service::new(name, Location::default())
        };
        let call = Call {
            count: 3,
            parallel: true,
            retries: 1,
            timeout: Some(Span::from_millis(50)),
            backoff: Span::from_millis(10),
            ..Call::new("b", "do", Location::default())
        };
        let draft = Draft {
            services: vec![
                service("a", vec![Step::Work(ms(4)), Step::Call(call)]),
                service("b", vec![Step::Sleep(ms(200))]),
            ],
            entries: vec![Entry { service: "a".into(), endpoint: "do".into(), weight: 7.0 }],
            ..Draft::default()
        };
        let graph = Graph::of(&draft, |_| panic!("all is known"));
        assert_eq!(graph.visits_below(|calls| &calls.base, &draft.entries), [4.0]);
        let demand = graph.demand();
        // Two attempts of 50 ms each and 10 ms between them, after 4 ms of work; six visits of 200 ms each.
        let expected = [0.114, 1.2];
        assert!(demand.iter().zip(expected).all(|(it, right)| (it.in_progress - right).abs() < 1e-12), "{demand:?}");
        assert_eq!((demand[0].cores, demand[1].cores), (0.004, 0.0));
    }
}
