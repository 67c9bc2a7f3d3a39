//! History of a rollout: its steps, pauses and measurements, and how it ended.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

/// Entries of one rollout that are kept for the report; later ones are counted.
pub const ENTRIES_MAX: usize = 2_000;

/// History of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutHistory {
    /// By time.
    pub entries: Vec<(Time, Entry)>,
    /// Further ones that are not kept.
    pub left_out: u64,
    /// The step in progress, from 0; all: it is at its end, or was.
    pub step: u32,
    /// Share of the requests that the new version is to have.
    pub weight: f64,
    /// Reason of its pause, while it is paused.
    pub paused: Option<PauseReason>,
    /// Reason for which it went back to the old version, if it did.
    pub aborted: Option<AbortReason>,
}

impl RolloutHistory {
    pub(super) fn write(&mut self, at: Time, entry: Entry) {
        match self.entries.len() < ENTRIES_MAX {
            true => self.entries.push((at, entry)),
            false => self.left_out += 1,
        }
    }
}

/// An event of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// A step began, with its index.
    Step(u32),
    /// All steps are done: the new version gets all requests.
    Promoting,
    /// A measurement.
    Measured(Measurement),
    /// It takes no further step.
    Paused(PauseReason),
    /// It was resumed.
    Resumed,
    /// The old version gets all requests again.
    Aborted(AbortReason),
    /// The old instances go.
    Promoted,
    /// The new instances are gone.
    RolledBack,
}

/// Reason of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// A `pause` step without a duration.
    Step,
    /// A `pause_rollout` operation.
    Manual,
    /// Too many measurements were inconclusive.
    Inconclusive,
}

impl PauseReason {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            PauseReason::Step => "step",
            PauseReason::Manual => "manual",
            PauseReason::Inconclusive => "inconclusive",
        }
    }
}

/// Reason of a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbortReason {
    /// Too many measurements failed.
    Analysis,
    /// An `abort_rollout` operation.
    Manual,
    /// Instances were not ready within the progress deadline.
    Deadline,
}

impl AbortReason {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            AbortReason::Analysis => "analysis",
            AbortReason::Manual => "manual",
            AbortReason::Deadline => "deadline",
        }
    }
}

/// Result of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasurementVerdict {
    /// All conditions hold.
    Successful,
    /// At least one condition does not hold.
    Failed,
    /// No condition fails, but at least one has no result: no node has answered, too few requests have ended, or the
    /// old version has no figure to compare with.
    Inconclusive,
}

impl MeasurementVerdict {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            MeasurementVerdict::Successful => "successful",
            MeasurementVerdict::Failed => "failed",
            MeasurementVerdict::Inconclusive => "inconclusive",
        }
    }
}

/// A measurement of an analysis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The step whose analysis it is; `None`: the one in the background.
    pub step: Option<u32>,
    /// Requests of the new version that ended in the window.
    pub requests: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Nodes with instances of the new version that answered, and that did not.
    pub nodes: (u32, u32),
    /// By condition.
    pub checks: Vec<Checked>,
    /// Its result.
    pub verdict: MeasurementVerdict,
}

/// A condition at a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The figure of the new version; `None`: no request gives one.
    pub value: Option<f64>,
    /// That of the old version, if it is compared with it.
    pub old: Option<f64>,
    /// True if the condition holds; `None`: unknown.
    pub holds: Option<bool>,
}
