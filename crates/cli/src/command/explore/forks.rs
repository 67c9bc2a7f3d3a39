//! Forks: the run repeated with one change, as a run in a folder of its own; and the first difference of the two.
//!
//! Every change is one of the experiment's file: a message that is lost is a fault of a nanosecond on its link. So a
//! fork is an experiment like any other, and `meshsim run` does the same from its file. Until the change the two runs
//! are the same, because a fault that does not hold draws nothing. (It is run from the beginning: its trace needs it.)

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use meshsim_actor::{ActorId, Counts, LossReason, Time};
use meshsim_experiment::{Experiment, Override, duration, load};
use meshsim_run::{Keep, Observer, Simulation, Tracer};
use meshsim_trace::Entry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::trace::why::Link;
use super::answers::{Explorer, Refused};
use super::index::fate;
use crate::error::Error;
use crate::flow::part::is_same;
use crate::flow::{Item, Source};
use crate::folder::RunDir;
use crate::output::{self, TRACE};
use crate::runs::EXPERIMENT;
use crate::{interrupt, read};

/// Forks of one run.
const FORKS_MAX: u32 = 10_000;

/// The change.
#[derive(Debug, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Change {
    /// A message is lost: that of this record.
    Drop { record: u64 },
    /// A message that the network lost arrives.
    Deliver { record: u64 },
    /// A message comes later by so much.
    Delay { record: u64, by: String },
    /// An actor's machine goes down at this moment, for so long.
    Crash { actor: u32, at_ns: u64, length: String },
    /// A value of the file, from the beginning: `control.missed=1`.
    Set { value: String },
    /// Nothing: the same again.
    Nothing,
}

/// A change as one of the file, and in words.
struct Told {
    set: Option<String>,
    words: String,
}

impl Change {
    fn told(&self, explorer: &Explorer) -> Result<Told, Refused> {
        // The part of the trace with a record, and the place of its message there.
        let row = |record: u64| {
            let part = explorer.trail().part(record)?;
            let row = part.and_then(|part| part.messages.of_record(record).map(|row| (part, row)));
            row.ok_or_else(|| Refused::new(404, format!("record {record} is about no message"), "choose a message"))
        };
        // The fault of one message.
        let link = |record: u64, effect: &str| {
            let (index, row) = row(record)?;
            let (at, from, to) = (index.messages.sent[row], index.messages.from[row], index.messages.to[row]);
            let number = explorer.message_number(index.messages.record[row])?;
            let (from, to) = (explorer.actor(from), explorer.actor(to));
            if from == to {
                return Err(Refused::new(400, "a message to oneself does not pass the network", "choose another"));
            }
            // JSON's quotes are YAML's.
            let [from, to] = [&from, &to].map(|name| json!(name).to_string());
            let ends = format!("{{ from: {from}, to: {to}, message: {number} }}");
            Ok(format!("faults.+={{ at: {at}ns, for: 1ns, link: {ends}, {effect} }}"))
        };
        let what = |record: u64| {
            let (index, row) = row(record)?;
            let words =
                index.words.get(index.messages.words[row] as usize).map_or("a message", |(_, words)| words.as_str());
            let (from, to) = (index.messages.from[row], index.messages.to[row]);
            Ok::<_, Refused>(format!("{words}, {} to {}", explorer.actor(from), explorer.actor(to)))
        };
        let reason = |record: u64| {
            let (index, row) = row(record)?;
            let fate = index.messages.fate[row];
            let reason = LossReason::ALL.get(usize::from(fate >> fate::REASON));
            Ok::<_, Refused>(reason.filter(|_| fate & fate::LOST != 0).copied())
        };
        let span = |text: &str| {
            let span = duration(text).map_err(|error| Refused::new(400, error.message, error.help))?;
            if span.is_zero() {
                Err(Refused::new(400, "no time changes nothing", "write one, as in `50ms`"))
            } else {
                Ok(span)
            }
        };
        Ok(match self {
            Change::Drop { record } => {
                Told { set: Some(link(*record, "drop: 100%")?), words: format!("without {}", what(*record)?) }
            }
            Change::Deliver { record } => match reason(*record)? {
                None => return Err(Refused::new(400, "this message was not lost", "choose one that was")),
                Some(LossReason::Down | LossReason::NoSuchActor) => {
                    let help = "the network did not lose it: take the fault of its receiver's machine away instead";
                    return Err(Refused::new(400, "its receiver was not there", help));
                }
                Some(_) => {
                    let set = link(*record, "deliver: true")?;
                    Told { set: Some(set), words: format!("not lost: {}", what(*record)?) }
                }
            },
            Change::Delay { record, by } => {
                let by = span(by)?;
                let set = link(*record, &format!("latency: {}ns", by.nanos()))?;
                Told { set: Some(set), words: format!("{by} later: {}", what(*record)?) }
            }
            Change::Crash { actor, at_ns, length } => {
                let length = span(length)?;
                if explorer.mesh().node_index(ActorId(*actor)).is_none() {
                    return Err(Refused::new(400, "this is no node", "choose a node"));
                }
                let name = explorer.actor(*actor);
                let set = format!("faults.+={{ at: {at_ns}ns, for: {}ns, crash: {} }}", length.nanos(), json!(name));
                Told { set: Some(set), words: format!("{name} down for {length} from {}", Time::from_nanos(*at_ns)) }
            }
            Change::Set { value } => Told { set: Some(value.clone()), words: format!("with {value}") },
            Change::Nothing => Told { set: None, words: "the same again".into() },
        })
    }
}

