//! A trace that is read while it is written.

use std::fs::File;
use std::io::Write;

use meshsim_actor::{ActorId, EntryRef, Note, Recorder, Span, Time};
use meshsim_trace::{Growing, Header, Reader, Record, Writer};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Word(u64);

type Records = Vec<Record<Word, Word>>;

fn note(writer: &mut Writer<impl Write>, actor: u32, ms: u64) {
    let at = Time::ZERO + Span::from_millis(ms);
    let note = Note { what: "tick", subject: ms, value: 0 };
    Recorder::<Word, Word>::record(writer, at, ActorId(actor), EntryRef::Note(note));
}

fn open(path: &std::path::Path) -> Reader<File, Word, Word> {
    Reader::new(File::open(path).unwrap()).unwrap()
}

fn look(growing: &mut Growing<File, Word, Word>, is_last: bool) -> Records {
    let mut found = Vec::new();
    growing.look(is_last, |record| found.push(record)).unwrap();
    found
}

#[test]
fn whole_chunks_are_read_while_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let header = Header::default();
    let mut writers = paths
        .each_ref()
        .map(|path| Writer::new(File::create(path).unwrap(), &header).closing_every(Span::from_secs(1)));
    let mut growing = Growing::default();
    paths.iter().for_each(|path| growing.add(open(path)));
    assert!(look(&mut growing, false).is_empty());

    // A chunk of `a` is whole; `b` has written none, and might still say what was before.
    (0..30).for_each(|n| note(&mut writers[0], 0, n * 100));
    assert!(look(&mut growing, false).is_empty());
    (0..12).for_each(|n| note(&mut writers[1], 1, n * 100 + 50));
    let found = look(&mut growing, false);
    let times: Vec<u64> = found.iter().map(|record| record.at.nanos() / 1_000_000).collect();
    // `b` has a chunk that ends at 1,050 ms.
    assert_eq!(times, (0..21).map(|n| n * 50).collect::<Vec<u64>>());
    assert_eq!(found.iter().map(|record| record.seq).collect::<Vec<u64>>(), (0..21).collect::<Vec<u64>>());

    // A part that falls silent is not waited for without end.
    let mut more = Vec::new();
    for _ in 0..20 {
        more.extend(look(&mut growing, false));
    }
    assert!(more.last().unwrap().at > Time::ZERO + Span::from_millis(1_900), "{:?}", more.last());
    let [a, b] = writers;
    drop((a.finish().unwrap(), b.finish().unwrap()));
    more.extend(look(&mut growing, false));
    assert_eq!(found.len() + more.len(), 42);
    assert!(growing.has_ended());
}

#[test]
fn a_chunk_that_is_half_written_comes_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let mut writer = Writer::new(File::create(&whole).unwrap(), &Header::default()).closing_every(Span::from_secs(1));
    (0..100).for_each(|n| note(&mut writer, 0, n * 100));
    writer.finish().unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let path = folder.path().join("growing");
    let mut file = File::create(&path).unwrap();
    let mut growing = Growing::default();
    let mut found = Vec::new();
    for (at, piece) in bytes.chunks(7).enumerate() {
        file.write_all(piece).unwrap();
        if growing.parts() == 0 && at > 1 {
            growing.add(open(&path));
        }
        if growing.parts() > 0 {
            found.extend(look(&mut growing, false));
        }
    }
    assert_eq!(found.len(), 100, "each record comes once");
    assert!(growing.has_ended());
}
