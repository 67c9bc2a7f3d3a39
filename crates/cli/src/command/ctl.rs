//! `meshsim ctl`

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use meshsim_actor::Span;
use meshsim_mesh::coordinator::Presence;
use meshsim_report::number;
use meshsim_report::table::{Cell, Look, Paint, Table};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Exit};
use crate::gateway::{Asked, Begun, Operation, Operations, Phase, Status, TOKEN_HELP, encoded, is_token, kept_for};
use crate::http::{self, Request, Url};
use crate::live::{ClusterArgs, Place, is_loopback};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Ask and steer a live run, through its gateway";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim ctl status
  meshsim ctl ask frontend/search
  meshsim ctl extend search --to 6 --rate 0.3
  meshsim ctl scale geo --by 1.25 --times 3
  meshsim ctl update profile --to 2 --strategy rolling
  meshsim ctl undeploy geo && meshsim ctl deploy geo
  meshsim ctl fault 'crash: node-2, for: 5s'
  meshsim ctl --to http://10.0.0.5:8080 --token-file token stop

Operations and faults are those of the experiment file, begun now. What changes something needs the run's \
token: on the machine of the run it is found, elsewhere --token-file names it.

Exit codes: 0 done, 1 it could not be done, 2 the input is wrong.";

/// How long a gateway may think.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request through the mesh may take, whatever was said of it: the gateway gives up before.
const ASK_PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// How long a process may take to say that it is well.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// Deeper calls are not set in any further.
const DEPTH_SHOWN_MAX: usize = 32;
/// Nodes that are listed; all are in `--json`.
const NODES_LISTED_MAX: usize = 32;

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

/// What is asked for.
#[derive(Debug, Subcommand)]
enum Verb {
    /// How things stand
    Status,
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
            Verb::Status => gateway.show("/api/status", json, screen, |status| status_text(&status, paint))?,
            Verb::Operations { index: None } => {
                gateway
                    .show("/api/operations", json, screen, |all: Operations| operations_text(&all.operations, paint))?;
            }
            Verb::Operations { index: Some(index) } => {
                let path = format!("/api/operations/{index}");
                gateway.show(&path, json, screen, |operation| operation_text(operation, paint))?;
            }
            Verb::Ask { target, timeout, retries } => {
                let path = target_path(&target, timeout.as_deref(), retries.as_deref())?;
                return gateway.ask(&path, json, screen);
            }
            Verb::Stop => {
                gateway.change("/api/stop", "", json, screen, |_: Value| "the run is about to end\n".into())?
            }
            Verb::Fault { fault } => {
                let is_map = fault.trim_start().starts_with('{') || fault.contains('\n');
                let text = if is_map { fault } else { format!("{{ {fault} }}") };
                gateway.change("/api/faults", &text, json, screen, fault_text)?;
            }
            operation => {
                let text = operation_of(operation).to_string();
                gateway.change("/api/operations", &text, json, screen, begun_text)?;
            }
        }
        Ok(Exit::Well)
    }
}

