//! The stored part of a run: its figures by name, and the verdict on its SLOs.

use meshsim_report::{Latency, Outcome, Summary};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A finished run of a study.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    /// Index of its point, from 0.
    pub point: usize,
    /// Its seed.
    pub seed: u64,
    /// Result of the run.
    #[serde(flatten)]
    pub result: Result,
}

/// Result of a run.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// The run ended.
    Ended(Ended),
    /// The run could not be made, with the reason: the values of its point do not fit each other.
    Broken(String),
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Ended {
    /// Verdict on all its SLOs together.
    pub outcome: Outcome,
    /// SLOs that failed or are unknown, as written in the file.
    pub missed: Vec<String>,
    /// Warning that the run is too short: the times of successive requests are correlated for too long.
    pub is_short: bool,
    /// Figures by name, in the order of the file: `load.users.p99_s`, `services.geo.utilisation`. A figure that the run
    /// does not have, such as a percentile of too few samples, is `null`.
    pub figures: Map<String, Value>,
}

impl Ended {
    /// The stored part of a run with this summary.
    pub fn new(summary: &Summary) -> Self {
        let missed = summary.slo.iter().filter(|verdict| verdict.outcome != Outcome::Pass);
        let is_alike = |load: &meshsim_report::LoadSummary| {
            load.requests.correlation.is_some_and(|correlation| correlation.is_untold())
        };
        let figures = all(summary).map(|(name, figure)| (name, figure.map_or(Value::Null, Value::from)));
        Ended {
            outcome: summary.outcome,
            missed: missed.map(|verdict| verdict.slo.clone()).collect(),
            is_short: summary.loads.iter().any(is_alike),
            figures: figures.collect(),
        }
    }

    /// The figure of this name, if the run has it.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).and_then(Value::as_f64)
    }
}

impl Row {
    /// The run, if it ended.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.result {
            Result::Ended(ended) => Some(ended),
            Result::Broken(_) => None,
        }
    }
}

/// Figures of a load; each name contains its unit.
const OF_LOAD: [&str; 8] = ["offered", "done_per_s", "failed_share", "mean_s", "p50_s", "p90_s", "p99_s", "max_s"];

fn all(summary: &Summary) -> impl Iterator<Item = (String, Option<f64>)> + '_ {
    let loads = summary.loads.iter().flat_map(|load| {
        let requests = &load.requests;
        let ended = requests.done + requests.failed;
        let failed_share = (ended > 0).then(|| requests.failed as f64 / ended as f64);
        let Latency { mean_ns, p50_ns, p90_ns, p99_ns, max_ns, .. } = requests.latency;
        let secs = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64 / 1e9);
        let figures = [
            Some(requests.offered as f64),
            Some(requests.done_per_s),
            failed_share,
            secs(mean_ns),
            secs(p50_ns),
            secs(p90_ns),
            secs(p99_ns),
            secs(max_ns),
        ];
        let name = move |(name, figure)| (format!("load.{}.{name}", load.name), figure);
        OF_LOAD.into_iter().zip(figures).map(name)
    });
    let services = summary.services.iter().flat_map(|service| {
        let figures = [
            ("utilisation", service.utilisation),
            ("waited_mean_s", service.waited_mean_ns.map(|nanos| nanos as f64 / 1e9)),
            ("queue_peak", Some(f64::from(service.queue_peak))),
            ("instances", Some(f64::from(service.values.instances))),
        ];
        let name = move |(name, figure)| (format!("services.{}.{name}", service.name), figure);
        figures.into_iter().map(name)
    });
    let of_mesh = summary.mesh.iter().flat_map(|mesh| {
        let figures = [("cores_busy", mesh.cores_busy), ("memory_bytes", mesh.memory_bytes as f64)];
        figures.map(|(name, figure)| (format!("mesh.{name}"), Some(figure)))
    });
    loads.chain(services).chain(of_mesh)
}

/// Names of all figures that any of these runs has, in order of appearance.
pub fn names<'a>(runs: impl IntoIterator<Item = &'a Ended>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for ended in runs {
        names.extend(ended.figures.keys().map(String::as_str).filter(|name| known.insert(*name)));
    }
    names
}
