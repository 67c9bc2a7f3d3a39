//! Comparison of configurations that run with the same seeds.
//!
//! With one seed, two configurations see the same arrivals and the same faults. So the difference of a figure is taken
//! seed by seed, and its interval is that of the differences: randomness that both share does not widen it (common
//! random numbers: Law, *Simulation Modeling and Analysis*, 11.2).

use std::path::PathBuf;

use meshsim_experiment::{Experiment, Problems};
use schemars::JsonSchema;
use serde::Serialize;

use crate::estimate::{CONFIDENCE, Estimate};
use crate::figures::{Ended, Row, names};
use crate::plan::{self, Plan, PlanError, Varied};
use crate::store::{self, Store, StoreError};
use crate::sweep;

/// Configurations, compared with the first.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Pairs {
    /// The version of this format.
    pub format: u32,
    /// The configurations; the first is the base.
    pub configurations: Vec<Configuration>,
    /// Seeds of the runs of each.
    pub seeds: Vec<u64>,
    /// Figures of any configuration.
    pub figures: Vec<FigurePairs>,
    /// Number of significant differences in figures of loads.
    pub marked: usize,
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Configuration {
    /// Its name: its file, or the values that are set in it.
    pub name: String,
    /// Its differences from the base, as paths and values.
    pub differences: Vec<String>,
    /// Number of runs in which all SLOs hold.
    pub passed: usize,
    /// Number of runs that ended.
    pub runs: usize,
}

/// One figure in all configurations.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct FigurePairs {
    /// Name of the figure: `load.users.p99_s`.
    pub name: String,
    /// Mean in each configuration; `null` where no run has the figure.
    pub estimates: Vec<Option<Estimate>>,
    /// Difference from the base of each other configuration, over the seeds for which both have the figure.
    pub differences: Vec<Option<Difference>>,
}

/// Difference of a configuration from the base.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Difference {
    /// Mean of the differences, seed by seed, with the interval of this figure alone.
    pub estimate: Estimate,
    /// True if the difference is significant. Over all figures of loads of two configurations that do not differ, at
    /// most 5 % of comparisons mark any (Holm 1979). Figures of services are never marked.
    pub is_marked: bool,
}

/// Reason why configurations were not compared.
#[derive(Debug, thiserror::Error)]
pub enum PairsError {
    /// One of them is invalid for some seed.
    #[error("{0}")]
    Problems(Problems),
    /// A run could not be made.
    #[error("{0}")]
    Broken(String),
    /// A run could not be stored.
    #[error("{0}")]
    Kept(#[from] StoreError),
    /// The comparison was stopped.
    #[error("the comparison was ended before its time")]
    Stopped,
}

/// Runs named configurations, with `count` seeds each, on `threads` threads, and compares them with the first.
///
/// The seeds are the first one's own and those that follow it. `at` gets the number of finished runs, ten times a
/// second, and returns whether to continue.
///
/// `folder` names the folder in which the runs of a configuration are stored as they end, if any: an interrupted
/// comparison continues from there. It is removed at the end.
///
/// # Errors
/// If a run could not be made or stored, or the comparison was stopped.
pub fn run(
    configurations: &[(String, Experiment)],
    count: usize,
    threads: usize,
    folder: impl Fn(&Plan) -> Option<PathBuf>,
    at: impl Fn(usize) -> bool,
) -> std::result::Result<Pairs, PairsError> {
    Ok(Pairs::new(&runs(configurations, count, threads, folder, at)?))
}

/// Runs of a named configuration.
pub type Found<'a> = (String, &'a Experiment, Runs);

/// Runs named configurations as [`run`] does, without comparing them.
///
/// # Errors
/// If a run could not be made or stored, or the runs were stopped.
pub fn runs<'a>(
    configurations: &'a [(String, Experiment)],
    count: usize,
    threads: usize,
    folder: impl Fn(&Plan) -> Option<PathBuf>,
    at: impl Fn(usize) -> bool,
) -> std::result::Result<Vec<Found<'a>>, PairsError> {
    let Some((_, base)) = configurations.first() else { return Ok(Vec::new()) };
    let seeds = plan::seeds(base, count);
    let varied = Varied { seeds: seeds.clone(), ..Varied::default() };
    let plan = |(_, experiment): &(String, Experiment)| Plan::new(experiment, varied.clone());
    let plans = configurations.iter().map(plan).collect::<Result<Vec<_>, _>>();
    let plans = plans.map_err(|error| match error {
        PlanError::Problems(problems) => PairsError::Problems(problems),
        other => PairsError::Broken(other.to_string()),
    })?;
    let (mut found, mut before) = (Vec::new(), 0);
    for ((name, experiment), plan) in configurations.iter().zip(&plans) {
        let (mut store, rows) = match folder(plan).map(|folder| Store::open(&folder, plan)).transpose()? {
            Some((store, rows)) => (Some(store), rows),
            None => (None, Vec::new()),
        };
        let keep = |row: &Row| match &row.result {
            crate::figures::Result::Broken(why) => Err(PairsError::Broken(why.clone())),
            crate::figures::Result::Ended(_) => store.as_mut().map_or(Ok(()), |store| Ok(store.keep(row)?)),
        };
        let rows = sweep::run(plan, rows, threads, keep, |done| at(before + done))?;
        if rows.len() < count {
            return Err(PairsError::Stopped);
        }
        before += rows.len();
        let runs: Runs = rows.into_iter().filter_map(|row| Some((row.seed, row.ended()?.clone()))).collect();
        found.push((name.clone(), experiment, runs));
    }
    // Equal configurations share a folder.
    for folder in plans.iter().filter_map(folder).filter(|folder| store::is_study(folder)) {
        store::remove(&folder)?;
    }
    Ok(found)
}

