//! The only module that reads the wall clock.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Instant;

use meshsim_actor::Time;
use serde::{Deserialize, Serialize};

/// The clock of the run.
///
/// Every process counts nanoseconds from its own start, or goes on with the count of the process whose place it takes. A
/// member adds the measured difference between the hub's count and its own. Time zero of the run is a value of the hub's
/// count.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Count,
    /// Hub's count minus this process's, as it changes with this process's count.
    offset: Cell<Slew>,
    /// Start of the run, in the hub's count.
    zero: Cell<u64>,
}

/// The count of this process, readable in any of its threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    since: Instant,
    /// Count at that time.
    from: u64,
}

impl Count {
    /// The count now, in nanoseconds.
    pub(crate) fn own(self) -> u64 {
        self.from + self.since.elapsed().as_nanos() as u64
    }
}

/// An offset that moves to another one so slowly that the time of the run never goes back, nor stands still: by at most
/// half a nanosecond each nanosecond, and within a second where that is enough.
#[derive(Clone, Copy, Debug, Default)]
struct Slew {
    /// Offset at the beginning, in nanoseconds.
    from: i64,
    /// Offset at the end.
    to: i64,
    /// This process's count at the beginning.
    since: u64,
}

/// Time in which a small error is corrected, in nanoseconds: that between two measurements.
const SLEW_NS: u64 = 1_000_000_000;

impl Slew {
    fn at(self, own: u64) -> i64 {
        let way = self.to.saturating_sub(self.from);
        let takes = SLEW_NS.max(way.unsigned_abs().saturating_mul(2));
        let passed = own.saturating_sub(self.since);
        // Nearly always: each message of a live run reads the clock, and the division below is slow.
        if passed >= takes {
            return self.to;
        }
        let part = i128::from(way) * i128::from(passed) / i128::from(takes);
        self.from.saturating_add(part as i64)
    }
}

impl Clock {
    pub(crate) fn start() -> Self {
        Clock::start_from(0)
    }

    /// A clock whose count is `from` now.
    pub(crate) fn start_from(from: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where time enters a live run, and nowhere else")]
        let since = Instant::now();
        let origin = Count { since, from };
        Clock { origin, offset: Cell::new(Slew::default()), zero: Cell::new(u64::MAX) }
    }

    /// A clock with the same count, and nothing else in common.
    pub(crate) fn again(&self) -> Self {
        Clock { origin: self.origin, offset: Cell::new(Slew::default()), zero: Cell::new(u64::MAX) }
    }

    /// This process's count.
    pub(crate) fn own(&self) -> u64 {
        self.count().own()
    }

    /// This process's count, for another of its threads.
    pub(crate) fn count(&self) -> Count {
        self.origin
    }

    /// The hub's count, as estimated here.
    pub(crate) fn shared(&self) -> u64 {
        let own = self.own();
        own.saturating_add_signed(self.offset.get().at(own))
    }

    /// The offset in use: hub's count minus this process's.
    pub(crate) fn offset(&self) -> i64 {
        self.offset.get().at(self.own())
    }

    /// Sets the offset at once: before the run.
    pub(crate) fn set_offset(&self, offset: i64) {
        self.offset.set(Slew { from: offset, to: offset, since: 0 });
    }

    /// Moves the offset to this one during the run. The time of the run never goes back.
    pub(crate) fn correct(&self, offset: i64) {
        let own = self.own();
        self.offset.set(Slew { from: self.offset.get().at(own), to: offset, since: own });
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

/// A count of one process, for a later one that goes on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    count: u64,
    /// Clock of the machine at that count, in nanoseconds. It does not depend on processes.
    machine: u64,
    /// Id of the boot of the machine; empty if it is not known.
    boot: String,
}

impl Mark {
    /// A mark of this count, now. Later counts of the same process follow from it.
    pub(crate) fn new(count: u64) -> Self {
        Mark { count, machine: machine_clock(), boot: boot_of_machine() }
    }

