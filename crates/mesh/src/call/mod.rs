//! The calling side: calls of the proxy of an instance or of a client.
//!
//! It chooses an instance, sends, waits, gives up and retries. An `Owner`, a small value that is returned with the
//! result, identifies the caller.

mod outstanding;

use std::sync::Arc;

use meshsim_actor::{ActorId, Time};
use serde::{Deserialize, Serialize};
use slotmap::{Key, KeyData, new_key_type};

use crate::actors::MeshCx;
use crate::balance::Occasion;
use crate::balance::hosts::Hosts;
use crate::balance::narrow::{self, Scene};
use crate::balance::weights::Young;
use crate::board::{Boards, LoadBoard};
use crate::coordinator::instance_registry::FAILED_NODES_MAX;
use crate::edge::{Counted, Edge, FailedAttempts};
use crate::impaired::{self, Sending};
use crate::mark::{self, TryEnded};
use crate::measure::Failure;
use crate::message::{Instance, InstanceView, Msg, Reply, Request, Tick};
use crate::model::{CallPolicy, EndpointId, Mesh, RETRIES_MAX, ServiceId};
use crate::path::{Hop, Path};
use crate::policy::{self, Admission, Applied, AttemptEnd, EndedAttempt, Marks, PolicyEvent};
use crate::proxy::{Pool, Proxies, ProxyId, Upstream};
use crate::request_id::{Draw, RequestId};
use crate::slots::Slots;

use outstanding::{Outstanding, SentAttempt, pool};

new_key_type! {
    /// Names one call of one caller.
    pub struct CallKey;
}

/// Timer of a call that only few calls have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallTick {
    /// A call that waited at the caller may be sent.
    Granted,
    /// One of several attempts in flight has timed out: its number.
    Attempt(u8),
    /// The call is hedged, if it is still in flight.
    Hedge,
}

impl CallKey {
    /// The number that the requests of the call bear: [`Request::call`].
    pub fn number(self) -> u64 {
        self.data().as_ffi()
    }
}

/// Bound on the calls that the proxies of one actor may have in flight together; a call beyond it fails as refused. It
/// bounds memory, and is far above that of a real proxy.
pub const CALLS_MAX: usize = 1 << 20;

/// The calls of one actor in flight, and the proxies that make them.
///
/// A client and a gateway have one proxy; a node has one for each of its instances that calls, or one for all
/// ([`ProxyPer`](crate::model::ProxyPer)). The calls lie together, so that a reply finds its call whichever proxy made
/// it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Caller<Owner> {
    calls: Slots<CallKey, Outstanding<Owner>>,
    proxies: Proxies,
    /// Failed instances that are remembered; `None`: none are.
    hosts: Option<Box<Hosts>>,
    /// Load boards; `None`: there are none.
    boards: Option<Box<Boards>>,
    /// Instances in slow start; `None`: there are none.
    young: Option<Box<Young>>,
}

/// Receiver, size and policy of a call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSpec {
    /// Name of the request and of the call made for it.
    pub id: RequestId,
    /// The service that calls; `None` for a client and a gateway.
    pub by: Option<ServiceId>,
    /// The caller continues without it if it fails.
    pub optional: bool,
    /// Service to call.
    pub service: ServiceId,
    /// Endpoint to call.
    pub endpoint: EndpointId,
    /// Size of the request.
    pub bytes: u32,
    /// Timeout and retries.
    pub policy: CallPolicy,
    /// Deadline of all attempts together; [`Time::NEVER`] if there is none.
    pub deadline: Time,
    /// The path that it takes is wanted.
    pub traced: bool,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOutcome<Owner> {
    /// Owner of the call.
    pub owner: Owner,
    /// The call; the null key if it was refused before it had one.
    pub call: CallKey,
    /// Reason of the failure; `None` on success.
    pub failure: Option<Failure>,
    /// Succeeded although an optional call failed, at any depth.
    pub degraded: bool,
    /// Description of the call for the counts by edge.
    pub counted: Counted,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Size of the reply; 0 if there was none.
    pub bytes: u32,
    /// The path of all attempts, if it was requested and one was sent.
    pub path: Option<Box<Path>>,
}

