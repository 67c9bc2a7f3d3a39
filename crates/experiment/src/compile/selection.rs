//! Selection: the instances of a service among which its callers choose, and their weights.

use meshsim_mesh::model::{Balancer, Part, Selection, SlowStart};

use super::nodes::group_size;
use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::schema::{self, File, NODES_MAX, SplitPart};
use crate::section::At;

/// The rules that narrow its instances; `None`: there are none.
pub(super) fn compile(
    it: &schema::Service,
    (file, zones): (&File, &[String]),
    reporter: &mut Reporter,
) -> Option<Box<Selection>> {
    if let (Some(split), Some(_)) = (&it.split, it.zone_routing) {
        reporter
            .report(split.place, "`split` does not go with `zone_routing`")
            .help("a call goes to a part of the instances or to those of a zone: leave one out");
    }
    let selection = Selection {
        zones: it.zone_routing,
        panic_threshold: it.panic_threshold.map_or(0.0, |share| share.0),
        slow_start: slow_start(it, reporter),
        split: split(it, file, reporter),
        subset: it.subset.map(|size| size.0 as u32),
        zone_weights: zone_weights(it, zones, reporter),
    };
    (selection != Selection::default()).then(|| Box::new(selection))
}

fn slow_start(it: &schema::Service, reporter: &mut Reporter) -> Option<SlowStart> {
    let At { value: slow, place } = it.slow_start.as_ref()?;
    let why = match it.balancer.unwrap_or_default() {
        Balancer::RingHash { .. } | Balancer::Maglev { .. } => "its table would change all the time, so Envoy has none",
        Balancer::LeastLoaded { .. } => "a new instance has the least load, so it would get all requests",
        _ if slow.window.is_zero() => "a `window` of nothing",
        _ if slow.min_weight.0 <= 0.0 => "with a `min_weight` of 0 a new instance would never begin",
        _ => {
            let (aggression, min_weight) = (slow.aggression.0, slow.min_weight.0);
            return Some(SlowStart { window: slow.window, aggression, min_weight });
        }
    };
    reporter
        .report(*place, format!("`slow_start` is not possible here: {why}"))
        .help("write `slow_start: { window: 30s, min_weight: 10% }`, with a balancer that chooses by weight");
    None
}

fn split(it: &schema::Service, file: &File, reporter: &mut Reporter) -> Vec<Part> {
    let Some(split) = &it.split else { return vec![] };
    let parts: Vec<Part> = split.value.iter().map(|it| part(it, file, reporter)).collect();
    if parts.iter().all(|part| part.weight <= 0.0) && reporter.is_clean_in(split.place) {
        reporter
            .report(split.place, "this split has no part with a weight above 0")
            .help("write `split: [ { version: 1, weight: 90 }, { version: 2, weight: 10 } ]`");
    }
    parts
}

fn part(At { value: it, place }: &At<SplitPart>, file: &File, reporter: &mut Reporter) -> Part {
    let groups = &file.nodes.value.items;
    let has = |group: &schema::NodeGroup| {
        let label = |name: &str| group.labels.entries.iter().find(|(known, _)| known.value == name);
        it.labels.entries.iter().all(|(name, value)| label(&name.value).is_some_and(|(_, its)| its.0 == value.0))
    };
    let is_bounded = groups.iter().map(group_size).sum::<u64>() <= NODES_MAX;
    let nodes = (!it.labels.entries.is_empty() && is_bounded).then(|| {
        let of = |group| std::iter::repeat_n(has(group), group_size(group) as usize);
        groups.iter().flat_map(of).collect::<Vec<bool>>()
    });
    if nodes.as_ref().is_some_and(|nodes| !nodes.contains(&true)) {
        let labels: Vec<String> =
            it.labels.entries.iter().map(|(name, value)| format!("{}: {}", name.value, value.0)).collect();
        reporter
            .report(*place, format!("no node has the labels `{}`", shortened(&labels.join(", "))))
            .help("give a group of nodes `labels`, as in `{ name: node, count: 4, labels: { track: beta } }`");
    }
    Part { version: it.version.as_ref().map(|version| version.0 as u32), nodes, weight: it.weight.0 }
}

fn zone_weights(it: &schema::Service, zones: &[String], reporter: &mut Reporter) -> Vec<f64> {
    let entries = &it.zone_weights.value.entries;
    if entries.is_empty() {
        return vec![];
    }
    let mut weights = vec![1.0; zones.len()];
    for (name, weight) in entries {
        match zones.iter().position(|zone| *zone == name.value) {
            Some(zone) => weights[zone] = weight.0,
            None => {
                let known = || zones.iter().map(String::as_str);
                reporter
                    .report(name.place, format!("no node stands in a zone `{}`", shortened(&name.value)))
                    .label(nearest(&name.value, known()).map(|near| format!("did you mean `{near}`?")))
                    .help(format!("write {}", one_of(known())));
            }
        }
    }
    weights
}
