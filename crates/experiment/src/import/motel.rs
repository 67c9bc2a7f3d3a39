//! motel's topologies: call graphs from which it makes traces, with durations, error rates and timeouts.
//!
//! Source: `andrewh/motel`, `cmd/motel/README.md` (its language) and `pkg/synth/engine.go` (its semantics):
//! - calls run in parallel unless `call_style` is `sequential`, and so do the copies of a `count`;
//! - a `probability` is drawn once for all copies; a `probability` or `count` of 0 means that it was not given;
//! - a retry waits for `retry_backoff`, always as long; the number of retries in flight is unlimited;
//! - a call without a `timeout` waits indefinitely, and an `async` one is not waited for;
//! - half of an operation's own duration passes before its calls, half after them; it is time, not computing;
//! - a failing call fails its caller, after all its calls have been made;
//! - each trace begins at an operation without callers, all equally likely.
//!
//! [`traffic`] and [`scenarios`] read the parts that depend on time.

mod scenarios;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::Span;

use super::Importer;
use super::shared::draft::{Call, Draft, Endpoint, Entry, Service, Step, Varying};
use super::shared::reading::Reading;
use super::shared::units;
use crate::problem::{Location, shortened};
use crate::tree::{Key, Node, Value};

pub(super) const IMPORTER: Importer = Importer { name: "motel", tags: &[], file: "motel.rs", read };

/// Service and operation.
type Name = (String, String);

/// Service and operation of each `service.operation`: both parts may have dots, so it cannot be taken apart.
type Targets = BTreeMap<String, Name>;

/// An operation as the source says it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Operation {
    duration: Option<Varying>,
    errors: f64,
    is_sequential: bool,
    calls: Vec<(Call, Condition)>,
}

/// Condition of a call on the failure of its caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition {
    #[default]
    Always,
    OnError,
    OnSuccess,
}

impl Operation {
    /// The operation as an endpoint.
    fn endpoint(&self, name: &str, at: Location) -> Endpoint {
        let mut endpoint = Endpoint { name: name.to_owned(), at, errors: self.errors, ..Endpoint::default() };
        endpoint.script.extend(self.duration.map(Step::Sleep));
        endpoint.script.extend(self.arranged(self.steps()));
        endpoint
    }

    /// The calls as steps. Calls that depend on the outcome are made together or not at all: two or more of them are a
    /// choice, in the place of the first.
    fn steps(&self) -> Vec<Step> {
        let share = |condition| match condition {
            Condition::Always => 1.0,
            Condition::OnError => self.errors,
            Condition::OnSuccess => 1.0 - self.errors,
        };
        let call =
            |call: &Call, probability| Step::Call(Call { probability, parallel: !self.is_sequential, ..call.clone() });
        let is_drawn = |(_, condition): &&(Call, Condition)| *condition != Condition::Always;
        let is_choice = self.calls.iter().filter(is_drawn).count() > 1;
        let choice = |wanted| {
            let of = self.calls.iter().filter(|(_, condition)| *condition == wanted);
            (share(wanted), self.arranged(of.map(|(it, _)| call(it, it.probability)).collect()))
        };
        let mut steps = vec![];
        let mut has_chosen = false;
        for (it, condition) in &self.calls {
            if *condition == Condition::Always || !is_choice {
                steps.push(call(it, it.probability * share(*condition)));
            } else if !std::mem::replace(&mut has_chosen, true) {
                steps.push(Step::OneOf(vec![choice(Condition::OnError), choice(Condition::OnSuccess)]));
            }
        }
        steps
    }

    /// Steps in sequence, or side by side: those that are not waited for need no branch of their own.
    fn arranged(&self, steps: Vec<Step>) -> Vec<Step> {
        if self.is_sequential {
            return steps;
        }
        let is_detached = |step: &Step| matches!(step, Step::Call(call) if call.detached);
        let (mut script, mut awaited): (Vec<_>, Vec<_>) = steps.into_iter().partition(is_detached);
        match awaited.len() {
            0 | 1 => script.append(&mut awaited),
            _ => script.push(Step::Parallel(awaited.into_iter().map(|step| vec![step]).collect())),
        }
        script
    }
}

