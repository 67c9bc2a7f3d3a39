//! `meshsim ctl`

mod events;
mod gateway;
mod operation;
mod rollout;
mod show;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use crate::error::{Error, Exit};
use crate::http::Url;
use crate::live::{ClusterArgs, SecretRole, is_loopback};
use crate::screen::Screen;
use meshsim_gateway::{Operations, Status, Stopping, encoded};

use gateway::GatewayClient;

pub(super) const ABOUT: &str = "Query and change a live run, through its gateway";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim ctl status
  meshsim ctl watch
  meshsim ctl events --follow
  meshsim ctl request frontend/search
  meshsim ctl extend search --to 6 --rate 0.3
  meshsim ctl scale geo --by 1.25 --times 3
  meshsim ctl update profile --to 2 --strategy rolling
  meshsim ctl set services.rate.balancer random
  meshsim ctl autoscale geo off
  meshsim ctl rollout start 'rollout: geo, to: 2, steps: [{ set_weight: 20% }, { pause: {} }]'
  meshsim ctl rollout status && meshsim ctl rollout resume geo
  meshsim ctl undeploy geo && meshsim ctl deploy geo
  meshsim ctl fault 'crash: node-2, for: 5s' && meshsim ctl heal
  meshsim ctl --to http://10.0.0.5:8080 --token-file token stop

Operations and faults have the syntax of the experiment file, and begin now. Changes require the operator \
token of the run: on the machine of the run it is found, on others use --token-file.

Exit codes: 0 done, 1 failed, 2 the input is invalid.";

/// Timeout of a health check.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway of the run
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "MESHSIM_GATEWAY")]
    to: Url,
    /// The file with the run's token; `-` is standard input
    #[arg(long, value_name = "FILE", env = "MESHSIM_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Print the response of the gateway unchanged: JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: CtlCommand,
}

