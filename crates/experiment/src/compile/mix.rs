//! The targets of a load, and the rule by which a request gets one.

use std::sync::Arc;

use meshsim_actor::Span;
use meshsim_mesh::model::{EndpointId, MixStage, ServiceId, Target, Targeting};

use super::{Names, positive};
use crate::problem::{Location, Reporter};
use crate::schema::{self, Weights};
use crate::section::At;

/// Pieces of a mix that changes, at most.
const MIX_STAGES_MAX: usize = 10_000;

/// Steps by which the mean of a piece is taken.
const MEAN_STEPS: u32 = 64;

/// Targets of a mix, and how they are chosen; `length`: that of the load.
pub(super) fn compile(
    it: &schema::Load,
    mix: &At<schema::Mix>,
    length: Span,
    lookup: &Lookup<'_>,
    reporter: &mut Reporter,
) -> (Vec<Target>, Targeting) {
    let mut targets = Targets { it, lookup, list: vec![] };
    match &mix.value {
        schema::Mix::Steady(weights) => {
            let weights = targets.weights(weights, mix.place, reporter);
            targets.list.iter_mut().zip(weights).for_each(|(target, weight)| target.weight = weight);
            (targets.list, Targeting::Weights)
        }
        schema::Mix::Pieces(pieces) => {
            let stages = targets.stages(pieces, mix, reporter);
            let shares = mean_shares(&stages, length, targets.list.len());
            targets.list.iter_mut().zip(shares).for_each(|(target, share)| target.weight = share);
            (targets.list, Targeting::Stages(stages.into()))
        }
    }
}

/// Finds the targets of a load by their names: `to` is the service whose endpoints may be named shortly.
pub(super) struct Lookup<'a> {
    names: &'a Names<'a>,
    to: Option<(&'a At<String>, Option<ServiceId>)>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(it: &'a schema::Load, names: &'a Names<'a>, reporter: &mut Reporter) -> Self {
        Lookup { names, to: it.to.as_ref().map(|to| (to, names.service(to, reporter))) }
    }

    pub(super) fn find(&self, key: &At<String>, reporter: &mut Reporter) -> Option<(ServiceId, EndpointId)> {
        match &self.to {
            Some((_, None)) => None,
            Some((to, Some(_))) if !self.names.is_elsewhere(to.value.trim(), key.value.trim()) => {
                self.names.endpoint_of(to.value.trim(), key.value.trim(), key.place, reporter)
            }
            _ => self.names.endpoint(key, reporter),
        }
    }
}

struct Targets<'a> {
    it: &'a schema::Load,
    lookup: &'a Lookup<'a>,
    list: Vec<Target>,
}

impl Targets<'_> {
    /// The weights of the targets so far, some of which may be new.
    fn weights(&mut self, mix: &Weights, place: Location, reporter: &mut Reporter) -> Vec<f64> {
        let mut weights = vec![0.0; self.list.len()];
        for (key, weight) in &mix.entries {
            let Some((service, endpoint)) = self.lookup.find(key, reporter) else { continue };
            let known = self.list.iter().position(|it| (it.service, it.endpoint) == (service, endpoint));
            let at = known.unwrap_or(self.list.len());
            if known.is_none() {
                self.list.push(Target { service, endpoint, weight: 0.0, request_bytes: self.it.request.mean() });
                weights.push(0.0);
            }
            weights[at] += weight.0;
        }
        if reporter.is_clean() && weights.iter().sum::<f64>() <= 0.0 {
            reporter
                .report(place, "this mix asks for nothing")
                .help("at least one weight must be above 0, as in `{ search: 60, login: 40 }`");
        }
        weights
    }

    fn stages(&mut self, pieces: &[schema::MixPiece], mix: &At<schema::Mix>, reporter: &mut Reporter) -> Vec<MixStage> {
        if (pieces.is_empty() && reporter.is_clean_in(mix.place)) || pieces.len() > MIX_STAGES_MAX {
            reporter
                .report(mix.place, format!("a mix that changes has 1 to {MIX_STAGES_MAX} pieces, not {}", pieces.len()))
                .help("write `mix: [ { for: 30s, weights: { search: 60, login: 40 } }, ... ]`");
            return vec![];
        }
        let mut stages = vec![];
        for piece in pieces {
            positive(piece.length, "for", reporter);
            let from = self.weights(&piece.weights.value, piece.weights.place, reporter);
            let to = match &piece.to {
                Some(to) => self.weights(&to.value, to.place, reporter),
                None => from.clone(),
            };
            stages.push((piece.length.value, from, to));
        }
        let count = self.list.len();
        let full = |mut weights: Vec<f64>| -> Arc<[f64]> {
            weights.resize(count, 0.0);
            weights.into()
        };
        let mut until = Span::ZERO;
        let stage = |(length, from, to): (Span, Vec<f64>, Vec<f64>)| {
            until += length;
            MixStage { until, length, from: full(from), to: full(to) }
        };
        stages.into_iter().map(stage).collect()
    }
}

/// The mean share of each target over a load of this length; the weights at the end of the last piece stay.
fn mean_shares(stages: &[MixStage], length: Span, count: usize) -> Vec<f64> {
    let mut sums = vec![0.0; count];
    let mut add = |weights: &[f64], seconds: f64| {
        let all: f64 = weights.iter().sum();
        if all > 0.0 {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight / all * seconds);
        }
    };
    for stage in stages {
        let begin = stage.until - stage.length;
        if begin >= length {
            break;
        }
        let taken = stage.length.min(length - begin);
        for step in 0..MEAN_STEPS {
            let middle = begin + taken.scaled((f64::from(step) + 0.5) / f64::from(MEAN_STEPS));
            add(&stage.weights(middle).collect::<Vec<_>>(), taken.secs() / f64::from(MEAN_STEPS));
        }
    }
    if let Some(last) = stages.last().filter(|last| last.until < length) {
        add(&last.to, (length - last.until).secs());
    }
    sums
}
