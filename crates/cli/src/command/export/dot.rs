//! `meshsim export dot`: who talks to whom, for Graphviz; `trace graph` writes it too.

use super::{Common, Form, Told};
use crate::command::trace::graph::{self, Graph};
use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Who talks to whom, for Graphviz";

pub(super) const HELP: &str = "\
Opened by Graphviz, and by what reads its language.
  meshsim export dot last | dot -Tsvg -o graph.svg

Without a selection the edges are calls between services, as series.csv has them. With a selection, or with --messages, \
they are messages between actors.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    edges: Edges,
}

/// Which edges.
#[derive(Debug, clap::Args)]
pub(super) struct Edges {
    /// Messages between actors, by the trace
    #[arg(long)]
    messages: bool,
    #[command(flatten)]
    common: Common,
}

impl Edges {
    /// Writes the graph in a format of one text.
    pub(super) fn write(&self, screen: &mut Screen, write: fn(&Graph) -> String) -> Result<Exit, Error> {
        let Common { run, target, selection } = &self.common;
        target.refuse(Form::Text)?;
        let is_of_messages = self.messages || !selection.is_empty();
        let graph = match is_of_messages {
            true => graph::of_messages(run, selection, screen)?,
            false => graph::of_calls(run, None)?,
        };
        let told = Told { holds: graph.holds(), left_out: Vec::new() };
        super::whole(target, &write(&graph), told, None, screen)
    }
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        self.edges.write(screen, graph::dot::write)
    }
}
