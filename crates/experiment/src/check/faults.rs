//! Faults without effect, and a network that delivers nothing.

use std::collections::BTreeSet;

use meshsim_actor::ActorId;
use meshsim_fault::{ActorSelector, ActorSet, Cut, Disturbance, FaultKind, Link};

use super::{Checked, Warnings};

/// Kinds of places beside each other that are compared: beyond it a partition counts as one.
const GROUPS_MAX: usize = 1_000;

pub(super) fn look(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let experiment = checked.experiment;
    if experiment.network.loss >= 1.0 || experiment.network.drop >= 1.0 {
        warnings.warn("loss", None, "the network loses every message between nodes: nothing can arrive".into());
    }
    let count = experiment.mesh.actor_count();
    for (fault, line) in experiment.network.faults.iter().zip(&experiment.fault_lines) {
        if fault.at < checked.end
            && let Some(why) = idle(&fault.kind, count)
        {
            warnings.warn("no_effect", Some(*line), format!("this {} has no effect: {why}", fault.name()));
        }
    }
}

/// True if it is about messages on their way, and not about machines.
pub(super) fn is_of_links(kind: &FaultKind) -> bool {
    kind.outage().is_none()
}

/// Reason why a fault has no effect, if it has none.
fn idle(kind: &FaultKind, actors: usize) -> Option<&'static str> {
    if let Some(outage) = kind.outage()
        && outage.actors.is_empty()
    {
        return Some("it has no target");
    }
    let link = |link: &Link| (!touches(link, actors)).then_some("no messages pass there");
    match kind {
        FaultKind::Service(it) if it.is_idle() => Some("it changes nothing"),
        FaultKind::Slow(slow) if slow.factor == 1.0 => Some("a factor of 1 is the normal speed"),
        FaultKind::Loss(it) if it.probability == 0.0 => Some("its probability is 0"),
        FaultKind::Drop(it) if it.probability == 0.0 => Some("its probability is 0"),
        FaultKind::Duplicate(it) if it.probability == 0.0 => Some("its probability is 0"),
        FaultKind::Reorder(it) if it.probability == 0.0 || it.within.is_zero() => Some("it reorders nothing"),
        FaultKind::Latency(it) if super::span::most(&it.added) == 0.0 => Some("it adds no time"),
        FaultKind::Loss(it) => link(&it.on),
        FaultKind::Deliver(it) => link(&it.on),
        FaultKind::Drop(it) => link(&it.on),
        FaultKind::Duplicate(it) => link(&it.on),
        FaultKind::Reorder(it) => link(&it.on),
        FaultKind::Latency(it) => link(&it.on),
        FaultKind::Bandwidth(it) => link(&it.on),
        FaultKind::Partition(it) => match &it.cut {
            Cut::Islands(islands) => (!separates(islands)).then_some("it separates no actors"),
            Cut::Links(links) => {
                let none = links.iter().all(|link| !touches(link, actors));
                none.then_some("it separates no actors")
            }
        },
        _ => None,
    }
}

/// True if messages between two different actors are affected.
fn touches(link: &Link, actors: usize) -> bool {
    let few = |set: &ActorSelector| -> Vec<ActorId> {
        match set {
            ActorSelector::All => (0..actors.min(2) as u32).map(ActorId).collect(),
            ActorSelector::Only(set) => set.iter().take(2).collect(),
        }
    };
    let (from, to) = (few(&link.from), few(&link.to));
    from.iter().any(|one| to.iter().any(|other| one != other))
}

/// True if two actors that are on islands share none.
fn separates(islands: &[ActorSet]) -> bool {
    let mut on: std::collections::BTreeMap<ActorId, BTreeSet<usize>> = Default::default();
    for (index, island) in islands.iter().enumerate() {
        for actor in island.iter() {
            on.entry(actor).or_default().insert(index);
        }
    }
    let groups: BTreeSet<&BTreeSet<usize>> = on.values().collect();
    let is_large = groups.len() > GROUPS_MAX;
    is_large || groups.iter().any(|one| groups.iter().any(|other| one.is_disjoint(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(actors: &[u32]) -> ActorSet {
        actors.iter().map(|actor| ActorId(*actor)).collect()
    }

    #[test]
    fn a_partition_separates_if_two_actors_share_no_island() {
        assert!(separates(&[set(&[1]), set(&[2])]));
        assert!(separates(&[set(&[1, 2]), set(&[2, 3])]), "1 and 3 do not reach each other");
        assert!(!separates(&[set(&[1, 2])]));
        assert!(!separates(&[set(&[1]), set(&[1])]));
        assert!(!separates(&[set(&[]), set(&[1])]));
    }

    #[test]
    fn a_link_from_an_actor_to_itself_touches_nothing() {
        let link = |from: &[u32], to: &[u32]| Link::one_way(set(from), set(to));
        assert!(!touches(&link(&[1], &[1]), 9) && !touches(&link(&[], &[1]), 9));
        assert!(touches(&link(&[1], &[1, 2]), 9) && touches(&Link::all(), 9) && !touches(&Link::all(), 1));
    }
}
