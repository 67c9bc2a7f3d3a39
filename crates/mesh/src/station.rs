//! Proxies as stations: the requests that pass the proxies of one actor, and those that wait for a worker.
//!
//! A request passes a proxy in two parts. It waits, first come, first served, for a worker, which takes processor time
//! for it; then it is under way for the time that costs no processor. On a node the processor time comes from its
//! cores, beside that of the instances (`node/passing.rs`); the machine of a load has a core for each
//! worker (`Passage`).

use std::collections::{BTreeMap, VecDeque};

use meshsim_actor::{ActorId, Span, Time};
use serde::{Deserialize, Serialize};
use slotmap::new_key_type;

use crate::actors::MeshCx;
use crate::call::{Caller, Leaving};
use crate::message::{Cancel, Request, Tick};
use crate::model::{DataPlane, Mesh, ProxyStation, ServiceId};
use crate::request_id::{Draw, RequestId};
use crate::slots::Slots;

new_key_type! {
    /// Names a request that passes a proxy.
    pub struct PassKey;
}

/// Requests that may be at the proxies of one actor at once; one more is refused, or is lost on its way out. A bound of
/// memory: what the callers have in flight comes first.
pub const PASSES_MAX: usize = 1 << 20;

/// A proxy of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Place {
    /// The only one: of the node, or of the load.
    Actor,
    /// The one beside an instance.
    Instance(ServiceId, u32),
    /// The waypoint of a service.
    Waypoint(ServiceId),
}

/// A request at a proxy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) place: Place,
    pub(crate) what: Passing,
    /// Service that the figures belong to; `None`: a load's or the gateway's.
    pub(crate) owner: Option<ServiceId>,
    /// Processor time that it takes.
    pub(crate) work: Span,
    /// Time besides.
    pub(crate) latency: Span,
    pub(crate) came: Time,
}

/// Direction of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Passing {
    /// It leaves its caller.
    Out(Leaving),
    /// It has come to the node of its instance.
    In(ActorId, Request),
    /// Its caller has cancelled it: it passes, and goes no further.
    Cancelled,
}

/// Figures of proxies: of the requests that they have passed on after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyUse {
    /// Passages.
    pub passes: u64,
    /// Processor time, in nanoseconds of a core at normal speed.
    pub work_ns: u64,
    /// Time that they waited for a worker, in nanoseconds.
    pub waited_ns: u64,
}

impl ProxyUse {
    /// Adds another proxy's.
    pub fn merge(&mut self, other: &ProxyUse) {
        self.passes = self.passes.saturating_add(other.passes);
        self.work_ns = self.work_ns.saturating_add(other.work_ns);
        self.waited_ns = self.waited_ns.saturating_add(other.waited_ns);
    }

    /// Counts a passage that came then, and for which work is done now.
    pub(crate) fn count(&mut self, pass: &Pass, now: Time) {
        self.passes += 1;
        self.work_ns = self.work_ns.saturating_add(pass.work.nanos());
        // On a shared core the work takes longer, which is no wait for a worker; it is counted as one.
        let waited = now.since(pass.came).nanos().saturating_sub(pass.work.nanos());
        self.waited_ns = self.waited_ns.saturating_add(waited);
    }
}

/// The proxies of one actor that have something to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stations {
    passes: Slots<PassKey, Pass>,
    busy: BTreeMap<Place, Station>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Station {
    working: u32,
    waiting: VecDeque<PassKey>,
}

impl Stations {
    /// True if one more may come.
    pub(crate) fn has_room(&self) -> bool {
        self.passes.len() < PASSES_MAX
    }

    /// A request comes to its proxy. If a worker is free, returns what it begins.
    #[must_use]
    pub(crate) fn enter(&mut self, pass: Pass, workers: u32) -> Option<(PassKey, Span)> {
        let (place, work) = (pass.place, pass.work);
        let key = self.passes.insert(pass);
        let station = self.busy.entry(place).or_default();
        if station.working >= workers {
            station.waiting.push_back(key);
            return None;
        }
        station.working += 1;
        Some((key, work))
    }

    /// A worker is done with a request. Returns it, and what the worker begins next.
    #[must_use]
    pub(crate) fn worked(&mut self, key: PassKey) -> Option<(&Pass, Option<(PassKey, Span)>)> {
        let place = self.passes.get(key)?.place;
        let station = self.busy.get_mut(&place)?;
        let next = station.waiting.pop_front();
        if next.is_none() {
            station.working -= 1;
            if station.working == 0 {
                self.busy.remove(&place);
            }
        }
        let next = next.map(|next| (next, self.passes[next].work));
        Some((&self.passes[key], next))
    }

    /// Cancels a request that has come in, as its caller names it.
    pub(crate) fn cancel(&mut self, caller: ActorId, it: &Cancel) {
        for pass in self.passes.values_mut() {
            if matches!(&pass.what, Passing::In(from, request) if *from == caller && Cancel::of(request) == *it) {
                pass.what = Passing::Cancelled;
            }
        }
    }

    /// A request has passed.
    pub(crate) fn passed(&mut self, key: PassKey) -> Option<Pass> {
        self.passes.remove(key)
    }
}

