//! Results of the operations of a run, with their steps.

use std::borrow::Cow;
use std::collections::BTreeMap;

use meshsim_experiment::Experiment;
use meshsim_mesh::measure::{DrainHistory, OperationHistory, OperationKind, OperationOutcome, StepHistory};
use meshsim_mesh::model::{Change, ServiceId, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rollout::RolloutSummary;
use super::{Measured, sum};
use crate::show::unplaced_reason;

/// History of one operation.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct OperationSummary {
    /// Its index among the operations of the file, by time; `null` for one that is manual or of an autoscaler, and for
    /// a repair, which the coordinator decides itself.
    pub operation: Option<usize>,
    /// Its name, if the file gives it one.
    #[serde(default)]
    pub name: Option<String>,
    /// True for a manual operation. Summaries written before these existed leave it out.
    #[serde(default)]
    #[serde(alias = "by_hand")]
    pub manual: bool,
    /// True for one that an autoscaler began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// Kind of the operation.
    #[schemars(with = "String", extend("enum" = KINDS.map(OperationKind::as_str)))]
    #[serde(alias = "verb")]
    pub kind: OperationKind,
    /// To which service.
    pub service: String,
    /// The number it ran toward (instances, or a version), or the factor of a scale.
    pub to: Option<f64>,
    /// The rate of its recurrence; `null` where it has none.
    pub rate: Option<f64>,
    /// Strategy of an update; `null` for all other operations, and in files of older versions.
    #[serde(default)]
    #[schemars(extend("enum" = STRATEGIES))]
    pub strategy: Option<Cow<'static, str>>,
    /// Key that a set gives another value; `null` for all other operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'static, str>>,
    /// Start time.
    pub began_s: f64,
    /// Outcome.
    #[schemars(extend("enum" = OUTCOMES))]
    #[serde(alias = "ending")]
    pub outcome: Cow<'static, str>,
    /// Number of its steps.
    pub step_count: usize,
    /// The service's generation after the last of them.
    pub generation: Option<u64>,
    /// Time from its beginning until every node had acknowledged every step; `null` if not all have, or if it was
    /// running.
    #[serde(alias = "settling_ns")]
    pub settle_time_ns: Option<u64>,
    /// Target minus reached value when it ended.
    pub residual: Option<f64>,
    /// Messages sent for it, first ones and repeated ones.
    pub messages: u64,
    /// Number of them that were resent because no acknowledgement had come.
    pub resent: u64,
    /// Acknowledgements that first covered a step, one for each node and step.
    #[serde(alias = "acknowledgements")]
    pub acks: u64,
    /// Instances that found no node with room, after the last step.
    pub unplaced: u32,
    /// Reason of the unplaced instances, if there are any.
    #[serde(default)]
    pub unplaced_reason: Option<String>,
    /// S, C and V before it.
    pub before: Values,
    /// S, C and V after it.
    pub after: Values,
    /// Its steps.
    pub steps: Vec<StepSummary>,
    /// State and events of the rollout; absent for other kinds of operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSummary>,
    /// Evictions of a drain; absent for other kinds of operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainSummary>,
}

/// Evictions of the instances of a service from a node that is drained.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct DrainSummary {
    /// The node.
    pub node: String,
    /// Instances that were evicted.
    pub evicted: u32,
    /// Instances that are on the node still.
    pub left: u32,
    /// Turns at which the disruption budget did not allow to evict all that were left.
    pub refused: u32,
}

const KINDS: [OperationKind; 13] = [
    OperationKind::Deploy,
    OperationKind::Undeploy,
    OperationKind::Extend,
    OperationKind::Scale,
    OperationKind::Update,
    OperationKind::Repair,
    OperationKind::Flush,
    OperationKind::Set,
    OperationKind::Rollout,
    OperationKind::PauseRollout,
    OperationKind::ResumeRollout,
    OperationKind::AbortRollout,
    OperationKind::Drain,
];

/// Strategies of updates; `None` for other operations.
const STRATEGIES: [Option<&str>; 5] = [Some("batch"), Some("bernoulli"), Some("rolling"), Some("canary"), None];

/// [`OperationOutcome`] in one word.
const OUTCOMES: [&str; 8] =
    ["running", "reached", "step_limit", "stuck", "superseded", "refused", "rolled_back", "aborted"];

/// Values of the three recurrences.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Values {
    /// S: whole instances.
    pub instances: u32,
    /// C: requests that an instance serves at once.
    pub capacity: f64,
    /// V: the mean version of the instances.
    pub version: f64,
}

/// One numbered step.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its number, over all services.
    pub n: u64,
    /// The service's generation with it.
    pub generation: u64,
    /// Time of the decision.
    pub decided_s: f64,
    /// Time from the decision until the last node had acknowledged it.
    #[serde(alias = "settling_ns")]
    pub settle_time_ns: Option<u64>,
    /// S in the recurrence, which may be between whole numbers.
    pub s: f64,
    /// V in the recurrence.
    pub v: f64,
    /// S, C and V as they are on the nodes.
    pub values: Values,
    /// Instances above S that are to run for a time, such as the surge of a rolling update.
    #[serde(default)]
    pub extra: u32,
    /// Instances for which no node had room, extra ones among them.
    pub unplaced: u32,
    /// Messages sent for it the first time.
    pub sent: u64,
    /// Messages sent for it again.
    pub resent: u64,
    /// Acknowledgements that first covered it.
    #[serde(alias = "acknowledgements")]
    pub acks: u64,
}

