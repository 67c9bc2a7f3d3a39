//! A run that has ended, simulated or live: shown, and written to its directory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::aftermath::Aftermath;
use meshsim_report::events::Event;
use meshsim_report::series::Series;
use meshsim_report::table::{Paint, Style};
use meshsim_report::waterfall::Totals;
use meshsim_report::waterfall::totals_text::short_totals;
use meshsim_report::{Outcome, Summary, events, text};
use meshsim_run::Keep;
use meshsim_trace::Reader;
use meshsim_trace::export::jsonl_line_of;

use crate::error::{Error, Exit};
use crate::flow::Source;
use crate::flow::place::Place;
use crate::flow::requests::gather_totals;
use crate::flow::stream::Flow;
use crate::flow::words::Names;
use crate::folder::{PendingFile, RunDir, SUMMARY};
use crate::interrupt;
use crate::read;
use crate::runs::{self, EXPERIMENT};
use crate::screen::Screen;

/// The trace in the folder of a run.
pub(crate) const TRACE: &str = "trace.bin";
/// Desired state of the coordinator and state of the nodes at the end.
const STATE: &str = "state.json";
const TRACE_JSONL: &str = "trace.jsonl";
/// The time series of a run.
pub(crate) const SERIES: &str = "series.csv";
/// The same for programs that read columns.
const SERIES_PARQUET: &str = "series.parquet";
/// The event log: operations, faults, nodes and instances, by time.
pub(crate) const EVENTS: &str = "events.jsonl";
/// The page that shows a run.
pub(crate) const REPORT: &str = "report.html";
/// State of the processes of a live run.
pub(crate) const PROCESSES: &str = "live.json";

/// Output of a run, beside its summary.
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
    trace: Option<TraceFormat>,
    /// Keep only a part of the trace: `control` messages alone, or with them a share of the requests such as `1%`,
    /// `slowest=100`, `failed`; several by commas
    #[arg(long, value_name = "PARTS")]
    trace_keep: Option<Keep>,
    /// Write a page that shows the run: to `report.html` in its folder, or to this file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) report: Option<Option<PathBuf>>,
    /// Write the run to this folder
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

impl Output {
    /// Form of the trace, if one is written. `--trace-keep` implies a trace.
    pub(crate) fn trace(&self) -> Option<TraceFormat> {
        self.trace.or(self.trace_keep.as_ref().map(|_| TraceFormat::Bin))
    }

    /// Selection of records that the trace keeps.
    pub(crate) fn keep(&self) -> Keep {
        self.trace_keep.clone().unwrap_or_default()
    }
}

/// Formats of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TraceFormat {
    /// Compact; `meshsim trace` prints it
    Bin,
    /// The same, and one JSON object per line
    Jsonl,
}

/// A run that has ended.
pub(crate) struct FinishedRun {
    pub(crate) outcome: meshsim_run::Outcome,
    /// [`TRACE`] is complete in the folder. False if no trace was asked for, or if it could not be written.
    pub(crate) has_trace: bool,
    /// live.json, if the run was one.
    pub(crate) processes: Option<Vec<u8>>,
    /// The run has no planned end, so stopping it is no early end.
    pub(crate) until_stopped: bool,
    /// For people, below the tables: how long it took, how the processes were.
    pub(crate) remarks: Box<dyn Fn(Paint) -> String>,
}

/// The directory of a run that is about to begin: files of other origin are not replaced. If none was asked for it is
/// `default`.
pub(crate) fn open(
    experiment: &Experiment,
    output: &Output,
    default: impl FnOnce(&Experiment) -> PathBuf,
) -> Result<RunDir, Error> {
    RunDir::create(output.out.clone().unwrap_or_else(|| default(experiment)), &names(experiment))
}

/// The files that a run of any experiment may leave, except its summary and the experiment.
const OWN: [&str; 8] = [STATE, TRACE, TRACE_JSONL, PROCESSES, SERIES, SERIES_PARQUET, EVENTS, REPORT];

/// The files that a run of this experiment may leave, except its summary.
pub(crate) fn names(experiment: &Experiment) -> Vec<&str> {
    inputs(experiment).map(|(name, _)| name).chain(OWN).collect()
}

