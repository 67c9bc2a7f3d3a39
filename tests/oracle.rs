//! Estimates over seeds, and closed forms of small systems.

use meshsim_mesh::measure::Tally;

use crate::Testbed;

/// Mean and standard error over ten seeds.
pub fn over_seeds(of: impl Fn(u64) -> f64) -> (f64, f64) {
    let all: Vec<f64> = (1..=10).map(of).collect();
    let mean = all.iter().sum::<f64>() / 10.0;
    let variance = all.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 9.0;
    (mean, (variance / 10.0).sqrt())
}

/// Fails unless an estimate, a mean with its standard error, is within four of these of what is expected.
#[track_caller]
pub fn is_near((mean, error): (f64, f64), expected: f64) {
    assert!((mean - expected).abs() < 4.0 * error, "{mean} +/- {error}, not {expected}");
    assert!(error < 0.03 * expected, "{error} of {expected}: too few requests to tell");
}

/// Results of the only load of a mesh that runs for so many seconds.
pub fn tally(lab: Testbed, secs: f64) -> Tally {
    lab.run(secs).client(0).tallies()[0].clone()
}

/// Probabilities of 0 to K requests in a system with c servers and an offered load.
pub fn birth_and_death(offered: f64, c: usize, k: usize) -> Vec<f64> {
    let mut p = vec![1.0];
    (1..=k).for_each(|n| p.push(p[n - 1] * offered / n.min(c) as f64));
    let sum: f64 = p.iter().sum();
    p.into_iter().map(|it| it / sum).collect()
}

/// Share of Poisson arrivals that an M/D/1 queue with room for `k` requests, the served one among them, refuses at load
/// `rho`: from the numbers that departing requests leave behind.
pub fn m_d_1_k_refused(rho: f64, k: usize) -> f64 {
    let mut arrivals = vec![(-rho).exp()];
    (1..k).for_each(|n| arrivals.push(arrivals[n - 1] * rho / n as f64));
    let mut left = vec![1.0 / k as f64; k];
    for _ in 0..10_000 {
        let mut next = vec![0.0; k];
        for (there, p) in left.iter().enumerate() {
            let first = there.saturating_sub(1);
            let mut rest = *p;
            for (n, chance) in arrivals.iter().enumerate().take(k - 1 - first) {
                next[first + n] += p * chance;
                rest -= p * chance;
            }
            next[k - 1] += rest;
        }
        left = next;
    }
    1.0 - 1.0 / (left[0] + rho)
}
