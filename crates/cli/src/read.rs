//! Reader of runs in folders.

use std::fs::File;
use std::path::{Path, PathBuf};

use meshsim_experiment::{Experiment, Override, differences, load};
use meshsim_page::Run;
use meshsim_report::events;
use meshsim_report::series;
use meshsim_report::{ReadError, Summary};

use crate::error::Error;
use crate::folder::SUMMARY;
use crate::output::{EVENTS, SERIES};
use crate::runs::EXPERIMENT;

/// Reads the summary of a run.
pub(crate) fn summary(folder: &Path) -> Result<Summary, Error> {
    const HELP: &str = "give the folders of runs, as in `runs/hotel-7 runs/hotel-8`";
    let shown = folder.display();
    let wrong = |why: String| Err(Error::WrongInput(why, HELP.into()));
    if !folder.exists() {
        return wrong(format!("no folder {shown}"));
    }
    // A pipe would never end.
    if let Some(missing) = [SUMMARY, EXPERIMENT].iter().find(|name| !folder.join(name).is_file()) {
        return wrong(format!("{shown} is not the folder of a run: it has no {missing}"));
    }
    let path = folder.join(SUMMARY);
    let found = File::open(&path).map_err(ReadError::Io).and_then(Summary::read);
    found.map_err(|error| {
        let path = path.display();
        let why = match &error {
            ReadError::Broken { line, column, what } => format!("{path}:{line}:{column}: {what}"),
            other => format!("cannot read {path}: {other}"),
        };
        Error::WrongInput(why, "give runs that this version of meshsim wrote, or run the experiment again".into())
    })
}

/// The experiment of a run; with the seed and duration of another, if one is given.
pub(crate) fn experiment(folder: &Path, like: Option<&Experiment>) -> Result<Experiment, Error> {
    let mut overrides = vec![];
    if let Some(like) = like {
        overrides.extend(Override::parse(&format!("seed={}", like.seed)));
        overrides.extend(Override::parse(&format!("duration={}ns", like.duration.nanos())));
    }
    load(&folder.join(EXPERIMENT), &overrides).map_err(Error::Problems)
}

/// Differences between the experiment of a run and the base. Seed and duration may differ; values that follow from the
/// duration, such as the end of a load, then differ as well, so both are compared with those of the base.
pub(crate) fn differing(base: &Experiment, folder: &Path) -> Result<Vec<String>, Error> {
    // One that is invalid with the duration of the base is another experiment.
    let like = experiment(folder, Some(base)).or_else(|_| experiment(folder, None))?;
    Ok(differences(base, &like))
}

/// All inputs of the page of these runs; the first is the base of the others.
pub(crate) fn runs(folders: &[PathBuf]) -> Result<Vec<Run>, Error> {
    let mut runs: Vec<Run> = Vec::new();
    for folder in folders {
        let summary = summary(folder)?;
        let differs = runs.first().map_or(Ok(Vec::new()), |base| differing(&base.experiment, folder))?;
        runs.push(Run {
            label: folder.file_name().map_or_else(|| folder.display().to_string(), |it| it.to_string_lossy().into()),
            differs,
            experiment: experiment(folder, None)?,
            series: part(folder, SERIES, series::read)?,
            events: part(folder, EVENTS, events::read)?,
            totals: None,
            summary,
        });
    }
    Ok(runs)
}

/// A file that not every run has.
fn part<T>(folder: &Path, name: &str, read: impl FnOnce(File) -> Result<T, String>) -> Result<Option<T>, Error> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |why: String| {
        let help = format!("run the experiment again, or move {name} away to do without it");
        Error::WrongInput(format!("{}: {why}", path.display()), help)
    };
    let file = File::open(&path).map_err(|error| wrong(error.to_string()))?;
    read(file).map(Some).map_err(wrong)
}
