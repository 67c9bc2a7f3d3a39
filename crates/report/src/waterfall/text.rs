//! Requests for people, in 80 columns, and as JSON.

use std::collections::BTreeSet;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::model::{EndpointId, ServiceId};
use meshsim_mesh::{Mesh, RequestId};
use serde::Serialize;

use super::{Kind, Piece, Queue, Waterfall};
use crate::show::{count, endpoint_in_words, plural};
use crate::table::{Paint, Style};
use crate::wrap::shortened;

/// Maximum number of attempts that are drawn. Beyond it, those that are not on the critical path are folded.
const ROWS_MAX: usize = 40;

/// Width of a bar, and of the text before it.
const BAR: usize = 34;
const LABEL: usize = 31;

/// Character of each kind in a bar.
const MARKS: [(char, &str); 13] = [
    ('░', "waiting for a slot"),
    ('█', "work"),
    ('▓', "waiting for a core"),
    ('▒', "sleep"),
    ('─', "network"),
    ('·', "pause before a retry"),
    ('○', "waiting at a breaker"),
    ('◦', "waiting for a connection"),
    ('◌', "waiting for an instance"),
    ('=', "at proxies"),
    ('×', "given up"),
    ('.', "calls below"),
    ('?', "not known"),
];

/// Name of a request: `users/12`, after the client that sent it into the mesh.
pub fn name(root: u64, mesh: &Mesh) -> String {
    format!("{}/{}", caller(RequestId::caller(root), mesh), RequestId::number(root))
}

/// The request with this name: `users/12`. `None` if no client has this name.
pub fn root(name: &str, mesh: &Mesh) -> Option<u64> {
    let (who, number) = name.rsplit_once('/')?;
    let number = number.parse().ok()?;
    let caller = callers(mesh).find(|(_, of)| of == who)?.0;
    Some(RequestId::new(caller, number).root)
}

/// The actors that send requests into the mesh.
pub fn callers(mesh: &Mesh) -> impl Iterator<Item = (ActorId, String)> {
    let clients = (0..mesh.loads.len()).map(|load| mesh.client_actor(load));
    clients.chain([mesh.gateway_actor()]).map(|actor| (actor, caller(actor, mesh)))
}

pub(super) fn caller(actor: ActorId, mesh: &Mesh) -> String {
    match mesh.load_index(actor) {
        Some(load) => mesh.loads[load].name.clone(),
        None if actor == mesh.gateway_actor() => "gateway".into(),
        None => actor.to_string(),
    }
}

pub(super) fn service(id: Option<ServiceId>, mesh: &Mesh) -> String {
    let Some(id) = id else { return "a service without instances".into() };
    mesh.services.get(id.index()).map_or_else(|| format!("service {}", id.0), |service| service.name.clone())
}

pub(super) fn endpoint(callee: Option<(ServiceId, EndpointId)>, mesh: &Mesh) -> String {
    let Some((id, endpoint)) = callee else { return service(None, mesh) };
    let is_known = mesh.services.get(id.index()).is_some_and(|of| endpoint.index() < of.endpoints.len());
    if is_known { endpoint_in_words(mesh, id, endpoint) } else { service(Some(id), mesh) }
}

pub(super) fn instance(node: ActorId, ordinal: u32, mesh: &Mesh) -> String {
    let name = match mesh.node_index(node) {
        Some(at) => mesh.nodes[at].name.as_str(),
        None => "?",
    };
    format!("{name}#{ordinal}")
}

