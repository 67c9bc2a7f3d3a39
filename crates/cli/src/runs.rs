//! The folders of runs: unique names, so that no run replaces another, and their lookup.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use meshsim_experiment::Experiment;
use meshsim_study::plan::{Plan, fingerprint};
use meshsim_study::{journal, store};

use crate::folder::{SUMMARY, is_run};

/// The folder in which runs are written unless `--out` names another.
pub(crate) const RUNS: &str = "runs";
/// Name of the latest run.
pub(crate) const LAST: &str = "last";
/// The experiment in the folder of a run.
pub(crate) const EXPERIMENT: &str = "experiment.yaml";

/// Hexadecimal digits that tell settings from each other.
const HASH_DIGITS: usize = 8;
/// Maximum number that is tried in the name of a live run.
const NUMBER_MAX: u32 = 1_000_000;

/// The folder of a run in virtual time: `runs/NAME-SEED`; where that is a run with other settings,
/// `runs/NAME-SEED.HASH`. The same settings again give the same bytes, in the same folder.
pub(crate) fn place(experiment: &Experiment) -> PathBuf {
    let plain = Path::new(RUNS).join(format!("{}-{}", experiment.name, experiment.seed));
    if plain.symlink_metadata().is_err() || holds(&plain, experiment) {
        return plain;
    }
    with_hash(&plain, experiment)
}

/// The folder of a live run: `runs/NAME-SEED-live`, `runs/NAME-SEED-live-2`, ...: no two are alike.
pub(crate) fn place_live(experiment: &Experiment) -> PathBuf {
    let name = format!("{}-{}-live", experiment.name, experiment.seed);
    let numbered = (2..NUMBER_MAX).map(|number| format!("{name}-{number}"));
    let mut all = std::iter::once(name.clone()).chain(numbered).map(|name| Path::new(RUNS).join(name));
    all.find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| Path::new(RUNS).join(&name))
}

/// The folder of several runs that are `what`: a sweep, or one experiment with several seeds.
pub(crate) fn place_of_many(plan: &Plan, what: &str) -> PathBuf {
    let mut hash = plan.fingerprint();
    hash.truncate(HASH_DIGITS);
    Path::new(RUNS).join(format!("{}-{what}.{hash}", plan.name))
}

/// The folder of a search, of this fingerprint, for something of an experiment.
pub(crate) fn place_of_search(experiment: &Experiment, what: &str, fingerprint: &str) -> PathBuf {
    let hash = fingerprint.get(..HASH_DIGITS).unwrap_or(fingerprint);
    Path::new(RUNS).join(format!("{}-{what}.{hash}", experiment.name))
}

/// True if a folder is that of a run with these settings.
pub(crate) fn holds(folder: &Path, experiment: &Experiment) -> bool {
    holds_settings(folder, experiment) && is_run(folder)
}

/// True if a folder holds these settings: the same experiment, and the same files beside it.
pub(crate) fn holds_settings(folder: &Path, experiment: &Experiment) -> bool {
    let is = |name: &str, text: &str| fs::read(folder.join(name)).is_ok_and(|found| found == text.as_bytes());
    is(EXPERIMENT, &experiment.text) && experiment.files.iter().all(|file| is(&file.name, &file.text))
}

fn with_hash(plain: &Path, experiment: &Experiment) -> PathBuf {
    let files = experiment.files.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]);
    let mut hash = fingerprint(std::iter::once(experiment.text.as_bytes()).chain(files));
    hash.truncate(HASH_DIGITS);
    let mut path = plain.as_os_str().to_owned();
    path.push(format!(".{hash}"));
    path.into()
}

/// The folder that is meant: `last` is the latest run under `runs`, and a name there is found without its folder.
pub(crate) fn find(run: &Path) -> PathBuf {
    if run.symlink_metadata().is_ok() {
        return run.to_owned();
    }
    if run == Path::new(LAST) {
        return latest().unwrap_or_else(|| run.to_owned());
    }
    let under = Path::new(RUNS).join(run);
    if under.is_dir() { under } else { run.to_owned() }
}

fn latest() -> Option<PathBuf> {
    let mut all = all();
    all.sort_by(|(path, written), (other, theirs)| theirs.cmp(written).then_with(|| other.cmp(path)));
    all.into_iter().map(|(path, _)| path).find(|path| is_run(path))
}

/// Candidates for studies under `runs`, by name: each folder of runs that belong together, or of a search.
pub(crate) fn studies() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(RUNS) else { return Vec::new() };
    let mut all: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|it| is_study(it)).collect();
    all.sort();
    all
}

/// True for the folder of many runs, or of a search.
pub(crate) fn is_study(path: &Path) -> bool {
    store::is_study(path) || journal::is_search(path)
}

/// Candidates for runs under `runs`, by name: each folder with a summary, and the time at which that was written.
pub(crate) fn all() -> Vec<(PathBuf, SystemTime)> {
    let Ok(entries) = fs::read_dir(RUNS) else { return Vec::new() };
    let run = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let written = path.join(SUMMARY).metadata().ok()?.modified().ok()?;
        Some((path, written))
    };
    let mut all: Vec<_> = entries.filter_map(run).collect();
    all.sort();
    all
}
