//! `meshsim run`

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use meshsim_actor::{ActorId, Counts, Recorder, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_experiment::check::check;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::news::Told;
use meshsim_mesh::{Mesh, MeshActor};
use meshsim_report::table::{Paint, Style};
use meshsim_report::{SoFar, count, text};
use meshsim_run::{Observer, Outcome, Simulation};
use meshsim_study::plan::{Plan, Varied};
use meshsim_study::pool;

use super::{Source, sweep};
use crate::error::{Error, Exit};
use crate::flow::follow;
use crate::headline::figures;
use crate::interrupt;
use crate::memory;
use crate::output::{self, FinishedRun, Output, TRACE};
use crate::progress::{Progress, per_second};
use crate::runs;
use crate::screen::Screen;
use crate::{study, traced};

pub(super) const ABOUT: &str = "Run an experiment in virtual time";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim run examples/hotel/mesh.yaml
  meshsim run mesh.yaml --seed 7 --set load.users.arrivals.poisson=500/s
  meshsim run mesh.yaml --trace=jsonl --out /tmp/study
  meshsim run mesh.yaml --trace-keep failed,slowest=100,1%
  meshsim run mesh.yaml --seeds 10                  # means with intervals
  meshsim run mesh.yaml --json --no-progress | jq '.slo'

A run is written to runs/<name>-<seed>, or to runs/<name>-<seed>.<hash> if a run with other settings exists: summary.json, experiment.yaml (as run) with the files that it \
names, series.csv (time series), events.jsonl (events, with their times), state.json (desired and actual \
state at the end), and the trace if requested. The same experiment and \
seed give the same files, byte for byte, and so does the experiment.yaml of a run. Ctrl-C ends a run early \
and keeps its measurements.

Exit codes: 0 all SLOs hold, 1 failed, 2 the experiment is invalid, 98 the verdict on an SLO is unknown, 99 an SLO does not hold, 130 interrupted, and all SLOs hold so far.";

/// Warnings that are printed before a run; `check` prints all.
const WARNINGS_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
    /// Number of seeds to run, from the file's on; prints means with their 95% intervals
    #[arg(long, value_name = "N", value_parser = super::seed_count, conflicts_with_all = ["trace", "trace_keep", "report"])]
    seeds: Option<usize>,
    #[arg(help = "With --seeds, number of parallel runs [default: number of cores]", long, short, value_name = "N", value_parser = super::job_count, requires = "seeds")]
    jobs: Option<usize>,
    /// Begin a run even if this machine seems to lack the memory for it
    #[arg(long)]
    no_memory_check: bool,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(self.output.json, screen)?;
        if !self.no_memory_check {
            let at_once = self.seeds.map_or(1, |seeds| seeds.min(self.jobs.unwrap_or_else(pool::cores)));
            memory::assure_several(&experiment, at_once, screen)?;
        }
        if let Some(count) = self.seeds {
            return self.with_seeds(&experiment, count, screen);
        }
        if !self.output.json {
            screen.print(&text::intention(&experiment, false, screen.paint()))?;
        }
        warn(&experiment, &self.source, screen);
        let folder = output::open(&experiment, &self.output, runs::place)?;
        interrupt::catch()?;

        let mut has_trace = false;
        let (outcome, took) = match self.output.trace() {
            None => self.run(&mut Simulation::new(&experiment).map_err(Error::Network)?, &experiment),
            Some(_) => {
                let header = meshsim_run::trace_header(&experiment, &experiment.mesh);
                follow::begin(&experiment, &folder);
                let tracer = traced::begin(&folder, &header, self.output.keep())?;
                let mut simulation = Simulation::recorded(&experiment, tracer).map_err(Error::Network)?;
                let ran = self.run(&mut simulation, &experiment);
                match traced::finish(simulation.into_recorder(), &folder) {
                    Ok(()) => has_trace = true,
                    // The measurements are worth keeping without it; the missing trace is a failure in the end.
                    Err(error) => {
                        folder.discard(TRACE);
                        screen.complain(&error);
                    }
                }
                ran
            }
        };
        let events = outcome.measured.traffic.events;
        let pace = format!(
            "{} of virtual time in {}, {} events, {}",
            outcome.measured.now.since(Time::ZERO),
            Span::from_secs_f64(took.as_secs_f64()),
            count(events),
            per_second(events as f64 / took.as_secs_f64().max(1e-9))
        );
        let remarks = Box::new(move |paint: Paint| format!("{}\n", paint.on(Style::Dim, &pace)));
        let ended = FinishedRun { outcome, has_trace, processes: None, until_stopped: false, remarks };
        output::publish(&experiment, folder, ended, &self.output, screen)
    }

    /// Several runs, which together say how far a figure may be trusted.
    fn with_seeds(&self, experiment: &Experiment, count: usize, screen: &mut Screen) -> Result<Exit, Error> {
        let seeds = meshsim_study::plan::seeds(experiment, count);
        let plan = Plan::new(experiment, Varied { seeds, ..Varied::default() }).map_err(study::plan_error)?;
        let folder = self.output.out.clone().unwrap_or_else(|| runs::place_of_many(&plan, "seeds"));
        let threads = self.jobs.unwrap_or_else(pool::cores);
        let Output { no_progress, json, .. } = self.output;
        let output = sweep::Output { folder: &folder, threads, no_progress, json, is_judged: true };
        sweep::conduct(experiment, &plan, &output, screen)
    }

    /// Runs it to its end, or until Ctrl-C, and says how long that took.
    fn run(
        &self,
        simulation: &mut Simulation<impl Recorder<Msg, Tick>>,
        experiment: &Experiment,
    ) -> (Outcome, Duration) {
        let progress = Progress::begin(experiment.duration, !self.output.no_progress);
        let mut watch = Watch::new(progress, &experiment.mesh);
        let outcome = simulation.finish(&mut watch);
        let took = watch.progress.end();
        tracing::info!(?took, outcome.cut_short, "simulated");
        (outcome, took)
    }
}