/// The operation, as the file has it: what its figures mean, the gateway says.
fn operation_of(verb: Verb) -> Value {
    let fields: Vec<(&str, Option<Value>)> = match verb {
        Verb::Extend { service, to, rate, pace: Pace { every, times }, rounding, feedback } => vec![
            ("extend", Some(service.into())),
            ("to", Some(to.into())),
            ("rate", Some(rate.into())),
            ("every", every.map(Value::from)),
            ("times", times.map(Value::from)),
            ("rounding", rounding.map(Value::from)),
            ("feedback", feedback.map(Value::from)),
        ],
        Verb::Scale { service, by, times, every } => vec![
            ("scale", Some(service.into())),
            ("by", Some(by.into())),
            ("times", Some(times.into())),
            ("every", every.map(Value::from)),
        ],
        Verb::Update { service, to, rate, pace, strategy, max_surge, max_unavailable, weights } => {
            let goes_by_rate = matches!(strategy.as_deref(), None | Some("batch" | "bernoulli"));
            let rate = rate.or_else(|| goes_by_rate.then(|| "1".into()));
            vec![
                ("update", Some(service.into())),
                ("to", Some(to.into())),
                ("rate", rate.map(Value::from)),
                ("every", pace.every.map(Value::from)),
                ("times", pace.times.map(Value::from)),
                ("strategy", strategy.map(Value::from)),
                ("max_surge", max_surge.map(Value::from)),
                ("max_unavailable", max_unavailable.map(Value::from)),
                ("weights", (!weights.is_empty()).then(|| weights.into())),
            ]
        }
        Verb::Deploy { services } => vec![("deploy", Some(services.into()))],
        Verb::Undeploy { services } => vec![("undeploy", Some(services.into()))],
        Verb::Status
        | Verb::Operations { .. }
        | Verb::Fault { .. }
        | Verb::Ask { .. }
        | Verb::Stop
        | Verb::Health(_) => vec![],
    };
    let said = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(said.collect::<Map<_, _>>())
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

/// A gateway, as it is asked from outside.
struct Gateway {
    url: Url,
    token_file: Option<PathBuf>,
}

impl Gateway {
    /// Asks, and shows what is answered.
    fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        json: bool,
        screen: &mut Screen,
        text: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        let answer = self.send(Request { path, ..Request::default() }, PATIENCE)?;
        self.print(&answer, json, screen, text)
    }

    /// Changes something, and shows what is answered.
    fn change<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &str,
        json: bool,
        screen: &mut Screen,
        text: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        let token = self.token()?;
        let answer = self.send(Request { body: Some(body), path, token: token.as_deref() }, PATIENCE)?;
        self.print(&answer, json, screen, text)
    }

    /// Sends one request through the mesh.
    fn ask(&self, path: &str, json: bool, screen: &mut Screen) -> Result<Exit, Error> {
        let answer = self.send(Request { path, ..Request::default() }, ASK_PATIENCE)?;
        // What failed in the mesh is an answer, too.
        let exit = if answer.status == 200 { Exit::Well } else { Exit::Failed };
        let is_asked = serde_json::from_slice::<Asked>(&answer.body).is_ok();
        let answer = http::Answer { status: if is_asked { 200 } else { answer.status }, ..answer };
        let paint = screen.paint();
        self.print(&answer, json, screen, |asked| asked_text(asked, paint))?;
        Ok(exit)
    }

    fn send(&self, request: Request<'_>, patience: Duration) -> Result<http::Answer, Error> {
        let url = &self.url;
        http::ask(url, request, patience).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                let help =
                    "`--to http://HOST:PORT` names the gateway of a run; `meshsim live FILE --until-stopped` has one";
                Error::Gateway(format!("nobody listens at {url}"), help.into())
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Error::Gateway(format!("{url} does not answer"), "is that the gateway of a run?".into())
            }
            _ => Error::Gateway(format!("{url} cannot be asked: {error}"), "is that the gateway of a run?".into()),
        })
    }

    fn print<T: DeserializeOwned>(
        &self,
        answer: &http::Answer,
        json: bool,
        screen: &mut Screen,
        text: impl FnOnce(T) -> String,
    ) -> Result<(), Error> {
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(answer));
        }
        let unreadable = |error: serde_json::Error| {
            let why = format!("{} answers what no gateway of this meshsim would: {error}", self.url);
            Error::Gateway(why, "both must be of the same version".into())
        };
        let shown = serde_json::from_slice(&answer.body).map(text).map_err(unreadable)?;
        if json { screen.print_foreign_json(&String::from_utf8_lossy(&answer.body)) } else { screen.print(&shown) }
    }

    fn refused(&self, answer: &http::Answer) -> Error {
        #[derive(Deserialize)]
        struct Refused {
            error: String,
            help: Option<String>,
            #[serde(default)]
            problems: Vec<Problem>,
        }
        #[derive(Deserialize)]
        struct Problem {
            message: String,
        }
        let status = answer.status;
        let refused = serde_json::from_slice(&answer.body);
        let Refused { error, help, problems } = refused.unwrap_or_else(|_| Refused {
            error: format!("{} answers with status {status}, as no gateway would", self.url),
            help: Some("is that the gateway of a run?".into()),
            problems: vec![],
        });
        let error = match problems.as_slice() {
            [] | [_] => error,
            all => all.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; "),
        };
        match status {
            401 => Error::WrongInput(error, "`--token-file FILE` names the file with the run's token".into()),
            400 | 403 | 404 | 413 | 421 => {
                Error::WrongInput(error, help.unwrap_or_else(|| "`meshsim ctl --help` has examples".into()))
            }
            _ => Error::Gateway(error, help.unwrap_or_else(|| "`meshsim ctl status` says how things stand".into())),
        }
    }

    /// The token, where there is one: the gateway says so if it needs another.
    fn token(&self) -> Result<Option<String>, Error> {
        let (file, is_named) = match &self.token_file {
            Some(file) => (file.clone(), true),
            // A token that is kept is of a gateway of this machine, and for nobody else's ears.
            None if !is_loopback(&self.url.to_string()) => return Ok(None),
            None => match kept_for(self.url.port) {
                Some(file) => (file, false),
                None => return Ok(None),
            },
        };
        match std::fs::read_to_string(&file) {
            Ok(text) if is_token(&text) => Ok(Some(text.trim().into())),
            Ok(_) => Err(Error::WrongInput(format!("{} holds no token", file.display()), TOKEN_HELP.into())),
            Err(error) if is_named => {
                let help = "the run makes it where its own `--token-file` says".into();
                Err(Error::WrongInput(format!("cannot read {}: {error}", file.display()), help))
            }
            Err(_) => Ok(None),
        }
    }
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

