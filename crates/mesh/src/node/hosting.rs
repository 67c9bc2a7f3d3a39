//! The instances of a node: they start, accept requests, drain and stop.

use std::collections::VecDeque;

use meshsim_actor::{ActorId, Span, Time, Timer};
use serde::{Deserialize, Serialize};

use super::Node;
use super::caches::Caches;
use super::demand::DemandGauge;
use super::leave::Leave;
use super::places::{Early, PlaceCourse, Places};
use super::processor::{Done, Owner};
use super::queues::Queues;
use super::served::SloCounts;
use super::work::TaskKey;
use crate::actors::MeshCx;
use crate::autoscale::signal::{Gauge, InstanceSample, NodeSample};
use crate::board::InstanceLoad;
use crate::call::Caller;
use crate::course::instances_of_node;
use crate::criterion::Count;
use crate::diary::{Coming, Diary};
use crate::measure::ServiceMetrics;
use crate::message::{Msg, ReadinessReport, Request, ServiceReport, Share, Tick};
use crate::model::{COORDINATOR, Mesh, Service, ServiceId};
use crate::mutant::Mutant;
use crate::news::{PlacePiece, Told};
use crate::operation::slots;
use crate::proxy::ProxyId;
use crate::rollout::figures::VersionCounts;
use crate::serving::{Guard, ServingPolicies, Taken};

/// Bound on the instances of a node, over all services; the node creates none beyond it. It bounds memory, and is far
/// above that of a real machine.
pub const INSTANCES_MAX: usize = 1 << 20;

/// Up to this many services of a node take no more memory than they need: a mesh of many nodes has few on each.
const FEW: usize = 8;

/// The services of one node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HostedServices {
    /// By rising service. A service that was hosted once keeps its entry, for its measurements.
    services: Vec<HostedService>,
    /// Their ids, close together: every event searches them.
    numbers: Vec<ServiceId>,
    /// Number of the last report.
    seq: u64,
    /// Changes of the ready instances since then, in their order; an event reports its own before it ends.
    changes: Vec<Change>,
    /// State of leaving, if the node leaves.
    pub(super) leave: Option<Leave>,
}

/// Change of the ready instances of a service.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Change {
    service: ServiceId,
    what: Readiness,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Readiness {
    /// An instance is ready from now on: its ordinal and its version.
    Ready(u32, u32),
    /// An instance is ready no more: its ordinal.
    Gone(u32),
    /// The coordinator may know other ready instances of the service than there are: it is sent all of them.
    Anew,
}

impl Change {
    /// Ordinal of the instance; `None`: it is of the whole service.
    fn ordinal(&self) -> Option<u32> {
        match self.what {
            Readiness::Ready(ordinal, _) | Readiness::Gone(ordinal) => Some(ordinal),
            Readiness::Anew => None,
        }
    }
}

/// One service on one node.
///
/// A mesh may have millions: what only requests need is made when the first one comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HostedService {
    service: ServiceId,
    generation: u64,
    capacity: f64,
    /// Slots of one instance, as the capacity says.
    slots: u32,
    /// Instances that this node must run.
    share: Share,
    /// Instances that exist, by rising ordinal.
    pub(super) instances: Vec<Instance>,
    /// The report that told of the last change of the ready instances; above [`HostedServices::seq`]: not told yet.
    changed_in: u64,
    /// Figures of its requests, from the first one on.
    pub(super) figures: Option<Box<Figures>>,
    /// End of the first load's warm-up: [`Mesh::measured_from`].
    pub(super) from: Time,
    /// Counts for the SLOs of the service.
    pub(super) slo_counts: SloCounts,
    /// Counts for a rollout, while the coordinator asks for them; in memory.
    pub(super) counts: Option<Box<VersionCounts>>,
    /// Places at which its requests are counted.
    pub(super) places: Places,
    /// Time until which `busy_ns` and `slot_ns` are counted.
    counted: Time,
    /// [`ServiceMetrics::busy_ns`].
    busy_ns: u64,
    /// [`ServiceMetrics::slot_ns`].
    slot_ns: u64,
    /// Slots that are taken, over all instances.
    busy: u32,
    /// Instances that have slots: ready or draining.
    serving: u32,
}

/// The part of a [`HostedService`] that is on the disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct HostedOnDisk {
    service: ServiceId,
    generation: u64,
    capacity: f64,
    share: Share,
}

/// Figures of the requests of one service on one node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Of those that arrived after the first load's warm-up.
    pub(super) served: ServiceMetrics,
    /// Latencies of requests that arrived earlier: the time series include them, and the figures of the run leave them
    /// out.
    pub(super) early: Early,
}

