//! Operations, by the time at which they begin.

use std::collections::BTreeSet;

use meshsim_actor::{Span, Time};
use meshsim_mesh::model::{Amount, Change, Drain, Operation, ServiceId, Steer, Strategy};

use super::{Names, Written, nodes, positive, rollout, set};
use crate::problem::{Location, Reporter};
use crate::schema::{self, EVENTS_MAX, File};
use crate::section::{At, OneOrMore};
use crate::values::StrategyName;

/// Default bounds of a rolling update above and below the desired number: those of a Kubernetes Deployment.
const ROLLING_DEFAULT: Amount = Amount::Share(0.25);

/// The operations, and where each stands in the file.
pub(super) fn compile(file: &File, names: &Names<'_>, reporter: &mut Reporter) -> (Vec<Operation>, Vec<Written>) {
    let list = &file.operations.value;
    if list.len() > EVENTS_MAX {
        reporter
            .report(file.operations.place, format!("too many operations: {}", list.len()))
            .help(format!("at most {EVENTS_MAX}"));
        return (vec![], vec![]);
    }
    let mut out: Vec<(Operation, Written)> = vec![];
    let mut deployed = BTreeSet::new();
    for it in list {
        let name = it.value.named().0.map(|name| name.value.0.clone());
        let written = Written { line: reporter.line(it.place), place: it.place, name };
        let operations = one(it, file, names, reporter);
        if matches!(it.value, schema::Operation::Deploy(_)) {
            deployed.extend(operations.iter().map(|operation| operation.service));
        }
        out.extend(operations.into_iter().map(|operation| (operation, written.clone())));
        if out.len() > EVENTS_MAX * 10 {
            reporter.report(it.place, "too many operations").help("a list of services makes one for each");
            break;
        }
    }
    let count = file.services.value.entries.len().min(schema::SERVICES_MAX);
    let implied = (0..count).map(|index| ServiceId(index as u16)).filter(|id| !deployed.contains(id));
    let implied: Vec<_> = implied
        .map(|service| {
            let every = Span::from_secs(1);
            (Operation { at: Time::ZERO, service, change: Change::Deploy, every, times: None }, Written::default())
        })
        .collect();
    let mut all: Vec<_> = implied.into_iter().chain(out).collect();
    all.sort_by_key(|(operation, _)| operation.at);
    all.into_iter().unzip()
}

