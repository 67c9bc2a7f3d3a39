//! `meshsim compose`

use std::collections::BTreeSet;
use std::path::PathBuf;

use meshsim_experiment::Experiment;
use meshsim_report::{count, plural};

use super::Source;
use crate::error::{Error, Exit};
use crate::folder::write_files;
use crate::manifest::argument as quoted;
use crate::manifest::inputs::{self, Input};
use crate::manifest::processes::{PIDS_MAX, ProcessArgs, client};
use crate::screen::Screen;

pub(crate) const ABOUT: &str = "Write a compose file that runs an experiment in containers";

pub(crate) const EXAMPLES: &str = "\
Examples:
  meshsim export compose examples/hotel/mesh.yaml --out hotel && cd hotel && docker compose up
  meshsim export compose mesh.yaml | docker compose -f - -p mesh up --detach
  meshsim export compose examples/wan/mesh.yaml --out wan --nodes-per-container 8 --until-stopped

Without --out the compose file goes to stdout and mounts the experiment from its folder, relative to the \
working directory. With --out the folder has all files: docker-compose.yml, experiment.yaml (with \
the overrides applied) and the files that it names.

The image is built by `scripts/image`, or by `docker build -t meshsim .`, in meshsim's repository.";

/// Containers of one experiment. They hang on one bridge, and Linux gives that 1,024 ports.
const CONTAINERS_MAX: usize = 1_000;
/// Nodes of one container: all their names stand in its command.
const NODES_MAX: i64 = 1_000;

/// The file, as both Composes look for it.
const COMPOSE: &str = "docker-compose.yml";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Number of nodes in one container
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=NODES_MAX))]
    nodes_per_container: u32,
    /// Name the project in the file (docker-compose 1.29 refuses that: it takes -p)
    #[arg(long, value_name = "PROJECT", value_parser = project)]
    name: Option<String>,
    #[command(flatten)]
    process: ProcessArgs,
    /// Port of this machine for the gateway
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Write the compose file, the experiment and the files that it names to this folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite the files of --out
    #[arg(long, requires = "out")]
    force: bool,
}

/// Checks the name of a project by the rules of the Compose Specification.
fn project(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    match text.chars().next() {
        Some(first) if first.is_ascii_alphanumeric() && text.chars().all(is_good) => Ok(text.into()),
        _ => {
            Err("a project's name has lower-case letters, digits, `-` and `_`, and begins with one of the first two"
                .into())
        }
    }
}

impl Args {
    pub(crate) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let experiment = self.source.load(false, screen)?;
        let members = members(&experiment, self.nodes_per_container as usize)?;
        match &self.out {
            None => {
                let inputs = inputs::here(&self.source, &experiment)?;
                screen.print_file(&self.render(&experiment, &members, &inputs, &self.source.overrides()))?;
            }
            Some(out) => {
                let compose = self.render(&experiment, &members, &inputs::copied(&experiment), &[]);
                let files: Vec<_> =
                    std::iter::once((COMPOSE, compose.as_str())).chain(inputs::copies(&experiment)).collect();
                write_files(out, &files, self.force)?;
                screen.remark(&format!("written to {}\n", out.display()));
            }
        }
        Ok(Exit::Success)
    }

    /// The file: the content of the repository's `docker-compose.yml`, whose comments give the reasons. Without a limit
    /// of CPUs: an engine refuses more than its machine has, and the cores of a node are for reservation by instances.
    fn render(&self, experiment: &Experiment, members: &[Member], inputs: &[Input], overrides: &[String]) -> String {
        let list = |items: &[String], indent: &str| -> String {
            items.iter().map(|item| format!("{indent}- {}\n", quoted(item))).collect()
        };
        let mut out = format!("# {}. Written by `meshsim compose`.\n{USAGE}", described(experiment, members));
        if let Some(name) = &self.name {
            out += &format!("\nname: {}\n", quoted(name));
        }
        let image = quoted(&self.process.image);
        // The limit is also what makes `docker stack deploy` refuse the file, whose port and volumes it would change.
        out += &format!("\nx-process: &process\n  image: {image}\n  pids_limit: {PIDS_MAX}\n{COMMON}");

        out += "\nservices:\n  coordinator:\n    <<: *process\n    command:\n";
        let mut command = self.process.coordinator(&inputs[0].target, "0.0.0.0:8080");
        command.extend_from_slice(overrides);
        out += &list(&command, "      ");
        out += "    volumes:\n";
        for Input { source, target, .. } in inputs {
            let (source, target) = (quoted(source), quoted(target));
            out += &format!("      - {{ type: bind, source: {source}, target: {target}, read_only: true }}\n");
        }
        out += "      - runs:/runs\n      - secret:/secret\n      - token:/token\n";
        out += &format!("    ports: [\"127.0.0.1:{}:8080\"]\n{ENDING}    depends_on:\n", self.port);
        let services: Vec<String> = members.iter().map(|member| member.service.clone()).collect();
        out += &list(&services, "      ");

        for member in members {
            out.push('\n');
            if let [first, _, ..] = member.names.as_slice() {
                out += &format!("  # {first} to {}\n", member.names[member.names.len() - 1]);
            }
            out += &format!("  {}:\n    <<: *member\n    command:\n", quoted(&member.service));
            let command = match member.names.as_slice() {
                [load] if member.role == "client" => client("coordinator", load),
                nodes => {
                    let mut command = self.process.node("coordinator");
                    command.extend(nodes.iter().map(|name| format!("--name={name}")));
                    command
                }
            };
            out += &list(&command, "      ");
            let cores = member.cores.map_or_else(String::new, |cores| format!(", meshsim.cores: \"{cores}\""));
            if member.role == "node" {
                // It leaves in order before it is killed.
                out += &format!("    stop_grace_period: {}s\n", self.process.stop_secs());
            }
            out += &format!("    labels: {{ meshsim.zone: {}{cores} }}\n", quoted(member.zone));
        }
        out + "\nvolumes: { runs: {}, secret: {}, token: {} }\n"
    }
}

