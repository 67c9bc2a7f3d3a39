//! A request as spans.

use meshsim_mesh::RequestId;
use meshsim_report::waterfall::{Call, End, Hop, Try, Waterfall};

use super::{Ids, Kind, Sort, Span, TRACE_SPANS_MAX};
use crate::flow::words::Names;

/// The number of the span of the whole; those of tries and hops come after it, in two rows.
const WHOLE: u64 = 0;

/// The spans of a request, each after the one above it; and how many are left out.
pub(super) fn spans<'a>(of: &Waterfall, names: &'a Names, ids: Ids) -> (Vec<Span<'a>>, u64) {
    let made = Made { of, names, ids, trace: ids.trace(Sort::Request, of.root) };
    let mut spans = vec![made.whole()];
    let mut number = 0;
    for (place, call) in of.calls.iter().enumerate() {
        for it in &call.tries {
            number += 1;
            let client = made.client(place, call, it, 2 * number);
            let id = client.id;
            spans.push(client);
            spans.extend(it.hops.iter().map(|hop| made.server(call, it, *hop, id)));
        }
    }
    // A parent comes before its children, so no span that is kept loses its parent.
    let left_out = spans.len().saturating_sub(TRACE_SPANS_MAX) as u64;
    spans.truncate(TRACE_SPANS_MAX);
    if left_out + of.left_out > 0 {
        spans[0].number("meshsim.left_out", left_out + of.left_out);
    }
    (spans, left_out + of.left_out)
}

struct Made<'a, 'b> {
    of: &'b Waterfall,
    names: &'a Names,
    ids: Ids,
    trace: [u64; 2],
}

impl<'a> Made<'a, '_> {
    fn load(&self) -> &'a str {
        self.names.actor(RequestId::caller(self.of.root))
    }

    fn endpoint(&self, call: &Call) -> String {
        call.callee.map_or_else(|| "call".into(), |(service, endpoint)| self.names.endpoint(service, endpoint))
    }

    fn service(&self, call: &Call) -> &'a str {
        call.callee.map_or("unknown", |(service, _)| self.names.service(service))
    }

    fn span(&self, number: u64, kind: Kind, service: &'a str, host: &'a str) -> Span<'a> {
        Span {
            trace: self.trace,
            id: self.ids.span(self.trace, number),
            parent: None,
            kind,
            service,
            host,
            name: "request".into(),
            from: self.of.due,
            to: self.of.ended,
            failure: None,
            tags: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            links_left_out: 0,
        }
    }

    fn whole(&self) -> Span<'a> {
        let mut span = self.span(WHOLE, Kind::Internal, self.load(), self.load());
        if let Some(first) = self.of.calls.first() {
            span.name = self.endpoint(first).into();
        }
        span.failure = self.of.failure.map(|failure| failure.as_str().into());
        span.tag("meshsim.request", self.names.request(self.of.root));
        span
    }

    fn client(&self, place: usize, call: &Call, it: &Try, number: u64) -> Span<'a> {
        let above = call.by.and_then(|hop| Some((hop, self.of.hops.get(hop)?)));
        let (service, host, parent) = match above {
            Some((at, hop)) => (self.service(&self.of.calls[hop.call]), self.names.actor(hop.node), hop_number(at)),
            None => (self.load(), self.load(), WHOLE),
        };
        let mut span = self.span(number, Kind::Client, service, host);
        span.parent = Some(self.ids.span(self.trace, parent));
        span.name = self.endpoint(call).into();
        (span.from, span.to) = (it.sent, it.ended.unwrap_or(self.of.ended).max(it.sent));
        span.failure = it.failure.map(|failure| failure.as_str().into());
        if place == 0 {
            span.tag("meshsim.request", self.names.request(self.of.root));
        }
        span.tag("peer.service", self.service(call));
        if let Some((node, ordinal)) = it.to {
            span.tag("server.address", self.names.actor(node));
            span.tag("meshsim.instance", format!("{}#{ordinal}", self.names.actor(node)));
        }
        span.number("meshsim.try", u64::from(it.attempt) + 1);
        if it.ended.is_none() {
            span.flag("meshsim.not_ended");
        }
        span
    }

    fn server(&self, call: &Call, it: &Try, at: usize, parent: u64) -> Span<'a> {
        let hop: &Hop = &self.of.hops[at];
        let mut span = self.span(hop_number(at), Kind::Server, self.service(call), self.names.actor(hop.node));
        span.parent = Some(parent);
        span.name = self.endpoint(call).into();
        (span.from, span.to) = (hop.arrived, hop.ended.unwrap_or(self.of.ended).max(hop.arrived));
        if let Some((node, ordinal)) = it.to {
            span.tag("meshsim.instance", format!("{}#{ordinal}", self.names.actor(node)));
        }
        if hop.queue.is_some() {
            span.events.push((hop.arrived, "waits for a slot"));
        }
        if let Some(slot) = hop.slot {
            span.number("meshsim.waited_ns", slot.since(hop.arrived).nanos());
            span.events.push((slot, "has a slot"));
        }
        let of_try = it.failure.filter(|_| it.answer == Some(at)).map(|failure| failure.as_str());
        span.failure = match hop.end {
            Some(End::TurnedAway) => Some(of_try.unwrap_or("refused")),
            Some(End::Late) => Some("late"),
            Some(End::Cut) => Some("cut"),
            Some(End::Answered) => of_try,
            None => None,
        }
        .map(Into::into);
        if hop.end.is_none() {
            span.flag("meshsim.not_ended");
        }
        span
    }
}

/// The number of the span of a hop.
fn hop_number(at: usize) -> u64 {
    2 * at as u64 + 1
}
