//! The operations as they will run if the nodes follow: iterated by the coordinator's own functions, without a mesh.
//!
//! The nodes are assumed to report the decided state, after the `start_delay` of new instances.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use meshsim_actor::{Rng, Span, Time};
use meshsim_mesh::model::{Change, Operation, Rollout, ServiceId};
use meshsim_mesh::operation::{self, Desired, Iteration, Observed};
use meshsim_mesh::rollout::history::{Entry, RolloutHistory};
use meshsim_mesh::rollout::{Assumed, RolloutProgress};

use super::Checked;

/// Bound on the iterations of all operations together; later ones are not examined.
const TURNS_MAX: u32 = 200_000;

/// Instances by version: rising versions, counts above zero.
pub(super) type Versions = Vec<(u32, u32)>;

pub(super) fn total(versions: &[(u32, u32)]) -> u32 {
    versions.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

pub(super) fn count_of(versions: &Versions, version: u32) -> u32 {
    versions.iter().find(|(v, _)| *v == version).map_or(0, |(_, count)| *count)
}

/// A service from some time on.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) at: Time,
    pub(super) service: ServiceId,
    /// Desired state.
    pub(super) wanted: Desired,
    /// Instances that accept requests and are to stay.
    pub(super) ready: Versions,
    /// Slots of an instance.
    pub(super) slots: f64,
}

/// Progress of an operation.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// Its place in the mesh's operations.
    pub(super) operation: usize,
    /// From its beginning until its last change is ready.
    pub(super) from: Time,
    pub(super) until: Time,
    /// Result of its last iteration; `None`: it did not end within the run.
    pub(super) end: Option<Iteration>,
    /// Instances of the service when it ended, extra ones included.
    pub(super) reached: u32,
    /// The steps in which it takes ready instances away while others stay.
    pub(super) taken: Vec<Taken>,
    /// The steps of a rollout, if no analysis fails.
    pub(super) rollout: Vec<RolloutMoment>,
}

/// A rollout from some time on.
#[derive(Clone, Debug)]
pub(super) struct RolloutMoment {
    pub(super) at: Time,
    pub(super) what: Entry,
    /// Share of the requests that the new version is to have.
    pub(super) weight: f64,
    /// Instances of the old version, and of the new one, that are to run.
    pub(super) instances: (u32, u32),
}

/// The whole plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// By time.
    pub(super) moments: Vec<Moment>,
    /// By operation.
    pub(super) courses: Vec<Course>,
    /// False if there are too many turns to look at all.
    pub(super) is_whole: bool,
}

/// Instances that a step takes away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// The share of the requests that they had.
    pub(super) share: f64,
    /// Time for which callers could know before that they get none.
    pub(super) known_for: Span,
}

#[derive(Clone, Default)]
struct State {
    wanted: Desired,
    ready: Versions,
    /// (when it is ready, version, instances), in this order.
    starting: Vec<(Time, u32, u32)>,
    /// Time of the last change of the ready instances, and the shares of the requests until then: callers use these
    /// until they learn of the change.
    changed: (Time, Vec<(u32, f64)>),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Ready(usize),
    Begin(usize),
    Turn(usize),
}

struct Running {
    operation: usize,
    steps: u32,
    goes_on: bool,
    /// State of a rollout, and when it is looked at next.
    rollout: RolloutProgress,
    history: RolloutHistory,
    next: Time,
}

impl Running {
    fn new(operation: usize, now: Time) -> Self {
        let (rollout, history) = (RolloutProgress::default(), RolloutHistory::default());
        Running { operation, steps: 0, goes_on: true, rollout, history, next: now }
    }

    /// Advances a rollout, with analyses that succeed. Returns what it decided, and what happened meanwhile.
    fn advance(
        &mut self,
        rollout: &Rollout,
        now: Time,
        state: &mut State,
        every: Span,
    ) -> (Iteration, Vec<RolloutMoment>) {
        let told = self.history.entries.len();
        let reported = state.ready.clone();
        let observed = Observed::of(&reported);
        let (wanted, history) = (&mut state.wanted, &mut self.history);
        let advance = self.rollout.advance(rollout, now, wanted, observed, &mut Assumed::measure, history);
        self.next = advance.next(now, every.max(Span::from_nanos(1)));
        let new = count_of(&state.wanted.versions, rollout.to);
        let instances = (total(&state.wanted.versions) - new, new);
        let weight = self.history.weight;
        let moment = |(at, what): &(Time, Entry)| RolloutMoment { at: *at, what: what.clone(), weight, instances };
        (advance.turn, self.history.entries[told..].iter().map(moment).collect())
    }
}

