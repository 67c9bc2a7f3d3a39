//! Each step is applied exactly once, whatever the network and the machines do.
//!
//! A recorder watches every run from outside. It sees each applied step and each reboot, and fails if a node applies a
//! step twice in one lineage of its disk, or out of order.

use std::collections::BTreeMap;

use std::sync::Arc;

use meshsim_actor::{ActorId, Cell, Dist, Effect, EntryRef, Envelope, Input, MachineAction, Recorder, Rng, Span, Time};
use meshsim_fault::{ActorSet, Crash, Cut, Drop, Duplicate, Fault, FaultKind, Link, Partition, Pause, Reorder, Wipe};
use meshsim_mesh::measure::OperationKind;
use meshsim_mesh::message::{Decision, NodeStep, Reply, Request};
use meshsim_mesh::model::{Amount, COORDINATOR, Change, Feedback, Rounding, ServiceId, Strategy};
use meshsim_mesh::view::{InstanceRef, InstanceView};
use meshsim_mesh::{MeshActor, Msg, Tick};
use meshsim_tests::{Ran, Testbed, campaign, extend, load, service, times};

const NODES: usize = 5;

/// End of all faults, and the time by which the mesh must have recovered.
const HEALED: f64 = 60.0;
const SETTLED: f64 = 110.0;

const ROLLING: Strategy = Strategy::Rolling { max_surge: Amount::Share(0.25), max_unavailable: Amount::Share(0.25) };

/// Watches the steps that nodes apply.
#[derive(Default)]
struct Watcher {
    /// The last step on each disk.
    applied: BTreeMap<ActorId, u64>,
    wrong: Vec<String>,
    /// Number of events by kind, so that a campaign can show that each kind occurred.
    seen: BTreeMap<&'static str, u64>,
    /// Highest step sent to each node, to detect repetitions.
    delivered: BTreeMap<ActorId, u64>,
}

impl Recorder<Msg, Tick> for Watcher {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        let applied = self.applied.entry(actor).or_default();
        match what {
            EntryRef::Note(note) if note.what == "apply" => {
                if note.value != *applied + 1 {
                    self.wrong.push(format!("{at}: {actor} applied step {} after {applied}", note.value));
                }
                *applied = note.value;
                *self.seen.entry("apply").or_default() += 1;
            }
            EntryRef::Note(note) if note.what == "snapshot" => {
                if note.value <= *applied {
                    self.wrong.push(format!("{at}: {actor} went back from {applied} to {}", note.value));
                }
                *applied = note.value;
                *self.seen.entry("snapshot").or_default() += 1;
            }
            EntryRef::Note(note) => *self.seen.entry(note.what).or_default() += 1,
            EntryRef::Power(MachineAction::Wipe) => {
                *applied = 0;
                *self.seen.entry("wipe").or_default() += 1;
            }
            EntryRef::Power(MachineAction::Crash) => *self.seen.entry("crash").or_default() += 1,
            EntryRef::Deliver(envelope) => match &envelope.msg {
                Msg::Steps(orders) => {
                    let delivered = self.delivered.entry(actor).or_default();
                    for order in orders {
                        if order.decision.n <= *applied {
                            *self.seen.entry("duplicate after apply").or_default() += 1;
                        }
                        *delivered = (*delivered).max(order.decision.n);
                    }
                }
                Msg::Need { .. } => *self.seen.entry("gap").or_default() += 1,
                _ => {}
            },
            _ => {}
        }
    }
}

fn secs(s: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(s)
}

/// At least a hundred steps on two services under faults: enough for a wiped node to need a snapshot.
fn lab(seed: u64) -> Testbed {
    Testbed::nodes(NODES)
        .seed(seed)
        .latency(Dist::Exponential { at_least: Span::from_millis(1), mean: Span::from_millis(20) })
        .service(times(10, service("a", vec![])))
        .service(times(20, service("b", vec![])))
        .operation(2.0, 0, extend(40, 0.3, Rounding::Away), 1.5, None)
        .operation(5.0, 1, Change::Update { to: 2, rate: 0.4, strategy: Strategy::Bernoulli }, 2.0, None)
        .operation(8.0, 1, Change::Scale { by: 2.0 }, 3.0, Some(4))
        .operation(20.0, 1, Change::Scale { by: 1.01 }, 0.3, Some(90))
        .operation(25.0, 0, Change::Undeploy, 1.0, None)
        .operation(28.0, 1, Change::Update { to: 3, rate: 1.0, strategy: ROLLING }, 1.0, None)
        .operation(30.0, 0, Change::Deploy, 1.0, None)
        .operation(
            31.0,
            1,
            Change::Extend { to: 50, rate: 0.3, rounding: Rounding::Carry, feedback: Feedback::Observed },
            2.0,
            Some(8),
        )
}

