//! `meshsim limit`

use meshsim_experiment::Experiment;
use meshsim_study::journal::Journal;
use meshsim_study::limit::{self, LimitError, Question};
use meshsim_study::plan::{fingerprint, seeds};

use super::{Source, Workers};
use crate::error::{Error, Exit};
use crate::interrupt;
use crate::memory;
use crate::progress::Counted;
use crate::runs;
use crate::screen::Screen;
use crate::study;

pub(super) const ABOUT: &str = "Find the highest rate at which all SLOs hold, and its bottleneck";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim limit examples/hotel/mesh.yaml
  meshsim limit mesh.yaml --of users --seeds 20
  meshsim limit mesh.yaml --set 'slo=[p99 < 80ms]' --json | jq '.rate.mean'

The loads of the file rise together, with their mix and their rates over time; --of raises one and leaves \
the others unchanged. First one seed is tried at rates around the one at which `check` expects \
the first service to be full. Then each seed finds its own limit by bisection. The output is the mean of \
these limits with its 95% interval, the SLO that fails just above it, and the services that are \
busiest just below it.

Runs are kept as they end: Ctrl-C loses those in progress, and the same command continues. The folder of the \
runs is removed when a limit is found.

Exit codes: 0 a limit was found, 1 failed, or no rate or every rate holds, 2 the experiment is invalid or \
has no SLO, 130 interrupted.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Raise only this load
    #[arg(long, value_name = "LOAD")]
    of: Option<String>,
    /// Number of seeds whose limits are found
    #[arg(long, value_name = "N", default_value = "10", value_parser = super::seed_count)]
    seeds: usize,
    /// Relative precision of each limit
    #[arg(long, value_name = "PERCENT", default_value = "0.5%", value_parser = super::share)]
    within: f64,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    workers: Workers,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(self.json, screen)?;
        let load = self.of.as_deref().map(|name| load_index(&experiment, name)).transpose()?;
        if self.within <= 0.0 {
            return Err(Error::WrongInput("0% is never close enough".into(), "write a share such as `0.5%`".into()));
        }
        memory::assure_several(&experiment, self.workers.threads(), screen)?;
        interrupt::catch()?;
        let question = Question { load, seeds: seeds(&experiment, self.seeds), within: self.within };
        let progress = Counted::begin_open("runs", !self.workers.no_progress);
        let at = |done| {
            progress.at(done);
            !interrupt::asked()
        };
        let of = fingerprint_of(&experiment, &question);
        let folder = runs::place_of_search(&experiment, "limit", &of);
        let (mut journal, known) = Journal::open(&folder, &experiment.name, &of).map_err(study::store_error)?;
        let keep = |tried: &_| journal.keep(tried);
        let found = limit::find(&experiment, &question, self.workers.threads(), &known, keep, at);
        progress.end();
        if matches!(found, Err(LimitError::Stopped)) {
            screen.remark(&format!(
                "interrupted: finished runs are kept in {}; the same command continues\n",
                folder.display()
            ));
            return Ok(Exit::Interrupted);
        }
        journal.remove().map_err(study::store_error)?;
        let found = found.map_err(error)?;
        if self.json {
            screen.print_json(&found)?;
        } else {
            let text = study::limit(&experiment, &found, screen.paint());
            screen.print(&text)?;
        }
        Ok(Exit::Success)
    }
}

/// Identity of a search: all inputs of its runs and its answer.
fn fingerprint_of(experiment: &Experiment, question: &Question) -> String {
    let question = format!("{:?} {:?} {}", question.load, question.seeds, question.within);
    let files = experiment.files.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]);
    fingerprint([experiment.text.as_bytes(), question.as_bytes()].into_iter().chain(files))
}

fn load_index(experiment: &Experiment, name: &str) -> Result<usize, Error> {
    let loads = &experiment.mesh.loads;
    if let Some(index) = loads.iter().position(|load| load.name == name) {
        return Ok(index);
    }
    let names = || loads.iter().map(|load| load.name.as_str());
    let help = match meshsim_experiment::nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the loads are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(Error::WrongInput(format!("unknown load `{name}`"), help))
}

fn error(error: LimitError) -> Error {
    let text = error.to_string();
    match error {
        LimitError::NoSlo => Error::WrongInput(
            text,
            "say what must hold, in the file or with `--set 'slo=[p99 < 100ms, errors < 1%]'`".into(),
        ),
        LimitError::Short(_) => Error::WrongInput(text, "give it more time with `--set duration=10m`".into()),
        LimitError::Replay(_) | LimitError::NoLoad => {
            Error::WrongInput(text, "give a load by its rate, or choose another with `--of`".into())
        }
        LimitError::Closed(name) => Error::WrongInput(
            text,
            format!(
                "give it `arrivals`, choose an open load with `--of`, or vary its users: `meshsim sweep FILE --vary load.{name}.users=10,20,50`"
            ),
        ),
        LimitError::Kept(error) => study::store_error(error),
        LimitError::Never(..) | LimitError::Always(_) | LimitError::Broken(_) | LimitError::Stopped => {
            Error::Study(text)
        }
    }
}
