//! Results of a run, as plain data: a file for each kind of results, and [`Summary`], which holds them all.

mod autoscale;
mod measured;
mod operations;
mod proxies;
mod requests;
mod rollout;
mod services;
mod traffic;

use meshsim_experiment::{Experiment, ModelSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::autoscale::{AutoscalerSummary, DecisionSummary};
pub use self::measured::Measured;
pub(crate) use self::operations::operations;
pub use self::operations::{OperationSummary, StepSummary, Values};
pub use self::proxies::{MeshSummary, ProxySummary};
pub use self::requests::{FailureCounts, JourneySummary, LoadSummary, Requests, TargetSummary};
pub(crate) use self::requests::{per_second, planned_time, requests};
pub use self::rollout::{CheckSummary, MeasurementSummary, RolloutEntry, RolloutSummary};
pub use self::services::{BlockSummary, CacheSummary, EdgeSummary, NodeSummary, QueueSummary, ServiceSummary};
pub use self::traffic::Traffic;

use self::operations::Course;
use crate::gap::GapSummary;
use crate::generator::{self, GeneratorSummary};
use crate::outside::Outside;
use crate::real_work::RealWork;
use crate::verdict::{Outcome, Verdict};

/// The version of summary.json's format that is written and read.
pub(crate) const FORMAT: u32 = 2;

/// Results of a run. Durations end in `_ns` (nanoseconds) or `_s` (seconds), rates in `_per_s`; shares are parts of
/// one. Format 2 added `gaps`, `outside`, `at_least` and the outcome `unknown`. Nothing in it depends on the machine or
/// on how long the run took.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub struct Summary {
    /// The version of this format.
    #[serde(deserialize_with = "crate::read::this_format")]
    pub format: u32,
    /// Name of the experiment.
    pub name: String,
    /// Seed of all its randomness.
    pub seed: u64,
    /// Planned duration: in virtual time if it was simulated, by the wall clock if it was live.
    pub duration_s: f64,
    /// Time reached.
    pub reached_s: f64,
    /// True if the run ended early. All figures are then those until the time reached.
    pub cut_short: bool,
    /// Size of the simulated model.
    pub simulated: ModelSize,
    /// Operations, in the order in which they began; the coordinator's repairs are among them.
    pub operations: Vec<OperationSummary>,
    /// Loads.
    pub loads: Vec<LoadSummary>,
    /// Services, in the order of the file.
    pub services: Vec<ServiceSummary>,
    /// Usage of the cores, of each node that computed, in the order of the file.
    #[serde(default)]
    pub nodes: Vec<NodeSummary>,
    /// Real work: the processor time that the machines provided, compared with the time requested; `null` where work is
    /// a timer, as in every simulated run.
    #[serde(default)]
    pub real_work: Option<RealWork>,
    /// Lateness of the processes that sent the requests of a live run; empty if it was simulated.
    #[serde(default)]
    pub generators: Vec<GeneratorSummary>,
    /// Calls by edge of the call graph: the edges that were used, in the order of the file.
    #[serde(default)]
    pub calls: Vec<EdgeSummary>,
    /// Technology of the mesh, and what its proxies took; `null` if the file names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshSummary>,
    /// Autoscalers, in the order of the services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub autoscalers: Vec<AutoscalerSummary>,
    /// Missing measurements.
    #[serde(default)]
    pub gaps: Vec<GapSummary>,
    /// External changes to a live run; empty if it was simulated.
    #[serde(default)]
    #[serde(alias = "outside")]
    pub external: Outside,
    /// Totals of the run.
    pub traffic: Traffic,
    /// Verdicts of the SLOs.
    pub slo: Vec<Verdict>,
    /// Reason why the figures of a live run are not those of the mesh: its generator fell behind its plan. `null` if
    /// they are, as in every simulated run.
    #[serde(default)]
    pub invalid: Option<String>,
    /// Combined outcome of the lines of `slo`: the worst, `fail` before `unknown`; `pass` if there are none. Always
    /// `unknown` if the run is `invalid`.
    pub outcome: Outcome,
}

impl Summary {
    /// Adds up the measurements. `cut_short`: the run ended before its planned duration.
    pub fn new(experiment: &Experiment, measured: &Measured, cut_short: bool) -> Self {
        let slo: Vec<Verdict> = experiment
            .slos
            .iter()
            .enumerate()
            .map(|(index, slo)| Verdict::new(index, slo, experiment, measured))
            .collect();
        let values = Course::new(experiment, &measured.history);
        let outcome = slo.iter().map(|verdict| verdict.outcome).max().unwrap_or_default();
        let loads = (0..experiment.mesh.loads.len()).filter(|_| measured.is_live);
        let invalid = loads.into_iter().find_map(|load| generator::too_late(load, experiment, measured));
        Summary {
            format: FORMAT,
            name: experiment.name.clone(),
            seed: experiment.seed,
            duration_s: experiment.duration.secs(),
            reached_s: measured.now.secs(),
            cut_short,
            simulated: ModelSize::new(experiment),
            operations: operations(experiment, measured),
            loads: requests::loads(experiment, measured),
            services: services::services(experiment, measured, &values),
            nodes: services::nodes(experiment, measured),
            generators: generator::generators(experiment, measured),
            calls: services::calls(experiment, measured),
            mesh: MeshSummary::new(experiment, measured, &values),
            autoscalers: autoscale::autoscalers(experiment, measured),
            real_work: RealWork::new(&experiment.mesh, &measured.real_work),
            gaps: measured.gaps.iter().map(|gap| GapSummary::new(gap, experiment)).collect(),
            external: Outside::new(experiment, measured),
            traffic: measured.traffic,
            outcome: if invalid.is_some() { Outcome::Unknown } else { outcome },
            invalid,
            slo,
        }
    }
}

/// Figures of other processes may be anything.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}
