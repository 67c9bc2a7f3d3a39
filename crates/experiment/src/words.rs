//! A fault in words: `zone b down`, `node-1, node-2 paused`, `zone a - zone b loses 8 %`.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Dist, Impairment, ImpairmentKind, Side};
use meshsim_fault::{ActorSelector, ActorSet, Cut, FaultKind, Link};
use meshsim_mesh::Mesh;

/// Names that are written out; the others are counted.
const NAMES_MAX: usize = 3;

/// Effect and targets of a fault, in a few words.
pub fn fault_in_words(kind: &FaultKind, mesh: &Mesh) -> String {
    let set = |set: &ActorSet| names(set, mesh);
    let on = |on: &Link| link(on, mesh);
    match kind {
        FaultKind::Crash(it) => format!("{} down", set(&it.actors)),
        FaultKind::Wipe(it) => format!("{} down and wiped", set(&it.actors)),
        FaultKind::Pause(it) => format!("{} paused", set(&it.actors)),
        FaultKind::Slow(it) => format!("{} at {} of its speed", set(&it.actors), it.factor),
        FaultKind::Disk(it) if it.is_full() => format!("disk of {} full", set(&it.actors)),
        FaultKind::Disk(it) => format!("disk of {} takes {} for a sync", set(&it.actors), it.sync),
        FaultKind::Partition(it) => match &it.cut {
            Cut::Islands(islands) => {
                let some: Vec<String> = islands.iter().take(NAMES_MAX).map(set).collect();
                format!("{} apart{}", some.join(" | "), more(islands.len()))
            }
            Cut::Links(links) => {
                let some: Vec<String> = links.iter().take(NAMES_MAX).map(on).collect();
                format!("{} cut{}", some.join(", "), more(links.len()))
            }
        },
        FaultKind::Loss(it) => format!("{} loses {}", on(&it.on), percent(it.probability)),
        FaultKind::Deliver(it) => format!("{} loses nothing", on(&it.on)),
        FaultKind::Drop(it) => format!("{} drops {}", on(&it.on), percent(it.probability)),
        FaultKind::Duplicate(it) => format!("{} duplicates {}", on(&it.on), percent(it.probability)),
        FaultKind::Reorder(it) => format!("{} reorders {}", on(&it.on), percent(it.probability)),
        FaultKind::Latency(it) => match it.added {
            Dist::Constant(span) => format!("{} takes {span} longer", on(&it.on)),
            _ => format!("{} takes longer", on(&it.on)),
        },
        FaultKind::Service(it) => service(&it.impairment, &it.actors, mesh),
        FaultKind::Bandwidth(it) => format!("{} carries {} bytes/s", on(&it.on), it.bytes_per_sec),
    }
}

/// A fault of a service: `reviews.get on node-1 fails 5 %`, `node-1#0 of reviews at 0.1 of its speed`.
fn service(it: &Impairment, actors: &ActorSet, mesh: &Mesh) -> String {
    let subject = &it.subject;
    let Some(service) = mesh.services.get(usize::from(subject.program)) else { return "no service".into() };
    let mut whom = match subject.entry.and_then(|entry| service.endpoints.get(usize::from(entry))) {
        Some(endpoint) => format!("{}.{endpoint}", service.name),
        None => service.name.clone(),
    };
    if let Some(version) = subject.version {
        whom = format!("version {version} of {whom}");
    }
    match subject.side {
        Side::CalledBy(Some(caller)) => {
            let caller = mesh.services.get(usize::from(caller)).map_or("no service", |caller| &caller.name);
            whom = format!("{caller} -> {whom}");
        }
        Side::CalledBy(None) => whom = format!("{} -> {whom}", names(actors, mesh)),
        Side::Served => match &subject.copies {
            Some(copies) => {
                let name = |(node, ordinal): &(ActorId, u32)| format!("{}#{ordinal}", mesh.actor_name(*node));
                let some: Vec<String> = copies.iter().take(NAMES_MAX).map(name).collect();
                whom = format!("{}{} of {whom}", some.join(", "), more(copies.len()));
            }
            None if actors.iter().count() < mesh.nodes.len() => whom = format!("{whom} on {}", names(actors, mesh)),
            None => {}
        },
    }
    match &it.effect {
        ImpairmentKind::Errors(share) => format!("{whom} fails {}", percent(*share)),
        ImpairmentKind::Latency(Dist::Constant(span)) => format!("{whom} takes {span} longer"),
        ImpairmentKind::Latency(_) => format!("{whom} takes longer"),
        ImpairmentKind::Hang(share) => format!("{whom} hangs for {}", percent(*share)),
        ImpairmentKind::Refuse(share) => format!("{whom} refuses {}", percent(*share)),
        ImpairmentKind::Slots(share) => format!("{whom} with {} of its slots", percent(*share)),
        ImpairmentKind::Speed(speed) => format!("{whom} at {speed} of its speed"),
    }
}

