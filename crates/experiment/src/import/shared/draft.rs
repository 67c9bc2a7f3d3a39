//! Draft of a mesh as an importer has read it: names are not resolved, and missing values are open.

use std::collections::BTreeMap;

use meshsim_actor::Span;

use super::graph::{Graph, order};
use super::reading::Reading;
use crate::compile::VERSIONS_MAX;
use crate::problem::Location;
use crate::schema::{ENDPOINTS_MAX, EVENTS_MAX, INSTANCES_MAX, SERVICES_MAX};

/// Content of the imported files.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// In the order of the source.
    pub(crate) services: Vec<Service>,
    /// Requests of clients.
    pub(crate) entries: Vec<Entry>,
    /// Arrivals of requests, if the source gives them.
    pub(crate) arrivals: Option<Arrivals>,
    /// Services that become another version of themselves.
    pub(crate) changes: Vec<Change>,
    /// Shortest run that includes all planned events.
    pub(crate) duration: Option<Span>,
    /// False if the source has no call graph.
    pub(crate) has_calls: bool,
    /// Differences between the result and the source, for people.
    pub(crate) differences: Vec<String>,
}

/// One kind of request, and its weight among the others.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) service: String,
    pub(crate) endpoint: String,
    pub(crate) weight: f64,
}

/// Arrival times of requests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrivals {
    /// At random instead of evenly spaced.
    pub(crate) is_random: bool,
    /// The rate, piece by piece; at least one, and only the last has no length.
    pub(crate) stages: Vec<Stage>,
}

/// A piece of a rate: linear from one value to another, in requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stage {
    /// `None`: to the end.
    pub(crate) length: Option<Span>,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Arrivals {
    /// One rate, evenly spaced.
    pub(crate) fn steady(per_second: f64) -> Self {
        Arrivals { is_random: false, stages: vec![Stage { length: None, from: per_second, to: per_second }] }
    }

    /// The highest rate.
    pub(crate) fn peak(&self) -> f64 {
        self.stages.iter().map(|stage| stage.from.max(stage.to)).fold(0.0, f64::max)
    }
}

/// Time from which all instances of a service behave as a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Span,
    pub(crate) service: String,
    pub(crate) version: u32,
}

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) at: Location,
    pub(crate) instances: u32,
    pub(crate) capacity: Option<u32>,
    /// Requests that may wait at an instance; `None`: any number.
    pub(crate) queue: Option<u32>,
    pub(crate) cpu: Option<f64>,
    /// Balancer, as in our file; `None`: the default.
    pub(crate) balancer: Option<&'static str>,
    /// Names of the services that must be there before it.
    pub(crate) after: Vec<After>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Other behaviours, from version 2 on and in turn; `endpoints` is version 1.
    pub(crate) versions: Vec<Version>,
}

/// A service that must be there before another one.
#[derive(Clone, Debug)]
pub(crate) struct After {
    pub(crate) name: String,
    pub(crate) at: Location,
    /// Without it the other does not start.
    pub(crate) required: bool,
}

/// Another behaviour of a service.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    /// The endpoints that are not as in version 1. Each version of a service names the same ones.
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Service {
    /// One instance, and nothing else known.
    pub(crate) fn new(name: impl Into<String>, at: Location) -> Self {
        Service {
            name: name.into(),
            at,
            instances: 1,
            capacity: None,
            queue: None,
            cpu: None,
            balancer: None,
            after: Vec::new(),
            endpoints: Vec::new(),
            versions: Vec::new(),
        }
    }
}

/// Processing of one kind of request by a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) at: Location,
    /// Share of requests that fail by themselves.
    pub(crate) errors: f64,
    /// Size of the reply in bytes.
    pub(crate) response: Option<u64>,
    pub(crate) script: Vec<Step>,
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Work(Varying),
    Sleep(Varying),
    Call(Call),
    Parallel(Vec<Vec<Step>>),
    /// Exactly one of these scripts, by weight.
    OneOf(Vec<(f64, Vec<Step>)>),
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
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) service: String,
    pub(crate) endpoint: String,
    pub(crate) at: Location,
    pub(crate) probability: f64,
    pub(crate) count: u32,
    /// The copies are made side by side.
    pub(crate) parallel: bool,
    /// True if the caller does not wait for it.
    pub(crate) detached: bool,
    pub(crate) request: Option<u64>,
    /// `None`: the caller waits indefinitely.
    pub(crate) timeout: Option<Span>,
    pub(crate) retries: u32,
    /// Before each retry, always as long.
    pub(crate) backoff: Span,
    pub(crate) optional: bool,
}