pub(super) fn read(roots: &[Node], reading: &mut Reading) -> Draft {
    let mut draft = Draft { has_calls: true, ..Draft::default() };
    let targets = targets(roots);
    let mut operations = BTreeMap::new();
    let mut traffic = None;
    let mut planned = Vec::new();
    for root in roots {
        let mut fields = reading.fields(root, "the file");
        if let Some(version) = fields.take("version") {
            let is_one = |text: &str| (text == "1").then_some(());
            reading.parsed(version, "`version`", is_one, "write `version: 1`, the only one");
        }
        match fields.take("services") {
            Some(services) => {
                for (key, node) in reading.entries(services, "`services`") {
                    let service = read_service(key, node, &targets, &mut operations, reading);
                    draft.services.push(service);
                }
            }
            None => {
                reading.problem(root.place, "missing `services`", "write `services:` and a map of services");
            }
        }
        if let Some(node) = fields.take("traffic") {
            traffic = traffic::read(node, reading).or(traffic);
        }
        if let Some(node) = fields.take("scenarios") {
            planned.extend(scenarios::read(node, &targets, reading));
        }
        fields.ignore_rest(reading, "");
    }

    let calls = |operation: &Operation| {
        operation.calls.iter().map(|(call, _)| (call.service.clone(), call.endpoint.clone())).collect::<Vec<_>>()
    };
    let called: BTreeSet<Name> = operations.values().flat_map(calls).collect();
    let all = draft.services.iter().flat_map(|s| s.endpoints.iter().map(|e| (s.name.clone(), e.name.clone())));
    draft.entries = all
        .filter(|name| !called.contains(name))
        .map(|(service, endpoint)| Entry { service, endpoint, weight: 1.0 })
        .collect();
    if draft.entries.len() > 1 {
        reading.guess("equal weights in the mix, as motel begins its traces");
    }
    draft.differences.push("an operation's whole duration passes before its calls, not half of it after them".into());
    draft
        .differences
        .push("a failing call ends a sequential script; motel makes the remaining calls all the same".into());
    scenarios::apply(&planned, &operations, &mut draft, reading);
    traffic::apply(traffic.as_ref(), &planned, &mut draft, reading);
    draft
}

/// The callable operations, collected first: an operation may be defined after its callers.
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

fn read_service(
    key: &Key,
    node: &Node,
    targets: &Targets,
    operations: &mut BTreeMap<Name, Operation>,
    reading: &mut Reading,
) -> Service {
    let mut service = Service::new(&key.text, key.place);
    let mut fields = reading.fields(node, "a service");
    let mut depths = Vec::new();
    if let Some(list) = fields.take("operations") {
        for (key, node) in reading.entries(list, "`operations`") {
            let (operation, depth) = read_operation(key, node, targets, reading);
            depths.push(depth);
            service.endpoints.push(operation.endpoint(&key.text, key.place));
            operations.insert((service.name.clone(), key.text.clone()), operation);
        }
    }
    // A slot is of the instance and not of the operation, so a bound of one among several cannot be said.
    match depths[..] {
        [Some(depth)] => (service.capacity, service.queue) = (Some(depth), Some(0)),
        _ => depths.iter().flatten().for_each(|_| {
            reading.ignore("services.*.operations.*.queue_depth: of one operation among several");
        }),
    }
    if service.endpoints.is_empty() {
        let message = format!("`{}` has no operations", shortened(&service.name));
        reading.problem(service.at, message, "write `operations:` and a map of them");
    }
    fields.ignore_rest(reading, "services.*");
    service
}

