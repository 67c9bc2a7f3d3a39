//! `meshsim explore RUN --terminal`: the records of a run in a terminal, one at a time.

mod draw;
mod walk;

use std::time::Duration;

use meshsim_actor::ActorId;
use meshsim_experiment::duration;
use meshsim_mesh::request_id::RequestId;
use ratatui::crossterm::event::KeyCode;
use serde_json::Value;

use self::walk::{Found, Search, Walk, is_bad};
use super::answers::Explorer;
use super::change::Change;
use super::forks;
use super::told::Told;
use crate::error::Error;
use crate::flow::Selection;
use crate::flow::select::Selector;
use crate::fullscreen::{FullScreen, Input};
use crate::interrupt;

/// Time for which a key is waited for.
const PATIENCE: Duration = Duration::from_millis(250);
/// Longest text that is typed.
const TYPED_MAX: usize = 400;

/// The state of the view: the trace, the chosen record, the search under way.
struct View<'a> {
    explorer: &'a Explorer,
    walk: Walk<'a>,
    /// The record in the middle.
    at: u64,
    /// The expression of the last `/`, and what it selects.
    wanted: Option<(String, Selector)>,
    /// The search under way: for matches, or else for faults and failures.
    search: Option<(Search, bool)>,
    /// Causes and effects of the record, if they are shown.
    told: Option<Box<Told>>,
    asked: Option<Question>,
    /// Said in the last line until the next key.
    said: String,
    /// Said over all until the next key.
    notice: Vec<String>,
}

/// The text that is typed in the last line.
struct Question {
    what: What,
    typed: String,
}

/// The use of a text that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Time,
    Where,
    /// Which change a fork makes: one key.
    Fork,
    Delay,
    Crash,
    /// A rate of this load.
    Rate(ActorId),
    Set,
}

impl What {
    fn label(self) -> &'static str {
        match self {
            What::Time => "to second: ",
            What::Where => "where: ",
            What::Fork => "fork: drop (d), deliver (v), delay (l), crash (c), rate (r), value (s)? ",
            What::Delay => "later by: ",
            What::Crash => "down for: ",
            What::Rate(_) => "rate from here on: ",
            What::Set => "path=value: ",
        }
    }
}

/// Shows a run until a person leaves.
pub(super) fn show(explorer: &Explorer) -> Result<(), Error> {
    let mut screen = FullScreen::open("meshsim explore --terminal", "leave the option out, or run it in a terminal")?;
    let mut walk = Walk::new(explorer);
    let at = walk.next(0, true)?.unwrap_or(0);
    let mut view = View {
        explorer,
        walk,
        at,
        wanted: None,
        search: None,
        told: None,
        asked: None,
        said: String::new(),
        notice: Vec::new(),
    };
    let mut is_new = true;
    loop {
        if is_new {
            let picture = view.picture(draw::size(&screen)?)?;
            screen.draw(|frame| draw::draw(frame, &picture))?;
        }
        is_new = true;
        // While something is looked for, keys are only looked at.
        let patience = if view.search.is_some() { Duration::ZERO } else { PATIENCE };
        match screen.input(patience)? {
            Some(Input::Quit) => return Ok(()),
            Some(Input::Key(key)) => {
                if !view.key(key, &mut screen)? {
                    return Ok(());
                }
            }
            Some(Input::Redraw) => {}
            None if interrupt::asked() => return Ok(()),
            None if view.search.is_none() => is_new = false,
            None => view.look()?,
        }
    }
}

