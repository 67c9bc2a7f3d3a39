//! The calling side: calls of the proxy of an instance or of a client.
//!
//! It chooses an instance, sends, waits, gives up and retries. An `Owner`, a small value that is returned with the
//! result, identifies the caller.

mod attempt;
mod held;
mod outstanding;
mod settle;
mod spec;

use std::collections::VecDeque;
use std::sync::Arc;

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};
use slotmap::{Key, KeyData, new_key_type};

use crate::actors::MeshCx;
use crate::balance::hosts::Hosts;
use crate::balance::weights::Young;
use crate::board::{self, Boards, LoadBoard};
use crate::edge::Counted;
use crate::measure::Failure;
use crate::message::Reply;
use crate::model::Mesh;
use crate::policy::{self, PolicyEvent};
use crate::proxy::{Proxies, ProxyId};
use crate::slots::Slots;
use crate::view::InstanceView;

pub use spec::{CallOutcome, CallSpec};

use held::Held;
use outstanding::{Outstanding, SentAttempt};
use settle::{End, cancel_attempts, forget};

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
    /// The number that the requests of the call bear: [`Request::call`](crate::message::Request::call).
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
    /// Calls that wait for an instance; `None`: there never were any.
    held: Option<Box<Held>>,
    /// Copies for mirrors that have ended and are not counted yet; taken after each event.
    copies: Vec<Counted>,
    /// Attempts that are to pass the callers' proxies; taken after each event.
    leaving: VecDeque<Leaving>,
}

/// An attempt that leaves its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leaving {
    pub(crate) call: CallKey,
    pub(crate) attempt: u8,
    /// True for the attempt that opens its connection.
    pub(crate) opens: bool,
}

impl<Owner: Copy> Default for Caller<Owner> {
    fn default() -> Self {
        Caller::new()
    }
}

impl<Owner: Copy> Caller<Owner> {
    /// No calls in flight, no instances known.
    pub fn new() -> Self {
        Caller {
            calls: Slots::default(),
            proxies: Proxies::new(),
            hosts: None,
            boards: None,
            young: None,
            held: None,
            copies: Vec::new(),
            leaving: VecDeque::new(),
        }
    }

