//! Policies of callers against closed forms: breakers, hedges, retry budgets, retries on another instance, and what
//! outlier detection sees.

use std::path::Path;

use meshsim_actor::{ActorId, Dist, Span, Time};
use meshsim_experiment::Override;
use meshsim_fault::{ActorSelector, Drop, Fault, Link};
use meshsim_mesh::MeshActor;
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::Tally;
use meshsim_mesh::model::{Arrivals, Balancer, CallPolicy, Change, Load, Process, Retry, ScriptStep, Service};
use meshsim_mesh::policy::breaker::Breaker;
use meshsim_mesh::policy::budget::WindowBudget;
use meshsim_mesh::policy::hedge::{Hedge, HedgeAfter};
use meshsim_mesh::policy::outlier::Outliers;
use meshsim_mesh::policy::token_bucket::TokenBucket;
use meshsim_mesh::policy::{CallRules, CallRulesId, PolicyEvent, ServicePolicies};
use meshsim_tests::oracle::{birth_and_death, is_near, over_seeds, tally};
use meshsim_tests::{Testbed, load, parse, play, service, times};

/// A service that sleeps for an exponential time of this mean, with as many slots as are wanted.
fn sleeper(mean: Span, policies: ServicePolicies) -> Service {
    let sleep = ScriptStep::Sleep(Dist::Exponential { at_least: Span::ZERO, mean });
    Service { capacity: 1e6, policies: Some(Box::new(policies)), ..service("sleeper", vec![sleep]) }
}

const TENTH: Span = Span::from_millis(100);

fn broken(breaker: Breaker, seed: u64) -> Tally {
    let policies = ServicePolicies { breaker: Some(breaker), ..ServicePolicies::default() };
    tally(Testbed::nodes(1).seed(seed).service(sleeper(TENTH, policies)).load(load(0, 50.0, 400.0)), 402.0)
}

#[test]
fn a_caller_with_connections_and_a_queue_is_a_queue_with_bounds() {
    let breaker =
        Breaker { max_connections: Some(5), max_pending_requests: Some(3), max_requests: None, max_retries: None };
    let p = birth_and_death(5.0, 5, 8);
    let share = |event: PolicyEvent| {
        over_seeds(|seed| {
            let tally = broken(breaker, seed);
            assert_eq!(tally.failed.total(), tally.policies.of(PolicyEvent::OverflowPending));
            tally.policies.of(event) as f64 / tally.offered as f64
        })
    };
    is_near(share(PolicyEvent::OverflowPending), p[8]);
    is_near(share(PolicyEvent::Waited), p[5] + p[6] + p[7]);
}

#[test]
fn a_limit_on_requests_blocks_as_erlang_says() {
    let breaker = Breaker { max_connections: None, max_requests: Some(5), ..Breaker::default() };
    let blocked = |seed| {
        let tally = broken(breaker, seed);
        assert_eq!(tally.failed.total(), tally.policies.of(PolicyEvent::OverflowRequests));
        tally.failed.total() as f64 / tally.offered as f64
    };
    is_near(over_seeds(blocked), birth_and_death(5.0, 5, 5)[5]);
}

#[test]
fn a_call_that_gives_up_waiting_makes_room_for_the_next() {
    let breaker =
        Breaker { max_connections: Some(1), max_pending_requests: Some(2), max_requests: None, max_retries: None };
    let sleep = ScriptStep::Sleep(Dist::Constant(Span::from_secs(10)));
    let policies = ServicePolicies { breaker: Some(breaker), ..ServicePolicies::default() };
    let web = Service { capacity: 1e6, policies: Some(Box::new(policies)), ..service("web", vec![sleep]) };
    // The first holds the connection until 1.5 s, and then the second until 3 s. The third waits until 1.7 s.
    let stamps = [0, 100, 200, 2_000, 2_100].map(Span::from_millis);
    let policy = CallPolicy { timeout: Some(Span::from_millis(1_500)), ..CallPolicy::default() };
    let offered = Load { arrivals: Arrivals::Stamps(stamps.into()), policy, ..load(0, 1.0, 10.0) };
    let tally = tally(Testbed::nodes(1).service(web).load(offered), 12.0);
    let of = |event| tally.policies.of(event);
    assert_eq!((of(PolicyEvent::Waited), of(PolicyEvent::OverflowPending)), (4, 0));
    assert_eq!(tally.failed.of(meshsim_mesh::measure::Failure::Timeout), 5);
}

