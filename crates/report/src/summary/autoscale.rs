//! Autoscalers of a run.

use std::borrow::Cow;

use meshsim_experiment::Experiment;
use meshsim_mesh::autoscale::Standing;
use meshsim_mesh::model::ServiceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Measured;

/// The acts of the autoscaler of a service.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct AutoscalerSummary {
    /// The service.
    pub service: Cow<'static, str>,
    /// Its kind: `hpa`, `knative`, `keda` or `capacity`. The figures of the last are slots of an instance, and those of
    /// the others instances.
    #[serde(default)]
    pub kind: Cow<'static, str>,
    /// Times at which a decision was due.
    pub looks: u64,
    /// Decisions that added instances.
    pub up: u64,
    /// Decisions that removed instances.
    pub down: u64,
    /// Changes of direction: a decision that undoes a part of the one before it.
    pub turns: u64,
    /// Fewest and most instances that it wanted; `null` if it changed nothing.
    pub range: Option<(u32, u32)>,
    /// Of the looks, those at which no instance that was ready had a measurement.
    pub blind: u64,
    /// Of the looks, those at which some instances had no measurement.
    pub partly_blind: u64,
    /// Of the looks, those at which it was switched off.
    #[serde(default)]
    pub off: u64,
    /// Of the looks of Knative, those at which its activator would have been in the path of requests.
    #[serde(default)]
    pub proxied: u64,
    /// Decisions that the coordinator refused.
    pub refused: u64,
    /// Its decisions, in order.
    pub decisions: Vec<DecisionSummary>,
    /// Further decisions that are not listed.
    pub left_out: u64,
}

/// A decision of an autoscaler.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct DecisionSummary {
    /// Its time.
    pub at_s: f64,
    /// Instances that were wanted.
    pub from: u32,
    /// Instances that were wanted from then on.
    pub to: u32,
    /// Instances that the signal asked for, before the limits; `null` if too few or too many were wanted, whatever it
    /// was.
    pub asked: Option<u32>,
    /// The signal that it was made of, in the unit of the target; `null` if there was none.
    #[serde(default)]
    pub signal: Option<f64>,
}

pub(super) fn autoscalers(experiment: &Experiment, measured: &Measured) -> Vec<AutoscalerSummary> {
    measured.autoscalers.iter().map(|(service, standing)| of(*service, standing, experiment)).collect()
}

fn of(service: ServiceId, standing: &Standing, experiment: &Experiment) -> AutoscalerSummary {
    let decisions = &standing.decisions;
    let turns = decisions.windows(2).filter(|pair| (pair[0].to > pair[0].from) != (pair[1].to > pair[1].from)).count();
    let wanted = || decisions.iter().map(|it| it.to);
    AutoscalerSummary {
        service: experiment.mesh.service(service).name.clone().into(),
        kind: experiment.mesh.service(service).autoscale.as_deref().map_or("", |it| it.by.as_str()).into(),
        looks: standing.looks,
        up: decisions.iter().filter(|it| it.to > it.from).count() as u64,
        down: decisions.iter().filter(|it| it.to < it.from).count() as u64,
        turns: turns as u64,
        range: wanted().min().zip(wanted().max()),
        blind: standing.blind,
        partly_blind: standing.partly_blind,
        off: standing.off,
        proxied: standing.proxied,
        refused: standing.refused,
        decisions: decisions
            .iter()
            .map(|it| {
                let (at_s, from, to) = (it.at.secs(), it.from, it.to);
                DecisionSummary { at_s, from, to, asked: it.asked, signal: it.signal }
            })
            .collect(),
        left_out: standing.left_out,
    }
}
