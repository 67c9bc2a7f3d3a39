//! An experiment as it travels: one text, and the files that it names.

use serde::{Deserialize, Serialize};

use crate::inputs::Origin;
use crate::{Experiment, Override, Problems, read};

/// What its problems are reported under, and what it is called if it does not say.
const NAME: &str = "experiment";

/// All that an experiment is read from, for a process that has none of its files.
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
    /// All that is wrong with it, at once; the bounds are those of files.
    pub fn read(&self) -> Result<Experiment, Problems> {
        self.read_with(&[])
    }

    /// Reads the experiment with some of its values replaced.
    ///
    /// # Errors
    /// As [`read`](Self::read); what an override does wrong is reported at its place there.
    pub fn read_with(&self, overrides: &[Override]) -> Result<Experiment, Problems> {
        read(NAME, &self.text, Origin::Bundle(self), NAME, overrides)
    }

    pub(crate) fn file(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }
}

impl Experiment {
    /// All that it was read from: [`Bundle::read`] gives the same experiment, wherever it is called.
    pub fn bundle(&self) -> Bundle {
        let files = self.files.iter().map(|file| (file.name.clone(), file.text.to_string()));
        Bundle { text: self.text.clone(), files: files.collect() }
    }
}
