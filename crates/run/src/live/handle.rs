//! A live run in the hands of other threads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meshsim_actor::{Span, Time};
use meshsim_experiment::{Experiment, fault_in_words};
use meshsim_fault::Fault;
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::gateway::ASK_MAX;
use meshsim_mesh::message::{Answer, Ask, Msg, Operate};
use meshsim_mesh::model::{COORDINATOR, CallPolicy, Operation};
use meshsim_mesh::{Mesh, MeshActor};
use meshsim_net::{Phase, Snapshot};
use meshsim_report::{ManualFault, Recent, SoFar};

use super::answers::{Answers, AskCounts};
use super::board::Board;

/// How long the run may take to say how it is. It is silent while it gathers what was measured, at its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than the mesh needs to give up by itself; then its gateway is gone.
const GRACE: Span = Span::from_secs(5);
/// A fault begins so long after it was asked for: all processes must have heard of it by then. More for each.
const LEAD: Span = Span::from_millis(100);
const LEAD_EACH: Span = Span::from_millis(3);

/// Looks at a live run and steers it, from any thread, while the run goes on in its own. Waiting needs a tokio runtime
/// around it.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    experiment: Arc<Experiment>,
    hub: meshsim_net::Handle<MeshActor>,
    answers: Arc<Answers>,
    board: Arc<Board>,
    /// Once true, always true.
    has_begun: AtomicBool,
}

/// Why a live run does not do what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not all have joined.
    #[error("the run has not begun")]
    NotBegun,
    /// It is over, or too much is asked of it at once.
    #[error("{0}")]
    Unavailable(&'static str),
    /// It says nothing for a while.
    #[error("the run does not say how it is: it is about to end")]
    Silent,
    /// As many requests from outside are under way as there may be.
    #[error("too many requests are under way")]
    TooManyRequests,
    /// The gateway of the mesh says nothing.
    #[error("the mesh's gateway does not answer")]
    Unanswered,
    /// What is said to the coordinator waits, or is lost.
    #[error("the coordinator does not hear it: a fault has it down, or paused")]
    Unheard,
    /// A fault that means nothing in this run, or is not there.
    #[error("{0}")]
    Fault(String),
}

impl Refused {
    /// There is no run any more.
    pub(super) const OVER: Refused = Refused::Unavailable("the run is over");
}

/// What became of operations that were submitted together. Their numbers are their places in the coordinator's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Those that have begun.
    pub begun: Vec<usize>,
    /// Those that make no sense now: the service is not deployed, or is already.
    pub refused: Vec<usize>,
}

impl Handle {
    pub(super) fn new(
        experiment: Arc<Experiment>,
        hub: meshsim_net::Handle<MeshActor>,
        answers: Arc<Answers>,
        board: Arc<Board>,
    ) -> Self {
        Handle(Arc::new(Inner { experiment, hub, answers, board, has_begun: AtomicBool::new(false) }))
    }

    /// What is run.
    pub fn experiment(&self) -> &Arc<Experiment> {
        &self.0.experiment
    }

    /// How the run stands.
    ///
    /// # Errors
    /// If it is over, or says nothing.
    pub async fn snapshot(&self) -> Result<Snapshot, Refused> {
        within(self.0.hub.snapshot()).await
    }

