//! isotope's `MockServiceGraph`: the topologies with which Istio's own performance is measured.
//!
//! Source: `istio/tools`, folder `isotope`. Where its README and its code disagree the code counts:
//! - the settings for all services are under `defaults`, and a request's size under `size`;
//! - `errorRate` fails every (1/rate)-th request by a counter, before its script runs (`service/pkg/srv/handler.go`:
//!   `10000 / uint64(rate * 10000)`, in whole numbers);
//! - `probability` is a whole percentage, and 0 means always (`srv/executable.go`, `shouldSkipRequest`);
//! - sizes have binary prefixes whatever they are called (`size/byte_size.go`: docker's `RAMInBytes`);
//! - lists nest one level deep only (`graph/validation.go`).

use meshsim_actor::Span;

use super::Importer;
use super::shared::draft::{Call, Draft, Endpoint, Entry, Service, Step, Varying};
use super::shared::reading::Reading;
use crate::tree::{Node, Value};

pub(super) const IMPORTER: Importer = Importer { name: "isotope", tags: &[], file: "isotope.rs", read };

/// An isotope service has no endpoints; ours needs one.
const ENDPOINT: &str = "serve";

/// Duration of the Go handler itself. isotope does not specify it; it measures proxies, and its services should cost
/// nothing. It is time and not computing, since no source says that it computes.
const HANDLING: Span = Span::from_micros(100);

/// Defaults for services and calls.
#[derive(Default)]
struct Defaults<'n> {
    replicas: Option<u32>,
    error_rate: Option<f64>,
    response: Option<u64>,
    request: Option<u64>,
    script: Option<&'n Node>,
}

fn read(roots: &[Node], reading: &mut Reading) -> Draft {
    let mut draft = Draft { has_calls: true, ..Draft::default() };
    for root in roots {
        let mut fields = reading.fields(root, "the file");
        let _ = (fields.take("apiVersion"), fields.take("kind"));
        let defaults = fields.take("defaults").map(|node| read_defaults(node, reading)).unwrap_or_default();
        match fields.take("services") {
            Some(services) => {
                for node in reading.list(services, "`services`") {
                    read_service(node, &defaults, &mut draft, reading);
                }
            }
            None => {
                reading.problem(root.place, "missing `services`", "write `services:` and a list of services");
            }
        }
        fields.ignore_rest(reading, "");
    }
    if draft.entries.is_empty() && !draft.services.is_empty() {
        let uncalled = draft.uncalled();
        let names: Vec<_> = uncalled.iter().map(|(service, _)| service.as_str()).collect();
        reading.guess(format!("entry {}: no service says `isEntrypoint`, and it has no callers", names.join(", ")));
        draft.entries =
            uncalled.into_iter().map(|(service, endpoint)| Entry { service, endpoint, weight: 1.0 }).collect();
    }
    // isotope sends empty bodies then; but a request has headers, and no size would suggest that it costs nothing.
    reading.guess("1 KiB for requests and replies whose size it leaves at 0");
    reading.guess(format!("{} in every service: isotope has none", super::shared::units::show_span(HANDLING)));
    draft
}

fn read_defaults<'n>(node: &'n Node, reading: &mut Reading) -> Defaults<'n> {
    let mut fields = reading.fields(node, "`defaults`");
    let defaults = Defaults {
        replicas: fields.take("numReplicas").and_then(|n| reading.count(n, "`numReplicas`", 0, i32::MAX as u32)),
        error_rate: fields.take("errorRate").and_then(|n| reading.share(n, "`errorRate`")),
        response: fields.take("responseSize").and_then(|n| reading.size(n, "`responseSize`")),
        request: fields.take("requestSize").and_then(|n| reading.size(n, "`requestSize`")),
        script: fields.take("script"),
    };
    fields.ignore_rest(reading, "defaults");
    defaults
}

