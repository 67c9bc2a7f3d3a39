use std::collections::BTreeSet;

use meshsim_actor::{Cause, Dist};

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

/// A network of 10 ms with these faults, in `1s..2s` each.
fn network(kinds: impl IntoIterator<Item = Kind>) -> Network {
    let faults = kinds.into_iter().map(|kind| Fault::new(secs(1), secs(2), kind)).collect();
    Network::new(NetworkSpec { faults, ..NetworkSpec::constant(7, ms(10)) }).unwrap()
}

/// The fates of the first messages from `from` to `to` sent at `now`.
fn fates(network: &mut Network, now: Time, from: ActorId, to: ActorId, count: u64) -> Vec<Fate> {
    (0..count).map(|seq| network.fate(now, from, to, seq, 1_000)).collect()
}

#[test]
fn every_file_of_a_fault_is_registered() {
    let common = ["lib", "actors", "network", "powers", "tests", "verdict"];
    let files: BTreeSet<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string())
        .filter(|name| !common.contains(&name.as_str()))
        .collect();
    assert!(files.iter().eq(Kind::NAMES.iter()), "{files:?} are not {:?}", Kind::NAMES);
}

#[test]
fn a_fault_holds_from_its_beginning_until_its_end_and_is_taken_back() {
    let mut network = network([Loss { on: Link::all(), probability: 1.0 }.into()]);
    let just_before = |time: Time| time - Span::from_nanos(1);
    for (now, lost) in [(just_before(secs(1)), false), (secs(1), true), (just_before(secs(2)), true), (secs(2), false)]
    {
        let expected = if lost { Fate::Lost(Cause::Loss) } else { Fate::Deliver(ms(10)) };
        assert_eq!(network.fate(now, A, B, 0, 0), expected, "at {now}");
    }
}

#[test]
fn faults_combine() {
    let later = Latency { on: Link::all(), added: Dist::Constant(ms(5)) };
    let twice = Duplicate { on: Link::all(), probability: 1.0, lag: Dist::Constant(ms(1)) };
    let cut = |hold| Partition { cut: Cut::Islands(vec![set(&[A]), set(&[B])]), hold };
    let fate = |kinds: Vec<Kind>| network(kinds).fate(secs(1), A, B, 0, 0);
    let second = Span::from_secs(1);
    assert_eq!(fate(vec![later.clone().into(), later.clone().into()]), Fate::Deliver(ms(20)));
    assert_eq!(fate(vec![twice.clone().into(), later.clone().into()]), Fate::Duplicate(ms(15), ms(16)));
    assert_eq!(fate(vec![cut(true).into(), later.clone().into()]), Fate::Hold(secs(2) + ms(15)));
    assert_eq!(fate(vec![cut(true).into(), twice.clone().into()]), Fate::Duplicate(second + ms(10), second + ms(11)));
    assert_eq!(fate(vec![twice.into(), cut(false).into(), later.into()]), Fate::Lost(Cause::Partition));
}

#[test]
fn probabilities_are_met_and_certainty_draws_nothing() {
    let jitter = Dist::Exponential { at_least: Span::ZERO, mean: ms(10) };
    let with = |probability| {
        let loss = Fault::new(secs(1), secs(2), Loss { on: Link::all(), probability });
        let spec = NetworkSpec { latency: vec![jitter.clone()], faults: vec![loss], ..NetworkSpec::constant(7, ms(0)) };
        fates(&mut Network::new(spec).unwrap(), secs(1), A, B, 20_000)
    };
    let (never, sometimes) = (with(0.0), with(0.1));
    let lost = sometimes.iter().filter(|fate| matches!(fate, Fate::Lost(_))).count();
    assert!((1_900..2_100).contains(&lost), "{lost} of 20,000 lost at 0.1");
    // What is not lost takes exactly as long as without the fault.
    assert!(never.iter().zip(&sometimes).all(|(one, other)| one == other || matches!(other, Fate::Lost(_))));
}

#[test]
fn a_fate_does_not_depend_on_other_messages() {
    let kinds = || {
        let jitter = Dist::Uniform { low: ms(0), high: ms(9) };
        [
            Latency { on: Link::all(), added: jitter.clone() }.into(),
            Reorder { on: Link::all(), probability: 0.3, within: ms(50) }.into(),
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
fn a_link_of_limited_bandwidth_passes_messages_one_after_the_other_and_loses_what_finds_it_full() {
    let mut network = network([Bandwidth::new(Link::all(), 100_000, 2_000).into()]);
    // 1,000 bytes take 10 ms; 2,000 may wait before the one that comes.
    let got = fates(&mut network, secs(1), A, B, 4);
    assert_eq!(
        got,
        [Fate::Deliver(ms(20)), Fate::Deliver(ms(30)), Fate::Deliver(ms(40)), Fate::Lost(Cause::Full)],
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
fn a_one_way_cut_lets_the_other_way_pass_and_nobody_is_cut_off_from_itself() {
    let one_way = Cut::Links(vec![Link::one_way(set(&[A]), Actors::All)]);
    let mut network = network([Partition { cut: one_way, hold: false }.into()]);
    assert_eq!(network.fate(secs(1), A, B, 0, 0), Fate::Lost(Cause::Partition));
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
fn powers_come_in_order_and_overlapping_faults_are_taken_back_one_by_one() {
    let at = |from, until, kind: Kind| Fault::new(secs(from), secs(until), kind);
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
        network.powers(),
        [
            (secs(1), A, Power::Crash),
            (secs(1), B, Power::Crash),
            (secs(1), C, Power::Speed(0.5)),
            (secs(2), C, Power::Speed(0.125)),
            (secs(3), C, Power::Speed(0.25)),
            (secs(4), B, Power::Restart),
            (secs(4), C, Power::Speed(1.0)),
            (secs(5), A, Power::Wipe),
            (secs(7), A, Power::Restart),
            (secs(8), B, Power::Pause),
            (secs(9), B, Power::Resume),
        ]
    );
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
        (
            NetworkSpec { faults: vec![Fault::new(secs(0), secs(1), two)], ..base() },
            "loss: a probability is between 0 and 1, not 2",
        ),
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
