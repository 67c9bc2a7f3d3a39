//! Virtual time: whole nanoseconds since the run began.

use std::fmt;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since the run began. 2^64 ns are 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

/// A duration in nanoseconds.
///
/// Eight bytes and integer arithmetic, where `std::time::Duration` has sixteen and two fields. Additions saturate:
/// "never" plus a second is still never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(u64);

impl Time {
    /// The beginning of the run.
    pub const ZERO: Time = Time(0);
    /// Later than every other time: a deadline that never comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// The time `nanos` nanoseconds after the run began.
    pub const fn from_nanos(nanos: u64) -> Self {
        Time(nanos)
    }

    /// Nanoseconds since the run began.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the run began.
    pub fn secs(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Span since `earlier`; zero if `earlier` is not in the past.
    pub const fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// The empty span.
    pub const ZERO: Span = Span(0);
    /// The longest span.
    pub const MAX: Span = Span(u64::MAX);

    /// `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Span(nanos)
    }

    /// `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Span(micros.saturating_mul(1_000))
    }

    /// `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Span(millis.saturating_mul(1_000_000))
    }

    /// `secs` whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Span(secs.saturating_mul(1_000_000_000))
    }

    /// `secs` seconds, rounded to the nearest nanosecond. Negative numbers and NaN give zero, too large ones
    /// [`Span::MAX`].
    pub fn from_secs_f64(secs: f64) -> Self {
        // `as` saturates, and NaN becomes zero.
        Span((secs * 1e9 + 0.5) as u64)
    }

    /// The length in nanoseconds.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The length in seconds.
    pub fn secs(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// True for an empty span.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// This span times a factor, rounded to the nearest nanosecond; saturates like [`Span::from_secs_f64`].
    pub fn scaled(self, factor: f64) -> Self {
        Span((self.0 as f64 * factor + 0.5) as u64)
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Mul<u64> for Span {
    type Output = Span;
    fn mul(self, times: u64) -> Span {
        Span(self.0.saturating_mul(times))
    }
}

impl Div<u64> for Span {
    type Output = Span;
    fn div(self, parts: u64) -> Span {
        Span(self.0 / parts)
    }
}

/// Three or four significant digits in the unit a person would choose: `950ns`, `12.5us`, `4.23ms`, `1.5s`. From one
/// hour on in whole seconds: `1h30min`, `7d`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0 => return f.pad("0s"),
            n @ 1..1_000 => (n as f64, "ns"),
            n @ 1_000..1_000_000 => (n as f64 / 1e3, "us"),
            n @ 1_000_000..1_000_000_000 => (n as f64 / 1e6, "ms"),
            n @ 1_000_000_000..HOUR_NS => (n as f64 / 1e9, "s"),
            n => return f.pad(&in_days(n.saturating_add(500_000_000) / 1_000_000_000)),
        };
        let digits = if value < 10.0 {
            2
        } else if value < 100.0 {
            1
        } else {
            0
        };
        let text = format!("{value:.digits$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.pad(&format!("{text}{unit}"))
    }
}

/// Spans from this on are shown in hours and days.
const HOUR_NS: u64 = 3_600_000_000_000;

/// Days, hours, minutes and seconds without those that are zero, in the units of the experiment file: `3d18h`.
fn in_days(secs: u64) -> String {
    let parts = [(secs / 86_400, "d"), (secs / 3_600 % 24, "h"), (secs / 60 % 60, "min"), (secs % 60, "s")];
    parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.6}s", self.secs()))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_in_the_unit_a_person_would_choose() {
        let shown: Vec<String> =
            [0, 950, 12_500, 4_230_000, 250_000_000, 1_500_000_000].map(|n| Span::from_nanos(n).to_string()).into();
        assert_eq!(shown, ["0s", "950ns", "12.5us", "4.23ms", "250ms", "1.5s"]);
        let long = [3_599, 3_600, 10_080, 86_461, 604_800].map(|n| Span::from_secs(n).to_string());
        assert_eq!(long, ["3599s", "1h", "2h48min", "1d1min1s", "7d"]);
        assert!(Span::MAX.to_string().starts_with("213503d"));
    }

    #[test]
    fn arithmetic_at_the_edges_saturates() {
        assert_eq!(Time::NEVER + Span::from_secs(1), Time::NEVER);
        assert_eq!(Time::ZERO.since(Time::NEVER), Span::ZERO);
        assert_eq!(Span::from_secs_f64(f64::NAN), Span::ZERO);
        assert_eq!(Span::from_secs_f64(-1.0), Span::ZERO);
        assert_eq!(Span::from_secs_f64(f64::INFINITY), Span::MAX);
    }
}