/// Runs of one configuration, by seed.
pub type Runs = Vec<(u64, Ended)>;

impl Pairs {
    /// Compares configurations with the first. Each has its name, its experiment and its runs.
    pub fn new(configurations: &[(String, &Experiment, Runs)]) -> Self {
        let Some((_, base, base_runs)) = configurations.first() else {
            return Pairs { format: 1, configurations: vec![], seeds: vec![], figures: vec![], marked: 0 };
        };
        let of = |(name, experiment, runs): &(String, &Experiment, Runs)| Configuration {
            name: name.clone(),
            differences: meshsim_experiment::differences(base, experiment),
            passed: runs.iter().filter(|(_, ended)| ended.outcome == meshsim_report::Outcome::Pass).count(),
            runs: runs.len(),
        };
        let names = names(configurations.iter().flat_map(|(_, _, runs)| runs).map(|(_, ended)| ended));
        let mut figures: Vec<FigurePairs> = names.iter().map(|name| figure(name, configurations)).collect();
        let mut marked = 0;
        for other in 1..configurations.len() {
            marked += mark(&mut figures, other, configurations);
        }
        Pairs {
            format: 1,
            configurations: configurations.iter().map(of).collect(),
            seeds: base_runs.iter().map(|(seed, _)| *seed).collect(),
            figures,
            marked,
        }
    }
}

fn figure(name: &str, configurations: &[(String, &Experiment, Runs)]) -> FigurePairs {
    let estimate = |runs: &Runs| {
        let figures: Vec<f64> = runs.iter().filter_map(|(_, ended)| ended.figure(name)).collect();
        Estimate::new(&figures)
    };
    let difference = |runs: &Runs| {
        let estimate = Estimate::new(&differences(name, &configurations[0].2, runs))?;
        Some(Difference { estimate, is_marked: false })
    };
    FigurePairs {
        name: name.to_owned(),
        estimates: configurations.iter().map(|(_, _, runs)| estimate(runs)).collect(),
        differences: configurations[1..].iter().map(|(_, _, runs)| difference(runs)).collect(),
    }
}

/// Differences of a figure, for each seed for which both runs have it.
fn differences(name: &str, base: &Runs, other: &Runs) -> Vec<f64> {
    let of = |(seed, ended): &(u64, Ended)| {
        let (_, theirs) = other.iter().find(|(theirs, _)| theirs == seed)?;
        Some(theirs.figure(name)? - ended.figure(name)?)
    };
    base.iter().filter_map(of).collect()
}

/// Marks the significant differences in figures of loads; returns their number.
///
/// Holm's procedure: the interval of the clearest difference must exclude zero at a confidence of 1 - 5 % / m, that of
/// the next at 1 - 5 % / (m - 1), and so on, until one does not.
fn mark(figures: &mut [FigurePairs], other: usize, configurations: &[(String, &Experiment, Runs)]) -> usize {
    let (base, runs) = (&configurations[0].2, &configurations[other].2);
    let is_meant = |figure: &FigurePairs| figure.name.starts_with("load.");
    // Clearness: the mean in units of its half width.
    let clearness = |figure: &FigurePairs| {
        let estimate = figure.differences[other - 1]?.estimate;
        let half = estimate.half_width?;
        let is_nothing = estimate.mean == 0.0;
        (!is_nothing).then(|| if half > 0.0 { estimate.mean.abs() / half } else { f64::INFINITY })
    };
    let mut order: Vec<(f64, usize)> = figures
        .iter()
        .enumerate()
        .filter(|(_, figure)| is_meant(figure))
        .filter_map(|(index, figure)| Some((clearness(figure)?, index)))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut marked = 0;
    for (place, (_, index)) in order.iter().enumerate() {
        let left = (order.len() - place) as f64;
        let confidence = 1.0 - (1.0 - CONFIDENCE) / left;
        let of = differences(&figures[*index].name, base, runs);
        if !Estimate::with_confidence(&of, confidence).is_some_and(|it| it.differs_from_zero()) {
            break;
        }
        if let Some(difference) = &mut figures[*index].differences[other - 1] {
            difference.is_marked = true;
            marked += 1;
        }
    }
    marked
}
