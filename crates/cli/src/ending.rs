//! A run that has ended, simulated or live: written to its folder, and shown.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use meshsim_actor::ActorId;
use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::table::{Look, Paint};
use meshsim_report::{Measured, Outcome, Summary, text};
use meshsim_trace::export::{ExportError, Format, export};
use meshsim_trace::{Header, Reader};

use crate::error::{Error, Exit};
use crate::folder::{Draft, Folder};
use crate::screen::Screen;

/// The trace in the folder of a run.
pub(crate) const TRACE: &str = "trace.bin";
/// What the coordinator wanted and the nodes had in the end.
const STATE: &str = "state.json";
const TRACE_JSONL: &str = "trace.jsonl";
/// How the processes of a live run were.
pub(crate) const PROCESSES: &str = "live.json";

/// What is to come of a run, beside its summary.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
    /// Write down everything that happens: `trace.bin`, and with `=jsonl` `trace.jsonl` too
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "bin")]
    pub(crate) trace: Option<TraceFormat>,
    /// Write the run to this folder
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TraceFormat {
    /// Compact; `meshsim trace` prints it
    Bin,
    /// That, and one JSON object a line
    Jsonl,
}

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) measured: Measured,
    /// state.json
    pub(crate) state: Vec<u8>,
    pub(crate) cut_short: bool,
    /// The complete trace, if one was asked for.
    pub(crate) trace: Option<Draft>,
    /// live.json, if the run was one.
    pub(crate) processes: Option<Vec<u8>>,
    /// For people, below the tables: how long it took, how the processes were.
    pub(crate) remarks: Box<dyn Fn(Paint) -> String>,
}

/// The folder of a run that is about to begin: what is there already and is no run's is not replaced.
pub(crate) fn open(experiment: &Experiment, output: &Output, suffix: &str) -> Result<Folder, Error> {
    let default = || format!("runs/{}-{}{suffix}", experiment.name, experiment.seed).into();
    let folder = Folder::create(output.out.clone().unwrap_or_else(default))?;
    inputs(experiment).try_for_each(|(name, text)| folder.spare(name, text))?;
    [STATE, TRACE, TRACE_JSONL, PROCESSES].into_iter().try_for_each(|name| folder.spare(name, ""))?;
    Ok(folder)
}

/// The experiment as run, and the files that it names.
fn inputs(experiment: &Experiment) -> impl Iterator<Item = (&str, &str)> {
    let files = experiment.files.iter().map(|file| (file.name.as_str(), &*file.text));
    std::iter::once(("experiment.yaml", experiment.text.as_str())).chain(files)
}

/// What stands at the beginning of a trace of this experiment: the names of its actors, and of who is outside.
pub(crate) fn header(experiment: &Experiment, mesh: &meshsim_mesh::Mesh) -> Header {
    let outside = usize::from(mesh.has_gateway);
    let name = |index| mesh.actor_name(ActorId(index as u32)).to_owned();
    Header { seed: experiment.seed, actors: (0..mesh.actor_count() + outside).map(name).collect() }
}

/// Writes all files of a run, so that either all appear or none; shows what came out.
pub(crate) fn publish(
    experiment: &Experiment,
    folder: &Folder,
    ended: Ended,
    output: &Output,
    screen: &mut Screen,
) -> Result<Exit, Error> {
    let mut drafts = Vec::new();
    let has_trace = ended.trace.is_some();
    if let Some(trace) = ended.trace {
        if output.trace == Some(TraceFormat::Jsonl) {
            drafts.push(write_jsonl(folder, &trace)?);
        }
        drafts.push(trace);
    }
    let summary = Summary::new(experiment, &ended.measured, ended.cut_short);
    for (name, text) in inputs(experiment) {
        drafts.push(folder.write(name, |out| out.write_all(text.as_bytes()))?);
    }
    drafts.push(folder.write(STATE, |out| out.write_all(&ended.state))?);
    drafts.push(folder.write("summary.json", |out| {
        serde_json::to_writer_pretty(&mut *out, &summary)?;
        out.write_all(b"\n")
    })?);
    let has_processes = ended.processes.is_some();
    if let Some(processes) = ended.processes {
        drafts.push(folder.write(PROCESSES, |out| out.write_all(&processes))?);
    }
    // The folder holds one run: nothing of another.
    let has_jsonl = has_trace && output.trace == Some(TraceFormat::Jsonl);
    for (name, kept) in [(TRACE, has_trace), (TRACE_JSONL, has_jsonl), (PROCESSES, has_processes)] {
        if !kept {
            folder.remove(name)?;
        }
    }
    drafts.into_iter().try_for_each(Draft::publish)?;
    tracing::info!(folder = %folder.path().display(), "run written");

    if output.json {
        screen.print_json(&summary)?;
    } else {
        let paint = screen.paint();
        let place = format!("written to {}", folder.path().display());
        let body = text::summary(&summary, paint);
        screen.print(&format!("{body}\n{}{}\n", (ended.remarks)(paint), paint.on(Look::Dim, &place)))?;
    }
    Ok(match summary.outcome {
        // All else is there; who asked for a trace must notice that it is not.
        _ if output.trace.is_some() && !has_trace => Exit::Failed,
        Outcome::Fail => Exit::SloFailed,
        Outcome::Unknown => Exit::Unknown,
        Outcome::Pass => Exit::Well,
    })
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
