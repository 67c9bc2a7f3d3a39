//! Expectations for one request: visits per service, duration, and probability of failure.
//!
//! A script is followed once, from its first step to its last, with the probability that it is still running. A failing
//! step ends it, so later steps are visited less often; a retried call is visited more often. A call that fails with
//! probability f and has R retries makes `(1 - f^(R+1)) / (1 - f)` attempts on average, and fails with `f^(R+1)`.
//! Attempts are taken as independent, so these are exact expectations for every graph without queueing, uncertain
//! timeouts and binding retry budgets. Other cases are noted.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::Dist;
use meshsim_mesh::Mesh;
use meshsim_mesh::model::{
    Cached, Call, CallPolicy, EndpointId, Load, Queued, RETRIES_MAX, Repeat, Retry, ScriptStep, ServiceId,
};

use super::impaired::{self, Hit};
use super::loads;
use super::span::{self, Hop};
use crate::graph::{self, Graph};

/// The state of the services that requests meet.
#[derive(Clone)]
pub(super) struct Setting {
    /// For each service the versions of its instances, with their shares.
    pub(super) mix: Vec<Vec<(u32, f64)>>,
    /// True for a service that has instances: calls of others fail at once.
    pub(super) present: Vec<bool>,
    /// By service, the factor by which its work takes longer than at full speed.
    pub(super) stretch: Vec<f64>,
    /// Effects of faults of services.
    pub(super) hits: Vec<Hit>,
}

impl Setting {
    /// All services as they are deployed.
    pub(super) fn deployed(mesh: &Mesh) -> Self {
        Setting {
            mix: mesh.services.iter().map(|service| vec![(service.version, 1.0)]).collect(),
            present: vec![true; mesh.services.len()],
            stretch: vec![1.0; mesh.services.len()],
            hits: vec![],
        }
    }
}

impl Setting {
    /// Follows a call of an endpoint by a service, or by a load.
    pub(super) fn tries(
        &self,
        policy: &CallPolicy,
        by: Option<usize>,
        (service, endpoint): (ServiceId, EndpointId),
        callee: &Profile,
        hop: &Hop,
    ) -> Tries {
        let present = self.present[service.index()];
        if self.hits.is_empty() {
            return tries(policy, callee, present, hop);
        }
        let (mut met, to) = (*callee, (service.index(), usize::from(endpoint.0)));
        impaired::call(&self.hits, by, to, &mut met);
        let one = tries(policy, &met, present, hop);
        Tries { count: one.count * (1.0 - impaired::withheld(&self.hits, by, to)), ..one }
    }
}

/// Expectations for a request to an endpoint. Times in seconds, without any waiting for a slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Profile {
    /// Probability that it fails.
    pub(super) fail: f64,
    /// Mean time until its reply.
    pub(super) time: f64,
    /// Shortest time of a request that succeeds; infinite if none can.
    pub(super) least: f64,
    /// Shortest time, with success or failure.
    pub(super) soonest: f64,
    /// Hardly any takes longer.
    pub(super) long: f64,
    /// Hardly any takes longer, even if every attempt fails as late as its timeout allows.
    pub(super) worst: f64,
    /// Mean time that it computes on a core, without those that it calls.
    pub(super) work: f64,
}

/// Prediction for the timeout of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Never,
    Sometimes,
    /// On average the reply comes later than the timeout.
    Mostly,
    Always,
}

/// Expectations for a call with its retries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tries {
    pub(super) fail: f64,
    /// Expected attempts that reach the callee.
    pub(super) count: f64,
    pub(super) time: f64,
    pub(super) least: f64,
    /// Shortest time of one that fails; infinite if none does.
    exit: f64,
    pub(super) long: f64,
    pub(super) worst: f64,
    pub(super) late: Late,
    /// Mean time spent in retries and in the backoffs before them.
    pub(super) retrying: f64,
    /// Shortest time of a reply, and the time that the caller waits for it.
    pub(super) answer: f64,
}

