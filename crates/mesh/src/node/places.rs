//! Places: the instances of one service on one node, each with a time series of its requests.
//!
//! A node keeps up to [`instances_of_node`](crate::course::instances_of_node) instances apart, each with a place of its
//! own; the others of a version share one. Requests for instances that do not exist have one, too. So all places of a
//! service together are the service.

use std::borrow::Cow;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use super::demand::DemandGauge;
use crate::autoscale;
use crate::course::{Course, Shape, Watched};
use crate::diary::{Coming, Diary, entries_of_node};
use crate::measure::Histogram;
use crate::model::{Mesh, ServiceId};
use crate::news::{Piece, PlacePiece, Told};
use crate::sparse::{Scale, Sparse};

/// The places of one service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Places {
    shape: Shape,
    list: Vec<Place>,
    comings: Diary<Coming>,
    comings_max: usize,
    /// Levels for an autoscaler that follows the whole service; `None`: none does.
    gauge: Option<Box<DemandGauge>>,
}

/// One place.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    whose: Whose,
    counts: Counts,
}

/// Counts of one place.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Counts {
    /// There was no request yet, and the numbers of slots and of instances have not changed since they were first there.
    /// A mesh may have millions of such places, and a time series takes ten times as much.
    Idle(Idle),
    Watched(Box<Watched>),
}

/// A place without requests.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Idle {
    slots: u64,
    ready: u32,
    /// Time from which on these were there.
    since: Time,
    /// Time of the last count.
    counted: Time,
}

impl Idle {
    fn watched(self, shape: Shape) -> Watched {
        Watched::of_staff(shape, (self.slots, self.ready), self.since, self.counted)
    }
}

impl Counts {
    #[inline(always)]
    fn watched(&mut self, shape: Shape) -> &mut Watched {
        match self {
            Counts::Watched(watched) => watched,
            idle => idle.begin(shape),
        }
    }

    #[cold]
    fn begin(&mut self, shape: Shape) -> &mut Watched {
        if let Counts::Idle(idle) = self {
            *self = Counts::Watched(Box::new(idle.watched(shape)));
        }
        match self {
            Counts::Watched(watched) => watched,
            Counts::Idle(_) => unreachable!("it was just begun"),
        }
    }

    /// The numbers of slots and of instances that are to stay.
    fn staff(&self) -> (u64, u32) {
        match self {
            Counts::Idle(idle) => (idle.slots, idle.ready),
            Counts::Watched(watched) => watched.levels(),
        }
    }

    /// Counts them, and sets them.
    fn set_staff(&mut self, shape: Shape, staff: (u64, u32), now: Time) {
        match self {
            Counts::Idle(idle) if (idle.slots, idle.ready) == staff => idle.counted = now,
            Counts::Idle(idle) if (idle.slots, idle.ready) == (0, 0) || idle.since == now => {
                *idle = Idle { slots: staff.0, ready: staff.1, since: now, counted: now };
            }
            counts => counts.watched(shape).staff(now, |_, _| staff),
        }
    }

    /// The machine went down.
    fn clear(&mut self, shape: Shape) {
        match self {
            Counts::Idle(idle) if (idle.slots, idle.ready) == (0, 0) || idle.since == idle.counted => {
                *idle = Idle { slots: 0, ready: 0, since: idle.counted, counted: idle.counted };
            }
            counts => counts.watched(shape).clear(),
        }
    }

    /// The time series so far.
    fn so_far(&self, shape: Shape) -> Cow<'_, Watched> {
        match self {
            Counts::Idle(idle) => Cow::Owned(idle.watched(shape)),
            Counts::Watched(watched) => Cow::Borrowed(watched),
        }
    }
}

/// Owner of a place: the version, and the ordinal if it belongs to one instance. No version: requests for instances
/// that do not exist.
type Whose = (Option<u32>, Option<u32>);

