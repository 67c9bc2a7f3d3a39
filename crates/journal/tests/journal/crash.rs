//! Acknowledged images survive a crash at any point.

use meshsim_journal::{AppendError, Journal};
use proptest::prelude::*;

use crate::memory::{Call, Fault, Memory};
use crate::model::Model;

#[derive(Clone, Debug)]
enum Act {
    Append {
        key: u32,
        cut: usize,
        added: Vec<u8>,
    },
    Commit,
    Compact,
    /// After so many more calls, the machine stands still.
    Fail {
        after: usize,
    },
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let added = prop::collection::vec(0u8..3, 0..60);
    prop_oneof![
        6 => (0u32..4, 0usize..100, added).prop_map(|(key, cut, added)| Act::Append { key, cut, added }),
        4 => Just(Act::Commit),
        1 => Just(Act::Compact),
        1 => (0usize..8).prop_map(|after| Act::Fail { after }),
        1 => Just(Act::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn every_acknowledged_image_is_found_after_a_crash_at_any_point(
        acts in prop::collection::vec(act(), 1..60), draws in prop::collection::vec(any::<u16>(), 64),
    ) {
        let mut draws = draws.into_iter().cycle();
        // A third of the writes is lost, a third kept, and the others are torn.
        let mut keep = move |bytes: usize| match draws.next().unwrap_or(0) as usize {
            draw if draw % 3 == 0 => 0,
            draw if draw % 3 == 1 => bytes,
            draw => draw / 3 % (bytes + 1),
        };
        let (mut memory, mut model) = (Memory::default(), Model::default());
        let mut journal = model.open(&memory).unwrap();
        for act in acts {
            let goes_on = match act {
                Act::Append { key, cut, added } => {
                    let mut image = model.image(key);
                    let cut = cut.min(image.len());
                    image.splice(cut..(cut + 3).min(image.len()), added);
                    model.append(&mut journal, key, &image);
                    true
                }
                Act::Commit => model.commit(&mut journal),
                Act::Compact => {
                    journal.compact();
                    true
                }
                Act::Fail { after } => {
                    memory.fail(Some(Fault::From(memory.calls().len() + after)));
                    true
                }
                Act::Crash => false,
            };
            if !goes_on {
                let changes = keep(3);
        memory = memory.crash(&mut keep, changes);
                journal = model.open(&memory).unwrap();
            }
        }
        let changes = keep(3);
        memory = memory.crash(&mut keep, changes);
        model.open(&memory).unwrap();
    }
}

/// Three commits, the second of which compacts.
fn script(memory: &Memory, model: &mut Model) -> Option<Journal> {
    let mut journal = model.open(memory).ok()?;
    for round in 0..3u8 {
        model.append(&mut journal, 1, &[round; 20]);
        model.append(&mut journal, 2, &vec![7; 10 * usize::from(round)]);
        if round == 1 {
            journal.compact();
        }
        if !model.commit(&mut journal) {
            return Some(journal);
        }
    }
    Some(journal)
}

/// The journal is opened after a crash that keeps the first so many bytes of what was not synced.
fn check_prefixes(memory: &Memory, model: &Model) {
    for (kept, changes) in (0..200).flat_map(|kept| (0..3).map(move |changes| (kept, changes))) {
        let mut left = kept;
        let keep = |bytes: usize| {
            let now = left.min(bytes);
            left -= now;
            now
        };
        model.clone().open(&memory.crash(keep, changes)).unwrap();
    }
}

#[test]
fn a_crash_at_each_call_leaves_all_acknowledged_images() {
    let memory = Memory::default();
    script(&memory, &mut Model::default()).unwrap();
    let calls = memory.calls();
    let compactions = calls.iter().filter(|call| **call == Call::Rename).count();
    assert_eq!(compactions, 2, "one creates the journal, and one is in the middle: {calls:?}");
    for number in 0..=calls.len() {
        let (memory, mut model) = (Memory::default(), Model::default());
        memory.fail(Some(Fault::From(number)));
        script(&memory, &mut model);
        check_prefixes(&memory, &model);
    }
}

#[test]
fn a_call_that_fails_closes_the_journal_for_good_and_loses_nothing() {
    let memory = Memory::default();
    script(&memory, &mut Model::default()).unwrap();
    for number in 0..memory.calls().len() {
        let (memory, mut model) = (Memory::default(), Model::default());
        memory.fail(Some(Fault::Call(number)));
        if let Some(mut journal) = script(&memory, &mut model) {
            let calls = memory.calls().len();
            assert_eq!(journal.append(1, 99, &[]), Err(AppendError::Closed));
            assert!(journal.commit().is_err());
            assert_eq!(memory.calls().len(), calls, "a closed journal touches no file");
        }
        check_prefixes(&memory, &model);
    }
}

#[test]
fn a_tear_at_every_byte_of_an_unsynced_tail_is_cut() {
    let (memory, mut model) = (Memory::default(), Model::default());
    let mut journal = model.open(&memory).unwrap();
    model.append(&mut journal, 1, &[1; 50]);
    assert!(model.commit(&mut journal));
    let synced = memory.bytes("journal").len();
    memory.fail(Some(Fault::From(memory.calls().len() + 1)));
    model.append(&mut journal, 1, &[2; 50]);
    model.append(&mut journal, 2, &[3; 50]);
    assert!(!model.commit(&mut journal));
    let tail = memory.bytes("journal").len() - synced;
    let mut found_keys = Vec::new();
    for kept in 0..=tail {
        let crashed = memory.crash(|bytes| if bytes == tail { kept } else { bytes }, 0);
        let held = crashed.bytes("journal").len();
        let (_, found) = Journal::open_on(crashed.clone(), b"model").unwrap();
        model.check(&found);
        assert!(crashed.bytes("journal").len() + found.cut_bytes as usize <= held + 100, "the tail is cut");
        assert_eq!(found.cut_bytes == 0, [0, tail / 2, tail].contains(&kept), "{kept} of {tail}");
        found_keys.push(found.images.len());
        let (_, again) = Journal::open_on(crashed, b"model").unwrap();
        assert_eq!(again, meshsim_journal::Found { cut_bytes: 0, ..found });
    }
    assert_eq!((found_keys[0], found_keys[tail]), (1, 2));
}

#[test]
fn a_commit_writes_then_syncs_and_a_new_file_gets_its_name_after_its_sync() {
    use Call::{Create, Rename, Sync, SyncDirectory, Write};
    let memory = Memory::default();
    let (mut journal, _) = Journal::open_on(memory.clone(), b"run").unwrap();
    assert_eq!(memory.calls(), [Create, Write, Sync, Rename, SyncDirectory]);
    journal.append(1, 1, b"image").unwrap();
    assert_eq!(memory.calls().len(), 5, "an image waits in memory");
    journal.commit().unwrap();
    assert_eq!(
        memory.calls()[5..],
        [Write, Sync, Write],
        "the records, a sync, and the slot that declares them durable"
    );
    journal.commit().unwrap();
    assert_eq!(memory.calls().len(), 8, "there is nothing to commit");
}

#[test]
fn a_file_stays_within_a_multiple_of_its_images() {
    let memory = Memory::default();
    let (mut journal, _) = Journal::open_on(memory.clone(), b"run").unwrap();
    let image =
        |n: u32| (0..25_000u32).flat_map(|i| (i ^ n).wrapping_mul(0x9e37_79b9).to_le_bytes()).collect::<Vec<_>>();
    let mut largest = 0;
    for n in 0..60 {
        journal.append(n % 2, n.into(), &image(n)).unwrap();
        journal.commit().unwrap();
        largest = largest.max(memory.bytes("journal").len());
    }
    assert!((1_000_000..=4 * 200_100 + (1 << 20)).contains(&largest), "{largest}");
    let (_, found) = Journal::open_on(memory.crash(|_| 0, 0), b"run").unwrap();
    assert_eq!(found.images.values().map(|image| image.position).collect::<Vec<_>>(), [58, 59]);
    assert_eq!(found.images[&1].bytes, image(59));
}

#[test]
fn records_beyond_a_bound_do_not_wait_and_all_images_are_written_instead() {
    let memory = Memory::default();
    let (mut journal, _) = Journal::open_on(memory.clone(), b"run").unwrap();
    journal.append(0, 0, &vec![0; 16 << 20]).unwrap();
    journal.commit().unwrap();
    for number in 1..=5u8 {
        journal.append(1, number.into(), &vec![number; 4 << 20]).unwrap();
    }
    let before = memory.calls().len();
    journal.commit().unwrap();
    assert_eq!(memory.calls()[before], Call::Create);
    assert!(memory.bytes("journal").len() < 21 << 20);
    let (_, found) = Journal::open_on(memory.crash(|_| 0, 0), b"run").unwrap();
    assert_eq!(found.images[&1].bytes, vec![5; 4 << 20]);
}

#[test]
fn a_log_that_grows_costs_its_new_entries() {
    let memory = Memory::default();
    let (mut journal, _) = Journal::open_on(memory.clone(), b"run").unwrap();
    let mut image = vec![0; 4];
    let mut written = 0;
    for n in 1..=1_000u32 {
        image[..4].copy_from_slice(&n.to_le_bytes());
        image.extend(n.wrapping_mul(0x9e37_79b9).to_le_bytes().repeat(5));
        let before = memory.bytes("journal").len();
        journal.append(1, n.into(), &image).unwrap();
        journal.commit().unwrap();
        written += memory.bytes("journal").len().saturating_sub(before);
    }
    assert!(written < 1_000 * 100, "{written} bytes for 20,000 of entries");
}