/// Follows a call: each attempt behaves as `callee`.
pub(super) fn tries(policy: &CallPolicy, callee: &Profile, present: bool, hop: &Hop) -> Tries {
    let timeout = policy.timeout.map_or(f64::INFINITY, |timeout| timeout.secs());
    let answer = |time: f64, hop: f64| if present { time + 2.0 * hop } else { 0.0 };
    let (mean, least) = (answer(callee.time, hop.mean), answer(callee.least, hop.least));
    let (soonest, long) = (answer(callee.soonest, hop.least), answer(callee.long, hop.most));
    let late = match timeout {
        _ if soonest >= timeout => Late::Always,
        _ if long <= timeout => Late::Never,
        _ if mean >= timeout => Late::Mostly,
        _ => Late::Sometimes,
    };
    let f = if !present || late == Late::Always || least >= timeout { 1.0 } else { callee.fail.clamp(0.0, 1.0) };
    let retries = policy.retries.min(RETRIES_MAX);
    let (mut fails, mut count) = (1.0, 0.0);
    let (mut time, mut retrying, mut waits) = (0.0, 0.0, 0.0);
    for n in 0..=retries {
        // `fails` is the probability that attempt `n` is made.
        let (wait, longest) = if n == 0 { (0.0, 0.0) } else { span::backoff(n, &policy.retry) };
        let spent = if fails > 0.0 { fails * (wait + mean.min(timeout)) } else { 0.0 };
        time += spent;
        retrying += if n == 0 { 0.0 } else { spent };
        count += fails;
        waits += longest;
        fails *= f;
    }
    let all = f64::from(retries + 1);
    let each = answer(callee.worst, hop.most).min(timeout);
    Tries {
        fail: fails,
        count: if present { count } else { 0.0 },
        time,
        least: if f < 1.0 { least } else { f64::INFINITY },
        exit: if f > 0.0 { all * soonest.min(timeout) } else { f64::INFINITY },
        long: if f > 0.0 || late != Late::Never { all * long.min(timeout) + waits } else { long },
        worst: all * each + waits,
        late,
        retrying,
        answer: if least.is_finite() { least } else { soonest },
    }
}

/// Calls of which retries are made, for those who look at budgets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retried {
    pub(super) vertex: usize,
    pub(super) callee: usize,
    pub(super) retry: Retry,
    /// Mean time in flight, and the part of it in retries, per request to `vertex`.
    pub(super) active: f64,
    pub(super) retrying: f64,
}

/// Features met on the way that have no closed form, and reasons for warnings.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    /// (caller, callee), each once.
    pub(super) late: BTreeMap<(usize, usize), (Late, f64, f64)>,
    pub(super) retried: Vec<Retried>,
    /// A branch beside others may fail and end them.
    pub(super) failing_branches: bool,
    /// Branches beside each other whose times vary.
    pub(super) joins: bool,
    /// Endpoints that look into caches.
    pub(super) caches: BTreeSet<usize>,
    pub(super) queues: Vec<Consumed>,
}

/// A queue into which an endpoint publishes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumed {
    pub(super) vertex: usize,
    /// Messages per request to the endpoint.
    pub(super) reach: f64,
    /// Mean time that a delivery takes, in seconds.
    pub(super) time: f64,
    /// Consumers of an instance.
    pub(super) consumers: u32,
}

/// The way of requests through the services in one setting.
pub(super) struct Flow<'a> {
    /// The graph, with the expected attempts as its calls.
    pub(super) graph: Graph<'a>,
    pub(super) profiles: Vec<Profile>,
    pub(super) met: Met,
    /// False if calls form cycles and multiply: the figures are then meaningless.
    pub(super) settles: bool,
    setting: Setting,
}

