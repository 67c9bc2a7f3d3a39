//! Canaries in running meshes: a weight is a share of requests, whatever the number of instances, and a canary makes no
//! request fail, whatever other operations and faults do.

use meshsim_actor::{ActorId, Dist, Rng, Span, Time};
use meshsim_fault::{Crash, Fault};
use meshsim_mesh::measure::{Failure, OperationOutcome};
use meshsim_mesh::model::{
    Amount, Arrivals, Balancer, Behaviour, Call, CallPolicy, Change, Choices, Endpoint, Load, Placement, Process,
    Retry, Rounding, ScriptStep, Service, ServiceId, Strategy,
};
use meshsim_mesh::operation::canary_instances;
use meshsim_tests::{Ran, Testbed, call, campaign, exponential, extend, load, service, times};

/// Start of the canary.
const BEGINS: f64 = 5.0;

fn canary(to: u32, weights: &[f64]) -> Change {
    Change::Update { to, rate: 1.0, strategy: Strategy::Canary { weights: weights.into() } }
}

/// 5 ms of work, 100 slots, and instances that start for 700 ms. Nothing fails.
fn web(instances: u32) -> Service {
    Service {
        start_delay: Span::from_millis(700),
        capacity: 100.0,
        ..times(instances, service("web", vec![ScriptStep::Work(Dist::Constant(Span::from_millis(5)))]))
    }
}

/// The same, and from version 2 on every request fails.
fn broken(instances: u32) -> Service {
    let mut service = web(instances);
    let Endpoint { script, .. } = service.behaviours[0].endpoints[0].clone();
    service
        .behaviours
        .push(Behaviour { from_version: 2, endpoints: vec![Endpoint { errors: 1.0, ..Endpoint::new(script) }] });
    service
}

/// Evenly spaced requests between two times, each with a timeout of one second.
fn steady(service: u16, per_second: f64, from: f64, until: f64) -> Load {
    Load {
        start: Time::ZERO + Span::from_secs_f64(from),
        end: Time::ZERO + Span::from_secs_f64(until),
        arrivals: Arrivals::steady(Process::Constant, per_second),
        policy: CallPolicy { timeout: Some(Span::from_secs(1)), ..CallPolicy::default() },
        ..load(service, per_second, until - from)
    }
}

fn lab(nodes: usize) -> Testbed {
    Testbed::nodes(nodes).latency(Dist::Constant(Span::from_millis(1)))
}

/// Requests of a load that have failed so far.
fn failed<R: meshsim_actor::Recorder<meshsim_mesh::Msg, meshsim_mesh::Tick>>(ran: &Ran<R>, load: usize) -> u64 {
    ran.client(load).tallies().iter().map(|tally| tally.failed.total()).sum()
}

/// Expects `share` of `all`, within four standard errors of a binomial.
fn expect_share(hits: u64, all: u64, share: f64, what: &str) {
    let (mean, error) = (all as f64 * share, (all as f64 * share * (1.0 - share)).sqrt());
    assert!((hits as f64 - mean).abs() <= 4.0 * error, "{hits} of {all}, not {mean:.0} +- {:.0}: {what}", 4.0 * error);
}

#[test]
fn a_weight_is_a_share_of_requests_for_any_instances_and_balancer() {
    let ewma = Balancer::PeakEwma { decay: Span::from_secs(10), start: Span::from_millis(30) };
    let all = Balancer::LeastRequest { choices: Choices::All };
    let balancers = [Balancer::RoundRobin, Balancer::Random, Balancer::default(), all, ewma];
    for (instances, balancer) in [1, 3, 10, 25].into_iter().zip(balancers.into_iter().cycle()) {
        let ran = lab(4)
            .service(Service { balancer, ..broken(instances) })
            .operation(BEGINS, 0, canary(2, &[0.1]), 1.0, None)
            .load(steady(0, 100.0, 10.0, 100.0))
            .run(102.0);
        let what = format!("{instances} instances, {balancer:?}");
        assert_eq!(ran.versions(0), [(1, instances), (2, instances.div_ceil(10))], "{what}");
        expect_share(failed(&ran, 0), 9_000, 0.1, &what);
    }
}

