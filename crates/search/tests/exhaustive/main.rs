//! The step protocol in every order of events: the real coordinator and two real nodes, two steps, and a few faults at
//! any place. Messages arrive in any order, are lost or come twice; the coordinator and each node crash once.
//!
//! In each state that is reached no rule is broken, and from each the mesh arrives where it is to be when no further
//! fault happens. States are told apart by what decides how the protocol goes on (`meshsim_mesh::protocol`), so the
//! search ends.

mod world;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use meshsim_mesh::Mesh;
use meshsim_mesh::mutant::Mutant;

use world::{Faults, World};

/// Two nodes, a service that is deployed and then extended. No heartbeat comes: it tells nothing of steps. Resends are so
/// far apart that one is never late.
const MESH: &str = "
name: two
duration: 10s
nodes: [ { name: node, count: 2, cores: 8 } ]
control: { heartbeat: 10000s, resend: 1000s, resend_cap: 1000s }
services: { web: { instances: 2, start_delay: 1s, endpoints: { get: {} } } }
operations: [ { at: 1s, extend: web, to: 4, rate: 1 } ]
";

/// More actions without faults than any run needs.
const ACTIONS_MAX: usize = 200;

fn mesh() -> Arc<Mesh> {
    let experiment = meshsim_experiment::parse("two.yaml", MESH, "".as_ref(), &[]);
    Arc::new(experiment.unwrap_or_else(|problems| panic!("{problems}")).mesh)
}

/// The actions that led to a state, the last one first.
struct Path(String, Option<Rc<Path>>);

#[derive(Debug, Default)]
struct Searched {
    states: usize,
    /// What is wrong in the first state in which something is, and how it came to that.
    wrong: Option<String>,
}

fn story(path: Option<&Rc<Path>>, wrong: &str) -> String {
    let mut lines = vec![format!("  {wrong}")];
    let mut at = path;
    while let Some(path) = at {
        lines.push(format!("  {}", path.0));
        at = path.1.as_ref();
    }
    lines.reverse();
    lines.join("\n")
}

/// Faults of a node: a loss, a copy, and a crash that may take its disk.
const OF_NODE: Faults = Faults { losses: 1, duplicates: 1, crashes: [1, 0], wipes: 1, ..NONE };

/// The same of the coordinator.
const OF_COORDINATOR: Faults = Faults { losses: 1, duplicates: 1, restarts: 1, ..NONE };

/// A loss, and crashes of both.
const OF_BOTH: Faults = Faults { losses: 1, crashes: [1, 0], restarts: 1, ..NONE };

/// A crash of the coordinator, and one of a node that may take its disk.
const WIPE: Faults = Faults { crashes: [1, 0], wipes: 1, restarts: 1, ..NONE };

/// A crash of the coordinator while messages of both nodes are on their way.
const TWO_NODES: Faults = Faults { restarts: 1, is_second_prompt: false, ..NONE };

const NONE: Faults =
    Faults { losses: 0, duplicates: 0, crashes: [0, 0], wipes: 0, restarts: 0, is_second_prompt: true };

/// Goes through all states.
fn search(faults: Faults) -> Searched {
    let (mut seen, mut arrive, mut searched) = (BTreeSet::new(), BTreeSet::new(), Searched::default());
    let first = World::new(&mesh(), faults);
    seen.insert(first.key(true));
    let mut open: Vec<(World, Option<Rc<Path>>)> = vec![(first, None)];
    while let Some((world, path)) = open.pop() {
        searched.states += 1;
        let wrong = world.wrong.clone().or_else(|| never_arrives(&world, &mut arrive));
        if let Some(wrong) = wrong {
            searched.wrong = Some(story(path.as_ref(), &wrong));
            return searched;
        }
        for action in world.actions(true) {
            let mut next = world.clone();
            next.act(action);
            if seen.insert(next.key(true)) {
                let path = Path(world.words(action), path.clone());
                open.push((next, Some(Rc::new(path))));
            }
        }
    }
    searched
}

/// Why the mesh does not arrive where it is to be without further faults. `arrive` has the states from which it does.
fn never_arrives(from: &World, arrive: &mut BTreeSet<u64>) -> Option<String> {
    let (mut world, mut passed) = (from.clone(), Vec::new());
    for _ in 0..ACTIONS_MAX {
        let key = world.key(false);
        if arrive.contains(&key) {
            arrive.extend(passed);
            return None;
        }
        passed.push(key);
        match world.actions(false).first() {
            Some(action) => world.act(*action),
            None => {
                let unfinished = world.unfinished();
                if unfinished.is_none() {
                    arrive.extend(passed);
                }
                return unfinished.map(|why| format!("without further faults, {why}"));
            }
        }
        if let Some(wrong) = world.wrong {
            return Some(format!("without further faults, {wrong}"));
        }
    }
    Some(format!("without further faults, it goes on after {ACTIONS_MAX} actions"))
}

fn assert_nothing_is_wrong(scopes: &[Faults]) {
    for faults in scopes {
        let searched = search(*faults);
        println!("{} states with {faults:?}", searched.states);
        if let Some(wrong) = searched.wrong {
            panic!("{wrong}");
        }
    }
}

#[test]
fn no_order_of_events_breaks_a_rule() {
    let both_nodes = Faults { losses: 1, is_second_prompt: false, ..NONE };
    assert_nothing_is_wrong(&[OF_NODE, OF_COORDINATOR, OF_BOTH, both_nodes]);
}

#[test]
#[ignore = "it takes minutes: millions of states"]
fn no_order_of_more_events_breaks_a_rule() {
    let crashes = Faults { crashes: [1, 1], restarts: 1, ..NONE };
    let wipe = Faults { losses: 1, ..WIPE };
    let copy = Faults { losses: 0, duplicates: 1, ..OF_BOTH };
    assert_nothing_is_wrong(&[WIPE, TWO_NODES, crashes, wipe, copy]);
}

#[test]
fn the_search_finds_each_mutant_of_the_step_protocol() {
    let found_with = [
        (Mutant::SentBeforeLogged, TWO_NODES),
        (Mutant::TermNotRaised, OF_COORDINATOR),
        (Mutant::ResentInOldTerm, OF_COORDINATOR),
        (Mutant::NumberWithoutEffect, OF_NODE),
        (Mutant::EffectWithoutNumber, OF_NODE),
        (Mutant::RepeatNotAcknowledged, OF_NODE),
        (Mutant::RepeatApplied, OF_NODE),
        (Mutant::DigestOfTerm, OF_COORDINATOR),
        (Mutant::GapApplied, OF_NODE),
        (Mutant::AcknowledgedEarly, OF_NODE),
        (Mutant::AcknowledgedBeforeStored, OF_NODE),
        (Mutant::FormerLifeAcknowledges, OF_NODE),
        (Mutant::NotCumulative, OF_NODE),
        (Mutant::RestartsWithoutResend, OF_COORDINATOR),
        (Mutant::WipeNotNoticed, OF_NODE),
        (Mutant::LineageKept, OF_NODE),
        (Mutant::LineageForgotten, WIPE),
        (Mutant::OlderTermTaken, OF_COORDINATOR),
        (Mutant::TermForgotten, OF_BOTH),
    ];
    for (mutant, faults) in found_with {
        let searched = mutant.scope(|| search(faults));
        let wrong = searched.wrong.unwrap_or_else(|| panic!("{mutant:?} is not found in {} states", searched.states));
        println!("{mutant:?} after {} states:\n{wrong}\n", searched.states);
    }
}
