//! Summary of a rollout: its state, and its events.

use std::borrow::Cow;

use meshsim_actor::Span;
use meshsim_mesh::model::{Analysis, AnalysisMetric, Check, Rollout, RolloutStep};
use meshsim_mesh::rollout::history::{
    AbortReason, Checked, Entry, Measurement, MeasurementVerdict, PauseReason, RolloutHistory,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::show::{count, percent};

/// History of a rollout.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct RolloutSummary {
    /// Number of its steps.
    pub step_count: usize,
    /// The step in progress, from 1; `null` once all are done.
    pub step: Option<usize>,
    /// The step in words: `set_weight 20%`.
    pub step_text: Option<String>,
    /// Share of the requests that the new version is to have.
    pub weight: f64,
    /// Reason of its pause; `null` if it is not paused.
    #[schemars(extend("enum" = PAUSES))]
    pub paused: Option<Cow<'static, str>>,
    /// Reason for which it went back to the old version; `null` if it did not.
    #[schemars(extend("enum" = ABORTS))]
    pub aborted: Option<Cow<'static, str>>,
    /// What happened, by time.
    pub entries: Vec<RolloutEntry>,
    /// Further entries that are not listed.
    pub left_out: u64,
}

const PAUSES: [Option<&str>; 4] = [Some("step"), Some("manual"), Some("inconclusive"), None];
const ABORTS: [Option<&str>; 4] = [Some("analysis"), Some("manual"), Some("deadline"), None];
const ENTRIES: [&str; 8] = ["step", "promoting", "measured", "paused", "resumed", "aborted", "promoted", "rolled_back"];
const VERDICTS: [&str; 3] = ["successful", "failed", "inconclusive"];

/// An event of a rollout.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct RolloutEntry {
    /// Its time.
    pub at_s: f64,
    /// Its kind.
    #[schemars(extend("enum" = ENTRIES))]
    pub kind: Cow<'static, str>,
    /// In words.
    pub what: String,
    /// The step that began, or whose analysis measured, from 1; `null` for an analysis in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The measurement, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<MeasurementSummary>,
}

/// A measurement of an analysis.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct MeasurementSummary {
    /// Its result.
    #[schemars(extend("enum" = VERDICTS))]
    pub verdict: Cow<'static, str>,
    /// Requests of the new version that ended in its window.
    pub requests: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Nodes with instances of the new version that had not answered lately.
    pub nodes_missing: u32,
    /// By condition.
    pub checks: Vec<CheckSummary>,
}

/// A condition at a measurement.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct CheckSummary {
    /// As it is written in the file.
    pub condition: String,
    /// The figure of the new version: seconds, or a share; `null`: no request gives one.
    pub value: Option<f64>,
    /// That of the old version, if it is compared with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<f64>,
    /// True if the condition holds; `null`: unknown.
    pub holds: Option<bool>,
}

impl RolloutSummary {
    pub(super) fn of(rollout: &Rollout, history: &RolloutHistory) -> Self {
        let index = history.step as usize;
        let step = rollout.steps.get(index);
        let entry = |(at, entry): &(meshsim_actor::Time, Entry)| entry_of(rollout, at.secs(), entry);
        RolloutSummary {
            step_count: rollout.steps.len(),
            step: step.map(|_| index + 1),
            step_text: step.map(RolloutStep::to_string),
            weight: history.weight,
            paused: history.paused.map(|reason| reason.as_str().into()),
            aborted: history.aborted.map(|reason| reason.as_str().into()),
            entries: history.entries.iter().map(entry).collect(),
            left_out: history.left_out,
        }
    }

    /// Where it stands, in words: `step 2 of 5, set_weight 20%, paused: inconclusive`.
    pub fn standing(&self) -> String {
        let mut words = match (&self.aborted, self.step, &self.step_text) {
            (Some(reason), ..) => format!("aborted: {reason}"),
            (None, Some(step), Some(text)) => format!("step {step} of {}, {text}", self.step_count),
            (None, ..) => "all steps done".into(),
        };
        if let Some(reason) = &self.paused {
            words += &format!(", paused: {reason}");
        }
        words
    }
}

