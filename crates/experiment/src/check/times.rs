//! Settings that lie outside the run, or are too fine to be kept.

use meshsim_actor::{Span, Time};
use meshsim_mesh::model::{Arrivals, Load, ServiceId};

use super::{Checked, LoadEstimate, Warnings, plain, shown};

/// More heartbeats than this in a run are worth a warning: a run takes a second for some millions.
const HEARTBEATS_MAX: f64 = 1e8;
/// Time for which callers may be without an instance of a new service, without a warning.
const SLACK: Span = Span::from_secs(2);

pub(super) fn look(checked: &Checked<'_>, loads: &[LoadEstimate], warnings: &mut Warnings<'_>) {
    outside(checked, warnings);
    control(checked, warnings);
    absent(checked, loads, warnings);
}

/// Heartbeats without end, and messages that take longer than anything else.
fn control(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let experiment = checked.experiment;
    let heartbeat = experiment.mesh.control.heartbeat;
    let beats = experiment.duration.secs() / heartbeat.secs().max(1e-9) * experiment.mesh.nodes.len() as f64;
    if beats > HEARTBEATS_MAX {
        let message = format!("a heartbeat of {heartbeat} makes {beats:.0e} heartbeats in this run: it may never end");
        warnings.warn("heartbeats", None, message);
    }
    let hop = Span::from_secs_f64(checked.hop.mean.min(1e9));
    if hop >= experiment.duration {
        let message = format!(
            "a message takes {hop} from node to node on average, and the run lasts {}: hardly any arrives",
            experiment.duration
        );
        warnings.warn("latency", None, message);
    } else if hop >= Span::from_secs(10) {
        let message = format!("a message takes {hop} from node to node on average (`m` is minutes, `ms` milliseconds)");
        warnings.warn("latency", None, message);
    }
}

/// Services that are not there while they are asked for, or never.
fn absent(checked: &Checked<'_>, loads: &[LoadEstimate], warnings: &mut Warnings<'_>) {
    let mesh = &checked.experiment.mesh;
    for (index, service) in mesh.services.iter().enumerate() {
        let spans = checked.timeline.deployed(ServiceId(index as u16));
        let ready = |from: Time| from + service.start_delay;
        if let Some((from, _)) = spans.first().filter(|(from, _)| service.instances > 0 && ready(*from) >= checked.end)
        {
            let message = format!(
                "no instance of `{}` is ready before the run ends at {}: deployed at {}, each takes {} to start",
                service.name,
                shown(checked.end),
                shown(*from),
                service.start_delay
            );
            warnings.warn("never_ready", None, message);
            continue;
        }
        for (load, estimate) in mesh.loads.iter().zip(loads) {
            if !estimate.visits_by_service.iter().any(|(name, visits)| *name == service.name && *visits > 0.0) {
                continue;
            }
            let until = load.end.min(checked.end);
            let asks =
                if load.mix.iter().any(|target| target.service.index() == index) { "asks" } else { "causes calls" };
            let name = &service.name;
            match spans.first() {
                None if load.start < until => {
                    let message = format!("`{}` {asks} for `{name}`, which is not deployed within the run", load.name);
                    warnings.warn("absent", None, message);
                }
                Some((from, _)) if ready(*from) > load.start + load.warmup + SLACK && load.start < until => {
                    let message = format!(
                        "`{}` {asks} for `{name}` from {} on, and it has instances from {} on",
                        load.name,
                        shown(load.start),
                        shown(ready(*from))
                    );
                    warnings.warn("absent", None, message);
                }
                _ => {}
            }
            let gaps = spans.windows(2).map(|pair| (pair[0].1, ready(pair[1].0)));
            let gaps = gaps.chain(spans.last().map(|(_, gone)| (*gone, Time::NEVER)));
            for (gone, again) in gaps.filter(|(gone, again)| *gone < until && *again > load.start) {
                let without = again.min(until).since(gone.max(load.start));
                let message = format!(
                    "`{}` {asks} for `{name}` until {}, and it is undeployed at {}: {} without an instance, some {} requests",
                    load.name,
                    shown(until),
                    shown(gone),
                    without,
                    plain(estimate.rate * without.secs())
                );
                warnings.warn("absent", None, message);
            }
        }
    }
}

