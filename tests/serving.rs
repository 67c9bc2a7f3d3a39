//! Policies of instances against closed forms: limits, token buckets, shedding by deadline, priority and delay, LIFO,
//! and the limit that follows the latency.

use meshsim_actor::{Dist, Span, Time};
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::{Failure, ServiceMetrics};
use meshsim_mesh::model::{Arrivals, CallPolicy, Load, ScriptStep, Service};
use meshsim_mesh::policy::token_bucket::TokenBucket;
use meshsim_mesh::policy::{PolicyEvent, PolicyGroup, ServicePolicies};
use meshsim_mesh::serving::ServingPolicies;
use meshsim_mesh::serving::codel::Codel;
use meshsim_mesh::serving::gradient::Gradient;
use meshsim_mesh::serving::limit::Limit;
use meshsim_mesh::serving::priority::{Priority, Shares};
use meshsim_tests::oracle::{birth_and_death, is_near, m_d_1_k_refused, over_seeds, tally};
use meshsim_tests::{Ran, Testbed, load, service};

/// Mean time that a request is served.
const UNIT: Span = Span::from_millis(10);

/// One instance with so many slots; a request sleeps for an exponential time in one.
fn server(slots: u32, serving: ServingPolicies) -> Service {
    let sleep = ScriptStep::Sleep(Dist::Exponential { at_least: Span::ZERO, mean: UNIT });
    Service { capacity: f64::from(slots), serving: Some(Box::new(serving)), ..service("server", vec![sleep]) }
}

fn lab(seed: u64, slots: u32, serving: ServingPolicies) -> Testbed {
    Testbed::nodes(1).seed(seed).service(server(slots, serving))
}

/// Offers so many requests per [`UNIT`], for so many seconds.
fn offered(per_unit: f64, secs: f64) -> Load {
    load(0, per_unit / UNIT.secs(), secs)
}

fn served(ran: &Ran) -> ServiceMetrics {
    ran.node(0).served(ran.sim.now()).swap_remove(0).1
}

/// Share of the arrived requests with this event.
fn share(served: &ServiceMetrics, event: PolicyEvent) -> f64 {
    served.policies.of(event) as f64 / served.arrived as f64
}

#[test]
fn slots_and_a_limit_are_a_queue_with_bounds() {
    // As many as the slots: Erlang's formula B.
    for (slots, limit) in [(5, 8), (5, 5), (1, 4)] {
        let refused = over_seeds(|seed| {
            let serving = ServingPolicies { limit: Some(Limit::Fixed(limit)), ..ServingPolicies::default() };
            let ran = lab(seed, slots, serving).load(offered(f64::from(slots), 60.0)).run(62.0);
            let served = served(&ran);
            assert_eq!(served.failed.of(Failure::Refused), served.policies.of(PolicyEvent::Limited));
            share(&served, PolicyEvent::Limited)
        });
        is_near(refused, birth_and_death(f64::from(slots), slots as usize, limit as usize)[limit as usize]);
    }
}

#[test]
fn a_token_bucket_refuses_as_a_queue_with_fixed_times_and_room_for_its_burst() {
    for (burst, rho) in [(1, 0.8), (3, 1.2), (10, 1.0)] {
        let rate_limit = Some(TokenBucket { every: UNIT, burst });
        let of_instance = over_seeds(|seed| {
            let serving = ServingPolicies { rate_limit, ..ServingPolicies::default() };
            let ran = lab(seed, 1000, serving).load(offered(rho, 500.0)).run(502.0);
            share(&served(&ran), PolicyEvent::RateLimited)
        });
        is_near(of_instance, m_d_1_k_refused(rho, burst as usize));
        // Each of two callers has a bucket of its own.
        let of_caller = over_seeds(|seed| {
            let policies = ServicePolicies { rate_limit, ..ServicePolicies::default() };
            let server = Service { policies: Some(policies.into()), ..server(1000, ServingPolicies::default()) };
            let lab = Testbed::nodes(1).seed(seed).service(server);
            let other = Load { name: "other".into(), ..offered(rho, 500.0) };
            let ran = lab.load(offered(rho, 500.0)).load(other).run(502.0);
            let tally = &ran.client(1).tallies()[0];
            assert_eq!(tally.failed.total(), tally.policies.of(PolicyEvent::RateLimited));
            tally.failed.total() as f64 / tally.offered as f64
        });
        is_near(of_caller, m_d_1_k_refused(rho, burst as usize));
    }
}

