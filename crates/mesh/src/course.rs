//! The course of one thing over time, window by window: of a load's target, of an instance, of the calls from one service
//! to one endpoint. Each actor keeps those of what it does; a report puts them together.
//!
//! - What became of a request is counted in the window in which it was **due**.
//! - What is there at a moment (in flight, waiting, slots) is counted in the window of that moment, as a sum over time.
//!
//! Where one window more would be needed than are kept, each two neighbours become one. All that a window holds is sums,
//! maxima and counts by bucket, so windows that were put together say exactly what one window of that length says.

use std::fmt;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::measure::{Failure, Failures};
use crate::model::Mesh;
use crate::sparse::{Scale, Sparse};

/// Most windows of one course. A run that is longer than so many gets windows of twice the length, and so on.
pub const WINDOWS_MAX: usize = 600;

/// Windows that all nodes of a mesh may keep together: of a mesh with many nodes each keeps fewer.
const WINDOWS_TOGETHER_MAX: usize = 1 << 18;

/// Instances that have a course of their own, over all nodes; but for [`INSTANCES_MIN`] on each node.
pub const INSTANCES_MAX: usize = 256;

/// Instances of a node that have a course of their own, however many nodes there are.
pub const INSTANCES_MIN: usize = 8;

/// One course. Two are equal if they hold the same, whatever was looked for last.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct Course {
    kept: Kept,
    /// The window that was looked for last: where it begins, and its index. It saves a search, and decides nothing.
    last: (u64, usize),
}

impl PartialEq for Course {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kept.fmt(f)
    }
}

/// What is kept, and goes over a wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    shape: Shape,
    windows: Vec<Window>,
}

/// How a course is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The length of each window, in nanoseconds; doubles as the run goes on.
    pub length_ns: u64,
    /// Most windows that are kept, at least 1 and at most [`WINDOWS_MAX`].
    pub windows_max: u32,
    /// Buckets of the latencies.
    pub scale: Scale,
}

impl Shape {
    /// Of a load.
    pub fn of_load(window: Span) -> Self {
        Shape { length_ns: window.nanos().max(1), windows_max: WINDOWS_MAX as u32, scale: Scale::Fine }
    }

    /// Of what the nodes of a mesh do: the shortest window of its loads; a second, if there are none.
    pub fn of_nodes(mesh: &Mesh) -> Self {
        let window = mesh.loads.iter().map(|load| load.window.nanos().max(1)).min();
        let places = mesh.nodes.len().max(1) * instances_of_node(mesh);
        let windows_max = (WINDOWS_TOGETHER_MAX / places).clamp(1, WINDOWS_MAX) as u32;
        Shape { length_ns: window.unwrap_or(1_000_000_000), windows_max, scale: Scale::Coarse }
    }
}

/// Instances of one node that have a course of their own.
pub fn instances_of_node(mesh: &Mesh) -> usize {
    (INSTANCES_MAX / mesh.nodes.len().max(1)).max(INSTANCES_MIN)
}

/// What was due in one window, what became of it, and what was there during it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Due in it.
    pub offered: u64,
    /// Of these, answered.
    pub done: u64,
    /// Of these, failed.
    pub failed: Failures,
    /// Of these, dropped because the caller had given up.
    pub expired: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Tries that timed out.
    pub timeouts: u64,
    /// How long those answered took together, in nanoseconds.
    pub done_sum_ns: u64,
    /// How long all others were in flight together, in nanoseconds: until they failed, or as long as they were counted.
    pub other_sum_ns: u64,
    /// The slowest of those answered.
    pub slowest: Slowest,
    /// Latencies of those answered.
    pub latency: Sparse,
    /// What was there during it.
    pub levels: Levels,
}

/// The slowest request of a window: by its latency, then the first that was due, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowest {
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
    /// When it was due.
    pub due: Time,
    /// Its number at whoever made it; 0 where that is not known.
    pub request: u64,
}

/// What was there during a window: sums over its time, in nanoseconds, and maxima.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// Requests in flight.
    pub in_flight_ns: u64,
    /// Of these, waiting for a slot.
    pub queue_ns: u64,
    /// Slots that were there.
    pub slot_ns: u64,
    /// Of these, taken.
    pub busy_ns: u64,
    /// Instances that took requests and were to stay.
    pub ready_ns: u64,
    /// What processors did.
    pub work_ns: u64,
    /// Most in flight at once in one place.
    pub in_flight_max: u32,
    /// Most that waited at once in one place.
    pub queue_max: u32,
}