fn some(actors: &[u32]) -> ActorSet {
    actors.iter().map(|actor| ActorId(*actor)).collect()
}

/// Six random faults from the seed, which end by [`HEALED`].
fn with_faults(mut lab: Testbed, seed: u64) -> Testbed {
    let mut rng = Rng::stream(seed, "faults");
    for _ in 0..6 {
        let at = 50.0 * rng.unit();
        let until = (at + 0.5 + 9.0 * rng.unit()).min(HEALED);
        let nodes = NODES as u32;
        let node = 1 + rng.below(nodes);
        let kind: FaultKind = match rng.below(9) {
            0 => Drop { on: Link::all(), probability: 0.1 + 0.4 * rng.unit() }.into(),
            1 => Duplicate { on: Link::all(), probability: 0.3, lag: Dist::Constant(Span::from_millis(300)) }.into(),
            2 => Reorder { on: Link::all(), probability: 0.4, within: Span::from_secs(1) }.into(),
            3 => Crash { actors: some(&[node]) }.into(),
            4 => Wipe { actors: some(&[node]) }.into(),
            5 => Pause { actors: some(&[node]) }.into(),
            6 => Crash { actors: some(&[0]) }.into(),
            7 => Pause { actors: some(&[0]) }.into(),
            _ => {
                let rest: Vec<u32> = (0..=nodes).filter(|actor| *actor != node).collect();
                let cut = if rng.chance(0.5) {
                    Cut::Islands(vec![some(&[node]), some(&rest)])
                } else {
                    Cut::Links(vec![Link::one_way(some(&[node]), some(&rest))])
                };
                Partition { cut, hold: rng.chance(0.3) }.into()
            }
        };
        lab = lab.fault(Fault::new(secs(at), secs(until), kind));
    }
    lab
}

/// After healing, every node has the last step and its digest, and the instances that were decided for it.
fn expect_agreement<R: Recorder<Msg, Tick>>(ran: &Ran<R>, what: &str) {
    let wanted = ran.coordinator().state();
    assert_eq!(ran.coordinator().dead(), [], "{what}: no node is dead any more");
    for node in 0..NODES {
        let state = ran.node(node).state();
        assert_eq!((state.applied, state.digest), (wanted.steps, wanted.digest), "{what}: node {node}");
        for (id, service) in wanted.services.iter().enumerate() {
            let placed = service.placed.iter().find(|(n, _)| *n == node as u32);
            let decided: u32 = placed.map_or(0, |(_, share)| share.iter().map(|(_, count)| count).sum());
            assert_eq!(ran.instances_on(node, id as u16), decided, "{what}: {} on node {node}", service.service);
        }
    }
    // Whatever the faults: an update ends with only its own version, and without extra instances.
    for (id, service) in wanted.services.iter().enumerate() {
        let (target, extra) = (service.wanted.target, service.wanted.extra());
        let others = ran.versions(id as u16).into_iter().any(|(version, _)| version != target);
        assert!(!others && extra == 0, "{what}: {} is of {:?}", service.service, service.wanted);
    }
    for history in ran.coordinator().history() {
        for step in &history.steps {
            assert!(step.settled.is_some(), "{what}: step {} of {:?} settled", step.n, history.kind);
        }
    }
}

#[test]
fn without_faults_each_step_takes_one_message_and_one_ack_per_node() {
    let ran = lab(1).latency(Dist::Constant(Span::from_millis(5))).run_with(SETTLED, Watcher::default());
    expect_agreement(&ran, "calm");
    for history in ran.coordinator().history() {
        for step in &history.steps {
            assert_eq!((step.sent, step.resent, step.acks), (5, 0, 5), "step {} of {:?}", step.n, history.kind);
        }
    }
    let watcher = ran.sim.recorder();
    assert_eq!((&watcher.wrong[..], watcher.seen.get("gap")), (&[][..], None));
}