/// One running copy of a service: 48 bytes, as a mesh may have millions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Instance {
    pub(super) ordinal: u32,
    pub(super) version: u32,
    pub(super) state: InstanceState,
    /// Index of its place in [`HostedService::places`].
    pub(super) place: u32,
    /// Ends its starting, its draining or its grace.
    timer: Option<Timer>,
    /// Requests in a slot.
    pub(super) active: u32,
    /// Blocks of scripts that no request waits for, and messages in its queues.
    pub(super) blocks: u32,
    /// Its proxy, from its first call on.
    proxy: ProxyId,
    /// The part that not every instance needs.
    more: Option<Box<More>>,
}

/// Part of an instance that it has from the time on at which it needs it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct More {
    /// Requests that wait for a slot.
    queue: VecDeque<TaskKey>,
    /// State that its scripts keep; `None`: there is none.
    kept: Option<Box<Kept>>,
    /// State of its serving policies; `None`: there are none, or it had no request yet.
    guard: Option<Box<Guard>>,
    /// Its measurements for the autoscaler, if its service is autoscaled.
    gauge: Option<Box<Gauge>>,
}

impl Instance {
    /// A request waits for a slot.
    pub(super) fn waits(&mut self, task: TaskKey, now: Time) {
        let More { queue, guard, .. } = &mut **self.more.get_or_insert_default();
        queue.push_back(task);
        if let Some(guard) = guard {
            guard.waits(queue.len(), now);
        }
    }

    /// Requests that wait for a slot, in their order.
    pub(super) fn queue(&self) -> impl ExactSizeIterator<Item = TaskKey> + '_ {
        self.more.as_ref().map(|more| more.queue.iter()).unwrap_or_default().copied()
    }

    /// Number of requests that wait for a slot.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.queue.len())
    }

    /// A request waits no longer. True if it did.
    pub(super) fn leaves_queue(&mut self, task: TaskKey) -> bool {
        let Some(more) = &mut self.more else { return false };
        let waited = more.queue.iter().position(|waiting| *waiting == task);
        waited.is_some_and(|at| more.queue.remove(at).is_some())
    }

    /// State that its scripts keep, if there is any.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.more.as_ref()?.kept.as_deref()
    }

    /// The same, made if there is none.
    pub(super) fn kept_mut(&mut self) -> &mut Kept {
        self.more.get_or_insert_default().kept.get_or_insert_default()
    }

    /// State of its serving policies, if there is any.
    #[inline]
    pub(super) fn guard(&mut self) -> Option<&mut Guard> {
        self.more.as_mut()?.guard.as_deref_mut()
    }

    /// The same, made if there is none.
    pub(super) fn guard_mut(&mut self) -> &mut Guard {
        self.more.get_or_insert_default().guard.get_or_insert_default()
    }

    fn gauge(&mut self) -> Option<&mut Gauge> {
        self.more.as_mut()?.gauge.as_deref_mut()
    }

    /// Takes a request out of the queue, now that a slot is free. `arrived` says when one came.
    pub(super) fn take(
        &mut self,
        of: Option<&ServingPolicies>,
        arrived: impl Fn(TaskKey) -> Time,
        now: Time,
    ) -> Option<Taken<TaskKey>> {
        let More { queue, guard, .. } = &mut **self.more.as_mut()?;
        match (of, guard) {
            (Some(of), Some(guard)) => guard.take(of, queue, arrived, now),
            (None, Some(guard)) => {
                guard.forget_delay();
                queue.pop_front().map(Taken::Served)
            }
            _ => queue.pop_front().map(Taken::Served),
        }
    }

    /// True if a slot that becomes free changes something here: for those that wait, for the serving policies, or as
    /// the instance is to go.
    pub(super) fn awaits_slot(&self) -> bool {
        let waits = |more: &More| !more.queue.is_empty() || more.guard.is_some();
        self.more.as_deref().is_some_and(waits) || self.state == InstanceState::Closing
    }

    /// True while a script runs: of a request, or of a block that outlives its request.
    fn is_busy(&self) -> bool {
        self.active > 0 || self.blocks > 0
    }
}

/// State of an instance that its scripts keep from one request to the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) caches: Caches,
    pub(super) queues: Queues,
}

/// An instance at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceNow {
    /// The service.
    pub service: ServiceId,
    /// Its number on the node.
    pub ordinal: u32,
    /// Version that it runs.
    pub version: u32,
    /// `starting`, `ready`, `draining` or `closing`.
    pub state: &'static str,
    /// Requests that it serves at once.
    pub slots: u32,
    /// Requests in a slot.
    pub active: u32,
    /// Requests that wait for one.
    pub waiting: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum InstanceState {
    /// Takes no requests yet.
    Starting,
    /// Takes requests.
    Ready,
    /// Is to go; takes requests of those who do not know yet.
    Draining,
    /// Takes no requests; goes when the last one is done.
    Closing,
}

