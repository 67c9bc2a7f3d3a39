//! The calling side: calls of the proxy of an instance or of a client.
//!
//! It chooses an instance, sends, waits, gives up and retries. An `Owner`, a small value that is returned with the
//! result, identifies the caller.

use std::sync::Arc;

use meshsim_actor::{ActorId, Time, Timer};
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
use crate::policy;
use crate::proxy::{Pool, Proxies, ProxyId};
use crate::request_id::{Draw, RequestId};
use crate::slots::Slots;

new_key_type! {
    /// Names one call of one caller.
    pub struct CallKey;
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
    fn counted(&self, retried: FailedAttempts, began: Time, over_budget: bool) -> Counted {
        let edge = Edge { service: self.service, endpoint: self.endpoint };
        Counted { by: self.by, edge, optional: self.optional, retried, began, over_budget }
    }
}

/// Result of a call that is refused before it is sent.
const REFUSED_AT_ONCE: TryEnded = TryEnded { failure: Some(Failure::Refused), attempt: 0, again: false, call: 0 };

impl<Owner> CallOutcome<Owner> {
    /// A call that is refused before it is sent.
    pub(crate) fn refused(owner: Owner, callee: &CallSpec, cx: &mut MeshCx<'_>) -> Self {
        let now = cx.now();
        cx.note(mark::TRY_ENDED, callee.id.key, REFUSED_AT_ONCE.value());
        let (failure, counted) = (Some(Failure::Refused), callee.counted(FailedAttempts::default(), now, false));
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

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outstanding<Owner> {
    callee: CallSpec,
    owner: Owner,
    /// Proxy that makes it.
    proxy: ProxyId,
    /// Number of the attempt in flight, from 0.
    attempt: u32,
    /// Timeout of the attempt, or end of the backoff.
    timer: Option<Timer>,
    /// `None` during a backoff.
    sent: Option<SentAttempt>,
    /// The path of the attempts that have ended.
    path: Option<Box<Path>>,
    /// The attempts that have failed.
    retried: FailedAttempts,
    began: Time,
    /// The version that was drawn for it, if the service had a canary at its first attempt.
    drawn: Option<Drawn>,
}

/// Version drawn for a call while there was a canary. All its attempts keep it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Drawn {
    /// The canary's.
    version: u32,
    /// For that one, and not for those that stay.
    is_new: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct SentAttempt {
    to: Instance,
    /// Set of instances from which it was chosen.
    pool: Pool,
    at: Time,
    /// The view's version then.
    view: u64,
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
        self.proxies.get(proxy).route(callee.service, mesh, cx).active += 1;
        let retried = FailedAttempts::default();
        let began = cx.now();
        let call = Outstanding {
            callee,
            owner,
            proxy,
            attempt: 0,
            timer: None,
            sent: None,
            path: None,
            retried,
            began,
            drawn: None,
        };
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
        if call.attempt as u8 != reply.attempt || call.sent.is_none() {
            if let (Some(path), Some(late)) = (&mut call.path, reply.path)
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
            call.path.get_or_insert_default().append(*path, 0);
        }
        let ended = self.settle(key, reply.failure, reply.bytes, mesh, cx)?;
        Some(CallOutcome { degraded: reply.degraded && reply.failure.is_none(), ..ended })
    }

    /// Handles the timeout of an attempt.
    pub fn timeout(&mut self, key: CallKey, mesh: &Mesh, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Owner>> {
        self.calls.get_mut(key)?.timer = None;
        self.give_up(key, Failure::Timeout, mesh, cx)
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
        let is_lost = |sent: SentAttempt| view.fell_after(sent.to.node, sent.view);
        let lost: Vec<CallKey> =
            self.calls.iter().filter(|(_, call)| call.sent.is_some_and(is_lost)).map(|(key, _)| key).collect();
        lost.into_iter().filter_map(|key| self.give_up(key, Failure::Lost, mesh, cx)).collect()
    }

    /// Drops the calls of owners that are gone: no caller waits for their replies, and they no longer count.
    pub fn cancel(&mut self, is_gone: impl Fn(&Owner) -> bool, cx: &mut MeshCx<'_>) {
        let proxies = &mut self.proxies;
        self.calls.retain(|_, call| {
            if !is_gone(&call.owner) {
                return true;
            }
            if let Some(timer) = call.timer.take() {
                cx.disarm(timer);
            }
            if let Some(route) = proxies.get(call.proxy).find(call.callee.service) {
                route.active -= 1;
                route.retrying -= u32::from(call.attempt > 0);
                if let Some(sent) = call.sent
                    && let Some(known) = route.find(sent.pool)
                {
                    known.cancelled(sent.to);
                }
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
        let narrowed;
        let (pool, instances) = match mesh.service(callee.service).selection.as_deref() {
            Some(selection) if pool != Pool::Canary => {
                let failed = self.hosts.as_ref().and_then(|hosts| hosts.of(callee.service));
                let scene = Scene { mesh, view, caller: (cx.id(), callee.by), failed };
                let mut rng = id.draws(mesh.seed, call.attempt as u8, Draw::Zone);
                narrowed = narrow::narrowed(selection, pool, instances, &scene, &mut rng);
                (narrowed.0, &narrowed.1)
            }
            _ => (pool, instances),
        };
        if instances.is_empty() {
            return self.settle(key, Some(Failure::NoInstance), 0, mesh, cx);
        }
        let known = self.proxies.get(call.proxy).known(callee.service, pool, mesh, cx);
        let board = self.boards.as_ref().and_then(|boards| boards.of(callee.service));
        let young = self.young.as_ref().map_or(&[][..], |young| young.of(callee.service));
        let occasion = Occasion { mesh, service: callee.service, root: id.root, now: cx.now(), board, young };
        let attempt = call.attempt as u8;
        let mut rng = id.draws(mesh.seed, attempt, Draw::Instance);
        let to = instances[known.pick(&mesh.service(callee.service).balancer, instances, &occasion, &mut rng)];
        let until = policy::try_until(cx.now(), &callee.policy, callee.deadline);
        call.sent = Some(SentAttempt { to, pool, at: cx.now(), view: view.version });
        call.timer = (until < Time::NEVER).then(|| cx.arm(until, Tick::Timeout(key)));
        match impaired::sending(&callee, attempt, mesh, cx) {
            Sending::Now => send(key, &callee, attempt, to, cx),
            Sending::Late(wait) => _ = cx.arm(cx.now() + wait, Tick::Send { call: key, attempt }),
            Sending::Never => {}
            Sending::Fails(failure) => return self.give_up(key, failure, mesh, cx),
        }
        None
    }

    /// Sends an attempt that the machine has held back, unless its caller has given it up meanwhile.
    pub(crate) fn send_late(&mut self, key: CallKey, attempt: u8, cx: &mut MeshCx<'_>) {
        if let Some(call) = self.calls.get(key)
            && call.attempt as u8 == attempt
            && let Some(sent) = call.sent
        {
            send(key, &call.callee, attempt, sent.to, cx);
        }
    }

    /// Ends a call; later replies are ignored.
    fn give_up(
        &mut self,
        key: CallKey,
        failure: Failure,
        mesh: &Mesh,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = &mut self.calls[key];
        if call.callee.traced
            && let Some(sent) = call.sent
        {
            let callee = (call.callee.service, call.callee.endpoint);
            let hop = Hop::unanswered(callee, sent.to, call.attempt as u8, (sent.at, cx.now()), failure);
            call.path.get_or_insert_default().append(hop.into(), 0);
        }
        self.settle(key, Some(failure), 0, mesh, cx)
    }

    /// Ends an attempt, with success or failure: the call ends too, unless it may be retried.
    fn settle(
        &mut self,
        key: CallKey,
        failure: Option<Failure>,
        bytes: u32,
        mesh: &Mesh,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let now = cx.now();
        let call = &mut self.calls[key];
        let (callee, attempt) = (call.callee, call.attempt);
        let route = self.proxies.get(call.proxy).route(callee.service, mesh, cx);
        let sent = call.sent.take();
        if let Some(timer) = call.timer.take() {
            cx.disarm(timer);
        }
        if let Some(sent) = sent
            && let Some(known) = route.find(sent.pool)
        {
            known.ended(&mesh.service(callee.service).balancer, sent.to, now, now.since(sent.at));
        }
        if attempt > 0 {
            route.retrying -= 1;
        }

        let retry = &callee.policy.retry;
        let may_retry = failure.is_some() && attempt < callee.policy.retries.min(RETRIES_MAX) && now < callee.deadline;
        let over_budget = may_retry && !policy::within_budget(route.retrying, route.active, retry);
        if let Some(reason) = failure
            && may_retry
            && !over_budget
            && let mut rng = callee.id.draws(mesh.seed, attempt as u8, Draw::Backoff)
            && let wait = policy::backoff(attempt + 1, retry, &mut rng)
            // A retry after the deadline would be useless.
            && now + wait < callee.deadline
        {
            route.retrying += 1;
            let call = &mut self.calls[key];
            call.attempt += 1;
            call.retried.count(reason);
            let ended = TryEnded { failure, attempt: attempt as u8, again: true, call: mark::short(key.number()) };
            cx.note(mark::TRY_ENDED, callee.id.key, ended.value());
            call.timer = Some(cx.arm(now + wait, Tick::Retry(key)));
            return None;
        }
        route.active -= 1;
        let call = self.calls.remove(key).expect("the call was found above");
        let ended = TryEnded { failure, attempt: attempt as u8, again: false, call: mark::short(key.number()) };
        cx.note(mark::TRY_ENDED, callee.id.key, ended.value());
        let counted = callee.counted(call.retried, call.began, over_budget);
        let (owner, path) = (call.owner, call.path);
        Some(CallOutcome { owner, call: key, failure, degraded: false, counted, retries: attempt, bytes, path })
    }
}

/// Sends an attempt to an instance.
#[inline]
fn send(key: CallKey, callee: &CallSpec, attempt: u8, to: Instance, cx: &mut MeshCx<'_>) {
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

/// Set of instances for an attempt. The version is drawn at the first attempt, and the others keep it. If it has no
/// ready instance, the other version serves.
fn pool<'v, Owner>(
    call: &mut Outstanding<Owner>,
    view: &'v InstanceView,
    draw: impl FnOnce(f64) -> bool,
) -> (Pool, &'v Arc<[Instance]>) {
    let staying = view.instances(call.callee.service);
    let Some(split) = view.split(call.callee.service) else { return (Pool::All, staying) };
    if call.attempt == 0 {
        call.drawn = Some(Drawn { version: split.version, is_new: draw(split.share) });
    }
    // A draw for another canary, or from before there was one, goes to the instances that stay.
    let is_new = call.drawn.is_some_and(|drawn| drawn.is_new && drawn.version == split.version);
    match is_new {
        true if split.instances.is_empty() => (Pool::Staying, staying),
        false if !staying.is_empty() => (Pool::Staying, staying),
        _ => (Pool::Canary, &split.instances),
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
