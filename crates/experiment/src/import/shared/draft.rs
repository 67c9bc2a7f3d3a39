//! A mesh as an importer has read it: names not yet resolved, what the source does not say still open.

use std::collections::BTreeMap;

use meshsim_actor::Span;

use super::reading::Reading;
use crate::problem::Place;
use crate::schema::{ENDPOINTS_MAX, INSTANCES_MAX, SERVICES_MAX};

/// What an importer has read.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// In the order of the source.
    pub(crate) services: Vec<Service>,
    /// What a client asks for.
    pub(crate) entries: Vec<Entry>,
    /// How often, if the source says so.
    pub(crate) arrivals: Option<Arrivals>,
    /// False when the source does not know who calls whom.
    pub(crate) has_calls: bool,
    /// How the result differs from the source, for people.
    pub(crate) differences: Vec<String>,
}

/// One kind of request, and its weight among the others.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) service: String,
    pub(crate) endpoint: String,
    pub(crate) weight: f64,
}

/// Evenly spaced requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    pub(crate) per_second: f64,
}

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) at: Place,
    pub(crate) instances: u32,
    pub(crate) capacity: Option<u32>,
    pub(crate) cpu: Option<f64>,
    pub(crate) start_delay: Option<Span>,
    /// Names of the services that must be there before it.
    pub(crate) after: Vec<(String, Place)>,
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Service {
    /// One instance, and nothing else known.
    pub(crate) fn new(name: impl Into<String>, at: Place) -> Self {
        Service {
            name: name.into(),
            at,
            instances: 1,
            capacity: None,
            cpu: None,
            start_delay: None,
            after: Vec::new(),
            endpoints: Vec::new(),
        }
    }
}

/// What a service does with one kind of request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) at: Place,
    /// Share of requests that fail by themselves.
    pub(crate) errors: f64,
    /// Size of the reply in bytes.
    pub(crate) response: Option<u64>,
    pub(crate) script: Vec<Step>,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Work(Varying),
    Sleep(Varying),
    Call(Call),
    Parallel(Vec<Vec<Step>>),
}

/// A length of time that is normally distributed around its mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Varying {
    pub(crate) mean: Span,
    pub(crate) sd: Span,
}

impl Varying {
    /// Always the same.
    pub(crate) fn constant(mean: Span) -> Self {
        Varying { mean, sd: Span::ZERO }
    }
}

/// A call of another service.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) service: String,
    pub(crate) endpoint: String,
    pub(crate) at: Place,
    pub(crate) probability: f64,
    pub(crate) count: u32,
    pub(crate) request: Option<u64>,
    pub(crate) timeout: Option<Span>,
    pub(crate) retries: u32,
    pub(crate) optional: bool,
}

impl Call {
    /// Made once, always.
    pub(crate) fn new(service: impl Into<String>, endpoint: impl Into<String>, at: Place) -> Self {
        Call {
            service: service.into(),
            endpoint: endpoint.into(),
            at,
            probability: 1.0,
            count: 1,
            request: None,
            timeout: None,
            retries: 0,
            optional: false,
        }
    }
}

impl Draft {
    /// Instances of all services.
    pub(crate) fn instances(&self) -> u64 {
        self.services.iter().map(|s| u64::from(s.instances)).sum()
    }

    /// Checks what holds for every format: names that mean one thing, calls that lead somewhere and come to an end,
    /// sizes that can be simulated. Returns the expected service visits of each entry's request, its own included.
    pub(crate) fn check(&self, reading: &mut Reading) -> Vec<f64> {
        if self.services.is_empty() && reading.is_clean() {
            reading.problem(Place::default(), "there is no service in it", "is it a file of another format?");
        }
        if self.services.len() > SERVICES_MAX {
            let message = format!("{} services are too many", self.services.len());
            reading.problem(Place::default(), message, format!("write at most {SERVICES_MAX}"));
        }
        if self.instances() > INSTANCES_MAX {
            let most = self.services.iter().max_by_key(|s| s.instances).expect("there are instances");
            let message = format!("{} instances in all are too many (`{}` has most)", self.instances(), most.name);
            reading.problem(most.at, message, format!("write at most {INSTANCES_MAX} in all"));
        }
        if let Some(most) = self.services.iter().find(|service| service.endpoints.len() > ENDPOINTS_MAX) {
            let message = format!("{} endpoints are too many for a service", most.endpoints.len());
            reading.problem(most.at, message, format!("write at most {ENDPOINTS_MAX}"));
        }
        let mut endpoints = BTreeMap::new();
        let mut services = BTreeMap::new();
        for service in &self.services {
            if services.insert(service.name.as_str(), service.at).is_some() {
                let message = format!("there is another service named `{}`", service.name);
                reading.problem(service.at, message, "give each service its own name");
            }
            for endpoint in &service.endpoints {
                let number = endpoints.len();
                endpoints.entry((service.name.as_str(), endpoint.name.as_str())).or_insert((number, endpoint));
            }
        }
        for (name, at) in self.services.iter().flat_map(|s| &s.after) {
            if !services.contains_key(name.as_str()) {
                reading.unknown(*at, name, services.keys().copied());
            }
        }
        if endpoints.len() < self.services.iter().map(|s| s.endpoints.len()).sum() {
            return Vec::new();
        }
        let mut graph = vec![Vec::new(); endpoints.len()];
        for (number, endpoint) in endpoints.values() {
            for (call, times) in calls(&endpoint.script) {
                match endpoints.get(&(call.service.as_str(), call.endpoint.as_str())) {
                    Some((callee, _)) => graph[*number].push((*callee, times)),
                    None if services.contains_key(call.service.as_str()) => {
                        let of =
                            endpoints.keys().filter(|(service, _)| *service == call.service).map(|(_, name)| *name);
                        reading.unknown(call.at, &call.endpoint, of);
                    }
                    None => reading.unknown(call.at, &call.service, services.keys().copied()),
                }
            }
        }
        let edges: Vec<Vec<usize>> =
            graph.iter().map(|calls| calls.iter().map(|(callee, _)| *callee).collect()).collect();
        let order = match order(&edges) {
            Ok(order) => order,
            Err(cycle) => {
                let mut names = vec![("", Place::default()); endpoints.len()];
                endpoints.iter().for_each(|((service, _), (number, e))| names[*number] = (*service, e.at));
                let round = circle(cycle.iter().map(|number| names[*number].0), "calls");
                reading.problem(
                    names[cycle[0]].1,
                    format!("the calls go round in a circle: {round}"),
                    "take one of these calls out: a request must come to an end",
                );
                return Vec::new();
            }
        };
        // Expected visits that a request causes, its own included: v(n) = 1 + sum of times * v(callee).
        let mut visits = vec![1.0; graph.len()];
        for number in order {
            visits[number] += graph[number].iter().map(|(callee, times)| times * visits[*callee]).sum::<f64>();
        }
        self.entries
            .iter()
            .map(|entry| endpoints.get(&(entry.service.as_str(), entry.endpoint.as_str())))
            .map(|found| found.map_or(0.0, |(number, _)| visits[*number]))
            .collect()
    }

