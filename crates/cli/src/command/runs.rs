//! `meshsim runs`

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use meshsim_experiment::differences;
use meshsim_report::table::{Style, Table, TableCell};
use meshsim_report::{Outcome, Summary, number};
use meshsim_study::{journal, store};

use crate::error::{Error, Exit};
use crate::folder::{SUMMARY, is_run};
use crate::read;
use crate::runs;
use crate::screen::Screen;
use crate::study;

pub(super) const ABOUT: &str = "List runs, or remove some";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim runs
  meshsim runs --json | jq -r '.[] | select(.outcome == \"fail\") | .run'
  meshsim runs rm hotel-7.1b2c3d4e last

Runs are written to the folder `runs`: NAME-SEED, NAME-SEED.HASH if another run with other settings has that \
name, NAME-SEED-live for a live run, numbered from the second on. A RUN is a folder, a name under \
`runs`, or `last`. The list shows the settings in which a run differs from the first of its experiment and \
seed. Sweeps and other studies follow, with the number of their finished runs: `meshsim sweep FOLDER` \
continues a sweep, and the same command continues an interrupted limit or comparison.

Exit codes: 0 done, 1 failed, 2 unknown run.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Remove runs and studies, each with all files that it wrote
    Rm {
        /// Folders, names under `runs`, or `last`
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<PathBuf>,
    },
}

/// A run in the list.
#[derive(serde::Serialize)]
struct Listed {
    /// Its folder.
    run: String,
    /// The name of its experiment.
    name: String,
    seed: u64,
    /// Time reached, in seconds.
    reached_s: f64,
    cut_short: bool,
    outcome: Outcome,
    /// Number of SLOs of its experiment.
    slos: usize,
    /// Seconds since it was written.
    age_s: u64,
    has_trace: bool,
    /// Differences from the first run of its experiment and seed.
    settings: Vec<String>,
}

/// A study in the list: many runs that belong together.
#[derive(serde::Serialize)]
struct ListedStudy {
    /// Its folder.
    study: String,
    /// The name of its experiment.
    name: String,
    /// Number of its runs that exist.
    runs: usize,
    /// Planned number of runs; `null` if it is unknown before the study ends, as of a limit.
    of: Option<usize>,
    /// Seconds since the last of them ended.
    age_s: u64,
    /// Varied settings.
    varied: Vec<String>,
}

/// The list: runs, then studies.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Run(&'a Listed),
    Study(&'a ListedStudy),
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        match self.action {
            Some(Action::Rm { runs }) => remove(&runs, screen),
            None => self.list(screen),
        }
    }

    fn list(&self, screen: &mut Screen) -> Result<Exit, Error> {
        let (listed, studies) = (listed(), studies());
        if self.json {
            let all = listed.iter().map(Entry::Run).chain(studies.iter().map(Entry::Study));
            screen.print_json(&all.collect::<Vec<_>>())?;
            return Ok(Exit::Success);
        }
        if listed.is_empty() && studies.is_empty() {
            screen.remark("no runs in the folder `runs`\n");
            return Ok(Exit::Success);
        }
        let mut table = Table::new(["<run", "lasted", "<SLO", "age", "<", "<settings"]);
        for run in &listed {
            let outcome = if run.slos == 0 { TableCell::new("-", Style::Dim) } else { run.outcome.cell() };
            let name = Path::new(&run.run).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lasted = format!("{}s{}", number(run.reached_s), if run.cut_short { " (cut)" } else { "" });
            let trace = if run.has_trace { "trace" } else { "" };
            let settings = match &run.settings[..] {
                [] => String::new(),
                [one] => one.clone(),
                [one, others @ ..] => format!("{one}, and {} more", others.len()),
            };
            table.row([name.into(), lasted.into(), outcome, age(run.age_s).into(), trace.into(), settings.into()]);
        }
        let mut text = String::new();
        if !listed.is_empty() {
            text += &table.without_empty_columns(&[]).render(screen.paint());
        }
        if !listed.is_empty() && !studies.is_empty() {
            text.push('\n');
        }
        if !studies.is_empty() {
            text += &table_of_studies(&studies).render(screen.paint());
        }
        screen.print(&text)?;
        Ok(Exit::Success)
    }
}