    /// The count now, if the machine has not started again since.
    pub(crate) fn goes_on(&self) -> Option<u64> {
        let is_same = !self.boot.is_empty() && self.boot == boot_of_machine();
        is_same.then(|| self.count + machine_clock().saturating_sub(self.machine))
    }
}

/// Nanoseconds of the clock that an [`Instant`] reads, whose start is that of the machine.
fn machine_clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn boot_of_machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Estimates the difference between this process's count and the hub's. The shortest of all round trips is the most
/// precise, because the error is at most half of it. (Cristian 1989, "Probabilistic clock synchronization".)
#[derive(Clone, Copy, Debug, Default)]
pub struct Alignment {
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

/// Largest difference in speed between two clocks, in nanoseconds a second: quartz clocks are within 100 parts in a
/// million (RFC 5905 has 15 for PHI, and corrects up to 500).
const DRIFT_NS_A_SEC: u64 = 100_000;
/// Round trips that are remembered.
const TRIPS_KEPT: usize = 8;

/// Keeps the clock of a member aligned during the run, from a round trip every second.
///
/// Of the latest round trips, that with the least error counts: half its length, and what the clocks may have drifted
/// apart since. While the offset in use lies within that error nothing is changed, so that noise moves no clock.
#[derive(Debug)]
pub(crate) struct Follower {
    trips: VecDeque<Trip>,
    course: Course,
}

#[derive(Clone, Copy, Debug)]
struct Trip {
    /// This process's count in its middle.
    at: u64,
    offset: i64,
    error: u64,
}

impl Trip {
    fn error_at(self, own: u64) -> u64 {
        let age = own.saturating_sub(self.at);
        self.error
            .saturating_add(age / 1_000_000_000 * DRIFT_NS_A_SEC + age % 1_000_000_000 * DRIFT_NS_A_SEC / 1_000_000_000)
    }
}

impl Follower {
    /// Starts with the alignment on joining, which ended at `own` of this process's count.
    pub(crate) fn new(aligned: &Alignment, own: u64) -> Self {
        let trip = Trip { at: own, offset: aligned.offset(), error: aligned.error_ns() };
        Follower { trips: VecDeque::from([trip]), course: Course::default() }
    }

    /// Adds a round trip, by the counts of [`Alignment::take`]; `offset` is the one in use, `now` the time of the run.
    /// Returns the offset to use from now on, if it is another one.
    pub(crate) fn take(&mut self, sent: u64, hub: u64, received: u64, offset: i64, now: Time) -> Option<i64> {
        let mut alignment = Alignment::default();
        alignment.take(sent, hub, received);
        let trip = Trip {
            at: sent + received.saturating_sub(sent) / 2,
            offset: alignment.offset(),
            error: alignment.error_ns(),
        };
        if self.trips.len() == TRIPS_KEPT {
            self.trips.pop_front();
        }
        self.trips.push_back(trip);
        let best = self.trips.iter().min_by_key(|trip| trip.error_at(received)).copied().unwrap_or(trip);
        let (apart, error) = (offset.abs_diff(best.offset), best.error_at(received));
        // The offset in use until now was wrong by at most this.
        self.course.add(ClockSample { at: now, error_ns: apart.saturating_add(error) });
        (apart > error).then_some(best.offset)
    }

