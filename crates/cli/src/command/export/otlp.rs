//! `meshsim export otlp`: spans as OpenTelemetry's collectors take them
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>), a JSON object a line.
//!
//! Numbers of traces and spans are hexadecimal, enums are numbers, and whole numbers of 64 bits are texts.

pub(crate) mod stream;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use meshsim_actor::Time;
use serde_json::{Value, json};

use super::{Began, Common, Exporter, Form, Told, spans_told};
use crate::error::{Error, Exit};
use crate::flow::spans::{Kind, Span, Spans, Tag};
use crate::flow::{Item, Source};
use crate::http::{self, Request, Url};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Spans of requests and messages, for OpenTelemetry: Jaeger, Tempo, any collector";

pub(super) const HELP: &str = "\
Opened by Jaeger (Upload), by the collector's otlpjsonfilereceiver, and with --send by whatever takes OTLP over HTTP at \
port 4318: a collector, Jaeger, Tempo.
  meshsim export otlp last -o spans.jsonl
  meshsim export otlp last --send http://127.0.0.1:4318

A request is a trace: a span for the whole, a CLIENT span for each try of a call, and a SERVER span for what the instance \
did; service.name is the service, host.name the node. A message of the control plane is a PRODUCER and a CONSUMER span. \
A request is selected, as a whole, by any of its messages.";

/// A line is begun anew when it has so many bytes: collectors refuse requests of 20 MB, viewers files with longer
/// lines.
const LINE_BYTES: usize = 4 << 20;
/// Timeout of a request to a collector.
const PATIENCE: Duration = Duration::from_secs(20);
/// Path at which collectors take spans.
const PATH: &str = "/v1/traces";
/// Bytes of a collector's answer that are shown if it is a complaint.
const COMPLAINT_CHARS: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Send it to a collector: `http://127.0.0.1:4318`. The run then ends now, unless --began says otherwise
    #[arg(long, value_name = "URL", conflicts_with = "out", value_parser = collector)]
    send: Option<Url>,
    #[command(flatten)]
    began: Began,
    #[command(flatten)]
    common: Common,
}

/// The address of a collector; that spans go to `/v1/traces` may be said or not.
pub(crate) fn collector(text: &str) -> Result<Url, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let wrong = |_| format!("a collector is http://HOST:4318, in plain http, and takes spans at {PATH}");
    text.strip_suffix(PATH).unwrap_or(text).parse().map_err(wrong)
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let Args { send, began, common } = self;
        match send {
            None => super::execute(&common, Form::Text, screen, |source| Box::new(Otlp::new(source, began))),
            Some(url) => send_to(&url, &common, began, screen),
        }
    }
}

struct Otlp<'a> {
    spans: Spans<'a>,
    began: Began,
    selection: Option<String>,
    /// Known when the last line is written.
    left_out: Vec<String>,
    batch: Batch<'a>,
}

/// Spans of one line, by service and host.
#[derive(Default)]
struct Batch<'a> {
    of: BTreeMap<(&'a str, &'a str), Vec<String>>,
    bytes: usize,
}

impl<'a> Otlp<'a> {
    fn new(source: &'a Source, began: Began) -> Self {
        let (spans, batch) = (Spans::new(source), Batch::default());
        Otlp { spans, began, selection: None, left_out: Vec::new(), batch }
    }

    /// The same of a run that goes on.
    fn live(source: &'a Source, began: Began) -> Self {
        let spans = Spans::live(source, began.nanos(Time::ZERO));
        Otlp { spans, ..Otlp::new(source, began) }
    }

    fn add(&mut self, spans: Vec<Span<'a>>, out: &mut dyn Write) -> io::Result<()> {
        for span in spans {
            let text = self.span(&span).to_string();
            self.batch.bytes += text.len();
            self.batch.of.entry((span.service, span.host)).or_default().push(text);
            if self.batch.bytes >= LINE_BYTES {
                self.line(out)?;
            }
        }
        Ok(())
    }

