//! `meshsim shrink`

use std::path::{Path, PathBuf};

use clap::Parser;
use meshsim_experiment::{Experiment, fault_in_words};
use meshsim_report::table::{Paint, Style};
use meshsim_report::verify::Verified;
use meshsim_report::wrap::wrapped;
use meshsim_report::{count, plural};
use meshsim_search::shrink::{Shrunk, shrink};
use meshsim_search::trial::PANICS;
use serde::Serialize;

use super::trace::sequence;
use crate::error::{Error, Exit};
use crate::flow::{Selection, Source};
use crate::folder::PendingFile;
use crate::progress::Counted;
use crate::runs::EXPERIMENT;
use crate::screen::Screen;
use crate::{found, interrupt, runs};

pub(super) const ABOUT: &str = "Leave out of an experiment what it does not need to break an invariant";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim search                                  # writes the run of a seed that breaks a rule
  meshsim shrink last
  meshsim shrink mesh.yaml --out small

Faults with their targets, operations, loads, services, nodes and settings are left out, until without any one \
that is left the rule would hold (delta debugging: Zeller and Hildebrandt 2002). The result is written as a run: \
experiment.yaml, which breaks the rule again, its trace, and sequence.svg, a diagram of the messages before \
the breach.

Exit codes: 0 it is as small as it can be, 1 failed, 2 the input is invalid, or breaks no rule, 130 interrupted: \
the smallest so far is written.";

/// The diagram in the folder of the result.
const DIAGRAM: &str = "sequence.svg";

/// Messages of the diagram.
const MESSAGES_MAX: usize = 60;

/// Records before a breach that the diagram is about.
const RECORDS_MAX: u64 = 400;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A run: its folder, its name under `runs`, or `last`; or an experiment file
    run: PathBuf,
    /// Write the result to this folder [default: that of the run, with `-shrunk`]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(long)]
    no_progress: bool,
}

/// The result, for machines.
#[derive(Serialize)]
struct Shrinking<'a> {
    run: String,
    parts_before: usize,
    parts: usize,
    runs: u64,
    is_minimal: bool,
    rules: &'a [Verified],
    story: Vec<String>,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let run = runs::find(&self.run);
        let file = if run.is_dir() { run.join(EXPERIMENT) } else { run.clone() };
        let experiment = meshsim_experiment::load(&file, &[]).map_err(Error::Problems)?;
        interrupt::catch()?;
        let progress = Counted::begin_open("runs", !self.no_progress);
        let shrunk = shrink(&experiment, |so_far| {
            progress.at(so_far.runs as usize);
            !interrupt::asked()
        });
        progress.end();
        let Some(shrunk) = shrunk else {
            let why = format!("{} breaks no rule", file.display());
            let help = "`meshsim search` looks for an experiment that does; a live run cannot be repeated";
            return Err(Error::WrongInput(why, help.into()));
        };
        let place = self.out.unwrap_or_else(|| place(&run, &experiment));
        let folder = found::write(&shrunk.experiment, &shrunk.rules, Some(&place))?;
        let has_trace = shrunk.rules.iter().all(|it| it.rule != PANICS);
        if has_trace {
            draw(&folder, &shrunk)?;
        }
        let sentences = sentences(&shrunk);
        if self.json {
            let (rules, story) = (shrunk.rules.as_slice(), sentences);
            let Shrunk { parts_before, parts, runs, is_minimal, .. } = shrunk;
            let run = folder.display().to_string();
            screen.print_json(&Shrinking { run, parts_before, parts, runs, is_minimal, rules, story })?;
        } else {
            let paint = screen.paint();
            let mut text = String::new();
            for sentence in &sentences {
                wrapped(sentence, paint.columns.max(20)).into_iter().for_each(|line| text += &format!("{line}\n"));
            }
            if let (Some((_, breach)), true) = (found::first(&shrunk.rules), has_trace) {
                text += &format!("\n{}", found::story(&folder, breach, paint)?);
            }
            text += &again(&folder, has_trace, paint);
            screen.print(&text)?;
        }
        Ok(if shrunk.is_minimal { Exit::Success } else { Exit::Interrupted })
    }
}