impl CallSpec {
    fn counted(&self, retried: FailedAttempts, began: Time, marks: Marks) -> Counted {
        let edge = Edge { service: self.service, endpoint: self.endpoint };
        Counted { by: self.by, edge, optional: self.optional, retried, began, marks }
    }
}

/// Result of a call that is refused before it is sent.
const REFUSED_AT_ONCE: TryEnded = TryEnded { failure: Some(Failure::Refused), attempt: 0, again: false, call: 0 };

impl<Owner> CallOutcome<Owner> {
    /// A call that is refused before it is sent.
    pub(crate) fn refused(owner: Owner, callee: &CallSpec, cx: &mut MeshCx<'_>) -> Self {
        let now = cx.now();
        cx.note(mark::TRY_ENDED, callee.id.key, REFUSED_AT_ONCE.value());
        let (failure, counted) =
            (Some(Failure::Refused), callee.counted(FailedAttempts::default(), now, Marks::default()));
        CallOutcome {
            owner,
            call: CallKey::null(),
            failure,
            degraded: false,
            counted,
            retries: 0,
            bytes: 0,
            path: None,
        }
    }
}

impl<Owner: Copy> Default for Caller<Owner> {
    fn default() -> Self {
        Caller::new()
    }
}

impl<Owner: Copy> Caller<Owner> {
    /// No calls in flight, no instances known.
    pub fn new() -> Self {
        Caller { calls: Slots::default(), proxies: Proxies::new(), hosts: None, boards: None, young: None }
    }

    /// The proxies that call.
    pub(crate) fn proxies(&mut self) -> &mut Proxies {
        &mut self.proxies
    }

    /// Takes in a load board of the coordinator.
    pub(crate) fn take_board(&mut self, board: Arc<LoadBoard>, mesh: &Mesh) {
        if board.is_sound(mesh) {
            self.boards.get_or_insert_default().take(board);
        }
    }

    /// Begins a call of `proxy`. What can't even be sent, and may not be retried, has ended at once.
    pub fn call(
        &mut self,
        callee: CallSpec,
        owner: Owner,
        proxy: ProxyId,
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        if self.calls.len() >= CALLS_MAX {
            return Some(CallOutcome::refused(owner, &callee, cx));
        }
        let route = self.proxies.get(proxy).route(callee.service, mesh, cx);
        route.active += 1;
        if let Some(of) = policy::applied(mesh, &callee) {
            route.policies().began(of, cx.now());
        }
        let call = Outstanding::new(callee, owner, proxy, cx.now());
        let key = self.calls.insert(call);
        self.attempt(key, mesh, view, cx)
    }

