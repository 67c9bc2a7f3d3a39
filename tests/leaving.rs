//! Nodes that are asked to leave: their instances start elsewhere and are ready there before they drain here, so that
//! no request fails if there is room.

use meshsim_actor::{ActorId, Rng, Span, Time};
use meshsim_fault::{ActorSelector, Crash, Drop, Fault, Link};
use meshsim_mesh::coordinator::Presence;
use meshsim_mesh::diary::Seen;
use meshsim_mesh::model::{
    Amount, COORDINATOR, CallPolicy, Change, Load, NodeSpec, Placement, Service, ServiceId, Strategy,
};
use meshsim_mesh::{ActorResults, Msg};
use meshsim_tests::party::{Spoken, start};
use meshsim_tests::{Testbed, exponential, load, service, times};

const LEAVES: f64 = 5.0;

fn secs(s: f64) -> Time {
    Time::ZERO + Span::from_secs_f64(s)
}

fn leave(node: u32, at: f64, grace: f64) -> (Time, ActorId, Msg) {
    (secs(at), ActorId(1 + node), Msg::Leave { grace: Span::from_secs_f64(grace) })
}

/// Instances of one core each that take time to start, and requests for 20 seconds with a short timeout.
fn lab(nodes: usize, cores: f64, instances: u32) -> Testbed {
    let slow =
        Service { start_delay: Span::from_secs(2), capacity: 50.0, cpu: 1.0, ..service("s", vec![exponential(0.01)]) };
    let policy = CallPolicy { timeout: Some(Span::from_secs(2)), ..CallPolicy::default() };
    let requests = load(0, 100.0, 20.0);
    let requests = Load { start: secs(4.0), end: secs(24.0), policy, ..requests };
    let mut lab = Testbed::nodes(nodes).service(times(instances, slow)).load(requests);
    lab.mesh.nodes.iter_mut().for_each(|node: &mut NodeSpec| node.cores = cores);
    lab
}

fn run(lab: Testbed, says: Vec<(Time, ActorId, Msg)>, until: f64) -> Spoken {
    let mut ran = start(lab, says, vec![]);
    ran.run_until(until);
    ran
}

/// Successful and failed requests of the load.
fn requests(ran: &Spoken, nodes: u32) -> (u64, u64) {
    let ActorResults::Client { tallies, .. } = ran.mesh(ActorId(1 + nodes)).results(ran.sim.now()) else {
        panic!("a client's")
    };
    (tallies[0].done, tallies[0].failed.total())
}

fn ready(ran: &Spoken, nodes: u32) -> Vec<u32> {
    (0..nodes).map(|node| ran.node(node).ready(ServiceId(0))).collect()
}

#[test]
fn no_request_fails_when_a_node_leaves_and_others_have_room() {
    for (nodes, instances, placement) in
        [(3, 3, Placement::Spread), (3, 1, Placement::BinPack), (2, 8, Placement::Spread)]
    {
        let lab = lab(nodes as usize, 8.0, instances).control(|control| control.placement = placement);
        let mut ran = start(lab, vec![leave(0, LEAVES, 30.0)], vec![]);
        ran.run_until(LEAVES + 1.0);
        assert_eq!(ran.coordinator().presence(0), Presence::Leaving);
        assert!(ran.node(0).ready(ServiceId(0)) > 0, "what replaces its instances has not started yet");
        ran.run_until(LEAVES + 5.0);
        assert!(ran.node(0).has_left(), "it does not wait for its grace to end");
        assert_eq!((ran.coordinator().presence(0), ran.coordinator().placed_on(0)), (Presence::Left, 0));
        ran.run_until(30.0);
        assert_eq!(ran.coordinator().presence(0), Presence::Left, "its silence is no sign of death");
        let ready = ready(&ran, nodes);
        assert_eq!((ready[0], ready.iter().sum::<u32>()), (0, instances));
        let (done, failed) = requests(&ran, nodes);
        assert!(done > 1900 && failed == 0, "{done} done, {failed} failed");
    }
}

#[test]
fn where_there_is_no_room_a_node_serves_until_its_grace_is_over() {
    let grace = 6.0;
    let mut ran = start(lab(2, 1.0, 2), vec![leave(1, LEAVES, grace)], vec![]);
    ran.run_until(LEAVES + grace - 0.1);
    assert_eq!(ready(&ran, 2), [1, 1]);
    let (_, failed) = requests(&ran, 2);
    assert_eq!(failed, 0);
    ran.run_until(LEAVES + grace + 0.1);
    assert!(ran.node(1).has_left());
    assert_eq!((ran.coordinator().presence(1), ran.coordinator().placed_on(1)), (Presence::Left, 0));
    let repair = ran.coordinator().history().last().expect("it was repaired");
    assert_eq!(repair.steps[0].unplaced, 1);
}