/// An operation, and how many requests it takes at once, if that has a bound.
fn read_operation(key: &Key, node: &Node, targets: &Targets, reading: &mut Reading) -> (Operation, Option<u32>) {
    let mut operation = Operation::default();
    let mut fields = reading.fields(node, "an operation");
    match fields.take("duration") {
        Some(node) => operation.duration = read_duration(node, reading),
        None => reading.problem(key.place, "an operation has no duration", "write `duration: 5ms +/- 2ms`"),
    }
    if let Some(node) = fields.take("error_rate") {
        operation.errors = reading.share(node, "`error_rate`").unwrap_or(0.0);
    }
    let style = fields.take("call_style");
    if let Some(node) = style {
        let style = |text: &str| ["parallel", "sequential"].contains(&text).then(|| text == "sequential");
        let help = "write `parallel` (motel's default) or `sequential`";
        operation.is_sequential = reading.parsed(node, "`call_style`", style, help).unwrap_or(false);
    }
    let depth = fields.take("queue_depth").and_then(|n| reading.count(n, "`queue_depth`", 0, 1_000_000));
    if let Some(node) = fields.take("calls") {
        for node in reading.list(node, "`calls`") {
            operation.calls.extend(read_call(node, targets, reading));
        }
    }
    fields.ignore_rest(reading, "services.*.operations.*");
    if style.is_none() && operation.calls.len() > 1 {
        reading.guess("calls side by side where no `call_style` is given, as motel's engine makes them");
    }
    (operation, depth.filter(|depth| *depth > 0))
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

fn read_call(node: &Node, targets: &Targets, reading: &mut Reading) -> Option<(Call, Condition)> {
    if !matches!(node.value, Value::Map(_)) {
        let target = reading.text(node, "a call")?;
        let (service, operation) = find(&target, node, targets, reading)?;
        return Some((Call::new(service, operation, node.place), Condition::Always));
    }
    let mut fields = reading.fields(node, "a call");
    let Some(target) = fields.take("target") else {
        reading.problem(node.place, "a call has no target", "write `target: service.operation`");
        return None;
    };
    let (service, operation) = find(&reading.text(target, "`target`")?, target, targets, reading)?;
    let mut call = Call::new(service, operation, target.place);
    let probability = fields.take("probability").and_then(|n| reading.share(n, "`probability`"));
    call.probability = probability.filter(|p| *p > 0.0).unwrap_or(1.0);
    let condition = fields.take("condition").and_then(|node| {
        reading.guess("a call with a `condition` happens by chance, as often as the condition holds");
        let condition = |text: &str| match text {
            "on-error" => Some(Condition::OnError),
            "on-success" => Some(Condition::OnSuccess),
            _ => None,
        };
        reading.parsed(node, "`condition`", condition, "write `on-error` or `on-success`")
    });
    call.count = fields.take("count").and_then(|n| reading.count(n, "`count`", 0, 10_000)).unwrap_or(1).max(1);
    call.timeout = fields.take("timeout").and_then(|n| reading.span(n, "`timeout`")).filter(|t| *t > Span::ZERO);
    call.retries = fields.take("retries").and_then(|n| reading.count(n, "`retries`", 0, 100)).unwrap_or(0);
    call.backoff = fields.take("retry_backoff").and_then(|n| reading.span(n, "`retry_backoff`")).unwrap_or(Span::ZERO);
    let detached = fields.take("async");
    call.detached = detached.and_then(|n| reading.truth(n, "`async`")).unwrap_or(false);
    if let Some(node) = detached.filter(|_| call.detached && (call.retries > 0 || call.timeout.is_some())) {
        let help = "leave `retries` and `timeout` out: the caller does not wait for the reply";
        reading.problem(node.place, "motel has no `async` call with retries or a timeout", help);
    }
    fields.ignore_rest(reading, "services.*.operations.*.calls[]");
    Some((call, condition.unwrap_or_default()))
}

fn find(target: &str, node: &Node, targets: &Targets, reading: &mut Reading) -> Option<Name> {
    let found = targets.get(target).cloned();
    if found.is_none() {
        reading.unknown(node.place, target, targets.keys().map(String::as_str));
    }
    found
}
