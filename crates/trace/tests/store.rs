//! The stores hold what a tree would hold, whatever the keys.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Rng};
use meshsim_trace::store::{ByActor, BySlot, Rising};

/// Keys as a run has them, and as a file may have them: a low slot, one far beyond, or any number.
fn key(rng: &mut Rng) -> u64 {
    let generation = u64::from(rng.below(3)) << 32;
    match rng.below(20) {
        0 => rng.next_u64(),
        1 => generation | u64::from(rng.below(1 << 20)),
        _ => generation | u64::from(rng.below(200)),
    }
}

#[test]
fn values_by_slot_are_those_of_a_tree() {
    for seed in 0..20 {
        let (mut rng, mut slots, mut tree) = (Rng::keyed(seed, 0, 0), BySlot::default(), BTreeMap::new());
        for round in 0..2_000_u32 {
            let key = key(&mut rng);
            match rng.below(3) {
                0 => assert_eq!(slots.remove(key), tree.remove(&key)),
                1 => assert_eq!(slots.insert(key, round), tree.insert(key, round)),
                _ => {
                    assert_eq!(slots.get(key), tree.get(&key));
                    assert_eq!(slots.get_mut(key), tree.get_mut(&key));
                }
            }
        }
        assert!(slots.iter().eq(tree.iter().map(|(key, value)| (*key, value))));
        let mut values: Vec<u32> = slots.values().copied().collect();
        values.sort_unstable();
        let mut expected: Vec<u32> = tree.into_values().collect();
        expected.sort_unstable();
        assert_eq!(values, expected);
        slots.clear();
        assert_eq!(slots.iter().count(), 0);
    }
}

#[test]
fn the_largest_slots_take_no_more_memory_than_the_smallest() {
    let mut slots = BySlot::default();
    // By index, these would take terabytes.
    let keys = (0..1_000_u64).map(|n| u64::MAX - n * 1_000_003);
    keys.clone().for_each(|key| _ = slots.insert(key, key));
    assert!(keys.clone().all(|key| slots.get(key) == Some(&key)));
    assert!(keys.clone().all(|key| slots.remove(key) == Some(key)));
    assert_eq!(slots.values().count(), 0);
}

#[test]
fn values_by_rising_number_are_those_of_a_tree() {
    for seed in 0..20 {
        let (mut rng, mut rising, mut tree) = (Rng::keyed(seed, 1, 0), Rising::default(), BTreeMap::new());
        let mut next = 0;
        for round in 0..4_000_u32 {
            next += u64::from(rng.chance(0.99)) + u64::from(rng.chance(0.01)) * 1_000;
            let back = u64::from(rng.below(100));
            let number = if rng.chance(0.4) { next } else { next.saturating_sub(back) };
            match rng.below(4) {
                0 => assert_eq!(rising.remove(number), tree.remove(&number)),
                1 => {
                    assert_eq!(rising.get(number), tree.get(&number));
                    assert_eq!(rising.get_mut(number), tree.get_mut(&number));
                }
                _ => assert_eq!(rising.insert(number, round), tree.insert(number, round)),
            }
            if rng.chance(0.3)
                && let Some((first, value)) = tree.pop_first()
            {
                assert_eq!(rising.remove(first), Some(value));
            }
        }
        assert!(rising.iter().eq(tree.iter().map(|(number, value)| (*number, value))));
    }
}

#[test]
fn values_of_many_actors_are_found_again_in_whatever_order_they_came() {
    for seed in 0..4 {
        let (mut rng, mut values, mut tree) = (Rng::keyed(seed, 2, 0), ByActor::<u64>::default(), BTreeMap::new());
        // Some far beyond the others at first, then all that lie before them.
        let far = (0..200).map(|_| (rng.unit() * 300_000.0) as u32).collect::<Vec<u32>>();
        for (value, id) in (1..).zip(far.iter().copied().chain(0..100_000)) {
            *values.entry(ActorId(id)) = value;
            tree.insert(id, value);
        }
        assert_eq!(values.len(), tree.len());
        assert!(values.iter().map(|(actor, value)| (actor.0, *value)).eq(tree.iter().map(|(id, value)| (*id, *value))));
        assert!(far.iter().all(|id| values.get(ActorId(*id)) == tree.get(id)));
    }
}

#[test]
fn values_of_actors_with_any_id_are_found_again() {
    let mut values = ByActor::<u32>::default();
    let ids = [3, (1 << 14) - 1, 1 << 14, u32::MAX];
    for (value, id) in (1..).zip(ids) {
        *values.entry(ActorId(id)) = value;
    }
    let found: Vec<_> =
        values.iter().filter(|(_, value)| **value > 0).map(|(actor, value)| (actor.0, *value)).collect();
    assert_eq!(found, ids.into_iter().zip(1..).collect::<Vec<_>>());
    assert_eq!(values.get(ActorId(u32::MAX)), Some(&4));
    assert_eq!(values.get(ActorId(u32::MAX - 1)), None);
    assert_eq!(values.values_mut().map(|value| *value).sum::<u32>(), 10);
}
