//! The runs of shards in the folder of a study.
//!
//! A shard may run on any machine that sees the folder, at any time, and again. So each process writes files of its
//! own, and no process needs a lock that works between machines:
//!
//! - `shards/2-of-8.ID.part`: the runs of one process, appended as they end; `ID` is random.
//! - `shards/2-of-8.jsonl`: all runs of the shard, in the order of the plan. It is written when all have ended, and
//!   appears by being renamed. A repeated shard writes the same bytes.
//!
//! The first line of each is a header with the plan's fingerprint, each other line a [`Row`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::figures::Row;
use crate::plan::Plan;
use crate::shard::Shard;
use crate::store::{self, RUNS, StoreError};

/// The folder of the shards, in that of the study.
pub const SHARDS: &str = "shards";

/// The version of the format.
const FORMAT: u32 = 1;

/// The most files of shards that are read.
const FILES_MAX: usize = 200_000;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    format: u32,
    fingerprint: String,
    #[serde(flatten)]
    shard: Shard,
}

/// A shard at work.
#[derive(Debug)]
pub struct ShardStore {
    folder: PathBuf,
    header: Header,
    /// The file of this process, and its name.
    out: File,
    part: PathBuf,
}

impl ShardStore {
    /// Starts a shard in the folder of a study, or continues it: returns its runs that are there, in the order of the
    /// plan, whichever process made them.
    ///
    /// # Errors
    /// If the folder holds other files or another plan, or it cannot be written.
    pub fn open(path: &Path, plan: &Plan, shard: Shard) -> Result<(Self, Vec<Row>), StoreError> {
        store::prepare(path, plan)?;
        let header = Header { format: FORMAT, fingerprint: plan.fingerprint(), shard };
        let mut rows = BTreeMap::new();
        // A finished shard of the same division has nothing that this one needs, and there may be thousands.
        let is_needed = |file: &ShardFile| file.shard == shard || file.shard.of() != shard.of();
        // A damaged file of this shard is replaced.
        read_files(path, plan, is_needed, |file| file.shard == shard, &mut rows)?;
        store::read_rows(&path.join(RUNS), plan, &mut rows)?;
        rows.retain(|place, _| shard.holds(*place));

        let folder = path.join(SHARDS);
        let io = |error| StoreError::Io(folder.clone(), error);
        fs::create_dir_all(&folder).map_err(io)?;
        let part = folder.join(format!("{}-of-{}.{}.part", shard.number(), shard.of(), id().map_err(io)?));
        let mut out = File::create_new(&part).map_err(io)?;
        out.write_all(&line(&header)).map_err(io)?;
        Ok((ShardStore { folder: path.to_owned(), header, out, part }, rows.into_values().collect()))
    }

    /// Stores a run, so that it survives the end of the process.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, row: &Row) -> Result<(), StoreError> {
        self.out.write_all(&line(row)).map_err(|error| StoreError::Io(self.part.clone(), error))
    }

    /// Writes all runs of the shard, which replace those of an earlier process, and returns the name of the file;
    /// `None` if the study has these runs already, because it was gathered.
    ///
    /// # Errors
    /// If they cannot be written; the earlier file is kept.
    pub fn finish(self, plan: &Plan, rows: &[Row]) -> Result<Option<PathBuf>, StoreError> {
        let shard = self.header.shard;
        let io = |error| StoreError::Io(self.folder.join(SHARDS), error);
        let mut gathered = BTreeMap::new();
        store::read_rows(&self.folder.join(RUNS), plan, &mut gathered)?;
        let is_gathered = gathered.keys().filter(|place| shard.holds(**place)).count() == rows.len();
        let file = self.folder.join(SHARDS).join(format!("{}-of-{}.jsonl", shard.number(), shard.of()));
        if !is_gathered {
            // Another process gathered the study meanwhile, and removed the folder.
            fs::create_dir_all(self.folder.join(SHARDS)).map_err(io)?;
            let write = |out: &mut io::BufWriter<File>| {
                out.write_all(&line(&self.header))?;
                rows.iter().try_for_each(|row| out.write_all(&line(row)))
            };
            store::replace(&file, write).map_err(io)?;
        }
        drop(self.out);
        for found in list(&self.folder)? {
            if found.shard == shard && found.is_part {
                remove_file(&found.path)?;
            }
        }
        if is_gathered {
            // Empty, if all shards are gathered.
            let _ = fs::remove_dir(self.folder.join(SHARDS));
        }
        Ok((!is_gathered).then_some(file))
    }
}

