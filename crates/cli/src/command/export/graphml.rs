//! `meshsim export graphml`: who talks to whom, for Gephi and networkx; `trace graph` writes it too.

use super::dot::Edges;
use crate::command::trace::graph;
use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Who talks to whom, for Gephi, yEd and networkx";

pub(super) const HELP: &str = "\
Opened by Gephi, yEd, Cytoscape, networkx and igraph.
  meshsim export graphml last --where 'type != heartbeat' -o messages.graphml

Without a selection the edges are calls between services, as series.csv has them. With a selection, or with --messages, \
they are messages between actors.";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    edges: Edges,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        self.edges.write(screen, graph::graphml::write)
    }
}
