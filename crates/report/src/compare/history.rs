//! Step-by-step comparison of the decisions of two runs. The time of a step and its settle time are not compared: they
//! are measurements of a run.

use schemars::JsonSchema;
use serde::Serialize;

use crate::summary::{OperationSummary, StepSummary, Summary};

/// The history of a run beside that of the base.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct History {
    /// Number of steps from the beginning that are the same.
    pub same_steps: usize,
    /// The first that is not; `null` if all are the same.
    pub first_step: Option<StepDifference>,
    /// Number of operations from the beginning that are the same: the same kind, service and index in the file.
    pub same_operations: usize,
    /// The first that is not; `null` if all are the same.
    pub first_operation: Option<OperationDifference>,
}

/// The first step that is not the same.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct StepDifference {
    /// The fields that differ; empty if one of the runs has no such step.
    pub fields: Vec<String>,
    /// The step of the base; `null` if it has none any more.
    pub base: Option<DecidedStep>,
    /// The step of the other run.
    pub other: Option<DecidedStep>,
}

/// One decided step.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct DecidedStep {
    /// Its number, over all services.
    pub n: u64,
    /// Kind of its operation.
    pub kind: String,
    /// Its service.
    pub service: String,
    /// The service's generation with it.
    pub generation: u64,
    /// S in the recurrence.
    pub s: f64,
    /// C in the recurrence.
    pub c: f64,
    /// V in the recurrence.
    pub v: f64,
    /// Instances that are placed.
    pub instances: u32,
    /// The mean version of the instances.
    pub version: f64,
    /// Instances that found no node with room.
    pub unplaced: u32,
}

/// The first operation that is not the same.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct OperationDifference {
    /// The operation of the base; `null` if it has none any more.
    pub base: Option<OperationName>,
    /// The operation of the other run.
    pub other: Option<OperationName>,
}

/// Identity of an operation.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct OperationName {
    /// Its index among the operations of the file, by time; `null` for a manual operation and for a repair.
    pub operation: Option<usize>,
    /// Kind of the operation.
    pub kind: String,
    /// To which service.
    pub service: String,
}

impl History {
    /// Holds a run against the base.
    pub(super) fn new(base: &Summary, other: &Summary) -> Self {
        let (mine, theirs) = (steps(base), steps(other));
        let same_steps = mine.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let at = |steps: &[DecidedStep]| steps.get(same_steps).cloned();
        let first_step = (mine.len().max(theirs.len()) > same_steps).then(|| {
            let (base, other) = (at(&mine), at(&theirs));
            let fields = base.as_ref().zip(other.as_ref()).map(|(a, b)| a.fields_unlike(b)).unwrap_or_default();
            StepDifference { fields, base, other }
        });
        let name = |o: &OperationSummary| OperationName {
            operation: o.operation,
            kind: o.kind.as_str().into(),
            service: o.service.clone(),
        };
        let names = |summary: &Summary| summary.operations.iter().map(name).collect::<Vec<_>>();
        let (mine, theirs) = (names(base), names(other));
        let same_operations = mine.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let at = |names: &[OperationName]| names.get(same_operations).cloned();
        let first_operation = (mine.len().max(theirs.len()) > same_operations)
            .then(|| OperationDifference { base: at(&mine), other: at(&theirs) });
        History { same_steps, first_step, same_operations, first_operation }
    }
}

impl DecidedStep {
    fn new(operation: &OperationSummary, step: &StepSummary) -> Self {
        DecidedStep {
            n: step.n,
            kind: operation.kind.as_str().into(),
            service: operation.service.clone(),
            generation: step.generation,
            s: step.s,
            c: step.values.capacity,
            v: step.v,
            instances: step.values.instances,
            version: step.values.version,
            unplaced: step.unplaced,
        }
    }

    fn fields_unlike(&self, other: &Self) -> Vec<String> {
        let fields = [
            ("n", self.n != other.n),
            ("kind", self.kind != other.kind),
            ("service", self.service != other.service),
            ("generation", self.generation != other.generation),
            ("s", self.s != other.s),
            ("c", self.c != other.c),
            ("v", self.v != other.v),
            ("instances", self.instances != other.instances),
            ("version", self.version != other.version),
            ("unplaced", self.unplaced != other.unplaced),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
    }
}

/// All steps of a run, in their order.
fn steps(summary: &Summary) -> Vec<DecidedStep> {
    let of = |operation| move |step| DecidedStep::new(operation, step);
    let mut steps: Vec<_> = summary.operations.iter().flat_map(|o| o.steps.iter().map(of(o))).collect();
    steps.sort_by_key(|step| step.n);
    steps
}
