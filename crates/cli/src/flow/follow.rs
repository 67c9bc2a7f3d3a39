//! A run that is being written: the records of its trace as they come.
//!
//! A simulated run writes its trace chunk by chunk; the processes that `meshsim live` started write a part each, and
//! close a chunk each second. Processes on other machines send their parts when the run has ended, so they cannot be
//! followed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_trace::{Growing, Header, ReadErrorKind, Reader};

use super::place::Place;
use super::source::refuse_another;
use super::stream::{Item, Known};
use super::words::Names;
use crate::error::Error;
use crate::folder::{self, RunDir};
use crate::output::{self, TRACE};
use crate::{read, runs};

/// Interval at which the files of the run are looked at. A live run closes its chunks once a second.
const LOOK: Duration = Duration::from_millis(500);

/// Directory with the parts of the trace of a live run, while it goes on.
pub(crate) const PARTS: &str = "trace.parts";

/// Makes a run that is about to begin one that can be followed: its experiment is there from the beginning. Returns the
/// directory for the parts of its trace.
pub(crate) fn begin(experiment: &Experiment, folder: &RunDir) -> PathBuf {
    for (name, text) in output::inputs(experiment) {
        // Without them there are numbers in place of names; the run writes them again when it ends, and says why it
        // cannot.
        let _ = fs::write(folder.staged(name), text);
    }
    folder.staged(PARTS)
}

/// A run that is being written.
pub(crate) struct Following {
    /// Its name in output.
    pub(crate) label: String,
    stage: PathBuf,
    growing: Growing<Place, Msg, Tick>,
    known: Known,
    /// Parts that are read.
    open: BTreeSet<PathBuf>,
    /// Header of its trace.
    pub(crate) header: Header,
    /// Its names.
    pub(crate) names: Names,
}

impl Following {
    /// The run at this place that is being written; `None` if none is, or nothing of its trace is there yet.
    ///
    /// # Errors
    /// If its trace cannot be read.
    pub(crate) fn open(run: &Path) -> Result<Option<Self>, Error> {
        let Some(stage) = stage(run) else { return Ok(None) };
        let mut following = Following {
            label: run.display().to_string(),
            stage,
            growing: Growing::default(),
            known: Known::default(),
            open: BTreeSet::new(),
            header: Header::default(),
            names: Names::default(),
        };
        following.add_parts()?;
        if following.growing.parts() == 0 {
            return Ok(None);
        }
        following.names = Names::new(&following.header, following.experiment().as_ref());
        Ok(Some(following))
    }

    /// Its experiment, if that is there.
    pub(crate) fn experiment(&self) -> Option<Experiment> {
        let experiment = read::experiment(&self.stage, None).ok();
        experiment.filter(|experiment| refuse_another(experiment, &self.header).is_ok())
    }

    /// The directory of the run once it has ended.
    pub(crate) fn folder(&self) -> PathBuf {
        folder::written_from(&self.stage).unwrap_or_else(|| self.stage.clone())
    }

    /// True if its files are not yet at their final place, and a process writes them.
    pub(crate) fn is_being_written(&self) -> bool {
        self.stage.parent().is_some_and(|parent| folder::all_being_written(parent).contains(&self.stage))
    }

    /// Takes what is new. Returns false if the run has ended, and nothing more will come.
    ///
    /// # Errors
    /// If its trace cannot be read further.
    pub(crate) fn look(&mut self, mut take: impl FnMut(Item)) -> Result<bool, Error> {
        // Asked before it is read, so that nothing comes behind the last look.
        let is_last = !self.stage.exists();
        if !is_last {
            self.add_parts()?;
        }
        let path = self.stage.clone();
        let known = &mut self.known;
        let read = self.growing.look(is_last, |record| take(known.take(record)));
        read.map_err(|error| Error::Trace(path, error))?;
        Ok(!is_last && !self.growing.has_ended())
    }

    fn add_parts(&mut self) -> Result<(), Error> {
        let parts = fs::read_dir(self.stage.join(PARTS)).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut parts: Vec<PathBuf> = parts.collect();
        // Without parts the trace itself; with them, it is what they are merged into in the end.
        if parts.is_empty() && self.growing.parts() == 0 {
            parts.push(self.stage.join(TRACE));
        }
        parts.sort();
        for path in parts {
            if self.open.contains(&path) {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            match Reader::<_, Msg, Tick>::new(Place::new(file.into())) {
                Ok(reader) => {
                    self.header = reader.header().clone();
                    self.growing.add(reader);
                    self.open.insert(path);
                }
                // Its writer has only just begun.
                Err(error) if matches!(error.trouble, ReadErrorKind::CutOff | ReadErrorKind::NotATrace) => {}
                Err(error) => return Err(Error::Trace(path, error)),
            }
        }
        Ok(())
    }
}

/// Waits until it is time for the next look.
#[expect(clippy::disallowed_methods, reason = "no actor waits: this looks at files")]
pub(crate) fn pause() {
    thread::sleep(LOOK);
}

/// The directory in which a run is being written: that of this name, or under `runs`; `last` is the one that began
/// last.
fn stage(run: &Path) -> Option<PathBuf> {
    if run == Path::new(runs::LAST) && run.symlink_metadata().is_err() {
        let all = folder::all_being_written(Path::new(runs::RUNS)).into_iter();
        return all.max_by_key(|path| path.metadata().and_then(|it| it.created()).ok());
    }
    folder::being_written(run).or_else(|| folder::being_written(&Path::new(runs::RUNS).join(run)))
}
