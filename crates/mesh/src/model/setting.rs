//! Settings of a service that may change while it runs: how callers choose, hold back and retry, what instances refuse.
//!
//! An operation sets one of them. The coordinator keeps all that were set and tells them with the instance view, so
//! that each caller and each node has them in the order in which they were set, whatever the network loses.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

use super::{
    Balancer, CHOICES_MAX, Choices, IDLE_MAX, MAGLEV_MAX, Mesh, Part, RETRIES_MAX, RING_MAX, Selection, Service,
};
use super::{ServiceId, SlowStart, ZoneRouting};
use crate::policy::breaker::Breaker;
use crate::policy::budget::WindowBudget;
use crate::policy::connections::Connections;
use crate::policy::fallback::Fallback;
use crate::policy::hedge::{HEDGES_MAX, Hedge, HedgeAfter};
use crate::policy::mirror::Mirror;
use crate::policy::outlier::Outliers;
use crate::policy::token_bucket::TokenBucket;
use crate::policy::{RetryRules, ServicePolicies};
use crate::serving::ServingPolicies;
use crate::serving::codel::Codel;
use crate::serving::limit::Limit;
use crate::serving::priority::Shares;

/// Settings by service, each of a service once, in the order in which they were set last.
pub type Settings = Vec<(ServiceId, Setting)>;

/// Most parts of a split.
const PARTS_MAX: usize = 1_000;

/// Most draws of another instance for a retry.
pub const OTHER_INSTANCE_MAX: u32 = 100;

/// Most retries that a budget allows whatever its share is.
pub const BUDGET_MIN_MAX: u32 = 1_000_000;

/// The parts of a service that settings change.
struct Parts {
    balancer: Balancer,
    selection: Selection,
    policies: ServicePolicies,
    serving: ServingPolicies,
    /// [`Outliers::panic_threshold`]. In the file it is a key beside that of outlier detection.
    ejected_threshold: Option<f64>,
    /// [`Autoscale::is_on`](crate::autoscale::Autoscale::is_on), of a service that has an autoscaler.
    is_scaled: bool,
}

impl Parts {
    fn of(service: &Service) -> Self {
        let policies = service.policies.as_deref().cloned().unwrap_or_default();
        Parts {
            balancer: service.balancer,
            selection: service.selection.as_deref().cloned().unwrap_or_default(),
            ejected_threshold: policies.outliers.map(|it| it.panic_threshold),
            is_scaled: service.autoscale.as_deref().is_some_and(|it| it.is_on),
            policies,
            serving: service.serving.as_deref().cloned().unwrap_or_default(),
        }
    }

    fn into_service(self, service: &mut Service) {
        let Parts { balancer, selection, mut policies, serving, ejected_threshold, is_scaled } = self;
        if let (Some(outliers), Some(threshold)) = (&mut policies.outliers, ejected_threshold) {
            outliers.panic_threshold = threshold;
        }
        if let Some(autoscale) = &mut service.autoscale {
            autoscale.is_on = is_scaled;
        }
        service.balancer = balancer;
        service.selection = (selection != Selection::default()).then(|| Box::new(selection));
        service.policies = (policies != ServicePolicies::default()).then(|| Box::new(policies));
        service.serving = (serving != ServingPolicies::default()).then(|| Box::new(serving));
    }
}