    /// Processes a reply. `None`: it came too late (for the attempt, the call, or this incarnation of the caller), or
    /// the call continues.
    pub fn reply(&mut self, reply: Reply, mesh: &Mesh, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Owner>> {
        let key = CallKey::from(KeyData::from_ffi(reply.call));
        let call = self.calls.get_mut(key)?;
        if reply.life != cx.incarnation() as u16 {
            return None;
        }
        if !call.in_flight().any(|sent| sent.number == reply.attempt) {
            let path = call.extra.as_mut().and_then(|extra| extra.path.as_mut());
            if let (Some(path), Some(late)) = (path, reply.path)
                && call.callee.traced
            {
                let given_up = path.given_up().find(|hop| hop.attempt == reply.attempt).copied();
                if let Some(given_up) = given_up {
                    path.come_late(&given_up, *late, 0);
                }
            }
            return None;
        }
        if let Some(path) = reply.path
            && call.callee.traced
        {
            call.path().append(*path, 0);
        }
        let end = End { attempt: Some(reply.attempt), failure: reply.failure, bytes: reply.bytes, is_final: false };
        let ended = self.settle(key, end, mesh, cx)?;
        Some(CallOutcome { degraded: reply.degraded && reply.failure.is_none(), ..ended })
    }

    /// Handles the timeout of an attempt, or of the wait before it.
    pub fn timeout(&mut self, key: CallKey, mesh: &Mesh, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Owner>> {
        let call = self.calls.get_mut(key)?;
        call.timer = None;
        match call.sent {
            Some(sent) => self.give_up(key, sent, Failure::Timeout, mesh, cx),
            None => self.settle(key, End::unsent(Failure::Timeout), mesh, cx),
        }
    }

    /// Handles another timer of a call.
    pub fn tick(
        &mut self,
        (key, tick): (CallKey, CallTick),
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = self.calls.get_mut(key)?;
        match tick {
            CallTick::Granted => {
                // The limit of the wait; the attempt has one of its own.
                if let Some(timer) = call.timer.take() {
                    cx.disarm(timer);
                }
                self.attempt(key, mesh, view, cx)
            }
            CallTick::Attempt(number) => {
                let sent = call.in_flight().find(|sent| sent.number == number)?;
                self.give_up(key, sent, Failure::Timeout, mesh, cx)
            }
            CallTick::Hedge => self.hedge(key, mesh, view, cx),
        }
    }

    /// The backoff is over.
    pub fn retry(
        &mut self,
        key: CallKey,
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        self.calls.get_mut(key)?.timer = None;
        self.attempt(key, mesh, view, cx)
    }

    /// Handles a new view: attempts at nodes that failed since they were sent are lost.
    pub fn view_changed(
        &mut self,
        old: &InstanceView,
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Vec<CallOutcome<Owner>> {
        if mesh.has_slow_start() {
            let young = self.young.get_or_insert_default();
            young.follow(old, mesh, view, cx.now());
            if young.is_empty() {
                self.young = None;
            }
        }
        if mesh.remembers_hosts() {
            let hosts = self.hosts.get_or_insert_default();
            hosts.follow(old, mesh, view);
            if hosts.is_empty() {
                self.hosts = None;
            }
        }
        if view.failed_nodes == old.failed_nodes {
            return Vec::new();
        }
        let is_lost = |sent: &SentAttempt| view.fell_after(sent.to.node, sent.view);
        let lost: Vec<(CallKey, SentAttempt)> = self
            .calls
            .iter()
            .flat_map(|(key, call)| call.in_flight().filter(is_lost).map(move |sent| (key, sent)))
            .collect();
        lost.into_iter().filter_map(|(key, sent)| self.give_up(key, sent, Failure::Lost, mesh, cx)).collect()
    }

    /// Drops the calls of owners that are gone: no caller waits for their replies, and they no longer count.
    pub fn cancel(&mut self, is_gone: impl Fn(&Owner) -> bool, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        let proxies = &mut self.proxies;
        self.calls.retain(|key, call| {
            if !is_gone(&call.owner) {
                return true;
            }
            if let Some(route) = proxies.get(call.proxy).find(call.callee.service) {
                route.active -= 1;
                if call.sent.is_none() {
                    route.retrying -= u32::from(call.attempt > 0);
                    forget(route, &call.callee, key, mesh, cx);
                }
                cancel_attempts(route, call, mesh, cx);
            }
            if let Some(timer) = call.timer.take() {
                cx.disarm(timer);
            }
            false
        });
    }

    /// Owners of the calls in flight.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.calls.iter().map(|(_, call)| &call.owner)
    }

    /// Number of calls in flight.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    fn attempt(
        &mut self,
        key: CallKey,
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = &mut self.calls[key];
        let callee = call.callee;
        let id = callee.id;
        // Drawn at the first attempt only, from its own stream, so that a canary moves no other draw.
        let (pool, instances) = pool(call, view, |share| id.draws(mesh.seed, 0, Draw::Version).chance(share));
        let narrowed = narrowed(self.hosts.as_deref(), call, (pool, instances), mesh, view, cx);
        let (pool, instances) = narrowed.as_ref().map_or((pool, instances), |(pool, instances)| (*pool, instances));
        if instances.is_empty() {
            return self.settle(key, End::unsent(Failure::NoInstance), mesh, cx);
        }
        let route = self.proxies.get(call.proxy).route(callee.service, mesh, cx);
        let candidates;
        let instances = match policy::applied(mesh, &callee) {
            None => instances,
            Some(of) => {
                candidates = route.policies().candidates(of, instances, cx.now());
                if candidates.is_empty() {
                    return self.settle(key, End::unsent(Failure::NoInstance), mesh, cx);
                }
                match route.policies().admit(of, key) {
                    Admission::Send => {}
                    Admission::Wait => {
                        call.extra().marks.count(PolicyEvent::Waited);
                        let until = policy::try_until(cx.now(), &callee.policy, callee.deadline);
                        call.timer = (until < Time::NEVER).then(|| cx.arm(until, Tick::Timeout(key)));
                        return None;
                    }
                    Admission::Overflow(event) => {
                        call.extra().marks.count(event);
                        let end = End { is_final: true, ..End::unsent(Failure::Refused) };
                        return self.settle(key, end, mesh, cx);
                    }
                }
                &candidates
            }
        };
        self.send(key, (pool, instances), mesh, view, cx)
    }

    /// Sends the latest attempt of a call to one of `instances`, which are not empty.
    fn send(
        &mut self,
        key: CallKey,
        (pool, instances): (Pool, &Arc<[Instance]>),
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = &mut self.calls[key];
        let callee = call.callee;
        let known = self.proxies.get(call.proxy).known(callee.service, pool, mesh, cx);
        let now = cx.now();
        let attempt = call.attempt as u8;
        let balancer = &mesh.service(callee.service).balancer;
        let board = self.boards.as_ref().and_then(|boards| boards.of(callee.service));
        let young = self.young.as_ref().map_or(&[][..], |young| young.of(callee.service));
        let occasion = Occasion { mesh, service: callee.service, root: callee.id.root, now, board, young };
        let mut rng = callee.id.draws(mesh.seed, attempt, Draw::Instance);
        let mut to = instances[known.pick(balancer, instances, &occasion, &mut rng)];
        let until = policy::try_until(now, &callee.policy, callee.deadline);
        let mut tick = Tick::Timeout(key);
        if let Some(of) = policy::applied(mesh, &callee) {
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
                let route = self.proxies.get(call.proxy).route(callee.service, mesh, cx);
                let delay = route.policies().hedge_delay(hedge);
                let extra = call.extra();
                if let Some(old) = extra.hedge.take() {
                    cx.disarm(old);
                }
                if let Some(delay) = delay.filter(|_| extra.hedges < hedge.max) {
                    extra.hedge = Some(cx.arm(now + delay, Tick::Call(key, CallTick::Hedge)));
                }
            }
        }
        let sent = SentAttempt { to, pool, number: attempt, at: now, view: view.version };
        let timer = (until < Time::NEVER).then(|| cx.arm(until, tick));
        if call.sent.is_some() {
            call.extra().beside.push((sent, timer));
        } else {
            (call.sent, call.timer) = (Some(sent), timer);
        }
        match impaired::sending(&callee, attempt, mesh, cx) {
            Sending::Now => transmit(key, &callee, attempt, to, cx),
            Sending::Late(wait) => _ = cx.arm(cx.now() + wait, Tick::Send { call: key, attempt }),
            Sending::Never => {}
            Sending::Fails(failure) => return self.give_up(key, sent, failure, mesh, cx),
        }
        None
    }

