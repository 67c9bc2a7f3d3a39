//! Compose files: services, replicas, reserved cores and start order. Who calls whom they do not say.
//!
//! Source: the Compose Specification. `depends_on` is an order of starts, not a call: in DeathStarBench's hotel none of
//! its 22 edges joins two services of the application. So the calls come from another file (a motel topology), laid over
//! this one by [`overlay`].

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::Span;

use super::Importer;
use super::shared::draft::{Draft, Endpoint, Entry, Service, Step, Varying};
use super::shared::reading::{Fields, Reading};
use super::shared::units;
use crate::problem::{all_of, shortened};
use crate::tree::{Node, Value};

pub(super) const IMPORTER: Importer = Importer { name: "compose", file: "compose.rs", read };

/// A compose service has no endpoints; ours needs one.
const ENDPOINT: &str = "serve";

/// Guessed for whatever a service does.
const WORK: Span = Span::from_millis(1);

/// More instances than anybody starts on one machine.
const REPLICAS_MAX: u32 = 1_000_000;

/// What tells a service of the application from what it merely uses.
struct Hints {
    built: bool,
    published: bool,
}

fn read(roots: &[Node], reading: &mut Reading) -> Draft {
    let mut draft = Draft::default();
    // Later files override earlier ones, as with `docker compose -f a -f b`.
    let Some(root) = roots.iter().cloned().reduce(merged) else { return draft };
    let mut fields = reading.fields(&root, "the file");
    let _ = fields.take("version");
    let mut hints = BTreeMap::new();
    match fields.take("services") {
        Some(services) => {
            for (key, node) in reading.entries(services, "`services`") {
                let mut service = Service::new(&key.text, key.place);
                hints.insert(key.text.clone(), read_service(node, &mut service, reading));
                draft.services.push(service);
            }
        }
        None => {
            reading.problem(root.place, "there is no `services`", "write `services:` and a map of services");
        }
    }
    fields.ignore_rest(reading, "");
    draft.entries = entries(&draft, &hints);
    draft
}

/// Whom to ask, when nobody says who asks: services of the application that the outside can reach.
fn entries(draft: &Draft, hints: &BTreeMap<String, Hints>) -> Vec<Entry> {
    let waited_for: BTreeSet<_> = draft.services.iter().flat_map(|s| &s.after).map(|(name, _)| name).collect();
    let choices: [&dyn Fn(&Service) -> bool; 4] = [
        &|s| hints[&s.name].published && hints[&s.name].built,
        &|s| hints[&s.name].published,
        &|s| !waited_for.contains(&s.name),
        &|_| true,
    ];
    let found = choices.iter().map(|choice| draft.services.iter().filter(|s| choice(s)).collect::<Vec<_>>());
    let found = found.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    found.iter().map(|s| Entry { service: s.name.clone(), endpoint: ENDPOINT.into(), weight: 1.0 }).collect()
}

fn merged(base: Node, over: Node) -> Node {
    let value = match (base.value, over.value) {
        (Value::Map(mut base), Value::Map(over)) => {
            for (key, node) in over {
                match base.iter().position(|(known, _)| known.text == key.text) {
                    Some(index) => {
                        let (known, before) = base.remove(index);
                        base.insert(index, (known, merged(before, node)));
                    }
                    None => base.push((key, node)),
                }
            }
            Value::Map(base)
        }
        (Value::List(base), Value::List(over)) => Value::List([base, over].concat()),
        (_, over) => over,
    };
    Node { place: over.place, value }
}