/// Final state of one service on a node, for people and for comparison with other runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostedState {
    /// The service.
    pub service: ServiceId,
    /// Number of its steps that were applied here.
    pub generation: u64,
    /// C.
    pub capacity: f64,
    /// Instances, as (ordinal, version): those that are to stay.
    pub instances: Vec<(u32, u32)>,
}

impl HostedServices {
    /// True if the service is or was hosted here.
    pub(super) fn hosts(&self, service: ServiceId) -> bool {
        self.find(service).is_ok()
    }

    fn find(&self, service: ServiceId) -> Result<usize, usize> {
        self.numbers.binary_search(&service)
    }

    /// Generation and share of each service.
    pub(super) fn shares(&self) -> Vec<(ServiceId, u64, Share)> {
        self.services.iter().map(|hosted| (hosted.service, hosted.generation, hosted.share.clone())).collect()
    }

    /// True if there is no instance, not even one that drains.
    pub(super) fn is_empty(&self) -> bool {
        self.services.iter().all(|hosted| hosted.instances.is_empty())
    }

    pub(super) fn get(&mut self, service: ServiceId) -> Option<&mut HostedService> {
        let at = self.find(service).ok()?;
        Some(&mut self.services[at])
    }

    /// The proxy beside an instance; it is made when the instance first calls.
    pub(super) fn proxy<Owner: Copy>(
        &mut self,
        service: ServiceId,
        ordinal: u32,
        calls: &mut Caller<Owner>,
    ) -> ProxyId {
        match self.instance(service, ordinal).map(|instance| instance.proxy) {
            Some(ProxyId::NONE) => {}
            Some(proxy) => return proxy,
            // Never taken: an instance that calls exists.
            None => return ProxyId::ONLY,
        }
        let proxies = calls.proxies();
        proxies.sweep(|id, (service, ordinal)| self.instance(service, ordinal).is_some_and(|it| it.proxy == id));
        let made = proxies.add((service, ordinal));
        if let Some(instance) = self.instance(service, ordinal) {
            instance.proxy = made;
        }
        made
    }

    /// The service of a task, and the index of its instance.
    ///
    /// # Panics
    /// If there is no such instance. That of a task is there as long as the task.
    pub(super) fn instance_of(&mut self, request: &Request) -> (&mut HostedService, usize) {
        let hosted = self.get(request.service).expect("the service of a task is hosted");
        let at = hosted.find(request.ordinal).expect("the instance of a task is there");
        (hosted, at)
    }

    fn instance(&mut self, service: ServiceId, ordinal: u32) -> Option<&mut Instance> {
        let hosted = self.get(service)?;
        let at = hosted.find(ordinal).ok()?;
        Some(&mut hosted.instances[at])
    }

    /// Sets the share and the capacity of the service, and reconciles its instances.
    pub(super) fn set(
        &mut self,
        mesh: &Mesh,
        service: ServiceId,
        generation: u64,
        capacity: f64,
        share: &Share,
        cx: &mut MeshCx<'_>,
    ) {
        let at = self.place_of(service, mesh, cx.now());
        let room = INSTANCES_MAX.saturating_sub(self.services.iter().map(|hosted| hosted.instances.len()).sum());
        let mut own = self.own_places_left(mesh);
        let hosted = &mut self.services[at];
        hosted.count_until(cx.now());
        hosted.generation = generation;
        (hosted.capacity, hosted.slots) = (capacity, slots(capacity));
        hosted.share.clone_from(share);
        let before = self.changes.len();
        hosted.reconcile(mesh.service(service), room, &mut own, &mut self.changes, cx);
        if self.changes.len() > before {
            hosted.changed_in = self.seq + 1;
        }
    }

    /// Instances that may still get a place of their own.
    fn own_places_left(&self, mesh: &Mesh) -> usize {
        instances_of_node(mesh).saturating_sub(self.services.iter().map(|hosted| hosted.places.of_instances()).sum())
    }

