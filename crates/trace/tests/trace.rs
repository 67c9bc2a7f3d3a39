//! What a writer writes, a reader reads and an exporter shows.

use std::io::{self, Write};

use meshsim_actor::{
    Actor, ActorId, Cause, Cell, Cx, Effect, Envelope, Event, Fate, Input, Message, MessageId, Note, Power, Recorder,
    Rng, Span, Time, Timer, What,
};
use meshsim_trace::export::{ExportError, Format, export};
use meshsim_trace::{Header, Reader, Record, Trouble, Writer};
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

/// Sends on what it gets, and keeps an alarm that it puts off each time.
#[derive(Default)]
struct Echo {
    alarm: Option<Timer>,
}

impl Actor for Echo {
    type Msg = Talk;
    type Tick = u8;
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
    Header { seed: 7, actors: vec!["coordinator".into(), "node-0".into()] }
}

/// A small run by hand: two actors, a lost message, a doubled one, a crash.
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
    trace.record(at(5), ActorId(0), What::Send(&ping(0, 1, 100)));
    trace.record(at(5), ActorId(0), What::Fate(MessageId { from: ActorId(0), seq: 100 }, Fate::Lost(Cause::Loss)));
    let doubled = ping(0, 1, 101);
    trace.record(at(5), ActorId(0), What::Send(&doubled));
    let fate = Fate::Duplicate(Span::from_nanos(10), Span::from_nanos(2_000_000));
    trace.record(at(5), ActorId(0), What::Fate(doubled.id(), fate));
    for nanos in [15, 2_000_005] {
        out.clear();
        cells[1].step(at(nanos), Input::Deliver(doubled.clone()), &mut out, trace);
    }
    cells[0].step(at(1_000_000_000), Input::Fire(first_alarm.unwrap()), &mut out, trace);
    trace.record(at(2_000_000_000), ActorId(1), What::Power(Power::Crash));
    trace.record(at(3_000_000_000), ActorId(1), What::Power(Power::Restart));
    cells[1].reboot(false);
    cells[1].step(at(3_000_000_000), Input::Start, &mut out, trace);
    trace.record(at(3_000_000_000), ActorId(1), What::Power(Power::Speed(0.5)));
}

fn written() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header());
    record(&mut writer);
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Record<Talk, u8>>, meshsim_trace::ReadError> {
    Reader::new(bytes)?.collect()
}

/// What the reader should give, taken down without a file.
#[derive(Default)]
struct Expected(Vec<Record<Talk, u8>>);

impl Recorder<Talk, u8> for Expected {
    fn record(&mut self, at: Time, actor: ActorId, what: What<'_, Talk, u8>) {
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
    let run = |trace: &mut dyn FnMut(Time, What<'_, Talk, u8>)| {
        for seq in 0..5_000_u64 {
            let msg = Talk::Blob(vec![seq as u8; (seq * 37 % 700) as usize]);
            let envelope = Envelope { from: ActorId(1), to: ActorId(0), seq, msg };
            // Not in order: a live host's clocks differ.
            let at = Time::from_nanos((seq * 7_919) % 4_096 * 1_000_000_007);
            trace(at, What::Send(&envelope));
            trace(at, What::Note(Note { what: words[seq as usize % 400], subject: u64::MAX, value: seq }));
        }
    };
    let (mut writer, mut expected) = (Writer::new(Vec::new(), &header()), Expected::default());
    run(&mut |at, what| writer.record(at, ActorId(1), what));
    run(&mut |at, what| expected.record(at, ActorId(1), what));
    assert!(read(&writer.finish().unwrap()).unwrap() == expected.0);
}

#[test]
fn each_truncation_is_detected_with_its_position() {
    let bytes = written();
    for end in 0..bytes.len() {
        let error = read(&bytes[..end]).unwrap_err();
        assert!(error.offset <= end as u64, "{error}");
        let expected = if end < 8 {
            matches!(error.trouble, Trouble::NotATrace)
        } else {
            matches!(error.trouble, Trouble::CutOff)
        };
        assert!(expected, "cut at {end}: {error}");
    }
}

#[test]
fn bytes_after_the_end_and_a_wrong_count_are_noticed() {
    let mut bytes = written();
    bytes.push(0);
    assert!(read(&bytes).unwrap_err().to_string().ends_with(": bytes after the end"));
    bytes.pop();
    *bytes.last_mut().unwrap() ^= 2;
    assert!(read(&bytes).unwrap_err().to_string().contains("another count of records"));
}

#[test]
fn foreign_files_and_other_versions_are_distinguished() {
    assert_eq!(read(b"{\"not\": \"a trace\"}").unwrap_err().to_string(), "not a trace: it does not begin as one");
    let mut bytes = written();
    bytes[8] = 2 << 1 | 1;
    assert_eq!(read(&bytes).unwrap_err().to_string(), "a trace of format 2; this program reads format 1");
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
    let mut disk = Disk { room: 200_000, calls: 0 };
    let mut writer = Writer::new(&mut disk, &header());
    let envelope = Envelope { from: ActorId(1), to: ActorId(0), seq: 0, msg: Talk::Blob(vec![0; 100]) };
    for _ in 0..10_000 {
        Recorder::<Talk, u8>::record(&mut writer, Time::ZERO, ActorId(1), What::Send(&envelope));
    }
    let error = writer.finish().map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), io::Error::from(io::ErrorKind::StorageFull).to_string());
    assert_eq!(disk.calls, 2, "one block fitted, the second did not");
}

#[test]
fn a_message_too_long_to_record_is_reported_at_the_end() {
    let mut writer = Writer::new(Vec::new(), &header());
    let msg = Talk::Blob(vec![0; meshsim_wire::MESSAGE_BYTES_MAX]);
    let envelope = Envelope { from: ActorId(1), to: ActorId(0), seq: 0, msg };
    Recorder::<Talk, u8>::record(&mut writer, Time::ZERO, ActorId(1), What::Send(&envelope));
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
        // What the actor did about it follows from it.
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
    assert!(matches!(&error, ExportError::Read(e) if matches!(e.trouble, Trouble::CutOff)), "{error}");
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
