//! The folder of a run: files that appear when they are complete, and not before.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::interrupt::UNFINISHED;

/// A folder that is written to.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// A file under a name of its own until it is complete. Dropped before that, it is taken away.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    under: PathBuf,
}

impl Folder {
    /// Makes the folder, if it is not there, and sees whether a file can be written into it.
    pub(crate) fn create(path: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&path).map_err(|error| Error::Write(path.clone(), error))?;
        let folder = Folder { path };
        folder.draft("summary.json")?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a file.
    pub(crate) fn draft(&self, name: &str) -> Result<(Draft, File), Error> {
        let path = self.path.join(name);
        Draft::create(&path).map_err(|error| Error::Write(path, error))
    }

    /// Writes a whole file, for [`Draft::publish`].
    pub(crate) fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<Draft, Error> {
        let (draft, file) = self.draft(name)?;
        let mut out = BufWriter::with_capacity(64 << 10, file);
        match write(&mut out).and_then(|()| out.flush()) {
            Ok(()) => Ok(draft),
            Err(error) => {
                let _ = out.into_parts();
                Err(Error::Write(draft.path.clone(), error))
            }
        }
    }

    /// Refuses to replace a file that no run wrote: what a run leaves is replaced by the next, but the folder may be
    /// somebody's own.
    pub(crate) fn spare(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let is_run = self.path.join("summary.json").exists();
        match fs::read(&path) {
            Ok(other) if !is_run && other != text.as_bytes() => {
                let why = format!("{} is there already, and is no file of a run", path.display());
                Err(Error::WrongInput(why, "`--out` writes elsewhere".into()))
            }
            _ => Ok(()),
        }
    }

    /// Takes away a file of an earlier run.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Write(path, error)),
            _ => Ok(()),
        }
    }
}

impl Draft {
    /// Begins a file.
    pub(crate) fn create(path: &Path) -> io::Result<(Self, File)> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // With the process's number: another run may write into the same folder.
        let under = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = File::create(&under)?;
        remember(&under);
        Ok((Draft { path: path.to_owned(), under }, file))
    }

    /// Where the file lies until it is published.
    pub(crate) fn under(&self) -> &Path {
        &self.under
    }

    /// Where it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the complete file its name, in place of an older one.
    pub(crate) fn publish(self) -> Result<(), Error> {
        fs::rename(&self.under, &self.path).map_err(|error| Error::Write(self.path.clone(), error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing there is nothing under that name.
        let _ = fs::remove_file(&self.under);
        let mut list = UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        list.retain(|path| *path != self.under);
    }
}

fn remember(path: &Path) {
    UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(path.to_owned());
}
