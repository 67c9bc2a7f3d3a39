//! The end of an attempt: its call ends too, or it is retried.

use meshsim_actor::Time;

use super::outstanding::{Outstanding, SentAttempt};
use super::{CallKey, CallOutcome, Caller};
use crate::actors::MeshCx;
use crate::mark::{self, TryEnded};
use crate::measure::Failure;
use crate::message::{Cancel, Msg, Tick};
use crate::model::{Mesh, RETRIES_MAX};
use crate::path::Hop;
use crate::policy::fallback::Fallback;
use crate::policy::{self, Applied, AttemptEnd, EndedAttempt, Marks, PolicyEvent};
use crate::proxy::Upstream;
use crate::request_id::Draw;

/// End of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Its number; `None` if it was not sent.
    pub(super) attempt: Option<u8>,
    pub(super) failure: Option<Failure>,
    /// Size of the reply.
    pub(super) bytes: u32,
    /// The call ends with it, even if it has retries left.
    pub(super) is_final: bool,
}

impl End {
    /// Of an attempt that could not be sent.
    pub(super) fn unsent(failure: Failure) -> Self {
        End { attempt: None, failure: Some(failure), bytes: 0, is_final: false }
    }
}

impl<Owner: Copy> Caller<Owner> {
    /// Ends an attempt that has no reply; a later one is ignored.
    pub(super) fn give_up(
        &mut self,
        key: CallKey,
        sent: SentAttempt,
        failure: Failure,
        mesh: &Mesh,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = self.calls.get_mut(key)?;
        if call.callee.traced {
            let callee = (call.callee.service, call.callee.endpoint);
            let hop = Hop::unanswered(callee, sent.to, sent.number, (sent.at, cx.now()), failure);
            call.path().append(hop.into(), 0);
        }
        let end = End { attempt: Some(sent.number), failure: Some(failure), bytes: 0, is_final: false };
        self.settle(key, end, mesh, cx)
    }

    /// Ends a call that waits for a retry, as the attempt before it has ended: its retries were taken away meanwhile.
    pub(super) fn withdraw(&mut self, key: CallKey, mesh: &Mesh, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Owner>> {
        let call = self.calls.get_mut(key)?;
        let failure = call.failed?;
        call.retried.withdraw(failure);
        call.attempt -= 1;
        if call.attempt == 0 {
            self.proxies.get(call.proxy).route(call.callee.service, mesh, cx).retrying -= 1;
        }
        self.settle(key, End { is_final: true, ..End::unsent(failure) }, mesh, cx)
    }

    /// Ends an attempt, with success or failure: the call ends too, unless it may be retried.
    pub(super) fn settle(
        &mut self,
        key: CallKey,
        end: End,
        mesh: &Mesh,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let now = cx.now();
        let End { failure, bytes, .. } = end;
        let call = &mut self.calls[key];
        let of = policy::applied(mesh, &call.callee);
        let route = self.proxies.get(call.proxy).route(call.callee.service, mesh, cx);
        let taken = end.attempt.and_then(|number| call.take(number));
        let (attempt, timer) = match taken {
            Some((sent, timer)) => {
                if let Some(known) = route.find(sent.pool) {
                    let closes = matches!(failure, Some(Failure::Timeout | Failure::Lost)) && known.keeps_connections();
                    let balancer = &mesh.service(call.callee.service).balancer;
                    match closes {
                        true => known.cancelled(sent.to),
                        false => known.ended(balancer, sent.to, now, now.since(sent.at)),
                    }
                }
                if let Some(of) = of {
                    let end = failure.map_or(AttemptEnd::Done, AttemptEnd::Failed);
                    let attempt = (key, sent.number);
                    let ended = EndedAttempt { to: sent.to, attempt, end, took: now.since(sent.at) };
                    let marks = route.policies().ended(of, ended, cx);
                    if marks != Marks::default() {
                        call.extra().marks.merge(&marks);
                    }
                }
                (sent.number, timer)
            }
            None => {
                forget(route, of, key, cx);
                if let Some(held) = &mut self.held {
                    held.forget(call.callee.service, key, now);
                }
                (call.attempt as u8, call.timer.take())
            }
        };
        if let Some(timer) = timer {
            cx.disarm(timer);
        }
        if attempt > 0 {
            route.retrying -= 1;
        }
        let id = call.callee.id;
        let note = |again, cx: &mut MeshCx<'_>| {
            let ended = TryEnded { failure, attempt, again, call: mark::short(key.number()) };
            cx.note(mark::TRY_ENDED, id.key, ended.value());
        };
        // Another attempt may still succeed.
        if let Some(reason) = failure
            && call.sent.is_some()
        {
            call.retried.count(reason);
            note(true, cx);
            return None;
        }

        let mut denied = None;
        if let Some(reason) = failure
            && !end.is_final
        {
            match retry_at(call, attempt, reason, of, route, mesh, now) {
                Ok(Some(at)) => {
                    route.retrying += 1;
                    call.attempt += 1;
                    call.retried.count(reason);
                    call.failed = Some(reason);
                    note(true, cx);
                    call.timer = Some(cx.arm(at, Tick::Retry(key)));
                    return None;
                }
                Ok(None) => {}
                Err(event) => denied = Some(event),
            }
        }
        route.active -= 1;
        let cancels = of.and_then(Applied::hedge).is_some_and(|hedge| hedge.cancel);
        if let Some(first) = call.sent {
            let others = call.in_flight().count();
            let marks = &mut call.extra().marks;
            (0..others).for_each(|_| marks.count(PolicyEvent::Unneeded));
            if first.number < attempt {
                marks.count(PolicyEvent::HedgeWon);
            }
        }
        if call.sent.is_some() || call.extra.is_some() {
            cancel_attempts(key, call, route, (of, cancels), cx);
        }
        if let Some(event) = denied {
            call.extra().marks.count(event);
        }
        let is_fallback = call.extra.as_ref().is_some_and(|extra| extra.before.is_some());
        let fallback = of.and_then(Applied::fallback).filter(|_| failure.is_some() && !is_fallback);
        if fallback.is_some() {
            call.extra().marks.count(PolicyEvent::FellBack);
        }
        let (began, marks) = (call.began, call.extra.as_ref().map_or_else(Marks::default, |extra| extra.marks));
        let counted = call.callee.counted((began, now), failure, call.retried, marks);
        if let Some(Fallback::Call(service, endpoint)) = fallback
            && call.attempt < RETRIES_MAX
            && now < call.callee.deadline
        {
            note(true, cx);
            let timeout = call.callee.policy.timeout_now(of);
            call.falls_back(counted, (service, endpoint), timeout, now);
            let callee = call.callee;
            call.timer = Some(cx.arm(now, Tick::Retry(key)));
            let route = self.proxies.get(call.proxy).route(callee.service, mesh, cx);
            // It is an attempt after the first, and counts as a retry.
            (route.active, route.retrying) = (route.active + 1, route.retrying + 1);
            if let Some(of) = policy::applied(mesh, &callee) {
                route.policies().began(of, now);
            }
            return None;
        }
        let (path, before) = call.extra.take().map_or_else(Default::default, |extra| (extra.path, extra.before));
        let (owner, retries) = (call.owner, call.attempt);
        self.calls.discard(key);
        note(false, cx);
        let is_static = fallback == Some(Fallback::Static);
        let Some(owner) = owner else {
            // Clients count no edges.
            self.copies.extend(counted.by.is_some().then_some(counted));
            return None;
        };
        Some(CallOutcome {
            owner,
            call: key,
            failure: failure.filter(|_| !is_static),
            degraded: is_static || before.is_some(),
            counted,
            before,
            retries,
            bytes,
            path,
        })
    }
}

