//! Invariants of runs, checked from outside: they hold for every example, also under faults, and each rule notices what
//! breaks it.

use std::path::Path;
use std::sync::Arc;

use meshsim_actor::{ActorId, EntryRef, Recorder, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::{Mesh, view::InstanceRef};
use meshsim_report::verify::{Verified, Verifier};
use meshsim_run::Simulation;
use meshsim_tests::{parse, troubled};
use meshsim_trace::{Entry, Record};

type Records = Vec<Record<Msg, Tick>>;

/// Keeps all records.
#[derive(Default)]
struct Tape(Records);

impl Recorder<Msg, Tick> for Tape {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        self.0.push(Record { seq: self.0.len() as u64, at, actor, entry: what.into() });
    }
}

fn verified(mesh: &Arc<Mesh>, records: &Records) -> Vec<Verified> {
    let mut verifier = Verifier::new(mesh.clone(), false);
    records.iter().for_each(|record| verifier.take(record));
    verifier.finish()
}

#[track_caller]
fn assert_all_hold(what: &str, verified: &[Verified]) {
    for it in verified {
        assert!(it.broken == 0, "{what}: {it:#?}");
    }
}

fn recorded(mut experiment: Experiment, secs: u64) -> (Arc<Mesh>, Records) {
    experiment.duration = experiment.duration.min(Span::from_secs(secs));
    let mut sim = Simulation::recorded(&experiment, Tape::default()).expect("the file was checked");
    sim.to(Time::ZERO + experiment.duration);
    let mesh = sim.mesh().clone();
    (mesh, sim.into_recorder().0)
}

#[test]
fn the_invariants_hold_for_every_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("mesh.yaml"));
    for file in files.filter(|file| file.is_file()) {
        let experiment = meshsim_experiment::load(&file, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        let (mesh, records) = recorded(experiment, 15);
        let verified = verified(&mesh, &records);
        assert_all_hold(&file.display().to_string(), &verified);
        // The last rule is about the end of a run that is quiet for long.
        assert!(verified.iter().rev().skip(1).all(|it| it.checked > 0), "{}: {verified:#?}", file.display());
    }
}

#[test]
fn the_invariants_hold_under_drawn_faults() {
    for seed in 1..=20 {
        let ran = troubled(seed).run_with(60.0, Tape::default());
        assert_all_hold(&format!("seed {seed}"), &verified(ran.sim.mesh(), &ran.sim.recorder().0));
    }
}

/// A mesh in which everything happens that the rules are about.
fn small() -> (Arc<Mesh>, Records) {
    recorded(
        parse(
            "
duration: 10s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  web: { instances: 2, capacity: 8, endpoints: { get: { script: [ work: 1ms ] } } }
operations: [ { at: 2s, extend: web, to: 4, rate: 1 }, { at: 4s, extend: web, to: 6, rate: 1 } ]
load: { users: { to: web, arrivals: { constant: 20/s } } }
",
        ),
        10,
    )
}

/// Changes the first record that `change` changes, and says which rules are broken then.
fn broken_by(mut change: impl FnMut(&mut Record<Msg, Tick>) -> bool) -> Vec<&'static str> {
    let (mesh, mut records) = small();
    assert!(records.iter_mut().any(&mut change), "nothing was changed");
    names(&verified(&mesh, &records))
}

fn names(verified: &[Verified]) -> Vec<&'static str> {
    verified.iter().filter(|it| it.broken > 0).map(|it| it.rule).collect()
}

#[track_caller]
fn assert_notices(broken: &[&str], rule: &str) {
    assert!(broken.iter().any(|it| it.starts_with(rule)), "{broken:?}");
}

fn sent(record: &mut Record<Msg, Tick>) -> Option<&mut Msg> {
    if let Entry::Send { msg, .. } = &mut record.entry { Some(msg) } else { None }
}

/// The rules that are broken at the end of a quiet run whose records were changed.
fn broken_at_the_end(change: impl FnOnce(&mut Records)) -> Vec<&'static str> {
    let text = "