/// Stops at Ctrl-C.
struct Watch;

impl Observer for Watch {
    fn reached(&mut self, _: Time, _: &Counts) -> ControlFlow<()> {
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Runs it with the change, keeps that run, and says where it parts from the first.
pub(super) fn fork(explorer: &Explorer, change: &Change) -> Result<Value, Refused> {
    if explorer.is_live() {
        return Err(Refused::new(
            409,
            "a live run cannot be done again",
            "`meshsim run` simulates its experiment.yaml",
        ));
    }
    let Told { set, words } = change.told(explorer)?;
    let overrides = set.map(|set| Override::parse(&set)).transpose();
    let overrides = overrides.map_err(|error| Refused::new(400, error.to_string(), "as in `control.missed=1`"))?;
    let overrides: Vec<Override> = overrides.into_iter().collect();
    let experiment = load(&explorer.folder().join(EXPERIMENT), &overrides)
        .map_err(|problems| Refused::new(400, problems.to_string().trim().to_owned(), "paths are those of `--set`"))?;
    let path = free(explorer.folder())?;
    run(&experiment, &path)?;
    let other = Source::traced(&path)?;
    let ended = ends(&other)?;
    let changed = parted(&explorer.source, &other)?;
    explorer.wait();
    let otherwise =
        explorer.overview.facts().requests.iter().filter(|it| ended.get(&it.root) != Some(&it.failure)).count();
    let shown = read::runs(std::slice::from_ref(&path))?.pop();
    Ok(json!({
        "words": words,
        "folder": path.display().to_string(),
        "page": shown.and_then(|run| meshsim_page::explored(&run).ok()),
        "parted": changed,
        "otherwise": otherwise,
    }))
}

/// `runs/shop-11-fork-1`, beside the run.
fn free(folder: &Path) -> Result<PathBuf, Refused> {
    let name = folder.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
    let mut all = (1..FORKS_MAX).map(|number| folder.with_file_name(format!("{name}-fork-{number}")));
    all.find(|path| path.symlink_metadata().is_err())
        .ok_or_else(|| Refused::new(409, "there are too many forks of this run", "remove some of their folders"))
}

fn run(experiment: &Experiment, path: &Path) -> Result<(), Error> {
    let folder = RunDir::create(path.to_owned(), &[])?;
    let header = meshsim_run::trace_header(experiment, &experiment.mesh);
    let tracer = Tracer::new(folder.begin(TRACE)?, &header, Keep::ALL);
    let mut simulation = Simulation::recorded(experiment, tracer).map_err(Error::Network)?;
    let outcome = simulation.finish(&mut Watch);
    if outcome.cut_short {
        return Err(Error::Study("Ctrl-C ended it before it was complete".into()));
    }
    simulation.into_recorder().finish().map_err(|error| Error::WriteTrace(path.join(TRACE), error))?;
    output::keep(experiment, folder, outcome)
}

/// Outcome of each request.
fn ends(source: &Source) -> Result<BTreeMap<u64, Option<meshsim_mesh::measure::Failure>>, Error> {
    let mut ends = BTreeMap::new();
    source.each(|item| {
        if let (Some(ended), Some(owner)) = (item.ended, item.owner) {
            ends.insert(owner.root, ended.failure);
        }
        ControlFlow::Continue(())
    })?;
    Ok(ends)
}

/// The run that is explored, and the fork.
const HERE: &str = "here";
const THERE: &str = "there";

/// Which of two records that are not the same is the one that the other run does not have then: what the network did to
/// a message, or else the earlier one.
fn odd<'a>(a: &'a Option<Item>, b: &'a Option<Item>) -> (Option<&'a Item>, &'static str) {
    let is_fate = |item: &Item| matches!(item.record.entry, Entry::Fate(..));
    match (a, b) {
        (Some(a), Some(b)) if is_fate(b) && !is_fate(a) || b.record.at < a.record.at => (Some(b), THERE),
        (None, b) => (b.as_ref(), THERE),
        (a, _) => (a.as_ref(), HERE),
    }
}

/// The first record that is not the same in both runs; `null` if there is none.
fn parted(here: &Source, there: &Source) -> Result<Value, Error> {
    let [mut first, mut second] = [here.flow()?, there.flow()?];
    let mut same = 0_u64;
    loop {
        let a = first.next().transpose().map_err(|error| Error::Trace(here.path.clone(), error))?;
        let b = second.next().transpose().map_err(|error| Error::Trace(there.path.clone(), error))?;
        match (a, b) {
            (None, None) => return Ok(Value::Null),
            (Some(a), Some(b)) if is_same(&a.record, &b.record) => same += 1,
            (a, b) => {
                let (item, side) = odd(&a, &b);
                let Some(item) = item else { return Ok(Value::Null) };
                let source = if side == HERE { here } else { there };
                return Ok(json!({
                    "same": same,
                    "at_ns": item.record.at.nanos(),
                    "side": side,
                    "link": Link::new(item, &source.names),
                    // Of a message that was sent in both.
                    "message": item.sent().map(|sent| sent.seq).filter(|seq| *seq < same),
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_the_page_writes_it() {
        let read = |text: &str| serde_json::from_str::<Change>(text).map(|change| format!("{change:?}"));
        assert_eq!(read(r#"{"act":"drop","record":7}"#).unwrap(), "Drop { record: 7 }");
        assert_eq!(read(r#"{"act":"nothing"}"#).unwrap(), "Nothing");
        assert!(read(r#"{"act":"drop"}"#).is_err() && read(r#"{"act":"burn"}"#).is_err());
    }
}