/// Sixteen random hexadecimal digits: two machines may have processes of one number.
pub(crate) fn id() -> io::Result<String> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Io(path.to_owned(), error)),
        _ => Ok(()),
    }
}

/// A file of a shard, by its name.
struct ShardFile {
    shard: Shard,
    is_part: bool,
    path: PathBuf,
}

impl ShardFile {
    fn new(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (number, rest) = name.split_once("-of-")?;
        let (of, rest) = rest.split_once('.')?;
        let shard = Shard::new(number.parse().ok()?, of.parse().ok()?).ok()?;
        let is_part = match rest.strip_suffix(".part") {
            Some(id) if id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => true,
            None if rest == "jsonl" => false,
            _ => return None,
        };
        Some(ShardFile { shard, is_part, path })
    }
}

/// The files of shards, in order of their names; others are left alone.
fn list(path: &Path) -> Result<Vec<ShardFile>, StoreError> {
    let folder = path.join(SHARDS);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::Io(folder, error)),
    };
    let files = entries.filter_map(|entry| ShardFile::new(entry.ok()?.path())).take(FILES_MAX);
    let mut files: Vec<_> = files.collect();
    files.sort_by(|a, b| (a.shard, a.is_part, &a.path).cmp(&(b.shard, b.is_part, &b.path)));
    Ok(files)
}

/// Adds the runs of all shards, by their place in the plan.
///
/// # Errors
/// If a shard is of another plan, or damaged.
pub(crate) fn read(path: &Path, plan: &Plan, rows: &mut BTreeMap<usize, Row>) -> Result<(), StoreError> {
    read_files(path, plan, |_| true, |_| false, rows)
}

fn read_files(
    path: &Path,
    plan: &Plan,
    is_needed: impl Fn(&ShardFile) -> bool,
    may_be_damaged: impl Fn(&ShardFile) -> bool,
    rows: &mut BTreeMap<usize, Row>,
) -> Result<(), StoreError> {
    let (fingerprint, places) = (plan.fingerprint(), plan.places());
    for file in list(path)?.into_iter().filter(is_needed) {
        let found = match meshsim_experiment::open_regular(&file.path) {
            Ok(found) => found,
            // Its process has ended since, or was gathered.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::Io(file.path, error)),
        };
        let mut reader = BufReader::new(found);
        // Of a process that was killed before it wrote anything.
        let Some(first) = store::next_line(&mut reader, &file.path)? else { continue };
        let header: Header = match serde_json::from_slice(&first) {
            Ok(header) => header,
            Err(_) if may_be_damaged(&file) => continue,
            Err(error) => return Err(StoreError::Damaged(file.path, format!("line 1: {error}"))),
        };
        if header.fingerprint != fingerprint || header.format != FORMAT || header.shard != file.shard {
            return Err(StoreError::OtherShard(file.path));
        }
        match store::read_lines(&mut reader, &file.path, 2, &places, rows) {
            Err(StoreError::Damaged(..)) if may_be_damaged(&file) => {}
            read => read?,
        }
    }
    Ok(())
}

/// Removes the files of all shards.
///
/// # Errors
/// If they cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    list(path)?.iter().try_for_each(|file| remove_file(&file.path))?;
    match fs::remove_dir(path.join(SHARDS)) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(StoreError::Io(path.join(SHARDS), error))
        }
        _ => Ok(()),
    }
}
