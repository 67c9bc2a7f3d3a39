//! `meshsim report`

use std::path::PathBuf;

use meshsim_page::RUNS_MAX;

use crate::ending::{REPORT, report};
use crate::error::{Error, Exit};
use crate::runs;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Show runs on a page: one HTML file that opens offline";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim report last
  meshsim report runs/shop-11 -o shop.html
  meshsim report runs/shop-11 runs/shop-11.1b2c3d4e -o both.html

The page shows what held, the course over time with operations and faults, where it failed, how full \
each instance was, who calls whom, and operations beside their closed forms; all figures are there as \
tables too. It asks the network for nothing. With several runs the first is the base.

The course comes from series.csv, faults from events.jsonl: a run that lacks them is shown as far as \
its summary goes. The same runs give the same bytes.

Exit codes: 0 written, 1 failed, 2 these are no runs.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folders of runs, names under `runs`, or `last`
    #[arg(required = true, num_args = 1..=RUNS_MAX, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write the page to this file; to `report.html` in the folder of the first run if it is not given
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let folders: Vec<PathBuf> = self.runs.iter().map(|run| runs::find(run)).collect();
        let file = self.out.unwrap_or_else(|| folders[0].join(REPORT));
        report(&folders, &file)?;
        screen.print(&format!("written to {}\n", file.display()))?;
        Ok(Exit::Well)
    }
}
