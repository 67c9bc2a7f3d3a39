//! Compose files: services, replicas, reserved cores and start order. They have no call graph.
//!
//! Source: the Compose Specification. `depends_on` is an order of starts, not a call: in DeathStarBench's hotel none of
//! its 22 edges joins two services of the application. So the calls come from another file (a motel topology), laid
//! over this one by [`overlay`]. A `healthcheck` defines when a container counts as healthy and not how long it takes
//! to start: its `start_period` is a time in which failing checks do not count.
//!
//! [`merge`] merges several files into one model, with `extends`, profiles and variables.

mod interpolate;
mod merge;
mod overlay;

pub(super) use overlay::overlay;

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::Span;

use super::Importer;
use super::shared::draft::{After, Draft, Endpoint, Entry, Service, Step, Varying};
use super::shared::reading::{Fields, Reading};
use super::shared::units;
use crate::problem::{all_of, shortened};
use crate::tree::{Node, Value};

pub(super) const IMPORTER: Importer =
    Importer { name: "compose", tags: &[merge::RESET, merge::OVERRIDE], file: "compose.rs", read };

/// A compose service has no endpoints; ours needs one.
const ENDPOINT: &str = "serve";

/// Name for all profiles.
const ALL_PROFILES: &str = "*";

/// Guessed for whatever a service does.
const TIME: Span = Span::from_millis(1);

/// Bound on instances, above any number that one machine runs.
const REPLICAS_MAX: u32 = 1_000_000;

/// Evidence that a service belongs to the application and is not merely used by it.
struct Hints {
    built: bool,
    published: bool,
}

fn read(roots: &[Node], reading: &mut Reading) -> Draft {
    let mut draft = Draft::default();
    let Some(root) = merge::model(roots, reading) else { return draft };
    let mut fields = reading.fields(&root, "the file");
    let _ = (fields.take("version"), fields.take("name"));
    if let Some(node) = fields.take("include") {
        reading.problem(node.place, "`include` is not read", "give the files that it names after this one");
    }
    let mut hints = BTreeMap::new();
    let mut left_out = BTreeMap::new();
    let on = std::mem::take(&mut reading.profiles);
    let mut known = BTreeSet::new();
    match fields.take("services") {
        Some(services) => {
            for (key, node) in reading.entries(services, "`services`") {
                let profiles = merge::profiles(node, reading);
                known.extend(profiles.iter().cloned());
                let is_on = |profile: &String| on.iter().any(|(on, _)| on == profile || on == ALL_PROFILES);
                if !profiles.is_empty() && !profiles.iter().any(is_on) {
                    left_out.insert(key.text.clone(), profiles);
                    continue;
                }
                let mut service = Service::new(&key.text, key.place);
                hints.insert(key.text.clone(), read_service(node, &mut service, reading));
                draft.services.push(service);
            }
        }
        None => {
            reading.problem(root.place, "missing `services`", "write `services:` and a map of services");
        }
    }
    fields.ignore_rest(reading, "");
    for (profile, place) in on.iter().filter(|(profile, _)| profile != ALL_PROFILES && !known.contains(profile)) {
        if known.is_empty() {
            reading.problem(*place, "no service is of a profile", "leave `--profile` out");
        } else {
            reading.unknown(*place, profile, known.iter().map(String::as_str));
        }
    }
    for (name, profiles) in &left_out {
        let (noun, verb) = if profiles.len() == 1 { ("profile", "is") } else { ("profiles", "are") };
        let profiles = all_of(profiles.iter().map(String::as_str));
        let why = format!("it is of the {noun} {profiles}, which {verb} not on");
        reading.flag(format!("`{}` is left out: {why} (`--profile NAME`)", shortened(name)));
    }
    for service in &mut draft.services {
        service.after.retain(|after| after.required || hints.contains_key(&after.name));
        for after in service.after.extract_if(.., |after| left_out.contains_key(&after.name)) {
            let help = "turn it on with `--profile NAME`, or say `required: false` here";
            reading.problem(after.at, format!("`{}` is of a profile that is not on", shortened(&after.name)), help);
        }
    }
    draft.entries = entries(&draft, &hints);
    draft
}

/// Default entries, if no file names any: services of the application that are reachable from outside.
fn entries(draft: &Draft, hints: &BTreeMap<String, Hints>) -> Vec<Entry> {
    let waited_for: BTreeSet<_> = draft.services.iter().flat_map(|s| &s.after).map(|after| &after.name).collect();
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

fn read_service(node: &Node, service: &mut Service, reading: &mut Reading) -> Hints {
    let mut fields = reading.fields(node, "a service");
    let is_empty = |node: &&Node| matches!(&node.value, Value::List(ports) if ports.is_empty());
    let published = fields.take("ports").filter(|ports| !is_empty(ports)).is_some();
    let hints = Hints { built: fields.take("build").is_some(), published };
    let mut replicas = fields.take("scale");
    let mut cpus = fields.take("cpus");
    if let Some(deploy) = fields.take("deploy") {
        let mut deploy = reading.fields(deploy, "`deploy`");
        replicas = deploy.take("replicas").or(replicas);
        if let Some(resources) = deploy.take("resources") {
            let mut resources = reading.fields(resources, "`resources`");
            // A node needs room for the reserved cores; a limit replaces a missing reservation.
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
    service.instances = replicas.and_then(|n| reading.count(n, "`replicas`", 0, REPLICAS_MAX)).unwrap_or(1);
    service.cpu = cpus.and_then(|n| reading.cores(n, "`cpus`"));
    if service.instances > 1 {
        service.balancer = Some("random");
        reading.guess("callers choose an instance at random, as names with several addresses make them");
    }
    if let Some(depends) = fields.take("depends_on") {
        read_depends_on(depends, service, reading);
    }
    fields.ignore_rest(reading, "services.*");
    service.endpoints = vec![Endpoint {
        name: ENDPOINT.into(),
        at: service.at,
        script: vec![Step::Sleep(Varying::constant(TIME))],
        ..Endpoint::default()
    }];
    hints
}

/// A map from names to conditions, as [`merge`] leaves it.
fn read_depends_on(node: &Node, service: &mut Service, reading: &mut Reading) {
    for (key, node) in reading.entries(node, "`depends_on`") {
        let mut fields = reading.fields(node, "a dependency");
        let required = fields.take("required").and_then(|n| reading.truth(n, "`required`")).unwrap_or(true);
        fields.ignore_rest(reading, "services.*.depends_on.*");
        service.after.push(After { name: key.text.clone(), at: key.place, required });
    }
}

/// Flags the properties that a compose file alone leaves open.
pub(super) fn without_calls(draft: &Draft, reading: &mut Reading) {
    reading.flag("no call graph: a compose file does not say who calls whom (give a motel topology with --calls)");
    reading.guess(format!("{} in every service", units::show_span(TIME)));
    let names = all_of(draft.entries.iter().map(|entry| entry.service.as_str()));
    reading.guess(format!("requests to {names}, by published ports and what is built here"));
}
