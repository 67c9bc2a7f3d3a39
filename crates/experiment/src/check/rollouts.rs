//! Operations: rates that are not stable, roundings that stop short, operations that are refused, and requests that are
//! lost because callers learn too late that an instance goes.

use meshsim_actor::Span;
use meshsim_mesh::model::{
    Amount, Change, EndpointId, Feedback, Operation, Rollout, RolloutStep, Rounding, ServiceId, Strategy,
};
use meshsim_mesh::operation::Iteration;
use meshsim_mesh::rollout::history::Entry;
use serde::Serialize;

use super::capacity::heard_of_after;
use super::timeline::{Course, RolloutMoment, name_of};
use super::{CheckReport, Checked, Warnings, plain, shown, span};

/// A recurrence's rate beside its bound.
#[derive(Clone, Debug, Serialize)]
pub struct Gain {
    /// Its place in [`Mesh::operations`](meshsim_mesh::Mesh::operations).
    pub operation: usize,
    /// `extend` or `update`.
    pub verb: &'static str,
    /// The service.
    pub service: String,
    /// The rate.
    pub rate: f64,
    /// Age of the observed value that it starts from, in steps.
    pub delay: u32,
    /// The rate must stay below this: `2 sin(pi / (2 (2 delay + 1)))`.
    pub bound: f64,
    /// The fastest rate that does not overshoot: `delay^delay / (delay + 1)^(delay + 1)`.
    pub fastest: f64,
}

/// A rollout as it goes if no analysis fails.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutEstimate {
    /// Its index among the operations.
    pub operation: usize,
    /// The service.
    pub service: String,
    /// The new version.
    pub to: u32,
    /// Start time, in seconds.
    pub at: f64,
    /// Time until the old instances go, in seconds; `None`: it does not come so far within the run.
    pub length: Option<f64>,
    /// Its steps, by time.
    pub steps: Vec<RolloutStepEstimate>,
}

/// A step of a rollout, when it begins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutStepEstimate {
    /// Time, in seconds.
    pub at: f64,
    /// In words: `set_weight 20%`.
    pub what: String,
    /// Share of the requests that the new version is to have.
    pub weight: f64,
    /// Instances of the old version that are to run.
    pub old: u32,
    /// Instances of the new version that are to run.
    pub new: u32,
}

/// The rollouts that begin within the run.
pub(super) fn estimates(checked: &Checked<'_>) -> Vec<RolloutEstimate> {
    let mesh = &checked.experiment.mesh;
    let estimate = |course: &Course| {
        let operation = &mesh.operations[course.operation];
        let Change::Rollout(rollout) = &operation.change else { return None };
        let step = |moment: &RolloutMoment| {
            let what = match &moment.what {
                Entry::Step(index) => rollout.steps.get(*index as usize)?.to_string(),
                Entry::Promoting => "all requests to the new version".into(),
                Entry::Paused(_) => "paused until resumed".into(),
                Entry::Resumed => "resumed".into(),
                Entry::Aborted(_) => "aborted".into(),
                Entry::Promoted => "the old instances go".into(),
                Entry::RolledBack => "the new instances go".into(),
                Entry::Measured(_) => return None,
            };
            let (old, new) = moment.instances;
            Some(RolloutStepEstimate { at: shown(moment.at).secs(), what, weight: moment.weight, old, new })
        };
        let end = course.rollout.iter().find(|moment| moment.what == Entry::Promoted);
        Some(RolloutEstimate {
            operation: course.operation,
            service: mesh.service(operation.service).name.clone(),
            to: rollout.to,
            at: shown(course.from).secs(),
            length: end.map(|moment| moment.at.since(course.from).secs()),
            steps: course.rollout.iter().filter_map(step).collect(),
        })
    };
    checked.timeline.courses.iter().filter_map(estimate).collect()
}

/// The largest stable rate of a recurrence whose observed value is `delay` steps old.
pub fn stability_bound(delay: u32) -> f64 {
    2.0 * (std::f64::consts::PI / (2.0 * (2.0 * f64::from(delay) + 1.0))).sin()
}

