//! A client: an actor that offers load and measures the results.
//!
//! Open loop: each request is sent at its planned time, however slow earlier replies are, and latency runs from the
//! planned time (coordinated omission: Gil Tene, "How NOT to Measure Latency").
//!
//! Closed loop: [`users`] send after they have their replies. There is no planned time, so latency runs from the send;
//! with a pace there is one. [`Wait`](crate::measure::Wait) reports the effect that a closed loop hides.

pub mod arrivals;
mod closed;
mod journeys;
pub mod users;

use std::sync::Arc;

use meshsim_actor::{Event, Span, Time};
use serde::{Deserialize, Serialize};

use crate::actors::MeshCx;
use crate::call::{CallOutcome, CallSpec, Caller};
use crate::course::{Course, Shape, Watched};
use crate::criterion::{Count, Criterion};
use crate::mark;
use crate::measure::Tally;
use crate::message::{Msg, Tick};
use crate::model::{Arrivals, COORDINATOR, Load, Mesh};
use crate::news::{News, Piece, Told};
use crate::node::caller_heartbeat;
use crate::proxy::ProxyId;
use crate::request_id::{Draw, RequestId};
use crate::results::ActorResults;
use crate::station::Passage;
use crate::view::InstanceView;

use arrivals::Plan;
use journeys::Journeys;
use users::User;

/// Offers one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    #[serde(with = "meshsim_actor::shared")]
    pub(crate) mesh: Arc<Mesh>,
    load: usize,
    #[serde(with = "meshsim_actor::shared")]
    view: Arc<InstanceView>,
    plan: Plan,
    /// Number of times planned so far, including the next; in a closed loop, number of requests sent.
    planned: u64,
    /// The next planned time, in an open loop.
    next: Option<Time>,
    /// In closed loop, the users.
    users: Vec<User>,
    /// Journeys of its users, if it has any.
    journeys: Option<Box<Journeys>>,
    calls: Caller<Planned>,
    /// The load's proxy, if it has one.
    passage: Passage,
    /// One for each target of the load's mix.
    tallies: Vec<Tally>,
    /// The time series of each of them.
    courses: Vec<Watched>,
    /// If there are several: how many requests there are at once, of all of them.
    whole: Option<Watched>,
    /// Criteria of the SLOs for this load.
    criteria: Vec<(Criterion, Vec<Count>)>,
    /// The machine is down: since the start of this span of planned times.
    down_since: Option<Time>,
    /// Spans of planned times that were not measured; at most [`GAPS_MAX`], later ones extend the last.
    gaps: Vec<(Time, Time)>,
}

/// Bound of the spans that a client names as not measured.
pub const GAPS_MAX: usize = 1024;

/// A client that is further behind its plan when the run ends has not measured its whole load. A client within this
/// bound was about to send.
const BEHIND_MAX: Span = Span::from_millis(100);

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Planned {
    /// [`RequestId::root`].
    root: u64,
    at: Time,
    sent: Time,
    target: u32,
    /// In a closed loop and on a journey, its user.
    user: u32,
    /// In closed loop, how many requests the load had sent, with this one.
    nth: u64,
}

/// A request that is due.
struct Due {
    /// Its number.
    number: u64,
    /// The moment from which its latency runs.
    at: Time,
    /// When it was to be sent.
    due: Time,
    user: u32,
}

impl Client {
    /// The client of load number `load`.
    pub fn new(mesh: Arc<Mesh>, load: usize) -> Self {
        let view = crate::view::no_view(&mesh);
        let targets = mesh.loads[load].mix.len();
        let users = mesh.loads[load].arrivals.users().map_or(0, |users| users.count as usize);
        let tallies = vec![Tally::default(); targets];
        let course = Watched::new(Shape::of_load(mesh.loads[load].window), Time::ZERO);
        let of_load = |criterion: &&Criterion| criterion.scope.is_load(load);
        let criteria = mesh
            .criteria
            .iter()
            .filter(of_load)
            .map(|criterion| (*criterion, vec![Count::default(); criterion.places()]))
            .collect();
        let journeys = mesh.loads[load].journey().map(|_| Box::new(Journeys::new(users)));
        Client {
            mesh,
            load,
            view,
            plan: Plan::default(),
            planned: 0,
            next: None,
            users: vec![User::default(); users],
            journeys,
            calls: Caller::new(),
            passage: Passage::default(),
            tallies,
            whole: (targets > 1).then(|| course.clone()),
            courses: vec![course; targets],
            criteria,
            down_since: None,
            gaps: Vec::new(),
        }
    }

