//! `meshsim export mermaid`: messages as a sequence diagram of Mermaid, which `trace sequence` writes too.

use super::{Common, Form, Told};
use crate::command::trace::sequence::{self, MOST_MAX};
use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Messages as a sequence diagram, for pages in Markdown";

pub(super) const HELP: &str = "\
Opened by GitHub, GitLab and all else that draws ```mermaid in Markdown, and by https://mermaid.live.
  meshsim export mermaid last --operation 9 --from 82s --to 83s

Mermaid takes no text of more than 50,000 characters: the first messages that fit are written.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = super::open(&self.common, Form::Text, screen)?;
        let (diagram, unreadable) = sequence::gather(&source, &self.common.selection, MOST_MAX)?;
        let (text, left_out) = sequence::mermaid::write(&diagram);
        let told = sequence_told(&diagram, left_out, "Mermaid takes no longer text");
        super::whole(&self.common.target, &text, told, unreadable, screen)
    }
}

/// The contents of a diagram, and the messages left out: by the format, or because they are too many.
pub(super) fn sequence_told(diagram: &sequence::Diagram, no_room: u64, why: &str) -> Told {
    let shown = diagram.message_count() - no_room;
    let more = diagram.left_out() + no_room;
    let left_out = (more > 0).then(|| {
        let more = meshsim_report::plural(more, "message");
        format!("{more} left out: {why}; select fewer")
    });
    Told { holds: meshsim_report::plural(shown, "message"), left_out: left_out.into_iter().collect() }
}
