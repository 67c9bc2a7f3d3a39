//! The events of a run, merged from the records of the actors and the plan of the experiment.

use meshsim_actor::Time;
use meshsim_experiment::{Experiment, fault_in_words};
use meshsim_mesh::autoscale::{Controller, Decision};
use meshsim_mesh::diary::{Coming, Seen};
use meshsim_mesh::model::Service;

use crate::events::{Event, EventKind};
use crate::series::Series;
use crate::show::{count, named, operation_in_words, signal_in_words};
use crate::summary::{Measured, OperationSummary, Summary};

/// All events of a run, by time; those of the same time in the order of [`EventKind`], then as they were counted.
pub fn events(experiment: &Experiment, measured: &Measured, summary: &Summary, series: &Series) -> Vec<Event> {
    let mut events = so_far(experiment, measured, &summary.operations);
    left_out(series.instances_left_out, "instances without rows of their own in series.csv", measured, &mut events);
    events
}

/// The same of a run in progress.
pub(crate) fn so_far(experiment: &Experiment, measured: &Measured, operations: &[OperationSummary]) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        of_operation(index as u64, operation, &mut events);
    }
    let of_rollouts = operations.iter().filter_map(|operation| operation.rollout.as_ref());
    left_out(of_rollouts.map(|it| it.left_out).sum(), "entries of rollouts", measured, &mut events);
    of_autoscalers(experiment, measured, &mut events);
    of_faults(experiment, measured, &mut events);
    of_nodes(experiment, measured, &mut events);
    of_instances(experiment, measured, &mut events);
    events.retain(|event| event.at_s <= measured.now.secs());
    // A stable sort: equal events keep their order.
    events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s).then(a.kind.cmp(&b.kind)));
    events
}

fn of_operation(index: u64, operation: &OperationSummary, events: &mut Vec<Event>) {
    let what = operation_in_words(operation);
    let event = |at_s, kind, step: Option<u64>| {
        let what = step.map_or_else(|| what.clone(), |n| format!("{what}: step {n}"));
        let service = Some(operation.service.clone());
        let name = operation.name.clone();
        Event { operation: Some(index), name, step, service, ..Event::new(at_s, kind, what) }
    };
    events.push(event(operation.began_s, EventKind::OperationBegan, None));
    for step in &operation.steps {
        events.push(event(step.decided_s, EventKind::StepDecided, Some(step.n)));
        if let Some(ns) = step.settle_time_ns {
            events.push(event(after(step.decided_s, ns), EventKind::StepSettled, Some(step.n)));
        }
    }
    for entry in operation.rollout.iter().flat_map(|rollout| &rollout.entries) {
        let kind = if entry.measurement.is_some() { EventKind::Analysis } else { EventKind::Rollout };
        let what = format!("{what}: {}", entry.what);
        events.push(Event { what, ..event(entry.at_s, kind, None) });
    }
    if let Some(ns) = operation.settle_time_ns {
        events.push(event(after(operation.began_s, ns), EventKind::OperationSettled, None));
    }
}

fn of_autoscalers(experiment: &Experiment, measured: &Measured, events: &mut Vec<Event>) {
    for (service, standing) in &measured.autoscalers {
        let Some(service) = experiment.mesh.services.get(service.index()) else { continue };
        for decision in &standing.decisions {
            let what = decided(service, decision);
            let event = Event::new(decision.at.secs(), EventKind::Autoscaled, what);
            events.push(Event { service: Some(service.name.clone()), ..event });
        }
        left_out(standing.left_out, "decisions of autoscalers", measured, events);
    }
}

/// A decision of an autoscaler in words: `autoscaler of web: 2 to 5 instances (asked for 7; concurrency 32.4)`.
fn decided(service: &Service, decision: &Decision) -> String {
    let by = service.autoscale.as_deref().map(|it| &it.by);
    let Decision { from, to, .. } = decision;
    let asked = decision.asked.map(|asked| format!("asked for {asked}"));
    let signal = decision.signal.map(|signal| signal_in_words(by, signal));
    let why: Vec<String> = asked.into_iter().chain(signal).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
    let unit = if matches!(by, Some(Controller::Capacity(_))) { "slots" } else { "instances" };
    format!("autoscaler of {}: {from} to {to} {unit}{why}", service.name)
}

/// The time `ns` nanoseconds later, exact to the nanosecond.
fn after(at_s: f64, ns: u64) -> f64 {
    (Time::ZERO + meshsim_actor::Span::from_secs_f64(at_s) + meshsim_actor::Span::from_nanos(ns)).secs()
}

