//! Policies of callers, of a service and of a call, and policies of instances.

use meshsim_actor::Span;
use meshsim_mesh::model::{CallPolicy, Retry, Setting};
use meshsim_mesh::policy::activator::Activator;
use meshsim_mesh::policy::breaker::Breaker;
use meshsim_mesh::policy::budget::WindowBudget;
use meshsim_mesh::policy::connections::Connections;
use meshsim_mesh::policy::fallback::Fallback;
use meshsim_mesh::policy::hedge::Hedge;
use meshsim_mesh::policy::mirror::Mirror;
use meshsim_mesh::policy::outlier::Outliers;
use meshsim_mesh::policy::token_bucket::TokenBucket;
use meshsim_mesh::policy::{CallChanges, CallRules, CallRulesId, RetryRules, ServicePolicies};
use meshsim_mesh::serving::ServingPolicies;
use meshsim_mesh::serving::codel::Codel;
use meshsim_mesh::serving::priority::Shares;

use super::Names;
use super::mesh::Preset;
use crate::problem::{Location, Reporter};
use crate::schema;
use crate::section::At;
use crate::values::LimitedAt;

/// Most different sets of further policies of the calls of a file.
const RULES_MAX: usize = 1000;

/// Shortest interval of a policy.
const SHORTEST: Span = Span::from_millis(1);

