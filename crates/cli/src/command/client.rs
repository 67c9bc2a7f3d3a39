//! `meshsim client`

use std::path::PathBuf;

use crate::error::{Error, Exit};
use crate::live::{JoinArgs, read_once};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Offer the loads of a live run, or some of them";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim client --join coordinator:7700 --listen 0.0.0.0:7702 --secret-file secret
  meshsim client mesh.yaml --name users

It offers the loads with these names, or all that no client offers yet. With a file it checks that the \
coordinator runs the same experiment. It stays until the run has ended.

Exit codes: 0 the run has ended, 1 failed, 2 the coordinator did not admit it, or the input is invalid.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take part only if the coordinator runs this experiment
    file: Option<PathBuf>,
    /// Offer the load with this name. May be repeated
    #[arg(long, value_name = "LOAD")]
    name: Vec<String>,
    #[command(flatten)]
    join: JoinArgs,
}

impl Args {
    pub(super) fn execute(self, _: &mut Screen) -> Result<Exit, Error> {
        read_once([self.file.as_deref(), self.join.secret_file()])?;
        let expected = match &self.file {
            Some(file) => Some(meshsim_experiment::load(file, &[]).map_err(Error::Problems)?),
            None => None,
        };
        self.join.take_part("client", self.name, 0, expected, None)
    }
}
