//! Rolling updates in running meshes: the number of ready instances that a step promises holds on the nodes, whatever
//! the number of instances and nodes, the bounds, the placement, and a crash in the middle.

use std::collections::BTreeSet;

use meshsim_actor::{ActorId, Dist, Rng, Span, Time};
use meshsim_fault::{Crash, Fault};
use meshsim_mesh::measure::OperationOutcome;
use meshsim_mesh::model::{
    Amount, Arrivals, CallPolicy, Change, Load, Placement, Process, Service, ServiceId, Strategy,
};
use meshsim_mesh::operation::rolling_bounds;
use meshsim_tests::{Ran, Testbed, campaign, load, service, times};

const QUARTER: Amount = Amount::Share(0.25);

/// Start of the update, and the time by which it must have ended.
const BEGINS: f64 = 3.0;
const OVER: f64 = 60.0;

/// An update with random parameters.
#[derive(Clone, Debug)]
struct Update {
    instances: u32,
    nodes: usize,
    max_surge: Amount,
    max_unavailable: Amount,
    placement: Placement,
    /// Cores of a node; an instance takes one: enough for all instances and the surge, or for many.
    cores: f64,
    every: f64,
}

fn rolling(max_surge: Amount, max_unavailable: Amount) -> Strategy {
    Strategy::Rolling { max_surge, max_unavailable }
}

impl Update {
    fn quarter(instances: u32, nodes: usize) -> Self {
        Update {
            instances,
            nodes,
            max_surge: QUARTER,
            max_unavailable: QUARTER,
            placement: Placement::Spread,
            cores: 1000.0,
            every: 0.5,
        }
    }

    fn draw(rng: &mut Rng) -> Self {
        let amounts = [Amount::Instances(0), Amount::Instances(1), Amount::Instances(2), QUARTER, Amount::Share(0.5)];
        let mut amount = || amounts[rng.below(amounts.len() as u32) as usize];
        let (max_surge, mut max_unavailable) = (amount(), amount());
        if max_surge.is_zero() && max_unavailable.is_zero() {
            max_unavailable = Amount::Share(0.1);
        }
        let (instances, nodes) = (1 + rng.below(10), 1 + rng.below(8) as usize);
        let (surge, _) = rolling_bounds(max_surge, max_unavailable, instances);
        let tight = f64::from((instances + surge).div_ceil(nodes as u32));
        Update {
            instances,
            nodes,
            max_surge,
            max_unavailable,
            placement: if rng.chance(0.5) { Placement::Spread } else { Placement::BinPack },
            cores: if rng.chance(0.5) { tight } else { 1000.0 },
            every: [0.1, 0.4, 1.0][rng.below(3) as usize],
        }
    }

    /// Instances that must be ready at all times, and the largest number of instances.
    fn bounds(&self) -> (u32, u32) {
        let (surge, unavailable) = rolling_bounds(self.max_surge, self.max_unavailable, self.instances);
        (self.instances - unavailable.min(self.instances), self.instances + surge)
    }

    fn lab(&self) -> Testbed {
        let starts =
            Service { start_delay: Span::from_millis(700), cpu: 1.0, ..times(self.instances, service("s", vec![])) };
        let change = Change::Update { to: 2, rate: 1.0, strategy: rolling(self.max_surge, self.max_unavailable) };
        let mut lab = Testbed::nodes(self.nodes)
            .latency(Dist::Constant(Span::from_millis(1)))
            .control(|control| control.placement = self.placement)
            .service(starts)
            .operation(BEGINS, 0, change, self.every, None);
        lab.mesh.nodes.iter_mut().for_each(|node| node.cores = self.cores);
        lab
    }
}

/// Runs until this many seconds, or until the update has ended, and shows the state every 20 ms.
fn watch(ran: &mut Ran, from: f64, until: f64, mut see: impl FnMut(&Ran, f64)) {
    for tick in 1..((until - from) / 0.02) as u32 {
        let at = from + 0.02 * f64::from(tick);
        ran.run_until(at);
        see(ran, at);
        let last = ran.history(1).steps.last().map_or(0.0, |step| step.decided.secs());
        if ran.history(1).outcome != OperationOutcome::Running && at > last + 1.0 {
            break;
        }
    }
}

/// The instances of version 2, as (node, ordinal).
fn new_ones(ran: &Ran, nodes: usize) -> BTreeSet<(usize, u32)> {
    let of = |node: usize| {
        let services = ran.node(node).state().services;
        let instances = services.into_iter().flat_map(|hosted| hosted.instances);
        instances.filter(|(_, version)| *version == 2).map(move |(ordinal, _)| (node, ordinal))
    };
    (0..nodes).flat_map(of).collect()
}

fn expect_done(ran: &Ran, update: &Update, what: &str) {
    let wanted = ran.coordinator().wanted(ServiceId(0));
    assert_eq!(ran.history(1).outcome, OperationOutcome::Reached, "{what}");
    assert_eq!((&wanted.versions, wanted.extra(), wanted.rolling), (&vec![(2, update.instances)], 0, None), "{what}");
    assert_eq!(
        (ran.ready(0), new_ones(ran, update.nodes).len()),
        (update.instances, update.instances as usize),
        "{what}"
    );
}