impl<'a> Flow<'a> {
    pub(super) fn new(mesh: &'a Mesh, setting: Setting, hop: &Hop) -> Self {
        let mut graph = Graph::of_versions(mesh, &setting.mix);
        let endpoints = || mesh.services.iter().flat_map(|service| &service.behaviours).flat_map(|it| &it.endpoints);
        let sizes = match endpoints().any(|endpoint| graph::has_sized_work(&endpoint.script)) {
            true => {
                let users = |load: &Load| load.arrivals.users().map_or(0.0, |users| f64::from(users.count));
                let rates: Vec<f64> =
                    mesh.loads.iter().map(|load| loads::planned_rate(load).max(users(load))).collect();
                graph::mean_sizes(&graph, mesh, &setting.mix, &rates)
            }
            false => vec![],
        };
        let sizes = &sizes[..];
        // Iterates from above: calls in a cycle have no bound except a timeout.
        let start = Profile { long: f64::INFINITY, worst: f64::INFINITY, ..Profile::default() };
        let size = |profile: &Profile| profile.fail + profile.time.min(1e4);
        let solved = graph.solve(start, size, |vertex, profiles| {
            Walk { mesh, graph: &graph, profiles, setting: &setting, hop, vertex, sizes, slower: 1.0, seen: None }
                .endpoint(1.0)
        });
        let settles = solved.is_some();
        let profiles = solved.unwrap_or_else(|| vec![Profile::default(); graph.len()]);
        let mut met = Met::default();
        let mut calls = Vec::with_capacity(graph.len());
        for vertex in 0..graph.len() {
            let mut tries = BTreeMap::new();
            let seen = Some((&mut tries, &mut met));
            let (graph, profiles, setting) = (&graph, &profiles, &setting);
            Walk { mesh, graph, profiles, setting, hop, vertex, sizes, slower: 1.0, seen }.endpoint(1.0);
            calls.push(tries.into_iter().collect());
        }
        if settles {
            graph.calls = calls;
        }
        Flow { graph, profiles, met, settles, setting }
    }

    /// Number of services.
    pub(super) fn services(&self) -> usize {
        self.setting.present.len()
    }

    pub(super) fn setting(&self) -> &Setting {
        &self.setting
    }
}

struct Walk<'w, 'a> {
    mesh: &'a Mesh,
    graph: &'w Graph<'a>,
    profiles: &'w [Profile],
    setting: &'w Setting,
    hop: &'w Hop,
    vertex: usize,
    /// Mean sizes of requests, by vertex; empty: nothing depends on them.
    sizes: &'w [f64],
    /// Factor by which its work takes longer, on a core of its own.
    slower: f64,
    seen: Option<(&'w mut BTreeMap<usize, f64>, &'w mut Met)>,
}

/// Expectations for a piece of a script.
#[derive(Clone, Copy, Default)]
struct Part {
    alive: f64,
    time: f64,
    least: f64,
    exit: f64,
    long: f64,
    worst: f64,
    work: f64,
}

impl Part {
    const NOTHING: Part =
        Part { alive: 1.0, time: 0.0, least: 0.0, exit: f64::INFINITY, long: 0.0, worst: 0.0, work: 0.0 };

    fn then(&mut self, next: Part) {
        if self.alive > 0.0 {
            self.time += self.alive * next.time;
            self.work += self.alive * next.work;
        }
        self.exit = self.exit.min(self.least + next.exit);
        self.least += next.least;
        self.long += next.long;
        self.worst += next.worst;
        self.alive *= next.alive;
    }
}

/// The mean of what happens by these shares.
fn mean(parts: impl Iterator<Item = (f64, Part)>) -> Part {
    let mut mean = Part { alive: 0.0, least: f64::INFINITY, exit: f64::INFINITY, ..Part::NOTHING };
    for (share, part) in parts {
        mean.alive += share * part.alive;
        mean.time += share * part.time;
        mean.work += share * part.work;
        mean.least = mean.least.min(part.least);
        mean.exit = mean.exit.min(part.exit);
        mean.long = mean.long.max(part.long);
        mean.worst = mean.worst.max(part.worst);
    }
    mean
}

fn sleep(dist: &Dist) -> Part {
    let (least, most) = (span::least(dist), span::most(dist));
    Part { time: dist.mean_secs(), least, long: most, worst: most, ..Part::NOTHING }
}

