//! Loads: their targets, and their times.

use std::sync::Arc;

use meshsim_actor::{Dist, Span, Time};
use meshsim_mesh::model::{Arrivals, Load, Process, Stage, Target, Targeting, Users};

use super::mix::{self, Lookup};
use super::nodes::index_in;
use super::rates::{self, Planned};
use super::{DEFAULT_ZONE, Names, journey, policy, positive, reserved, zone_index};
use crate::files;
use crate::inputs::Inputs;
use crate::problem::Reporter;
use crate::schema::{self, File, LOADS_MAX};
use crate::section::At;

pub(super) fn compile(
    file: &File,
    names: &Names<'_>,
    zones: &mut Vec<String>,
    inputs: &mut Inputs<'_>,
    reporter: &mut Reporter,
) -> Vec<Load> {
    let entries = &file.load.value.entries;
    if entries.len() > LOADS_MAX {
        reporter
            .report(file.load.place, format!("too many loads: {}", entries.len()))
            .help(format!("at most {LOADS_MAX}"));
        return vec![];
    }
    for (name, it) in entries {
        // A missing value may be an invalid one.
        if reporter.is_clean_in(it.place) {
            is_offered(name, &it.value, reporter);
        }
    }
    entries.iter().map(|(name, it)| compile_load(name, &it.value, file, names, zones, inputs, reporter)).collect()
}

fn compile_load(
    name: &At<String>,
    it: &schema::Load,
    file: &File,
    names: &Names<'_>,
    zones: &mut Vec<String>,
    inputs: &mut Inputs<'_>,
    reporter: &mut Reporter,
) -> Load {
    let message = match reserved(&name.value) {
        Some(meaning) => Some(format!("`{}` means {meaning}", name.value)),
        None => is_node_name(&name.value, file).then(|| format!("`{}` is a node's name already", name.value)),
    };
    if let Some(message) = message {
        reporter.report(name.place, message).help("faults name nodes and loads alike: give the load another name");
    }
    positive(it.window, "window", reporter);
    let start = Time::ZERO + it.from.value;
    let end = it.length.map_or(Time::ZERO + file.duration.value, |length| start + length.value);
    let zone = match &it.zone {
        Some(zone) => zone_index(zones, &zone.value.0),
        None => {
            if zones.is_empty() {
                zones.push(DEFAULT_ZONE.to_owned());
            }
            0
        }
    };
    let (mix, targeting) = targets(name, it, end.since(start), names, reporter);
    let planned = Planned { name: &name.value, seed: file.seed.0, length: end.since(start) };
    Load {
        name: name.value.clone(),
        zone,
        start,
        end,
        arrivals: offered(it, planned, inputs, reporter).unwrap_or(Arrivals::Stamps(Arc::new([]))),
        mix,
        targeting,
        sizes: it.request.drawn().cloned().map(Box::new),
        policy: policy::of_call(
            (it.timeout.0, it.retries.0 as u32, policy::retry_rules(&it.retry, reporter)),
            (it.hedge.as_ref(), it.fallback.as_ref()),
            (names, name.place),
            reporter,
        ),
        deadline: it.deadline,
        priority: it.priority,
        warmup: it.warmup.value,
        window: it.window.value,
    }
}

fn is_node_name(name: &str, file: &File) -> bool {
    // Faults may name a group as well as a node.
    file.nodes.value.items.iter().any(|group| group.name.value.0 == name || index_in(group, name).is_some())
}

