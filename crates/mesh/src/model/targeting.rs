//! Rule by which the target of a request is chosen among those of its load.

use std::sync::Arc;

use meshsim_actor::{Rng, Span};
use serde::{Deserialize, Serialize};

use super::{Journey, Target};

/// Rule by which the target of a request is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Targeting {
    /// By [`Target::weight`].
    #[default]
    Weights,
    /// By weights that change over time. [`Target::weight`] is then the mean share.
    Stages(Arc<[MixStage]>),
    /// By the step at which the user's journey is. [`Target::weight`] is then the expected number of times that a
    /// journey without failures makes the step.
    Journey(Arc<Journey>),
}

/// A piece of a mix that changes: linear from some weights to others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixStage {
    /// End of the piece, counted from the load's start. The last piece's weights at its end stay.
    pub until: Span,
    /// Duration.
    pub length: Span,
    /// Weights at its beginning, one for each target; one of them is above 0.
    pub from: Arc<[f64]>,
    /// Weights at its end, likewise.
    pub to: Arc<[f64]>,
}

impl Targeting {
    /// Draws the target of a request that is planned at this time, counted from the load's start.
    pub fn draw(&self, mix: &[Target], since: Span, draws: impl FnOnce() -> Rng) -> usize {
        if mix.len() == 1 {
            return 0;
        }
        match self {
            Targeting::Weights => drawn(mix.iter().map(|target| target.weight), &mut draws()),
            Targeting::Stages(stages) => {
                let at = stages.partition_point(|stage| stage.until <= since).min(stages.len() - 1);
                drawn(stages[at].weights(since), &mut draws())
            }
            // Its client knows the step.
            Targeting::Journey(_) => 0,
        }
    }
}

impl MixStage {
    /// The weights at a time from the beginning of the piece on.
    pub fn weights(&self, since: Span) -> impl Iterator<Item = f64> + Clone {
        let left = self.until - since.min(self.until);
        let part = if self.length.is_zero() { 1.0 } else { 1.0 - (left.secs() / self.length.secs()).min(1.0) };
        self.from.iter().zip(self.to.iter()).map(move |(from, to)| from + (to - from) * part)
    }
}

/// Draws an index by weights, of which one is above 0.
pub(crate) fn drawn(weights: impl Iterator<Item = f64> + Clone, draws: &mut Rng) -> usize {
    let mut left = draws.unit() * weights.clone().fold(0.0, |sum, weight| sum + weight);
    let mut last = 0;
    for (at, weight) in weights.enumerate() {
        left -= weight;
        if left < 0.0 {
            return at;
        }
        last = at;
    }
    last
}
