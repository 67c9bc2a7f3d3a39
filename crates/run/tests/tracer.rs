//! Partial traces: control messages complete, each request complete or absent, and the same bytes for the same run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::{RequestId, mark};
use meshsim_report::owner::{Of, Owners, Seen};
use meshsim_report::waterfall::{Follower, Waterfall};
use meshsim_run::{HELD_MAX, Keep, Simulation, Tracer, choose};
use meshsim_trace::{Entry, Header, Reader, Record};

/// Queues, retries, timeouts, a crash, and messages that are lost and doubled.
const MESH: &str = "
name: kept
seed: 5
duration: 6s
nodes: [ { name: node, count: 4, cores: 4 } ]
services:
  front:
    instances: 2
    capacity: 8
    endpoints: { ask: { script: [ work: 1ms, parallel: [ [ call: back ], [ call: side ] ] ] } }
  back: { instances: 3, capacity: 2, queue: 20, endpoints: { get: { script: [ work: { exponential: 4ms } ], errors: 2% } } }
  side: { instances: 2, endpoints: { get: { script: [ sleep: 3ms ] } } }
operations:
  - { at: 1s, extend: back, to: 6, rate: 0.5, every: 200ms }
load:
  users: { to: front, arrivals: { poisson: 150/s }, timeout: 60ms, retries: 2 }
faults:
  - { at: 2s, for: 1s, crash: node-1 }
  - { at: 3s, for: 1s, link: { from: all, to: node-2 }, drop: 5% }
  - { at: 4s, for: 1s, link: { from: all, to: node-3 }, duplicate: 10% }
";

