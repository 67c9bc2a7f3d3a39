//! Scenarios: windows of time in which operations are slower, fail more often, or call others.
//!
//! Source: `pkg/synth/scenario.go`. Of scenarios that overlap the one with the higher priority wins, each figure by
//! itself; of equal ones the later in the file. What they add and remove of calls adds up.
//!
//! Here a service is in another version while a scenario holds, and all its instances change at once.

use std::collections::{BTreeMap, BTreeSet};

use meshsim_actor::Span;

use super::traffic::Pattern;
use super::{Condition, Name, Operation, Targets, find, read_call, read_duration};
use crate::import::shared::draft::{Call, Change, Draft, Endpoint, Varying, Version};
use crate::import::shared::reading::Reading;
use crate::import::shared::units;
use crate::problem::Location;
use crate::tree::Node;

/// Time for which a run continues after its last planned event.
pub(super) const REST: Span = Span::from_secs(30);

/// Maximum number of scenarios.
const SCENARIOS_MAX: usize = 1_000;

/// Limit of the changes of all scenarios together, counted anew at each time at which one begins or ends.
const CHANGES_MAX: usize = 1_000_000;

/// A scenario.
pub(super) struct Scenario {
    pub(super) start: Span,
    pub(super) end: Span,
    priority: i64,
    overrides: Vec<(Name, Override)>,
    pub(super) traffic: Option<Pattern>,
}

/// Overridden properties of an operation.
#[derive(Clone, Debug, Default, PartialEq)]
struct Override {
    duration: Option<Varying>,
    errors: Option<f64>,
    add: Vec<(Call, Condition)>,
    remove: BTreeSet<Name>,
}

impl Override {
    /// Lays another one over this one.
    fn merge(&mut self, over: &Override) {
        self.duration = over.duration.or(self.duration);
        self.errors = over.errors.or(self.errors);
        self.add.extend(over.add.iter().cloned());
        self.remove.extend(over.remove.iter().cloned());
    }

    fn applied_to(&self, operation: &Operation) -> Operation {
        let stays =
            |(call, _): &&(Call, Condition)| !self.remove.contains(&(call.service.clone(), call.endpoint.clone()));
        Operation {
            duration: self.duration.or(operation.duration),
            errors: self.errors.unwrap_or(operation.errors),
            is_sequential: operation.is_sequential,
            calls: operation.calls.iter().filter(stays).chain(&self.add).cloned().collect(),
        }
    }
}

pub(super) fn read(node: &Node, targets: &Targets, reading: &mut Reading) -> Vec<Scenario> {
    let list = reading.list(node, "`scenarios`");
    if list.len() > SCENARIOS_MAX {
        reading.problem(node.place, format!("too many scenarios: {}", list.len()), format!("at most {SCENARIOS_MAX}"));
        return vec![];
    }
    list.iter().filter_map(|node| read_one(node, targets, reading)).collect()
}

fn read_one(node: &Node, targets: &Targets, reading: &mut Reading) -> Option<Scenario> {
    let mut fields = reading.fields(node, "a scenario");
    let _ = fields.take("name");
    let offset = |text: &str| units::parse_span(text.trim().strip_prefix('+').unwrap_or(text));
    let at = fields.take("at");
    let length = fields.take("duration");
    let priority = fields
        .take("priority")
        .and_then(|n| reading.parsed(n, "`priority`", |text| text.parse::<i64>().ok(), "write a whole number"));
    let mut overrides = Vec::new();
    if let Some(list) = fields.take("override") {
        for (key, node) in reading.entries(list, "`override`") {
            let Some(name) = targets.get(&key.text) else {
                // A service's own name overrides its metrics.
                if targets.values().any(|(service, _)| *service == key.text) {
                    reading.ignore("scenarios[].override.*: of a service, for its metrics");
                } else {
                    reading.unknown(key.place, &key.text, targets.keys().map(String::as_str));
                }
                continue;
            };
            overrides.push((name.clone(), read_override(node, targets, reading)));
        }
    }
    let traffic = fields.take("traffic").and_then(|node| super::traffic::read(node, reading));
    fields.ignore_rest(reading, "scenarios[]");
    let (Some(at), Some(length)) = (at, length) else {
        reading.problem(node.place, "a scenario requires `at` and `duration`", "write `at: +5s` and `duration: 10s`");
        return None;
    };
    let start = reading.parsed(at, "`at`", offset, "write a time such as `+5m` or `30s`")?;
    let positive = |text: &str| units::parse_span(text).filter(|span| *span > Span::ZERO);
    let length = reading.parsed(length, "`duration`", positive, "write a time above zero such as `10s`")?;
    Some(Scenario { start, end: start + length, priority: priority.unwrap_or(0), overrides, traffic })
}

