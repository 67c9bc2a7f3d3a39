//! The time in which this process could notice others. A process that stood still (stopped, starved, suspended) notices
//! nothing, so it holds that time against no other process.

use std::time::Duration;

/// A stopwatch that its owner reads often. A gap between two readings counts as at most `gap_max`: a longer gap means
/// that the process stood still.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    gap_max: u64,
    read: u64,
    paid: u64,
}

impl Attention {
    /// A stopwatch that starts at `now`, in nanoseconds of this process's clock.
    pub(crate) fn new(now: u64, gap_max: Duration) -> Self {
        Attention { gap_max: gap_max.as_nanos() as u64, read: now, paid: 0 }
    }

    /// Reads the stopwatch: the nanoseconds of attention until `now`.
    pub(crate) fn read(&mut self, now: u64) -> u64 {
        let gap = now.saturating_sub(std::mem::replace(&mut self.read, now));
        self.paid += gap.min(self.gap_max);
        self.paid
    }

    /// Nanoseconds of attention until the last reading.
    pub(crate) fn paid(&self) -> u64 {
        self.paid
    }
}

/// The time for which a process keeps trying to reach another, and the limit for one attempt. An attempt beyond the
/// limit says nothing about the other side.
///
/// After an attempt during which this process stood still, one more attempt follows, whatever time is left.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    length: Duration,
    attempt_max: Duration,
    used: Duration,
    was_disturbed: bool,
}

impl Patience {
    /// Patience of this length, unused.
    pub(crate) fn new(length: Duration, attempt_max: Duration) -> Self {
        Patience { length, attempt_max, used: Duration::ZERO, was_disturbed: false }
    }

    /// Counts a failed attempt, and the planned length of the pause before it. Returns true if the patience is used up.
    pub(crate) fn ends_with(&mut self, planned: Duration, attempt: Duration) -> bool {
        let is_disturbed = attempt > self.attempt_max;
        self.used += planned + attempt.min(self.attempt_max);
        // A side that always takes too long is unreachable; it is no sign that this process stands still.
        let excuse = is_disturbed && !std::mem::replace(&mut self.was_disturbed, is_disturbed);
        self.used >= self.length && !excuse
    }

    /// The used time.
    pub(crate) fn used(&self) -> Duration {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    #[test]
    fn a_gap_counts_as_one_reading_at_most() {
        let mut attention = Attention::new(5, Duration::from_nanos(100));
        assert_eq!((attention.read(55), attention.read(155), attention.read(9_000)), (50, 150, 250));
        assert_eq!((attention.paid(), attention.read(9_001)), (250, 251));
    }

    #[test]
    fn a_pause_of_this_process_uses_up_no_patience() {
        let mut patience = Patience::new(SEC * 10, SEC * 4);
        assert!(!patience.ends_with(SEC, SEC));
        assert!(!patience.ends_with(SEC, SEC * 3600), "stopped in the middle of an attempt");
        assert_eq!(patience.used(), SEC * 7);
        assert!(!patience.ends_with(SEC, SEC));
        assert!(patience.ends_with(SEC, SEC));
    }

    #[test]
    fn after_a_disturbed_attempt_there_is_one_more_and_not_another() {
        let mut patience = Patience::new(SEC * 3, SEC * 4);
        assert!(!patience.ends_with(SEC, SEC * 60));
        assert!(patience.ends_with(SEC, SEC * 60), "a coordinator that drips is out of reach");
    }
}