#[test]
fn nodes_apply_each_step_once_and_converge_after_a_fault_campaign() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..150 * campaign() {
        let ran = with_faults(lab(seed), seed).run_with(SETTLED, Watcher::default());
        let watcher = ran.sim.recorder();
        assert_eq!(watcher.wrong, Vec::<String>::new(), "seed {seed}");
        expect_agreement(&ran, &format!("seed {seed}"));
        let counts = ran.sim.counts();
        let in_flight = ran.sim.in_flight();
        let accounted = counts.delivered + counts.lost() + counts.held + in_flight;
        assert_eq!(counts.sent + counts.duplicated, accounted, "seed {seed}: every message is accounted for");
        watcher.seen.iter().for_each(|(kind, n)| *seen.entry(kind).or_default() += n);
    }
    println!("{seen:?}");
    for rare in ["gap", "duplicate after apply", "snapshot", "wipe", "crash", "dead", "alive"] {
        assert!(seen.contains_key(rare), "the campaign never saw: {rare}");
    }
}

/// Records when the coordinator declares which node dead.
#[derive(Default)]
struct Deaths(Vec<(Time, usize)>);

impl Recorder<Msg, Tick> for Deaths {
    fn record(&mut self, at: Time, _: ActorId, what: EntryRef<'_, Msg, Tick>) {
        if let EntryRef::Note(note) = what
            && note.what == "dead"
        {
            self.0.push((at, note.subject as usize));
        }
    }
}

/// A coordinator that is paused now and then, and the time for which it waits for a silent node.
fn paused_coordinator(rng: &mut Rng) -> (Testbed, Span, Vec<(Time, Time)>) {
    let heartbeat = Span::from_millis(200 + u64::from(rng.below(2_000)));
    let missed = 1 + rng.below(4);
    let mut lab = lab(rng.next_u64()).latency(Dist::Constant(Span::from_millis(1 + u64::from(rng.below(40)))));
    lab = lab.control(|control| (control.heartbeat, control.missed) = (heartbeat, missed));
    let mut pauses = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let at = secs(1.0 + 70.0 * rng.unit());
        // From far below a heartbeat to many times the time of waiting.
        let pause = (at, at + heartbeat.scaled(0.01 * 2_000_f64.powf(rng.unit())));
        lab = lab.fault(Fault::new(pause.0, pause.1, Pause { actors: some(&[0]) }));
        pauses.push(pause);
    }
    (lab, heartbeat * u64::from(missed) + heartbeat * 2, pauses)
}

#[test]
fn a_coordinator_that_stood_still_declares_no_healthy_node_dead() {
    for seed in 0..300 * campaign() {
        let (lab, ..) = paused_coordinator(&mut Rng::stream(seed, "pauses"));
        let ran = lab.run_with(SETTLED, Deaths::default());
        assert_eq!(ran.sim.recorder().0, [], "seed {seed}");
    }
}

#[test]
fn a_paused_coordinator_still_declares_a_node_dead_in_time() {
    for seed in 0..300 * campaign() {
        let mut rng = Rng::stream(seed, "pauses and a crash");
        let (lab, patience, pauses) = paused_coordinator(&mut rng);
        let (at, node) = (secs(1.0 + 75.0 * rng.unit()), rng.below(NODES as u32));
        // Each pause that ends before the verdict restarts the wait.
        let mut latest = at + patience;
        let mut ends: Vec<Time> = pauses.iter().map(|(_, end)| *end).collect();
        ends.sort_unstable();
        for (begin, end) in ends.iter().map(|end| (pauses.iter().filter(|p| p.1 == *end).map(|p| p.0).min(), *end)) {
            if begin.is_some_and(|begin| begin <= latest) {
                latest = latest.max(end + patience);
            }
        }
        // A long pause at the end of the campaign may put the verdict off beyond it.
        let end = latest.max(secs(SETTLED));
        let ran = lab
            .fault(Fault::new(at, end + Span::from_secs(1), Crash { actors: some(&[1 + node]) }))
            .run_with(end.secs(), Deaths::default());
        let deaths = &ran.sim.recorder().0;
        assert!(
            matches!(deaths[..], [(when, dead)] if dead == node as usize && when <= latest),
            "seed {seed}: {deaths:?}"
        );
    }
}