/// Time of the retry of a call none of whose attempts is in flight; `None` if it has no retry left, or one would come
/// after its deadline; an error if a policy does not allow it.
#[cold]
fn retry_at<Owner>(
    call: &Outstanding<Owner>,
    attempt: u8,
    reason: Failure,
    of: Option<Applied<'_>>,
    route: &mut Upstream,
    mesh: &Mesh,
    now: Time,
) -> Result<Option<Time>, PolicyEvent> {
    let callee = &call.callee;
    let latest = call.attempt;
    let most = callee.policy.retries_now(of).min(RETRIES_MAX);
    let is_left = call.retries() < most && latest < RETRIES_MAX && now < callee.deadline;
    if !is_left {
        return Ok(None);
    }
    if of.is_some_and(|of| !of.is_retried(reason)) {
        return Err(PolicyEvent::NotRetried);
    }
    let retry = callee.policy.retry_now(of);
    let counts = (route.retrying, route.active);
    let mut rng = callee.id.draws(mesh.seed, attempt, Draw::Backoff);
    let at = now + policy::backoff(latest + 1, retry, &mut rng);
    // A retry after the deadline would be useless, and takes nothing from the budget.
    if at >= callee.deadline {
        return Ok(None);
    }
    policy::may_retry(of, route.find_policies(), counts, retry, now).map(|()| Some(at))
}

/// Takes the attempts of a call that ends out of those in flight: their replies are no longer awaited. If it `cancels`,
/// the instances are told so.
pub(super) fn cancel_attempts<Owner>(
    key: CallKey,
    call: &mut Outstanding<Owner>,
    route: &mut Upstream,
    (of, cancels): (Option<Applied<'_>>, bool),
    cx: &mut MeshCx<'_>,
) {
    if let Some(hedge) = call.extra.as_mut().and_then(|extra| extra.hedge.take()) {
        cx.disarm(hedge);
    }
    while let Some(sent) = call.sent {
        let timer = call.take(sent.number).and_then(|(_, timer)| timer);
        if let Some(timer) = timer {
            cx.disarm(timer);
        }
        if cancels {
            let incarnation = cx.incarnation() as u16;
            let cancel = Cancel { call: key.number(), attempt: sent.number, incarnation };
            cx.send(sent.to.node, Msg::Cancel(cancel));
        }
        route.retrying -= u32::from(sent.number > 0);
        if let Some(known) = route.find(sent.pool) {
            known.cancelled(sent.to);
        }
        if let Some(of) = of {
            let (attempt, end, took) = ((key, sent.number), AttemptEnd::Cancelled, cx.now().since(sent.at));
            route.policies().ended(of, EndedAttempt { to: sent.to, attempt, end, took }, cx);
        }
    }
}

/// A call that is not in flight does not wait at its caller any more, if it did.
pub(super) fn forget(route: &mut Upstream, of: Option<Applied<'_>>, key: CallKey, cx: &mut MeshCx<'_>) {
    if let (Some(of), Some(policies)) = (of, route.find_policies()) {
        policies.forget(of, key, cx);
    }
}