/// Time series of one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceCourse {
    /// The service.
    pub service: ServiceId,
    /// The version of the instances; `None`: of requests for instances that were not there.
    pub version: Option<u32>,
    /// Ordinal of the instance on its node; `None` for the instances that have no time series of their own.
    pub ordinal: Option<u32>,
    /// The time series.
    pub course: Course,
}

/// Latencies that the figures of a run leave out, of requests that came in the warm-up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Early {
    latency: Sparse,
    sum_ns: u64,
    /// The longest of those that came later.
    pub(super) longest_later: Span,
}

impl Early {
    pub(super) fn record(&mut self, took: Span, scale: Scale) {
        self.latency.record(scale.bucket(took));
        self.sum_ns = self.sum_ns.saturating_add(took.nanos());
    }
}

impl Places {
    pub(super) fn new(service: ServiceId, mesh: &Mesh) -> Self {
        let comings_max = entries_of_node(mesh);
        let gauge = autoscale::measured(mesh).any(|it| it == service).then(Box::default);
        Places { shape: Shape::of_nodes(mesh), list: Vec::new(), comings: Diary::default(), comings_max, gauge }
    }

    /// Levels for an autoscaler that follows the whole service.
    pub(super) fn gauge(&mut self) -> Option<&mut DemandGauge> {
        self.gauge.as_deref_mut()
    }

    /// The place of an instance, of the others of its version, or of none.
    #[cold]
    pub(super) fn of(&mut self, whose: Whose, now: Time) -> u32 {
        let found = self.list.iter().position(|place| place.whose == whose);
        let at = found.unwrap_or_else(|| {
            if self.list.is_empty() {
                // Most services of a large mesh have one place on a node.
                self.list.reserve_exact(1);
            }
            let counts = Counts::Idle(Idle { slots: 0, ready: 0, since: now, counted: now });
            self.list.push(Place { whose, counts });
            self.list.len() - 1
        });
        at as u32
    }

    /// True if there is such a place.
    pub(super) fn has(&self, whose: Whose) -> bool {
        self.list.iter().any(|place| place.whose == whose)
    }

    /// The version of the instances of a place; `None`: its requests were for instances that are not there.
    pub(super) fn version(&self, place: u32) -> Option<u32> {
        self.list[place as usize].whose.0
    }

    /// Number of places that belong to one instance each.
    pub(super) fn of_instances(&self) -> usize {
        self.list.iter().filter(|place| place.whose.1.is_some()).count()
    }

    #[inline(always)]
    fn at(&mut self, place: u32) -> &mut Watched {
        self.list[place as usize].counts.watched(self.shape)
    }

    #[inline(always)]
    pub(super) fn course(&mut self, place: u32) -> &mut Course {
        &mut self.at(place).course
    }

    /// A request is taken in, and waits for a slot or gets one.
    #[inline(always)]
    pub(super) fn came(&mut self, place: u32, waits: bool, now: Time) {
        if let Some(gauge) = &mut self.gauge {
            gauge.requests.change(1, now);
        }
        self.at(place).came(waits, now);
    }

    /// More messages wait, or fewer.
    pub(super) fn messages(&mut self, place: u32, now: Time, more: i32) {
        self.at(place).messages(now, |waiting| waiting.saturating_add_signed(more));
    }

    /// Counts the end of a wait.
    pub(super) fn leaves_queue(&mut self, place: u32, now: Time) {
        self.at(place).leaves_queue(now);
    }

    /// Counts the end of a request in flight; the caller adds the result to the returned time series.
    #[inline(always)]
    pub(super) fn ended(&mut self, place: u32, now: Time) -> &mut Course {
        if let Some(gauge) = &mut self.gauge {
            gauge.requests.change(-1, now);
        }
        self.at(place).ended(now)
    }

    /// Counts a request as lost with the node's memory.
    pub(super) fn lost(&mut self, place: u32, arrived: Time) {
        self.at(place).lost(arrived);
    }