impl Window {
    /// Adds another window to this one: the next, or the same of something else.
    pub fn merge(&mut self, other: &Window) {
        self.failed.merge(&other.failed);
        self.latency.merge(&other.latency);
        self.slowest = self.slowest.or(other.slowest);
        let (a, b) = (&mut self.levels, &other.levels);
        a.in_flight_max = a.in_flight_max.max(b.in_flight_max);
        a.queue_max = a.queue_max.max(b.queue_max);
        // What another process counted may be anything.
        for (mine, theirs) in [
            (&mut self.offered, other.offered),
            (&mut self.done, other.done),
            (&mut self.expired, other.expired),
            (&mut self.retries, other.retries),
            (&mut self.timeouts, other.timeouts),
            (&mut self.done_sum_ns, other.done_sum_ns),
            (&mut self.other_sum_ns, other.other_sum_ns),
            (&mut a.in_flight_ns, b.in_flight_ns),
            (&mut a.queue_ns, b.queue_ns),
            (&mut a.slot_ns, b.slot_ns),
            (&mut a.busy_ns, b.busy_ns),
            (&mut a.ready_ns, b.ready_ns),
            (&mut a.work_ns, b.work_ns),
        ] {
            *mine = mine.saturating_add(theirs);
        }
    }
}

impl Slowest {
    fn or(self, other: Slowest) -> Slowest {
        let rank = |it: &Slowest| (std::cmp::Reverse(it.latency_ns), it.due, it.request);
        if rank(&other) < rank(&self) { other } else { self }
    }
}

impl TryFrom<Kept> for Course {
    type Error = &'static str;

    fn try_from(kept: Kept) -> Result<Self, Self::Error> {
        let Shape { length_ns, windows_max, scale } = kept.shape;
        let is_sound = length_ns > 0
            && (1..=WINDOWS_MAX).contains(&(windows_max as usize))
            && kept.windows.len() <= windows_max as usize
            && kept.windows.iter().all(|window| window.latency.is_of(scale));
        if is_sound { Ok(Course { kept, last: (0, 0) }) } else { Err("a course beyond its bounds") }
    }
}

impl From<Course> for Kept {
    fn from(course: Course) -> Self {
        course.kept
    }
}

impl Course {
    /// A course of nothing yet.
    pub fn new(shape: Shape) -> Self {
        Course { kept: Kept { shape, windows: Vec::new() }, last: (0, 0) }
    }

    /// How it is kept.
    pub fn shape(&self) -> Shape {
        self.kept.shape
    }

    /// Its windows, from the run's beginning on.
    pub fn windows(&self) -> &[Window] {
        &self.kept.windows
    }

    /// The window of a moment.
    #[inline]
    pub fn at(&mut self, at: Time) -> &mut Window {
        let (from, index) = self.last;
        // One that begins later than the moment is as far away as can be.
        if at.nanos().wrapping_sub(from) >= self.kept.shape.length_ns || index >= self.kept.windows.len() {
            self.find(at);
        }
        &mut self.kept.windows[self.last.1]
    }

    fn find(&mut self, at: Time) {
        let kept = &mut self.kept;
        let windows_max = u64::from(kept.shape.windows_max);
        while at.nanos() / kept.shape.length_ns >= windows_max && kept.shape.length_ns < u64::MAX {
            kept.halve();
        }
        let index = (at.nanos() / kept.shape.length_ns).min(windows_max - 1) as usize;
        if kept.windows.len() <= index {
            kept.windows.resize(index + 1, Window::default());
        }
        self.last = (index as u64 * kept.shape.length_ns, index);
    }

    /// Counts what was there from one moment to another.
    #[inline(always)]
    pub(crate) fn over(&mut self, from: Time, to: Time, add: impl Fn(&mut Levels, u64)) {
        let length_ns = self.kept.shape.length_ns;
        self.at(from);
        // Nearly always they are in one window.
        let end = self.last.0.saturating_add(length_ns);
        if to.nanos() <= end {
            return add(&mut self.kept.windows[self.last.1].levels, to.since(from).nanos());
        }
        // Until then no window changes its length.
        self.at(to);
        let mut from = from;
        while from < to {
            self.at(from);
            let end = Time::from_nanos(self.last.0.saturating_add(self.kept.shape.length_ns)).min(to);
            add(&mut self.kept.windows[self.last.1].levels, end.since(from).nanos());
            from = end;
        }
    }

