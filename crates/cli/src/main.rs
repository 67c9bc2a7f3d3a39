//! `meshsim`: rehearse a service mesh before you run it.

mod address;
mod choice;
mod command;
mod error;
mod flow;
mod folder;
mod found;
mod fullscreen;
mod headline;
mod http;
mod interrupt;
mod listener;
mod live;
mod logging;
mod manifest;
mod memory;
mod output;
mod progress;
mod read;
mod runs;
mod screen;
mod study;
mod suggest;
mod traced;

use std::process::ExitCode;

use clap::{FromArgMatches, Parser};

use crate::command::Command;
use crate::screen::Screen;

/// Rehearse a service mesh before you run it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log to stderr; repeat for more detail. RUST_LOG, if set, overrides it
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  meshsim run examples/first-mesh/mesh.yaml       the smallest mesh that shows every operation
  meshsim check examples/hotel/mesh.yaml          what to expect of a run, before it runs
  meshsim import isotope canonical.yaml > mesh.yaml

Exit codes: 0 all is well, 1 failed, 2 the input is wrong, 98 it cannot be told whether all is \
well, 99 an SLO does not hold, or a search has found a broken rule.";

fn main() -> ExitCode {
    let parsed = command::line().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        // Help goes to stdout and is no error; everything else is wrong input: exit code 2.
        Err(error) => {
            let line: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
            suggest::suggest(error, &command::line(), &line).exit()
        }
    };
    let mut screen = Screen::open();
    logging::start(cli.verbose, screen.errors_coloured());
    match cli.command.execute(&mut screen) {
        Ok(exit) => exit.into(),
        Err(error) => {
            screen.complain(&error);
            error.exit().into()
        }
    }
}