/// Throughout the update: enough instances are ready, there are not too many, and every new one that was started stays.
fn expect_bounds(update: &Update) {
    let what = format!("{update:?}");
    let (least, most) = update.bounds();
    let mut ran = update.lab().start(());
    ran.run_until(BEGINS - 0.5);
    assert_eq!(ran.ready(0), update.instances, "{what}");
    let (mut before, mut started) = (BTreeSet::new(), 0);
    watch(&mut ran, BEGINS, OVER, |ran, at| {
        let (ready, all) = (ran.ready(0), ran.instances(0));
        assert!(ready >= least && all <= most, "at {at:.2}: {ready} ready of {all}, not {least} of {most}: {what}");
        let now = new_ones(ran, update.nodes);
        started += now.difference(&before).count() as u32;
        assert!(before.is_subset(&now), "at {at:.2} a new instance went: {what}");
        before = now;
    });
    ran.run_until(OVER + 1.0);
    expect_done(&ran, update, &what);
    assert_eq!(started, update.instances, "each new instance is started once: {what}");
}

#[test]
fn a_rolling_update_keeps_its_bounds_and_starts_each_instance_once() {
    // One instance on several machines, and seven on eight: the placement decided which instance goes.
    for (instances, nodes) in [(1, 1), (1, 2), (1, 4), (7, 8), (2, 3), (10, 3), (6, 4)] {
        for placement in [Placement::Spread, Placement::BinPack] {
            expect_bounds(&Update { placement, ..Update::quarter(instances, nodes) });
        }
    }
    let mut rng = Rng::stream(24, "rollouts");
    for _ in 0..150 * campaign() {
        expect_bounds(&Update::draw(&mut rng));
    }
}

#[test]
fn a_crash_during_a_rolling_update_costs_only_its_own_ready_instances() {
    let mut rng = Rng::stream(25, "crashes");
    let mut lost_some = 0;
    for _ in 0..150 * campaign() {
        let mut update = Update::draw(&mut rng);
        // The other nodes have room for the instances of the dead node.
        (update.nodes, update.cores) = (update.nodes.max(2), 1000.0);
        let node = rng.below(update.nodes as u32) as usize;
        let crash = BEGINS + 2.0 * rng.unit();
        // Shorter and longer than the three seconds of waiting.
        let back = crash + [0.2, 2.0, 8.0][rng.below(3) as usize];
        let at = |secs: f64| Time::ZERO + Span::from_secs_f64(secs);
        let victim = [ActorId(1 + node as u32)].into_iter().collect();
        let lab = update.lab().fault(Fault::new(at(crash), at(back), Crash { actors: victim }));
        let what = format!("node {node} down from {crash:.3} to {back:.3}: {update:?}");

        let mut ran = lab.start(());
        ran.run_until(BEGINS - 0.5);
        let (least, most) = update.bounds();
        let expect = |least: u32| {
            let what = what.clone();
            move |ran: &Ran, now: f64| {
                let ready = ran.ready(0);
                assert!(ready >= least, "at {now:.2}: {ready} ready, not {least}: {what}");
            }
        };
        watch(&mut ran, BEGINS, crash, expect(least));
        ran.run_until(crash - 1e-6);
        lost_some += u32::from(ran.history(1).outcome == OperationOutcome::Running);
        let lost = ran.node(node).ready(ServiceId(0));
        watch(&mut ran, crash, OVER, expect(least.saturating_sub(lost)));
        ran.run_until(OVER);
        expect_done(&ran, &update, &what);
        let decided = ran.history(1).steps.iter().map(|step| step.instances + step.extra).max();
        assert!(decided.is_none_or(|decided| decided <= most), "{what}");
    }
    assert!(lost_some > 75, "most crashes were in the middle: {lost_some}");
}

#[test]
fn a_starting_update_does_not_count_instances_of_dead_nodes_as_ready() {
    // Four on four machines of one core, one of which is dead: the fourth instance has no room. Three must be ready.
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let crash = Fault::new(at(1), at(50), Crash { actors: [ActorId(2)].into_iter().collect() });
    let mut lab = Update { cores: 1.0, ..Update::quarter(4, 4) }.lab().fault(crash);
    lab.mesh.operations[1].at = at(10);
    let mut ran = lab.start(());
    ran.run_until(9.0);
    assert_eq!(ran.ready(0), 3);
    for tick in 0..400 {
        ran.run_until(9.0 + 0.1 * f64::from(tick));
        assert!(ran.ready(0) >= 3, "at {}: {} ready", 9.0 + 0.1 * f64::from(tick), ran.ready(0));
    }
}