/// Makes [`Setting`] of a table: the key in the experiment file, the variant, and the fields of [`Parts`] that it sets.
macro_rules! settings {
    ($($(#[$doc:meta])* $key:literal => $name:ident($($value:ident: $of:ty = $($field:ident).+),+),)*) => {
        /// One setting, with its value.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Setting {
            $($(#[$doc])* $name($($of),+),)*
        }

        impl Setting {
            /// The keys of the experiment file that can be set.
            pub const KEYS: [&str; [$($key),*].len()] = [$($key),*];

            /// The setting with this key, as a service has it; `None` if it has no such key.
            pub fn of(key: &str, service: &Service) -> Option<Setting> {
                let parts = Parts::of(service);
                match key {
                    $($key => Some(Setting::$name($(parts.$($field).+),+)),)*
                    _ => None,
                }
            }

            /// Its key in the experiment file.
            pub fn key(&self) -> &'static str {
                match self {
                    $(Setting::$name(..) => $key,)*
                }
            }

            /// Gives it to a service.
            pub fn apply(&self, service: &mut Service) {
                let mut parts = Parts::of(service);
                match self.clone() {
                    $(Setting::$name($($value),+) => { $(parts.$($field).+ = $value;)+ })*
                }
                parts.into_service(service);
            }
        }
    };
}

settings! {
    /// [`Service::balancer`].
    "balancer" => Balancer(it: Balancer = balancer),
    /// [`Selection::zones`].
    "zone_routing" => ZoneRouting(it: Option<ZoneRouting> = selection.zones),
    /// [`Selection::panic_threshold`], and [`Outliers::panic_threshold`].
    "panic_threshold" => PanicThreshold(ready: f64 = selection.panic_threshold, left: Option<f64> = ejected_threshold),
    /// [`Selection::slow_start`].
    "slow_start" => SlowStart(it: Option<SlowStart> = selection.slow_start),
    /// [`Selection::split`].
    "split" => Split(it: Vec<Part> = selection.split),
    /// [`Selection::subset`].
    "subset" => Subset(it: Option<u32> = selection.subset),
    /// [`Selection::zone_weights`].
    "zone_weights" => ZoneWeights(it: Vec<f64> = selection.zone_weights),
    /// [`ServicePolicies::breaker`].
    "breaker" => Breaker(it: Option<Breaker> = policies.breaker),
    /// [`ServicePolicies::outliers`].
    "outlier_detection" => Outliers(it: Option<Outliers> = policies.outliers),
    /// [`ServicePolicies::mirror`].
    "mirror" => Mirror(it: Option<Mirror> = policies.mirror),
    /// [`ServicePolicies::rate_limit`] and [`ServingPolicies::rate_limit`].
    "rate_limit" => RateLimit(
        caller: Option<TokenBucket> = policies.rate_limit,
        instance: Option<TokenBucket> = serving.rate_limit
    ),
    /// [`ServingPolicies::limit`].
    "limit" => Limit(it: Option<Limit> = serving.limit),
    /// [`ServingPolicies::time_left`], [`ServingPolicies::shares`], [`ServingPolicies::lifo_after`] and
    /// [`ServingPolicies::codel`].
    "shed" => Shed(
        time_left: Option<Span> = serving.time_left,
        shares: Option<Shares> = serving.shares,
        lifo_after: Option<Span> = serving.lifo_after,
        codel: Option<Codel> = serving.codel
    ),
    /// [`ServicePolicies::connections`].
    "connections" => Connections(it: Option<Connections> = policies.connections),
    /// [`CallChanges::timeout`](crate::policy::CallChanges::timeout).
    "timeout" => Timeout(it: Option<Option<Span>> = policies.calls.timeout),
    /// [`CallChanges::retries`](crate::policy::CallChanges::retries).
    "retries" => Retries(it: Option<u32> = policies.calls.retries),
    /// [`CallChanges::retry`](crate::policy::CallChanges::retry).
    "retry" => Retry(it: Option<RetryRules> = policies.calls.retry),
    /// [`CallChanges::hedge`](crate::policy::CallChanges::hedge).
    "hedge" => Hedge(it: Option<Option<Hedge>> = policies.calls.hedge),
    /// [`CallChanges::fallback`](crate::policy::CallChanges::fallback).
    "fallback" => Fallback(it: Option<Option<Fallback>> = policies.calls.fallback),
    /// [`Autoscale::is_on`](crate::autoscale::Autoscale::is_on).
    "autoscale" => Autoscale(is_on: bool = is_scaled),
}

impl Setting {
    /// True if it is such as an experiment file may have.
    pub fn is_sound(&self, service: ServiceId, mesh: &Mesh) -> bool {
        let Some(its) = mesh.services.get(service.index()) else { return false };
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let is_weight = |weight: &f64| weight.is_finite() && *weight > 0.0;
        let is_bucket = |bucket: &Option<TokenBucket>| bucket.is_none_or(|it| it.burst > 0 && !it.every.is_zero());
        let is_long = |span: Span| span >= Span::from_millis(1);
        match self {
            Setting::Balancer(balancer) => is_balancer(balancer),
            Setting::PanicThreshold(ready, left) => is_share(*ready) && left.is_none_or(is_share),
            Setting::SlowStart(it) => it.is_none_or(|it| {
                !it.window.is_zero() && is_weight(&it.aggression) && is_share(it.min_weight) && it.min_weight > 0.0
            }),
            Setting::Split(parts) => {
                let is_part = |part: &Part| {
                    let fits = part.nodes.as_ref().is_none_or(|nodes| nodes.len() <= mesh.nodes.len());
                    part.weight.is_finite() && part.weight >= 0.0 && fits
                };
                parts.len() <= PARTS_MAX
                    && parts.iter().all(is_part)
                    && (parts.is_empty() || parts.iter().any(|part| part.weight > 0.0))
            }
            Setting::Subset(size) => *size != Some(0),
            Setting::ZoneWeights(weights) => weights.len() <= mesh.zones.len() && weights.iter().all(is_weight),
            Setting::Breaker(_) | Setting::ZoneRouting(_) | Setting::Limit(None) => true,
            Setting::Limit(Some(Limit::Fixed(most))) => *most > 0,
            Setting::Outliers(it) => it.is_none_or(|it| {
                is_long(it.interval)
                    && [it.max_ejected, it.panic_threshold].into_iter().chain(it.failure_share).all(is_share)
            }),
            Setting::Mirror(it) => it.as_ref().is_none_or(|it| {
                let is_there = |(to, endpoint): &(ServiceId, super::EndpointId)| mesh.has_endpoint(*to, *endpoint);
                is_share(it.share) && it.to.len() == its.endpoints.len() && it.to.iter().all(is_there)
            }),
            Setting::RateLimit(of_caller, of_instance) => is_bucket(of_caller) && is_bucket(of_instance),
            Setting::Limit(Some(Limit::Gradient(it))) => {
                is_long(it.update)
                    && is_long(it.min_rtt_interval)
                    && [it.quantile, it.jitter, it.buffer].into_iter().all(is_share)
                    && it.min_rtt_requests > 0
                    && (1..=it.max_limit).contains(&it.min_limit)
            }
            Setting::Connections(it) => it.is_none_or(|it| it.max > 0),
            Setting::Timeout(_) => true,
            Setting::Autoscale(_) => its.autoscale.is_some(),
            Setting::Retries(it) => it.is_none_or(|it| it <= RETRIES_MAX),
            Setting::Retry(it) => it.is_none_or(|it| {
                let is_budget = |budget: WindowBudget| {
                    let is_amount = |amount: f64| amount.is_finite() && amount >= 0.0;
                    is_long(budget.ttl) && is_amount(budget.ratio) && is_amount(budget.min_per_s)
                };
                it.other_instance <= OTHER_INSTANCE_MAX
                    && it.retry.budget_min <= BUDGET_MIN_MAX
                    && it.retry.budget.is_none_or(is_share)
                    && it.window_budget.is_none_or(is_budget)
            }),
            Setting::Hedge(it) => it.flatten().is_none_or(|it| {
                let is_quantile = |after| !matches!(after, HedgeAfter::Quantile(share) if !is_share(share));
                (1..=HEDGES_MAX).contains(&it.max) && is_quantile(it.after)
            }),
            Setting::Fallback(it) => it.flatten().is_none_or(|it| match it {
                Fallback::Static => true,
                Fallback::Call(to, endpoint) => mesh.has_endpoint(to, endpoint),
            }),
            Setting::Shed(_, shares, _, codel) => {
                shares.is_none_or(|Shares(all)| all.into_iter().all(is_share))
                    && codel.is_none_or(|it| is_long(it.interval))
            }
        }
    }
}

fn is_balancer(balancer: &Balancer) -> bool {
    let is_prime = |n: u32| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    let keys = balancer.keys().is_none_or(|keys| (0.0..=20.0).contains(&keys.skew));
    keys && match balancer {
        Balancer::Random | Balancer::RoundRobin | Balancer::LeastRequest { choices: Choices::All } => true,
        Balancer::LeastRequest { choices: Choices::Replaced(n) | Choices::Distinct(n) } => {
            (1..=CHOICES_MAX).contains(n)
        }
        Balancer::PeakEwma { decay, .. } => !decay.is_zero(),
        Balancer::RingHash { min_size, max_size, .. } => (1..=RING_MAX).contains(max_size) && min_size <= max_size,
        Balancer::Maglev { table_size, .. } => (2..=MAGLEV_MAX).contains(table_size) && is_prime(*table_size),
        Balancer::LeastLoaded { choices: Choices::All, refresh } => !refresh.is_zero(),
        Balancer::Connection { max_idle, .. } => (1..=IDLE_MAX).contains(max_idle),
        Balancer::LeastLoaded { choices: Choices::Replaced(n) | Choices::Distinct(n), refresh } => {
            (1..=CHOICES_MAX).contains(n) && !refresh.is_zero()
        }
    }
}

/// Takes a setting into a list, in the place of an earlier one of its kind.
pub(crate) fn put(settings: &mut Settings, service: ServiceId, setting: Setting) {
    settings.retain(|(of, it)| *of != service || it.key() != setting.key());
    settings.push((service, setting));
}

/// True if a list is such as a coordinator makes.
pub(crate) fn are_sound(settings: &Settings, mesh: &Mesh) -> bool {
    settings.len() <= mesh.services.len() * Setting::KEYS.len()
        && settings.iter().all(|(service, setting)| setting.is_sound(*service, mesh))
}

/// A mesh that was made of another by settings, while both live.
type Made = (Weak<Mesh>, Settings, Weak<Mesh>);

thread_local! {
    /// The latest one: in a simulation, thousands of actors ask for the same.
    static LATEST: RefCell<Option<Made>> = const { RefCell::new(None) };
}

/// The mesh with these settings. Actors of one thread that had the same mesh share the new one. What is remembered for
/// that decides nothing.
pub(crate) fn with(mesh: &Arc<Mesh>, settings: &Settings) -> Arc<Mesh> {
    let known = LATEST.with_borrow(|latest| {
        let (of, by, made) = latest.as_ref()?;
        let is_it = of.upgrade().is_some_and(|of| Arc::ptr_eq(&of, mesh)) && by == settings;
        is_it.then(|| made.upgrade()).flatten()
    });
    known.unwrap_or_else(|| {
        let mut made = Mesh::clone(mesh);
        // Outlier detection has the threshold of its own key, whichever of the two was set last.
        let is_last = |(_, setting): &&(ServiceId, Setting)| matches!(setting, Setting::PanicThreshold(..));
        let (last, first): (Vec<_>, Vec<_>) = settings.iter().partition(is_last);
        for (service, setting) in first.into_iter().chain(last) {
            setting.apply(&mut made.services[service.index()]);
        }
        let made = Arc::new(made);
        let latest = (Arc::downgrade(mesh), settings.clone(), Arc::downgrade(&made));
        LATEST.set(Some(latest));
        made
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::service;

    #[test]
    fn a_setting_is_found_by_its_key_and_changes_what_it_names() {
        let mesh = Arc::new(Mesh { services: vec![service(); 2], ..Mesh::default() });
        for key in Setting::KEYS {
            assert_eq!(Setting::of(key, &mesh.services[0]).map(|setting| setting.key()), Some(key));
        }
        assert_eq!(Setting::of("cores", &mesh.services[0]), None);
        let breaker = Some(Breaker { max_requests: Some(7), ..Breaker::default() });
        let mut settings = vec![];
        put(&mut settings, ServiceId(1), Setting::Breaker(Some(Breaker::default())));
        put(&mut settings, ServiceId(1), Setting::Balancer(Balancer::Random));
        put(&mut settings, ServiceId(1), Setting::Breaker(breaker));
        assert!(settings.len() == 2 && are_sound(&settings, &mesh));
        let new = with(&mesh, &settings);
        assert_eq!(new.services[0], mesh.services[0]);
        assert_eq!(
            (new.services[1].balancer, new.services[1].policies.as_ref().unwrap().breaker),
            (Balancer::Random, breaker)
        );
        assert!(Arc::ptr_eq(&new, &with(&mesh, &settings)), "actors share it");
        put(&mut settings, ServiceId(1), Setting::Breaker(None));
        assert_eq!(with(&new, &settings).services[1].policies, None);
    }

    #[test]
    fn a_panic_threshold_holds_whether_it_is_set_before_or_after_outlier_detection() {
        let mesh = Arc::new(Mesh { services: vec![service()], ..Mesh::default() });
        let outliers = Setting::Outliers(Some(Outliers::default()));
        let threshold = Setting::PanicThreshold(0.2, Some(0.2));
        let after = |settings: &[&Setting], mesh: &Arc<Mesh>| {
            let mut all = vec![];
            settings.iter().for_each(|setting| put(&mut all, ServiceId(0), Setting::clone(setting)));
            with(mesh, &all)
        };
        let of = |mesh: &Mesh| mesh.services[0].policies.as_ref().unwrap().outliers.unwrap().panic_threshold;
        assert_eq!(of(&after(&[&threshold, &outliers], &mesh)), 0.2);
        assert_eq!(of(&after(&[&outliers, &threshold], &mesh)), 0.2);
        // A caller that heard of both at once, and one that heard of the threshold first.
        let first = after(&[&threshold], &mesh);
        assert_eq!(of(&after(&[&threshold, &outliers], &first)), 0.2);
    }

    #[test]
    fn what_no_file_may_have_is_not_sound() {
        let mesh = Mesh { services: vec![service()], ..Mesh::default() };
        let least_loaded = Balancer::LeastLoaded { choices: Choices::All, refresh: Span::ZERO };
        let retry = super::super::Retry {
            backoff: super::super::Backoff::Fixed,
            base: Span::ZERO,
            cap: Span::ZERO,
            budget: None,
            budget_min: 0,
        };
        let retry = RetryRules { retry, retry_on: None, other_instance: 0, window_budget: None };
        for setting in [
            Setting::Balancer(least_loaded),
            Setting::Balancer(Balancer::Maglev { table_size: 65_536, keys: Default::default() }),
            Setting::Balancer(Balancer::LeastRequest { choices: Choices::Replaced(0) }),
            Setting::PanicThreshold(1.5, None),
            Setting::Split(vec![Part { version: None, nodes: None, weight: 0.0 }]),
            Setting::Subset(Some(0)),
            Setting::RateLimit(None, Some(TokenBucket { every: Span::ZERO, burst: 1 })),
            Setting::Mirror(Some(Mirror { share: 1.0, to: vec![(ServiceId(9), super::super::EndpointId(0))] })),
            Setting::Shed(None, None, None, Some(Codel { interval: Span::from_micros(1), ..Codel::default() })),
            Setting::Retry(Some(RetryRules { other_instance: u32::MAX, ..retry })),
        ] {
            assert!(!setting.is_sound(ServiceId(0), &mesh), "{setting:?}");
        }
        assert!(!Setting::Subset(None).is_sound(ServiceId(1), &mesh));
    }
}