    /// Handles the end of an instance's start delay, drain delay or grace. True if its remaining requests are to be cut
    /// off.
    fn due(&mut self, mesh: &Mesh, service: ServiceId, ordinal: u32, cx: &mut MeshCx<'_>) -> bool {
        let seq = self.seq;
        let Some(hosted) = self.get(service) else { return false };
        let Ok(at) = hosted.find(ordinal) else { return false };
        hosted.count_until(cx.now());
        let instance = &mut hosted.instances[at];
        instance.timer = None;
        match instance.state {
            InstanceState::Starting => {
                instance.state = InstanceState::Ready;
                if let Some(gauge) = instance.gauge() {
                    gauge.ready = Some(cx.now());
                }
                let what = Readiness::Ready(ordinal, instance.version);
                hosted.serving += 1;
                hosted.begins_to_serve(at, cx.now());
                hosted.changed_in = seq + 1;
                self.changes.push(Change { service, what });
            }
            InstanceState::Draining => {
                let instance = &mut hosted.instances[at];
                instance.state = InstanceState::Closing;
                let service = mesh.service(service);
                let rest = service.grace.map(|grace| grace - drain_delay(service));
                if rest == Some(Span::ZERO) {
                    return true;
                }
                let tick = Tick::Instance { service: hosted.service, ordinal };
                instance.timer = rest.map(|rest| cx.arm(cx.now() + rest, tick));
                hosted.remove_if_closed(at, cx);
            }
            InstanceState::Closing => return true,
            InstanceState::Ready => {}
        }
        false
    }

    /// What of the services is on the disk, by rising service.
    pub(super) fn kept(&self) -> Vec<HostedOnDisk> {
        let kept = |it: &HostedService| HostedOnDisk {
            service: it.service,
            generation: it.generation,
            capacity: it.capacity,
            share: it.share.clone(),
        };
        self.services.iter().map(kept).collect()
    }

    /// Takes over what was on the disk. A service that is not there has no share. Instances follow with
    /// [`power_on`](Self::power_on).
    pub(super) fn restore(&mut self, mesh: &Mesh, kept: Vec<HostedOnDisk>) {
        for hosted in &mut self.services {
            hosted.generation = 0;
            hosted.share = Share::new();
        }
        for it in kept {
            let at = self.place_of(it.service, mesh, Time::ZERO);
            let hosted = &mut self.services[at];
            hosted.generation = it.generation;
            (hosted.capacity, hosted.slots) = (it.capacity, slots(it.capacity));
            hosted.share = it.share;
        }
    }

    /// Index of a service, which is added if it was not hosted here.
    fn place_of(&mut self, service: ServiceId, mesh: &Mesh, now: Time) -> usize {
        self.find(service).unwrap_or_else(|at| {
            if self.services.len() < FEW {
                self.services.reserve_exact(1);
            }
            self.services.insert(at, HostedService::new(service, mesh, now));
            self.numbers.insert(at, service);
            at
        })
    }

    /// Clears memory, and the instances with it; the shares stay.
    pub(super) fn power_off(&mut self) {
        self.seq = 0;
        self.changes.clear();
        for hosted in &mut self.services {
            hosted.went_down();
            hosted.instances.clear();
            hosted.counts = None;
            (hosted.busy, hosted.serving, hosted.changed_in) = (0, 0, 0);
        }
    }

    /// The instances that are to be here come up.
    pub(super) fn power_on(&mut self, mesh: &Mesh, cx: &mut MeshCx<'_>) {
        let mut room = INSTANCES_MAX;
        let mut own = self.own_places_left(mesh);
        for hosted in &mut self.services {
            hosted.counted = cx.now();
            hosted.reconcile(mesh.service(hosted.service), room, &mut own, &mut self.changes, cx);
            room = room.saturating_sub(hosted.instances.len());
            // Even if nothing is ready yet: the coordinator may think otherwise.
            if !Mutant::RestartNotReported.is_on() {
                hosted.changed_in = 1;
                self.changes.push(Change { service: hosted.service, what: Readiness::Anew });
            }
        }
    }

    /// Number of the last report.
    pub(super) fn reported(&self) -> u64 {
        self.seq
    }

    /// The next report, if there is something to tell.
    fn next_report(&mut self, incarnation: u32) -> Option<ReadinessReport> {
        if self.changes.is_empty() {
            return None;
        }
        let mut changes = std::mem::take(&mut self.changes);
        // A stable sort: the last change of an instance is the one that holds.
        changes.sort_by_key(|change| (change.service, change.ordinal()));
        let base = self.seq;
        self.seq += 1;
        let of_service = |changes: &[Change]| match changes[0] {
            Change { service, what: Readiness::Anew } => Some(self.services[self.find(service).ok()?].report()),
            Change { service, .. } => Some(reported(service, changes)),
        };
        let services = changes.chunk_by(|a, b| a.service == b.service).filter_map(of_service).collect();
        Some(ReadinessReport { seq: self.seq, base, incarnation, services })
    }

    /// All services that changed after report `base`.
    fn report_since(&self, base: u64, incarnation: u32) -> ReadinessReport {
        let changed = self.services.iter().filter(|hosted| hosted.changed_in > base);
        let services = changed.map(|hosted| hosted.report()).collect();
        ReadinessReport { seq: self.seq, base, incarnation, services }
    }

