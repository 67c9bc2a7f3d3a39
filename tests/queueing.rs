//! The oracles of queueing theory: simulated requests, over links and through slots, wait as long as the formulas
//! predict.
//!
//! The rule of acceptance: 20 batches after the first 20 % is dropped, at least 10^6 requests, standard error below 1 %
//! of the mean, and the mean within 4 standard errors of the oracle. These take a minute together in release and are
//! `#[ignore]`d; one small one runs always. `cargo test --release -p meshsim-tests --test queueing -- --ignored`

use std::sync::Arc;

use meshsim_actor::{Dist, Span, Time};
use meshsim_mesh::course::Window;
use meshsim_mesh::measure::{Failure, Tally};
use meshsim_mesh::model::{Balancer, Choices, Load, ScriptStep, Service};
use meshsim_tests::{Testbed, call, exponential, load, service, times};

/// The unit of time in which the oracles are stated: the mean service time.
const UNIT: f64 = 1e-3;

/// Batches after the warm-up; 25 windows, of which the first five are dropped.
const DROPPED: usize = 5;

struct Estimate {
    mean: f64,
    standard_error: f64,
    tally: Tally,
}

/// Offers `requests` at `rate` for each unit of time to service 0, without heartbeats or delays.
fn measure(services: Vec<Service>, rate: f64, requests: f64) -> Estimate {
    measure_with(services, rate, requests, |load| load)
}

fn measure_with(services: Vec<Service>, rate: f64, requests: f64, change: impl FnOnce(Load) -> Load) -> Estimate {
    // Enough cores that only slots matter, unless `cores` sets another number.
    measure_on(1e5, services, rate, requests, change)
}

/// The same on a node with this many cores.
fn measure_on(
    cores: f64,
    services: Vec<Service>,
    rate: f64,
    requests: f64,
    change: impl FnOnce(Load) -> Load,
) -> Estimate {
    let secs = requests / rate * UNIT;
    let offered = change(load(0, rate / UNIT, secs));
    // Windows count from the start of the run: the load begins with the second.
    let start = Time::ZERO + offered.window;
    let offered = Load { start, end: start + offered.window * 25, warmup: offered.window * DROPPED as u64, ..offered };
    let until = (offered.end + Span::from_secs_f64(secs * 0.02 + 1000.0 * UNIT)).secs();
    let mut lab = Testbed::nodes(1).control(|control| control.heartbeat = Span::ZERO);
    lab.mesh.nodes[0].cores = cores;
    let lab = services.into_iter().fold(lab, Testbed::service).load(offered);
    // Requests that still wait at the end of the load are served: long enough for the longest queue here.
    let ran = lab.run(until);
    let tally = ran.client(0).tallies()[0].clone();
    let course = ran.client(0).courses(ran.sim.now()).swap_remove(0);
    let batches: Vec<f64> = course.windows().filter(|w| w.done > 0).map(Window::mean_units).collect();
    let n = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / n;
    let variance = batches.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (n - 1.0);
    assert_eq!(batches.len(), 20);
    Estimate { mean, standard_error: (variance / n).sqrt(), tally }
}

trait MeanUnits {
    fn mean_units(&self) -> f64;
}

impl MeanUnits for Window {
    fn mean_units(&self) -> f64 {
        self.done_sum_ns as f64 / self.done as f64 / 1e9 / UNIT
    }
}

impl Estimate {
    /// Checks the mean time in the system; `tolerance` is the relative error of the oracle itself.
    fn expect(&self, what: &str, oracle: f64, tolerance: f64) -> &Self {
        let (mean, error) = (self.mean, self.standard_error);
        println!("{what}: {mean:.4} +- {error:.4}, oracle {oracle:.4}");
        assert!(error < 0.01 * mean, "{what}: {error} is more than 1 % of {mean}");
        assert!((mean - oracle).abs() < 4.0 * error + tolerance * oracle, "{what}: {mean} +- {error}, not {oracle}");
        self
    }

    /// Checks the 99th percentile, to 3 % or four standard errors: where requests wait for each other, its relative
    /// standard error is about twice that of the mean.
    fn expect_p99(&self, what: &str, oracle: f64) {
        let p99 = self.tally.latency.quantile(0.99).secs() / UNIT;
        let error = 2.0 * self.standard_error / self.mean * oracle;
        println!("{what}: p99 {p99:.3} +- {error:.3}, oracle {oracle:.3}");
        assert!((p99 - oracle).abs() < (4.0 * error).max(0.03 * oracle), "{what}: p99 {p99} +- {error}, not {oracle}");
    }
}

fn one(work: ScriptStep) -> Vec<Service> {
    vec![service("s", vec![work])]
}

fn servers(c: u32) -> Vec<Service> {
    vec![Service { capacity: f64::from(c), ..service("s", vec![exponential(UNIT)]) }]
}

