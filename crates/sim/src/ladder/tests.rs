use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// Operation on a queue.
#[derive(Clone, Debug)]
enum Do {
    /// Adds this many events, this long after the last one taken.
    Push {
        after: u64,
        count: usize,
    },
    /// Adds this many events, spread evenly over this range.
    Spread {
        over: u64,
        count: u64,
    },
    /// Adds one event at a fixed time, if that is not past.
    At(u64),
    Pop(usize),
    Peek,
    /// Serialises the queue and reads it back.
    Rewrite,
    /// The events whose number has this remainder by 7 no longer matter.
    Kill(u64),
}

fn something() -> impl Strategy<Value = Do> {
    let after = prop_oneof![Just(0), 0..4u64, 0..1_000u64, 0..1u64 << 40, Just(1_000_000)];
    prop_oneof![
        4 => (after, prop_oneof![8 => 1..3usize, 1 => 50..300usize]).prop_map(|(after, count)| Do::Push { after, count }),
        1 => (1..1u64 << 34, 50..600u64).prop_map(|(over, count)| Do::Spread { over, count }),
        1 => prop_oneof![Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()].prop_map(Do::At),
        4 => prop_oneof![1..4usize, 50..400usize].prop_map(Do::Pop),
        1 => Just(Do::Peek),
        1 => Just(Do::Rewrite),
        1 => (0..7u64).prop_map(Do::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 5_000 }))]

    #[test]
    fn events_leave_by_time_and_then_by_arrival_like_from_a_heap_with_tickets(
        script in prop::collection::vec(something(), 1..60)
    ) {
        let mut ladder = Ladder::default();
        let mut heap = BinaryHeap::new();
        let (mut now, mut ticket) = (0_u64, 0_u64);
        let mut dead = [false; 7];
        let mut push = |ladder: &mut Ladder<u64>, heap: &mut BinaryHeap<_>, at: u64| {
            ladder.push(Time::from_nanos(at), ticket);
            heap.push(Reverse((at, ticket)));
            ticket += 1;
        };
        for action in script.into_iter().chain([Do::Pop(usize::MAX)]) {
            match action {
                Do::Push { after, count } => {
                    (0..count).for_each(|_| push(&mut ladder, &mut heap, now.saturating_add(after)));
                }
                Do::Spread { over, count } => (0..count).for_each(|i| {
                    // Out of order.
                    push(&mut ladder, &mut heap, now.saturating_add(i * 7919 % count * (over / count)));
                }),
                Do::At(at) => push(&mut ladder, &mut heap, at.max(now)),
                Do::Kill(remainder) => dead[remainder as usize] = true,
                Do::Rewrite => {
                    let mut bytes = Vec::new();
                    meshsim_wire::encode_into(&ladder, &mut bytes).unwrap();
                    ladder = meshsim_wire::decode(&bytes).unwrap();
                }
                Do::Peek => {
                    ladder.next_time(|ticket| !dead[(ticket % 7) as usize]);
                }
                Do::Pop(count) => {
                    for _ in 0..count {
                        let due = ladder.next_time(|ticket| !dead[(ticket % 7) as usize]);
                        let Some(got) = ladder.pop() else {
                            prop_assert!(heap.drain().all(|Reverse((_, ticket))| dead[(ticket % 7) as usize]));
                            prop_assert_eq!(ladder.len, 0);
                            break;
                        };
                        // An event that became irrelevant late may still leave, but in its order.
                        let expected = loop {
                            let Some(Reverse(expected)) = heap.pop() else { panic!("an event from nowhere") };
                            if expected.1 == got || !dead[(expected.1 % 7) as usize] {
                                break expected;
                            }
                        };
                        prop_assert_eq!((due, got), (Some(Time::from_nanos(expected.0)), expected.1));
                        now = expected.0;
                    }
                }
            }
            prop_assert_eq!(ladder.iter().count(), ladder.len);
        }
    }
}

/// Bound on the moves of a queue with this many events, for adversarial orders that would make a poor queue quadratic.
#[test]
fn bursts_at_one_time_cost_no_more_than_their_length() {
    let mut ladder = Ladder::default();
    let n = 200_000_u64;
    let (early, late) = (Time::from_nanos(10), Time::from_nanos(1_000_000_000));
    (0..n).for_each(|i| ladder.push(late, i));
    assert_eq!(ladder.next_time(|_| true), Some(late));
    (0..n).for_each(|i| ladder.push(early, n + i));
    (0..n).for_each(|i| ladder.push(late, 2 * n + i));
    let mut got = Vec::new();
    while ladder.next_time(|_| true).is_some() {
        got.extend(ladder.pop());
    }
    assert!(got.into_iter().eq((n..2 * n).chain(0..n).chain(2 * n..3 * n)));
}
