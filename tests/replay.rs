//! The actors of a mesh repeat a trace exactly, and a deviation is found.

use std::sync::Arc;

use meshsim_actor::{
    Actor, ActorId, Cell, Dist, Event, Impairment, ImpairmentKind, MachineAction, Reboot, Rng, Side, Span, Subject,
    Time,
};
use meshsim_fault::Service as FaultService;
use meshsim_fault::{ActorSet, Crash, Cut, Disk, Fault, FaultKind, Partition, Pause, Slow, Wipe};
use meshsim_mesh::actors::{MeshActor, MeshCx};
use meshsim_mesh::{MeshDisk, Msg, Tick};
use meshsim_tests::{Testbed, troubled};
use meshsim_trace::replay::{Difference, ReplayReport};
use meshsim_trace::{Entry, Header, Reader, Record, Replay, Writer};

type Records = Vec<Record<Msg, Tick>>;

fn traced(lab: Testbed) -> Records {
    let header = Header { seed: lab.seed, ..Header::default() };
    let mut ran = lab.start(Writer::new(Vec::new(), &header));
    ran.run_until(15.0);
    let trace = ran.sim.into_recorder().finish().expect("a Vec takes every byte");
    Reader::new(&trace[..]).and_then(Iterator::collect).expect("it is whole")
}

/// Replays the records with the lab's actors, each modified by `change`.
fn replay<A: Actor<Msg = Msg, Tick = Tick>>(
    records: &Records,
    lab: Testbed,
    change: impl Fn(MeshActor) -> A,
) -> Result<ReplayReport, Box<Difference<Msg, Tick>>> {
    let mesh = Arc::new(lab.mesh);
    let born: Vec<MeshActor> = meshsim_mesh::actors::all(&mesh).collect();
    let mut replay = Replay::new(|id: ActorId, incarnation| {
        let actor = change(born.get(id.index())?.clone());
        Some(Cell::with_incarnation(id, actor, Rng::stream(lab.seed, mesh.actor_name(id)), incarnation))
    });
    records.iter().try_for_each(|record| replay.take(record.clone()))?;
    replay.finish(true)
}

#[track_caller]
fn expect_the_same(lab: Testbed) {
    let records = traced(lab.clone());
    let of = |kind: fn(&Entry<Msg, Tick>) -> bool| records.iter().filter(|record| kind(&record.entry)).count() as u64;
    let expected = ReplayReport {
        records: records.len() as u64,
        actors: lab.mesh.actor_count() as u64,
        inputs: of(|entry| {
            matches!(entry, Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_) | Entry::Durable(_))
        }),
        effects: of(|entry| {
            let is_noted = matches!(entry, Entry::Note { .. });
            is_noted || matches!(entry, Entry::Send { .. } | Entry::Arm { .. } | Entry::Disarm(_) | Entry::Persist(_))
        }),
        ..ReplayReport::default()
    };
    assert!(expected.inputs > 10_000, "{} inputs are a whole run", expected.inputs);
    assert_eq!(replay(&records, lab, |actor| actor).expect("no difference"), expected);
}

fn fault(from: u64, to: u64, kind: impl Into<FaultKind>) -> Fault {
    let secs = |secs| Time::ZERO + Span::from_secs(secs);
    Fault::new(secs(from), secs(to), kind)
}

fn some(actors: &[u32]) -> ActorSet {
    actors.iter().map(|actor| ActorId(*actor)).collect()
}

#[test]
fn a_faulty_run_is_replayed_to_the_last_effect() {
    expect_the_same(troubled(7));
}

#[test]
fn a_run_with_overloaded_nodes_of_changing_speed_replays_completely() {
    let mut lab = troubled(7)
        .fault(fault(3, 9, Slow { actors: some(&[2, 3]), factor: 0.7 }))
        .fault(fault(5, 7, Slow { actors: some(&[2]), factor: 0.3 }))
        .fault(fault(10, 11, Pause { actors: some(&[1, 3]) }));
    lab.mesh.nodes.iter_mut().for_each(|node| node.cores = 0.8);
    let policy = &mut lab.mesh.loads[0].policy;
    policy.timeout = Some(Span::from_secs(1));
    expect_the_same(lab);
}

#[test]
fn a_run_with_all_machine_faults_replays_completely() {
    let lab = troubled(7)
        .fault(fault(2, 4, Wipe { actors: some(&[1, 3]) }))
        .fault(fault(7, 8, Crash { actors: some(&[0]) }))
        .fault(fault(5, 7, Pause { actors: some(&[4]) }))
        .fault(fault(3, 12, Slow { actors: some(&[2]), factor: 0.3 }))
        .fault(fault(9, 11, Partition { cut: Cut::Islands(vec![some(&[0, 1, 5]), some(&[2, 3, 4])]), hold: true }));
    expect_the_same(lab);
}

