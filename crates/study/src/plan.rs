//! The runs of a study: points, each with every seed.

use std::collections::BTreeMap;

use meshsim_actor::Rng;
use meshsim_experiment::{Bundle, Experiment, Override, Problems};
use serde::{Deserialize, Serialize};

use crate::axis::{Axis, VALUES_MAX};
use crate::shard::Shard;

/// Most runs of one plan.
pub const RUNS_MAX: usize = 1_000_000;

/// A plan: an experiment at several points, each with all seeds.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the experiment.
    pub name: String,
    /// The varied keys and seeds, as requested.
    pub varied: Varied,
    /// The experiment without its varied values.
    bundle: Bundle,
    points: Vec<Vec<String>>,
}

/// The varied keys and seeds of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Varied {
    /// Keys of the file with their values.
    pub axes: Vec<Axis>,
    /// Number of points of a Latin hypercube; `None`: the whole grid, in which the last axis varies fastest.
    pub sample: Option<usize>,
    /// The seeds of each point.
    pub seeds: Vec<u64>,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// Index of its point, from 0.
    pub point: usize,
    /// Its seed.
    pub seed: u64,
}

/// Reason why there is no plan.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PlanError {
    /// Too many runs.
    #[error("these are {0} runs, and {RUNS_MAX} are the most")]
    TooMany(usize),
    /// A key varies twice.
    #[error("`{0}` varies twice")]
    Twice(String),
    /// The seed is given as a key: seeds vary separately.
    #[error("the seed does not vary as a value")]
    Seed,
    /// A sample needs an axis.
    #[error("there is nothing to draw {0} points of: no value varies")]
    NoAxis(usize),
    /// The sample is too large.
    #[error("a sample has 1 to {VALUES_MAX} points")]
    Sample,
    /// A value does not fit the file.
    #[error("{0}")]
    Problems(Problems),
}

impl Plan {
    /// Plans the runs of an experiment, and checks each value of each axis once.
    ///
    /// # Errors
    /// If there are too many runs, or a value does not fit the file.
    pub fn new(experiment: &Experiment, varied: Varied) -> Result<Self, PlanError> {
        let axes = &varied.axes;
        if axes.iter().any(|axis| axis.path() == "seed") {
            return Err(PlanError::Seed);
        }
        for (index, axis) in axes.iter().enumerate() {
            if axes[..index].iter().any(|other| other.path() == axis.path()) {
                return Err(PlanError::Twice(axis.path().to_owned()));
            }
        }
        let count = match varied.sample {
            Some(sample) if axes.is_empty() => return Err(PlanError::NoAxis(sample)),
            Some(sample) if !(1..=VALUES_MAX).contains(&sample) => return Err(PlanError::Sample),
            Some(sample) => sample,
            None => axes.iter().map(|axis| axis.values().len()).fold(1, usize::saturating_mul),
        };
        let runs = count.saturating_mul(varied.seeds.len());
        if runs > RUNS_MAX {
            return Err(PlanError::TooMany(runs));
        }
        let points = match varied.sample {
            None => grid(axes),
            Some(sample) => hypercube(axes, sample, experiment.seed),
        };
        let plan = Plan { name: experiment.name.clone(), bundle: experiment.bundle(), varied, points };
        plan.try_values()?;
        Ok(plan)
    }

    /// Checks each value of each axis once, with the first values of the others, so that an invalid one is reported
    /// before the first run.
    fn try_values(&self) -> Result<(), PlanError> {
        let Some(first) = self.points.first() else { return Ok(()) };
        let mut tried: Vec<Vec<&str>> = vec![Vec::new(); first.len()];
        for point in &self.points {
            let is_new = tried.iter_mut().zip(point).fold(false, |is_new, (known, value)| {
                let is_known = known.contains(&value.as_str());
                if !is_known {
                    known.push(value);
                }
                is_new || !is_known
            });
            if is_new {
                self.bundle.read_with(&self.overrides(point)).map_err(PlanError::Problems)?;
            }
        }
        Ok(())
    }

    /// The experiment as read for each run, before its values are set.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Number of points.
    pub fn point_count(&self) -> usize {
        self.points.len()
    }

    /// Values of a point, one for each axis.
    pub fn point(&self, index: usize) -> &[String] {
        &self.points[index]
    }

