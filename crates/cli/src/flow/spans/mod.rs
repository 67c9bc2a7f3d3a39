//! Requests and messages as spans, as viewers of distributed traces have them
//! (<https://opentelemetry.io/docs/specs/otel/trace/api/>).
//!
//! A request is a trace: a span for the whole, from the planned moment to the answer; below it a `Client` span for each
//! try of each call, and below that a `Server` span for what the instance did. So viewers pair them and draw service
//! graphs. A message of the control plane is a `Producer` span where it was sent and a `Consumer` span where it
//! arrived. The messages of a step are one trace, under a span that lasts from its decision to its last acknowledgement
//! and links all of them; any other message is a trace of its own, with a link to what it follows from.

mod control;
mod request;

use std::borrow::Cow;

use meshsim_actor::{ActorId, Time, mix};

use super::requests::Requests;
use super::source::Source;
use super::stream::Item;
use control::Control;

/// Most spans of one trace: viewers take long to show more.
pub(crate) const TRACE_SPANS_MAX: usize = 2_000;

/// A trace's number, of 128 bits.
pub(crate) type TraceId = [u64; 2];

/// Subject of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request or a step as a whole.
    Internal,
    /// Work of an instance for one try.
    Server,
    /// A try of a call.
    Client,
    /// A message is sent.
    Producer,
    /// A message arrives.
    Consumer,
}

/// Facts about a span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tag<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Flag(bool),
}

/// A piece of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span<'a> {
    pub(crate) trace: TraceId,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) kind: Kind,
    /// Owner of the span: a service, a load, or a part of meshsim.
    pub(crate) service: &'a str,
    /// The node, or whatever else the actor is called.
    pub(crate) host: &'a str,
    pub(crate) name: Cow<'a, str>,
    pub(crate) from: Time,
    pub(crate) to: Time,
    /// Why it failed, if it did.
    pub(crate) failure: Option<Cow<'a, str>>,
    pub(crate) tags: Vec<(&'static str, Tag<'a>)>,
    /// Events during the span.
    pub(crate) events: Vec<(Time, &'static str)>,
    /// Other spans that it follows from.
    pub(crate) links: Vec<(TraceId, u64)>,
    /// Links beyond those.
    pub(crate) links_left_out: u64,
}

impl<'a> Span<'a> {
    fn tag(&mut self, key: &'static str, value: impl Into<Cow<'a, str>>) {
        self.tags.push((key, Tag::Text(value.into())));
    }

    fn number(&mut self, key: &'static str, value: u64) {
        self.tags.push((key, Tag::Number(value)));
    }

    fn flag(&mut self, key: &'static str) {
        self.tags.push((key, Tag::Flag(true)));
    }
}

/// Numbers of traces and spans: the same whenever this run is exported, others for another run.
#[derive(Clone, Copy, Debug)]
struct Ids(u64);

impl Ids {
    fn new(source: &Source) -> Self {
        let names = source.header.actors.iter().flat_map(|name| name.bytes().chain([0]));
        // The figures of two runs that differ in a setting differ.
        let measured = serde_json::to_vec(&source.summary).unwrap_or_default();
        let bytes = names.chain(measured);
        Ids(bytes.fold(mix(source.header.seed), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// The trace of this number among those of its sort. All zeros would be no trace.
    fn trace(self, sort: Sort, number: u64) -> TraceId {
        let low = mix(mix(self.0 ^ sort as u64) ^ number);
        [mix(low ^ self.0).max(1), low.max(1)]
    }

    /// The span of this number in a trace.
    fn span(self, trace: TraceId, number: u64) -> u64 {
        mix(trace[1] ^ mix(number)).max(1)
    }
}

/// Sorts of traces.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Request = 1,
    Message,
    Step,
}

/// Makes spans of a trace, record by record.
pub(crate) struct Spans<'a> {
    source: &'a Source,
    ids: Ids,
    requests: Requests,
    control: Control<'a>,
    /// Requests that were given as spans.
    pub(crate) request_count: u64,
    /// Messages that were given as spans.
    pub(crate) message_count: u64,
    /// Spans of requests that are left out, because the request has too many.
    left_out: u64,
}

impl<'a> Spans<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        let ids = Ids::new(source);
        Spans {
            source,
            ids,
            requests: Requests::default(),
            control: Control::new(source, ids),
            request_count: 0,
            message_count: 0,
            left_out: 0,
        }
    }

    /// The same of a run that goes on, and began at this moment, in nanoseconds since 1970: before it has ended, that
    /// is what tells it from another run of the same experiment.
    pub(crate) fn live(source: &'a Source, began: u64) -> Self {
        let ids = Ids(mix(Ids::new(source).0 ^ began));
        Spans { ids, control: Control::new(source, ids), ..Spans::new(source) }
    }

    /// Takes in the next record. Gives the spans that are known with it.
    pub(crate) fn take(&mut self, item: &Item, is_wanted: bool) -> Vec<Span<'a>> {
        let mut spans = self.control.take(item, is_wanted);
        self.message_count += spans.iter().filter(|span| span.kind == Kind::Producer).count() as u64;
        if let Some(ended) = self.requests.take(item, is_wanted) {
            let (of, left_out) = request::spans(&ended, &self.source.names, self.ids);
            self.request_count += 1;
            self.left_out += left_out;
            spans.extend(of);
        }
        spans
    }

    /// The spans that are known when the trace has ended.
    pub(crate) fn rest(&mut self) -> Vec<Span<'a>> {
        let spans = self.control.rest();
        self.message_count += spans.iter().filter(|span| span.kind == Kind::Producer).count() as u64;
        spans
    }

    /// True if something that is selected has not ended.
    pub(crate) fn is_waiting(&self) -> bool {
        self.requests.in_flight() > 0 || self.control.is_waiting()
    }

    /// Omissions, one sentence each.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let more = meshsim_report::plural(self.left_out, "span");
        let spans = (self.left_out > 0).then(|| format!("{more} left out: a request has at most {TRACE_SPANS_MAX}"));
        [self.requests.left_out(), spans.into_iter().collect(), self.control.left_out()].concat()
    }
}

/// Which part of meshsim an actor is, for what it does beside requests.
fn role(actor: ActorId, source: &Source) -> &str {
    match source.mesh() {
        _ if actor == ActorId(0) => "meshsim-coordinator",
        Ok(mesh) if mesh.node_index(actor).is_some() => "meshsim-node",
        _ => source.names.actor(actor),
    }
}
