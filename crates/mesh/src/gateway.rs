//! The gateway: an actor that sends requests into the mesh for external clients, as a client would, and returns the
//! results.
//!
//! A mesh that runs live may have one ([`Mesh::has_gateway`]); a simulated run has no external clients.

use std::sync::Arc;

use meshsim_actor::{Event, Span, Time};
use serde::{Deserialize, Serialize};

use crate::actors::MeshCx;
use crate::call::{CallOutcome, CallSpec, Caller};
use crate::mark;
use crate::measure::Tally;
use crate::message::{Answer, Ask, Msg, Tick};
use crate::model::{COORDINATOR, Mesh, RETRIES_MAX};
use crate::node::caller_heartbeat;
use crate::proxy::ProxyId;
use crate::request_id::RequestId;
use crate::station::Passage;
use crate::view::InstanceView;

/// Limit of external requests in flight; beyond it one is refused.
pub const ASKS_MAX: usize = 10_000;

/// Upper bound on the deadline of an external request: a lost one is not waited for any longer.
pub const ASK_MAX: Span = Span::from_secs(3600);

/// Sends requests for external clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gateway {
    #[serde(with = "meshsim_actor::shared")]
    pub(crate) mesh: Arc<Mesh>,
    #[serde(with = "meshsim_actor::shared")]
    view: Arc<InstanceView>,
    calls: Caller<Asked>,
    /// Its proxy, if loads have one.
    passage: Passage,
    /// Number of external requests received in this incarnation.
    asks: u64,
    tally: Tally,
}

/// An external request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    ask: u64,
    at: Time,
}

impl Gateway {
    /// A gateway that has received no request yet.
    pub fn new(mesh: Arc<Mesh>) -> Self {
        let view = crate::view::no_view(&mesh);
        Gateway { mesh, view, calls: Caller::new(), passage: Passage::default(), asks: 0, tally: Tally::default() }
    }

    /// Results of all external requests, without windows.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Number of external requests in flight.
    pub fn in_flight(&self) -> usize {
        self.calls.in_flight()
    }

    pub(crate) fn on(&mut self, event: Event<Msg, Tick>, cx: &mut MeshCx<'_>) {
        let ended = match event {
            Event::Start | Event::Timer(Tick::Heartbeat) => {
                caller_heartbeat(&self.mesh, &self.view, event == Event::Start, cx);
                None
            }
            Event::Message { from, msg: Msg::ExternalRequest(ask) } if from == self.mesh.external_client() => {
                self.ask(&ask, cx)
            }
            Event::Message { msg: Msg::Reply(reply), .. } => self.calls.reply(reply, &self.mesh, cx),
            Event::Message { from: COORDINATOR, msg: Msg::InstanceView(view) } => {
                self.take_view(view, cx);
                None
            }
            Event::Message { from: COORDINATOR, msg: Msg::Loads(board) } => {
                self.calls.take_board(board, &self.mesh, cx.now());
                None
            }
            Event::Message { from, msg: Msg::AskDemand { service, round } } if self.mesh.is_autoscaler(from) => {
                self.calls.tell_demand(from, service, round, cx);
                None
            }
            // A peer that keeps to the protocol sends a gateway none of these.
            Event::Message { .. } => None,
            Event::Timer(Tick::Timeout(call)) => self.calls.timeout(call, &self.mesh, cx),
            Event::Timer(Tick::Send { call, attempt }) => {
                self.calls.send_late(call, attempt, &self.mesh, cx);
                None
            }
            Event::Timer(Tick::Call(call, tick)) => self.calls.tick((call, tick), &self.mesh, &self.view, cx),
            Event::Timer(Tick::Retry(call)) => self.calls.retry(call, &self.mesh, &self.view, cx),
            Event::Timer(Tick::Worked(pass)) => {
                self.passage.worked(pass, &self.mesh, cx);
                None
            }
            Event::Timer(Tick::Passed(pass)) => {
                self.passage.passed(pass, &mut self.calls, cx);
                None
            }
            Event::Timer(_) => unreachable!("a gateway arms no such timer"),
        };
        if let Some(ended) = ended {
            self.answer(ended, cx);
        }
        self.passage.take_in(&mut self.calls, &self.mesh, cx);
    }

    /// The machine went down: requests in flight stay unanswered.
    pub(crate) fn reboot(&mut self) {
        self.view = crate::view::no_view(&self.mesh);
        self.calls = Caller::new();
        self.passage.reboot();
        self.asks = 0;
    }

    fn ask(&mut self, ask: &Ask, cx: &mut MeshCx<'_>) -> Option<CallOutcome<Asked>> {
        let asked = Asked { ask: ask.ask, at: cx.now() };
        self.tally.offered += 1;
        // A life that follows another begins above all that it can have named.
        let id = RequestId::new(cx.id(), u64::from(cx.incarnation()) << 32 | self.asks);
        self.asks += 1;
        cx.note(mark::DUE, id.root, cx.now().nanos());
        let callee = CallSpec {
            id,
            by: None,
            optional: false,
            service: ask.service,
            endpoint: ask.endpoint,
            bytes: ask.bytes,
            // External clients say for each request how they want it.
            policy: ask.policy.own(),
            deadline: asked.at + ask.deadline.map_or(ASK_MAX, |deadline| deadline.min(ASK_MAX)),
            traced: ask.traced,
        };
        let is_known = self.mesh.has_endpoint(ask.service, ask.endpoint);
        if !is_known || ask.policy.retries > RETRIES_MAX || self.calls.in_flight() >= ASKS_MAX {
            return Some(CallOutcome::refused(asked, &callee, cx));
        }
        self.calls.call(callee, asked, ProxyId::ONLY, &self.mesh, &self.view, cx)
    }

    fn take_view(&mut self, view: Arc<InstanceView>, cx: &mut MeshCx<'_>) {
        if view.replaces(&self.view) {
            let old = std::mem::replace(&mut self.view, view);
            if let Some(mesh) = self.view.set(&old, &self.mesh) {
                let old = std::mem::replace(&mut self.mesh, mesh);
                self.calls.settings_changed(&old, &self.mesh, cx);
            }
            let lost = self.calls.view_changed(&old, &self.mesh, &self.view, cx);
            lost.into_iter().for_each(|ended| self.answer(ended, cx));
        }
    }

    fn answer(&mut self, ended: CallOutcome<Asked>, cx: &mut MeshCx<'_>) {
        for counted in ended.counted() {
            self.tally.over_budget += u64::from(counted.over_budget());
            self.tally.policies.add(&counted.marks);
        }
        let CallOutcome { owner: Asked { ask, at: asked }, failure, degraded, retries, bytes, path, .. } = ended;
        let now = cx.now();
        self.tally.retries += u64::from(retries);
        match failure {
            Some(failure) => self.tally.failed.count(failure),
            None => {
                self.tally.done += 1;
                self.tally.degraded += u64::from(degraded);
                self.tally.latency.record(now.since(asked));
                self.tally.uncorrected.record(now.since(asked));
            }
        }
        let mut path = path.map_or_else(Default::default, |path| *path);
        // It came from outside the process.
        path.hops.retain(|hop| self.mesh.has_endpoint(hop.service, hop.endpoint));
        let answer = Answer { ask, failure, degraded, retries, bytes, asked, ended: now, path };
        cx.send(self.mesh.external_client(), Msg::ExternalReply(Box::new(answer)));
    }
}
