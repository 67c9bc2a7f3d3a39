//! `meshsim schema`

use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Print the JSON Schema of the experiment file";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim schema > mesh.schema.json

An editor completes and checks a file whose first line is
  # yaml-language-server: $schema=mesh.schema.json";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        screen.print_json(&meshsim_experiment::schema())?;
        Ok(Exit::Well)
    }
}
