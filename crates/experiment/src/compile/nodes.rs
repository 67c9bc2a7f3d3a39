//! Nodes, by groups; and pools, of which as many nodes are in service as instances need.

use std::collections::BTreeMap;

use meshsim_actor::Time;
use meshsim_mesh::model::{NodePool, NodeSpec};

use super::{DEFAULT_ZONE, positive, reserved, zone_index};
use crate::problem::{Reporter, nearest, shortened};
use crate::schema::{File, NODES_MAX, NodeGroup};
use crate::section::At;

/// All nodes, group by group.
pub(super) fn compile(file: &File, zones: &mut Vec<String>, reporter: &mut Reporter) -> Vec<NodeSpec> {
    let mut nodes = Vec::new();
    let mut names: BTreeMap<String, ()> = BTreeMap::new();
    let total: u64 = file.nodes.value.items.iter().map(group_size).sum();
    if total > NODES_MAX {
        reporter.report(file.nodes.place, format!("too many nodes: {total}")).help(format!("at most {NODES_MAX}"));
        return nodes;
    }
    if file.nodes.value.items.is_empty() && file.nodes.value.complete {
        reporter
            .report(file.nodes.place, "missing nodes")
            .help("a mesh needs at least one: `- { name: node, count: 4, cores: 8 }`");
    }
    for group in &file.nodes.value.items {
        let zone = zone_index(zones, group.zone.as_ref().map_or(DEFAULT_ZONE, |zone| &zone.value.0));
        if let Some(meaning) = reserved(&group.name.value.0) {
            reporter
                .report(group.name.place, format!("`{}` means {meaning}", group.name.value.0))
                .help("give the group another name");
        }
        for name in group_names(group) {
            if names.insert(name.clone(), ()).is_some() {
                reporter
                    .report(group.name.place, format!("there is a node `{name}` already"))
                    .help("give the group another name");
                break;
            }
            nodes.push(NodeSpec { name, cores: group.cores.0, zone, joins: group.joins.0 });
        }
    }
    nodes
}

/// Weights of the instances on each node; empty if they are all 1.
pub(super) fn weights(file: &File) -> Vec<f64> {
    let groups = &file.nodes.value.items;
    if groups.iter().all(|group| group.weight.0 == 1.0) || groups.iter().map(group_size).sum::<u64>() > NODES_MAX {
        return Vec::new();
    }
    groups.iter().flat_map(|group| (0..group_size(group)).map(|_| group.weight.0)).collect()
}

/// Number of nodes of a group.
pub(super) fn group_size(group: &NodeGroup) -> u64 {
    group.count.0
}

/// True if the group's nodes are called name-0, name-1, ...
fn is_numbered(group: &NodeGroup) -> bool {
    group_size(group) > 1
}

/// The place of a node in its group, by its name: `node-1`, and not `node-01`.
pub(super) fn index_in(group: &NodeGroup, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(group.name.value.0.as_str())?.strip_prefix('-')?;
    let index = digits.parse::<u64>().ok().filter(|index| index.to_string() == digits)?;
    (is_numbered(group) && index < group_size(group)).then_some(index)
}

/// The names of a group's nodes. Lazy: the caller has bounded their number.
fn group_names(group: &NodeGroup) -> impl Iterator<Item = String> + '_ {
    let name = &group.name.value.0;
    (0..group_size(group)).map(move |i| if is_numbered(group) { format!("{name}-{i}") } else { name.clone() })
}

/// The groups that have an autoscaler.
pub(super) fn pools(file: &File, reporter: &mut Reporter) -> Vec<NodePool> {
    let mut pools = Vec::new();
    let mut first = 0;
    for group in &file.nodes.value.items {
        let size = group_size(group);
        if let Some(At { value: it, place }) = &group.autoscale {
            positive(it.scan, "scan", reporter);
            if it.min.value.0 > size {
                reporter
                    .report(it.min.place, format!("`min` ({}) is above `count` ({size})", it.min.value.0))
                    .help("`count` is the most nodes of the group, and `min` the fewest in service");
            }
            if group.joins.0 != Time::ZERO {
                reporter
                    .report(*place, "nodes that join at a time cannot be autoscaled, too")
                    .help("leave out `joins` or `autoscale`");
            }
            pools.push(NodePool {
                name: group.name.value.0.clone(),
                first: first as u32,
                count: size as u32,
                min: it.min.value.0.min(size) as u32,
                delay: it.delay,
                scan: it.scan.value,
                unneeded: it.unneeded,
                below: it.below.0,
            });
        }
        first += size;
    }
    pools
}

/// The indexes of a node, or of the nodes of a group, by name.
pub(super) fn by_name(name: &At<String>, file: &File, reporter: &mut Reporter) -> Vec<u32> {
    let (groups, text) = (&file.nodes.value.items, name.value.trim());
    let mut first = 0;
    for group in groups {
        let size = group_size(group) as u32;
        if group.name.value.0 == text {
            return (first..first + size).collect();
        }
        if let Some(index) = index_in(group, text) {
            return vec![first + index as u32];
        }
        first += size;
    }
    let known = groups.iter().flat_map(|group| std::iter::once(group.name.value.0.clone()).chain(group_names(group)));
    // Enough names to suggest one; a mesh may have a million.
    let known: Vec<String> = known.take(1_000).collect();
    reporter
        .report(name.place, format!("unknown node `{}`", shortened(text)))
        .label(nearest(text, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?")))
        .help(format!("the nodes are {}; a group's name means all of its nodes", nodes_in_words(file)));
    vec![]
}

/// The names of the first groups: `node-0` to `node-3`, `spare`.
pub(super) fn nodes_in_words(file: &File) -> String {
    let described = |group: &NodeGroup| match (&group.name.value.0, group_size(group)) {
        (name, 1) => format!("`{name}`"),
        (name, size) => format!("`{name}-0` to `{name}-{}`", size - 1),
    };
    let groups: Vec<String> = file.nodes.value.items.iter().take(10).map(described).collect();
    groups.join(", ")
}