impl Kind {
    /// Name of the kind in one word, for other programs.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Queue => "queue",
            Kind::Work => "work",
            Kind::Cores => "cores",
            Kind::Sleep => "sleep",
            Kind::Network => "network",
            Kind::Retry => "retry",
            Kind::Breaker => "breaker",
            Kind::Pool => "pool",
            Kind::Activator => "activator",
            Kind::Proxy => "proxy",
            Kind::Abandoned(failure) => match failure {
                Failure::Timeout => "timeout",
                other => other.as_str(),
            },
            Kind::Client => "client",
            Kind::Below => "below",
            Kind::Unknown => "unknown",
        }
    }

    /// Description of the time spent, for people.
    pub fn phrase(self, at: Option<ServiceId>, mesh: &Mesh) -> String {
        let name = service(at, mesh);
        match self {
            Kind::Queue => format!("waiting for a slot of {name}"),
            Kind::Work => format!("work of {name}"),
            Kind::Cores => format!("waiting for a core at {name}"),
            Kind::Sleep => format!("sleep of {name}"),
            Kind::Network => format!("network to and from {name}"),
            Kind::Retry => format!("pauses before retries of {name}"),
            Kind::Breaker => format!("waiting at the circuit breaker of {name}"),
            Kind::Pool => format!("waiting for a connection to {name}"),
            Kind::Activator => format!("waiting for an instance of {name}"),
            Kind::Proxy => format!("proxies on the way to {name}"),
            Kind::Abandoned(Failure::Timeout) => format!("timeouts of {name}"),
            Kind::Abandoned(Failure::Lost) => format!("tries of {name} lost with a node"),
            Kind::Abandoned(_) => format!("failed tries of {name}"),
            Kind::Client => "sent late by the client".into(),
            Kind::Below => "calls".into(),
            Kind::Unknown => "not in the trace".into(),
        }
    }

    fn mark(self) -> char {
        match self {
            Kind::Queue => '░',
            Kind::Work => '█',
            Kind::Cores => '▓',
            Kind::Sleep => '▒',
            Kind::Network => '─',
            Kind::Retry => '·',
            Kind::Breaker => '○',
            Kind::Pool => '◦',
            Kind::Activator => '◌',
            Kind::Proxy => '=',
            Kind::Abandoned(_) => '×',
            Kind::Below => '.',
            Kind::Client | Kind::Unknown => '?',
        }
    }
}

/// Its kinds and services by their part in the whole, the longest first.
pub(super) fn shares(pieces: &[Piece]) -> Vec<(Kind, Option<ServiceId>, Span)> {
    let mut sums = std::collections::BTreeMap::<_, u64>::new();
    for piece in pieces {
        *sums.entry((piece.kind, piece.service)).or_default() += piece.to.since(piece.from).nanos();
    }
    let mut sums: Vec<_> = sums.into_iter().map(|((kind, at), ns)| (kind, at, Span::from_nanos(ns))).collect();
    sums.sort_by_key(|(kind, at, span)| (std::cmp::Reverse(*span), *kind, *at));
    sums
}

pub(super) fn share(part: f64, of: f64) -> String {
    let percent = if of > 0.0 { part / of * 100.0 } else { 0.0 };
    if percent > 0.0 && percent < 1.0 { "<1 %".into() } else { format!("{percent:.0} %") }
}

/// A length of time as people read it.
pub(super) fn time(span: Span) -> String {
    crate::show::span(Some(span.nanos()))
}

/// The text, cut to this number of columns.
pub(super) fn fit(text: &str, columns: usize) -> String {
    shortened(text, columns, '…')
}

/// One row of the picture.
pub(super) struct Row {
    pub(super) call: usize,
    pub(super) attempt: usize,
    pub(super) is_critical: bool,
}