#[test]
fn a_call_that_gives_up_at_the_instant_of_its_connection_leaves_it_to_others() {
    // Of two calls that are made together the first has the only connection until both give up, at the same instant:
    // the second gets it then, and gives it back.
    let ran = play(parse(
        "duration: 20s\nnodes: [ { name: n } ]\nservices:\n  \
         front: { capacity: 9, endpoints: { get: { script: [ call: { to: back, count: 2, parallel: true, timeout: 100ms } ] } } }\n  \
         back: { capacity: 9, breaker: { max_connections: 1 }, endpoints: { get: { script: [ sleep: 1s ] } } }\n\
         load: { users: { to: front, arrivals: { constant: 1/s }, from: 1s, for: 10s } }\n",
    ));
    assert_eq!((ran.tally().offered, ran.served("back").arrived), (10, 10));
}

#[test]
fn of_retries_only_so_many_are_in_flight_as_the_breaker_allows() {
    let breaker = Breaker { max_retries: Some(1), ..Breaker::default() };
    let policies = ServicePolicies { breaker: Some(breaker), ..ServicePolicies::default() };
    let sleep = ScriptStep::Sleep(Dist::Constant(TENTH));
    let mut web = Service { capacity: 1e6, policies: Some(Box::new(policies)), ..service("web", vec![sleep]) };
    web.behaviours[0].endpoints[0].errors = 1.0;
    let tally = tally(ruled(Testbed::nodes(1).service(web), CallRules::default(), 2, 50.0, 60.0), 62.0);
    // One at a time, each for a tenth of a second; the next begins when the next request fails.
    let per_second = tally.retries as f64 / 60.0;
    assert!((8.0..=10.0).contains(&per_second), "{per_second}");
    assert!(tally.policies.of(PolicyEvent::OverflowRetries) > tally.offered / 2);
}

#[test]
fn a_call_that_waits_for_a_connection_takes_one_token() {
    let breaker = Some(Breaker { max_connections: Some(1), ..Breaker::default() });
    let rate_limit = Some(TokenBucket { every: Span::from_secs(1_000), burst: 10 });
    let web = sleeper(TENTH, ServicePolicies { breaker, rate_limit, ..ServicePolicies::default() });
    let arrivals = Arrivals::Stamps(vec![Span::ZERO; 11].into());
    let tally = tally(Testbed::nodes(1).service(web).load(Load { arrivals, ..load(0, 1.0, 10.0) }), 12.0);
    assert_eq!((tally.done, tally.policies.of(PolicyEvent::RateLimited)), (10, 1));
}

#[test]
fn a_retry_that_would_come_after_the_deadline_takes_nothing_from_the_budget() {
    let mut failing = service("web", vec![]);
    failing.behaviours[0].endpoints[0].errors = 1.0;
    // One retry in ten seconds; half of the backoffs end too late.
    let budget = WindowBudget { ratio: 0.0, min_per_s: 0.1, ..WindowBudget::default() };
    let rules = CallRules { budget: Some(budget), ..CallRules::default() };
    let mut lab = ruled(Testbed::nodes(1).service(failing), rules, 1, 2.0, 200.0);
    let load = &mut lab.mesh.loads[0];
    (load.deadline, load.policy.retry.base, load.policy.retry.cap) =
        (Some(Span::from_millis(500)), Span::from_secs(1), Span::from_secs(1));
    let tally = tally(lab, 202.0);
    assert!((17..=23).contains(&tally.retries), "{}", tally.retries);
    let failed = &tally.failed;
    assert_eq!(failed.of(meshsim_mesh::measure::Failure::Error), failed.total(), "no retry is sent after the deadline");
}

/// A load whose calls have these rules and retries, without the budget of requests in flight.
fn ruled(lab: Testbed, rules: CallRules, retries: u32, per_second: f64, secs: f64) -> Testbed {
    let mut lab = lab;
    lab.mesh.call_rules = vec![rules];
    let retry = Retry { base: Span::ZERO, budget: None, ..Retry::default() };
    let policy = CallPolicy { timeout: Some(Span::from_secs(5)), retries, retry, rules: Some(CallRulesId(0)) };
    lab.load(Load { policy, ..load(0, per_second, secs) })
}

