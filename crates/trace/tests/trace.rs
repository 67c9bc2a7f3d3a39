//! Writers, readers and exports agree.

use std::io::{self, Cursor, Write};

use meshsim_actor::{
    Actor, ActorId, Cell, Cx, Effect, EntryRef, Envelope, Event, Fate, Input, LossReason, MachineAction, Message,
    MessageId, Note, Recorder, Rng, Span, Time, Timer,
};
use meshsim_trace::export::{ExportError, Format, export};
use meshsim_trace::{Derived, Deriver, Header, Index, ReadErrorKind, Reader, Record, Writer};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Talk {
    Ping { step: u64 },
    Blob(Vec<u8>),
}

impl Message for Talk {
    fn kind(&self) -> &'static str {
        match self {
            Talk::Ping { .. } => "ping",
            Talk::Blob(_) => "blob",
        }
    }
}

/// Returns each message, and postpones its alarm each time.
#[derive(Default)]
struct Echo {
    alarm: Option<Timer>,
}

impl Actor for Echo {
    type Msg = Talk;
    type Tick = u8;
    type Disk = ();
    fn disk(&self) {}

    fn on(&mut self, event: Event<Talk, u8>, cx: &mut Cx<'_, Talk, u8>) {
        if let Event::Message { from, msg } = event {
            cx.note("apply", 3, 7);
            cx.send(from, msg);
        }
        if let Some(alarm) = self.alarm.replace(cx.arm(cx.now() + Span::from_secs(1), 9)) {
            cx.disarm(alarm);
        }
    }
}

fn header() -> Header {
    Header { seed: 7, actors: vec!["coordinator".into(), "node-0".into()], ..Header::default() }
}

/// A small hand-written run: two actors, a lost message, a duplicated one, a crash.
fn record(trace: &mut impl Recorder<Talk, u8>) {
    let mut cells: Vec<Cell<Echo>> =
        (0..2).map(|id| Cell::new(ActorId(id), Echo::default(), Rng::keyed(1, u64::from(id), 0))).collect();
    let mut out = Vec::new();
    for cell in &mut cells {
        cell.step(Time::ZERO, Input::Start, &mut out, trace);
    }
    let first_alarm = out.iter().find_map(|effect| match effect {
        Effect::Arm { timer, .. } => Some(*timer),
        _ => None,
    });
    let ping = |from, to, seq| Envelope { from: ActorId(from), to: ActorId(to), seq, msg: Talk::Ping { step: seq } };
    let at = Time::from_nanos;
    trace.record(at(5), ActorId(0), EntryRef::Send(&ping(0, 1, 100)));
    trace.record(
        at(5),
        ActorId(0),
        EntryRef::Fate(MessageId { from: ActorId(0), seq: 100 }, Fate::Lost(LossReason::Loss)),
    );
    let doubled = ping(0, 1, 101);
    trace.record(at(5), ActorId(0), EntryRef::Send(&doubled));
    let fate = Fate::Duplicate(Span::from_nanos(10), Span::from_nanos(2_000_000));
    trace.record(at(5), ActorId(0), EntryRef::Fate(doubled.id(), fate));
    for nanos in [15, 2_000_005] {
        out.clear();
        cells[1].step(at(nanos), Input::Deliver(doubled.clone()), &mut out, trace);
    }
    cells[0].step(at(1_000_000_000), Input::Fire(first_alarm.unwrap()), &mut out, trace);
    trace.record(at(2_000_000_000), ActorId(1), EntryRef::Power(&MachineAction::Crash));
    trace.record(at(3_000_000_000), ActorId(1), EntryRef::Power(&MachineAction::Restart));
    cells[1].reboot(false);
    cells[1].step(at(3_000_000_000), Input::Start, &mut out, trace);
    trace.record(at(3_000_000_000), ActorId(1), EntryRef::Power(&MachineAction::Speed(0.5)));
}

fn written() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header());
    record(&mut writer);
    writer.finish().unwrap()
}