#[test]
fn a_run_with_slow_disks_and_crashes_replays_completely() {
    let lab = troubled(7)
        .fault(fault(1, 12, Disk { actors: some(&[0, 1, 2, 3, 4]), sync: Span::from_millis(300) }))
        .fault(fault(8, 9, Disk { actors: some(&[3]), sync: Span::MAX }))
        .fault(fault(7, 8, Crash { actors: some(&[0, 3]) }));
    expect_the_same(lab);
}

#[test]
fn a_run_with_faults_of_services_replays_completely_and_another_fault_is_caught() {
    let impaired = |effect: ImpairmentKind, side| {
        let subject = Subject { program: 1, entry: None, version: None, copies: None, side };
        let impairment = Arc::new(Impairment { key: 7, subject, effect });
        fault(3, 9, FaultService { actors: some(&[1, 2, 3, 4]), impairment })
    };
    let late = Dist::Exponential { at_least: Span::ZERO, mean: Span::from_millis(5) };
    let lab = troubled(7)
        .fault(impaired(ImpairmentKind::Errors(0.3), Side::Served))
        .fault(impaired(ImpairmentKind::Hang(0.01), Side::Served))
        .fault(impaired(ImpairmentKind::Slots(0.5), Side::Served))
        .fault(impaired(ImpairmentKind::Latency(late), Side::CalledBy(Some(0))));
    expect_the_same(lab.clone());
    let mut records = traced(lab.clone());
    let is_errors = |entry: &Entry<Msg, Tick>| matches!(entry, Entry::Power(MachineAction::Impair(it)) if it.effect == ImpairmentKind::Errors(0.3));
    let at = records.iter().position(|record| is_errors(&record.entry)).expect("the fault is in the trace");
    records[at].entry = Entry::Power(MachineAction::Recover(0));
    replay(&records, lab, |actor| actor).unwrap_err();
}

#[test]
fn another_seed_and_another_mesh_are_caught() {
    let records = traced(troubled(7));
    replay(&records, troubled(8), |actor| actor).unwrap_err();
    let mut capacity = troubled(7);
    capacity.mesh.services[0].capacity = 19.0;
    replay(&records, capacity, |actor| actor).unwrap_err();
    let mut slower = troubled(7);
    slower.mesh.services[1].start_delay = Span::from_millis(501);
    replay(&records, slower, |actor| actor).unwrap_err();
}

/// An actor of the mesh with a deviation at the event with this number.
struct Mutant {
    actor: MeshActor,
    slip: Slip,
    events: u64,
    at: u64,
}

#[derive(Clone, Copy, Debug)]
enum Slip {
    /// It draws one random number too many.
    Draws,
    /// It repeats its last message.
    Sends,
    /// It ignores a timer.
    Forgets,
    /// It arms an unnecessary timer.
    Arms,
    /// It writes a note.
    Notes,
}

impl Actor for Mutant {
    type Msg = Msg;
    type Tick = Tick;
    type Disk = MeshDisk;

    fn disk(&self) -> MeshDisk {
        self.actor.disk()
    }

    fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        self.events += 1;
        // The deviation waits for an event at which it is possible.
        let slips = self.events >= self.at;
        match (self.slip, &event) {
            (Slip::Draws, _) if slips => {
                cx.rng().next_u64();
            }
            (Slip::Sends, Event::Message { from, msg }) if slips => cx.send(*from, msg.clone()),
            (Slip::Forgets, Event::Timer(_)) if slips => {
                self.at = u64::MAX;
                return;
            }
            (Slip::Arms, Event::Timer(tick)) if slips => {
                cx.arm(Time::NEVER, *tick);
            }
            (Slip::Notes, _) if slips => cx.note("slip", 0, 0),
            _ => return self.actor.on(event, cx),
        }
        self.at = u64::MAX;
        self.actor.on(event, cx);
    }

    fn reboot(&mut self, found: Reboot<MeshDisk>) {
        self.actor.reboot(found);
    }
}

#[test]
fn an_actor_that_slips_once_is_caught() {
    let records = traced(troubled(7));
    for slip in [Slip::Draws, Slip::Sends, Slip::Forgets, Slip::Arms, Slip::Notes] {
        let kinds: [fn(&MeshActor) -> bool; 3] =
            [|it| it.coordinator().is_some(), |it| it.node().is_some(), |it| it.client().is_some()];
        for (kind, of_kind) in kinds.into_iter().enumerate() {
            let change = |actor: MeshActor| {
                let at = if of_kind(&actor) { 100 } else { u64::MAX };
                Mutant { actor, slip, events: 0, at }
            };
            let difference = replay(&records, troubled(7), change).expect_err(&format!("{slip:?}"));
            let found = match difference.actor.0 {
                0 => 0,
                1..=4 => 1,
                _ => 2,
            };
            assert_eq!(found, kind, "{slip:?}: {difference:?}");
        }
    }
}
