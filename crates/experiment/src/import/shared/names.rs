//! The names of an experiment that is made from a draft, and its services under these names.

use std::collections::BTreeMap;

use super::draft::{Call, Draft, Endpoint, Service, Step, Varying};
use super::units::{show_number, show_share, show_size, show_span};
use super::yaml::{Yaml, name};
use crate::values::NAME_CHARS_MAX;

/// Default size of a request or a reply in our file.
const DEFAULT_BYTES: u64 = 1024;

/// Default of reserved cores per instance in our file: Kubernetes' customary request of `100m`.
pub(super) const DEFAULT_CPU: f64 = 0.1;

/// The longest queue that our file can say: for sources that refuse nothing.
const QUEUE_MAX: u32 = 1_000_000;

/// The names of the result. Our file separates service and endpoint by a dot, so a name has letters, digits, `-` and
/// `_` only; where two become the same the later one gets a number.
pub(crate) struct Names {
    services: BTreeMap<String, String>,
    endpoints: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) group: String,
    pub(crate) load: String,
}

impl Names {
    pub(crate) fn new(draft: &Draft) -> Self {
        let mut taken = BTreeMap::from([("coordinator".to_owned(), 2)]);
        let services: BTreeMap<_, _> =
            draft.services.iter().map(|service| (service.name.clone(), unique(&service.name, &mut taken))).collect();
        let endpoints = draft.services.iter().map(|service| {
            let mut taken = BTreeMap::new();
            let names = service.endpoints.iter().map(|e| (e.name.clone(), unique(&e.name, &mut taken)));
            (service.name.clone(), names.collect())
        });
        let endpoints = endpoints.collect();
        Names { services, endpoints, group: unique("node", &mut taken), load: unique("users", &mut taken) }
    }

    pub(crate) fn service(&self, service: &str) -> String {
        self.services.get(service).map_or_else(String::new, |clean| name(clean))
    }

    pub(crate) fn endpoint(&self, service: &str, endpoint: &str) -> String {
        self.endpoints.get(service).and_then(|of| of.get(endpoint)).map_or_else(String::new, |clean| name(clean))
    }

    pub(crate) fn endpoints_of(&self, service: &str) -> usize {
        self.endpoints.get(service).map_or(0, BTreeMap::len)
    }

    /// `service.endpoint`, or only the service where it has one endpoint.
    pub(crate) fn target(&self, service: &str, endpoint: &str) -> String {
        if self.endpoints_of(service) > 1 { self.both(service, endpoint) } else { self.service(service) }
    }

    /// `service.endpoint`.
    pub(crate) fn both(&self, service: &str, endpoint: &str) -> String {
        let endpoint = self.endpoints.get(service).and_then(|of| of.get(endpoint));
        match (self.services.get(service), endpoint) {
            (Some(service), Some(endpoint)) => name(&format!("{service}.{endpoint}")),
            _ => String::new(),
        }
    }

    pub(crate) fn service_value(&self, service: &Service, slots: u32, cpu: f64) -> Yaml {
        let mut fields = vec![
            ("instances".to_owned(), Yaml::plain(service.instances.to_string())),
            ("capacity".to_owned(), Yaml::plain(slots.to_string())),
            ("queue".to_owned(), Yaml::plain(service.queue.unwrap_or(QUEUE_MAX).to_string())),
        ];
        if cpu != DEFAULT_CPU {
            fields.push(("cpu".into(), Yaml::plain(show_number(cpu))));
        }
        if let Some(balancer) = service.balancer {
            fields.push(("balancer".into(), Yaml::plain(balancer)));
        }
        fields.push(("endpoints".into(), self.endpoints_value(&service.name, &service.endpoints)));
        if !service.versions.is_empty() {
            let versions = service.versions.iter().map(|version| {
                let endpoints = self.endpoints_value(&service.name, &version.endpoints);
                (version.number.to_string(), Yaml::pair("endpoints", endpoints))
            });
            fields.push(("versions".into(), Yaml::Map(versions.collect())));
        }
        Yaml::Map(fields)
    }

