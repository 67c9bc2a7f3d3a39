//! Requests of the loads, by target and time.

use meshsim_actor::{Span, Time};
use meshsim_mesh::model::{Arrivals, Load};

use super::flow::{Flow, Tries};
use super::span::Hop;
use crate::Experiment;

/// Moments at which the rates of all loads together are looked at, at most, for one situation.
const LOOKS_MAX: usize = 64;

/// Requests of one load, per request that it plans.
pub(super) struct Entry {
    /// Attempts that arrive, by vertex.
    pub(super) asked: Vec<f64>,
    /// Each target: its fraction of the load, its vertex, and the expectations for a request to it.
    pub(super) targets: Vec<(f64, usize, Tries)>,
}

pub(super) fn asked(load: &Load, flow: &Flow<'_>, hop: &Hop) -> Entry {
    let mut entry = Entry { asked: vec![0.0; flow.graph.len()], targets: vec![] };
    let total: f64 = load.mix.iter().map(|target| target.weight).sum();
    for target in load.mix.iter().filter(|target| total > 0.0 && target.weight > 0.0) {
        let vertex = flow.graph.vertex(target.service, target.endpoint);
        let to = (target.service, target.endpoint);
        let one = flow.setting().tries(&load.policy, None, to, &flow.profiles[vertex], hop);
        let share = target.weight / total;
        entry.asked[vertex] += share * one.count;
        entry.targets.push((share, vertex, one));
    }
    entry
}

/// Requests per second, on average from start to end, as planned, with those of journeys; 0 for a closed load, which
/// plans nothing.
pub(super) fn planned_rate(load: &Load) -> f64 {
    let length = load.end.since(load.start);
    if length.is_zero() {
        return 0.0;
    }
    let planned: f64 = match &load.arrivals {
        Arrivals::Users(_) => 0.0,
        Arrivals::Stamps(stamps) => stamps.partition_point(|stamp| *stamp < length) as f64,
        Arrivals::Rate { stages, .. } => {
            let mut begin = Span::ZERO;
            let mut planned = 0.0;
            for stage in stages.iter() {
                if begin >= length {
                    break;
                }
                let taken = stage.length.min(length - begin);
                let part = if stage.length.is_zero() { 0.0 } else { taken.secs() / stage.length.secs() };
                let end = stage.from + (stage.to - stage.from) * part;
                planned += (stage.from + end) / 2.0 * taken.secs();
                begin += stage.length;
            }
            planned
        }
    };
    load.requests_per_arrival() * planned / length.secs()
}

/// The rates of the loads over time.
pub(super) struct Rates {
    /// By load: (from, until, rate there, rate here), one after the other.
    pieces: Vec<Vec<(Time, Time, f64, f64)>>,
    mean: Vec<f64>,
    /// Times at which the slope of the rate changes.
    bends: Vec<Time>,
}

impl Rates {
    /// `mean`: that of each load.
    pub(super) fn new(experiment: &Experiment, mean: &[f64]) -> Self {
        let end = Time::ZERO + experiment.duration;
        let loads = &experiment.mesh.loads;
        let mean = mean.to_vec();
        let mut bends = vec![];
        let pieces: Vec<Vec<_>> = loads.iter().zip(&mean).map(|(load, mean)| pieces(load, *mean, end)).collect();
        for (from, until, ..) in pieces.iter().flatten() {
            bends.extend([*from, Time::from_nanos(until.nanos().saturating_sub(1))]);
        }
        bends.sort_unstable();
        bends.dedup();
        Rates { pieces, mean, bends }
    }

    /// Each load's own mean, from its start to its end.
    pub(super) fn mean(&self) -> Vec<f64> {
        self.mean.clone()
    }

    fn at(&self, now: Time) -> Vec<f64> {
        let rate = |pieces: &Vec<(Time, Time, f64, f64)>| {
            let next = pieces.partition_point(|(from, ..)| *from <= now);
            let Some((from, until, one, other)) = next.checked_sub(1).map(|at| pieces[at]) else { return 0.0 };
            if now >= until {
                return 0.0;
            }
            let part = now.since(from).secs() / until.since(from).secs();
            one + (other - one) * part
        };
        self.pieces.iter().map(rate).collect()
    }

    /// The rates at the time of a window, both ends included, at which they are most together.
    pub(super) fn most(&self, (from, until): (Time, Time)) -> Vec<f64> {
        let within = self.bends.partition_point(|at| *at < from)..self.bends.partition_point(|at| *at <= until);
        let bends = &self.bends[within.start..within.end.max(within.start)];
        let every = bends.len().div_ceil(LOOKS_MAX).max(1);
        let looks = [from, until].into_iter().chain(bends.iter().step_by(every).copied());
        let sum = |rates: &Vec<f64>| rates.iter().sum::<f64>();
        looks.map(|at| self.at(at)).max_by(|a, b| sum(a).total_cmp(&sum(b))).unwrap_or_default()
    }
}

fn pieces(load: &Load, mean: f64, end: Time) -> Vec<(Time, Time, f64, f64)> {
    let end = load.end.min(end);
    let Arrivals::Rate { stages, .. } = &load.arrivals else {
        return vec![(load.start, end, mean, mean)];
    };
    let (mut from, mut pieces) = (load.start, vec![]);
    let each = load.requests_per_arrival();
    for stage in stages.iter().filter(|stage| !stage.length.is_zero()) {
        if from >= end {
            break;
        }
        let until = from + stage.length;
        let part = end.min(until).since(from).secs() / stage.length.secs();
        let to = stage.from + (stage.to - stage.from) * part;
        pieces.push((from, end.min(until), each * stage.from, each * to));
        from = until;
    }
    pieces
}