#[test]
fn requests_with_too_little_time_left_are_refused_and_those_with_none_dropped() {
    // M/M/1 where a request is served only if it has waited for at most `patience`: above it the density of the work in
    // the system falls as the service times end, below it as in M/M/1. (Barrer 1957.)
    let (lambda, patience, deadline) = (0.9_f64, 4.0_f64, 6.0_f64);
    let below = lambda * (1.0 - (-(1.0 - lambda) * patience).exp()) / (1.0 - lambda);
    let above = lambda * (-(1.0 - lambda) * patience).exp();
    let idle = 1.0 / (1.0 + below + above);
    let longer_than = |wait: f64| idle * above * (patience - wait).exp();
    let run = |seed| {
        let serving = ServingPolicies { time_left: Some(UNIT * 2), ..ServingPolicies::default() };
        let offered = Load { deadline: Some(UNIT * deadline as u64), ..offered(lambda, 300.0) };
        served(&lab(seed, 1, serving).load(offered).run(303.0))
    };
    let expired = |served: &ServiceMetrics| served.expired as f64 / served.arrived as f64;
    is_near(
        over_seeds(|seed| share(&run(seed), PolicyEvent::ShedDeadline)),
        longer_than(patience) - longer_than(deadline),
    );
    is_near(over_seeds(|seed| expired(&run(seed))), longer_than(deadline));
}

#[test]
fn each_class_of_requests_fills_its_share_of_the_room() {
    let (high, low) = (0.7, 0.5);
    // Ten requests at most, and five while a sheddable one comes.
    let mut p = vec![1.0];
    (0..10).for_each(|n| p.push(p[n] * if n < 5 { high + low } else { high }));
    let sum: f64 = p.iter().sum();
    let run = |seed| {
        let serving = ServingPolicies { shares: Some(Shares::default()), ..ServingPolicies::default() };
        let server = Service { queue: 9, ..server(1, serving) };
        let low = Load { name: "low".into(), priority: Priority::Sheddable, ..offered(low, 200.0) };
        let high = Load { priority: Priority::CriticalPlus, ..offered(high, 200.0) };
        let ran = Testbed::nodes(1).seed(seed).service(server).load(high).load(low).run(202.0);
        [0, 1].map(|load| {
            let tally = &ran.client(load).tallies()[0];
            tally.failed.total() as f64 / tally.offered as f64
        })
    };
    is_near(over_seeds(|seed| run(seed)[1]), p[5..].iter().sum::<f64>() / sum);
    let (mean, error) = over_seeds(|seed| run(seed)[0]);
    assert!((mean - p[10] / sum).abs() < 4.0 * error, "{mean} +/- {error}, not {}", p[10] / sum);
}

#[test]
fn an_endpoint_has_a_class_of_its_own() {
    let serving = ServingPolicies { shares: Some(Shares([1.0, 1.0, 1.0, 0.0])), ..ServingPolicies::default() };
    let mut server = server(1, serving);
    server.behaviours[0].endpoints[0].priority = Some(Priority::Sheddable);
    let vain = Load { priority: Priority::CriticalPlus, ..offered(0.5, 2.0) };
    let tally = tally(Testbed::nodes(1).service(server).load(vain), 4.0);
    assert!(tally.done == 0 && tally.failed.of(Failure::Refused) == tally.offered);
}

fn lifo(after: Span) -> ServingPolicies {
    ServingPolicies { lifo_after: Some(after), ..ServingPolicies::default() }
}

#[test]
fn lifo_has_the_mean_of_fifo_and_a_longer_tail() {
    let latency = |serving: fn() -> ServingPolicies| {
        move |seed| {
            let tally = tally(lab(seed, 1, serving()).load(offered(0.5, 200.0)), 210.0);
            (tally.latency.mean().secs() / UNIT.secs(), tally.latency.quantile(0.99).secs() / UNIT.secs())
        }
    };
    let (fifo, newest_first) = (latency(ServingPolicies::default), latency(|| lifo(Span::ZERO)));
    is_near(over_seeds(|seed| fifo(seed).0), 2.0);
    is_near(over_seeds(|seed| newest_first(seed).0), 2.0);
    assert!(newest_first(1).1 > 1.2 * fifo(1).1, "{} and {}", newest_first(1).1, fifo(1).1);
}

#[test]
fn in_overload_lifo_answers_in_time_what_it_can_and_fifo_nothing() {
    // Of 1.5 requests a unit one is served. The newest is answered soon, or never.
    let done = |serving: fn() -> ServingPolicies| {
        move |seed| {
            let policy = CallPolicy { timeout: Some(UNIT * 40), ..CallPolicy::default() };
            let tally = tally(lab(seed, 1, serving()).load(Load { policy, ..offered(1.5, 100.0) }), 102.0);
            tally.done as f64 / tally.offered as f64
        }
    };
    let (fifo, adaptive) = (done(ServingPolicies::default), done(|| lifo(UNIT * 10)));
    let (mean, _) = over_seeds(adaptive);
    assert!((mean - 1.0 / 1.5).abs() < 0.02, "{mean}");
    let (mean, _) = over_seeds(fifo);
    assert!(mean < 0.1, "{mean}");
}

