//! `meshsim search`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use meshsim_actor::Span;
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::verify::Verified;
use meshsim_report::{count, number, plural};
use meshsim_search::campaign::{Broken, Campaign, CampaignError, Found, SEEDS_FOR_RARE, search, try_seed};
use meshsim_search::draw::Base;
use meshsim_search::rare::Rare;
use serde::Serialize;

use super::Workers;
use crate::error::{Error, Exit};
use crate::found;
use crate::interrupt;
use crate::progress::Counted;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Try drawn faults and operations until an invariant breaks";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim search                                  # 1,000 seeds, each with a mesh of its own
  meshsim search --for 10m
  meshsim search mesh.yaml --seeds 200            # the nodes, services and loads of the file
  meshsim search --seed 1742                      # one seed again

Each seed draws nodes, services, operations, faults and their rates, and which kinds of them it has at all. \
Its first 40 s have the faults; then all end, and by 90 s everything must be as it was decided. All rules of \
`verify` are checked on every record, and nothing is written, until a seed breaks one: its run is written \
to runs/NAME-SEED, with its trace and its experiment as a file, and the search ends. A seed in which nothing was \
operated, or no fault touched anything, says nothing and is not counted.

The same seeds find the same, with any number of jobs. From 1,000 seeds on, a rare event that never happened \
makes the result unknown.

Exit codes: 0 no rule is broken, 1 failed, 2 the file is invalid, 98 no rule is broken and a rare event never \
happened, 99 a rule is broken, 130 interrupted, and no rule is broken so far.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the nodes, services, loads and the network of this experiment file
    file: Option<PathBuf>,
    #[arg(help = "Number of seeds to try [default: 1000]", long, value_name = "N", value_parser = seeds, group = "tried")]
    seeds: Option<u64>,
    /// Try seeds for this long: `10m`
    #[arg(long = "for", value_name = "TIME", value_parser = length, group = "tried")]
    length: Option<Duration>,
    /// Try only this seed
    #[arg(long, value_name = "N", group = "tried")]
    seed: Option<u64>,
    /// First seed
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "seed")]
    from: u64,
    /// Write the run that breaks a rule to this folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    workers: Workers,
}

fn seeds(text: &str) -> Result<u64, String> {
    const SEEDS_MAX: u64 = 1_000_000_000;
    let count = text.parse().ok().filter(|count| (1..=SEEDS_MAX).contains(count));
    count.ok_or_else(|| format!("write a whole number from 1 to {SEEDS_MAX}"))
}

fn length(text: &str) -> Result<Duration, String> {
    let span = meshsim_experiment::duration(text).map_err(|error| format!("{}: {}", error.message, error.help))?;
    Ok(Duration::from_nanos(span.nanos()))
}

/// The findings, for machines.
#[derive(Serialize)]
struct Findings<'a> {
    seeds: u64,
    vacuous: u64,
    steps: u64,
    touched: u64,
    events: u64,
    checks: u64,
    rare_events: Vec<RareEvent>,
    broken: Option<BrokenSeed<'a>>,
}

