//! Detection of the format of a file by the keys that only this format has.
//!
//! YAML and JSON of many formats parse as a map with `services`, so a file of another format may well be read without a
//! problem, and become a meaningless experiment.

use super::reading::Reading;
use crate::import::Format;
use crate::tree::{Node, Value};

/// A format that is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A format that can be imported.
    Of(Format),
    /// An experiment of meshsim.
    Experiment,
    /// A format that no importer reads, by its name for people.
    Foreign(&'static str),
}

/// Keys of a Compose service, without those that other formats have too.
const COMPOSE: [&str; 12] = [
    "image",
    "build",
    "depends_on",
    "ports",
    "environment",
    "env_file",
    "volumes",
    "networks",
    "restart",
    "entrypoint",
    "healthcheck",
    "container_name",
];

/// Keys of a service of HydraGen's.
const HYDRAGEN: [&str; 3] = ["clusters", "endpoints", "readiness_probe"];

/// Keys of a service of isotope's, beside `name`.
const ISOTOPE: [&str; 6] = ["isEntrypoint", "numReplicas", "errorRate", "responseSize", "script", "numRbacPolicies"];

/// Keys of a service of µBench's.
pub(crate) const MUBENCH: [&str; 10] = [
    "external_services",
    "internal_service",
    "request_method",
    "workers",
    "threads",
    "replicas",
    "cpu-requests",
    "cpu-limits",
    "url",
    "path",
];

/// Format of a file, if it matches only one.
pub(crate) fn look(root: &Node) -> Option<Look> {
    let has = |key: &str| root.get(key).is_some();
    let text = |key: &str| match root.get(key).map(|node| &node.value) {
        Some(Value::Scalar { text, .. }) => Some(text.as_str()),
        _ => None,
    };
    if has("nodes") && has("services") {
        return Some(Look::Experiment);
    }
    if text("kind") == Some("MockServiceGraph") {
        return Some(Look::Of(Format::Isotope));
    }
    if has("apiVersion") && has("kind") {
        return Some(Look::Foreign("a Kubernetes manifest"));
    }
    if has("compilerOptions") {
        return Some(Look::Foreign("a configuration of TypeScript"));
    }
    if has("resourceSpans") {
        return Some(Look::Foreign("a trace of OpenTelemetry"));
    }
    if ["cluster_latencies", "num_services", "services_generator"].iter().any(|key| has(key)) {
        return Some(Look::Foreign("HydraGen"));
    }
    let any = |node: &Node, keys: &[&str]| keys.iter().any(|key| node.get(key).is_some());
    match root.get("services").map(|services| &services.value) {
        Some(Value::List(services)) => {
            let some = |keys: &[&str]| services.iter().any(|service| any(service, keys));
            match (some(&HYDRAGEN), some(&ISOTOPE)) {
                (true, false) => Some(Look::Foreign("HydraGen")),
                (false, true) => Some(Look::Of(Format::Isotope)),
                _ => None,
            }
        }
        Some(Value::Map(services)) => {
            let some = |keys: &[&str]| services.iter().any(|(_, service)| any(service, keys));
            match (some(&["operations"]), some(&COMPOSE)) {
                (true, false) => Some(Look::Of(Format::Motel)),
                (false, true) => Some(Look::Of(Format::Compose)),
                _ => None,
            }
        }
        Some(_) => None,
        None => {
            let Value::Map(entries) = &root.value else { return None };
            let some = |keys: &[&str]| entries.iter().any(|(_, service)| any(service, keys));
            if some(&["external_services", "internal_service"]) {
                Some(Look::Of(Format::Mubench))
            } else if has("name") && (has("dependencies") || has("scripts") || has("devDependencies")) {
                Some(Look::Foreign("a package of npm"))
            } else {
                None
            }
        }
    }
}

/// Reports a file that looks like another format than the one that it is read as. True if it may be that one.
pub(crate) fn expect(format: Format, root: &Node, reading: &mut Reading) -> bool {
    let (what, help) = match look(root) {
        None => return true,
        Some(Look::Of(other)) if other == format => return true,
        Some(Look::Of(other)) => (other.file(), format!("`meshsim import {other}` reads it")),
        Some(Look::Experiment) => ("an experiment of meshsim", "`meshsim run` runs it".to_owned()),
        Some(Look::Foreign(what)) => (what, format!("`meshsim import {format}` reads {} only", format.file())),
    };
    reading.problem(root.place, format!("this looks like {what}"), help);
    false
}
