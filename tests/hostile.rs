//! Hostile input: no message makes an actor of a mesh panic, hang or grow without bound.
//!
//! Messages are well-typed, as every decoded message is, and their content is random: mostly small numbers, so that
//! they have a meaning, often edge cases, and replies to messages of the actor itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use meshsim_actor::{ActorId, Cell, Dist, Effect, Envelope, Input, Rng, Span, Time, Timer};
use meshsim_mesh::autoscale::demand::Demand;
use meshsim_mesh::autoscale::signal::{InstanceSample, NodeSample, ServiceScale};
use meshsim_mesh::board::{InstanceLoad, LoadBoard};
use meshsim_mesh::criterion::Comparison;
use meshsim_mesh::measure::{Failure, OperationKind};
use meshsim_mesh::message::{
    Ack, Answer, Ask, Cancel, Decision, Heartbeat, NodeStep, Operate, Operated, ReadinessReport, Reply, Request,
    ServiceReport, ServiceSnapshot, Share, Snapshot,
};
use meshsim_mesh::model::{
    Amount, Analysis, AnalysisMetric, Backoff, Balancer, Behaviour, COORDINATOR, CallPolicy, Change, Check, Endpoint,
    EndpointId, Feedback, Keys, Operation, Part, Retry, Rollout, RolloutStep, Rounding, ScriptStep, Service, ServiceId,
    Setting, Steer, Strategy,
};
use meshsim_mesh::path::{Hop, Path};
use meshsim_mesh::policy::breaker::Breaker;
use meshsim_mesh::policy::mirror::Mirror;
use meshsim_mesh::policy::token_bucket::TokenBucket;
use meshsim_mesh::rollout::figures::{Figures, ServiceFigures};
use meshsim_mesh::serving::limit::Limit;
use meshsim_mesh::sparse::Sparse;
use meshsim_mesh::view::{InstanceRef, InstanceView, Split};
use meshsim_mesh::{Mesh, MeshActor, Msg, RequestId};
use meshsim_tests::{Testbed, call, campaign, extend, load, parse, service};

/// Inputs of one actor in one run of the test.
const INPUTS: usize = 80;

/// Largest number of effects of one input: a node may have a million instances that start.
const EFFECTS_MAX: usize = 3_000_000;

/// Two services with two endpoints and two behaviours each, which call each other, on three nodes.
fn mesh() -> Mesh {
    let spend = |ms| ScriptStep::Work(Dist::Constant(Span::from_millis(ms)));
    let both = |script: Vec<ScriptStep>| Behaviour {
        from_version: 1,
        endpoints: vec![Endpoint::new(script), Endpoint::new(vec![])],
    };
    let newer = |script: Vec<ScriptStep>| Behaviour { from_version: 2, ..both(script) };
    let front = vec![spend(1), ScriptStep::Parallel(vec![vec![call(1)], vec![call(1), spend(2)]]), call(1)];
    let scaled = |by: &str| {
        let text = format!(
            "{{ nodes: [ {{ name: n }} ], services: {{ a: {{ endpoints: {{ get: {{}} }}, autoscale: {by} }} }} }}"
        );
        parse(&text).mesh.services.remove(0)
    };
    let (knative, capacity) = (scaled("{ knative: {} }"), scaled("{ capacity: { utilisation: 50% } }"));
    let front = Service {
        autoscale: knative.autoscale,
        policies: knative.policies,
        balancer: Balancer::RoundRobin,
        endpoints: vec!["a".into(), "b".into()],
        behaviours: vec![both(front), newer(vec![call(1)])],
        ..service("front", vec![])
    };
    let back = Service {
        autoscale: capacity.autoscale,
        balancer: Balancer::PeakEwma { decay: Span::from_secs(10), start: Span::from_millis(30) },
        endpoints: vec!["a".into(), "b".into()],
        behaviours: vec![both(vec![spend(1)]), newer(vec![])],
        start_delay: Span::from_millis(5),
        queue: 3,
        ..service("back", vec![])
    };
    let rolling = Strategy::Rolling { max_surge: Amount::Share(0.25), max_unavailable: Amount::Share(0.25) };
    let observed = Change::Extend { to: 30, rate: 0.5, rounding: Rounding::Stochastic, feedback: Feedback::Observed };
    let mut lab = Testbed::nodes(3)
        .service(front)
        .service(back)
        .operation(0.1, 0, observed, 0.1, None)
        .operation(0.1, 1, extend(20, 0.5, Rounding::Stochastic), 0.1, None)
        .operation(0.5, 1, Change::Update { to: 2, rate: 1.0, strategy: rolling }, 0.1, None)
        .load(load(0, 100.0, 10.0));
    lab.mesh.loads[0].start = Time::ZERO;
    lab.mesh.loads[0].policy.timeout = Some(Span::from_millis(50));
    lab.mesh.loads[0].policy.retries = 3;
    lab.mesh.has_gateway = true;
    lab.mesh.has_autoscaler = true;
    lab.mesh
}

