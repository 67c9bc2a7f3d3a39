//! The cluster protocol in the simulator: the machines of a hub and of its members as actors, under drawn faults.
//!
//! Each seed draws a run: its actors, the processes that join, when they leave, break off, are killed or stand still,
//! and the faults of the network between them. `world` has the rules that must hold. A campaign counts rare events, and
//! fails if one of them never occurred.

mod hub;
mod member;
mod wire;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshsim_actor::{Actor, ActorId, Cx, Dist, Event, Reboot, Rng, Span, Time};
use meshsim_fault::{
    ActorSet, Crash, Cut, Drop, Duplicate, Fault, FaultKind, Latency, Link, Network, NetworkSpec, Partition, Pause,
};
use meshsim_net::{ActorSpec, Join};
use meshsim_sim::{RunStatus, Sim};
use serde::{Deserialize, Serialize};

use crate::hub::{Hub, HubPlan};
use crate::member::{Member, MemberPlan};
use crate::wire::Wire;
use crate::world::{Shared, World};

/// All faults have ended by then.
const HEALED: Time = Time::from_nanos(30_000_000_000);
/// By then the two sides of each connection agree, if the run still goes on.
const SETTLED: Time = Time::from_nanos(44_000_000_000);
/// By then every process must be done: the hub collects for at most 20 s after the last results, and the members try
/// for as long as their patience.
const OVER: Time = Time::from_nanos(250_000_000_000);

/// Timers of all processes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Tick {
    /// The member starts.
    Start,
    /// Of a member: the pause with this number is over.
    Woken(u32),
    /// Of a member: time for a ping on this connection. Of a hub: the n-th tick.
    Beat(u64),
    /// The member drops its connection, the n-th time.
    Cut(u32),
    /// The member is asked to leave.
    Ask,
    /// Its actors have left, if it still has this connection.
    Left(u64),
    /// It sends the next part of its results, if it still has this connection.
    Part(u64),
    /// The hub adds a fault by hand.
    Fault(u32),
    EndFault(u32),
    /// The hub is told to stop.
    Stop,
    /// The hub's own results are there.
    HandIn,
    /// The hub's process ends.
    Gone,
}

#[derive(Debug)]
enum Process {
    Hub(Hub),
    Member(Member),
}

impl Actor for Process {
    type Msg = Wire;
    type Tick = Tick;
    type Disk = ();

    fn disk(&self) {}

    fn on(&mut self, event: Event<Wire, Tick>, cx: &mut Cx<'_, Wire, Tick>) {
        match (self, event) {
            (Process::Hub(hub), Event::Start) => hub.start(cx),
            (Process::Hub(hub), Event::Message { from, msg }) => hub.message(from, msg, cx),
            (Process::Hub(hub), Event::Timer(tick)) => hub.tick(tick, cx),
            (Process::Member(member), Event::Start) => member.start(cx),
            (Process::Member(member), Event::Message { from, msg }) => member.message(from, msg, cx),
            (Process::Member(member), Event::Timer(tick)) => member.tick(tick, cx),
        }
    }

    fn reboot(&mut self, _: Reboot<()>) {
        match self {
            Process::Hub(hub) => hub.reboot(),
            Process::Member(member) => member.reboot(),
        }
    }
}

impl Process {
    fn is_over(&self) -> bool {
        match self {
            Process::Hub(hub) => hub.is_over(),
            Process::Member(member) => member.is_over(),
        }
    }
}

/// A drawn run.
#[derive(Debug)]
struct Plan {
    hub: HubPlan,
    members: Vec<MemberPlan>,
    network: NetworkSpec,
}

/// A time between two seconds of the run.
fn time(rng: &mut Rng, from: f64, to: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(from + rng.unit() * (to - from))
}

