//! The processes of a live run in containers: their options, their commands, and the number of each.

use meshsim_experiment::Experiment;
use meshsim_report::plural;

use crate::command::GraceArgs;

/// Time in seconds by which the stop timeout of a container exceeds the grace of its nodes.
pub(crate) const STOP_MARGIN_SECS: u64 = 10;

/// Processes and threads of a container.
pub(crate) const PIDS_MAX: u32 = 64;
/// Nodes of one process in a container.
pub(crate) const NODES_MAX: i64 = 10_000;

/// Memory of a process, in MiB: what it needs by itself, and for each of its nodes. A process of 1,250 nodes took 51
/// MB.
const MEMORY_MIB: u64 = 256;
const MEMORY_MIB_A_NODE: u64 = 1;

/// The memory limit of a process with this many nodes, in MiB.
pub(crate) fn memory_mib(nodes: u64) -> u64 {
    MEMORY_MIB + MEMORY_MIB_A_NODE * nodes
}

/// Options of all processes in containers.
#[derive(Debug, clap::Args)]
pub(crate) struct ProcessArgs {
    #[command(flatten)]
    pub(crate) grace: GraceArgs,
    /// Image with meshsim
    #[arg(long, default_value = "meshsim", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) image: String,
    /// Run until stopped, instead of for the duration of the experiment
    #[arg(long)]
    pub(crate) until_stopped: bool,
}

impl ProcessArgs {
    /// The command of the coordinator, with the experiment of this path and the gateway at this address.
    pub(crate) fn coordinator(&self, experiment: &str, http: &str) -> Vec<String> {
        let mut command = vec!["coordinator".to_owned(), experiment.to_owned(), "--listen=0.0.0.0:7700".into()];
        command.extend([format!("--http={http}"), "--no-progress".into()]);
        command.extend(self.until_stopped.then(|| "--until-stopped".to_owned()));
        command
    }

    /// The command of a process with nodes.
    pub(crate) fn node(&self, coordinator: &str) -> Vec<String> {
        let mut command = member("node", coordinator);
        command.push(format!("--grace={}", self.grace.secs));
        command
    }

    /// Time in seconds after which a process with nodes is killed when it is stopped: it leaves in order first.
    pub(crate) fn stop_secs(&self) -> u64 {
        self.grace.secs + STOP_MARGIN_SECS
    }
}

/// The command of a client.
pub(crate) fn client(coordinator: &str, load: &str) -> Vec<String> {
    let mut command = member("client", coordinator);
    command.push(format!("--name={load}"));
    command
}

fn member(role: &str, coordinator: &str) -> Vec<String> {
    vec![role.to_owned(), format!("--join={coordinator}:7700"), "--listen=0.0.0.0:7701".into()]
}

/// The processes of a run whose nodes take what is free: they are alike, but for the number of nodes in the last.
pub(crate) struct Processes<'a> {
    nodes: usize,
    nodes_each: usize,
    /// Names of the loads, each of which has a client.
    pub(crate) loads: Vec<&'a str>,
}

/// Processes with the same number of nodes.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) processes: usize,
    /// Number of nodes in each of them.
    pub(crate) nodes: usize,
}

impl<'a> Processes<'a> {
    pub(crate) fn new(experiment: &'a Experiment, nodes_each: u32) -> Self {
        let mesh = &experiment.mesh;
        // Spares have no process: they join only when one is started for them.
        let nodes = mesh.nodes.iter().filter(|node| !node.is_spare()).count();
        let loads = mesh.loads.iter().map(|load| load.name.as_str()).collect();
        Processes { nodes, nodes_each: nodes_each as usize, loads }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Number of processes with nodes.
    pub(crate) fn count(&self) -> usize {
        self.nodes.div_ceil(self.nodes_each)
    }

    /// The processes with nodes. One with fewer nodes than the others needs another command.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group> {
        let (full, rest) = (self.nodes / self.nodes_each, self.nodes % self.nodes_each);
        let groups = [
            Group { name: "node", processes: full, nodes: self.nodes_each },
            Group { name: "node-rest", processes: usize::from(rest > 0), nodes: rest },
        ];
        groups.into_iter().filter(|group| group.processes > 0)
    }

    /// Text such as `cluster: 3 nodes in 3 pods, 1 client`, in one line: names have no line breaks.
    pub(crate) fn described(&self, experiment: &str, process: &str) -> String {
        let (nodes, processes) = (plural(self.nodes as u64, "node"), plural(self.count() as u64, process));
        format!("{experiment}: {nodes} in {processes}, {}", plural(self.loads.len() as u64, "client"))
    }
}
