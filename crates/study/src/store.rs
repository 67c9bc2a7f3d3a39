//! The folder of a study: its plan and its runs. An interrupted study continues from it.
//!
//! - `study.json`: the varied keys, the fingerprint of the plan, and the version of the program that began it;
//! - `experiment.yaml`, and the files that it refers to;
//! - `runs.jsonl`: one [`Row`] per line, written as runs end; in the order of the plan when all have ended;
//! - `shards/`: runs of other processes ([`shards`]), until they are gathered into `runs.jsonl`.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use meshsim_experiment::{Experiment, Problems};
use serde::{Deserialize, Serialize};

use crate::figures::Row;
use crate::plan::{Job, PROGRAM, Plan, PlanError, RUNS_MAX, Varied};
use crate::shards::{self, SHARDS};
use crate::sweep;

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
    /// `None` in what was written before the version was a part of the fingerprint.
    #[serde(default)]
    program: Option<String>,
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
    /// It holds a shard of another study.
    #[error("{0} holds runs of another plan")]
    OtherShard(PathBuf),
    /// Another version of the program, of this name, began it: runs of two versions are not comparable.
    #[error("{0} holds a study that {1} began, and this is meshsim {PROGRAM}: their runs may differ")]
    OtherProgram(PathBuf, String),
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

/// Reads the plan of a folder, and the experiment without its varied values. The plan of another version of the program
/// can be read, but [`Store::open`] does not continue it.
///
/// # Errors
/// If the folder holds no study, or a damaged one.
pub fn read_plan(path: &Path) -> Result<(Plan, Experiment), StoreError> {
    let written = read_written(path)?;
    let experiment = meshsim_experiment::load(&path.join(EXPERIMENT), &[]).map_err(StoreError::Problems)?;
    let plan = Plan::new(&experiment, written.varied)?;
    if plan.fingerprint_by(written.program.as_deref()) != written.fingerprint {
        return Err(StoreError::Damaged(path.join(PLAN), "its experiment was changed after the study began".into()));
    }
    Ok((plan, experiment))
}

impl Written {
    fn check_program(&self, path: &Path) -> Result<(), StoreError> {
        match &self.program {
            Some(program) if program == PROGRAM => Ok(()),
            Some(other) => Err(StoreError::OtherProgram(path.to_owned(), format!("meshsim {other}"))),
            None => Err(StoreError::OtherProgram(path.to_owned(), "an earlier version of meshsim".into())),
        }
    }
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

/// Makes the folder of a study, unless it is there. Several processes may do so at once.
///
/// # Errors
/// If the folder holds other files or another plan, or it cannot be written.
pub(crate) fn prepare(path: &Path, plan: &Plan) -> Result<(), StoreError> {
    let io = |error| StoreError::Io(path.to_owned(), error);
    let has_plan = || path.join(PLAN).exists();
    // Another process may write the plan, and begin a shard, while this one looks.
    if path.exists() && !has_plan() && !is_begun(path, plan).map_err(io)? && !has_plan() {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    fs::create_dir_all(path).map_err(io)?;
    let fingerprint = plan.fingerprint();
    if path.join(PLAN).exists() {
        let written = read_written(path)?;
        written.check_program(path)?;
        if written.fingerprint != fingerprint {
            return Err(StoreError::Other(path.to_owned()));
        }
    } else {
        let varied = plan.varied.clone();
        let (name, program) = (plan.name.clone(), Some(PROGRAM.to_owned()));
        let written = Written { format: FORMAT, name, program, fingerprint, varied };
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
        // Another process may have begun another study here at the same time.
        if read_written(path)?.fingerprint != plan.fingerprint() {
            return Err(StoreError::Other(path.to_owned()));
        }
    }
    Ok(())
}

/// True if a folder without a plan has nothing but what another process has written there of this plan, which may be
/// nothing yet.
fn is_begun(path: &Path, plan: &Plan) -> io::Result<bool> {
    let files = plan.bundle().files.iter().map(|(name, _)| name.as_str());
    let own: Vec<&str> = files.chain([EXPERIMENT, PLAN]).collect();
    let is_own = |name: &str| {
        let rest = own.iter().find_map(|own| name.strip_prefix(own));
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(".part"))
    };
    for entry in fs::read_dir(path)? {
        if !entry?.file_name().to_str().is_some_and(is_own) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Store {
    /// Starts a study in a folder, or continues it; returns the runs that are there, with those of its shards, in the
    /// order of the plan.
    ///
    /// An incomplete last line is dropped.
    ///
    /// # Errors
    /// If the folder holds other files or another plan, another version of the program began it, another process uses
    /// it, or it cannot be written.
    pub fn open(path: &Path, plan: &Plan) -> Result<(Self, Vec<Row>), StoreError> {
        prepare(path, plan)?;
        let io = |error| StoreError::Io(path.to_owned(), error);
        let lock = File::open(path.join(PLAN)).map_err(io)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
            Ok(()) => {}
        }
        let runs = path.join(RUNS);
        let mut rows = BTreeMap::new();
        read_rows(&runs, plan, &mut rows)?;
        shards::read(path, plan, &mut rows)?;
        let rows: Vec<Row> = rows.into_values().collect();
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
        replace(&self.path.join(RUNS), |out| write_rows(out, rows)).map_err(io)?;
        shards::remove(&self.path)
    }
}

fn write_rows(out: &mut BufWriter<File>, rows: &[Row]) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *out, row)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Adds the runs of a file that belong to the plan, each by its place in the plan.
pub(crate) fn read_rows(path: &Path, plan: &Plan, rows: &mut BTreeMap<usize, Row>) -> Result<(), StoreError> {
    let file = match meshsim_experiment::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::Io(path.to_owned(), error)),
    };
    read_lines(&mut BufReader::new(file), path, 1, &plan.places(), rows)
}