fn read_service(node: &Node, service: &mut Service, reading: &mut Reading) -> Hints {
    let mut fields = reading.fields(node, "a service");
    let hints = Hints { built: fields.take("build").is_some(), published: fields.take("ports").is_some() };
    let mut replicas = fields.take("scale");
    let mut cpus = fields.take("cpus");
    if let Some(deploy) = fields.take("deploy") {
        let mut deploy = reading.fields(deploy, "`deploy`");
        replicas = deploy.take("replicas").or(replicas);
        if let Some(resources) = deploy.take("resources") {
            let mut resources = reading.fields(resources, "`resources`");
            // What is reserved is what a node needs room for; a limit stands in where nothing is.
            for kind in ["limits", "reservations"] {
                let Some(node) = resources.take(kind) else { continue };
                let mut kind_fields: Fields<'_> = reading.fields(node, &format!("`{kind}`"));
                cpus = kind_fields.take("cpus").or(cpus);
                kind_fields.ignore_rest(reading, &format!("services.*.deploy.resources.{kind}"));
            }
            resources.ignore_rest(reading, "services.*.deploy.resources");
        }
        deploy.ignore_rest(reading, "services.*.deploy");
    }
    let replicas = replicas.and_then(|node| interpolated(node, reading));
    service.instances = replicas.and_then(|n| reading.count(&n, "`replicas`", 0, REPLICAS_MAX)).unwrap_or(1);
    service.cpu = cpus.and_then(|node| interpolated(node, reading)).and_then(|n| reading.cores(&n, "`cpus`"));
    if let Some(depends) = fields.take("depends_on") {
        read_depends_on(depends, service, reading);
    }
    if let Some(check) = fields.take("healthcheck") {
        let mut check = reading.fields(check, "`healthcheck`");
        service.start_delay = check.take("start_period").and_then(|n| reading.span(n, "`start_period`"));
        check.ignore_rest(reading, "services.*.healthcheck");
    }
    fields.ignore_rest(reading, "services.*");
    service.endpoints = vec![Endpoint {
        name: ENDPOINT.into(),
        at: service.at,
        script: vec![Step::Work(Varying::constant(WORK))],
        ..Endpoint::default()
    }];
    hints
}

/// A list of names, or a map from names to conditions.
fn read_depends_on(node: &Node, service: &mut Service, reading: &mut Reading) {
    if let Value::List(names) = &node.value {
        for name in names {
            service.after.extend(reading.text(name, "a name in `depends_on`").map(|text| (text, name.place)));
        }
        return;
    }
    for (key, node) in reading.entries(node, "`depends_on`") {
        service.after.push((key.text.clone(), key.place));
        reading.fields(node, "a dependency").ignore_rest(reading, "services.*.depends_on.*");
    }
}

/// `${NAME:-2}` is 2, since nobody's environment is known here; `${NAME}` is nothing.
fn interpolated(node: &Node, reading: &mut Reading) -> Option<Node> {
    let Value::Scalar { text, .. } = &node.value else { return Some(node.clone()) };
    if !text.contains("${") {
        return Some(node.clone());
    }
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let default =
        inner.and_then(|inner| inner.split_once(":-").or_else(|| inner.split_once('-'))).map(|(_, value)| value);
    reading.guess(match default {
        Some(value) => format!("`{}` is {}", shortened(text), shortened(value)),
        None => format!("`{}` is not set", shortened(text)),
    });
    default.map(|value| Node::scalar(value, node.place))
}

/// Says what a compose file alone leaves open.
pub(super) fn without_calls(draft: &Draft, reading: &mut Reading) {
    reading.flag("no call graph: a compose file does not say who calls whom (give a motel topology with --calls)");
    reading.guess(format!("work of {} in every service", units::show_span(WORK)));
    let names = all_of(draft.entries.iter().map(|entry| entry.service.as_str()));
    reading.guess(format!("requests to {names}, by published ports and what is built here"));
}

