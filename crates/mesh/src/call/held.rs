//! Calls that an [activator](crate::policy::activator) holds: their service has no ready instance.

use std::collections::{BTreeMap, VecDeque};

use meshsim_actor::{ActorId, Time};
use serde::{Deserialize, Serialize};

use super::settle::End;
use super::{CallKey, CallOutcome, Caller};
use crate::actors::MeshCx;
use crate::autoscale::demand::{Demand, Level};
use crate::mark;
use crate::measure::Failure;
use crate::message::{Msg, Tick};
use crate::model::{Mesh, ServiceId};
use crate::policy::activator::Activator;
use crate::policy::{self, PolicyEvent};
use crate::view::InstanceView;

/// The calls that one caller holds, by service. A service of which it held some once keeps its entry, for its level.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held(BTreeMap<ServiceId, OfService>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct OfService {
    /// In the order in which they began to wait; at most [`Activator::size`].
    calls: VecDeque<CallKey>,
    level: Level,
}

impl Held {
    /// The call is held no more, if it was.
    pub(super) fn forget(&mut self, service: ServiceId, key: CallKey, now: Time) {
        if let Some(of) = self.0.get_mut(&service)
            // Those that have waited longest end first.
            && let Some(at) = of.calls.iter().position(|held| *held == key)
        {
            of.calls.remove(at);
            of.level.change(-1, now);
        }
    }
}

impl<Owner: Copy> Caller<Owner> {
    /// Holds an attempt of a call, as its service has no ready instance.
    pub(super) fn hold(
        &mut self,
        key: CallKey,
        activator: &Activator,
        mesh: &Mesh,
        cx: &mut MeshCx<'_>,
    ) -> Option<CallOutcome<Owner>> {
        let call = &mut self.calls[key];
        let service = call.callee.service;
        let of = self.held.get_or_insert_default().0.entry(service).or_default();
        if of.calls.len() >= activator.size as usize {
            call.extra().marks.count(PolicyEvent::OverHeld);
            return self.settle(key, End { is_final: true, ..End::unsent(Failure::Refused) }, mesh, cx);
        }
        of.calls.push_back(key);
        of.level.change(1, cx.now());
        let is_first = of.calls.len() == 1;
        call.extra().marks.count(PolicyEvent::Held);
        call.extra().held = Some((call.attempt, cx.now()));
        cx.note(mark::ACTIVATING, mark::short(key.number()), call.attempt.into());
        let timeout = call.callee.policy.timeout_now(policy::applied(mesh, &call.callee));
        let until = policy::try_until(cx.now(), timeout, call.callee.deadline).min(cx.now() + activator.hold);
        call.timer = Some(cx.arm(until, Tick::Timeout(key)));
        if is_first && mesh.service(service).reports_held() {
            cx.send(mesh.autoscaler_actor(), Msg::Held { service });
        }
        None
    }

    /// The reason for which a call that was not sent is given up: the time limit of an activator, or its timeout.
    pub(super) fn unsent(&self, key: CallKey, mesh: &Mesh, now: Time) -> Failure {
        let call = &self.calls[key];
        let of = policy::applied(mesh, &call.callee);
        let until = |since| policy::try_until(since, call.callee.policy.timeout_now(of), call.callee.deadline);
        match call.extra.as_ref().and_then(|extra| extra.held) {
            Some((attempt, since)) if attempt == call.attempt && now < until(since) => Failure::NoInstance,
            _ => Failure::Timeout,
        }
    }

    /// Sends the calls that are held for a service that has ready instances now.
    pub(super) fn release(&mut self, mesh: &Mesh, view: &InstanceView, cx: &mut MeshCx<'_>) -> Vec<CallOutcome<Owner>> {
        let Some(held) = &mut self.held else { return Vec::new() };
        let mut sent = Vec::new();
        for (service, of) in &mut held.0 {
            if !of.calls.is_empty() && has_instances(view, *service) {
                sent.extend(of.calls.drain(..));
                of.level.set(0, cx.now());
            }
        }
        let go_on = |key: CallKey| {
            if let Some(timer) = self.calls[key].timer.take() {
                cx.disarm(timer);
            }
            self.attempt(key, mesh, view, cx)
        };
        sent.into_iter().filter_map(go_on).collect()
    }

    /// Sends an autoscaler the demand for a service, of a caller that has no instance of it.
    pub(crate) fn tell_demand(&self, to: ActorId, service: ServiceId, round: u64, cx: &mut MeshCx<'_>) {
        let demand = self.demand(Demand::none(service, round, cx.now()), cx.now());
        cx.send(to, Msg::Demand(Box::new(demand)));
    }

    /// This caller's part of the demand for a service: the calls that it holds.
    pub(crate) fn demand(&self, demand: Demand, now: Time) -> Demand {
        let of = self.held.as_ref().and_then(|held| held.0.get(&demand.service));
        of.map_or(demand, |of| Demand { held: of.level.level(), held_ns: of.level.sum_ns(now), ..demand })
    }
}

/// True if a call of the service finds an instance, whichever version it is for.
pub(super) fn has_instances(view: &InstanceView, service: ServiceId) -> bool {
    !view.instances(service).is_empty() || view.split(service).is_some_and(|split| !split.instances.is_empty())
}