#[test]
fn a_canary_gets_its_share_for_one_and_three_instances_without_failures() {
    let services = ["three", "one"].map(|name| {
        let instances = if name == "one" { 1 } else { 3 };
        let get = "script: [ work: 5ms ]";
        format!(
            "  {name}: {{ instances: {instances}, capacity: 100, start_delay: 5s, endpoints: {{ get: {{ {get} }} }}, \
             versions: {{ 2: {{ endpoints: {{ get: {{ errors: 100%, {get} }} }} }} }} }}\n"
        )
    });
    let text = format!(
        "name: shares\nduration: 120s\nnodes: [ {{ name: n, count: 4, cores: 8 }} ]\nservices:\n{}operations:
  - {{ at: 0s, deploy: [three, one] }}
  - {{ at: 20s, update: three, to: 2, strategy: canary, weights: [10%] }}
  - {{ at: 20s, update: one, to: 2, strategy: canary, weights: [10%] }}
load:
  three: {{ to: three, arrivals: {{ constant: 100/s }}, from: 30s, timeout: 1s }}
  one: {{ to: one, arrivals: {{ constant: 100/s }}, from: 30s, timeout: 1s }}
  before: {{ to: one, arrivals: {{ constant: 100/s }}, from: 10s, for: 15s, timeout: 1s }}
",
        services.concat()
    );
    let experiment = meshsim_tests::parse(&text);
    let lab = Testbed { mesh: experiment.mesh, network: experiment.network, seed: experiment.seed };
    let ran = lab.run(125.0);
    for load in 0..2 {
        expect_share(failed(&ran, load), 9_000, 0.1, &format!("load {load}"));
    }
    assert_eq!((ran.client(2).tallies()[0].offered, failed(&ran, 2)), (1_500, 0), "until the new one is ready");
}

#[test]
fn each_weight_holds_from_its_ready_instances_until_the_next_weight() {
    let mut ran = lab(3)
        .service(Service { start_delay: Span::from_secs(5), ..broken(10) })
        .operation(20.0, 0, canary(2, &[0.1, 0.5, 1.0]), 40.0, None)
        .load(steady(0, 50.0, 10.0, 150.0))
        .start(());
    // (from, until, share): the instances of each weight start for five seconds.
    for (from, until, share) in
        [(11.0, 24.9, 0.0), (25.5, 64.9, 0.1), (65.5, 104.9, 0.5), (105.5, 139.9, 1.0), (141.5, 150.0, 1.0)]
    {
        ran.run_until(from);
        let before = failed(&ran, 0);
        ran.run_until(until);
        let all = ((until - from) * 50.0).round() as u64;
        let hits = failed(&ran, 0) - before;
        if share == 0.0 || share == 1.0 {
            assert!(hits.abs_diff((all as f64 * share) as u64) <= 2, "{hits} of {all} from {from} s");
        } else {
            expect_share(hits, all, share, &format!("from {from} s"));
        }
        let old = if from < 141.0 { 10 } else { 0 };
        assert_eq!(ran.versions(0).first().map_or(0, |(version, n)| if *version == 1 { *n } else { 0 }), old);
    }
}

#[test]
fn all_tries_of_a_call_keep_its_version_and_each_caller_draws_for_itself() {
    // Instances call with two retries and no budget. If each attempt drew anew, one in a thousand would fail.
    let policy = CallPolicy { retries: 2, retry: Retry { budget: None, ..Retry::default() }, ..CallPolicy::default() };
    let ScriptStep::Call(to_web) = call(1) else { unreachable!("it is a call") };
    let front =
        Service { capacity: 100.0, ..times(5, service("front", vec![ScriptStep::Call(Call { policy, ..to_web })])) };
    let ran = lab(3)
        .service(front)
        .service(broken(4))
        .operation(BEGINS, 1, canary(2, &[0.1]), 1.0, None)
        .load(steady(0, 100.0, 10.0, 60.0))
        .run(65.0);
    expect_share(failed(&ran, 0), 5_000, 0.1, "through five callers");
}

/// The disturbance of the service during its canary.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    Extend(u32),
    /// An update back to the version that stays.
    BackAtOnce,
    BackRolling,
    BackByCanary,
    Another,
}

/// A canary with random parameters.
#[derive(Clone, Debug)]
struct Drawn {
    instances: u32,
    nodes: usize,
    weights: Vec<f64>,
    every: f64,
    placement: Placement,
    balancer: Balancer,
    beside: Beside,
    /// Time of the disturbance.
    at: f64,
}

impl Drawn {
    fn draw(rng: &mut Rng) -> Self {
        let lists = [vec![0.1], vec![0.1, 0.5], vec![0.05, 0.5, 1.0], vec![0.3, 1.0], vec![1.0]];
        let besides = [
            Beside::Nothing,
            Beside::Extend(1 + rng.below(12)),
            Beside::BackAtOnce,
            Beside::BackRolling,
            Beside::BackByCanary,
            Beside::Another,
        ];
        let balancers = [Balancer::RoundRobin, Balancer::Random, Balancer::default()];
        let beside = besides[rng.below(6) as usize];
        // The immediate update back removes all once the old ones are gone: that is a property of batch updates, not of
        // canaries.
        let lists = if matches!(beside, Beside::BackAtOnce) { &lists[..2] } else { &lists[..] };
        Drawn {
            instances: 1 + rng.below(8),
            nodes: 1 + rng.below(5) as usize,
            weights: lists[rng.below(lists.len() as u32) as usize].clone(),
            every: [0.3, 1.0, 2.0][rng.below(3) as usize],
            placement: if rng.chance(0.5) { Placement::Spread } else { Placement::BinPack },
            balancer: balancers[rng.below(3) as usize],
            beside,
            at: BEGINS + 5.0 * rng.unit(),
        }
    }