duration: 60s
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  web: { instances: 2, capacity: 8, endpoints: { get: { script: [ work: 1ms ] } } }
operations: [ { at: 2s, extend: web, to: 4, rate: 1 } ]
faults: [ { at: 3s, for: 2s, crash: node-1 } ]
";
    let (mesh, mut records) = recorded(parse(text), 60);
    change(&mut records);
    let mut verifier = Verifier::new(mesh, false);
    records.iter().for_each(|record| verifier.take(record));
    verifier.ends(Time::ZERO + Span::from_secs(5), Time::ZERO + Span::from_secs(60));
    let verified = verifier.finish();
    assert!(verified.last().is_some_and(|it| it.checked == 1), "the end is judged");
    names(&verified)
}

#[test]
fn a_quiet_end_is_as_it_was_decided() {
    assert_eq!(broken_at_the_end(|_| {}), Vec::<&str>::new());
}

#[test]
fn a_node_that_misses_the_last_step_or_lacks_an_instance_is_noticed_at_the_end() {
    let broken = broken_at_the_end(|records| {
        let last = records
            .iter()
            .map(|record| if let Entry::Send { msg: Msg::Ack(ack), .. } = &record.entry { ack.applied } else { 0 });
        let last = last.max().expect("there are acknowledgements");
        records
            .retain(|record| !matches!(&record.entry, Entry::Send { msg: Msg::Ack(ack), .. } if ack.applied == last));
    });
    assert_notices(&broken, "after the last fault");
    let broken = broken_at_the_end(|records| {
        let report = records.iter_mut().rev().find_map(|record| match sent(record) {
            Some(Msg::Report(report)) => report.services.iter_mut().find(|it| !it.ready.is_empty()),
            _ => None,
        });
        report.expect("there are reports").ready.pop();
    });
    assert_notices(&broken, "after the last fault");
}