const USAGE: &str = "\
#
#   docker compose up --detach                  the image: scripts/image, or docker build -t meshsim ., in its repository
#   docker compose exec coordinator /meshsim ctl status
#   docker compose stop coordinator; docker compose logs coordinator        ends the run, and shows its results
#   docker compose down --volumes
";

/// Lines after the image: those of all processes, and those of processes that join the coordinator.
const COMMON: &str = "  read_only: true
  cap_drop: [ALL]
  security_opt: [\"no-new-privileges:true\"]
  environment: { MESHSIM_SECRET_FILE: /secret/cluster, MESHSIM_TOKEN_FILE: /token/operator }

x-member: &member
  <<: *process
  volumes: [\"secret:/secret:ro\"]
  healthcheck:
    test: [CMD, /meshsim, ctl, health, --peer=127.0.0.1:7701]
    interval: 5s
    timeout: 5s
    start_period: 60s
  restart: on-failure
";

/// Lines at the end of the coordinator.
const ENDING: &str = "    healthcheck:
      test: [CMD, /meshsim, ctl, health, --peer=127.0.0.1:7700]
      interval: 5s
      timeout: 5s
    restart: \"no\"
    stop_grace_period: 30s
    # They wait for it by themselves; dependent services are stopped first, while they can still send requests.
";

/// A container that joins the coordinator's.
struct Member<'a> {
    /// Its name in the compose file.
    service: String,
    /// The command that it runs.
    role: &'static str,
    /// Nodes that follow each other, or one load.
    names: Vec<&'a str>,
    /// Zone of all of them.
    zone: &'a str,
    cores: Option<f64>,
}

fn members(experiment: &Experiment, nodes_per_container: usize) -> Result<Vec<Member<'_>>, Error> {
    let mesh = &experiment.mesh;
    let zone = |zone: u16| mesh.zones.get(usize::from(zone)).map_or("default", String::as_str);
    // Spares have no container: they join only when a process starts them.
    let there: Vec<_> = mesh.nodes.iter().filter(|node| !node.is_spare()).collect();
    let groups = there.chunk_by(|a, b| a.zone == b.zone).flat_map(|nodes| nodes.chunks(nodes_per_container));
    let all = 1 + groups.clone().count() + mesh.loads.len();
    if all > CONTAINERS_MAX {
        let [all, most] = [all, CONTAINERS_MAX].map(|n| count(n as u64));
        let why = format!("{} would take {all} containers, and a network of them has room for {most}", experiment.name);
        let help = "`--nodes-per-container N` puts several nodes into one; `meshsim run` needs none";
        return Err(Error::WrongInput(why, help.into()));
    }
    let mut services = Services::default();
    let nodes = groups.map(|nodes| Member {
        service: services.name(&nodes[0].name),
        role: "node",
        names: nodes.iter().map(|node| node.name.as_str()).collect(),
        zone: zone(nodes[0].zone),
        cores: Some(nodes.iter().map(|node| node.cores).sum()),
    });
    let mut members: Vec<_> = nodes.collect();
    members.extend(mesh.loads.iter().map(|load| Member {
        service: services.name(&load.name),
        role: "client",
        names: vec![&load.name],
        zone: zone(load.zone),
        cores: None,
    }));
    Ok(members)
}

/// In one line: names have no line breaks.
fn described(experiment: &Experiment, members: &[Member]) -> String {
    let (nodes, loads) = (experiment.mesh.nodes.len(), experiment.mesh.loads.len());
    let nodes = plural(nodes as u64, "node");
    let containers = plural((members.len() - loads) as u64, "container");
    format!("{}: {nodes} in {containers}, {}", experiment.name, plural(loads as u64, "client"))
}

/// Names of compose services: ASCII, and found by DNS, which does not tell `A` from `a`. All others stay as they are.
struct Services {
    taken: BTreeSet<String>,
}

impl Default for Services {
    fn default() -> Self {
        Services { taken: BTreeSet::from(["coordinator".into()]) }
    }
}

impl Services {
    fn name(&mut self, name: &str) -> String {
        let name: String = name.chars().map(|c| if c.is_ascii() { c } else { '-' }).collect();
        let numbered = (2..).map(|n| format!("{name}.{n}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names.find(|name| self.taken.insert(name.to_ascii_lowercase())).unwrap_or_default()
    }
}
