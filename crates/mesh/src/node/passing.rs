//! Requests at the proxies of a node: on their way out, from its instances, and on their way in.
//!
//! The workers of the proxies take their processor time from the cores of the node, as its instances do. A request that
//! comes in passes the waypoint of its service, where there are waypoints, and then the proxy of its instance or node.

use meshsim_actor::{ActorId, Span};

use super::Node;
use super::work::{Work, refuse};
use crate::actors::MeshCx;
use crate::mark;
use crate::message::{Request, Tick};
use crate::model::{ProxyPer, ProxyStation};
use crate::station::{self, Pass, PassAt, PassKey, Passing, Place};

impl Node {
    /// A request comes to the node.
    #[inline]
    pub(super) fn arrives(&mut self, from: ActorId, request: Request, cx: &mut MeshCx<'_>) {
        match self.mesh.data_plane {
            None => self.request(from, request, cx),
            Some(_) => self.comes_in(from, request, PassAt::Waypoint, cx),
        }
    }

    /// A request comes to the first proxy from `at` on, or to its instance.
    fn comes_in(&mut self, from: ActorId, request: Request, at: PassAt, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        let Some(plane) = &mesh.data_plane else { return self.request(from, request, cx) };
        let (at, station) = match (at, &plane.waypoint, &plane.proxy) {
            (PassAt::Waypoint, Some(waypoint), _) => (PassAt::Waypoint, waypoint),
            (PassAt::Waypoint | PassAt::Instance, _, Some(proxy)) => (PassAt::Instance, proxy),
            _ => return self.request(from, request, cx),
        };
        // A peer may name any service.
        if request.service.index() >= mesh.services.len() {
            return refuse(from, &request, 0, cx);
        }
        let place = match (at, plane.per) {
            (PassAt::Waypoint, _) => Place::Waypoint(request.service),
            (_, ProxyPer::Instance) => Place::Instance(request.service, request.ordinal),
            (_, ProxyPer::Node) => Place::Actor,
        };
        let work = self.work.get_or_insert_with(|| Box::new(Work::new(cx.id(), &mesh)));
        if !work.stations.has_room() {
            return refuse(from, &request, 0, cx);
        }
        let name = (request.id, request.attempt, request.bytes);
        let (span, latency) = station::drawn(station, name, (&mesh, at));
        let (what, owner) = (Passing::In(from, request), Some(request.service));
        let pass = Pass { place, what, owner, work: span, latency, came: cx.now() };
        self.enters(pass, station, cx);
    }

    /// The requests that instances have sent come to their proxies. Called after each event.
    #[inline]
    pub(super) fn pass_out(&mut self, cx: &mut MeshCx<'_>) {
        if self.work.as_ref().is_some_and(|work| work.calls.has_leaving()) {
            self.pass_all_out(cx);
        }
    }

    #[cold]
    fn pass_all_out(&mut self, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        let Some(of) = station::of_callers(&mesh) else { return };
        while let Some(work) = &mut self.work
            && let Some((leaving, callee, whose)) = work.calls.next_leaving()
        {
            let place = match (of.0.per, whose) {
                (ProxyPer::Instance, Some((service, ordinal))) => Place::Instance(service, ordinal),
                _ => Place::Actor,
            };
            if work.stations.has_room() {
                self.enters(station::leaves(of, leaving, (&callee, place), &mesh, cx.now()), of.1, cx);
            }
        }
    }

    fn enters(&mut self, pass: Pass, station: &ProxyStation, cx: &mut MeshCx<'_>) {
        let Some(work) = &mut self.work else { return };
        if let Some(begun) = work.stations.enter(pass, station.workers) {
            self.works(begun, cx);
        }
    }

    fn works(&mut self, (key, span): (PassKey, Span), cx: &mut MeshCx<'_>) {
        if let Some(work) = &mut self.work {
            work.processor.begin_pass(key, span, cx);
        }
    }

    /// The processor is done with a request at a proxy: the worker takes the next one.
    pub(super) fn pass_worked(&mut self, key: PassKey, cx: &mut MeshCx<'_>) {
        let Some(work) = &mut self.work else { return };
        let Some((pass, next)) = work.stations.worked(key) else { return };
        let (now, latency) = (cx.now(), pass.latency);
        let hosted = self.hosting.as_mut().and_then(|hosting| hosting.get(pass.owner?));
        if let Some(served) = hosted.and_then(|hosted| hosted.measured(pass.came)) {
            served.proxy.count(pass, now);
        }
        if let Some(next) = next {
            self.works(next, cx);
        }
        match latency.is_zero() {
            true => self.passed(key, cx),
            false => _ = cx.arm(now + latency, Tick::Passed(key)),
        }
    }

    /// A request has passed a proxy: it is sent, or comes to the next one, or to its instance.
    pub(super) fn passed(&mut self, key: PassKey, cx: &mut MeshCx<'_>) {
        let Some(work) = &mut self.work else { return };
        match work.stations.passed(key) {
            None | Some(Pass { what: Passing::Cancelled, .. }) => {}
            Some(Pass { what: Passing::Out(leaving), .. }) => work.calls.pass_on(leaving, cx),
            Some(Pass { what: Passing::In(from, request), place: Place::Waypoint(_), .. }) => {
                self.comes_in(from, request, PassAt::Instance, cx);
            }
            Some(Pass { what: Passing::In(from, request), .. }) => {
                let call = mark::short(request.call);
                let passed = mark::Passed { caller: from.0 as u16, attempt: request.attempt, call };
                cx.note(mark::PASSED, request.id.key, passed.value());
                self.request(from, request, cx);
            }
        }
    }
}