fn more(count: usize) -> String {
    if count > NAMES_MAX { format!(", and {} more", count - NAMES_MAX) } else { String::new() }
}

fn percent(share: f64) -> String {
    // Three digits at most, without trailing zeros.
    let text = format!("{:.3}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn link(link: &Link, mesh: &Mesh) -> String {
    let end = |actors: &ActorSelector| match actors {
        ActorSelector::All => "all".to_owned(),
        ActorSelector::Only(set) => names(set, mesh),
    };
    let (from, to) = (end(&link.from), end(&link.to));
    let links = match (&link.from, &link.to) {
        (ActorSelector::All, ActorSelector::All) => "every link".into(),
        _ => format!("{from} {} {to}", if link.both { "-" } else { "->" }),
    };
    link.message.map_or_else(|| links.clone(), |message| format!("{links}, message {message},"))
}

/// Some actors: by their zone, if they are all of its nodes, else by their names.
fn names(set: &ActorSet, mesh: &Mesh) -> String {
    if let Some(zone) = zone(set, mesh) {
        return format!("zone {zone}");
    }
    let some: Vec<&str> = set.iter().take(NAMES_MAX).map(|actor| mesh.actor_name(actor)).collect();
    match some.is_empty() {
        true => "no actor".into(),
        false => format!("{}{}", some.join(", "), more(set.iter().count())),
    }
}

/// The zone whose nodes they are: all of them and no others. A single zone is no name for all.
fn zone<'a>(set: &ActorSet, mesh: &'a Mesh) -> Option<&'a str> {
    if mesh.zones.len() < 2 {
        return None;
    }
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for actor in set.iter().filter(|actor| mesh.node_index(*actor).is_some()) {
        *counts.entry(mesh.actor_zone(actor)).or_default() += 1;
    }
    let (zone, count) = counts.pop_first()?;
    let of_zone = mesh.nodes.iter().filter(|node| node.zone == zone).count();
    // Loads and the coordinator count if they are in the zone, too.
    let is_there = |actor: ActorId| mesh.actor_zone(actor) == zone;
    let is_whole = counts.is_empty() && count == of_zone && set.iter().all(is_there);
    mesh.zones.get(usize::from(zone)).filter(|_| is_whole).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_fault_says_what_it_does_and_to_whom() {
        let text = "nodes:\n  - { name: a-0, zone: a }\n  - { name: a-1, zone: a }\n  - { name: b-0, zone: b }\n\
                    services: { s: { endpoints: { get: {} } } }\nfaults:\n";
        for (fault, words) in [
            ("crash: zone a", "zone a down"),
            ("wipe: a-1", "a-1 down and wiped"),
            ("pause: [a-0, b-0]", "a-0, b-0 paused"),
            ("slow: b-0, factor: 0.5", "zone b at 0.5 of its speed"),
            ("disk: b-0, sync: 20ms", "disk of zone b takes 20ms for a sync"),
            ("disk: b-0, full: true", "disk of zone b full"),
            ("partition: [[a-0], [a-1, b-0]]", "a-0 | a-1, b-0 apart"),
            ("one_way: { from: zone a, to: b-0 }", "zone a -> zone b cut"),
            ("link: { from: zone a, to: zone b, both: true }, drop: 8%", "zone a - zone b drops 8 %"),
            ("link: { from: a-0, to: b-0 }, latency: 5ms", "a-0 -> zone b takes 5ms longer"),
            ("crash: [a-0, a-1, b-0, coordinator]", "coordinator, a-0, a-1, and 1 more down"),
            ("service: s, errors: 5%", "s fails 5 %"),
            ("service: s.get, nodes: zone a, latency: 5ms", "s.get on zone a takes 5ms longer"),
            ("service: s, version: 2, hang: 100%", "version 2 of s hangs for 100 %"),
            ("service: s#0, speed: 0.1", "a-0#0 of s at 0.1 of its speed"),
            ("service: s, from: s, refuse: 1%", "s -> s refuses 1 %"),
        ] {
            let text = format!("{text}  - {{ at: 1s, for: 1s, {fault} }}\n");
            let experiment = crate::parse("mesh.yaml", &text, Path::new(""), &[]).unwrap();
            assert_eq!(fault_in_words(&experiment.network.faults[0].kind, &experiment.mesh), words);
        }
    }
}