    fn endpoints_value(&self, service: &str, endpoints: &[Endpoint]) -> Yaml {
        Yaml::Map(endpoints.iter().map(|e| (self.endpoint(service, &e.name), self.endpoint_value(e))).collect())
    }

    fn endpoint_value(&self, endpoint: &Endpoint) -> Yaml {
        let mut fields = Vec::new();
        if endpoint.errors > 0.0 {
            fields.push(("errors".to_owned(), Yaml::plain(show_share(endpoint.errors))));
        }
        if let Some(bytes) = endpoint.response.filter(|bytes| *bytes != DEFAULT_BYTES) {
            fields.push(("response".into(), Yaml::plain(show_size(bytes))));
        }
        fields.push(("script".into(), self.script(&endpoint.script)));
        Yaml::Map(fields)
    }

    fn script(&self, script: &[Step]) -> Yaml {
        Yaml::List(script.iter().map(|step| self.step(step)).collect())
    }

    fn step(&self, step: &Step) -> Yaml {
        match step {
            Step::Work(time) => Yaml::pair("work", varying(*time)),
            Step::Sleep(time) => Yaml::pair("sleep", varying(*time)),
            Step::Call(call) => Yaml::pair("call", self.call(call)),
            Step::Parallel(branches) => {
                let branches = branches.iter().map(|branch| match branch.as_slice() {
                    [only] => self.step(only),
                    several => self.script(several),
                });
                Yaml::pair("parallel", Yaml::List(branches.collect()))
            }
            Step::OneOf(choices) => {
                let choice = |(weight, script): &(f64, Vec<Step>)| {
                    let mut fields = vec![("weight".to_owned(), Yaml::plain(show_number(*weight)))];
                    if !script.is_empty() {
                        fields.push(("run".to_owned(), self.script(script)));
                    }
                    Yaml::Map(fields)
                };
                Yaml::pair("one_of", Yaml::List(choices.iter().map(choice).collect()))
            }
        }
    }

    fn call(&self, call: &Call) -> Yaml {
        let to = Yaml::plain(self.target(&call.service, &call.endpoint));
        let mut fields = vec![("to".to_owned(), to)];
        let mut add = |key: &str, value: String| fields.push((key.to_owned(), Yaml::Plain(value)));
        if call.probability < 1.0 {
            add("probability", show_share(call.probability));
        }
        if call.count != 1 {
            add("count", call.count.to_string());
            if call.parallel {
                add("parallel", "true".into());
            }
        }
        if call.detached {
            add("async", "true".into());
        }
        if let Some(bytes) = call.request.filter(|bytes| *bytes != DEFAULT_BYTES) {
            add("request", show_size(bytes));
        }
        // Our file has a timeout and a budget of its own where none are said.
        add("timeout", call.timeout.map_or_else(|| "none".to_owned(), show_span));
        if call.retries > 0 {
            add("retries", call.retries.to_string());
            add("retry", format!("{{ backoff: fixed, base: {}, budget: none }}", show_span(call.backoff)));
        }
        if call.optional {
            add("optional", "true".into());
        }
        Yaml::Map(fields)
    }
}

fn varying(time: Varying) -> Yaml {
    let mean = show_span(time.mean);
    Yaml::Plain(if time.sd.is_zero() { mean } else { format!("{mean} +/- {}", show_span(time.sd)) })
}

/// `taken` holds each name given so far, with the number that its next double gets.
fn unique(text: &str, taken: &mut BTreeMap<String, u64>) -> String {
    let clean = clean(text);
    let mut found = clean.clone();
    while taken.contains_key(&found) {
        let number = taken.entry(clean.clone()).or_insert(2);
        found = format!("{clean}-{number}");
        *number += 1;
    }
    taken.insert(found.clone(), 2);
    found
}

/// A name of an experiment: letters, digits, `-` and `_` only, and not too many of them.
pub(crate) fn clean(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').filter(|word| !word.is_empty());
    // Room is left for the number of a double.
    let clean: String = words.collect::<Vec<_>>().join("-").chars().take(NAME_CHARS_MAX - 20).collect();
    if clean.is_empty() { "unnamed".to_owned() } else { clean }
}