    /// Counts what a processor did between two moments, evenly over that time.
    pub(crate) fn worked(&mut self, from: Time, to: Time, worked: Span) {
        self.at(from);
        let end = self.last.0.saturating_add(self.kept.shape.length_ns);
        if to.nanos() <= end {
            let levels = &mut self.kept.windows[self.last.1].levels;
            levels.work_ns = levels.work_ns.saturating_add(worked.nanos());
            return;
        }
        let (whole, worked) = (u128::from(to.since(from).nanos()), u128::from(worked.nanos()));
        // What was done by each end of a window is rounded down, so all parts together are the whole.
        let (passed, counted) = (std::cell::Cell::new(0_u128), std::cell::Cell::new(0_u128));
        self.over(from, to, |levels, ns| {
            passed.set(passed.get() + u128::from(ns));
            let until = worked * passed.get() / whole;
            levels.work_ns = levels.work_ns.saturating_add((until - counted.get()) as u64);
            counted.set(until);
        });
    }

    /// A request that was due then was answered.
    #[inline]
    pub(crate) fn done(&mut self, due: Time, latency: Span, request: u64) {
        let scale = self.kept.shape.scale;
        let window = self.at(due);
        window.done += 1;
        window.done_sum_ns = window.done_sum_ns.saturating_add(latency.nanos());
        window.latency.record(scale.bucket(latency));
        if latency.nanos() >= window.slowest.latency_ns {
            window.slowest = window.slowest.or(Slowest { latency_ns: latency.nanos(), due, request });
        }
    }

    /// A request that was due then failed; `took`: it was in flight for so long.
    #[inline]
    pub(crate) fn failed(&mut self, due: Time, took: Span, failure: Failure) {
        let window = self.at(due);
        window.failed.count(failure);
        window.other_sum_ns = window.other_sum_ns.saturating_add(took.nanos());
    }

    /// Something that was there from one moment to another, and came to this, as a whole: a call that has ended.
    #[inline]
    pub(crate) fn was(&mut self, from: Time, to: Time, failure: Option<Failure>, (retries, timeouts): (u64, u64)) {
        let (scale, took) = (self.kept.shape.scale, to.since(from));
        let window = self.at(from);
        window.offered += 1;
        window.retries += retries;
        window.timeouts += timeouts;
        match failure {
            None => {
                window.done += 1;
                window.done_sum_ns = window.done_sum_ns.saturating_add(took.nanos());
                window.latency.record(scale.bucket(took));
                if took.nanos() > window.slowest.latency_ns {
                    window.slowest = Slowest { latency_ns: took.nanos(), due: from, request: 0 };
                }
            }
            Some(failure) => {
                window.failed.count(failure);
                window.other_sum_ns = window.other_sum_ns.saturating_add(took.nanos());
            }
        }
        self.over(from, to, |levels, ns| levels.in_flight_ns = levels.in_flight_ns.saturating_add(ns));
    }

    /// A request that was due then is neither done nor failed, and was in flight for so long.
    pub(crate) fn left(&mut self, due: Time, took: Span) {
        let window = self.at(due);
        window.other_sum_ns = window.other_sum_ns.saturating_add(took.nanos());
    }

    /// Takes in another course: each window in its own, or in the one that holds it. Windows become as long as those of
    /// the longer one. Courses whose windows are no multiples of each other are not put together.
    pub fn merge(&mut self, other: &Course) {
        let (mut a, mut b) = (self.kept.shape.length_ns, other.kept.shape.length_ns);
        while a != b && a.min(b) <= u64::MAX / 2 {
            if a < b { a *= 2 } else { b *= 2 }
        }
        if a != b || self.kept.shape.scale != other.kept.shape.scale {
            return;
        }
        self.widen(a);
        // So many of its windows are one here.
        let together = (a / other.kept.shape.length_ns) as usize;
        let theirs = other.kept.windows.chunks(together);
        if self.kept.windows.len() < theirs.len() {
            self.kept.windows.resize(theirs.len(), Window::default());
        }
        for (mine, theirs) in self.kept.windows.iter_mut().zip(theirs) {
            theirs.iter().for_each(|window| mine.merge(window));
        }
        self.kept.shape.windows_max = self.kept.shape.windows_max.max(other.kept.shape.windows_max);
    }

    /// Makes the windows so long, or longer.
    pub fn widen(&mut self, length_ns: u64) {
        while self.kept.shape.length_ns < length_ns {
            self.kept.halve();
        }
        self.last = (0, 0);
    }

