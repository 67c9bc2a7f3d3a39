//! `meshsim ctl`

mod events;
mod gateway;
mod operation;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use crate::error::{Error, Exit};
use crate::gateway::{Operations, Status, encoded};
use crate::http::Url;
use crate::live::{ClusterArgs, Place, is_loopback};
use crate::screen::Screen;

use gateway::Gateway;

pub(super) const ABOUT: &str = "Ask and steer a live run, through its gateway";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim ctl status
  meshsim ctl events --follow
  meshsim ctl ask frontend/search
  meshsim ctl extend search --to 6 --rate 0.3
  meshsim ctl scale geo --by 1.25 --times 3
  meshsim ctl update profile --to 2 --strategy rolling
  meshsim ctl undeploy geo && meshsim ctl deploy geo
  meshsim ctl fault 'crash: node-2, for: 5s' && meshsim ctl heal
  meshsim ctl --to http://10.0.0.5:8080 --token-file token stop

Operations and faults are those of the experiment file, begun now. What changes something needs the run's \
token: on the machine of the run it is found, elsewhere --token-file names it.

Exit codes: 0 done, 1 it could not be done, 2 the input is wrong.";

/// How long a process may take to say that it is well.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway of the run
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "MESHSIM_GATEWAY")]
    to: Url,
    /// The file with the run's token
    #[arg(long, value_name = "FILE", env = "MESHSIM_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Print the gateway's answer as it is: JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// What `ctl` is to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// How things stand, and what became of the requests of the last seconds
    Status,
    /// What has happened: operations, faults, nodes and instances that came and went
    Events {
        /// Go on until the run ends, and print what happens as it becomes known
        #[arg(long)]
        follow: bool,
    },
    /// What was done, or one operation with its steps
    Operations {
        /// Its number in the list
        index: Option<usize>,
    },
    /// Move a service's instances toward a target: S' = S + rate (to - S)
    Extend {
        /// Which service
        service: String,
        /// Instances wanted in the end
        #[arg(long, value_name = "N")]
        to: String,
        /// Share of the way that one step goes
        #[arg(long, default_value = "1")]
        rate: String,
        #[command(flatten)]
        pace: Pace,
        /// How the real S becomes whole instances, as in the file
        #[arg(long)]
        rounding: Option<String>,
        /// Which S a step starts from: `commanded` or `observed`
        #[arg(long)]
        feedback: Option<String>,
    },
    /// Multiply a service's capacity: C' = C * by
    Scale {
        /// Which service
        service: String,
        /// Factor of one step
        #[arg(long, value_name = "FACTOR")]
        by: String,
        /// Steps; one if nothing is said
        #[arg(long, value_name = "N", default_value = "1")]
        times: String,
        /// Time between two steps
        #[arg(long, value_name = "TIME")]
        every: Option<String>,
    },
    /// Move a service's version toward another: V' = V + rate (to - V)
    Update {
        /// Which service
        service: String,
        /// Version wanted in the end
        #[arg(long, value_name = "VERSION")]
        to: String,
        /// Share of the old instances that one step moves, for batch and bernoulli; all if nothing is said
        #[arg(long)]
        rate: Option<String>,
        #[command(flatten)]
        pace: Pace,
        /// How the new version comes: batch, bernoulli, rolling or canary
        #[arg(long)]
        strategy: Option<String>,
        /// For rolling: instances more than wanted that there may be, as in `2` or `25%`
        #[arg(long, value_name = "COUNT|PERCENT")]
        max_surge: Option<String>,
        /// For rolling: ready instances that may be missing, as in `1` or `25%`
        #[arg(long, value_name = "COUNT|PERCENT")]
        max_unavailable: Option<String>,
        /// For canary: the share of requests that goes to the new version after each step, as in `5%,50%,100%`
        #[arg(long, value_name = "SHARES", value_delimiter = ',')]
        weights: Vec<String>,
    },
    /// Bring services up
    Deploy {
        /// Which
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Take services away
    Undeploy {
        /// Which
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Let something go wrong for a while
    Fault {
        /// As in the file, without `at`: 'crash: node-2, for: 5s'
        fault: String,
    },
    /// End a fault that holds
    Heal {
        /// Its number in `ctl --json status`; the one that began last if nothing is said
        fault: Option<usize>,
    },
    /// Send one request through the mesh
    Ask {
        /// Whom, and what
        #[arg(value_name = "SERVICE/ENDPOINT")]
        target: String,
        /// One try is given up after this long
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
        /// Tries after the first
        #[arg(long, value_name = "N")]
        retries: Option<String>,
    },
    /// End the run
    Stop,
    /// Whether the run's process is well, or a process that takes part in a run
    Health(Health),
}

/// How an operation goes on.
#[derive(Debug, clap::Args)]
struct Pace {
    /// Time between two steps
    #[arg(long, value_name = "TIME")]
    every: Option<String>,
    /// Most steps; until it has settled if nothing is said
    #[arg(long, value_name = "N")]
    times: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Health {
    /// A coordinator, node or client, by where others join or reach it
    #[arg(long, value_name = "HOST:PORT")]
    peer: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let Args { to: url, token_file, json, verb } = self;
        let gateway = Gateway { url, token_file };
        let paint = screen.paint();
        match verb {
            Verb::Health(Health { peer: Some(peer), cluster }) => return probe(&peer, &cluster, screen),
            Verb::Health(_) => gateway.show("/healthz", json, screen, |_: Value| "well\n".into())?,
            Verb::Status => gateway.show("/api/status", json, screen, |status| show::status(&status, paint))?,
            Verb::Events { follow } => events::print(&gateway, follow, json, screen)?,
            Verb::Operations { index: None } => {
                gateway.show("/api/operations", json, screen, |all: Operations| {
                    show::operations(&all.operations, paint)
                })?;
            }
            Verb::Operations { index: Some(index) } => {
                let path = format!("/api/operations/{index}");
                gateway.show(&path, json, screen, |operation| show::operation(operation, paint))?;
            }
            Verb::Ask { target, timeout, retries } => {
                let path = target_path(&target, timeout.as_deref(), retries.as_deref())?;
                return gateway.ask(&path, json, screen);
            }
            Verb::Stop => {
                gateway.change("/api/stop", "", json, screen, |_: Value| "the run is about to end\n".into())?
            }
            Verb::Heal { fault } => {
                let fault = match fault {
                    Some(fault) => fault,
                    None => newest(&gateway.get("/api/status")?)?,
                };
                gateway.change(&format!("/api/faults/{fault}/heal"), "", json, screen, show::healed)?;
            }
            Verb::Fault { fault } => {
                let is_map = fault.trim_start().starts_with('{') || fault.contains('\n');
                let text = if is_map { fault } else { format!("{{ {fault} }}") };
                gateway.change("/api/faults", &text, json, screen, show::fault)?;
            }
            operation => {
                let text = operation::of(operation).to_string();
                gateway.change("/api/operations", &text, json, screen, show::begun)?;
            }
        }
        Ok(Exit::Well)
    }
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
        let why = format!("{target:?} says not both whom and what");
        return Err(Error::WrongInput(why, "write SERVICE/ENDPOINT, as in `meshsim ctl ask frontend/search`".into()));
    };
    let queries = [("timeout", timeout), ("retries", retries)];
    let queries = queries.iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded((*value)?))));
    let query = queries.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("/{}/{}{mark}{query}", encoded(service), encoded(endpoint)))
}

/// Asks a process that takes part in a run whether it is well.
fn probe(peer: &str, cluster: &ClusterArgs, screen: &mut Screen) -> Result<Exit, Error> {
    let credentials = cluster.credentials(Place::Member, !is_loopback(peer))?;
    let asked = async { tokio::time::timeout(PROBE_PATIENCE, meshsim_net::probe(peer, &credentials)).await };
    let said = actix_web::rt::System::new().block_on(asked);
    match said.unwrap_or_else(|_| Err("does not answer".into())) {
        Ok(line) => screen.print(&format!("{line}\n")).map(|()| Exit::Well),
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