/// The fastest rate without overshoot of a recurrence whose observed value is `delay` steps old.
pub fn fastest_without_overshoot(delay: u32) -> f64 {
    let d = f64::from(delay);
    if delay == 0 { 1.0 } else { (d / (d + 1.0)).powf(d) / (d + 1.0) }
}

pub(super) fn gains(checked: &Checked<'_>) -> Vec<Gain> {
    let mesh = &checked.experiment.mesh;
    let round_trip = span::round_trip(mesh, &checked.experiment.network);
    let gain = |(index, operation): (usize, &Operation)| {
        let service = mesh.service(operation.service);
        let (rate, delay) = match &operation.change {
            Change::Extend { rate, feedback: Feedback::Commanded, .. } => (*rate, 0),
            Change::Extend { rate, feedback: Feedback::Observed, .. } => {
                // An instance is reported when it is ready.
                let late = round_trip + service.start_delay.secs();
                (*rate, (late / operation.every.secs()).min(1e6) as u32)
            }
            Change::Update { rate, strategy: Strategy::Batch | Strategy::Bernoulli, .. } => (*rate, 0),
            _ => return None,
        };
        Some(Gain {
            operation: index,
            verb: operation.change.kind().as_str(),
            service: service.name.clone(),
            rate,
            delay,
            bound: stability_bound(delay),
            fastest: fastest_without_overshoot(delay),
        })
    };
    mesh.operations.iter().enumerate().filter_map(gain).collect()
}

pub(super) fn look(checked: &Checked<'_>, findings: &CheckReport, warnings: &mut Warnings<'_>) {
    unstable(&findings.gains, warnings);
    for course in &checked.timeline.courses {
        let operation = &checked.experiment.mesh.operations[course.operation];
        let service = checked.experiment.mesh.service(operation.service);
        let line = warnings.line(course.operation);
        match (course.end, &operation.change) {
            (Some(Iteration::Stuck(_)), Change::Extend { to, rate, rounding, .. }) => {
                let message = format!(
                    "extend {} stops at {} of {to}: `rounding: {}` takes no step there at rate {rate}; `away` arrives",
                    service.name,
                    course.reached,
                    rounding_word(*rounding)
                );
                warnings.warn("stuck", line, message);
            }
            (Some(Iteration::Refused), change) => {
                let why = match change {
                    Change::Deploy => "deployed already",
                    Change::Steer(_) => "without a rollout in progress that this operation can change",
                    _ => "not deployed then",
                };
                let what = name_of(operation, &service.name);
                let message = format!("{what} at {} is refused: `{}` is {why}", shown(operation.at), service.name);
                warnings.warn("refused", line, message);
            }
            (Some(Iteration::Reached), Change::Rollout(rollout)) if course.rollout.is_empty() => {
                let message = format!(
                    "{} at {} has nothing to do: all instances are of version {} by then",
                    name_of(operation, &service.name),
                    shown(operation.at),
                    rollout.to
                );
                warnings.warn("rollout", line, message);
            }
            (None, Change::Rollout(rollout)) => {
                let what = name_of(operation, &service.name);
                weight_without_instances(rollout, &what).into_iter().for_each(|it| warnings.warn("rollout", line, it));
            }
            _ => {}
        }
        let estimate = &findings.services[operation.service.index()];
        let share: f64 = course.taken.iter().map(|taken| taken.share).sum();
        let takes_all = operation.change == Change::Undeploy && course.end != Some(Iteration::Refused);
        if let Some(grace) = service.grace
            && (share > 0.0 || takes_all)
            && estimate.rate > 0.0
        {
            let longest = longest(checked, operation.service);
            let what = name_of(operation, &service.name);
            let cut = estimate.rate * share.max(f64::from(u8::from(takes_all))) * (estimate.slot_time - grace.secs());
            if grace < service.drain_delay {
                let message = format!(
                    "`{}` has a grace of {grace}, and its `drain_delay` of {} ends with it: the last requests have no time left",
                    service.name, service.drain_delay
                );
                warnings.warn("grace", line, message);
            }
            if longest > grace.secs() {
                let cut = if cut > 0.0 { format!("some {}", plain(cut)) } else { "a few".into() };
                let message = format!(
                    "{what} at {} cuts requests off after a grace of {grace}, and they take up to {}: {cut} fail",
                    shown(operation.at),
                    Span::from_secs_f64(longest)
                );
                warnings.warn("grace", line, message);
            }
        }
        let late = heard_of_after(checked).secs() - service.drain_delay.secs();
        let unheard = course.taken.iter().map(|taken| taken.share * (late - taken.known_for.secs()).max(0.0));
        let lost = estimate.rate * unheard.sum::<f64>();
        if lost <= 0.0 {
            continue;
        }
        let message = format!(
            "{} at {} takes instances away that are gone after `drain_delay` {}, and callers hear of it after {}: some {} requests are refused",
            name_of(operation, &service.name),
            shown(operation.at),
            service.drain_delay,
            heard_of_after(checked),
            plain(lost)
        );
        warnings.warn("drain", line, message);
    }
}

