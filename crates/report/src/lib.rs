//! Results of a run: [`Summary`] for machines, [`text`] for people.
//!
//! [`Measured`] gathers the measurements of the actors; [`Summary::new`] adds them up and evaluates the SLOs of the
//! experiment. Nothing here depends on how long the run took on a clock, so the same experiment and seed give the same
//! summary, byte for byte.

pub mod aftermath;
mod bins;
mod closed;
pub mod compare;
mod correlation;
mod course;
pub mod events;
mod figures;
mod gap;
mod generator;
mod happened;
mod outside;
pub mod owner;
pub mod picture;
mod read;
mod real_work;
mod schema;
pub mod series;
mod show;
mod so_far;
mod summary;
pub mod table;
pub mod text;
mod verdict;
pub mod verify;
pub mod waterfall;
pub mod wrap;

pub use bins::BINS_PER_DECADE;
pub use closed::ClosedSummary;
pub use correlation::Correlation;
pub use course::Courses;
pub use figures::{Latency, window_quantile};
pub use gap::{Gap, GapSummary, Reason};
pub use generator::{GeneratorProcess, GeneratorSummary};
pub use happened::events;
pub use outside::{Departure, ManualFault, Outside, Restart, Shunned};
pub use read::{ReadError, SUMMARY_BYTES_MAX};
pub use real_work::{RealWork, RealWorkOfNode, Worked};
pub use schema::{comparison_schema, schema};
pub use show::{count, named, number, operation_in_words, percent, plural, rate, seconds, span, unplaced_reason};
pub use so_far::{Recent, Silence, SoFar};
pub use summary::{
    AutoscalerSummary, BlockSummary, CacheSummary, CheckSummary, DecisionSummary, EdgeSummary, FailureCounts,
    JourneySummary, LoadSummary, Measured, MeasurementSummary, MeshSummary, NodeSummary, OperationSummary,
    ProxySummary, QueueSummary, Requests, RolloutEntry, RolloutSummary, ServiceSummary, StepSummary, Summary,
    TargetSummary, Traffic, Values,
};
pub use verdict::{Outcome, Verdict};
