//! Time series of one thing, window by window: of a target of a load, of an instance, of the calls from one service to
//! one endpoint. Each actor keeps its own; a report merges them.
//!
//! - The result of a request is counted in the window in which the request was **due**.
//! - A level (in flight, waiting, slots) is counted in the windows during which it lasts, as a sum over time.
//!
//! When a series would exceed its number of windows, each two neighbours are merged into one. A window holds only sums,
//! maxima and counts by bucket, so merged windows equal one window of that length exactly.

mod watched;
mod window;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::measure::Failure;
use crate::model::Mesh;
use crate::sparse::Scale;

pub(crate) use watched::Watched;
pub use window::{Levels, Most, Slowest, Stores, Window};

/// Maximum number of windows of one time series. In a longer run the windows double their length, and so on.
pub const WINDOWS_MAX: usize = 600;

/// Windows that all nodes of a mesh may keep together: of a mesh with many nodes each keeps fewer.
const WINDOWS_TOGETHER_MAX: usize = 1 << 18;

/// Number of instances that have a time series of their own, over all nodes; but at least [`INSTANCES_MIN`] on each
/// node.
pub const INSTANCES_MAX: usize = 256;

/// Instances of a node that have a time series of their own, in a mesh with at most [`NODES_OF_INSTANCES_MAX`] nodes.
pub const INSTANCES_MIN: usize = 8;

/// In a mesh with more nodes no instance has a time series of its own, only the versions of services on each node: the
/// windows of all would be far too many.
pub const NODES_OF_INSTANCES_MAX: usize = WINDOWS_TOGETHER_MAX / INSTANCES_MIN;

/// Time series of one thing.
///
/// The latest window with an event is *open*, and kept in the value itself: nearly all events are counted there,
/// without a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct Course {
    shape: Shape,
    /// Start of the open window, in nanoseconds.
    open_ns: u64,
    open: Window,
    /// All windows before the open one.
    closed: Vec<Window>,
}

/// Serialised form.
#[derive(Serialize, Deserialize)]
struct Kept {
    shape: Shape,
    windows: Vec<Window>,
}

/// Window length and number of windows of a time series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Length of each window, in nanoseconds; doubles during a long run.
    pub length_ns: u64,
    /// Maximum number of windows, at least 1 and at most [`WINDOWS_MAX`].
    pub windows_max: u32,
    /// Buckets of the latencies.
    pub scale: Scale,
}

impl Shape {
    /// Of a load.
    pub fn of_load(window: Span) -> Self {
        Shape { length_ns: window.nanos().max(1), windows_max: WINDOWS_MAX as u32, scale: Scale::Fine }
    }

    /// For the nodes of a mesh: the shortest window of its loads, or a second if it has no load.
    pub fn of_nodes(mesh: &Mesh) -> Self {
        let window = mesh.loads.iter().map(|load| load.window.nanos().max(1)).min();
        let places = mesh.nodes.len().max(1) * instances_of_node(mesh).max(INSTANCES_MIN);
        let windows_max = (WINDOWS_TOGETHER_MAX / places).clamp(1, WINDOWS_MAX) as u32;
        Shape { length_ns: window.unwrap_or(1_000_000_000), windows_max, scale: Scale::Coarse }
    }
}

/// Number of instances of one node that have a time series of their own.
pub fn instances_of_node(mesh: &Mesh) -> usize {
    match mesh.nodes.len().max(1) {
        many if many > NODES_OF_INSTANCES_MAX => 0,
        nodes => (INSTANCES_MAX / nodes).max(INSTANCES_MIN),
    }
}

impl TryFrom<Kept> for Course {
    type Error = &'static str;

    fn try_from(kept: Kept) -> Result<Self, Self::Error> {
        let Kept { shape, windows } = kept;
        let Shape { length_ns, windows_max, scale } = shape;
        let is_sound = length_ns > 0
            && (1..=WINDOWS_MAX).contains(&(windows_max as usize))
            && windows.len() <= windows_max as usize
            && windows.iter().all(|window| window.latency.is_of(scale));
        if !is_sound {
            return Err("a course beyond its bounds");
        }
        let mut course = Course::new(shape);
        course.put(windows);
        Ok(course)
    }
}

impl From<Course> for Kept {
    fn from(mut course: Course) -> Self {
        Kept { shape: course.shape, windows: course.take() }
    }
}

impl Course {
    /// An empty time series.
    pub fn new(shape: Shape) -> Self {
        Course { shape, open_ns: 0, open: Window::default(), closed: Vec::new() }
    }

    /// Window length and number of windows.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its windows, from the run's beginning to the last in which something was; at least one.
    pub fn windows(&self) -> impl Iterator<Item = &Window> + Clone {
        self.closed.iter().chain(std::iter::once(&self.open))
    }