    /// Results of its requests: one tally for each target of its load's mix.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// Their time series until `now`; if there are several targets, one more series has the number of requests in
    /// flight at once, over all of them.
    pub fn courses(&self, now: Time) -> Vec<Course> {
        self.courses.iter().chain(&self.whole).map(|watched| watched.until(now)).collect()
    }

    /// Its measurements until `now`, with the ages of the requests in flight.
    pub(crate) fn results(&self, now: Time) -> ActorResults {
        let load = &self.mesh.loads[self.load];
        let (mut tallies, mut criteria) = (self.tallies.clone(), self.criteria.clone());
        let mut courses = self.courses(now);
        let longest: Vec<_> = criteria.iter().map(|(_, counts)| Count::longest(counts)).collect();
        for planned in self.calls.owners().filter(|planned| planned.at >= load.start + load.warmup) {
            let age = now.since(planned.at);
            let tally = &mut tallies[planned.target as usize];
            tally.pending.record(age);
            tally.longest_wait = tally.longest_wait.or(self.wait(planned, now));
            courses[planned.target as usize].left(planned.at, age);
            for ((criterion, counts), longest) in criteria.iter_mut().zip(&longest) {
                if criterion.covers(planned.target, planned.at) {
                    counts[criterion.place(planned.at)].unanswered(criterion, age, *longest);
                }
            }
        }
        let mut gaps = self.gaps.clone();
        let due = self.users.iter().filter_map(|user| Some(user.next?.due)).chain(self.next).min();
        let behind = due.filter(|due| *due + BEHIND_MAX < now);
        if let Some(from) = self.down_since.or(behind).filter(|from| *from < now) {
            gaps.push((from, now.min(load.end)));
        }
        ActorResults::Client {
            tallies,
            courses,
            counts: criteria.into_iter().map(|(_, counts)| counts).collect(),
            gaps,
            journeys: self.journeys.as_ref().map(|journeys| Box::new(journeys.counts.clone())),
            proxy: self.passage.used().map(Box::new),
        }
    }

    /// Its measurements since those that `told` covers.
    pub(crate) fn news(&self, told: Told, now: Time) -> (News, Told) {
        let piece = |watched: &Watched| {
            let from = told.from(watched.course.shape().length_ns, now);
            Piece::new(watched.since(from, now), from, now)
        };
        // A request that is due and not sent yet counts in the window of its planned time, too.
        let open = self.calls.owners().map(|planned| planned.at).chain(self.next_planned()).min();
        let until = open.map_or(now, |open| open.min(now));
        (News::Client(self.courses.iter().chain(&self.whole).map(piece).collect()), Told { until, entries: 0 })
    }

    /// True if with these arrivals it would have done the same so far: they are its own up to the request that it has
    /// planned last.
    pub fn has_planned_as(&self, arrivals: &Arrivals) -> bool {
        let load = &self.mesh.loads[self.load];
        let same = load.start + load.arrivals.same_until(arrivals);
        load.arrivals == *arrivals || self.next.is_some_and(|next| next < same)
    }

    /// The instance view that it uses; it may be stale.
    pub fn view(&self) -> &InstanceView {
        &self.view
    }

    /// Requests that have not ended yet.
    pub fn in_flight(&self) -> usize {
        self.calls.in_flight()
    }

