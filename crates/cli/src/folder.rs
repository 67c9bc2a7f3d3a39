//! The directory of a run, and single files: they appear when they are complete, and not before.
//!
//! The files of a run are written to a staging directory beside its own, flushed to the disk, and then take the place
//! of the run that was there before in one rename. Where that cannot be done (the directory is a mount point, or holds
//! files that no run wrote) they are renamed into it one by one, `summary.json` last: a directory is that of a run if
//! it holds a summary.
//!
//! A killed process leaves its staging directory behind. The next process that writes the same run removes that
//! directory, if it is not locked and the process in its name has ended.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use meshsim_report::Summary;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::error::Error;
use crate::interrupt::UNFINISHED;

/// File with the measurements of a run. A directory that contains one is the directory of a run.
pub(crate) const SUMMARY: &str = "summary.json";

/// The directory of a run that is being written. Dropped before [`publish`](Self::publish), it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    stage: Unfinished,
    /// Names of the files written so far, in their order.
    names: std::cell::RefCell<Vec<String>>,
}

/// A file or directory under a name of its own until it is complete. Dropped before that, it is removed.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    /// Locked as long as this is there: the system unlocks it however the process ends.
    _lock: Option<File>,
}

impl Unfinished {
    fn remember(path: PathBuf) -> Self {
        UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(path.clone());
        // Not every file system has locks; the process's number remains.
        let lock = File::open(&path).ok().filter(|file| file.try_lock().is_ok());
        Unfinished { path, _lock: lock }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After publishing there is nothing under that name.
        remove(&self.path);
        let mut list = UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        list.retain(|path| *path != self.path);
    }
}

/// Name of a file that this process has not finished. It contains the process id: another process may write the same
/// file.
fn unfinished_name(name: &str) -> String {
    format!(".{name}.{}.part", std::process::id())
}

/// Removes the leftovers of ended processes for `name` in a folder. One of them may have had this process's id: in a
/// container it is often 1.
fn clear_abandoned(folder: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let pid = found.to_str().and_then(unfinished).filter(|(of, _)| *of == name).map(|(_, pid)| pid);
        let is_ours = entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_file());
        if let Some(pid) = pid
            && is_ours
            && (pid as u32 == std::process::id() || !is_alive(pid))
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            remove(&entry.path());
        }
    }
}

/// The directory in which a process that is alive writes the run of this path.
pub(crate) fn being_written(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    [parent, path].into_iter().flat_map(all_being_written).find(|stage| {
        let stage = stage.file_name().and_then(|stage| stage.to_str()).and_then(unfinished);
        stage.is_some_and(|(of, _)| of == name)
    })
}

/// The directory that a run has when it has ended, by the one in which it is being written: beside it, or around it.
pub(crate) fn written_from(stage: &Path) -> Option<PathBuf> {
    let (name, _) = unfinished(stage.file_name()?.to_str()?)?;
    let parent = stage.parent()?;
    let is_inside = parent.file_name().is_some_and(|of| of == name);
    Some(if is_inside { parent.to_owned() } else { parent.join(name) })
}

/// The directories in a folder in which processes that are alive write runs.
pub(crate) fn all_being_written(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_alive = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        path.is_dir() && name.and_then(unfinished).is_some_and(|(_, pid)| is_alive(pid))
    };
    entries.map(|entry| entry.path()).filter(is_alive).collect()
}

/// The name and the process id in the [name](unfinished_name) of a directory that a process has not finished.
fn unfinished(name: &str) -> Option<(&str, i32)> {
    let (name, pid) = name.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    pid.parse::<i32>().ok().filter(|number| *number > 0 && number.to_string() == pid).map(|pid| (name, pid))
}

/// True if there is a process of this number; in a container, among those that can be seen there.
fn is_alive(pid: i32) -> bool {
    let asked = Pid::from_raw(pid).map(test_kill_process);
    !matches!(asked, Some(Err(Errno::SRCH)))
}

/// Removes a file, or a directory with its content, if that is possible.
pub(crate) fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