    /// Brings it up to a moment: the windows until then are there, and their percentiles can be read.
    pub fn settled(mut self, now: Time) -> Self {
        self.at(Time::from_nanos(now.nanos().saturating_sub(1)));
        self.kept.windows.iter_mut().for_each(|window| window.latency.settle());
        self
    }

    /// The course from a moment on: what was in the windows before the moment's own is left out.
    pub fn since(&self, from: Time) -> Course {
        let windows = &self.kept.windows;
        let first = (from.nanos() / self.kept.shape.length_ns).min(windows.len() as u64) as usize;
        let mut kept = Kept { shape: self.kept.shape, windows: Vec::new() };
        if first < windows.len() {
            kept.windows.resize(first, Window::default());
            kept.windows.extend_from_slice(&windows[first..]);
        }
        Course { kept, last: (0, 0) }
    }

    /// The windows from this one on become those of another course of the same shape, whatever they were.
    pub(crate) fn replace(&mut self, first: usize, windows: impl IntoIterator<Item = Window>) {
        self.kept.windows.resize(first, Window::default());
        self.kept.windows.extend(windows);
        self.kept.windows.truncate(self.kept.shape.windows_max as usize);
        self.last = (0, 0);
    }

    /// All windows as one.
    pub fn total(&self) -> Window {
        let mut total = Window::default();
        self.kept.windows.iter().for_each(|window| total.merge(window));
        total
    }
}

impl Kept {
    /// Each two neighbours become one.
    fn halve(&mut self) {
        for at in 0..self.windows.len().div_ceil(2) {
            let mut window = std::mem::take(&mut self.windows[2 * at]);
            if let Some(next) = self.windows.get(2 * at + 1) {
                window.merge(next);
            }
            self.windows[at] = window;
        }
        self.windows.truncate(self.windows.len().div_ceil(2));
        self.shape.length_ns = self.shape.length_ns.saturating_mul(2);
    }
}

/// What is in one place now, and until when that was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gauge {
    counted: Time,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Of these, waiting.
    pub(crate) queue: u32,
    /// Slots that are there.
    pub(crate) slots: u64,
    /// Instances that take requests and are to stay.
    pub(crate) ready: u32,
}

impl Gauge {
    /// Counts what was there until now: before anything changes.
    #[inline]
    pub(crate) fn count_until(&mut self, now: Time, course: &mut Course) {
        let from = std::mem::replace(&mut self.counted, now);
        if from < now {
            let Gauge { in_flight, queue, slots, ready, .. } = *self;
            let add = |sum: &mut u64, ns: u64, n: u64| *sum = sum.saturating_add(ns.saturating_mul(n));
            course.over(from, now, |levels, ns| {
                add(&mut levels.in_flight_ns, ns, u64::from(in_flight));
                add(&mut levels.queue_ns, ns, u64::from(queue));
                add(&mut levels.busy_ns, ns, u64::from(in_flight - queue));
                add(&mut levels.slot_ns, ns, slots);
                add(&mut levels.ready_ns, ns, u64::from(ready));
                levels.in_flight_max = levels.in_flight_max.max(in_flight);
                levels.queue_max = levels.queue_max.max(queue);
            });
        }
    }

    /// The machine went down: nothing is there any more.
    pub(crate) fn clear(&mut self) {
        *self = Gauge { counted: self.counted, ..Gauge::default() };
    }
}

/// A course, and what is there now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub(crate) course: Course,
    pub(crate) gauge: Gauge,
}

impl Watched {
    /// Nothing is there, and was before.
    pub(crate) fn new(shape: Shape, now: Time) -> Self {
        Watched { course: Course::new(shape), gauge: Gauge { counted: now, ..Gauge::default() } }
    }

    /// Counts what was there until now, for what changes it.
    #[inline]
    pub(crate) fn now(&mut self, now: Time) -> &mut Gauge {
        self.gauge.count_until(now, &mut self.course);
        &mut self.gauge
    }

    /// One that was in flight has ended.
    #[inline]
    pub(crate) fn ended(&mut self, now: Time) -> &mut Self {
        let gauge = self.now(now);
        gauge.in_flight = gauge.in_flight.saturating_sub(1);
        self
    }

    /// A request that was due then is lost with the memory that held it: it was in flight for as long as it was counted.
    pub(crate) fn lost(&mut self, due: Time) {
        self.course.left(due, self.gauge.counted.since(due));
    }

