//! `meshsim live`

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use meshsim_experiment::Experiment;
use meshsim_gateway::RunningServer;
use meshsim_net::{ClusterStatus, Credentials, Phase};
use meshsim_run::{Deployment, HubJournal, Part, parts, remove_journal};
use meshsim_wire::Secret;

use super::Source;
use super::coordinator::{How, at_gateway, begin};
use super::export::otlp::collector;
use super::export::otlp::stream::Stream;
use super::node::GraceArgs;
use crate::error::{Error, Exit};
use crate::flow::follow;
use crate::http::Url;
use crate::interrupt;
use crate::listener::GatewayArgs;
use crate::live::{Children, LiveObserver, LiveRun, Role, read_once};
use crate::output::{self, Output};
use crate::runs;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Run an experiment as real processes on this machine";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim live examples/hotel/mesh.yaml
  meshsim live mesh.yaml --trace && meshsim replay runs/mesh-1-live
  meshsim live mesh.yaml --work busy --processes 4
  meshsim live mesh.yaml --journal kept    processes may be killed; and after all were, the same again goes on
  meshsim live mesh.yaml --trace --otlp http://127.0.0.1:4318    spans, as requests end
  meshsim live mesh.yaml --until-stopped      and, meanwhile: curl localhost:8080/frontend/search

This process is the coordinator; each node and each load is a process of its own, joined over \
loopback. The report and the files in runs/<name>-<seed>-live are those of `meshsim run`; live.json has the \
state of the processes, and `meshsim compare` compares the two runs. Ctrl-C ends the run early and keeps its \
measurements. No process outlives the run.

Exit codes: 0 all SLOs hold, 1 failed, 2 the experiment is invalid, 98 the verdict on an SLO is unknown, or \
the run is invalid (more than 1% of a load's requests were sent \
more than 100ms later than planned), 99 an SLO does not hold, \
130 interrupted, and all SLOs hold so far.";

/// Default number of processes for nodes.
const PROCESSES: usize = 32;

/// Actors of a process that are named where it is.
const NAMED_MAX: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Maximum number of processes for the nodes
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(PROCESSES).expect("it is not zero"))]
    processes: NonZeroUsize,
    /// Send spans of requests and messages to a collector of OpenTelemetry while the run goes on:
    /// `http://127.0.0.1:4318`
    #[arg(long, value_name = "URL", requires = "trace", value_parser = collector)]
    otlp: Option<Url>,
    #[command(flatten)]
    grace: GraceArgs,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    door: GatewayArgs,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        read_once([Some(self.source.file()), self.door.token_file()])?;
        let experiment = self.source.load(self.output.json, screen)?;
        let door = self.door.door_if_free(screen)?;
        begin(&experiment, &self.source, &self.output, screen)?;
        let folder = output::open(&experiment, &self.output, runs::place_live)?;
        interrupt::catch()?;
        // Known to the children alone: two runs on one machine never mix.
        let credentials = Credentials { cluster: Secret::fresh_text(), secret: Secret::none(), tls: None };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut observer = Parent {
            screen,
            experiment: &experiment,
            processes: self.processes,
            grace: self.grace,
            cluster: credentials.cluster.clone(),
            children: Children::default(),
            is_quiet: self.output.json,
            trace_parts: self.output.trace().is_some().then(|| follow::begin(&experiment, &folder)),
            how: &self.how,
        };
        let run = LiveRun {
            experiment: &experiment,
            folder: &folder,
            output: &self.output,
            deployment: Deployment {
                trace_parts: observer.trace_parts.clone(),
                journal: self.how.journal_of("coordinator").map(|path| HubJournal { path, is_alone: true }),
                ..self.how.of(&self.output, Deployment::joined(listen, credentials))
            },
            door,
        };
        let stream = self.otlp.map(|url| Stream::begin(url, folder.path()));
        let ended = run.run(&mut observer);
        observer.children.finish();
        stream.into_iter().for_each(|stream| stream.finish(screen));
        let exit = output::publish(&experiment, folder, ended?, &self.output, screen)?;
        self.how.journal_of("coordinator").iter().for_each(|path| remove_journal(path));
        Ok(exit)
    }
}

/// The command lines of all children: nodes in groups of neighbours, and each load.
fn roles(
    experiment: &Experiment,
    processes: NonZeroUsize,
    grace: GraceArgs,
    joins: SocketAddr,
    trace_parts: Option<&Path>,
    how: &How,
) -> Vec<Role> {
    let role = |Part { role, names }: Part| {
        let journal = how.journal_of(&names[0]);
        let joins = joins.to_string();
        let mut args: Vec<String> =
            [role, "--join", &joins, "--reconnect-timeout", "5", "--end-with-stdin"].map(str::to_owned).into();
        // In one word: a name may begin with a dash.
        args.extend((role == "node").then(|| format!("--grace={}", grace.secs)));
        // A path that is no UTF-8 cannot be followed.
        let parts = trace_parts.and_then(Path::to_str);
        args.extend(parts.map(|folder| format!("--trace-parts={folder}")));
        args.extend(journal.as_deref().and_then(Path::to_str).map(|folder| format!("--journal={folder}")));
        args.extend(names.iter().map(|name| format!("--name={name}")));
        let (shown, more) = names.split_at(names.len().min(NAMED_MAX));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        Role { name: shown.join(", ") + &more, args }
    };
    parts(experiment, processes).into_iter().map(role).collect()
}

/// Starts the others, and sees that none is lost unnoticed.
struct Parent<'a> {
    screen: &'a Screen,
    experiment: &'a Experiment,
    processes: NonZeroUsize,
    grace: GraceArgs,
    cluster: String,
    children: Children,
    is_quiet: bool,
    /// The folder in which the processes write their parts of the trace.
    trace_parts: Option<PathBuf>,
    how: &'a How,
}

impl LiveObserver for Parent<'_> {
    fn on_listening(&mut self, joins: SocketAddr, gateway: Option<&RunningServer>) -> Result<(), Error> {
        let roles = roles(self.experiment, self.processes, self.grace, joins, self.trace_parts.as_deref(), self.how);
        self.children = Children::start(&roles, &self.cluster)?;
        if !self.is_quiet {
            let count = roles.len() + 1;
            self.screen.remark(&format!("  {count} processes on this machine{}\n", at_gateway(gateway)));
        }
        Ok(())
    }

    fn on_tick(&mut self, cluster: &ClusterStatus) -> bool {
        let mut stop = false;
        for (name, pid, status) in self.children.ended() {
            // A node that was asked to leave ends successfully while the run is in progress.
            let has_left = status.success() && cluster.phase == Phase::Running;
            if has_left && !self.is_quiet {
                self.screen.remark(&format!("  the process of {name} (pid {pid}) left at {}\n", cluster.now));
            } else if !has_left && cluster.phase != Phase::Ending {
                let line = format!("the process of {name} (pid {pid}) ended at {}: {status}", cluster.now);
                let is_kept = self.how.journal.is_some();
                let again = is_kept && self.children.start_again(pid);
                self.screen.warn(&format!("{line}{}", if again { "; it is started again" } else { "" }));
                // No process will replace it.
                stop |= cluster.phase == Phase::Waiting && !again;
            }
        }
        stop
    }
}
