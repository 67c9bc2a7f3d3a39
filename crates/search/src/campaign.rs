//! Many seeds, on all cores, until one breaks a rule.

use std::collections::BTreeMap;

use meshsim_experiment::{Experiment, Problems};
use meshsim_report::verify::Verified;
use meshsim_study::pool;

use crate::draw::{self, Base};
use crate::rare::{self, RARE_COUNT, RareCounts};
use crate::trial::{Trial, try_out};

/// Number of seeds from which on a campaign fails if a rare event has not happened. With fewer, a rare event may be
/// missing by chance.
pub const SEEDS_FOR_RARE: u64 = 1_000;

/// A campaign: the seeds that are tried, and what they draw.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// Number of seeds; `None`: until the caller stops it.
    pub count: Option<u64>,
    /// The topology that is kept; `None`: each seed draws its own.
    pub base: Option<Base>,
    /// Number of threads.
    pub threads: usize,
}

/// What a campaign has found so far: the seeds up to one, without gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Seeds that were tried.
    pub seeds: u64,
    /// Of these, those in which nothing was operated, or no fault touched anything.
    pub vacuous: u64,
    /// Steps that operations decided.
    pub steps: u64,
    /// Messages that a fault touched, and machines that it switched.
    pub touched: u64,
    /// Inputs that actors processed.
    pub events: u64,
    /// Number of times that a rule was checked.
    pub checked: u64,
    /// How often each rare event has happened.
    pub rare: RareCounts,
    /// The first seed that breaks a rule.
    pub broken: Option<Broken>,
}

/// A seed that breaks a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// The rules.
    pub rules: Vec<Verified>,
}

/// Reason why a campaign could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The experiment of a seed is not valid.
    #[error("the experiment of seed {0} is not valid")]
    Invalid(u64, Problems),
    /// The network of an experiment cannot be built.
    #[error("the network of seed {0} cannot be built")]
    Network(u64, #[source] meshsim_fault::NetworkError),
}

impl Found {
    /// Names of the rare events that have not happened.
    pub fn missing(&self) -> Vec<&'static str> {
        rare::missing(&self.rare)
    }

    /// True if no rule is broken, and the seeds are so many that each rare event must have happened, and one has not.
    pub fn lacks_events(&self) -> bool {
        self.broken.is_none() && self.seeds - self.vacuous >= SEEDS_FOR_RARE && !self.missing().is_empty()
    }

    fn take(&mut self, seed: u64, trial: Trial) {
        self.seeds += 1;
        self.events += trial.events;
        self.checked += trial.checked;
        if trial.is_vacuous() {
            self.vacuous += 1;
            return;
        }
        self.steps += trial.steps;
        self.touched += trial.touched;
        (0..RARE_COUNT).for_each(|event| self.rare[event] += trial.rare[event]);
        if !trial.broken.is_empty() {
            self.broken = Some(Broken { seed, rules: trial.broken });
        }
    }
}

/// Tries one seed.
///
/// # Errors
/// If its experiment is not valid, or its network cannot be built.
pub fn try_seed(seed: u64, base: Option<&Base>) -> Result<(Experiment, Trial), CampaignError> {
    let experiment = draw::experiment(seed, base).map_err(|problems| CampaignError::Invalid(seed, problems))?;
    let trial = try_out(&experiment).map_err(|error| CampaignError::Network(seed, error))?;
    Ok((experiment, trial))
}

/// Tries the seeds of a campaign. It ends with the first, in their order, that breaks a rule, or when `goes_on` returns
/// false; that is asked ten times a second and after each seed, with what is found. So what is found is the same on any
/// number of threads, unless it was stopped.
///
/// # Errors
/// The first seed that could not be tried.
pub fn search(campaign: &Campaign, mut goes_on: impl FnMut(&Found) -> bool) -> Result<Found, CampaignError> {
    let last = campaign.count.map_or(u64::MAX, |count| campaign.first.saturating_add(count));
    // Results wait here for those of the seeds before them: at most as many as there are threads, and a few more.
    let mut waiting = BTreeMap::new();
    let (mut next, mut found, mut error) = (campaign.first, Found::default(), None);
    let shared = std::cell::RefCell::new(&mut goes_on);
    let so_far = std::cell::RefCell::new(&mut found);
    pool::run(
        campaign.first..last,
        campaign.threads,
        |seed, _| try_seed(*seed, campaign.base.as_ref()).map(|(_, trial)| trial),
        |seed, tried| {
            waiting.insert(seed, tried);
            let mut found = so_far.borrow_mut();
            while let Some(tried) = waiting.remove(&next) {
                match tried {
                    Ok(trial) => found.take(next, trial),
                    Err(wrong) => error = Some(wrong),
                }
                next += 1;
                if error.is_some() || found.broken.is_some() {
                    return false;
                }
            }
            (*shared.borrow_mut())(&found)
        },
        || (*shared.borrow_mut())(&so_far.borrow()),
    );
    error.map_or(Ok(found), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(threads: usize) -> Campaign {
        Campaign { first: 1, count: Some(24), base: None, threads }
    }

    #[test]
    fn the_same_seeds_find_the_same_on_any_number_of_threads() {
        let one = search(&campaign(1), |_| true).expect("all seeds are valid");
        assert_eq!(one.broken, None);
        assert!(one.seeds == 24 && one.steps > 200 && one.touched > 1_000, "{one:?}");
        assert_eq!(search(&campaign(3), |_| true).expect("all seeds are valid"), one);
    }

    #[test]
    fn a_campaign_that_is_stopped_keeps_what_it_has() {
        let found = search(&campaign(2), |found| found.seeds < 5).expect("all seeds are valid");
        assert!((5..24).contains(&found.seeds), "{}", found.seeds);
    }
}