impl Plan {
    fn draw(seed: u64) -> Self {
        let rng = &mut Rng::keyed(seed, 15, 1);
        let nodes = 1 + rng.below(4) as usize;
        let mut actors = vec![ActorSpec { name: "coordinator".into(), role: "coordinator", needed: true }];
        actors.extend((0..nodes).map(|n| ActorSpec {
            name: format!("node-{n}"),
            role: "node",
            needed: n == 0 || rng.chance(0.7),
        }));
        let payload: Vec<u8> = (0..rng.below(40)).map(|n| n as u8).collect();
        let members = 1 + nodes as u32 + rng.below(3);
        let members: Vec<MemberPlan> = (0..members).map(|n| Self::member(n, &actors, &payload, rng)).collect();
        let stop = if rng.chance(0.7) { time(rng, 6.0, 28.0) } else { time(rng, 44.5, 46.0) };
        let end = if rng.chance(0.5) { time(rng, 1.0, 20.0) } else { Time::NEVER };
        let faults = (0..rng.below(3)).map(|n| {
            let at = time(rng, 0.5, 20.0);
            let fault = Fault::new(at, at + Span::from_secs(n as u64 + 1), Pause { actors: ActorSet::default() });
            (at, fault, rng.chance(0.5).then(|| time(rng, 1.0, 22.0).max(at)))
        });
        let mut faults: Vec<_> = faults.collect();
        faults.sort_by_key(|(at, ..)| *at);
        let offset = u64::from(rng.below(1_000_000_000));
        let network = Self::network(seed, members.len() as u32, rng);
        let keeps = rng.chance(0.5);
        Plan { hub: HubPlan { actors, end, stop, faults, offset, payload, keeps }, members, network }
    }

    fn member(n: u32, actors: &[ActorSpec], payload: &[u8], rng: &mut Rng) -> MemberPlan {
        let nodes = actors.len() as u32 - 1;
        let (names, count) = match rng.below(4) {
            0 => (vec![format!("node-{}", rng.below(nodes))], 0),
            1 => (vec![], rng.below(3).min(nodes)),
            _ => (vec![], 1),
        };
        let hostname = format!("host-{}", if rng.chance(0.8) { n } else { rng.below(3) });
        let join = Join { role: "node".into(), names, count, hostname, address: format!(":{n}"), ..Join::default() };
        let start = if rng.chance(0.7) { time(rng, 0.0, 2.0) } else { time(rng, 2.0, 28.0) };
        let hangs = rng.chance(0.03);
        let pause_max = if rng.chance(0.2) { 900 } else { 60 };
        MemberPlan {
            join,
            start,
            patience: Duration::from_secs(5 + u64::from(rng.below(30))),
            leaves: rng.chance(0.2).then(|| time(rng, 2.0, 25.0)),
            cuts: (0..rng.below(3)).map(|_| (time(rng, 0.0, 28.0), rng.chance(0.5))).collect(),
            pause: Span::from_millis(1 + u64::from(rng.below(pause_max))),
            hangs,
            says_twice: rng.chance(0.02),
            restarts: rng.below(3),
            offset: u64::from(rng.below(1_000_000_000)),
            actors: actors.len(),
            payload: payload.to_vec(),
        }
    }

    /// A network with faults that end at [`HEALED`].
    fn network(seed: u64, members: u32, rng: &mut Rng) -> NetworkSpec {
        let mut spec = NetworkSpec::constant(seed, Span::from_micros(u64::from(200 + rng.below(20_000))));
        if rng.chance(0.5) {
            let low = Span::from_micros(100);
            spec.latency = vec![Dist::Uniform { low, high: Span::from_millis(1 + u64::from(rng.below(80))) }];
        }
        let any = |rng: &mut Rng| ActorSet::from_iter([ActorId(1 + rng.below(members))]);
        for _ in 0..rng.below(6) {
            let at = time(rng, 0.2, 28.0);
            let until = (at + Span::from_secs_f64(0.05 + rng.unit() * rng.unit() * 12.0)).min(HEALED);
            let (hub, some) = (ActorSet::from_iter([ActorId(0)]), any(rng));
            let kind: FaultKind = match rng.below(10) {
                0 | 1 => Drop { on: Link::between(hub, some), probability: 0.02 + rng.unit() * 0.9 }.into(),
                2 => Drop { on: Link::one_way(hub, some), probability: 1.0 }.into(),
                3 => Drop { on: Link::one_way(some, hub), probability: 1.0 }.into(),
                4 => Partition { cut: Cut::Islands(vec![hub, some]), hold: rng.chance(0.5) }.into(),
                5 => {
                    let added = Dist::Constant(Span::from_millis(u64::from(rng.below(3_000))));
                    Latency { on: Link::all(), added }.into()
                }
                6 => {
                    let lag = Dist::Constant(Span::from_millis(u64::from(rng.below(200))));
                    Duplicate { on: Link::all(), probability: 0.5, lag }.into()
                }
                7 => Pause { actors: if rng.chance(0.3) { hub } else { some } }.into(),
                _ if rng.chance(0.1) => Crash { actors: hub }.into(),
                _ => Crash { actors: some }.into(),
            };
            spec.faults.push(Fault::new(at, until, kind));
        }
        spec
    }

