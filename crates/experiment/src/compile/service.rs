//! Services: their endpoints, scripts and versions.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use meshsim_mesh::model::{
    Behaviour, Cache, Cached, Call, DisruptionBudget, Endpoint, Keys, Queue, Queued, Repeat, ScriptStep, Service,
    SizedWork,
};

use super::{Names, autoscale, policy, positive, selection};
use crate::problem::{Reporter, nearest, one_of, shortened};
use crate::schema::{self, Branch, CacheOf, ENDPOINTS_MAX, File, QueueOf, SERVICES_MAX, Times, VERSION_MAX};
use crate::section::At;
use crate::units;
use crate::values::{CallSize, NAME_CHARS_MAX};

/// Maximum number of versions of a service that behave differently.
pub const VERSIONS_MAX: usize = 100;

/// Maximum number of steps of a service's scripts, each version counted in full.
pub const STEPS_MAX: usize = 1_000_000;

pub(super) fn compile(file: &File, names: &Names<'_>, zones: &[String], reporter: &mut Reporter) -> Vec<Service> {
    let entries = file.services.value.entries.iter().take(SERVICES_MAX);
    entries.map(|(name, service)| compile_service(name, service, (file, names, zones), reporter)).collect()
}

pub(super) fn compile_service(
    name: &At<String>,
    it: &schema::Service,
    (file, names, zones): (&File, &Names<'_>, &[String]),
    reporter: &mut Reporter,
) -> Service {
    let endpoints = &it.endpoints.value;
    if endpoints.entries.is_empty() && endpoints.broken.is_empty() {
        reporter
            .report(name.place, format!("`{}` has no endpoints", shortened(&name.value)))
            .help("what can it be asked? `endpoints: { get: { script: [ work: 1ms ] } }`");
    }
    if endpoints.entries.len() > ENDPOINTS_MAX {
        reporter
            .report(it.endpoints.place, format!("too many endpoints: {}", endpoints.entries.len()))
            .help(format!("at most {ENDPOINTS_MAX}"));
    }
    for (endpoint, _) in &endpoints.entries {
        let fine = |c: char| !c.is_control();
        let name = &endpoint.value;
        if name.trim().is_empty()
            || name.trim() != name
            || !name.chars().all(fine)
            || name.chars().count() > NAME_CHARS_MAX
        {
            reporter
                .report(endpoint.place, format!("invalid endpoint name `{}`", shortened(name)))
                .help(format!("one line of at most {NAME_CHARS_MAX} characters, without spaces around it"));
        }
    }
    let limit = |limit: &Option<At<crate::values::Real<1_000_000>>>, default| limit.map_or(default, |at| at.value.0);
    let (capacity, min, max) = (it.capacity.value.0, limit(&it.capacity_min, 0.0), limit(&it.capacity_max, 1e6));
    if min > max {
        let place = it.capacity_max.map_or(it.capacity.place, |max| max.place);
        reporter.report(place, format!("`capacity_max` ({max}) is below `capacity_min` ({min})")).help("swap them");
    } else if !(min..=max).contains(&capacity) {
        reporter
            .report(it.capacity.place, format!("`capacity` ({capacity}) is outside its limits, {min} to {max}"))
            .help("C begins between `capacity_min` and `capacity_max`");
    }
    Service {
        name: name.value.clone(),
        instances: it.instances.0 as u32,
        capacity,
        capacity_min: min,
        capacity_max: max,
        version: it.version.0 as u32,
        cpu: it.cpu.0,
        cpu_limit: it.cpu_limit.map(|limit| limit.0),
        start_delay: it.start_delay,
        drain_delay: it.drain_delay,
        grace: it.grace,
        queue: it.queue.0 as u32,
        balancer: it.balancer.unwrap_or(names.preset.balancer),
        selection: selection::compile(it, (file, zones), reporter),
        policies: policy::of_callers(it, names, reporter),
        serving: policy::of_instances(it, reporter),
        disruption_budget: it.disruption_budget.as_ref().and_then(|budget| disruption_budget(budget, reporter)),
        autoscale: it.autoscale.as_ref().and_then(|of| autoscale::compile(of, (name, it), names, reporter)),
        endpoints: endpoints.names().map(str::to_owned).collect(),
        behaviours: behaviours(it, names, reporter),
    }
}

/// The behaviours of the service, version by version: each begins as the one before it.
fn behaviours(it: &schema::Service, names: &Names<'_>, reporter: &mut Reporter) -> Vec<Behaviour> {
    let base: Vec<_> = it.endpoints.value.entries.iter().map(|(_, e)| endpoint(e, names, reporter)).collect();
    let mut versions = BTreeMap::new();
    for (key, behaviour) in &it.versions.entries {
        match units::whole(&key.value, 0, VERSION_MAX) {
            Ok(version) if versions.contains_key(&(version as u32)) => {
                reporter
                    .report(key.place, format!("duplicate version {version}"))
                    .help("`01` and `1` are one number: keep one of the two");
            }
            Ok(version) => {
                versions.insert(version as u32, behaviour);
            }
            Err(error) => {
                let message = format!("invalid version `{}`", shortened(&key.value));
                reporter.report(key.place, message).help(error.help);
            }
        }
    }
    let steps: usize = it.endpoints.value.entries.iter().map(|(_, e)| steps(&e.script)).sum();
    if versions.len() > VERSIONS_MAX || steps.max(base.len()).saturating_mul(versions.len() + 1) > STEPS_MAX {
        reporter
            .report(
                it.endpoints.place,
                format!("{steps} steps in {} versions are too much for one service", versions.len() + 1),
            )
            .help(format!("at most {VERSIONS_MAX} versions, and {STEPS_MAX} steps in all of them together"));
        versions.clear();
    }
    let mut all = vec![Behaviour { from_version: 0, endpoints: base }];
    for (from_version, behaviour) in versions {
        let mut endpoints = all[all.len() - 1].endpoints.clone();
        for (name, section) in &behaviour.endpoints.entries {
            let known = || it.endpoints.value.names();
            match known().position(|known| known == name.value) {
                Some(index) => endpoints[index] = endpoint(section, names, reporter),
                None if it.endpoints.value.broken.contains(&name.value) => {}
                None => {
                    reporter
                        .report(
                            name.place,
                            format!("a version cannot bring a new endpoint, `{}`", shortened(&name.value)),
                        )
                        .label(nearest(&name.value, known()).map(|near| format!("did you mean `{near}`?")))
                        .help(format!("name it among the service's endpoints first; there is {}", one_of(known())));
                }
            }
        }
        all.push(Behaviour { from_version, endpoints });
    }
    all
}

fn steps(script: &[schema::Step]) -> usize {
    script
        .iter()
        .map(|step| match step {
            schema::Step::Parallel(it) => 1 + it.parallel.iter().map(|branch| 1 + steps(&branch.0)).sum::<usize>(),
            schema::Step::OneOf(it) => {
                1 + it.one_of.value.iter().map(|choice| 2 + steps(Branch::steps(choice.run.as_ref()))).sum::<usize>()
            }
            schema::Step::Async(it) => 1 + steps(&it.block.0),
            schema::Step::CacheStep(it) => 2 + steps(&it.run.0),
            schema::Step::QueueStep(it) => 1 + steps(&it.run.0),
            schema::Step::Repeat(it) => (1 + steps(&it.run.0)).saturating_mul(it.repeat.value.most() as usize),
            _ => 1,
        })
        .sum()
}

fn endpoint(it: &schema::Endpoint, names: &Names<'_>, reporter: &mut Reporter) -> Endpoint {
    let script = script(&it.script, names, reporter);
    let (errors, response_bytes, priority) = (it.errors.0, it.response.0, it.priority);
    Endpoint { errors, response_bytes, priority, ..Endpoint::new(script) }
}

fn script(steps: &[schema::Step], names: &Names<'_>, reporter: &mut Reporter) -> Vec<ScriptStep> {
    steps.iter().filter_map(|it| step(it, names, reporter)).collect()
}

fn step(step: &schema::Step, names: &Names<'_>, reporter: &mut Reporter) -> Option<ScriptStep> {
    match step {
        schema::Step::Work(it) => Some(match it.per_kib {
            Some(per_kib) => ScriptStep::SizedWork(SizedWork { base: it.work.clone(), per_kib }),
            None => ScriptStep::Work(it.work.clone()),
        }),
        schema::Step::Sleep(it) => Some(ScriptStep::Sleep(it.sleep.clone())),
        schema::Step::Parallel(it) => {
            Some(ScriptStep::Parallel(it.parallel.iter().map(|branch| script(&branch.0, names, reporter)).collect()))
        }
        schema::Step::OneOf(it) => {
            let of = |choice: &schema::Choice, reporter: &mut Reporter| {
                (choice.weight.0, script(Branch::steps(choice.run.as_ref()), names, reporter))
            };
            let choices: Vec<_> = it.one_of.value.iter().map(|choice| of(choice, reporter)).collect();
            let is_drawn = choices.iter().any(|(weight, _)| *weight > 0.0);
            if !is_drawn && reporter.is_clean_in(it.one_of.place) {
                reporter
                    .report(it.one_of.place, "this step has no choice with a weight above 0")
                    .help("write `one_of: [ { weight: 9, run: [ work: 1ms ] }, { weight: 1, run: [ call: b ] } ]`");
            }
            is_drawn.then_some(ScriptStep::OneOf(choices))
        }
        schema::Step::Async(it) => Some(ScriptStep::Async(script(&it.block.0, names, reporter))),
        schema::Step::CacheStep(it) => {
            let CacheOf { keys, size, ttl, hit } = &it.cache;
            ttl.iter().for_each(|ttl| positive(*ttl, "ttl", reporter));
            let keys = Keys { count: NonZeroU32::new(keys.count.0 as u32), skew: keys.skew.0 };
            let cache = Cache { keys, size: size.map(|size| size.0 as u32), ttl: ttl.map(|ttl| ttl.value) };
            let script = script(&it.run.0, names, reporter);
            Some(ScriptStep::Cached(Cached { cache, hit: hit.clone(), script }))
        }
        schema::Step::QueueStep(it) => {
            let QueueOf { consumers, size, visibility, deliveries } = &it.queue;
            positive(*visibility, "visibility", reporter);
            let queue = Queue {
                consumers: consumers.0 as u32,
                size: size.0 as u32,
                visibility: visibility.value,
                deliveries: deliveries.0 as u32,
            };
            Some(ScriptStep::Queued(Queued { queue, script: script(&it.run.0, names, reporter) }))
        }
        schema::Step::Repeat(it) => {
            let Times { least, weights } = it.repeat.value.clone();
            Some(ScriptStep::Repeat(Repeat { least, weights, script: script(&it.run.0, names, reporter) }))
        }
        schema::Step::CallStep(it) => {
            let it = &it.call.0;
            let (service, endpoint) = names.endpoint(&it.to, reporter)?;
            Some(ScriptStep::Call(Call {
                service,
                endpoint,
                probability: it.probability.0,
                count: it.count.0 as u32,
                parallel: it.parallel,
                detached: it.detached,
                request_bytes: if let CallSize::Bytes(bytes) = it.request { bytes } else { 0 },
                keeps_size: matches!(it.request, CallSize::Same),
                optional: it.optional,
                policy: policy::of_call(
                    names.preset.attempts(it, reporter),
                    (it.hedge.as_ref(), it.fallback.as_ref()),
                    (names, it.to.place),
                    reporter,
                ),
            }))
        }
    }
}

/// A disruption budget, if the file gives one limit.
fn disruption_budget(it: &At<schema::DisruptionBudget>, reporter: &mut Reporter) -> Option<DisruptionBudget> {
    match (it.value.min_available, it.value.max_unavailable) {
        (Some(amount), None) => Some(DisruptionBudget::MinAvailable(amount.value)),
        (None, Some(amount)) => Some(DisruptionBudget::MaxUnavailable(amount.value)),
        (Some(_), Some(second)) => {
            reporter.report(second.place, "one limit is enough").help("leave out `min_available` or `max_unavailable`");
            None
        }
        (None, None) => {
            reporter
                .report(it.place, "how many instances may be missing?")
                .help("write `max_unavailable: 1`, or `min_available: 80%`");
            None
        }
    }
}