/// A request of this name passes this proxy. `again`: for the second time on its way, or a third.
pub(crate) fn drawn(
    station: &ProxyStation,
    (id, attempt, bytes): (RequestId, u8, u32),
    (mesh, at): (&Mesh, PassAt),
) -> (Span, Span) {
    let mut rng = id.draws(mesh.seed, attempt, Draw::Proxy(at as u8));
    let per_kib = station.per_kib.scaled(f64::from(bytes) / 1024.0);
    (station.work.sample(&mut rng) + per_kib, station.latency.sample(&mut rng))
}

/// Proxies on the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassAt {
    /// Its caller's.
    Caller = 0,
    /// The waypoint.
    Waypoint = 1,
    /// Its instance's.
    Instance = 2,
}

/// The proxy of an actor that has no instances: a load's, or the gateway's. Its machine has a core for each worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Passage(Option<Box<(Stations, ProxyUse)>>);

impl Passage {
    /// Its figures, if requests have passed.
    pub(crate) fn used(&self) -> Option<ProxyUse> {
        self.0.as_ref().map(|passage| passage.1)
    }

    /// The machine went down: what was there is lost.
    pub(crate) fn reboot(&mut self) {
        if let Some(passage) = &mut self.0 {
            passage.0 = Stations::default();
        }
    }

    /// The requests that its calls have sent come to the proxy. Called after each event.
    #[inline]
    pub(crate) fn take_in<Owner: Copy>(&mut self, calls: &mut Caller<Owner>, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        if calls.has_leaving() {
            self.take_all_in(calls, mesh, cx);
        }
    }

    #[cold]
    fn take_all_in<Owner: Copy>(&mut self, calls: &mut Caller<Owner>, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        let Some((plane, station)) = of_callers(mesh) else { return };
        let (stations, _) = &mut **self.0.get_or_insert_default();
        while let Some((leaving, callee, _)) = calls.next_leaving() {
            if !stations.has_room() {
                continue;
            }
            let pass = leaves((plane, station), leaving, (&callee, Place::Actor), mesh, cx.now());
            if let Some((key, work)) = stations.enter(pass, station.workers) {
                cx.work(work, Tick::Worked(key));
            }
        }
    }

    /// A worker is done with a request.
    pub(crate) fn worked(&mut self, key: PassKey, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        let Some(passage) = &mut self.0 else { return };
        let (stations, used) = &mut **passage;
        let Some((pass, next)) = stations.worked(key) else { return };
        if pass.came >= mesh.measured_from() {
            used.count(pass, cx.now());
        }
        cx.arm(cx.now() + pass.latency, Tick::Passed(key));
        if let Some((key, work)) = next {
            cx.work(work, Tick::Worked(key));
        }
    }

    /// A request has passed: it is sent.
    pub(crate) fn passed<Owner: Copy>(&mut self, key: PassKey, calls: &mut Caller<Owner>, cx: &mut MeshCx<'_>) {
        let Some(passage) = &mut self.0 else { return };
        if let Some(Pass { what: Passing::Out(leaving), .. }) = passage.0.passed(key) {
            calls.pass_on(leaving, cx);
        }
    }
}

/// The proxies of callers, where there are any.
pub(crate) fn of_callers(mesh: &Mesh) -> Option<(&DataPlane, &ProxyStation)> {
    let plane = mesh.data_plane.as_deref()?;
    Some((plane, plane.proxy.as_ref()?))
}

/// A request that leaves its caller, at the caller's proxy.
pub(crate) fn leaves(
    (plane, station): (&DataPlane, &ProxyStation),
    leaving: Leaving,
    (callee, place): (&crate::call::CallSpec, Place),
    mesh: &Mesh,
    now: Time,
) -> Pass {
    let name = (callee.id, leaving.attempt, callee.bytes);
    let (work, latency) = drawn(station, name, (mesh, PassAt::Caller));
    let work = if leaving.opens { work + plane.handshake } else { work };
    Pass { place, what: Passing::Out(leaving), owner: callee.by, work, latency, came: now }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(place: Place) -> Pass {
        let leaving = Leaving { call: crate::call::CallKey::default(), attempt: 0, opens: false };
        let (work, latency) = (Span::from_millis(1), Span::ZERO);
        Pass { place, what: Passing::Out(leaving), owner: None, work, latency, came: Time::ZERO }
    }

    #[test]
    fn requests_beyond_the_workers_wait_in_order_and_idle_stations_take_no_memory() {
        let mut stations = Stations::default();
        let first = stations.enter(pass(Place::Actor), 2).expect("a worker is free").0;
        let second = stations.enter(pass(Place::Actor), 2).expect("a worker is free").0;
        assert_eq!(stations.enter(pass(Place::Actor), 2), None);
        assert_eq!(stations.enter(pass(Place::Actor), 2), None);
        assert!(stations.enter(pass(Place::Waypoint(ServiceId(0))), 2).is_some(), "a station of its own");
        let third = stations.worked(first).expect("it was there").1.expect("one waits").0;
        let fourth = stations.worked(second).expect("it was there").1.expect("one waits").0;
        assert!(third != fourth && stations.passed(first).is_some() && stations.passed(first).is_none());
        assert_eq!(stations.worked(third).expect("it was there").1, None);
        assert_eq!(stations.worked(fourth).expect("it was there").1, None);
        assert!(!stations.busy.contains_key(&Place::Actor));
    }
}