fn listed() -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    // The first of each experiment and seed.
    let mut first = std::collections::BTreeMap::new();
    #[expect(clippy::disallowed_methods, reason = "how old a run is is shown, and decides nothing")]
    let now = SystemTime::now();
    for (path, written) in runs::all() {
        let found = File::open(path.join(SUMMARY)).ok().and_then(|file| Summary::read(file).ok());
        let Some(summary) = found else { continue };
        let mut settings = Vec::new();
        if let Ok(experiment) = read::experiment(&path, None) {
            match first.get(&(summary.name.clone(), summary.seed)) {
                Some(base) => settings = differences(base, &experiment),
                None => _ = first.insert((summary.name.clone(), summary.seed), experiment),
            }
        }
        listed.push(Listed {
            run: path.display().to_string(),
            seed: summary.seed,
            reached_s: summary.reached_s,
            cut_short: summary.cut_short,
            outcome: summary.outcome,
            slos: summary.slo.len(),
            age_s: now.duration_since(written).map_or(0, |age| age.as_secs()),
            has_trace: path.join(crate::output::TRACE).is_file(),
            settings,
            name: summary.name,
        });
    }
    listed
}

/// The studies under `runs`.
fn studies() -> Vec<ListedStudy> {
    #[expect(clippy::disallowed_methods, reason = "how old a study is is shown, and decides nothing")]
    let now = SystemTime::now();
    let found = runs::studies().into_iter().filter_map(|path| {
        let (name, runs, of, written, varied) = if journal::is_search(&path) {
            let (name, tried, written) = journal::stand(&path).ok()?;
            (name, tried, None, written, vec![])
        } else {
            let (plan, _) = store::read_plan(&path).ok()?;
            let (runs, written) = store::stand(&path, &plan).ok()?;
            let varied = plan.varied.axes.iter().map(|axis| axis.path().to_owned()).collect();
            (plan.name.clone(), runs, Some(plan.jobs().count()), written, varied)
        };
        let age_s = now.duration_since(written).map_or(0, |age| age.as_secs());
        Some(ListedStudy { study: path.display().to_string(), name, runs, of, age_s, varied })
    });
    found.collect()
}

fn table_of_studies(studies: &[ListedStudy]) -> Table {
    let mut table = Table::new(["<study", "runs", "age", "<varies"]);
    for study in studies {
        let name = Path::new(&study.study).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let runs = match study.of {
            Some(of) if of == study.runs => TableCell::from(of.to_string()),
            Some(of) => TableCell::new(format!("{} of {of}", study.runs), Style::Warn),
            None => TableCell::new(format!("{} so far", study.runs), Style::Warn),
        };
        table.row([name.into(), runs, age(study.age_s).into(), study.varied.join(", ").into()]);
    }
    table.without_empty_columns(&[])
}

/// Age in the largest unit that fits.
fn age(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs}s"),
        120..7_200 => format!("{}min", secs / 60),
        7_200..172_800 => format!("{}h", secs / 3_600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// All of them must exist, or none is removed.
fn remove(runs: &[PathBuf], screen: &Screen) -> Result<Exit, Error> {
    let mut found: Vec<PathBuf> = runs.iter().map(|run| runs::find(run)).collect();
    found.sort();
    found.dedup();
    if let Some(path) = found.iter().find(|path| !is_run(path) && !runs::is_study(path)) {
        let why = format!("{} is not the folder of a run or a study", path.display());
        return Err(Error::WrongInput(why, "`meshsim runs` lists those under `runs`".into()));
    }
    for path in &found {
        if journal::is_search(path) {
            journal::remove(path).map_err(|error| Error::Write(path.clone(), error))?;
        } else if store::is_study(path) {
            store::remove(path).map_err(study::store_error)?;
        }
        if !is_run(path) {
            screen.remark(&format!("removed {}\n", path.display()));
            continue;
        }
        let experiment = read::experiment(path, None).ok();
        let files = crate::output::written_names(experiment.as_ref());
        remove_run(path, &files).map_err(|error| Error::Write(path.clone(), error))?;
        screen.remark(&format!("removed {}\n", path.display()));
    }
    Ok(Exit::Success)
}

/// Removes the files of a run, the summary first: the rest then is no run. A file that no run writes stays, and the
/// folder with it.
fn remove_run(path: &Path, files: &[String]) -> std::io::Result<()> {
    for name in std::iter::once(SUMMARY).chain(files.iter().map(String::as_str)) {
        match fs::remove_file(path.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}
