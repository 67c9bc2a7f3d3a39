//! `meshsim export swarm`: a live run of an experiment as a stack for Docker Swarm.

use std::path::PathBuf;

use meshsim_experiment::Experiment;
use meshsim_gateway::host_name;
use meshsim_report::count;

use crate::command::Source;
use crate::error::{Error, Exit};
use crate::folder::write_files;
use crate::manifest::inputs::{self, Input};
use crate::manifest::processes::{Group, NODES_MAX, PIDS_MAX, ProcessArgs, Processes, client, memory_mib};
use crate::manifest::{argument, label};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Write a stack that runs an experiment live on Docker Swarm";

pub(super) const HELP: &str = "\
Examples:
  meshsim export swarm mesh.yaml --out mesh            then, in it, as stack.yml says: docker stack deploy
  meshsim export swarm mesh.yaml --nodes-per-task 50 --until-stopped > stack.yml
  meshsim export swarm mesh.yaml --out mesh --publish 8080 --allow-host swarm.example.org

The coordinator is a service that is never started again, the nodes are one service whose tasks are replaced, also when \
their machine is lost, and each load is a service. All end with the run. The secrets come from two files, which the \
header of the stack says how to make. The gateway is on no port of a machine without --publish: Swarm publishes a port \
on all addresses.

Without --out the stack goes to stdout and names the experiment where it lies, relative to the working directory. \
Docker 20.10 or later; every machine needs the image.";

/// Tasks of one stack. An overlay network has 253 addresses, of which each task takes one, and each machine.
const TASKS_MAX: usize = 200;
/// The largest config, in bytes.
const CONFIG_BYTES_MAX: usize = 500_000;

/// Lines of a health check. Others find the coordinator by its name once it is healthy: so that is asked often, and of
/// the gateway, which is well while the others are still missing.
const COORDINATOR_HEALTH: &str = "      test: [CMD, /meshsim, ctl, health]
      interval: 2s
";
const MEMBER_HEALTH: &str = "      test: [CMD, /meshsim, ctl, health, --peer=127.0.0.1:7701]
      interval: 5s
";

const STACK: &str = "stack.yml";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Number of nodes in one task
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=NODES_MAX))]
    nodes_per_task: u32,
    #[command(flatten)]
    process: ProcessArgs,
    /// Publish the gateway on this port of the coordinator's machine, on all its addresses [default: on none]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    publish: Option<u16>,
    /// Name of that machine in the requests of clients, beside localhost. May be repeated
    #[arg(long, value_name = "NAME", requires = "publish", value_parser = host_name)]
    allow_host: Vec<String>,
    /// Write the stack, the experiment and the files that it names to this folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite the files of --out
    #[arg(long, requires = "out")]
    force: bool,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(false, screen)?;
        match &self.out {
            None => {
                let inputs = inputs::here(&self.source, &experiment)?;
                screen.print_file(&Stack::new(&self, &experiment, inputs, self.source.overrides())?.render())?;
            }
            Some(out) => {
                let stack = Stack::new(&self, &experiment, inputs::copied(&experiment), Vec::new())?.render();
                let files = std::iter::once((STACK, stack.as_str())).chain(inputs::copies(&experiment));
                write_files(out, &files.collect::<Vec<_>>(), self.force)?;
                screen.remark(&format!("written to {}\n", out.display()));
            }
        }
        Ok(Exit::Success)
    }
}

/// The services of one run.
struct Stack<'a> {
    args: &'a Args,
    /// A name that Swarm accepts.
    name: String,
    described: String,
    processes: Processes<'a>,
    /// The experiment first.
    inputs: Vec<Input>,
    /// Overrides, for the coordinator's command.
    overrides: Vec<String>,
}

/// A service, as far as services differ.
struct Service<'a> {
    name: String,
    command: Vec<String>,
    /// Number of its tasks.
    replicas: usize,
    /// Nodes of a task.
    nodes: u64,
    health: &'a str,
    stop_secs: u64,
    restart: &'a str,
    secrets: &'a str,
    /// Lines of the environment, of the service and of `deploy` that only the coordinator has.
    environment: &'a str,
    own: String,
    placement: &'a str,
}

impl<'a> Stack<'a> {
    fn new(
        args: &'a Args,
        experiment: &'a Experiment,
        inputs: Vec<Input>,
        overrides: Vec<String>,
    ) -> Result<Self, Error> {
        let processes = Processes::new(experiment, args.nodes_per_task);
        let tasks = 1 + processes.count() + processes.loads.len();
        if tasks > TASKS_MAX {
            let [tasks, most] = [tasks, TASKS_MAX].map(|n| count(n as u64));
            let why = format!("{} would take {tasks} tasks, and a stack has at most {most}", experiment.name);
            return Err(Error::WrongInput(why, "`--nodes-per-task N` puts several nodes into one".into()));
        }
        if let Some(Input { source, bytes, .. }) = inputs.iter().find(|input| input.bytes > CONFIG_BYTES_MAX) {
            let [bytes, most] = [*bytes, CONFIG_BYTES_MAX].map(|n| count(n as u64));
            let why = format!("{source} has {bytes} bytes, and a config of Swarm at most {most}");
            return Err(Error::WrongInput(why, "leave out what this run does not need".into()));
        }
        let described = processes.described(&experiment.name, "task");
        Ok(Stack { args, name: label(&experiment.name), described, processes, inputs, overrides })
    }