/// Of mean [`UNIT`], with balanced means and a squared variation of 4.
fn hyper_exponential() -> Dist {
    let unit = Span::from_secs_f64(UNIT);
    let hyper = [(0.887_298_334, unit.scaled(0.563_508_327)), (0.112_701_666, unit.scaled(4.436_491_673))];
    Dist::Hyper(Arc::new(hyper))
}

/// This many cores, shared by all computing requests, each for a time of this distribution.
fn shared(cores: f64, work: Dist, rate: f64, requests: f64) -> Estimate {
    let endless = Service { capacity: 1e9, ..service("s", vec![ScriptStep::Work(work)]) };
    measure_on(cores, vec![endless], rate, requests, |load| load)
}

#[test]
fn a_shared_core_at_half_load_doubles_the_time_for_any_distribution() {
    let unit = Dist::Constant(Span::from_secs_f64(UNIT));
    for (work, tolerance) in [(unit, 0.03), (hyper_exponential(), 0.1)] {
        let estimate = shared(1.0, work, 0.5, 60_000.0);
        assert!((estimate.mean - 2.0).abs() < tolerance, "{}", estimate.mean);
    }
}

#[test]
#[ignore = "long: runs in release"]
fn mg1_processor_sharing() {
    let unit = Span::from_secs_f64(UNIT);
    let table = [
        ("deterministic", Dist::Constant(unit), 3e6),
        ("exponential", Dist::Exponential { at_least: Span::ZERO, mean: unit }, 4e6),
        ("hyper-exponential", hyper_exponential(), 8e6),
    ];
    for (name, work, requests) in table {
        shared(1.0, work, 0.8, requests).expect(&format!("M/G/1-PS, {name}"), 5.0, 0.0);
    }
}

#[test]
#[ignore = "long: runs in release"]
fn mmc_processor_sharing() {
    let exponential = Dist::Exponential { at_least: Span::ZERO, mean: Span::from_secs_f64(UNIT) };
    for (c, rate, wq, requests) in [(2.0, 1.6, 1.777_778, 3e6), (5.0, 4.0, 0.554_113, 2e6), (10.0, 9.0, 0.668_732, 4e6)]
    {
        shared(c, exponential.clone(), rate, requests).expect(&format!("M/M/{c}-PS at {rate}"), 1.0 + wq, 0.0);
    }
}

#[test]
fn a_single_server_at_half_load_takes_twice_its_work() {
    let estimate = measure(one(exponential(UNIT)), 0.5, 100_000.0);
    assert!((estimate.mean - 2.0).abs() < 0.1, "{}", estimate.mean);
}

#[test]
#[ignore = "long: runs in release"]
fn mm1_mean_and_p99() {
    let table = [(0.8, 5.0, 23.025_851, 3e6), (0.9, 10.0, 46.051_702, 8e6), (0.95, 20.0, 92.103_404, 40e6)];
    for (rho, w, p99, requests) in table {
        let what = format!("M/M/1 at {rho}");
        measure(one(exponential(UNIT)), rho, requests).expect(&what, w, 0.0).expect_p99(&what, p99);
    }
}

#[test]
#[ignore = "long: runs in release"]
fn mmc_waiting() {
    let table = [
        (2, 1.6, 1.777_778, 2e6),
        (5, 4.0, 0.554_113, 2e6),
        (10, 8.0, 0.204_590, 2e6),
        (10, 9.0, 0.668_732, 4e6),
        (50, 45.0, 0.072_773, 4e6),
    ];
    for (c, rate, wq, requests) in table {
        measure(servers(c), rate, requests).expect(&format!("M/M/{c} at {rate}"), 1.0 + wq, 0.0);
    }
}

#[test]
#[ignore = "long: runs in release"]
fn mg1_waiting() {
    let unit = Span::from_secs_f64(UNIT);
    let table = [
        ("deterministic", Dist::Constant(unit), 2.0, 2e6),
        ("Erlang-4", Dist::Erlang { k: 4, mean: unit }, 2.5, 2e6),
        ("exponential", Dist::Exponential { at_least: Span::ZERO, mean: unit }, 4.0, 3e6),
        ("hyper-exponential", hyper_exponential(), 10.0, 10e6),
    ];
    for (name, dist, wq, requests) in table {
        measure(one(ScriptStep::Work(dist)), 0.8, requests).expect(&format!("M/G/1, {name}"), 1.0 + wq, 0.0);
    }
}

#[test]
#[ignore = "long: runs in release"]
fn mm1k_blocking() {
    for (rho, k, blocking) in [(0.9, 10, 0.050_814), (1.5, 10, 0.337_232)] {
        // K includes the request in service.
        let limited = vec![Service { queue: k - 1, ..one(exponential(UNIT)).remove(0) }];
        let tally = measure(limited, rho, 2e6).tally;
        let share = tally.failed.of(Failure::Refused) as f64 / tally.offered as f64;
        println!("M/M/1/{k} at {rho}: blocked {share:.5}, oracle {blocking:.5}");
        assert!((share / blocking - 1.0).abs() < 0.02, "{share}, not {blocking}");
    }
}

