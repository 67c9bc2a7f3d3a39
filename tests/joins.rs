//! Nodes that are absent at the start: the mesh works without them, and includes them when they join.

use meshsim_actor::{ActorId, Span, Time};
use meshsim_fault::{ActorSet, Crash, Cut, Fault, FaultKind, Partition, Pause, Wipe};
use meshsim_mesh::measure::{OperationKind, OperationOutcome};
use meshsim_mesh::model::{Change, Rounding, ServiceId};
use meshsim_tests::{Ran, Testbed, extend, service, times};

fn secs(s: u64) -> Time {
    Time::ZERO + Span::from_secs(s)
}

fn some(actors: &[u32]) -> ActorSet {
    actors.iter().map(|actor| ActorId(*actor)).collect()
}

/// Three nodes, the last of which is absent at the start; six instances of one service, and six more from 40 s on.
fn lab(joins: Option<f64>) -> Testbed {
    let lab = Testbed::nodes(3).service(times(6, service("s", vec![]))).joins(2, joins);
    lab.operation(40.0, 0, extend(12, 1.0, Rounding::Away), 1.0, None)
}

fn hosted(ran: &Ran) -> Vec<u32> {
    (0..3).map(|node| ran.instances_on(node, 0)).collect()
}

/// Every present node has applied all steps.
fn expect_agreement(ran: &Ran) {
    let wanted = ran.coordinator().state();
    let dead = ran.coordinator().dead();
    for node in 0..3 {
        if !dead.contains(&ActorId(1 + node)) {
            let state = ran.node(node as usize).state();
            assert_eq!((state.applied, state.digest), (wanted.steps, wanted.digest), "node {node}");
        }
    }
}

#[test]
fn a_late_node_gets_its_share_with_the_next_step_and_nothing_before() {
    let mut ran = lab(Some(30.0)).start(());
    ran.run_until(29.0);
    assert_eq!(hosted(&ran), [3, 3, 0]);
    assert_eq!(ran.coordinator().dead(), [ActorId(3)]);
    assert_eq!(ran.history(0).steps[0].sent, 2, "nothing is sent to it");
    assert!(ran.history(0).steps[0].settled.is_some(), "nor is it waited for");
    ran.run_until(39.0);
    assert_eq!((hosted(&ran), ran.coordinator().dead()), (vec![3, 3, 0], vec![]));
    assert_eq!(ran.node(2).state().applied, ran.coordinator().state().steps, "it knows what was decided");
    ran.run_until(50.0);
    assert_eq!(hosted(&ran), [4, 4, 4]);
    let first = &ran.history(0).steps[0];
    assert_eq!((first.sent, first.acks), (2, 2), "a step of before is not settled by who came after it");
    assert_eq!(ran.history(1).steps[0].acks, 3);
    expect_agreement(&ran);
}

#[test]
fn unplaced_instances_are_placed_when_a_node_joins() {
    let mut lab = lab(Some(30.0));
    lab.mesh.nodes.iter_mut().for_each(|node| node.cores = 2.0);
    lab.mesh.services[0].cpu = 1.0;
    let mut ran = lab.start(());
    ran.run_until(29.0);
    assert_eq!((hosted(&ran), ran.history(0).steps[0].unplaced), (vec![2, 2, 0], 2));
    ran.run_until(32.0);
    assert_eq!(hosted(&ran), [2, 2, 2]);
    assert!(
        ran.coordinator()
            .history()
            .iter()
            .any(|it| it.kind == OperationKind::Repair && it.outcome == OperationOutcome::Reached)
    );
    expect_agreement(&ran);
}

#[test]
fn a_node_that_never_joins_is_never_missed() {
    let ran = lab(None).run(60.0);
    assert_eq!((hosted(&ran), ran.coordinator().dead()), (vec![6, 6, 0], vec![ActorId(3)]));
    assert!(ran.coordinator().history().iter().all(|it| it.kind != OperationKind::Repair));
    assert_eq!(ran.node(2).state().applied, 0);
}

#[test]
fn a_mesh_may_begin_without_a_single_node() {
    let lab = Testbed::nodes(3).service(times(6, service("s", vec![])));
    let ran = (0..3).fold(lab, |lab, node| lab.joins(node, Some(5.0 + node as f64))).run(20.0);
    assert_eq!(hosted(&ran).iter().sum::<u32>(), 6);
    expect_agreement(&ran);
}

