//! A draft as an experiment file that a person can read and edit.
//!
//! What the source does not say has to be said all the same, or nothing would run. Every such number is chosen here or
//! in an importer, stands in the file like any other, and is listed as guessed.

use std::collections::BTreeMap;

use super::draft::{Arrivals, Call, Draft, Endpoint, Service, Step, Varying};
use super::reading::{Notes, Reading};
use super::units::{many, show_number, show_share, show_size, show_span};
use super::yaml::{Yaml, name};
use crate::values::NAME_CHARS_MAX;

/// Slots of an instance whose source names no limit: more than a request that waits for others will ever need.
const CAPACITY: u32 = 64;

/// Cores of an instance whose source names none: Kubernetes' customary request of `100m`.
const CPU: f64 = 0.1;

/// What our file takes a request or a reply to be where it says nothing.
const DEFAULT_BYTES: u64 = 1024;

/// Between the starts of services that wait for each other, in seconds.
const START_GAP_S: u32 = 1;

/// Services that would start later than this many gaps start together, so that the run does not end before.
const START_LEVELS_MAX: u32 = 30;

/// Items of one kind that the header lists.
const HEADER_ITEMS_MAX: usize = 40;

/// Visits per second that a guessed load causes at most, so that a first run is over in seconds.
const VISITS_PER_SECOND: f64 = 10_000.0;

/// Writes everything but the header. What it has to make up it notes as guessed. `visits` are the draft's, by entry.
pub(crate) fn body(draft: &Draft, visits: &[f64], experiment: &str, reading: &mut Reading) -> String {
    let names = Names::new(draft);
    let mut entries = vec![
        ("name".to_owned(), Yaml::plain(name(experiment))),
        ("seed".to_owned(), Yaml::plain("1")),
        ("duration".to_owned(), Yaml::plain("60s")),
        ("nodes".to_owned(), Yaml::Tall(Some("Where it runs.".into()), Box::new(nodes(draft, &names, reading)))),
        ("network".to_owned(), Yaml::Map(vec![("latency".to_owned(), Yaml::plain("0.25ms"))])),
    ];
    reading.guess("duration 60s, and a network of 0.25ms one way");

    let services = draft.services.iter().map(|service| {
        let value = names.service_value(service);
        (
            names.service(&service.name),
            if draft.services.len() <= 40 { Yaml::Tall(None, Box::new(value)) } else { value },
        )
    });
    entries
        .push(("services".to_owned(), Yaml::Tall(Some("What runs.".into()), Box::new(Yaml::Map(services.collect())))));
    let open = draft.services.iter().filter(|service| service.capacity.is_none()).count();
    if open > 0 {
        reading.guess(format!("capacity {CAPACITY} of {}", many(open as u64, "service")));
    }

    if let Some(operations) = starts(draft, &names, reading) {
        entries
            .push(("operations".to_owned(), Yaml::Tall(Some("Who starts after whom.".into()), Box::new(operations))));
    }
    if !draft.entries.is_empty() {
        let load = load(draft, visits, &names, reading);
        entries.push(("load".to_owned(), Yaml::Tall(Some("What is asked of it.".into()), Box::new(load))));
    }
    Yaml::document(&entries)
}