/// The attempts in the order in which they were sent, and the number of folded ones.
pub(super) fn rows(of: &Waterfall, path: &[Piece]) -> (Vec<Row>, usize) {
    let hops: BTreeSet<usize> = path.iter().filter_map(|piece| piece.hop).collect();
    let given_up: BTreeSet<(Option<ServiceId>, Time)> = path
        .iter()
        .filter(|piece| matches!(piece.kind, Kind::Abandoned(_)))
        .map(|piece| (piece.service, piece.from))
        .collect();
    // The calls below a call stand below it: depth first, by the hop that makes them.
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); of.hops.len()];
    for (index, call) in of.calls.iter().enumerate().skip(1) {
        if let Some(by) = call.by.filter(|by| *by < of.hops.len()) {
            below[by].push(index);
        }
    }
    let mut rows = Vec::new();
    let mut open: Vec<(usize, usize)> = vec![(0, 0)];
    while let Some((call, attempt)) = open.pop() {
        let Some(it) = of.calls[call].tries.get(attempt) else { continue };
        let at = of.calls[call].callee.map(|(service, _)| service);
        let is_critical = match it.answer {
            Some(hop) => hops.contains(&hop),
            None => given_up.contains(&(at, it.sent)),
        };
        rows.push(Row { call, attempt, is_critical });
        open.push((call, attempt + 1));
        let made = it.hops.iter().flat_map(|hop| &below[*hop]);
        let mut made: Vec<usize> = made.copied().collect();
        made.reverse();
        open.extend(made.into_iter().map(|call| (call, 0)));
    }
    let all = rows.len();
    if all > ROWS_MAX {
        rows.retain(|row| row.is_critical);
        rows.truncate(ROWS_MAX);
    }
    let folded = all - rows.len();
    (rows, folded)
}

/// A request: its result, the breakdown of its time, and a row with a bar for each attempt.
pub fn waterfall(of: &Waterfall, mesh: &Mesh, paint: Paint) -> String {
    let path = of.critical_path();
    let latency = of.latency();
    let callee = endpoint(of.calls.first().and_then(|call| call.callee), mesh);
    let outcome = match of.failure {
        None => paint.on(Style::Good, &format!("done after {}", time(latency))),
        Some(failure) => {
            paint.on(Style::Bad, &format!("failed ({}) after {}", failure.as_str().replace('_', " "), time(latency)))
        }
    };
    let title = fit(&format!("{}  {callee}", name(of.root, mesh)), 46);
    let mut text = format!("{}  {outcome}\n", paint.on(Style::Bold, &title));
    text += &paint.on(Style::Dim, &format!("due at {:.6} s", of.due.secs()));
    if let retries @ 1.. = of.retries() {
        text += &paint.on(Style::Dim, &format!(", {} in all", plural_of(retries, "retry", "retries")));
    }
    text += "\n\n";
    for (kind, at, part) in shares(&path).iter().take(8) {
        let share = share(part.nanos() as f64, latency.nanos() as f64);
        text += &format!("{share:>6}  {:<54} {:>12}\n", fit(&kind.phrase(*at, mesh), 54), time(*part));
        if *kind == Kind::Queue
            && let Some(why) = longest_queue(of, &path, *at).and_then(|queue| held(queue, mesh))
        {
            text += &format!("        {}\n", paint.on(Style::Dim, &fit(&why, 72)));
        }
    }
    let (rows, folded) = rows(of, &path);
    let scale = Scale { from: of.due, to: of.ended };
    text += &format!("\n{:<LABEL$} {}\n", "critical path", scale.bar(&path));
    for row in &rows {
        let call = &of.calls[row.call];
        let it = &call.tries[row.attempt];
        let indent = " ".repeat(usize::from(call.depth.min(8)));
        let again = if it.attempt > 0 { format!(" try {}", u32::from(it.attempt) + 1) } else { String::new() };
        let place = it.to.map_or_else(String::new, |(node, ordinal)| instance(node, ordinal, mesh));
        let what = format!("{indent}{}{again}", endpoint(call.callee, mesh));
        let room = LABEL.saturating_sub(place.chars().count().min(12) + 1);
        let label = format!("{:<room$} {}", fit(&what, room), fit(&place, 12));
        let took = it.ended.unwrap_or(of.ended).since(it.sent);
        let bar = scale.bar(&of.row(row.call, row.attempt));
        let label = if row.is_critical { label } else { paint.on(Style::Dim, &label) };
        let end = match it.failure {
            None => time(took),
            Some(failure) => fit(&failure.as_str().replace('_', " "), 12),
        };
        text += &format!("{label} {bar} {end:>12}\n");
    }
    if folded > 0 {
        let none = if rows.iter().all(|row| row.is_critical) && rows.len() < ROWS_MAX {
            ", none on the critical path"
        } else {
            ""
        };
        text += &format!("... {} more{none}\n", plural_of(folded as u64, "try", "tries"));
    }
    if of.left_out > 0 {
        text += &format!("{} of this request left out: too many or too deep\n", plural(of.left_out, "call"));
    }
    text
}

