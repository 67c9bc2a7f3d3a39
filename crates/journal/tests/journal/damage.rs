//! Damage to what was synced is found, whatever it is, and no file makes a journal panic.

use meshsim_journal::{IDENTITY_BYTES_MAX, Image, Journal, OpenError};
use proptest::prelude::*;

use crate::memory::Memory;

const IDENTITY: &[u8] = b"run 7, process 2";
/// The two slots: one of them may be torn, and the other one is enough.
const SLOTS: std::ops::Range<usize> = 8..32;

/// A journal that was closed after some commits.
fn closed() -> Vec<u8> {
    let memory = Memory::default();
    let (mut journal, _) = Journal::open_on(memory.clone(), IDENTITY).unwrap();
    for n in 0..4u8 {
        journal.append(n.into(), n.into(), &[n; 30]).unwrap();
        journal.append(0, n.into(), &vec![1; 10 * usize::from(n)]).unwrap();
        journal.commit().unwrap();
    }
    memory.bytes("journal")
}

#[test]
fn a_flipped_byte_of_the_synced_part_is_damage_and_stays_in_the_file() {
    let whole = closed();
    let (_, good) = Journal::open_on(Memory::with("journal", &whole), IDENTITY).unwrap();
    assert_eq!(good.images.len(), 4);
    for (at, flip) in (0..whole.len()).flat_map(|at| [1, 0x10, 0x80, 0xff].map(|flip| (at, flip))) {
        let mut bytes = whole.clone();
        bytes[at] ^= flip;
        let memory = Memory::with("journal", &bytes);
        match Journal::open_on(memory.clone(), IDENTITY) {
            Ok((_, found)) => {
                assert!(SLOTS.contains(&at), "byte {at} is not noticed");
                assert_eq!(found, good);
            }
            Err(OpenError::Damaged { at: said, .. }) => {
                assert!(said as usize <= at && !SLOTS.contains(&at));
                assert_eq!(memory.bytes("journal"), bytes, "the damaged file is kept");
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_file_that_ends_in_its_synced_part_is_damaged() {
    let whole = closed();
    for bytes in 0..whole.len() {
        let opened = Journal::open_on(Memory::with("journal", &whole[..bytes]), IDENTITY);
        assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{bytes}: {opened:?}");
    }
}

#[test]
fn a_record_counts_only_after_those_that_it_was_written_after() {
    let memory = Memory::default();
    let (mut journal, _) = Journal::open_on(memory.clone(), IDENTITY).unwrap();
    let mut commit = |position| {
        let before = memory.bytes("journal").len();
        journal.append(1, position, &[position as u8; 30]).unwrap();
        journal.commit().unwrap();
        memory.bytes("journal")[before..].to_vec()
    };
    let (first, _) = (commit(1), commit(2));
    let whole = memory.bytes("journal");
    let (_, found) = Journal::open_on(Memory::with("journal", &[&*whole, &*first].concat()), IDENTITY).unwrap();
    assert_eq!((found.images[&1].position, found.cut_bytes), (2, first.len() as u64));
}

#[test]
fn damage_before_the_last_commit_is_found_also_when_the_last_slot_is_torn() {
    let memory = Memory::default();
    let (mut journal, _) = Journal::open_on(memory.clone(), IDENTITY).unwrap();
    let mut ends = Vec::new();
    for position in 0..4 {
        journal.append(1, position, &[position as u8; 30]).unwrap();
        journal.commit().unwrap();
        ends.push(memory.bytes("journal").len());
        for kept in 0..=12 {
            let bytes = memory.crash(|_| kept, 0).bytes("journal");
            let (_, found) = Journal::open_on(Memory::with("journal", &bytes), IDENTITY).unwrap();
            assert_eq!(found.images[&1].position, position);
            let Some(before) = ends.len().checked_sub(2).map(|last| ends[last]) else { continue };
            let mut damaged = bytes.clone();
            damaged[before - 1] ^= 1;
            let opened = Journal::open_on(Memory::with("journal", &damaged), IDENTITY);
            assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{kept} bytes of the slot: {opened:?}");
        }
    }
}

#[test]
fn the_journal_of_another_identity_is_refused_and_kept() {
    let memory = Memory::with("journal", &closed());
    let before = memory.bytes("journal");
    for other in [&b""[..], b"run 7, process 3", &[7; IDENTITY_BYTES_MAX]] {
        match Journal::open_on(memory.clone(), other) {
            Err(OpenError::OtherIdentity { found }) => assert_eq!(found, IDENTITY),
            opened => panic!("{opened:?}"),
        }
    }
    assert_eq!((memory.bytes("journal"), memory.calls().len()), (before, 0));
    let opened = Journal::open_on(Memory::default(), &[7; IDENTITY_BYTES_MAX + 1]);
    assert!(matches!(opened, Err(OpenError::IdentityTooLong(_))));
}

proptest! {
    #[test]
    fn random_bytes_as_a_file_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let opened = Journal::open_on(Memory::with("journal", &bytes), IDENTITY);
        prop_assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{:?}", opened);
    }

    #[test]
    fn random_changes_of_a_file_are_no_content(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        tail in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let whole = closed();
        let (_, good) = Journal::open_on(Memory::with("journal", &whole), IDENTITY).unwrap();
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(&tail);
        match Journal::open_on(Memory::with("journal", &bytes), IDENTITY) {
            Ok((_, found)) if bytes[SLOTS] == whole[SLOTS] => prop_assert_eq!(found.images, good.images),
            // With the last slot and the last commit changed, the file is as after a crash in that commit.
            Ok((_, found)) => {
                let is_content = |(key, image): (&u32, &Image)| {
                    let second = *key == 0 && image.bytes == vec![1; 10 * image.position as usize];
                    second || (u64::from(*key) == image.position && image.bytes == [*key as u8; 30])
                };
                prop_assert!(found.images.iter().all(is_content));
            }
            Err(error) => prop_assert!(matches!(error, OpenError::Damaged { .. }), "{}", error),
        }
    }
}