/// What stands above the body.
pub(crate) fn header(sources: &str, draft: &Draft, notes: &Notes) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        for (index, wrapped) in wrap(text, 116).iter().enumerate() {
            let indent = if index > 0 && text.starts_with("  ") { "    " } else { "" };
            out.push_str(format!("# {indent}{wrapped}").trim_end());
            out.push('\n');
        }
    };
    line(&format!("Imported from {sources}."));
    notes.flags.iter().for_each(|flag| line(&format!("NOTE: {flag}.")));
    let mut section = |title: &str, items: &[String]| {
        if !items.is_empty() {
            line("");
            line(title);
            items.iter().take(HEADER_ITEMS_MAX).for_each(|item| line(&format!("  - {item}")));
            if items.len() > HEADER_ITEMS_MAX {
                line(&format!("  - and {} more", items.len() - HEADER_ITEMS_MAX));
            }
        }
    };
    section("Guessed, because the source does not say; write what you know better:", &notes.guessed);
    section("Other than in the source:", &draft.differences);
    section("Ignored, because it is not modelled:", &notes.ignored);
    out.push('\n');
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let lead: String = text.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![lead];
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a line");
        if !last.trim().is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.trim().is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn nodes(draft: &Draft, names: &Names, reading: &mut Reading) -> Yaml {
    let cpu = |service: &Service| service.cpu.unwrap_or(CPU);
    let total: f64 = draft.services.iter().map(|s| cpu(s) * f64::from(s.instances)).sum();
    let largest = draft.services.iter().map(cpu).fold(0.0, f64::max);
    // A quarter more than is reserved, for what grows; no instance larger than half a node.
    let count = |cores: f64| (total * 1.25 / cores).ceil().max(2.0);
    let sizes = [8.0, 16.0, 32.0, 64.0, 128.0];
    let cores = sizes.into_iter().find(|cores| count(*cores) <= 32.0 && *cores >= 2.0 * largest);
    let cores = cores.unwrap_or((2.0 * largest).max(128.0)).ceil();
    let count = count(cores);
    let open = draft.services.iter().filter(|service| service.cpu.is_none()).count();
    if open > 0 {
        reading.guess(format!("cpu {CPU} of {}", many(open as u64, "service")));
    }
    reading.guess(format!("{count} nodes of {cores} cores, a quarter more than is reserved"));
    let node = [("name", names.group.clone()), ("count", count.to_string()), ("cores", cores.to_string())];
    Yaml::List(vec![Yaml::Map(node.map(|(key, value)| (key.to_owned(), Yaml::plain(value))).into())])
}

/// Deploys in the order in which services wait for each other; `None` where nobody waits.
fn starts(draft: &Draft, names: &Names, reading: &mut Reading) -> Option<Yaml> {
    if draft.services.iter().all(|service| service.after.is_empty()) {
        return None;
    }
    let levels = draft.start_levels(reading);
    reading.guess(format!("{START_GAP_S}s between the starts of services that wait for each other"));
    let mut rounds: BTreeMap<u32, Vec<Yaml>> = BTreeMap::new();
    for (number, service) in draft.services.iter().enumerate() {
        rounds.entry(levels[number].min(START_LEVELS_MAX)).or_default().push(Yaml::plain(names.service(&service.name)));
    }
    let operations = rounds.into_iter().map(|(level, services)| {
        let at = Yaml::plain(format!("{}s", level * START_GAP_S));
        Yaml::Map(vec![("at".into(), at), ("deploy".into(), Yaml::List(services))])
    });
    Some(Yaml::List(operations.collect()))
}

fn load(draft: &Draft, visits: &[f64], names: &Names, reading: &mut Reading) -> Yaml {
    let weight: f64 = draft.entries.iter().map(|entry| entry.weight).sum();
    let per_request: f64 = draft.entries.iter().zip(visits).map(|(entry, v)| entry.weight * v / weight).sum();
    let arrivals = match draft.arrivals {
        Some(Arrivals { per_second }) => Yaml::pair("constant", Yaml::plain(format!("{}/s", show_number(per_second)))),
        None => {
            let rate = (VISITS_PER_SECOND / per_request.max(1.0)).clamp(0.1, 100.0);
            let rate = if rate >= 1.0 { rate.floor() } else { rate };
            reading.guess(format!("{}/s requests, at random", show_number(rate)));
            Yaml::pair("poisson", Yaml::plain(format!("{}/s", show_number(rate))))
        }
    };
    let first = &draft.entries[0].service;
    // In a mix a bare name is an endpoint of `to`; what belongs to others has its service before it.
    let mix = draft.entries.iter().map(|entry| {
        let own = entry.service == *first;
        let target =
            if own { names.endpoint(first, &entry.endpoint) } else { names.both(&entry.service, &entry.endpoint) };
        (target, Yaml::plain(show_number(entry.weight)))
    });
    let mut fields = vec![("to".to_owned(), Yaml::plain(names.service(first)))];
    fields.push(("arrivals".into(), arrivals));
    if draft.entries.len() > 1 {
        fields.push(("mix".into(), Yaml::Map(mix.collect())));
    } else if names.endpoints_of(first) > 1 {
        fields[0].1 = Yaml::plain(names.target(first, &draft.entries[0].endpoint));
    }
    if draft.services.iter().any(|service| !service.after.is_empty()) {
        let last = draft.start_levels(reading).into_iter().max().unwrap_or(0).min(START_LEVELS_MAX);
        fields.push(("from".into(), Yaml::plain(format!("{}s", (last + 1) * START_GAP_S))));
    }
    fields.push(("warmup".into(), Yaml::plain("5s")));
    reading.guess("a warmup of 5s");
    Yaml::Map(vec![(names.load.clone(), Yaml::Tall(None, Box::new(Yaml::Map(fields))))])
}

