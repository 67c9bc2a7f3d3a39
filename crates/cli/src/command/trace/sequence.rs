//! `meshsim trace sequence`: a space-time diagram. Each actor has a line, and each message goes from one to another.

pub(in crate::command) mod mermaid;
pub(in crate::command) mod plantuml;
pub(in crate::command) mod svg;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;

use meshsim_actor::{ActorId, Fate, MachineAction, MessageId, Span, Time};
use meshsim_report::{count, plural};
use meshsim_trace::{Chunk, Entry};
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::flow::select::{self, is_timer};
use crate::flow::words::Names;
use crate::flow::{Item, Selection, Source};
use crate::screen::{Screen, width};

pub(super) const ABOUT: &str = "Draw a space-time diagram of the selected messages";

pub(super) const HELP: &str = select::HELP;

/// Messages of a diagram unless `--most` says another number.
const MOST: usize = 100;
/// The largest number it may say: a diagram of more is no picture any more.
pub(in crate::command) const MOST_MAX: usize = 5_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`; or a trace file
    run: PathBuf,
    /// An SVG picture
    #[arg(long, group = "form")]
    svg: bool,
    /// For a page in Markdown
    #[arg(long, group = "form")]
    mermaid: bool,
    /// For PlantUML
    #[arg(long, group = "form")]
    plantuml: bool,
    /// JSON
    #[arg(long, group = "form")]
    json: bool,
    /// Maximum number of messages: the first selected ones
    #[arg(long, value_name = "N", default_value_t = MOST, value_parser = most)]
    most: usize,
    #[command(flatten)]
    selection: Selection,
}

fn most(text: &str) -> Result<usize, String> {
    let most = text.parse().ok().filter(|most| (1..=MOST_MAX).contains(most));
    most.ok_or_else(|| format!("write a whole number from 1 to {MOST_MAX}"))
}

/// Fate of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fared {
    /// It arrived, by this record.
    Arrived {
        record: u64,
        at_ns: u64,
        /// True if its sender had given up the request, or the attempt.
        is_late: bool,
    },
    /// It was lost.
    Lost { at_ns: u64, reason: &'static str },
    /// It was in flight when the trace ended.
    UnderWay,
}

/// A message.
#[derive(Clone, Debug, Serialize)]
struct Message {
    /// The record of its sending.
    record: u64,
    sent_ns: u64,
    /// Indexes of [`Diagram::actors`].
    from: usize,
    to: usize,
    words: String,
    /// The network's second copy.
    is_copy: bool,
    /// The network held it back.
    was_held: bool,
    fared: Fared,
}

/// Something that happened to one actor.
#[derive(Clone, Debug, Serialize)]
struct Mark {
    record: u64,
    at_ns: u64,
    actor: usize,
    words: String,
    /// A machine went down.
    is_bad: bool,
}

/// Content of the diagram.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::command) struct Diagram {
    /// Names, in the order of their lines.
    actors: Vec<String>,
    messages: Vec<Message>,
    marks: Vec<Mark>,
    /// Messages that were selected and are not shown.
    left_out: u64,
}

/// Style of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrow {
    /// It arrived, without anything unusual.
    Plain,
    /// It arrived, or may arrive, and is unusual.
    Odd,
    /// It was lost.
    Lost,
}

impl Message {
    fn arrow(&self) -> Arrow {
        match self.fared {
            Fared::Lost { .. } => Arrow::Lost,
            _ if self.oddities().is_empty() => Arrow::Plain,
            _ => Arrow::Odd,
        }
    }

    /// `lost: down`, `late`, `a copy`; nothing where nothing is odd.
    fn oddities(&self) -> Vec<String> {
        let mut odd = Vec::new();
        match self.fared {
            Fared::Lost { reason, .. } => odd.push(format!("lost: {reason}")),
            Fared::Arrived { is_late: true, .. } => odd.push("late".into()),
            Fared::UnderWay => odd.push("in flight".into()),
            Fared::Arrived { .. } => {}
        }
        odd.extend(self.is_copy.then(|| "a copy".to_owned()));
        odd.extend(self.was_held.then(|| "held".to_owned()));
        odd
    }

    /// Content and fate of a message: `extend payment, step 9  +1.2ms`, `... lost: down`.
    fn label(&self) -> String {
        let mut parts = vec![self.words.clone()];
        if let Fared::Arrived { at_ns, .. } = self.fared {
            parts.push(format!("+{}", Span::from_nanos(at_ns - self.sent_ns)));
        }
        parts.extend(self.oddities());
        parts.join("  ")
    }
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = Source::open(&self.run, screen)?;
        let (diagram, read) = gather(&source, &self.selection, self.most)?;
        if diagram.left_out > 0 {
            screen.warn(&format!(
                "the first {} are shown, and {} left out: select fewer, or raise --most",
                plural(diagram.messages.len() as u64, "message"),
                count(diagram.left_out),
            ));
        }
        if self.json {
            screen.print_json(&diagram)?;
        } else if self.svg {
            screen.print_file(&svg::draw(&diagram, &source.label))?;
        } else if self.mermaid || self.plantuml {
            let (text, left_out) = match self.mermaid {
                true => mermaid::write(&diagram),
                false => (plantuml::write(&diagram), 0),
            };
            if left_out > 0 {
                screen.warn(&format!("{} more left out: Mermaid takes no longer text", plural(left_out, "message")));
            }
            screen.print_file(&text)?;
        } else {
            let text = if diagram.messages.is_empty() && diagram.marks.is_empty() {
                "no message is selected\n".into()
            } else {
                text::draw(&diagram, width(), screen.paint())
            };
            screen.print(&text)?;
        }
        read.map_or(Ok(Exit::Success), Err)
    }
}

impl Diagram {
    /// Number of messages drawn; both copies of a duplicated one count.
    pub(in crate::command) fn message_count(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Number of messages that were selected and are not drawn.
    pub(in crate::command) fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// The messages that are selected, by any of their records: the first so many. Beside them, how the reading failed if
/// it did.
pub(in crate::command) fn gather(
    source: &Source,
    selection: &Selection,
    most: usize,
) -> Result<(Diagram, Option<Error>), Error> {
    let selector = selection.resolve(source)?;
    let names = &source.names;
    let mut gathered = Gathered { most, ..Gathered::default() };
    let may_hold = |chunk: &Chunk| selector.may_hold(chunk, names);
    let mut read = source.each_of(may_hold, |item| {
        // The arrival of a selected message counts even if it is not selected itself.
        let is_wanted = !selector.is_over(item) && selector.wants(item, names);
        gathered.take(item, is_wanted, names);
        match selector.is_over(item) && gathered.open.is_empty() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    // The other chunks tell the fate of the messages that have not ended there.
    if let (Ok(()), Some(first)) = (&read, gathered.first_open()) {
        let is_other = |chunk: &Chunk| chunk.first > first && !may_hold(chunk);
        read = source.each_of(is_other, |item| {
            gathered.take(item, false, names);
            if gathered.open.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    let failed = match read {
        Err(error @ Error::Trace(..)) => Some(error),
        other => other.map(|()| None)?,
    };
    Ok((gathered.finish(names), failed))
}

#[derive(Default)]
struct Gathered {
    most: usize,
    messages: Vec<(ActorId, ActorId, Message)>,
    marks: Vec<(ActorId, Mark)>,
    /// The messages that are shown and have not arrived, by id: their places.
    open: BTreeMap<MessageId, usize>,
    /// The messages that are left out and have not arrived.
    skipped: BTreeSet<MessageId>,
    /// Number of messages left out.
    left_out: u64,
}

impl Gathered {
    /// The record of the first sending among the shown messages that have not arrived.
    fn first_open(&self) -> Option<u64> {
        self.open.values().map(|place| self.messages[*place].2.record).min()
    }

    fn take(&mut self, item: &Item, is_wanted: bool, names: &Names) {
        let record = &item.record;
        if is_timer(item) {
            return;
        }
        let Some((id, Some(sent))) = &item.derived.message else {
            return self.mark(item, is_wanted, names);
        };
        let fared = match &record.entry {
            Entry::Deliver(_) => {
                Some(Fared::Arrived { record: record.seq, at_ns: record.at.nanos(), is_late: item.is_late })
            }
            Entry::Fate(_, Fate::Lost(cause)) => Some(Fared::Lost { at_ns: record.at.nanos(), reason: cause.as_str() }),
            _ => None,
        };
        if let Some(place) = self.open.get(id).copied() {
            let message = &mut self.messages[place].2;
            message.was_held |= sent.was_held;
            if let Some(fared) = fared {
                message.fared = fared;
                message.is_copy = item.derived.copy > 0;
                // A second copy is a message of its own, which begins where the first did.
                if sent.is_doubled && item.derived.copy == 0 {
                    let copy = Message { fared: Fared::UnderWay, ..message.clone() };
                    let (from, to, _) = self.messages[place];
                    self.open.insert(*id, self.messages.len());
                    self.messages.push((from, to, copy));
                } else {
                    self.open.remove(id);
                }
            }
            return;
        }
        if !is_wanted {
            return;
        }
        if self.messages.len() >= self.most || self.skipped.contains(id) {
            // It is counted where it is first selected.
            self.left_out += u64::from(!self.skipped.contains(id));
            let is_over = fared.is_some() && (!sent.is_doubled || item.derived.copy > 0);
            match is_over {
                false => self.skipped.insert(*id),
                true => self.skipped.remove(id),
            };
            return;
        }
        let message = Message {
            record: sent.seq,
            sent_ns: sent.at.nanos(),
            from: 0,
            to: 0,
            words: names.message(&sent.about),
            is_copy: item.derived.copy > 0,
            was_held: sent.was_held,
            fared: fared.unwrap_or(Fared::UnderWay),
        };
        if fared.is_none() {
            self.open.insert(*id, self.messages.len());
        }
        self.messages.push((id.from, sent.to, message));
    }

    /// Event of an actor: its machine goes down, it applies a step.
    fn mark(&mut self, item: &Item, is_wanted: bool, names: &Names) {
        let record = &item.record;
        let is_shown = match &record.entry {
            Entry::Power(_) => true,
            Entry::Start { incarnation } => *incarnation > 0,
            Entry::Note { .. } => true,
            _ => false,
        };
        if !is_wanted || !is_shown || self.marks.len() >= self.most || self.messages.len() >= self.most {
            return;
        }
        let words = crate::flow::line::what(item, names).split_whitespace().collect::<Vec<_>>().join(" ");
        let is_bad = matches!(&record.entry, Entry::Power(MachineAction::Crash | MachineAction::Wipe));
        let mark = Mark { record: record.seq, at_ns: record.at.nanos(), actor: 0, words, is_bad };
        self.marks.push((record.actor, mark));
    }

    /// Assigns a line to each actor that takes part, in the order of their ids.
    fn finish(self, names: &Names) -> Diagram {
        let ends = self.messages.iter().flat_map(|(from, to, _)| [*from, *to]);
        let mut actors: Vec<ActorId> = ends.chain(self.marks.iter().map(|(actor, _)| *actor)).collect();
        actors.sort();
        actors.dedup();
        let line = |actor: ActorId| actors.binary_search(&actor).unwrap_or_default();
        let mut messages: Vec<Message> = (self.messages.into_iter())
            .map(|(from, to, message)| Message { from: line(from), to: line(to), ..message })
            .collect();
        messages.sort_by_key(|message| (message.sent_ns, message.record, message.is_copy));
        let marks = self.marks.into_iter().map(|(actor, mark)| Mark { actor: line(actor), ..mark }).collect();
        let actors = actors.iter().map(|actor| names.actor(*actor).to_owned()).collect();
        Diagram { actors, messages, marks, left_out: self.left_out }
    }
}

/// A time as seconds.
fn secs(ns: u64) -> String {
    Time::from_nanos(ns).to_string()
}