    /// For each service, how many others must have started before it, one after the other.
    pub(crate) fn start_levels(&self, reading: &mut Reading) -> Vec<u32> {
        let index: BTreeMap<_, _> = self.services.iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
        let after = |s: &Service| s.after.iter().filter_map(|(other, _)| index.get(other.as_str()).copied()).collect();
        let graph: Vec<Vec<usize>> = self.services.iter().map(after).collect();
        let mut levels = vec![0; graph.len()];
        match order(&graph) {
            Ok(order) => {
                for number in order {
                    levels[number] = graph[number].iter().map(|other| levels[*other] + 1).max().unwrap_or(0);
                }
            }
            Err(cycle) => {
                let round = circle(cycle.iter().map(|number| self.services[*number].name.as_str()), "waits for");
                reading.problem(
                    self.services[cycle[0]].at,
                    format!("the services wait for each other: {round}"),
                    "take one of these dependencies out",
                );
            }
        }
        levels
    }

    /// Endpoints that nobody calls, as `(service, endpoint)`.
    pub(crate) fn uncalled(&self) -> Vec<(String, String)> {
        let called: std::collections::BTreeSet<_> = self
            .services
            .iter()
            .flat_map(|s| &s.endpoints)
            .flat_map(|e| calls(&e.script))
            .map(|(call, _)| (call.service.clone(), call.endpoint.clone()))
            .collect();
        let all = self.services.iter().flat_map(|s| s.endpoints.iter().map(|e| (s.name.clone(), e.name.clone())));
        all.filter(|endpoint| !called.contains(endpoint)).collect()
    }
}

/// All calls of a script, with how often each is made on average.
pub(crate) fn calls(script: &[Step]) -> Vec<(&Call, f64)> {
    script
        .iter()
        .flat_map(|step| match step {
            Step::Call(call) => vec![(call, call.probability * f64::from(call.count))],
            Step::Parallel(branches) => branches.iter().flat_map(|branch| calls(branch)).collect(),
            Step::Work(_) | Step::Sleep(_) => Vec::new(),
        })
        .collect()
}

/// The nodes of a graph, each after all that it points to; or, if there is a cycle, the nodes of one, in order.
///
/// Kahn's algorithm, without recursion: a chain may be as long as there are services.
fn order(graph: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
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

/// `a` calls `b` calls `a`; a long way round is shortened.
fn circle<'a>(names: impl Iterator<Item = &'a str>, verb: &str) -> String {
    let mut names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    names.extend(names.first().cloned());
    if names.len() > 8 {
        names.splice(4..names.len() - 2, ["...".to_owned()]);
    }
    names.join(&format!(" {verb} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_has_what_is_called_before_its_callers() {
        assert_eq!(order(&[vec![1, 1, 2], vec![2], vec![]]), Ok(vec![2, 1, 0]));
        let n = 60_000;
        let chain: Vec<_> = (0..n).map(|i| if i + 1 < n { vec![i + 1] } else { vec![] }).collect();
        assert_eq!(order(&chain).unwrap()[0], n - 1, "a long chain is no deep recursion");
    }

    #[test]
    fn a_cycle_is_named_without_what_leads_to_it() {
        assert_eq!(order(&[vec![1], vec![2], vec![3, 1], vec![]]), Err(vec![1, 2]));
        assert_eq!(order(&[vec![0]]), Err(vec![0]));
        assert_eq!(circle(["a", "b"].into_iter(), "calls"), "`a` calls `b` calls `a`");
    }
}