#[test]
fn instances_of_a_dead_node_move_and_it_gets_its_share_on_return() {
    let mut lab = lab(3).fault(Fault::new(secs(40.0), secs(60.0), Crash { actors: some(&[2]) }));
    lab.mesh.operations.truncate(2);
    let mut ran = lab.start(Watcher::default());
    ran.run_until(39.0);
    assert_eq!((ran.instances_on(1, 0), ran.instances(0)), (2, 10));
    ran.run_until(59.0);
    let alive: u32 = [0, 2, 3, 4].map(|node| ran.instances_on(node, 0)).iter().sum();
    assert_eq!((alive, ran.coordinator().dead()), (10, vec![ActorId(2)]));
    ran.run_until(SETTLED);
    expect_agreement(&ran, "back");
    assert_eq!((ran.instances_on(1, 0), ran.instances(0)), (0, 10), "what has moved stays where it is");
}

#[test]
fn an_isolated_node_keeps_its_last_good_state_until_the_partition_heals() {
    let cut = Cut::Islands(vec![some(&[2]), some(&[0, 1, 3, 4, 5])]);
    let mut lab = lab(4).fault(Fault::new(secs(40.0), secs(60.0), Partition { cut, hold: false }));
    lab.mesh.operations.truncate(2);
    let mut ran = lab.start(Watcher::default());
    ran.run_until(59.0);
    assert_eq!(ran.instances_on(1, 0), 2, "it knows of nothing");
    ran.run_until(SETTLED);
    expect_agreement(&ran, "healed");
    assert_eq!(ran.instances(0), 10);
}

#[test]
fn messages_of_a_step_stay_within_nodes_times_retries() {
    for seed in 0..20 {
        let lossy = Drop { on: Link::all(), probability: 0.3 };
        let lab = lab(seed).fault(Fault::new(secs(0.0), secs(HEALED), lossy));
        let ran = lab.run_with(SETTLED, Watcher::default());
        expect_agreement(&ran, "lossy");
        for history in ran.coordinator().history() {
            for step in &history.steps {
                assert!(step.sent + step.resent <= NODES as u64 * 16, "seed {seed}: {step:?}");
            }
        }
    }
}

/// A single node, and its replies to steps.
struct Alone(Cell<MeshActor>);

impl Alone {
    fn new() -> Self {
        let mesh = Arc::new(lab(1).mesh);
        let node = meshsim_mesh::actors::all(&mesh).nth(1).expect("there are nodes");
        let mut cell = Cell::new(ActorId(1), node, Rng::stream(1, "node"));
        cell.step(Time::ZERO, Input::Start, &mut Vec::new(), &mut ());
        Alone(cell)
    }

    /// Sends steps (n, epoch, digest) of service 0, each with as many desired instances as its number.
    fn told(&mut self, from: ActorId, steps: &[(u64, u64, u64)]) -> Vec<Msg> {
        let order = |(n, epoch, digest): &(u64, u64, u64)| NodeStep {
            decision: Arc::new(Decision {
                n: *n,
                epoch: *epoch,
                digest: *digest,
                kind: OperationKind::Extend,
                service: ServiceId(0),
                generation: *n,
                capacity: 1.0,
            }),
            share: [(1, *n as u32)].into_iter().collect(),
        };
        let msg = Msg::Steps(steps.iter().map(order).collect());
        let mut out = Vec::new();
        let envelope = Envelope { from, to: ActorId(1), seq: 0, msg };
        self.0.step(Time::ZERO, Input::Deliver(envelope), &mut out, &mut ());
        let sent = out.into_iter().filter_map(|effect| match effect {
            Effect::Send(envelope) if !matches!(envelope.msg, Msg::Report(_)) => Some(envelope.msg),
            _ => None,
        });
        sent.collect()
    }

    fn applied(&self) -> (u64, u64) {
        let state = self.0.actor().node().expect("it is a node").state();
        (state.applied, state.digest)
    }
}

fn applied_in(msgs: &[Msg]) -> Vec<u64> {
    msgs.iter().filter_map(|msg| if let Msg::Ack(ack) = msg { Some(ack.applied) } else { None }).collect()
}

#[test]
fn an_applied_step_is_acknowledged_again_and_not_applied_again() {
    let mut node = Alone::new();
    assert_eq!(applied_in(&node.told(COORDINATOR, &[(1, 1, 11), (2, 1, 12)])), [2]);
    assert_eq!(applied_in(&node.told(COORDINATOR, &[(1, 1, 11)])), [2]);
    assert_eq!(node.applied(), (2, 12));
}

