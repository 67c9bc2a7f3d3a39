//! motel's topologies: call graphs from which it makes traces, with durations, error rates and timeouts.
//!
//! Source: `andrewh/motel`, `cmd/motel/README.md` (its language) and `pkg/synth/engine.go` (what it means):
//! - calls run side by side unless `call_style` says `sequential`;
//! - half of an operation's own duration passes before its calls, half after them;
//! - a `probability` or `count` of 0 means that it was not given;
//! - a failing call fails its caller, after all its calls have been made;
//! - each trace begins at an operation that nobody calls, all equally likely.

use std::collections::BTreeMap;

use meshsim_actor::Span;

use super::Importer;
use super::shared::draft::{Arrivals, Call, Draft, Endpoint, Entry, Service, Step, Varying};
use super::shared::reading::Reading;
use super::shared::units;
use crate::problem::shortened;
use crate::tree::{Key, Node, Value};

pub(super) const IMPORTER: Importer = Importer { name: "motel", file: "motel.rs", read };

/// Copies of a parallel call up to this number become branches; more of them are made one after the other.
const BRANCHES_MAX: u32 = 16;

/// Service and operation of each `service.operation`: both parts may have dots, so it cannot be taken apart.
type Targets = BTreeMap<String, (String, String)>;

pub(super) fn read(roots: &[Node], reading: &mut Reading) -> Draft {
    let mut draft = Draft { has_calls: true, ..Draft::default() };
    let targets = targets(roots);
    for root in roots {
        let mut fields = reading.fields(root, "the file");
        let _ = fields.take("version");
        match fields.take("services") {
            Some(services) => {
                for (key, node) in reading.entries(services, "`services`") {
                    let mut service = Service::new(&key.text, key.place);
                    read_service(node, &mut service, &targets, reading);
                    draft.services.push(service);
                }
            }
            None => {
                reading.problem(root.place, "there is no `services`", "write `services:` and a map of services");
            }
        }
        if let Some(traffic) = fields.take("traffic") {
            draft.arrivals = read_traffic(traffic, reading).or(draft.arrivals);
        }
        fields.ignore_rest(reading, "");
    }
    draft.entries =
        draft.uncalled().into_iter().map(|(service, endpoint)| Entry { service, endpoint, weight: 1.0 }).collect();
    if draft.entries.len() > 1 {
        reading.guess("equal weights in the mix, as motel begins its traces");
    }
    draft.differences.push("an operation's whole duration passes before its calls, not half of it after them".into());
    draft
        .differences
        .push("a failing call ends its caller's script; motel makes the remaining calls all the same".into());
    draft
}

/// What can be called, found beforehand: an operation may stand below its callers.
fn targets(roots: &[Node]) -> Targets {
    fn entries(node: Option<&Node>) -> &[(Key, Node)] {
        match node.map(|node| &node.value) {
            Some(Value::Map(map)) => map,
            _ => &[],
        }
    }
    let mut targets = Targets::new();
    for (service, body) in roots.iter().flat_map(|root| entries(root.get("services"))) {
        for (operation, _) in entries(body.get("operations")) {
            let both = (service.text.clone(), operation.text.clone());
            targets.insert(format!("{}.{}", service.text, operation.text), both);
        }
    }
    targets
}

fn read_service(node: &Node, service: &mut Service, targets: &Targets, reading: &mut Reading) {
    let mut fields = reading.fields(node, "a service");
    if let Some(operations) = fields.take("operations") {
        for (key, node) in reading.entries(operations, "`operations`") {
            let mut endpoint = Endpoint { name: key.text.clone(), at: key.place, ..Endpoint::default() };
            read_operation(node, &mut endpoint, targets, reading);
            service.endpoints.push(endpoint);
        }
    }
    if service.endpoints.is_empty() {
        let message = format!("`{}` has no operations", shortened(&service.name));
        reading.problem(service.at, message, "write `operations:` and a map of them");
    }
    fields.ignore_rest(reading, "services.*");
}

