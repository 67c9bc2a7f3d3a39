//! `meshsim man`

use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::error::{Error, Exit};
use crate::folder::PendingFile;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Write the manual pages, one for each command";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim man | man -l -                         the page of meshsim itself
  meshsim man -o ~/.local/share/man/man1         all pages, for `man meshsim-run`";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write all pages to this folder, replacing existing ones
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let mut command = crate::Cli::command();
        // Names the commands of commands in full: meshsim-ctl-ask.
        command.build();
        let Some(out) = &self.out else {
            screen.print_file(&page(&command))?;
            return Ok(Exit::Success);
        };
        std::fs::create_dir_all(out).map_err(|error| Error::Write(out.clone(), error))?;
        for command in all(&command) {
            let name = command.get_display_name().unwrap_or(command.get_name());
            PendingFile::create(&out.join(format!("{name}.1")))?.publish(&page(command))?;
        }
        Ok(Exit::Success)
    }
}

/// A command and those below it, except clap's own `help`.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    std::iter::once(command).chain(below.flat_map(all)).collect()
}

fn page(command: &Command) -> String {
    let mut page = Vec::new();
    // Writing into memory does not fail.
    let _ = Man::new(command.clone()).render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}
