//! Rates that change by themselves: bursts and days, as the stages that they come to.
//!
//! They are drawn when the file is compiled, so that `check`, a simulated run and a live run have the same rate at each
//! time, and `limit` scales it as any other.

use std::f64::consts::TAU;

use meshsim_actor::{Dist, Rng, Span};
use meshsim_mesh::model::{Arrivals, Stage};

use super::positive;
use crate::problem::Reporter;
use crate::schema;

/// Most stages of a rate that changes by itself.
pub const RATE_STAGES_MAX: usize = 1_000_000;

/// Straight pieces of one period of a sine: their distance from it is at most 0.06 % of its amplitude.
const PIECES: u32 = 96;

/// A planned load, and how long it lasts.
#[derive(Clone, Copy)]
pub(super) struct Planned<'a> {
    pub(super) name: &'a str,
    pub(super) seed: u64,
    pub(super) length: Span,
}

/// Two rates in turn. It begins in a burst as often as a burst is met at a random time.
pub(super) fn burst(it: &schema::Burst, load: Planned<'_>, reporter: &mut Reporter) -> Option<Arrivals> {
    for (dist, key) in [(&it.length, "for"), (&it.apart, "apart")] {
        if dist.value.mean_secs() <= 0.0 {
            reporter
                .report(dist.place, format!("`{key}` must be above zero"))
                .help("write a duration, as in `{ exponential: 2s }`");
            return None;
        }
    }
    let mut rng = Rng::stream(load.seed, &format!("bursts of {}", load.name));
    let (on, off) = (it.length.value.mean_secs(), it.apart.value.mean_secs());
    let mut is_burst = rng.chance(share(on, off));
    let (mut stages, mut planned) = (vec![], Span::ZERO);
    while planned < load.length {
        if stages.len() >= RATE_STAGES_MAX {
            reporter
                .report(it.length.place, format!("`{}` has more than {RATE_STAGES_MAX} bursts and pauses", load.name))
                .help("make them longer, or the load shorter");
            return None;
        }
        let (dist, rate): (&Dist, f64) =
            if is_burst { (&it.length.value, it.burst.value.0) } else { (&it.apart.value, it.base.0) };
        let length = dist.sample(&mut rng).min(load.length - planned);
        stages.push(Stage { length, from: rate, to: rate });
        planned += length;
        is_burst = !is_burst;
    }
    Some(Arrivals::Rate { process: it.process, stages: stages.into() })
}

/// Share of the time in bursts. An endless mean has all of it.
fn share(on: f64, off: f64) -> f64 {
    if on.is_infinite() { 1.0 } else { on / (on + off) }
}

/// A sine around its mean, as straight pieces between points of it.
pub(super) fn diurnal(it: &schema::Diurnal, load: Planned<'_>, reporter: &mut Reporter) -> Option<Arrivals> {
    positive(it.period, "period", reporter);
    let period = it.period.value;
    let count = load.length.secs() / period.secs() * f64::from(PIECES);
    if count > RATE_STAGES_MAX as f64 {
        reporter
            .report(it.period.place, format!("`{}` has too many periods of {period}", load.name))
            .help("make the period longer, or the load shorter");
    }
    if !reporter.is_clean_in(it.period.place) {
        return None;
    }
    let peak = it.peak.map_or(period.secs() / 4.0, Span::secs);
    let rate = |at: f64| it.diurnal.0 * (1.0 + it.amplitude.0 * (TAU * (at - peak) / period.secs()).cos());
    let point = |n: u32| period.scaled(f64::from(n) / f64::from(PIECES));
    let stages = (0..=count as u32).map(|n| {
        let (from, to) = (point(n), point(n + 1));
        // A sine touches zero with an amplitude of all of it; rounding must not make it less.
        Stage { length: to - from, from: rate(from.secs()).max(0.0), to: rate(to.secs()).max(0.0) }
    });
    Some(Arrivals::Rate { process: it.process, stages: stages.collect() })
}