/// Compiles one operation of the file: into as many as it names services, or as a node may have. None if it is invalid.
pub(super) fn one(
    At { value, place }: &At<schema::Operation>,
    file: &File,
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> Vec<Operation> {
    let (at, services, change, every, times) = match value {
        schema::Operation::Deploy(it) => {
            (it.at, resolve(&it.deploy, names, reporter), Some(Change::Deploy), Span::from_secs(1), None)
        }
        schema::Operation::Undeploy(it) => {
            (it.at, resolve(&it.undeploy, names, reporter), Some(Change::Undeploy), Span::from_secs(1), None)
        }
        schema::Operation::Flush(it) => {
            (it.at, resolve(&it.flush, names, reporter), Some(Change::Flush), Span::from_secs(1), None)
        }
        schema::Operation::Extend(it) => {
            positive(it.every, "every", reporter);
            let change =
                Change::Extend { to: it.to.0 as u32, rate: it.rate.0, rounding: it.rounding, feedback: it.feedback };
            (it.at, service(&it.extend, names, reporter), Some(change), it.every.value, it.times)
        }
        schema::Operation::Scale(it) => {
            positive(it.every, "every", reporter);
            let services = service(&it.scale, names, reporter);
            refuse_unlimited(it, services.first(), file, *place, reporter);
            (it.at, services, Some(Change::Scale { by: it.by.0 }), it.every.value, it.times)
        }
        schema::Operation::Update(it) => {
            positive(it.every, "every", reporter);
            (it.at, service(&it.update, names, reporter), update(it, *place, reporter), it.every.value, it.times)
        }
        schema::Operation::Set(it) => {
            let (services, change) = match set::compile(it, file, names, reporter) {
                Some((service, setting)) => (vec![service], Some(Change::Set(Box::new(setting)))),
                None => (vec![], None),
            };
            (it.at, services, change, Span::from_secs(1), None)
        }
        schema::Operation::Rollout(it) => {
            positive(it.every, "every", reporter);
            let change = rollout::compile(it, file, *place, reporter);
            (it.at, service(&it.rollout, names, reporter), change, it.every.value, None)
        }
        schema::Operation::PauseRollout(it) => steer(it.at, &it.pause_rollout, Steer::Pause, names, reporter),
        schema::Operation::ResumeRollout(it) => steer(it.at, &it.resume_rollout, Steer::Resume, names, reporter),
        schema::Operation::AbortRollout(it) => steer(it.at, &it.abort_rollout, Steer::Abort, names, reporter),
        schema::Operation::Drain(it) => return drain(it, file, reporter),
    };
    let Some(change) = change else { return vec![] };
    let at = Time::ZERO + at.value;
    let times = times.map(|times| times.0 as u32);
    services.into_iter().map(|service| Operation { at, service, change: change.clone(), every, times }).collect()
}

/// Drains of nodes: one for each node and service.
fn drain(it: &schema::Drain, file: &File, reporter: &mut Reporter) -> Vec<Operation> {
    positive(it.every, "every", reporter);
    it.length.iter().for_each(|length| positive(*length, "for", reporter));
    it.timeout.iter().for_each(|timeout| positive(*timeout, "timeout", reporter));
    let nodes: Vec<u32> = it.drain.0.iter().flat_map(|name| nodes::by_name(name, file, reporter)).collect();
    let services = file.services.value.entries.len().min(schema::SERVICES_MAX);
    let at = Time::ZERO + it.at.value;
    let (lasts, timeout) = (it.length.map(|it| it.value), it.timeout.map(|it| it.value));
    let all = nodes.into_iter().flat_map(|node| (0..services).map(move |service| (node, ServiceId(service as u16))));
    let one = |(node, service)| {
        let change = Change::Drain(Drain { node, lasts, timeout });
        Operation { at, service, change, every: it.every.value, times: None }
    };
    all.map(one).take(EVENTS_MAX * 10 + 1).collect()
}

/// A change of the rollout of a service: its time, the service, the change, and the pace of no steps.
fn steer(
    at: At<Span>,
    name: &At<String>,
    steer: Steer,
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> (At<Span>, Vec<ServiceId>, Option<Change>, Span, Option<schema::Steps>) {
    (at, service(name, names, reporter), Some(Change::Steer(steer)), Span::from_secs(1), None)
}

fn service(name: &At<String>, names: &Names<'_>, reporter: &mut Reporter) -> Vec<ServiceId> {
    names.service(name, reporter).into_iter().collect()
}

fn resolve(list: &OneOrMore<At<String>>, names: &Names<'_>, reporter: &mut Reporter) -> Vec<ServiceId> {
    list.0.iter().filter_map(|name| names.service(name, reporter)).collect()
}

/// A fixed factor has no equilibrium: without an end, C runs to nothing or to infinity.
fn refuse_unlimited(
    it: &schema::Scale,
    service: Option<&ServiceId>,
    file: &File,
    place: Location,
    reporter: &mut Reporter,
) {
    let Some((_, service)) = service.and_then(|id| file.services.value.entries.get(id.index())) else { return };
    let (limit, limited) = match it.by.0 {
        by if by > 1.0 => ("capacity_max", service.capacity_max.is_some()),
        by if by < 1.0 => ("capacity_min", service.capacity_min.is_some()),
        _ => return,
    };
    if it.times.is_none() && !limited {
        reporter
            .report(place, "this scale has no end: C' = C * by never settles by itself")
            .help(format!("add `times: 3`, or give `{}` a `{limit}`", it.scale.value));
    }
}

fn update(it: &schema::Update, place: Location, reporter: &mut Reporter) -> Option<Change> {
    let name = it.strategy.unwrap_or(StrategyName::Batch);
    let mut fine = true;
    let mut refuse = |given: Option<Location>, key: &str, of: &str| {
        if let Some(place) = given {
            fine = false;
            reporter
                .report(place, format!("`{key}` does not apply to this strategy"))
                .help(format!("leave it out, or write `strategy: {of}`"));
        }
    };
    if name != StrategyName::Rolling {
        refuse(it.max_surge.map(|at| at.place), "max_surge", "rolling");
        refuse(it.max_unavailable.map(|at| at.place), "max_unavailable", "rolling");
    }
    if name != StrategyName::Canary {
        refuse(it.weights.as_ref().map(|at| at.place), "weights", "canary");
    }
    if matches!(name, StrategyName::Rolling | StrategyName::Canary) {
        refuse(it.rate.map(|at| at.place), "rate", "batch` or `strategy: bernoulli");
    } else if it.rate.is_none() {
        fine = false;
        reporter.report(place, "an update requires `rate`").help(
            "rate: the share of the old instances that one step moves, as in `rate: 0.3`; or `strategy: rolling`",
        );
    }
    let amount = |given: Option<At<Amount>>| given.map_or(ROLLING_DEFAULT, |at| at.value);
    let strategy = match name {
        StrategyName::Batch => Strategy::Batch,
        StrategyName::Bernoulli => Strategy::Bernoulli,
        StrategyName::Rolling => {
            let (max_surge, max_unavailable) = (amount(it.max_surge), amount(it.max_unavailable));
            if max_surge.is_zero() && max_unavailable.is_zero() {
                let place = it.max_unavailable.or(it.max_surge).map_or(place, |at| at.place);
                reporter
                    .report(place, "this update can replace nothing: no instance may be extra, and none may be missing")
                    .help("give `max_surge` or `max_unavailable` a number of instances or a percentage above 0");
                fine = false;
            }
            Strategy::Rolling { max_surge, max_unavailable }
        }
        StrategyName::Canary => Strategy::Canary { weights: weights(it, place, reporter)?.into() },
    };
    fine.then(|| Change::Update { to: it.to.0 as u32, rate: it.rate.map_or(1.0, |at| at.value.0), strategy })
}

fn weights(it: &schema::Update, place: Location, reporter: &mut Reporter) -> Option<Vec<f64>> {
    let weights = it.weights.as_ref().map_or(&[][..], |at| &at.value);
    if weights.is_empty() {
        let place = match &it.weights {
            // Weights that could not be read were reported.
            Some(at) if !reporter.is_clean_in(at.place) => return None,
            Some(at) => at.place,
            None => place,
        };
        reporter
            .report(place, "a canary update requires `weights`")
            .help("weights: the share that is new after each step, as in `weights: [5%, 50%, 100%]`");
        return None;
    }
    let mut before = 0.0;
    for weight in weights {
        if weight.value.0 <= before {
            reporter
                .report(weight.place, "weights must rise, from above 0")
                .help("each is the new version's share of requests after its step, as in `[5%, 50%, 100%]`");
            return None;
        }
        before = weight.value.0;
    }
    Some(weights.iter().map(|weight| weight.value.0).collect())
}
