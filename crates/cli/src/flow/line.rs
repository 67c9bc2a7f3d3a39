//! A record as one line for a person.
//!
//! ```text
//!  record   cause    time (s)  actor        what
//!      12       9    0.000500  node-1       deliver  request shop.get from users
//! ```

use meshsim_actor::{Fate, MachineAction, Span};
use meshsim_experiment::printable;
use meshsim_report::table::{Paint, Style};
use meshsim_report::wrap::shortened;
use meshsim_trace::Entry;
use meshsim_trace::export::kind;

use super::stream::Item;
use super::words::Names;

/// Columns of an actor's name.
const ACTOR_MIN: usize = 5;
const ACTOR_MAX: usize = 14;

/// Format of records.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    names: &'a Names,
    /// A line is cut to so many columns; `None`: it is not cut.
    width: Option<usize>,
    actor_width: usize,
    paint: Paint,
}

impl<'a> Lines<'a> {
    /// Lines of at most so many columns, or as long as they are.
    pub(crate) fn new(names: &'a Names, width: Option<usize>, paint: Paint) -> Self {
        let longest = names.actors().iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Lines { names, width, actor_width: longest.clamp(ACTOR_MIN, ACTOR_MAX), paint }
    }

    /// Heading above the lines.
    pub(crate) fn heading(&self) -> String {
        let width = self.actor_width;
        self.paint
            .on(Style::Dim, &format!("{:>7} {:>7} {:>11}  {:width$}  what", "record", "cause", "time (s)", "actor"))
    }

    /// One record.
    pub(crate) fn line(&self, item: &Item) -> String {
        let record = &item.record;
        let cause = item.derived.cause.map_or_else(|| "-".to_owned(), |cause| cause.to_string());
        let actor = cut(self.names.actor(record.actor), ACTOR_MAX);
        let width = self.actor_width;
        let micros = record.at.nanos() / 1_000;
        let time = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let what = what(item, self.names);
        let text = format!("{:>7} {cause:>7} {time:>11}  {actor:width$}  {what}", record.seq);
        let text = cut(&printable(&text), self.width.unwrap_or(usize::MAX));
        self.paint.on(style(item), text.trim_end())
    }
}

/// The text in one line of so many columns, the last of which says that there is more.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    shortened(&text.replace(['\n', '\t', '\r'], " "), columns, '…')
}

/// Style of the line of a record on a terminal.
pub(crate) fn style(item: &Item) -> Style {
    match &item.record.entry {
        Entry::Fate(_, Fate::Lost(_)) => Style::Bad,
        Entry::Power(MachineAction::Crash | MachineAction::Wipe) => Style::Bad,
        Entry::Note { what, .. } if matches!(&**what, "refuse" | "refused" | "violation" | "alarm" | "dead") => {
            Style::Bad
        }
        Entry::Deliver(_) | Entry::Send { .. } if item.sent().is_some_and(|sent| sent.about.failure.is_some()) => {
            Style::Bad
        }
        Entry::Fate(_, Fate::Duplicate(..) | Fate::Hold(_)) | Entry::Power(_) => Style::Warn,
        Entry::Deliver(_) if item.is_late || item.derived.copy > 0 => Style::Warn,
        Entry::Arm { .. } | Entry::Fire(_) | Entry::Disarm(_) => Style::Dim,
        Entry::Note { .. } => Style::Good,
        _ => Style::Plain,
    }
}

/// The event in words: its kind and its subject.
pub(crate) fn what(item: &Item, names: &Names) -> String {
    let record = &item.record;
    let message = || item.sent().map_or_else(|| "a message not in the trace".to_owned(), |it| names.message(&it.about));
    let to = || item.sent().map_or_else(|| "no actor".to_owned(), |sent| names.receiver(sent.to, &sent.about));
    let tick = || item.derived.tick.as_ref().map_or_else(|| "of an earlier life".to_owned(), |tick| names.tick(tick));
    // The network's decision; if that is the subject of the record, it comes first.
    let (word, rest) = match &record.entry {
        Entry::Start { incarnation: 0 } => ("start", String::new()),
        Entry::Start { incarnation } => ("start", format!("again, life {}", u64::from(*incarnation) + 1)),
        Entry::Send { .. } => ("send", format!("{} to {}", message(), to())),
        Entry::Deliver(id) => {
            let copy = if item.derived.copy > 0 { ", a copy" } else { "" };
            let late = if item.is_late { ", late" } else { "" };
            ("deliver", format!("{} from {}{copy}{late}", message(), names.actor(id.from)))
        }
        Entry::Fate(_, Fate::Lost(cause)) => ("lost", format!("{}: {} to {}", cause.as_str(), message(), to())),
        Entry::Fate(_, Fate::Deliver(after)) => ("delay", format!("{} to {} takes {after}", message(), to())),
        Entry::Fate(_, Fate::Duplicate(a, b)) => ("duplicate", format!("{} to {} takes {a} and {b}", message(), to())),
        Entry::Fate(_, Fate::Hold(until)) => ("hold", format!("{} to {} until {until}", message(), to())),
        Entry::Arm { at, .. } => ("timer_set", format!("{}, in {}", tick(), at.since(record.at))),
        Entry::Fire(_) => ("timer_fire", tick()),
        Entry::Disarm(_) => ("timer_clear", tick()),
        Entry::Note { what, subject, value } => (&**what, names.note(what, *subject, *value)),
        Entry::Power(MachineAction::Speed(speed)) => ("speed", format!("works at {speed} of its speed")),
        Entry::Power(MachineAction::Disk(sync)) => ("disk", disk(*sync)),
        Entry::Power(_) => (kind(&record.entry), String::new()),
        Entry::Persist(position) => ("persist", format!("state {position}")),
        Entry::Durable(position) => ("durable", format!("up to state {position}")),
    };
    format!("{word:8} {rest}")
}

/// The time that a disk takes, in words.
fn disk(sync: Option<Span>) -> String {
    match sync {
        None => "takes no time".into(),
        Some(Span::MAX) => "is full".into(),
        Some(sync) => format!("takes {sync} for a sync"),
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_text_that_is_too_long_is_cut_with_an_ellipsis_and_stays_on_its_line() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aböd", 3), "ab…");
        assert_eq!(cut("a\nb\tc", 9), "a b c");
        assert_eq!(cut("", 0), "");
    }
}
