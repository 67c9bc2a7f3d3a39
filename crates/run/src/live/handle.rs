//! Control of a live run from other threads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meshsim_actor::{Cell as ActorCell, Span, Time};
use meshsim_experiment::{Experiment, fault_in_words};
use meshsim_fault::Fault;
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::gateway::ASK_MAX;
use meshsim_mesh::message::{Answer, Ask, Msg, Operate};
use meshsim_mesh::model::{COORDINATOR, CallPolicy, Operation};
use meshsim_mesh::{Mesh, MeshActor};
use meshsim_net::{ClusterStatus, Phase};
use meshsim_report::{ManualFault, Recent, SoFar};

use super::answers::{AskCounts, PendingRequests};
use super::board::Board;

/// Longest wait for a status of the run, which sends none while it collects the results at its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Added to the time in which the mesh gives up by itself; a later reply means that its gateway is gone.
const GRACE: Span = Span::from_secs(5);
/// Time from the request of a fault until its start, so that all processes receive it before. More for each process.
const LEAD: Span = Span::from_millis(100);
const LEAD_EACH: Span = Span::from_millis(3);

/// Inspects and controls a live run from any thread, while the run is in progress in its own. Waiting needs a tokio
/// runtime.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    experiment: Arc<Experiment>,
    hub: meshsim_net::Handle<MeshActor>,
    answers: Arc<PendingRequests>,
    board: Arc<Board>,
    /// Once true, always true.
    has_begun: AtomicBool,
}

/// Reason why a live run refuses a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not all needed processes have joined.
    #[error("the run has not begun")]
    NotBegun,
    /// The run has ended, or too many commands are pending.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The run has not answered for a while.
    #[error("the run does not say how it is: it is about to end")]
    Silent,
    /// Too many external requests are in flight.
    #[error("too many requests are in flight")]
    TooManyRequests,
    /// The gateway of the mesh does not answer.
    #[error("the mesh's gateway does not answer")]
    Unanswered,
    /// Messages to the coordinator wait or are lost.
    #[error("the coordinator does not hear it: a fault has it down, or paused, or its disk full")]
    Unheard,
    /// The fault is invalid in this run, or unknown.
    #[error("{0}")]
    Fault(String),
}

impl Refused {
    /// The run has ended.
    pub(super) const OVER: Refused = Refused::Unavailable("the run is over");
}

/// Result of submitting operations. The numbers are indexes into the coordinator's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Operations that have begun.
    pub begun: Vec<usize>,
    /// Operations that do not apply in the current state: the service is not deployed, or already is.
    pub refused: Vec<usize>,
}

impl Handle {
    pub(super) fn new(
        experiment: Arc<Experiment>,
        hub: meshsim_net::Handle<MeshActor>,
        answers: Arc<PendingRequests>,
        board: Arc<Board>,
    ) -> Self {
        Handle(Arc::new(Inner { experiment, hub, answers, board, has_begun: AtomicBool::new(false) }))
    }

    /// The experiment of the run.
    pub fn experiment(&self) -> &Arc<Experiment> {
        &self.0.experiment
    }

    /// Status of the run.
    ///
    /// # Errors
    /// If the run has ended, or does not answer.
    pub async fn status(&self) -> Result<ClusterStatus, Refused> {
        within(self.0.hub.status()).await
    }