fn read_override(node: &Node, targets: &Targets, reading: &mut Reading) -> Override {
    let mut over = Override::default();
    let mut fields = reading.fields(node, "an override");
    over.duration = fields.take("duration").and_then(|node| read_duration(node, reading));
    over.errors = fields.take("error_rate").and_then(|node| reading.share(node, "`error_rate`"));
    if let Some(list) = fields.take("add_calls") {
        for node in reading.list(list, "`add_calls`") {
            over.add.extend(read_call(node, targets, reading));
        }
    }
    if let Some(list) = fields.take("remove_calls") {
        for node in reading.list(list, "`remove_calls`") {
            let target = node.get("target").unwrap_or(node);
            let Some(text) = reading.text(target, "a call in `remove_calls`") else { continue };
            over.remove.extend(find(&text, target, targets, reading));
        }
    }
    fields.ignore_rest(reading, "scenarios[].override.*");
    over
}

/// The scenarios that hold at a time, the one that wins last.
pub(super) fn active(scenarios: &[Scenario], at: Span) -> Vec<&Scenario> {
    let mut active: Vec<_> = scenarios.iter().filter(|it| it.start <= at && at < it.end).collect();
    active.sort_by_key(|scenario| scenario.priority);
    active
}

/// The times at which a scenario begins or ends, and the start.
pub(super) fn moments(scenarios: &[Scenario]) -> BTreeSet<Span> {
    scenarios.iter().flat_map(|scenario| [scenario.start, scenario.end]).chain([Span::ZERO]).collect()
}

/// Turns scenarios into versions of the services, and the times at which they change.
pub(super) fn apply(
    scenarios: &[Scenario],
    operations: &BTreeMap<Name, Operation>,
    draft: &mut Draft,
    reading: &mut Reading,
) {
    if scenarios.is_empty() {
        return;
    }
    let overrides = || scenarios.iter().flat_map(|scenario| &scenario.overrides);
    let overridden: BTreeSet<&Name> = overrides().map(|(name, _)| name).collect();
    // Each time has its own view of all that any scenario touches.
    let calls = |name: &&Name| operations.get(*name).map_or(0, |operation| operation.calls.len());
    let each = overridden.iter().map(|name| 1 + calls(name)).sum::<usize>()
        + overrides().map(|(_, over)| 1 + over.add.len() + over.remove.len()).sum::<usize>();
    let moments = moments(scenarios);
    if each.saturating_mul(moments.len()) > CHANGES_MAX {
        let help = format!("at most {CHANGES_MAX}, counted at each beginning and end of a scenario");
        reading.problem(Location::default(), "the scenarios change too much", help);
        return;
    }
    let moments: Vec<(Span, BTreeMap<&Name, Override>)> = moments
        .into_iter()
        .map(|at| {
            let mut merged = BTreeMap::<&Name, Override>::new();
            for (name, over) in active(scenarios, at).into_iter().flat_map(|scenario| &scenario.overrides) {
                merged.entry(name).or_default().merge(over);
            }
            (at, merged)
        })
        .collect();
    for service in &mut draft.services {
        // The endpoints that any scenario touches: a version names them all, since it builds on the one before it.
        let is_touched = |index: &usize| {
            let name = (service.name.clone(), service.endpoints[*index].name.clone());
            overridden.contains(&&name)
        };
        let touched: Vec<usize> = (0..service.endpoints.len()).filter(is_touched).collect();
        if touched.is_empty() {
            continue;
        }
        let endpoints = |merged: &BTreeMap<&Name, Override>| -> Vec<Endpoint> {
            let endpoint = |index: &usize| {
                let known = &service.endpoints[*index];
                let name = (service.name.clone(), known.name.clone());
                let over = merged.get(&&name);
                let operation = operations.get(&name).map(|operation| match over {
                    Some(over) => over.applied_to(operation),
                    None => operation.clone(),
                });
                operation.map_or_else(|| known.clone(), |operation| operation.endpoint(&known.name, known.at))
            };
            touched.iter().map(endpoint).collect()
        };
        // Its behaviour from each time on; a behaviour that recurs gets its earlier version number.
        let mut behaviours: Vec<Vec<Endpoint>> = Vec::new();
        let mut before = None;
        for (at, merged) in &moments {
            let here = endpoints(merged);
            let index = behaviours.iter().position(|known| *known == here).unwrap_or_else(|| {
                behaviours.push(here);
                behaviours.len() - 1
            });
            if before.is_some_and(|before| before != index) {
                let version = index as u32 + 1;
                draft.changes.push(Change { at: *at, service: service.name.clone(), version });
            }
            before = Some(index);
        }
        let mut behaviours = behaviours.into_iter();
        for (index, endpoint) in touched.iter().zip(behaviours.next().unwrap_or_default()) {
            service.endpoints[*index] = endpoint;
        }
        let version = |(index, endpoints)| Version { number: index as u32 + 2, endpoints };
        service.versions = behaviours.enumerate().map(version).collect();
    }
    draft.changes.sort_by_key(|change| change.at);
    draft.duration = scenarios.iter().map(|scenario| scenario.end + REST).max();
    if !draft.changes.is_empty() {
        draft.differences.push(
            "a scenario is a version of its services; callers learn of its beginning and its end after \
             `control.debounce`, and requests in flight end as they began"
                .into(),
        );
    }
}