    /// Sends an attempt that the machine has held back, unless its caller has given it up meanwhile.
    pub(crate) fn send_late(&mut self, key: CallKey, attempt: u8, cx: &mut MeshCx<'_>) {
        if let Some(call) = self.calls.get(key)
            && let Some(sent) = call.in_flight().find(|sent| sent.number == attempt)
        {
            transmit(key, &call.callee, attempt, sent.to, cx);
        }
    }

    /// Sends an attempt beside those in flight, if the policies allow it.
    fn hedge(
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
        // Between two attempts there is nothing to hedge.
        if call.sent.is_none() || call.attempt >= RETRIES_MAX {
            return None;
        }
        let route = self.proxies.get(call.proxy).route(callee.service, mesh, cx);
        let counts = (route.retrying, route.active);
        let may = route.policies().has_room(of)
            && policy::may_retry(Some(of), Some(route.policies()), counts, &callee.policy.retry, cx.now()).is_ok();
        call.attempt += 1;
        let (pool, all) = pool(call, view, |_| false);
        let narrowed = narrowed(self.hosts.as_deref(), call, (pool, all), mesh, view, cx);
        let (pool, all) = narrowed.as_ref().map_or((pool, all), |(pool, all)| (*pool, all));
        let instances = route.policies().candidates(of, all, cx.now());
        if !may || instances.is_empty() || route.policies().admit(of, key) != Admission::Send {
            call.attempt -= 1;
            call.extra().marks.count(PolicyEvent::HedgeDenied);
            return None;
        }
        route.retrying += 1;
        let extra = call.extra();
        extra.hedges += 1;
        extra.marks.count(PolicyEvent::Hedged);
        self.send(key, (pool, &instances), mesh, view, cx)
    }