fn status_text(status: &Status, paint: Paint) -> String {
    let connected = status.processes.iter().filter(|process| process.connected).count();
    let mut out = format!(
        "{}, seed {}: {} at {:.1}s, {}\n",
        paint.on(Look::Bold, &status.experiment),
        status.seed,
        status.phase.as_str(),
        status.time_s,
        if connected == 1 { "1 process".into() } else { format!("{connected} processes") },
    );
    if status.phase == Phase::Waiting && !status.missing.is_empty() {
        out += &format!("  {}\n", paint.on(Look::Warn, &format!("waiting for {}", status.missing.join(", "))));
    }
    let mut services = Table::new(["<service", "instances", "ready", "capacity", "version", "generation"]);
    for service in &status.services {
        let look = if service.ready == service.instances { Look::Plain } else { Look::Warn };
        services.row([
            service.name.as_str().into(),
            service.instances.to_string().into(),
            Cell::new(service.ready.to_string(), look),
            number(service.capacity).into(),
            number(service.version).into(),
            service.generation.to_string().into(),
        ]);
    }
    // In a cluster of containers the machine is the container.
    let machine =
        |process: Option<usize>| process.and_then(|at| status.processes.get(at)).map_or("", |it| it.host.as_str());
    let mut nodes = Table::new(["<node", "instances", "<state", "<machine"]);
    for node in status.nodes.iter().take(NODES_LISTED_MAX) {
        let look = match node.state {
            Presence::Alive => Look::Plain,
            Presence::Dead | Presence::Shunned => Look::Bad,
            Presence::Awaited | Presence::Left => Look::Dim,
            Presence::Leaving => Look::Warn,
        };
        nodes.row([
            node.name.as_str().into(),
            node.instances.to_string().into(),
            Cell::new(node.state.as_str(), look),
            machine(node.process).into(),
        ]);
    }
    out += &format!("\n{}\n{}", services.render(paint), nodes.without_empty_columns(&[]).render(paint));
    if let more @ 1.. = status.nodes.len().saturating_sub(NODES_LISTED_MAX) {
        let dead = status.nodes.iter().filter(|node| node.state == Presence::Dead).count();
        out += &paint.on(Look::Dim, &format!("  and {more} more; {dead} are dead in all\n"));
    }
    out
}

/// What is to be reached, in a few words.
fn aim(operation: &Operation) -> String {
    let mut words = Vec::new();
    words.extend(operation.to.map(|to| format!("to {to}")));
    words.extend(operation.by.map(|by| format!("by {by}")));
    words.extend(operation.rate.map(|rate| format!("rate {rate}")));
    words.extend(operation.strategy.clone());
    words.join(", ")
}

fn operations_text(operations: &[Operation], paint: Paint) -> String {
    let mut table = Table::new(["#", "<operation", "<service", "<aim", "<by", "began", "steps", "<ending"]);
    for operation in operations {
        let look = match operation.ending.as_str() {
            "refused" | "stuck" => Look::Warn,
            _ if operation.unplaced > 0 => Look::Bad,
            _ => Look::Plain,
        };
        let ending = match operation.unplaced {
            0 => operation.ending.clone(),
            unplaced => format!("{}, {unplaced} unplaced", operation.ending),
        };
        table.row([
            operation.index.to_string().into(),
            operation.verb.as_str().into(),
            operation.service.as_str().into(),
            aim(operation).into(),
            if operation.by_hand { "hand" } else { "" }.into(),
            format!("{:.2}s", operation.began_s).into(),
            operation.step_count.to_string().into(),
            Cell::new(ending, look),
        ]);
    }
    if operations.is_empty() {
        return "no operation has begun\n".into();
    }
    let reasons: BTreeSet<&str> = operations.iter().filter_map(|it| it.unplaced_reason.as_deref()).collect();
    let mut out = table.render(paint);
    for reason in reasons {
        out += &format!("  {}\n", paint.on(Look::Warn, &format!("unplaced: {reason}")));
    }
    out
}