    /// Bound on the error of the clock in use, over the run.
    pub(crate) fn course(&self) -> Vec<ClockSample> {
        self.course.samples.clone()
    }
}

/// Bound on the error of a process's clock against the hub's, at a time of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSample {
    /// Time of the run.
    pub at: Time,
    /// Largest error since the sample before it, in nanoseconds.
    pub error_ns: u64,
}

/// The largest error of each of at most [`SAMPLES_MAX`] equal parts of the run.
#[derive(Debug)]
struct Course {
    samples: Vec<ClockSample>,
    /// Round trips of one sample.
    of: u32,
    /// Round trips in the latest sample.
    taken: u32,
}

/// Samples that are kept; with more, each two become one.
const SAMPLES_MAX: usize = 64;

impl Default for Course {
    fn default() -> Self {
        Course { samples: Vec::new(), of: 1, taken: 0 }
    }
}

impl Course {
    fn add(&mut self, sample: ClockSample) {
        match self.samples.last_mut() {
            Some(last) if self.taken < self.of => {
                *last = ClockSample { at: sample.at, error_ns: last.error_ns.max(sample.error_ns) };
                self.taken += 1;
            }
            _ => {
                if self.samples.len() == SAMPLES_MAX {
                    let two = |two: &[ClockSample]| ClockSample {
                        at: two[two.len() - 1].at,
                        error_ns: two.iter().map(|sample| sample.error_ns).max().unwrap_or_default(),
                    };
                    self.samples = self.samples.chunks(2).map(two).collect();
                    self.of = self.of.saturating_mul(2);
                }
                self.samples.push(sample);
                self.taken = 1;
            }
        }
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

    /// A hub that is 5 s ahead and runs 50 millionths faster, and a member that asks once a second, 600 times. Returns
    /// the largest error of the member's clock in nanoseconds, and the largest bound that it reports.
    fn followed(is_corrected: bool) -> (u64, u64) {
        let hub = |own: u64| own + own / 20_000 + 5_000_000_000;
        let mut aligned = Alignment::default();
        aligned.take(0, hub(50_000), 100_000);
        let mut follower = Follower::new(&aligned, 100_000);
        let mut slew = Slew { from: aligned.offset(), to: aligned.offset(), since: 0 };
        let (mut error, mut last) = (0, 0);
        for second in 1..=600 {
            let sent = second * 1_000_000_000;
            // A longer way there than back, and sometimes much longer.
            let way = if second % 5 == 0 { 30_000_000 } else { 40_000 };
            let received = sent + way + 20_000;
            let offset = slew.at(received);
            let now = Time::from_nanos(sent);
            if let Some(to) = follower.take(sent, hub(sent + way), received, offset, now)
                && is_corrected
            {
                slew = Slew { from: offset, to, since: received };
            }
            let shared = received.saturating_add_signed(slew.at(received));
            assert!(shared > last, "time went back");
            (error, last) = (error.max(shared.abs_diff(hub(received))), shared);
        }
        (error, follower.course().iter().map(|sample| sample.error_ns).max().unwrap())
    }

    #[test]
    fn a_clock_that_drifts_is_aligned_again_and_again() {
        let (error, bound) = followed(true);
        assert!(error <= bound && bound < 1_000_000, "{error} {bound}");
        // Without that it is 30 ms away after ten minutes, and the report says so.
        let (error, bound) = followed(false);
        assert!(error > 29_000_000 && bound >= error, "{error} {bound}");
    }

    #[test]
    fn noise_within_the_error_of_a_round_trip_moves_no_clock() {
        let mut aligned = Alignment::default();
        aligned.take(0, 1_000_050, 100);
        let mut follower = Follower::new(&aligned, 100);
        // More than are remembered. The offset of each is 399,900 larger, and its error 400,000.
        for second in 1..20 {
            let (sent, now) = (second * 1_000_000_000, Time::from_nanos(second));
            let taken = follower.take(sent, sent + 799_900 + 1_000_000, sent + 800_000, aligned.offset(), now);
            assert_eq!(taken, None);
        }
    }

    #[test]
    fn a_clock_that_is_corrected_never_goes_back_and_arrives() {
        for to in [-3_000_000_000, -5, 0, 7, 2_000_000, 9_000_000_000] {
            let slew = Slew { from: 1_000, to, since: 500 };
            let shared = |own: u64| own as i64 + slew.at(own);
            let steps = (0..40_000).map(|n| n * 1_000_000);
            let times: Vec<i64> = steps.map(shared).collect();
            assert!(times.is_sorted_by(|a, b| a < b), "{to}");
            assert_eq!((slew.at(0), slew.at(500), slew.at(u64::MAX)), (1_000, 1_000, to));
        }
    }

    #[test]
    fn the_errors_of_a_long_run_are_few_and_none_of_the_largest_is_lost() {
        let mut course = Course::default();
        for n in 0..100_000_u64 {
            let error_ns = if n == 777 { 9_999_999 } else { n % 100 };
            course.add(ClockSample { at: Time::from_nanos(n), error_ns });
        }
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&course.samples.len()), "{}", course.samples.len());
        assert!(course.samples.is_sorted_by(|a, b| a.at < b.at));
        assert_eq!(course.samples.iter().filter(|sample| sample.error_ns == 9_999_999).count(), 1);
        assert_eq!(course.samples.last().unwrap().at, Time::from_nanos(99_999));
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