impl Walk<'_, '_> {
    /// The mean over the versions of the service.
    fn endpoint(&mut self, reach: f64) -> Profile {
        let service = self.graph.service(self.vertex);
        let index = self.vertex - self.graph.vertex(ServiceId(service as u16), EndpointId(0));
        let mut profile = Profile { least: f64::INFINITY, soonest: f64::INFINITY, ..Profile::default() };
        let mesh = self.mesh;
        for (version, share) in &self.setting.mix[service] {
            let endpoint = mesh.services[service].endpoint(*version, EndpointId(index as u16));
            self.slower = impaired::stretch(&self.setting.hits, service, index, *version);
            let part = self.script(&endpoint.script, reach * share);
            let mut one = Profile {
                fail: 1.0 - part.alive * (1.0 - endpoint.errors),
                time: part.time,
                least: if endpoint.errors < 1.0 && part.alive > 0.0 { part.least } else { f64::INFINITY },
                soonest: part.exit.min(part.least),
                long: part.long,
                worst: part.worst,
                work: part.work,
            };
            impaired::serve(&self.setting.hits, (service, index, *version), &mut one);
            profile.fail += share * one.fail;
            profile.time += share * one.time;
            profile.work += share * one.work;
            profile.least = profile.least.min(one.least);
            profile.soonest = profile.soonest.min(one.soonest);
            profile.long = profile.long.max(one.long);
            profile.worst = profile.worst.max(one.worst);
        }
        profile
    }

    fn script(&mut self, script: &[ScriptStep], reach: f64) -> Part {
        let slower = self.slower;
        let stretch = self.setting.stretch[self.graph.service(self.vertex)] * slower;
        let mut all = Part::NOTHING;
        for step in script {
            let next = match step {
                ScriptStep::Work(dist) => Part {
                    time: dist.mean_secs() * stretch,
                    work: dist.mean_secs() * slower,
                    least: span::least(dist) * stretch,
                    long: span::most(dist) * stretch,
                    worst: span::most(dist) * stretch,
                    ..Part::NOTHING
                },
                ScriptStep::SizedWork(it) => {
                    let of_size = it.of_size(self.sizes.get(self.vertex).copied().unwrap_or(0.0)).secs();
                    let mean = it.base.mean_secs() + of_size;
                    // The size varies: hardly any is known to take longer.
                    Part {
                        time: mean * stretch,
                        work: mean * slower,
                        least: span::least(&it.base) * stretch,
                        long: (span::most(&it.base) + of_size) * stretch,
                        worst: (span::most(&it.base) + of_size) * stretch,
                        ..Part::NOTHING
                    }
                }
                ScriptStep::Sleep(dist) => sleep(dist),
                ScriptStep::Call(call) => self.call(call, reach * all.alive),
                ScriptStep::Parallel(branches) => self.parallel(branches, reach * all.alive),
                ScriptStep::OneOf(choices) => self.one_of(choices, reach * all.alive),
                ScriptStep::Repeat(repeat) => self.repeat(repeat, reach * all.alive),
                // Its work is done, and neither its time nor its failure is the request's.
                ScriptStep::Queued(it) => self.queued(it, reach * all.alive),
                ScriptStep::Cached(it) => self.cached(it, reach * all.alive),
                ScriptStep::Async(script) => {
                    Part { work: self.script(script, reach * all.alive).work, ..Part::NOTHING }
                }
            };
            all.then(next);
        }
        all
    }

    /// One of several scripts: the mean of them.
    fn one_of(&mut self, choices: &[(f64, Vec<ScriptStep>)], reach: f64) -> Part {
        let all: f64 = choices.iter().map(|(weight, _)| weight).sum();
        let drawn = choices.iter().filter(|(weight, _)| *weight > 0.0);
        mean(drawn.map(|(weight, script)| {
            let share = weight / all;
            (share, self.script(script, reach * share))
        }))
    }

    /// A hit or the script of a miss, of a cache that has been full for long and whose keys do not expire.
    fn cached(&mut self, it: &Cached, reach: f64) -> Part {
        let hits = it.cache.expected_hits();
        let miss = self.script(&it.script, reach * (1.0 - hits));
        if let Some((_, met)) = &mut self.seen {
            met.caches.insert(self.vertex);
        }
        mean([(hits, sleep(&it.hit)), (1.0 - hits, miss)].into_iter())
    }

