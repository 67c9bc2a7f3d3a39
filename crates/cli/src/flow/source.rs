//! Source of the records of a run: its trace. A simulated run without a trace is run again with one, which gives the
//! same bytes.

use std::fs::File;
use std::io::{self, Seek};
use std::ops::{ControlFlow, Range};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use meshsim_actor::{ActorId, Counts, Span, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::Mesh;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::{Summary, count, plural};
use meshsim_run::{Keep, Observer, Simulation, Tracer};
use meshsim_trace::{Chunk, Header, Index, Reader, Writer};

use super::follow::Following;
use super::place::Place;
use super::stream::{Flow, Item};
use super::words::Names;
use crate::error::Error;
use crate::folder::{PendingFile, SUMMARY};
use crate::output::{PROCESSES, TRACE};
use crate::progress::Progress;
use crate::runs::EXPERIMENT;
use crate::screen::Screen;
use crate::{interrupt, read, runs};

/// Name of standard input.
const STDIN: &str = "-";

/// The trace of a run, and the files beside it.
pub(crate) struct Source {
    /// Name of the run in output.
    pub(crate) label: String,
    /// The trace.
    pub(crate) path: PathBuf,
    file: Arc<File>,
    /// The reading that read the header, if the trace is a pipe: it cannot be read from the beginning again.
    begun: Mutex<Option<Reader<Place, Msg, Tick>>>,
    /// Header of the trace.
    pub(crate) header: Header,
    /// The experiment, if it lies beside the trace.
    experiment: Option<Experiment>,
    /// Summary of the run, if it lies beside the trace.
    pub(crate) summary: Option<Summary>,
    /// The names in it.
    pub(crate) names: Names,
    /// True if the file grows: it is read up to the last whole chunk.
    grows: bool,
}

impl Source {
    /// Opens a run: its folder, its name under `runs`, `last`, a trace file, or `-`.
    pub(crate) fn open(run: &Path, screen: &Screen) -> Result<Self, Error> {
        let source = Source::found(run, screen)?;
        source.what_is_kept()?.into_iter().for_each(|text| screen.remark(&format!("{text}\n")));
        Ok(source)
    }

    fn found(run: &Path, screen: &Screen) -> Result<Self, Error> {
        if run == Path::new(STDIN) {
            let path = PathBuf::from("standard input");
            let unreadable = |error| Error::ReadTrace(path.clone(), error);
            let given = io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?;
            let file = kept(File::from(given)).map_err(unreadable)?;
            return Source::of_file("standard input".into(), path, file, None);
        }
        let run = &runs::find(run);
        if run.is_dir() && run.join(SUMMARY).exists() && !run.join(TRACE).exists() {
            let file = run_again(run, screen)?;
            return Source::of_file(run.display().to_string(), run.join(TRACE), file, Some(run));
        }
        match run.is_dir() || run.is_file() {
            true => Source::traced(run),
            false => {
                let file = File::open(run).and_then(kept).map_err(|error| Error::ReadTrace(run.clone(), error))?;
                Source::of_file(run.display().to_string(), run.clone(), file, None)
            }
        }
    }

    /// Opens a run that has a trace, or a trace file.
    pub(crate) fn traced(run: &Path) -> Result<Self, Error> {
        let run = &runs::find(run);
        if !run.is_dir() {
            let file = File::open(run).map_err(|error| Error::ReadTrace(run.clone(), error))?;
            return Source::of_file(run.display().to_string(), run.clone(), file, run.parent());
        }
        let path = run.join(TRACE);
        if run.join(SUMMARY).exists() && !path.exists() {
            let why = format!("{} is a run without a trace", run.display());
            return Err(Error::WrongInput(why, "`meshsim run --trace` writes one".into()));
        }
        let file = File::open(&path).map_err(|error| Error::ReadTrace(path.clone(), error))?;
        Source::of_file(run.display().to_string(), path, file, Some(run))
    }

    fn of_file(label: String, path: PathBuf, file: File, folder: Option<&Path>) -> Result<Self, Error> {
        let file = Arc::new(file);
        let begun = begin(&path, &file)?;
        let header = begun.header().clone();
        let is_pipe = !file.metadata().is_ok_and(|about| about.is_file());
        let begun = Mutex::new(Some(begun).filter(|_| is_pipe));
        let folder = folder.map(|folder| if folder == Path::new("") { Path::new(".") } else { folder });
        let experiment = folder.filter(|folder| folder.join(EXPERIMENT).is_file());
        let experiment = experiment.and_then(|folder| read::experiment(folder, None).ok());
        let experiment = experiment.filter(|experiment| refuse_another(experiment, &header).is_ok());
        let beside = folder.filter(|folder| experiment.is_some() && folder.join(SUMMARY).is_file());
        let summary = beside.and_then(|folder| read::summary(folder).ok());
        let operations = summary.iter().flat_map(|summary| &summary.operations);
        let operations = operations.map(|operation| operation.steps.iter().map(|step| step.n).collect()).collect();
        let names = Names::new(&header, experiment.as_ref()).with_operations(operations);
        Ok(Source { label, path, file, begun, header, experiment, summary, names, grows: false })
    }

    /// The names and the experiment of a run that is being written, without its records.
    pub(crate) fn of_followed(following: &Following) -> Result<Self, Error> {
        let cannot = |error| Error::Write(std::env::temp_dir(), error);
        let file = tempfile::tempfile().map_err(cannot)?;
        let header = Writer::new(file.try_clone().map_err(cannot)?, &following.header).finish();
        header.map_err(|error| Error::WriteTrace(following.folder().join(TRACE), error))?;
        let experiment = following.experiment();
        let source = Source::growing(following.label.clone(), following.folder(), file, experiment.as_ref())?;
        Ok(source)
    }

    /// A trace that is being written to `file`, of a run that will be in `folder`.
    pub(crate) fn growing(
        label: String,
        folder: PathBuf,
        file: File,
        experiment: Option<&Experiment>,
    ) -> Result<Self, Error> {
        let (path, file) = (folder.join(TRACE), Arc::new(file));
        let header = begin(&path, &file)?.header().clone();
        let names = Names::new(&header, experiment);
        let (begun, experiment) = (Mutex::default(), experiment.cloned());
        Ok(Source { label, path, file, begun, header, experiment, summary: None, names, grows: true })
    }

    /// The mesh that ran. It is known if the experiment lies beside the trace.
    pub(crate) fn mesh(&self) -> Result<&Mesh, Error> {
        self.experiment().map(|experiment| &experiment.mesh)
    }

    /// The experiment that ran, if it lies beside the trace.
    pub(crate) fn experiment(&self) -> Result<&Experiment, Error> {
        let experiment = self.experiment.as_ref();
        experiment.ok_or_else(|| {
            let why = format!("the experiment of {} is not beside its trace", self.label);
            Error::WrongInput(why, format!("a run's folder holds both: `{EXPERIMENT}` and `{TRACE}`"))
        })
    }

    /// The bytes of the trace, from the beginning.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.file.clone())
    }

    /// The trace from the beginning, as it is.
    pub(crate) fn reader(&self) -> Result<Reader<Place, Msg, Tick>, Error> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        begun.map_or_else(|| begin(&self.path, &self.file), Ok)
    }

    /// The records from the beginning.
    pub(crate) fn flow(&self) -> Result<Flow, Error> {
        Ok(Flow::new(self.reader()?))
    }

    /// The records of those chunks of the trace that may hold what is wanted.
    pub(crate) fn flow_of(&self, may_hold: impl FnMut(&Chunk) -> bool) -> Result<Flow, Error> {
        let mut reader = self.reader()?;
        let index = self.index_of(&mut reader)?;
        Ok(Flow::of_chunks(reader, &index, may_hold))
    }

    /// The records of consecutive chunks of the trace, by their place in its index.
    pub(crate) fn flow_within(&self, index: &Index, chunks: Range<usize>) -> Result<Flow, Error> {
        let mut at = 0..;
        Ok(Flow::of_chunks(self.reader()?, index, |_| at.next().is_some_and(|at| chunks.contains(&at))))
    }

    /// Index of the trace's chunks.
    pub(crate) fn index(&self) -> Result<Index, Error> {
        self.index_of(&mut self.reader()?)
    }

    fn index_of(&self, reader: &mut Reader<Place, Msg, Tick>) -> Result<Index, Error> {
        let index = reader.index().map_err(|error| Error::Trace(self.path.clone(), error))?;
        // Bytes behind the whole chunks are no damage.
        Ok(Index { is_complete: index.is_complete || self.grows, ..index })
    }

    /// Says which part of a run the trace holds, if it is not all of it.
    pub(crate) fn what_is_kept(&self) -> Result<Option<String>, Error> {
        if self.header.keep.is_empty() {
            return Ok(None);
        }
        let mut text = format!("the trace of {} is a part: {}", self.label, self.header.keep.replace(',', ", "));
        let mut left_out = self.index()?.left_out;
        let requests = left_out.remove("request");
        let records: u64 = left_out.values().sum();
        if records > 0 {
            text += &format!("; {} were left out", plural(records, "record"));
        }
        if let Some(requests) = requests {
            text += &format!(", of {}", plural(requests, "request"));
        }
        Ok(Some(text))
    }

    /// Does something with every record, until it breaks or the trace ends. A trace that is cut off or damaged is an
    /// error after all records before that.
    pub(crate) fn each(&self, take: impl FnMut(&Item) -> ControlFlow<()>) -> Result<(), Error> {
        self.each_of(|_| true, take)
    }

    /// The same with the records of those chunks that may hold what is wanted.
    pub(crate) fn each_of(
        &self,
        may_hold: impl FnMut(&Chunk) -> bool,
        mut take: impl FnMut(&Item) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for item in self.flow_of(may_hold)? {
            let item = item.map_err(|error| Error::Trace(self.path.clone(), error))?;
            if take(&item).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The file at its beginning, or all that comes out of a pipe, which cannot be read twice.
fn kept(mut file: File) -> io::Result<File> {
    let mut kept = if file.metadata()?.is_file() {
        file
    } else {
        let mut kept = tempfile::tempfile()?;
        io::copy(&mut file, &mut kept)?;
        kept
    };
    kept.rewind()?;
    Ok(kept)
}

/// Reads the header.
fn begin(path: &Path, file: &Arc<File>) -> Result<Reader<Place, Msg, Tick>, Error> {
    Reader::new(Place::new(file.clone())).map_err(|error| Error::Trace(path.to_owned(), error))
}

/// Refuses a trace that is not of this experiment.
pub(crate) fn refuse_another(experiment: &Experiment, header: &Header) -> Result<(), Error> {
    let mesh = &experiment.mesh;
    let why = if header.seed != experiment.seed {
        format!("the trace is of seed {}, the experiment of seed {}", header.seed, experiment.seed)
    } else if header.actors.len() < mesh.actor_count() {
        let (traced, wanted) = (header.actors.len() as u64, mesh.actor_count() as u64);
        format!("the trace is of {}, the experiment of {}", plural(traced, "actor"), count(wanted))
    } else {
        let names = (0..mesh.actor_count()).map(|index| ActorId(index as u32)).map(|id| (id, mesh.actor_name(id)));
        let Some((id, wanted)) = names.into_iter().find(|(id, name)| header.name(*id) != *name) else { return Ok(()) };
        format!("actor {id} is `{}` in the trace and `{wanted}` in the experiment", header.name(id))
    };
    let help = "both stand in a run's folder as `meshsim run --trace` wrote them: run it again";
    Err(Error::WrongInput(why, help.into()))
}

/// Runs a run of this folder again with a trace, which is kept in the folder where that can be written to.
fn run_again(folder: &Path, screen: &Screen) -> Result<File, Error> {
    let shown = folder.display();
    if folder.join(PROCESSES).exists() {
        let why = format!("{shown} is a live run without a trace");
        return Err(Error::WrongInput(
            why,
            "a live run cannot be repeated: use `meshsim live --trace` to write one".into(),
        ));
    }
    let summary = read::summary(folder)?;
    let experiment = read::experiment(folder, None)?;
    screen.remark(&format!("{shown} has no trace: it is run again with one\n"));
    interrupt::catch()?;

    let end = Time::ZERO + Span::from_secs_f64(summary.reached_s);
    let header = meshsim_run::trace_header(&experiment, &experiment.mesh);
    let kept = PendingFile::create(&folder.join(TRACE)).ok();
    let cannot = |error| Error::Write(folder.join(TRACE), error);
    let file = match &kept {
        Some(draft) => draft.file().map_err(cannot)?,
        None => tempfile::tempfile().map_err(cannot)?,
    };
    let mut out = file.try_clone().map_err(cannot)?;
    let tracer = Tracer::new(file, &header, Keep::ALL);
    let mut simulation = Simulation::recorded(&experiment, tracer).map_err(Error::Network)?;
    let mut watch = Watch(Progress::begin(end.since(Time::ZERO), true));
    let stopped = simulation.watched(end, &mut watch).is_break();
    let took = watch.0.end();
    if stopped {
        return Err(Error::Study("Ctrl-C ended it before the trace was complete".into()));
    }
    let again = serde_json::to_vec_pretty(&simulation.outcome().summary(&experiment)).unwrap_or_default();
    let same = std::fs::read(folder.join(SUMMARY)).is_ok_and(|bytes| bytes.trim_ascii_end() == again);
    simulation.into_recorder().finish().map_err(|error| Error::WriteTrace(folder.join(TRACE), error))?;
    if !same {
        let why = format!("{shown} cannot be run again: this version of meshsim behaves differently");
        let help = format!("run `meshsim run {shown}/{EXPERIMENT} --trace` and look into that run");
        return Err(Error::WrongInput(why, help));
    }
    let took = Span::from_secs_f64(took.as_secs_f64());
    let place = match kept {
        Some(draft) => {
            draft.publish_file()?;
            format!("its trace is kept as {}", folder.join(TRACE).display())
        }
        None => "its trace is not kept: cannot write to the folder".into(),
    };
    screen.remark(&format!("that took {took} and gave the same figures; {place}\n"));
    out.rewind().map_err(cannot)?;
    // Opened to be written; it is read from here on.
    File::open(folder.join(TRACE)).or(Ok(out))
}

/// Shows how far it is, and stops it at Ctrl-C.
struct Watch(Progress);

impl Observer for Watch {
    fn reached(&mut self, now: Time, counts: &Counts) -> ControlFlow<()> {
        self.0.at(now, counts.events, "");
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
