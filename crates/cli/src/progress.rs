//! Progress of a run.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use meshsim_actor::{Span, Time};
use meshsim_report::number;

use crate::screen::columns;

/// A bar of virtual time on stderr, if that is a terminal; and a stop-watch.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: Span,
    begun: Instant,
    /// The last second in which something was looked up.
    second: u64,
}

impl Progress {
    /// Begins now.
    pub(crate) fn begin(total: Span, wanted: bool) -> Self {
        // The text beside the bar takes up to 48 columns.
        let width = columns().saturating_sub(48).clamp(8, 40);
        let bar = drawn(Some(total.nanos()), &format!("  {{bar:{width}}} {{percent:>3}}%  {{msg}}"), wanted);
        #[expect(clippy::disallowed_methods, reason = "how long a run takes is shown, and decides nothing")]
        let begun = Instant::now();
        Progress { bar, total, begun, second: 0 }
    }

    /// The run is here.
    pub(crate) fn at(&self, now: Time, events: u64, text: &str) {
        let rate = events as f64 / self.begun.elapsed().as_secs_f64().max(1e-9);
        match text {
            "" => self.say(now, &per_second(rate)),
            text => self.say(now, text),
        }
    }

    /// True if something was to be looked up to be said: once a second, and never where nothing is shown.
    pub(crate) fn is_due(&mut self) -> bool {
        let second = self.begun.elapsed().as_secs();
        self.bar.is_some() && std::mem::replace(&mut self.second, second) != second
    }

    /// The run is here, and this is to be said about it.
    pub(crate) fn say(&self, now: Time, text: &str) {
        if let Some(bar) = &self.bar {
            let of = if self.total.is_zero() { String::new() } else { format!(" of {}", self.total) };
            bar.set_message(format!("{:.1}s{of}  {text}", now.secs()));
            bar.set_position(now.nanos());
        }
    }

    /// Takes the bar away; says how long it took.
    pub(crate) fn end(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.begun.elapsed()
    }
}

/// A bar on stderr, if that is a terminal and a bar is wanted.
fn drawn(total: Option<u64>, template: &str, wanted: bool) -> Option<ProgressBar> {
    (wanted && io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template(template);
        bar.with_style(style.map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("█▉▊▋▌▍▎▏ ")))
    })
}

/// Number of finished items out of many, on stderr, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Counted(Option<ProgressBar>);

impl Counted {
    /// Starts a bar for a known total.
    pub(crate) fn begin(done: usize, total: usize, what: &str, wanted: bool) -> Self {
        let template = format!("  {{bar:30}} {{human_pos}} of {{human_len}} {what}, {{eta}} left");
        let bar = drawn(Some(total as u64), &template, wanted);
        if let Some(bar) = &bar {
            bar.set_position(done as u64);
            // Items that existed before were not finished in this time.
            bar.reset_eta();
        }
        Counted(bar)
    }

    /// Starts a counter for an unknown total.
    pub(crate) fn begin_open(what: &str, wanted: bool) -> Self {
        Counted(drawn(None, &format!("  {{human_pos}} {what}, {{elapsed}}"), wanted))
    }

    /// Shows the number of finished items.
    pub(crate) fn at(&self, done: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(done as u64);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A rate of events as a person compares it: `3.42 M events/s`.
pub(crate) fn per_second(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{} M events/s", number(r / 1e6)),
        r if r >= 1e3 => format!("{} k events/s", number(r / 1e3)),
        r => format!("{} events/s", number(r)),
    }
}
