//! The clock of a machine: the time for which it has worked.

use serde::{Deserialize, Serialize};

use crate::{MachineAction, Span, Time};

/// The machine's own clock against the clock of the run, since the last change of its pace.
///
/// Whole nanoseconds and a speed in units of 2^-32: work takes the same time on every computer that runs the
/// simulation. Rounding loses less than a nanosecond at each change of pace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pace {
    /// Time of the last change.
    at: Time,
    /// Time for which the machine had worked by then.
    worked: Span,
    /// In units of 2^-32.
    speed: u64,
    is_paused: bool,
}

/// The normal speed.
const NORMAL: u64 = 1 << 32;

impl Pace {
    /// The pace of a machine that no fault acted on before `now`: it has worked all the time.
    pub(crate) fn normal(now: Time) -> Self {
        Pace { at: now, worked: now.since(Time::ZERO), speed: NORMAL, is_paused: false }
    }

    /// Applies `power` to the pace; returns false if it does not concern the pace.
    pub(crate) fn change(&mut self, now: Time, power: &MachineAction) -> bool {
        let (speed, is_paused) = match power {
            // The conversion saturates: a value out of range becomes the nearest bound, and NaN becomes 0.
            MachineAction::Speed(speed) => ((*speed * NORMAL as f64).round() as u64, self.is_paused),
            MachineAction::Pause => (self.speed, true),
            MachineAction::Resume => (self.speed, false),
            MachineAction::Crash
            | MachineAction::Wipe
            | MachineAction::Restart
            | MachineAction::Impair(_)
            | MachineAction::Recover(_)
            | MachineAction::Restored
            | MachineAction::Disk(_) => return false,
        };
        if (speed, is_paused) == (self.speed, self.is_paused) {
            return false;
        }
        *self = Pace { at: now, worked: self.worked(now), speed, is_paused };
        true
    }

    /// Time for which the machine has worked by `now`.
    pub(crate) fn worked(&self, now: Time) -> Span {
        let since = (u128::from(now.since(self.at).nanos()) * u128::from(self.speed())) >> 32;
        self.worked + Span::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The first time at which the machine has worked for `worked`, if its pace stays; [`Time::NEVER`] while it is
    /// paused.
    pub(crate) fn when(&self, worked: Span) -> Time {
        let missing = u128::from((worked - self.worked).nanos()) << 32;
        match self.speed() {
            _ if missing == 0 => self.at,
            0 => Time::NEVER,
            speed => {
                let passed = missing.div_ceil(u128::from(speed));
                self.at + Span::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
            }
        }
    }

    /// True while the machine is paused.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    fn speed(&self) -> u64 {
        if self.is_paused { 0 } else { self.speed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_at_the_first_nanosecond_at_which_it_is_complete() {
        for speed in [1.0, 0.5, 0.3, 1e-9, 3.0, 1e5] {
            let mut pace = Pace::normal(Time::from_nanos(1_000));
            pace.change(Time::from_nanos(2_000), &MachineAction::Speed(speed));
            for span in [0, 1, 999, 1_000, 123_456_789] {
                let target = Span::from_nanos(2_000 + span);
                let due = pace.when(target);
                assert!(pace.worked(due) >= target, "{speed} {span}");
                let before = Time::from_nanos(due.nanos() - 1);
                assert!(span == 0 || pace.worked(before) < target, "{speed} {span}");
            }
        }
    }

    #[test]
    fn a_paused_machine_does_no_work_and_resumes_it_later() {
        let secs = |s: u64| Time::from_nanos(s * 1_000_000_000);
        let mut pace = Pace::normal(secs(1));
        assert!(pace.change(secs(2), &MachineAction::Pause) && !pace.change(secs(3), &MachineAction::Pause));
        assert!(pace.change(secs(3), &MachineAction::Speed(0.5)));
        assert_eq!((pace.worked(secs(9)), pace.when(Span::from_secs(3))), (Span::from_secs(2), Time::NEVER));
        assert!(pace.change(secs(10), &MachineAction::Resume));
        assert_eq!((pace.worked(secs(12)), pace.when(Span::from_secs(3))), (Span::from_secs(3), secs(12)));
        assert!(!pace.change(secs(12), &MachineAction::Crash), "a crash is no matter of pace");
    }

    #[test]
    fn no_speed_and_no_span_overflows() {
        for speed in [0.0, f64::MIN_POSITIVE, f64::MAX, f64::NAN, f64::INFINITY] {
            let mut pace = Pace::normal(Time::ZERO);
            pace.change(Time::ZERO, &MachineAction::Speed(speed));
            let _ = (pace.worked(Time::NEVER), pace.when(Span::MAX), pace.when(Span::from_nanos(1)));
        }
    }
}