#[derive(Serialize)]
struct RareEvent {
    event: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct BrokenSeed<'a> {
    seed: u64,
    run: String,
    rules: &'a [Verified],
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.file.as_deref().map(|file| meshsim_experiment::load(file, &[])).transpose();
        let base = experiment.map_err(Error::Problems)?.as_ref().map(Base::new);
        interrupt::catch()?;
        let (first, only) = (self.seed.unwrap_or(self.from), self.seed.map(|_| 1));
        let by_default = self.length.is_none().then_some(self.seeds.unwrap_or(SEEDS_FOR_RARE));
        let campaign = Campaign { first, count: only.or(by_default), base, threads: self.workers.threads() };
        let progress = match campaign.count {
            Some(count) => Counted::begin(0, count as usize, "seeds", !self.workers.no_progress),
            None => Counted::begin_open("seeds", !self.workers.no_progress),
        };
        #[expect(clippy::disallowed_methods, reason = "how long to search is said by the user, and changes no seed")]
        let begun = Instant::now();
        let found = search(&campaign, |found| {
            progress.at(found.seeds as usize);
            !interrupt::asked() && self.length.is_none_or(|length| begun.elapsed() < length)
        });
        progress.end();
        let took = begun.elapsed().as_secs_f64();
        let found = found.map_err(error)?;
        let written = match &found.broken {
            Some(broken) => {
                let (experiment, _) = try_seed(broken.seed, campaign.base.as_ref()).map_err(error)?;
                Some(found::write(&experiment, &broken.rules, self.out.as_deref())?)
            }
            None => None,
        };
        if self.json {
            screen.print_json(&findings(&found, written.as_deref()))?;
        } else {
            let paint = screen.paint();
            let mut text = rare_events(&found, paint) + &verdict(&found, paint);
            if let (Some(broken), Some(folder)) = (&found.broken, &written) {
                text += &self.tell(broken, folder, paint)?;
            }
            screen.print(&text)?;
        }
        let pace = found.seeds as f64 / took.max(1e-9);
        screen.remark(&format!(
            "{} in {}, {} a second\n",
            plural(found.seeds, "seed"),
            Span::from_secs_f64(took),
            number(pace)
        ));
        Ok(match &found.broken {
            Some(_) => Exit::SloFailed,
            None if interrupt::asked() => Exit::Interrupted,
            None if found.lacks_events() => Exit::Unknown,
            None => Exit::Success,
        })
    }

    /// How a seed breaks a rule, and how to see it again.
    fn tell(&self, broken: &Broken, folder: &std::path::Path, paint: Paint) -> Result<String, Error> {
        let mut text = format!("\n{}\n", found::breaches(&broken.rules, paint));
        if let Some((_, breach)) = found::first(&broken.rules)
            && folder.join(crate::output::TRACE).exists()
        {
            text += &format!("{}\n", found::story(folder, breach, paint)?);
        }
        let file = self.file.as_ref().map(|file| format!(" {}", file.display())).unwrap_or_default();
        text += &format!("  again    meshsim search{file} --seed {}\n", broken.seed);
        text += &format!("  as file  meshsim run {} --trace\n", found::file(folder));
        text += &format!("  smaller  meshsim shrink {}\n", folder.display());
        Ok(text)
    }
}

fn error(error: CampaignError) -> Error {
    let text = error.to_string();
    match error {
        CampaignError::Invalid(_, problems) => Error::Problems(problems),
        CampaignError::Network(..) => Error::Study(text),
    }
}

fn findings<'a>(found: &'a Found, written: Option<&std::path::Path>) -> Findings<'a> {
    let event = |(event, count): (&Rare, &u64)| RareEvent { event: event.as_str(), count: *count };
    Findings {
        seeds: found.seeds,
        vacuous: found.vacuous,
        steps: found.steps,
        touched: found.touched,
        events: found.events,
        checks: found.checked,
        rare_events: Rare::ALL.iter().zip(&found.rare).map(event).collect(),
        broken: found.broken.as_ref().zip(written).map(|(broken, run)| BrokenSeed {
            seed: broken.seed,
            run: run.display().to_string(),
            rules: &broken.rules,
        }),
    }
}

fn rare_events(found: &Found, paint: Paint) -> String {
    let mut table = Table::new(["<rare event", "times"]);
    for (event, times) in Rare::ALL.iter().zip(&found.rare) {
        let style = if *times == 0 { Style::Warn } else { Style::Plain };
        table.row([event.as_str().into(), TableCell::new(count(*times), style)]);
    }
    table.render(paint)
}

fn verdict(found: &Found, paint: Paint) -> String {
    let vacuous = match found.vacuous {
        0 => String::new(),
        n => format!(" ({} said nothing)", count(n)),
    };
    let tried = format!(
        "{}{vacuous}: {}, {} touched, {}, {}",
        plural(found.seeds, "seed"),
        plural(found.steps, "step"),
        plural(found.touched, "message"),
        plural(found.events, "event"),
        plural(found.checked, "check"),
    );
    let missing = found.missing();
    let result = match &found.broken {
        Some(broken) => paint.on(Style::Bad, &format!("seed {} breaks a rule", broken.seed)),
        None if found.seeds == found.vacuous => paint.on(Style::Warn, "no seed says anything"),
        None if missing.is_empty() => paint.on(Style::Good, "no rule is broken"),
        None => {
            let events = match missing.len() {
                1 => "1 rare event".into(),
                n => format!("{n} rare events"),
            };
            let enough = if found.lacks_events() { "" } else { ", in too few seeds to count on it" };
            let result = format!("no rule is broken, and {events} never happened{enough}");
            paint.on(if enough.is_empty() { Style::Bad } else { Style::Warn }, &result)
        }
    };
    format!("\n{tried}\n{result}\n")
}
