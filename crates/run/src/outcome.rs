//! What came out of a run.

use meshsim_actor::{ActorId, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::{Findings, Mesh};
use meshsim_report::{Measured, Summary, Traffic};

use crate::state::State;

/// What came out of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the actors measured, put together.
    pub measured: Measured,
    /// What the coordinator wanted and the nodes had when the run ended.
    pub state: State,
    /// True if the run was stopped before its end.
    pub cut_short: bool,
}

impl Outcome {
    /// Puts together what the actors of a mesh found until `now`, in the order of their numbers; `None` where it is
    /// lost.
    pub fn new(
        mesh: &Mesh,
        now: Time,
        traffic: Traffic,
        findings: impl IntoIterator<Item = Option<Findings>>,
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

    /// What was measured, added up and held against the experiment's SLOs: `summary.json` as a value.
    pub fn summary(&self, experiment: &Experiment) -> Summary {
        Summary::new(experiment, &self.measured, self.cut_short)
    }
}