    /// Inspects the coordinator between two of its steps.
    ///
    /// # Errors
    /// If the run has ended, or does not answer.
    pub async fn inspect<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Coordinator) -> R + Send + 'static,
    ) -> Result<R, Refused> {
        let looked = self.0.hub.inspect(COORDINATOR, move |cell| cell.actor().coordinator().map(look));
        within(looked).await?.ok_or(Refused::OVER)
    }

    /// Reads the measurements so far: windows and events. This delays other readers, but not the run.
    pub fn so_far<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> R {
        self.0.board.look(look)
    }

    /// The same, unless another thread reads them.
    pub(super) fn glance<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> Option<R> {
        self.0.board.glance(look)
    }

    /// The part of the measurements so far that no actor has.
    pub fn recent(&self, status: &ClusterStatus) -> Recent {
        let now = if status.now < Time::NEVER { status.now } else { Time::ZERO };
        let faults = status.faults.iter().map(|fault| manual_fault(fault, &self.0.experiment.mesh)).collect();
        Recent { now, faults, healed: status.healed.clone() }
    }

    /// Returns an error unless the run has begun.
    ///
    /// # Errors
    /// [`Refused::NotBegun`], and as of [`status`](Self::status).
    pub async fn begun(&self) -> Result<(), Refused> {
        if !self.0.has_begun.load(Ordering::Relaxed) {
            if self.status().await?.phase == Phase::Waiting {
                return Err(Refused::NotBegun);
            }
            self.0.has_begun.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends one request through the mesh, under a number that it assigns, and waits for the result.
    ///
    /// # Errors
    /// If the request cannot be sent, or the run ends before. A failure in the mesh is a result, not an error.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Refused> {
        self.begun().await?;
        let mut expected = self.0.answers.expect_answer()?;
        let patience = patience(&ask.policy);
        let ask = Ask { ask: expected.number(), ..ask };
        let to = self.0.experiment.mesh.gateway_actor();
        self.0.hub.send(to, Msg::ExternalRequest(Box::new(ask))).map_err(Refused::Unavailable)?;
        match tokio::time::timeout(patience, expected.heard()).await {
            Ok(answer) => answer.ok_or(Refused::OVER),
            Err(_) => Err(Refused::Unanswered),
        }
    }

    /// Counters of all requests sent with [`ask`](Self::ask).
    pub fn ask_counts(&self) -> AskCounts {
        self.0.answers.counts()
    }

    /// Starts operations now, whatever their times. An operation in neither list of the result exceeded the limit, or
    /// is invalid in this mesh.
    ///
    /// # Errors
    /// If the run has not begun or has ended, or the coordinator does not receive the operations.
    pub async fn operate(&self, operations: Vec<Operation>) -> Result<Submitted, Refused> {
        self.begun().await?;
        let mut expected = Vec::new();
        for operation in operations {
            let one = self.0.answers.expect_operation()?;
            let operate = Operate { ask: one.number(), operation };
            self.0.hub.send(COORDINATOR, Msg::Operate(Box::new(operate))).map_err(Refused::Unavailable)?;
            expected.push(one);
        }
        // This reaches the coordinator after all operations, unless it is down or paused. Its answers may wait for its disk.
        let is_syncing = within(self.0.hub.inspect(COORDINATOR, ActorCell::is_syncing)).await?;
        let mut submitted = Submitted::default();
        for mut one in expected {
            let said = match one.heard_already() {
                None if is_syncing => tokio::time::timeout(PATIENCE, one.heard()).await.ok().flatten(),
                said => said,
            };
            let said = said.ok_or(Refused::Unheard)?;
            let list = if said.is_refused { &mut submitted.refused } else { &mut submitted.begun };
            list.extend(said.history.map(|at| at as usize));
        }
        Ok(submitted)
    }

    /// Time by which all processes have received a fault that is requested now.
    pub fn soon(status: &ClusterStatus) -> Time {
        status.now + LEAD + LEAD_EACH * status.processes.len() as u64
    }

    /// Adds a fault in all processes; it starts at [`soon`](Self::soon) at the earliest.
    ///
    /// # Errors
    /// [`Refused::Fault`], and if the run has not begun or has ended.
    pub async fn fault(&self, fault: Fault) -> Result<(), Refused> {
        self.begun().await?;
        self.0.hub.fault(fault).await.map_err(Refused::Fault)
    }

    /// Ends a fault, at [`soon`](Self::soon) at the earliest. The index counts the faults of the experiment first, then
    /// the manual ones.
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
    /// If it has ended.
    pub fn stop(&self) -> Result<(), Refused> {
        self.0.hub.stop().map_err(Refused::Unavailable)
    }

    /// The run has ended: no further replies come.
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

/// Longest time that the mesh takes to answer a call, or to give up.
fn patience(policy: &CallPolicy) -> Duration {
    let tries = u64::from(policy.retries) + 1;
    let most = (policy.timeout.unwrap_or(ASK_MAX) + policy.retry.cap) * tries;
    Duration::from_nanos((most.min(ASK_MAX) + GRACE).nanos())
}

/// A manual fault as the report shows it.
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