    /// All runs: by point, then by seed.
    pub fn jobs(&self) -> impl Iterator<Item = Job> + '_ {
        let of = |point| self.varied.seeds.iter().map(move |seed| Job { point, seed: *seed });
        (0..self.points.len()).flat_map(of)
    }

    /// The runs of a shard, in the order of the plan.
    pub fn jobs_of(&self, shard: Shard) -> impl Iterator<Item = Job> + '_ {
        self.jobs().enumerate().filter(move |(place, _)| shard.holds(*place)).map(|(_, job)| job)
    }

    /// Index of each run among all.
    pub(crate) fn places(&self) -> BTreeMap<Job, usize> {
        self.jobs().enumerate().map(|(place, job)| (job, place)).collect()
    }

    /// Reads the experiment of a run.
    ///
    /// # Errors
    /// If the values of its point do not fit each other.
    pub fn experiment(&self, job: Job) -> Result<Experiment, Problems> {
        let mut overrides = self.overrides(&self.points[job.point]);
        overrides.extend(Override::parse(&format!("seed={}", job.seed)));
        self.bundle.read_with(&overrides)
    }

    fn overrides(&self, point: &[String]) -> Vec<Override> {
        let set = |(axis, value): (&Axis, &String)| Override::parse(&format!("{}={value}", axis.path())).ok();
        self.varied.axes.iter().zip(point).filter_map(set).collect()
    }

    /// Identity of this plan: SHA-256 over everything that its results depend on, in hexadecimal. The version of the
    /// program is a part of it.
    pub fn fingerprint(&self) -> String {
        self.fingerprint_by(Some(PROGRAM))
    }

    /// The same by another version of the program; `None`: one that did not count its version.
    pub(crate) fn fingerprint_by(&self, program: Option<&str>) -> String {
        let varied = serde_json::to_vec(&self.varied).unwrap_or_default();
        let files = self.bundle.files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        fingerprint_by(program, [self.bundle.text.as_bytes(), &varied].into_iter().chain(files))
    }
}

/// The version of this program. Another version may give other results for the same experiment and seed.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// SHA-256 over the program's version, these parts, and their lengths, in hexadecimal, as the identity of results.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    fingerprint_by(Some(PROGRAM), parts)
}

