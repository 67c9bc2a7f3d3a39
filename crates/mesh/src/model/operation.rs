//! Operations.

use std::sync::Arc;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::ServiceId;
use super::nodes::Drain;
use super::rollout::{Rollout, Steer};
use super::setting::Setting;
use crate::measure::OperationKind;

/// An operation of the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Time at which it begins.
    pub at: Time,
    /// To which service.
    pub service: ServiceId,
    /// The change.
    pub change: Change,
    /// Time between the steps of a recurrence.
    pub every: Span,
    /// Maximum number of steps; `None`: until settled.
    pub times: Option<u32>,
}

/// Change of a service by an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Bring the service up as its [`Service`](super::Service) says.
    Deploy,
    /// Take all its instances away.
    Undeploy,
    /// Empty the caches of its instances.
    Flush,
    /// `S' = S + rate (to - S)`.
    Extend {
        /// T: instances wanted in the end.
        to: u32,
        /// a, above 0.
        rate: f64,
        /// Rounding of the real S to whole instances.
        rounding: Rounding,
        /// Value of S from which the recurrence starts.
        feedback: Feedback,
    },
    /// `C' = C * by`, within the service's limits.
    Scale {
        /// b, above 0.
        by: f64,
    },
    /// `V' = V + rate (to - V)`.
    Update {
        /// U: version wanted in the end.
        to: u32,
        /// g, above 0.
        rate: f64,
        /// Order in which instances of the new version replace the old ones.
        strategy: Strategy,
    },
    /// One of its settings has another value from now on.
    Set(Box<Setting>),
    /// A new version comes step by step, and goes again if measurements are bad.
    Rollout(Arc<Rollout>),
    /// Its rollout in progress is paused, resumed or aborted.
    Steer(Steer),
    /// Its instances on a node that is drained are evicted, as its disruption budget allows.
    Drain(Drain),
}

impl Change {
    /// The operation's name.
    pub fn kind(&self) -> OperationKind {
        match self {
            Change::Deploy => OperationKind::Deploy,
            Change::Undeploy => OperationKind::Undeploy,
            Change::Flush => OperationKind::Flush,
            Change::Extend { .. } => OperationKind::Extend,
            Change::Scale { .. } => OperationKind::Scale,
            Change::Update { .. } => OperationKind::Update,
            Change::Set(_) => OperationKind::Set,
            Change::Rollout(_) => OperationKind::Rollout,
            Change::Steer(Steer::Pause) => OperationKind::PauseRollout,
            Change::Steer(Steer::Resume) => OperationKind::ResumeRollout,
            Change::Steer(Steer::Abort) => OperationKind::AbortRollout,
            Change::Drain(_) => OperationKind::Drain,
        }
    }
}

/// Rounding of a real number of instances to a whole one: once, for the whole mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// The step is rounded away from zero, and an overshoot is rounded towards the target: it arrives at every rate
    /// below 2.
    #[default]
    Away,
    /// The step is rounded to the nearest whole number, halves away from zero; an overshoot is rounded towards the
    /// target. Below a rate of 1 it can stop short of it.
    Nearest,
    /// The step is rounded toward minus infinity. Below a rate of 1 it can stop below the target.
    Floor,
    /// S stays real; only the numbers sent to the nodes are rounded (to the nearest).
    Carry,
    /// The step is rounded up with its fraction as probability, else down.
    Stochastic,
}

/// Value of S from which an extend starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feedback {
    /// The desired state, as the coordinator has decided it.
    #[default]
    Commanded,
    /// The observed state, as the nodes last reported it; stale by network delay and lost messages.
    Observed,
}

/// A number of instances, or a fraction of N. (Kubernetes' `IntOrString`.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Amount {
    /// This number, whatever N is.
    Instances(u32),
    /// From 0 to 1.
    Share(f64),
}

impl Amount {
    /// True if it is nothing, whatever N is.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Instances(0)) || self == Amount::Share(0.0)
    }
}

/// Order in which the steps of an update replace instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Strategy {
    /// Each old one with probability `rate`.
    Bernoulli,
    /// `ceil(rate * old)` of them.
    Batch,
    /// As a Kubernetes Deployment: at most `max_surge` more than N instances, at most `max_unavailable` fewer ready
    /// ones; see [`rolling_bounds`](crate::operation::rolling_bounds). Each turn does as much as the nodes' reports
    /// allow.
    Rolling {
        /// A share of N is rounded up.
        max_surge: Amount,
        /// A share of N is rounded down.
        max_unavailable: Amount,
    },
    /// By step: the share of requests that goes to the new version. So many instances of it as are that share of N come
    /// beside the N; see [`Canary`](crate::operation::Canary).
    Canary {
        /// Rising, in (0, 1].
        weights: Arc<[f64]>,
    },
}
