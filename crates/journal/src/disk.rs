//! The few calls of a file system that a journal makes, and the file system of the machine.
//!
//! Tests put a file system in memory in its place, which loses what was not synced.

use std::fmt::Debug;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A directory of files.
///
/// A failure of power may undo [`create`](Self::create) and [`rename`](Self::rename) until [`sync`](Self::sync), and the
/// writes to a file until [`DiskFile::sync`].
pub trait Disk: Debug + Send {
    /// Opens a file; none if there is none with this name.
    ///
    /// # Errors
    /// If it cannot be opened, or is no regular file.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>>;

    /// Creates an empty file, also in place of one with this name.
    ///
    /// # Errors
    /// If it cannot be created.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, and takes this name from the file that had it: at every moment the name means one of
    /// the two.
    ///
    /// # Errors
    /// If it cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Syncs the directory.
    ///
    /// # Errors
    /// If it cannot be synced.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Debug + Send {
    /// Number of its bytes.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads as many bytes as there are in `into`.
    ///
    /// # Errors
    /// If they cannot be read, or the file ends before.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all bytes.
    ///
    /// # Errors
    /// If some of them cannot be written.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all that was written is durable, with the length of the file.
    ///
    /// # Errors
    /// If some of it may be lost. A second sync may succeed although it is: the first error is the last word.
    fn sync(&self) -> io::Result<()>;
}

/// File whose lock is that of its directory.
pub(crate) const LOCK: &str = "lock";

/// A directory of the file system, locked for this process.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The system unlocks it however the process ends. A file of its own: journals are renamed.
    _lock: File,
}

impl Directory {
    /// Creates a directory, unless it is there, and locks it; `None` if another process has locked it.
    ///
    /// # Errors
    /// If its parent does not exist, or it cannot be created, synced or locked.
    pub fn lock(path: &Path) -> io::Result<Option<Self>> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        sync(parent)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Directory { path: path.to_owned(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl Disk for Directory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        let path = self.path.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(found) if !found.is_file() => {
                let text = format!("{} is not a regular file", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            Ok(_) => {}
        }
        Ok(Some(Box::new(File::options().read(true).write(true).open(path)?)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        // Nothing is written into the file of a link.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Box::new(File::options().create_new(true).read(true).write(true).open(path)?)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync(&self) -> io::Result<()> {
        sync(&self.path)
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
