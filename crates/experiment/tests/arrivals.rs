//! Rates that change by themselves, against their closed forms.

use std::f64::consts::TAU;
use std::path::Path;

use meshsim_actor::Rng;
use meshsim_experiment::{Experiment, parse};
use meshsim_mesh::client::arrivals::Plan;
use meshsim_mesh::model::{Arrivals, Stage};

fn text(seconds: u32, seed: u32, arrivals: &str) -> String {
    format!(
        "seed: {seed}\nduration: {seconds}s\nnodes: [ {{ name: n }} ]\n\
         services: {{ s: {{ endpoints: {{ get: {{ script: [ work: 1ms ] }} }} }} }}\n\
         load: {{ users: {{ to: s, arrivals: {arrivals} }}, others: {{ to: s, arrivals: {arrivals} }} }}\n"
    )
}

fn read(seconds: u32, seed: u32, arrivals: &str) -> Experiment {
    parse("mesh.yaml", &text(seconds, seed, arrivals), Path::new(""), &[])
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn stages(experiment: &Experiment, load: usize) -> &[Stage] {
    let Arrivals::Rate { stages, .. } = &experiment.mesh.loads[load].arrivals else { panic!("it has a rate") };
    stages
}

/// Planned times of the first load, in seconds.
fn planned(experiment: &Experiment) -> impl Iterator<Item = f64> + '_ {
    let (mut plan, mut rng) = (Plan::default(), Rng::stream(experiment.seed, "plan"));
    std::iter::from_fn(move || plan.next(&experiment.mesh.loads[0].arrivals, &mut rng)).map(|at| at.secs())
}

