//! A request for a page: the critical path in pieces, its breakdown in words, and a row for each attempt.
//!
//! Times are nanoseconds after the request was due.

use meshsim_actor::Time;
use meshsim_mesh::Mesh;
use meshsim_mesh::measure::Failure;
use serde::Serialize;

use super::text::{endpoint, held, instance, longest_queue, name, rows, shares};
use super::{Kind, Piece, Waterfall};

/// A request, with the names of a mesh.
#[derive(Clone, Debug, Serialize)]
pub struct Drawn {
    /// Its name: `shoppers/1204`.
    pub request: String,
    /// Called endpoint: `gateway.checkout`.
    pub endpoint: String,
    /// When it was due, since the run began.
    pub due_ns: u64,
    /// From then until its answer.
    pub latency_ns: u64,
    /// Why it failed, if it did.
    pub failure: Option<&'static str>,
    /// Tries beyond the first, of all its calls.
    pub retries: u64,
    /// The critical path by kind of time, the longest first. The parts add up to the latency.
    pub parts: Vec<Part>,
    /// The critical path in the order of time, without gaps.
    pub path: Vec<Bit>,
    /// Its tries; those beyond [`folded`](Self::folded) are on the critical path.
    pub rows: Vec<Row>,
    /// Tries that have no row, because there are too many.
    pub folded: usize,
    /// Calls that are not kept.
    pub left_out: u64,
}

/// Kind of time of a part of the critical path.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// In one word.
    pub kind: &'static str,
    /// In words: `timeouts of payment`.
    pub words: String,
    /// Duration.
    pub ns: u64,
    /// Of a wait: what held the slots.
    pub why: Option<String>,
}

/// A stretch of time.
#[derive(Clone, Debug, Serialize)]
pub struct Bit {
    /// When it begins.
    pub from_ns: u64,
    /// When it ends.
    pub to_ns: u64,
    /// Kind of time, in one word.
    pub kind: &'static str,
    /// In words.
    pub words: String,
}

/// One try of a call.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Called endpoint.
    pub endpoint: String,
    /// To which instance it was sent: `b-0#1`.
    pub instance: Option<String>,
    /// The actor that has the instance.
    pub node: Option<u32>,
    /// Number of calls above it.
    pub depth: u16,
    /// Which call of the request it belongs to.
    pub call: usize,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// When it was sent.
    pub sent_ns: u64,
    /// When it ended for its caller.
    pub ended_ns: u64,
    /// Why it failed, if it did.
    pub failure: Option<&'static str>,
    /// Its time is a part of the latency.
    pub is_critical: bool,
    /// Its events, in the order of time.
    pub bits: Vec<Bit>,
}

impl Drawn {
    /// A request that has ended.
    pub fn new(of: &Waterfall, mesh: &Mesh) -> Self {
        let since = |at: Time| at.max(of.due).since(of.due).nanos();
        let bit = |piece: &Piece| Bit {
            from_ns: since(piece.from),
            to_ns: since(piece.to),
            kind: piece.kind.word(),
            words: piece.kind.phrase(piece.service, mesh),
        };
        let path = of.critical_path();
        let part = |(kind, at, span): &(Kind, _, meshsim_actor::Span)| Part {
            kind: kind.word(),
            words: kind.phrase(*at, mesh),
            ns: span.nanos(),
            why: (*kind == Kind::Queue)
                .then(|| longest_queue(of, &path, *at).and_then(|queue| held(queue, mesh)))
                .flatten(),
        };
        let (shown, folded) = rows(of, &path);
        let row = |row: &super::text::Row| {
            let call = &of.calls[row.call];
            let it = &call.tries[row.attempt];
            Row {
                endpoint: endpoint(call.callee, mesh),
                instance: it.to.map(|(node, ordinal)| instance(node, ordinal, mesh)),
                node: it.to.map(|(node, _)| node.0),
                depth: call.depth,
                call: row.call,
                attempt: u32::from(it.attempt) + 1,
                sent_ns: since(it.sent),
                ended_ns: since(it.ended.unwrap_or(of.ended)),
                failure: it.failure.map(Failure::as_str),
                is_critical: row.is_critical,
                bits: of.row(row.call, row.attempt).iter().map(bit).collect(),
            }
        };
        Drawn {
            request: name(of.root, mesh),
            endpoint: endpoint(of.calls.first().and_then(|call| call.callee), mesh),
            due_ns: of.due.nanos(),
            latency_ns: of.latency().nanos(),
            failure: of.failure.map(Failure::as_str),
            retries: of.retries(),
            parts: shares(&path).iter().map(part).collect(),
            rows: shown.iter().map(row).collect(),
            path: path.iter().map(bit).collect(),
            folded,
            left_out: of.left_out,
        }
    }
}