    /// The course from a moment on, as it is now.
    pub(crate) fn since(&self, from: Time, now: Time) -> Course {
        let mut watched = Watched { course: self.course.since(from), gauge: self.gauge };
        watched.now(now);
        // Windows that were put together meanwhile begin earlier.
        if watched.course.shape() == self.course.shape() { watched.course } else { self.until(now).since(from) }
    }

    /// The course as it is now.
    pub(crate) fn until(&self, now: Time) -> Course {
        let mut watched = self.clone();
        watched.now(now);
        watched.course
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(length_ns: u64, windows_max: u32) -> Shape {
        Shape { length_ns, windows_max, scale: Scale::Coarse }
    }

    fn at(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    #[test]
    fn windows_double_where_one_more_would_be_needed_and_keep_all_that_they_hold() {
        let mut course = Course::new(shape(10, 4));
        for n in 0..100 {
            course.at(at(n)).offered += 1;
            course.done(at(n), Span::from_nanos(n), n);
            assert!(course.windows().len() <= 4);
        }
        assert_eq!(course.shape().length_ns, 40);
        let offered: Vec<u64> = course.windows().iter().map(|window| window.offered).collect();
        assert_eq!(offered, [40, 40, 20]);
        assert_eq!(course.windows()[1].slowest, Slowest { latency_ns: 79, due: at(79), request: 79 });
        assert_eq!(course.total().done_sum_ns, (0..100).sum());
        // What comes late still finds its window.
        course.at(at(0)).retries += 1;
        assert_eq!(course.windows()[0].retries, 1);
        // Even at the end of all time.
        course.at(Time::NEVER).offered += 1;
        assert_eq!(course.total().offered, 101);
    }

    #[test]
    fn work_is_spread_over_its_time_and_none_is_lost_by_rounding() {
        let mut course = Course::new(shape(10, 100));
        course.worked(at(5), at(38), Span::from_nanos(11));
        let work: Vec<u64> = course.windows().iter().map(|window| window.levels.work_ns).collect();
        assert_eq!(work, [1, 4, 3, 3]);
        course.worked(at(7), at(7), Span::from_nanos(2));
        assert_eq!(course.total().levels.work_ns, 13);
    }

    #[test]
    fn courses_are_put_together_whatever_their_lengths_and_not_if_their_windows_do_not_match() {
        let (mut a, mut b) = (Course::new(shape(10, 4)), Course::new(shape(10, 100)));
        for n in 0..100 {
            a.at(at(n)).offered += 1;
            b.at(at(n)).done += 1;
        }
        let mut both = b.clone();
        both.merge(&a);
        a.merge(&b);
        let of = |course: &Course| course.windows().iter().map(|it| (it.offered, it.done)).collect::<Vec<_>>();
        assert_eq!(of(&a), [(40, 40), (40, 40), (20, 20)]);
        assert_eq!(of(&both), of(&a));
        let mut other = Course::new(shape(7, 4));
        other.at(at(0)).offered += 1;
        a.merge(&other);
        assert_eq!(a.total().offered, 100);
    }

    #[test]
    fn a_course_beyond_its_bounds_is_refused() {
        let kept = |length_ns, windows_max, windows| Kept { shape: shape(length_ns, windows_max), windows };
        assert!(Course::try_from(kept(1, 2, vec![Window::default(); 2])).is_ok());
        assert!(Course::try_from(kept(1, 2, vec![Window::default(); 3])).is_err());
        assert!(Course::try_from(kept(0, 2, vec![])).is_err());
        assert!(Course::try_from(kept(1, WINDOWS_MAX as u32 + 1, vec![])).is_err());
    }

    #[test]
    fn nodes_of_a_large_mesh_keep_fewer_windows_and_never_none() {
        let mesh = |nodes: usize| {
            let node = |n| crate::model::NodeSpec { name: format!("n{n}"), cores: 1.0, zone: 0, joins: Time::ZERO };
            Mesh { nodes: (0..nodes).map(node).collect(), ..Mesh::default() }
        };
        let kept = [1, 54, 1_000, 100_000].map(|nodes| Shape::of_nodes(&mesh(nodes)).windows_max);
        assert_eq!(kept, [600, 600, 32, 1]);
        assert_eq!([1, 10, 1_000].map(|nodes| instances_of_node(&mesh(nodes))), [256, 25, 8]);
    }
}
