//! Nodes that are drained within disruption budgets, and pools of nodes that grow and shrink.

use meshsim_mesh::diary::Seen;
use meshsim_mesh::measure::{DrainHistory, OperationHistory, OperationKind, OperationOutcome};
use meshsim_tests::{Played, parse, play};

/// Six instances of a service on three nodes, two on each, and a drain of the first node at 10 s.
fn drained(budget: &str, drain: &str, faults: &str) -> Played {
    play(parse(&format!(
        "
duration: 60s
nodes: [ {{ name: node, count: 3, cores: 8 }} ]
services:
  web:
    instances: 6
    cpu: 1
    capacity: 100
    start_delay: 4s
    {budget}
    endpoints: {{ get: {{ script: [ work: 1ms ] }} }}
operations: [ {{ at: 10s, drain: node-0{drain} }} ]
load:
  users: {{ to: web, arrivals: {{ constant: 100/s }}, from: 5s }}
faults: [ {faults} ]
"
    )))
}

fn drain(played: &Played) -> &OperationHistory {
    played.operation(OperationKind::Drain, "web")
}

/// Time of each step of the drain, in whole seconds.
fn steps(played: &Played) -> Vec<f64> {
    drain(played).steps.iter().map(|step| step.decided.secs().round()).collect()
}

fn seen(played: &Played) -> Vec<(f64, u32, Seen)> {
    let all = &played.sim.coordinator().sightings().entries;
    all.iter().map(|it| (it.at.secs().round(), it.node, it.seen)).collect()
}

fn placed(played: &Played) -> Vec<u32> {
    (0..played.experiment.mesh.nodes.len()).map(|node| played.sim.coordinator().placed_on(node)).collect()
}

/// Fewest instances that were ready at once from 5 s on.
fn fewest(played: &Played) -> u32 {
    let mut all: Vec<(f64, i32)> = Vec::new();
    for node in played.sim.actors().filter_map(|actor| actor.node()) {
        all.extend(node.comings().entries.iter().map(|it| (it.at.secs(), if it.came { 1 } else { -1 })));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (before, after): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| *at <= 5.0);
    let mut ready: i32 = before.iter().map(|(_, change)| change).sum();
    let mut fewest = ready;
    for (_, change) in after {
        ready += change;
        fewest = fewest.min(ready);
    }
    fewest as u32
}

#[test]
fn without_a_budget_all_instances_of_the_node_go_at_once() {
    let played = drained("", "", "");
    assert_eq!(steps(&played), [10.0]);
    assert_eq!(drain(&played).outcome, OperationOutcome::Reached);
    assert_eq!(drain(&played).drain, Some(DrainHistory { evicted: 2, left: 0, refused: 0 }));
    assert_eq!(placed(&played), [0, 3, 3]);
    assert_eq!(seen(&played), [(10.0, 0, Seen::Cordoned), (10.0, 0, Seen::Drained)]);
    assert_eq!(fewest(&played), 4);
    assert_eq!(played.tally().failed.total(), 0, "those that go finish their requests");
}

#[test]
fn a_budget_lets_one_instance_go_when_the_one_before_is_replaced() {
    let played = drained("disruption_budget: { max_unavailable: 1 }", "", "");
    // The first replacement is ready at 14 s; the next try is at 15 s.
    assert_eq!(steps(&played), [10.0, 15.0]);
    assert_eq!(drain(&played).drain, Some(DrainHistory { evicted: 2, left: 0, refused: 1 }));
    assert_eq!((placed(&played), fewest(&played)), (vec![0, 3, 3], 5));
}

#[test]
fn a_budget_that_allows_nothing_keeps_the_node_as_it_is_until_the_timeout() {
    let budget = "disruption_budget: { min_available: 100% }";
    let played = drained(budget, "", "");
    assert_eq!((steps(&played), drain(&played).outcome), (vec![], OperationOutcome::Running));
    assert_eq!(
        drain(&played).drain,
        Some(DrainHistory { evicted: 0, left: 2, refused: 11 }),
        "every 5 s from 10 to 60 s"
    );
    assert_eq!((placed(&played), fewest(&played)), (vec![2, 2, 2], 6));
    let played = drained(budget, ", timeout: 12s", "");
    assert_eq!(drain(&played).outcome, OperationOutcome::Stuck { residual: -2.0 });
    assert_eq!(drain(&played).drain, Some(DrainHistory { evicted: 0, left: 2, refused: 4 }), "at 10, 15, 20 and 25 s");
}

#[test]
fn nothing_is_placed_on_a_drained_node_until_the_drain_is_over() {
    let text = "
duration: 60s
nodes: [ { name: node, count: 3, cores: 8 } ]
services: { web: { instances: 6, endpoints: { get: {} } } }
operations:
  - { at: 10s, drain: node-0, for: 20s }
  - { at: 20s, extend: web, to: 8, rate: 1 }
  - { at: 40s, extend: web, to: 12, rate: 1 }
";
    let played = play(parse(text));
    assert_eq!(placed(&played), [4, 4, 4]);
    let extended: Vec<_> = played.operations().iter().filter(|it| it.kind == OperationKind::Extend).collect();
    assert_eq!(extended[0].steps[0].unplaced, 0);
    let expected = [(10.0, 0, Seen::Cordoned), (10.0, 0, Seen::Drained), (30.0, 0, Seen::Uncordoned)];
    assert_eq!(seen(&played), expected);
}

