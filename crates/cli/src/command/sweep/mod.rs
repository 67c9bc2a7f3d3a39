//! `meshsim sweep`

mod script;
mod shard;

use std::path::{Path, PathBuf};

use meshsim_experiment::Experiment;
use meshsim_study::axis::Axis;
use meshsim_study::estimate;
use meshsim_study::plan::{Plan, Varied, seeds};
use meshsim_study::shard::Wanted;
use meshsim_study::store::{self, Store};
use meshsim_study::sweep::{self, PointSummary};

use self::script::Engine;
use super::{Source, Workers};
use crate::error::{Error, Exit};
use crate::interrupt;
use crate::memory;
use crate::progress::Counted;
use crate::runs;
use crate::screen::Screen;
use crate::study;

pub(super) const ABOUT: &str = "Run an experiment at many points: a grid or a sample of its values";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim sweep mesh.yaml --vary services.geo.instances=1..4
  meshsim sweep mesh.yaml --vary load.users.arrivals.poisson=100..1000/s:10 \\
                          --vary services.geo.balancer=random,round_robin --seeds 5
  meshsim sweep mesh.yaml --vary services.geo.capacity=2..8 --vary duration=10..60s:2 --sample 20
  meshsim sweep runs/hotel-sweep.1b2c3d4e              # continues an interrupted sweep, gathers shards
  meshsim sweep mesh.yaml --seeds 200 --out many --shard 2/8          # the second of eight parts
  meshsim sweep mesh.yaml --seeds 200 --out many --script slurm > many.sh && sbatch many.sh

A path is that of --set. Its values are a list (1,2,4; commas inside of brackets do not split), each \
whole number of a range (1..4), or a number of values from one end to the other (100..1000/s:10). Several \
--vary make a grid; --sample N draws N points of a Latin hypercube instead: each value of each axis occurs. All points run with the same seeds, the file's and those that follow it, on all cores.

The folder has points.csv (a row for each point: means, and half the width of their 95% intervals) and \
runs.csv (a row for each run). Runs are kept as they end: Ctrl-C loses those in progress, and `meshsim \
sweep FOLDER` continues it. The same sweep gives the same bytes, on any number of cores and after any \
interruptions.

--shard I/N runs one of N parts, on any machine that sees the folder, at any time, and again: it writes \
shards/I-of-N.jsonl, and skips runs that are there. With auto/N the number is the one that the engine gives this task: \
that of a Slurm, PBS, Grid Engine, HyperQueue or AWS Batch array, a Kubernetes Indexed Job, or MPI. `meshsim sweep \
FOLDER` gathers the shards, and makes the runs that are missing. --script prints the script of an array job, or the \
manifest of an Indexed Job.