    pub(super) fn served(&self, now: Time) -> Vec<(ServiceId, ServiceMetrics)> {
        let until_now = |hosted: &HostedService| {
            let (busy_ns, slot_ns) = hosted.slots_until(now);
            let served = match &hosted.figures {
                Some(figures) => {
                    ServiceMetrics { latency: hosted.places.latency(&figures.early), ..figures.served.clone() }
                }
                None => ServiceMetrics::default(),
            };
            (hosted.service, ServiceMetrics { busy_ns, slot_ns, ..served })
        };
        self.services.iter().map(until_now).collect()
    }

    /// Counts for SLOs, including the requests in flight.
    pub(super) fn slo_counts(
        &self,
        now: Time,
        in_flight: impl Iterator<Item = (Owner, Time)> + Clone,
    ) -> Vec<((u32, u32), Count)> {
        let until_now = |hosted: &HostedService| {
            let of_service = in_flight.clone().filter(|(owner, _)| owner.service == hosted.service);
            hosted.slo_counts.until(now, of_service.map(|(_, arrived)| arrived))
        };
        self.services.iter().flat_map(until_now).collect()
    }

    /// The time series of all places, including work in progress and requests in flight.
    pub(super) fn courses(
        &self,
        now: Time,
        in_progress: impl Iterator<Item = Done>,
        in_flight: impl Iterator<Item = (Owner, Time)>,
    ) -> Vec<PlaceCourse> {
        let courses = |hosted: &HostedService| hosted.places.courses(hosted.service, now);
        let mut all: Vec<Vec<PlaceCourse>> = self.services.iter().map(courses).collect();
        for done in in_progress {
            if let Ok(at) = self.find(done.owner.service) {
                all[at][done.owner.place as usize].course.worked(done.began, now, done.worked);
            }
        }
        for (owner, arrived) in in_flight {
            if let Ok(at) = self.find(owner.service) {
                all[at][owner.place as usize].course.left(arrived, now.since(arrived));
            }
        }
        all.into_iter().flatten().collect()
    }

    /// The windows of each place since those that `told` covers.
    pub(super) fn news(&self, told: Told, now: Time) -> Vec<PlacePiece> {
        self.services.iter().flat_map(|hosted| hosted.places.news(hosted.service, told, now)).collect()
    }

    /// Number of starts and stops of instances.
    pub(super) fn comings_count(&self) -> u64 {
        let of = |comings: &Diary<Coming>| comings.left_out.saturating_add(comings.entries.len() as u64);
        self.services.iter().fold(0, |sum, hosted| of(hosted.places.comings()).saturating_add(sum))
    }

    /// Instances that came and went, by service.
    pub(super) fn comings(&self) -> Diary<Coming> {
        let mut all = Diary::default();
        for comings in self.services.iter().map(|hosted| hosted.places.comings()) {
            all.entries.extend_from_slice(&comings.entries);
            all.left_out = all.left_out.saturating_add(comings.left_out);
        }
        all
    }

    pub(super) fn state(&self) -> Vec<HostedState> {
        let staying = |hosted: &HostedService| {
            let instances =
                hosted.instances.iter().filter(|i| matches!(i.state, InstanceState::Starting | InstanceState::Ready));
            instances.map(|i| (i.ordinal, i.version)).collect()
        };
        self.services
            .iter()
            .map(|hosted| HostedState {
                service: hosted.service,
                generation: hosted.generation,
                capacity: hosted.capacity,
                instances: staying(hosted),
            })
            .collect()
    }
}

/// Time for which a draining instance accepts requests: at most its grace.
fn drain_delay(service: &Service) -> Span {
    service.grace.map_or(service.drain_delay, |grace| grace.min(service.drain_delay))
}

impl HostedService {
    fn new(service: ServiceId, mesh: &Mesh, now: Time) -> Self {
        HostedService {
            service,
            generation: 0,
            capacity: 1.0,
            slots: slots(1.0),
            share: Share::new(),
            instances: Vec::new(),
            changed_in: 0,
            figures: None,
            from: mesh.measured_from(),
            slo_counts: SloCounts::new(service, mesh),
            counts: None,
            places: Places::new(service, mesh),
            counted: now,
            busy_ns: 0,
            slot_ns: 0,
            busy: 0,
            serving: 0,
        }
    }

    /// Slots of one instance.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// Load of each ready instance.
    pub(super) fn loads(&self, node: ActorId) -> impl Iterator<Item = InstanceLoad> {
        let ready = self.instances.iter().filter(|instance| instance.state == InstanceState::Ready);
        ready.map(move |it| InstanceLoad { node, ordinal: it.ordinal, requests: it.active + it.waiting() as u32 })
    }

