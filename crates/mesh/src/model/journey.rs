//! Journeys: the requests that one user makes, one after the other.

use meshsim_actor::Dist;
use serde::{Deserialize, Serialize};

use super::{Load, Targeting};

/// Steps of a journey that a user makes at most; the journey then ends as completed.
pub const JOURNEY_MADE_MAX: u32 = 4096;

/// The requests of one user. A journey begins at the first step, ends after a step whose successor is the end, and is
/// abandoned when a request fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journey {
    /// The steps: one for each target of the load.
    pub steps: Vec<JourneyStep>,
}

/// One step of a journey: a request to the target of the same index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JourneyStep {
    /// Its name, unique in the journey.
    pub name: String,
    /// Time from its reply to the next step.
    pub think: Dist,
    /// Weights of the steps that may follow, and last that of the end; one of them is above 0.
    pub next: Vec<f64>,
}

impl JourneyStep {
    /// Probability of what follows: each step, and last the end.
    pub fn follows(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        let all: f64 = self.next.iter().sum();
        self.next.iter().map(move |weight| weight / all)
    }
}

impl Journey {
    /// Expected number of times that a journey without failures makes each step: `v = e + P' v`, by iteration. Infinite
    /// journeys count as far as the iteration goes.
    pub fn visits(&self) -> Vec<f64> {
        const ROUNDS_MAX: usize = 100_000;
        let count = self.steps.len();
        let (mut visits, mut wave) = (vec![0.0; count], vec![0.0; count]);
        if let Some(first) = wave.first_mut() {
            *first = 1.0;
        }
        for _ in 0..ROUNDS_MAX {
            let mut next = vec![0.0; count];
            for (step, here) in self.steps.iter().zip(&wave).filter(|(_, here)| **here > 0.0) {
                next.iter_mut().zip(step.follows()).for_each(|(sum, share)| *sum += here * share);
            }
            visits.iter_mut().zip(&wave).for_each(|(sum, here)| *sum += here);
            if wave.iter().sum::<f64>() < 1e-12 {
                break;
            }
            wave = next;
        }
        visits
    }

    /// Mean time that a journey without failures thinks, in seconds.
    pub fn think_secs(&self) -> f64 {
        let think = |step: &JourneyStep| {
            let goes_on = 1.0 - step.follows().last().unwrap_or(1.0);
            if goes_on > 0.0 { goes_on * step.think.mean_secs() } else { 0.0 }
        };
        self.steps.iter().zip(self.visits()).map(|(step, visits)| visits * think(step)).sum()
    }
}

impl Load {
    /// Its journey, if its users make one.
    pub fn journey(&self) -> Option<&Journey> {
        if let Targeting::Journey(journey) = &self.targeting { Some(journey) } else { None }
    }

    /// Mean number of requests that follow from one arrival if none fails.
    pub fn requests_per_arrival(&self) -> f64 {
        self.journey().map_or(1.0, |journey| journey.visits().iter().sum())
    }

    /// Mean time between a reply and the next request of a user of a closed load if no request fails, in seconds; 0 for
    /// an open load.
    pub fn think_secs(&self) -> f64 {
        let Some(users) = self.arrivals.users() else { return 0.0 };
        let between = users.think.mean_secs();
        match self.journey() {
            Some(journey) => (between + journey.think_secs()) / self.requests_per_arrival(),
            None => between,
        }
    }
}