impl Call {
    /// Made once, always.
    pub(crate) fn new(service: impl Into<String>, endpoint: impl Into<String>, at: Location) -> Self {
        Call {
            service: service.into(),
            endpoint: endpoint.into(),
            at,
            probability: 1.0,
            count: 1,
            parallel: false,
            detached: false,
            request: None,
            timeout: None,
            retries: 0,
            backoff: Span::ZERO,
            optional: false,
        }
    }
}

impl Draft {
    /// Instances of all services.
    pub(crate) fn instances(&self) -> u64 {
        self.services.iter().map(|s| u64::from(s.instances)).sum()
    }

    /// Checks the rules of every format: unique names, calls that have a target and end, sizes that can be simulated.
    /// Returns the expected service visits of each entry's request, its own included.
    pub(crate) fn check(&self, reading: &mut Reading) -> Vec<f64> {
        if self.services.is_empty() && reading.is_clean() {
            reading.problem(Location::default(), "it has no service", "is it a file of another format?");
        }
        if self.services.len() > SERVICES_MAX {
            let message = format!("too many services: {}", self.services.len());
            reading.problem(Location::default(), message, format!("write at most {SERVICES_MAX}"));
        }
        if self.instances() > INSTANCES_MAX {
            let most = self.services.iter().max_by_key(|s| s.instances).expect("there are instances");
            let message = format!("too many instances in all: {} (`{}` has most)", self.instances(), most.name);
            reading.problem(most.at, message, format!("write at most {INSTANCES_MAX} in all"));
        }
        if let Some(most) = self.services.iter().find(|service| service.endpoints.len() > ENDPOINTS_MAX) {
            let message = format!("too many endpoints in a service: {}", most.endpoints.len());
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
        for after in self.services.iter().flat_map(|s| &s.after) {
            if !services.contains_key(after.name.as_str()) {
                reading.unknown(after.at, &after.name, services.keys().copied());
            }
        }
        if endpoints.len() < self.services.iter().map(|s| s.endpoints.len()).sum() {
            return Vec::new();
        }
        if self.changes.len() > EVENTS_MAX {
            let message = format!("the services change {} times", self.changes.len());
            reading.problem(Location::default(), message, format!("at most {EVENTS_MAX} times"));
        }
        for service in self.services.iter().filter(|service| service.versions.len() >= VERSIONS_MAX) {
            let message = format!("`{}` has {} behaviours", service.name, service.versions.len() + 1);
            reading.problem(service.at, message, format!("at most {VERSIONS_MAX}"));
        }
        let graph = Graph::of(self, |call| {
            let known = self.services.iter().find(|service| service.name == call.service);
            match known {
                Some(service) => {
                    let of = service.endpoints.iter().map(|endpoint| endpoint.name.as_str());
                    reading.unknown(call.at, &call.endpoint, of);
                }
                None => reading.unknown(call.at, &call.service, services.keys().copied()),
            }
        });
        if let Err(cycle) = &graph.order {
            let names: Vec<_> = cycle.iter().map(|number| graph.endpoints[*number]).collect();
            let round = circle(names.iter().map(|(service, _)| service.name.as_str()), "calls");
            reading.problem(
                names[0].1.at,
                format!("the calls go round in a circle: {round}"),
                "take one of these calls out: a request must come to an end",
            );
            return Vec::new();
        }
        graph.visits_below(|calls| &calls.base, &self.entries)
    }

    /// For each service, how many others must have started before it, one after the other.
    pub(crate) fn start_levels(&self, reading: &mut Reading) -> Vec<u32> {
        let index: BTreeMap<_, _> = self.services.iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
        let after = |s: &Service| s.after.iter().filter_map(|it| index.get(it.name.as_str()).copied()).collect();
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

    /// Endpoints without callers, as `(service, endpoint)`.
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

/// All calls of a script, each with its mean number.
pub(crate) fn calls(script: &[Step]) -> Vec<(&Call, f64)> {
    script
        .iter()
        .flat_map(|step| match step {
            Step::Call(call) => vec![(call, call.probability * f64::from(call.count))],
            Step::Parallel(branches) => branches.iter().flat_map(|branch| calls(branch)).collect(),
            Step::OneOf(choices) => {
                let all: f64 = choices.iter().map(|(weight, _)| weight).sum();
                let of = |(weight, script)| calls(script).into_iter().map(move |(call, n)| (call, n * weight / all));
                choices.iter().flat_map(|(weight, script)| of((*weight, script))).collect()
            }
            Step::Work(_) | Step::Sleep(_) => Vec::new(),
        })
        .collect()
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
    fn a_circle_is_named_all_the_way_round() {
        assert_eq!(circle(["a", "b"].into_iter(), "calls"), "`a` calls `b` calls `a`");
    }
}
