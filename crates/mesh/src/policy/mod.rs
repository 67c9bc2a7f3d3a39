//! Policies of the calling side: what a caller does so that neither a slow nor a failing service harms it, nor it the
//! service.
//!
//! A policy keeps its own state, per proxy and called service, in `PolicyState`, and acts in three hooks. Before an
//! attempt, `candidates` says which instances it may go to, and `admit` whether it may be sent now; `ended` tells the
//! policies its outcome and latency. A call that no policy applies to has no state here and runs through none of the
//! hooks.
//!
//! To add one: a file here, with its settings, its state and the sources of its defaults; its settings in
//! [`ServicePolicies`] (of a service, for all its callers) or in [`CallRules`] (of a call); a field of `PolicyState`
//! and a line in the hooks; what it counts, in [`PolicyEvent`].

pub mod activator;
pub mod breaker;
pub mod budget;
mod changes;
pub mod connections;
mod deadline;
mod event;
pub mod fallback;
pub mod hedge;
pub mod mirror;
pub mod outlier;
mod retry;
pub mod token_bucket;

use std::sync::Arc;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::actors::MeshCx;
use crate::call::{CallKey, CallSpec};
use crate::measure::Failure;
use crate::model::{Mesh, Retry};
use crate::view::InstanceRef;

pub use changes::{CallChanges, RetryRules};
pub(crate) use deadline::try_until;
pub use event::{Marks, PolicyCounts, PolicyEvent, PolicyGroup};
pub(crate) use retry::{backoff, within_budget};

use activator::Activator;
use breaker::Breaker;
use budget::WindowBudget;
pub(crate) use connections::Connection;
use connections::Connections;
use fallback::Fallback;
use hedge::{Hedge, HedgeAfter, Latencies};
use mirror::Mirror;
use outlier::Outliers;
pub use retry::FailureSet;
use token_bucket::TokenBucket;

/// Policies of a service that each of its callers follows, with its own state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServicePolicies {
    /// Limits on what one caller has in flight.
    pub breaker: Option<Breaker>,
    /// Ejection of instances that fail.
    pub outliers: Option<Outliers>,
    /// Requests that one caller sends over time; a further one fails.
    pub rate_limit: Option<TokenBucket>,
    /// Copies of calls to another service.
    pub mirror: Option<Mirror>,
    /// Connections of a caller to each instance.
    pub connections: Option<Connections>,
    /// Holding of calls while there is no instance.
    pub activator: Option<Activator>,
    /// Policies of calls that operations have changed.
    pub calls: CallChanges,
}

/// Names one of [`Mesh::call_rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallRulesId(pub u16);

/// Policies of a call that few calls have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallRules {
    /// Failures that are retried; `None`: all.
    pub retry_on: Option<FailureSet>,
    /// Further draws of an instance for a retry, while the drawn one has had an attempt of the call. (Envoy's
    /// `previous_hosts` predicate with `host_selection_retry_max_attempts`.)
    pub other_instance: u32,
    /// Retry budget over a time, instead of that of [`Retry`].
    pub budget: Option<WindowBudget>,
    /// Further attempts while one is in flight.
    pub hedge: Option<Hedge>,
    /// Answer in the place of a call that has failed.
    pub fallback: Option<Fallback>,
}

/// Policies that apply to a call; there is at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'m> {
    service: Option<&'m ServicePolicies>,
    rules: Option<&'m CallRules>,
    /// Overrides by operations; they take precedence over the call's own policy.
    changes: Option<&'m CallChanges>,
}

impl<'m> Applied<'m> {
    fn breaker(self) -> Option<&'m Breaker> {
        self.service?.breaker.as_ref()
    }

    /// Holding of the call while its service has no instance, if it is held.
    pub(crate) fn activator(self) -> Option<&'m Activator> {
        self.service?.activator.as_ref()
    }

    fn connections(self) -> Option<&'m Connections> {
        self.service?.connections.as_ref()
    }

    fn rate_limit(self) -> Option<&'m TokenBucket> {
        self.service?.rate_limit.as_ref()
    }

    fn outliers(self) -> Option<&'m Outliers> {
        self.service?.outliers.as_ref()
    }

    /// Hedging of the call, if it is hedged.
    pub(crate) fn hedge(self) -> Option<&'m Hedge> {
        match self.changes.and_then(|changes| changes.hedge.as_ref()) {
            Some(hedge) => hedge.as_ref(),
            None => self.rules?.hedge.as_ref(),
        }
    }

    /// Copies of the call, if it is mirrored.
    pub(crate) fn mirror(self) -> Option<&'m Mirror> {
        self.service?.mirror.as_ref()
    }

    /// Answer in the place of the call if it fails.
    pub(crate) fn fallback(self) -> Option<Fallback> {
        match self.changes.and_then(|changes| changes.fallback) {
            Some(fallback) => fallback,
            None => self.rules?.fallback,
        }
    }

    /// Retry budget over a time, if it has one.
    fn window_budget(self) -> Option<&'m WindowBudget> {
        match self.retry_rules() {
            Some(rules) => rules.window_budget.as_ref(),
            None => self.rules?.budget.as_ref(),
        }
    }

    fn retry_rules(self) -> Option<&'m RetryRules> {
        self.changes?.retry.as_ref()
    }

    /// True if a retry follows this failure, if there is one left.
    pub(crate) fn is_retried(self, failure: Failure) -> bool {
        let on = match self.retry_rules() {
            Some(rules) => rules.retry_on,
            None => self.rules.and_then(|rules| rules.retry_on),
        };
        on.is_none_or(|on| on.contains(failure))
    }

    /// Draws of another instance for an attempt after the first. A hedge at the same instance would wait for the same
    /// thing.
    pub(crate) fn draws_of_another(self) -> u32 {
        let hedged = if self.hedge().is_some() { HEDGE_DRAWS } else { 0 };
        let of_retries = match self.retry_rules() {
            Some(rules) => rules.other_instance,
            None => self.rules.map_or(0, |rules| rules.other_instance),
        };
        of_retries.max(hedged)
    }
}

