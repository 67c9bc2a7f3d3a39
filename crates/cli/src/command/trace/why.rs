//! `meshsim trace why`: the causes of a record, back to the first one; or its effects.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use meshsim_actor::Span;
use meshsim_experiment::printable;
use meshsim_report::table::{Paint, Style};
use meshsim_report::{count, plural};
use meshsim_trace::{Chunk, Entry};
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::flow::line::{cut, what};
use crate::flow::words::Names;
use crate::flow::{Item, Source};
use crate::screen::{Screen, paragraph, width};

pub(super) const ABOUT: &str = "Show the causes of a record, step by step; or with --effects its effects";

pub(super) const HELP: &str = "\
Examples:
  meshsim trace last --lost                        records have numbers
  meshsim trace why last 120345                    back to the first cause
  meshsim trace why last 120345 --effects          its effects

The cause of a delivery is its send, of a firing timer its setting, and of an effect the last input of the \
actor. The cause of a request that waited for a slot or a core is the record that freed it. A timer that \
sets itself again (the next request of a load, a heartbeat) is followed back only to its last round, and its \
next round is not an effect.";

/// Records of which the causes are held at once: a trace is read once for each so many that the story spans.
const WINDOW: u64 = 4 << 20;
/// Maximum length of a story.
const CHAIN_MAX: usize = 100_000;
/// Effects that are followed.
const EFFECTS_MAX: usize = 100_000;
/// Lines of a story, unless all are asked for.
const LINES_MAX: usize = 40;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`; or a trace file
    run: PathBuf,
    /// The number of the record
    record: u64,
    /// Show its effects instead of its causes
    #[arg(long)]
    effects: bool,
    /// Show everything, in whole lines
    #[arg(long)]
    wide: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A record of the story.
#[derive(Clone, Debug, Serialize)]
pub(in crate::command) struct Link {
    pub(in crate::command) record: u64,
    pub(in crate::command) cause: Option<u64>,
    at_ns: u64,
    actor: String,
    /// In words.
    what: String,
    /// The timer, for its setting and its firing.
    #[serde(skip)]
    pub(in crate::command) timer: Option<String>,
    #[serde(skip)]
    pub(in crate::command) is_fire: bool,
}

impl Link {
    /// Its record, time, actor and words.
    pub(in crate::command) fn told(&self) -> (u64, u64, &str, &str) {
        (self.record, self.at_ns, &self.actor, &self.what)
    }

    /// The word for what happened: `deliver`, `timer_fire`.
    pub(in crate::command) fn word(&self) -> &str {
        self.what.split_whitespace().next().unwrap_or_default()
    }

    pub(in crate::command) fn new(item: &Item, names: &Names) -> Self {
        let is_timer = matches!(item.record.entry, Entry::Arm { .. } | Entry::Fire(_));
        Link {
            record: item.record.seq,
            cause: item.derived.cause,
            at_ns: item.record.at.nanos(),
            actor: names.actor(item.record.actor).to_owned(),
            what: what(item, names),
            is_fire: matches!(item.record.entry, Entry::Fire(_)),
            timer: item.derived.tick.as_ref().filter(|_| is_timer).map(|tick| names.tick(tick)),
        }
    }
}

/// True of chunks with one of these records.
fn with_records(first: u64, last: u64) -> impl FnMut(&Chunk) -> bool {
    move |chunk| chunk.first <= last && first < chunk.first.saturating_add(u64::from(chunk.records))
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = Source::open(&self.run, screen)?;
        if self.effects { self.future(&source, screen) } else { self.past(&source, screen) }
    }

    fn past(&self, source: &Source, screen: &mut Screen) -> Result<Exit, Error> {
        let (chain, is_whole) = self.chain(source)?;
        let last = chain.last().copied().unwrap_or(self.record);
        let mut links = Vec::with_capacity(chain.len());
        let mut next = chain.iter().peekable();
        let first = chain.first().copied().unwrap_or(last);
        source.each_of(with_records(first, last), |item| {
            if next.next_if(|seq| **seq == item.record.seq).is_some() {
                links.push(Link::new(item, &source.names));
            }
            if item.record.seq >= last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let rounds = self_set(&links);
        let mut story = links.split_off(rounds);
        if self.json {
            return screen.print_json(&story).map(|()| Exit::Success);
        }
        let mut text = String::new();
        if let (Some(first), Some(again)) = (links.first(), links.last()) {
            let timer = again.timer.clone().unwrap_or_default();
            text += &format!(
                "{} set that timer ({timer}) again and again since {:.6}s: {} before this\n",
                again.actor,
                first.at_ns as f64 / 1e9,
                plural(links.len() as u64, "record"),
            );
        } else if !is_whole {
            text += &format!("the story is longer than {}: this is its end\n", plural(CHAIN_MAX as u64, "record"));
        }
        let left_out = if self.wide { 0 } else { story.len().saturating_sub(LINES_MAX) };
        if left_out > 0 {
            story.drain(..left_out);
            text += &format!("{} before this: `--wide` shows them\n", plural(left_out as u64, "record"));
        }
        text += &told(&story, self.wide, true, screen.paint());
        let waits = story.windows(2).map(|pair| (pair[1].at_ns - pair[0].at_ns, &pair[0], &pair[1]));
        if let Some((longest, before, after)) = waits.reduce(|best, next| if next.0 > best.0 { next } else { best })
            && longest > 0
            && story.len() > 2
        {
            text += &format!(
                "\nThe longest wait in it: {}, from record {} to {} at {}.\n",
                Span::from_nanos(longest),
                before.record,
                after.record,
                after.actor
            );
        }
        screen.print(&text).map(|()| Exit::Success)
    }

    /// The records that this one follows from, and itself; rising. Beside them, whether they go back to the beginning.
    fn chain(&self, source: &Source) -> Result<(Vec<u64>, bool), Error> {
        let mut chain = Vec::new();
        let mut wanted = self.record;
        loop {
            let base = wanted.saturating_sub(WINDOW);
            // Distance of each record to its cause; 0: it has none, or the distance is too large.
            let mut back: Vec<u32> = Vec::new();
            let mut far = BTreeMap::new();
            let mut is_there = false;
            source.each_of(with_records(base, wanted), |item| {
                let seq = item.record.seq;
                if seq >= base {
                    let cause = item.derived.cause;
                    let distance = cause.map_or(0, |cause| seq - cause);
                    back.push(distance.try_into().unwrap_or(0));
                    if seq == wanted {
                        far.insert(seq, cause);
                    }
                }
                is_there |= seq == wanted;
                if seq >= wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if !is_there {
                let why = format!("unknown record {}", count(self.record));
                let help = format!("the trace has records 0 to {}", count(source.index()?.records().saturating_sub(1)));
                return Err(Error::WrongInput(why, help));
            }
            let mut at = wanted;
            let next = loop {
                chain.push(at);
                let distance = back.get((at - base) as usize).copied().unwrap_or(0);
                match distance {
                    0 => break far.get(&at).copied().flatten().filter(|cause| *cause < base),
                    distance => at -= u64::from(distance),
                }
                if at < base || chain.len() >= CHAIN_MAX {
                    break Some(at);
                }
            };
            match next {
                Some(cause) if chain.len() < CHAIN_MAX => wanted = cause,
                next => {
                    chain.reverse();
                    return Ok((chain, next.is_none()));
                }
            }
        }
    }

    fn future(&self, source: &Source, screen: &mut Screen) -> Result<Exit, Error> {
        let mut effects: BTreeMap<u64, Option<String>> = BTreeMap::new();
        let (mut shown, mut kinds, mut last) = (Vec::new(), BTreeMap::<String, u64>::new(), None);
        let most = if self.wide { EFFECTS_MAX } else { LINES_MAX };
        let mut is_whole = true;
        source.each_of(with_records(self.record, u64::MAX), |item| {
            let is_it = item.record.seq == self.record;
            let cause = item.derived.cause.and_then(|cause| effects.get(&cause));
            if !is_it && cause.is_none() {
                return ControlFlow::Continue(());
            }
            let link = Link::new(item, &source.names);
            // A timer that sets itself again begins something of its own.
            if !is_it && matches!(item.record.entry, Entry::Arm { .. }) && cause.is_some_and(|of| *of == link.timer) {
                return ControlFlow::Continue(());
            }
            if effects.len() > EFFECTS_MAX {
                is_whole = false;
                return ControlFlow::Break(());
            }
            let fired = link.timer.clone().filter(|_| matches!(item.record.entry, Entry::Fire(_)));
            effects.insert(item.record.seq, fired);
            if !is_it {
                let kind = link.what.split_whitespace().next().unwrap_or_default().to_owned();
                *kinds.entry(kind).or_default() += 1;
                last = Some(link.at_ns);
            }
            if shown.len() <= most {
                shown.push(link);
            }
            ControlFlow::Continue(())
        })?;
        let Some(first) = shown.first() else {
            let why = format!("unknown record {}", count(self.record));
            let help = format!("the trace has records 0 to {}", count(source.index()?.records().saturating_sub(1)));
            return Err(Error::WrongInput(why, help));
        };
        if self.json {
            return screen.print_json(&shown).map(|()| Exit::Success);
        }
        let all = effects.len() - 1;
        let mut text = told(&shown, self.wide, false, screen.paint());
        if all + 1 > shown.len() {
            text += &format!("and {} more: `--wide` shows them\n", count((all + 1 - shown.len()) as u64));
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, n)| format!("{kind} {}", count(*n))).collect();
        let took = Span::from_nanos(last.unwrap_or(first.at_ns) - first.at_ns);
        text += &match (all, is_whole) {
            (0, _) => "\nNothing follows from it.\n".to_owned(),
            (_, true) => {
                let said = format!("{} within {took}: {}.", plural(all as u64, "effect"), kinds.join(", "));
                format!("\n{}", paragraph("", &said, 0, width()))
            }
            (_, false) => format!("\nMore than {}; no more are followed.\n", plural(EFFECTS_MAX as u64, "effect")),
        };
        screen.print(&text).map(|()| Exit::Success)
    }
}

/// Number of records at the beginning that are rounds of a timer that sets itself again: all except the last. A few
/// rounds (a step that is resent) are part of the story.
pub(in crate::command) fn self_set(links: &[Link]) -> usize {
    const FEW: usize = 20;
    let is_round = |pair: &[Link]| {
        let (fired, set) = (&pair[0], &pair[1]);
        fired.is_fire && !set.is_fire && fired.timer.is_some() && fired.timer == set.timer && fired.actor == set.actor
    };
    links.windows(2).rposition(is_round).map(|at| at + 1).filter(|rounds| *rounds > FEW).unwrap_or(0)
}

/// The records as lines, each with the time since the one before, or since the first.
fn told(links: &[Link], is_wide: bool, since_before: bool, paint: Paint) -> String {
    let actor = links.iter().map(|link| link.actor.chars().count()).max().unwrap_or(0).clamp(5, 14);
    let heading = format!("{:>8} {:>11} {:>8}  {:actor$}  what", "record", "time (s)", "after", "actor");
    let mut text = format!("{}\n", paint.on(Style::Dim, &heading));
    let mut before = links.first().map_or(0, |link| link.at_ns);
    for link in links {
        let micros = link.at_ns / 1_000;
        let after = Span::from_nanos(link.at_ns - before);
        let after = if after.is_zero() { String::new() } else { format!("+{after}") };
        let line = format!(
            "{:>8} {:>4}.{:06} {after:>8}  {:actor$}  {}",
            link.record,
            micros / 1_000_000,
            micros % 1_000_000,
            cut(&link.actor, 14),
            link.what,
        );
        let line = cut(&printable(&line), if is_wide { usize::MAX } else { width() });
        text += &format!("{}\n", line.trim_end());
        if since_before {
            before = link.at_ns;
        }
    }
    text
}
