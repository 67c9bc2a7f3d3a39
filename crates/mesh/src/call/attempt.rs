//! Attempts of a call: each chooses an instance, and is sent.

use std::borrow::Cow;
use std::sync::Arc;

use meshsim_actor::{Span, Time};

use super::held::has_instances;
use super::outstanding::{Extra, Outstanding, SentAttempt, pool};
use super::settle::End;
use super::{CallKey, CallOutcome, CallSpec, CallTick, Caller, Leaving};
use crate::actors::MeshCx;
use crate::balance::Occasion;
use crate::balance::hosts::Hosts;
use crate::balance::narrow::{self, Scene};
use crate::balance::{split, subset};
use crate::impaired::{self, Sending};
use crate::mark;
use crate::measure::Failure;
use crate::message::{Msg, Request, Tick};
use crate::model::{Mesh, RETRIES_MAX};
use crate::policy::hedge::Hedge;
use crate::policy::{self, Admission, Applied, Connection, PolicyEvent};
use crate::proxy::{Pool, Proxies, Whose};
use crate::request_id::Draw;
use crate::view::{InstanceRef, InstanceView};

impl<Owner: Copy> Caller<Owner> {
    /// Sends the latest attempt of a call, if there is an instance for it and the policies admit it.
    pub(super) fn attempt(
        &mut self,
        key: CallKey,
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = &mut self.calls[key];
        let (id, service, of) = (call.callee.id, call.callee.service, policy::applied(mesh, &call.callee));
        // Drawn at the first attempt only, from its own stream, so that a canary moves no other draw.
        let (pool, instances) = pool(call, view, |share| id.draws(mesh.seed, 0, Draw::Version).chance(share));
        let (pool, instances) =
            narrowed(self.hosts.as_deref(), &mut self.proxies, call, (pool, instances), (mesh, view), cx);
        if instances.is_empty() {
            return match of.and_then(Applied::activator).filter(|_| !has_instances(view, service)) {
                Some(activator) => self.hold(key, activator, mesh, cx),
                None => self.settle(key, End::unsent(Failure::NoInstance), mesh, cx),
            };
        }
        let Some(of) = of else {
            return self.send(key, None, (pool, &instances), mesh, view, cx);
        };
        let policies = self.proxies.get(call.proxy).route(call.callee.service, mesh, cx).policies();
        let candidates = policies.candidates(of, &instances, cx.now());
        if candidates.is_empty() {
            return self.settle(key, End::unsent(Failure::NoInstance), mesh, cx);
        }
        match policies.admit(of, key, cx.now()) {
            Admission::Send => self.send(key, Some(of), (pool, &candidates), mesh, view, cx),
            Admission::Wait => {
                call.extra().marks.count(PolicyEvent::Waited);
                cx.note(mark::HELD, mark::short(key.number()), call.attempt.into());
                let until = policy::try_until(cx.now(), call.callee.policy.timeout_now(Some(of)), call.callee.deadline);
                call.timer = (until < Time::NEVER).then(|| cx.arm(until, Tick::Timeout(key)));
                None
            }
            Admission::Overflow(event) => {
                call.extra().marks.count(event);
                let end = End { is_final: true, ..End::unsent(Failure::Refused) };
                self.settle(key, end, mesh, cx)
            }
        }
    }