#[test]
fn instances_that_are_not_ready_are_evicted_only_while_the_budget_holds() {
    // The second node was declared dead at 8 s, so two instances are being replaced, one of them on the node that is
    // drained. A budget of two is used up, and holds: the instance that is not ready goes at once.
    let faults = "{ crash: node-1, at: 5s, for: 50s }";
    let played = drained("disruption_budget: { max_unavailable: 2 }", "", faults);
    assert_eq!(steps(&played), [10.0, 15.0]);
    assert_eq!(drain(&played).drain, Some(DrainHistory { evicted: 3, left: 0, refused: 1 }));
    // A budget of one does not hold.
    let played = drained("disruption_budget: { max_unavailable: 1 }", "", faults);
    assert_eq!(steps(&played), [15.0, 20.0, 25.0]);
    assert_eq!(drain(&played).drain, Some(DrainHistory { evicted: 3, left: 0, refused: 3 }));
}

#[test]
fn a_drain_goes_on_after_the_coordinator_was_down() {
    let played =
        drained("disruption_budget: { max_unavailable: 1 }", ", for: 30s", "{ crash: coordinator, at: 12s, for: 9s }");
    assert_eq!(drain(&played).outcome, OperationOutcome::Reached);
    // What became ready while it was down, it hears after its start.
    assert_eq!(steps(&played), [10.0, 26.0]);
    assert!(seen(&played).contains(&(40.0, 0, Seen::Uncordoned)), "{:?}", seen(&played));
}

#[test]
fn two_drains_share_one_budget() {
    let text = "
duration: 90s
nodes: [ { name: node, count: 4, cores: 8 } ]
services: { web: { instances: 8, start_delay: 3s, disruption_budget: { max_unavailable: 1 }, endpoints: { get: {} } } }
operations: [ { at: 10s, drain: [ node-0, node-1 ] } ]
";
    let played = play(parse(text));
    assert_eq!((placed(&played), fewest(&played)), (vec![0, 0, 4, 4], 7));
}

/// One node in service, up to four; instances that reserve a whole of its two cores.
fn pooled(operations: &str, budget: &str) -> Played {
    play(parse(&format!(
        "
duration: 300s
nodes: [ {{ name: pool, count: 4, cores: 2, autoscale: {{ min: 1, delay: 30s, unneeded: 60s }} }} ]
services: {{ web: {{ instances: 2, cpu: 1, {budget} endpoints: {{ get: {{}} }} }} }}
operations: [ {operations} ]
"
    )))
}

#[test]
fn a_pool_orders_as_many_nodes_as_instances_without_room_need() {
    let played = pooled("{ at: 12s, extend: web, to: 5, rate: 1 }", "");
    let expected = [(20.0, 1, Seen::Ordered), (20.0, 2, Seen::Ordered), (50.0, 1, Seen::Added), (50.0, 2, Seen::Added)];
    assert_eq!(seen(&played), expected, "three more instances, two on each node, at the look at 20 s");
    assert_eq!((placed(&played), fewest(&played)), (vec![2, 2, 1, 0], 2));
    let extended = played.operation(OperationKind::Extend, "web");
    assert_eq!(extended.steps[0].unplaced, 3, "they had no room when it was decided");
}

#[test]
fn a_node_that_is_not_needed_for_long_enough_is_drained_and_goes() {
    let more_and_less = "{ at: 12s, extend: web, to: 4, rate: 1 }, { at: 90s, extend: web, to: 2, rate: 1 }";
    let played = pooled(more_and_less, "disruption_budget: { max_unavailable: 1 },");
    let all = seen(&played);
    assert_eq!(all[..2], [(20.0, 1, Seen::Ordered), (50.0, 1, Seen::Added)]);
    // One instance is on each node, half of the cores; that is not below half, so both stay.
    assert_eq!((placed(&played), all.len()), (vec![1, 1, 0, 0], 2));
    let to_one = "{ at: 12s, extend: web, to: 4, rate: 1 }, { at: 90s, extend: web, to: 1, rate: 1 }";
    let played = pooled(to_one, "");
    let all = seen(&played);
    let gone: Vec<_> = all.iter().filter(|it| it.2 == Seen::Removed).collect();
    assert_eq!(gone.len(), 1, "{all:?}");
    assert!((160.0..=170.0).contains(&gone[0].0), "unneeded from the look at 100 s on, for 60 s: {all:?}");
    assert_eq!(placed(&played).iter().sum::<u32>(), 1);
}

#[test]
fn a_node_in_reserve_stays_there_when_a_drain_of_it_is_over() {
    let played = pooled("{ at: 5s, drain: pool-3, for: 10s }, { at: 12s, extend: web, to: 5, rate: 1 }", "");
    assert_eq!(placed(&played), [2, 2, 1, 0]);
    let all = seen(&played);
    assert!(all.contains(&(15.0, 3, Seen::Uncordoned)), "{all:?}");
    assert!(all.contains(&(50.0, 1, Seen::Added)), "nodes are ordered, as the one in reserve takes nothing: {all:?}");
}

#[test]
fn a_pool_does_not_order_nodes_for_instances_that_fit_on_none() {
    let text = "
duration: 120s
nodes: [ { name: pool, count: 4, cores: 2, autoscale: { min: 1 } } ]
services: { web: { instances: 1, cpu: 3, endpoints: { get: {} } } }
";
    assert_eq!(seen(&play(parse(text))), []);
}
