//! Overlay of a call graph on the services of a Compose file.

use std::collections::{BTreeMap, BTreeSet};

use crate::import::shared::draft::{Change, Draft, Endpoint, Service, Step, Version};
use crate::import::shared::reading::Reading;
use crate::problem::{all_of, nearest, shortened};

/// Names that are reported, when none matches.
const NAMES_MAX: usize = 5;

/// Adds the behaviour and the calls of another draft to the services of a compose file, by name.
///
/// A call graph often has one `mongodb` where the compose file has a `mongodb-geo` and a `mongodb-rate`: it then stands
/// for the one on which the caller depends. A service that the compose file does not have at all is added.
pub(in crate::import) fn overlay(draft: &mut Draft, calls: Draft, reading: &mut Reading) {
    if !match_at_all(draft, &calls, reading) {
        return;
    }
    let mut overlay = Overlay {
        known: calls.services.iter().map(|service| (service.name.clone(), service.clone())).collect(),
        after: draft
            .services
            .iter()
            .map(|s| (s.name.clone(), s.after.iter().map(|after| after.name.clone()).collect()))
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
    done.sort_by_key(|((_, endpoint), done)| place(&done.from, endpoint));
    let mut given = BTreeSet::new();
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for ((name, _), done) in done {
        let index = draft.services.iter().position(|s| s.name == name).unwrap_or_else(|| {
            let near = nearest(&name, draft.services.iter().map(|service| service.name.as_str()));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            reading.guess(format!("one instance of `{name}`, which is called, but is not in the compose file{near}"));
            draft.services.push(Service::new(&name, overlay.known[&done.from].at));
            draft.services.len() - 1
        });
        let service = &mut draft.services[index];
        let known = &overlay.known[&done.from];
        (service.capacity, service.queue) = (known.capacity, known.queue);
        if given.insert(name.clone()) {
            service.endpoints.clear();
            sources.insert(name, done.from);
        }
        service.endpoints.push(done.endpoint);
        for (number, endpoint) in done.later {
            match service.versions.iter_mut().find(|version| version.number == number) {
                Some(version) => version.endpoints.push(endpoint),
                None => service.versions.push(Version { number, endpoints: vec![endpoint] }),
            }
        }
        service.versions.sort_by_key(|version| version.number);
    }
    // A service of the call graph that became several changes as all of them.
    let change = |change: &Change| {
        let meant: Vec<_> = sources.iter().filter(|(_, from)| **from == change.service).collect();
        meant.into_iter().map(|(name, _)| Change { service: name.clone(), ..change.clone() }).collect::<Vec<_>>()
    };
    draft.changes = calls.changes.iter().flat_map(change).collect();
    draft.duration = calls.duration;
    let idle: Vec<_> = draft.services.iter().map(|s| s.name.as_str()).filter(|name| !given.contains(*name)).collect();
    if !idle.is_empty() {
        reading.flag(format!("no call leads to {}", all_of(idle.iter().copied())));
    }
    draft.entries = calls.entries;
    draft.arrivals = calls.arrivals;
    draft.differences = calls.differences;
    draft.has_calls = true;
}

/// An endpoint of the result.
struct Done {
    /// The service of the call graph that it comes from.
    from: String,
    endpoint: Endpoint,
    /// The same in later versions, by their numbers.
    later: Vec<(u32, Endpoint)>,
}

struct Overlay {
    /// The services of the call graph.
    known: BTreeMap<String, Service>,
    /// Dependencies of each service of the compose file.
    after: BTreeMap<String, Vec<String>>,
    /// By (service, endpoint) of the result.
    done: BTreeMap<(String, String), Done>,
    /// Still to do: service of the result, service and endpoint of the call graph.
    open: Vec<[String; 3]>,
    /// Ambiguous names of the call graph, with their meaning for each caller.
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
            let versions = self.known.get(&from).map(|service| service.versions.clone()).unwrap_or_default();
            let mut later = Vec::new();
            for version in versions {
                for mut endpoint in version.endpoints.into_iter().filter(|endpoint| endpoint.name == *name) {
                    self.redirect(service, &mut endpoint.script);
                    later.push((version.number, endpoint));
                }
            }
            self.done.insert(key, Done { from, endpoint, later });
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
                Step::OneOf(choices) => {
                    choices.iter_mut().for_each(|(_, script)| self.redirect(caller, script));
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
            // Two services of the call graph must not become one of ours, which would mix up their behaviour.
            [only] if !self.known.contains_key(*only) => {
                let only = (*only).clone();
                self.meant.entry(callee.to_owned()).or_default().insert(caller.to_owned(), only.clone());
                only
            }
            _ => callee.to_owned(),
        }
    }
}

/// False, and reported, if not one service of the call graph is in the compose file: then one of the two is of another
/// application.
fn match_at_all(draft: &Draft, calls: &Draft, reading: &mut Reading) -> bool {
    let names = || draft.services.iter().map(|service| service.name.as_str());
    if calls.services.is_empty() || calls.services.iter().any(|service| names().any(|name| name == service.name)) {
        return true;
    }
    let at = calls.services[0].at;
    let near = calls.services.iter().take(NAMES_MAX).map(|service| {
        let name = shortened(&service.name);
        match nearest(&service.name, names()) {
            Some(near) => format!("`{name}` (did you mean `{near}`?)"),
            None => format!("`{name}`"),
        }
    });
    let called = near.collect::<Vec<_>>().join(", ");
    let known = all_of(names());
    reading.problem(
        at,
        format!("no service of the call graph is in the compose file: {called}"),
        format!("it has {known}"),
    );
    false
}