impl RunDir {
    /// Prepares the directory of a run, and checks that it is writable.
    ///
    /// `names` are the files that a run may leave there. An existing directory that is not that of a run keeps its
    /// content: a file with one of these names is refused.
    pub(crate) fn create(path: PathBuf, names: &[&str]) -> Result<Self, Error> {
        // A link is followed here, so that later the directory itself takes part in a rename.
        let path = if path.is_symlink() { fs::canonicalize(&path).unwrap_or(path) } else { path };
        if path.is_dir() && !is_run(&path) {
            let taken = names.iter().chain(&[SUMMARY]).find(|name| path.join(name).symlink_metadata().is_ok());
            if let Some(name) = taken {
                let why = format!("{} exists and belongs to no run", path.join(name).display());
                return Err(Error::WrongInput(why, "choose another directory with `--out`".into()));
            }
        }
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let cannot = |error| Error::Write(path.clone(), error);
        fs::create_dir_all(parent).map_err(cannot)?;
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(Error::WrongInput(format!("{} is not a directory", path.display()), "use `--out DIR`".into()));
        }
        let name = path.file_name().unwrap_or("run".as_ref()).to_string_lossy().into_owned();
        let hidden = unfinished_name(&name);
        [parent, &path].into_iter().for_each(|folder| clear_abandoned(folder, &name));
        // Beside it; or inside, where only the directory itself can be written to (a volume of a container).
        let beside = parent.join(&hidden);
        let made = fs::create_dir(&beside).map(|()| beside);
        let stage = match made {
            Err(error) if path.is_dir() => {
                let inside = path.join(&hidden);
                fs::create_dir(&inside).map(|()| inside).map_err(|_| error)
            }
            made => made,
        };
        let stage = Unfinished::remember(stage.map_err(cannot)?);
        Ok(RunDir { path, stage, names: std::cell::RefCell::default() })
    }

    /// Final directory of the run.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file until the run is published.
    pub(crate) fn staged(&self, name: &str) -> PathBuf {
        self.stage.path.join(name)
    }

    /// Begins a file.
    pub(crate) fn begin(&self, name: &str) -> Result<File, Error> {
        let file = File::create(self.staged(name)).map_err(|error| Error::Write(self.path.join(name), error))?;
        self.names.borrow_mut().push(name.to_owned());
        Ok(file)
    }

    /// Begins a file without a name, which is gone with this process. `name` says what it is for.
    pub(crate) fn nameless(&self, name: &str) -> Result<File, Error> {
        tempfile::tempfile_in(&self.stage.path).map_err(|error| Error::Write(self.path.join(name), error))
    }

    /// Writes a whole file and flushes it to the disk. A file that could not be written is discarded.
    pub(crate) fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut out = BufWriter::with_capacity(64 << 10, self.begin(name)?);
        let written = write(&mut out).and_then(|()| out.flush()).and_then(|()| out.get_ref().sync_all());
        // A failed write must not be repeated when the buffer is dropped.
        let _ = out.into_parts();
        written.map_err(|error| {
            self.discard(name);
            Error::Write(self.path.join(name), error)
        })
    }

    /// Discards an unfinished file.
    pub(crate) fn discard(&self, name: &str) {
        remove(&self.staged(name));
        self.names.borrow_mut().retain(|known| known != name);
    }

    /// Replaces the files of the former run. Files that no run writes (`names` are those of a run) stay where they are.
    pub(crate) fn publish(self, names: &[&str]) -> Result<(), Error> {
        let cannot = |error| Error::Write(self.path.clone(), error);
        sync(&self.stage.path).map_err(cannot)?;
        let is_beside = self.stage.path.parent() != Some(&self.path);
        if is_beside {
            if self.path.symlink_metadata().is_err() {
                fs::rename(&self.stage.path, &self.path).map_err(cannot)?;
                return self.path.parent().map_or(Ok(()), sync).map_err(cannot);
            }
            let is_replaceable = is_run(&self.path) || is_empty(&self.path);
            if is_replaceable && renameat_with(CWD, &self.stage.path, CWD, &self.path, RenameFlags::EXCHANGE).is_ok() {
                // The former run is now in the staging directory, which is removed; files that are not part of it are
                // moved back.
                for entry in fs::read_dir(&self.stage.path).map_err(cannot)?.flatten() {
                    let name = entry.file_name();
                    let to = self.path.join(&name);
                    if !names.iter().any(|known| name == *known) && name != *SUMMARY && !to.exists() {
                        fs::rename(entry.path(), to).map_err(cannot)?;
                    }
                }
                return self.path.parent().map_or(Ok(()), sync).map_err(cannot);
            }
        }
        self.publish_one_by_one(names).map_err(cannot)
    }

    fn publish_one_by_one(&self, names: &[&str]) -> io::Result<()> {
        let written = self.names.borrow();
        // While files are exchanged the directory is that of no run.
        let old = names.iter().filter(|name| !written.iter().any(|new| new == *name));
        for name in std::iter::once(&SUMMARY).chain(old) {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let (summary, others): (Vec<&String>, Vec<&String>) = written.iter().partition(|name| *name == SUMMARY);
        for name in others.into_iter().chain(summary) {
            fs::rename(self.staged(name), self.path.join(name))?;
        }
        sync(&self.path)
    }
}