pub(super) fn of_callers(
    it: &schema::Service,
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> Option<Box<ServicePolicies>> {
    let breaker = it.breaker.as_ref().map(|it| Breaker {
        max_connections: it.max_connections.0,
        max_pending_requests: it.max_pending_requests.0,
        max_requests: it.max_requests.0,
        max_retries: it.max_retries.0,
    });
    let panic_threshold = it.panic_threshold.map_or(Outliers::default().panic_threshold, |share| share.0);
    let outliers = it.outlier_detection.as_ref().map(|it| Outliers {
        consecutive_failures: it.consecutive_failures.0,
        stdev_factor: it.success_rate_stdev_factor.0,
        success_rate_hosts: it.success_rate_minimum_hosts.0 as u32,
        success_rate_volume: it.success_rate_request_volume.0 as u32,
        failure_share: it.failure_percentage_threshold.0,
        failure_hosts: it.failure_percentage_minimum_hosts.0 as u32,
        failure_volume: it.failure_percentage_request_volume.0 as u32,
        interval: at_least(it.interval, "interval", reporter),
        base_ejection_time: it.base_ejection_time,
        max_ejection_time: it.max_ejection_time,
        max_ejected: it.max_ejection_percent.0,
        always_eject_one_host: it.always_eject_one_host,
        panic_threshold,
    });
    let rate_limit = it.rate_limit.as_ref().filter(|it| it.at == LimitedAt::Caller).and_then(|it| bucket(it, reporter));
    let mirror = it.mirror.as_ref().and_then(|mirror| mirrored(mirror, it, names, reporter));
    let connections = it.connections.as_ref();
    let connections = connections.map(|it| Connections { max: it.max.0 as u32, set_up: it.set_up, idle: it.idle });
    let connections = connections.or(names.preset.connections);
    let calls = CallChanges::default();
    let activator = activator(it, reporter);
    let policies = ServicePolicies { breaker, outliers, rate_limit, mirror, connections, activator, calls };
    (policies != ServicePolicies::default()).then(|| Box::new(policies))
}

/// Knative brings one.
fn activator(it: &schema::Service, reporter: &mut Reporter) -> Option<Activator> {
    use schema::{Autoscale::Other, Other::Knative};
    if let Some(it) = &it.activator {
        return Some(Activator { hold: at_least(it.hold, "hold", reporter), size: it.size.0 as u32 });
    }
    let is_knative = matches!(&it.autoscale, Some(At { value: Other(Knative(_)), .. }));
    is_knative.then(Activator::default)
}

pub(super) fn of_instances(it: &schema::Service, reporter: &mut Reporter) -> Option<Box<ServingPolicies>> {
    let rate_limit = it.rate_limit.as_ref().filter(|it| it.at == LimitedAt::Instance);
    let shed = it.shed.as_ref();
    let shares = shed
        .and_then(|it| it.priority.as_ref())
        .map(|it| Shares([it.critical_plus, it.critical, it.sheddable_plus, it.sheddable].map(|share| share.0)));
    let serving = ServingPolicies {
        limit: it.limit,
        rate_limit: rate_limit.and_then(|it| bucket(it, reporter)),
        time_left: shed.and_then(|it| it.time_left),
        shares,
        lifo_after: shed.and_then(|it| it.lifo_after),
        codel: shed
            .and_then(|it| it.codel.as_ref())
            .map(|it| Codel { target: it.target, interval: at_least(it.interval, "interval", reporter) }),
    };
    (serving != ServingPolicies::default()).then(|| Box::new(serving))
}

fn mirrored(it: &schema::Mirror, of: &schema::Service, names: &Names<'_>, reporter: &mut Reporter) -> Option<Mirror> {
    let endpoints = of.endpoints.value.names();
    let to = match it.to.value.contains('.') {
        true => vec![names.endpoint(&it.to, reporter)?; endpoints.count()],
        false => {
            let service = it.to.value.trim();
            names.service(&it.to, reporter)?;
            let same = endpoints.map(|endpoint| names.endpoint_of(service, endpoint, it.to.place, reporter));
            same.collect::<Option<Vec<_>>>()?
        }
    };
    Some(Mirror { share: it.share.0, to })
}

fn bucket(it: &schema::RateLimit, reporter: &mut Reporter) -> Option<TokenBucket> {
    if it.rate.value.0 <= 0.0 {
        reporter.report(it.rate.place, "a rate limit of nothing refuses all requests").help("as in `rate: 100/s`");
        return None;
    }
    Some(TokenBucket { every: Span::from_secs_f64(1.0 / it.rate.value.0), burst: it.burst.0 as u32 })
}

pub(super) fn at_least(span: At<Span>, what: &str, reporter: &mut Reporter) -> Span {
    if span.value < SHORTEST {
        reporter
            .report(span.place, format!("`{what}` is too short: {}", span.value))
            .help(format!("at least {SHORTEST}"));
    }
    span.value
}

impl Preset {
    /// Timeout, retries and their rules of a call: as the file says, or else as the technology of the mesh does.
    pub(super) fn attempts(&self, it: &schema::CallInFull, reporter: &mut Reporter) -> (Option<Span>, u32, RetryRules) {
        let timeout = it.timeout.map_or(self.timeout, |timeout| timeout.0);
        let retries = it.retries.map_or(self.retries, |retries| retries.0 as u32);
        let rules = match (&it.retry, &self.retry) {
            (Some(it), _) => retry_rules(it, reporter),
            (None, Some(rules)) => *rules,
            (None, None) => {
                RetryRules { retry: Retry::default(), retry_on: None, other_instance: 0, window_budget: None }
            }
        };
        (timeout, retries, rules)
    }
}

/// Timeout, retries and further policies of a call or of a client.
pub(super) fn of_call(
    (timeout, retries, rules): (Option<Span>, u32, RetryRules),
    (hedge, fallback): (Option<&schema::Hedge>, Option<&At<String>>),
    (names, place): (&Names<'_>, Location),
    reporter: &mut Reporter,
) -> CallPolicy {
    let RetryRules { retry, retry_on, other_instance, window_budget } = rules;
    let rules = CallRules {
        retry_on,
        other_instance,
        budget: window_budget,
        hedge: hedge.map(hedged),
        fallback: fallback.and_then(|it| fallen_back(it, names, reporter)),
    };
    let rules = number(rules, (names, place), reporter);
    CallPolicy { timeout, retries, retry, rules }
}

/// The setting of all calls of a service that an operation sets: the `key` of this call.
pub(super) fn changed(
    key: &str,
    it: &schema::CallInFull,
    names: &Names<'_>,
    reporter: &mut Reporter,
) -> Option<Setting> {
    // What `none` leaves out is as it is where the file says nothing.
    let (timeout, retries, rules) = names.preset.attempts(it, reporter);
    Some(match key {
        "timeout" => Setting::Timeout(Some(timeout)),
        "retries" => Setting::Retries(Some(retries)),
        "retry" => Setting::Retry(Some(rules)),
        "hedge" => Setting::Hedge(Some(it.hedge.as_ref().map(hedged))),
        "fallback" => Setting::Fallback(Some(match &it.fallback {
            Some(fallback) => Some(fallen_back(fallback, names, reporter)?),
            None => None,
        })),
        _ => return None,
    })
}

pub(super) fn retry_rules(it: &schema::Retry, reporter: &mut Reporter) -> RetryRules {
    RetryRules {
        retry: Retry {
            backoff: it.backoff,
            base: it.base,
            cap: it.cap.unwrap_or(it.base * 10),
            budget: it.budget.0,
            budget_min: it.budget_min.0 as u32,
        },
        retry_on: it.on.as_ref().map(|on| on.iter().map(|failure| failure.value).collect()),
        other_instance: it.other_instance.0 as u32,
        window_budget: it.window_budget.as_ref().map(|it| WindowBudget {
            ttl: at_least(it.ttl, "ttl", reporter),
            ratio: it.ratio.0,
            min_per_s: it.min_per_s.0,
        }),
    }
}

fn hedged(it: &schema::Hedge) -> Hedge {
    Hedge { after: it.after, max: it.max.0 as u32, cancel: it.cancel }
}

fn fallen_back(it: &At<String>, names: &Names<'_>, reporter: &mut Reporter) -> Option<Fallback> {
    match it.value.trim() {
        "static" => Some(Fallback::Static),
        _ => names.endpoint(it, reporter).map(|(service, endpoint)| Fallback::Call(service, endpoint)),
    }
}

/// The number of these rules; equal ones have one.
fn number(rules: CallRules, (names, place): (&Names<'_>, Location), reporter: &mut Reporter) -> Option<CallRulesId> {
    if rules == CallRules::default() {
        return None;
    }
    let mut all = names.call_rules.borrow_mut();
    // Equal ones often follow each other.
    if let Some(at) = all.iter().rposition(|known| *known == rules) {
        return Some(CallRulesId(at as u16));
    }
    if all.len() >= RULES_MAX {
        let message =
            "too many different policies of calls (`hedge`, `fallback`, `on`, `other_instance`, `window_budget`)";
        reporter.report(place, message).help(format!("at most {RULES_MAX}; calls with equal ones share them"));
        return None;
    }
    all.push(rules);
    Some(CallRulesId((all.len() - 1) as u16))
}