#[test]
fn a_step_of_an_older_term_that_is_applied_is_noticed() {
    let (mesh, mut records) = small();
    let mut seen = 0;
    // The second step to each node comes in term 9, the third in term 1 again.
    for record in &mut records {
        if let Some(Msg::Steps(steps)) = sent(record) {
            for step in steps.iter_mut().filter(|step| step.decision.n == 2) {
                Arc::make_mut(&mut step.decision).epoch = 9;
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
    assert_notices(&names(&verified(&mesh, &records)), "no step of an older term");
}

#[test]
fn a_request_beyond_the_slots_or_the_queue_is_noticed() {
    let (mesh, mut records) = small();
    // No request is answered, so that all that come are served at once.
    records.retain(|record| !matches!(&record.entry, Entry::Note { what, .. } if &**what == "answered"));
    assert_notices(&names(&verified(&mesh, &records)), "no more requests are served");
    // All wait from their arrival on, in a queue of one.
    let (mesh, mut records) = small();
    let mut mesh = Mesh::clone(&mesh);
    mesh.services[0].queue = 1;
    for record in &mut records {
        if let Entry::Note { what, .. } = &mut record.entry
            && &**what == "slot"
        {
            *what = "queued".into();
        }
    }
    records.retain(|record| !matches!(&record.entry, Entry::Note { what, .. } if &**what == "answered"));
    assert_notices(&names(&verified(&Arc::new(mesh), &records)), "no more requests are served");
}

#[test]
fn a_message_that_arrives_twice_is_noticed() {
    let (mesh, mut records) = small();
    let at = records.iter().position(|record| matches!(record.entry, Entry::Deliver(_))).unwrap();
    let again = records[at].clone();
    records.insert(at + 1, again);
    assert_notices(&names(&verified(&mesh, &records)), "a message arrives");
}

#[test]
fn a_message_that_arrives_before_it_was_sent_is_noticed() {
    let (mesh, mut records) = small();
    let at = records.iter().position(|record| matches!(record.entry, Entry::Deliver(_))).unwrap();
    let early = records.remove(at);
    records.insert(0, early);
    assert_notices(&names(&verified(&mesh, &records)), "a message arrives");
}

#[test]
fn a_step_with_two_contents_and_a_gap_are_noticed() {
    let mut seen = 0;
    let broken = broken_by(|record| match sent(record) {
        Some(Msg::Steps(steps)) => {
            seen += 1;
            if seen == 2 {
                Arc::make_mut(&mut steps[0].decision).capacity += 1.0;
            }
            seen == 2
        }
        _ => false,
    });
    assert_notices(&broken, "steps and generations");
    let broken = broken_by(|record| match sent(record) {
        Some(Msg::Steps(steps)) => {
            Arc::make_mut(&mut steps[0].decision).n += 7;
            true
        }
        _ => false,
    });
    assert_notices(&broken, "steps and generations");
}

#[test]
fn steps_of_a_snapshot_may_be_sent_after_later_ones() {
    // Nobody hears of the steps from 32 s on. `node-1` restarts and gets a snapshot, and the step after it; then
    // `node-0` gets the steps that it missed.
    let experiment = parse(
        "seed: 6447\nduration: 38s\nnodes: [ { name: node, count: 2, cores: 23 } ]\nservices:\n  \
         b: { instances: 7, cpu: 0.1, start_delay: 0ms, drain_delay: 932ms, endpoints: { get: {} } }\n\
         operations: [ { at: 24860ms, scale: b, by: 1.01, times: 76, every: 176ms } ]\nfaults:\n  \
         - { at: 32490ms, for: 413ms, crash: node-1 }\n  \
         - { at: 31986ms, for: 3405ms, partition: [ [ node-0 ], [ coordinator ] ] }\n  \
         - { at: 31986ms, for: 3405ms, partition: [ [ node-1 ], [ coordinator ] ] }\n",
    );
    let (mesh, records) = recorded(experiment, 38);
    let first = |record: &Record<Msg, Tick>| match &record.entry {
        Entry::Send { msg: Msg::Steps(steps), .. } => steps.first().map(|step| step.decision.n),
        _ => None,
    };
    let firsts: Vec<u64> = records.iter().filter_map(first).collect();
    assert!(firsts.iter().zip(&firsts[1..]).any(|(one, next)| next + 5 < *one), "{firsts:?}");
    assert_all_hold("after a snapshot", &verified(&mesh, &records));
}

#[test]
fn an_acknowledgement_of_a_step_that_never_came_is_noticed() {
    let broken = broken_by(|record| match sent(record) {
        Some(Msg::Ack(ack)) => {
            ack.applied += 1;
            true
        }
        _ => false,
    });
    assert_notices(&broken, "nodes acknowledge");
}

#[test]
fn an_acknowledgement_of_another_history_or_of_fewer_steps_is_noticed() {
    let broken = broken_by(|record| match sent(record) {
        Some(Msg::Ack(ack)) if ack.applied > 0 => {
            ack.digest ^= 1;
            true
        }
        _ => false,
    });
    assert_notices(&broken, "nodes acknowledge");
    let broken = broken_by(|record| match sent(record) {
        Some(Msg::Ack(ack)) if ack.applied > 1 => {
            ack.applied = 0;
            true
        }
        _ => false,
    });
    assert_notices(&broken, "nodes acknowledge");
}

#[test]
fn an_instance_that_no_step_gives_to_a_node_is_noticed() {
    let broken = broken_by(|record| match sent(record) {
        Some(Msg::Report(report)) if !report.services.is_empty() => {
            let ready = &mut report.services[0].ready;
            ready.push((ready.len() as u32 + 100, 1));
            true
        }
        _ => false,
    });
    assert_notices(&broken, "nodes report");
}

#[test]
fn an_instance_that_no_node_reported_is_noticed_in_a_view() {
    let broken = broken_by(|record| match sent(record) {
        Some(Msg::InstanceView(view)) => {
            let phantom = InstanceRef { node: ActorId(2), ordinal: 77, version: 1 };
            let view = Arc::make_mut(view);
            view.services[0] = view.services[0].iter().copied().chain([phantom]).collect();
            true
        }
        _ => false,
    });
    assert_notices(&broken, "views have");
}

#[test]
fn a_reply_that_no_request_asked_for_is_noticed() {
    let (mesh, mut records) = small();
    let at = records.iter().position(|record| matches!(&record.entry, Entry::Send { msg: Msg::Reply(_), .. })).unwrap();
    let mut again = records[at].clone();
    let Entry::Send { seq, .. } = &mut again.entry else { unreachable!() };
    *seq += 1_000_000;
    records.insert(at + 1, again);
    assert_notices(&names(&verified(&mesh, &records)), "replies answer");
}
