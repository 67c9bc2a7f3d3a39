//! `meshsim export zipkin`: spans in Zipkin's format, version 2 (<https://zipkin.io/zipkin-api/#/default/post_spans>).

use std::io::{self, Write};

use meshsim_actor::Time;
use serde_json::{Map, Value, json};

use super::{Began, Common, Exporter, Form, Told, spans_told};
use crate::error::{Error, Exit};
use crate::flow::Item;
use crate::flow::spans::{Kind, Span, Spans, Tag};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Spans of requests and messages, for Zipkin";

pub(super) const HELP: &str = "\
Opened by Zipkin and what takes its format: its page opens a file with one trace, and its API takes any.
  meshsim export zipkin last --request shoppers/1204 -o trace.json
  meshsim export zipkin last | curl -H 'Content-Type: application/json' --data-binary @- http://127.0.0.1:9411/api/v2/spans

Spans are those of `meshsim export otlp`. Zipkin knows no links: the tag meshsim.follows names the first.";

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
            Box::new(Zipkin { spans: Spans::new(source), began: self.began, is_first: true })
        })
    }
}

struct Zipkin<'a> {
    spans: Spans<'a>,
    began: Began,
    is_first: bool,
}

impl Zipkin<'_> {
    fn write(&mut self, spans: &[Span<'_>], out: &mut dyn Write) -> io::Result<()> {
        for span in spans {
            let comma = if std::mem::replace(&mut self.is_first, false) { "" } else { ",\n" };
            write!(out, "{comma}{}", self.span(span))?;
        }
        Ok(())
    }

    fn span(&self, span: &Span<'_>) -> Value {
        let micros = |at: Time| self.began.nanos(at) / 1_000;
        let hex = |id: u64| format!("{id:016x}");
        let mut value = json!({
            "traceId": format!("{}{}", hex(span.trace[0]), hex(span.trace[1])),
            "id": hex(span.id),
            "name": span.name,
            "timestamp": micros(span.from),
            // 0 would be a length that is not known.
            "duration": (span.to.since(span.from).nanos() / 1_000).max(1),
            "localEndpoint": { "serviceName": span.service },
        });
        if let Some(parent) = span.parent {
            value["parentId"] = hex(parent).into();
        }
        let kind = match span.kind {
            Kind::Internal => None,
            Kind::Server => Some("SERVER"),
            Kind::Client => Some("CLIENT"),
            Kind::Producer => Some("PRODUCER"),
            Kind::Consumer => Some("CONSUMER"),
        };
        if let Some(kind) = kind {
            value["kind"] = kind.into();
        }
        let mut tags = Map::new();
        tags.insert("host.name".into(), span.host.into());
        for (key, tag) in &span.tags {
            let text = match tag {
                Tag::Text(text) => text.to_string(),
                Tag::Number(number) => number.to_string(),
                Tag::Flag(flag) => flag.to_string(),
            };
            if *key == "peer.service" {
                value["remoteEndpoint"] = json!({ "serviceName": text });
            }
            tags.insert((*key).into(), text.into());
        }
        if let Some(failure) = &span.failure {
            tags.insert("error".into(), failure.as_ref().into());
        }
        if let Some((trace, id)) = span.links.first().filter(|(trace, _)| *trace != span.trace) {
            tags.insert("meshsim.follows".into(), format!("{}{}/{}", hex(trace[0]), hex(trace[1]), hex(*id)).into());
        }
        value["tags"] = tags.into();
        if !span.events.is_empty() {
            let event = |(at, what): &(Time, &str)| json!({ "timestamp": micros(*at), "value": what });
            value["annotations"] = span.events.iter().map(event).collect();
        }
        value
    }
}

impl Exporter for Zipkin<'_> {
    fn begin(&mut self, _selection: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"[")
    }

    fn record(&mut self, item: &Item, is_wanted: bool, out: &mut dyn Write) -> io::Result<()> {
        let spans = self.spans.take(item, is_wanted);
        self.write(&spans, out)
    }

    fn is_waiting(&self) -> bool {
        self.spans.is_waiting()
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told> {
        let rest = self.spans.rest();
        self.write(&rest, out)?;
        out.write_all(b"]\n")?;
        Ok(spans_told(&self.spans))
    }
}
