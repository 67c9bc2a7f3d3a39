//! Circuit breaker: limits on what one caller has in flight to one service.
//!
//! The thresholds are those of Envoy, per proxy and called service, and so are the defaults. A connection carries one
//! request at a time (HTTP/1.1), so `max_connections` is the number of requests that a caller has at the service at
//! once; further ones wait at the caller, in order, up to `max_pending_requests`. What exceeds a limit fails at once
//! and is not retried.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto>

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Admission, PolicyEvent};
use crate::actors::MeshCx;
use crate::call::{CallKey, CallTick};
use crate::message::Tick;

/// Thresholds of a circuit breaker; `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Requests at the service at once; further ones wait at the caller.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection; a further one fails.
    pub max_pending_requests: Option<u32>,
    /// Requests at the service at once; a further one fails.
    pub max_requests: Option<u32>,
    /// Retries in flight; a further one is not made. Without effect on a call whose retries have a budget.
    pub max_retries: Option<u32>,
}

impl Default for Breaker {
    /// Envoy's: 1,024, 1,024, 1,024 and 3.
    fn default() -> Self {
        let most = Some(1024);
        Breaker { max_connections: most, max_pending_requests: most, max_requests: most, max_retries: Some(3) }
    }
}

/// The calls and retries that one caller has in flight to one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Attempts at the service, and those that may be sent.
    active: u32,
    /// Calls that wait for a connection; at most [`Breaker::max_pending_requests`], or the caller's
    /// [`CALLS_MAX`](crate::call::CALLS_MAX).
    pending: VecDeque<CallKey>,
    /// Calls that have waited, and have a connection now; at most `active`.
    granted: Vec<CallKey>,
}

/// True if a number has reached its limit.
fn is_full(count: usize, most: Option<u32>) -> bool {
    most.is_some_and(|most| count >= most as usize)
}

impl State {
    pub(super) fn admit(&mut self, breaker: &Breaker, key: CallKey) -> Admission {
        if let Some(at) = self.granted.iter().position(|granted| *granted == key) {
            self.granted.swap_remove(at);
            return Admission::Send;
        }
        let active = self.active as usize;
        if is_full(active, breaker.max_connections) {
            if is_full(self.pending.len(), breaker.max_pending_requests) {
                return Admission::Overflow(PolicyEvent::OverflowPending);
            }
            self.pending.push_back(key);
            return Admission::Wait;
        }
        if is_full(active, breaker.max_requests) {
            return Admission::Overflow(PolicyEvent::OverflowRequests);
        }
        self.active += 1;
        Admission::Send
    }

    /// True if the call has waited, and has a connection now.
    pub(super) fn has_waited(&self, key: CallKey) -> bool {
        self.granted.contains(&key)
    }

    /// True if an attempt may be sent now, without a wait.
    pub(super) fn has_room(&self, breaker: &Breaker) -> bool {
        let active = self.active as usize;
        !is_full(active, breaker.max_connections) && !is_full(active, breaker.max_requests)
    }

    pub(super) fn ended(&mut self, breaker: &Breaker, cx: &mut MeshCx<'_>) {
        self.active = self.active.saturating_sub(1);
        self.grant(breaker.max_connections, cx);
    }

    /// The thresholds have changed; `None`: there are none any more.
    pub(super) fn changed(&mut self, breaker: Option<&Breaker>, cx: &mut MeshCx<'_>) {
        self.grant(breaker.and_then(|breaker| breaker.max_connections), cx);
        if breaker.is_none() {
            *self = State::default();
        }
    }

    /// Calls that wait get the connections that are free.
    fn grant(&mut self, max_connections: Option<u32>, cx: &mut MeshCx<'_>) {
        while !is_full(self.active as usize, max_connections)
            && let Some(next) = self.pending.pop_front()
        {
            self.active += 1;
            self.granted.push(next);
            cx.arm(cx.now(), Tick::Call(next, CallTick::Granted));
        }
    }

    pub(super) fn forget(&mut self, breaker: &Breaker, key: CallKey, cx: &mut MeshCx<'_>) {
        if let Some(at) = self.granted.iter().position(|granted| *granted == key) {
            self.granted.swap_remove(at);
            self.ended(breaker, cx);
        } else {
            self.pending.retain(|pending| *pending != key);
        }
    }
}
