//! The only module that reads the wall clock.

use std::cell::Cell;
use std::time::Instant;

use meshsim_actor::Time;

/// The clock of the run.
///
/// Every process counts nanoseconds from its own start. A member adds the measured difference between the hub's count
/// and its own. Time zero of the run is a value of the hub's count.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Hub's count minus this process's, in nanoseconds.
    offset: Cell<i64>,
    /// Start of the run, in the hub's count.
    zero: Cell<u64>,
}

/// The count of this process, readable in any of its threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(Instant);

impl Count {
    /// Nanoseconds since the start of the process.
    pub(crate) fn own(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

impl Clock {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where time enters a live run, and nowhere else")]
        let origin = Instant::now();
        Clock { origin, offset: Cell::new(0), zero: Cell::new(u64::MAX) }
    }

    /// This process's count.
    pub(crate) fn own(&self) -> u64 {
        self.count().own()
    }

    /// This process's count, for another of its threads.
    pub(crate) fn count(&self) -> Count {
        Count(self.origin)
    }

    /// The hub's count, as estimated here.
    pub(crate) fn shared(&self) -> u64 {
        self.own().saturating_add_signed(self.offset.get())
    }

    pub(crate) fn set_offset(&self, offset: i64) {
        self.offset.set(offset);
    }

    /// Sets the start of the run, in the hub's count.
    pub(crate) fn begin_at(&self, zero: u64) {
        self.zero.set(zero);
    }

    /// True once the start of the run is known.
    pub(crate) fn knows_zero(&self) -> bool {
        self.zero.get() < u64::MAX
    }

    /// True once the run has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.shared() >= self.zero.get()
    }

    /// Time of the run; zero before it has begun.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        Time::from_nanos(self.shared().saturating_sub(self.zero.get()))
    }

    /// Nanoseconds from now until this time of the run.
    pub(crate) fn until(&self, at: Time) -> u64 {
        self.zero.get().saturating_add(at.nanos()).saturating_sub(self.shared())
    }
}

/// Estimates the difference between this process's count and the hub's. The shortest of all round trips is the most
/// precise, because the error is at most half of it. (Cristian 1989, "Probabilistic clock synchronization".)
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alignment {
    best: Option<(u64, i64)>,
    taken: u32,
}

impl Alignment {
    /// Adds a round trip: sent and received by this process's count, answered at `hub` of the hub's.
    pub(crate) fn take(&mut self, sent: u64, hub: u64, received: u64) {
        self.taken += 1;
        let trip = received.saturating_sub(sent);
        let middle = sent + trip / 2;
        if self.best.is_none_or(|(best, _)| trip < best) {
            self.best = Some((trip, hub.wrapping_sub(middle) as i64));
        }
    }

    /// Number of round trips.
    pub(crate) fn taken(&self) -> u32 {
        self.taken
    }

    /// Hub's count minus this process's.
    pub(crate) fn offset(&self) -> i64 {
        self.best.map_or(0, |(_, offset)| offset)
    }

    /// Bound on the error of the offset, in nanoseconds, if neither clock has drifted.
    pub(crate) fn error_ns(&self) -> u64 {
        self.best.map_or(u64::MAX, |(trip, _)| trip / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_decides_and_half_of_it_is_the_error() {
        let mut alignment = Alignment::default();
        // The hub is 1,000,000 ahead; the way there takes 10, the way back 30, 2,000 and 50.
        alignment.take(100, 1_000_110, 140);
        alignment.take(200, 1_000_210, 2_210);
        alignment.take(5_000, 1_005_010, 5_060);
        assert_eq!((alignment.taken(), alignment.error_ns()), (3, 20));
        assert!((alignment.offset() - 1_000_000).unsigned_abs() <= 20, "{}", alignment.offset());
    }

    #[test]
    fn a_hub_that_began_later_is_behind() {
        let mut alignment = Alignment::default();
        alignment.take(1_000, 5, 1_010);
        assert_eq!(alignment.offset(), -1_000);
    }

    #[test]
    fn before_the_run_begins_its_time_is_zero() {
        let clock = Clock::start();
        assert_eq!(clock.now(), Time::ZERO);
        clock.begin_at(clock.shared() + 1_000_000_000_000);
        assert_eq!(clock.now(), Time::ZERO);
        clock.begin_at(0);
        assert!(clock.now() > Time::ZERO && clock.until(Time::ZERO) == 0);
    }
}