    /// The window of a time.
    #[inline(always)]
    pub fn at(&mut self, at: Time) -> &mut Window {
        if at.nanos() >= self.open_ns && at.nanos() - self.open_ns < self.shape.length_ns {
            return &mut self.open;
        }
        self.find(at)
    }

    #[inline(never)]
    fn find(&mut self, at: Time) -> &mut Window {
        let windows_max = u64::from(self.shape.windows_max);
        while at.nanos() / self.shape.length_ns >= windows_max && self.shape.length_ns < u64::MAX {
            self.halve();
        }
        let index = (at.nanos() / self.shape.length_ns).min(windows_max - 1) as usize;
        self.window(index)
    }

    /// A window by its index, which is in bounds; it is opened if it is later than the open one.
    fn window(&mut self, index: usize) -> &mut Window {
        if index < self.closed.len() {
            return &mut self.closed[index];
        }
        if index > self.closed.len() {
            // The next window reuses the memory.
            let latency = self.open.latency.close();
            let next = Window { latency, ..Window::default() };
            self.closed.push(std::mem::replace(&mut self.open, next));
            self.closed.resize(index, Window::default());
            self.open_ns = (index as u64).saturating_mul(self.shape.length_ns);
        }
        &mut self.open
    }

    /// Adds a level that lasted from one time to another.
    #[inline(always)]
    pub(crate) fn over(&mut self, from: Time, to: Time, mut add: impl FnMut(&mut Levels, u64)) {
        // Nearly always that is in the open window.
        if from.nanos() >= self.open_ns && to.nanos().saturating_sub(self.open_ns) <= self.shape.length_ns {
            return add(&mut self.open.levels, to.since(from).nanos());
        }
        self.over_several(from, to, &mut |window, ns| add(&mut window.levels, ns));
    }

    #[inline(never)]
    fn over_several(&mut self, from: Time, to: Time, add: &mut dyn FnMut(&mut Window, u64)) {
        // From here on no window changes its length. An interval that ends with a window is not in the next.
        self.at(Time::from_nanos(to.nanos().saturating_sub(1)));
        let length_ns = self.shape.length_ns;
        let mut from = from;
        // Once, even if it took no time.
        loop {
            let end = (from.nanos() / length_ns).saturating_add(1).saturating_mul(length_ns);
            let end = Time::from_nanos(end).min(to);
            add(self.at(from), end.since(from).nanos());
            from = end;
            if from >= to {
                return;
            }
        }
    }

    /// Adds messages that waited from one time to another.
    pub(super) fn queued(&mut self, from: Time, to: Time, messages: u32) {
        self.over_several(from, to, &mut |window, ns| {
            let stores = window.stores();
            Levels::stood(&mut stores.messages_ns, ns, messages.into());
            stores.messages_max.reached(messages);
        });
    }

    /// Adds the work of a processor between two times, evenly over that interval.
    #[inline(always)]
    pub(crate) fn worked(&mut self, from: Time, to: Time, worked: Span) {
        let (whole, worked) = (to.since(from).nanos(), worked.nanos());
        let (mut passed, mut counted) = (0, 0);
        // The work done by the end of each window is rounded down, so the parts add up to the whole.
        self.over(from, to, |levels, ns| {
            passed += ns;
            let until = match passed == whole {
                true => worked,
                false => (u128::from(worked) * u128::from(passed) / u128::from(whole)) as u64,
            };
            levels.work_ns = levels.work_ns.saturating_add(until - counted);
            counted = until;
        });
    }

    /// A request that was due then was answered.
    #[inline(always)]
    pub(crate) fn done(&mut self, due: Time, latency: Span, request: u64) {
        let scale = self.shape.scale;
        let window = self.at(due);
        window.done += 1;
        window.done_sum_ns = window.done_sum_ns.saturating_add(latency.nanos());
        window.latency.record(scale.bucket(latency));
        if latency.nanos() >= window.slowest.latency_ns {
            window.slowest = window.slowest.or(Slowest { latency_ns: latency.nanos(), due, request });
        }
    }

    /// A request that was due then failed; `took`: it was in flight for so long.
    #[cold]
    pub(crate) fn failed(&mut self, due: Time, took: Span, failure: Failure) {
        let window = self.at(due);
        window.failed.count(failure);
        window.other_sum_ns = window.other_sum_ns.saturating_add(took.nanos());
    }

    /// Something that was there from one time to another, and came to this, as a whole: a call that has ended.
    #[inline(always)]
    pub(crate) fn was(&mut self, from: Time, to: Time, failure: Option<Failure>, (retries, timeouts): (u64, u64)) {
        let took = to.since(from);
        let window = self.at(from);
        window.offered += 1;
        window.retries += retries;
        window.timeouts += timeouts;
        match failure {
            None => self.done(from, took, 0),
            Some(failure) => self.failed(from, took, failure),
        }
        // A request counted at its end does not show how many there were at once.
        self.over(from, to, |levels, ns| levels.in_flight_ns = levels.in_flight_ns.saturating_add(ns));
    }

