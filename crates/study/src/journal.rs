//! The runs of a search, stored as they end: an interrupted search reads them back and continues.
//!
//! A search chooses its next run from the results so far, so it has no plan ([`Store`](crate::store::Store) keeps the
//! runs of a plan). Its folder has one file, `search.jsonl`: a line that identifies the search, and then one [`Tried`]
//! per line.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::figures::Ended;
use crate::store::StoreError;

/// File with the runs.
const TRIED: &str = "search.jsonl";
/// The version of the format.
const FORMAT: u32 = 1;
/// The longest line that is read back, in bytes.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// Most runs that are read back.
const TRIED_MAX: usize = 1_000_000;

/// A finished run of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Its seed.
    pub seed: u64,
    /// Factor on the rates of the file.
    pub factor: f64,
    /// Result.
    pub ended: Ended,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    name: String,
    fingerprint: String,
}

/// Folder of a search, locked for this process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Locked while the journal is open.
    out: File,
}

impl Journal {
    /// Starts the search with this name and fingerprint in a folder, or continues it; returns the runs that are already
    /// there.
    ///
    /// # Errors
    /// If the folder holds other files or another search, another process uses it, or it cannot be written.
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
        // A line after an incomplete one would be lost with it.
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

    /// Stores a run, so that it survives the end of the process.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, tried: &Tried) -> Result<(), StoreError> {
        line(&mut self.out, tried).map_err(|error| StoreError::Io(self.path.join(TRIED), error))
    }

    /// Removes the folder: the search is complete.
    ///
    /// # Errors
    /// If it cannot be removed.
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

/// Removes the folder of a search with its runs. Foreign files stay, and the folder with them.
///
/// # Errors
/// If it cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path.join(TRIED))?;
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

/// True if the folder holds a search.
pub fn is_search(path: &Path) -> bool {
    path.join(TRIED).is_file()
}

/// Name of the experiment of a search, number of its runs, and time of the last one.
///
/// # Errors
/// If the folder holds no search, or a damaged one.
pub fn stand(path: &Path) -> Result<(String, usize, std::time::SystemTime), StoreError> {
    let kept = read(path)?;
    let written = path.join(TRIED).metadata().and_then(|file| file.modified());
    let written = written.map_err(|error| StoreError::Io(path.to_owned(), error))?;
    Ok((kept.head.map_or_else(String::new, |head| head.name), kept.tried.len(), written))
}
