//! `meshsim choose`

use std::path::PathBuf;

use meshsim_experiment::{Experiment, Override, load};
use meshsim_mesh::model::Technology;
use meshsim_study::choose::{self, Prices};
use meshsim_study::plan::Plan;

use super::{Source, Workers};
use crate::choice;
use crate::error::{Error, Exit};
use crate::interrupt;
use crate::memory;
use crate::progress::Counted;
use crate::runs;
use crate::screen::Screen;
use crate::study;

pub(super) const ABOUT: &str = "Run an experiment under each mesh technology, and compare what it costs";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim choose examples/choose/mesh.yaml
  meshsim choose mesh.yaml --technologies none,sidecar-envoy,ambient-l4 --seeds 10
  meshsim choose mesh.yaml --price-core 25 --price-gib 3 --report choice.html
  meshsim choose mesh.yaml --json | jq '.candidates[] | {technology, cores: .cores.mean}'

Each technology (none, sidecar-envoy, sidecar-linkerd, ambient-l4, ambient-waypoint, proxyless) runs with \
the same seeds, with its own proxies and with its own defaults for all that the file does not say: balancer, \
retries, timeouts. What the file says holds under all; what a technology cannot carry out of it is \
listed, for the applications would have to do it. Figures of `mesh:` in the file hold for the technology that it \
names.

The price is cores times --price-core and GiB times --price-gib: give both for the same time, as a month. \
A technology without published measurements to compare its model with is marked as not validated.

Runs are kept under `runs` as they end: Ctrl-C loses those in progress, and the same command continues. They are \
removed when the comparison is done.

Exit codes: 0 compared, with any result, 1 failed, 2 the experiment is invalid, 130 interrupted.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// The technologies to compare [default: all]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = technology)]
    technologies: Vec<Technology>,
    /// Number of seeds for each
    #[arg(long, value_name = "N", default_value = "5", value_parser = super::seed_count)]
    seeds: usize,
    /// Price of a core
    #[arg(long, value_name = "X", value_parser = price, allow_negative_numbers = true)]
    price_core: Option<f64>,
    /// Price of a GiB of memory
    #[arg(long, value_name = "Y", value_parser = price, allow_negative_numbers = true)]
    price_gib: Option<f64>,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
    /// Print the comparison as Markdown, for a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Write the comparison as a page to this file, too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    workers: Workers,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        if self.source.file() == std::path::Path::new("-") {
            let why = "the experiment is read once for each technology";
            return Err(Error::WrongInput(why.into(), "give a file instead of `-`".into()));
        }
        let base = self.source.load(self.json, screen)?;
        let mut technologies = match self.technologies.is_empty() {
            true => Technology::ALL.to_vec(),
            false => self.technologies.clone(),
        };
        let mut known = std::collections::BTreeSet::new();
        technologies.retain(|technology| known.insert(*technology));
        let candidates = technologies
            .into_iter()
            .map(|technology| Ok((technology, self.under(technology, &base)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let threads = self.workers.threads();
        for (_, experiment) in &candidates {
            memory::assure_several(experiment, threads, screen)?;
        }
        interrupt::catch()?;
        let progress = Counted::begin(0, self.seeds * candidates.len(), "runs", !self.workers.no_progress);
        let at = |done| {
            progress.at(done);
            !interrupt::asked()
        };
        let folder = |plan: &Plan| Some(runs::place_of_many(plan, "choose"));
        let prices = (self.price_core.is_some() || self.price_gib.is_some())
            .then(|| Prices { core: self.price_core.unwrap_or(0.0), gib: self.price_gib.unwrap_or(0.0) });
        let chosen = choose::run(&candidates, self.seeds, threads, prices, folder, at);
        progress.end();
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => return study::not_compared(error, screen),
        };
        if let Some(file) = &self.report {
            std::fs::write(file, choice::page(&chosen)).map_err(|error| Error::Write(file.clone(), error))?;
        }
        if self.json {
            screen.print_json(&chosen)?;
        } else if self.markdown {
            screen.print_file(&choice::markdown(&chosen))?;
        } else {
            let text = choice::text(&chosen, screen.paint());
            screen.print(&text)?;
        }
        Ok(Exit::Success)
    }

    /// The experiment under a technology. The figures of the file's `mesh` hold for the technology that it names;
    /// whether loads have proxies holds for all that have some.
    fn under(&self, technology: Technology, base: &Experiment) -> Result<Experiment, Error> {
        let own = base.mesh.data_plane.as_deref();
        if own.is_some_and(|plane| plane.technology == technology) {
            return Ok(base.clone());
        }
        let value = match own.is_some_and(|plane| plane.has_load_proxies) && technology.has_proxies() {
            true => format!("mesh={{technology: {}, load_proxies: true}}", technology.name()),
            false => format!("mesh={}", technology.name()),
        };
        let mut overrides = self.source.set.clone();
        overrides.extend(
            self.source
                .seed
                .map(|seed| format!("seed={seed}"))
                .iter()
                .chain([&value])
                .map(|text| Override::parse(text).expect("it is well-formed")),
        );
        load(self.source.file(), &overrides).map_err(Error::Problems)
    }
}

fn technology(text: &str) -> Result<Technology, String> {
    let names = || Technology::ALL.iter().map(|it| it.name());
    Technology::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| {
        let near = meshsim_experiment::nearest(text, names()).map(|near| format!("did you mean `{near}`? "));
        format!("{}the technologies are {}", near.unwrap_or_default(), names().collect::<Vec<_>>().join(", "))
    })
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "write a number from 0 on, as in `25` or `0.031`".into())
}
