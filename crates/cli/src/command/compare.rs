//! `meshsim compare`

use std::fs::File;
use std::path::{Path, PathBuf};

use meshsim_experiment::{Experiment, Override, differences, load};
use meshsim_report::compare::noise::Noise;
use meshsim_report::compare::{Comparison, Named, RUNS_MAX, text};
use meshsim_report::{ReadError, Summary};

use crate::error::{Error, Exit};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Hold runs of one experiment side by side";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim compare runs/hotel-7 runs/hotel-8
  meshsim compare runs/hotel-7 runs/hotel-8 runs/hotel-9 --noise 10%
  meshsim compare runs/hotel-7 runs/hotel-8 --json | jq '.histories[0].first_step'

The first run is the base. Requests, services and operations are compared by their figures, the history \
by what was decided, whenever that was: the first step that differs is shown.

Noise is a difference of at most 5% of the base (--noise), or, where a summary tells more, of at most \
three standard errors: counts are taken as Poisson counts (3 sqrt(a + b)), percentiles lie between the \
samples of ranks q n +- 3 sqrt(f n q (1 - q)), read off the percentiles of summary.json. The factor f \
says how much alike requests are that follow each other, as those of one queue are; each run measures \
it. Failures are taken as independent: where they come together, as in a crash, there is more noise, \
and more seeds tell how much. Settling times are held against the scatter of the runs' steps, messages against the floor \
alone; steps, endings and the history have no noise. \
`meshsim schema comparison` describes what --json prints.

Exit codes: 0 compared, whatever came out, 1 failed, 2 these are no runs of one experiment.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folders of two or more runs; the first is what the others are held against
    #[arg(required = true, num_args = 2..=RUNS_MAX, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Differences up to this share of the base are noise
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = share, allow_hyphen_values = true)]
    noise: f64,
    /// Show also what does not differ, however much there is of it
    #[arg(long)]
    all: bool,
    /// Print the comparison as JSON
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    let percent = number.ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| percent / 100.0).ok_or_else(|| "write a percentage from 0% to 100%".into())
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let mut runs = self.runs.iter().map(|folder| Ok((folder, read(folder)?))).collect::<Result<Vec<_>, Error>>()?;
        let (base_folder, base) = runs.remove(0);
        let experiment = experiment(base_folder, None)?;
        for (folder, _) in &runs {
            assure_same((base_folder, &experiment), folder)?;
        }
        let others: Vec<Named> = runs.into_iter().map(|(_, named)| named).collect();
        let comparison = Comparison::new(&base, &others, Noise::with_floor(self.noise));
        if self.json {
            screen.print_json(&comparison)?;
        } else {
            let text = text(&comparison, self.all, screen.paint());
            screen.print(&text)?;
        }
        Ok(Exit::Well)
    }
}

const EXPERIMENT: &str = "experiment.yaml";
const SUMMARY: &str = "summary.json";

/// Reads what a run left.
fn read(folder: &Path) -> Result<Named, Error> {
    const HELP: &str = "give the folders of runs, as in `meshsim compare runs/hotel-7 runs/hotel-8`";
    let shown = folder.display();
    let wrong = |why: String| Err(Error::WrongInput(why, HELP.into()));
    if !folder.exists() {
        return wrong(format!("there is no folder {shown}"));
    }
    // A pipe would never end.
    if let Some(missing) = [SUMMARY, EXPERIMENT].iter().find(|name| !folder.join(name).is_file()) {
        return wrong(format!("{shown} is not the folder of a run: there is no {missing} in it"));
    }
    let path = folder.join(SUMMARY);
    let found = File::open(&path).map_err(ReadError::Io).and_then(Summary::read);
    let summary = found.map_err(|error| {
        let path = path.display();
        let why = match &error {
            ReadError::Broken { line, column, what } => format!("{path}:{line}:{column}: {what}"),
            other => format!("cannot read {path}: {other}"),
        };
        Error::WrongInput(why, "compare runs that this version of meshsim wrote, or run the experiment again".into())
    })?;
    Ok(Named { run: shown.to_string(), summary })
}

/// The experiment of a run; with the seed and duration of another, if one is given.
fn experiment(folder: &Path, like: Option<&Experiment>) -> Result<Experiment, Error> {
    let mut overrides = vec![];
    if let Some(like) = like {
        overrides.extend(Override::parse(&format!("seed={}", like.seed)));
        overrides.extend(Override::parse(&format!("duration={}ns", like.duration.nanos())));
    }
    load(&folder.join(EXPERIMENT), &overrides).map_err(Error::Problems)
}

/// Refuses a run of another experiment. Seed and duration may differ; what follows from the duration, such as the end of
/// a load, then differs as well, so both are held against each other with those of the base.
fn assure_same((base_folder, base): (&Path, &Experiment), folder: &Path) -> Result<(), Error> {
    let own = experiment(folder, None)?;
    // One that does not even hold for the duration of the base is another.
    let found = differences(base, &experiment(folder, Some(base)).unwrap_or(own));
    if found.is_empty() {
        return Ok(());
    }
    let why = format!(
        "{} and {} are runs of different experiments:\n{}",
        base_folder.display(),
        folder.display(),
        found.join("\n")
    );
    let help = "compare runs that differ in seed and duration alone; names and SLOs do not matter";
    Err(Error::WrongInput(why, help.into()))
}
