//! The folder of a study: its plan and its runs. An interrupted study continues from it.
//!
//! - `study.json`: the varied keys, and the fingerprint of the plan;
//! - `experiment.yaml`, and the files that it refers to;
//! - `runs.jsonl`: one [`Row`] per line, written as runs end; in the order of the plan when all have ended.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use meshsim_experiment::{Experiment, Problems};
use serde::{Deserialize, Serialize};

use crate::figures::Row;
use crate::plan::{Plan, PlanError, RUNS_MAX, Varied};

/// File with the plan.
pub const PLAN: &str = "study.json";
/// File with the runs.
pub const RUNS: &str = "runs.jsonl";
const EXPERIMENT: &str = "experiment.yaml";

/// The version of the format.
const FORMAT: u32 = 1;

/// The longest line that is read back, in bytes.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// The largest `study.json` that is read, in bytes.
const PLAN_BYTES_MAX: u64 = 64 << 20;

/// Folder of a study, locked for this process.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    out: File,
    /// Locked while the store is open.
    _lock: File,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    format: u32,
    name: String,
    fingerprint: String,
    #[serde(flatten)]
    varied: Varied,
}

/// Reason why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It holds other files.
    #[error("{0} exists and holds no study")]
    Foreign(PathBuf),
    /// It holds another study.
    #[error("{0} holds a study of another plan")]
    Other(PathBuf),
    /// Another process uses it.
    #[error("another process is at work in {0}")]
    Busy(PathBuf),
    /// A file in it is damaged.
    #[error("{0}: {1}")]
    Damaged(PathBuf, String),
    /// The experiment in it cannot be read.
    #[error("{0}")]
    Problems(Problems),
    /// The plan in it cannot be read.
    #[error("{0}")]
    Plan(#[from] PlanError),
}

/// Reads the plan of a folder, and the experiment without its varied values.
///
/// # Errors
/// If the folder holds no study, or a damaged one.
pub fn read_plan(path: &Path) -> Result<(Plan, Experiment), StoreError> {
    let written = read_written(path)?;
    let experiment = meshsim_experiment::load(&path.join(EXPERIMENT), &[]).map_err(StoreError::Problems)?;
    let plan = Plan::new(&experiment, written.varied)?;
    if plan.fingerprint() != written.fingerprint {
        return Err(StoreError::Damaged(path.join(PLAN), "its experiment was changed after the study began".into()));
    }
    Ok((plan, experiment))
}

fn read_written(path: &Path) -> Result<Written, StoreError> {
    let file = path.join(PLAN);
    let found = meshsim_experiment::open_regular(&file).map_err(|_| StoreError::Foreign(path.to_owned()))?;
    let written: Result<Written, _> = serde_json::from_reader(BufReader::new(found.take(PLAN_BYTES_MAX)));
    let damaged = |why: String| StoreError::Damaged(file.clone(), why);
    let written = written.map_err(|error| damaged(error.to_string()))?;
    match written.format {
        FORMAT => Ok(written),
        other => Err(damaged(format!("its format is {other}, and this version reads {FORMAT}"))),
    }
}

