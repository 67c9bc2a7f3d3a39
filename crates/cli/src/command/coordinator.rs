//! `meshsim coordinator`

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use meshsim_experiment::Experiment;
use meshsim_gateway::RunningServer;
use meshsim_net::{ClusterStatus, Phase, Work};
use meshsim_report::text;
use meshsim_run::{Deployment, HubJournal, remove_journal};

use super::Source;
use crate::error::{Error, Exit};
use crate::interrupt;
use crate::listener::GatewayArgs;
use crate::live::{ClusterArgs, LiveObserver, LiveRun, SecretRole, read_once};
use crate::output::{self, Output};
use crate::runs;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Run the coordinator of a live run, which nodes and clients join";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim coordinator mesh.yaml
  meshsim node --join 127.0.0.1:7700 --count 8          in another terminal, and in a third:
  meshsim client --join 127.0.0.1:7700
  meshsim coordinator mesh.yaml --listen 0.0.0.0:7700 --secret-file secret --until-stopped

The run begins when every node and every client of the experiment has joined. When it ends, or at Ctrl-C or \
SIGTERM, it is written to runs/<name>-<seed>-live, as `meshsim run` writes one, with \
live.json: the state of the processes.

Exit codes: 0 all SLOs hold, 1 failed, 2 the input is invalid, 98 the verdict on an SLO is unknown, or the \
run is invalid (more than 1% of a load's requests were sent \
more than 100ms later than planned), 99 an SLO does not hold, \
130 interrupted, and all SLOs hold so far.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Address at which nodes and clients join
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7700", env = "MESHSIM_LISTEN", value_parser = crate::address::address)]
    listen: SocketAddr,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    door: GatewayArgs,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    output: Output,
}

/// Options of a live run.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Work of services is a timer (`sleep`), or uses processor time (`busy`)
    #[arg(long, value_name = "HOW", default_value = "sleep")]
    work: Work,
    /// Continue after the experiment's duration, until Ctrl-C, SIGTERM or `meshsim ctl stop`
    #[arg(long)]
    until_stopped: bool,
    /// Keep what is decided and applied in journals in this directory. After a process was killed, the same command goes
    /// on with the run. They are removed when the run has ended
    #[arg(long, value_name = "DIR")]
    pub(super) journal: Option<PathBuf>,
}

impl How {
    /// Directory of the journal of one process, by its name.
    pub(super) fn journal_of(&self, process: &str) -> Option<PathBuf> {
        self.journal.as_ref().map(|folder| folder.join(process))
    }

    /// Says of a deployment how the run goes.
    pub(super) fn of(&self, output: &Output, deployment: Deployment) -> Deployment {
        let (work, until_stopped, is_traced) = (self.work, self.until_stopped, output.trace().is_some());
        Deployment { work, until_stopped, is_traced, ..deployment }
    }
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        read_once([Some(self.source.file()), self.cluster.secret_file.as_deref(), self.door.token_file()])?;
        let experiment = self.source.load(self.output.json, screen)?;
        let credentials = self.cluster.credentials(SecretRole::Coordinator, !self.listen.ip().is_loopback())?;
        let door = self.door.door()?;
        begin(&experiment, &self.source, &self.output, screen)?;
        let folder = output::open(&experiment, &self.output, runs::place_live)?;
        interrupt::catch()?;
        let mut observer = Waiting { screen, is_quiet: self.output.json, was_running: false };
        let run = LiveRun {
            experiment: &experiment,
            folder: &folder,
            output: &self.output,
            deployment: Deployment {
                journal: self.how.journal.clone().map(|path| HubJournal { path, is_alone: false }),
                ..self.how.of(&self.output, Deployment::joined(self.listen, credentials))
            },
            door,
        };
        let ended = run.run(&mut observer)?;
        let exit = output::publish(&experiment, folder, ended, &self.output, screen)?;
        self.how.journal.iter().for_each(|folder| remove_journal(folder));
        Ok(exit)
    }
}

/// Prints a description of the run, and the warnings of `check`.
pub(super) fn begin(
    experiment: &Experiment,
    source: &Source,
    output: &Output,
    screen: &mut Screen,
) -> Result<(), Error> {
    if !output.json {
        screen.print(&text::intention(experiment, true, screen.paint()))?;
    }
    super::run::warn(experiment, source, screen);
    Ok(())
}

/// Reports that others can join, and that all have joined.
struct Waiting<'a> {
    screen: &'a Screen,
    is_quiet: bool,
    was_running: bool,
}

impl LiveObserver for Waiting<'_> {
    fn on_listening(&mut self, joins: SocketAddr, gateway: Option<&RunningServer>) -> Result<(), Error> {
        if !self.is_quiet {
            self.screen.remark(&format!("  nodes and clients join at {joins}{}\n", at_gateway(gateway)));
        }
        Ok(())
    }

    fn on_tick(&mut self, status: &ClusterStatus) -> bool {
        if !self.was_running && status.phase == Phase::Running && status.missing.is_empty() {
            self.was_running = true;
            if !self.is_quiet {
                self.screen.remark(&format!("  all have joined: {} processes\n", status.processes.len()));
            }
        }
        false
    }
}

/// Address of the gateway, as the end of a line.
pub(super) fn at_gateway(gateway: Option<&RunningServer>) -> String {
    // The token is for a person at a terminal; in a file it would be in a log.
    let link = |gateway: &RunningServer| match io::stderr().is_terminal() {
        true => format!("\n  look and steer at {}", gateway.link()),
        false => format!(", requests at http://{}/", gateway.address()),
    };
    gateway.map_or_else(String::new, link)
}