    /// Ends an attempt that has no reply; a later one is ignored.
    fn give_up(
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

    /// Ends an attempt, with success or failure: the call ends too, unless it may be retried.
    fn settle(&mut self, key: CallKey, end: End, mesh: &Mesh, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Owner>> {
        let now = cx.now();
        let End { failure, bytes, .. } = end;
        let call = &mut self.calls[key];
        let (callee, of) = (call.callee, policy::applied(mesh, &call.callee));
        let route = self.proxies.get(call.proxy).route(callee.service, mesh, cx);
        let taken = end.attempt.and_then(|number| call.take(number));
        let (attempt, timer) = match taken {
            Some((sent, timer)) => {
                if let Some(known) = route.find(sent.pool) {
                    known.ended(&mesh.service(callee.service).balancer, sent.to, now, now.since(sent.at));
                }
                if let Some(of) = of {
                    let end = failure.map_or(AttemptEnd::Done, AttemptEnd::Failed);
                    let ended = EndedAttempt { to: sent.to, is_first: sent.number == 0, end, took: now.since(sent.at) };
                    let marks = route.policies().ended(of, ended, cx);
                    if marks != Marks::default() {
                        call.extra().marks.merge(&marks);
                    }
                }
                (sent.number, timer)
            }
            None => {
                forget(route, &callee, key, mesh, cx);
                (call.attempt as u8, call.timer.take())
            }
        };
        if let Some(timer) = timer {
            cx.disarm(timer);
        }
        if attempt > 0 {
            route.retrying -= 1;
        }
        let note = |again, cx: &mut MeshCx<'_>| {
            let ended = TryEnded { failure, attempt, again, call: mark::short(key.number()) };
            cx.note(mark::TRY_ENDED, callee.id.key, ended.value());
        };
        // Another attempt may still succeed.
        if let Some(reason) = failure
            && call.sent.is_some()
        {
            call.retried.count(reason);
            note(true, cx);
            return None;
        }

        let latest = call.attempt;
        let retry = &callee.policy.retry;
        let hedges = call.extra.as_ref().map_or(0, |extra| extra.hedges);
        let is_left = failure.is_some()
            && !end.is_final
            && latest - hedges < callee.policy.retries.min(RETRIES_MAX)
            && latest < RETRIES_MAX
            && now < callee.deadline;
        let is_retried = |failure: Failure| of.is_none_or(|of| of.is_retried(failure));
        let may_retry = is_left && failure.is_some_and(is_retried);
        let counts = (route.retrying, route.active);
        let allowed = match may_retry {
            true => policy::may_retry(of, route.find_policies(), counts, retry, now),
            false if is_left => Err(PolicyEvent::NotRetried),
            false => Ok(()),
        };
        if let Some(reason) = failure
            && may_retry
            && allowed.is_ok()
            && let mut rng = callee.id.draws(mesh.seed, attempt, Draw::Backoff)
            && let wait = policy::backoff(latest + 1, retry, &mut rng)
            // A retry after the deadline would be useless.
            && now + wait < callee.deadline
        {
            route.retrying += 1;
            let call = &mut self.calls[key];
            call.attempt += 1;
            call.retried.count(reason);
            note(true, cx);
            call.timer = Some(cx.arm(now + wait, Tick::Retry(key)));
            return None;
        }
        route.active -= 1;
        if let Some(first) = call.sent {
            let others = call.in_flight().count();
            let marks = &mut call.extra().marks;
            (0..others).for_each(|_| marks.count(PolicyEvent::Unneeded));
            if first.number < attempt {
                marks.count(PolicyEvent::HedgeWon);
            }
        }
        cancel_attempts(route, call, mesh, cx);
        let call = self.calls.remove(key).expect("the call was found above");
        note(false, cx);
        let extra = call.extra.map_or_else(Default::default, |extra| *extra);
        let mut marks = extra.marks;
        if let Err(event) = allowed {
            marks.count(event);
        }
        let counted = callee.counted(call.retried, call.began, marks);
        let (owner, path) = (call.owner, extra.path);
        Some(CallOutcome { owner, call: key, failure, degraded: false, counted, retries: latest, bytes, path })
    }
}

/// Sends an attempt to an instance.
#[inline]
fn transmit(key: CallKey, callee: &CallSpec, attempt: u8, to: Instance, cx: &mut MeshCx<'_>) {
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
        life: cx.incarnation() as u16,
    };
    cx.send(to.node, Msg::Request(request));
}

