//! The sets of a chunk: which requests it holds.

use std::collections::BTreeSet;
use std::io::Cursor;

use meshsim_actor::{ActorId, EntryRef, Fate, LossReason, MachineAction, MessageId, Note, Recorder, Rng, Span, Time};
use meshsim_trace::{Header, Reader, Writer, with_right_sums};

/// The requests of the first chunk of a trace in which they came in this order.
fn held(requests: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut trace = Writer::new(Vec::new(), &Header { seed: 1, actors: vec!["a".into()], ..Header::default() });
    for request in requests {
        trace.tag(None, Some(request));
        let note = EntryRef::Note(Note { what: "n", subject: 0, value: 0 });
        Recorder::<(), u8>::record(&mut trace, Time::ZERO, ActorId(0), note);
    }
    let bytes = trace.finish().unwrap();
    let index = Reader::<_, (), u8>::new(Cursor::new(bytes)).unwrap().index().unwrap();
    index.chunks[0].requests.as_ref().unwrap().iter().collect()
}

#[test]
fn requests_that_come_in_any_order_make_the_same_set() {
    let mut rng = Rng::keyed(1, 0, 0);
    // Of several clients, near each other and far from each other; fewer ranges than are joined.
    let requests: Vec<u64> =
        (0..3_000).map(|_| (u64::from(rng.below(3)) << 40) | (u64::from(rng.below(40)) * 1_013 + 512 * 7)).collect();
    let sorted: BTreeSet<u64> = requests.iter().copied().collect();
    let ranges = held(requests);
    assert_eq!(ranges, held(sorted.iter().copied()));
    let each: BTreeSet<u64> = ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
    assert_eq!(each, sorted);
}

#[test]
fn a_chunk_without_flags_of_rare_records_may_hold_any() {
    let mut trace = Writer::new(Vec::new(), &Header { seed: 1, actors: vec!["a".into()], ..Header::default() });
    let note = EntryRef::Note(Note { what: "n", subject: 0, value: 0 });
    Recorder::<(), u8>::record(&mut trace, Time::ZERO, ActorId(0), note);
    let bytes = trace.finish().unwrap();
    let may_hold = |bytes: &[u8]| {
        let index = Reader::<_, (), u8>::new(Cursor::new(bytes)).unwrap().index().unwrap();
        ["lost", "duplicate", "crash", "note"].map(|kind| index.chunks[0].may_hold(kind))
    };
    assert_eq!(may_hold(&bytes), [false, false, false, true]);
    // As older versions wrote it; its index is built from the chunk.
    let begins = |magic: &[u8; 4]| bytes.windows(4).position(|four| four == magic).unwrap();
    let mut older = bytes[..begins(b"MIDX")].to_vec();
    older[begins(b"MCHK") + 48] &= 3;
    assert_eq!(may_hold(&with_right_sums(&older)), [true; 4]);
}

#[test]
fn a_chunk_says_which_rare_records_it_has() {
    let id = MessageId { from: ActorId(0), seq: 1 };
    let held = |entry: EntryRef<'_, (), u8>| {
        let mut trace = Writer::new(Vec::new(), &Header { seed: 1, actors: vec!["a".into()], ..Header::default() });
        trace.record(Time::ZERO, ActorId(0), entry);
        let bytes = trace.finish().unwrap();
        let index = Reader::<_, (), u8>::new(Cursor::new(bytes)).unwrap().index().unwrap();
        ["lost", "duplicate", "start", "crash"].map(|kind| index.chunks[0].may_hold(kind))
    };
    assert_eq!(held(EntryRef::Fate(id, Fate::Lost(LossReason::Down))), [true, false, false, false]);
    assert_eq!(held(EntryRef::Fate(id, Fate::Duplicate(Span::ZERO, Span::ZERO))), [false, true, false, false]);
    assert_eq!(held(EntryRef::Power(&MachineAction::Crash)), [false, false, true, true]);
    assert_eq!(held(EntryRef::Start { incarnation: 0 }), [false, false, true, true]);
}

#[test]
fn neighbours_across_pages_are_one_range_up_to_the_last_number() {
    assert_eq!(
        held([1 << 16, (1 << 16) - 1, 1023 << 16, (1023 << 16) + 511, (1023 << 16) + 512]),
        [((1 << 16) - 1, 1 << 16), (1023 << 16, 1023 << 16), ((1023 << 16) + 511, (1023 << 16) + 512),]
    );
    assert_eq!(held([u64::MAX, u64::MAX - 1, 0]), [(0, 0), (u64::MAX - 1, u64::MAX)]);
}