/// `runs/search-17-shrunk` for `runs/search-17`.
fn place(run: &Path, experiment: &Experiment) -> PathBuf {
    let name = run.file_name().filter(|_| run.is_dir()).map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| format!("{}-{}", experiment.name, experiment.seed));
    let parent = if run.is_dir() { run.parent().unwrap_or(Path::new("")) } else { Path::new(runs::RUNS) };
    parent.join(format!("{name}-shrunk"))
}

/// Three sentences: which rule is broken, what the experiment still has, and how many parts were left out.
fn sentences(shrunk: &Shrunk) -> Vec<String> {
    let experiment = &shrunk.experiment;
    let mesh = &experiment.mesh;
    let breach = match found::first(&shrunk.rules) {
        Some((rule, breach)) => {
            format!("At {:.3} s {} {}, although {rule}.", breach.at_s, breach.actor, breach.reason)
        }
        None => String::new(),
    };
    let faults: Vec<String> = (experiment.network.faults.iter())
        .map(|fault| format!("{} from {} to {}", fault_in_words(&fault.kind, mesh), fault.at, fault.until))
        .collect();
    let operations: Vec<String> = (mesh.operations.iter())
        .filter(|operation| operation.at > meshsim_actor::Time::ZERO)
        .map(|operation| {
            let service = &mesh.service(operation.service).name;
            format!("{} {service} at {}", operation.change.kind().as_str(), operation.at)
        })
        .collect();
    let listed = |what: &str, items: &[String]| match items {
        [] => format!("no {what}"),
        items => items.join(", "),
    };
    let takes = format!(
        "It takes {}, {}, {}, {} and {}.",
        plural(mesh.nodes.len() as u64, "node"),
        plural(mesh.services.len() as u64, "service"),
        plural(mesh.loads.len() as u64, "load"),
        listed("operation", &operations),
        listed("fault", &faults),
    );
    let left = if shrunk.is_minimal {
        "without any one of those that are left the rule holds"
    } else {
        "it was interrupted, and perhaps more can be left out"
    };
    let out = format!(
        "Of {} {} were left out in {}; {left}.",
        plural(shrunk.parts_before as u64, "part"),
        count((shrunk.parts_before - shrunk.parts) as u64),
        plural(shrunk.runs, "run"),
    );
    vec![breach, takes, out]
}

fn again(folder: &Path, has_trace: bool, paint: Paint) -> String {
    let mut text = format!("\n  again    meshsim run {} --trace\n", found::file(folder));
    if has_trace {
        text += &format!("  check    meshsim verify {}\n", folder.display());
        text += &format!("  {}\n", paint.on(Style::Dim, &format!("diagram  {}", folder.join(DIAGRAM).display())));
    }
    text
}

/// A selection of records, as an option gives it.
#[derive(Parser)]
struct Selected {
    #[command(flatten)]
    selection: Selection,
}

/// Draws the messages of the control plane before the first breach.
fn draw(folder: &Path, shrunk: &Shrunk) -> Result<(), Error> {
    let source = Source::traced(folder)?;
    let records = source.index()?.records();
    let last = found::first(&shrunk.rules).map(|(_, breach)| breach.record).filter(|record| *record > 0);
    let last = last.unwrap_or(records);
    let expression = format!(
        "record > {} && record <= {last} && type != heartbeat && type != view && type != request && type != reply",
        last.saturating_sub(RECORDS_MAX)
    );
    let Selected { selection } = Selected::parse_from(["", "--where", &expression]);
    let (diagram, failed) = sequence::gather(&source, &selection, MESSAGES_MAX)?;
    if let Some(error) = failed {
        return Err(error);
    }
    PendingFile::create(&folder.join(DIAGRAM))?.publish(&sequence::svg::draw(&diagram, &source.label))
}
