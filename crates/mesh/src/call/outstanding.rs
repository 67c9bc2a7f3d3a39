//! A call in flight, and its attempts.

use std::sync::Arc;

use meshsim_actor::{Span, Time, Timer};
use serde::{Deserialize, Serialize};

use super::CallSpec;
use crate::edge::{Counted, FailedAttempts};
use crate::measure::Failure;
use crate::model::{EndpointId, Mesh, ServiceId};
use crate::path::Path;
use crate::policy::{self, Marks};
use crate::proxy::{Pool, ProxyId};
use crate::view::{InstanceRef, InstanceView};

/// A call in flight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outstanding<Owner> {
    pub(super) callee: CallSpec,
    /// `None` for a copy that is sent to a mirror: no result is returned.
    pub(super) owner: Option<Owner>,
    /// Proxy that makes it.
    pub(super) proxy: ProxyId,
    /// Number of the latest attempt, from 0.
    pub(super) attempt: u32,
    /// Timeout of the attempt, or end of the backoff.
    pub(super) timer: Option<Timer>,
    /// The attempt in flight, the oldest if there are several; `None` during a backoff.
    pub(super) sent: Option<SentAttempt>,
    /// The part that few calls have.
    pub(super) extra: Option<Box<Extra>>,
    /// The attempts that have failed while the call went on.
    pub(super) retried: FailedAttempts,
    /// During a backoff, why the attempt before it failed.
    pub(super) failed: Option<Failure>,
    pub(super) began: Time,
    /// The version that was drawn for it, if the service had a canary at its first attempt.
    pub(super) drawn: Option<Drawn>,
}

/// State of a call that most calls do not have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Extra {
    /// The path of the attempts that have ended.
    pub(super) path: Option<Box<Path>>,
    /// Attempts in flight beside [`Outstanding::sent`], in the order in which they were sent.
    pub(super) beside: Vec<(SentAttempt, Option<Timer>)>,
    /// Instances that have received an attempt, if the policy avoids them; at most one for each attempt.
    pub(super) tried: Vec<InstanceRef>,
    /// Attempts sent beside others.
    pub(super) hedges: u32,
    /// Sends the next one.
    pub(super) hedge: Option<Timer>,
    /// The attempt that is, or was, held by an activator, and since when.
    pub(super) held: Option<(u32, Time)>,
    /// Policy events of the call so far.
    pub(super) marks: Marks,
    /// The failed call that this one is the fallback of.
    pub(super) before: Option<Box<Counted>>,
}

/// Version drawn for a call while there was a canary. All its attempts keep it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Drawn {
    /// The canary's.
    version: u32,
    /// For that one, and not for those that stay.
    is_new: bool,
}

/// An attempt in flight.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SentAttempt {
    pub(super) to: InstanceRef,
    /// Set of instances from which it was chosen.
    pub(super) pool: Pool,
    /// Number of the attempt, from 0.
    pub(super) number: u8,
    pub(super) at: Time,
    /// The view's version then.
    pub(super) view: u64,
}

impl<Owner> Outstanding<Owner> {
    /// A call that nothing was sent for yet.
    pub(super) fn new(callee: CallSpec, owner: Option<Owner>, proxy: ProxyId, began: Time) -> Self {
        Outstanding {
            callee,
            owner,
            proxy,
            attempt: 0,
            timer: None,
            sent: None,
            extra: None,
            retried: FailedAttempts::default(),
            failed: None,
            began,
            drawn: None,
        }
    }

    /// It has failed, and goes on as a call of another endpoint, without retries.
    #[cold]
    pub(super) fn falls_back(
        &mut self,
        failed: Counted,
        (service, endpoint): (ServiceId, EndpointId),
        timeout: Option<Span>,
        now: Time,
    ) {
        self.callee = CallSpec { service, endpoint, policy: self.callee.policy.alone(timeout), ..self.callee };
        (self.retried, self.began, self.drawn) = (FailedAttempts::default(), now, None);
        // Late replies to the attempts before are told apart by their numbers.
        self.attempt += 1;
        let path = self.extra.as_mut().and_then(|extra| extra.path.take());
        self.extra = Some(Box::new(Extra { path, before: Some(Box::new(failed)), ..Extra::default() }));
    }

    /// Attempts after the first that are no hedges.
    pub(super) fn retries(&self) -> u32 {
        self.attempt - self.extra.as_ref().map_or(0, |extra| extra.hedges)
    }

    /// True if the retry for which it waits is one more than its service allows now.
    pub(super) fn is_withdrawn(&self, mesh: &Mesh) -> bool {
        let is_fallback = self.extra.as_ref().is_some_and(|extra| extra.before.is_some());
        !is_fallback && self.retries() > self.callee.policy.retries_now(policy::applied(mesh, &self.callee))
    }

    /// Its rare state; made if there is none.
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The path so far; made if there is none.
    pub(super) fn path(&mut self) -> &mut Path {
        self.extra().path.get_or_insert_default()
    }

    /// The attempts in flight, the oldest first.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = SentAttempt> + '_ {
        let beside = self.extra.iter().flat_map(|extra| extra.beside.iter().map(|(sent, _)| *sent));
        self.sent.into_iter().chain(beside)
    }

    /// Takes the attempt with this number out of those in flight, with its timer. The oldest of the others takes its
    /// place.
    pub(super) fn take(&mut self, number: u8) -> Option<(SentAttempt, Option<Timer>)> {
        let is_first = self.sent.is_some_and(|sent| sent.number == number);
        let beside = self.extra.as_mut().map(|extra| &mut extra.beside).filter(|beside| !beside.is_empty());
        let Some(beside) = beside else {
            return if is_first { self.sent.take().map(|sent| (sent, self.timer.take())) } else { None };
        };
        if !is_first {
            let at = beside.iter().position(|(sent, _)| sent.number == number)?;
            return Some(beside.remove(at));
        }
        let (next, timer) = beside.remove(0);
        let first = self.sent.replace(next)?;
        Some((first, std::mem::replace(&mut self.timer, timer)))
    }
}

/// Set of instances for an attempt. The version is drawn at the first attempt, and the others keep it. If it has no
/// ready instance, the other version serves.
pub(super) fn pool<'v, Owner>(
    call: &mut Outstanding<Owner>,
    view: &'v InstanceView,
    draw: impl FnOnce(f64) -> bool,
) -> (Pool, &'v Arc<[InstanceRef]>) {
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
