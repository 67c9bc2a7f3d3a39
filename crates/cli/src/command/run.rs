//! `meshsim run`

use std::time::Duration;

use meshsim_actor::{Recorder, Span};
use meshsim_experiment::Experiment;
use meshsim_experiment::check::check;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::table::Look;
use meshsim_report::{Measured, count, text};
use meshsim_trace::Writer;

use super::Source;
use crate::ending::{self, Ended, Output, TRACE};
use crate::error::{Error, Exit};
use crate::interrupt;
use crate::progress::{Progress, per_second};
use crate::screen::Screen;
use crate::simulate::{Simulation, traffic};
use crate::state;

pub(super) const ABOUT: &str = "Run an experiment in virtual time";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim run examples/hotel/mesh.yaml
  meshsim run mesh.yaml --seed 7 --set load.users.arrivals.poisson=500/s
  meshsim run mesh.yaml --trace=jsonl --out /tmp/study
  meshsim run mesh.yaml --json --no-progress | jq '.slo'

A run is written to runs/<name>-<seed>: summary.json, experiment.yaml (as run) with the files that it \
names, state.json (what the coordinator wants and the nodes have at the end), and the trace if asked \
for. The same experiment and seed give the same files, byte for byte, and so does the experiment.yaml \
of a run. Ctrl-C ends a run early and keeps what was measured.

Exit codes: 0 all SLOs hold, 1 failed, 2 the experiment is wrong, 98 whether an SLO \
holds cannot be told, 99 an SLO does not hold.";

/// Warnings that are printed before a run; `check` prints all.
const WARNINGS_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(self.output.json, screen)?;
        if !self.output.json {
            screen.print(&text::intention(&experiment, screen.paint()))?;
        }
        warn(&experiment, &self.source, screen);
        let folder = ending::open(&experiment, &self.output, "")?;
        interrupt::catch()?;

        let (mut ended, took, events) = match self.output.trace {
            None => self.run(&experiment, ())?.0,
            Some(_) => {
                let writer = Writer::new(folder.begin(TRACE)?, &ending::header(&experiment, &experiment.mesh));
                let ((mut ended, took, events), writer) = self.run(&experiment, writer)?;
                match writer.finish() {
                    Ok(_) => ended.has_trace = true,
                    // What was measured is worth keeping without it; that it is missing is a failure in the end.
                    Err(error) => {
                        folder.discard(TRACE);
                        screen.complain(&Error::WriteTrace(folder.path().join(TRACE), error));
                    }
                }
                (ended, took, events)
            }
        };
        let pace = format!(
            "{}s of virtual time in {}, {} events, {}",
            meshsim_report::number(ended.measured.now.secs()),
            Span::from_secs_f64(took.as_secs_f64()),
            count(events),
            per_second(events as f64 / took.as_secs_f64().max(1e-9))
        );
        ended.remarks = Box::new(move |paint| format!("{}\n", paint.on(Look::Dim, &pace)));
        ending::publish(&experiment, folder, ended, &self.output, screen)
    }

    fn run<R: Recorder<Msg, Tick>>(
        &self,
        experiment: &Experiment,
        recorder: R,
    ) -> Result<((Ended, Duration, u64), R), Error> {
        let mut simulation = Simulation::new(experiment, recorder)?;
        let progress = Progress::begin(experiment.duration, !self.output.no_progress);
        simulation.run(experiment, &progress);
        let took = progress.end();
        let Simulation { sim, cut_short } = simulation;
        tracing::info!(?took, cut_short, "simulated");
        let findings = || sim.actors().map(|actor| Some(actor.findings(sim.now())));
        let measured = Measured::gather(experiment, sim.now(), traffic(&sim.counts()), findings());
        let mut state = Vec::new();
        state::write(&experiment.mesh, sim.now(), findings(), &mut state)
            .map_err(|error| Error::Write("state.json".into(), error))?;
        let ended = Ended {
            measured,
            state,
            cut_short,
            has_trace: false,
            processes: None,
            remarks: Box::new(|_| String::new()),
        };
        let events = sim.counts().events;
        Ok(((ended, took, events), sim.into_recorder()))
    }
}

/// Says on stderr what cannot work, before time is spent on it.
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
