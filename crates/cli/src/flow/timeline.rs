//! A run as slices of time, for viewers of traces of programs: each actor is a process, whose rows hold its messages,
//! its requests, and those that its instances serve.

use std::borrow::Cow;

use meshsim_actor::{ActorId, Time, mix};
use meshsim_mesh::{RequestId, mark};
use meshsim_report::plural;
use meshsim_report::waterfall::{End, Waterfall};
use meshsim_trace::Entry;

use super::line::what;
use super::messages::{Copy, Fared, Messages};
use super::requests::Requests;
use super::stream::Item;
use super::words::Names;

/// Value of a fact about a slice or a moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arg<'a> {
    Text(Cow<'a, str>),
    Number(u64),
}

/// Row of a slice, below its actor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row {
    /// Messages that the actor sends and takes in. Such slices have no length, and none lies within another.
    Messages,
    /// A row of many lanes, for slices that overlap: its name, and the number of the lane.
    Lane(String, u64),
}

/// A piece of an actor's time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice<'a> {
    pub(crate) actor: ActorId,
    pub(crate) row: Row,
    pub(crate) from: Time,
    pub(crate) to: Time,
    /// Number of slices of this actor's messages that begin at the same moment and precede it.
    pub(crate) rank: u64,
    pub(crate) name: Cow<'a, str>,
    /// Arrows that begin and end here.
    pub(crate) begins: Vec<u64>,
    pub(crate) ends: Vec<u64>,
    pub(crate) args: Vec<(&'static str, Arg<'a>)>,
    /// Slices within this one, in its lane.
    pub(crate) parts: Vec<(Time, Time, &'static str)>,
}

/// Beginning or end of a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Edge<'a> {
    pub(crate) at: Time,
    /// Name of the slice.
    pub(crate) name: &'a str,
    pub(crate) is_begin: bool,
}

impl Slice<'_> {
    /// All that follows its beginning: the edges of the slices within it, and its own end.
    pub(crate) fn edges(&self) -> impl Iterator<Item = Edge<'_>> {
        let part = |(from, to, name): &(Time, Time, &'static str)| {
            let (from, to, name) = (*from, *to, *name);
            [Edge { at: from, name, is_begin: true }, Edge { at: to, name, is_begin: false }]
        };
        self.parts.iter().flat_map(part).chain([Edge { at: self.to, name: &self.name, is_begin: false }])
    }
}

/// A moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment<'a> {
    pub(crate) actor: ActorId,
    pub(crate) at: Time,
    pub(crate) name: Cow<'a, str>,
    /// An arrow that ends here.
    pub(crate) ends: Option<u64>,
    pub(crate) args: Vec<(&'static str, Arg<'a>)>,
}

/// Content of the timeline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Drawn<'a> {
    Slice(Slice<'a>),
    Moment(Moment<'a>),
}

/// Makes slices of a trace, record by record.
pub(crate) struct Timeline<'a> {
    names: &'a Names,
    messages: Messages,
    requests: Requests,
    request_count: u64,
    message_count: u64,
}

impl<'a> Timeline<'a> {
    pub(crate) fn new(names: &'a Names) -> Self {
        let (messages, requests) = (Messages::default(), Requests::default());
        Timeline { names, messages, requests, request_count: 0, message_count: 0 }
    }