    /// Sends the latest attempt of a call to one of `instances`, which are not empty.
    fn send(
        &mut self,
        key: CallKey,
        of: Option<Applied<'_>>,
        (pool, instances): (Pool, &Arc<[InstanceRef]>),
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = &mut self.calls[key];
        let (service, now, attempt) = (call.callee.service, cx.now(), call.attempt as u8);
        let known = self.proxies.get(call.proxy).known(service, pool, mesh, cx);
        let balancer = &mesh.service(service).balancer;
        let board = self.boards.as_ref().and_then(|boards| boards.of(service));
        let young = self.young.as_ref().map_or(&[][..], |young| young.of(service));
        let occasion = Occasion { mesh, service, root: call.callee.id.root, now, board, young };
        let mut rng = call.callee.id.draws(mesh.seed, attempt, Draw::Instance);
        let mut to = instances[known.pick(balancer, instances, &occasion, &mut rng)];
        let mut tick = Tick::Timeout(key);
        if let Some(of) = of {
            let mut draws = of.draws_of_another();
            if draws > 0 {
                let extra = call.extra();
                while draws > 0 && extra.tried.contains(&to) {
                    known.cancelled(to);
                    to = instances[known.pick(balancer, instances, &occasion, &mut rng)];
                    draws -= 1;
                }
                extra.tried.push(to);
            }
            if let Some(hedge) = of.hedge() {
                tick = Tick::Call(key, CallTick::Attempt(attempt));
                let policies = self.proxies.get(call.proxy).route(service, mesh, cx).policies();
                arm_hedge(call.extra(), key, hedge, policies.hedge_delay(hedge), cx);
            }
        }
        // The timeout of an attempt that was held began with that.
        let held = call.extra.as_ref().and_then(|extra| extra.held).filter(|(held, _)| *held == call.attempt);
        let since = held.map_or(now, |(_, since)| since);
        let until = policy::try_until(since, call.callee.policy.timeout_now(of), call.callee.deadline);
        let sent = SentAttempt { to, pool, number: attempt, at: now, view: view.version };
        let timer = (until < Time::NEVER).then(|| cx.arm(until, tick));
        if call.sent.is_some() {
            call.extra().beside.push((sent, timer));
        } else {
            (call.sent, call.timer) = (Some(sent), timer);
        }
        let held = match impaired::sending(&call.callee, attempt, mesh, cx) {
            Sending::Now => Span::ZERO,
            Sending::Late(wait) => wait,
            Sending::Never => return None,
            Sending::Fails(failure) => return self.give_up(key, sent, failure, mesh, cx),
        };
        let connection = of.map_or(Connection::Open, |of| {
            let policies = self.proxies.get(call.proxy).route(service, mesh, cx).policies();
            policies.connect(of, to, (key, attempt), cx)
        });
        let wait = match connection {
            Connection::Open => held,
            Connection::SetUp(time) => {
                call.extra().marks.count(PolicyEvent::Connected);
                held + time
            }
            Connection::Wait => {
                call.extra().marks.count(PolicyEvent::Pooled);
                return None;
            }
        };
        match wait.is_zero() {
            true => {
                let opens = matches!(connection, Connection::SetUp(_));
                self.leave(Leaving { call: key, attempt, opens }, to, mesh, cx);
            }
            false => _ = cx.arm(now + wait, Tick::Send { call: key, attempt }),
        }
        None
    }

    /// Sends an attempt that the machine has held back, unless its caller has given it up meanwhile.
    pub(crate) fn send_late(&mut self, key: CallKey, attempt: u8, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        let Some(call) = self.calls.get(key) else { return };
        let to = call.in_flight().find(|sent| sent.number == attempt).map(|sent| sent.to);
        // What waited for a connection has opened one, or has got that of another.
        let opens = call.extra.as_ref().is_some_and(|extra| extra.marks.of(PolicyEvent::Connected) > 0);
        if let Some(to) = to {
            self.leave(Leaving { call: key, attempt, opens }, to, mesh, cx);
        }
    }

    /// An attempt leaves its caller: through the caller's proxy, where it has one.
    #[inline]
    fn leave(&mut self, leaving: Leaving, to: InstanceRef, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        match mesh.proxy_of(cx) {
            None => transmit(leaving.call, &self.calls[leaving.call].callee, leaving.attempt, to, cx),
            Some(_) => {
                cx.note(mark::PASSING, mark::short(leaving.call.number()), leaving.attempt.into());
                self.leaving.push_back(leaving);
            }
        }
    }

    /// True if attempts are to pass the callers' proxies.
    #[inline]
    pub(crate) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// The next attempt that is to pass its caller's proxy: what it is, and whose proxy.
    pub(crate) fn next_leaving(&mut self) -> Option<(Leaving, CallSpec, Option<Whose>)> {
        while let Some(leaving) = self.leaving.pop_front() {
            if let Some(call) = self.calls.get(leaving.call)
                && call.in_flight().any(|sent| sent.number == leaving.attempt)
            {
                let (callee, proxy) = (call.callee, call.proxy);
                return Some((leaving, callee, self.proxies.get(proxy).whose()));
            }
        }
        None
    }

    /// An attempt has passed its caller's proxy: it is sent, unless its caller has given it up meanwhile.
    pub(crate) fn pass_on(&mut self, leaving: Leaving, cx: &mut MeshCx<'_>) {
        if let Some(call) = self.calls.get(leaving.call)
            && let Some(sent) = call.in_flight().find(|sent| sent.number == leaving.attempt)
        {
            transmit(leaving.call, &call.callee, leaving.attempt, sent.to, cx);
        }
    }