/// The same in many chunks, each of one time, tagged.
fn in_chunks() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).closing_every(Span::from_nanos(1));
    let mut expected = Expected::default();
    record(&mut expected);
    // A message that stays in flight, and enough records after it that a context is worth its bytes.
    let held = Envelope { from: ActorId(0), to: ActorId(1), seq: 102, msg: Talk::Ping { step: 9 } };
    expected.record(Time::from_nanos(3_000_000_001), ActorId(0), EntryRef::Send(&held));
    expected.record(Time::from_nanos(3_000_000_001), ActorId(0), EntryRef::Fate(held.id(), Fate::Hold(Time::NEVER)));
    for at in 2..80 {
        let note = Note { what: "note", subject: u64::MAX, value: u64::MAX };
        expected.record(Time::from_nanos(3_000_000_000 + at), ActorId(1), EntryRef::Note(note));
    }
    for record in &expected.0 {
        writer.tag(Some(record.at.nanos() % 3), Some(record.seq << 40));
        writer.put(record);
        if writer.is_full() {
            writer.close_chunk(|extra| extra.extend(record.seq.to_le_bytes()));
        }
    }
    writer.finish().unwrap()
}

fn index(bytes: &[u8]) -> Index {
    Reader::<_, Talk, u8>::new(Cursor::new(bytes)).unwrap().index().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Record<Talk, u8>>, meshsim_trace::ReadError> {
    Reader::new(bytes)?.collect()
}

/// The expected records, collected without a file.
#[derive(Default)]
struct Expected(Vec<Record<Talk, u8>>);

impl Recorder<Talk, u8> for Expected {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Talk, u8>) {
        self.0.push(Record { seq: self.0.len() as u64, at, actor, entry: what.into() });
    }
}

fn exported(format: Format) -> String {
    let bytes = written();
    let mut out = Vec::new();
    let reader: Reader<_, Talk, u8> = Reader::new(&bytes[..]).unwrap();
    export(reader, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn recorded_entries_are_read_back() {
    let mut expected = Expected::default();
    record(&mut expected);
    assert!(expected.0.len() > 15, "the run shows every kind of record");
    let bytes = written();
    assert_eq!(read(&bytes).unwrap(), expected.0);
    let reader: Reader<_, Talk, u8> = Reader::new(&bytes[..]).unwrap();
    assert_eq!(*reader.header(), header());
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    assert_eq!(written(), written());
}

#[test]
fn large_messages_many_blocks_and_many_words_come_back() {
    let words: Vec<&'static str> = (0..400).map(|i| &*format!("word-{i}").leak()).collect();
    let run = |trace: &mut dyn FnMut(Time, EntryRef<'_, Talk, u8>)| {
        for seq in 0..5_000_u64 {
            let msg = Talk::Blob(vec![seq as u8; (seq * 37 % 700) as usize]);
            let envelope = Envelope { from: ActorId(1), to: ActorId(0), seq, msg };
            // Out of order: a live host's clocks differ.
            let at = Time::from_nanos((seq * 7_919) % 4_096 * 1_000_000_007);
            trace(at, EntryRef::Send(&envelope));
            trace(at, EntryRef::Note(Note { what: words[seq as usize % 400], subject: u64::MAX, value: seq }));
        }
    };
    let (mut writer, mut expected) = (Writer::new(Vec::new(), &header()), Expected::default());
    run(&mut |at, what| writer.record(at, ActorId(1), what));
    run(&mut |at, what| expected.record(at, ActorId(1), what));
    assert!(read(&writer.finish().unwrap()).unwrap() == expected.0);
}

#[test]
fn a_file_cut_anywhere_keeps_its_whole_chunks() {
    let bytes = in_chunks();
    let (all, chunks) = (read(&bytes).unwrap(), index(&bytes).chunks);
    assert!(chunks.len() > 4, "{chunks:?}");
    let first_chunk = chunks[0].offset as usize;
    for end in 0..bytes.len() {
        let cut = &bytes[..end];
        let mut reader = match Reader::<_, Talk, u8>::new(Cursor::new(cut)) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(end < first_chunk, "cut at {end}: {error}");
                continue;
            }
        };
        let whole = chunks.windows(2).filter(|pair| pair[1].offset as usize <= end).count();
        // The last chunk ends at the index, which is not longer than the bytes after the last chunk's beginning.
        let survive = |count: usize| count == whole || (whole + 1 == chunks.len() && count == chunks.len());
        let index = reader.index().unwrap();
        assert!(survive(index.chunks.len()) && !index.is_complete, "cut at {end}");
        assert_eq!(index.chunks, chunks[..index.chunks.len()]);
        let mut records = Vec::new();
        let error = reader.by_ref().find_map(|read| read.map(|record| records.push(record)).err()).unwrap();
        assert!(matches!(error.trouble, ReadErrorKind::CutOff), "cut at {end}: {error}");
        assert_eq!(records, all[..index.records() as usize], "cut at {end}");
        assert_eq!(error.at, records.last().map(|record| record.at));
        assert!(reader.next().is_none());
    }
}

