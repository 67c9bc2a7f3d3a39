//! `meshsim completions`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Print a script that completes commands and options in a shell";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim completions bash > ~/.local/share/bash-completion/completions/meshsim
  meshsim completions zsh > ~/.zfunc/_meshsim      a folder of $fpath
  meshsim completions fish > ~/.config/fish/completions/meshsim.fish";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "meshsim", &mut script);
        screen.print_file(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Success)
    }
}
