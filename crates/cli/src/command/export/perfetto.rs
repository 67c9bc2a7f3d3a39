//! `meshsim export perfetto`: the protobuf of Perfetto
//! (<https://perfetto.dev/docs/reference/synthetic-track-event>).

use std::collections::BTreeSet;
use std::io::{self, Write};

use meshsim_actor::{ActorId, Time, mix};

use super::lanes::{Draw, Lanes};
use super::{Common, Form};
use crate::error::{Error, Exit};
use crate::flow::timeline::{Arg, Edge, Moment, Row, Slice};
use crate::flow::words::Names;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "A time line of actors, messages and requests, for Perfetto";

pub(super) const HELP: &str = "\
Opened by https://ui.perfetto.dev, which runs in the browser alone, and by Perfetto's trace_processor.
  meshsim export perfetto last -o run.pftrace

Each actor is a process with a row for its messages and rows for the requests that it sends or serves. Arrows lead from a \
sending to its arrival, and from a request to the calls made for it. What happened to an actor is an instant.";

/// Number that the packets of one writer share; 0 means none.
const SEQUENCE: u64 = 1;

/// Numbers of fields, as `perfetto_trace.proto` has them.
mod field {
    pub(super) const PACKET: u32 = 1;
    pub(super) const TIMESTAMP: u32 = 8;
    pub(super) const SEQUENCE_ID: u32 = 10;
    pub(super) const TRACK_EVENT: u32 = 11;
    pub(super) const SEQUENCE_FLAGS: u32 = 13;
    pub(super) const TRACK_DESCRIPTOR: u32 = 60;

    pub(super) const TRACK_UUID: u32 = 1;
    pub(super) const TRACK_NAME: u32 = 2;
    pub(super) const TRACK_PROCESS: u32 = 3;
    pub(super) const TRACK_PARENT: u32 = 5;
    pub(super) const PROCESS_PID: u32 = 1;
    pub(super) const PROCESS_NAME: u32 = 6;

    pub(super) const EVENT_ARG: u32 = 4;
    pub(super) const EVENT_TYPE: u32 = 9;
    pub(super) const EVENT_TRACK: u32 = 11;
    pub(super) const EVENT_NAME: u32 = 23;
    pub(super) const EVENT_FLOWS: u32 = 47;
    pub(super) const EVENT_FLOWS_END: u32 = 48;
    pub(super) const ARG_UINT: u32 = 3;
    pub(super) const ARG_TEXT: u32 = 6;
    pub(super) const ARG_NAME: u32 = 10;
}

/// Types of events.
const BEGIN: u64 = 1;
const END: u64 = 2;
const INSTANT: u64 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Binary, screen, |source| {
            let names = &source.names;
            Box::new(Lanes::new(names, Perfetto { names, described: BTreeSet::new() }))
        })
    }
}

struct Perfetto<'a> {
    names: &'a Names,
    /// The tracks that are described already, but for lanes, which have one slice each.
    described: BTreeSet<u64>,
}

/// A message of protobuf (<https://protobuf.dev/programming-guides/encoding>).
#[derive(Default)]
struct Proto(Vec<u8>);

impl Proto {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn number(mut self, field: u32, number: u64) -> Self {
        self.key(field, 0);
        self.varint(number);
        self
    }

    fn fixed(mut self, field: u32, number: u64) -> Self {
        self.key(field, 1);
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }
}

fn packet(out: &mut dyn Write, content: Proto) -> io::Result<()> {
    let content = content.number(field::SEQUENCE_ID, SEQUENCE);
    out.write_all(&Proto::default().bytes(field::PACKET, &content.0).0)
}

fn event(at: Time, kind: u64, track: u64) -> (Time, Proto) {
    (at, Proto::default().number(field::EVENT_TYPE, kind).number(field::EVENT_TRACK, track))
}

fn write_event(out: &mut dyn Write, (at, event): (Time, Proto)) -> io::Result<()> {
    packet(out, Proto::default().number(field::TIMESTAMP, at.nanos()).bytes(field::TRACK_EVENT, &event.0))
}

fn with_args(mut event: Proto, args: &[(&'static str, Arg<'_>)]) -> Proto {
    for (name, arg) in args {
        let value = Proto::default().text(field::ARG_NAME, name);
        let value = match arg {
            Arg::Text(text) => value.text(field::ARG_TEXT, text),
            Arg::Number(number) => value.number(field::ARG_UINT, *number),
        };
        event = event.bytes(field::EVENT_ARG, &value.0);
    }
    event
}