/// The instances among which an attempt of the call chooses, if the service has a selection.
fn narrowed<Owner>(
    hosts: Option<&Hosts>,
    call: &Outstanding<Owner>,
    (pool, instances): (Pool, &Arc<[Instance]>),
    mesh: &Mesh,
    view: &InstanceView,
    cx: &MeshCx<'_>,
) -> Option<(Pool, Arc<[Instance]>)> {
    let callee = &call.callee;
    let selection = mesh.service(callee.service).selection.as_deref().filter(|_| pool != Pool::Canary)?;
    let failed = hosts.and_then(|hosts| hosts.of(callee.service));
    let scene = Scene { mesh, view, caller: (cx.id(), callee.by), failed };
    let mut rng = callee.id.draws(mesh.seed, call.attempt as u8, Draw::Zone);
    Some(narrow::narrowed(selection, pool, instances, &scene, &mut rng))
}

/// End of an attempt.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Its number; `None` if it was not sent.
    attempt: Option<u8>,
    failure: Option<Failure>,
    /// Size of the reply.
    bytes: u32,
    /// The call ends with it, even if it has retries left.
    is_final: bool,
}

impl End {
    /// Of an attempt that could not be sent.
    fn unsent(failure: Failure) -> Self {
        End { attempt: None, failure: Some(failure), bytes: 0, is_final: false }
    }
}

/// Takes the attempts of a call that ends out of those in flight: their replies are no longer awaited.
fn cancel_attempts<Owner>(route: &mut Upstream, call: &mut Outstanding<Owner>, mesh: &Mesh, cx: &mut MeshCx<'_>) {
    if let Some(hedge) = call.extra.as_mut().and_then(|extra| extra.hedge.take()) {
        cx.disarm(hedge);
    }
    while let Some(sent) = call.sent {
        let timer = call.take(sent.number).and_then(|(_, timer)| timer);
        if let Some(timer) = timer {
            cx.disarm(timer);
        }
        route.retrying -= u32::from(sent.number > 0);
        if let Some(known) = route.find(sent.pool) {
            known.cancelled(sent.to);
        }
        if let Some(of) = policy::applied(mesh, &call.callee) {
            let took = cx.now().since(sent.at);
            let (is_first, end) = (sent.number == 0, AttemptEnd::Cancelled);
            route.policies().ended(of, EndedAttempt { to: sent.to, is_first, end, took }, cx);
        }
    }
}

/// A call that is not in flight does not wait at its caller any more, if it did.
fn forget(route: &mut Upstream, callee: &CallSpec, key: CallKey, mesh: &Mesh, cx: &mut MeshCx<'_>) {
    let of: Option<Applied<'_>> = policy::applied(mesh, callee);
    if let (Some(of), Some(policies)) = (of, route.find_policies()) {
        policies.forget(of, key, cx);
    }
}

/// A view in which no service has an instance yet.
pub fn no_view(mesh: &Mesh) -> Arc<InstanceView> {
    let none: Arc<[Instance]> = Arc::new([]);
    Arc::new(InstanceView {
        version: 0,
        services: vec![none; mesh.services.len()],
        failed_nodes: Vec::new(),
        splits: Vec::new(),
    })
}

impl InstanceView {
    /// True if it is newer than `old`, of this mesh, and such as a coordinator makes.
    pub fn replaces(&self, old: &InstanceView) -> bool {
        let is_sound = self.services.len() == old.services.len() && self.failed_nodes.len() <= FAILED_NODES_MAX;
        let splits = &self.splits;
        let fit = splits.iter().all(|it| it.service.index() < self.services.len() && (0.0..=1.0).contains(&it.share));
        let rise = splits.windows(2).all(|pair| pair[0].service < pair[1].service);
        is_sound && fit && rise && self.version > old.version
    }

    /// True if a node is known to have gone down after version `since`.
    pub fn fell_after(&self, node: ActorId, since: u64) -> bool {
        self.failed_nodes.iter().any(|(failed_nodes, at)| *failed_nodes == node && since < *at)
    }
}