/// Warns of settings that lie outside the run, or are too fine to be kept.
fn outside(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    let (experiment, end) = (checked.experiment, checked.end);
    for (index, operation) in experiment.mesh.operations.iter().enumerate().filter(|(_, o)| o.at >= end) {
        let name = &experiment.mesh.service(operation.service).name;
        let kind = operation.change.kind().as_str();
        warnings.warn(
            "late",
            warnings.line(index),
            format!("{kind} {name} at {}, after the end of the run", shown(operation.at)),
        );
    }
    let late = || experiment.mesh.nodes.iter().filter(|node| (end..Time::NEVER).contains(&node.joins));
    if let Some(first) = late().next() {
        let message = match late().count() {
            1 => format!("`{}` joins at {}, after the end of the run", first.name, shown(first.joins)),
            n => format!("`{}` and {} others join after the end of the run", first.name, n - 1),
        };
        warnings.warn("late", None, message);
    }
    let faults = experiment.network.faults.iter().zip(&experiment.fault_lines);
    for (fault, line) in faults.filter(|(fault, _)| fault.at >= end) {
        warnings.warn(
            "late",
            Some(*line),
            format!("a {} at {}, after the end of the run", fault.name(), shown(fault.at)),
        );
    }
    for load in &experiment.mesh.loads {
        let length = load.end.min(end).since(load.start);
        if length.is_zero() {
            warnings.warn(
                "late",
                None,
                format!("`{}` begins at {}, after the end of the run", load.name, shown(load.start)),
            );
        } else if load.warmup >= length {
            warnings.warn(
                "unmeasured",
                None,
                format!("`{}` is warm-up from its start to its end: nothing is measured", load.name),
            );
        }
        if let Some(message) = cut(load, end) {
            warnings.warn("cut", None, message);
        }
    }
    for slo in &experiment.slos {
        if slo.any.is_some_and(|length| length > experiment.duration) {
            let message = format!("`{}`: the run is shorter, and counts as one stretch", slo.text);
            warnings.warn("late", None, message);
        }
        match slo.window {
            Some((from, _)) if from >= end => {
                warnings.warn("late", None, format!("`{}` is about a time after the end of the run", slo.text));
            }
            Some((_, to)) if to > end => {
                warnings.warn(
                    "late",
                    None,
                    format!("`{}` is about a time that reaches beyond the end of the run", slo.text),
                );
            }
            _ => {}
        }
    }
    if experiment.mesh.loads.is_empty() && !experiment.slos.is_empty() {
        warnings.warn("no_load", None, "there are `slo` lines, but no load to measure".to_owned());
    }
}

/// The part of the load planned after the end of the run, unless the load has an explicit earlier end.
fn cut(load: &Load, end: Time) -> Option<String> {
    if load.end < end || load.start >= end {
        return None;
    }
    let (length, name) = (end.since(load.start), &load.name);
    match &load.arrivals {
        Arrivals::Stamps(stamps) => {
            let last = stamps.last().filter(|last| **last >= length)?;
            let within = stamps.partition_point(|stamp| *stamp < length);
            Some(format!(
                "`{name}` replays {} requests over {:.1}s, and {within} of them lie within the run",
                stamps.len(),
                last.secs()
            ))
        }
        Arrivals::Rate { stages, .. } if stages.len() > 1 => {
            let all = stages.iter().fold(Span::ZERO, |sum, stage| sum + stage.length);
            (all > length)
                .then(|| format!("the arrivals of `{name}` last {all}, and {length} of that lie within the run"))
        }
        Arrivals::Rate { .. } | Arrivals::Users(_) => None,
    }
}
