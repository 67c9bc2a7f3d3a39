//! Policies of callers and of instances: what they can never do, what they refuse, and what the estimates leave out.

use meshsim_mesh::model::{Change, Service};
use meshsim_mesh::policy::CallRules;
use meshsim_mesh::serving::ServingPolicies;
use meshsim_mesh::serving::limit::Limit;

use super::{Checked, ServiceEstimate, Warnings, plain};

pub(super) fn look(checked: &Checked<'_>, services: &[ServiceEstimate], warnings: &mut Warnings<'_>) {
    ejects_nothing(checked, warnings);
    for (service, estimate) in checked.experiment.mesh.services.iter().zip(services) {
        if let Some(serving) = &service.serving {
            serves(checked, (service, estimate), serving, warnings);
        }
    }
}

/// Limits of instances: slots that are never used, and requests that are refused.
fn serves(
    checked: &Checked<'_>,
    (service, estimate): (&Service, &ServiceEstimate),
    serving: &ServingPolicies,
    warnings: &mut Warnings<'_>,
) {
    let (name, slots) = (&service.name, service.capacity.round().max(1.0));
    if let Some(Limit::Fixed(limit)) = serving.limit
        && f64::from(limit) < slots
    {
        let message =
            format!("`limit` of `{name}` is {limit}: of the {slots} slots of an instance the others stay free");
        warnings.warn("limit", None, message);
    }
    if let Some(bucket) = &serving.rate_limit {
        let allowed = f64::from(service.instances) / bucket.every.secs();
        if estimate.rate > allowed {
            let message = format!(
                "`rate_limit` of `{name}` refuses requests: {} instances together admit {} requests/s, and {} come",
                service.instances,
                plain(allowed),
                plain(estimate.rate)
            );
            warnings.warn("rate_limit", None, message);
        }
    }
    if serving.time_left.is_some() && checked.experiment.mesh.loads.iter().all(|load| load.deadline.is_none()) {
        let message = format!("`time_left` of `{name}` has no effect: no load has a `deadline`");
        warnings.warn("time_left", None, message);
    }
}

/// Outlier detection that can eject nothing.
fn ejects_nothing(checked: &Checked<'_>, warnings: &mut Warnings<'_>) {
    for service in &checked.experiment.mesh.services {
        let Some(outliers) = service.policies.as_ref().and_then(|policies| policies.outliers.as_ref()) else {
            continue;
        };
        let most = (outliers.max_ejected * f64::from(service.instances) + 1e-9).floor();
        if most < 1.0 && !outliers.always_eject_one_host && service.instances > 0 {
            let needed = (1.0 / outliers.max_ejected).ceil();
            let why = if outliers.max_ejected > 0.0 {
                format!("one of {} is more; with {needed} instances one may be", service.instances)
            } else {
                "no share is left for any".to_owned()
            };
            let message = format!(
                "outlier detection of `{}` ejects no instance: at most {:.3}% may be ejected, and {why}. See `max_ejection_percent` and `always_eject_one_host`",
                service.name,
                100.0 * outliers.max_ejected
            );
            warnings.warn("outliers", None, message);
        }
    }
}

/// Policies that the estimates leave out.
pub(super) fn not_modelled(checked: &Checked<'_>, reached: impl Fn(usize) -> bool) -> Vec<String> {
    let mesh = &checked.experiment.mesh;
    let mut list = Vec::new();
    let named = |has: &dyn Fn(&meshsim_mesh::policy::ServicePolicies) -> bool| {
        let all = mesh.services.iter().enumerate().filter(|(at, _)| reached(*at));
        let with = all.filter(|(_, service)| service.policies.as_ref().is_some_and(|policies| has(policies)));
        with.map(|(_, service)| format!("`{}`", service.name)).collect::<Vec<_>>()
    };
    let of = |names: Vec<String>| match names.len() {
        1..=3 => names.join(", "),
        n => format!("{} and {} more", names[..2].join(", "), n - 2),
    };
    let breakers = named(&|policies| policies.breaker.is_some());
    if !breakers.is_empty() {
        list.push(format!("Circuit breakers of {}: visits are at most those shown.", of(breakers)));
    }
    let pooled = named(&|policies| policies.connections.is_some());
    if !pooled.is_empty() {
        list.push(format!("Connections to {}: they count as open, and no request waits for one.", of(pooled)));
    }
    let activators = named(&|policies| policies.activator.is_some());
    if !activators.is_empty() {
        list.push(format!("Activators of {}: calls fail in the estimates where there is no instance.", of(activators)));
    }
    let outliers = named(&|policies| policies.outliers.is_some());
    if !outliers.is_empty() {
        list.push(format!("Outlier detection of {}: every instance counts as used.", of(outliers)));
    }
    let mirrored = named(&|policies| policies.mirror.is_some());
    if !mirrored.is_empty() {
        list.push(format!("Copies of calls of {}: the services that get them are visited more often.", of(mirrored)));
    }
    if mesh.operations.iter().any(|operation| matches!(operation.change, Change::Set(_))) {
        list.push("Settings that operations change: the estimates are for those of the file.".into());
    }
    let throttled = named(&|policies| policies.rate_limit.is_some());
    if !throttled.is_empty() {
        list.push(format!("Rate limits of callers of {}: visits are at most those shown.", of(throttled)));
    }
    let guarded = mesh.services.iter().enumerate().filter(|(at, service)| reached(*at) && service.serving.is_some());
    let guarded: Vec<String> = guarded.map(|(_, service)| format!("`{}`", service.name)).collect();
    if !guarded.is_empty() {
        list.push(format!("Limits and shedding of {}: requests that they refuse count as served.", of(guarded)));
    }
    let has = |rule: fn(&CallRules) -> bool| mesh.call_rules.iter().any(rule);
    if has(|rules| rules.hedge.is_some()) {
        list.push("Hedges: services are visited more often than shown, and answer sooner.".into());
    }
    if has(|rules| rules.fallback.is_some()) {
        list.push(
            "Fallbacks: calls that have one count as failed if they fail, and their fallbacks as not called.".into(),
        );
    }
    if has(|rules| rules.retry_on.is_some() || rules.budget.is_some()) {
        list.push(
            "Failures that are not retried, and retry budgets over a time: visits are at most those shown.".into(),
        );
    }
    list
}
