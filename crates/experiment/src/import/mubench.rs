//! µBench's work models: the work of each service, and its calls with their probabilities.
//!
//! Source: `mSvcBench/muBench`. `ServiceCell/ExternalServiceExecutor.py` defines the keys:
//! - groups of external services run in parallel, the members of a group one after the other;
//! - of a group at most `seq_len` members are called, drawn anew for each request;
//! - each of them is called with its probability, or always where none is given; probabilities of services that are not
//!   in the group have no effect;
//! - a failing call does not keep the others from being made, but the reply is an error.
//!
//! `CustomFunctions/Loader.py` defines the work: it sleeps for 10 ms and does nothing else by default, and the reply
//! has `mean_response_size` (once `mean_bandwidth`, by default 11) times 1,000 bytes on average. The duration of its
//! kinds of stress depends on the machine, so no file gives it.
//!
//! `Deployers/K8sDeployer/K8sYamlBuilder.py` defines the deployment: a service has 1 worker of 4 threads by default.

use meshsim_actor::Span;

use super::Importer;
use super::shared::draft::{Call, Draft, Endpoint, Entry, Service, Step, Varying};
use super::shared::looks::MUBENCH;
use super::shared::reading::Reading;
use super::shared::units;
use crate::problem::{one_of, shortened};
use crate::tree::{Key, Node, Value};

pub(super) const IMPORTER: Importer = Importer { name: "mubench", tags: &[], file: "mubench.rs", read };

/// A µBench service has no endpoints; ours needs one.
const ENDPOINT: &str = "serve";

/// Guessed for each kind of stress.
const STRESS: Span = Span::from_millis(1);

/// Default sleep of the loader.
const SLEEP: Span = Span::from_millis(10);

/// Bytes of the loader's reply where the file does not say it.
const RESPONSE: u64 = 11_000;

/// Processes of an instance, and the requests that each serves at once, where the file does not say it.
const WORKERS: u32 = 1;
const THREADS: u32 = 4;

/// Service that receives the requests of µBench.
const INGRESS: &str = "s0";

fn read(roots: &[Node], reading: &mut Reading) -> Draft {
    let mut draft = Draft { has_calls: true, ..Draft::default() };
    for root in roots {
        let entries = reading.entries(root, "the file");
        if !entries.is_empty() && !entries.iter().any(|(_, node)| MUBENCH.iter().any(|key| node.get(key).is_some())) {
            let help = format!("a service of µBench's has {}", one_of(MUBENCH));
            reading.problem(root.place, "nothing here is a service of µBench's", help);
            continue;
        }
        for (key, node) in entries {
            draft.services.push(read_service(key, node, reading));
        }
    }
    let entries = if draft.services.iter().any(|service| service.name == INGRESS) {
        vec![(INGRESS.to_owned(), ENDPOINT.to_owned())]
    } else {
        let uncalled = draft.uncalled();
        reading.guess(format!("entries, because there is no `{INGRESS}`: the services without callers"));
        uncalled
    };
    draft.entries = entries.into_iter().map(|(service, endpoint)| Entry { service, endpoint, weight: 1.0 }).collect();
    draft.differences.push("replies have their mean size; µBench draws it".into());
    draft
        .differences
        .push("a failing call ends its caller's script; µBench makes the remaining calls all the same".into());
    draft
}

fn read_service(key: &Key, node: &Node, reading: &mut Reading) -> Service {
    let mut service = Service::new(&key.text, key.place);
    let mut fields = reading.fields(node, "a service");
    let workers = fields.take("workers").and_then(|n| reading.count(n, "`workers`", 1, 1_000));
    let threads = fields.take("threads").and_then(|n| reading.count(n, "`threads`", 1, 1_000));
    service.capacity = Some(workers.unwrap_or(WORKERS) * threads.unwrap_or(THREADS));
    service.instances = fields.take("replicas").and_then(|n| reading.count(n, "`replicas`", 1, u32::MAX)).unwrap_or(1);
    let (requests, limits) = (fields.take("cpu-requests"), fields.take("cpu-limits"));
    service.cpu = requests.or(limits).and_then(|n| reading.cores(n, "`cpu-requests`"));
    if requests.is_some() && limits.is_some() {
        reading.ignore("*.cpu-limits");
    }

    let mut endpoint = Endpoint { name: ENDPOINT.into(), at: key.place, ..Endpoint::default() };
    match fields.take("internal_service") {
        Some(internal) => read_internal(internal, &mut endpoint, reading),
        None => {
            (endpoint.response, endpoint.script) = (Some(RESPONSE), vec![Step::Sleep(Varying::constant(SLEEP))]);
            reading.guess("the loader's defaults where a service has no `internal_service`");
        }
    }
    let mut groups = Vec::new();
    if let Some(external) = fields.take("external_services") {
        for group in reading.list(external, "`external_services`") {
            groups.push(read_group(group, reading));
        }
    }
    groups.retain(|group| !group.is_empty());
    match groups.len() {
        0 => {}
        1 => endpoint.script.append(&mut groups[0]),
        _ => endpoint.script.push(Step::Parallel(groups)),
    }
    if service.instances > 1 {
        service.balancer = Some("random");
        reading.guess("callers choose an instance at random, as a Service of Kubernetes does without a mesh");
    }
    fields.ignore_rest(reading, "*");
    service.endpoints = vec![endpoint];
    service
}

