//! The experiment and the files that it names, for containers: from where they lie, or copied into one folder.

use std::path::{Component, Path, PathBuf};

use meshsim_experiment::Experiment;

use crate::command::Source;
use crate::error::Error;

/// The experiment in a folder of copies.
const EXPERIMENT: &str = "experiment.yaml";

/// A file of this machine, and where a container finds it.
pub(crate) struct Input {
    pub(crate) source: String,
    pub(crate) target: String,
    /// Size in bytes.
    pub(crate) bytes: usize,
}

/// The files from where they lie, the experiment first: in the container as here, beside each other.
///
/// # Errors
/// If one of them is not a file, or lies outside the experiment's folder.
pub(crate) fn here(source: &Source, experiment: &Experiment) -> Result<Vec<Input>, Error> {
    let refuse = |path: &Path, why: &str| {
        let why = format!("{} {why}", path.display());
        Error::WrongInput(why, "use `--out DIR` to write a folder with all files".into())
    };
    let file = source.file();
    if !file.is_file() {
        return Err(refuse(file, "is not a file that a container can mount"));
    }
    // A run without a name of its own is called after the folder of its mesh.yaml.
    let folder = format!("/experiment/{}", experiment.name);
    let mut files = vec![(file.to_owned(), "mesh.yaml", experiment.text.len())];
    for input in &experiment.files {
        let written = Path::new(&input.written);
        if !written.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(refuse(written, "lies outside the experiment's folder"));
        }
        files.push((file.with_file_name(written), &input.written, input.text.len()));
    }
    let input = |(path, name, bytes): (PathBuf, &str, usize)| {
        let text = path.to_str().ok_or_else(|| refuse(&path, "has a name that is not UTF-8"))?;
        // A text that does not begin like a path is the name of a volume.
        let dot = if path.is_absolute() { "" } else { "./" };
        Ok(Input { source: format!("{dot}{text}"), target: format!("{folder}/{name}"), bytes })
    };
    files.into_iter().map(input).collect()
}

/// The copies in a folder, with the overrides applied: the name and the text of each, the experiment first.
pub(crate) fn copies(experiment: &Experiment) -> impl Iterator<Item = (&str, &str)> {
    let others = experiment.files.iter().map(|file| (file.name.as_str(), &*file.text));
    std::iter::once((EXPERIMENT, experiment.text.as_str())).chain(others)
}

/// The same copies as a container finds them.
pub(crate) fn copied(experiment: &Experiment) -> Vec<Input> {
    let input = |(name, text): (&str, &str)| Input {
        source: format!("./{name}"),
        target: format!("/experiment/{name}"),
        bytes: text.len(),
    };
    copies(experiment).map(input).collect()
}
