//! `meshsim export plantuml`: messages as a sequence diagram of PlantUML, which `trace sequence` writes too.

use super::mermaid::sequence_told;
use super::{Common, Form};
use crate::command::trace::sequence;
use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Messages as a sequence diagram, for PlantUML";

pub(super) const HELP: &str = "\
Opened by PlantUML: `plantuml -tsvg steps.puml`, and plug-ins of editors and wikis.
  meshsim export plantuml last --operation 9 -o steps.puml

PlantUML cuts large pictures: the first 200 messages are written.";

/// PlantUML's pictures are 4,096 pixels high at most, unless PLANTUML_LIMIT_SIZE says otherwise; as SVG twice as many
/// fit.
const MOST: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = super::open(&self.common, Form::Text, screen)?;
        let (diagram, unreadable) = sequence::gather(&source, &self.common.selection, MOST)?;
        let told = sequence_told(&diagram, 0, "PlantUML cuts larger pictures");
        super::whole(&self.common.target, &sequence::plantuml::write(&diagram), told, unreadable, screen)
    }
}
