//! What studies of load cost: `cargo bench -p meshsim-benches --bench studies`, with `-- --quick` for a small one that
//! only shows that everything works.
//!
//! - M/M/4 at load 0.8 beside SimPy, in one run. SimPy comes from PyPI (`pip install simpy`); without it there is no peer.
//! - A sweep of many short runs: how much of the cores it uses.
//! - The page of a long run.
//!
//! Time is processor time, but for the sweep, whose point is the wall.

use std::process::{Command, ExitCode};
use std::time::Instant;

use meshsim_experiment::{Experiment, Override};
use meshsim_report::events::Event;
use meshsim_report::series::Series;
use meshsim_study::plan::{Plan, Varied};
use meshsim_study::{pool, sweep};
use rustix::time::{ClockId, clock_gettime};

const QUEUE: &str = "
nodes: [ { name: node, cores: 4 } ]
duration: 625s
network: { latency: 0us, local: 0us }
services:
  queue: { capacity: 4, queue: 1000000, endpoints: { serve: { script: [ work: { exponential: 10ms } ] } } }
load:
  users: { to: queue, arrivals: { poisson: 320/s }, timeout: 60s }
";

/// Erlang's C of 4 servers at load 0.8 is 0.5964; they serve 400/s, and 320/s come.
const MEAN_MS: f64 = 0.5964 / 80.0 * 1e3 + 10.0;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    beside_simpy(if quick { 20 } else { 1 });
    sweep_of_hotel(if quick { 20 } else { 1_000 });
    page_of_hotel(if quick { 10_000 } else { 1_000_000 });
    println!("studies: done");
    ExitCode::SUCCESS
}

fn read(text: &str, overrides: &[String]) -> Experiment {
    let overrides: Vec<Override> = overrides.iter().map(|text| Override::parse(text).expect("it is valid")).collect();
    meshsim_experiment::parse("queue.yaml", text, std::path::Path::new(""), &overrides).expect("the file is valid")
}

fn hotel(overrides: &[&str]) -> Experiment {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hotel/mesh.yaml");
    let overrides: Vec<Override> = overrides.iter().map(|text| Override::parse(text).expect("it is valid")).collect();
    meshsim_experiment::load(&path, &overrides).expect("the example is valid")
}

/// Processor time of this process, in seconds.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn beside_simpy(share: u64) {
    let experiment = read(QUEUE, &[format!("duration={}s", 625 / share)]);
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
    let experiment = hotel(&["duration=3s"]);
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
    // It offers 200 a second.
    let experiment = hotel(&[&format!("duration={}s", requests / 200)]);
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
    };
    let page = meshsim_page::report(&[run]).expect("a run's figures can be written");
    println!("page of a run of {offered} requests: {:.2} s, {:.2} MB", processor() - begin, page.len() as f64 / 1e6);
}
