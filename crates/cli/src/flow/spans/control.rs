//! Messages of the control plane as spans.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Time};
use meshsim_mesh::model::ServiceId;
use meshsim_trace::Entry;

use super::{Ids, Kind, Sort, Span, TRACE_SPANS_MAX, TraceId, role};
use crate::flow::messages::{Copy, Fared, Messages};
use crate::flow::source::Source;
use crate::flow::stream::Item;

/// Links of a span that are kept.
const LINKS_MAX: usize = 1_000;

/// The span of a step; those of its messages are numbered by the records after it.
const WHOLE: u64 = u64::MAX;

/// Makes spans of control messages. Memory grows with the messages that are on their way at once, and with the steps.
pub(super) struct Control<'a> {
    source: &'a Source,
    ids: Ids,
    messages: Messages,
    /// The record that each actor took in last, if it was a message that has a span: that span.
    inputs: BTreeMap<ActorId, (u64, (TraceId, u64))>,
    /// Span of the sending of each message.
    sent: BTreeMap<u64, (TraceId, u64)>,
    steps: BTreeMap<u64, Step>,
    /// The traces of messages that the network has doubled, whose second copy may still come.
    doubled: BTreeMap<u64, TraceId>,
}

/// A step, as far as its messages are known.
#[derive(Default)]
struct Step {
    service: Option<ServiceId>,
    decided: Option<Time>,
    /// Its traces: one, unless there are too many spans for one.
    parts: Vec<Part>,
}

struct Part {
    trace: TraceId,
    from: Time,
    to: Time,
    spans: usize,
    acks: Vec<(TraceId, u64)>,
    acks_left_out: u64,
}

impl<'a> Control<'a> {
    pub(super) fn new(source: &'a Source, ids: Ids) -> Self {
        let (inputs, sent, steps, doubled) = Default::default();
        Control { source, ids, messages: Messages::default(), inputs, sent, steps, doubled }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.messages.is_waiting()
    }

    pub(super) fn left_out(&self) -> Vec<String> {
        self.messages.left_out()
    }