fn read_operation(node: &Node, endpoint: &mut Endpoint, targets: &Targets, reading: &mut Reading) {
    let mut fields = reading.fields(node, "an operation");
    match fields.take("duration") {
        Some(node) => endpoint.script.extend(read_duration(node, reading).map(Step::Work)),
        None => reading.problem(endpoint.at, "an operation has no duration", "write `duration: 5ms +/- 2ms`"),
    }
    if let Some(node) = fields.take("error_rate") {
        endpoint.errors = reading.share(node, "`error_rate`").unwrap_or(0.0);
    }
    let style = fields.take("call_style");
    let parallel = style.is_none_or(|node| {
        let style = |text: &str| ["parallel", "sequential"].contains(&text).then(|| text == "parallel");
        reading
            .parsed(node, "`call_style`", style, "write `parallel` (motel's default) or `sequential`")
            .unwrap_or(true)
    });
    let mut calls = Vec::new();
    if let Some(node) = fields.take("calls") {
        for node in reading.list(node, "`calls`") {
            calls.extend(read_call(node, endpoint.errors, targets, reading));
        }
    }
    fields.ignore_rest(reading, "services.*.operations.*");

    if !parallel {
        endpoint.script.extend(calls.into_iter().map(Step::Call));
        return;
    }
    let mut branches = Vec::new();
    for call in calls {
        let copies = if call.count <= BRANCHES_MAX { call.count } else { 1 };
        let each = Call { count: call.count / copies, ..call };
        branches.extend((0..copies).map(|_| vec![Step::Call(each.clone())]));
    }
    if style.is_none() && branches.len() > 1 {
        reading.guess("calls side by side where no `call_style` is given, as motel's engine makes them");
    }
    match branches.len() {
        0 => {}
        1 => endpoint.script.append(&mut branches[0]),
        _ => endpoint.script.push(Step::Parallel(branches)),
    }
}

/// `30ms +/- 10ms`, `30ms ± 10ms` or `50ms`.
fn read_duration(node: &Node, reading: &mut Reading) -> Option<Varying> {
    let parse = |text: &str| {
        let (mean, sd) = text.split_once("+/-").or_else(|| text.split_once('±')).unwrap_or((text, "0"));
        let mean = units::parse_span(mean).filter(|mean| *mean > Span::ZERO)?;
        Some(Varying { mean, sd: units::parse_span(sd)? })
    };
    reading.parsed(node, "`duration`", parse, "write a time above zero such as `50ms` or `5ms +/- 2ms`")
}

fn read_call(node: &Node, own_errors: f64, targets: &Targets, reading: &mut Reading) -> Option<Call> {
    if !matches!(node.value, Value::Map(_)) {
        let target = reading.text(node, "a call")?;
        return find(&target, node, targets, reading);
    }
    let mut fields = reading.fields(node, "a call");
    let Some(target) = fields.take("target") else {
        reading.problem(node.place, "a call has no target", "write `target: service.operation`");
        return None;
    };
    let mut call = find(&reading.text(target, "`target`")?, target, targets, reading)?;
    let probability = fields.take("probability").and_then(|n| reading.share(n, "`probability`"));
    call.probability = probability.filter(|p| *p > 0.0).unwrap_or(1.0);
    if let Some(node) = fields.take("condition") {
        let share = |text: &str| match text {
            "on-error" => Some(own_errors),
            "on-success" => Some(1.0 - own_errors),
            _ => None,
        };
        call.probability *=
            reading.parsed(node, "`condition`", share, "write `on-error` or `on-success`").unwrap_or(1.0);
        reading.guess("a call with a `condition` happens by chance, as often as the condition holds");
    }
    call.count = fields.take("count").and_then(|n| reading.count(n, "`count`", 0, 10_000)).unwrap_or(1).max(1);
    call.timeout = fields.take("timeout").and_then(|n| reading.span(n, "`timeout`")).filter(|t| *t > Span::ZERO);
    call.retries = fields.take("retries").and_then(|n| reading.count(n, "`retries`", 0, 100)).unwrap_or(0);
    if fields.take("async").and_then(|n| reading.truth(n, "`async`")) == Some(true) {
        call.optional = true;
        reading.ignore("services.*.operations.*.calls[].async: the caller waits, but does not mind a failure");
    }
    fields.ignore_rest(reading, "services.*.operations.*.calls[]");
    Some(call)
}

fn find(target: &str, node: &Node, targets: &Targets, reading: &mut Reading) -> Option<Call> {
    match targets.get(target) {
        Some((service, operation)) => Some(Call::new(service, operation, node.place)),
        None => {
            reading.unknown(node.place, target, targets.keys().map(String::as_str));
            None
        }
    }
}

/// The base rate; its patterns in time are ignored.
fn read_traffic(node: &Node, reading: &mut Reading) -> Option<Arrivals> {
    let mut fields = reading.fields(node, "`traffic`");
    let rate = fields.take("rate");
    fields.ignore_rest(reading, "traffic");
    let parse = |text: &str| {
        let (number, unit) = text.split_once('/')?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let rate = number.trim().parse::<f64>().ok()? / seconds;
        (rate > 0.0 && rate <= 1e7).then_some(rate)
    };
    let per_second = reading.parsed(rate?, "`rate`", parse, "write a rate above zero such as `100/s` or `3000/m`")?;
    Some(Arrivals { per_second })
}
