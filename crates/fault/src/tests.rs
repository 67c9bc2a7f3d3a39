use std::collections::BTreeSet;

use meshsim_actor::{Dist, LossReason};

use super::*;

const A: ActorId = ActorId(0);
const B: ActorId = ActorId(1);
const C: ActorId = ActorId(2);

fn secs(n: u64) -> Time {
    Time::ZERO + Span::from_secs(n)
}

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

fn set(actors: &[ActorId]) -> ActorSet {
    actors.iter().copied().collect()
}

/// A network with a latency of 10 ms and these faults, in `1s..2s` each.
fn network(kinds: impl IntoIterator<Item = FaultKind>) -> Network {
    let faults = kinds.into_iter().map(|kind| Fault::new(secs(1), secs(2), kind)).collect();
    Network::new(NetworkSpec { faults, ..NetworkSpec::constant(7, ms(10)) }).unwrap()
}

/// The fates of the first messages from `from` to `to` sent at `now`.
fn fates(network: &mut Network, now: Time, from: ActorId, to: ActorId, count: u64) -> Vec<Fate> {
    (0..count).map(|seq| network.fate(now, from, to, seq, 1_000)).collect()
}

#[test]
fn every_file_of_a_fault_is_registered() {
    let common = ["lib", "actors", "network", "machine_actions", "tests", "verdict"];
    let files: BTreeSet<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
        .filter(|name| !common.contains(&name.as_str()))
        .collect();
    assert!(files.iter().eq(FaultKind::NAMES.iter()), "{files:?} are not {:?}", FaultKind::NAMES);
}

#[test]
fn a_fault_holds_from_its_beginning_until_its_end_and_is_taken_back() {
    let mut network = network([Drop { on: Link::all(), probability: 1.0 }.into()]);
    let just_before = |time: Time| time - Span::from_nanos(1);
    for (now, lost) in [(just_before(secs(1)), false), (secs(1), true), (just_before(secs(2)), true), (secs(2), false)]
    {
        let expected = if lost { Fate::Lost(LossReason::Drop) } else { Fate::Deliver(ms(10)) };
        assert_eq!(network.fate(now, A, B, 0, 0), expected, "at {now}");
    }
}

#[test]
fn a_fault_of_one_message_concerns_no_other_of_its_sender() {
    let one = Link { message: Some(3), ..Link::one_way(set(&[A]), set(&[B])) };
    let mut network = network([Drop { on: one.clone(), probability: 1.0 }.into()]);
    let lost = |network: &mut Network, from, to| -> Vec<usize> {
        let fates = fates(network, secs(1), from, to, 6);
        (0..6).filter(|at| matches!(fates[*at], Fate::Lost(_))).collect()
    };
    assert_eq!(lost(&mut network, A, B), [3]);
    assert_eq!(lost(&mut network, B, A), [0; 0]);
    assert_eq!(lost(&mut network, A, C), [0; 0]);
}

#[test]
fn a_message_that_is_to_be_delivered_survives_every_fault_of_the_network() {
    let one = Link { message: Some(3), ..Link::all() };
    let cut = Partition { cut: Cut::Islands(vec![set(&[A]), set(&[B])]), hold: false };
    let losing = || -> Vec<FaultKind> {
        let drop = Drop { on: Link::all(), probability: 1.0 };
        let loss = Loss { on: Link::all(), probability: 1.0 };
        vec![drop.into(), loss.into(), cut.clone().into()]
    };
    for first in [true, false] {
        let mut kinds = losing();
        kinds.insert(if first { 0 } else { 3 }, Deliver { on: one.clone() }.into());
        let fates = fates(&mut network(kinds), secs(1), A, B, 6);
        for (at, fate) in fates.iter().enumerate() {
            assert_eq!(*fate == Fate::Deliver(ms(10)), at == 3, "{at}: {fate:?}");
        }
    }
}