/// The names of the result. Our file separates service and endpoint by a dot, so a name has letters, digits, `-` and
/// `_` only; where two become the same the later one gets a number.
struct Names {
    services: BTreeMap<String, String>,
    endpoints: BTreeMap<String, BTreeMap<String, String>>,
    group: String,
    load: String,
}

impl Names {
    fn new(draft: &Draft) -> Self {
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

    fn service(&self, service: &str) -> String {
        self.services.get(service).map_or_else(String::new, |clean| name(clean))
    }

    fn endpoint(&self, service: &str, endpoint: &str) -> String {
        self.endpoints.get(service).and_then(|of| of.get(endpoint)).map_or_else(String::new, |clean| name(clean))
    }

    fn endpoints_of(&self, service: &str) -> usize {
        self.endpoints.get(service).map_or(0, BTreeMap::len)
    }

    /// `service.endpoint`, or only the service where it has one endpoint.
    fn target(&self, service: &str, endpoint: &str) -> String {
        if self.endpoints_of(service) > 1 { self.both(service, endpoint) } else { self.service(service) }
    }

    /// `service.endpoint`.
    fn both(&self, service: &str, endpoint: &str) -> String {
        let endpoint = self.endpoints.get(service).and_then(|of| of.get(endpoint));
        match (self.services.get(service), endpoint) {
            (Some(service), Some(endpoint)) => name(&format!("{service}.{endpoint}")),
            _ => String::new(),
        }
    }

    fn service_value(&self, service: &Service) -> Yaml {
        let mut fields = vec![
            ("instances".to_owned(), Yaml::plain(service.instances.to_string())),
            ("capacity".to_owned(), Yaml::plain(service.capacity.unwrap_or(CAPACITY).to_string())),
        ];
        if let Some(cpu) = service.cpu {
            fields.push(("cpu".into(), Yaml::plain(show_number(cpu))));
        }
        if let Some(delay) = service.start_delay {
            fields.push(("start_delay".into(), Yaml::plain(show_span(delay))));
        }
        let endpoints =
            service.endpoints.iter().map(|e| (self.endpoint(&service.name, &e.name), self.endpoint_value(e)));
        fields.push(("endpoints".into(), Yaml::Map(endpoints.collect())));
        Yaml::Map(fields)
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
        }
    }

    fn call(&self, call: &Call) -> Yaml {
        let to = Yaml::plain(self.target(&call.service, &call.endpoint));
        let mut fields = vec![("to".to_owned(), to.clone())];
        let mut add = |key: &str, value: String| fields.push((key.to_owned(), Yaml::Plain(value)));
        if call.probability < 1.0 {
            add("probability", show_share(call.probability));
        }
        if call.count != 1 {
            add("count", call.count.to_string());
        }
        if let Some(bytes) = call.request.filter(|bytes| *bytes != DEFAULT_BYTES) {
            add("request", show_size(bytes));
        }
        if let Some(timeout) = call.timeout {
            add("timeout", show_span(timeout));
        }
        if call.retries > 0 {
            add("retries", call.retries.to_string());
        }
        if call.optional {
            add("optional", "true".into());
        }
        if fields.len() == 1 { to } else { Yaml::Map(fields) }
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