    /// Sample of each instance that is to stay, if the service is autoscaled.
    fn samples(&self) -> impl Iterator<Item = InstanceSample> + '_ {
        let stays = |it: &&Instance| matches!(it.state, InstanceState::Starting | InstanceState::Ready);
        self.instances.iter().filter(stays).filter_map(|it| {
            let Gauge { created, ready, work_ns } = **it.more.as_ref()?.gauge.as_ref()?;
            let requests = it.active + it.waiting() as u32;
            Some(InstanceSample { service: self.service, ordinal: it.ordinal, created, ready, work_ns, requests })
        })
    }

    /// Counts processor time of an instance for the autoscaler.
    pub(super) fn gauge_work(&mut self, ordinal: u32, worked: Span) {
        if let Ok(at) = self.find(ordinal)
            && let Some(gauge) = self.instances[at].gauge()
        {
            gauge.work_ns = gauge.work_ns.saturating_add(worked.nanos());
        }
    }

    /// Index of an instance. Ordinals are dense except for drained ones, so the first guess is nearly always right.
    pub(super) fn find(&self, ordinal: u32) -> Result<usize, usize> {
        match self.instances.get(ordinal as usize) {
            Some(instance) if instance.ordinal == ordinal => Ok(ordinal as usize),
            _ => self.instances.binary_search_by_key(&ordinal, |instance| instance.ordinal),
        }
    }

    /// Reconciles the instances with the share: surplus ones drain, those that are not ready first, then the newest
    /// ordinals; missing ones start, with the lowest free ordinals, while there is room.
    ///
    /// `own`: number of further instances that may get a place of their own. `changes`: of the ready ones.
    fn reconcile(
        &mut self,
        service: &Service,
        mut room: usize,
        own: &mut usize,
        changes: &mut Vec<Change>,
        cx: &mut MeshCx<'_>,
    ) {
        let mut keep = self.share.to_vec();
        // Ready ones choose first: one that starts never stays in the place of one that takes requests.
        for state in [InstanceState::Ready, InstanceState::Starting] {
            for at in 0..self.instances.len() {
                let instance = &mut self.instances[at];
                if instance.state != state {
                    continue;
                }
                let wanted = keep.binary_search_by_key(&instance.version, |(version, _)| *version);
                match wanted.ok().map(|at| &mut keep[at].1).filter(|count| **count > 0) {
                    Some(count) => *count -= 1,
                    None => {
                        if state == InstanceState::Ready {
                            changes.push(Change { service: self.service, what: Readiness::Gone(instance.ordinal) });
                        }
                        self.send_away(at, service, cx);
                    }
                }
            }
        }
        // An instance that never served is removed without being counted as serving.
        self.instances.retain(|instance| instance.state != InstanceState::Closing || instance.is_busy());
        for (version, count) in keep {
            let count = (count as usize).min(room);
            room -= count;
            self.create(version, count, own, service, changes, cx);
        }
        self.recount(cx.now());
    }

    /// An instance is to go. One that has not started has no requests: it goes at once.
    fn send_away(&mut self, at: usize, service: &Service, cx: &mut MeshCx<'_>) {
        let instance = &mut self.instances[at];
        instance.state =
            if instance.state == InstanceState::Ready { InstanceState::Draining } else { InstanceState::Closing };
        if let Some(timer) = instance.timer.take() {
            cx.disarm(timer);
        }
        if instance.state == InstanceState::Draining {
            let tick = Tick::Instance { service: self.service, ordinal: instance.ordinal };
            instance.timer = Some(cx.arm(cx.now() + drain_delay(service), tick));
        }
    }

    /// Starts new instances.
    fn create(
        &mut self,
        version: u32,
        count: usize,
        own: &mut usize,
        service: &Service,
        changes: &mut Vec<Change>,
        cx: &mut MeshCx<'_>,
    ) {
        let at_once = service.start_delay.is_zero();
        if self.instances.is_empty() {
            self.instances.reserve_exact(count);
        }
        let mut at = 0;
        for _ in 0..count {
            while self.instances.get(at).is_some_and(|instance| instance.ordinal == at as u32) {
                at += 1;
            }
            let ordinal = at as u32;
            let state = if at_once { InstanceState::Ready } else { InstanceState::Starting };
            let due = Tick::Instance { service: self.service, ordinal };
            let timer = (!at_once).then(|| cx.arm(cx.now() + service.start_delay, due));
            self.serving += u32::from(at_once);
            let place = self.place(version, ordinal, own, cx.now());
            let (active, blocks, proxy) = (0, 0, ProxyId::NONE);
            let born = || Gauge { created: cx.now(), ready: at_once.then(|| cx.now()), work_ns: 0 };
            let measured = || Box::new(More { gauge: Some(Box::new(born())), ..More::default() });
            let more = service.is_sampled().then(measured);
            let instance = Instance { ordinal, version, state, place, timer, active, blocks, proxy, more };
            self.instances.insert(at, instance);
            if at_once {
                self.tell(at, true, cx.now());
                changes.push(Change { service: self.service, what: Readiness::Ready(ordinal, version) });
            }
        }
    }

    /// The place of a new instance: its own, if it had one before or may get one.
    fn place(&mut self, version: u32, ordinal: u32, own: &mut usize, now: Time) -> u32 {
        let whose = (Some(version), Some(ordinal));
        if *own == 0 && !self.places.has(whose) {
            return self.places.of((Some(version), None), now);
        }
        *own -= usize::from(!self.places.has(whose));
        self.places.of(whose, now)
    }

    /// The place of requests for instances that are not there.
    pub(super) fn nowhere(&mut self, now: Time) -> u32 {
        self.places.of((None, None), now)
    }

    fn begins_to_serve(&mut self, at: usize, now: Time) {
        let (place, slots) = (self.instances[at].place, self.slots());
        self.places.serves(place, slots, now);
        self.tell(at, true, now);
    }

    /// Writes down that an instance came or is gone.
    fn tell(&mut self, at: usize, came: bool, now: Time) {
        let Instance { ordinal, version, .. } = self.instances[at];
        self.places.tell(Coming { at: now, service: self.service, ordinal, version, came });
    }

    /// Counts the instances of each place anew.
    fn recount(&mut self, now: Time) {
        let slots = self.slots();
        let serving = self.instances.iter().filter(|instance| instance.state != InstanceState::Starting);
        self.places
            .recount(serving.map(|instance| (instance.place, slots, instance.state == InstanceState::Ready)), now);
    }

    /// The machine went down: ends all levels at the last time at which they were counted.
    fn went_down(&mut self) {
        for at in 0..self.instances.len() {
            if self.instances[at].state != InstanceState::Starting {
                self.tell(at, false, self.counted);
            }
        }
        self.places.clear();
    }

    /// A processor did something for a request, until then.
    pub(super) fn worked(&mut self, done: &Done, until: Time) {
        let late = until.since(done.began.max(self.from));
        // For work that was begun in the warm-up, as if it had progressed evenly.
        let worked = match until.since(done.began) {
            took if took == late => done.worked,
            took => done.worked.scaled(late.secs() / took.secs()),
        };
        let served = &mut self.figures.get_or_insert_default().served;
        served.work_ns = served.work_ns.saturating_add(worked.nanos());
        self.places.worked(done.owner.place, done.began, until, done.worked);
    }

    /// An instance that takes nothing any more and has nothing left to do goes.
    pub(super) fn remove_if_closed(&mut self, at: usize, cx: &mut MeshCx<'_>) {
        let instance = &self.instances[at];
        if instance.state == InstanceState::Closing && !instance.is_busy() && instance.waiting() == 0 {
            self.tell(at, false, cx.now());
            let (place, slots) = (self.instances[at].place, self.slots());
            self.places.gone(place, slots, cx.now());
            // The next instance with this ordinal has timers of its own.
            if let Some(grace) = self.instances.remove(at).timer {
                cx.disarm(grace);
            }
            self.serving -= 1;
        }
    }

    /// Empties the caches of its instances.
    pub(super) fn flush(&mut self) {
        let more = self.instances.iter_mut().filter_map(|instance| instance.more.as_mut());
        more.filter_map(|more| more.kept.as_mut()).for_each(|kept| kept.caches.flush());
    }

    /// A slot is taken or given back.
    pub(super) fn busy_changed(&mut self, now: Time, by: i32) {
        self.count_until(now);
        self.busy = self.busy.saturating_add_signed(by);
    }

    /// An instance's grace is over: its slots are free, and nothing waits at it any more.
    pub(super) fn cut(&mut self, at: usize, cx: &mut MeshCx<'_>) {
        self.count_until(cx.now());
        let instance = &mut self.instances[at];
        self.busy = self.busy.saturating_sub(std::mem::take(&mut instance.active));
        instance.blocks = 0;
        if let Some(more) = &mut instance.more {
            more.queue.clear();
            more.kept = None;
        }
        self.remove_if_closed(at, cx);
    }

    pub(super) fn count_until(&mut self, now: Time) {
        (self.busy_ns, self.slot_ns) = self.slots_until(now);
        let (passed, busy, slots) = (now.since(self.counted).nanos(), u64::from(self.busy), self.all_slots());
        self.counted = now;
        if let Some(gauge) = self.places.gauge() {
            gauge.busy_ns = gauge.busy_ns.saturating_add(passed.saturating_mul(busy));
            gauge.slot_ns = gauge.slot_ns.saturating_add(passed.saturating_mul(slots));
        }
    }

    /// Levels for an autoscaler that follows the whole service.
    pub(super) fn gauge(&mut self) -> Option<&DemandGauge> {
        self.places.gauge().map(|gauge| &*gauge)
    }

    /// Slots of all instances that serve.
    fn all_slots(&self) -> u64 {
        u64::from(self.serving).saturating_mul(u64::from(self.slots()))
    }

    /// Time of the taken slots and of the existing slots until now, in nanoseconds.
    fn slots_until(&self, now: Time) -> (u64, u64) {
        let passed = now.since(self.counted.max(self.from)).nanos();
        let slots = self.all_slots();
        let busy_ns = self.busy_ns.saturating_add(passed.saturating_mul(u64::from(self.busy)));
        (busy_ns, self.slot_ns.saturating_add(passed.saturating_mul(slots)))
    }

    fn ready(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let ready = self.instances.iter().filter(|instance| instance.state == InstanceState::Ready);
        ready.map(|instance| (instance.ordinal, instance.version))
    }

    /// A report with all ready instances.
    fn report(&self) -> ServiceReport {
        ServiceReport { service: self.service, ready: self.ready().collect(), gone: None }
    }
}

