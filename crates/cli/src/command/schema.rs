//! `meshsim schema`

use clap::ValueEnum;

use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Print the JSON Schema of the experiment file, of summary.json, or of a comparison";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim schema > mesh.schema.json
  meshsim schema summary > summary.schema.json

An editor completes and checks a file whose first line is
  # yaml-language-server: $schema=mesh.schema.json";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The document
    #[arg(value_enum, default_value_t = Document::Experiment)]
    of: Document,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Document {
    /// The file that `run` and `check` read
    Experiment,
    /// The summary that `run` writes to summary.json and prints with --json
    Summary,
    /// The comparison that `compare` prints with --json
    Comparison,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        screen.print_json(&match self.of {
            Document::Experiment => meshsim_experiment::schema(),
            Document::Summary => meshsim_report::schema(),
            Document::Comparison => meshsim_report::comparison_schema(),
        })?;
        Ok(Exit::Success)
    }
}