    /// A message: its work is done, and neither its time nor its failure is the request's.
    fn queued(&mut self, it: &Queued, reach: f64) -> Part {
        let part = self.script(&it.script, reach);
        if let Some((_, met)) = &mut self.seen {
            met.queues.push(Consumed { vertex: self.vertex, reach, time: part.time, consumers: it.queue.consumers });
        }
        Part { work: part.work, ..Part::NOTHING }
    }

    /// A script several times: it ends where a time of it fails.
    fn repeat(&mut self, repeat: &Repeat, reach: f64) -> Part {
        let mut all = Part { alive: 0.0, ..Part::NOTHING };
        // Probability that it has come so far, and still runs.
        let mut running = 1.0;
        for done in 0..repeat.most() {
            let goes_on = repeat.goes_on(done);
            all.alive += running * (1.0 - goes_on);
            running *= goes_on;
            if running <= 0.0 {
                return all;
            }
            let part = self.script(&repeat.script, reach * running);
            all.time += running * part.time;
            all.work += running * part.work;
            all.exit = all.exit.min(f64::from(done) * part.least + part.exit);
            if done < repeat.least {
                all.least += part.least;
            }
            all.long += part.long;
            all.worst += part.worst;
            running *= part.alive;
        }
        all.alive += running;
        all
    }

    fn parallel(&mut self, branches: &[Vec<ScriptStep>], reach: f64) -> Part {
        let mut all = Part::NOTHING;
        let (mut varied, mut fails, mut longer) = (0, false, false);
        for branch in branches {
            let part = self.script(branch, reach);
            all.time = all.time.max(part.time);
            all.work += part.work;
            all.exit = all.exit.min(part.exit);
            all.least = all.least.max(part.least);
            all.long = all.long.max(part.long);
            all.worst = all.worst.max(part.worst);
            all.alive *= part.alive;
            varied += u32::from(part.long > part.least && part.time > 0.0);
            fails |= part.alive < 1.0;
            longer |= branch.len() > 1;
        }
        if let Some((_, met)) = &mut self.seen {
            met.joins |= varied > 1;
            met.failing_branches |= fails && longer && branches.len() > 1;
        }
        all
    }

    fn call(&mut self, call: &Call, reach: f64) -> Part {
        if call.probability <= 0.0 || call.count == 0 {
            return Part::NOTHING;
        }
        let callee = self.graph.vertex(call.service, call.endpoint);
        let by = Some(self.graph.service(self.vertex));
        let one = self.setting.tries(&call.policy, by, (call.service, call.endpoint), &self.profiles[callee], self.hop);
        let matters = !call.optional && !call.detached;
        let fail = if matters { one.fail } else { 0.0 };
        let copies = f64::from(call.count);
        let side_by_side = call.parallel || call.detached;
        let survives = (1.0 - fail).powf(copies);
        let made = if side_by_side || fail <= 0.0 { copies } else { (1.0 - survives) / fail };
        if let Some((calls, met)) = &mut self.seen {
            *calls.entry(callee).or_insert(0.0) += reach * call.probability * made * one.count;
            if one.late != Late::Never {
                let timeout = call.policy.timeout.map_or(f64::INFINITY, |timeout| timeout.secs());
                met.late.insert((self.vertex, callee), (one.late, one.answer, timeout));
            }
            met.joins |= call.parallel && call.count > 1 && one.long > one.least;
            let calls = reach * call.probability * made;
            if one.retrying > 0.0 && calls > 0.0 {
                let (active, retrying) = (calls * one.time, calls * one.retrying);
                let (vertex, retry) = (self.vertex, call.policy.retry);
                met.retried.push(Retried { vertex, callee, retry, active, retrying });
            }
        }
        if call.detached {
            return Part::NOTHING;
        }
        let in_turn = if call.parallel { 1.0 } else { copies };
        let soonest = if matters { one.least } else { one.least.min(one.exit) };
        Part {
            alive: 1.0 - call.probability + call.probability * survives,
            time: call.probability * one.time * if call.parallel { 1.0 } else { made },
            least: if call.probability < 1.0 { 0.0 } else { in_turn * soonest },
            exit: if matters { one.exit } else { f64::INFINITY },
            long: in_turn * one.long,
            worst: in_turn * one.worst,
            work: 0.0,
        }
    }
}
