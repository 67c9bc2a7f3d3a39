//! `meshsim export shiviz`: events with vector clocks (<https://bestchai.bitbucket.io/shiviz>).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};

use meshsim_actor::{ActorId, MessageId, Time};
use meshsim_experiment::printable;
use meshsim_mesh::mark;
use meshsim_report::{count, plural};
use meshsim_trace::Entry;
use meshsim_trace::export::kind;

use super::{Common, Exporter, Form, Told};
use crate::error::{Error, Exit};
use crate::flow::Item;
use crate::flow::line::what;
use crate::flow::words::Names;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Events with vector clocks, for ShiViz";

pub(super) const HELP: &str = "\
Opened by ShiViz (https://bestchai.bitbucket.io/shiviz), whose two expressions are the first two lines.
  meshsim export shiviz last --operation 9 -o steps.log

ShiViz draws no more than some thousand events: of more than 5,000, those around the first step are written.";

/// Its parser takes time in proportion to the square of the events.
const EVENTS_MAX: usize = 5_000;
/// Of these, how many come before the first step.
const BEFORE: usize = 500;

/// Regular expressions of an event, and of the line that separates runs.
const EVENT: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<t>\d+) (?<kind>\w+) (?<event>.*)";
const RUN: &str = r"^=== (?<trace>.*) ===$";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        super::execute(&self.common, Form::Text, screen, |source| {
            let names = &source.names;
            Box::new(Shiviz { label: &source.label, hosts: hosts(names), ..Shiviz::new(names) })
        })
    }
}

struct Shiviz<'a> {
    names: &'a Names,
    label: &'a str,
    hosts: Vec<String>,
    selection: Option<String>,
    /// The first events, and the last ones until the first step is decided; then those around it.
    first: Vec<Event>,
    around: VecDeque<Event>,
    is_anchored: bool,
    seen: u64,
}

#[derive(Clone)]
struct Event {
    actor: ActorId,
    at: Time,
    kind: String,
    text: String,
    message: Option<(Way, MessageId)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

/// Names of hosts: without white space, and each once.
fn hosts(names: &Names) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let host = |name: &String| {
        let plain: String = name
            .chars()
            .map(|c| if c.is_whitespace() || c == '\u{feff}' || c.is_control() { '_' } else { c })
            .collect();
        let numbered = (2..).map(|n| format!("{plain}.{n}"));
        let mut free = std::iter::once(plain.clone()).chain(numbered);
        free.find(|name| taken.insert(name.clone())).unwrap_or_default()
    };
    names.actors().iter().map(host).collect()
}

/// In one line: what ends a line in JavaScript does not occur in it.
fn in_a_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

impl<'a> Shiviz<'a> {
    fn new(names: &'a Names) -> Self {
        let (first, around) = (Vec::new(), VecDeque::new());
        Shiviz { names, label: "", hosts: Vec::new(), selection: None, first, around, is_anchored: false, seen: 0 }
    }

    fn event(&self, item: &Item) -> Option<Event> {
        let record = &item.record;
        let message = match &record.entry {
            Entry::Send { seq, .. } => Some((Way::Out, MessageId { from: record.actor, seq: *seq })),
            Entry::Deliver(id) => Some((Way::In, *id)),
            Entry::Note { what, .. } if mark::ALL.contains(&&**what) => return None,
            Entry::Note { .. } | Entry::Power(_) | Entry::Start { .. } => None,
            Entry::Fate(..) if item.is_lost() => None,
            _ => return None,
        };
        let words = what(item, self.names);
        // The first word is the kind.
        let (_, rest) = words.split_once(' ').unwrap_or((&words, ""));
        let word = match &record.entry {
            Entry::Note { what, .. } => what,
            other => kind(other),
        };
        let kind = word.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Some(Event { actor: record.actor, at: record.at, kind, text: in_a_line(rest), message })
    }

    fn add(&mut self, event: Event) {
        self.seen += 1;
        if self.first.len() < EVENTS_MAX {
            self.first.push(event.clone());
        }
        self.is_anchored |= event.kind == "decide";
        if self.is_anchored {
            if self.around.len() < EVENTS_MAX {
                self.around.push_back(event);
            }
            return;
        }
        self.around.push_back(event);
        if self.around.len() > BEFORE {
            self.around.pop_front();
        }
    }

    fn write(&self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let unknown = "unknown".to_owned();
        let host = |actor: ActorId| self.hosts.get(actor.index()).unwrap_or(&unknown);
        let mut clocks: BTreeMap<ActorId, BTreeMap<ActorId, u64>> = BTreeMap::new();
        // Of the messages that are sent within the window.
        let mut sent: BTreeMap<MessageId, BTreeMap<ActorId, u64>> = BTreeMap::new();
        for event in events {
            let clock = clocks.entry(event.actor).or_default();
            if let Some((Way::In, id)) = event.message {
                for (actor, time) in sent.get(&id).into_iter().flatten() {
                    let known = clock.entry(*actor).or_default();
                    *known = (*known).max(*time);
                }
            }
            *clock.entry(event.actor).or_default() += 1;
            if let Some((Way::Out, id)) = event.message {
                sent.insert(id, clock.clone());
            }
            let times: serde_json::Map<_, _> =
                clock.iter().map(|(actor, time)| (host(*actor).clone(), (*time).into())).collect();
            let times = serde_json::Value::from(times);
            writeln!(out, "{} {times}\n{} {} {}", host(event.actor), event.at.nanos(), event.kind, event.text)?;
        }
        Ok(())
    }
}

impl Exporter for Shiviz<'_> {
    fn begin(&mut self, selection: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        self.selection = selection.map(str::to_owned);
        write!(out, "{EVENT}\n{RUN}\n")
    }

    fn record(&mut self, item: &Item, is_wanted: bool, _out: &mut dyn Write) -> io::Result<()> {
        if is_wanted && let Some(event) = self.event(item) {
            self.add(event);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<Told> {
        let is_whole = self.seen <= EVENTS_MAX as u64;
        let events = if is_whole || !self.is_anchored {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.around).into()
        };
        let more = self.seen - events.len() as u64;
        let mut title = in_a_line(self.label);
        if let Some(selection) = &self.selection {
            title += &format!(" {}", in_a_line(selection));
        }
        let mut left_out = Vec::new();
        if more > 0 {
            title += &format!(", {} left out", count(more));
            let place =
                if self.is_anchored { "those around the first step are written" } else { "the first are written" };
            left_out.push(format!("{} left out: {place}", plural(more, "event")));
        }
        writeln!(out, "=== {title} ===")?;
        self.write(&events, out)?;
        Ok(Told { holds: plural(events.len() as u64, "event"), left_out })
    }
}