An SLO that does not hold is a result here, not a failure. Exit codes: 0 all points were run, 1 failed, 2 \
the experiment is invalid, 130 interrupted.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Vary a value of the file: `services.geo.instances=1,2,4`. May be repeated
    #[arg(long, value_name = "PATH=VALUES", value_parser = Axis::parse)]
    vary: Vec<Axis>,
    /// Draw this number of points from a Latin hypercube, instead of the grid
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Number of seeds per point
    #[arg(long, value_name = "N", value_parser = super::seed_count)]
    seeds: Option<usize>,
    /// Write the sweep to this folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print all points with all figures as JSON
    #[arg(long)]
    json: bool,
    /// Make the runs of one part of the sweep: `2/8`, or `auto/8` for the number that an engine gives this task
    #[arg(long, value_name = "I/N", value_parser = str::parse::<Wanted>)]
    shard: Option<Wanted>,
    /// Print what makes an engine run the sweep in shards; `--shard auto/N` says in how many [default: 25 runs each]
    #[arg(long, value_name = "ENGINE", conflicts_with = "json")]
    script: Option<Engine>,
    #[command(flatten)]
    workers: Workers,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let (plan, experiment, folder) = if store::is_study(&self.source.file) {
            self.assure_bare()?;
            let (plan, experiment) = store::read_plan(&self.source.file).map_err(study::store_error)?;
            (plan, experiment, self.source.file.clone())
        } else {
            let experiment = self.source.load(self.json, screen)?;
            let seeds = seeds(&experiment, self.seeds.unwrap_or(1));
            let varied = Varied { axes: self.vary.clone(), sample: self.sample, seeds };
            let plan = Plan::new(&experiment, varied).map_err(study::plan_error)?;
            let folder = self.out.clone().unwrap_or_else(|| runs::place_of_many(&plan, "sweep"));
            (plan, experiment, folder)
        };
        let output = Output {
            folder: &folder,
            threads: self.workers.threads(),
            no_progress: self.workers.no_progress,
            json: self.json,
            is_judged: false,
        };
        if self.script.is_none() {
            memory::assure_several(&experiment, output.threads.min(plan.jobs().count()), screen)?;
        }
        match (self.script, self.shard) {
            (Some(engine), _) => {
                let task = self.task(engine, &folder, &experiment, &plan)?;
                screen.print_file(&task.render(engine))?;
                Ok(Exit::Success)
            }
            (None, Some(wanted)) => shard::conduct(&plan, wanted, &output, screen),
            (None, None) => conduct(&experiment, &plan, &output, screen),
        }
    }

    /// Refuses arguments that would change the plan of a given folder.
    fn assure_bare(&self) -> Result<(), Error> {
        let is_changed = !self.source.set.is_empty()
            || self.source.seed.is_some()
            || !self.vary.is_empty()
            || self.sample.is_some()
            || self.seeds.is_some()
            || self.out.is_some();
        if !is_changed {
            return Ok(());
        }
        let why = format!("{} is a sweep in progress: its variations are fixed", self.source.file.display());
        let help = "leave out --set, --seed, --vary, --sample, --seeds and --out, or give the experiment file";
        Err(Error::WrongInput(why, help.into()))
    }
}

/// Execution of a plan, and the destination of its results.
pub(super) struct Output<'a> {
    pub(super) folder: &'a Path,
    pub(super) threads: usize,
    pub(super) no_progress: bool,
    pub(super) json: bool,
    /// An SLO that does not hold, or of which it cannot be told, is the exit code's business.
    pub(super) is_judged: bool,
}

/// Runs the missing runs of a plan, keeps them in its folder, and shows them.
pub(super) fn conduct(
    experiment: &Experiment,
    plan: &Plan,
    output: &Output<'_>,
    screen: &mut Screen,
) -> Result<Exit, Error> {
    let (store, rows) = Store::open(output.folder, plan).map_err(study::store_error)?;
    interrupt::catch()?;

    let total = plan.jobs().count();
    let progress = Counted::begin(rows.len(), total, "runs", !output.no_progress);
    let mut store = store;
    let at = |done| {
        progress.at(done);
        !interrupt::asked()
    };
    let rows = sweep::run(plan, rows, output.threads, |row| store.keep(row), at);
    progress.end();
    let rows = rows.map_err(study::store_error)?;
    let points = sweep::summarise(plan, &rows);
    let is_whole = rows.len() == total;
    if is_whole {
        sweep::publish(plan, &rows, &points, store).map_err(study::store_error)?;
    }
    if output.json {
        screen.print_json(&serde_json::json!({
            "format": 1,
            "name": plan.name,
            "seeds": plan.varied.seeds,
            "confidence": estimate::CONFIDENCE,
            "points": points,
        }))?;
    } else {
        let text = study::points(experiment, plan, &points, screen.paint());
        screen.print(&text)?;
    }
    let folder = output.folder.display();
    if is_whole {
        screen.remark(&format!("written to {folder}\n"));
        let missed = |of: fn(&PointSummary) -> usize| output.is_judged && points.iter().any(|point| of(point) > 0);
        return Ok(match () {
            () if missed(|point| point.failed) => Exit::SloFailed,
            () if missed(|point| point.runs - point.passed) => Exit::Unknown,
            () => Exit::Success,
        });
    }
    let done = rows.len();
    screen.remark(&format!("interrupted: {done} of {total} runs are kept; `meshsim sweep {folder}` continues it\n"));
    Ok(Exit::Interrupted)
}