#[test]
fn a_gap_is_requested_once_and_early_steps_are_applied_once_it_is_filled() {
    let mut node = Alone::new();
    assert!(node.told(COORDINATOR, &[(3, 1, 13)]).contains(&Msg::Need { from: 1, to: 3 }));
    let again = node.told(COORDINATOR, &[(4, 1, 14)]);
    assert!(!again.iter().any(|msg| matches!(msg, Msg::Need { .. })), "{again:?}");
    assert_eq!(node.applied().0, 0);
    assert_eq!(applied_in(&node.told(COORDINATOR, &[(1, 1, 11), (2, 1, 12)])), [4]);
    assert_eq!(node.applied(), (4, 14));
}

#[test]
fn strangers_overtaken_coordinators_and_other_histories_change_nothing() {
    let mut node = Alone::new();
    node.told(COORDINATOR, &[(1, 2, 11)]);
    assert_eq!(node.told(ActorId(3), &[(2, 2, 12)]), [], "another node is not the coordinator");
    assert!(node.told(COORDINATOR, &[(2, 1, 12)]).contains(&Msg::Refuse { n: 2, epoch: 2 }), "a lower epoch");
    assert!(node.told(COORDINATOR, &[(1, 2, 99)]).contains(&Msg::Refuse { n: 1, epoch: 2 }), "another digest");
    assert_eq!(node.applied(), (1, 11));
    node.told(COORDINATOR, &[(2, 3, 12)]);
    assert_eq!(node.applied(), (2, 12), "a higher epoch takes over");
}

#[test]
fn a_reply_to_an_earlier_incarnation_of_a_caller_is_ignored() {
    let mut lab = Testbed::nodes(1).service(service("s", vec![])).load(load(0, 10.0, 10.0));
    lab.mesh.loads[0].start = Time::ZERO;
    let mesh = Arc::new(lab.mesh);
    let client = meshsim_mesh::actors::all(&mesh).last().expect("the last actor is the client");
    let id = mesh.client_actor(0);
    let mut cell = Cell::new(id, client, Rng::stream(1, "client"));
    let instance = InstanceRef { node: ActorId(1), ordinal: 0, version: 1 };
    let view = InstanceView {
        version: 1,
        services: vec![Arc::new([instance])],
        failed_nodes: vec![],
        splits: vec![],
        settings: Default::default(),
    };
    let view = Msg::InstanceView(Arc::new(view));

    // Runs until its first request, which it sends as the first call of each incarnation.
    let live_until_request = |cell: &mut Cell<MeshActor>, from: Time| -> Request {
        let mut out = Vec::new();
        cell.step(from, Input::Start, &mut out, &mut ());
        let told = Envelope { from: COORDINATOR, to: id, seq: 0, msg: view.clone() };
        cell.step(from, Input::Deliver(told), &mut out, &mut ());
        let arrival = out.iter().find_map(|effect| match effect {
            Effect::Arm { timer, at, tick: Tick::Arrival } => Some((*timer, *at)),
            _ => None,
        });
        let (timer, at) = arrival.expect("a request is planned");
        cell.step(at, Input::Fire(timer), &mut out, &mut ());
        let sent = out.into_iter().find_map(|effect| match effect {
            Effect::Send(Envelope { msg: Msg::Request(request), .. }) => Some(request),
            _ => None,
        });
        sent.expect("it was sent")
    };
    let before = live_until_request(&mut cell, Time::ZERO);
    cell.reboot(false);
    let after = live_until_request(&mut cell, secs(1.0));
    assert_eq!((before.call, before.attempt), (after.call, after.attempt), "names of calls begin anew");

    let mut answer = |to: Request, seq| {
        let reply = Reply {
            call: to.call,
            attempt: to.attempt,
            incarnation: to.incarnation,
            failure: None,
            degraded: false,
            bytes: 1,
            path: None,
        };
        let envelope = Envelope { from: ActorId(1), to: id, seq, msg: Msg::Reply(reply) };
        cell.step(secs(2.0), Input::Deliver(envelope), &mut Vec::new(), &mut ());
        cell.actor().client().expect("it is a client").tallies()[0].done
    };
    assert_eq!((answer(before, 1), answer(after, 2)), (0, 1));
}