/// Draws of another instance for a hedge.
const HEDGE_DRAWS: u32 = 8;

/// The policies that apply to a call, if there are any.
#[inline]
pub(crate) fn applied<'m>(mesh: &'m Mesh, callee: &CallSpec) -> Option<Applied<'m>> {
    let service = mesh.service(callee.service).policies.as_deref();
    // A call of an external client may name any number.
    let rules = callee.policy.rules.and_then(|id| mesh.call_rules.get(usize::from(id.0)));
    let may_change = callee.policy.rules != Some(CallRulesId::UNCHANGED);
    let changes = service.filter(|_| may_change).map(|service| &service.calls);
    (service.is_some() || rules.is_some()).then_some(Applied { service, rules, changes })
}

/// Answer of the policies to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is sent now.
    Send,
    /// It waits at the caller; [`CallTick::Granted`](crate::call::CallTick::Granted) says when it may be sent.
    Wait,
    /// It fails at once, and is not retried.
    Overflow(PolicyEvent),
}

/// Outcome of an attempt, for the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// A good reply.
    Done,
    /// A bad reply, or none.
    Failed(Failure),
    /// The caller does not need its reply any more.
    Cancelled,
}

/// An attempt that is no longer in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedAttempt {
    /// The instance that received it.
    pub(crate) to: InstanceRef,
    /// The call, and the number of the attempt: 0 is the first, a higher one is a hedge or a retry.
    pub(crate) attempt: (CallKey, u8),
    /// Its outcome.
    pub(crate) end: AttemptEnd,
    /// Time since it was sent.
    pub(crate) took: Span,
}

/// State of all policies of one proxy for one called service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PolicyState {
    breaker: breaker::State,
    bucket: token_bucket::State,
    connections: Option<Box<connections::State>>,
    outliers: Option<Box<outlier::State>>,
    budget: Option<Box<budget::State>>,
    latencies: Option<Box<Latencies>>,
}

impl PolicyState {
    /// A call begins.
    #[inline(never)]
    pub(crate) fn began(&mut self, of: Applied<'_>, now: Time) {
        if let Some(budget) = of.window_budget() {
            self.budget.get_or_insert_default().deposit(budget, now);
        }
    }

    /// The instances that an attempt may go to; empty if there are none.
    #[inline(never)]
    pub(crate) fn candidates(&mut self, of: Applied<'_>, all: &Arc<[InstanceRef]>, now: Time) -> Arc<[InstanceRef]> {
        match of.outliers() {
            Some(outliers) => self.outliers.get_or_insert_default().candidates(outliers, all, now),
            None => all.clone(),
        }
    }

    /// May an attempt of the call `key` be sent now? One that may counts as in flight from now on.
    #[inline(never)]
    pub(crate) fn admit(&mut self, of: Applied<'_>, key: CallKey, now: Time) -> Admission {
        // One that has waited for a connection took its token before.
        if let Some(bucket) = of.rate_limit()
            && !self.breaker.has_waited(key)
            && !self.bucket.take(bucket, now)
        {
            return Admission::Overflow(PolicyEvent::RateLimited);
        }
        of.breaker().map_or(Admission::Send, |breaker| self.breaker.admit(breaker, key))
    }

    /// An attempt of a call is to be sent to an instance: does it have a connection?
    #[inline(never)]
    pub(crate) fn connect(
        &mut self,
        of: Applied<'_>,
        to: InstanceRef,
        attempt: (CallKey, u8),
        cx: &mut MeshCx<'_>,
    ) -> Connection {
        let Some(of) = of.connections() else { return Connection::Open };
        self.connections.get_or_insert_default().connect(of, to, attempt, cx)
    }