/// All files that a run of this experiment may have left, except its summary.
pub(crate) fn written_names(experiment: Option<&Experiment>) -> Vec<String> {
    let of = |name: &str| name.to_owned();
    match experiment {
        Some(experiment) => names(experiment).into_iter().map(of).collect(),
        None => std::iter::once(EXPERIMENT).chain(OWN).map(of).collect(),
    }
}

/// The experiment as run, and the files that it names.
pub(crate) fn inputs(experiment: &Experiment) -> impl Iterator<Item = (&str, &str)> {
    let files = experiment.files.iter().map(|file| (file.name.as_str(), &*file.text));
    std::iter::once((EXPERIMENT, experiment.text.as_str())).chain(files)
}

/// Shows the measurements of a run, and writes all of its files: either all appear or none.
///
/// The result is printed even if the files cannot be written: it is worth more than they are.
pub(crate) fn publish(
    experiment: &Experiment,
    folder: RunDir,
    mut ended: FinishedRun,
    output: &Output,
    screen: &mut Screen,
) -> Result<Exit, Error> {
    let summary = ended.outcome.summary(experiment);
    let place = folder.path().to_owned();
    let series = Series::new(experiment, &ended.outcome.measured);
    let events = events(experiment, &ended.outcome.measured, &summary, &series);
    let mut written = write(experiment, &folder, &ended, &summary, &series, &events);
    // The trace is the largest by far: without room for it there may be room for all else, which is worth more.
    if let Err(error) = &written
        && std::mem::take(&mut ended.has_trace)
    {
        screen.warn(&format!("{error} beside the trace, which is given up"));
        folder.discard(TRACE);
        written = write(experiment, &folder, &ended, &summary, &series, &events);
    }
    let written = written.map(|()| {
        let jsonl = (ended.has_trace && output.trace() == Some(TraceFormat::Jsonl)).then(|| write_jsonl(&folder));
        jsonl.and_then(Result::err)
    });
    // The trace of an earlier run with the same settings is the trace of this one too. Whether there is a run is seen
    // where this one takes its place.
    let mut replaced = names(experiment);
    if output.trace().is_none() && ended.processes.is_none() && runs::holds_settings(&place, experiment) {
        replaced.retain(|name| ![TRACE, TRACE_JSONL].contains(name));
    }
    let published = written.and_then(|no_jsonl| folder.publish(&replaced).map(|()| no_jsonl));

    let paint = screen.paint();
    if output.json {
        screen.print_json(&summary)?;
    } else {
        let line = published.as_ref().map_or_else(|_| String::new(), |_| format!("written to {}", place.display()));
        let body = text::summary(&summary, &Aftermath::new(&summary, Some(&series), &events), paint);
        let time = if ended.has_trace && published.is_ok() {
            time_spent_in_words(experiment, &place, paint)
        } else {
            String::new()
        };
        screen.print(&format!("{body}\n{time}{}{}\n", (ended.remarks)(paint), paint.on(Style::Dim, &line)))?;
    }
    if let Some(error) = published? {
        return Err(error);
    }
    tracing::info!(folder = %place.display(), "run written");
    if let Some(file) = &output.report {
        let file = file.clone().unwrap_or_else(|| place.join(REPORT));
        report(std::slice::from_ref(&place), &file)?;
        if !output.json {
            screen.print(&format!("{}\n", paint.on(Style::Dim, &format!("its report to {}", file.display()))))?;
        }
    }
    Ok(match summary.outcome {
        // All other files exist; a user who requested a trace must notice that it is missing.
        _ if output.trace().is_some() && !ended.has_trace => Exit::Failed,
        Outcome::Fail => Exit::SloFailed,
        Outcome::Unknown => Exit::Unknown,
        // The measurements hold; the rest of the run is unknown.
        Outcome::Pass if summary.cut_short && interrupt::asked() && !ended.until_stopped => Exit::Interrupted,
        Outcome::Pass => Exit::Success,
    })
}

