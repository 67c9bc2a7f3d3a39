//! Many runs of one experiment: [`sweep`] varies its values, [`limit`] finds the highest rate that it can serve,
//! [`pairs`] compares configurations, [`choose`] mesh technologies. Runs are stored as they end ([`store`],
//! [`journal`]), so an interrupted study continues.
//!
//! One run is one random draw. The figures of a study rest on several runs, each with its own seed, and come with a
//! confidence interval ([`estimate`]). Compared configurations run with the same seeds, so that their common randomness
//! cancels out.
//!
//! Data flows one way: an [`axis`] lists the values of one key, a [`plan`] combines axes into [`Job`](plan::Job)s, a
//! [`pool`] runs these on all cores, and each run becomes a row of [`figures`]. The order in which runs end has no
//! influence: the same plan gives the same bytes. A [`shard`] of a plan may run in any process of any machine that sees
//! the study's folder ([`shards`]).

pub mod axis;
pub mod choose;
pub mod estimate;
pub mod figures;
pub mod journal;
pub mod limit;
pub mod pairs;
pub mod plan;
pub mod pool;
pub mod shard;
pub mod shards;
pub mod store;
pub mod sweep;

use std::ops::ControlFlow;

use meshsim_actor::{Counts, Time};
use meshsim_experiment::Experiment;
use meshsim_report::Summary;
use meshsim_run::Observer;

/// Simulates one run; `None` if it was stopped.
fn simulate(experiment: &Experiment, stop: &pool::Stop) -> Result<Option<Summary>, String> {
    struct Watch<'a>(&'a pool::Stop);
    impl Observer for Watch<'_> {
        fn reached(&mut self, _: Time, _: &Counts) -> ControlFlow<()> {
            if self.0.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let outcome = meshsim_run::simulate(experiment, &mut Watch(stop)).map_err(|error| error.to_string())?;
    Ok((!outcome.cut_short).then(|| outcome.summary(experiment)))
}
