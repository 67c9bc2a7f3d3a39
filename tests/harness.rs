//! The model of sidecars against the rows of Istio's performance harness (August 2020).
//!
//! Fortio keeps `c` connections and sends `q` requests a second over them: each connection one every `c / q` s, all at
//! nearly the same time. How nearly, and the latency of a proxy besides its processor time, were fitted on the rows
//! with c = 16 (from 500 requests/s on); the other rows, with 2 to 64 connections, test the model.

use std::fmt::Write as _;
use std::path::PathBuf;

use meshsim_actor::Rng;
use meshsim_experiment::parse;

/// Fitted on c = 16: for each configuration of telemetry the mean processor time of both sidecars and their latency
/// besides, in microseconds.
const FITTED: [(&str, f64, f64); 5] = [
    ("none_mtls", 193.0, 110.0),
    ("v2-sd-full-nullvm", 285.0, 290.0),
    ("v2-sd-nologging-nullvm", 267.0, 300.0),
    ("v2-stats-nullvm", 263.0, 465.0),
    ("v2-stats-wasm", 297.0, 970.0),
];

/// Share of the time between two bursts over which Fortio spreads one.
const SPREAD: f64 = 0.1;

struct Row {
    label: String,
    connections: u32,
    rate: f64,
    /// p50, p90 and p99, in seconds.
    latency: [f64; 3],
    /// Cores of both sidecars.
    cores: f64,
}

#[expect(clippy::disallowed_methods, reason = "where the corpus is differs between machines")]
fn rows() -> Option<Vec<Row>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var("MESHSIM_CORPUS").map_or(beside, PathBuf::from).join("isotope/perf-benchmark-example.csv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is absent; set MESHSIM_CORPUS to the test corpus", path.display());
        return None;
    };
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let figure = |at: usize| cells[at].parse::<f64>().expect("a figure");
        let words: Vec<&str> = cells[2].split('_').collect();
        Row {
            label: words[6..].join("_"),
            connections: words[4].parse().expect("a number of connections"),
            rate: figure(4),
            latency: [5, 6, 7].map(|at| figure(at) / 1e6),
            cores: (figure(8) + figure(9)) / 1000.0,
        }
    };
    Some(text.lines().skip(1).map(row).collect())
}

/// The figures of a row, simulated: latencies in seconds, and cores of the sidecars.
fn simulated(row: &Row) -> ([f64; 3], f64) {
    const REQUESTS: u32 = 12_000;
    let apart = f64::from(row.connections) / row.rate;
    let bursts = REQUESTS / row.connections;
    let mut rng = Rng::stream(1, &row.label);
    let mut times: Vec<f64> = Vec::new();
    for burst in 0..bursts {
        times.extend((0..row.connections).map(|_| 1.0 + apart * (f64::from(burst) + SPREAD * rng.unit())));
    }
    times.sort_by(f64::total_cmp);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("harness");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let name = format!("{}-{}-{}.csv", row.label, row.connections, row.rate);
    let mut stamps = "at\n".to_owned();
    times.iter().for_each(|at| writeln!(stamps, "{at:.9}").expect("a string takes all"));
    std::fs::write(folder.join(&name), stamps).expect("the file can be written");
    let mesh = match FITTED.iter().find(|(name, ..)| row.label == format!("{name}_both")) {
        None => "none".to_owned(),
        Some((_, work, latency)) => format!(
            "{{ technology: sidecar-envoy, load_proxies: true, work: {{ exponential: {work}us }}, latency: {latency}us }}"
        ),
    };
    let end = 2.0 + apart * f64::from(bursts + 1);
    // The network and the server: such that requests without sidecars take as long as measured with c = 16.
    let text = format!(
        "duration: {end}s\nmesh: {mesh}\nnodes: [ {{ name: server, cores: 16 }} ]\n\
         network: {{ latency: {{ log_normal: 128us, sigma: 0.42 }} }}\n\
         services: {{ fortio: {{ capacity: 1000, endpoints: {{ echo: {{ script: [ work: 50us ] }} }} }} }}\n\
         load: {{ client: {{ to: fortio, arrivals: {{ replay: {name}, column: at }} }} }}\n"
    );
    let experiment = parse("mesh.yaml", &text, &folder, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let summary = meshsim_run::simulate(&experiment, &mut ()).expect("it runs").summary(&experiment);
    let latency = &summary.loads[0].requests.latency;
    let secs = |nanos: Option<u64>| nanos.expect("enough samples") as f64 / 1e9;
    let cores = summary.mesh.map_or(0.0, |mesh| mesh.cores_busy) * end / (end - 2.0);
    ([latency.p50_ns, latency.p90_ns, latency.p99_ns].map(secs), cores)
}

fn median(mut errors: Vec<f64>) -> f64 {
    errors.sort_by(f64::total_cmp);
    let middle = errors.len() / 2;
    if errors.len() % 2 == 1 { errors[middle] } else { (errors[middle - 1] + errors[middle]) / 2.0 }
}

#[test]
fn sidecars_are_within_15_percent_of_istios_harness_in_the_median() {
    let Some(rows) = rows() else { return };
    assert_eq!(rows.len(), 82);
    let mut errors: [Vec<f64>; 4] = Default::default();
    let mut without: [Vec<f64>; 3] = Default::default();
    println!("{:28} {:>3} {:>5}  {:>7} {:>7} {:>7} {:>7}", "configuration", "c", "q", "p50", "p90", "p99", "cores");
    for row in &rows {
        let (latency, cores) = simulated(row);
        let of = |at: usize| latency[at] / row.latency[at] - 1.0;
        let has_sidecars = row.label.ends_with("_both");
        let of_cores = cores / row.cores - 1.0;
        println!(
            "{:28} {:3} {:5}  {:+6.1}% {:+6.1}% {:+6.1}% {}",
            row.label,
            row.connections,
            row.rate,
            100.0 * of(0),
            100.0 * of(1),
            100.0 * of(2),
            if has_sidecars { format!("{:+6.1}%", 100.0 * of_cores) } else { "      -".into() }
        );
        if row.connections == 16 {
            continue;
        }
        for at in 0..3 {
            let errors = if has_sidecars { &mut errors[at] } else { &mut without[at] };
            errors.push(of(at).abs());
        }
        if has_sidecars {
            errors[3].push(of_cores.abs());
        }
    }
    assert_eq!((errors[0].len(), without[0].len()), (24, 10));
    let (with, without) = (errors.map(median), without.map(median));
    println!("median error of the tested rows: with sidecars p50, p90, p99, cores {with:.3?}; without {without:.3?}");
    assert!(with.iter().chain(&without).all(|error| *error <= 0.15), "{with:.3?} {without:.3?}");
}