/// Meaning of the marks in the bars, in lines of 80 columns, for the requests of this mesh.
pub fn legend(mesh: &Mesh, paint: Paint) -> String {
    let mut lines = vec![String::new()];
    let has_proxies = mesh.data_plane.as_ref().is_some_and(|plane| plane.proxy.is_some());
    for (mark, what) in MARKS.into_iter().filter(|(mark, _)| has_proxies || *mark != Kind::Proxy.mark()) {
        let entry = format!("{mark} {what}");
        let last = lines.last_mut().expect("there is always one");
        if last.is_empty() {
            *last = entry;
        } else if last.chars().count() + entry.chars().count() + 3 <= 80 {
            *last += &format!("   {entry}");
        } else {
            lines.push(entry);
        }
    }
    lines.iter().map(|line| format!("{}\n", paint.on(Style::Dim, line))).collect()
}

fn plural_of(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { more })
}

/// The queue at the longest wait at a service.
pub(super) fn longest_queue<'a>(of: &'a Waterfall, path: &[Piece], at: Option<ServiceId>) -> Option<&'a Queue> {
    let waits = path.iter().filter(|piece| piece.kind == Kind::Queue && piece.service == at);
    let longest = waits.max_by_key(|piece| piece.to.since(piece.from))?;
    of.hops.get(longest.hop?)?.queue.as_ref()
}

/// Holders of the slots when a request came.
pub(super) fn held(queue: &Queue, mesh: &Mesh) -> Option<String> {
    let mut by: Vec<(u64, String)> =
        queue.calls.iter().map(|(at, n)| (*n, format!("by calls to {}", service(Some(*at), mesh)))).collect();
    by.push((queue.working, "by work".into()));
    by.push((queue.sleeping, "by sleep".into()));
    let known: u64 = by.iter().map(|(n, _)| n).sum();
    by.push((queue.slots.saturating_sub(known), "by others".into()));
    by.retain(|(n, _)| *n > 0);
    by.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    let slots = match queue.slots {
        1 => "the slot was held".into(),
        n => format!("all {} slots were held", count(n)),
    };
    match by.as_slice() {
        _ if queue.is_of_some => Some(match queue.slots {
            1 => "the request that held the slot is not in this trace".into(),
            n => format!("the requests that held its {} slots are not in this trace", count(n)),
        }),
        _ if known == 0 => None,
        [(_, only)] => Some(format!("{slots} {only}")),
        many => {
            let many: Vec<String> = many.iter().map(|(n, by)| format!("{} {by}", count(*n))).collect();
            Some(format!("{slots}: {}", many.join(", ")))
        }
    }
}

struct Scale {
    from: Time,
    to: Time,
}

impl Scale {
    /// Each column shows the kind that fills most of it.
    fn bar(&self, pieces: &[Piece]) -> String {
        let whole = u128::from(self.to.since(self.from).nanos().max(1));
        let mut fills = [(0_u128, ' '); BAR];
        for piece in pieces {
            let at = |it: Time| u128::from(it.max(self.from).since(self.from).nanos()) * BAR as u128;
            let (from, to) = (at(piece.from), at(piece.to).min(whole * BAR as u128));
            let (first, last) = ((from / whole) as usize, (to.saturating_sub(1) / whole) as usize);
            for (column, fill) in fills.iter_mut().enumerate().take(last + 1).skip(first) {
                let (begin, end) = (column as u128 * whole, (column as u128 + 1) * whole);
                let filled = to.min(end).saturating_sub(from.max(begin));
                if filled > fill.0 {
                    *fill = (filled, piece.kind.mark());
                }
            }
        }
        fills.iter().map(|(_, mark)| mark).collect()
    }
}

