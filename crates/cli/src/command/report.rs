//! `meshsim report`

use std::path::PathBuf;

use meshsim_page::RUNS_MAX;

use crate::error::{Error, Exit};
use crate::output::{REPORT, report};
use crate::runs;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Show runs on a page: one HTML file that opens offline";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim report last
  meshsim report runs/shop-11 -o shop.html
  meshsim report runs/shop-11 runs/shop-11.1b2c3d4e -o both.html

The page shows the verdicts, the time series with operations and faults, failures, the utilisation of each \
instance, the call graph, and operations beside their closed forms; all figures are in tables, too. It sends \
no network request. With several runs the first is the base.

The time series come from series.csv, faults from events.jsonl: of a run that lacks them, only the summary \
is shown. The same runs give the same bytes.

Exit codes: 0 written, 1 failed, 2 not runs.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folders of runs, names under `runs`, or `last`
    #[arg(required = true, num_args = 1..=RUNS_MAX, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write the page to this file
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let folders: Vec<PathBuf> = self.runs.iter().map(|run| runs::find(run)).collect();
        let file = self.out.unwrap_or_else(|| folders[0].join(REPORT));
        report(&folders, &file)?;
        screen.print(&format!("written to {}\n", file.display()))?;
        Ok(Exit::Success)
    }
}
