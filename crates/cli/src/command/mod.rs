//! The commands, one file each.
//!
//! To add one: write `command/x.rs` with a struct `Args` that derives `clap::Args`, and an
//! `execute(self, &mut Screen) -> Result<Exit, Error>`; then name it in `commands!` below.

mod check;
mod choose;
mod client;
mod compare;
mod completions;
mod compose;
mod coordinator;
mod ctl;
mod explore;
mod export;
mod import;
mod limit;
mod live;
mod man;
mod node;
mod replay;
mod report;
mod run;
mod runs;
mod schema;
mod search;
mod shrink;
mod sweep;
mod trace;
mod verify;

use clap::{CommandFactory, Subcommand};
pub(crate) use node::GraceArgs;

use crate::error::{Error, Exit};
use crate::screen::Screen;

macro_rules! commands {
    ($($heading:literal { $($variant:ident = $module:ident;)* })*) => {
        /// The command to execute.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($(
                // A command without a heading exists, and help does not list it.
                #[command(about = $module::ABOUT, after_help = $module::EXAMPLES, hide = $heading.is_empty())]
                $variant($module::Args),
            )*)*
        }

        impl Command {
            /// Does it.
            pub(crate) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
                match self { $($(Command::$variant(args) => args.execute(screen),)*)* }
            }
        }

        /// Headings of the help, each with its commands: their names and descriptions.
        const HEADINGS: &[(&str, &[(&str, &str)])] = &[
            $(($heading, &[$((stringify!($module), $module::ABOUT)),*]),)*
        ];
    };
}

commands! {
    "Try" {
        Check = check;
        Run = run;
        Live = live;
        Search = search;
        Shrink = shrink;
    }
    "Learn" {
        Compare = compare;
        Sweep = sweep;
        Limit = limit;
        Choose = choose;
        Report = report;
        Runs = runs;
    }
    "Look inside" {
        Trace = trace;
        Explore = explore;
        Replay = replay;
        Verify = verify;
    }
    "Exchange" {
        Import = import;
        Export = export;
        Schema = schema;
    }
    "Live" {
        Ctl = ctl;
        Coordinator = coordinator;
        Node = node;
        Client = client;
    }
    "" {
        // The old name of `export compose`.
        Compose = compose;
    }
    "Shell" {
        Completions = completions;
        Man = man;
    }
}

/// The whole command line. clap cannot put commands under headings, so its help is given their list.
pub(crate) fn line() -> clap::Command {
    let bold = crate::Cli::command().get_styles().get_header().render().to_string();
    let plain = clap::builder::styling::Reset.render().to_string();
    let width = HEADINGS.iter().flat_map(|(_, commands)| *commands).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut commands = String::new();
    for (heading, of) in HEADINGS.iter().filter(|(heading, _)| !heading.is_empty()) {
        commands += &format!("{bold}{heading}:{plain}\n");
        of.iter().for_each(|(name, about)| commands += &format!("  {name:width$}  {about}\n"));
        commands.push('\n');
    }
    let template = format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{commands}{bold}Options:{plain}\n\
         {{options}}{{after-help}}"
    );
    crate::Cli::command().help_template(template)
}

/// The experiment file and its overrides: the same for every command that reads one.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// The experiment file; `-` is standard input
    file: std::path::PathBuf,
    /// Set a value of the file: `services.search.instances=4`; `faults.+=..` adds one to a list. May be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = meshsim_experiment::Override::parse)]
    set: Vec<meshsim_experiment::Override>,
    /// Override the seed of the experiment
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    seed: Option<u64>,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("write a whole number from 0 to {}", u64::MAX))
}

/// Number of parallel runs of a command.
#[derive(Debug, clap::Args)]
pub(crate) struct Workers {
    #[arg(help = "Number of parallel runs [default: number of cores]", long, short, value_name = "N", value_parser = job_count)]
    jobs: Option<usize>,
    /// Show no progress bar
    #[arg(long)]
    no_progress: bool,
}

impl Workers {
    /// Runs that are made at once.
    fn threads(&self) -> usize {
        self.jobs.unwrap_or_else(meshsim_study::pool::cores)
    }
}

/// Parses the number of seeds of a study.
fn seed_count(text: &str) -> Result<usize, String> {
    const SEEDS_MAX: usize = 10_000;
    let count = text.parse().ok().filter(|count| (1..=SEEDS_MAX).contains(count));
    count.ok_or_else(|| format!("write a whole number from 1 to {SEEDS_MAX}"))
}

/// Parses the number of parallel runs.
fn job_count(text: &str) -> Result<usize, String> {
    const JOBS_MAX: usize = 1024;
    let count = text.parse().ok().filter(|count| (1..=JOBS_MAX).contains(count));
    count.ok_or_else(|| format!("write a whole number from 1 to {JOBS_MAX}"))
}

/// A share of a figure.
fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    let percent = number.ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| percent / 100.0).ok_or_else(|| "write a percentage from 0% to 100%".into())
}

impl Source {
    /// The experiment file, or `-`.
    pub(crate) fn file(&self) -> &std::path::Path {
        &self.file
    }

    /// The overrides, as options of another command that reads the same file.
    fn overrides(&self) -> Vec<String> {
        let sets = self.set.iter().map(|set| format!("--set={}", set.as_str()));
        sets.chain(self.seed.map(|seed| format!("--seed={seed}"))).collect()
    }

    /// Reads the experiment. With `json`, its problems go to stdout as JSON.
    fn load(&self, json: bool, screen: &mut Screen) -> Result<meshsim_experiment::Experiment, Error> {
        let mut overrides = self.set.clone();
        if let Some(seed) = self.seed {
            overrides.extend(meshsim_experiment::Override::parse(&format!("seed={seed}")));
        }
        let loaded = meshsim_experiment::load(&self.file, &overrides);
        if json && let Err(problems) = &loaded {
            screen.print_json(&serde_json::json!({ "problems": problems.iter().collect::<Vec<_>>() }))?;
        }
        let experiment = loaded.map_err(Error::Problems)?;
        tracing::info!(file = %self.file.display(), name = experiment.name, "experiment read");
        Ok(experiment)
    }
}

/// A figure that is exact, as it is: `10.195` service visits per request, not `10.2`.
fn exact(figure: f64, digits: usize) -> String {
    let text = format!("{figure:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_registered() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command");
        let register = include_str!("mod.rs");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let name = name.trim_end_matches(".rs");
            assert!(name == "mod" || register.contains(&format!("= {name};")), "{name} is not in `commands!`");
        }
    }

    #[test]
    fn every_command_is_under_a_heading_of_the_help_and_no_line_is_too_long() {
        let help = super::line().render_help().to_string();
        for command in super::line().get_subcommands().filter(|command| !command.is_hide_set()) {
            let line = format!("\n  {} ", command.get_name());
            assert!(help.contains(&line), "{} is not in\n{help}", command.get_name());
        }
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(help.contains("\nLearn:\n"), "{help}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::line().debug_assert();
    }
}