/// The mean, and its standard error by the spread of equal parts.
fn mean(parts: &[f64]) -> (f64, f64) {
    let n = parts.len() as f64;
    let mean = parts.iter().sum::<f64>() / n;
    let variance = parts.iter().map(|part| (part - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

const BURSTS: &str = "{ burst: 100/s, base: 10/s, for: { exponential: 1s }, apart: { exponential: 3s } }";

#[test]
fn bursts_have_the_mean_rate_and_dispersion_of_a_modulated_poisson_process() {
    const WINDOW: f64 = 10.0;
    let experiment = read(100_000, 1, BURSTS);
    let mut counts = vec![0.0; 10_000];
    planned(&experiment).for_each(|at| counts[((at / WINDOW) as usize).min(9_999)] += 1.0);
    // Two states that are left at the rates r1 and r2 (Heffes and Lucantoni, 1986).
    let (high, low, r1, r2) = (100.0, 10.0, 1.0, 1.0 / 3.0);
    let r: f64 = r1 + r2;
    let rate = (high * r2 + low * r1) / r;
    let spread = (high - low) * (high - low) * r1 * r2 / (r * r);
    let dispersion = 1.0 + 2.0 * spread / (rate * r) * (1.0 - (1.0 - (-r * WINDOW).exp()) / (r * WINDOW));

    let (found, error) = mean(&counts.chunks(500).map(|part| mean(part).0 / WINDOW).collect::<Vec<_>>());
    assert!((found - rate).abs() < 4.0 * error && error < 0.02 * rate, "rate {found} +/- {error}, {rate} is expected");
    let of = |part: &[f64]| {
        let (mean, error) = mean(part);
        error * error * part.len() as f64 / mean
    };
    let (found, error) = mean(&counts.chunks(500).map(of).collect::<Vec<_>>());
    let text = format!("index of dispersion {found} +/- {error}, {dispersion} is expected");
    assert!((found - dispersion).abs() < 4.0 * error && error < 0.03 * dispersion, "{text}");
}

#[test]
fn bursts_begin_at_random_and_belong_to_the_seed_and_the_load() {
    let in_burst = |seed| stages(&read(10, seed, BURSTS), 0)[0].from == 100.0;
    let found = (0..400).filter(|seed| in_burst(*seed)).count() as f64;
    // A quarter of the time is in bursts.
    assert!((found - 100.0).abs() < 4.0 * (400.0f64 * 0.25 * 0.75).sqrt(), "{found}");
    let one = read(1_000, 1, BURSTS);
    assert_eq!(stages(&one, 0), stages(&read(1_000, 1, BURSTS), 0));
    assert_ne!(stages(&one, 0), stages(&one, 1), "another load");
    assert_ne!(stages(&one, 0), stages(&read(1_000, 2, BURSTS), 0), "another seed");
    let length: f64 = stages(&one, 0).iter().map(|stage| stage.length.secs()).sum();
    assert!((length - 1_000.0).abs() < 1e-6, "{length}");
}

#[test]
fn bursts_of_constant_length_take_turns() {
    let it = read(10, 1, "{ burst: 100/s, for: 1s, apart: 3s }");
    let all = stages(&it, 0);
    for pair in all.windows(2) {
        assert_ne!(pair[0].from, pair[1].from);
    }
    assert!(all.iter().rev().skip(1).all(|stage| stage.length.secs() == if stage.from > 0.0 { 1.0 } else { 3.0 }));
}

#[test]
fn a_day_follows_its_sine_at_each_time_and_plans_its_integral() {
    let it = read(40, 1, "{ diurnal: 100/s, amplitude: 60%, period: 40s, process: constant }");
    let mut at = 0.0;
    for stage in stages(&it, 0) {
        // In the middle of a chord, where it is farthest from the sine.
        let (middle, length) = (at + stage.length.secs() / 2.0, stage.length.secs());
        let sine = 100.0 + 60.0 * (TAU * middle / 40.0).sin();
        assert!(((stage.from + stage.to) / 2.0 - sine).abs() < 0.0006 * 60.0, "at {middle} s");
        assert!((stage.from - 100.0 - 60.0 * (TAU * at / 40.0).sin()).abs() < 1e-3, "at {at} s");
        at += length;
    }
    let times: Vec<f64> = planned(&it).take_while(|at| *at < 40.0).collect();
    assert_eq!(times.len(), 4_000);
    // The first half has the peak: 100 * 20 s, and twice 60 * 40 s / 2 pi.
    let half = times.iter().filter(|at| **at < 20.0).count() as f64;
    assert!((half - (2_000.0 + 2.0 * 60.0 * 40.0 / TAU)).abs() < 2.0, "{half}");
}

#[test]
fn a_day_has_its_peak_where_it_says_and_may_fall_to_zero() {
    let it = read(100, 1, "{ diurnal: 50/s, amplitude: 100%, period: 100s, peak: 70s }");
    let all = stages(&it, 0);
    let mut at = 0.0;
    let (mut highest, mut lowest) = ((0.0, 0.0), (0.0, f64::MAX));
    for stage in all {
        if stage.from > highest.1 {
            highest = (at, stage.from);
        }
        if stage.from < lowest.1 {
            lowest = (at, stage.from);
        }
        at += stage.length.secs();
    }
    assert!((highest.0 - 70.0).abs() < 1.1 && (highest.1 - 100.0).abs() < 0.1, "{highest:?}");
    assert!((lowest.0 - 20.0).abs() < 1.1 && (0.0..0.1).contains(&lowest.1), "{lowest:?}");
}

#[test]
fn what_changes_too_often_or_never_is_refused() {
    let why = |seconds, arrivals: &str| {
        let problems = parse("mesh.yaml", &text(seconds, 1, arrivals), Path::new(""), &[]).unwrap_err();
        problems.iter().next().unwrap().message.clone()
    };
    assert_eq!(why(10, "{ burst: 1/s, for: 0s, apart: 1s }"), "`for` must be above zero");
    assert_eq!(why(10, "{ burst: 1/s, for: 1s, apart: 0s }"), "`apart` must be above zero");
    assert!(why(10_000, "{ burst: 1/s, for: 1us, apart: 1us }").contains("has more than 1000000 bursts"));
    assert_eq!(why(10, "{ diurnal: 1/s, period: 0s }"), "`period` must be above zero");
    assert!(why(10_000, "{ diurnal: 1/s, period: 1ms }").contains("has too many periods of 1ms"));
    assert_eq!(why(10, "{ diurnal: 1/s, amplitude: 120% }"), "a share is at most 100%");
}