    /// A request that was due then is neither done nor failed, and was in flight for so long.
    pub(crate) fn left(&mut self, due: Time, took: Span) {
        let window = self.at(due);
        window.other_sum_ns = window.other_sum_ns.saturating_add(took.nanos());
    }

    /// Merges the time series of something else: each window into its own, or into the one that contains it. Windows
    /// become as long as those of the longer one. Series whose windows are no multiples of each other are not merged.
    pub fn merge(&mut self, other: &Course) {
        let (mut a, mut b) = (self.shape.length_ns, other.shape.length_ns);
        while a != b && a.min(b) <= u64::MAX / 2 {
            if a < b { a *= 2 } else { b *= 2 }
        }
        if a != b || self.shape.scale != other.shape.scale {
            return;
        }
        self.shape.windows_max = self.shape.windows_max.max(other.shape.windows_max);
        self.widen(a);
        // Number of its windows that become one here.
        let together = (a / other.shape.length_ns) as usize;
        if together == 1 {
            other.windows().enumerate().for_each(|(at, window)| self.window(at).beside(window));
            return;
        }
        let mut wide = other.clone();
        wide.widen(a);
        wide.windows().enumerate().for_each(|(at, window)| self.window(at).beside(window));
    }

    /// Makes the windows so long, or longer.
    pub fn widen(&mut self, length_ns: u64) {
        while self.shape.length_ns < length_ns {
            self.halve();
        }
    }

    /// Brings it up to `now`: it then has all windows until then, no others, and their percentiles can be read. Events
    /// at exactly that time belong to the last window that has a length.
    pub fn settle(&mut self, now: Time) {
        let last = Time::from_nanos(now.nanos().saturating_sub(1));
        self.at(last);
        while self.closed.len() as u64 > last.nanos() / self.shape.length_ns
            && let Some(before) = self.closed.pop()
        {
            let after = std::mem::replace(&mut self.open, before);
            self.open.later(&after);
            self.open_ns = (self.closed.len() as u64).saturating_mul(self.shape.length_ns);
        }
        self.closed.iter_mut().for_each(|window| window.latency.settle());
        self.open.latency.settle();
    }

    /// Copies the maxima at once from the time series of the whole of which this is the sum.
    pub fn take_most(&mut self, whole: &Course) {
        if self.shape.length_ns == whole.shape.length_ns {
            let windows = self.closed.iter_mut().chain(std::iter::once(&mut self.open));
            for (mine, whole) in windows.zip(whole.windows()) {
                mine.levels.in_flight_max = whole.levels.in_flight_max;
            }
        }
    }

    /// The time series from `from` on, without the windows before the one that contains it.
    pub fn since(&self, from: Time) -> Course {
        let first = from.nanos() / self.shape.length_ns;
        if first > self.closed.len() as u64 {
            return Course::new(self.shape);
        }
        let (before, after) = self.closed.split_at(first as usize);
        let closed = before.iter().map(|_| Window::default()).chain(after.iter().cloned()).collect();
        Course { closed, open: self.open.clone(), ..*self }
    }

    /// Replaces the windows from this one on by those of another time series of the same shape.
    pub(crate) fn replace(&mut self, first: usize, windows: impl IntoIterator<Item = Window>) {
        let mut all = self.take();
        all.resize(first, Window::default());
        all.extend(windows);
        all.truncate(self.shape.windows_max as usize);
        self.put(all);
    }

    /// Takes all windows out.
    fn take(&mut self) -> Vec<Window> {
        let mut windows = std::mem::take(&mut self.closed);
        windows.push(std::mem::take(&mut self.open));
        windows
    }

    /// Makes these the windows; the last is open.
    fn put(&mut self, mut windows: Vec<Window>) {
        self.open = windows.pop().unwrap_or_default();
        self.open_ns = (windows.len() as u64).saturating_mul(self.shape.length_ns);
        self.closed = windows;
    }

    /// All windows as one.
    pub fn total(&self) -> Window {
        let mut total = Window::default();
        self.windows().for_each(|window| total.later(window));
        total
    }

