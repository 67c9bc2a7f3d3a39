//! `meshsim trace`: what happened in a run, in several views.
//!
//! To add one: write `trace/x.rs` with a struct `Args` that derives `clap::Args` and an
//! `execute(self, &mut Screen) -> Result<Exit, Error>`; then name it in `views!` below.

pub(super) mod actor;
mod graph;
mod log;
pub(super) mod operation;
mod request;
mod sequence;
pub(super) mod why;

use clap::Subcommand;

use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "See who said what to whom in a run, and what came of it";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim trace last --lost                        each message that was lost, and why
  meshsim trace runs/shop-1 --service payment --from 40s --to 41s
  meshsim trace last --where 'kind == deliver && took > 100ms && to ~ \"a-*\"'
  meshsim trace last --jsonl | jq 'select(.kind == \"apply\")'
  meshsim trace request last --slowest 3           what made them slow?
  meshsim trace operation last 9                   who acknowledged its steps last, and why?
  meshsim trace sequence last --operation 9 --svg > steps.svg
  meshsim trace graph last --at 82s                rate, latency and failures of each edge
  meshsim trace why last 1185689                   what does this record follow from?
  meshsim trace actor last coordinator --at 81s    what does it think, and what is true?

RUN alone is the view `log`. A run without a trace is run again with one: the same experiment and seed give the same \
bytes. Only a live run must be made with --trace.";

macro_rules! views {
    ($($variant:ident = $module:ident;)*) => {
        /// How it is looked at.
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