/// A report of the changes of one service, by rising ordinal; of several of one instance the last holds.
fn reported(service: ServiceId, changes: &[Change]) -> ServiceReport {
    let (mut ready, mut gone) = (Vec::new(), Vec::new());
    for of_instance in changes.chunk_by(|a, b| a.ordinal() == b.ordinal()) {
        match of_instance[of_instance.len() - 1].what {
            Readiness::Ready(ordinal, version) => ready.push((ordinal, version)),
            Readiness::Gone(ordinal) => gone.push(ordinal),
            Readiness::Anew => {}
        }
    }
    ServiceReport { service, ready, gone: Some(gone) }
}

impl Node {
    pub(super) fn instance_due(&mut self, service: ServiceId, ordinal: u32, cx: &mut MeshCx<'_>) {
        let mesh = self.mesh.clone();
        if self.hosting.as_mut().is_some_and(|hosting| hosting.due(&mesh, service, ordinal, cx)) {
            self.cut(service, ordinal, cx);
        }
        self.report_changes(cx);
    }

    /// Reports the changes since the last report to the coordinator.
    pub(super) fn report_changes(&mut self, cx: &mut MeshCx<'_>) {
        if let Some(report) = self.hosting.as_mut().and_then(|hosting| hosting.next_report(cx.incarnation())) {
            cx.send(COORDINATOR, Msg::Report(Box::new(report)));
        }
    }