fn read_service(node: &Node, defaults: &Defaults<'_>, draft: &mut Draft, reading: &mut Reading) {
    let mut fields = reading.fields(node, "a service");
    let Some(name) = fields.take("name").and_then(|n| reading.text(n, "`name`")).filter(|name| !name.is_empty()) else {
        reading.problem(node.place, "a service has no name", "write `name: ...`");
        return;
    };
    let replicas = fields.take("numReplicas").and_then(|n| reading.count(n, "`numReplicas`", 0, i32::MAX as u32));
    let error_rate = fields.take("errorRate").and_then(|n| reading.share(n, "`errorRate`"));
    let response = fields.take("responseSize").and_then(|n| reading.size(n, "`responseSize`"));
    let script = fields.take("script").or(defaults.script);

    let mut endpoint = Endpoint { name: ENDPOINT.into(), at: node.place, ..Endpoint::default() };
    endpoint.errors = error_rate.or(defaults.error_rate).map_or(0.0, |rate| by_counter(rate, node, draft, reading));
    endpoint.response = response.or(defaults.response);
    endpoint.script = vec![Step::Sleep(Varying::constant(HANDLING))];
    if let Some(script) = script {
        endpoint.script.extend(read_steps(script, defaults, true, reading));
    }
    if fields.take("isEntrypoint").and_then(|n| reading.truth(n, "`isEntrypoint`")) == Some(true) {
        draft.entries.push(Entry { service: name.clone(), endpoint: ENDPOINT.into(), weight: 1.0 });
    }
    let mut service = Service::new(name, node.place);
    service.instances = replicas.or(defaults.replicas).unwrap_or(1);
    service.endpoints = vec![endpoint];
    draft.services.push(service);
    fields.ignore_rest(reading, "services[]");
}

/// The share of requests that really fail: every n-th, with n a whole number.
fn by_counter(rate: f64, node: &Node, draft: &mut Draft, reading: &mut Reading) -> f64 {
    let ten_thousandths = (rate * 10_000.0) as u64;
    if rate > 0.0 && ten_thousandths == 0 {
        reading.problem(node.place, "an `errorRate` below 0.01% stops isotope", "write at least `0.01%`, or 0");
    }
    if ten_thousandths == 0 {
        return 0.0;
    }
    let difference = "`errorRate` fails every n-th request before its script; here it is a chance, drawn after it";
    if !draft.differences.iter().any(|known| known == difference) {
        draft.differences.push(difference.into());
    }
    1.0 / (10_000 / ten_thousandths) as f64
}

fn read_steps(node: &Node, defaults: &Defaults<'_>, may_nest: bool, reading: &mut Reading) -> Vec<Step> {
    reading
        .list(node, "a script")
        .iter()
        .filter_map(|step| match &step.value {
            Value::List(_) if may_nest => {
                let branches = read_steps(step, defaults, false, reading);
                Some(Step::Parallel(branches.into_iter().map(|branch| vec![branch]).collect()))
            }
            Value::List(_) => {
                reading.problem(
                    step.place,
                    "a list within a list within a script",
                    "isotope nests one level deep only",
                );
                None
            }
            _ => read_command(step, defaults, reading),
        })
        .collect()
}

fn read_command(step: &Node, defaults: &Defaults<'_>, reading: &mut Reading) -> Option<Step> {
    let mut fields = reading.fields(step, "a step");
    let (sleep, call) = (fields.take("sleep"), fields.take("call"));
    fields.ignore_rest(reading, "services[].script[]");
    match (sleep, call) {
        (Some(sleep), None) => Some(Step::Sleep(Varying::constant(reading.span(sleep, "`sleep`")?))),
        (None, Some(call)) => Some(Step::Call(read_call(call, defaults, reading)?)),
        _ => {
            reading.problem(step.place, "a step is neither a `sleep` nor a `call`", "write one of them, and only one");
            None
        }
    }
}

fn read_call(node: &Node, defaults: &Defaults<'_>, reading: &mut Reading) -> Option<Call> {
    if !matches!(node.value, Value::Map(_)) {
        let service = reading.text(node, "`call`")?;
        return Some(Call { request: defaults.request, ..Call::new(service, ENDPOINT, node.place) });
    }
    let mut fields = reading.fields(node, "`call`");
    let service = fields.take("service");
    let size = fields.take("size").and_then(|n| reading.size(n, "`size`"));
    let probability = fields.take("probability").and_then(|n| reading.count(n, "`probability`", 0, 100));
    fields.ignore_rest(reading, "services[].script[].call");
    let Some(service) = service else {
        reading.problem(node.place, "a call names no service", "write `service: ...`");
        return None;
    };
    let mut call = Call::new(reading.text(service, "`service`")?, ENDPOINT, service.place);
    call.request = size.or(defaults.request);
    call.probability = match probability {
        None | Some(0) => 1.0,
        Some(percent) => f64::from(percent) / 100.0,
    };
    Some(call)
}