fn entry_of(rollout: &Rollout, at_s: f64, entry: &Entry) -> RolloutEntry {
    let plain = |kind: &'static str, what: &str| RolloutEntry {
        at_s,
        kind: kind.into(),
        what: what.into(),
        step: None,
        measurement: None,
    };
    match entry {
        Entry::Step(index) => {
            let text = rollout.steps.get(*index as usize).map_or_else(String::new, RolloutStep::to_string);
            let step = *index as usize + 1;
            let what = format!("step {step} of {}, {text}", rollout.steps.len());
            RolloutEntry { step: Some(step), ..plain("step", &what) }
        }
        Entry::Promoting => plain("promoting", "all steps done: the new version is to get all requests"),
        Entry::Measured(measurement) => measured(rollout, measurement, plain("measured", "")),
        Entry::Paused(reason) => plain(
            "paused",
            match reason {
                PauseReason::Step => "paused by its step, until it is resumed",
                PauseReason::Manual => "paused by an operation, until it is resumed",
                PauseReason::Inconclusive => "paused: the analysis is inconclusive; until it is resumed or aborted",
            },
        ),
        Entry::Resumed => plain("resumed", "resumed"),
        Entry::Aborted(reason) => plain(
            "aborted",
            match reason {
                AbortReason::Analysis => "aborted: the analysis failed; all requests go to the old version",
                AbortReason::Manual => "aborted by an operation; all requests go to the old version",
                AbortReason::Deadline => {
                    "aborted: instances are not ready within the progress deadline; all requests go to the old version"
                }
            },
        ),
        Entry::Promoted => plain("promoted", "promoted: the old instances go"),
        Entry::RolledBack => plain("rolled_back", "rolled back: the new instances go"),
    }
}

fn measured(rollout: &Rollout, it: &Measurement, entry: RolloutEntry) -> RolloutEntry {
    let analysis: Option<&Analysis> = match it.step {
        None => rollout.analysis.as_ref(),
        Some(step) => match rollout.steps.get(step as usize) {
            Some(RolloutStep::Analysis(analysis)) => Some(analysis),
            _ => None,
        },
    };
    let conditions = || analysis.iter().flat_map(|analysis| &analysis.checks).zip(&it.checks);
    let figures: Vec<String> = conditions().map(|(check, checked)| in_words(check, *checked)).collect();
    let missing = match it.nodes {
        (_, 0) => String::new(),
        (answered, missing) => format!(", {missing} of {} nodes without an answer", answered + missing),
    };
    let of = if it.step.is_some() { "" } else { " in the background" };
    let verdict = it.verdict.as_str();
    let requests = count(it.requests);
    let what = format!("analysis{of} {verdict}: {} ({requests} requests{missing})", figures.join(", "));
    let summary = MeasurementSummary {
        verdict: verdict.into(),
        requests: it.requests,
        failed: it.failed,
        nodes_missing: it.nodes.1,
        checks: conditions()
            .map(|(check, Checked { value, old, holds })| CheckSummary {
                condition: check.text.to_string(),
                value: *value,
                old: *old,
                holds: *holds,
            })
            .collect(),
    };
    RolloutEntry { what, step: it.step.map(|step| step as usize + 1), measurement: Some(summary), ..entry }
}

/// A condition with its figures: `p99 < 80ms is 120ms`.
fn in_words(check: &Check, Checked { value, old, .. }: Checked) -> String {
    let figure = |value: Option<f64>| match (value, check.metric) {
        (None, _) => "unknown".into(),
        (Some(value), AnalysisMetric::Errors | AnalysisMetric::Within(_)) => percent(value),
        (Some(value), AnalysisMetric::Quantile(_) | AnalysisMetric::Mean) => Span::from_secs_f64(value).to_string(),
    };
    let old = if check.of_old { format!(", of old {}", figure(old)) } else { String::new() };
    format!("`{}` is {}{old}", check.text, figure(value))
}

impl RolloutEntry {
    /// True for a measurement that failed, and for an abort.
    pub fn is_bad(&self) -> bool {
        let has_failed = |it: &MeasurementSummary| it.verdict == MeasurementVerdict::Failed.as_str();
        self.kind == "aborted" || self.measurement.as_ref().is_some_and(has_failed)
    }
}