    fn lab(&self) -> Testbed {
        let back = |strategy| Some(Change::Update { to: 1, rate: 1.0, strategy });
        let quarter = Amount::Share(0.25);
        let second = match self.beside {
            Beside::Nothing => None,
            Beside::Extend(to) => Some(extend(to, 1.0, Rounding::Away)),
            Beside::BackAtOnce => back(Strategy::Batch),
            Beside::BackRolling => back(Strategy::Rolling { max_surge: quarter, max_unavailable: quarter }),
            Beside::BackByCanary => back(Strategy::Canary { weights: [0.5, 1.0].into() }),
            Beside::Another => Some(canary(3, &[0.2, 1.0])),
        };
        let lab = lab(self.nodes)
            .control(|control| control.placement = self.placement)
            .service(Service { balancer: self.balancer, ..web(self.instances) })
            .operation(BEGINS, 0, canary(2, &self.weights), self.every, None)
            .load(steady(0, 20.0, 3.0, 22.0));
        match second {
            Some(second) => lab.operation(self.at, 0, second, self.every, None),
            None => lab,
        }
    }
}

#[test]
fn no_request_fails_for_a_canary_whatever_operation_comes_beside_it() {
    let mut rng = Rng::stream(31, "canaries");
    for _ in 0..120 * campaign() {
        let drawn = Drawn::draw(&mut rng);
        let what = format!("{drawn:?}");
        let mut ran = drawn.lab().start(());
        ran.run_until(3.0);
        let least = if let Beside::Extend(to) = drawn.beside { to.min(drawn.instances) } else { drawn.instances };
        // The rolled-back update may lack a quarter.
        let least = if matches!(drawn.beside, Beside::BackRolling) { least - least / 4 } else { least };
        let mut most = 0;
        for tick in 0..1000 {
            ran.run_until(3.0 + 0.02 * f64::from(tick));
            let wanted = ran.coordinator().wanted(ServiceId(0));
            assert!(ran.ready(0) >= least, "{} ready: {wanted:?} {what}", ran.ready(0));
            most = most.max(wanted.extra());
            if let Some(canary) = &wanted.canary {
                let staying: u32 = wanted.versions.iter().filter(|it| it.0 != canary.version).map(|it| it.1).sum();
                assert_eq!(staying, wanted.instances, "S stays: {wanted:?} {what}");
                let beside = canary_instances(canary.weight(), wanted.instances);
                assert!(wanted.extra() >= beside, "{wanted:?} {what}");
                assert_eq!(wanted.v, wanted.v_mean(), "{what}");
            }
        }
        ran.run_until(26.0);
        let tally = &ran.client(0).tallies()[0];
        assert_eq!((tally.offered, tally.done, tally.failed.total()), (380, 380, 0), "{what}");
        assert!(most > 0, "there was a canary: {what}");
        let wanted = ran.coordinator().wanted(ServiceId(0));
        let s = if let Beside::Extend(to) = drawn.beside { to } else { drawn.instances };
        assert_eq!((wanted.instances, ran.versions(0)), (s, wanted.versions.clone()), "{what}");
        let weight = *drawn.weights.last().unwrap();
        let expected = match drawn.beside {
            Beside::Nothing | Beside::Extend(_) if weight < 1.0 => vec![(1, s), (2, canary_instances(weight, s))],
            Beside::Nothing | Beside::Extend(_) => vec![(2, s)],
            Beside::Another => vec![(3, s)],
            _ => vec![(1, s)],
        };
        assert_eq!(wanted.versions, expected, "{what}");
    }
}

#[test]
fn an_undeploy_during_a_canary_leaves_nothing_for_the_next_deploy() {
    let ran = lab(3)
        .service(web(4))
        .operation(BEGINS, 0, canary(2, &[0.5, 1.0]), 3.0, None)
        .operation(7.0, 0, Change::Undeploy, 1.0, None)
        .operation(12.0, 0, Change::Deploy, 1.0, None)
        .load(steady(0, 50.0, 14.0, 20.0))
        .run(22.0);
    let wanted = ran.coordinator().wanted(ServiceId(0));
    assert_eq!((ran.versions(0), &wanted.canary, failed(&ran, 0)), (vec![(1, 4)], &None, 0));
    assert_eq!(ran.history(1).outcome, OperationOutcome::Superseded);
}