    /// A member that takes part in a run is connected for the hub, and the other way round.
    fn check_connected(sim: &Sim<Process>, world: &Shared) {
        let mut connected = None;
        let mut attending = BTreeSet::new();
        for process in sim.actors() {
            match process {
                Process::Hub(hub) => connected = hub.connected(),
                Process::Member(member) => {
                    attending.extend(member.attends().unwrap_or_default().iter().map(|seated| seated.actor));
                }
            }
        }
        let Some(connected) = connected else { return };
        world.borrow_mut().see("a run went on after all faults");
        attending.insert(ActorId(0));
        let connected = BTreeSet::from_iter(connected);
        if attending != connected {
            world.borrow_mut().wrong.push(format!("members have {attending:?}, and the hub knows of {connected:?}"));
        }
    }

    /// Runs to the end, or as far as it comes; returns what was noted.
    fn run(self, seed: u64, is_logged: bool) -> World {
        let world = Shared::default();
        world.borrow_mut().log = is_logged.then(Vec::new);
        let mut sim = Sim::new(seed, Network::new(self.network).unwrap());
        sim.add(Process::Hub(Hub::new(self.hub, world.clone())), "hub");
        for (n, plan) in self.members.into_iter().enumerate() {
            sim.add(Process::Member(Member::new(plan, world.clone())), &format!("member-{n}"));
        }
        sim.run_until(SETTLED);
        Self::check_connected(&sim, &world);
        let mut until = SETTLED;
        while until < OVER && !(until > HEALED && sim.actors().all(Process::is_over)) {
            until += Span::from_secs(5);
            if sim.run_until(until) == RunStatus::Idle {
                break;
            }
        }
        let waiting: Vec<usize> = (0..).zip(sim.actors()).filter(|(_, it)| !it.is_over()).map(|(n, _)| n).collect();
        drop(sim);
        let mut world = Shared::try_unwrap(world).unwrap_or_default().into_inner();
        if !waiting.is_empty() {
            world.wrong.push(format!("processes {waiting:?} are not done"));
        }
        world.check_ends();
        world
    }
}

/// The events that a campaign must have seen.
const RARE: &[&str] = &[
    "a hub went on collecting",
    "a hub went on with its run",
    "a lost process was replaced, or one that left was followed",
    "a member gave up",
    "a member joined another run",
    "a member that had not begun entered again",
    "a member was killed",
    "a member was left out",
    "a member was refused",
    "a process became ready after the end",
    "a process came during collection",
    "a process returned",
    "a process returned before its loss was noticed",
    "a process returned during collection",
    "a process spoke on an old connection",
    "a process that had left returned",
    "a process that was replaced came back",
    "a process was ready twice",
    "a process was told that its results are there",
    "a run ended",
    "a run went on after all faults",
    "all results were sent in vain",
    "an actor left",
    "an actor left and came back",
    "an actor never came",
    "an actor restarted elsewhere",
    "results were cut by a loss of the connection",
    "results were lost",
    "the hub lost its patience with the results",
    "the hub was lost",
    "the hub was stopped while it waited",
];

/// Runs one seed; panics with its course if a rule is broken.
fn check(seed: u64) -> World {
    let world = Plan::draw(seed).run(seed, false);
    if let Some(wrong) = world.wrong.first() {
        let again = Plan::draw(seed).run(seed, true);
        let log = again.log.unwrap_or_default();
        panic!("seed {seed}: {wrong}\n{}", log.join("\n"));
    }
    world
}

/// Seeds of the campaign; `MESHSIM_CAMPAIGN=10` makes it ten times as long.
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is a setting of the tests")]
fn seeds() -> u64 {
    5_000 * std::env::var("MESHSIM_CAMPAIGN").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

#[test]
fn a_campaign_of_faults_breaks_no_rule_and_every_run_ends() {
    let mut seen = BTreeMap::new();
    for seed in 0..seeds() {
        for (what, count) in check(seed).seen {
            *seen.entry(what).or_insert(0) += count;
        }
    }
    let never: Vec<_> = RARE.iter().filter(|what| !seen.contains_key(**what)).collect();
    assert!(never.is_empty(), "never occurred: {never:?} in {seen:#?}");
}

#[test]
fn a_seed_repeats_its_run_event_by_event() {
    for seed in 0..20 {
        let log = || Plan::draw(seed).run(seed, true).log.unwrap();
        let first = log();
        assert!(first.len() > 10 && first == log(), "seed {seed}");
    }
}