    /// Looks at the coordinator, between two of its steps.
    ///
    /// # Errors
    /// If the run is over, or says nothing.
    pub async fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Coordinator) -> R + Send + 'static,
    ) -> Result<R, Refused> {
        let looked = self.0.hub.look(COORDINATOR, move |actor| actor.coordinator().map(look));
        within(looked).await?.ok_or(Refused::OVER)
    }

    /// Looks at what was measured so far: windows and events. It holds up others who look, and not the run.
    pub fn so_far<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> R {
        self.0.board.look(look)
    }

    /// The same, unless somebody else looks.
    pub(super) fn glance<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> Option<R> {
        self.0.board.glance(look)
    }

    /// What no actor knows of what was measured so far.
    pub fn recent(&self, snapshot: &Snapshot) -> Recent {
        let now = if snapshot.now < Time::NEVER { snapshot.now } else { Time::ZERO };
        let faults = snapshot.faults.iter().map(|fault| manual_fault(fault, &self.0.experiment.mesh)).collect();
        Recent { now, faults, healed: snapshot.healed.clone() }
    }

    /// Refuses what needs a run that goes on, before it does.
    ///
    /// # Errors
    /// [`Refused::NotBegun`], and as of [`snapshot`](Self::snapshot).
    pub async fn begun(&self) -> Result<(), Refused> {
        if !self.0.has_begun.load(Ordering::Relaxed) {
            if self.snapshot().await?.phase == Phase::Waiting {
                return Err(Refused::NotBegun);
            }
            self.0.has_begun.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends one request through the mesh, under a number that it gives itself, and waits for what came of it.
    ///
    /// # Errors
    /// If it cannot be sent, or the run ends before. That it failed in the mesh is an answer.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Refused> {
        self.begun().await?;
        let mut expected = self.0.answers.expect_answer()?;
        let patience = patience(&ask.policy);
        let ask = Ask { ask: expected.number(), ..ask };
        let to = self.0.experiment.mesh.gateway_actor();
        self.0.hub.send(to, Msg::Ask(Box::new(ask))).map_err(Refused::Unavailable)?;
        match tokio::time::timeout(patience, expected.heard()).await {
            Ok(answer) => answer.ok_or(Refused::OVER),
            Err(_) => Err(Refused::Unanswered),
        }
    }

    /// What became of all requests that were sent with [`ask`](Self::ask).
    pub fn ask_counts(&self) -> AskCounts {
        self.0.answers.counts()
    }

    /// Begins operations now, whatever their times. One that is in neither list of what is given back was one too many,
    /// or means nothing in this mesh.
    ///
    /// # Errors
    /// If the run has not begun or is over, or the coordinator does not hear it.
    pub async fn operate(&self, operations: Vec<Operation>) -> Result<Submitted, Refused> {
        self.begun().await?;
        let mut expected = Vec::new();
        for operation in operations {
            let one = self.0.answers.expect_operation()?;
            let operate = Operate { ask: one.number(), operation };
            self.0.hub.send(COORDINATOR, Msg::Operate(Box::new(operate))).map_err(Refused::Unavailable)?;
            expected.push(one);
        }
        // The coordinator is looked at only after it has heard all of them; unless it is down, or paused.
        self.look(|_| ()).await?;
        let mut submitted = Submitted::default();
        for mut one in expected {
            let said = one.heard_already().ok_or(Refused::Unheard)?;
            let list = if said.is_refused { &mut submitted.refused } else { &mut submitted.begun };
            list.extend(said.history.map(|at| at as usize));
        }
        Ok(submitted)
    }

    /// The moment by which all processes have heard of what is asked for now.
    pub fn soon(snapshot: &Snapshot) -> Time {
        snapshot.now + LEAD + LEAD_EACH * snapshot.processes.len() as u64
    }

    /// Lets something more go wrong, in all processes; at [`soon`](Self::soon) at the earliest.
    ///
    /// # Errors
    /// [`Refused::Fault`], and if the run has not begun or is over.
    pub async fn fault(&self, fault: Fault) -> Result<(), Refused> {
        self.begun().await?;
        self.0.hub.fault(fault).await.map_err(Refused::Fault)
    }

    /// Ends a fault: by its place among those of the experiment, then those by hand; at [`soon`](Self::soon) at the
    /// earliest.
    ///
    /// # Errors
    /// As of [`fault`](Self::fault).
    pub async fn end_fault(&self, index: usize, at: Time) -> Result<(), Refused> {
        self.begun().await?;
        self.0.hub.end_fault(index, at).await.map_err(Refused::Fault)
    }

    /// Ends the run.
    ///
    /// # Errors
    /// If it is over.
    pub fn stop(&self) -> Result<(), Refused> {
        self.0.hub.stop().map_err(Refused::Unavailable)
    }

    /// The run is over: there will be no more answers.
    pub(super) fn close(&self) {
        self.0.answers.close();
    }
}

async fn within<R>(said: impl Future<Output = Result<R, &'static str>>) -> Result<R, Refused> {
    match tokio::time::timeout(PATIENCE, said).await {
        Ok(said) => said.map_err(Refused::Unavailable),
        Err(_) => Err(Refused::Silent),
    }
}

/// How long the mesh may take to answer a call, or to give up.
fn patience(policy: &CallPolicy) -> Duration {
    let tries = u64::from(policy.retries) + 1;
    let most = (policy.timeout.unwrap_or(ASK_MAX) + policy.retry.cap) * tries;
    Duration::from_nanos((most.min(ASK_MAX) + GRACE).nanos())
}

/// A fault that was submitted by hand, as a report has it.
pub(super) fn manual_fault(fault: &Fault, mesh: &Mesh) -> ManualFault {
    ManualFault {
        at_s: fault.at.secs(),
        for_s: (fault.until < Time::NEVER).then(|| fault.until.since(fault.at).secs()),
        kind: fault.name().to_owned(),
        what: fault_in_words(&fault.kind, mesh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_waited_for_longer_than_the_mesh_needs_to_give_up() {
        let policy = CallPolicy { timeout: Some(Span::from_millis(500)), retries: 2, ..CallPolicy::default() };
        assert_eq!(patience(&policy), Duration::from_millis(3 * 750 + 5_000));
        let endless = CallPolicy { timeout: Some(ASK_MAX), retries: 255, ..CallPolicy::default() };
        assert_eq!(patience(&endless), Duration::from_nanos((ASK_MAX + GRACE).nanos()));
    }
}