impl View<'_> {
    /// Does what a key says. False if that is to leave.
    fn key(&mut self, key: KeyCode, screen: &mut FullScreen) -> Result<bool, Error> {
        self.said.clear();
        if !std::mem::take(&mut self.notice).is_empty() {
            return Ok(true);
        }
        if self.search.take().is_some() {
            self.said = "stopped".into();
            return Ok(true);
        }
        if let Some(question) = self.asked.take() {
            self.typed(question, key, screen)?;
            return Ok(true);
        }
        match key {
            KeyCode::Char('q') => return Ok(false),
            KeyCode::Esc => self.told = None,
            KeyCode::Down | KeyCode::Right | KeyCode::Char('j' | 'l') => self.step(true, 1)?,
            KeyCode::Up | KeyCode::Left | KeyCode::Char('k' | 'h') => self.step(false, 1)?,
            KeyCode::PageDown | KeyCode::Char(' ') => self.step(true, 10)?,
            KeyCode::PageUp | KeyCode::Char('b') => self.step(false, 10)?,
            KeyCode::Home => {
                let first = self.walk.at(0)?;
                self.go(Some(first));
            }
            KeyCode::End => {
                let last = self.walk.next(self.walk.len(), false)?;
                self.go(last);
            }
            KeyCode::Char('t') => self.walk.shows_all = !self.walk.shows_all,
            KeyCode::Char('g') => self.ask(What::Time),
            KeyCode::Char('/') => self.ask(What::Where),
            KeyCode::Char('f') => self.ask(What::Fork),
            KeyCode::Char('n') => self.find(true, true),
            KeyCode::Char('N') => self.find(false, true),
            KeyCode::Char(']') => self.find(true, false),
            KeyCode::Char('[') => self.find(false, false),
            KeyCode::Char('c') => {
                let cause = self.walk.with(self.at, |item| item.derived.cause)?.flatten();
                match cause {
                    Some(_) => self.go(cause),
                    None => self.said = "it has no cause in the trace".into(),
                }
            }
            KeyCode::Enter => self.tell()?,
            KeyCode::Char('?') => self.notice = draw::KEYS.iter().map(|line| (*line).to_owned()).collect(),
            _ => {}
        }
        Ok(true)
    }

    fn go(&mut self, record: Option<u64>) {
        if let Some(record) = record.filter(|record| *record != self.at) {
            (self.at, self.told) = (record, None);
        }
    }

    fn step(&mut self, is_forward: bool, count: usize) -> Result<(), Error> {
        for _ in 0..count {
            match self.walk.next(self.at, is_forward)? {
                Some(next) => self.go(Some(next)),
                None => {
                    self.said = if is_forward { "this is the last record" } else { "this is the first record" }.into();
                    break;
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, what: What) {
        self.asked = Some(Question { what, typed: String::new() });
    }

    fn find(&mut self, is_forward: bool, is_match: bool) {
        if is_match && self.wanted.is_none() {
            self.ask(What::Where);
            return;
        }
        self.search = Some((self.walk.search(self.at, is_forward), is_match));
    }

    /// Looks through the next chunk, if something is looked for.
    fn look(&mut self) -> Result<(), Error> {
        let Some((mut search, is_match)) = self.search.take() else { return Ok(()) };
        let names = &self.explorer.source.names;
        let found = match (is_match, &self.wanted) {
            (true, Some((_, selector))) => {
                self.walk.look(&mut search, Some(selector), |item| selector.wants(item, names))?
            }
            _ => self.walk.look(&mut search, None, is_bad)?,
        };
        match found {
            Found::Here(record) => self.go(Some(record)),
            Found::NotYet => self.search = Some((search, is_match)),
            Found::Nowhere => {
                let what = if is_match { "match" } else { "fault or failure" };
                let side = if search.is_forward { "after" } else { "before" };
                self.said = format!("no {what} {side} this record");
            }
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<(), Error> {
        self.told = match self.told {
            Some(_) => None,
            None => {
                Told::read(&[self.at], &self.explorer.trail(), &self.explorer.source)?.remove(&self.at).map(Box::new)
            }
        };
        Ok(())
    }

    fn typed(&mut self, mut question: Question, key: KeyCode, screen: &mut FullScreen) -> Result<(), Error> {
        match key {
            KeyCode::Esc => {}
            KeyCode::Char(letter) if question.what == What::Fork => return self.chosen(letter, screen),
            KeyCode::Enter => return self.answered(question, screen),
            KeyCode::Backspace => {
                question.typed.pop();
                self.asked = Some(question);
            }
            KeyCode::Char(letter) => {
                if question.typed.len() < TYPED_MAX {
                    question.typed.push(letter);
                }
                self.asked = Some(question);
            }
            _ => self.asked = Some(question),
        }
        Ok(())
    }

    /// The change of a fork was chosen.
    fn chosen(&mut self, letter: char, screen: &mut FullScreen) -> Result<(), Error> {
        match letter {
            'd' => self.fork(&Change::Drop { record: self.at }, screen),
            'v' => self.fork(&Change::Deliver { record: self.at }, screen),
            'l' => {
                self.ask(What::Delay);
                Ok(())
            }
            'c' => {
                self.ask(What::Crash);
                Ok(())
            }
            'r' => {
                match self.load()? {
                    Some(load) => self.ask(What::Rate(load)),
                    None => self.said = "choose a record of a load's request: its load gets another rate".into(),
                }
                Ok(())
            }
            's' => {
                self.ask(What::Set);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The load that the record is about; if there is only one, that.
    fn load(&mut self) -> Result<Option<ActorId>, Error> {
        let mesh = self.explorer.mesh();
        let is_load = |actor: &ActorId| mesh.load_index(*actor).is_some();
        let about = self.walk.with(self.at, |item| {
            let caller = item.owner.map(|owner| RequestId::caller(owner.root));
            [caller, Some(item.record.actor)].into_iter().flatten().find(is_load)
        })?;
        let mut all = (0..mesh.actor_count() as u32).map(ActorId).filter(is_load);
        let only = all.next().filter(|_| all.next().is_none());
        Ok(about.flatten().or(only))
    }

    fn answered(&mut self, question: Question, screen: &mut FullScreen) -> Result<(), Error> {
        let text = question.typed.trim().to_owned();
        match question.what {
            What::Time => {
                let with_unit = if text.ends_with(|it: char| it.is_ascii_digit()) { format!("{text}s") } else { text };
                match duration(&with_unit) {
                    Ok(span) => {
                        let record = self.walk.at(span.nanos())?;
                        self.go(Some(record));
                    }
                    Err(error) => self.said = format!("{}: {}", error.message, error.help),
                }
                Ok(())
            }
            What::Where => {
                match Selection::of_expression(&text).resolve(&self.explorer.source) {
                    Ok(selector) => {
                        // Timers that are asked for are shown.
                        self.walk.shows_all |= selector.has_timers;
                        self.wanted = Some((text, selector));
                        self.find(true, true);
                    }
                    Err(error) => self.said = draw::one_line(&error),
                }
                Ok(())
            }
            What::Fork => Ok(()),
            What::Delay => self.fork(&Change::Delay { record: self.at, by: text }, screen),
            What::Crash => {
                let of = self.walk.with(self.at, |item| {
                    (item.sent().map_or(item.record.actor, |sent| sent.to), item.record.at.nanos())
                })?;
                match of {
                    Some((actor, at_ns)) => self.fork(&Change::Crash { actor: actor.0, at_ns, length: text }, screen),
                    None => Ok(()),
                }
            }
            What::Rate(load) => match self.walk.with(self.at, |item| item.record.at.nanos())? {
                Some(at_ns) => self.fork(&Change::Rate { load: load.0, at_ns, rate: text }, screen),
                None => Ok(()),
            },
            What::Set => self.fork(&Change::Set { value: text }, screen),
        }
    }

    /// Runs it again with a change, and says where the two part.
    fn fork(&mut self, change: &Change, screen: &mut FullScreen) -> Result<(), Error> {
        self.said = "running it again ...".into();
        let picture = self.picture(draw::size(screen)?)?;
        screen.draw(|frame| draw::draw(frame, &picture))?;
        self.said.clear();
        match forks::fork(self.explorer, change) {
            Ok(forked) => self.notice = told_fork(&forked),
            Err(refused) => self.said = draw::one_line(&refused.into_error()),
        }
        Ok(())
    }
}

/// A fork in a few lines.
fn told_fork(forked: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    let parted = &forked["parted"];
    let mut lines = vec![format!("Fork: {}", word(&forked["words"])), String::new()];
    if parted.is_null() {
        lines.push("No record differs: the two runs are the same.".into());
    } else {
        let at = parted["at_ns"].as_f64().unwrap_or(0.0) / 1e9;
        let side =
            if parted["side"] == "here" { "in this run; not then in the fork" } else { "in the fork; not in this run" };
        lines.push(format!("The first that differs, at {at:.6}s:"));
        lines.push(format!("  {}: {}", word(&parted["link"]["actor"]), word(&parted["link"]["what"])));
        lines.push(format!("  {side}"));
        lines.push(format!(
            "{} records before it are the same; {} requests ended otherwise.",
            parted["same"], forked["otherwise"]
        ));
    }
    lines.extend([
        String::new(),
        "It is kept:".into(),
        format!("  meshsim explore {} --terminal", word(&forked["folder"])),
    ]);
    lines
}