#[test]
#[ignore = "long: runs in release"]
fn tandem() {
    // Each station passes the request on when it is done with it, so the stations are not nested: the entry has
    // unlimited slots and calls them in turn.
    let station = |rate: f64| service("station", vec![exponential(UNIT / rate)]);
    let entry = Service { capacity: 1e9, ..service("entry", vec![call(1), call(2), call(3)]) };
    measure(vec![entry, station(2.0), station(1.5), station(1.25)], 1.0, 4e6).expect("tandem", 7.0, 0.0);
}

#[test]
#[ignore = "long: runs in release"]
fn fork_join() {
    // Exact for two; for more the approximation of Nelson and Tantawi (1988), within 5 % of the truth and here better.
    for (n, w, tolerance) in [(2_u16, 2.875, 0.0), (4, 3.789_773, 0.02), (8, 4.784_821, 0.03)] {
        let branches = (1..=n).map(|i| vec![call(i)]).collect();
        let entry = Service { capacity: 1e9, ..service("entry", vec![ScriptStep::Parallel(branches)]) };
        let mut services = vec![entry];
        services.extend((0..n).map(|_| service("station", vec![exponential(UNIT)])));
        measure(services, 0.5, 1.5e6).expect(&format!("fork-join of {n}"), w, tolerance);
    }
}

#[test]
#[ignore = "long: runs in release"]
fn fan_out_waits_for_the_slowest() {
    let n = 100;
    let branches = (0..n).map(|_| vec![exponential(UNIT)]).collect();
    let entry = Service { capacity: 1e9, ..service("entry", vec![ScriptStep::Parallel(branches)]) };
    let harmonic: f64 = (1..=n).map(|i| 1.0 / f64::from(i)).sum();
    measure(vec![entry], 0.5, 1e6).expect("fan-out of 100", harmonic, 0.0).expect_p99("fan-out of 100", 9.205_370);
}

#[test]
#[ignore = "long: runs in release"]
fn two_random_choices() {
    // The limit for many servers; for a hundred, with replacement, it is slightly larger.
    let table = [
        (1000, 0.5, 1.265_686, 1e6, 0.003),
        (1000, 0.7, 1.614_454, 2e6, 0.003),
        (1000, 0.9, 2.614_057, 4e6, 0.006),
        (1000, 0.95, 3.383_046, 8e6, 0.01),
        (100, 0.9, 2.66, 3e6, 0.01),
    ];
    for (n, rho, w, requests, tolerance) in table {
        let replicated = vec![times(n, one(exponential(UNIT)).remove(0))];
        let rate = rho * f64::from(n);
        measure(replicated, rate, requests).expect(&format!("two choices of {n} at {rho}"), w, tolerance);
    }
}

/// Number of servers, balancer of their caller, time in the system at load 0.9, simulated independently, and how
/// exactly that figure is known.
const CHOOSING: [(u32, Balancer, f64, f64); 6] = [
    (100, Balancer::RoundRobin, 5.227, 0.004),
    (100, Balancer::LeastRequest { choices: Choices::Replaced(2) }, 2.66, 0.004),
    (100, Balancer::LeastRequest { choices: Choices::Distinct(2) }, 2.644, 0.004),
    // "Join the shortest queue".
    (100, Balancer::LeastRequest { choices: Choices::All }, 1.0668, 0.00005),
    (2, Balancer::LeastRequest { choices: Choices::Replaced(2) }, 5.865, 0.004),
    (2, Balancer::LeastRequest { choices: Choices::Distinct(2) }, 5.475, 0.004),
];

fn chosen_by(balancer: Balancer, n: u32, requests: f64) -> Estimate {
    let servers = Service { balancer, ..times(n, one(exponential(UNIT)).remove(0)) };
    measure(vec![servers], 0.9 * f64::from(n), requests)
}

#[test]
fn the_choice_of_instances_determines_the_latency() {
    for (n, balancer, w, _) in CHOOSING.into_iter().filter(|(n, ..)| *n == 100) {
        let mean = chosen_by(balancer, n, 150_000.0).mean;
        println!("{balancer:?} of {n}: {mean:.3}, oracle {w}");
        assert!((mean / w - 1.0).abs() < 0.08, "{balancer:?}: {mean}, not {w}");
    }
}

#[test]
#[ignore = "long: runs in release"]
fn choosing_among_all_or_some() {
    for (n, balancer, w, tolerance) in CHOOSING {
        chosen_by(balancer, n, 6e6).expect(&format!("{balancer:?} of {n}"), w, tolerance);
    }
}