#[test]
fn a_truncation_names_the_moment_of_the_last_record() {
    let bytes = in_chunks();
    let last = index(&bytes).chunks.pop().unwrap().offset as usize;
    let error = read(&bytes[..last]).unwrap_err().to_string();
    assert!(error.starts_with("cut off after ") && error.contains(" records, at 3.000 s (byte "), "{error}");
}

#[test]
fn an_index_lists_actors_services_requests_and_times_per_chunk() {
    let bytes = in_chunks();
    let (all, index) = (read(&bytes).unwrap(), index(&bytes));
    assert!(index.is_complete);
    assert_eq!((index.records(), index.end()), (all.len() as u64, all.last().unwrap().at));
    for record in &all {
        let chunk = &index.chunks[index.with_record(record.seq).unwrap()];
        assert!((chunk.from..=chunk.to).contains(&record.at));
        assert!(chunk.actors.contains(u64::from(record.actor.0)));
        assert!(chunk.services.as_ref().unwrap().contains(record.at.nanos() % 3));
        for other in &all {
            let here = (chunk.first..chunk.first + u64::from(chunk.records)).contains(&other.seq);
            assert_eq!(chunk.requests.as_ref().unwrap().contains(other.seq << 40), here);
        }
    }
    assert_eq!(index.with_record(all.len() as u64), None);
}

#[test]
fn reading_from_a_chunk_derives_the_same_as_reading_from_the_start() {
    let bytes = in_chunks();
    let text = |record: &Record<Talk, u8>, derived: &Derived<u8, u64>| format!("{record:?} {derived:?}");
    let about = |msg: &Talk| match msg {
        Talk::Ping { step } => *step,
        Talk::Blob(_) => 0,
    };
    let mut deriver = Deriver::<u8, u64>::default();
    let whole: Vec<String> =
        read(&bytes).unwrap().iter().map(|record| text(record, &deriver.derive(record, about))).collect();
    let mut reader = Reader::<_, Talk, u8>::new(Cursor::new(&bytes)).unwrap();
    let index = reader.index().unwrap();
    let mut resumed = 0;
    for chunk in index.chunks.iter().filter(|chunk| chunk.has_context).rev() {
        reader.seek(chunk).unwrap();
        let context = reader.context().unwrap().unwrap();
        assert_eq!(context.extra.as_deref(), Some(&(chunk.first - 1).to_le_bytes()[..]));
        let mut deriver = Deriver::resumed(&context, |_, _, msg| about(msg));
        for read in &mut reader {
            let record = read.unwrap();
            assert_eq!(text(&record, &deriver.derive(&record, about)), whole[record.seq as usize]);
        }
        resumed += 1;
    }
    assert!(resumed > 1 && resumed < index.chunks.len(), "{resumed} of {} chunks", index.chunks.len());
}

#[test]
fn impossible_chunk_lengths_are_rejected_before_any_allocation() {
    let bytes = written();
    let chunk = index(&bytes).chunks[0].offset as usize;
    let claim = |place: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[chunk + place..chunk + place + 4].copy_from_slice(&value.to_le_bytes());
        read(&bytes).unwrap_err()
    };
    let packed = u32::from_le_bytes(bytes[chunk + 12..chunk + 16].try_into().unwrap());
    for (place, value) in [(8, u32::MAX), (8, (packed + 1) * 257), (12, u32::MAX), (16, u32::MAX), (20, u32::MAX)] {
        let error = claim(place, value);
        assert!(
            matches!(error.trouble, ReadErrorKind::Corrupt("a chunk of lengths that none has")),
            "{place}: {error}"
        );
    }
}

#[test]
fn bytes_after_the_end_are_noticed() {
    let mut bytes = written();
    bytes.push(0);
    assert!(read(&bytes).unwrap_err().to_string().ends_with(": bytes after the end"));
}

#[test]
fn foreign_files_and_other_versions_are_distinguished() {
    assert_eq!(read(b"{\"not\": \"a trace\"}").unwrap_err().to_string(), "not a trace: it does not begin as one");
    let mut bytes = written();
    bytes[8] = 1 << 1 | 1;
    let refused = read(&bytes).unwrap_err().to_string();
    assert_eq!(refused, "a trace of format 1; this program reads format 2: make it again");
}

