//! µBench's work models: what each service computes, and whom it calls with what probability.
//!
//! Source: `mSvcBench/muBench`. What the keys mean is said by `ServiceCell/ExternalServiceExecutor.py`:
//! - groups of external services run side by side, the members of a group one after the other;
//! - of a group at most `seq_len` members are called, drawn anew for each request;
//! - each of them is called with its probability, or always where none is given; probabilities of services that are
//!   not in the group mean nothing;
//! - a failing call does not keep the others from being made, but the reply is an error.
//!
//! and by `CustomFunctions/Loader.py`: the reply has `mean_response_size` (once `mean_bandwidth`) times 1,000 bytes on
//! average. How long its kinds of stress take depends on the machine, so no file says it.

use meshsim_actor::Span;

use super::Importer;
use super::shared::draft::{Call, Draft, Endpoint, Entry, Service, Step, Varying};
use super::shared::reading::Reading;
use super::shared::units;
use crate::problem::shortened;
use crate::tree::{Key, Node};

pub(super) const IMPORTER: Importer = Importer { name: "mubench", file: "mubench.rs", read };

/// A µBench service has no endpoints; ours needs one.
const ENDPOINT: &str = "serve";

/// Guessed for whatever a service computes.
const WORK: Span = Span::from_millis(1);

/// Where µBench sends its requests.
const INGRESS: &str = "s0";

fn read(roots: &[Node], reading: &mut Reading) -> Draft {
    let mut draft = Draft { has_calls: true, ..Draft::default() };
    for root in roots {
        for (key, node) in reading.entries(root, "the file") {
            draft.services.push(read_service(key, node, reading));
        }
    }
    reading.guess(format!("work of {} in every service: µBench leaves it to the machine", units::show_span(WORK)));
    let entries = if draft.services.iter().any(|service| service.name == INGRESS) {
        vec![(INGRESS.to_owned(), ENDPOINT.to_owned())]
    } else {
        let uncalled = draft.uncalled();
        reading.guess(format!("entries, because there is no `{INGRESS}`: the services that nobody calls"));
        uncalled
    };
    draft.entries = entries.into_iter().map(|(service, endpoint)| Entry { service, endpoint, weight: 1.0 }).collect();
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
    service.capacity = (workers.is_some() || threads.is_some()).then(|| workers.unwrap_or(1) * threads.unwrap_or(1));
    service.instances = fields.take("replicas").and_then(|n| reading.count(n, "`replicas`", 1, u32::MAX)).unwrap_or(1);
    let (requests, limits) = (fields.take("cpu-requests"), fields.take("cpu-limits"));
    service.cpu = requests.or(limits).and_then(|n| reading.cores(n, "`cpu-requests`"));
    if requests.is_some() && limits.is_some() {
        reading.ignore("*.cpu-limits");
    }

    let mut endpoint = Endpoint { name: ENDPOINT.into(), at: key.place, ..Endpoint::default() };
    endpoint.script = vec![Step::Work(Varying::constant(WORK))];
    if let Some(internal) = fields.take("internal_service") {
        read_internal(internal, &mut endpoint, reading);
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
    fields.ignore_rest(reading, "*");
    service.endpoints = vec![endpoint];
    service
}

/// The function that a service runs, by its name, and that function's parameters.
fn read_internal(node: &Node, endpoint: &mut Endpoint, reading: &mut Reading) {
    for (function, parameters) in reading.entries(node, "`internal_service`") {
        let mut fields = reading.fields(parameters, "a function's parameters");
        let size = fields.take("mean_response_size").or(fields.take("mean_bandwidth"));
        if let Some(size) = size {
            let bytes = |text: &str| {
                let bytes = text.parse::<f64>().ok()? * 1000.0;
                (0.0..=f64::from(u32::MAX)).contains(&bytes).then_some(bytes as u64)
            };
            endpoint.response = reading.parsed(size, "the response size", bytes, "write a number of kB below 4000000");
        }
        if let Some(sleep) = fields.take("sleep_stress") {
            let mut sleep = reading.fields(sleep, "`sleep_stress`");
            let runs = sleep.take("run").and_then(|n| reading.truth(n, "`run`")).unwrap_or(true);
            let seconds = |text: &str| {
                let seconds = text.parse::<f64>().ok()?;
                (0.0..=1e6).contains(&seconds).then(|| Span::from_secs_f64(seconds))
            };
            let time = sleep.take("sleep_time");
            let time = time.and_then(|n| reading.parsed(n, "`sleep_time`", seconds, "write a number of seconds"));
            if let Some(time) = time.filter(|_| runs) {
                endpoint.script.push(Step::Sleep(Varying::constant(time)));
            }
        }
        fields.ignore_rest(reading, &format!("*.internal_service.{}", function.text));
    }
}

/// The members of a group, one after the other.
fn read_group(node: &Node, reading: &mut Reading) -> Vec<Step> {
    let mut fields = reading.fields(node, "a group");
    let members = fields.take("services").map(|n| reading.list(n, "`services`")).unwrap_or_default();
    let most = fields.take("seq_len").and_then(|n| reading.count(n, "`seq_len`", 0, u32::MAX));
    let probabilities = fields.take("probabilities");
    let mut probabilities: Vec<_> = probabilities
        .map(|node| {
            reading.entries(node, "`probabilities`").iter().map(|(key, node)| (key.text.as_str(), node)).collect()
        })
        .unwrap_or_default();
    fields.ignore_rest(reading, "*.external_services[]");

    // Drawing `seq_len` of n members makes each of them one with probability seq_len / n.
    let drawn = most.map_or(1.0, |most| (f64::from(most) / members.len().max(1) as f64).min(1.0));
    if drawn < 1.0 {
        reading.guess("`seq_len` of a group's members: each by itself with the probability of being among them");
    }
    let mut steps = Vec::new();
    for member in members {
        let Some(name) = reading.text(member, "a member of a group") else { continue };
        let given = probabilities.iter().position(|(of, _)| *of == name).map(|index| probabilities.remove(index).1);
        let own = given.and_then(|node| reading.share(node, "a probability")).unwrap_or(1.0);
        if own * drawn > 0.0 {
            steps.push(Step::Call(Call { probability: own * drawn, ..Call::new(name, ENDPOINT, member.place) }));
        }
    }
    for (name, _) in probabilities {
        reading.ignore(format!("*.external_services[].probabilities.{}: not a member of its group", shortened(name)));
    }
    steps
}
