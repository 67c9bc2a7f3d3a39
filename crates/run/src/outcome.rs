//! The results of a run.

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::{ActorResults, Mesh};
use meshsim_report::{Measured, Summary, Traffic};

use crate::state::State;

/// The results of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Measurements of all actors.
    pub measured: Measured,
    /// Desired and observed state at the end of the run.
    pub state: State,
    /// True if the run was stopped before its end.
    pub cut_short: bool,
}

impl Outcome {
    /// Combines the results of the actors of a mesh up to `now`, in the order of their ids; `None` for lost results.
    pub fn new(
        mesh: &Mesh,
        now: Time,
        traffic: Traffic,
        findings: impl IntoIterator<Item = Option<ActorResults>>,
        cut_short: bool,
    ) -> Self {
        let mut state = State::empty(mesh, now);
        let findings = (0..).map(ActorId).zip(findings).map(|(actor, found)| {
            state.take(mesh, actor, found.as_ref());
            found
        });
        let measured = Measured::gather(mesh, now, traffic, findings);
        Outcome { measured, state, cut_short }
    }

    /// The summary of the run, with the verdicts on the experiment's SLOs: `summary.json` as a value.
    pub fn summary(&self, experiment: &Experiment) -> Summary {
        Summary::new(experiment, &self.measured, self.cut_short)
    }
}