/// Generates random messages.
struct Draw(Rng);

impl Draw {
    fn below(&mut self, n: u32) -> u32 {
        self.0.below(n)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => self.pick(&[63, 64, 65, 255, 256, 1 << 16, 1 << 31, u32::MAX.into(), 1 << 62, u64::MAX - 1, u64::MAX]),
            _ => self.below(6).into(),
        }
    }

    fn small(&mut self) -> u32 {
        self.number() as u32
    }

    fn float(&mut self) -> f64 {
        match self.below(3) {
            0 => self.pick(&[0.0, -0.0, -1.0, 1e-300, 1e9, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
            _ => self.pick(&[0.1, 0.3, 0.5, 1.0, 1.5, 2.0]),
        }
    }

    fn time(&mut self) -> Time {
        Time::from_nanos(if self.coin() { self.number() } else { u64::MAX })
    }

    fn span(&mut self) -> Span {
        if self.coin() { Span::from_nanos(self.number()) } else { Span::from_millis(self.number()) }
    }

    fn service(&mut self) -> ServiceId {
        ServiceId(if self.below(8) == 0 { self.number() as u16 } else { self.below(2) as u16 })
    }

    fn endpoint(&mut self) -> EndpointId {
        EndpointId(if self.below(8) == 0 { self.number() as u16 } else { self.below(2) as u16 })
    }

    fn failure(&mut self) -> Option<Failure> {
        self.coin().then(|| self.pick(&Failure::ALL))
    }

    /// Up to four items; seldom many.
    fn some<T>(&mut self, mut draw: impl FnMut(&mut Draw) -> T) -> Vec<T> {
        let count = if self.below(64) == 0 { 300 } else { self.below(5) };
        (0..count).map(|_| draw(self)).collect()
    }

    /// Mostly in order and few; seldom as many as the number can hold.
    fn share(&mut self) -> Share {
        let mut share = self.some(|draw| {
            let count = if draw.below(200) == 0 { u32::MAX } else { draw.below(5) };
            (draw.small(), count)
        });
        if self.below(8) > 0 {
            share.sort_unstable();
            share.dedup_by_key(|(version, _)| *version);
        }
        share.into()
    }

    fn ack(&mut self) -> Ack {
        Ack { applied: self.number(), digest: self.number(), lineage: self.small(), incarnation: self.small() }
    }

    fn order(&mut self) -> NodeStep {
        let decision = Decision {
            n: self.number(),
            epoch: self.number(),
            digest: self.number(),
            kind: self.pick(&[
                OperationKind::Deploy,
                OperationKind::Undeploy,
                OperationKind::Extend,
                OperationKind::Scale,
                OperationKind::Update,
                OperationKind::Repair,
            ]),
            service: self.service(),
            generation: self.number(),
            capacity: self.float(),
        };
        NodeStep { decision: Arc::new(decision), share: self.share() }
    }

    fn snapshot(&mut self) -> Snapshot {
        let services = self.some(|draw| ServiceSnapshot {
            service: draw.service(),
            generation: draw.number(),
            capacity: draw.float(),
            share: draw.share(),
        });
        Snapshot { n: self.number(), epoch: self.number(), digest: self.number(), services }
    }

    fn request(&mut self) -> Request {
        Request {
            id: RequestId { root: self.number(), key: self.number() },
            call: self.number(),
            deadline: self.time(),
            ordinal: self.small(),
            bytes: self.small(),
            service: self.service(),
            endpoint: self.endpoint(),
            attempt: self.small() as u8,
            traced: self.coin(),
            incarnation: self.small() as u16,
        }
    }

    fn reply(&mut self) -> Reply {
        Reply {
            call: self.number(),
            attempt: self.small() as u8,
            incarnation: self.small() as u16,
            failure: self.failure(),
            degraded: self.coin(),
            bytes: self.small(),
            path: self.coin().then(|| Box::new(self.path())),
        }
    }

    fn path(&mut self) -> Path {
        let hop = Hop {
            service: self.service(),
            endpoint: self.endpoint(),
            node: ActorId(self.small()),
            ordinal: self.small(),
            version: self.small(),
            depth: self.small() as u16,
            attempt: self.small() as u8,
            answered: self.coin(),
            late: self.coin(),
            arrived: self.time(),
            began: self.time(),
            ended: self.time(),
            failure: self.failure(),
        };
        let count = self.pick(&[0, 1, 3, 600, 2000]);
        Path { hops: vec![hop; count], beyond: self.number() }
    }

    fn report(&mut self) -> ReadinessReport {
        let services = self.some(|draw| {
            let mut ready = draw.some(|draw| (draw.small(), draw.small()));
            let mut gone = draw.some(|draw| draw.small());
            if draw.below(8) > 0 {
                ready.sort_unstable();
                ready.dedup_by_key(|(ordinal, _)| *ordinal);
                gone.sort_unstable();
                gone.dedup();
            }
            let gone = draw.coin().then_some(gone);
            ServiceReport { service: draw.service(), ready, gone }
        });
        ReadinessReport { seq: self.number(), base: self.number(), incarnation: self.small(), services }
    }

    fn view(&mut self) -> InstanceView {
        let instance =
            |draw: &mut Draw| InstanceRef { node: ActorId(draw.small()), ordinal: draw.small(), version: draw.small() };
        let services = if self.below(8) == 0 { self.small() % 4 } else { 2 };
        let mut splits = self.some(|draw| Split {
            service: draw.service(),
            version: draw.small(),
            share: draw.float(),
            instances: draw.some(instance).into(),
        });
        if self.below(8) > 0 {
            splits.sort_by_key(|split| split.service);
            splits.dedup_by_key(|split| split.service);
            splits.retain(|split| split.service.index() < 2 && (0.0..=1.0).contains(&split.share));
        }
        InstanceView {
            version: self.number(),
            services: (0..services).map(|_| self.some(instance).into()).collect(),
            failed_nodes: self.some(|draw| (ActorId(draw.small()), draw.number())),
            splits,
            settings: Arc::new(self.some(|draw| (draw.service(), draw.setting()))),
        }
    }

    fn setting(&mut self) -> Setting {
        let part = |draw: &mut Draw| Part {
            version: draw.coin().then(|| draw.small()),
            nodes: draw.coin().then(|| draw.some(Draw::coin)),
            weight: draw.float(),
        };
        let bucket = |draw: &mut Draw| draw.coin().then(|| TokenBucket { every: draw.span(), burst: draw.small() });
        match self.below(9) {
            0 => Setting::Balancer(self.pick(&[Balancer::Random, Balancer::RoundRobin, Balancer::default()])),
            1 => {
                let (table_size, keys) = (self.small(), Keys { count: None, skew: self.float() });
                Setting::Balancer(Balancer::Maglev { table_size, keys })
            }
            2 => Setting::Split(self.some(part)),
            3 => Setting::Subset(self.coin().then(|| self.small())),
            4 => Setting::ZoneWeights(self.some(Draw::float)),
            5 => {
                let limit = |draw: &mut Draw| draw.coin().then(|| draw.small());
                Setting::Breaker(self.coin().then(|| Breaker {
                    max_connections: limit(self),
                    max_pending_requests: limit(self),
                    max_requests: limit(self),
                    max_retries: limit(self),
                }))
            }
            6 => Setting::RateLimit(bucket(self), bucket(self)),
            7 => Setting::Limit(self.coin().then(|| Limit::Fixed(self.small()))),
            _ => Setting::Mirror(self.coin().then(|| Mirror {
                share: self.float(),
                to: self.some(|draw| (draw.service(), EndpointId(draw.small() as u16))),
            })),
        }
    }

    fn policy(&mut self) -> CallPolicy {
        let backoff = if self.coin() { Backoff::Fixed } else { Backoff::Jittered };
        let budget = self.coin().then(|| self.float());
        let retry = Retry { backoff, base: self.span(), cap: self.span(), budget, budget_min: self.small() };
        CallPolicy { timeout: self.coin().then(|| self.span()), retries: self.small(), retry, rules: None }
    }

    fn ask(&mut self) -> Ask {
        Ask {
            ask: self.number(),
            service: self.service(),
            endpoint: self.endpoint(),
            bytes: self.small(),
            policy: self.policy(),
            deadline: self.coin().then(|| self.span()),
            traced: self.coin(),
        }
    }

    fn operation(&mut self) -> Operation {
        let strategy = match self.below(4) {
            0 => Strategy::Bernoulli,
            1 => Strategy::Batch,
            2 => Strategy::Rolling {
                max_surge: Amount::Share(self.float()),
                max_unavailable: Amount::Instances(self.small()),
            },
            _ => Strategy::Canary { weights: self.some(Draw::float).into() },
        };
        let rounding =
            self.pick(&[Rounding::Away, Rounding::Nearest, Rounding::Floor, Rounding::Carry, Rounding::Stochastic]);
        let feedback = self.pick(&[Feedback::Commanded, Feedback::Observed]);
        let change = match self.below(8) {
            5 => Change::Set(Box::new(self.setting())),
            6 => Change::Rollout(Arc::new(self.rollout())),
            7 => Change::Steer(self.pick(&[Steer::Pause, Steer::Resume, Steer::Abort])),
            0 => Change::Deploy,
            1 => Change::Undeploy,
            2 => Change::Extend { to: self.small(), rate: self.float(), rounding, feedback },
            3 => Change::Scale { by: self.float() },
            _ => Change::Update { to: self.small(), rate: self.float(), strategy },
        };
        let (at, service, every) = (self.time(), self.service(), self.span());
        Operation { at, service, change, every, times: self.coin().then(|| self.small()) }
    }

    fn rollout(&mut self) -> Rollout {
        let step = |draw: &mut Self| match draw.below(4) {
            0 => RolloutStep::SetWeight(draw.float()),
            1 => RolloutStep::SetCanaryScale(draw.coin().then(|| Amount::Instances(draw.small()))),
            2 => RolloutStep::Pause(draw.coin().then(|| draw.span())),
            _ => RolloutStep::Analysis(draw.analysis()),
        };
        Rollout {
            to: self.small(),
            steps: self.some(step),
            analysis: self.coin().then(|| self.analysis()),
            scale_down_delay: self.span(),
            abort_scale_down_delay: self.span(),
            progress_deadline: self.coin().then(|| self.span()),
        }
    }

    fn analysis(&mut self) -> Analysis {
        let check = |draw: &mut Self| Check {
            text: "p99 < 1s".into(),
            metric: draw.pick(&[AnalysisMetric::Errors, AnalysisMetric::Quantile(0.99), AnalysisMetric::Mean]),
            comparison: draw.pick(&[Comparison::Less, Comparison::AtLeast]),
            threshold: draw.float(),
            of_old: draw.coin(),
        };
        Analysis {
            checks: self.some(check),
            interval: self.span(),
            window: self.span(),
            initial_delay: self.span(),
            count: self.coin().then(|| self.small()),
            failure_limit: self.small(),
            inconclusive_limit: self.small(),
            min_requests: self.number(),
        }
    }

    fn figures(&mut self) -> ServiceFigures {
        let version = |draw: &mut Self| {
            let (done, failed, done_sum_ns) = (draw.number(), draw.number(), draw.number());
            let mut latency = Sparse::default();
            draw.some(|draw: &mut Self| draw.small() as u16).into_iter().for_each(|bucket| latency.record(bucket));
            (draw.small(), Figures { done, failed, done_sum_ns, latency })
        };
        let (service, round, incarnation, since) = (self.service(), self.number(), self.small(), self.number());
        ServiceFigures { service, round, incarnation, since, versions: self.some(version) }
    }

    fn board(&mut self) -> LoadBoard {
        let (service, round, incarnation) = (self.service(), self.number(), self.small());
        let load = |draw: &mut Self| InstanceLoad {
            node: ActorId(draw.small()),
            ordinal: draw.small(),
            requests: draw.small(),
        };
        LoadBoard { service, round, incarnation, loads: self.some(load) }
    }

    fn sample(&mut self) -> NodeSample {
        let instance = |draw: &mut Self| InstanceSample {
            service: draw.service(),
            ordinal: draw.small(),
            created: draw.time(),
            ready: draw.coin().then(|| draw.time()),
            work_ns: draw.number(),
            requests: draw.small(),
        };
        NodeSample { round: self.number(), at: self.time(), instances: self.some(instance) }
    }

    fn scale(&mut self) -> ServiceScale {
        let (service, desired, ready) = (self.service(), self.small(), self.small());
        let (capacity, is_on) = (f64::from(self.small()) / 7.0, self.coin());
        let placed = self.some(|draw: &mut Self| (draw.small(), draw.small()));
        ServiceScale { service, desired, ready, capacity, is_on, placed }
    }

    fn demand(&mut self) -> Demand {
        Demand {
            service: self.service(),
            round: self.number(),
            at: self.time(),
            instances: self.small(),
            requests: self.small(),
            requests_ns: self.number(),
            held: self.small(),
            held_ns: self.number(),
            messages: self.small(),
            busy_ns: self.number(),
            slot_ns: self.number(),
        }
    }

    fn msg(&mut self) -> Msg {
        match self.below(36) {
            33 => Msg::AskDemand { service: self.service(), round: self.number() },
            34 => Msg::Demand(Box::new(self.demand())),
            35 => Msg::Held { service: self.service() },
            31 => Msg::AskFigures { service: self.service(), round: self.number() },
            32 => Msg::Figures(Box::new(self.figures())),
            0..5 => Msg::Request(self.request()),
            5 => Msg::Reply(self.reply()),
            6 => Msg::Steps(self.some(Draw::order)),
            7 => Msg::Snapshot(Arc::new(self.snapshot())),
            8 => Msg::Ack(self.ack()),
            9 => Msg::Need { from: self.number(), to: self.number() },
            10 => Msg::Refuse { n: self.number(), epoch: self.number() },
            11 => Msg::Hello(self.ack()),
            12 => {
                let (report, view) = (self.number(), self.number());
                Msg::Heartbeat(Heartbeat { report, view, incarnation: self.small() })
            }
            13 => Msg::Report(Box::new(self.report())),
            14 => Msg::ReportFrom { have: self.number() },
            15 => Msg::InstanceView(Arc::new(self.view())),
            16 => Msg::ExternalRequest(Box::new(self.ask())),
            17 => Msg::Operate(Box::new(Operate { ask: self.number(), operation: self.operation() })),
            18 => {
                let (ask, history) = (self.number(), self.coin().then(|| self.small()));
                Msg::Operated(Operated { ask, history, is_refused: self.coin() })
            }
            19 => Msg::Leave { grace: self.span() },
            20 => Msg::Leaving { incarnation: self.small() },
            21 => Msg::Released,
            24 => Msg::Loads(Arc::new(self.board())),
            25 => Msg::AskSample { round: self.number() },
            26 => Msg::Sample(Box::new(self.sample())),
            27 => Msg::AskScale { service: self.service() },
            28 => Msg::Scale(Box::new(self.scale())),
            23 => Msg::Shun { node: ActorId(self.small()) },
            29 => {
                let (call, attempt, incarnation) = (self.number(), self.small() as u8, self.small() as u16);
                Msg::Cancel(Cancel { call, attempt, incarnation })
            }
            22 => Msg::Left { incarnation: self.small() },
            _ => {
                let (ask, failure, retries, bytes) = (self.number(), self.failure(), self.small(), self.small());
                let (asked, ended, path) = (self.time(), self.time(), self.path());
                let degraded = self.coin();
                Msg::ExternalReply(Box::new(Answer { ask, failure, degraded, retries, bytes, asked, ended, path }))
            }
        }
    }
}

/// A single actor, with its inputs.
struct Alone {
    cell: Cell<MeshActor>,
    mesh: Arc<Mesh>,
    now: Time,
    timers: Vec<(Time, Timer)>,
    /// The last of its messages that can be answered.
    sent: Vec<Envelope<Msg>>,
}

impl Alone {
    fn take(&mut self, input: Input<Msg>) {
        let mut out = Vec::new();
        self.cell.step(self.now, input, &mut out, &mut ());
        assert!(out.len() <= EFFECTS_MAX, "{} effects", out.len());
        for effect in out {
            match effect {
                Effect::Arm { timer, at, .. } => self.timers.push((at.max(self.now), timer)),
                Effect::Work { timer, span, .. } => self.timers.push((self.now + span, timer)),
                Effect::Send(envelope)
                    if matches!(envelope.msg, Msg::Request(_) | Msg::Steps(_) | Msg::Snapshot(_)) =>
                {
                    self.sent.push(envelope);
                }
                Effect::Send(_) | Effect::Disarm(_) | Effect::Persist(_) | Effect::Note(_) => {}
            }
        }
        let old = self.sent.len().saturating_sub(16);
        self.sent.drain(..old);
    }

    fn deliver(&mut self, from: ActorId, msg: Msg) {
        let envelope = Envelope { from, to: self.cell.id(), seq: 0, msg };
        self.take(Input::Deliver(envelope));
    }

    /// Fires the first of the timers.
    fn fire(&mut self) {
        let cell = &self.cell;
        self.timers.retain(|(at, timer)| cell.is_armed(*timer) && *at < Time::NEVER);
        let Some(first) = (0..self.timers.len()).min_by_key(|i| self.timers[*i].0) else { return };
        let (at, timer) = self.timers.swap_remove(first);
        self.now = self.now.max(at);
        self.take(Input::Fire(timer));
    }

    /// The reply of a correct peer to a message of the actor, modified by `draw`.
    fn answer(&mut self, draw: &mut Draw) {
        if self.sent.is_empty() {
            return;
        }
        let Envelope { to, msg, .. } = self.sent[draw.below(self.sent.len() as u32) as usize].clone();
        let ack = |applied, digest, draw: &mut Draw| {
            let ack = Ack { applied, digest, lineage: draw.below(3), incarnation: draw.below(3) };
            if draw.coin() { Msg::Ack(ack) } else { Msg::Hello(ack) }
        };
        let said = match msg {
            Msg::Request(Request { call, attempt, incarnation, .. }) => {
                Msg::Reply(Reply { call, attempt, incarnation, ..draw.reply() })
            }
            Msg::Steps(orders) => match orders.last() {
                Some(order) => ack(order.decision.n, order.decision.digest, draw),
                None => return,
            },
            Msg::Snapshot(snapshot) => ack(snapshot.n, snapshot.digest, draw),
            _ => return,
        };
        self.deliver(to, said);
    }

    /// The coordinator has started its instances and sent their view: otherwise most of the messages would have no
    /// meaning.
    fn begin_well(&mut self) {
        let of =
            |service| ServiceSnapshot { service, generation: 1, capacity: 1.0, share: [(1, 2)].into_iter().collect() };
        let services = vec![of(ServiceId(0)), of(ServiceId(1))];
        self.deliver(COORDINATOR, Msg::Snapshot(Arc::new(Snapshot { n: 1, epoch: 1, digest: 1, services })));
        let instance = |node, ordinal| InstanceRef { node: ActorId(node), ordinal, version: 1 };
        let everywhere: Arc<[InstanceRef]> = Arc::new([instance(1, 0), instance(1, 1), instance(2, 0)]);
        let view = InstanceView {
            version: 1,
            services: vec![everywhere; 2],
            failed_nodes: vec![],
            splits: vec![],
            settings: Default::default(),
        };
        self.deliver(COORDINATOR, Msg::InstanceView(Arc::new(view)));
    }

    fn live(&mut self, draw: &mut Draw) {
        self.take(Input::Start);
        if draw.coin() {
            self.begin_well();
        }
        for _ in 0..INPUTS {
            match draw.below(16) {
                0..8 => {
                    let from = match draw.below(4) {
                        0 => ActorId(draw.small()),
                        1 => self.mesh.external_client(),
                        2 => COORDINATOR,
                        _ => ActorId(draw.below(1 + self.mesh.actor_count() as u32)),
                    };
                    let msg = draw.msg();
                    self.deliver(from, msg);
                }
                8..11 => self.answer(draw),
                11..15 => self.fire(),
                _ => {
                    if draw.below(4) == 0 {
                        self.cell.reboot(draw.coin());
                        self.timers.clear();
                        self.take(Input::Start);
                    } else {
                        self.now += Span::from_millis(u64::from(draw.below(5000)));
                    }
                }
            }
        }
        let found = self.cell.actor().results(self.now);
        assert!(!format!("{found:?}").is_empty());
    }
}

#[test]
fn no_message_makes_an_actor_panic_hang_or_grow_without_bound() {
    let mesh = Arc::new(mesh());
    let runs = campaign() * if cfg!(debug_assertions) { 400 } else { 20_000 };
    for run in 0..runs {
        for (index, actor) in (0..).zip(meshsim_mesh::actors::all(&mesh)) {
            // One node is like another.
            if index > 1 && index <= mesh.nodes.len() as u32 {
                continue;
            }
            let id = ActorId(index);
            let cell = Cell::new(id, actor, Rng::keyed(1, run, u64::from(index)));
            let mut alone = Alone { cell, mesh: mesh.clone(), now: Time::ZERO, timers: vec![], sent: vec![] };
            let mut draw = Draw(Rng::keyed(2, run, u64::from(index)));
            let lived = catch_unwind(AssertUnwindSafe(|| alone.live(&mut draw)));
            assert!(lived.is_ok(), "run {run}, {}", mesh.actor_name(id));
        }
    }
}

#[test]
fn a_long_queue_of_requests_that_fail_at_once_is_no_deep_stack() {
    let lab = Testbed::nodes(1).service(service("front", vec![call(1)])).service(service("back", vec![]));
    let mesh = Arc::new(lab.mesh);
    let node = meshsim_mesh::actors::all(&mesh).nth(1).expect("there is a node");
    let cell = Cell::new(ActorId(1), node, Rng::stream(1, "node"));
    let mut alone = Alone { cell, mesh, now: Time::ZERO, timers: vec![], sent: vec![] };
    alone.take(Input::Start);
    let decision = Decision {
        n: 1,
        epoch: 1,
        digest: 1,
        kind: OperationKind::Deploy,
        service: ServiceId(0),
        generation: 1,
        capacity: 1.0,
    };
    alone.deliver(
        COORDINATOR,
        Msg::Steps(vec![NodeStep { decision: Arc::new(decision), share: [(1, 1)].into_iter().collect() }]),
    );
    let instance = InstanceRef { node: ActorId(1), ordinal: 0, version: 1 };
    let view = |version, back: Vec<InstanceRef>| InstanceView {
        version,
        services: vec![Arc::new([instance]), back.into()],
        failed_nodes: vec![],
        splits: vec![],
        settings: Default::default(),
    };
    alone.deliver(COORDINATOR, Msg::InstanceView(Arc::new(view(1, vec![instance]))));
    for call in 0..200_000 {
        let (deadline, service, endpoint) = (Time::NEVER, ServiceId(0), EndpointId(0));
        let of = Request {
            id: RequestId::new(ActorId(2), call),
            call,
            deadline,
            ordinal: 0,
            bytes: 0,
            service,
            endpoint,
            attempt: 0,
            traced: false,
            incarnation: 0,
        };
        alone.deliver(ActorId(2), Msg::Request(of));
    }
    assert_eq!(alone.cell.actor().node().expect("it is a node").in_flight(), 200_000);
    // The only instance of the called service goes away while the first request waits for it.
    alone.deliver(COORDINATOR, Msg::InstanceView(Arc::new(view(2, vec![]))));
    let Msg::Request(Request { call, attempt, incarnation, .. }) = alone.sent[0].msg else {
        panic!("{:?}", alone.sent)
    };
    let reply = Reply { call, attempt, incarnation, failure: None, degraded: false, bytes: 0, path: None };
    alone.deliver(ActorId(1), Msg::Reply(reply));
    assert_eq!(alone.cell.actor().node().expect("it is a node").in_flight(), 0);
}

#[test]
fn every_kind_of_message_is_in_the_list_of_kinds() {
    let mut draw = Draw(Rng::keyed(1, 2, 3));
    for _ in 0..20_000 {
        let kind = meshsim_actor::Message::kind(&draw.msg());
        assert!(Msg::KINDS.contains(&kind), "{kind}");
    }
}