    /// Each two neighbours become one.
    fn halve(&mut self) {
        let mut windows = self.take();
        let half = windows.len().div_ceil(2);
        for at in 0..half {
            let mut window = std::mem::take(&mut windows[2 * at]);
            if let Some(next) = windows.get(2 * at + 1) {
                window.later(next);
            }
            windows[at] = window;
        }
        windows.truncate(half);
        self.shape.length_ns = self.shape.length_ns.saturating_mul(2);
        self.put(windows);
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
    fn windows_double_when_full_and_keep_their_content() {
        let mut course = Course::new(shape(10, 4));
        for n in 0..100 {
            course.at(at(n)).offered += 1;
            course.done(at(n), Span::from_nanos(n), n);
            assert!(course.windows().count() <= 4);
        }
        assert_eq!(course.shape().length_ns, 40);
        let offered: Vec<u64> = course.windows().map(|window| window.offered).collect();
        assert_eq!(offered, [40, 40, 20]);
        assert_eq!(course.windows().nth(1).unwrap().slowest, Slowest { latency_ns: 79, due: at(79), request: 79 });
        assert_eq!(course.total().done_sum_ns, (0..100).sum());
        // A late result still finds its window.
        course.at(at(0)).retries += 1;
        assert_eq!(course.windows().next().unwrap().retries, 1);
        // Even at the end of all time.
        course.at(Time::NEVER).offered += 1;
        assert_eq!(course.total().offered, 101);
    }

    #[test]
    fn work_is_spread_over_its_time_and_none_is_lost_by_rounding() {
        let mut course = Course::new(shape(10, 100));
        course.worked(at(5), at(38), Span::from_nanos(11));
        let work: Vec<u64> = course.windows().map(|window| window.levels.work_ns).collect();
        assert_eq!(work, [1, 4, 3, 3]);
        course.worked(at(7), at(7), Span::from_nanos(2));
        assert_eq!(course.total().levels.work_ns, 13);
    }

    #[test]
    fn courses_merge_at_any_length_but_only_if_their_windows_match() {
        let (mut a, mut b) = (Course::new(shape(10, 4)), Course::new(shape(10, 100)));
        for n in 0..100 {
            a.at(at(n)).offered += 1;
            b.at(at(n)).done += 1;
        }
        let mut both = b.clone();
        both.merge(&a);
        a.merge(&b);
        let of = |course: &Course| course.windows().map(|it| (it.offered, it.done)).collect::<Vec<_>>();
        assert_eq!(of(&a), [(40, 40), (40, 40), (20, 20)]);
        assert_eq!(of(&both), of(&a));
        let mut other = Course::new(shape(7, 4));
        other.at(at(0)).offered += 1;
        a.merge(&other);
        assert_eq!(a.total().offered, 100);
    }

    #[test]
    fn the_most_at_once_is_that_of_the_whole_or_not_known() {
        let busy = |spans: &[(u64, u64)]| {
            let mut watched = Watched::new(shape(10, 100), Time::ZERO);
            for (from, to) in spans {
                watched.came(false, at(*from));
                watched.ended(at(*to));
            }
            watched.until(at(30))
        };
        let most = |course: &Course| -> Vec<_> { course.windows().map(|it| it.levels.in_flight_max.get()).collect() };
        let mut both = busy(&[(2, 8), (11, 19)]);
        both.merge(&busy(&[(12, 29)]));
        // The maximum of the one that has requests counts; if both have some, the maximum of their sum is
        // unknown.
        assert_eq!(most(&both), [Some(1), None, Some(1)]);
        both.widen(20);
        assert_eq!(most(&both), [None, Some(1)]);
        // A late arrival, in a window with earlier counts.
        let mut late = Watched::new(shape(10, 100), Time::ZERO);
        late.came(false, at(2));
        late.ended(at(14));
        late.came_late(at(5), at(25));
        late.ended(at(28));
        let course = late.until(at(30));
        assert_eq!(most(&course), [None, None, Some(1)]);
        assert_eq!(course.total().levels.in_flight_ns, 12 + 23);
        // And to where none were counted yet.
        let mut late = Watched::new(shape(10, 100), Time::ZERO);
        [2, 3, 5].into_iter().for_each(|due| late.came_late(at(due), at(15)));
        late.ended(at(15));
        assert_eq!(most(&late.until(at(20))), [Some(3), Some(3)]);
    }

    #[test]
    fn a_course_read_back_is_the_one_that_was_written() {
        let mut course = Course::new(shape(10, 4));
        for n in 0..70 {
            course.was(at(n), at(n + 5), None, (0, 0));
            let kept = Kept::from(course.clone());
            assert_eq!(Course::try_from(kept).unwrap(), course);
        }
        course.settle(at(70));
        assert_eq!(course.windows().map(|window| window.done).collect::<Vec<_>>(), [20, 20, 20, 10]);
        assert_eq!(course.total().levels.in_flight_ns, 70 * 5);
    }

    #[test]
    fn what_comes_at_the_very_end_belongs_to_the_last_window_with_a_length() {
        let mut course = Course::new(shape(10, 4));
        course.at(at(19)).offered += 1;
        course.at(at(20)).offered += 1;
        course.settle(at(20));
        assert_eq!(course.windows().map(|window| window.offered).collect::<Vec<_>>(), [0, 2]);
        course.settle(at(40));
        assert_eq!(course.windows().count(), 4);
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