/// True if a directory holds a run: a `summary.json` that this or an earlier meshsim wrote.
pub(crate) fn is_run(path: &Path) -> bool {
    #[derive(serde::Deserialize)]
    struct Written {
        format: u32,
        experiment: String,
        seed: u64,
    }
    let path = path.join(SUMMARY);
    let Ok(file) = meshsim_experiment::open_regular(&path) else { return false };
    match Summary::read(file) {
        Ok(_) => true,
        // Of another format: the fields of every format are enough.
        Err(_) => File::open(&path)
            .ok()
            .and_then(|file| serde_json::from_reader::<_, Written>(io::BufReader::new(file)).ok())
            .is_some_and(|written| written.format > 0 && (!written.experiment.is_empty() || written.seed > 0)),
    }
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Flushes a directory's entries to the disk, so that a file that was acknowledged is there after a power failure.
fn sync(path: &Path) -> io::Result<()> {
    let path = if path == Path::new("") { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// A single file that takes the place of an older one when it is complete.
#[derive(Debug)]
pub(crate) struct PendingFile {
    path: PathBuf,
    under: Unfinished,
    file: File,
}

impl PendingFile {
    /// Begins a file.
    ///
    /// # Errors
    /// If the path names something that is not a regular file: a device, a pipe, a directory, a symbolic link (which
    /// would be replaced, not followed).
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        if let Ok(metadata) = path.symlink_metadata()
            && !metadata.is_file()
        {
            let what = if metadata.is_symlink() { "a symbolic link" } else { "not a regular file" };
            let help = "name a regular file, or write to standard output".into();
            return Err(Error::WrongInput(format!("{} is {what}", path.display()), help));
        }
        let begin = || {
            let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            let name = name.to_string_lossy();
            let under = path.with_file_name(unfinished_name(&name));
            clear_abandoned(under.parent().filter(|it| *it != Path::new("")).unwrap_or(Path::new(".")), &name);
            let file = File::create(&under)?;
            Ok(PendingFile { path: path.to_owned(), under: Unfinished::remember(under), file })
        };
        begin().map_err(|error| Error::Write(path.to_owned(), error))
    }

    /// Handle for another writer, before [`publish_file`](PendingFile::publish_file).
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Renames the file to its final name; its content must be complete.
    pub(crate) fn publish_file(self) -> Result<(), Error> {
        let publish = || {
            self.file.sync_all()?;
            fs::rename(&self.under.path, &self.path)
        };
        publish().map_err(|error| Error::Write(self.path.clone(), error))
    }

    /// Writes the whole file and gives it its name.
    pub(crate) fn publish(mut self, text: &str) -> Result<(), Error> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|error| Error::Write(self.path.clone(), error))?;
        self.publish_file()
    }
}