impl Store {
    /// Starts a study in a folder, or continues it; returns the runs that are there, in the order of the plan.
    ///
    /// An incomplete last line is dropped.
    ///
    /// # Errors
    /// If the folder holds other files or another plan, another process uses it, or it cannot be written.
    pub fn open(path: &Path, plan: &Plan) -> Result<(Self, Vec<Row>), StoreError> {
        let io = |error| StoreError::Io(path.to_owned(), error);
        let is_empty = |path: &Path| fs::read_dir(path).map(|mut entries| entries.next().is_none());
        if path.exists() && !path.join(PLAN).exists() && !is_empty(path).map_err(io)? {
            return Err(StoreError::Foreign(path.to_owned()));
        }
        fs::create_dir_all(path).map_err(io)?;
        let fingerprint = plan.fingerprint();
        if path.join(PLAN).exists() {
            if read_written(path)?.fingerprint != fingerprint {
                return Err(StoreError::Other(path.to_owned()));
            }
        } else {
            let varied = plan.varied.clone();
            let written = Written { format: FORMAT, name: plan.name.clone(), fingerprint, varied };
            let bundle = plan.bundle();
            for (name, text) in &bundle.files {
                replace(&path.join(name), |out| out.write_all(text.as_bytes())).map_err(io)?;
            }
            replace(&path.join(EXPERIMENT), |out| out.write_all(bundle.text.as_bytes())).map_err(io)?;
            // Written last: a folder with a plan has everything that the plan needs.
            let write = |out: &mut BufWriter<File>| {
                serde_json::to_writer_pretty(&mut *out, &written)?;
                out.write_all(b"\n")
            };
            replace(&path.join(PLAN), write).map_err(io)?;
        }
        let lock = File::open(path.join(PLAN)).map_err(io)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
            Ok(()) => {}
        }
        let runs = path.join(RUNS);
        let rows = read_rows(&runs, plan)?;
        // Whole lines only: a line after an incomplete one would be lost with it.
        replace(&runs, |out| write_rows(out, &rows)).map_err(io)?;
        let out = File::options().append(true).open(&runs).map_err(io)?;
        Ok((Store { path: path.to_owned(), out, _lock: lock }, rows))
    }

    /// Stores a run, so that it survives the end of the process.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, row: &Row) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(row).unwrap_or_default();
        line.push(b'\n');
        self.out.write_all(&line).map_err(|error| StoreError::Io(self.path.join(RUNS), error))
    }

    /// Writes all runs in the order of the plan, and other files beside them.
    ///
    /// # Errors
    /// If they cannot be written; the earlier content is kept.
    pub fn finish(self, rows: &[Row], files: &[(&str, &[u8])]) -> Result<(), StoreError> {
        let io = |error| StoreError::Io(self.path.clone(), error);
        for (name, bytes) in files {
            replace(&self.path.join(name), |out| out.write_all(bytes)).map_err(io)?;
        }
        replace(&self.path.join(RUNS), |out| write_rows(out, rows)).map_err(io)
    }
}

fn write_rows(out: &mut BufWriter<File>, rows: &[Row]) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *out, row)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The runs of a file that belong to the plan, each once, in the order of the plan.
fn read_rows(path: &Path, plan: &Plan) -> Result<Vec<Row>, StoreError> {
    let file = match meshsim_experiment::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::Io(path.to_owned(), error)),
    };
    let order = plan.places();
    let mut rows = std::collections::BTreeMap::new();
    let mut reader = BufReader::new(file);
    for n in 1..=2 * RUNS_MAX {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(|error| StoreError::Io(path.to_owned(), error))? == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let row: Row = serde_json::from_slice(&line)
            .map_err(|error| StoreError::Damaged(path.to_owned(), format!("line {n}: {error}")))?;
        let job = crate::plan::Job { point: row.point, seed: row.seed };
        if let Some(place) = order.get(&job) {
            rows.insert(*place, row);
        }
    }
    Ok(rows.into_values().collect())
}

/// Writes a file under another name, and renames it when it is complete.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let mut out = BufWriter::new(File::create(&name)?);
    let written = write(&mut out).and_then(|()| out.flush()).and_then(|()| out.get_ref().sync_all());
    let done = written.and_then(|()| fs::rename(&name, path));
    if done.is_err() {
        let _ = fs::remove_file(&name);
    }
    done
}

/// Removes the files of a study, its plan first, so that an incomplete rest is not taken for a study. Foreign files
/// stay, and the folder with them.
///
/// # Errors
/// If the folder holds no study, or cannot be removed.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::Io(path.to_owned(), error);
    // A damaged study is removed too, except the files that its experiment refers to.
    let files = read_plan(path).map(|(plan, _)| plan.bundle().files.clone()).unwrap_or_default();
    let named = files.iter().map(|(name, _)| name.as_str());
    let own = [PLAN, RUNS, EXPERIMENT, crate::sweep::POINTS_CSV, crate::sweep::RUNS_CSV];
    for name in own.into_iter().chain(named) {
        match fs::remove_file(path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(io(error)),
        _ => Ok(()),
    }
}

/// Number of finished runs of a study, and time of the last one.
///
/// # Errors
/// If the folder holds no study.
pub fn stand(path: &Path, plan: &Plan) -> Result<(usize, std::time::SystemTime), StoreError> {
    let io = |error| StoreError::Io(path.to_owned(), error);
    let written = path.join(RUNS).metadata().and_then(|file| file.modified()).map_err(io)?;
    Ok((read_rows(&path.join(RUNS), plan)?.len(), written))
}

/// True if the folder holds a study.
pub fn is_study(path: &Path) -> bool {
    path.join(PLAN).is_file()
}
