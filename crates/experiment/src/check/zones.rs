//! Zones, weights, new and failed instances: what callers prefer, and what of it the estimates leave out.

use std::collections::BTreeSet;

use meshsim_mesh::Mesh;
use meshsim_mesh::model::{Selection, Service, ZoneRouting};

use super::{Checked, Warnings, and_more};

pub(super) fn look(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    let zones: BTreeSet<u16> = mesh.nodes.iter().map(|node| node.zone).collect();
    for service in &mesh.services {
        let Some(routing) = service.selection.as_ref().and_then(|it| it.zones) else { continue };
        let name = &service.name;
        if zones.len() < 2 {
            let message = format!("`zone_routing` of `{name}` has no effect: all nodes are in one zone");
            warnings.warn("zones", None, message);
        } else if let ZoneRouting::Aware { min_instances } = routing
            && service.instances < min_instances
        {
            let message = format!(
                "`zone_routing` of `{name}` has no effect as deployed: it has {} instances, and `min_instances` is {min_instances}",
                service.instances
            );
            warnings.warn("zones", None, message);
        }
    }
}

/// The sentences for what is not modelled.
pub(super) fn left_out(mesh: &Mesh) -> Vec<String> {
    let with = |has: fn(&Selection) -> bool| {
        let of = move |it: &&Service| it.selection.as_deref().is_some_and(has);
        let names: Vec<&str> = mesh.services.iter().filter(of).map(|it| it.name.as_str()).collect();
        names.first().map(|first| format!("`{first}`{}", and_more(names.len())))
    };
    let zones = with(|it| it.zones.is_some())
        .map(|names| format!("Zone routing: calls of {names} count as if they went to all instances alike."));
    let panic = with(|it| it.panic_threshold > 0.0).map(|names| {
        format!("Panic thresholds: during a fault, calls of {names} count as if none went to failed instances.")
    });
    let slow = with(|it| it.slow_start.is_some())
        .map(|names| format!("Slow start: new instances of {names} count as if they got their share at once."));
    let is_weighted = !mesh.weights.is_empty() || with(|it| !it.zone_weights.is_empty()).is_some();
    let weights =
        is_weighted.then(|| "Weights: instances count as if all got the same share of the requests.".to_owned());
    let split = with(|it| !it.split.is_empty())
        .map(|names| format!("Splits: calls of {names} count as if they went to all instances alike."));
    let subset = with(|it| it.subset.is_some())
        .map(|names| format!("Subsets: callers of {names} count as if each used all instances."));
    zones.into_iter().chain(split).chain(subset).chain(panic).chain(slow).chain(weights).collect()
}