#[test]
fn a_hedge_after_a_delay_answers_at_the_minimum_of_two() {
    for delays in [0.0, 0.5, 1.0] {
        let hedge = Hedge { after: HedgeAfter::Delay(TENTH.scaled(delays)), max: 1, cancel: true };
        let run = |seed| {
            let rules = CallRules { hedge: Some(hedge), ..CallRules::default() };
            let lab = Testbed::nodes(1).seed(seed).service(sleeper(TENTH, ServicePolicies::default()));
            tally(ruled(lab, rules, 0, 50.0, 200.0), 210.0)
        };
        // The first reply comes as fast as one server until the delay, and as two from then on.
        let mean = over_seeds(|seed| run(seed).latency.mean().secs());
        is_near(mean, 0.1 * (1.0 - (-delays).exp() / 2.0));
        if delays > 0.0 {
            let hedged = over_seeds(|seed| {
                let tally = run(seed);
                tally.policies.of(PolicyEvent::Hedged) as f64 / tally.offered as f64
            });
            is_near(hedged, (-delays).exp());
        }
        let tally = run(1);
        let of = |event| tally.policies.of(event);
        assert_eq!(of(PolicyEvent::Hedged), of(PolicyEvent::Unneeded), "one of two is not needed");
        let won = of(PolicyEvent::HedgeWon) as f64 / of(PolicyEvent::Hedged) as f64;
        assert!((0.46..0.54).contains(&won), "either wins as often: {won}");
    }
}

#[test]
fn a_percentile_of_hedging_is_that_of_first_attempts() {
    // Half of the first attempts take longer than their median. Of all attempts the median is lower, since one of two
    // that race ends early.
    let hedge = Hedge { after: HedgeAfter::Quantile(0.5), max: 1, cancel: true };
    let hedged = over_seeds(|seed| {
        let rules = CallRules { hedge: Some(hedge), ..CallRules::default() };
        let lab = Testbed::nodes(1).seed(seed).service(sleeper(TENTH, ServicePolicies::default()));
        let mut lab = ruled(lab, rules, 0, 100.0, 220.0);
        // The percentile is first taken of a hundred attempts.
        lab.mesh.loads[0].warmup = Span::from_secs(20);
        let tally = tally(lab, 222.0);
        tally.policies.of(PolicyEvent::Hedged) as f64 / tally.offered as f64
    });
    assert!((hedged.0 - 0.5).abs() < 0.01, "{} are hedged", hedged.0);
}

/// Rules of a call that is hedged once after this time.
fn hedged(after: Span, cancel: bool) -> CallRules {
    CallRules { hedge: Some(Hedge { after: HedgeAfter::Delay(after), max: 1, cancel }), ..CallRules::default() }
}

#[test]
fn a_cancelled_loser_gives_its_slot_back_and_one_that_is_not_works_to_its_end() {
    for (cancel, delays) in [(true, 0.0), (true, 0.5), (false, 0.5)] {
        let busy = over_seeds(|seed| {
            let lab = Testbed::nodes(1).seed(seed).service(sleeper(TENTH, ServicePolicies::default()));
            let ran = ruled(lab, hedged(TENTH.scaled(delays), cancel), 0, 50.0, 100.0).run(110.0);
            let served = ran.node(0).served(ran.sim.now()).swap_remove(0).1;
            assert_eq!(ran.node(0).in_flight(), 0);
            served.busy_ns as f64 / 1e9 / ran.client(0).tallies()[0].offered as f64
        });
        // With exponential times two that end with the first take as long together as one, whenever the second begins.
        is_near(busy, if cancel { 0.1 } else { 0.1 * (1.0 + (-delays).exp()) });
    }
}

