//! A time series with the levels of a place.

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

use super::window::{Levels, Most};
use super::{Course, Shape};

/// A current level, and the time until which it was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gauge {
    pub(super) counted: Time,
    /// Requests in flight.
    pub(super) in_flight: u32,
    /// Of these, waiting.
    pub(super) queue: u32,
    /// Slots that are there.
    pub(super) slots: u64,
    /// Instances that take requests and are to stay.
    pub(super) ready: u32,
    /// Time until which slots and instances are counted: they seldom change.
    pub(super) staffed: Time,
    /// Messages that wait.
    pub(super) messages: u32,
    /// Time until which they are counted.
    pub(super) queued: Time,
}

/// A time series, and the current level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub(super) gauge: Gauge,
    pub(crate) course: Course,
}

impl Watched {
    /// Ends all levels.
    pub(crate) fn new(shape: Shape, now: Time) -> Self {
        Watched {
            course: Course::new(shape),
            gauge: Gauge { counted: now, staffed: now, queued: now, ..Gauge::default() },
        }
    }

    /// A place without requests. Its slots and instances have been there since `since`; the last count was at `counted`.
    pub(crate) fn of_staff(shape: Shape, (slots, ready): (u64, u32), since: Time, counted: Time) -> Self {
        let gauge = Gauge { counted, slots, ready, staffed: since, queued: counted, ..Gauge::default() };
        Watched { course: Course::new(shape), gauge }
    }

    /// The current numbers of slots and of instances that are to stay.
    pub(crate) fn levels(&self) -> (u64, u32) {
        (self.gauge.slots, self.gauge.ready)
    }

    /// Counts the requests that were there until now: before that changes.
    #[inline(always)]
    pub(super) fn count_until(&mut self, now: Time) {
        let Gauge { in_flight, queue, .. } = self.gauge;
        let from = std::mem::replace(&mut self.gauge.counted, now);
        if from < now && in_flight > 0 {
            self.course.over(from, now, |levels, ns| {
                Levels::stood(&mut levels.in_flight_ns, ns, in_flight.into());
                Levels::stood(&mut levels.queue_ns, ns, queue.into());
                levels.in_flight_max.reached(in_flight);
                levels.queue_max.reached(queue);
            });
        }
    }

    /// Counts the slots and the instances that were there until then.
    pub(super) fn count_staff(&mut self, until: Time) {
        let Gauge { slots, ready, .. } = self.gauge;
        let from = std::mem::replace(&mut self.gauge.staffed, until);
        if from < until && (slots, ready) != (0, 0) {
            self.course.over(from, until, |levels, ns| {
                Levels::stood(&mut levels.slot_ns, ns, slots);
                Levels::stood(&mut levels.ready_ns, ns, ready.into());
            });
        }
    }

    /// Sets the levels of slots and of instances that are to stay.
    pub(crate) fn staff(&mut self, now: Time, change: impl FnOnce(u64, u32) -> (u64, u32)) {
        self.count_until(now);
        self.count_staff(now);
        (self.gauge.slots, self.gauge.ready) = change(self.gauge.slots, self.gauge.ready);
    }

    /// Counts the messages that waited until then.
    fn count_messages(&mut self, until: Time) {
        let (from, messages) = (std::mem::replace(&mut self.gauge.queued, until), self.gauge.messages);
        if from < until && messages > 0 {
            self.course.queued(from, until, messages);
        }
    }

    /// So many messages wait from now on.
    pub(crate) fn messages(&mut self, now: Time, change: impl FnOnce(u32) -> u32) {
        self.count_messages(now);
        self.gauge.messages = change(self.gauge.messages);
    }

    /// Counts an arrival, which waits or does not.
    #[inline(always)]
    pub(crate) fn came(&mut self, waits: bool, now: Time) {
        self.count_until(now);
        self.gauge.in_flight += 1;
        self.gauge.queue += u32::from(waits);
    }

    /// Counts an arrival that was due earlier: it was in flight from then on.
    pub(crate) fn came_late(&mut self, due: Time, now: Time) {
        let counted = self.gauge.counted;
        if due < counted {
            // The number at once is counted already.
            self.course.over(due, counted, |levels, ns| {
                levels.in_flight_ns = levels.in_flight_ns.saturating_add(ns);
                levels.in_flight_max = Most::UNKNOWN;
            });
        }
        self.came(false, due.max(counted).min(now));
    }

    /// Counts the end of a wait.
    pub(crate) fn leaves_queue(&mut self, now: Time) {
        self.count_until(now);
        self.gauge.queue = self.gauge.queue.saturating_sub(1);
    }

    /// Counts the end of a request in flight.
    #[inline(always)]
    pub(crate) fn ended(&mut self, now: Time) -> &mut Course {
        self.count_until(now);
        self.gauge.in_flight = self.gauge.in_flight.saturating_sub(1);
        &mut self.course
    }

    /// A request that was due then is lost with the memory that held it: it was in flight for as long as it was
    /// counted.
    pub(crate) fn lost(&mut self, due: Time) {
        self.course.left(due, self.gauge.counted.since(due));
    }

    /// The time series from `from` on, until `now`.
    pub(crate) fn since(&self, from: Time, now: Time) -> Course {
        let watched = Watched { course: self.course.since(from), gauge: self.gauge }.until(now);
        // Windows that were merged meanwhile begin earlier.
        if watched.shape() == self.course.shape() { watched } else { self.until(now).since(from) }
    }

    /// The machine went down, no earlier than something was last counted: nothing is there any more.
    pub(crate) fn clear(&mut self) {
        let now = self.gauge.counted.max(self.gauge.queued);
        self.count_staff(self.gauge.counted);
        self.count_messages(now);
        self.gauge =
            Gauge { counted: self.gauge.counted, staffed: self.gauge.counted, queued: now, ..Gauge::default() };
    }

    /// The time series until `now`.
    pub(crate) fn until(&self, now: Time) -> Course {
        let mut watched = self.clone();
        watched.count_until(now);
        watched.count_staff(now);
        watched.count_messages(now);
        watched.course
    }
}
