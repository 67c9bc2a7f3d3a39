//! `meshsim trace`: the events of a run, in several views.
//!
//! To add one: write `trace/x.rs` with a struct `Args` that derives `clap::Args` and an
//! `execute(self, &mut Screen) -> Result<Exit, Error>`; then name it in `views!` below.

pub(super) mod actor;
pub(super) mod graph;
mod log;
pub(super) mod operation;
mod queue;
mod request;
pub(super) mod sequence;
pub(super) mod why;

use clap::Subcommand;

use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Show the messages of a run, with their causes and effects";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim trace last --lost                        each lost message, with its reason
  meshsim trace runs/shop-1 --service payment --from 40s --to 41s
  meshsim trace last --where 'kind == deliver && took > 100ms && to ~ \"a-*\"'
  meshsim trace last --jsonl | jq 'select(.kind == \"apply\")'
  meshsim trace request last --slowest 3           the slowest requests, with their critical paths
  meshsim trace operation last 9                   the last node to acknowledge each step
  meshsim trace sequence last --operation 9 --svg > steps.svg
  meshsim trace graph last --at 82s                rate, latency and failures of each edge
  meshsim trace queue last checkout                requests that waited, over time
  meshsim trace why last 1185689                   the causes of this record
  meshsim trace actor last coordinator --at 81s    its knowledge, and the true state

RUN alone is the view `log`. A run without a trace is run again with one: the same experiment and seed give the same \
bytes. Only a live run must be made with --trace.";

macro_rules! views {
    ($($variant:ident = $module:ident;)*) => {
        /// Subcommand.
        #[derive(Debug, Subcommand)]
        enum View {
            $(
                #[command(about = $module::ABOUT, after_help = $module::HELP)]
                $variant($module::Args),
            )*
        }

        impl View {
            fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
                match self { $(View::$variant(args) => args.execute(screen),)* }
            }
        }
    };
}

views! {
    Log = log;
    Request = request;
    Operation = operation;
    Sequence = sequence;
    Graph = graph;
    Queue = queue;
    Why = why;
    Actor = actor;
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    view: Option<View>,
    #[command(flatten)]
    log: log::Args,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        match self.view {
            Some(view) => view.execute(screen),
            None => self.log.execute(screen),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_a_view() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/trace");
        let register = include_str!("mod.rs");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let name = name.trim_end_matches(".rs");
            assert!(name == "mod" || register.contains(&format!("= {name};")), "{name} is not in `views!`");
        }
    }
}