/// The targets of a load, and how a request gets one; `length`: that of the load.
fn targets(
    name: &At<String>,
    it: &schema::Load,
    length: Span,
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> (Vec<Target>, Targeting) {
    if let Some(steps) = &it.journey {
        return journey::compile(it, steps, &Lookup::new(it, names, reporter), reporter);
    }
    if let Some(mix) = &it.mix {
        return mix::compile(it, mix, length, &Lookup::new(it, names, reporter), reporter);
    }
    let Some(to) = &it.to else {
        reporter
            .report(name.place, format!("load `{}` has no target", name.value))
            .help("write `to: service` or `to: service.endpoint`, a `mix`, or a `journey`");
        return (vec![], Targeting::Weights);
    };
    let target = names.endpoint(to, reporter);
    let request_bytes = it.request.mean();
    let target = target.map(|(service, endpoint)| Target { service, endpoint, weight: 1.0, request_bytes });
    (target.into_iter().collect(), Targeting::Weights)
}

/// Reports a load that does not say how it asks, or says it twice.
fn is_offered(name: &At<String>, it: &schema::Load, reporter: &mut Reporter) {
    match (&it.arrivals, &it.users) {
        (None, None) => {
            _ = reporter
                .report(name.place, format!("`{}` does not say when it asks", name.value))
                .help("write `arrivals: { poisson: 100/s }`; or `users: 10` and `think: 1s`, who wait for answers")
        }
        (Some(_), Some(users)) => {
            _ = reporter
                .report(users.place, format!("`{}` has `arrivals` and `users`", name.value))
                .help("`arrivals` come whatever the answers do, and `users` wait for them: write one, or two loads")
        }
        _ => {}
    }
}

/// In open loop by `arrivals`, or in closed loop by `users`.
fn offered(it: &schema::Load, load: Planned<'_>, inputs: &mut Inputs<'_>, reporter: &mut Reporter) -> Option<Arrivals> {
    let Some(count) = &it.users else {
        let of_users = [("think", it.think.as_ref().map(|it| it.place)), ("pacing", it.pacing.map(|it| it.place))];
        for (key, place) in of_users.into_iter().filter_map(|(key, place)| Some((key, place?))) {
            reporter
                .report(place, format!("`{key}` is about users, and this load has none"))
                .help("write `users: 10` instead of `arrivals`: a closed loop");
        }
        return arrivals(it.arrivals.as_ref()?, load, inputs, reporter);
    };
    if let Some(pacing) = it.pacing {
        positive(pacing, "pacing", reporter);
    }
    let think = it.think.as_ref().map_or(Dist::Constant(Span::ZERO), |think| think.value.clone());
    Some(Arrivals::Users(Users { count: count.value.0 as u32, think, pacing: it.pacing.map(|it| it.value) }))
}

fn arrivals(
    it: &schema::Arrivals,
    load: Planned<'_>,
    inputs: &mut Inputs<'_>,
    reporter: &mut Reporter,
) -> Option<Arrivals> {
    match it {
        schema::Arrivals::Constant(it) => Some(Arrivals::steady(Process::Constant, it.constant.0)),
        schema::Arrivals::Poisson(it) => Some(Arrivals::steady(Process::Poisson, it.poisson.0)),
        schema::Arrivals::Stages(it) => {
            if it.stages.value.is_empty() && reporter.is_clean_in(it.stages.place) {
                reporter
                    .report(it.stages.place, "missing stages")
                    .help("write `stages: [ { for: 10s, rate: 10/s, to: 100/s } ]`");
            }
            let stage = |s: &schema::Stage| Stage { length: s.length, from: s.rate.0, to: s.to.unwrap_or(s.rate).0 };
            Some(Arrivals::Rate { process: it.process, stages: it.stages.value.iter().map(stage).collect() })
        }
        schema::Arrivals::Burst(it) => rates::burst(it, load, reporter),
        schema::Arrivals::Diurnal(it) => rates::diurnal(it, load, reporter),
        schema::Arrivals::Replay(it) => replay(it, inputs, reporter),
    }
}

fn replay(it: &schema::Replay, inputs: &mut Inputs<'_>, reporter: &mut Reporter) -> Option<Arrivals> {
    let speed = it.speed.0;
    let Some(per) = it.per else {
        if let Some(process) = it.process {
            reporter
                .report(process.place, "`process` does not apply to a replay of times")
                .help("leave it out; or write `per: 1m`, if the rows are counts");
        }
        let stamps = files::stamps(&it.replay, it.column.as_ref(), inputs, reporter)?;
        return Some(Arrivals::Stamps(stamps.into_iter().map(|stamp| stamp.scaled(1.0 / speed)).collect()));
    };
    positive(per, "per", reporter);
    let counts = files::counts(&it.replay, it.column.as_ref(), inputs, reporter)?;
    let length = Span::from_nanos(per.value.scaled(1.0 / speed).nanos().max(1));
    let stage = |count: f64| Stage { length, from: count / length.secs(), to: count / length.secs() };
    let process = it.process.map_or(Process::Poisson, |process| process.value);
    Some(Arrivals::Rate { process, stages: counts.into_iter().map(stage).collect() })
}