    /// True if an attempt may be sent now, without a wait.
    pub(crate) fn has_room(&self, of: Applied<'_>, now: Time) -> bool {
        of.breaker().is_none_or(|breaker| self.breaker.has_room(breaker))
            && of.rate_limit().is_none_or(|bucket| self.bucket.has_one(bucket, now))
    }

    /// An attempt is no longer in flight. Returns the events that this caused.
    #[inline(never)]
    pub(crate) fn ended(&mut self, of: Applied<'_>, attempt: EndedAttempt, cx: &mut MeshCx<'_>) -> Marks {
        let EndedAttempt { to, attempt: (_, number), end, took } = attempt;
        if let (Some(of), Some(state)) = (of.connections(), &mut self.connections) {
            state.ended(of, &attempt, cx);
        }
        if let Some(breaker) = of.breaker() {
            self.breaker.ended(breaker, cx);
        }
        if let Some(Hedge { after: HedgeAfter::Quantile(quantile), .. }) = of.hedge()
            && number == 0
            && !matches!(end, AttemptEnd::Failed(_))
        {
            // Of first attempts alone. One whose hedge won has taken longer than the delay already: so long counts, or
            // the slow ones would be missing.
            self.latencies.get_or_insert_default().record(took, *quantile);
        }
        match of.outliers() {
            Some(outliers) => self.outliers.get_or_insert_default().ended(outliers, to, end, cx.now()),
            None => Marks::default(),
        }
    }

    /// The call `key`, none of whose attempts is in flight, does not wait to be sent any more.
    #[inline(never)]
    pub(crate) fn forget(&mut self, of: Applied<'_>, key: CallKey, cx: &mut MeshCx<'_>) {
        if let Some(breaker) = of.breaker() {
            self.breaker.forget(breaker, key, cx);
        }
    }

    /// The policies have changed. What is in flight stays so, and what waits goes on as the new limits allow.
    pub(crate) fn changed(&mut self, was: Option<&ServicePolicies>, is: Option<&ServicePolicies>, cx: &mut MeshCx<'_>) {
        let none = ServicePolicies::default();
        let (was, is) = (was.unwrap_or(&none), is.unwrap_or(&none));
        if was.breaker != is.breaker {
            self.breaker.changed(is.breaker.as_ref(), cx);
        }
        if was.rate_limit != is.rate_limit {
            self.bucket = token_bucket::State::default();
        }
        if was.outliers != is.outliers {
            self.outliers = self.outliers.take().filter(|_| is.outliers.is_some());
            self.outliers.iter_mut().for_each(|outliers| outliers.look_again());
        }
        if was.connections != is.connections
            && let Some(mut state) = self.connections.take()
        {
            state.changed(is.connections.as_ref(), cx);
            self.connections = is.connections.is_some().then_some(state);
        }
        if was.calls.retry != is.calls.retry {
            // Deposits under the former rules do not count toward the new budget.
            self.budget = None;
        }
        if was.calls.hedge != is.calls.hedge
            && let (Some(latencies), Some(Some(Hedge { after: HedgeAfter::Quantile(quantile), .. }))) =
                (&mut self.latencies, is.calls.hedge)
        {
            latencies.take_quantile(quantile);
        }
    }

    /// Time from the send of an attempt until it is hedged, if it is.
    pub(crate) fn hedge_delay(&self, hedge: &Hedge) -> Option<Span> {
        match hedge.after {
            HedgeAfter::Delay(delay) => Some(delay),
            HedgeAfter::Quantile(_) => self.latencies.as_ref()?.delay(),
        }
    }
}

/// May one more retry be in flight, of a proxy that has `retrying` of `active` calls in retries? A budget overrides the
/// breaker's number of retries, as in Envoy; a budget over a time overrides both.
#[inline(never)]
pub(crate) fn may_retry(
    of: Option<Applied<'_>>,
    state: Option<&mut PolicyState>,
    (retrying, active): (u32, u32),
    retry: &Retry,
    now: Time,
) -> Result<(), PolicyEvent> {
    if let Some(budget) = of.and_then(Applied::window_budget) {
        let has_one = state.is_some_and(|state| state.budget.get_or_insert_default().withdraw(budget, now));
        return if has_one { Ok(()) } else { Err(PolicyEvent::OverBudget) };
    }
    match (retry.budget, of.and_then(Applied::breaker).and_then(|breaker| breaker.max_retries)) {
        (None, Some(most)) if retrying >= most => Err(PolicyEvent::OverflowRetries),
        (None, _) => Ok(()),
        (Some(_), _) if within_budget(retrying, active, retry) => Ok(()),
        (Some(_), _) => Err(PolicyEvent::OverBudget),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("policy", &include_str!("mod.rs").replace("pub mod", "mod"));
    }
}
