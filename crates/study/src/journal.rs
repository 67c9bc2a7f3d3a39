//! The runs of a search, kept as they end: a search that was cut off finds them again and goes on.
//!
//! What a search tries next depends on what it found, so it has no plan ([`Store`](crate::store::Store) keeps the runs of
//! one). Its folder has one file, `search.jsonl`: a line that says of what search it is, and a [`Tried`] a line.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::figures::Ended;
use crate::store::StoreError;

/// What was tried.
const TRIED: &str = "search.jsonl";
/// The version of the format.
const FORMAT: u32 = 1;
/// The longest line that is read back, in bytes.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// Most runs that are read back.
const TRIED_MAX: usize = 1_000_000;

/// A run of a search that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Its seed.
    pub seed: u64,
    /// The factor by which rates were raised.
    pub factor: f64,
    /// What came of it.
    pub ended: Ended,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    name: String,
    fingerprint: String,
}

/// A folder that this process searches from; no other one does at the same time.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Locked as long as the journal is open.
    out: File,
}

impl Journal {
    /// Begins the search of this name and fingerprint in a folder, or goes on with it; with what was tried.
    ///
    /// # Errors
    /// When the folder holds other things or another search, another process works in it, or it cannot be written.
    pub fn open(path: &Path, name: &str, fingerprint: &str) -> Result<(Self, Vec<Tried>), StoreError> {
        let io = |error| StoreError::Io(path.to_owned(), error);
        let is_empty = |path: &Path| fs::read_dir(path).map(|mut entries| entries.next().is_none());
        if path.exists() && !is_search(path) && !is_empty(path).map_err(io)? {
            return Err(StoreError::Foreign(path.to_owned()));
        }
        fs::create_dir_all(path).map_err(io)?;
        let file = path.join(TRIED);
        let mut out = File::options().create(true).read(true).append(true).open(&file).map_err(io)?;
        match out.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
            Ok(()) => {}
        }
        let Kept { head, tried, whole_bytes } = read(path)?;
        // What follows a line that was cut off would be lost with it.
        out.set_len(whole_bytes).map_err(io)?;
        match head {
            Some(head) if head.format != FORMAT || head.fingerprint != fingerprint => {
                return Err(StoreError::Other(path.to_owned()));
            }
            Some(_) => {}
            None => {
                let head = Head { format: FORMAT, name: name.to_owned(), fingerprint: fingerprint.to_owned() };
                line(&mut out, &head).map_err(io)?;
            }
        }
        Ok((Journal { path: path.to_owned(), out }, tried))
    }

    /// Keeps a run: it is there after the process is killed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&mut self, tried: &Tried) -> Result<(), StoreError> {
        line(&mut self.out, tried).map_err(|error| StoreError::Io(self.path.join(TRIED), error))
    }

    /// The search is over: nothing is left to go on with.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(self) -> Result<(), StoreError> {
        remove(&self.path).map_err(|error| StoreError::Io(self.path.clone(), error))
    }
}

fn line(out: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)
}

struct Kept {
    head: Option<Head>,
    tried: Vec<Tried>,
    whole_bytes: u64,
}

fn read(path: &Path) -> Result<Kept, StoreError> {
    let file = path.join(TRIED);
    let mut reader =
        BufReader::new(meshsim_experiment::open_regular(&file).map_err(|error| StoreError::Io(file.clone(), error))?);
    let mut kept = Kept { head: None, tried: Vec::new(), whole_bytes: 0 };
    for n in 1..=TRIED_MAX {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(|error| StoreError::Io(file.clone(), error))? == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let damaged = |error: serde_json::Error| StoreError::Damaged(file.clone(), format!("line {n}: {error}"));
        match kept.head {
            None => kept.head = Some(serde_json::from_slice(&line).map_err(damaged)?),
            Some(_) => kept.tried.push(serde_json::from_slice(&line).map_err(damaged)?),
        }
        kept.whole_bytes += line.len() as u64;
    }
    Ok(kept)
}

/// Removes the folder of a search, with what was tried. A file of another origin stays, and the folder with it.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path.join(TRIED))?;
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

/// True for the folder of a search.
pub fn is_search(path: &Path) -> bool {
    path.join(TRIED).is_file()
}

/// The name of the experiment of a search, how many runs it has tried, and when the last one ended.
///
/// # Errors
/// When it is none, or a damaged one.
pub fn stand(path: &Path) -> Result<(String, usize, std::time::SystemTime), StoreError> {
    let kept = read(path)?;
    let written = path.join(TRIED).metadata().and_then(|file| file.modified());
    let written = written.map_err(|error| StoreError::Io(path.to_owned(), error))?;
    Ok((kept.head.map_or_else(String::new, |head| head.name), kept.tried.len(), written))
}
