//! An experiment as it travels: to another process, which has none of its files.

use serde::{Deserialize, Serialize};

use crate::{Experiment, Problems};

/// The text of an experiment with all that it names. Read again it is the same experiment, and no file is opened for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// [`Experiment::text`].
    pub text: String,
    /// The files that the text names, by these names, and what they say.
    pub files: Vec<(String, String)>,
}

impl Experiment {
    /// The experiment as it travels.
    pub fn bundle(&self) -> Bundle {
        let file = |file: &crate::InputFile| (file.name.clone(), file.text.to_string());
        Bundle { text: self.text.clone(), files: self.files.iter().map(file).collect() }
    }
}

impl Bundle {
    /// Reads it.
    ///
    /// # Errors
    /// All that is wrong with it, at once; a file that it names and does not bring is among it.
    pub fn read(&self) -> Result<Experiment, Problems> {
        crate::read("experiment.yaml", &self.text, crate::inputs::Folder::Bundle(&self.files), "mesh", &[])
    }
}
