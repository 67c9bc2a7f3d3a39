//! Many runs of one experiment: [`sweep`] varies its values, [`limit`] finds the highest rate that it can take, [`pairs`]
//! holds configurations against each other. Runs are kept as they end ([`store`], [`journal`]), so what was cut off goes on.
//!
//! One run is one draw. What a study says rests on several, each with a seed of its own, and comes with an interval
//! ([`estimate`]). Configurations that are compared run with the same seeds, so that what they share cancels out.
//!
//! Data flows one way: an [`axis`] says what one value takes on, a [`plan`] makes [`Job`](plan::Job)s of several, a
//! [`pool`] runs them on all cores, and each run becomes a row of [`figures`]. The order in which runs end decides
//! nothing: the same plan gives the same bytes.

pub mod axis;
pub mod estimate;
pub mod figures;
pub mod journal;
pub mod limit;
pub mod pairs;
pub mod plan;
pub mod pool;
pub mod store;
pub mod sweep;

use std::ops::ControlFlow;

use meshsim_actor::{Counts, Time};
use meshsim_experiment::Experiment;
use meshsim_report::Summary;
use meshsim_run::Observer;

/// One run; `None` if it was asked to stop.
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