#[test]
fn codel_refuses_the_oldest_of_a_queue_that_stands_as_its_control_law_says() {
    // 3,000 come at once, and each takes a millisecond.
    let serving = ServingPolicies { codel: Some(Codel::default()), ..ServingPolicies::default() };
    let sleep = ScriptStep::Sleep(Dist::Constant(Span::from_millis(1)));
    let web = Service { queue: 5000, serving: Some(Box::new(serving)), ..service("web", vec![sleep]) };
    let arrivals = Arrivals::Stamps(vec![Span::ZERO; 3000].into());
    let ran = Testbed::nodes(1).service(web).load(Load { arrivals, ..load(0, 1.0, 10.0) }).run(12.0);
    // The wait is above 5 ms from then on, and an interval later the first is refused; the n-th after it follows the
    // one before by 100 ms / sqrt(n).
    let (mut refused, mut next) = (0_u32, 105.0);
    while next + f64::from(refused) < 3_000.0 {
        refused += 1;
        next += 100.0 / f64::from(refused).sqrt();
    }
    let (served, tally) = (served(&ran), ran.client(0).tallies()[0].clone());
    let found = served.policies.of(PolicyEvent::ShedDelay);
    assert!(found.abs_diff(u64::from(refused)) <= 2, "{found} are refused, not {refused}");
    assert_eq!((served.done, served.failed.of(Failure::Refused)), (3_000 - found, found));
    assert_eq!(tally.failed.of(Failure::Refused), found);
}

#[test]
fn codel_lets_bursts_pass_and_with_lifo_refuses_what_would_not_be_served() {
    let codel =
        |lifo_after| ServingPolicies { codel: Some(Codel::default()), lifo_after, ..ServingPolicies::default() };
    // Bursts of 50 that are worked off within 50 ms wait for up to that, and none is refused.
    let sleep = ScriptStep::Sleep(Dist::Constant(Span::from_millis(1)));
    let web = Service { queue: 5000, serving: Some(Box::new(codel(None))), ..service("web", vec![sleep]) };
    let stamps = (0..1000).map(|n| Span::from_millis(n / 50 * 200));
    let bursts = Load { arrivals: Arrivals::Stamps(stamps.collect()), ..load(0, 1.0, 10.0) };
    let tally = tally(Testbed::nodes(1).service(web).load(bursts), 12.0);
    assert_eq!((tally.done, tally.failed.total()), (1000, 0));
    assert!(tally.latency.max() >= Span::from_millis(49));
    // Of 1.5 requests a unit one is served, the newest; of the others none waits until its caller gives up.
    let overloaded = |serving: ServingPolicies| {
        let server = Service { queue: 100_000, ..server(1, serving) };
        let ran = Testbed::nodes(1).service(server).load(offered(1.5, 100.0)).run(130.0);
        let tally = ran.client(0).tallies()[0].clone();
        assert_eq!(tally.done + tally.failed.total(), tally.offered);
        (tally.done as f64 / tally.offered as f64, tally.latency.quantile(0.9), tally.failed.of(Failure::Timeout))
    };
    let (done, p90, late) = overloaded(codel(Some(Span::from_millis(100))));
    assert!((done - 1.0 / 1.5).abs() < 0.03 && p90 < Span::from_millis(500) && late == 0, "{done} {p90} {late}");
}

#[test]
fn the_gradient_finds_the_knee_of_a_queue_with_several_servers() {
    // Half more than ten slots can serve. At the knee, all are busy and few requests wait.
    let run = |seed, limit| {
        let serving = ServingPolicies { limit, ..ServingPolicies::default() };
        let server = Service { queue: 1000, ..server(10, serving) };
        let ran = Testbed::nodes(1).seed(seed).service(server).load(offered(15.0, 100.0)).run(101.0);
        let course = ran.client(0).courses(ran.sim.now()).swap_remove(0);
        let late: Vec<&Window> = course.windows().skip(5).collect();
        let sum = |of: &dyn Fn(&Window) -> u64| late.iter().map(|window| of(window)).sum::<u64>() as f64;
        let secs = late.len() as f64 * 4.0;
        let there = sum(&|window| window.levels.in_flight_ns) / 1e9 / secs;
        (sum(&|window| window.done) / secs, there)
    };
    for seed in 1..=5 {
        let (done, there) = run(seed, Some(Limit::Gradient(Gradient::default())));
        // 1,000 a second can be served; the median of fifty requests is uncertain. The limit is between the slots and
        // twice as many.
        assert!(done > 850.0 && (10.0..20.0).contains(&there), "seed {seed}: {done}/s with {there} in flight");
        let (_, there) = run(seed, None);
        assert!(there > 900.0, "without a limit the queue is full: {there}");
    }
}

#[test]
fn refusals_count_in_the_window_in_which_the_request_came() {
    let serving = ServingPolicies { limit: Some(Limit::Fixed(1)), ..ServingPolicies::default() };
    let ran = lab(1, 1, serving).load(Load { warmup: Span::from_secs(10), ..offered(1.0, 25.0) }).run(27.0);
    let course = ran.node(0).courses(ran.sim.now()).swap_remove(0).course;
    let limited: Vec<u64> = course.windows().map(|window| window.policies.of_group(PolicyGroup::Limited)).collect();
    assert!(limited.iter().skip(1).take(25).all(|count| (20..80).contains(count)), "{limited:?}");
    // The figures of the run leave the warm-up out.
    let from = Time::ZERO + Span::from_secs(11);
    let counted: u64 = limited.iter().skip(from.secs() as usize).sum();
    assert_eq!(served(&ran).policies.of(PolicyEvent::Limited), counted);
}
