//! `meshsim export chrome`: the JSON of Chrome's trace viewer
//! (Trace Event Format, <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>).

use std::collections::BTreeSet;
use std::io::{self, Write};

use meshsim_actor::{ActorId, Time};
use serde_json::{Map, Value, json};

use super::lanes::{Draw, Lanes};
use super::{Common, Form};
use crate::error::{Error, Exit};
use crate::flow::timeline::{Arg, Edge, Moment, Row, Slice};
use crate::flow::words::Names;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "The same time line as JSON, for chrome://tracing and others";

pub(super) const HELP: &str = "\
Opened by chrome://tracing, https://ui.perfetto.dev, Speedscope and Firefox's profiler.
  meshsim export chrome last --from 80s --to 82s -o run.json

It holds what `meshsim export perfetto` holds, in more bytes.";

/// The row of an actor's messages; lanes are rows without a number.
const MESSAGES: u32 = 1;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Text, screen, |source| {
            let names = &source.names;
            Box::new(Lanes::new(names, Chrome { names, named: BTreeSet::new(), is_first: true }))
        })
    }
}

struct Chrome<'a> {
    names: &'a Names,
    /// The actors that are named already.
    named: BTreeSet<ActorId>,
    is_first: bool,
}

/// Microseconds, to the nanosecond.
fn micros(nanos: u64) -> Value {
    let text = format!("{}.{:03}", nanos / 1_000, nanos % 1_000);
    text.parse::<serde_json::Number>().map_or(Value::Null, Value::Number)
}

fn pid(actor: ActorId) -> u64 {
    u64::from(actor.0) + 1
}

fn written(args: &[(&'static str, Arg<'_>)]) -> Value {
    let arg = |(name, arg): &(&'static str, Arg<'_>)| {
        let value = match arg {
            Arg::Text(text) => text.as_ref().into(),
            Arg::Number(number) => (*number).into(),
        };
        ((*name).to_owned(), value)
    };
    args.iter().map(arg).collect::<Map<_, _>>().into()
}

impl Chrome<'_> {
    fn event(&mut self, event: &Value, out: &mut dyn Write) -> io::Result<()> {
        let comma = if std::mem::replace(&mut self.is_first, false) { "" } else { ",\n" };
        write!(out, "{comma}{event}")
    }

    fn name(&mut self, actor: ActorId, out: &mut dyn Write) -> io::Result<()> {
        if !self.named.insert(actor) {
            return Ok(());
        }
        let meta = |what: &str, tid: u32, name: &str| json!({ "ph": "M", "name": what, "pid": pid(actor), "tid": tid, "args": { "name": name } });
        let name = self.names.actor(actor).to_owned();
        self.event(&meta("process_name", 0, &name), out)?;
        self.event(&meta("thread_name", MESSAGES, "messages"), out)
    }

    /// Slices of messages follow each other by nanoseconds, so that none lies within another: an arrow belongs to the
    /// slice around its end. The slice comes before its arrows.
    fn message(&mut self, slice: &Slice<'_>, out: &mut dyn Write) -> io::Result<()> {
        let ts = micros(slice.from.nanos() + slice.rank);
        let (pid, name) = (pid(slice.actor), &slice.name);
        let args = written(&slice.args);
        let event = json!({
            "ph": "X", "cat": "message", "name": name, "ts": ts, "dur": micros(1), "pid": pid, "tid": MESSAGES, "args": args,
        });
        self.event(&event, out)?;
        for flow in &slice.begins {
            self.event(&arrow("s", *flow, &ts, pid, MESSAGES), out)?;
        }
        for flow in &slice.ends {
            self.event(&arrow("f", *flow, &ts, pid, MESSAGES), out)?;
        }
        Ok(())
    }

    /// Writes a slice as asynchronous, because slices of one row may overlap: numbers tell them apart.
    fn lane(&mut self, slice: &Slice<'_>, row: &str, lane: u64, out: &mut dyn Write) -> io::Result<()> {
        let pid = pid(slice.actor);
        let event = |ph: &str, name: &str, at: Time, args: Value| {
            let id = format!("{lane:#x}");
            json!({ "ph": ph, "cat": row, "name": name, "id": id, "ts": micros(at.nanos()), "pid": pid, "tid": 0, "args": args })
        };
        self.event(&event("b", &slice.name, slice.from, written(&slice.args)), out)?;
        slice.edges().try_for_each(|Edge { at, name, is_begin }| {
            self.event(&event(if is_begin { "b" } else { "e" }, name, at, json!({})), out)
        })
    }
}

/// Both ends of an arrow have the same number, category and name; its end belongs to the slice around it.
fn arrow(ph: &str, flow: u64, ts: &Value, pid: u64, tid: u32) -> Value {
    let id = format!("{flow:#x}");
    let mut arrow =
        json!({ "ph": ph, "cat": "message", "name": "message", "id": id, "ts": ts, "pid": pid, "tid": tid });
    if ph == "f" {
        arrow["bp"] = "e".into();
    }
    arrow
}

impl Draw for Chrome<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"{\"traceEvents\":[\n")
    }

    fn slice(&mut self, slice: &Slice<'_>, out: &mut dyn Write) -> io::Result<()> {
        self.name(slice.actor, out)?;
        match &slice.row {
            Row::Messages => self.message(slice, out),
            Row::Lane(row, lane) => self.lane(slice, row, *lane, out),
        }
    }

    fn moment(&mut self, moment: &Moment<'_>, out: &mut dyn Write) -> io::Result<()> {
        self.name(moment.actor, out)?;
        let args = written(&moment.args);
        let (ts, pid, name) = (micros(moment.at.nanos()), pid(moment.actor), &moment.name);
        let event =
            json!({ "ph": "i", "s": "p", "cat": "event", "name": name, "ts": ts, "pid": pid, "tid": 0, "args": args });
        self.event(&event, out)
    }

    fn end(&mut self, selection: Option<&str>, left_out: &[String], out: &mut dyn Write) -> io::Result<()> {
        let about = json!({ "selection": selection, "left_out": left_out });
        writeln!(out, "\n],\"displayTimeUnit\":\"ms\",\"otherData\":{about}}}")
    }
}