#[test]
fn a_cancelled_request_leaves_its_queue_and_cancels_the_calls_made_for_it() {
    let back = Service { name: "back".into(), ..sleeper(TENTH, ServicePolicies::default()) };
    // One slot on each of two nodes: half of the losers wait at `front`, and half wait for `back`.
    let front = times(2, service("front", vec![meshsim_tests::call(1)]));
    let lab = Testbed::nodes(2).service(front).service(back);
    let ran = ruled(lab, hedged(Span::from_millis(10), true), 0, 8.0, 100.0).run(110.0);
    let tally = &ran.client(0).tallies()[0];
    assert_eq!(tally.done, tally.offered);
    let mut dropped = [0, 0];
    for node in [ran.node(0), ran.node(1)] {
        assert_eq!(node.in_flight(), 0);
        for (service, served) in node.served(ran.sim.now()) {
            assert_eq!(served.arrived, served.done + served.expired + served.failed.total());
            dropped[service.index()] += served.expired;
        }
    }
    assert_eq!(dropped[0], tally.policies.of(PolicyEvent::Unneeded), "each loser is dropped");
    assert!(dropped[1] > 50 && dropped[1] < dropped[0], "those that had called cancel that, too: {dropped:?}");
}

#[test]
fn the_slot_of_a_cancelled_request_is_free_for_the_next() {
    let sleep = ScriptStep::Sleep(Dist::Constant(Span::from_secs(1)));
    let web = Service { balancer: Balancer::RoundRobin, ..times(2, service("web", vec![sleep])) };
    let mut lab = ruled(Testbed::nodes(2).service(web), hedged(TENTH, true), 0, 1.0, 5.0);
    lab.mesh.loads[0].arrivals = Arrivals::Stamps(vec![Span::ZERO].into());
    // One waits behind the winner, and one behind the loser, until both end at 1 s.
    let others = Arrivals::Stamps([200, 300].map(Span::from_millis).into());
    let ran = lab.load(Load { name: "others".into(), arrivals: others, ..load(0, 1.0, 5.0) }).run(10.0);
    let tally = &ran.client(1).tallies()[0];
    assert_eq!((tally.done, tally.latency.max()), (2, Span::from_millis(1_800)));
}

#[test]
fn a_hedge_that_is_not_sent_takes_nothing_from_the_budget() {
    let sleep = ScriptStep::Sleep(Dist::Constant(Span::from_secs(2)));
    let mut slow = service("web", vec![sleep]);
    slow.behaviours[0].endpoints[0].errors = 1.0;
    // One retry in ten seconds. When the hedge is due there is no instance any more.
    let budget = WindowBudget { ratio: 0.0, min_per_s: 0.1, ..WindowBudget::default() };
    let rules = CallRules { budget: Some(budget), ..hedged(Span::from_secs(1), true) };
    let lab = Testbed::nodes(1).service(slow).operation(2.0, 0, Change::Undeploy, 1.0, None);
    let mut lab = ruled(lab, rules, 1, 1.0, 1.0);
    lab.mesh.loads[0].arrivals = Arrivals::Stamps(vec![Span::from_millis(900)].into());
    let tally = tally(lab, 10.0);
    assert_eq!((tally.policies.of(PolicyEvent::HedgeDenied), tally.policies.of(PolicyEvent::Hedged)), (1, 0));
    assert_eq!((tally.retries, tally.over_budget), (1, 0));
}

#[test]
fn a_hedge_at_a_percentile_doubles_few_requests() {
    let rules = CallRules {
        hedge: Some(Hedge { after: HedgeAfter::Quantile(0.95), max: 1, cancel: false }),
        ..CallRules::default()
    };
    let lab = Testbed::nodes(1).service(sleeper(TENTH, ServicePolicies::default()));
    let tally = tally(ruled(lab, rules, 0, 50.0, 400.0), 410.0);
    let share = tally.policies.of(PolicyEvent::Hedged) as f64 / tally.offered as f64;
    assert!((0.04..0.06).contains(&share), "{share}");
}

/// A service that fails all requests of some instances, in that nothing arrives there.
fn with_dead_nodes(nodes: usize, dead: u32, policies: Option<Box<ServicePolicies>>) -> Testbed {
    let quick = service("web", vec![ScriptStep::Sleep(Dist::Constant(Span::from_millis(1)))]);
    let web = Service { capacity: 1e6, balancer: Balancer::Random, policies, ..times(nodes as u32, quick) };
    let (client, to) = (ActorId(1 + nodes as u32), (0..dead).map(|node| ActorId(1 + node)));
    let on = Link::one_way([client].into_iter().collect::<ActorSelector>(), to.collect::<ActorSelector>());
    let from = Time::ZERO + Span::from_millis(900);
    Testbed::nodes(nodes).service(web).fault(Fault::new(from, Time::NEVER, Drop { on, probability: 1.0 }))
}

