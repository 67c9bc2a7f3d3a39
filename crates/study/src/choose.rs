//! One experiment under each mesh technology, with the same seeds.
//!
//! Each technology brings its own proxies and defaults; what the file says holds under all. The runs are those of
//! [`pairs`].

use std::path::PathBuf;

use meshsim_experiment::Experiment;
use meshsim_mesh::model::Technology;
use schemars::JsonSchema;
use serde::Serialize;

use crate::estimate::Estimate;
use crate::pairs::{self, PairsError, Runs};
use crate::plan::Plan;

/// An experiment under several technologies.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Choice {
    /// The version of this format.
    pub format: u32,
    /// Name of the experiment.
    pub name: String,
    /// Seeds of the runs of each technology.
    pub seeds: Vec<u64>,
    /// The technologies, in the order in which they were asked for.
    pub candidates: Vec<Candidate>,
}

/// One technology.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Candidate {
    /// Its word in the file.
    pub technology: &'static str,
    /// Figures of each load.
    pub loads: Vec<LoadFigures>,
    /// Cores that its proxies keep busy.
    pub cores: Option<Estimate>,
    /// Memory of its proxies, in bytes.
    pub memory_bytes: Option<Estimate>,
    /// Price of both, in the unit of the prices and for the time that they are for; `null` without prices.
    pub price: Option<f64>,
    /// For each SLO of the file, the number of runs in which it holds.
    pub slos: Vec<(String, usize)>,
    /// Number of runs.
    pub runs: usize,
    /// Settings of the file that it cannot carry out: the applications would have to.
    pub left_to_applications: Vec<String>,
    /// The published measurements to which its model was compared; `null`: none, it is not validated.
    pub validated: Option<&'static str>,
}

/// Figures of a load.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct LoadFigures {
    /// Its name.
    pub name: String,
    /// Median latency, in seconds.
    pub p50_s: Option<Estimate>,
    /// 90th percentile.
    pub p90_s: Option<Estimate>,
    /// 99th percentile.
    pub p99_s: Option<Estimate>,
    /// Share of the requests that failed.
    pub failed_share: Option<Estimate>,
}

/// Prices of a user, for any time and in any currency.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prices {
    /// Of a core.
    pub core: f64,
    /// Of a GiB of memory.
    pub gib: f64,
}

/// Published measurements to which the model of a technology was compared.
pub fn validated(technology: Technology) -> Option<&'static str> {
    match technology {
        Technology::None | Technology::SidecarEnvoy => Some("Istio's harness, August 2020: examples/choose"),
        _ => None,
    }
}

/// Runs the experiments, one for each technology, and compares them; the arguments are those of [`pairs::run`].
///
/// # Errors
/// If a run could not be made or stored, or the comparison was stopped.
pub fn run(
    candidates: &[(Technology, Experiment)],
    count: usize,
    threads: usize,
    prices: Option<Prices>,
    folder: impl Fn(&Plan) -> Option<PathBuf>,
    at: impl Fn(usize) -> bool,
) -> Result<Choice, PairsError> {
    let named: Vec<(String, Experiment)> =
        candidates.iter().map(|(technology, it)| (technology.name().to_owned(), it.clone())).collect();
    let found = pairs::runs(&named, count, threads, folder, at)?;
    let seeds = found.first().map_or_else(Vec::new, |(.., runs)| runs.iter().map(|(seed, _)| *seed).collect());
    let of = |((technology, _), (_, experiment, runs)): (&(Technology, Experiment), &(String, &Experiment, Runs))| {
        candidate(*technology, experiment, runs, prices)
    };
    let name = candidates.first().map_or_else(String::new, |(_, experiment)| experiment.name.clone());
    Ok(Choice { format: 1, name, seeds, candidates: candidates.iter().zip(&found).map(of).collect() })
}

fn candidate(technology: Technology, experiment: &Experiment, runs: &Runs, prices: Option<Prices>) -> Candidate {
    let figure = |name: &str| {
        let figures: Vec<f64> = runs.iter().filter_map(|(_, ended)| ended.figure(name)).collect();
        Estimate::new(&figures)
    };
    let of_load = |name: &str| {
        let of = |what: &str| figure(&format!("load.{name}.{what}"));
        LoadFigures {
            name: name.to_owned(),
            p50_s: of("p50_s"),
            p90_s: of("p90_s"),
            p99_s: of("p99_s"),
            failed_share: of("failed_share"),
        }
    };
    let (cores, memory_bytes) = (figure("mesh.cores_busy"), figure("mesh.memory_bytes"));
    let mean = |estimate: Option<Estimate>| estimate.map_or(0.0, |it| it.mean);
    let price = |prices: Prices| mean(cores) * prices.core + mean(memory_bytes) / f64::from(1 << 30) * prices.gib;
    let held = |slo: &str| runs.iter().filter(|(_, ended)| !ended.missed.iter().any(|missed| missed == slo)).count();
    Candidate {
        technology: technology.name(),
        loads: experiment.mesh.loads.iter().map(|load| of_load(&load.name)).collect(),
        cores,
        memory_bytes,
        price: prices.map(price),
        slos: experiment.slos.iter().map(|slo| (slo.text.clone(), held(&slo.text))).collect(),
        runs: runs.len(),
        left_to_applications: experiment.left_to_applications.clone(),
        validated: validated(technology),
    }
}