#[test]
fn where_the_only_canary_dies_the_old_version_serves() {
    let mut rng = Rng::stream(32, "crashes");
    for _ in 0..30 * campaign() {
        // One machine more than instances: the canary is alone on its machine.
        let instances = 1 + rng.below(5);
        let nodes = instances as usize + 1;
        let crash = 10.0 + rng.unit();
        let plain = || {
            lab(nodes).seed(u64::from(instances)).service(web(instances)).operation(
                BEGINS,
                0,
                canary(2, &[0.2]),
                1.0,
                None,
            )
        };
        let mut ran = plain().start(());
        ran.run_until(crash);
        let has_canary = |node: &usize| {
            let services = ran.node(*node).state().services;
            services.iter().flat_map(|hosted| &hosted.instances).any(|(_, version)| *version == 2)
        };
        let alone = (0..nodes).find(has_canary).expect("it is somewhere");
        assert_eq!(ran.instances_on(alone, 0), 1, "{instances} instances");

        let at = |secs: f64| Time::ZERO + Span::from_secs_f64(secs);
        let victim = [ActorId(1 + alone as u32)].into_iter().collect();
        let mut ran = plain()
            .fault(Fault::new(at(crash), at(crash + 12.0), Crash { actors: victim }))
            .load(steady(0, 50.0, 8.0, 30.0))
            .start(());
        // One heartbeat a second, three of which may be missing; then callers are told.
        ran.run_until(crash + 5.5);
        let tally = ran.client(0).tallies()[0].clone();
        assert_eq!(tally.failed.of(Failure::NoInstance), 0);
        let before = tally.failed.total();
        assert!(before > 0, "requests to the dead canary fail until it is missed");
        ran.run_until(32.0);
        let tally = &ran.client(0).tallies()[0];
        assert_eq!((tally.failed.of(Failure::NoInstance), tally.failed.total()), (0, before), "{instances}");
        let versions = ran.versions(0);
        assert_eq!(versions, [(1, instances), (2, canary_instances(0.2, instances))], "it is started elsewhere");
    }
}

#[test]
fn a_weight_stays_in_force_while_any_instance_of_the_canary_is_ready() {
    // Half of the requests, for ten instances of which five are new; one per node, so that a crash removes one of them.
    let instances = 10;
    let plain = || {
        let service = Service { start_delay: Span::from_secs(20), ..broken(instances) };
        lab(15).service(service).operation(25.0, 0, canary(2, &[0.5]), 1.0, None)
    };
    let mut ran = plain().start(());
    ran.run_until(50.0);
    let has_canary = |node: usize| {
        let services = ran.node(node).state().services;
        services.iter().flat_map(|hosted| &hosted.instances).any(|(_, version)| *version == 2)
    };
    let of_canary: Vec<usize> = (0..15).filter(|node| has_canary(*node)).collect();
    assert_eq!(of_canary.len(), 5);

    let at = |secs: f64| Time::ZERO + Span::from_secs_f64(secs);
    let crash = |count: usize| {
        let victims = of_canary[..count].iter().map(|node| ActorId(1 + *node as u32)).collect();
        Fault::new(at(50.0), at(52.0), Crash { actors: victims })
    };
    let grow = |to| extend(to, 1.0, Rounding::Away);
    let crashed = |count| plain().fault(crash(count));
    let cases = [
        ("one of five crashes", crashed(1), 0.5),
        ("four of five crash", crashed(4), 0.5),
        ("all crash", crashed(5), 0.0),
        ("the service is extended", plain().operation(50.0, 0, grow(16), 1.0, None), 0.5),
    ];
    for (what, lab, share) in cases {
        // From the time at which callers know until the missing instances are ready.
        let ran = lab.load(steady(0, 100.0, 57.0, 69.0)).run(72.0);
        expect_share(failed(&ran, 0), 1_200, share, what);
    }
}

#[test]
fn a_canary_moves_no_other_draw() {
    // A caller that draws its work from one stream; the endpoint that it calls next always takes the same time.
    let tally = |weight: Option<f64>| {
        let front = Service { capacity: 1000.0, ..service("front", vec![exponential(0.01), call(1)]) };
        let lab = Testbed::nodes(2)
            .service(front)
            .service(Service { balancer: Balancer::RoundRobin, ..web(2) })
            .load(load(0, 50.0, 30.0));
        let lab = match weight {
            Some(weight) => lab.operation(BEGINS, 1, canary(2, &[weight]), 1.0, None),
            None => lab,
        };
        format!("{:?}", lab.run(40.0).client(0).tallies())
    };
    assert_eq!(tally(None), tally(Some(0.5)));
}
