//! Disks that take time: what is said of durable state waits for them, and a crash loses what they do not have.

use meshsim_actor::{ActorId, EntryRef, Recorder, Span, Time};
use meshsim_mesh::measure::{OperationHistory, OperationKind, OperationOutcome};
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::verify::Verifier;
use meshsim_run::Simulation;
use meshsim_tests::{Played, parse, play};

/// Three nodes, and a service that grows from 4 to 8 instances at 5 s, in three steps.
fn grown(faults: &str) -> String {
    format!(
        "
duration: 40s
nodes: [ {{ name: node, count: 3, cores: 8 }} ]
network: {{ latency: 1ms }}
services:
  web:
    instances: 4
    capacity: 100
    endpoints: {{ get: {{ script: [ work: 1ms ] }} }}
operations: [ {{ at: 5s, extend: web, to: 8, rate: 0.5, every: 1s }} ]
load:
  users: {{ to: web, arrivals: {{ poisson: 200/s }}, from: 10s }}
faults: [ {faults} ]
"
    )
}

const ALL: &str = "[node-0, node-1, node-2, coordinator]";

fn played(faults: &str) -> Played {
    play(parse(&grown(faults)))
}

fn extend(played: &Played) -> &OperationHistory {
    played.operation(OperationKind::Extend, "web")
}

/// Time from the decision of each step of the extend until all nodes have acknowledged it.
fn settling(played: &Played) -> Vec<f64> {
    let steps = extend(played).steps.iter();
    let millis = |span: Span| (span.secs() * 1_000.0).round();
    steps.map(|step| millis(step.settled.expect("it is settled").since(step.decided))).collect()
}

#[track_caller]
fn assert_grown(played: &Played) {
    assert_eq!(extend(played).outcome, OperationOutcome::Reached);
    let placed = |node| played.sim.coordinator().placed_on(node);
    assert_eq!((0..3).map(placed).sum::<u32>(), 8);
    let coordinator = played.sim.coordinator().state();
    for node in played.sim.actors().filter_map(|actor| actor.node()) {
        assert_eq!((node.state().applied, node.state().digest), (coordinator.steps, coordinator.digest));
    }
}

/// Checks all invariants during a run.
struct Checked(Verifier);

impl Recorder<Msg, Tick> for Checked {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        self.0.record(at, actor, &what);
    }
}

#[track_caller]
fn assert_invariants(faults: &str) {
    let experiment = parse(&grown(faults));
    let verifier = Verifier::new(experiment.mesh.clone().into(), false);
    let mut sim = Simulation::recorded(&experiment, Checked(verifier)).unwrap();
    sim.to(Time::ZERO + experiment.duration);
    for rule in sim.into_recorder().0.finish() {
        assert!(rule.broken == 0, "{rule:#?}");
    }
}

#[test]
fn a_step_leaves_when_the_coordinators_disk_has_it() {
    assert_eq!(settling(&played("")), [2.0; 3]);
    assert_eq!(settling(&played("{ at: 4s, for: 10s, disk: coordinator, sync: 200ms }")), [202.0; 3]);
}

#[test]
fn a_step_is_acknowledged_when_the_disk_of_the_node_has_it() {
    assert_eq!(settling(&played("{ at: 4s, for: 10s, disk: node-1, sync: 300ms }")), [302.0; 3]);
    let both = format!("{{ at: 4s, for: 10s, disk: {ALL}, sync: 100ms }}");
    assert_eq!(settling(&played(&both)), [202.0; 3]);
}

#[test]
fn requests_do_not_wait_for_disks() {
    let (fast, slow) = (played(""), played(&format!("{{ at: 8s, for: 30s, disk: {ALL}, sync: 2s }}")));
    assert_eq!(format!("{:?}", slow.tally()), format!("{:?}", fast.tally()));
    assert!(slow.tally().offered > 5_000);
}

#[test]
fn a_full_disk_stops_operations_until_it_has_room() {
    let played = played("{ at: 4s, for: 16s, disk: coordinator, full: true }");
    let settled = extend(&played).steps[0].settled.unwrap();
    assert_eq!(settled, Time::ZERO + Span::from_secs(20) + Span::from_millis(2));
    assert_grown(&played);
}

#[test]
fn a_coordinator_that_lost_a_decision_decides_anew_and_nothing_contradicts_it() {
    for (sync, crash) in [("2s", "5500ms"), ("2s", "6500ms"), ("700ms", "5600ms"), ("700ms", "6100ms")] {
        let faults = format!(
            "{{ at: 4s, for: 20s, disk: {ALL}, sync: {sync} }}, {{ at: {crash}, for: 1s, crash: coordinator }}"
        );
        assert_grown(&played(&faults));
        assert_invariants(&faults);
    }
}

#[test]
fn a_node_is_sent_again_what_it_had_not_synced() {
    for crash in ["5100ms", "6050ms", "6900ms"] {
        let faults =
            format!("{{ at: 4s, for: 20s, disk: node-1, sync: 900ms }}, {{ at: {crash}, for: 500ms, crash: node-1 }}");
        assert_grown(&played(&faults));
        assert_invariants(&faults);
    }
}