impl Timeline {
    pub(super) fn new(checked: &Checked<'_>) -> Self {
        let (mesh, end) = (&checked.experiment.mesh, checked.end);
        let mut states = vec![State::default(); mesh.services.len()];
        let mut running: Vec<Running> = vec![];
        // Operations in progress of each service.
        let mut in_flight: Vec<Vec<usize>> = vec![vec![]; mesh.services.len()];
        let mut timeline = Timeline { is_whole: true, ..Timeline::default() };
        // Items of one time in the order in which they were put in.
        let mut queue = BinaryHeap::new();
        let mut order = 0u64;
        let mut put = |queue: &mut BinaryHeap<_>, at: Time, item: Item| {
            order += 1;
            queue.push(Reverse((at, order, item)));
        };
        // A drain changes where instances are, and not which there are.
        let moves = |(_, operation): &(usize, &Operation)| !matches!(operation.change, Change::Drain(_));
        for (index, operation) in mesh.operations.iter().enumerate().filter(moves) {
            put(&mut queue, operation.at, Item::Begin(index));
        }
        let mut turns = 0;
        while let Some(Reverse((now, _, item))) = queue.pop() {
            if now >= end {
                break;
            }
            turns += 1;
            if turns > TURNS_MAX {
                timeline.is_whole = false;
                break;
            }
            let index = match item {
                Item::Ready(service) => {
                    if states[service].settle(now) {
                        timeline.note(now, ServiceId(service as u16), &states[service]);
                    }
                    continue;
                }
                Item::Begin(operation) => {
                    let Operation { service, change, .. } = &mesh.operations[operation];
                    let others = &mut in_flight[service.index()];
                    others.retain(|other| running[*other].goes_on);
                    for other in others.iter() {
                        let older = mesh.operations[running[*other].operation].change.kind();
                        running[*other].goes_on = !operation::supersedes(change.kind(), older);
                    }
                    let (from, until) = (now, now);
                    let rollout = vec![];
                    let course = Course { operation, from, until, end: None, reached: 0, taken: vec![], rollout };
                    timeline.courses.push(course);
                    running.push(Running::new(operation, now));
                    if let Change::Steer(steer) = change {
                        let steered = others.iter().copied().find(|other| {
                            let it = &mut running[*other];
                            let Change::Rollout(rollout) = &mesh.operations[it.operation].change else { return false };
                            it.goes_on && it.rollout.steer(*steer, rollout, now, &mut it.history)
                        });
                        let end = if steered.is_some() { Iteration::Reached } else { Iteration::Refused };
                        timeline.courses[running.len() - 1].end = Some(end);
                        running.last_mut().expect("it was put in").goes_on = false;
                        let Some(steered) = steered else { continue };
                        running[steered].next = now;
                        steered
                    } else {
                        others.push(running.len() - 1);
                        running.len() - 1
                    }
                }
                Item::Turn(index) => index,
            };
            // A rollout that was resumed has an older item.
            if !running[index].goes_on || now < running[index].next {
                continue;
            }
            let operation = &mesh.operations[running[index].operation];
            let service = mesh.service(operation.service);
            let is_rollout = matches!(operation.change, Change::Rollout(_));
            let state = &mut states[operation.service.index()];
            state.settle(now);
            let before = (state.wanted.versions.clone(), state.wanted.c);
            let steps = running[index].steps;
            let mut rng = Rng::keyed(checked.experiment.seed, index as u64, u64::from(steps));
            let reported = state.ready.clone();
            let observed = Observed::of(&reported);
            let was_canary = state.wanted.canary.is_some();
            let shares = state.wanted.request_shares(&reported);
            let turn = match &operation.change {
                Change::Rollout(rollout) => {
                    let (turn, moments) = running[index].advance(rollout, now, state, operation.every);
                    timeline.courses[index].rollout.extend(moments);
                    // A weight needs no instance to change.
                    if state.wanted.canary.is_some() && state.wanted.request_shares(&reported) != shares {
                        state.changed = (now, shares.clone());
                    }
                    turn
                }
                change => operation::iterate(change, steps, service, &mut state.wanted, observed, &mut rng),
            };
            let course = &mut timeline.courses[index];
            course.reached = total(&state.wanted.versions);
            if matches!(turn, Iteration::Step | Iteration::Last) {
                running[index].steps += 1;
                course.until = now;
                if before != (state.wanted.versions.clone(), state.wanted.c) {
                    let ready_at = now + service.start_delay;
                    let comes = state.follow(ready_at);
                    let gone = |(version, share): &(u32, f64)| {
                        let (before, after) = (count_of(&reported, *version), count_of(&state.ready, *version));
                        share * f64::from(before - after.min(before)) / f64::from(before.max(1))
                    };
                    let mut share: f64 = shares.iter().map(gone).sum();
                    let mut known_for = Span::ZERO;
                    // At the end of a canary the instances without requests are removed, as soon as callers know.
                    if was_canary && state.wanted.canary.is_none() && share == 0.0 {
                        share = state.changed.1.iter().map(gone).sum();
                        known_for = now.since(state.changed.0);
                    }
                    if share > 0.0 && !state.ready.is_empty() {
                        course.taken.push(Taken { share, known_for });
                    }
                    if comes {
                        course.until = course.until.max(ready_at);
                        put(&mut queue, ready_at, Item::Ready(operation.service.index()));
                    }
                }
                timeline.note(now, operation.service, state);
            }
            let is_done = match turn {
                Iteration::Step => operation.times.is_some_and(|times| running[index].steps >= times),
                Iteration::Wait => false,
                Iteration::Last | Iteration::Reached | Iteration::Stuck(_) | Iteration::Refused => true,
            };
            if is_done {
                if turn == Iteration::Step {
                    operation::stop(&operation.change, &mut state.wanted);
                }
                running[index].goes_on = false;
                timeline.courses[index].end = Some(turn);
            } else {
                let every = operation.every.max(Span::from_nanos(1));
                let next = if is_rollout { running[index].next } else { now + every };
                put(&mut queue, next, Item::Turn(index));
            }
        }
        timeline
    }

