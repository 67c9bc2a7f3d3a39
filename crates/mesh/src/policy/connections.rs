//! Connections of a caller to the instances of a service.
//!
//! A connection carries one request at a time (HTTP/1.1). A caller opens one where none is idle, which takes its set-up
//! time, up to a maximum for each instance; further attempts wait in order until one is free. A connection that was
//! idle for too long is closed, and so is one whose attempt was given up. (Envoy: `idle_timeout`, and connections that
//! are not reused after a reset.)
//!
//! Unlike the `max_connections` of a [breaker](super::breaker), which a caller has for a whole service, these belong to
//! one instance: an attempt waits for the instance that was chosen for it, though others may have idle ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::{AttemptEnd, EndedAttempt};
use crate::actors::MeshCx;
use crate::call::CallKey;
use crate::mark;
use crate::measure::Failure;
use crate::message::Tick;
use crate::view::InstanceRef;

/// Connections of each caller to each instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Connections that are open at once.
    pub max: u32,
    /// Time to open one.
    pub set_up: Span,
    /// Time after which an idle one is closed; `None`: never.
    pub idle: Option<Span>,
}

/// Answer to an attempt that needs a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// It has one.
    Open,
    /// It has one after this time.
    SetUp(Span),
    /// It waits for one; [`Tick::Send`] says when it has one.
    Wait,
}

/// An attempt of a call.
type Attempt = (CallKey, u8);

/// The connections of one caller to the instances of a service. Only instances with some have an entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State(BTreeMap<InstanceRef, OfInstance>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct OfInstance {
    /// Attempts that have a connection; at most the maximum.
    busy: BTreeSet<Attempt>,
    /// Times from which the others are idle, rising; together with the busy ones at most the maximum.
    idle: VecDeque<Time>,
    /// Attempts that wait for one, in order; at most the caller's [`CALLS_MAX`](crate::call::CALLS_MAX).
    waiting: VecDeque<Attempt>,
}

impl State {
    /// An attempt is to be sent to an instance.
    pub(super) fn connect(
        &mut self,
        of: &Connections,
        to: InstanceRef,
        attempt: Attempt,
        cx: &mut MeshCx<'_>,
    ) -> Connection {
        let here = self.0.entry(to).or_default();
        here.close_idle(of, cx.now());
        // The one that was used last: the others may be closed.
        if here.idle.pop_back().is_some() {
            here.busy.insert(attempt);
            return Connection::Open;
        }
        let is_full = here.busy.len() >= of.max as usize;
        if is_full || !of.set_up.is_zero() {
            cx.note(mark::POOLED, mark::short(attempt.0.number()), u64::from(attempt.1));
        }
        if is_full {
            here.waiting.push_back(attempt);
            return Connection::Wait;
        }
        here.busy.insert(attempt);
        Connection::SetUp(of.set_up)
    }

    /// An attempt has ended, or is not needed any more: its connection is free, or is closed.
    pub(super) fn ended(&mut self, of: &Connections, ended: &EndedAttempt, cx: &mut MeshCx<'_>) {
        let Some(here) = self.0.get_mut(&ended.to) else { return };
        if !here.busy.remove(&ended.attempt) {
            here.waiting.retain(|waiting| *waiting != ended.attempt);
            return;
        }
        let is_closed = matches!(
            ended.end,
            AttemptEnd::Cancelled | AttemptEnd::Failed(Failure::Timeout | Failure::Lost | Failure::NoInstance)
        );
        // Above a maximum that was lowered meanwhile, the connection is closed.
        if here.busy.len() < of.max as usize {
            match (here.waiting.pop_front(), is_closed) {
                (Some(next), _) => here.give(next, if is_closed { of.set_up } else { Span::ZERO }, cx),
                (None, false) => here.idle.push_back(cx.now()),
                (None, true) => {}
            }
        }
        here.close_idle(of, cx.now());
        if here.busy.is_empty() && here.idle.is_empty() {
            self.0.remove(&ended.to);
        }
    }

    /// The settings have changed; `None`: connections are open at once and without limit. Attempts that wait go on as
    /// the new ones allow, and those that have a connection keep it.
    pub(super) fn changed(&mut self, of: Option<&Connections>, cx: &mut MeshCx<'_>) {
        let (max, set_up) = of.map_or((usize::MAX, Span::ZERO), |of| (of.max as usize, of.set_up));
        for here in self.0.values_mut() {
            while here.busy.len() < max
                && let Some(next) = here.waiting.pop_front()
            {
                here.give(next, set_up, cx);
            }
            let room = max.saturating_sub(here.busy.len());
            here.idle.drain(..here.idle.len().saturating_sub(room));
        }
    }
}

impl OfInstance {
    /// Gives an attempt that has waited a connection, which is open after a time.
    fn give(&mut self, next: Attempt, after: Span, cx: &mut MeshCx<'_>) {
        self.busy.insert(next);
        cx.arm(cx.now() + after, Tick::Send { call: next.0, attempt: next.1 });
    }

    fn close_idle(&mut self, of: &Connections, now: Time) {
        let Some(most) = of.idle else { return };
        while self.idle.front().is_some_and(|since| now.since(*since) >= most) {
            self.idle.pop_front();
        }
    }
}