    /// True if copies of calls have ended and are not counted yet.
    #[inline]
    pub(crate) fn has_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// The copies of calls that have ended since the last time, to be counted by edge.
    pub(crate) fn take_copies(&mut self) -> std::vec::Drain<'_, Counted> {
        self.copies.drain(..)
    }

    /// The proxies that call.
    pub(crate) fn proxies(&mut self) -> &mut Proxies {
        &mut self.proxies
    }

    /// Takes in a load board of the coordinator.
    pub(crate) fn take_board(&mut self, board: Arc<LoadBoard>, mesh: &Mesh, now: Time) {
        if board.is_sound(mesh, now) {
            self.boards.get_or_insert_default().take(board);
        }
    }

    /// Begins a call of `proxy`. A call that can be neither sent nor retried ends at once.
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
        let of = policy::applied(mesh, &callee);
        let timeout = callee.policy.timeout_now(of);
        let copy = of.and_then(|of| of.mirror()).and_then(|it| it.copy(&callee, timeout, mesh));
        // The call comes first where there is room for one.
        let copy = copy.filter(|_| self.calls.len() + 2 <= CALLS_MAX);
        let key = self.begin(callee, Some(owner), proxy, mesh, cx);
        if copy.is_some() {
            self.calls[key].extra().marks.count(PolicyEvent::Mirrored);
        }
        let ended = self.attempt(key, mesh, view, cx);
        if let Some(copy) = copy {
            let key = self.begin(copy, None, proxy, mesh, cx);
            self.attempt(key, mesh, view, cx);
        }
        ended
    }

    fn begin(
        &mut self,
        callee: CallSpec,
        owner: Option<Owner>,
        proxy: ProxyId,
        mesh: &Mesh,
        cx: &mut MeshCx<'_>,
    ) -> CallKey {
        let route = self.proxies.get(proxy).route(callee.service, mesh, cx);
        route.active += 1;
        if let Some(of) = policy::applied(mesh, &callee) {
            route.policies().began(of, cx.now());
        }
        self.calls.insert(Outstanding::new(callee, owner, proxy, cx.now()))
    }

    /// Processes a reply. `None`: it came too late (for the attempt, the call, or this incarnation of the caller), or
    /// the call continues.
    pub fn reply(&mut self, reply: Reply, mesh: &Mesh, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Owner>> {
        let key = CallKey::from(KeyData::from_ffi(reply.call));
        let call = self.calls.get_mut(key)?;
        if reply.incarnation != cx.incarnation() as u16 {
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
        let mut ended = self.settle(key, end, mesh, cx);
        if let Some(ended) = &mut ended {
            ended.degraded |= reply.degraded && reply.failure.is_none();
        }
        ended
    }

    /// Handles the timeout of an attempt, or of the wait before it.
    pub fn timeout(&mut self, key: CallKey, mesh: &Mesh, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Owner>> {
        let call = self.calls.get_mut(key)?;
        call.timer = None;
        match call.sent {
            Some(sent) => self.give_up(key, sent, Failure::Timeout, mesh, cx),
            None => self.settle(key, End::unsent(self.unsent(key, mesh, cx.now())), mesh, cx),
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
        let call = self.calls.get_mut(key)?;
        call.timer = None;
        if call.is_withdrawn(mesh) {
            return self.withdraw(key, mesh, cx);
        }
        self.attempt(key, mesh, view, cx)
    }

    /// Settings of services have changed: what was learnt under the old ones is forgotten.
    pub(crate) fn settings_changed(&mut self, old: &Mesh, new: &Mesh, cx: &mut MeshCx<'_>) {
        self.proxies.settings_changed(old, new, cx);
        if let Some(boards) = &mut self.boards {
            let is_other = |(service, refresh): &(_, _)| board::refresh(new, *service) != Some(*refresh);
            board::services(old).filter(is_other).for_each(|(service, _)| boards.forget(service));
        }
    }

    /// Handles a new view: attempts at nodes that failed since they were sent are lost, and those that waited for an
    /// instance are sent if there is one.
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
        let ended = self.lose(old, mesh, view, cx);
        match self.held {
            Some(_) => ended.into_iter().chain(self.release(mesh, view, cx)).collect(),
            None => ended,
        }
    }

    /// Ends the attempts at nodes that failed since they were sent.
    fn lose(
        &mut self,
        old: &InstanceView,
        mesh: &Mesh,
        view: &InstanceView,
        cx: &mut MeshCx<'_>,
    ) -> Vec<CallOutcome<Owner>> {
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

    /// Drops the calls of owners that are gone: no caller waits for their replies, and they no longer count. If it
    /// `cancels`, the called instances are told so.
    pub(crate) fn cancel(&mut self, is_gone: impl Fn(&Owner) -> bool, cancels: bool, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        let (proxies, held) = (&mut self.proxies, &mut self.held);
        self.calls.retain(|key, call| {
            if !call.owner.as_ref().is_some_and(&is_gone) {
                return true;
            }
            if let Some(route) = proxies.get(call.proxy).find(call.callee.service) {
                let of = policy::applied(mesh, &call.callee);
                route.active -= 1;
                if call.sent.is_none() {
                    route.retrying -= u32::from(call.attempt > 0);
                    forget(route, of, key, cx);
                    if let Some(held) = held {
                        held.forget(call.callee.service, key, cx.now());
                    }
                }
                cancel_attempts(key, call, route, (of, cancels), cx);
            }
            if let Some(timer) = call.timer.take() {
                cx.disarm(timer);
            }
            false
        });
    }

    /// Owners of the calls in flight.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.calls.iter().filter_map(|(_, call)| call.owner.as_ref())
    }

    /// Number of calls in flight.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }
}
