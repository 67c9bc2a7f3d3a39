//! Forks: the run repeated with one change, as a run in a folder of its own; and the first difference of the two.
//!
//! Every change is one of the experiment's file: a message that is lost is a fault of a nanosecond on its link. So a
//! fork is an experiment like any other, and `meshsim run` does the same from its file. Until the change the two runs
//! are the same, because a fault that does not hold draws nothing: so a fork goes on from a snapshot of the run before
//! it, with the trace up to there.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use meshsim_actor::{Counts, Time};
use meshsim_experiment::{Experiment, Override, load};
use meshsim_run::{Keep, Observer, Simulation, Tracer};
use meshsim_trace::{Entry, Index};
use serde_json::{Value, json};

use super::super::trace::why::Link;
use super::again::Turned;
use super::answers::{Explorer, Refused};
use super::change::{Change, Told};
use crate::error::Error;
use crate::flow::part::is_same;
use crate::flow::{Item, Source};
use crate::folder::RunDir;
use crate::output::{self, TRACE};
use crate::runs::EXPERIMENT;
use crate::{interrupt, read};

/// Forks of one run.
const FORKS_MAX: u32 = 10_000;

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
        let help = "`meshsim run` simulates its experiment.yaml; a simulated run is forked when it has ended";
        return Err(Refused::new(409, "a live run cannot be done again", help));
    }
    let Told { set, words, from } = change.told(explorer)?;
    let overrides = set.map(|set| Override::parse(&set)).transpose();
    let overrides = overrides.map_err(|error| Refused::new(400, error.to_string(), "as in `control.missed=1`"))?;
    let overrides: Vec<Override> = overrides.into_iter().collect();
    let experiment = load(&explorer.folder().join(EXPERIMENT), &overrides)
        .map_err(|problems| Refused::new(400, problems.to_string().trim().to_owned(), "paths are those of `--set`"))?;
    let path = free(explorer.folder())?;
    let turned = from.map(|from| explorer.again().turned(&experiment, from)).transpose()?.flatten();
    let same = turned.as_ref().map_or(Same::default(), |it| Same { until: Some(it.from()), bytes: it.trace_bytes() });
    run(&experiment, &path, turned)?;
    let other = Source::traced(&path)?;
    explorer.wait();
    let otherwise = otherwise(explorer, &other, same)?;
    let changed = parted(&explorer.source, &other, same)?;
    let shown = read::runs(std::slice::from_ref(&path))?.pop();
    Ok(json!({
        "words": words,
        "folder": path.display().to_string(),
        "page": shown.and_then(|run| meshsim_page::explored(&run).ok()),
        "from_ns": same.until.map(Time::nanos),
        "parted": changed,
        "otherwise": otherwise,
    }))
}

/// The part that a fork took over from its origin.
#[derive(Clone, Copy, Default)]
struct Same {
    /// Its last moment; `None`: it is empty.
    until: Option<Time>,
    /// Length of its trace in bytes.
    bytes: u64,
}

impl Same {
    /// The chunks of a trace behind it.
    fn rest(self, index: &Index) -> Range<usize> {
        // A chunk ends where the next one begins.
        let first = index.chunks.partition_point(|chunk| chunk.offset < self.bytes);
        let is_at_edge = index.chunks.get(first).is_some_and(|chunk| chunk.offset == self.bytes);
        (if is_at_edge { first } else { first.saturating_sub(1) })..index.chunks.len()
    }
}

/// `runs/shop-11-fork-1`, beside the run.
fn free(folder: &Path) -> Result<PathBuf, Refused> {
    let name = folder.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
    let mut all = (1..FORKS_MAX).map(|number| folder.with_file_name(format!("{name}-fork-{number}")));
    all.find(|path| path.symlink_metadata().is_err())
        .ok_or_else(|| Refused::new(409, "there are too many forks of this run", "remove some of their folders"))
}

fn run(experiment: &Experiment, path: &Path, turned: Option<Turned>) -> Result<(), Error> {
    let folder = RunDir::create(path.to_owned(), &[])?;
    let (file, cannot) = (folder.begin(TRACE)?, |error| Error::Write(path.join(TRACE), error));
    let mut simulation = match turned {
        Some(turned) => turned.traced(file).map_err(cannot)?,
        None => {
            let header = meshsim_run::trace_header(experiment, &experiment.mesh);
            let tracer = Tracer::new(file, &header, Keep::ALL);
            Simulation::recorded(experiment, tracer).map_err(Error::Network)?
        }
    };
    let outcome = simulation.finish(&mut Watch);
    if outcome.cut_short {
        return Err(Error::Study("Ctrl-C ended it before it was complete".into()));
    }
    simulation.into_recorder().finish().map_err(|error| Error::WriteTrace(path.join(TRACE), error))?;
    output::keep(experiment, folder, outcome)
}

/// Number of requests that ended otherwise in the fork.
fn otherwise(explorer: &Explorer, there: &Source, same: Same) -> Result<usize, Error> {
    let mut ends = BTreeMap::new();
    let index = there.index()?;
    for item in there.flow_within(&index, same.rest(&index))? {
        let item = item.map_err(|error| Error::Trace(there.path.clone(), error))?;
        if let (Some(ended), Some(owner)) = (item.ended, item.owner) {
            ends.insert(owner.root, ended.failure);
        }
    }
    let facts = explorer.overview.facts();
    let later = facts.requests.iter().filter(|it| same.until.is_none_or(|until| it.ended > until));
    Ok(later.filter(|it| ends.get(&it.root) != Some(&it.failure)).count())
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
fn parted(here: &Source, there: &Source, same: Same) -> Result<Value, Error> {
    let flow = |source: &Source| {
        let index = source.index()?;
        let rest = same.rest(&index);
        let first = index.chunks.get(rest.start).map_or(0, |chunk| chunk.first);
        Ok::<_, Error>((source.flow_within(&index, rest)?, first))
    };
    let ((mut first, mut same), (mut second, _)) = (flow(here)?, flow(there)?);
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