#[test]
fn a_retry_at_another_instance_does_not_meet_the_dead_one_again() {
    let failed = |other_instance| {
        move |seed| {
            let rules = CallRules { other_instance, ..CallRules::default() };
            let lab = ruled(with_dead_nodes(2, 1, None).seed(seed), rules, 1, 100.0, 60.0);
            let tally = tally(lab, 80.0);
            tally.failed.total() as f64 / tally.offered as f64
        }
    };
    // The first attempt and the retry are drawn alike; each further draw halves what is left.
    is_near(over_seeds(failed(0)), 0.25);
    is_near(over_seeds(failed(2)), 0.0625);
}

#[test]
fn a_failure_that_is_not_named_is_not_retried() {
    let on = [meshsim_mesh::measure::Failure::Error].into_iter().collect();
    let rules = CallRules { retry_on: Some(on), ..CallRules::default() };
    let tally = tally(ruled(with_dead_nodes(2, 1, None), rules, 3, 100.0, 20.0), 40.0);
    assert_eq!((tally.retries, tally.policies.of(PolicyEvent::NotRetried)), (0, tally.failed.total()));
    assert!(tally.failed.total() > 800, "half of the requests fail");
}

#[test]
fn a_budget_over_a_time_allows_its_ratio_and_its_minimum() {
    let mut failing = service("web", vec![]);
    failing.behaviours[0].endpoints[0].errors = 1.0;
    let rules = CallRules { budget: Some(WindowBudget::default()), ..CallRules::default() };
    let lab = Testbed::nodes(1).service(Service { capacity: 1e6, ..failing });
    let tally = tally(ruled(lab, rules, 3, 500.0, 300.0), 310.0);
    let per_second = tally.retries as f64 / 300.0;
    // A fifth of 500 and ten; a slot of ten more may count.
    assert!((110.0..122.0).contains(&per_second), "{per_second}");
    assert!(tally.over_budget > 0);
}

/// Two of so many instances are dead, and the caller ejects.
fn with_outliers(nodes: usize, dead: u32, outliers: Option<Outliers>, seed: u64) -> Tally {
    let breaker = Some(Breaker::default());
    let lab = with_dead_nodes(
        nodes,
        dead,
        Some(Box::new(ServicePolicies { breaker, outliers, ..ServicePolicies::default() })),
    )
    .seed(seed);
    let policy = CallPolicy { timeout: Some(Span::from_millis(100)), ..CallPolicy::default() };
    let offered = Load { arrivals: Arrivals::steady(Process::Poisson, 200.0), policy, ..load(0, 200.0, 60.0) };
    tally(lab.load(offered), 62.0)
}

#[test]
fn a_breaker_does_not_see_two_dead_of_ten_and_outlier_detection_does() {
    let both = Outliers { max_ejected: 0.2, base_ejection_time: Span::from_secs(100), ..Outliers::default() };
    for seed in 1..=10 {
        let share = |tally: &Tally| tally.failed.total() as f64 / tally.offered as f64;
        let without = with_outliers(10, 2, None, seed);
        assert!((0.18..0.22).contains(&share(&without)), "seed {seed}: {}", share(&without));
        assert_eq!(without.policies.of(PolicyEvent::OverflowRequests), 0);
        let with = with_outliers(10, 2, Some(both), seed);
        assert_eq!(with.policies.of(PolicyEvent::Ejected), 2);
        assert!(share(&with) < 0.01, "seed {seed}: {}", share(&with));
    }
}

#[test]
fn of_nine_instances_at_ten_percent_none_is_ejected() {
    for (outliers, ejected) in
        [(Outliers::default(), false), (Outliers { always_eject_one_host: true, ..Outliers::default() }, true)]
    {
        let tally = with_outliers(9, 1, Some(outliers), 1);
        assert_eq!(tally.policies.of(PolicyEvent::Ejected) > 0, ejected);
        assert_eq!(tally.policies.of(PolicyEvent::EjectionSpared) > 0, !ejected);
        assert_eq!(tally.failed.total() > tally.offered / 20, !ejected);
    }
}