fn experiment() -> Experiment {
    meshsim_experiment::parse("kept.yaml", MESH, ".".as_ref(), &[]).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn header() -> Header {
    let experiment = experiment();
    meshsim_run::trace_header(&experiment, &experiment.mesh)
}

/// The trace, and the summary of the run.
fn traced(keep: Keep) -> (Vec<u8>, Vec<u8>) {
    let (experiment, header) = (experiment(), header());
    let mut simulation = Simulation::recorded(&experiment, Tracer::new(Vec::new(), &header, keep)).unwrap();
    let summary = serde_json::to_vec(&simulation.finish(&mut ()).summary(&experiment)).unwrap();
    let (bytes, choice) = simulation.into_recorder().finish().unwrap();
    let bytes = choice.map_or_else(|| bytes.clone(), |choice| choose(&bytes[..], choice, Vec::new()).unwrap());
    (bytes, summary)
}

fn kept(keep: &str) -> (Vec<u8>, Vec<u8>) {
    traced(keep.parse().unwrap())
}

fn records(bytes: &[u8]) -> Vec<Record<Msg, Tick>> {
    Reader::new(bytes).unwrap().map(Result::unwrap).collect()
}

fn waterfalls(records: &[Record<Msg, Tick>]) -> BTreeMap<u64, Waterfall> {
    let mut follower = Follower::default();
    records.iter().filter_map(|record| follower.take(record)).map(|of| (of.root, of)).collect()
}

/// The requests that held the slots are known only where the trace has all requests.
fn without_holders(mut waterfall: Waterfall) -> Waterfall {
    for queue in waterfall.hops.iter_mut().filter_map(|hop| hop.queue.as_mut()) {
        (queue.calls, queue.working, queue.sleeping) = (Vec::new(), 0, 0);
    }
    waterfall
}

/// The records that belong to no request, without their numbers.
fn control(records: &[Record<Msg, Tick>]) -> Vec<String> {
    let mut owners = Owners::default();
    let is_control = |record: &&Record<Msg, Tick>| owners.take(record.actor, Seen::from(*record)).of == Of::Control;
    let control: Vec<_> = records.iter().filter(is_control).collect();
    control.iter().map(|record| format!("{} {:?} {:?}", record.at.nanos(), record.actor, record.entry)).collect()
}

#[test]
fn a_run_gives_the_same_summary_whatever_is_kept() {
    let (whole, summary) = traced(Keep::ALL);
    for keep in ["control", "5%", "failed", "slowest=10", "failed,slowest=10,1%"] {
        let (bytes, same) = kept(keep);
        assert!(same == summary, "{keep}");
        assert!(bytes.len() < whole.len() / 2, "{keep}: {} of {} bytes", bytes.len(), whole.len());
        assert_eq!(bytes, kept(keep).0, "{keep}");
    }
}

#[test]
fn only_what_may_be_kept_is_written_while_the_run_goes_on() {
    let whole = traced(Keep::ALL).0.len();
    for (keep, is_final) in [("failed", true), ("failed,5%", true), ("slowest=10", false), ("failed,slowest=10", false)]
    {
        let mut simulation =
            Simulation::recorded(&experiment(), Tracer::new(Vec::new(), &header(), keep.parse().unwrap())).unwrap();
        simulation.finish(&mut ());
        let (bytes, choice) = simulation.into_recorder().finish().unwrap();
        assert_eq!(choice.is_none(), is_final, "{keep}");
        assert!(bytes.len() < whole / 2, "{keep}: {} of {whole} bytes", bytes.len());
    }
}

#[test]
fn a_request_that_does_not_end_holds_a_bounded_number_of_records() {
    let mut tracer = Tracer::new(Vec::new(), &header(), "failed".parse().unwrap());
    let note = |at: u64, actor: u32, what: &str, subject: u64| {
        let entry = Entry::Note { what: what.into(), subject, value: 0 };
        Record { seq: 0, at: Time::from_nanos(at), actor: ActorId(actor), entry }
    };
    let root = RequestId::new(ActorId(5), 0).root;
    tracer.put(&note(0, 5, mark::DUE, root));
    let count = HELD_MAX as u64 + 100_000;
    (1..=count).for_each(|at| tracer.put(&note(at, 0, "heard", at)));
    assert!(tracer.writer().passed_on() > 10_000, "{}", tracer.writer().passed_on());
    let (bytes, _) = tracer.finish().unwrap();
    let records = records(&bytes);
    assert_eq!(records.len() as u64, count + 1, "it is kept, as it may yet fail");
    assert!(records.iter().map(|record| record.at.nanos()).eq(0..=count));
}

#[test]
fn control_messages_are_whole_whatever_is_kept() {
    let all = control(&records(&traced(Keep::ALL).0));
    assert!(all.iter().any(|line| line.contains("Steps")) && all.iter().any(|line| line.contains("Heartbeat")));
    for keep in ["control", "5%", "failed,slowest=10"] {
        let found = control(&records(&kept(keep).0));
        // The causes of the effects that are kept are kept too.
        let found: BTreeSet<_> = found.iter().collect();
        let missing: Vec<_> = all.iter().filter(|line| !found.contains(line)).collect();
        assert!(
            missing.is_empty(),
            "{keep}: {} of {}: {:?}",
            missing.len(),
            all.len(),
            &missing[..3.min(missing.len())]
        );
    }
}

#[test]
fn requests_are_kept_whole_or_not_at_all() {
    let all = waterfalls(&records(&traced(Keep::ALL).0));
    let failed: BTreeSet<u64> = all.values().filter(|of| of.failure.is_some()).map(|of| of.root).collect();
    let mut by_latency: Vec<_> = all.values().filter(|of| of.failure.is_none()).collect();
    by_latency.sort_by_key(|of| (std::cmp::Reverse(of.latency()), of.root));
    let slowest: BTreeSet<u64> = by_latency.iter().take(10).map(|of| of.root).collect();
    assert!(failed.len() > 5 && all.len() > 500, "{} of {}", failed.len(), all.len());

    let roots = |keep: &str| {
        let found = waterfalls(&records(&kept(keep).0));
        for (root, waterfall) in &found {
            assert_eq!(without_holders(waterfall.clone()), without_holders(all[root].clone()), "{keep}");
        }
        found.into_keys().collect::<BTreeSet<u64>>()
    };
    let drawn = roots("5%");
    assert!((20..80).contains(&drawn.len()), "{}", drawn.len());
    assert_eq!(roots("failed"), failed);
    assert_eq!(roots("slowest=10"), slowest);
    assert!(roots("control").is_empty());
    assert_eq!(roots("failed,slowest=10,5%"), &(&failed | &slowest) | &drawn);
}

#[test]
fn a_part_of_a_trace_says_what_was_left_out() {
    let all = records(&traced(Keep::ALL).0);
    for keep in ["2%", "failed"] {
        let (bytes, _) = kept(keep);
        let mut reader: Reader<_, Msg, Tick> = Reader::new(Cursor::new(&bytes)).unwrap();
        assert_eq!(reader.header().keep, format!("control,{keep}"));
        let left_out = reader.index().unwrap().left_out;
        let is_sending = |record: &&Record<Msg, Tick>| matches!(record.entry, Entry::Send { .. });
        let sent = [&all, &records(&bytes)].map(|records| records.iter().filter(is_sending).count() as u64);
        assert_eq!(left_out["send"] + sent[1], sent[0]);
        let counted: u64 = left_out.iter().filter(|(kind, _)| *kind != "request").map(|(_, count)| count).sum();
        assert_eq!(counted + records(&bytes).len() as u64, all.len() as u64);
    }
}

#[test]
fn effects_that_are_kept_follow_what_their_actor_took_in() {
    // Each effect stands after an input of the same actor and moment.
    let mut inputs = BTreeMap::new();
    for record in records(&kept("3%").0) {
        match record.entry {
            Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_) | Entry::Durable(_) => {
                inputs.insert(record.actor, record.at);
            }
            Entry::Send { .. } | Entry::Arm { .. } | Entry::Disarm(_) | Entry::Note { .. } | Entry::Persist(_) => {
                assert_eq!(inputs.get(&record.actor), Some(&record.at), "{record:?}");
            }
            Entry::Fate(..) | Entry::Power(_) => {}
        }
    }
}

#[test]
fn owners_that_are_written_and_read_back_go_on_alike() {
    let all = records(&traced(Keep::ALL).0);
    let mut owners = Owners::default();
    let mut other: Option<Owners> = None;
    for record in &all {
        let known = owners.take(record.actor, Seen::from(record));
        if let Some(other) = &mut other {
            assert_eq!(other.take(record.actor, Seen::from(record)), known, "{record:?}");
        }
        if record.seq % 5_000 == 0 {
            let mut bytes = Vec::new();
            owners.to_bytes(&mut bytes);
            other = Owners::from_bytes(&bytes);
            assert_eq!(other.as_ref(), Some(&owners));
        }
    }
    assert!(all.last().unwrap().at > Time::ZERO + Span::from_secs(5));
}