    /// Writes what has been gathered as a line.
    fn line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.of.is_empty() {
            return Ok(());
        }
        let mut scope = json!({ "name": "meshsim", "version": env!("CARGO_PKG_VERSION") });
        let selection = self.selection.iter().map(|selection| text("meshsim.selection", selection));
        let left_out = self.left_out.iter().map(|why| text("meshsim.left_out", why));
        scope["attributes"] = selection.chain(left_out).collect();
        write!(out, "{{\"resourceSpans\":[")?;
        for (place, ((service, host), spans)) in batch.of.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let resource = json!({ "attributes": [text("service.name", service), text("host.name", host)] });
            write!(out, "{comma}{{\"resource\":{resource},\"scopeSpans\":[{{\"scope\":{scope},\"spans\":[")?;
            write!(out, "{}]}}]}}", spans.join(","))?;
        }
        writeln!(out, "]}}")
    }

    fn span(&self, span: &Span<'_>) -> Value {
        let nanos = |at: Time| self.began.nanos(at).to_string();
        let kind = match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
            Kind::Producer => 4,
            Kind::Consumer => 5,
        };
        let mut value = json!({
            "traceId": hex(span.trace),
            "spanId": format!("{:016x}", span.id),
            "name": span.name,
            "kind": kind,
            "startTimeUnixNano": nanos(span.from),
            "endTimeUnixNano": nanos(span.to),
        });
        if let Some(parent) = span.parent {
            value["parentSpanId"] = format!("{parent:016x}").into();
        }
        let attribute = |(key, tag): &(&str, Tag<'_>)| match tag {
            Tag::Text(value) => text(key, value),
            Tag::Number(number) => json!({ "key": key, "value": { "intValue": number.to_string() } }),
            Tag::Flag(flag) => json!({ "key": key, "value": { "boolValue": flag } }),
        };
        value["attributes"] = span.tags.iter().map(attribute).collect();
        if !span.events.is_empty() {
            let event = |(at, name): &(Time, &str)| json!({ "timeUnixNano": nanos(*at), "name": name });
            value["events"] = span.events.iter().map(event).collect();
        }
        if !span.links.is_empty() {
            let link = |(trace, id): &(_, u64)| json!({ "traceId": hex(*trace), "spanId": format!("{id:016x}") });
            value["links"] = span.links.iter().map(link).collect();
        }
        if span.links_left_out > 0 {
            value["droppedLinksCount"] = span.links_left_out.into();
        }
        // 2 is an error.
        value["status"] = match &span.failure {
            Some(why) => json!({ "code": 2, "message": why }),
            None => json!({}),
        };
        value
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn hex([high, low]: [u64; 2]) -> String {
    format!("{high:016x}{low:016x}")
}

impl Exporter for Otlp<'_> {
    fn begin(&mut self, selection: Option<&str>, _out: &mut dyn Write) -> io::Result<()> {
        self.selection = selection.map(str::to_owned);
        Ok(())
    }

    fn record(&mut self, item: &Item, is_wanted: bool, out: &mut dyn Write) -> io::Result<()> {
        let spans = self.spans.take(item, is_wanted);
        self.add(spans, out)
    }

    fn is_waiting(&self) -> bool {
        self.spans.is_waiting()
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told> {
        let rest = self.spans.rest();
        self.add(rest, out)?;
        let told = spans_told(&self.spans);
        self.left_out.clone_from(&told.left_out);
        self.line(out)?;
        Ok(told)
    }
}

/// Sends the spans of a run line by line.
fn send_to(url: &Url, common: &Common, began: Began, screen: &mut Screen) -> Result<Exit, Error> {
    let source = super::open(common, Form::Sent, screen)?;
    let selector = common.selection.resolve(&source)?;
    let began = if began.began.is_some() { began } else { Began::ending_now(&source) };
    let mut line = Line { url, bytes: Vec::new(), refused: None };
    let (ended, told) = super::go_through(common, &source, &selector, &mut Otlp::new(&source, began), &mut line);
    if ended.is_interrupted {
        screen.remark("interrupted: what came before was sent\n");
        return Ok(Exit::Interrupted);
    }
    if let Some(why) = line.refused {
        let help = "a collector takes OTLP over HTTP, mostly at port 4318".to_owned();
        return Err(Error::Gateway(format!("the collector at http://{url} {why}"), help));
    }
    let told = told.map_err(Error::Print)?;
    screen.remark(&format!("sent to http://{url}{PATH}: {}\n", told.holds));
    ended.tell(&told, screen)
}

/// Sends each line when it is complete.
struct Line<'a> {
    url: &'a Url,
    bytes: Vec<u8>,
    refused: Option<String>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            let body = String::from_utf8(std::mem::take(&mut self.bytes)).map_err(io::Error::other)?;
            if let Err(why) = post(self.url, &body) {
                self.refused = Some(why);
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends one request; gives why it was not taken, or not all of it.
fn post(url: &Url, body: &str) -> Result<(), String> {
    let request = Request { body: Some(body), path: PATH, is_json: true, ..Request::default() };
    let answer = http::ask(url, request, PATIENCE).map_err(|error| format!("cannot be reached: {error}"))?;
    let said = String::from_utf8_lossy(&answer.body);
    let shown: String = said.chars().take(COMPLAINT_CHARS).collect();
    if answer.status != 200 {
        return Err(format!("answers with {}: {shown}", answer.status));
    }
    let partial = serde_json::from_str::<Value>(&said).ok().map(|answer| answer["partialSuccess"].clone());
    // A number of 64 bits, which is a text in JSON; some write it as a number all the same.
    let rejected = partial.as_ref().map(|partial| &partial["rejectedSpans"]);
    let rejected = rejected.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok())).unwrap_or(0);
    if rejected > 0 { Err(format!("rejected {rejected} spans: {shown}")) } else { Ok(()) }
}