    fn note(&mut self, at: Time, service: ServiceId, state: &State) {
        self.moments.push(Moment {
            at,
            service,
            wanted: state.wanted.clone(),
            ready: state.ready.clone(),
            slots: state.wanted.c.round().max(1.0),
        });
    }

    /// Spans in which a service is deployed: from, until.
    pub(super) fn deployed(&self, service: ServiceId) -> Vec<(Time, Time)> {
        let mut spans: Vec<(Time, Time)> = vec![];
        let mut is_there = false;
        for moment in self.moments.iter().filter(|moment| moment.service == service) {
            match (is_there, moment.wanted.deployed) {
                (false, true) => spans.push((moment.at, Time::NEVER)),
                (true, false) => spans.last_mut().expect("it was deployed").1 = moment.at,
                _ => {}
            }
            is_there = moment.wanted.deployed;
        }
        spans
    }
}

impl State {
    /// Makes the instances ready that are due by now. True if there were any.
    fn settle(&mut self, now: Time) -> bool {
        let due = self.starting.iter().take_while(|(at, ..)| *at <= now).count();
        if due > 0 {
            self.changed = (self.starting[due - 1].0, self.wanted.request_shares(&self.ready));
        }
        for (_, version, count) in self.starting.drain(..due) {
            add(&mut self.ready, version, count);
        }
        self.wanted.saw(&self.ready);
        due > 0
    }

    /// Applies the desired state to the nodes. Returns whether new instances start.
    fn follow(&mut self, ready_at: Time) -> bool {
        let mut comes = false;
        let wanted = &self.wanted.versions;
        self.ready.retain(|(version, _)| count_of(wanted, *version) > 0);
        self.starting.retain(|(_, version, _)| count_of(wanted, *version) > 0);
        for (version, wanted) in wanted {
            let ready = count_of(&self.ready, *version);
            let starting: u32 = self.starting.iter().filter(|(_, v, _)| v == version).map(|(.., count)| count).sum();
            let mut surplus = (ready + starting).saturating_sub(*wanted);
            // Instances that are not ready are removed first.
            for (_, _, count) in self.starting.iter_mut().rev().filter(|(_, v, _)| v == version) {
                let less = surplus.min(*count);
                *count -= less;
                surplus -= less;
            }
            if let Some((_, count)) = self.ready.iter_mut().find(|(v, _)| v == version) {
                *count -= surplus;
            }
            let more = wanted.saturating_sub(ready + starting);
            if more > 0 {
                self.starting.push((ready_at, *version, more));
                comes = true;
            }
        }
        self.ready.retain(|(_, count)| *count > 0);
        self.starting.retain(|(.., count)| *count > 0);
        self.starting.sort();
        comes
    }
}

fn add(versions: &mut Versions, version: u32, count: u32) {
    match versions.binary_search_by_key(&version, |(v, _)| *v) {
        Ok(at) => versions[at].1 += count,
        Err(at) => versions.insert(at, (version, count)),
    }
}

/// An operation in few words: `extend geo to 20`.
pub(super) fn name_of(operation: &Operation, service: &str) -> String {
    match &operation.change {
        Change::Extend { to, .. } => format!("extend {service} to {to}"),
        Change::Update { to, .. } => format!("update {service} to {to}"),
        Change::Scale { by } => format!("scale {service} by {by}"),
        Change::Rollout(rollout) => format!("rollout {service} to {}", rollout.to),
        Change::Set(setting) => format!("set {service}.{}", setting.key()),
        change => format!("{} {service}", change.kind().as_str()),
    }
}