/// Shows how far the run is, and stops it at Ctrl-C.
struct Watch<'a> {
    progress: Progress,
    mesh: &'a Mesh,
    so_far: SoFar,
    /// Marks of the measurements that each actor has already reported.
    told: BTreeMap<ActorId, Told>,
    /// True if measurements have come since the line was made.
    is_new: bool,
    line: String,
}

impl<'a> Watch<'a> {
    fn new(progress: Progress, mesh: &'a Mesh) -> Self {
        let (so_far, told, line) = (SoFar::default(), BTreeMap::new(), String::new());
        Watch { progress, mesh, so_far, told, is_new: false, line }
    }
}

impl Observer for Watch<'_> {
    fn is_curious(&mut self) -> bool {
        self.progress.is_due()
    }

    fn looks(&mut self, now: Time, id: ActorId, actor: &MeshActor) {
        // The line has no figures of nodes.
        if actor.node().is_some() {
            return;
        }
        let told = self.told.entry(id).or_default();
        if let Some((news, all)) = actor.news(*told, now) {
            *told = all;
            self.is_new = true;
            self.so_far.take(id, 0, now, news, self.mesh);
        }
    }

    fn reached(&mut self, now: Time, counts: &Counts) -> ControlFlow<()> {
        if std::mem::take(&mut self.is_new) {
            self.line = figures(&self.so_far, now, self.mesh);
        }
        self.progress.at(now, counts.events, &self.line);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Prints the warnings of `check` to stderr, before time is spent on the run.
pub(super) fn warn(experiment: &Experiment, source: &Source, screen: &Screen) {
    let warnings = check(experiment).warnings;
    for warning in warnings.iter().take(WARNINGS_MAX) {
        screen.warn(&warning.message);
    }
    if warnings.len() > WARNINGS_MAX {
        let more = warnings.len() - WARNINGS_MAX;
        screen.warn(&format!("{more} more; see `meshsim check {}`", source.file.display()));
    }
}
