//! `meshsim run`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use meshsim_actor::{ActorId, Recorder, Span};
use meshsim_experiment::Experiment;
use meshsim_experiment::check::check;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::table::Look;
use meshsim_report::{Measured, Outcome, Summary, count, text};
use meshsim_trace::export::{ExportError, Format, export};
use meshsim_trace::{Header, Reader, Writer};

use super::Source;
use crate::error::{Error, Exit};
use crate::folder::{Draft, Folder};
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

Exit codes: 0 all SLOs hold, 1 failed, 2 the experiment is wrong, 99 an SLO does not hold.";

/// The trace in the folder of a run.
pub(super) const TRACE: &str = "trace.bin";
const TRACE_JSONL: &str = "trace.jsonl";

/// Warnings that are printed before a run; `check` prints all.
const WARNINGS_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Show no progress bar
    #[arg(long)]
    no_progress: bool,
    /// Write down everything that happens: `trace.bin`, and with `=jsonl` `trace.jsonl` too
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "bin")]
    trace: Option<TraceFormat>,
    /// Write the run to this folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TraceFormat {
    /// Compact; `meshsim trace` prints it
    Bin,
    /// That, and one JSON object a line
    Jsonl,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(self.json, screen)?;
        if !self.json {
            screen.print(&text::intention(&experiment, screen.paint()))?;
        }
        self.warn(&experiment, screen);
        let out = self.out.clone().unwrap_or_else(|| format!("runs/{}-{}", experiment.name, experiment.seed).into());
        let folder = Folder::create(out)?;
        let inputs = || {
            let files = experiment.files.iter().map(|file| (file.name.as_str(), &*file.text));
            std::iter::once(("experiment.yaml", experiment.text.as_str())).chain(files)
        };
        inputs().try_for_each(|(name, text)| folder.spare(name, text))?;
        interrupt::catch()?;

        let mut drafts = Vec::new();
        let ended = match self.trace {
            None => self.run(&experiment, ())?.0,
            Some(format) => {
                let (draft, file) = folder.draft(TRACE)?;
                let (ended, writer) = self.run(&experiment, Writer::new(file, &header(&experiment)))?;
                writer.finish().map_err(|error| Error::WriteTrace(draft.path().into(), error))?;
                if format == TraceFormat::Jsonl {
                    drafts.push(write_jsonl(&folder, &draft)?);
                }
                drafts.push(draft);
                ended
            }
        };
        let summary = Summary::new(&experiment, &ended.measured, ended.cut_short);
        for (name, text) in inputs() {
            drafts.push(folder.write(name, |out| out.write_all(text.as_bytes()))?);
        }
        drafts.push(folder.write("state.json", |out| out.write_all(&ended.state))?);
        drafts.push(folder.write("summary.json", |out| {
            serde_json::to_writer_pretty(&mut *out, &summary)?;
            out.write_all(b"\n")
        })?);
        // The folder holds one run: no trace of another.
        for (name, kept) in [(TRACE, self.trace.is_some()), (TRACE_JSONL, self.trace == Some(TraceFormat::Jsonl))] {
            if !kept {
                folder.remove(name)?;
            }
        }
        drafts.into_iter().try_for_each(Draft::publish)?;
        tracing::info!(folder = %folder.path().display(), "run written");

        if self.json {
            screen.print_json(&summary)?;
        } else {
            let paint = screen.paint();
            let (events, took) = (ended.measured.traffic.events, ended.took);
            let rate = events as f64 / took.as_secs_f64().max(1e-9);
            let pace = format!(
                "{}s of virtual time in {}, {} events, {}",
                meshsim_report::number(ended.measured.now.secs()),
                Span::from_secs_f64(took.as_secs_f64()),
                count(events),
                per_second(rate)
            );
            let place = format!("written to {}", folder.path().display());
            let body = text::summary(&summary, paint);
            screen.print(&format!("{body}\n{}\n{}\n", paint.on(Look::Dim, &pace), paint.on(Look::Dim, &place)))?;
        }
        Ok(if summary.outcome == Outcome::Fail { Exit::SloFailed } else { Exit::Well })
    }

    /// Says on stderr what cannot work, before time is spent on it.
    fn warn(&self, experiment: &Experiment, screen: &Screen) {
        let warnings = check(experiment).warnings;
        for warning in warnings.iter().take(WARNINGS_MAX) {
            screen.warn(&warning.message);
        }
        if warnings.len() > WARNINGS_MAX {
            let more = warnings.len() - WARNINGS_MAX;
            screen.warn(&format!("{more} more; see `meshsim check {}`", self.source.file.display()));
        }
    }

    fn run<R: Recorder<Msg, Tick>>(&self, experiment: &Experiment, recorder: R) -> Result<(Ended, R), Error> {
        let mut simulation = Simulation::new(experiment, recorder)?;
        let progress = Progress::begin(experiment.duration, !self.no_progress);
        simulation.run(experiment, &progress);
        let took = progress.end();
        let Simulation { sim, cut_short } = simulation;
        tracing::info!(?took, cut_short, "simulated");
        // One actor's at a time: of a million nodes there is never a copy of all.
        let findings = || sim.actors().map(|actor| Some(actor.findings(sim.now())));
        let measured = Measured::gather(experiment, sim.now(), traffic(&sim.counts()), findings());
        let mut state = Vec::new();
        state::write(&experiment.mesh, sim.now(), findings(), &mut state)
            .map_err(|error| Error::Write("state.json".into(), error))?;
        Ok((Ended { measured, state, cut_short, took }, sim.into_recorder()))
    }
}

/// A run that has ended.
struct Ended {
    measured: Measured,
    /// state.json
    state: Vec<u8>,
    cut_short: bool,
    took: Duration,
}

fn header(experiment: &Experiment) -> Header {
    let mesh = &experiment.mesh;
    let name = |index| mesh.actor_name(ActorId(index as u32)).to_owned();
    Header { seed: experiment.seed, actors: (0..mesh.actor_count()).map(name).collect() }
}

/// The trace is read back: what is exported is what is on disk.
fn write_jsonl(folder: &Folder, trace: &Draft) -> Result<Draft, Error> {
    let file = File::open(trace.under()).map_err(|error| Error::Write(trace.path().into(), error))?;
    let unreadable = |error| Error::Trace(trace.path().into(), error);
    let reader: Reader<_, Msg, Tick> = Reader::new(file).map_err(unreadable)?;
    let mut trouble = None;
    let draft = folder.write(TRACE_JSONL, |out: &mut BufWriter<File>| match export(reader, Format::Jsonl, out) {
        Ok(_) => Ok(()),
        Err(ExportError::Write(error)) => Err(error),
        Err(ExportError::Read(error)) => {
            trouble = Some(error);
            Ok(())
        }
    })?;
    trouble.map_or(Ok(draft), |error| Err(unreadable(error)))
}
