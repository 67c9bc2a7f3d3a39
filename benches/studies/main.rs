//! The speed of load studies: `cargo bench -p meshsim-benches --bench studies`. With `-- --quick` the bench is small,
//! and only checks that everything works.
//!
//! - M/M/4 at load 0.8 beside SimPy, in one run. SimPy comes from PyPI (`pip install simpy`); without it there is no
//!   peer.
//! - A sweep of many short runs: the fraction of the cores that it uses.
//! - The HTML report of a long run: the time to write it.
//!
//! Time is processor time. Only the sweep is timed by the wall clock.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use meshsim_experiment::{Experiment, Override};
use meshsim_report::events::Event;
use meshsim_report::series::Series;
use meshsim_study::plan::{Plan, Varied};
use meshsim_study::{pool, sweep};
use rustix::time::{ClockId, clock_gettime};

const HOTEL: &str = "../examples/hotel/mesh.yaml";

/// Erlang's C of 4 servers at load 0.8 is 0.5964; they serve 400/s, and the load is 320/s.
const MEAN_MS: f64 = 0.5964 / 80.0 * 1e3 + 10.0;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    beside_simpy(if quick { 20 } else { 1 });
    sweep_of_hotel(if quick { 20 } else { 1_000 });
    page_of_hotel(if quick { 10_000 } else { 1_000_000 });
    println!("studies: done");
    ExitCode::SUCCESS
}

/// An experiment that is known to be valid, for this many seconds.
fn loaded(path: &str, secs: u64) -> Experiment {
    let duration = Override::parse(&format!("duration={secs}s")).expect("it is a duration");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    meshsim_experiment::load(&path, &[duration]).expect("the experiment is valid")
}

/// Processor time of this process, in seconds.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn beside_simpy(share: u64) {
    let experiment = loaded("studies/mmc.yaml", 625 / share);
    let begin = processor();
    let outcome = meshsim_run::simulate(&experiment, &mut ()).expect("the network is valid");
    let summary = outcome.summary(&experiment);
    let ours = processor() - begin;
    let load = &summary.loads[0];
    let requests = load.requests.offered;
    println!("M/M/4 at load 0.8, {requests} requests; a mean of {MEAN_MS:.2} ms is right");
    println!(
        "  meshsim  {:>9.0} requests/s   mean {:.2} ms",
        requests as f64 / ours,
        load.requests.latency.mean_ns.unwrap_or_default() as f64 / 1e6
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/studies/mmc.py");
    let peer = Command::new("python3").args([script, &requests.to_string()]).output();
    let printed = peer.ok().filter(|output| output.status.success());
    let printed = printed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let figures: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match figures[..] {
        [secs, mean] => println!(
            "  SimPy    {:>9.0} requests/s   mean {:.2} ms   meshsim is {:.0} x as fast",
            requests as f64 / secs,
            mean * 1e3,
            secs / ours,
        ),
        _ => println!("  SimPy is not installed here (pip install simpy): no peer"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn sweep_of_hotel(runs: usize) {
    let experiment = loaded(HOTEL, 3);
    let seeds = meshsim_study::plan::seeds(&experiment, runs);
    let varied = Varied { axes: Vec::new(), sample: None, seeds };
    let plan = Plan::new(&experiment, varied).expect("the plan is valid");
    let (cores, wall, begin) = (pool::cores(), Instant::now(), processor());
    let rows = sweep::run(&plan, Vec::new(), cores, |_| Ok::<_, std::convert::Infallible>(()), |_| true);
    let rows = rows.unwrap_or_default();
    let (wall, used) = (wall.elapsed().as_secs_f64(), processor() - begin);
    println!(
        "sweep of {} runs of hotel, 3 s each: {:.1} s, {:.0} runs/s, {:.0} % of {cores} cores",
        rows.len(),
        wall,
        rows.len() as f64 / wall,
        used / wall / cores as f64 * 1e2,
    );
}

fn page_of_hotel(requests: u64) {
    // It offers 200 requests a second.
    let experiment = loaded(HOTEL, requests / 200);
    let outcome = meshsim_run::simulate(&experiment, &mut ()).expect("the network is valid");
    let begin = processor();
    let summary = outcome.summary(&experiment);
    let series = Series::new(&experiment, &outcome.measured);
    let events: Vec<Event> = meshsim_report::events(&experiment, &outcome.measured, &summary, &series);
    let offered: u64 = summary.loads.iter().map(|load| load.requests.offered).sum();
    let run = meshsim_page::Run {
        label: "hotel".to_owned(),
        differs: Vec::new(),
        summary,
        experiment,
        series: Some(series),
        events: Some(events),
        totals: None,
    };
    let page = meshsim_page::report(&[run]).expect("a run's figures can be written");
    println!("page of a run of {offered} requests: {:.2} s, {:.2} MB", processor() - begin, page.len() as f64 / 1e6);
}