/// Share of the requests of an example's load that failed, of those due from 20 s on.
fn failed_late(name: &str, sets: &[&str], seed: u64) -> f64 {
    let sets = sets.iter().map(|set| (*set).to_owned()).chain([format!("seed={seed}")]);
    let sets: Vec<Override> = sets.map(|set| Override::parse(&set).expect("it is valid")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).join("mesh.yaml");
    let experiment = meshsim_experiment::load(&path, &sets).unwrap_or_else(|problems| panic!("{problems}"));
    let ran = play(experiment);
    let client = ran.sim.actors().find_map(MeshActor::client).expect("there is a load");
    let course = client.courses(ran.sim.now()).swap_remove(0);
    let late: Vec<_> = course.windows().skip(20).collect();
    let sum = |of: fn(&Window) -> u64| late.iter().map(|window| of(window)).sum::<u64>() as f64;
    sum(|window| window.failed.total()) / sum(|window| window.done + window.failed.total())
}

#[test]
fn a_retry_storm_outlives_its_trigger_and_a_budget_prevents_it() {
    for seed in 1..=10 {
        let storm = failed_late("retry-storm", &[], seed);
        assert!(storm > 0.9, "seed {seed}: {storm}");
        let within_budget = failed_late("retry-storm", &["load.users.retry.budget=20%"], seed);
        assert!(within_budget < 0.02, "seed {seed}: {within_budget}");
    }
}

#[test]
fn the_example_of_outliers_behaves_as_its_readme_says() {
    for seed in 1..=10 {
        let at_most = |share: &str| {
            let set = format!("services.web.outlier_detection.max_ejection_percent={share}");
            failed_late("outliers", &[&set], seed)
        };
        let found = [at_most("20%"), at_most("10%"), at_most("0%")];
        for (found, expected) in found.into_iter().zip([0.0, 1.0 / 9.0, 0.2]) {
            assert!((found - expected).abs() < 0.02, "seed {seed}: {found}, not {expected}");
        }
    }
}

#[test]
fn ejection_of_what_is_needed_makes_it_worse_and_the_panic_threshold_prevents_it() {
    for seed in 1..=10 {
        let failed = |set: &str| failed_late("ejection", &[set], seed);
        let ejected = failed("services.web.outlier_detection.max_ejection_percent=75%");
        assert!(ejected > 0.9, "seed {seed}: {ejected}");
        for better in [
            "services.web.panic_threshold=50%",
            "services.web.outlier_detection={ consecutive_failures: none, success_rate_stdev_factor: none }",
        ] {
            let found = failed(better);
            assert!(found < 0.03, "seed {seed}, {better}: {found}");
        }
    }
}

#[test]
fn the_example_of_overload_behaves_as_its_readme_says() {
    for seed in 1..=10 {
        let failed = |set: &str| {
            let sets = ["services.web.shed={}".to_owned(), set.to_owned(), format!("seed={seed}")];
            let sets: Vec<Override> = sets.iter().map(|set| Override::parse(set).expect("it is valid")).collect();
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/overload/mesh.yaml");
            let ran = play(meshsim_experiment::load(&path, &sets).unwrap_or_else(|problems| panic!("{problems}")));
            let client = ran.sim.actors().find_map(MeshActor::client).expect("there is a load");
            let course = client.courses(ran.sim.now()).swap_remove(0);
            let share = |secs: std::ops::Range<usize>| {
                let windows = course.windows().skip(secs.start).take(secs.len());
                let (failed, all) =
                    windows.fold((0, 0), |(failed, all), it| (failed + it.failed.total(), all + it.offered));
                failed as f64 / all as f64
            };
            [share(10..20), share(20..24), share(24..39)]
        };
        let fifo = failed("services.web.queue=2000");
        assert!(fifo[0] > 0.9 && fifo[1] > 0.8 && fifo[2] < 0.05, "seed {seed}: {fifo:?}");
        for better in
            ["services.web.shed={ lifo_after: 100ms }", "services.web.limit=20", "services.web.limit=gradient"]
        {
            let found = failed(better);
            assert!(found[0] < 0.5 && found[1] < 0.05 && found[2] < 0.01, "seed {seed}, {better}: {found:?}");
        }
    }
}