#[test]
fn faults_combine() {
    let later = Latency { on: Link::all(), added: Dist::Constant(ms(5)) };
    let twice = Duplicate { on: Link::all(), probability: 1.0, lag: Dist::Constant(ms(1)) };
    let cut = |hold| Partition { cut: Cut::Islands(vec![set(&[A]), set(&[B])]), hold };
    let fate = |kinds: Vec<FaultKind>| network(kinds).fate(secs(1), A, B, 0, 0);
    let second = Span::from_secs(1);
    assert_eq!(fate(vec![later.clone().into(), later.clone().into()]), Fate::Deliver(ms(20)));
    assert_eq!(fate(vec![twice.clone().into(), later.clone().into()]), Fate::Duplicate(ms(15), ms(16)));
    assert_eq!(fate(vec![cut(true).into(), later.clone().into()]), Fate::Hold(secs(2) + ms(15)));
    assert_eq!(fate(vec![cut(true).into(), twice.clone().into()]), Fate::Duplicate(second + ms(10), second + ms(11)));
    assert_eq!(fate(vec![twice.into(), cut(false).into(), later.into()]), Fate::Lost(LossReason::Partition));
}

#[test]
fn probabilities_are_met_and_certainty_draws_nothing() {
    let jitter = Dist::Exponential { at_least: Span::ZERO, mean: ms(10) };
    let with = |probability| {
        let drop = Fault::new(secs(1), secs(2), Drop { on: Link::all(), probability });
        let spec = NetworkSpec { latency: vec![jitter.clone()], faults: vec![drop], ..NetworkSpec::constant(7, ms(0)) };
        fates(&mut Network::new(spec).unwrap(), secs(1), A, B, 20_000)
    };
    let (never, sometimes) = (with(0.0), with(0.1));
    let lost = sometimes.iter().filter(|fate| matches!(fate, Fate::Lost(_))).count();
    assert!((1_900..2_100).contains(&lost), "{lost} of 20,000 lost at 0.1");
    // A message that is not lost takes exactly as long as without the fault.
    assert!(never.iter().zip(&sometimes).all(|(one, other)| one == other || matches!(other, Fate::Lost(_))));
}