    pub(crate) fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        match event {
            Event::Start => self.start(cx),
            Event::Message { msg: Msg::Reply(reply), .. } => {
                let ended = self.calls.reply(reply, &self.mesh, cx);
                self.ended(ended, cx);
            }
            Event::Message { from: COORDINATOR, msg: Msg::InstanceView(view) } => self.take_view(view, cx),
            Event::Message { from: COORDINATOR, msg: Msg::Loads(board) } => {
                self.calls.take_board(board, &self.mesh, cx.now());
            }
            Event::Message { from, msg: Msg::AskDemand { service, round } } if self.mesh.is_autoscaler(from) => {
                self.calls.tell_demand(from, service, round, cx);
            }
            // A peer that keeps to the protocol sends a client none of these.
            Event::Message { .. } => {}
            Event::Timer(Tick::Arrival) => self.offer(cx),
            Event::Timer(Tick::User(user)) if self.users.is_empty() => self.next_step(user, cx),
            Event::Timer(Tick::User(user)) => self.begin(user, cx),
            Event::Timer(Tick::Heartbeat) => caller_heartbeat(&self.mesh, &self.view, false, cx),
            Event::Timer(Tick::Timeout(call)) => {
                let ended = self.calls.timeout(call, &self.mesh, cx);
                self.ended(ended, cx);
            }
            Event::Timer(Tick::Send { call, attempt }) => self.calls.send_late(call, attempt, &self.mesh, cx),
            Event::Timer(Tick::Call(call, tick)) => {
                let ended = self.calls.tick((call, tick), &self.mesh, &self.view, cx);
                self.ended(ended, cx);
            }
            Event::Timer(Tick::Retry(call)) => {
                let ended = self.calls.retry(call, &self.mesh, &self.view, cx);
                self.ended(ended, cx);
            }
            Event::Timer(Tick::Worked(pass)) => self.passage.worked(pass, &self.mesh, cx),
            Event::Timer(Tick::Passed(pass)) => self.passage.passed(pass, &mut self.calls, cx),
            Event::Timer(_) => unreachable!("a client arms no such timer"),
        }
        self.passage.take_in(&mut self.calls, &self.mesh, cx);
    }

    /// The machine went down: requests in flight are not measured, and requests planned meanwhile are not made up for.
    pub(crate) fn reboot(&mut self) {
        // The earliest planned time among the requests in flight and the next one.
        let in_flight = self.calls.owners().map(|planned| planned.at).min();
        self.down_since = self.down_since.or(in_flight).or(self.next_planned());
        let measured = self.mesh.loads[self.load].start + self.mesh.loads[self.load].warmup;
        for planned in self.calls.owners().filter(|planned| planned.at >= measured) {
            self.courses[planned.target as usize].lost(planned.at);
        }
        self.courses.iter_mut().chain(&mut self.whole).for_each(Watched::clear);
        self.view = crate::view::no_view(&self.mesh);
        self.calls = Caller::new();
        self.passage.reboot();
        self.users.iter_mut().for_each(|user| user.next = None);
        self.journeys.iter_mut().for_each(|journeys| journeys.clear());
    }

    fn start(&mut self, cx: &mut MeshCx<'_>) {
        if self.next.is_none() {
            self.plan_next(cx);
        }
        // A process that comes in the place of one that was lost has the plan from the beginning.
        let load = &self.mesh.loads[self.load];
        let users_come =
            Some(load.start).filter(|start| !self.users.is_empty() && self.planned == 0 && *start < load.end);
        let behind = self.next.or(users_come).filter(|next| *next + BEHIND_MAX < cx.now());
        if let Some(from) = self.down_since.take().or(behind).filter(|from| *from < cx.now()) {
            let to = cx.now().min(self.mesh.loads[self.load].end);
            let is_full = self.gaps.len() >= GAPS_MAX;
            match self.gaps.last_mut().filter(|_| is_full) {
                Some(last) => last.1 = to,
                None => self.gaps.push((from, to)),
            }
        }
        while self.next.is_some_and(|next| next < cx.now()) {
            self.plan_next(cx);
        }
        self.arm_next(cx);
        self.users_come(cx);
        caller_heartbeat(&self.mesh, &self.view, true, cx);
    }

    /// The next moment that is planned and at which nothing is sent yet.
    fn next_planned(&self) -> Option<Time> {
        self.users.iter().filter_map(|user| Some(user.next?.planned)).chain(self.next).min()
    }

    fn plan_next(&mut self, cx: &mut MeshCx<'_>) {
        let load = &self.mesh.loads[self.load];
        if !self.users.is_empty() {
            return;
        }
        let next = self.plan.next(&load.arrivals, cx.rng()).map(|since| load.start + since);
        self.next = next.filter(|at| *at < load.end);
        self.planned += 1;
    }

    fn arm_next(&self, cx: &mut MeshCx<'_>) {
        if let Some(at) = self.next {
            cx.arm(at, Tick::Arrival);
        }
    }

    /// Sends the requests that are due.
    fn offer(&mut self, cx: &mut MeshCx<'_>) {
        while let Some(at) = self.next.filter(|at| *at <= cx.now()) {
            let user = self.journeys.as_mut().map_or(0, |journeys| journeys.arrives());
            self.send(Due { number: self.planned - 1, at, due: at, user }, cx);
            self.plan_next(cx);
        }
        self.arm_next(cx);
    }

    fn send(&mut self, Due { number, at, due, user }: Due, cx: &mut MeshCx<'_>) {
        let load = &self.mesh.loads[self.load];
        let id = RequestId::new(cx.id(), number);
        let target = match &mut self.journeys {
            Some(journeys) => journeys.step(user, number, at, load.start + load.warmup),
            None => load.targeting.draw(&load.mix, at.since(load.start), || id.draws(self.mesh.seed, 0, Draw::Target)),
        };
        let wanted = &load.mix[target];
        let draws = || id.draws(self.mesh.seed, 0, Draw::Size);
        let bytes = load.sizes.as_ref().map_or(wanted.request_bytes, |sizes| sizes.sample(&mut draws()));
        let callee = CallSpec {
            id,
            by: None,
            optional: false,
            service: wanted.service,
            endpoint: wanted.endpoint,
            bytes,
            policy: load.policy,
            deadline: load.deadline.map_or(Time::NEVER, |deadline| at + deadline),
            traced: false,
        };
        cx.note(mark::DUE, id.root, at.nanos());
        let is_warmup = at < load.start + load.warmup;
        let tally = &mut self.tallies[target];
        if is_warmup {
            tally.warmup += 1;
        } else {
            tally.offered += 1;
            if due < cx.now() {
                tally.lag.record(cx.now().since(due));
            }
            // It is in flight from its planned time on, even if it is sent late.
            self.whole.iter_mut().for_each(|whole| whole.came_late(at, cx.now()));
            let watched = &mut self.courses[target];
            watched.came_late(at, cx.now());
            watched.course.at(at).offered += 1;
            let covering = self.criteria.iter_mut().filter(|(criterion, _)| criterion.covers(target as u32, at));
            covering.for_each(|(criterion, counts)| counts[criterion.place(at)].offered += 1);
        }
        let planned = Planned { root: id.root, at, sent: cx.now(), target: target as u32, user, nth: self.planned };
        let ended = self.calls.call(callee, planned, ProxyId::ONLY, &self.mesh, &self.view, cx);
        self.ended(ended, cx);
    }

    fn take_view(&mut self, view: Arc<InstanceView>, cx: &mut MeshCx<'_>) {
        if !view.replaces(&self.view) {
            return;
        }
        let old = std::mem::replace(&mut self.view, view);
        if let Some(mesh) = self.view.set(&old, &self.mesh) {
            let old = std::mem::replace(&mut self.mesh, mesh);
            self.calls.settings_changed(&old, &self.mesh, cx);
        }
        let lost = self.calls.view_changed(&old, &self.mesh, &self.view, cx);
        lost.into_iter().for_each(|ended| self.ended(Some(ended), cx));
    }

    fn ended(&mut self, ended: Option<CallOutcome<Planned>>, cx: &mut MeshCx<'_>) {
        let Some(ended) = ended else { return };
        let (Planned { user, sent, root, .. }, failure) = (ended.owner, ended.failure);
        self.count(ended, cx.now());
        match self.journeys {
            Some(_) => self.journey_goes_on(user, (root, sent), failure, cx),
            None => self.goes_on(user, sent, cx),
        }
    }

    fn count(&mut self, ended: CallOutcome<Planned>, now: Time) {
        let CallOutcome { owner, failure, degraded, retries, .. } = ended;
        let wait = self.wait(&owner, now);
        let load = &self.mesh.loads[self.load];
        if owner.at < load.start + load.warmup {
            return;
        }
        let tally = &mut self.tallies[owner.target as usize];
        tally.retries += u64::from(retries);
        for counted in ended.counted() {
            tally.over_budget += u64::from(counted.over_budget());
            tally.policies.add(&counted.marks);
        }
        tally.longest_wait = tally.longest_wait.or(wait);
        self.whole.iter_mut().for_each(|whole| _ = whole.ended(now));
        let course = self.courses[owner.target as usize].ended(now);
        let window = course.at(owner.at);
        window.retries += u64::from(retries);
        for counted in ended.counted() {
            window.timeouts += counted.timeouts();
            window.policies.add(&counted.marks);
        }
        let covering = self.criteria.iter_mut().filter(|(criterion, _)| criterion.covers(owner.target, owner.at));
        covering.for_each(|(criterion, counts)| {
            let count = &mut counts[criterion.place(owner.at)];
            match failure {
                None => count.answered(criterion, now.since(owner.at)),
                Some(_) => count.failed += 1,
            }
        });
        match failure {
            None => {
                tally.degraded += u64::from(degraded);
                record_done(tally, load, owner, now);
                course.done(owner.at, now.since(owner.at), owner.root);
            }
            Some(failure) => {
                tally.failed.count(failure);
                course.failed(owner.at, now.since(owner.at), failure);
            }
        }
    }
}

fn record_done(tally: &mut Tally, load: &Load, planned: Planned, now: Time) {
    let latency = now.since(planned.at);
    tally.done += 1;
    tally.latency.record(latency);
    tally.batches.record(planned.at.since(load.start + load.warmup), latency);
    tally.uncorrected.record(now.since(planned.sent));
}
