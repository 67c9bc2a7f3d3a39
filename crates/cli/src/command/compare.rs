//! `meshsim compare`

use std::path::{Path, PathBuf};

use meshsim_experiment::{Override, load};
use meshsim_report::compare::noise::Noise;
use meshsim_report::compare::{Comparison, Named, RUNS_MAX, text};
use meshsim_report::plural;
use meshsim_study::pairs;
use meshsim_study::plan::Plan;

use super::Workers;
use crate::error::{Error, Exit};
use crate::flow::part;
use crate::interrupt;
use crate::memory;
use crate::progress::Counted;
use crate::read::{differing, experiment, summary};
use crate::runs;
use crate::screen::Screen;
use crate::study;

pub(super) const ABOUT: &str = "Compare runs, or configurations, of one experiment";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim compare runs/hotel-7 runs/hotel-8
  meshsim compare runs/hotel-7 runs/hotel-8 runs/hotel-9 --noise 10%
  meshsim compare runs/hotel-7 runs/hotel-8 --json | jq '.histories[0].first_step'
  meshsim compare --messages runs/hotel-7 runs/hotel-8
  meshsim compare mesh.yaml --with services.geo.instances=4 --seeds 20
  meshsim compare before.yaml after.yaml --markdown

Files are run, each with the same seeds (--seeds, those of the first file's seed and after), on all cores. \
The difference of a figure is taken seed by seed and has a 95% interval. A figure of a load is marked if \
it differs by more than random noise: for two equal files, at most 5 % of comparisons have a mark. \
Single runs of one seed each, in their folders, carry less information:

The first run is the base. Requests, services and operations are compared by their figures, the history \
by its decisions, regardless of their times: the first step that differs is shown.

Noise is a difference of at most 5% of the base (--noise), or, where a summary allows it, of at most \
three standard errors: counts are taken as Poisson counts (3 sqrt(a + b)), percentiles lie between the \
samples of ranks q n +- 3 sqrt(f n q (1 - q)), read off the percentiles of summary.json. The factor f \
measures the correlation of consecutive requests, as in one queue; each run measures it. Failures are taken as independent: if \
they come together, as in a crash, there is more noise, and more seeds show how much. Settle times are \
compared with the scatter of the runs' steps, messages only with the floor; steps, outcomes and the history \
have no noise. \
`meshsim schema comparison` describes what --json prints.

Runs of files are kept under `runs` as they end: Ctrl-C loses those in progress, and the same command \
continues. They are removed when the comparison is done.

Exit codes: 0 compared, with any result, 1 failed, 2 not runs or files, or one is invalid, 130 interrupted.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folders of two or more runs, or experiment files, which are run; the first is the base
    #[arg(required = true, num_args = 1..=RUNS_MAX, value_name = "RUN|FILE")]
    runs: Vec<PathBuf>,
    /// Compare the file with itself, this value set: `services.search.balancer=random`. Several are set together
    #[arg(long, value_name = "PATH=VALUE", value_parser = Override::parse)]
    with: Vec<Override>,
    #[arg(help = "Number of seeds per file [default: 10]", long, value_name = "N", value_parser = super::seed_count)]
    seeds: Option<usize>,
    #[arg(help = "Differences between runs up to this share of the base are noise [default: 5%]", long, value_name = "PERCENT", value_parser = super::share, allow_hyphen_values = true)]
    noise: Option<f64>,
    /// Show the first record in which two runs differ, and the earlier inputs of its actor
    #[arg(long, conflicts_with_all = ["all", "json", "markdown", "noise"])]
    messages: bool,
    /// Show figures without a difference, too, and for files the figures of services
    #[arg(long)]
    all: bool,
    /// Print the comparison as JSON
    #[arg(long, conflicts_with = "all")]
    json: bool,
    /// Print the comparison of files as Markdown, for a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    #[command(flatten)]
    workers: Workers,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let is_yaml = |path: &Path| path.extension().is_some_and(|it| it == "yaml" || it == "yml");
        let is_file = |path: &&PathBuf| path.is_file() || (!path.exists() && is_yaml(path));
        let files = self.runs.iter().filter(is_file).count();
        if self.messages {
            return self.messages(screen);
        }
        if files == self.runs.len() {
            return self.files(screen);
        }
        if files == 0 {
            return self.folders(screen);
        }
        let why = "some of these are folders of runs, and some are files";
        Err(Error::WrongInput(why.into(), "give folders of runs alone, or experiment files alone".into()))
    }

    /// The first difference between the traces of two runs.
    fn messages(&self, screen: &mut Screen) -> Result<Exit, Error> {
        let [base, other] = self.runs.as_slice() else {
            let why = format!("{} are given", plural(self.runs.len() as u64, "run"));
            return Err(Error::WrongInput(why, "--messages compares two runs, or two traces".into()));
        };
        let text = part::told(base, other, screen)?;
        screen.print(&text).map(|()| Exit::Success)
    }

    /// Runs that are there.
    fn folders(&self, screen: &mut Screen) -> Result<Exit, Error> {
        self.assure_meant(&[
            ("--with", !self.with.is_empty()),
            ("--seeds", self.seeds.is_some()),
            ("--jobs", self.workers.jobs.is_some()),
            ("--markdown", self.markdown),
        ])?;
        let folders: Vec<PathBuf> = self.runs.iter().map(|run| runs::find(run)).collect();
        let mut runs = folders.iter().map(|folder| Ok((folder, read(folder)?))).collect::<Result<Vec<_>, Error>>()?;
        if runs.len() == 1 {
            let help = "give a second run, or the file of an experiment and a value with `--with`";
            return Err(Error::WrongInput(format!("{} is alone", runs[0].0.display()), help.into()));
        }
        let (base_folder, base) = runs.remove(0);
        let experiment = experiment(base_folder, None)?;
        let different = runs.iter().map(|(folder, _)| differing(&experiment, folder)).collect::<Result<Vec<_>, _>>()?;
        let others: Vec<Named> = runs.into_iter().map(|(_, named)| named).collect();
        let noise = Noise::with_floor(self.noise.unwrap_or(NOISE));
        let comparison = Comparison::new(&base, &others, noise).of_experiments(different);
        if self.json {
            screen.print_json(&comparison)?;
        } else {
            let text = text(&comparison, self.all, screen.paint());
            screen.print(&text)?;
        }
        Ok(Exit::Success)
    }

    /// Files, or a file with values set: each is run with the same seeds.
    fn files(&self, screen: &mut Screen) -> Result<Exit, Error> {
        self.assure_meant(&[("--noise", self.noise.is_some())])?;
        let mut named = Vec::new();
        for file in &self.runs {
            named.push((file.display().to_string(), load(file, &[]).map_err(Error::Problems)?));
        }
        if !self.with.is_empty() {
            if self.runs.len() > 1 {
                let help = "leave out `--with`, or give one file";
                return Err(Error::WrongInput("`--with` is about one file".into(), help.into()));
            }
            let name: Vec<&str> = self.with.iter().map(Override::as_str).collect();
            named.push((name.join(", "), load(&self.runs[0], &self.with).map_err(Error::Problems)?));
        }
        if named.len() == 1 {
            let help = "give a second file, or a value with `--with`, as in `--with services.search.instances=4`";
            return Err(Error::WrongInput(format!("{} is alone", self.runs[0].display()), help.into()));
        }
        interrupt::catch()?;
        let (count, threads) = (self.seeds.unwrap_or(SEEDS), self.workers.threads());
        for (_, experiment) in &named {
            memory::assure_several(experiment, threads, screen)?;
        }
        let progress = Counted::begin(0, count * named.len(), "runs", !self.workers.no_progress);
        let at = |done| {
            progress.at(done);
            !interrupt::asked()
        };
        let folder = |plan: &Plan| Some(runs::place_of_many(plan, "compare"));
        let compared = pairs::run(&named, count, threads, folder, at);
        progress.end();
        let compared = match compared {
            Ok(compared) => compared,
            Err(error) => return study::not_compared(error, screen),
        };
        if self.json {
            screen.print_json(&compared)?;
        } else if self.markdown {
            screen.print_file(&study::pairs_markdown(&compared, self.all))?;
        } else {
            let text = study::pairs(&compared, self.all, screen.paint());
            screen.print(&text)?;
        }
        Ok(Exit::Success)
    }

    fn assure_meant(&self, others: &[(&str, bool)]) -> Result<(), Error> {
        let Some((name, _)) = others.iter().find(|(_, is_given)| *is_given) else { return Ok(()) };
        let what = if *name == "--noise" { "runs that are there" } else { "files, which are run" };
        Err(Error::WrongInput(format!("`{name}` is about {what}"), format!("leave out `{name}`")))
    }
}

/// Differences between two runs up to this share of the base are noise.
const NOISE: f64 = 0.05;
/// With how many seeds a file is run.
const SEEDS: usize = 10;

/// Reads the summary of a run, with its name.
fn read(folder: &Path) -> Result<Named, Error> {
    Ok(Named { run: folder.display().to_string(), summary: summary(folder)? })
}
