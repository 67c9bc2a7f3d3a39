//! The critical path: attribution of the latency to its parts.

use meshsim_actor::{Span, Time};
use meshsim_mesh::measure::Failure;
use meshsim_mesh::model::ServiceId;

use super::{Step, Try, Waterfall};

/// A piece of the time of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Start time.
    pub from: Time,
    /// End time.
    pub to: Time,
    /// Kind of the time.
    pub kind: Kind,
    /// The service where it was spent, or toward which the message was sent.
    pub service: Option<ServiceId>,
    /// The hop that it is a part of, if it is one.
    pub hop: Option<usize>,
}

/// Kind of time in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Waiting for a slot of an instance.
    Queue,
    /// Work, as long as it takes on an idle machine.
    Work,
    /// Work that takes longer, because others work too or the machine is slow.
    Cores,
    /// A sleep of a script.
    Sleep,
    /// Messages in flight.
    Network,
    /// The backoff before another attempt.
    Retry,
    /// Waiting at a circuit breaker, for one of its connections.
    Breaker,
    /// Waiting for a connection to an instance.
    Pool,
    /// Waiting for the service to have a ready instance.
    Activator,
    /// At the proxies on its way: waiting for a worker, and being worked on.
    Proxy,
    /// An attempt that was given up, from its send on.
    Abandoned(Failure),
    /// The client sent it later than it was due.
    Client,
    /// Calls made meanwhile, where these are drawn by themselves. Never on a critical path.
    Below,
    /// Time that the trace does not explain.
    Unknown,
}

impl Waterfall {
    /// Time from the planned time to the end, without gaps or overlaps: the pieces add up to the latency.
    ///
    /// Of concurrent branches, the one that ends last counts. An attempt that its caller gave up counts as a whole.
    pub fn critical_path(&self) -> Vec<Piece> {
        let mut walk = Walk::new(self, self.due, false);
        if let Some(sent) = self.calls.first().and_then(|call| call.tries.first()) {
            walk.until(sent.ready(), self.ended, Kind::Client, None, None);
        }
        walk.call(0, self.ended);
        walk.until(self.ended, self.ended, Kind::Unknown, None, None);
        walk.pieces
    }

    /// Timeline of one attempt, from its sending to its end: each call below it is one piece.
    pub fn row(&self, call: usize, at: usize) -> Vec<Piece> {
        let of = &self.calls[call].tries[at];
        let mut walk = Walk::new(self, of.sent, true);
        let limit = of.ended.unwrap_or(self.ended);
        walk.attempt(call, of, limit);
        walk.pieces
    }
}

impl Try {
    /// The time at which its caller would have sent it, if it had not had to wait.
    fn ready(&self) -> Time {
        self.activated.unwrap_or(self.chosen())
    }

    /// The time at which it had an instance to go to.
    fn chosen(&self) -> Time {
        self.held.or(self.pooled).or(self.passing).unwrap_or(self.sent)
    }
}

struct Walk<'a> {
    of: &'a Waterfall,
    at: Time,
    /// Calls are one piece.
    is_flat: bool,
    pieces: Vec<Piece>,
}

impl<'a> Walk<'a> {
    fn new(of: &'a Waterfall, at: Time, is_flat: bool) -> Self {
        Walk { of, at, is_flat, pieces: Vec::new() }
    }

    /// Until `to`, but not beyond `limit`, it was this.
    fn until(&mut self, to: Time, limit: Time, kind: Kind, service: Option<ServiceId>, hop: Option<usize>) {
        let (from, to) = (self.at, to.min(limit));
        if to <= from {
            return;
        }
        self.at = to;
        match self.pieces.last_mut() {
            Some(last) if (last.kind, last.service, last.hop) == (kind, service, hop) => last.to = to,
            _ => self.pieces.push(Piece { from, to, kind, service, hop }),
        }
    }

    fn call(&mut self, index: usize, limit: Time) {
        let of = self.of;
        let Some(call) = of.calls.get(index) else { return };
        let service = call.callee.map(|(service, _)| service);
        // An attempt that has not ended when the call has was beside another one, which won: that one's time counts.
        for it in call.tries.iter().filter(|it| it.ended.is_some() || call.ended.is_none()) {
            self.until(it.ready(), limit, Kind::Retry, service, None);
            self.until(it.chosen(), limit, Kind::Activator, service, None);
            let passing = it.passing.unwrap_or(it.sent);
            self.until(it.pooled.unwrap_or(passing), limit, Kind::Breaker, service, None);
            self.until(passing, limit, Kind::Pool, service, None);
            self.until(it.sent, limit, Kind::Proxy, service, None);
            self.attempt(index, it, limit.min(it.ended.unwrap_or(limit)));
        }
        self.until(call.ended.unwrap_or(limit), limit, Kind::Unknown, service, None);
    }

    fn attempt(&mut self, call: usize, it: &Try, limit: Time) {
        let service = self.of.calls[call].callee.map(|(service, _)| service);
        match (it.answer, it.failure) {
            (Some(hop), _) => {
                let arrived = self.of.hops[hop].arrived;
                self.until(it.came.unwrap_or(arrived).min(arrived), limit, Kind::Network, service, None);
                self.until(arrived, limit, Kind::Proxy, service, None);
                self.hop(hop, limit);
                self.until(limit, limit, Kind::Network, service, None);
            }
            (None, Some(failure)) => self.until(limit, limit, Kind::Abandoned(failure), service, None),
            (None, None) => self.until(limit, limit, Kind::Unknown, service, None),
        }
    }

    fn hop(&mut self, index: usize, limit: Time) {
        let of = self.of;
        let hop = &of.hops[index];
        let service = of.calls[hop.call].callee.map(|(service, _)| service);
        let limit = limit.min(hop.ended.unwrap_or(limit));
        self.until(hop.slot.unwrap_or(limit), limit, Kind::Queue, service, Some(index));
        if !hop.frames.is_empty() {
            self.frame(index, 0, limit, service);
        }
        self.until(limit, limit, Kind::Unknown, service, Some(index));
    }

    fn frame(&mut self, hop: usize, index: usize, limit: Time, service: Option<ServiceId>) {
        let frames = &self.of.hops[hop].frames;
        let Some(frame) = frames.get(index) else { return };
        let end = frame.ended.unwrap_or(limit).min(limit);
        for (place, (began, step)) in frame.steps.iter().enumerate() {
            self.until(*began, end, Kind::Unknown, service, Some(hop));
            let to = frame.steps.get(place + 1).map_or(end, |(next, _)| *next).min(end);
            match step {
                Step::Work(span) => {
                    let took = to.since(self.at.min(to));
                    let waited: Span = took - (*span).min(took);
                    self.until(self.at + waited, to, Kind::Cores, service, Some(hop));
                    self.until(to, to, Kind::Work, service, Some(hop));
                }
                Step::Sleep => self.until(to, to, Kind::Sleep, service, Some(hop)),
                Step::Detach(_) => {}
                Step::Call(_) | Step::Fork(_) if self.is_flat => self.until(to, to, Kind::Below, service, Some(hop)),
                Step::Call(call) => self.call(*call, to),
                Step::Fork(branches) => {
                    // A branch begins after its frame, so this goes down only.
                    let last = branches.iter().copied().filter(|at| *at > index);
                    if let Some(last) = last.max_by_key(|at| (frames[*at].ended.unwrap_or(Time::NEVER), *at)) {
                        self.frame(hop, last, to, service);
                    }
                }
            }
            self.until(to, to, Kind::Unknown, service, Some(hop));
        }
        self.until(end, end, Kind::Unknown, service, Some(hop));
    }
}