    pub(super) fn take(&mut self, item: &Item, is_wanted: bool) -> Vec<Span<'a>> {
        let record = &item.record;
        if let Entry::Note { what, subject, value } = &record.entry
            && &**what == "decide"
        {
            let step = self.steps.entry(*value).or_default();
            step.service = u16::try_from(*subject).ok().map(ServiceId);
            step.decided.get_or_insert(record.at);
        }
        let is_control = item.sent().is_none_or(|sent| !matches!(sent.kind, "request" | "reply"));
        let copy = is_control.then(|| self.messages.take(item, is_wanted)).flatten();
        let spans = copy.map_or_else(Vec::new, |copy| self.spans(&copy));
        if matches!(record.entry, Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_) | Entry::Durable(_)) {
            match spans.last().filter(|span| span.kind == Kind::Consumer) {
                Some(span) => _ = self.inputs.insert(record.actor, (record.seq, (span.trace, span.id))),
                None => _ = self.inputs.remove(&record.actor),
            }
        }
        // The effects of an input are sent in the same step, so its span is known here.
        if let Entry::Send { .. } = record.entry
            && let Some((input, span)) = self.inputs.get(&record.actor)
            && item.derived.cause == Some(*input)
            && is_control
        {
            self.sent.insert(record.seq, *span);
        }
        spans
    }

    /// The spans of what was on its way at the end, and of the steps as a whole.
    pub(super) fn rest(&mut self) -> Vec<Span<'a>> {
        let mut spans = Vec::new();
        for copy in std::mem::take(&mut self.messages).rest() {
            spans.extend(self.spans(&copy));
        }
        for (n, step) in std::mem::take(&mut self.steps) {
            spans.extend(self.step(n, step));
        }
        spans
    }

    /// The spans of a copy of a message: that of its sending with the first.
    fn spans(&mut self, copy: &Copy) -> Vec<Span<'a>> {
        let follows = if copy.copy == 0 { self.sent.remove(&copy.sent.seq) } else { None };
        let n = copy.sent.about.steps.filter(|(first, last)| first == last && *first > 0).map(|(n, _)| n);
        let (trace, whole) = match n {
            Some(n) => {
                let part = self.part(n, copy);
                (part, Some(self.ids.span(part, WHOLE)))
            }
            None => (self.ids.trace(Sort::Message, copy.sent.seq), None),
        };
        let mut spans = Vec::new();
        if copy.copy == 0 {
            let mut producer = self.producer(copy, trace);
            producer.parent = whole;
            match follows {
                Some((of, span)) if of == trace => producer.parent = Some(span),
                Some(link) => producer.links.push(link),
                None => {}
            }
            spans.push(producer);
        }
        if let Fared::Arrived { record, at, is_late, .. } = copy.fared {
            let sending = self.ids.span(trace, copy.sent.seq);
            let mut span = self.span(copy, copy.sent.to, Kind::Consumer, trace, record, at);
            span.parent = Some(sending);
            span.links.push((trace, sending));
            span.number("meshsim.took_ns", at.since(copy.sent.at).nanos());
            if is_late {
                span.flag("meshsim.late");
            }
            if copy.copy > 0 {
                span.flag("meshsim.copy");
            }
            if copy.sent.kind == "ack"
                && let Some(part) = n.and_then(|n| self.steps.get_mut(&n)).and_then(|step| step.parts.last_mut())
            {
                match part.acks.len() < LINKS_MAX {
                    true => part.acks.push((trace, span.id)),
                    false => part.acks_left_out += 1,
                }
            }
            spans.push(span);
        }
        spans
    }

    /// The trace of a step's message. The copies of one message are in one trace.
    fn part(&mut self, n: u64, copy: &Copy) -> TraceId {
        if copy.copy > 0
            && let Some(trace) = self.doubled.remove(&copy.sent.seq)
        {
            return trace;
        }
        let trace = self.last_part(n, copy);
        if copy.sent.is_doubled {
            self.doubled.insert(copy.sent.seq, trace);
        }
        trace
    }

    fn last_part(&mut self, n: u64, copy: &Copy) -> TraceId {
        let at = match copy.fared {
            Fared::Arrived { at, .. } | Fared::Lost { at, .. } => at,
            Fared::UnderWay => copy.sent.at,
        };
        let ids = self.ids;
        let step = self.steps.entry(n).or_default();
        // Room for the whole, both spans of a message, and the copy of one before.
        let is_full = step.parts.last().is_none_or(|part| part.spans + 4 > TRACE_SPANS_MAX);
        if is_full {
            let number = n | (step.parts.len() as u64) << 48;
            let from = step.decided.filter(|_| step.parts.is_empty()).unwrap_or(copy.sent.at).min(copy.sent.at);
            let trace = ids.trace(Sort::Step, number);
            step.parts.push(Part { trace, from, to: at, spans: 1, acks: Vec::new(), acks_left_out: 0 });
        }
        let Some(part) = step.parts.last_mut() else { return ids.trace(Sort::Step, n) };
        part.spans += 2;
        part.to = part.to.max(at);
        part.trace
    }

    fn producer(&self, copy: &Copy, trace: TraceId) -> Span<'a> {
        let mut span = self.span(copy, copy.id.from, Kind::Producer, trace, copy.sent.seq, copy.sent.at);
        match copy.fared {
            // Of a doubled one the copy may arrive all the same.
            Fared::Lost { reason, .. } => span.failure = Some(format!("lost: {reason}").into()),
            Fared::UnderWay => span.flag("meshsim.in_flight"),
            Fared::Arrived { .. } => {}
        }
        if copy.sent.was_held {
            span.flag("meshsim.held");
        }
        if copy.sent.is_doubled {
            span.flag("meshsim.duplicate");
        }
        span
    }

    fn span(&self, copy: &Copy, actor: ActorId, kind: Kind, trace: TraceId, record: u64, at: Time) -> Span<'a> {
        let names = &self.source.names;
        let word = if kind == Kind::Producer { "send" } else { "process" };
        let mut span = Span {
            trace,
            id: self.ids.span(trace, record),
            parent: None,
            kind,
            service: role(actor, self.source),
            host: names.actor(actor),
            name: format!("{word} {}", copy.sent.kind).into(),
            from: at,
            to: at,
            failure: None,
            tags: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            links_left_out: 0,
        };
        span.tag("messaging.system", "meshsim");
        span.tag("messaging.destination.name", names.actor(copy.sent.to));
        span.tag("messaging.message.id", format!("{}/{}", names.actor(copy.id.from), copy.id.seq));
        span.tag("meshsim.message", names.message(&copy.sent.about));
        span.number("meshsim.bytes", u64::from(copy.sent.bytes));
        span.number("meshsim.record", record);
        if let Some(service) = copy.sent.about.service {
            span.tag("meshsim.service", names.service(service));
        }
        if let Some((first, _)) = copy.sent.about.steps {
            span.number("meshsim.step", first);
        }
        span
    }

    /// A step as a whole, in each of its traces.
    fn step(&self, n: u64, step: Step) -> Vec<Span<'a>> {
        let names = &self.source.names;
        let service = step.service.map(|service| names.service(service));
        let mut before: Option<(TraceId, u64)> = None;
        let mut spans = Vec::new();
        for part in step.parts {
            let id = self.ids.span(part.trace, WHOLE);
            let mut span = Span {
                trace: part.trace,
                id,
                parent: None,
                kind: Kind::Internal,
                service: role(ActorId(0), self.source),
                host: names.actor(ActorId(0)),
                name: "step".into(),
                from: part.from,
                to: part.to,
                failure: None,
                tags: Vec::new(),
                events: Vec::new(),
                links: before.into_iter().chain(part.acks).collect(),
                links_left_out: part.acks_left_out,
            };
            if let Some(service) = service {
                span.name = format!("step of {service}").into();
                span.tag("meshsim.service", service);
            }
            span.number("meshsim.step", n);
            before = Some((part.trace, id));
            spans.push(span);
        }
        spans
    }
}