/// S, C and V of each service from step to step.
pub(super) struct Course {
    first: Vec<Values>,
    steps: Vec<BTreeMap<u64, Values>>,
}

impl Course {
    pub(super) fn new(experiment: &Experiment, history: &[OperationHistory]) -> Self {
        let services = &experiment.mesh.services;
        let first = |s: &meshsim_mesh::model::Service| Values {
            instances: 0,
            capacity: s.capacity,
            version: f64::from(s.version),
        };
        let mut steps = vec![BTreeMap::new(); services.len()];
        for operation in history {
            steps[operation.service.index()].extend(operation.steps.iter().map(|step| (step.n, after(step))));
        }
        Course { first: services.iter().map(first).collect(), steps }
    }

    fn before(&self, service: ServiceId, n: u64) -> Values {
        let last = self.steps[service.index()].range(..n).next_back();
        last.map_or(self.first[service.index()], |(_, values)| *values)
    }

    pub(super) fn at_the_end(&self, service: ServiceId) -> Values {
        self.before(service, u64::MAX)
    }
}

fn after(step: &StepHistory) -> Values {
    // Extra instances are no part of S, even if they are the unplaced ones.
    let placed = step.instances.saturating_add(step.extra).saturating_sub(step.unplaced);
    Values { instances: placed.min(step.instances), capacity: step.c, version: step.v_mean }
}

/// Histories of all operations, in the order in which they began.
pub(crate) fn operations(experiment: &Experiment, measured: &Measured) -> Vec<OperationSummary> {
    OperationSummary::all(experiment, &measured.history)
}

impl OperationSummary {
    /// Results of all operations of a coordinator's history, in its order.
    pub fn all(experiment: &Experiment, history: &[OperationHistory]) -> Vec<Self> {
        let values = Course::new(experiment, history);
        history.iter().map(|it| operation(experiment, it, &values)).collect()
    }

    /// Result of one of them, by its index.
    pub fn one(experiment: &Experiment, history: &[OperationHistory], index: usize) -> Option<Self> {
        let it = history.get(index)?;
        Some(operation(experiment, it, &Course::new(experiment, history)))
    }
}

fn operation(experiment: &Experiment, history: &OperationHistory, course: &Course) -> OperationSummary {
    let (to, rate, strategy) = match &history.change {
        Some(Change::Extend { to, rate, .. }) => (Some(f64::from(*to)), Some(*rate), None),
        Some(Change::Update { to, rate, strategy }) => {
            let (name, has_rate) = match strategy {
                Strategy::Batch => ("batch", true),
                Strategy::Bernoulli => ("bernoulli", true),
                Strategy::Rolling { .. } => ("rolling", false),
                Strategy::Canary { .. } => ("canary", false),
            };
            (Some(f64::from(*to)), has_rate.then_some(*rate), Some(name.into()))
        }
        Some(Change::Scale { by }) => (Some(*by), None, None),
        Some(Change::Rollout(rollout)) => (Some(f64::from(rollout.to)), None, None),
        Some(Change::Deploy | Change::Undeploy | Change::Flush) => (None, None, None),
        Some(Change::Set(_) | Change::Steer(_) | Change::Drain(_)) | None => (None, None, None),
    };
    // A reached target leaves no residual.
    let residual = history.outcome.residual().or((history.outcome == OperationOutcome::Reached).then_some(0.0));
    let steps = &history.steps;
    let before = match steps.first() {
        Some(first) => course.before(history.service, first.n),
        None => course.at_the_end(history.service),
    };
    let service = experiment.mesh.service(history.service);
    let unplaced = steps.last().map_or(0, |step| step.unplaced);
    OperationSummary {
        operation: history.operation,
        name: history.operation.and_then(|at| experiment.operation_names.get(at).cloned().flatten()),
        manual: history.is_manual(),
        automatic: history.is_automatic,
        kind: history.kind,
        service: service.name.clone(),
        to,
        rate,
        strategy,
        key: match &history.change {
            Some(Change::Set(setting)) => Some(setting.key().into()),
            _ => None,
        },
        began_s: history.began.secs(),
        outcome: history.outcome.as_str().into(),
        step_count: steps.len(),
        generation: steps.last().map(|step| step.generation),
        settle_time_ns: history.settled().map(|at| at.since(history.began).nanos()),
        residual,
        messages: sum(steps.iter().flat_map(|step| [step.sent, step.resent])),
        resent: sum(steps.iter().map(|step| step.resent)),
        acks: sum(steps.iter().map(|step| step.acks)),
        unplaced,
        unplaced_reason: (unplaced > 0).then(|| unplaced_reason(service)),
        before,
        after: steps.last().map_or(before, after),
        steps: steps
            .iter()
            .map(|step| StepSummary {
                n: step.n,
                generation: step.generation,
                decided_s: step.decided.secs(),
                settle_time_ns: step.settled.map(|at| at.since(step.decided).nanos()),
                s: step.s,
                v: step.v,
                values: after(step),
                extra: step.extra,
                unplaced: step.unplaced,
                sent: step.sent,
                resent: step.resent,
                acks: step.acks,
            })
            .collect(),
        rollout: match (&history.change, &history.rollout) {
            (Some(Change::Rollout(rollout)), Some(history)) => Some(RolloutSummary::of(rollout, history)),
            _ => None,
        },
        drain: match (&history.change, history.drain) {
            (Some(Change::Drain(drain)), Some(DrainHistory { evicted, left, refused })) => {
                let node = experiment.mesh.nodes[drain.node as usize].name.clone();
                Some(DrainSummary { node, evicted, left, refused })
            }
            _ => None,
        },
    }
}
