//! `meshsim export jaeger`: traces in the format in which Jaeger's page saves and loads them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use meshsim_actor::Time;
use meshsim_report::{count, plural};
use serde_json::{Value, json};

use super::{Began, Common, Exporter, Form, Told, spans_told};
use crate::error::{Error, Exit};
use crate::flow::Item;
use crate::flow::spans::{Kind, Span, Spans, Tag, TraceId};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Spans of requests and messages, for Jaeger's page";

pub(super) const HELP: &str = "\
Opened by Jaeger's page (Upload), and by Grafana's panel for traces.
  meshsim export jaeger last --where 'request ~ \"*\"' --from 80s --to 81s -o traces.json

Spans are those of `meshsim export otlp`. A page shows no more than some thousand: the first 50,000 are written. To load a \
whole run into Jaeger, send it: `meshsim export otlp RUN --send URL`.";

/// A browser has to hold all of them.
const SPANS_MAX: usize = 50_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    began: Began,
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Text, screen, |source| {
            Box::new(Jaeger {
                spans: Spans::new(source),
                began: self.began,
                selection: None,
                traces: BTreeMap::new(),
                order: Vec::new(),
                held: 0,
                left_out: 0,
            })
        })
    }
}

struct Jaeger<'a> {
    spans: Spans<'a>,
    began: Began,
    selection: Option<String>,
    traces: BTreeMap<TraceId, Trace<'a>>,
    /// In the order in which they began.
    order: Vec<TraceId>,
    held: usize,
    left_out: u64,
}

#[derive(Default)]
struct Trace<'a> {
    spans: Vec<String>,
    /// Services and hosts.
    processes: Vec<(&'a str, &'a str)>,
}

impl<'a> Jaeger<'a> {
    fn add(&mut self, spans: Vec<Span<'a>>) {
        // A request is written whole or not at all; of a step, what there is room for.
        let is_full = self.held + spans.len() > SPANS_MAX;
        // The whole of what is there already.
        let is_whole = spans.iter().all(|span| span.kind == Kind::Internal && self.traces.contains_key(&span.trace));
        if is_full && !is_whole {
            self.left_out += spans.len() as u64;
            return;
        }
        self.held += spans.len();
        for span in spans {
            let of = (span.service, span.host);
            let trace = self.traces.entry(span.trace).or_insert_with(|| {
                self.order.push(span.trace);
                Trace::default()
            });
            let process = trace.processes.iter().position(|process| *process == of).unwrap_or_else(|| {
                trace.processes.push(of);
                trace.processes.len() - 1
            });
            trace.spans.push(written(&span, process, self.began).to_string());
        }
    }
}

fn hex([high, low]: TraceId) -> String {
    format!("{high:016x}{low:016x}")
}

fn written(span: &Span<'_>, process: usize, began: Began) -> Value {
    let micros = |at: Time| began.nanos(at) / 1_000;
    let reference = |kind: &str, (trace, id): (TraceId, u64)| json!({ "refType": kind, "traceID": hex(trace), "spanID": format!("{id:016x}") });
    let text = |key: &str, value: &str| json!({ "key": key, "type": "string", "value": value });
    let parent = span.parent.map(|id| (span.trace, id));
    let mut references: Vec<Value> = parent.map(|parent| reference("CHILD_OF", parent)).into_iter().collect();
    let mut known: BTreeSet<(TraceId, u64)> = parent.into_iter().collect();
    for link in &span.links {
        if known.insert(*link) {
            references.push(reference("FOLLOWS_FROM", *link));
        }
    }
    let kind = match span.kind {
        Kind::Internal => "internal",
        Kind::Server => "server",
        Kind::Client => "client",
        Kind::Producer => "producer",
        Kind::Consumer => "consumer",
    };
    let mut tags = vec![text("span.kind", kind)];
    tags.extend(span.tags.iter().map(|(key, tag)| match tag {
        Tag::Text(value) => text(key, value),
        Tag::Number(number) => json!({ "key": key, "type": "int64", "value": number }),
        Tag::Flag(flag) => json!({ "key": key, "type": "bool", "value": flag }),
    }));
    if let Some(failure) = &span.failure {
        tags.push(json!({ "key": "error", "type": "bool", "value": true }));
        tags.push(text("otel.status_description", failure));
    }
    let log = |(at, what): &(Time, &str)| json!({ "timestamp": micros(*at), "fields": [text("event", what)] });
    json!({
        "traceID": hex(span.trace),
        "spanID": format!("{:016x}", span.id),
        "operationName": span.name,
        "references": references,
        "startTime": micros(span.from),
        "duration": span.to.since(span.from).nanos() / 1_000,
        "tags": tags,
        "logs": span.events.iter().map(log).collect::<Vec<_>>(),
        "processID": format!("p{}", process + 1),
        "warnings": null,
    })
}

impl Exporter for Jaeger<'_> {
    fn begin(&mut self, selection: Option<&str>, _out: &mut dyn Write) -> io::Result<()> {
        self.selection = selection.map(str::to_owned);
        Ok(())
    }

    fn record(&mut self, item: &Item, is_wanted: bool, _out: &mut dyn Write) -> io::Result<()> {
        let spans = self.spans.take(item, is_wanted);
        self.add(spans);
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.spans.is_waiting()
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told> {
        let rest = self.spans.rest();
        rest.into_iter().for_each(|span| self.add(vec![span]));
        let mut told = spans_told(&self.spans);
        if self.left_out > 0 {
            told.holds = plural(self.held as u64, "span");
            let more = plural(self.left_out, "span");
            told.left_out.push(format!("{more} left out: a page holds {}; select fewer", count(SPANS_MAX as u64)));
        }
        let about = json!({ "selection": self.selection, "left_out": told.left_out });
        write!(out, "{{\"meshsim\":{about},\"data\":[")?;
        for (place, id) in self.order.iter().enumerate() {
            let Some(trace) = self.traces.get(id) else { continue };
            let process = |(place, (service, host)): (usize, &(&str, &str))| {
                let tags = json!([{ "key": "host.name", "type": "string", "value": host }]);
                (format!("p{}", place + 1), json!({ "serviceName": service, "tags": tags }))
            };
            let processes: serde_json::Map<_, _> = trace.processes.iter().enumerate().map(process).collect();
            let comma = if place > 0 { ",\n" } else { "" };
            write!(out, "{comma}{{\"traceID\":\"{}\",\"spans\":[{}],", hex(*id), trace.spans.join(","))?;
            write!(out, "\"processes\":{},\"warnings\":null}}", Value::from(processes))?;
        }
        writeln!(out, "],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}}")?;
        Ok(told)
    }
}
