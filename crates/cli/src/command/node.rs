//! `meshsim node`

use std::time::Duration;

use crate::error::{Error, Exit};
use crate::live::JoinArgs;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Run one node of a live run, or several";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim node --join coordinator:7700 --listen 0.0.0.0:7701 --secret-file secret
  meshsim node --name node-3
  meshsim node --count 100

Without a name it gets the lowest free node, and the same one when it rejoins from the same machine. It \
stays until the run has ended.

At Ctrl-C or SIGTERM it leaves: its instances are started on other nodes and become ready there before they \
stop here, they finish their requests, and their measurements are sent. Then, or after \
`--grace`, it ends. At a second signal it ends at once, and also when the coordinator is gone.

Exit codes: 0 the run has ended or it has left, 1 failed, 2 the coordinator did not admit it, or the input is invalid.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Host the node with this name. May be repeated
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    #[arg(help = "Number of free nodes to host [default: 1, or 0 with --name]", long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    #[command(flatten)]
    grace: GraceArgs,
    #[command(flatten)]
    join: JoinArgs,
}

/// Grace of a node that leaves, for commands that are a node or start some.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct GraceArgs {
    /// Time for which a node may take to leave the run at Ctrl-C or SIGTERM, in seconds; then it is cut off
    #[arg(long = "grace", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=GRACE_SECS_MAX))]
    pub(crate) secs: u64,
}

/// A day.
const GRACE_SECS_MAX: u64 = 86_400;

impl Args {
    pub(super) fn execute(self, _: &mut Screen) -> Result<Exit, Error> {
        let count = self.count.unwrap_or(u32::from(self.name.is_empty()));
        self.join.take_part("node", self.name, count, None, Some(Duration::from_secs(self.grace.secs)))
    }
}