impl Perfetto<'_> {
    /// The track of an actor.
    fn process(&mut self, actor: ActorId, out: &mut dyn Write) -> io::Result<u64> {
        let uuid = mix(u64::from(actor.0) << 8);
        if self.described.insert(uuid) {
            let process = Proto::default()
                .number(field::PROCESS_PID, u64::from(actor.0) + 1)
                .text(field::PROCESS_NAME, self.names.actor(actor));
            let track = Proto::default().number(field::TRACK_UUID, uuid).bytes(field::TRACK_PROCESS, &process.0);
            packet(out, Proto::default().bytes(field::TRACK_DESCRIPTOR, &track.0))?;
        }
        Ok(uuid)
    }

    fn track(&mut self, slice: &Slice<'_>, out: &mut dyn Write) -> io::Result<u64> {
        let parent = self.process(slice.actor, out)?;
        // Tracks of one name below one actor are drawn together.
        let (uuid, name, is_new) = match &slice.row {
            Row::Messages => {
                let uuid = mix(u64::from(slice.actor.0) << 8 | 1);
                (uuid, "messages", self.described.insert(uuid))
            }
            Row::Lane(name, lane) => (mix(parent ^ mix(*lane)), name.as_str(), true),
        };
        if is_new {
            let track = Proto::default()
                .number(field::TRACK_UUID, uuid)
                .number(field::TRACK_PARENT, parent)
                .text(field::TRACK_NAME, name);
            packet(out, Proto::default().bytes(field::TRACK_DESCRIPTOR, &track.0))?;
        }
        Ok(uuid)
    }
}

impl Draw for Perfetto<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        // The sequence begins: there is no state before it.
        packet(out, Proto::default().number(field::SEQUENCE_FLAGS, 1))
    }

    fn slice(&mut self, slice: &Slice<'_>, out: &mut dyn Write) -> io::Result<()> {
        let track = self.track(slice, out)?;
        let (at, mut begin) = event(slice.from, BEGIN, track);
        begin = with_args(begin.text(field::EVENT_NAME, &slice.name), &slice.args);
        begin = slice.begins.iter().fold(begin, |begin, flow| begin.fixed(field::EVENT_FLOWS, *flow));
        begin = slice.ends.iter().fold(begin, |begin, flow| begin.fixed(field::EVENT_FLOWS_END, *flow));
        write_event(out, (at, begin))?;
        slice.edges().try_for_each(|Edge { at, name, is_begin }| match is_begin {
            true => {
                let (at, begin) = event(at, BEGIN, track);
                write_event(out, (at, begin.text(field::EVENT_NAME, name)))
            }
            false => write_event(out, event(at, END, track)),
        })
    }

    fn moment(&mut self, moment: &Moment<'_>, out: &mut dyn Write) -> io::Result<()> {
        let track = self.process(moment.actor, out)?;
        let (at, event) = event(moment.at, INSTANT, track);
        let event = with_args(event.text(field::EVENT_NAME, &moment.name), &moment.args);
        let ends = moment.ends.into_iter();
        write_event(out, (at, ends.fold(event, |event, flow| event.fixed(field::EVENT_FLOWS_END, flow))))
    }

    /// Says on a track of its own what was selected, and what was left out.
    fn end(&mut self, selection: Option<&str>, left_out: &[String], out: &mut dyn Write) -> io::Result<()> {
        let selection = selection.map(|selection| format!("selected by {selection}"));
        let remarks: Vec<String> = selection.into_iter().chain(left_out.iter().cloned()).collect();
        if remarks.is_empty() {
            return Ok(());
        }
        let uuid = mix(u64::MAX);
        let track = Proto::default().number(field::TRACK_UUID, uuid).text(field::TRACK_NAME, "meshsim export");
        packet(out, Proto::default().bytes(field::TRACK_DESCRIPTOR, &track.0))?;
        remarks.iter().try_for_each(|remark| {
            let (at, event) = event(Time::ZERO, INSTANT, uuid);
            write_event(out, (at, event.text(field::EVENT_NAME, remark)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Proto;

    #[test]
    fn numbers_and_texts_are_encoded_as_protobuf_says() {
        // From https://protobuf.dev/programming-guides/encoding.
        assert_eq!(Proto::default().number(1, 150).0, [0x08, 0x96, 0x01]);
        assert_eq!(Proto::default().text(2, "testing").0, b"\x12\x07testing");
        assert_eq!(Proto::default().fixed(1, 1).0, [9, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Proto::default().number(1, u64::MAX).0.len(), 11);
    }
}