#[test]
fn a_node_that_joins_after_many_steps_gets_a_snapshot() {
    let many = lab(Some(30.0)).operation(1.0, 0, Change::Scale { by: 1.01 }, 0.1, Some(200));
    let ran = many.run(50.0);
    assert!(ran.coordinator().state().steps > 200);
    assert_eq!(hosted(&ran), [4, 4, 4]);
    assert_eq!(ran.node(2).ready(ServiceId(0)), 4);
    expect_agreement(&ran);
}

#[test]
fn a_fault_on_a_node_that_has_not_come_keeps_it_from_coming() {
    let actors = || some(&[3]);
    let kinds: [FaultKind; 3] =
        [Crash { actors: actors() }.into(), Wipe { actors: actors() }.into(), Pause { actors: actors() }.into()];
    for kind in kinds {
        let name = kind.name();
        let mut ran = lab(Some(30.0)).fault(Fault::new(secs(10), secs(45), kind.clone())).start(());
        ran.run_until(44.0);
        assert_eq!((hosted(&ran), ran.coordinator().dead()), (vec![6, 6, 0], vec![ActorId(3)]), "{name}");
        ran.run_until(60.0);
        assert_eq!(ran.coordinator().dead(), [], "{name}");
        expect_agreement(&ran);
        let before = lab(Some(30.0)).fault(Fault::new(secs(10), secs(20), kind)).run(60.0);
        assert_eq!((hosted(&before), before.coordinator().dead()), (vec![4, 4, 4], vec![]), "{name} over in time");
        expect_agreement(&before);
    }
}

#[test]
fn a_node_whose_first_message_is_lost_joins_by_its_heartbeat() {
    let cut = Cut::Islands(vec![some(&[3]), some(&[0, 1, 2])]);
    let ran = lab(Some(30.0)).fault(Fault::new(secs(29), secs(33), Partition { cut, hold: false })).run(60.0);
    assert_eq!((hosted(&ran), ran.coordinator().dead()), (vec![4, 4, 4], vec![]));
    expect_agreement(&ran);
}

#[test]
fn a_coordinator_without_its_disk_still_expects_absent_nodes() {
    let wipe = || Wipe { actors: some(&[0]) };
    let mut ran = lab(Some(30.0)).fault(Fault::new(secs(10), secs(12), wipe())).start(());
    ran.run_until(29.0);
    assert_eq!(ran.coordinator().dead(), [ActorId(3)]);
    let after = lab(Some(30.0)).fault(Fault::new(secs(33), secs(34), wipe())).run(39.0);
    assert_eq!(after.coordinator().dead(), [], "one that has come is heard of again");
}

#[test]
fn a_run_with_a_late_node_repeats_from_its_seed() {
    let state = || {
        let ran = lab(Some(30.0)).seed(9).run(50.0);
        let nodes: Vec<_> = (0..3).map(|node| ran.node(node).state()).collect();
        format!("{:?} {:?} {nodes:?} {:?}", ran.coordinator().state(), ran.coordinator().history(), ran.sim.counts())
    };
    assert_eq!(state(), state());
}

#[test]
fn a_node_that_was_taken_for_dead_is_asked_again_for_the_instances_that_it_has() {
    // The second node is cut off, and declared dead. When it is heard of again, it hears nothing for a while: neither
    // that its instance of `a` goes nor that it comes again. A snapshot then asks for what it has, so nothing changes
    // there.
    let text = "
duration: 60s
nodes: [ { name: node, count: 2 } ]
services:
  a: { instances: 2, endpoints: { get: {} } }
  b: { instances: 1, endpoints: { get: {} } }
operations:
  - { at: 0s, deploy: [ a, b ] }
  - { at: 10s, scale: b, by: 1.01, times: 70, every: 100ms }
  - { at: 10s, undeploy: a }
  - { at: 12s, deploy: a }
faults:
  - { at: 5s, for: 4s, partition: [ [ coordinator ], [ node-1 ] ], hold: false }
  - { at: 5s, for: 20s, one_way: { from: coordinator, to: node-1 }, hold: false }
";
    let played = meshsim_tests::play(meshsim_tests::parse(text));
    let coordinator = played.sim.coordinator();
    assert_eq!([coordinator.placed_on(0), coordinator.placed_on(1)], [2, 1]);
    assert_eq!(coordinator.ready(ServiceId(0)), 2, "callers know both instances of `a`");
}