/// A disk with little room.
struct Disk {
    room: usize,
    calls: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_reported_at_the_end_and_not_written_to_again() {
    let mut disk = Disk { room: 1_000, calls: 0 };
    let mut writer = Writer::new(&mut disk, &header());
    let envelope = Envelope { from: ActorId(1), to: ActorId(0), seq: 0, msg: Talk::Blob(vec![0; 100]) };
    for _ in 0..20_000 {
        Recorder::<Talk, u8>::record(&mut writer, Time::ZERO, ActorId(1), EntryRef::Send(&envelope));
    }
    let error = writer.finish().map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), io::Error::from(io::ErrorKind::StorageFull).to_string());
    assert_eq!(disk.calls, 2, "the header fitted, the first chunk did not");
}

#[test]
fn a_message_too_long_to_record_is_reported_at_the_end() {
    let mut writer = Writer::new(Vec::new(), &header());
    let msg = Talk::Blob(vec![0; meshsim_wire::MESSAGE_BYTES_MAX]);
    let envelope = Envelope { from: ActorId(1), to: ActorId(0), seq: 0, msg };
    Recorder::<Talk, u8>::record(&mut writer, Time::ZERO, ActorId(1), EntryRef::Send(&envelope));
    assert!(writer.finish().unwrap_err().to_string().starts_with("a message cannot be recorded: longer than"));
}

#[test]
fn json_lines_have_the_same_fields_and_derive_what_is_not_stored() {
    let text = exported(Format::Jsonl);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    for line in &lines {
        for field in ["seq", "t_virtual_ns", "actor", "incarnation", "lamport", "kind", "cause"] {
            assert!(line.get(field).is_some(), "{field} in {line}");
        }
    }
    let (lost, doubled) = (find("lost")[0], find("duplicate")[0]);
    assert_eq!(lost["fate"]["reason"], "loss");
    assert_eq!(doubled["fate"]["after_ns"], serde_json::json!([10, 2_000_000]));
    let deliveries = find("deliver");
    let send = find("send").into_iter().find(|line| line["message"]["id"] == "coordinator/101").unwrap();
    assert_eq!(send["message"]["content"], serde_json::json!({"Ping": {"step": 101}}));
    for (copy, delivery) in deliveries.iter().enumerate() {
        assert_eq!(delivery["cause"], send["seq"]);
        assert_eq!(delivery["message"]["copy"], copy);
        assert_eq!(delivery["message"]["type"], "ping");
        assert!(delivery["lamport"].as_u64() > send["lamport"].as_u64());
        // The effect of the actor follows from it.
        let apply = find("apply")[copy];
        assert_eq!((&apply["cause"], &apply["note"]["value"]), (&delivery["seq"], &serde_json::json!(7)));
    }
    assert_eq!(find("timer_fire")[0]["cause"], find("timer_set")[0]["seq"]);
    assert_eq!(find("start").last().unwrap()["incarnation"], 1);
    assert_eq!(find("speed")[0]["speed"], 0.5);
    assert!(lines.iter().enumerate().all(|(seq, line)| line["seq"] == seq));
}

#[test]
fn an_export_of_a_truncated_trace_ends_there_and_reports_it() {
    let bytes = written();
    let reader: Reader<_, Talk, u8> = Reader::new(&bytes[..bytes.len() - 1]).unwrap();
    let mut out = Vec::new();
    let error = export(reader, Format::Jsonl, &mut out).unwrap_err();
    assert!(matches!(&error, ExportError::Read(e) if matches!(e.trouble, ReadErrorKind::CutOff)), "{error}");
    assert_eq!(String::from_utf8(out).unwrap().lines().count(), read(&bytes).unwrap().len());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&tail);
        let begun = [&written()[..30], &tail].concat();
        let _ = read(&begun);
    }

    #[test]
    fn every_changed_byte_behind_the_header_is_noticed(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut bytes = in_chunks();
        let first = index(&bytes).chunks[0].offset as usize;
        let at = first + at.index(bytes.len() - first);
        bytes[at] ^= by;
        let mut reader = Reader::<_, Talk, u8>::new(Cursor::new(&bytes)).unwrap();
        prop_assert!(reader.by_ref().any(|read| read.is_err()), "byte {at}");
        if let Ok(index) = reader.index() {
            for chunk in &index.chunks {
                let _ = reader.seek(chunk).and_then(|()| reader.context());
            }
        }
    }

    #[test]
    fn no_changed_byte_makes_the_reader_or_an_exporter_panic(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = written();
        let at = at.index(bytes.len());
        bytes[at] = to;
        for format in Format::ALL {
            if let Ok(reader) = Reader::<_, Talk, u8>::new(&bytes[..]) {
                let _ = export(reader, format, &mut io::sink());
            }
        }
    }
}