/// Writes files into a folder, made if missing: none of them unless all can be begun. With `force` they replace others.
pub(crate) fn write_files(folder: &Path, files: &[(&str, &str)], force: bool) -> Result<(), Error> {
    if !force && let Some((name, _)) = files.iter().find(|(name, _)| folder.join(name).exists()) {
        let why = format!("{} already exists", folder.join(name).display());
        return Err(Error::WrongInput(why, "`--force` overwrites it".into()));
    }
    fs::create_dir_all(folder).map_err(|error| Error::Write(folder.into(), error))?;
    let begin = |(name, text): &(&str, &str)| Ok((PendingFile::create(&folder.join(name))?, (*text).to_owned()));
    let drafts = files.iter().map(begin).collect::<Result<Vec<_>, Error>>()?;
    drafts.into_iter().try_for_each(|(draft, text)| draft.publish(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["a.txt", "b.txt"];

    fn put(folder: &RunDir, name: &str, text: &str) {
        folder.write(name, |out| out.write_all(text.as_bytes())).unwrap();
    }

    fn listed(path: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn summary(seed: u64) -> String {
        format!("{{ \"format\": 1, \"experiment\": \"x\", \"seed\": {seed} }}")
    }

    fn publish(path: &Path, seed: u64, files: &[&str]) {
        let folder = RunDir::create(path.into(), &NAMES).unwrap();
        put(&folder, SUMMARY, &summary(seed));
        files.iter().for_each(|name| put(&folder, name, &seed.to_string()));
        folder.publish(&NAMES).unwrap();
    }

    #[test]
    fn a_run_appears_whole_and_replaces_the_former_but_for_foreign_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs/x-1");
        publish(&path, 1, &["a.txt", "b.txt"]);
        assert_eq!(listed(&path), ["a.txt", "b.txt", SUMMARY]);
        fs::write(path.join("notes.md"), "mine").unwrap();
        publish(&path, 2, &["b.txt"]);
        assert_eq!(listed(&path), ["b.txt", "notes.md", SUMMARY]);
        assert_eq!(fs::read_to_string(path.join("b.txt")).unwrap(), "2");
        assert_eq!(listed(&dir.path().join("runs")), ["x-1"], "nothing is left beside it");
    }

    #[test]
    fn a_run_that_is_not_published_leaves_the_former_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        publish(&path, 1, &["a.txt"]);
        let folder = RunDir::create(path.clone(), &NAMES).unwrap();
        put(&folder, "a.txt", "half");
        let refused = folder.write("b.txt", |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
        assert!(refused.is_err());
        drop(folder);
        assert_eq!(listed(&path), ["a.txt", SUMMARY]);
        assert_eq!(fs::read_to_string(path.join("a.txt")).unwrap(), "1");
        assert_eq!(listed(dir.path()), ["x"]);
    }

    #[test]
    fn a_foreign_file_is_refused_whatever_the_summary_is_called() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["{}", "{ \"total\": 3 }", "not JSON"] {
            fs::write(dir.path().join(SUMMARY), text).unwrap();
            fs::write(dir.path().join("a.txt"), "mine").unwrap();
            let refused = RunDir::create(dir.path().into(), &NAMES).unwrap_err();
            assert!(matches!(refused, Error::WrongInput(..)), "{text}");
            assert_eq!(fs::read_to_string(dir.path().join("a.txt")).unwrap(), "mine");
        }
    }

    #[test]
    fn a_directory_of_someone_else_keeps_its_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.md"), "mine").unwrap();
        publish(dir.path(), 1, &["a.txt"]);
        publish(dir.path(), 2, &["b.txt"]);
        assert_eq!(listed(dir.path()), ["b.txt", "notes.md", SUMMARY]);
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for odd in [link.as_path(), Path::new("/dev/null"), dir.path()] {
            assert!(matches!(PendingFile::create(odd), Err(Error::WrongInput(..))), "{}", odd.display());
        }
        PendingFile::create(&file).unwrap().publish("new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    /// The number of a process that has just ended: the system does not give it to another one for a while.
    fn dead() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn leftovers_of_a_killed_process_are_removed_and_a_live_ones_kept() {
        let dir = tempfile::tempdir().unwrap();
        let stage = |name: &str, pid: u32| {
            let path = dir.path().join(format!(".{name}.{pid}.part"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("a.txt"), "half").unwrap();
            path
        };
        let mut live = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let same = stage("x", std::process::id());
        let (left, alive, other) = (stage("x", dead()), stage("x", live.id()), stage("y", dead()));
        // Like that of a process in another container: its id means nothing here, but it is locked.
        let locked = stage("x", dead());
        let lock = File::open(&locked).unwrap();
        lock.lock().unwrap();
        let strange =
            [".x.part", ".x.0.part", ".x.01.part", ".x.soon.part", "x.1.part"].map(|name| dir.path().join(name));
        strange.iter().for_each(|path| fs::write(path, "mine").unwrap());
        std::os::unix::fs::symlink(&other, dir.path().join(format!(".x.{}.part", dead()))).unwrap();
        publish(&dir.path().join("x"), 1, &["a.txt"]);
        live.kill().unwrap();
        live.wait().unwrap();
        assert!(!left.exists() && !same.exists() && alive.exists() && locked.exists() && other.join("a.txt").exists());
        assert!(strange.iter().all(|path| path.exists()));
        drop(lock);
        publish(&dir.path().join("x"), 2, &["a.txt"]);
        assert!(!locked.exists() && !alive.exists(), "their processes are gone now");

        let file = dir.path().join(format!(".made.yaml.{}.part", dead()));
        fs::write(&file, "half").unwrap();
        PendingFile::create(&dir.path().join("made.yaml")).unwrap().publish("whole").unwrap();
        assert!(!file.exists());
    }
}