/// Writes all files of a simulated run beside its trace, and publishes them. Nothing is printed.
pub(crate) fn keep(experiment: &Experiment, folder: RunDir, outcome: meshsim_run::Outcome) -> Result<(), Error> {
    let summary = outcome.summary(experiment);
    let series = Series::new(experiment, &outcome.measured);
    let events = events(experiment, &outcome.measured, &summary, &series);
    let remarks = Box::new(|_: Paint| String::new());
    let ended = FinishedRun { outcome, has_trace: true, processes: None, until_stopped: false, remarks };
    write(experiment, &folder, &ended, &summary, &series, &events)?;
    folder.publish(&names(experiment))
}

fn write(
    experiment: &Experiment,
    folder: &RunDir,
    ended: &FinishedRun,
    summary: &Summary,
    series: &Series,
    events: &[Event],
) -> Result<(), Error> {
    folder.write(SUMMARY, |out| {
        serde_json::to_writer_pretty(&mut *out, summary)?;
        out.write_all(b"\n")
    })?;
    folder.write(SERIES, |out| series.write(out))?;
    folder.write(SERIES_PARQUET, |out| series.write_parquet(out))?;
    folder.write(EVENTS, |out| meshsim_report::events::write(events, out))?;
    folder.write(STATE, |out| ended.outcome.state.write(&experiment.mesh, out))?;
    let processes = ended.processes.iter().map(|bytes| (PROCESSES, bytes.as_slice()));
    let inputs = inputs(experiment).map(|(name, text)| (name, text.as_bytes()));
    inputs.chain(processes).try_for_each(|(name, bytes)| folder.write(name, |out| out.write_all(bytes)))
}

/// Records of a trace that is read to say where the time of requests went: some seconds.
const RECORDS_MAX: u64 = 4_000_000;

/// The time of a run's requests by kind, if it has a whole trace of moderate length. `meshsim trace` says what is wrong
/// with a trace that cannot be read; the report does without it.
fn time_spent(folder: &Path) -> Option<Totals> {
    let source = folder.join(TRACE).is_file().then(|| Source::traced(folder).ok()).flatten()?;
    let is_moderate = source.header.keep.is_empty() && source.index().ok()?.records() <= RECORDS_MAX;
    is_moderate.then(|| gather_totals(&source).ok()).flatten()
}

/// The time of a run's requests by kind, or the command that tells it.
fn time_spent_in_words(experiment: &Experiment, folder: &Path, paint: Paint) -> String {
    if experiment.mesh.loads.is_empty() {
        return String::new();
    }
    match time_spent(folder) {
        Some(totals) => {
            let text = short_totals(&totals, &experiment.mesh, paint);
            if text.is_empty() { text } else { text + "\n" }
        }
        None => {
            let command =
                format!("`meshsim trace request {} --all` says where a request's time went", folder.display());
            format!("{}\n\n", paint.on(Style::Dim, &command))
        }
    }
}

/// Writes the page of these runs, which are read back: it shows the content of the disk.
pub(crate) fn report(folders: &[PathBuf], file: &Path) -> Result<(), Error> {
    let mut runs = read::runs(folders)?;
    for (run, folder) in runs.iter_mut().zip(folders) {
        run.totals = time_spent(folder);
    }
    let page = meshsim_page::report(&runs);
    let page = page.map_err(|error| Error::Write(file.to_owned(), error.into()))?;
    PendingFile::create(file)?.publish(&page)
}

/// The trace is read back: the export is the content of the disk.
fn write_jsonl(folder: &RunDir) -> Result<(), Error> {
    let path = folder.path().join(TRACE);
    let file = File::open(folder.staged(TRACE)).map_err(|error| Error::Write(path.clone(), error))?;
    let unreadable = |error| Error::Trace(path.clone(), error);
    let reader: Reader<_, Msg, Tick> = Reader::new(Place::new(file.into())).map_err(unreadable)?;
    let header = reader.header().clone();
    let names = Names::new(&header, None);
    let mut trouble = None;
    folder.write(TRACE_JSONL, |out: &mut BufWriter<File>| {
        for item in Flow::new(reader) {
            match item {
                Ok(item) => {
                    jsonl_line_of(&header, &item.record, &item.derived, item.request(&names).as_ref(), out)?;
                }
                Err(error) => trouble = Some(error),
            }
        }
        Ok(())
    })?;
    trouble.map_or(Ok(()), |error| Err(unreadable(error)))
}