    fn render(&self) -> String {
        let groups = self.processes.groups().map(|group| self.node(&group));
        let clients = self.processes.loads.iter().enumerate().map(|(n, load)| self.client(n, load));
        let services: Vec<String> = std::iter::once(self.coordinator()).chain(groups).chain(clients).collect();
        let configs = self.inputs.iter().enumerate();
        let configs: String =
            configs.map(|(n, input)| format!("  {}: {{ file: {} }}\n", key(n), argument(&input.source))).collect();
        format!(
            "{}version: \"3.9\"

services:
{}
# Each machine gets them from Swarm; no task reads a file of its machine.
secrets:
  cluster: {{ file: ./cluster }}
  operator: {{ file: ./operator }}

configs:
{configs}
volumes:
  # The run directory, on the coordinator's machine.
  runs:
",
            self.header(),
            services.join("\n"),
        )
    }

    fn header(&self) -> String {
        let (name, file) = (&self.name, if self.args.out.is_some() { STACK } else { "FILE" });
        let gateway = match self.args.publish {
            Some(port) => format!("#   meshsim ctl --to http://MACHINE:{port} --token-file operator status\n"),
            None => String::new(),
        };
        format!(
            "# {}. Written by `meshsim export swarm`.
#
#   for it in cluster operator; do openssl rand -hex 32 > $it; done   once; kept out of version control
#   docker stack deploy --compose-file {file} {name}
#   docker service ps {name}_coordinator                              the coordinator's machine; there:
#   docker exec $(docker ps --quiet --filter name={name}_coordinator) /meshsim ctl status
#   docker exec $(docker ps --quiet --filter name={name}_coordinator) /meshsim ctl stop    ends the run
{gateway}#   docker service logs --raw {name}_coordinator                      the report
#   docker stack rm {name}                                            before another experiment takes this name
",
            self.described
        )
    }

    fn coordinator(&self) -> String {
        let http = if self.args.publish.is_some() { "0.0.0.0:8080" } else { "127.0.0.1:8080" };
        let mut command = self.args.process.coordinator(&self.inputs[0].target, http);
        command.extend(self.args.allow_host.iter().map(|name| format!("--allow-host={name}")));
        command.extend_from_slice(&self.overrides);
        let mut own = "    configs:\n".to_owned();
        for (n, Input { target, .. }) in self.inputs.iter().enumerate() {
            own += &format!("      - {{ source: {}, target: {} }}\n", key(n), argument(target));
        }
        own += "    volumes:\n      - { type: volume, source: runs, target: /runs }\n";
        if let Some(port) = self.args.publish {
            own += "    # On all addresses of its machine: Swarm ignores an address. Changes need the token.\n";
            own += &format!("    ports:\n      - {{ target: 8080, published: {port}, protocol: tcp, mode: host }}\n");
        }
        self.service(&Service {
            name: "coordinator".into(),
            command,
            replicas: 1,
            nodes: self.processes.nodes() as u64,
            health: COORDINATOR_HEALTH,
            stop_secs: 30,
            // A run cannot go on without what its coordinator knew, and one that has ended does not begin again.
            restart: "none",
            secrets: "cluster, operator",
            environment: "      MESHSIM_TOKEN_FILE: /run/secrets/operator\n",
            own,
            placement: "      placement:\n        constraints: [node.role == manager]\n",
        })
    }

    fn node(&self, group: &Group) -> String {
        let mut command = self.args.process.node("coordinator");
        command.push(format!("--count={}", group.nodes));
        self.member(group.name.into(), command, group.processes, group.nodes as u64, self.args.process.stop_secs())
    }

    fn client(&self, n: usize, load: &str) -> String {
        self.member(format!("client-{n}"), client("coordinator", load), 1, 0, 30)
    }

    fn member(&self, name: String, command: Vec<String>, replicas: usize, nodes: u64, stop_secs: u64) -> String {
        self.service(&Service {
            name,
            command,
            replicas,
            nodes,
            health: MEMBER_HEALTH,
            stop_secs,
            // One whose run has ended succeeds, and is not started again.
            restart: "on-failure",
            secrets: "cluster",
            environment: "",
            own: String::new(),
            placement: "",
        })
    }

    fn service(&self, service: &Service<'_>) -> String {
        let command: String = service.command.iter().map(|text| format!("      - {}\n", argument(text))).collect();
        let memory = memory_mib(service.nodes);
        let image = argument(&self.args.process.image);
        let Service { name, replicas, health, stop_secs, restart, secrets, environment, own, placement, .. } = service;
        format!(
            "  {name}:
    image: {image}
    command:
{command}    read_only: true
    cap_drop: [ALL]
    environment:
      MESHSIM_SECRET_FILE: /run/secrets/cluster
{environment}    secrets: [{secrets}]
{own}    healthcheck:
{health}      timeout: 5s
      start_period: 60s
    stop_grace_period: {stop_secs}s
    deploy:
      mode: replicated
      replicas: {replicas}
      endpoint_mode: dnsrr
{placement}      restart_policy:
        condition: {restart}
      resources:
        limits: {{ cpus: \"1\", memory: {memory}M, pids: {PIDS_MAX} }}
"
        )
    }
}

/// The name of a config.
fn key(n: usize) -> String {
    if n == 0 { "experiment".into() } else { format!("file-{n}") }
}