fn of_faults(experiment: &Experiment, measured: &Measured, events: &mut Vec<Event>) {
    let names = experiment.fault_names.iter().chain(std::iter::repeat(&None));
    let planned = experiment.network.faults.iter().zip(names).map(|(fault, name)| {
        let until = (fault.until < Time::NEVER).then(|| fault.until.secs());
        let what = named(name.as_deref(), &fault_in_words(&fault.kind, &experiment.mesh));
        (fault.at.secs(), until, what, name.clone())
    });
    let manual = measured.faults.iter().map(|fault| {
        let until = fault.for_s.map(|secs| fault.at_s + secs);
        (fault.at_s, until, if fault.what.is_empty() { fault.kind.clone() } else { fault.what.clone() }, None)
    });
    for (index, (at_s, mut until_s, what, name)) in planned.chain(manual).enumerate() {
        for (_, healed) in measured.healed.iter().filter(|(healed, _)| *healed == index) {
            until_s = Some(until_s.unwrap_or(f64::INFINITY).min(healed.secs()));
        }
        let fault = Some(index as u64);
        let began = Event::new(at_s, EventKind::FaultBegan, what.clone());
        events.push(Event { fault, until_s, name: name.clone(), ..began });
        if let Some(until_s) = until_s {
            events.push(Event { fault, name, ..Event::new(until_s, EventKind::FaultEnded, what) });
        }
    }
}

fn of_nodes(experiment: &Experiment, measured: &Measured, events: &mut Vec<Event>) {
    let sightings = &measured.courses.sightings;
    for sighting in &sightings.entries {
        let Some(node) = experiment.mesh.nodes.get(sighting.node as usize) else { continue };
        let (kind, what) = match sighting.seen {
            Seen::Back => (EventKind::NodeBack, format!("{} is heard of", node.name)),
            Seen::Dead => (EventKind::NodeDead, format!("{} is declared dead", node.name)),
            Seen::Left => (EventKind::NodeLeft, format!("{} has left", node.name)),
            Seen::Shunned => (EventKind::NodeShunned, format!("{} is refused by its peers", node.name)),
            Seen::Cordoned => (EventKind::NodeCordoned, format!("{} takes no more instances", node.name)),
            Seen::Drained => (EventKind::NodeDrained, format!("{} is drained", node.name)),
            Seen::Uncordoned => (EventKind::NodeUncordoned, format!("{} takes instances again", node.name)),
            Seen::Ordered => (EventKind::NodeOrdered, format!("{} is ordered", node.name)),
            Seen::Added => (EventKind::NodeAdded, format!("{} is in service", node.name)),
            Seen::Removed => (EventKind::NodeRemoved, format!("{} is in reserve", node.name)),
        };
        events.push(Event { node: Some(node.name.clone()), ..Event::new(sighting.at.secs(), kind, what) });
    }
    left_out(sightings.left_out, "nodes that were declared dead or came back", measured, events);
}

fn of_instances(experiment: &Experiment, measured: &Measured, events: &mut Vec<Event>) {
    let mesh = &experiment.mesh;
    for (node, comings) in &measured.courses.comings {
        let node = &mesh.nodes[*node].name;
        for Coming { at, service, ordinal, version, came } in &comings.entries {
            let Some(service) = mesh.services.get(service.index()) else { continue };
            let instance = format!("{node}#{ordinal}");
            let (kind, does) = match came {
                true => (EventKind::InstanceReady, "takes requests"),
                false => (EventKind::InstanceGone, "is gone"),
            };
            let what = format!("{} {instance} {does}", service.name);
            events.push(Event {
                service: Some(service.name.clone()),
                node: Some(node.clone()),
                instance: Some(instance),
                version: Some(*version),
                ..Event::new(at.secs(), kind, what)
            });
        }
    }
    let beyond = measured.courses.comings.iter().fold(0_u64, |sum, (_, it)| sum.saturating_add(it.left_out));
    left_out(beyond, "instances that came or went", measured, events);
}

/// Appends an event with the number of events left out.
fn left_out(beyond: u64, what: &str, measured: &Measured, events: &mut Vec<Event>) {
    if beyond > 0 {
        let what = format!("{} more {what}", count(beyond));
        events.push(Event::new(measured.now.secs(), EventKind::LeftOut, what));
    }
}
