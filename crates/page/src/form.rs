//! Operations beside their closed forms: the values of the recurrence alone, if every step were done at once and
//! nothing were rounded.

use meshsim_actor::Rng;
use meshsim_mesh::measure::OperationKind;
use meshsim_mesh::model::{Change, Feedback, Rounding, Strategy};
use meshsim_mesh::operation::{Desired, Iteration, Observed, iterate};
use meshsim_report::{OperationSummary, StepSummary, number};
use serde::Serialize;

use crate::Run;

/// Maximum number of steps of a closed form.
const STEPS_MAX: u32 = 1_000;
/// Maximum number of operations that are drawn.
const FORMS_MAX: usize = 24;

/// One operation.
#[derive(Debug, Serialize)]
pub(crate) struct Form {
    /// `S`, `C` or `V`.
    value: &'static str,
    service: String,
    /// The recurrence, with its numbers.
    rule: String,
    /// Initial value.
    before: f64,
    /// Target.
    to: f64,
    /// Time in seconds, and value after the step.
    closed: Vec<(f64, f64)>,
    /// The same as the coordinator decided it, in whole instances.
    decided: Vec<(f64, f64)>,
    /// Desired minus reached.
    residual: Option<f64>,
    outcome: String,
}

/// The operations that have one, in the order in which they began. Those of autoscalers have none: each is one step.
pub(crate) fn forms(run: &Run) -> Vec<Form> {
    let operations = run.summary.operations.iter().filter(|operation| !operation.automatic);
    operations.filter_map(|operation| form(run, operation)).take(FORMS_MAX).collect()
}

fn form(run: &Run, operation: &OperationSummary) -> Option<Form> {
    let mesh = &run.experiment.mesh;
    let service = mesh.services.iter().find(|service| service.name == operation.service)?;
    let of_file = operation.operation.and_then(|index| mesh.operations.get(index));
    // One of another file would be of another kind.
    let of_file = of_file.filter(|it| it.change.kind() == operation.kind);
    let change = match (of_file.map(|it| &it.change), operation.kind, operation.to, operation.rate) {
        (Some(change), ..) => change.clone(),
        (None, OperationKind::Extend, Some(to), Some(rate)) => {
            Change::Extend { to: to as u32, rate, rounding: Rounding::Carry, feedback: Feedback::Commanded }
        }
        (None, OperationKind::Scale, Some(by), _) => Change::Scale { by },
        _ => return None,
    };
    let (value, rule, of_step, to): (_, _, fn(&StepSummary) -> f64, _) = match &change {
        Change::Extend { to, rate, .. } => {
            ("S", format!("S' = S + {} ({to} - S)", number(*rate)), |it| f64::from(it.values.instances), f64::from(*to))
        }
        Change::Scale { by } => ("C", format!("C' = {} C", number(*by)), |it| it.values.capacity, f64::NAN),
        Change::Update { to, rate, strategy: Strategy::Batch | Strategy::Bernoulli } => {
            ("V", format!("V' = V + {} ({to} - V)", number(*rate)), |it| it.values.version, f64::from(*to))
        }
        Change::Update { to, .. } => {
            ("V", "step by step, within its bounds".into(), |it| it.values.version, f64::from(*to))
        }
        Change::Deploy | Change::Undeploy | Change::Flush | Change::Set(_) => return None,
        Change::Rollout(_) | Change::Steer(_) | Change::Drain(_) => return None,
    };
    let change = match change {
        Change::Extend { to, rate, .. } => {
            Change::Extend { to, rate, rounding: Rounding::Carry, feedback: Feedback::Commanded }
        }
        Change::Update { to, rate, strategy: Strategy::Bernoulli } => {
            Change::Update { to, rate, strategy: Strategy::Batch }
        }
        other => other,
    };

    let before = operation.before;
    let mut wanted = Desired::of_one_version(before.instances, before.version as u32);
    (wanted.c, wanted.v) = (before.capacity, before.version);
    let decided: Vec<(f64, f64)> = operation.steps.iter().map(|it| (it.decided_s, of_step(it))).collect();
    let every = match of_file {
        Some(it) => it.every.secs(),
        None => decided.windows(2).next().map_or(0.0, |pair| pair[1].0 - pair[0].0),
    };
    let most = of_file.and_then(|it| it.times).unwrap_or(STEPS_MAX).min(STEPS_MAX);
    let mut closed = Vec::new();
    for k in 0..most {
        let ready = wanted.versions.clone();
        let mut rng = Rng::keyed(run.summary.seed, 0, u64::from(k));
        let turned = iterate(&change, k, service, &mut wanted, Observed::of(&ready), &mut rng);
        if matches!(turned, Iteration::Step | Iteration::Last) {
            let reached = match (&change, value) {
                (_, "S") => wanted.s,
                (_, "C") => wanted.c,
                (Change::Update { strategy: Strategy::Batch, .. }, _) => wanted.v,
                _ => wanted.v_mean(),
            };
            // A recurrence counts steps, not time: a step that waits for instances is later, but reaches no further.
            let last = closed.last().map_or(operation.began_s, |it: &(f64, f64)| it.0 + every);
            closed.push((decided.get(k as usize).map_or(last, |it| it.0), reached));
        }
        if !matches!(turned, Iteration::Step) {
            break;
        }
    }
    let before = match value {
        "S" => f64::from(before.instances),
        "C" => before.capacity,
        _ => before.version,
    };
    let to = if to.is_finite() { to } else { closed.last().map_or(before, |it| it.1) };
    let service = operation.service.clone();
    let (residual, outcome) = (operation.residual, operation.outcome.to_string());
    Some(Form { value, service, rule, before, to, closed, decided, residual, outcome })
}