fn fingerprint_by<'a>(program: Option<&'a str>, parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in program.map(str::as_bytes).into_iter().chain(parts) {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// This many seeds: the experiment's own, and those that follow it.
pub fn seeds(experiment: &Experiment, count: usize) -> Vec<u64> {
    (0..count as u64).map(|n| experiment.seed.wrapping_add(n)).collect()
}

fn grid(axes: &[Axis]) -> Vec<Vec<String>> {
    let mut points = vec![Vec::new()];
    for values in axes.iter().map(Axis::values) {
        let longer = |point: Vec<String>| {
            values.iter().map(move |value| [&point[..], std::slice::from_ref(value)].concat()).collect::<Vec<_>>()
        };
        points = points.into_iter().flat_map(longer).collect();
    }
    points
}

/// Points of a Latin hypercube: each axis has one point in each of `count` equal parts (McKay, Beckman and Conover
/// 1979).
fn hypercube(axes: &[Axis], count: usize, seed: u64) -> Vec<Vec<String>> {
    let mut points = vec![Vec::new(); count];
    for axis in axes {
        let mut rng = Rng::stream(seed, &format!("sample {}", axis.path()));
        let mut parts: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            parts.swap(at, rng.below(at as u32 + 1) as usize);
        }
        for (point, part) in points.iter_mut().zip(parts) {
            point.push(axis.at((part as f64 + rng.unit()) / count as f64));
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = "
nodes: [ { name: node, count: 2 } ]
duration: 1s
services:
  geo: { instances: 1, capacity: 4, endpoints: { near: { script: [ work: 1ms ] } } }
load:
  users: {to: geo, arrivals: {poisson: 100/s}}
";

    fn experiment() -> Experiment {
        meshsim_experiment::parse("mesh.yaml", FILE, Path::new(""), &[]).unwrap()
    }

    fn varied(axes: &[&str], sample: Option<usize>, seeds: &[u64]) -> Varied {
        let axes = axes.iter().map(|axis| Axis::parse(axis).unwrap()).collect();
        Varied { axes, sample, seeds: seeds.into() }
    }

    #[test]
    fn a_grid_has_each_point_with_each_seed_and_each_run_its_values() {
        let axes = ["services.geo.instances=1,2", "load.users.arrivals.poisson=10..30/s:3"];
        let plan = Plan::new(&experiment(), varied(&axes, None, &[7, 8])).unwrap();
        assert_eq!((plan.point_count(), plan.jobs().count()), (6, 12));
        assert_eq!(plan.point(1), ["1", "20/s"]);
        let job = plan.jobs().nth(3).unwrap();
        assert_eq!(job, Job { point: 1, seed: 8 });
        let one = plan.experiment(job).unwrap();
        assert_eq!(one.seed, 8);
        assert!(one.text.contains("20/s"), "{}", one.text);
    }

    #[test]
    fn a_plan_without_axes_is_one_point() {
        let plan = Plan::new(&experiment(), varied(&[], None, &[1, 2, 3])).unwrap();
        assert_eq!((plan.point_count(), plan.jobs().count()), (1, 3));
    }

    #[test]
    fn a_latin_hypercube_has_one_point_in_each_part_of_each_axis() {
        let axes = ["load.users.arrivals.poisson=0..100/s:2", "services.geo.instances=1..20"];
        let plan = Plan::new(&experiment(), varied(&axes, Some(20), &[1])).unwrap();
        let rate = |point: &[String]| point[0].trim_end_matches("/s").parse::<f64>().unwrap();
        let mut parts: Vec<usize> = (0..20).map(|point| (rate(plan.point(point)) / 5.0) as usize).collect();
        parts.sort_unstable();
        assert_eq!(parts, (0..20).collect::<Vec<_>>());
        let mut instances: Vec<u32> = (0..20).map(|point| plan.point(point)[1].parse().unwrap()).collect();
        instances.sort_unstable();
        assert_eq!(instances, (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn an_invalid_value_is_reported_before_the_first_run() {
        let wrong = Plan::new(&experiment(), varied(&["services.geo.instances=1,two"], None, &[1]));
        assert!(matches!(wrong, Err(PlanError::Problems(_))), "{wrong:?}");
        let unknown = Plan::new(&experiment(), varied(&["services.geos.instances=1,2"], None, &[1]));
        assert!(matches!(unknown, Err(PlanError::Problems(_))), "{unknown:?}");
    }

    #[test]
    fn plans_that_differ_in_anything_have_other_fingerprints() {
        let of = |axes: &[&str], sample, seeds: &[u64]| {
            Plan::new(&experiment(), varied(axes, sample, seeds)).unwrap().fingerprint()
        };
        let axis = "services.geo.instances=1..3";
        let all = [of(&[], None, &[1]), of(&[], None, &[2]), of(&[axis], None, &[1]), of(&[axis], Some(3), &[1])];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one));
        }
        assert_eq!(of(&[axis], None, &[1]), of(&[axis], None, &[1]));
    }

    #[test]
    fn another_version_of_the_program_has_another_fingerprint() {
        let plan = Plan::new(&experiment(), varied(&[], None, &[1])).unwrap();
        let all = [Some(PROGRAM), Some("0.0.1"), None].map(|program| plan.fingerprint_by(program));
        assert_eq!(all[0], plan.fingerprint());
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2], "{all:?}");
    }

    #[test]
    fn too_many_runs_and_a_value_that_varies_twice_are_refused() {
        let twice = varied(&["services.geo.instances=1,2", "services.geo.instances=3"], None, &[1]);
        assert!(matches!(Plan::new(&experiment(), twice), Err(PlanError::Twice(_))));
        assert!(matches!(Plan::new(&experiment(), varied(&["seed=1,2"], None, &[1])), Err(PlanError::Seed)));
        let many = varied(&["duration=1..9999", "services.geo.instances=1..200"], None, &[1]);
        assert!(matches!(Plan::new(&experiment(), many), Err(PlanError::TooMany(1_999_800))));
        assert!(matches!(Plan::new(&experiment(), varied(&[], Some(3), &[1])), Err(PlanError::NoAxis(3))));
    }
}