    /// A processor did something for a request.
    #[inline(always)]
    pub(super) fn worked(&mut self, place: u32, began: Time, to: Time, worked: Span) {
        self.course(place).worked(began, to, worked);
    }

    /// An instance takes requests from now on, and has so many slots.
    pub(super) fn serves(&mut self, place: u32, slots: u32, now: Time) {
        let counts = &mut self.list[place as usize].counts;
        let (there, ready) = counts.staff();
        counts.set_staff(self.shape, (there + u64::from(slots), ready + 1), now);
    }

    /// Removes an instance that was draining, with its slots.
    pub(super) fn gone(&mut self, place: u32, slots: u32, now: Time) {
        let counts = &mut self.list[place as usize].counts;
        let (there, ready) = counts.staff();
        counts.set_staff(self.shape, (there.saturating_sub(slots.into()), ready), now);
    }

    /// The instances are counted anew: those that serve are `(place, slots, it is to stay)`.
    pub(super) fn recount(&mut self, serving: impl Iterator<Item = (u32, u32, bool)>, now: Time) {
        let mut staff = vec![(0, 0); self.list.len()];
        for (place, slots, stays) in serving {
            let (there, ready): &mut (u64, u32) = &mut staff[place as usize];
            (*there, *ready) = (*there + u64::from(slots), *ready + u32::from(stays));
        }
        for (place, staff) in self.list.iter_mut().zip(staff) {
            place.counts.set_staff(self.shape, staff, now);
        }
    }

    /// The machine went down.
    pub(super) fn clear(&mut self) {
        // Its sums begin again with the machine.
        self.gauge.iter_mut().for_each(|gauge| **gauge = DemandGauge::default());
        self.list.iter_mut().for_each(|place| place.counts.clear(self.shape));
    }

    /// Writes down that an instance came or is gone.
    pub(super) fn tell(&mut self, coming: Coming) {
        self.comings.write(coming, self.comings_max);
    }

    pub(super) fn comings(&self) -> &Diary<Coming> {
        &self.comings
    }

    pub(super) fn scale(&self) -> Scale {
        self.shape.scale
    }

    /// Latencies of all answered requests, except those of the warm-up.
    pub(super) fn latency(&self, early: &Early) -> Histogram {
        let (mut all, mut sum_ns) = (Sparse::default(), 0_u64);
        let watched = self.list.iter().filter_map(|place| match &place.counts {
            Counts::Watched(watched) => Some(watched),
            Counts::Idle(_) => None,
        });
        for window in watched.flat_map(|watched| watched.course.windows()) {
            all.merge(&window.latency);
            sum_ns = sum_ns.saturating_add(window.done_sum_ns);
        }
        let later = all.without(&early.latency);
        let mut latency = Histogram::coarse();
        if later.count() > 0 {
            latency.take(self.shape.scale, &later, sum_ns.saturating_sub(early.sum_ns), early.longest_later);
        }
        latency
    }

    /// The windows of each place since those that `told` covers.
    pub(super) fn news(&self, service: ServiceId, told: Told, now: Time) -> impl Iterator<Item = PlacePiece> + '_ {
        self.list.iter().map(move |Place { whose: (version, ordinal), counts }| {
            let watched = counts.so_far(self.shape);
            let from = told.from(watched.course.shape().length_ns, now);
            let piece = Piece::new(watched.since(from, now), from, now);
            PlacePiece { service, version: *version, ordinal: *ordinal, piece }
        })
    }

    /// The time series until now, by place.
    pub(super) fn courses(&self, service: ServiceId, now: Time) -> Vec<PlaceCourse> {
        let course = |place: &Place| {
            let (version, ordinal) = place.whose;
            PlaceCourse { service, version, ordinal, course: place.counts.so_far(self.shape).until(now) }
        };
        self.list.iter().map(course).collect()
    }
}