/// Adds the runs of the lines that follow, of which the first is line `first` of the file.
pub(crate) fn read_lines(
    reader: &mut impl BufRead,
    path: &Path,
    first: usize,
    places: &BTreeMap<Job, usize>,
    rows: &mut BTreeMap<usize, Row>,
) -> Result<(), StoreError> {
    for n in first..first + 2 * RUNS_MAX {
        let Some(line) = next_line(reader, path)? else { break };
        let row: Row = serde_json::from_slice(&line)
            .map_err(|error| StoreError::Damaged(path.to_owned(), format!("line {n}: {error}")))?;
        let job = Job { point: row.point, seed: row.seed };
        if let Some(place) = places.get(&job) {
            rows.insert(*place, row);
        }
    }
    Ok(())
}

/// The next line; `None` at the end, and if the line is incomplete.
pub(crate) fn next_line(reader: &mut impl BufRead, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let mut line = Vec::new();
    let read = reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    read.map_err(|error| StoreError::Io(path.to_owned(), error))?;
    Ok((line.last() == Some(&b'\n')).then_some(line))
}

/// Writes a file under another name, and renames it when it is complete. The other name is random: the processes of
/// several machines may write the same file at once.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", shards::id()?));
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
    shards::remove(path)?;
    // A damaged study is removed too, except the files that its experiment refers to.
    let files = read_plan(path).map(|(plan, _)| plan.bundle().files.clone()).unwrap_or_default();
    let named = files.iter().map(|(name, _)| name.as_str());
    let tables = [sweep::POINTS_CSV, sweep::RUNS_CSV, sweep::POINTS_PARQUET, sweep::RUNS_PARQUET];
    let own: Vec<&str> = [PLAN, RUNS, EXPERIMENT].into_iter().chain(tables).collect();
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
    let time = |name: &str| path.join(name).metadata().and_then(|file| file.modified());
    // A study has runs of its own when it was run without shards, or gathered.
    let written = [time(RUNS), time(SHARDS)].into_iter().filter_map(Result::ok).max();
    let written = written.map_or_else(|| time(PLAN).map_err(io), Ok)?;
    let mut rows = BTreeMap::new();
    read_rows(&path.join(RUNS), plan, &mut rows)?;
    shards::read(path, plan, &mut rows)?;
    Ok((rows.len(), written))
}

/// True if the folder holds a study.
pub fn is_study(path: &Path) -> bool {
    path.join(PLAN).is_file()
}