/// The function that a service runs, by its name, and that function's parameters.
fn read_internal(node: &Node, endpoint: &mut Endpoint, reading: &mut Reading) {
    // µBench runs the first and knows no other.
    let functions = reading.entries(node, "`internal_service`");
    for (function, _) in functions.iter().skip(1) {
        reading
            .ignore(format!("*.internal_service.{}: µBench runs the first function only", shortened(&function.text)));
    }
    let Some((function, parameters)) = functions.first() else {
        reading.problem(node.place, "`internal_service` names no function", "write `{ \"loader\": {} }`");
        return;
    };
    let mut fields = reading.fields(parameters, "a function's parameters");
    let is_loader = function.text == "loader";
    let size = fields.take("mean_response_size").or(fields.take("mean_bandwidth"));
    endpoint.response = is_loader.then_some(RESPONSE);
    if let Some(size) = size {
        let bytes = |text: &str| {
            let bytes = text.parse::<f64>().ok()? * 1000.0;
            (0.0..=f64::from(u32::MAX)).contains(&bytes).then_some(bytes as u64)
        };
        endpoint.response = reading.parsed(size, "the response size", bytes, "write a number of kB below 4000000");
    }
    if is_loader {
        for (stress, computes) in [("cpu_stress", true), ("memory_stress", true), ("disk_stress", false)] {
            let Some(node) = fields.take(stress) else { continue };
            let mut fields = reading.fields(node, "a kind of stress");
            if fields.take("run").and_then(|n| reading.truth(n, "`run`")) == Some(true) {
                let step = if computes { Step::Work } else { Step::Sleep };
                endpoint.script.push(step(Varying::constant(STRESS)));
                let time = units::show_span(STRESS);
                reading.guess(format!("{time} for each kind of stress that runs: µBench leaves it to the machine"));
                fields.ignore_rest(reading, &format!("*.internal_service.loader.{stress}"));
            }
        }
        let sleep = fields.take("sleep_stress");
        endpoint.script.extend(read_sleep(sleep, reading).map(|time| Step::Sleep(Varying::constant(time))));
    } else {
        endpoint.script.push(Step::Work(Varying::constant(STRESS)));
        let (name, time) = (shortened(&function.text), units::show_span(STRESS));
        reading.guess(format!("work of {time} in `{name}`: µBench leaves it to the machine"));
    }
    fields.ignore_rest(reading, &format!("*.internal_service.{}", shortened(&function.text)));
}

/// Sleep of the loader, if it sleeps. Missing values are the loader's defaults.
fn read_sleep(node: Option<&Node>, reading: &mut Reading) -> Option<Span> {
    let Some(node) = node else { return Some(SLEEP) };
    let mut fields = reading.fields(node, "`sleep_stress`");
    let runs = fields.take("run").and_then(|n| reading.truth(n, "`run`")).unwrap_or(true);
    let seconds = |text: &str| {
        let seconds = text.parse::<f64>().ok()?;
        (0.0..=1e6).contains(&seconds).then(|| Span::from_secs_f64(seconds))
    };
    let time = fields.take("sleep_time");
    let time = time.and_then(|n| reading.parsed(n, "`sleep_time`", seconds, "write a number of seconds"));
    fields.ignore_rest(reading, "*.internal_service.loader.sleep_stress");
    runs.then_some(time.unwrap_or(SLEEP))
}

/// The members of a group, one after the other.
fn read_group(node: &Node, reading: &mut Reading) -> Vec<Step> {
    let mut fields = reading.fields(node, "a group");
    let members = fields.take("services").map(|n| reading.list(n, "`services`")).unwrap_or_default();
    let most = fields.take("seq_len").and_then(|n| reading.count(n, "`seq_len`", 0, u32::MAX));
    let probabilities = fields.take("probabilities");
    let probabilities = probabilities.map(|node| reading.entries(node, "`probabilities`")).unwrap_or_default();
    fields.ignore_rest(reading, "*.external_services[]");

    // Drawing `seq_len` of n members makes each of them one with probability seq_len / n.
    let drawn = most.map_or(1.0, |most| (f64::from(most) / members.len().max(1) as f64).min(1.0));
    if drawn < 1.0 {
        reading.guess("`seq_len` of a group's members: each by itself with the probability of being among them");
    }
    let mut steps = Vec::new();
    for member in members {
        let Some(name) = reading.text(member, "a member of a group") else { continue };
        // A member may stand in a group several times, each time with the same probability.
        let given = probabilities.iter().find(|(of, _)| of.text == name).map(|(_, node)| node);
        let own = given.and_then(|node| reading.share(node, "a probability")).unwrap_or(1.0);
        if own * drawn > 0.0 {
            steps.push(Step::Call(Call { probability: own * drawn, ..Call::new(name, ENDPOINT, member.place) }));
        }
    }
    let is_member = |name: &str| members.iter().any(|m| matches!(&m.value, Value::Scalar { text, .. } if text == name));
    for (name, _) in probabilities.iter().filter(|(name, _)| !is_member(&name.text)) {
        let name = shortened(&name.text);
        reading.ignore(format!("*.external_services[].probabilities.{name}: not a member of its group"));
    }
    steps
}