fn operation_text(operation: Operation, paint: Paint) -> String {
    let mut steps =
        Table::new(["step", "generation", "decided", "settled", "instances", "unplaced", "S", "C", "V", "acks"]);
    for step in operation.steps.iter().flatten() {
        steps.row([
            step.n.to_string().into(),
            step.generation.to_string().into(),
            format!("{:.2}s", step.decided_s).into(),
            step.settled_s.map_or_else(|| "-".into(), |at| format!("{at:.2}s")).into(),
            step.instances.to_string().into(),
            match step.unplaced {
                0 => "".into(),
                unplaced => Cell::new(unplaced.to_string(), Look::Bad),
            },
            number(step.s).into(),
            number(step.c).into(),
            number(step.v_mean).into(),
            step.acks.to_string().into(),
        ]);
    }
    let head = operations_text(std::slice::from_ref(&operation), paint);
    if operation.step_count == 0 { head } else { format!("{head}\n{}", steps.without_empty_columns(&[]).render(paint)) }
}

fn begun_text(begun: Begun) -> String {
    let list = |indices: &[usize]| indices.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut out = format!("begun: {} of `meshsim ctl operations`\n", list(&begun.operations));
    if !begun.refused.is_empty() {
        out += &format!("refused, for it makes no sense now: {}\n", list(&begun.refused));
    }
    out
}

fn fault_text(begun: Value) -> String {
    let at = |key: &str| begun[key].as_f64().unwrap_or_default();
    format!("begins at {:.2}s, ends at {:.2}s\n", at("begins_s"), at("ends_s"))
}

fn asked_text(asked: Asked, paint: Paint) -> String {
    let ms = |ms: f64| Span::from_secs_f64(ms / 1e3).to_string();
    let how = match &asked.failure {
        None if asked.degraded => paint.on(Look::Warn, "done, without an optional call that failed,"),
        None => paint.on(Look::Good, "done"),
        Some(failure) => paint.on(Look::Bad, &format!("failed: {failure}")),
    };
    let took = ms(asked.took_ms);
    let mut out = format!("{}/{}: {how} in {took}, asked at {:.2}s\n", asked.service, asked.endpoint, asked.asked_s);
    let mut table = Table::new(["<call", "<instance", "version", "at", "waited", "took", "<failure"]);
    for hop in asked.path.iter().flatten() {
        let failure = match (hop.failure.as_deref(), hop.answered) {
            (Some(failure), true) if hop.late => format!("{failure}, answered late"),
            (Some(failure), true) => failure.to_owned(),
            (Some(failure), false) => format!("{failure}, no answer"),
            (None, false) => "no answer".to_owned(),
            (None, true) => String::new(),
        };
        table.row([
            format!("{}{}/{}", "  ".repeat(usize::from(hop.depth).min(DEPTH_SHOWN_MAX)), hop.service, hop.endpoint)
                .into(),
            format!("{}#{}", hop.node, hop.instance).into(),
            hop.version.to_string().into(),
            ms(hop.at_ms).into(),
            ms(hop.waited_ms).into(),
            ms(hop.took_ms).into(),
            Cell::new(failure, Look::Bad),
        ]);
    }
    out += &table.without_empty_columns(&[]).render(paint);
    if asked.path_beyond > 0 {
        out += &paint.on(Look::Dim, &format!("  and {} more\n", asked.path_beyond));
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    fn operation(line: &str) -> Value {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        operation_of(Line::try_parse_from(line.split(' ')).unwrap().args.verb)
    }

    #[test]
    fn a_command_line_is_an_operation_of_the_file() {
        assert_eq!(operation("ctl extend a --to 6"), json!({ "extend": "a", "to": "6", "rate": "1" }));
        assert_eq!(
            operation("ctl scale a --by 2 --every 1s"),
            json!({ "scale": "a", "by": "2", "times": "1", "every": "1s" })
        );
        assert_eq!(operation("ctl update a --to 2"), json!({ "update": "a", "to": "2", "rate": "1" }));
        let canary = json!({ "update": "a", "to": "2", "strategy": "canary", "weights": ["5%", "100%"] });
        assert_eq!(operation("ctl update a --to 2 --strategy canary --weights 5%,100%"), canary);
        assert_eq!(operation("ctl undeploy a b"), json!({ "undeploy": ["a", "b"] }));
    }

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