/// The delay of a message that arrives.
fn delay(fate: Fate) -> Span {
    match fate {
        Fate::Deliver(delay) => delay,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_message_is_sent_again_after_200_ms_and_then_after_twice_as_long() {
    let mut network = network([Loss { on: Link::all(), probability: 1.0 }.into()]);
    // Attempts at 1.0, 1.2, 1.6 and 2.4 s: the fault ends at 2 s. Then 10 ms on the link.
    assert_eq!(network.fate(secs(1), A, B, 0, 0), Fate::Deliver(ms(1_410)));
    assert_eq!(
        network.fate(secs(1) + ms(800), A, B, 1, 0),
        Fate::Deliver(ms(210)),
        "its first retry finds the link well"
    );
    assert_eq!(network.fate(secs(2), A, B, 2, 0), Fate::Deliver(ms(10)), "the fault is over");
    assert_eq!(network.resent(), 4);
}

#[test]
fn a_retry_waits_for_the_round_trip_where_that_is_longer() {
    let lossy = || FaultKind::from(Loss { on: Link::all(), probability: 1.0 });
    let later = Latency { on: Link::one_way(set(&[B]), ActorSelector::All), added: Dist::Constant(ms(480)) };
    let mut slow_back = network([lossy(), later.into()]);
    // 10 ms there and 490 ms back: attempts at 1.6, 2.1 s.
    assert_eq!(slow_back.fate(secs(1) + ms(600), A, B, 0, 0), Fate::Deliver(ms(510)));
    let far = NetworkSpec {
        faults: vec![Fault::new(secs(1), secs(2), lossy())],
        ..NetworkSpec::constant(7, Span::from_secs(1_000))
    };
    let mut far = Network::new(far).unwrap();
    // Never longer than two minutes.
    assert_eq!(far.fate(secs(1), A, B, 0, 0), Fate::Deliver(Span::from_secs(1_120)));
}

#[test]
fn the_transport_gives_up_after_fifteen_retries_at_most_two_minutes_apart() {
    // 0.2 + 0.4 + ... + 102.4 s, and five times 120 s: the last retry comes after 804.6 s.
    let last = Span::from_secs(804) + ms(600);
    for (until, expected) in [
        (secs(1) + last, Fate::Deliver(last + ms(10))),
        (secs(1) + last + Span::from_nanos(1), Fate::Lost(LossReason::Loss)),
        (Time::NEVER, Fate::Lost(LossReason::Loss)),
    ] {
        let loss = Fault::new(secs(1), until, Loss { on: Link::all(), probability: 1.0 });
        let spec = NetworkSpec { faults: vec![loss], ..NetworkSpec::constant(7, ms(10)) };
        let mut network = Network::new(spec).unwrap();
        assert_eq!(network.fate(secs(1), A, B, 0, 0), expected, "until {until}");
        assert_eq!(network.resent(), 15);
    }
}

#[test]
fn attempts_are_lost_independently_and_simultaneous_losses_combine() {
    let loss = |probability| FaultKind::from(Loss { on: Link::all(), probability });
    for kinds in [vec![loss(0.28)], vec![loss(0.1), loss(0.2)]] {
        let spec = NetworkSpec {
            faults: kinds.into_iter().map(|kind| Fault::new(secs(1), secs(99), kind)).collect(),
            ..NetworkSpec::constant(7, ms(10))
        };
        let fates = fates(&mut Network::new(spec).unwrap(), secs(1), A, B, 20_000);
        let after = |least| fates.iter().filter(|fate| delay(**fate) >= ms(least)).count() as f64 / 20_000.0;
        // Four standard errors are below 0.013.
        for (least, expected) in [(210, 0.28), (610, 0.28 * 0.28), (1_410, 0.28 * 0.28 * 0.28)] {
            assert!((after(least) - expected).abs() < 0.013, "{} after {least} ms", after(least));
        }
    }
}

#[test]
fn a_held_message_meets_the_losses_of_the_moment_at_which_it_sets_out() {
    let cut = Partition { cut: Cut::Islands(vec![set(&[A]), set(&[B])]), hold: true };
    let lossy = |at, until| Fault::new(at, until, Loss { on: Link::all(), probability: 1.0 });
    for (loss, expected) in [(lossy(secs(1), secs(2)), 0), (lossy(secs(2), secs(2) + ms(1)), 200)] {
        let faults = vec![Fault::new(secs(1), secs(2), cut.clone()), loss];
        let mut network = Network::new(NetworkSpec { faults, ..NetworkSpec::constant(7, ms(10)) }).unwrap();
        assert_eq!(network.fate(secs(1), A, B, 0, 0), Fate::Hold(secs(2) + ms(10 + expected)));
    }
}

#[test]
fn a_loss_moves_no_other_draw_of_a_message() {
    let jitter = Dist::Uniform { low: ms(0), high: ms(9) };
    let with = |probability| {
        let loss = Loss { on: Link::all(), probability }.into();
        let twice = Duplicate { on: Link::all(), probability: 0.3, lag: jitter.clone() }.into();
        let reorder = Reorder { on: Link::all(), probability: 0.3, within: ms(50) }.into();
        fates(&mut network([loss, twice, reorder]), secs(1), A, B, 1_000)
    };
    let (never, sometimes) = (with(0.0), with(0.2));
    let whole = never.iter().zip(&sometimes).filter(|(one, other)| one == other).count();
    assert!((740..860).contains(&whole), "{whole} of 1,000 are as without the loss");
}

#[test]
fn a_fate_does_not_depend_on_other_messages() {
    let kinds = || {
        let jitter = Dist::Uniform { low: ms(0), high: ms(9) };
        [
            Latency { on: Link::all(), added: jitter.clone() }.into(),
            Reorder { on: Link::all(), probability: 0.3, within: ms(50) }.into(),
            Loss { on: Link::all(), probability: 0.3 }.into(),
            Duplicate { on: Link::all(), probability: 0.3, lag: jitter }.into(),
        ]
    };
    let in_order = fates(&mut network(kinds()), secs(1), A, B, 200);
    let mut backwards = network(kinds());
    for seq in (0..200).rev() {
        backwards.fate(secs(1), B, C, seq, 0);
        assert_eq!(backwards.fate(secs(1), A, B, seq, 0), in_order[seq as usize]);
    }
    assert!(in_order.iter().any(|fate| matches!(fate, Fate::Duplicate(..))));
}

#[test]
fn a_reordered_message_is_overtaken() {
    let mut network = network([Reorder { on: Link::all(), probability: 0.5, within: ms(100) }.into()]);
    let delays: Vec<Span> = fates(&mut network, secs(1), A, B, 1_000)
        .into_iter()
        .map(|fate| if let Fate::Deliver(delay) = fate { delay } else { panic!("{fate:?}") })
        .collect();
    let late = delays.iter().filter(|delay| **delay > ms(10)).count();
    assert!((430..570).contains(&late), "{late} of 1,000");
    assert!(delays.iter().all(|delay| (ms(10)..ms(110)).contains(delay)));
}

#[test]
fn a_limited_link_serialises_messages_and_loses_those_beyond_its_queue() {
    let mut network = network([Bandwidth::new(Link::all(), 100_000, 2_000).into()]);
    // 1,000 bytes take 10 ms; 2,000 may wait before the message that arrives.
    let got = fates(&mut network, secs(1), A, B, 4);
    assert_eq!(
        got,
        [Fate::Deliver(ms(20)), Fate::Deliver(ms(30)), Fate::Deliver(ms(40)), Fate::Lost(LossReason::Full)],
        "a burst"
    );
    assert_eq!(network.fate(secs(1), B, A, 0, 1_000), Fate::Deliver(ms(20)), "another link");
    assert_eq!(network.fate(secs(1) + ms(500), A, B, 4, 1_000), Fate::Deliver(ms(20)), "free again");
}

#[test]
fn islands_are_cut_off_and_bridges_are_not() {
    let on = |islands: &[&[ActorId]]| {
        let cut = Cut::Islands(islands.iter().map(|island| set(island)).collect());
        let mut network = network([Partition { cut, hold: false }.into()]);
        let mut reaches = |from, to| network.fate(secs(1), from, to, 0, 0) == Fate::Deliver(ms(10));
        [reaches(A, B), reaches(B, A), reaches(A, C), reaches(C, B)]
    };
    assert_eq!(on(&[&[A], &[B]]), [false, false, true, true], "C is on no island");
    assert_eq!(on(&[&[A], &[B, C]]), [false, false, false, true]);
    assert_eq!(on(&[&[A, C], &[B, C]]), [false, false, true, true], "C is on both");
}

#[test]
fn a_one_way_cut_passes_the_other_way_and_messages_to_oneself() {
    let one_way = Cut::Links(vec![Link::one_way(set(&[A]), ActorSelector::All)]);
    let mut network = network([Partition { cut: one_way, hold: false }.into()]);
    assert_eq!(network.fate(secs(1), A, B, 0, 0), Fate::Lost(LossReason::Partition));
    assert_eq!(network.fate(secs(1), B, A, 0, 0), Fate::Deliver(ms(10)));
    assert_eq!(network.fate(secs(1), A, A, 0, 0), Fate::Deliver(Span::ZERO));
}

#[test]
fn latency_follows_the_zones() {
    let latency = [1, 2, 3, 4].map(|n| Dist::Constant(ms(n))).into();
    let spec = NetworkSpec { zones: vec![0, 1], latency, ..NetworkSpec::constant(7, ms(0)) };
    let mut network = Network::new(spec).unwrap();
    let mut delay = |from, to| network.fate(Time::ZERO, from, to, 0, 0);
    // C is beyond the list: zone 0.
    let got = [delay(A, B), delay(B, A), delay(A, C), delay(B, B)];
    assert_eq!(got, [ms(2), ms(3), ms(1), ms(0)].map(Fate::Deliver));
}

#[test]
fn machine_actions_are_in_order_and_overlapping_faults_end_one_by_one() {
    let at = |from, until, kind: FaultKind| Fault::new(secs(from), secs(until), kind);
    let faults = vec![
        at(3, 6, Crash { actors: set(&[A]) }.into()),
        at(1, 4, Crash { actors: set(&[A, B]) }.into()),
        at(5, 7, Wipe { actors: set(&[A]) }.into()),
        at(1, 3, Slow { actors: set(&[C]), factor: 0.5 }.into()),
        at(2, 4, Slow { actors: set(&[C]), factor: 0.25 }.into()),
        at(8, 9, Pause { actors: set(&[B]) }.into()),
        at(9, 9, Pause { actors: set(&[C]) }.into()),
    ];
    let network = Network::new(NetworkSpec { faults, ..NetworkSpec::default() }).unwrap();
    assert_eq!(
        network.machine_actions(),
        [
            (secs(1), A, MachineAction::Crash),
            (secs(1), B, MachineAction::Crash),
            (secs(1), C, MachineAction::Speed(0.5)),
            (secs(2), C, MachineAction::Speed(0.125)),
            (secs(3), C, MachineAction::Speed(0.25)),
            (secs(4), B, MachineAction::Restart),
            (secs(4), C, MachineAction::Speed(1.0)),
            (secs(5), A, MachineAction::Wipe),
            (secs(7), A, MachineAction::Restart),
            (secs(8), B, MachineAction::Pause),
            (secs(9), B, MachineAction::Resume),
        ]
    );
}

/// The plan of these faults for machines of which some are absent.
#[test]
fn a_fault_that_is_ended_ends_then_and_no_other_does() {
    let crash = |actor, from, until| {
        let actors = [ActorId(actor)].into_iter().collect();
        Fault::new(Time::from_nanos(from), Time::from_nanos(until), Crash { actors })
    };
    let faults = vec![crash(1, 10, 100), crash(2, 10, 100), crash(1, 20, 60)];
    // Permanent faults come before them and are not counted.
    let spec = NetworkSpec { faults, loss: 0.1, ..NetworkSpec::constant(1, Span::ZERO) };
    let mut network = Network::new(spec).unwrap();
    network.end(0, Time::from_nanos(40)).unwrap();
    let restarts: Vec<(u64, u32)> = network
        .machine_actions()
        .into_iter()
        .filter(|(.., power)| *power == MachineAction::Restart)
        .map(|(at, actor, _)| (at.nanos(), actor.0))
        .collect();
    assert_eq!(restarts, [(60, 1), (100, 2)], "the other crash of the same machine holds it down");
    network.end(2, Time::from_nanos(50)).unwrap();
    network.end(1, Time::from_nanos(500)).unwrap();
    assert_eq!(network.machine_actions().last().map(|(at, ..)| at.nanos()), Some(100), "none becomes longer");
    // A fault that has not begun never does.
    network.add(crash(3, 1_000, 2_000)).unwrap();
    network.end(3, Time::from_nanos(50)).unwrap();
    assert!(network.machine_actions().iter().all(|(_, actor, _)| *actor != ActorId(3)));
    assert!(network.end(4, Time::ZERO).is_err());
}

fn plan(faults: Vec<Fault>, absent: &[(ActorId, Time)]) -> Network {
    Network::new(NetworkSpec { faults, absent: absent.to_vec(), ..NetworkSpec::default() }).unwrap()
}

#[test]
fn an_absent_machine_comes_at_its_time_or_not_by_itself() {
    let mut network = plan(vec![], &[(A, secs(3)), (B, Time::NEVER)]);
    assert_eq!(network.absent(), [(A, secs(3)), (B, Time::NEVER)]);
    assert_eq!(network.machine_actions(), [(secs(3), A, MachineAction::Restart)]);
    network.bring(B, secs(2));
    network.bring(C, secs(2));
    assert_eq!(network.machine_actions(), [(secs(2), B, MachineAction::Restart), (secs(3), A, MachineAction::Restart)]);
}

#[test]
fn a_fault_on_an_absent_machine_only_delays_its_first_start() {
    let at = |from, until, kind: FaultKind| Fault::new(secs(from), secs(until), kind);
    let crash = |actor| FaultKind::from(Crash { actors: set(&[actor]) });
    let wipe = |actor| FaultKind::from(Wipe { actors: set(&[actor]) });
    let faults = vec![
        at(1, 2, crash(A)),
        at(3, 5, wipe(A)),
        at(6, 7, wipe(A)),
        at(1, 2, wipe(B)),
        at(3, 4, crash(C)),
        at(1, 2, Slow { actors: set(&[C]), factor: 0.5 }.into()),
    ];
    let mut network = plan(faults, &[(A, secs(4)), (B, Time::NEVER), (C, secs(3))]);
    let expected = [
        (secs(1), C, MachineAction::Speed(0.5)),
        (secs(2), C, MachineAction::Speed(1.0)),
        (secs(3), C, MachineAction::Restart),
        (secs(3), C, MachineAction::Crash),
        (secs(4), C, MachineAction::Restart),
        (secs(5), A, MachineAction::Restart),
        (secs(6), A, MachineAction::Wipe),
        (secs(7), A, MachineAction::Restart),
    ];
    assert_eq!(network.machine_actions(), expected, "B has no disk to lose, and stays away");
    network.bring(B, secs(1));
    let of_b: Vec<_> = network.machine_actions().into_iter().filter(|(_, actor, _)| *actor == B).collect();
    assert_eq!(
        of_b,
        [(1, MachineAction::Restart), (1, MachineAction::Wipe), (2, MachineAction::Restart)].map(|(at, p)| (
            secs(at),
            B,
            p
        ))
    );
}

#[test]
fn an_added_fault_holds_from_its_start_and_leaves_others_unchanged() {
    let mut network = network([Bandwidth::new(Link::all(), 100_000, 2_000).into()]);
    assert_eq!(fates(&mut network, secs(1), A, B, 1), [Fate::Deliver(ms(20))]);
    let later = Latency { on: Link::all(), added: Dist::Constant(ms(5)) };
    network.add(Fault::new(secs(1) + ms(5), secs(1) + ms(9), later.clone())).unwrap();
    network.add(Fault::new(secs(1), secs(2), later.clone())).unwrap();
    // The link is busy until 1.010 s, and again for 10 ms with each message.
    assert_eq!(network.fate(secs(1), A, B, 1, 1_000), Fate::Deliver(ms(35)), "one holds already");
    assert_eq!(network.fate(secs(1) + ms(5), A, B, 2, 0), Fate::Deliver(ms(35)), "and the other from its time on");
    assert_eq!(network.fate(secs(1) + ms(9), A, B, 3, 0), Fate::Deliver(ms(26)), "and no longer");
    assert_eq!(network.fate(secs(2), A, B, 4, 0), Fate::Deliver(ms(10)));
    let wrong = network.add(Fault::new(secs(1), secs(2), Loss { on: Link::all(), probability: 2.0 }));
    assert_eq!(wrong.unwrap_err().to_string(), "loss: a probability is between 0 and 1, not 2");
}

#[test]
fn the_plan_that_is_left_knows_of_a_fault_added_in_the_middle_of_another() {
    let crash = |from, until| Fault::new(secs(from), secs(until), Crash { actors: set(&[A]) });
    let mut network = plan(vec![crash(1, 4)], &[]);
    assert_eq!(network.powers_from(secs(2)), [(secs(4), A, MachineAction::Restart)]);
    network.add(crash(2, 6)).unwrap();
    assert_eq!(network.powers_from(secs(2)), [(secs(6), A, MachineAction::Restart)], "it is down once, and longer");
    network.add(crash(8, 9)).unwrap();
    let left = [(6, MachineAction::Restart), (8, MachineAction::Crash), (9, MachineAction::Restart)];
    assert_eq!(network.powers_from(secs(6)), left.map(|(at, power)| (secs(at), A, power)));
}

#[test]
fn standing_actions_are_those_done_and_not_reverted() {
    let at = |from, until, kind: FaultKind| Fault::new(secs(from), secs(until), kind);
    let faults = vec![
        at(1, 5, Crash { actors: set(&[A]) }.into()),
        at(2, 4, Wipe { actors: set(&[A]) }.into()),
        at(1, 3, Pause { actors: set(&[A]) }.into()),
        at(1, 9, Slow { actors: set(&[A, B]), factor: 0.5 }.into()),
        at(3, 4, Slow { actors: set(&[A]), factor: 0.5 }.into()),
    ];
    let network = plan(faults, &[(C, secs(3))]);
    assert_eq!(network.standing(A, secs(1)), [], "what begins now is still to be done");
    assert_eq!(network.standing(A, secs(2)), [MachineAction::Crash, MachineAction::Pause, MachineAction::Speed(0.5)]);
    assert_eq!(network.standing(A, secs(4)), [MachineAction::Wipe, MachineAction::Speed(0.25)]);
    assert_eq!(network.standing(A, secs(6)), [MachineAction::Speed(0.5)]);
    assert_eq!(network.standing(A, secs(10)), [MachineAction::Speed(1.0)]);
    assert_eq!((network.standing(B, secs(2)), network.standing(C, secs(2))), (vec![MachineAction::Speed(0.5)], vec![]));
}

#[test]
fn a_network_for_each_sender_decides_as_one_for_all() {
    let jitter = Dist::Exponential { at_least: ms(1), mean: ms(10) };
    let on = Link::all;
    let kinds: [FaultKind; 7] = [
        Bandwidth::new(on(), 30_000, 3_000).into(),
        Drop { on: on(), probability: 0.1 }.into(),
        Loss { on: on(), probability: 0.1 }.into(),
        Duplicate { on: on(), probability: 0.2, lag: jitter.clone() }.into(),
        Reorder { on: on(), probability: 0.3, within: ms(50) }.into(),
        Latency { on: Link::between(set(&[A]), set(&[B])), added: jitter.clone() }.into(),
        Partition { cut: Cut::Islands(vec![set(&[A, C]), set(&[B])]), hold: true }.into(),
    ];
    let starts = [1, 1, 1, 2, 2, 3, 4].map(secs);
    let faults = kinds.into_iter().zip(starts).map(|(kind, at)| Fault::new(at, at + Span::from_secs(2), kind));
    let spec = NetworkSpec { latency: vec![jitter], faults: faults.collect(), ..NetworkSpec::constant(7, ms(0)) };
    let new = || Network::new(spec.clone()).unwrap();
    let (mut whole, mut of_a, mut of_others) = (new(), new(), new());
    let mut seqs = [0; 3];
    let mut kinds = BTreeSet::new();
    for message in 0..3_000_u64 {
        let now = Time::ZERO + ms(2) * message;
        let (from, to) = (ActorId((message * 7 % 3) as u32), ActorId((message / 3 % 3) as u32));
        let part = if from == A { &mut of_a } else { &mut of_others };
        let seq = &mut seqs[from.index()];
        let fate = whole.fate(now, from, to, *seq, 800);
        assert_eq!(part.fate(now, from, to, *seq, 800), fate, "message {message}");
        *seq += 1;
        kinds.insert(match fate {
            Fate::Deliver(_) => "deliver",
            Fate::Duplicate(..) => "duplicate",
            Fate::Hold(_) => "hold",
            Fate::Lost(LossReason::Full) => "full",
            Fate::Lost(_) => "lost",
        });
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[test]
fn a_description_that_means_nothing_is_refused() {
    let base = || NetworkSpec::constant(1, ms(1));
    let two = Loss { on: Link::all(), probability: 2.0 };
    let bad = [
        (NetworkSpec { latency: vec![], ..base() }, "0 latencies are not a square matrix"),
        (NetworkSpec { latency: vec![Dist::Constant(ms(1)); 3], ..base() }, "3 latencies are not a square matrix"),
        (
            NetworkSpec { latency: vec![Dist::Constant(ms(1)); 4], zones: vec![0, 2], ..base() },
            "zone 2 is beyond the 2 zones of the latency matrix",
        ),
        (NetworkSpec { loss: f64::NAN, ..base() }, "loss: a probability is between 0 and 1, not NaN"),
        (NetworkSpec { drop: -0.1, ..base() }, "drop: a probability is between 0 and 1, not -0.1"),
        (
            NetworkSpec { faults: vec![Fault::new(secs(0), secs(1), two)], ..base() },
            "loss: a probability is between 0 and 1, not 2",
        ),
        (NetworkSpec { absent: vec![(B, secs(1)), (A, secs(1)), (B, secs(2))], ..base() }, "#1 is absent twice"),
        (NetworkSpec { bandwidth: Some((0, 0)), ..base() }, "bandwidth: a link that carries nothing is a partition"),
    ];
    for (spec, expected) in bad {
        assert_eq!(Network::new(spec).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_set_of_actors_is_written_as_a_list_and_read_back() {
    let actors = [ActorId(0), ActorId(63), ActorId(64), ActorId(1_000)];
    let there = set(&actors);
    assert_eq!(there.iter().collect::<Vec<_>>(), actors);
    assert_eq!(ActorSet::from(Vec::from(there.clone())), there);
    assert!(!there.contains(ActorId(65)) && !there.contains(ActorId(u32::MAX)));
}