/// A request for other programs. Times are nanoseconds after it was due.
#[derive(Clone, Debug, Serialize)]
pub struct WaterfallJson {
    request: String,
    service: Option<String>,
    endpoint: Option<String>,
    due_s: f64,
    latency_ns: u64,
    failure: Option<&'static str>,
    critical_path: Vec<PieceJson>,
    tries: Vec<TryJson>,
    left_out: u64,
}

#[derive(Clone, Debug, Serialize)]
struct PieceJson {
    from_ns: u64,
    to_ns: u64,
    kind: &'static str,
    service: Option<String>,
    instance: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct TryJson {
    service: Option<String>,
    endpoint: Option<String>,
    depth: u16,
    attempt: u8,
    instance: Option<String>,
    sent_ns: u64,
    arrived_ns: Option<u64>,
    slot_ns: Option<u64>,
    answered_ns: Option<u64>,
    ended_ns: u64,
    failure: Option<&'static str>,
    is_critical: bool,
}

impl WaterfallJson {
    /// Of a request, with the names of this mesh.
    pub fn new(of: &Waterfall, mesh: &Mesh) -> Self {
        let path = of.critical_path();
        let since = |it: Time| it.max(of.due).since(of.due).nanos();
        let instance_of = |hop: usize| {
            let hop = &of.hops[hop];
            let it = of.calls[hop.call].tries.iter().find_map(|it| it.to.filter(|(node, _)| *node == hop.node));
            it.map(|(node, ordinal)| instance(node, ordinal, mesh))
        };
        let piece = |piece: &Piece| PieceJson {
            from_ns: since(piece.from),
            to_ns: since(piece.to),
            kind: piece.kind.word(),
            service: piece.service.map(|at| service(Some(at), mesh)),
            instance: piece.hop.and_then(instance_of),
        };
        let name_of = |callee: Option<(ServiceId, EndpointId)>| {
            let (id, endpoint) = callee?;
            let of = mesh.services.get(id.index())?;
            Some((of.name.clone(), of.endpoints.get(endpoint.index())?.clone()))
        };
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (call, of) in of.calls.iter().enumerate() {
            order.extend((0..of.tries.len()).map(|at| (call, at)));
        }
        order.sort_by_key(|(call, at)| (of.calls[*call].tries[*at].sent, *call, *at));
        let critical: BTreeSet<usize> = path.iter().filter_map(|piece| piece.hop).collect();
        let given_up: BTreeSet<Time> =
            path.iter().filter(|it| matches!(it.kind, Kind::Abandoned(_))).map(|it| it.from).collect();
        let attempt = |(call, at): &(usize, usize)| {
            let call = &of.calls[*call];
            let it = &call.tries[*at];
            let hop = it.answer.or(it.hops.first().copied()).map(|hop| &of.hops[hop]);
            let name = name_of(call.callee);
            TryJson {
                service: name.as_ref().map(|it| it.0.clone()),
                endpoint: name.map(|it| it.1),
                depth: call.depth,
                attempt: it.attempt,
                instance: it.to.map(|(node, ordinal)| instance(node, ordinal, mesh)),
                sent_ns: since(it.sent),
                arrived_ns: hop.map(|hop| since(hop.arrived)),
                slot_ns: hop.and_then(|hop| hop.slot).map(since),
                answered_ns: hop.and_then(|hop| hop.ended).map(since),
                ended_ns: since(it.ended.unwrap_or(of.ended)),
                failure: it.failure.map(Failure::as_str),
                is_critical: it.answer.map_or_else(|| given_up.contains(&it.sent), |hop| critical.contains(&hop)),
            }
        };
        let name_of_root = name_of(of.calls.first().and_then(|call| call.callee));
        WaterfallJson {
            request: name(of.root, mesh),
            service: name_of_root.as_ref().map(|it| it.0.clone()),
            endpoint: name_of_root.map(|it| it.1),
            due_s: of.due.secs(),
            latency_ns: of.latency().nanos(),
            failure: of.failure.map(Failure::as_str),
            critical_path: path.iter().map(piece).collect(),
            tries: order.iter().map(attempt).collect(),
            left_out: of.left_out,
        }
    }
}