/// Gives the services of a compose file the behaviour and the calls that another draft knows, by name.
///
/// A call graph often has one `mongodb` where the compose file has a `mongodb-geo` and a `mongodb-rate`: it is then that
/// one on which the caller depends. A service that the compose file does not have at all is added.
pub(super) fn overlay(draft: &mut Draft, calls: Draft, reading: &mut Reading) {
    let mut overlay = Overlay {
        known: calls.services.iter().map(|service| (service.name.clone(), service.clone())).collect(),
        after: draft
            .services
            .iter()
            .map(|s| (s.name.clone(), s.after.iter().map(|(n, _)| n.clone()).collect()))
            .collect(),
        done: BTreeMap::new(),
        open: Vec::new(),
        meant: BTreeMap::new(),
    };
    for service in &calls.services {
        for endpoint in &service.endpoints {
            let is_entry = calls.entries.iter().any(|e| e.service == service.name && e.endpoint == endpoint.name);
            if is_entry || overlay.after.contains_key(&service.name) {
                overlay.open.push([service.name.clone(), service.name.clone(), endpoint.name.clone()]);
            }
        }
    }
    overlay.run();
    for (callee, meant) in &overlay.meant {
        let meant: Vec<_> = meant.iter().map(|(caller, one)| format!("`{one}` to `{caller}`")).collect();
        reading.guess(format!("`{callee}` is {}: each depends on its own", meant.join(", ")));
    }

    // In the order of the call graph, so that the result reads like its source.
    let place = |from: &str, endpoint: &str| {
        let service = calls.services.iter().position(|s| s.name == from);
        let endpoint = service.and_then(|s| calls.services[s].endpoints.iter().position(|e| e.name == endpoint));
        (service, endpoint)
    };
    let mut done: Vec<_> = overlay.done.into_iter().collect();
    done.sort_by_key(|((_, endpoint), (from, _))| place(from, endpoint));
    let mut given = BTreeSet::new();
    for ((name, _), (from, endpoint)) in done {
        let index = draft.services.iter().position(|s| s.name == name).unwrap_or_else(|| {
            reading.guess(format!("one instance of `{name}`, which is called, but is not in the compose file"));
            draft.services.push(Service::new(&name, overlay.known[&from].at));
            draft.services.len() - 1
        });
        let service = &mut draft.services[index];
        if given.insert(name) {
            service.endpoints.clear();
        }
        service.endpoints.push(endpoint);
    }
    let idle: Vec<_> = draft.services.iter().map(|s| s.name.as_str()).filter(|name| !given.contains(*name)).collect();
    if !idle.is_empty() {
        reading.flag(format!("no call leads to {}", all_of(idle.iter().copied())));
    }
    draft.entries = calls.entries;
    draft.arrivals = calls.arrivals;
    draft.differences = calls.differences;
    draft.has_calls = true;
}

struct Overlay {
    /// The services of the call graph.
    known: BTreeMap<String, Service>,
    /// For each service of the compose file what it depends on.
    after: BTreeMap<String, Vec<String>>,
    /// (service, endpoint) of the result, and the service of the call graph that it comes from.
    done: BTreeMap<(String, String), (String, Endpoint)>,
    /// Still to do: service of the result, service and endpoint of the call graph.
    open: Vec<[String; 3]>,
    /// Names of the call graph that mean several services, with whom they mean to whom.
    meant: BTreeMap<String, BTreeMap<String, String>>,
}

impl Overlay {
    fn run(&mut self) {
        while let Some([service, from, name]) = self.open.pop() {
            let key = (service, name);
            if self.done.contains_key(&key) {
                continue;
            }
            let (service, name) = &key;
            let known = self.known.get(&from).and_then(|s| s.endpoints.iter().find(|e| e.name == *name));
            // A call that leads nowhere was reported when the call graph was read.
            let Some(mut endpoint) = known.cloned() else { continue };
            self.redirect(service, &mut endpoint.script);
            self.done.insert(key, (from, endpoint));
        }
    }

    fn redirect(&mut self, caller: &str, script: &mut [Step]) {
        for step in script {
            match step {
                Step::Call(call) => {
                    let target = self.target(caller, &call.service);
                    self.open.push([
                        target.clone(),
                        std::mem::replace(&mut call.service, target),
                        call.endpoint.clone(),
                    ]);
                }
                Step::Parallel(branches) => {
                    branches.iter_mut().for_each(|branch| self.redirect(caller, branch));
                }
                Step::Work(_) | Step::Sleep(_) => {}
            }
        }
    }

    fn target(&mut self, caller: &str, callee: &str) -> String {
        if self.after.contains_key(callee) {
            return callee.to_owned();
        }
        let is_one = |name: &str| {
            let rest = name.strip_prefix(callee).or_else(|| name.strip_suffix(callee));
            rest.is_some_and(|rest| rest.starts_with(['-', '_']) || rest.ends_with(['-', '_']))
        };
        let needs = self.after.get(caller).map(Vec::as_slice).unwrap_or_default();
        let candidates: Vec<_> = needs.iter().filter(|name| is_one(name)).collect();
        match candidates.as_slice() {
            // Two services of the call graph must not become one of ours, which would mix up what they do.
            [only] if !self.known.contains_key(*only) => {
                let only = (*only).clone();
                self.meant.entry(callee.to_owned()).or_default().insert(caller.to_owned(), only.clone());
                only
            }
            _ => callee.to_owned(),
        }
    }
}