/// Says that a step gives requests to a version which is to have no instance, if one does.
fn weight_without_instances(rollout: &Rollout, what: &str) -> Option<String> {
    let mut scale = None;
    let step = rollout.steps.iter().position(|step| match step {
        RolloutStep::SetCanaryScale(set) => {
            scale = *set;
            false
        }
        RolloutStep::SetWeight(weight) => *weight > 0.0 && scale.is_some_and(Amount::is_zero),
        RolloutStep::Pause(_) | RolloutStep::Analysis(_) => false,
    })?;
    let end = match rollout.progress_deadline {
        Some(deadline) => format!("is aborted {deadline} after it begins"),
        None => "does not end: without a `progress_deadline` the rollout stays there".into(),
    };
    Some(format!(
        "step {} of {what}, `{}`, {end}. By the `set_canary_scale` before it there is no instance that could take these \
         requests",
        step + 1,
        rollout.steps[step]
    ))
}

/// Longest duration of a request to a service, except for rare outliers, in seconds.
fn longest(checked: &Checked<'_>, service: ServiceId) -> f64 {
    let first = checked.flow.graph.vertex(service, EndpointId(0));
    let endpoints = checked.experiment.mesh.service(service).endpoints.len();
    checked.flow.profiles[first..first + endpoints].iter().map(|profile| profile.long).fold(0.0, f64::max)
}

fn unstable(gains: &[Gain], warnings: &mut Warnings<'_>) {
    for gain in gains.iter().filter(|gain| gain.rate >= gain.bound) {
        let late = match gain.delay {
            0 => String::new(),
            1 => ", 1 step late".to_owned(),
            n => format!(", {n} steps late"),
        };
        let message = format!(
            "{} {} at rate {}{late}, does not settle: it is stable below {:.6}, and fastest without overshoot at {:.6}",
            gain.verb, gain.service, gain.rate, gain.bound, gain.fastest
        );
        warnings.warn("unstable", warnings.line(gain.operation), message);
    }
}

fn rounding_word(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Away => "away",
        Rounding::Nearest => "nearest",
        Rounding::Floor => "floor",
        Rounding::Carry => "carry",
        Rounding::Stochastic => "stochastic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_table() {
        let bounds = [2.0, 1.0, 0.618034, 0.445042, 0.347296, 0.284630];
        let fastest = [1.0, 0.25, 0.148148, 0.105469, 0.081920, 0.066980];
        for (delay, (bound, fast)) in bounds.into_iter().zip(fastest).enumerate() {
            assert!((stability_bound(delay as u32) - bound).abs() < 1e-6, "{delay}");
            assert!((fastest_without_overshoot(delay as u32) - fast).abs() < 1e-6, "{delay}");
        }
    }
}
