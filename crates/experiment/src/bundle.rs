//! An experiment in transportable form: one text, and the files that it names.

use serde::{Deserialize, Serialize};

use crate::inputs::Origin;
use crate::{Experiment, Override, Problems, read};

/// Source name in its problems, and default name of the experiment.
const NAME: &str = "experiment";

/// All inputs of an experiment, for a process that has none of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// As [`Experiment::text`].
    pub text: String,
    /// The files that it names, each as (name, text): see [`Experiment::files`].
    pub files: Vec<(String, String)>,
}

impl Bundle {
    /// Reads the experiment. No file is opened: one that the text names and that is not here is a problem.
    ///
    /// # Errors
    /// All problems with it, at once; the bounds are those of files.
    pub fn read(&self) -> Result<Experiment, Problems> {
        self.read_with(&[])
    }

    /// Reads the experiment with some of its values replaced.
    ///
    /// # Errors
    /// As [`read`](Self::read); problems of an override are reported at its place there.
    pub fn read_with(&self, overrides: &[Override]) -> Result<Experiment, Problems> {
        read(NAME, &self.text, Origin::Bundle(self), NAME, overrides)
    }

    pub(crate) fn file(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }
}

impl Experiment {
    /// All its inputs: [`Bundle::read`] returns the same experiment, in any place.
    pub fn bundle(&self) -> Bundle {
        let files = self.files.iter().map(|file| (file.name.clone(), file.text.to_string()));
        Bundle { text: self.text.clone(), files: files.collect() }
    }
}