    /// Sends an attempt beside those in flight, if the policies allow it.
    pub(super) fn hedge(
        &mut self,
        key: CallKey,
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = &mut self.calls[key];
        call.extra().hedge = None;
        let callee = call.callee;
        let of = policy::applied(mesh, &callee)?;
        // Between two attempts there is nothing to hedge; and hedges may have been taken away since it was armed.
        let is_allowed = of.hedge().is_some_and(|hedge| call.extra().hedges < hedge.max);
        if call.sent.is_none() || call.attempt >= RETRIES_MAX || !is_allowed {
            return None;
        }
        call.attempt += 1;
        let (pool, all) = pool(call, view, |_| false);
        let (pool, all) = narrowed(self.hosts.as_deref(), &mut self.proxies, call, (pool, all), (mesh, view), cx);
        let route = self.proxies.get(call.proxy).route(callee.service, mesh, cx);
        let counts = (route.retrying, route.active);
        let instances = route.policies().candidates(of, &all, cx.now());
        // The budget comes last, so that a hedge that is not sent takes nothing from it.
        let retry = callee.policy.retry_now(Some(of));
        let is_sent = !instances.is_empty()
            && route.policies().has_room(of, cx.now())
            && policy::may_retry(Some(of), Some(route.policies()), counts, retry, cx.now()).is_ok()
            && route.policies().admit(of, key, cx.now()) == Admission::Send;
        if !is_sent {
            call.attempt -= 1;
            call.extra().marks.count(PolicyEvent::HedgeDenied);
            return None;
        }
        route.retrying += 1;
        let extra = call.extra();
        extra.hedges += 1;
        extra.marks.count(PolicyEvent::Hedged);
        self.send(key, Some(of), (pool, &instances), mesh, view, cx)
    }
}

/// Sets the timer of the next hedge, if the call may have one more.
#[inline(never)]
fn arm_hedge(extra: &mut Extra, key: CallKey, hedge: &Hedge, delay: Option<Span>, cx: &mut MeshCx<'_>) {
    if let Some(old) = extra.hedge.take() {
        cx.disarm(old);
    }
    if let Some(delay) = delay.filter(|_| extra.hedges < hedge.max) {
        extra.hedge = Some(cx.arm(cx.now() + delay, Tick::Call(key, CallTick::Hedge)));
    }
}

/// Sends an attempt to an instance.
#[inline]
fn transmit(key: CallKey, callee: &CallSpec, attempt: u8, to: InstanceRef, cx: &mut MeshCx<'_>) {
    let request = Request {
        id: callee.id,
        call: key.number(),
        deadline: callee.deadline,
        ordinal: to.ordinal,
        bytes: callee.bytes,
        service: callee.service,
        endpoint: callee.endpoint,
        attempt,
        traced: callee.traced,
        incarnation: cx.incarnation() as u16,
    };
    cx.send(to.node, Msg::Request(request));
}

/// The instances among which an attempt of the call chooses: all of its pool, unless the service has a selection.
fn narrowed<'a, Owner>(
    hosts: Option<&Hosts>,
    proxies: &mut Proxies,
    call: &Outstanding<Owner>,
    (pool, instances): (Pool, &'a Arc<[InstanceRef]>),
    (mesh, view): (&Mesh, &InstanceView),
    cx: &MeshCx<'_>,
) -> (Pool, Cow<'a, Arc<[InstanceRef]>>) {
    let callee = &call.callee;
    let Some(selection) = mesh.service(callee.service).selection.as_deref().filter(|_| pool != Pool::Canary) else {
        return (pool, Cow::Borrowed(instances));
    };
    let failed = hosts.and_then(|hosts| hosts.of(callee.service));
    let scene = Scene { mesh, view, caller: (cx.id(), callee.by), failed };
    let mut rng = callee.id.draws(mesh.seed, call.attempt as u8, Draw::Zone);
    let (mut pool, mut narrowed) = narrow::narrowed(selection, pool, instances, &scene, &mut rng);
    // All attempts have the same part.
    if !selection.split.is_empty()
        && let mut rng = callee.id.draws(mesh.seed, 0, Draw::Part)
        && let Some(part) = split::part(&selection.split, &narrowed, mesh, &mut rng)
    {
        (pool, narrowed) = part;
    }
    if let Some(size) = selection.subset {
        let proxy = proxies.get(call.proxy);
        let ordinal = proxy.whose().map(|(_, ordinal)| ordinal);
        let place = subset::place((cx.id(), callee.by, ordinal), mesh, view);
        narrowed = proxy.route(callee.service, mesh, cx).subset().of(&narrowed, size, place);
    }
    (pool, Cow::Owned(narrowed))
}