/// Command of `ctl`.
#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// Show the status of the run, and the results of recent requests
    Status,
    /// Show the events: operations, faults, nodes and instances that came and went
    Events {
        /// Continue until the run ends, and print events as they become known
        #[arg(long)]
        follow: bool,
    },
    /// Watch the run in this terminal: requests, SLOs, services, nodes, faults and events, until `q`
    Watch,
    /// List the operations, or show one with its steps
    Operations {
        /// Number in the list
        index: Option<usize>,
    },
    /// Move a service's instances toward a target: S' = S + rate (to - S)
    Extend {
        /// The service
        service: String,
        /// Target of S
        #[arg(long, value_name = "N")]
        to: String,
        /// Fraction of the remaining distance that one step covers
        #[arg(long, default_value = "1")]
        rate: String,
        #[command(flatten)]
        pace: Pace,
        /// Rounding of S to whole instances, as in the file
        #[arg(long)]
        rounding: Option<String>,
        /// Value of S from which a step starts: `commanded` or `observed`
        #[arg(long)]
        feedback: Option<String>,
    },
    /// Multiply a service's capacity: C' = C * by
    Scale {
        /// The service
        service: String,
        /// Factor of one step
        #[arg(long, value_name = "FACTOR")]
        by: String,
        /// Number of steps
        #[arg(long, value_name = "N", default_value = "1")]
        times: String,
        /// Time between two steps
        #[arg(long, value_name = "TIME")]
        every: Option<String>,
    },
    /// Move a service's version toward another: V' = V + rate (to - V)
    Update {
        /// The service
        service: String,
        /// Target of V
        #[arg(long, value_name = "VERSION")]
        to: String,
        #[arg(help = "Fraction of the old instances moved per step, for batch and bernoulli [default: 1]", long)]
        rate: Option<String>,
        #[command(flatten)]
        pace: Pace,
        /// Order in which instances are replaced: batch, bernoulli, rolling or canary
        #[arg(long)]
        strategy: Option<String>,
        /// For rolling: number of instances allowed above S, as in `2` or `25%`
        #[arg(long, value_name = "COUNT|PERCENT")]
        max_surge: Option<String>,
        /// For rolling: number of ready instances allowed below S, as in `1` or `25%`
        #[arg(long, value_name = "COUNT|PERCENT")]
        max_unavailable: Option<String>,
        /// For canary: the share of requests that goes to the new version after each step, as in `5%,50%,100%`
        #[arg(long, value_name = "SHARES", value_delimiter = ',')]
        weights: Vec<String>,
    },
    /// Give a balancer or a policy of a service another value
    Set {
        /// The setting, as in `services.web.balancer`
        #[arg(value_name = "services.NAME.KEY")]
        path: String,
        /// Its value, as in the file; or none
        value: String,
    },
    /// Switch the autoscaler of a service off, or on again
    Autoscale {
        /// The service
        service: String,
        /// Whether the autoscaler makes decisions
        #[arg(value_name = "on|off")]
        switch: Switch,
    },
    /// Deploy services
    Deploy {
        /// The services
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Remove all instances of services
    Undeploy {
        /// The services
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Empty the caches of services
    Flush {
        /// The services
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Take nodes out of service: their instances are evicted as the disruption budgets allow
    Drain {
        /// The nodes, or groups of nodes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        /// Time for which nothing is placed on them [default: to the end of the run]
        #[arg(long = "for", value_name = "TIME")]
        length: Option<String>,
        /// Time after which evictions that no budget has allowed are given up [default: none]
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
        /// Time until an eviction that a budget has not allowed is tried again [default: 5s]
        #[arg(long, value_name = "TIME")]
        every: Option<String>,
    },
    /// Start, pause, resume or abort the rollout of a service, or show where it stands
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Inject a fault for a while
    Fault {
        /// As in the file, without `at`: 'crash: node-2, for: 5s'
        fault: String,
    },
    /// End an active fault
    Heal {
        #[arg(help = "Number of the fault in `ctl --json status` [default: the last one begun]")]
        fault: Option<usize>,
    },
    /// Send one request through the mesh
    #[command(alias = "ask")]
    Request {
        /// The service and the endpoint
        #[arg(value_name = "SERVICE/ENDPOINT")]
        target: String,
        /// Timeout of one attempt
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
        /// Attempts after the first
        #[arg(long, value_name = "N")]
        retries: Option<String>,
    },
    /// End the run
    Stop,
    /// Check the health of the coordinator, or of the process at --peer
    Health(Health),
}

/// State of an autoscaler.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Command of `ctl rollout`.
#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// Start a rollout
    Start {
        /// As in the file, without `at`: 'rollout: web, to: 2, steps: [{ set_weight: 20% }, { pause: 30s }]'
        rollout: String,
    },
    /// Pause the rollout of a service
    Pause {
        /// The service
        service: String,
    },
    /// Resume a paused rollout, or end a step that is a pause
    Resume {
        /// The service
        service: String,
    },
    /// Abort the rollout of a service: all requests go to the old version
    Abort {
        /// The service
        service: String,
    },
    /// Show the rollouts: their steps, analyses and outcomes
    Status {
        #[arg(help = "The service [default: all]")]
        service: Option<String>,
    },
}

/// Interval and number of an operation's steps.
#[derive(Debug, clap::Args)]
struct Pace {
    /// Time between two steps
    #[arg(long, value_name = "TIME")]
    every: Option<String>,
    #[arg(help = "Maximum number of steps [default: until settled]", long, value_name = "N")]
    times: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Health {
    /// A coordinator, node or client, by the address at which others join or reach it
    #[arg(long, value_name = "HOST:PORT")]
    peer: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let Args { to: url, token_file, json, verb } = self;
        let gateway = GatewayClient { url, token_file };
        let paint = screen.paint();
        match verb {
            CtlCommand::Health(Health { peer: Some(peer), cluster }) => return probe(&peer, &cluster, screen),
            CtlCommand::Health(_) => {
                gateway.show("/healthz", json, screen, |_: meshsim_gateway::Health| "well\n".into())?
            }
            CtlCommand::Status => gateway.show("/api/status", json, screen, |status| show::status(&status, paint))?,
            CtlCommand::Watch => return watch::show(gateway, screen),
            CtlCommand::Events { follow } => events::print(&gateway, follow, json, screen)?,
            CtlCommand::Operations { index: None } => {
                gateway.show("/api/operations", json, screen, |all: Operations| {
                    show::operations(&all.operations, paint)
                })?;
            }
            CtlCommand::Operations { index: Some(index) } => {
                let path = format!("/api/operations/{index}");
                gateway.show(&path, json, screen, |operation| show::operation(operation, paint))?;
            }
            CtlCommand::Request { target, timeout, retries } => {
                let path = target_path(&target, timeout.as_deref(), retries.as_deref())?;
                return gateway.ask(&path, json, screen);
            }
            CtlCommand::Stop => {
                gateway.change("/api/stop", "", json, screen, |_: Stopping| "the run is about to end\n".into())?
            }
            CtlCommand::Heal { fault } => {
                let fault = match fault {
                    Some(fault) => fault,
                    None => newest(&gateway.get("/api/status")?)?,
                };
                gateway.change(&format!("/api/faults/{fault}/heal"), "", json, screen, show::healed)?;
            }
            CtlCommand::Fault { fault } => {
                gateway.change("/api/faults", &as_map(fault), json, screen, show::fault)?;
            }
            CtlCommand::Rollout(RolloutCommand::Status { service }) => rollout::show(&gateway, service, json, screen)?,
            CtlCommand::Rollout(RolloutCommand::Start { rollout }) => {
                gateway.change("/api/operations", &as_map(rollout), json, screen, show::begun)?;
            }
            CtlCommand::Set { path, value } => {
                let text = format!("{{ set: {path:?}, to: {value} }}");
                gateway.change("/api/operations", &text, json, screen, show::begun)?;
            }
            operation => {
                let text = operation::of(operation).to_string();
                gateway.change("/api/operations", &text, json, screen, show::begun)?;
            }
        }
        Ok(Exit::Success)
    }
}

/// Text of an operation or a fault: the braces of a map on one line may be left out.
fn as_map(text: String) -> String {
    let is_map = text.trim_start().starts_with('{') || text.contains('\n');
    if is_map { text } else { format!("{{ {text} }}") }
}

/// The fault that began last, of those that hold.
fn newest(status: &Status) -> Result<usize, Error> {
    let newest = status.faults.iter().max_by(|a, b| a.from_s.total_cmp(&b.from_s).then(a.fault.cmp(&b.fault)));
    newest
        .map(|fault| fault.fault)
        .ok_or_else(|| Error::Gateway("no fault holds now".into(), "`meshsim ctl events` says which there were".into()))
}

fn target_path(target: &str, timeout: Option<&str>, retries: Option<&str>) -> Result<String, Error> {
    let Some((service, endpoint)) = target.trim_start_matches('/').split_once('/') else {
        let why = format!("{target:?} needs both a service and an endpoint");
        return Err(Error::WrongInput(
            why,
            "write SERVICE/ENDPOINT, as in `meshsim ctl request frontend/search`".into(),
        ));
    };
    let queries = [("timeout", timeout), ("retries", retries)];
    let queries = queries.iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded((*value)?))));
    let query = queries.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("/{}/{}{mark}{query}", encoded(service), encoded(endpoint)))
}

/// Queries the health of a process of a run.
fn probe(peer: &str, cluster: &ClusterArgs, screen: &mut Screen) -> Result<Exit, Error> {
    let credentials = cluster.credentials(SecretRole::Member, !is_loopback(peer))?;
    let asked = async { tokio::time::timeout(PROBE_PATIENCE, meshsim_net::probe(peer, &credentials)).await };
    let said = meshsim_run::block_on(asked);
    match said.unwrap_or_else(|_| Err("does not answer".into())) {
        Ok(line) => screen.print(&format!("{line}\n")).map(|()| Exit::Success),
        Err(why) => {
            let help = "`--peer`, `--cluster` and `--secret-file` must be those of the process".into();
            Err(Error::Gateway(format!("{peer} {why}"), help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_ask_becomes_a_path() {
        let path = |target| target_path(target, Some("5 ms"), None).unwrap();
        assert_eq!(
            (path("a/b"), path("/a b/c/d")),
            ("/a/b?timeout=5%20ms".into(), "/a%20b/c%2Fd?timeout=5%20ms".into())
        );
        assert_eq!(target_path("a/b", None, None).unwrap(), "/a/b");
        assert!(target_path("a", None, None).is_err());
    }
}