#[test]
fn an_empty_node_leaves_at_once_and_gets_no_instances_meanwhile() {
    let grow = Change::Extend {
        to: 6,
        rate: 1.0,
        rounding: meshsim_mesh::model::Rounding::Away,
        feedback: meshsim_mesh::model::Feedback::Commanded,
    };
    // All instances are on the first node, and more are requested at the very time at which the second leaves.
    let lab =
        lab(3, 4.0, 2).control(|control| control.placement = Placement::BinPack).operation(LEAVES, 0, grow, 1.0, None);
    let ran = run(lab, vec![leave(2, LEAVES - 0.001, 30.0)], LEAVES + 4.0);
    assert!(ran.node(2).has_left());
    assert_eq!(ready(&ran, 3), [4, 2, 0]);
}

#[test]
fn its_word_is_repeated_until_it_is_heard() {
    let faults = Fault::new(
        Time::ZERO,
        Time::NEVER,
        Drop {
            on: Link::between([COORDINATOR].into_iter().collect::<ActorSelector>(), ActorSelector::All),
            probability: 0.5,
        },
    );
    let mut quiet = lab(3, 8.0, 3).fault(faults);
    quiet.mesh.loads.clear();
    // The nodes must not be declared dead while half of all messages are lost.
    let quiet = quiet.control(|control| control.missed = 30);
    for seed in 0..20 {
        let ran = run(quiet.clone().seed(seed), vec![leave(0, LEAVES, 600.0)], 300.0);
        assert!(ran.node(0).has_left(), "seed {seed}");
        assert_eq!(ready(&ran, 3)[0], 0, "seed {seed}");
        assert_eq!(ran.coordinator().placed_on(0), 0, "seed {seed}");
    }
}

#[test]
fn a_node_that_dies_while_it_leaves_is_dead_and_one_that_comes_back_stays() {
    let crash = |until| Fault::new(secs(LEAVES + 0.5), until, Crash { actors: [ActorId(1)].into_iter().collect() });
    let ran = run(lab(3, 8.0, 3).fault(crash(Time::NEVER)), vec![leave(0, LEAVES, 30.0)], 20.0);
    assert_eq!(ran.coordinator().presence(0), Presence::Dead);
    // Its machine is rebooted: the process continues to leave.
    let ran = run(lab(3, 8.0, 3).fault(crash(secs(LEAVES + 1.0))), vec![leave(0, LEAVES, 30.0)], 20.0);
    assert_eq!(ran.coordinator().presence(0), Presence::Left);
    assert_eq!(ready(&ran, 3)[0], 0);
}

#[test]
fn a_node_refused_by_its_peers_gets_no_instances_and_is_reported() {
    let shun = (secs(LEAVES), COORDINATOR, Msg::Shun { node: ActorId(1) });
    let ran = run(lab(3, 8.0, 3), vec![shun], 20.0);
    assert_eq!((ran.coordinator().presence(0), ready(&ran, 3)[0]), (Presence::Shunned, 0));
    let ActorResults::Coordinator { sightings, .. } = ran.mesh(COORDINATOR).results(ran.sim.now()) else {
        panic!("a coordinator's")
    };
    let shunned: Vec<_> = sightings.entries.iter().filter(|it| it.seen == Seen::Shunned).collect();
    assert!(shunned.len() == 1 && shunned[0].node == 0 && shunned[0].at >= secs(LEAVES), "{sightings:?}");
}

#[test]
fn only_an_external_client_can_make_a_node_leave() {
    let mut ran = start(lab(3, 8.0, 3), vec![], vec![leave(0, LEAVES, 1.0)]);
    ran.run_until(20.0);
    assert_eq!((ran.coordinator().presence(0), ran.node(0).has_left()), (Presence::Alive, false));
}

#[test]
fn a_rolling_update_keeps_its_promise_while_nodes_leave() {
    for seed in 0..40 {
        let mut rng = Rng::keyed(seed, 0, 0);
        let (nodes, instances) = (3 + rng.below(3), 1 + rng.below(6));
        let bounds = [(1, 0), (2, 0), (1, 1)][rng.below(3) as usize];
        let rolling =
            Strategy::Rolling { max_surge: Amount::Instances(bounds.0), max_unavailable: Amount::Instances(bounds.1) };
        let update = Change::Update { to: 2, rate: 1.0, strategy: rolling };
        let updates = f64::from(rng.below(30)) / 10.0 + LEAVES - 1.5;
        let lab = lab(nodes as usize, 20.0, instances).seed(seed).operation(updates, 0, update, 0.5, None);
        let leaves = vec![leave(0, LEAVES, 60.0), leave(1, LEAVES + f64::from(rng.below(40)) / 10.0, 60.0)];
        let mut ran = start(lab, leaves, vec![]);
        let least = instances.saturating_sub(bounds.1);
        for at in 0..400 {
            ran.run_until(4.0 + f64::from(at) / 10.0);
            let ready: u32 = ready(&ran, nodes).iter().sum();
            assert!(ready >= least, "seed {seed}: {ready} of {instances} are ready at {}", ran.sim.now());
        }
        assert!(ran.node(0).has_left() && ran.node(1).has_left(), "seed {seed}");
        let (done, failed) = requests(&ran, nodes);
        assert!(failed == 0 || least == 0, "seed {seed}: {failed} failed, {done} done");
        let wanted = &ran.coordinator().state().services[0].wanted;
        assert_eq!(wanted.versions, [(2, instances)], "seed {seed}: it is over");
    }
}