#[test]
fn instances_restarting_after_a_crash_are_removed_before_ready_ones() {
    // Eight on four machines; those of one machine start for 5 s after a short crash. Six must be ready, and six are.
    let at = |ms| Time::ZERO + Span::from_millis(ms);
    let crash = Fault::new(at(8_000), at(8_300), Crash { actors: [ActorId(3)].into_iter().collect() });
    let mut lab = Update::quarter(8, 4).lab().fault(crash);
    lab.mesh.services[0].start_delay = Span::from_secs(5);
    lab.mesh.operations[1].at = at(10_000);
    let mut ran = lab.start(());
    ran.run_until(9.9);
    assert_eq!(ran.ready(0), 6);
    for tick in 1..300 {
        ran.run_until(9.9 + 0.02 * f64::from(tick));
        let wanted = ran.coordinator().wanted(ServiceId(0));
        assert!(ran.ready(0) >= 6, "{} ready: {wanted:?}", ran.ready(0));
        if tick == 100 {
            assert_eq!(wanted.versions, [(1, 6), (2, 4)], "two went although no new one was ready yet");
        }
    }
}

#[test]
fn a_node_keeps_the_ready_instances_whatever_their_numbers() {
    // The new ones have the numbers 2 and 3; a third gets number 0 and is still starting when one must go.
    let one = Update {
        max_surge: Amount::Instances(1),
        max_unavailable: Amount::Instances(0),
        every: 1.0,
        ..Update::quarter(2, 1)
    };
    let to = |to| meshsim_tests::extend(to, 1.0, meshsim_mesh::model::Rounding::Away);
    let mut lab = one.lab().operation(8.0, 0, to(3), 1.0, None).operation(8.3, 0, to(2), 1.0, None);
    lab.mesh.services[0].drain_delay = Span::ZERO;
    let mut ran = lab.start(());
    ran.run_until(8.2);
    assert_eq!(new_ones(&ran, 1), BTreeSet::from([(0, 0), (0, 2), (0, 3)]));
    for tick in 0..50 {
        ran.run_until(8.2 + 0.02 * f64::from(tick));
        assert_eq!(ran.ready(0), 2);
    }
    assert_eq!(new_ones(&ran, 1), BTreeSet::from([(0, 2), (0, 3)]));
}

/// 100 requests a second, evenly, from 10 s on for this many seconds, each with a timeout of one second.
fn steady(secs: f64) -> Load {
    Load {
        start: Time::ZERO + Span::from_secs(10),
        end: Time::ZERO + Span::from_secs(10) + Span::from_secs_f64(secs),
        arrivals: Arrivals::steady(Process::Constant, 100.0),
        policy: CallPolicy { timeout: Some(Span::from_secs(1)), ..CallPolicy::default() },
        ..load(0, 100.0, secs)
    }
}

#[test]
fn no_request_fails_during_a_rolling_update() {
    let one = Amount::Instances(1);
    // (instances, surge, unavailable, seconds of load, least ready)
    let table = [(1, QUARTER, QUARTER, 70.0, 1), (6, one, one, 50.0, 5), (7, QUARTER, QUARTER, 50.0, 6)];
    for (instances, max_surge, max_unavailable, secs, least) in table {
        let starts = Service {
            start_delay: Span::from_secs(5),
            capacity: 100.0,
            ..times(
                instances,
                service("web", vec![meshsim_mesh::model::ScriptStep::Work(Dist::Constant(Span::from_millis(5)))]),
            )
        };
        let change = Change::Update { to: 2, rate: 1.0, strategy: rolling(max_surge, max_unavailable) };
        let mut ran = Testbed::nodes(4)
            .latency(Dist::Constant(Span::from_micros(200)))
            .service(starts)
            .operation(20.0, 0, change, 1.0, None)
            .load(steady(secs))
            .start(());
        ran.run_until(19.0);
        for tick in 190..(secs as u32 + 12) * 10 {
            ran.run_until(f64::from(tick) / 10.0);
            assert!(ran.ready(0) >= least, "{instances}: {} ready", ran.ready(0));
        }
        let tally = &ran.client(0).tallies()[0];
        let offered = (secs * 100.0) as u64;
        assert_eq!((tally.offered, tally.done, tally.failed.total()), (offered, offered, 0), "{instances} instances");
    }
}

#[test]
fn rolling_updates_of_experiment_files_fail_no_request() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases");
    for (case, offered) in [("24-rolling-rounding.yaml", 7_000), ("02-max-unavailable-integer.yaml", 5_000)] {
        let path = folder.join(case);
        if !path.exists() {
            println!("skipped: there is no {}", path.display());
            continue;
        }
        let experiment = meshsim_experiment::load(&path, &[]).unwrap_or_else(|p| panic!("{}", p.render(false, 100)));
        let lab = Testbed { mesh: experiment.mesh, network: experiment.network, seed: experiment.seed };
        let ran = lab.run(experiment.duration.secs() + 5.0);
        let tally = &ran.client(0).tallies()[0];
        assert_eq!((tally.offered, tally.done, tally.failed.total()), (offered, offered, 0), "{case}");
    }
}
