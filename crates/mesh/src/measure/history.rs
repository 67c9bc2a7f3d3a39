//! Histories of operations.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use crate::model::{Change, ServiceId};
use crate::rollout::history::RolloutHistory;

/// History of one operation, as the coordinator saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationHistory {
    /// Its index in [`Mesh::operations`](crate::Mesh::operations); `None` for one of an external
    /// client or of the autoscaler, and for a repair.
    pub operation: Option<usize>,
    /// The autoscaler began it.
    pub is_automatic: bool,
    /// The change; `None` for a repair, which the coordinator decides by itself when a node dies or comes back.
    pub change: Option<Change>,
    /// Kind of the operation.
    pub kind: OperationKind,
    /// To which service.
    pub service: ServiceId,
    /// Start time.
    pub began: Time,
    /// Its steps, in order.
    pub steps: Vec<StepHistory>,
    /// Outcome.
    pub outcome: OperationOutcome,
    /// History of the rollout; `None` for other kinds of operation.
    pub rollout: Option<Box<RolloutHistory>>,
    /// Evictions of a drain; `None` for other kinds of operation.
    pub drain: Option<DrainHistory>,
}

/// Evictions of the instances of one service from a node that is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainHistory {
    /// Instances that were evicted.
    pub evicted: u32,
    /// Instances of the service that are on the node still.
    pub left: u32,
    /// Turns at which the disruption budget did not allow to evict all that were left.
    pub refused: u32,
}

impl OperationHistory {
    /// True if an external client began it.
    pub fn is_manual(&self) -> bool {
        self.operation.is_none() && self.change.is_some() && !self.is_automatic
    }

    /// Time at which every node had acknowledged every step. `None` while a step is not acknowledged or is still to
    /// come, and if there was no step.
    pub fn settled(&self) -> Option<Time> {
        let all = self.steps.iter().map(|step| step.settled).reduce(|a, b| Some(a?.max(b?))).flatten();
        all.filter(|_| self.outcome != OperationOutcome::Running)
    }
}

/// Kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A service's instances come up.
    Deploy,
    /// Its instances are removed.
    Undeploy,
    /// `S' = S + a (T - S)`.
    Extend,
    /// `C' = C * b`.
    Scale,
    /// `V' = V + g (U - V)`.
    Update,
    /// The coordinator's own: instances of a dead node are placed elsewhere.
    Repair,
    /// Empty the caches of a service.
    Flush,
    /// A setting has another value.
    Set,
    /// A new version comes step by step, and goes again if measurements are bad.
    Rollout,
    /// A rollout is paused.
    PauseRollout,
    /// A rollout is resumed.
    ResumeRollout,
    /// A rollout is aborted.
    AbortRollout,
    /// Instances on a node that is drained are evicted.
    Drain,
}

impl OperationKind {
    /// Name in one word, for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::Deploy => "deploy",
            OperationKind::Undeploy => "undeploy",
            OperationKind::Flush => "flush",
            OperationKind::Extend => "extend",
            OperationKind::Scale => "scale",
            OperationKind::Update => "update",
            OperationKind::Set => "set",
            OperationKind::Rollout => "rollout",
            OperationKind::PauseRollout => "pause_rollout",
            OperationKind::ResumeRollout => "resume_rollout",
            OperationKind::AbortRollout => "abort_rollout",
            OperationKind::Drain => "drain",
            OperationKind::Repair => "repair",
        }
    }
}

/// Outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum OperationOutcome {
    /// It has not ended.
    Running,
    /// It reached its target.
    Reached,
    /// It made its maximum number of steps; the residual is what was left.
    StepLimit {
        /// Target minus reached value.
        residual: f64,
    },
    /// Its rounding cannot come nearer; this much was left.
    Stuck {
        /// Target minus reached value.
        residual: f64,
    },
    /// Another operation of the same kind on the same service took its place.
    Superseded,
    /// It could not begin: the service is not deployed (or, for deploy, is already), or there is no rollout that could
    /// be paused, resumed or aborted.
    Refused,
    /// A rollout went back to the old version: an analysis failed, or its instances were not ready in time.
    RolledBack,
    /// A rollout went back to the old version: an operation aborted it.
    Aborted,
}

impl OperationOutcome {
    /// Name in one word, for people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationOutcome::Running => "running",
            OperationOutcome::Reached => "reached",
            OperationOutcome::StepLimit { .. } => "step_limit",
            OperationOutcome::Stuck { .. } => "stuck",
            OperationOutcome::Superseded => "superseded",
            OperationOutcome::Refused => "refused",
            OperationOutcome::RolledBack => "rolled_back",
            OperationOutcome::Aborted => "aborted",
        }
    }

    /// Residual of an operation that ended before it reached its target.
    pub fn residual(self) -> Option<f64> {
        match self {
            OperationOutcome::StepLimit { residual } | OperationOutcome::Stuck { residual } => Some(residual),
            OperationOutcome::Running
            | OperationOutcome::Reached
            | OperationOutcome::Superseded
            | OperationOutcome::Refused
            | OperationOutcome::RolledBack
            | OperationOutcome::Aborted => None,
        }
    }
}

/// One numbered step: decided once, broadcast, applied exactly once, acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepHistory {
    /// Its number: 1, 2, 3, ... over all services.
    pub n: u64,
    /// The service's generation with it.
    pub generation: u64,
    /// Time of the decision.
    pub decided: Time,
    /// Time at which the last node of its audience had acknowledged it.
    pub settled: Option<Time>,
    /// S after it, in the recurrence.
    pub s: f64,
    /// S after it, in whole instances.
    pub instances: u32,
    /// Instances above S that are to run for a time, such as the surge of a rolling update.
    pub extra: u32,
    /// Of all these, the number for which no node had room.
    pub unplaced: u32,
    /// C after it.
    pub c: f64,
    /// V after it, in the recurrence.
    pub v: f64,
    /// V after it, as the mean over whole instances; NaN without instances is written as 0.
    pub v_mean: f64,
    /// Messages sent for it, the first time to each node.
    pub sent: u64,
    /// Messages sent for it again.
    pub resent: u64,
    /// Acknowledgements that covered it first, one for each node.
    pub acks: u64,
}