    /// Takes in the next record. Gives what is known with it.
    pub(crate) fn take(&mut self, item: &Item, is_wanted: bool) -> Vec<Drawn<'a>> {
        let mut drawn = Vec::new();
        if let Some(copy) = self.messages.take(item, is_wanted) {
            drawn.extend(self.message(&copy));
        }
        if let Some(ended) = self.requests.take(item, is_wanted) {
            self.request_count += 1;
            drawn.extend(self.request(&ended));
        }
        if is_wanted {
            drawn.extend(self.moment(item));
        }
        drawn
    }

    /// Facts that are known only at the end of the trace.
    pub(crate) fn rest(&mut self) -> Vec<Drawn<'a>> {
        let messages = std::mem::take(&mut self.messages);
        messages.rest().collect::<Vec<_>>().iter().flat_map(|copy| self.message(copy)).collect()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.messages.is_waiting() || self.requests.in_flight() > 0
    }

    /// Its content.
    pub(crate) fn holds(&self) -> String {
        format!("{}, {}", plural(self.request_count, "request"), plural(self.message_count, "message"))
    }

    /// Omissions, one sentence each.
    pub(crate) fn left_out(&self) -> Vec<String> {
        [self.requests.left_out(), self.messages.left_out()].concat()
    }

    fn message(&mut self, copy: &Copy) -> Vec<Drawn<'a>> {
        let names = self.names;
        let sent = &copy.sent;
        let words = names.message(&sent.about);
        let arrow = |copy: u64| mix(2 * sent.seq + copy);
        let mut args: Vec<(&'static str, Arg<'a>)> = vec![
            ("message", Arg::Text(format!("{}/{}", names.actor(copy.id.from), copy.id.seq).into())),
            ("from", Arg::Text(names.actor(copy.id.from).into())),
            ("to", Arg::Text(names.actor(sent.to).into())),
            ("bytes", Arg::Number(u64::from(sent.bytes))),
        ];
        args.extend(sent.about.root.map(|root| ("request", Arg::Text(names.request(root).into()))));
        let slice = |actor, at, rank, name: String, begins, ends, args| {
            let (row, parts) = (Row::Messages, Vec::new());
            Drawn::Slice(Slice { actor, row, from: at, to: at, rank, name: name.into(), begins, ends, args, parts })
        };
        let mut drawn = Vec::new();
        if copy.copy == 0 {
            self.message_count += 1;
            let mut args = args.clone();
            args.push(("record", Arg::Number(sent.seq)));
            if sent.was_held {
                args.push(("held", Arg::Text("by the network".into())));
            }
            let begins = if sent.is_doubled { vec![arrow(0), arrow(1)] } else { vec![arrow(0)] };
            drawn.push(slice(copy.id.from, sent.at, copy.rank, format!("send {words}"), begins, Vec::new(), args));
        }
        let which = u64::from(copy.copy.min(1));
        match copy.fared {
            Fared::Arrived { record, at, rank, is_late } => {
                args.push(("record", Arg::Number(record)));
                args.push(("took_ns", Arg::Number(at.since(sent.at).nanos())));
                if is_late {
                    args.push(("late", Arg::Text("its sender had given up".into())));
                }
                drawn.push(slice(sent.to, at, rank, format!("take in {words}"), Vec::new(), vec![arrow(which)], args));
            }
            Fared::Lost { at, reason } => {
                args.push(("reason", Arg::Text(reason.into())));
                let (actor, name, ends) = (copy.id.from, format!("lost: {words}").into(), Some(arrow(which)));
                drawn.push(Drawn::Moment(Moment { actor, at, name, ends, args }));
            }
            Fared::UnderWay => {}
        }
        drawn
    }

    fn request(&self, of: &Waterfall) -> Vec<Drawn<'a>> {
        let names = self.names;
        let arrow = |hop: usize| mix(!mix(of.root) ^ hop as u64);
        let endpoint = |call: usize| match of.calls.get(call).and_then(|call| call.callee) {
            Some((service, endpoint)) => names.endpoint(service, endpoint),
            None => "call".into(),
        };
        // The hops of the tries of the calls that a hop makes, or of the client's.
        let below = |by: Option<usize>| {
            let calls = of.calls.iter().filter(|call| call.by == by);
            calls.flat_map(|call| &call.tries).flat_map(|it| &it.hops).map(|hop| arrow(*hop)).collect::<Vec<_>>()
        };
        let request = names.request(of.root);
        let mut args = vec![("request", Arg::Text(request.clone().into()))];
        args.extend(of.failure.map(|failure| ("failure", Arg::Text(failure.as_str().into()))));
        let whole = Slice {
            actor: RequestId::caller(of.root),
            row: Row::Lane("requests".into(), of.root),
            from: of.due,
            to: of.ended,
            rank: 0,
            name: endpoint(0).into(),
            begins: below(None),
            ends: Vec::new(),
            args,
            parts: Vec::new(),
        };
        let mut drawn = vec![Drawn::Slice(whole)];
        for (at, hop) in of.hops.iter().enumerate() {
            let call = of.calls.get(hop.call);
            let it = call.and_then(|call| call.tries.iter().find(|it| it.hops.contains(&at)));
            let service = call.and_then(|call| call.callee).map_or("unknown", |(service, _)| names.service(service));
            let ordinal = it.and_then(|it| it.to).map_or(0, |(_, ordinal)| ordinal);
            let end = hop.ended.unwrap_or(of.ended).max(hop.arrived);
            let mut args = vec![("request", Arg::Text(request.clone().into()))];
            args.extend(it.map(|it| ("try", Arg::Number(u64::from(it.attempt) + 1))));
            let word = match hop.end {
                Some(End::Answered) => "answered",
                Some(End::TurnedAway) => "refused",
                Some(End::Late) => "late",
                Some(End::Cut) => "cut",
                None => "not ended",
            };
            args.push(("end", Arg::Text(word.into())));
            let waited =
                hop.queue.as_ref().map(|_| (hop.arrived, hop.slot.unwrap_or(end).min(end), "waits for a slot"));
            drawn.push(Drawn::Slice(Slice {
                actor: hop.node,
                row: Row::Lane(format!("{service}#{ordinal}"), mix(mix(of.root) ^ at as u64)),
                from: hop.arrived,
                to: end,
                rank: 0,
                name: endpoint(hop.call).into(),
                begins: below(Some(at)),
                ends: vec![arrow(at)],
                args,
                parts: waited.into_iter().collect(),
            }));
        }
        drawn
    }

    /// An event at an actor: something that happens to it, or a note of its own.
    fn moment(&self, item: &Item) -> Option<Drawn<'a>> {
        let record = &item.record;
        let is_shown = match &record.entry {
            Entry::Power(_) | Entry::Start { .. } => true,
            Entry::Note { what, .. } => !mark::ALL.contains(&&**what),
            _ => false,
        };
        if !is_shown {
            return None;
        }
        let words = what(item, self.names).split_whitespace().collect::<Vec<_>>().join(" ");
        let args = vec![("record", Arg::Number(record.seq))];
        Some(Drawn::Moment(Moment { actor: record.actor, at: record.at, name: words.into(), ends: None, args }))
    }
}