    /// Sends the autoscaler a sample of the instances of the services that it scales.
    pub(super) fn sample(&mut self, to: ActorId, round: u64, cx: &mut MeshCx<'_>) {
        let Some(hosting) = &self.hosting else { return };
        let instances = hosting.services.iter().flat_map(HostedService::samples).collect();
        cx.send(to, Msg::Sample(Box::new(NodeSample { round, at: cx.now(), instances })));
    }

    /// Repeats the reports that the coordinator has missed.
    pub(super) fn report(&mut self, have: u64, cx: &mut MeshCx<'_>) {
        if let Some(hosting) = &self.hosting
            && have < hosting.seq
        {
            cx.send(COORDINATOR, Msg::Report(Box::new(hosting.report_since(have, cx.incarnation()))));
        }
    }

    /// The instances that run here, by service and number.
    pub fn instances(&self) -> Vec<InstanceNow> {
        let services = self.hosting.iter().flat_map(|hosting| &hosting.services);
        let of = |hosted: &HostedService| {
            let now = |instance: &Instance| InstanceNow {
                service: hosted.service,
                ordinal: instance.ordinal,
                version: instance.version,
                state: match instance.state {
                    InstanceState::Starting => "starting",
                    InstanceState::Ready => "ready",
                    InstanceState::Draining => "draining",
                    InstanceState::Closing => "closing",
                },
                slots: hosted.slots(),
                active: instance.active,
                waiting: instance.waiting(),
            };
            hosted.instances.iter().map(now).collect::<Vec<_>>()
        };
        services.flat_map(of).collect()
    }

    /// Number of instances of a service that accept requests here and are to stay.
    pub fn ready(&self, service: ServiceId) -> u32 {
        let hosted = self.hosting.as_ref().and_then(|hosting| Some(&hosting.services[hosting.find(service).ok()?]));
        hosted.map_or(0, |hosted| hosted.ready().count() as u32)
    }
}
