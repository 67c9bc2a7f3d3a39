//! Queries of the page, and their responses: JSON from the index, and from the trace for data that the index lacks.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use meshsim_actor::{ActorId, Time};
use meshsim_mesh::Mesh;
use meshsim_page::Run;
use meshsim_trace::Index as Chunks;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::trace::actor::{Replaying, Shown};
use super::super::trace::operation;
use super::again::Again;
use super::growth::Growth;
use super::overview::Overview;
use super::pages::Pages;
use super::told::Told;
use super::trail::Trail;
use crate::error::Error;
use crate::flow::follow::Following;
use crate::flow::{Selection, Source};
use crate::output::{PROCESSES, TRACE};
use crate::read;
use crate::runs::EXPERIMENT;

/// Limit of the messages that a filter returns one by one.
const MATCHES_MAX: usize = 20_000;
/// Steps of a matrix.
const STEPS_MAX: usize = 60;
/// Answers about requests and steps that are kept.
const KEPT_MAX: usize = 64;
/// A trace that is read within this time is shown when it has been read; of a longer one, the page shows what is known.
const READ_FIRST: Duration = Duration::from_secs(1);

/// A run, open to be looked at.
pub(super) struct Explorer {
    pub(super) name: String,
    folder: PathBuf,
    mesh: Mesh,
    /// True if it is not simulated, or not to its end.
    is_live: bool,
    pub(super) source: Arc<Source>,
    pub(super) pages: Pages,
    pub(super) overview: Arc<Overview>,
    now: Arc<Mutex<Arc<Now>>>,
    /// Latest response of each query.
    kept: Mutex<BTreeMap<String, Value>>,
    again: Again,
    /// The replay of a live run, up to the moment that was asked for last.
    replaying: Mutex<Option<Replaying>>,
    /// Ends the reading of the trace.
    is_over: Arc<AtomicBool>,
}

/// The run, as far as it is known.
pub(super) struct Now {
    /// The chunks of its trace.
    pub(super) chunks: Chunks,
    pub(super) run: Run,
    /// True if it is being written.
    pub(super) goes_on: bool,
}

/// The findings that a thread that reads on hands to the explorer.
pub(super) struct Known {
    pub(super) overview: Arc<Overview>,
    now: Arc<Mutex<Arc<Now>>>,
}

impl Known {
    pub(super) fn set(&self, now: Now) {
        *locked(&self.now) = Arc::new(now);
    }
}

impl Drop for Explorer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Why there is no answer.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    #[serde(skip)]
    pub(super) status: u16,
    message: String,
    help: String,
    /// Position in the expression, in bytes.
    place: Option<(usize, usize)>,
    /// Suggestion.
    label: Option<String>,
}

impl Refused {
    pub(super) fn new(status: u16, message: impl Into<String>, help: impl Into<String>) -> Self {
        Refused { status, message: message.into(), help: help.into(), place: None, label: None }
    }
}

impl Refused {
    /// For a command line.
    pub(super) fn into_error(self) -> Error {
        Error::WrongInput(self.message, self.help)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match &error {
            Error::Filter(wrong) => {
                let (message, place, label, help) = wrong.parts();
                let place = Some((place.start, place.end));
                Refused { place, label: label.map(str::to_owned), ..Refused::new(400, message, help) }
            }
            Error::WrongInput(why, help) => Refused::new(400, why.clone(), help.clone()),
            other => {
                let source = std::error::Error::source(other).map_or_else(String::new, ToString::to_string);
                Refused::new(500, other.to_string(), source)
            }
        }
    }
}

/// The parameters of a question, by name.
pub(super) struct Asked(pub(super) BTreeMap<String, String>);

impl Asked {
    pub(super) fn word(&self, name: &str) -> Result<&str, Refused> {
        let word = self.0.get(name).map(String::as_str);
        word.ok_or_else(|| Refused::new(400, format!("`{name}` is missing"), "the page asks with it"))
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Refused> {
        let number = self.word(name)?.parse().ok();
        number.ok_or_else(|| Refused::new(400, format!("`{name}` is not a whole number"), "write one from 0 on"))
    }

    pub(super) fn extent(&self) -> Result<(u64, u64), Refused> {
        let (from, to) = (self.number("from")?, self.number("to")?);
        match from <= to {
            true => Ok((from, to)),
            false => Err(Refused::new(400, "`to` is before `from`", "an extent begins before it ends")),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Explorer {
    /// Opens a run. Its trace is read in a thread of its own, while questions are answered.
    pub(super) fn open(source: Source) -> Result<Self, Error> {
        let mesh = source.mesh()?.clone();
        let path = source.path.clone();
        let folder = path.parent().filter(|_| path.file_name() == Some(TRACE.as_ref())).map(Path::to_owned);
        let Some(folder) = folder.filter(|_| source.summary.is_some()) else {
            let why = format!("{} is not the folder of a run", source.label);
            return Err(Error::WrongInput(
                why,
                "give the folder that `meshsim run` wrote, as in `runs/shop-11`".into(),
            ));
        };
        let mut runs = read::runs(std::slice::from_ref(&folder))?;
        let Some(run) = runs.pop() else { unreachable!("one folder was read") };
        let now = Now { chunks: source.index()?, run, goes_on: false };
        let is_live = folder.join(PROCESSES).exists();
        let explorer = Explorer::new(folder, is_live, mesh, Arc::new(source), now);
        let (source, now, overview, is_over) =
            (explorer.source.clone(), explorer.now(), explorer.overview.clone(), explorer.is_over.clone());
        thread::spawn(move || overview.read(&source, &now.chunks, || is_over.load(Ordering::Relaxed)));
        explorer.overview.wait(READ_FIRST);
        Ok(explorer)
    }

    /// Follows a run that is being written.
    pub(super) fn follow(following: Following) -> Result<Self, Error> {
        let Some(experiment) = following.experiment() else {
            let why = format!("the experiment of {} is not beside its trace", following.label);
            return Err(Error::WrongInput(why, format!("a run that can be followed has its `{EXPERIMENT}`")));
        };
        let mesh = experiment.mesh.clone();
        let growth = Growth::new(following, experiment)?;
        let explorer = Explorer::new(growth.folder(), true, mesh, growth.source().clone(), growth.now(true)?);
        let known = Known { overview: explorer.overview.clone(), now: explorer.now.clone() };
        let is_over = explorer.is_over.clone();
        growth.follow(known, move || is_over.load(Ordering::Relaxed));
        Ok(explorer)
    }

    fn new(folder: PathBuf, is_live: bool, mesh: Mesh, source: Arc<Source>, now: Now) -> Self {
        let Now { run, .. } = &now;
        let end = Time::from_nanos((run.summary.reached_s * 1e9) as u64);
        Explorer {
            name: run.summary.name.clone(),
            is_live,
            folder,
            again: Again::new(run.experiment.clone(), source.clone(), end),
            mesh,
            source,
            pages: Pages::default(),
            overview: Arc::default(),
            kept: Mutex::default(),
            now: Arc::new(Mutex::new(Arc::new(now))),
            replaying: Mutex::default(),
            is_over: Arc::default(),
        }
    }

    /// The run, as far as it is known now.
    pub(super) fn now(&self) -> Arc<Now> {
        locked(&self.now).clone()
    }

    /// Waits until all of the trace was read.
    pub(super) fn wait(&self) {
        self.overview.wait(Duration::MAX);
    }

    /// Resource at a path.
    pub(super) fn answer(&self, path: &str, asked: &Asked) -> Result<Value, Refused> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "run"] => Ok(self.whole()),
            ["api", "messages"] => self.extent(asked.extent()?, asked.0.get("request").map(String::as_str)),
            ["tile", level, number] => self.tile(level, number),
            ["api", "record"] => self.record(asked.number("n")?),
            ["api", "requests"] => Ok(self.requests(asked.extent()?)),
            ["api", "request"] => self.request(asked.word("name")?),
            ["api", "steps"] => self.steps(asked.extent()?),
            ["api", "actor"] => self.actor_at(asked),
            ["api", "find"] => self.find(asked.word("q")?),
            _ => Err(Refused::new(404, "there is nothing here", "the page is at /")),
        }
    }

    /// The run as a whole.
    pub(super) fn whole(&self) -> Value {
        let actors = self.source.names.actors();
        let actor = |(id, name): (u32, &String)| {
            let id = ActorId(id);
            let is_node = self.mesh.node_index(id).is_some();
            let kind = match id.0 {
                0 => "coordinator",
                _ if is_node => "node",
                _ if self.mesh.load_index(id).is_some() => "load",
                _ => "gateway",
            };
            let zone = is_node.then(|| self.mesh.zones.get(usize::from(self.mesh.actor_zone(id)))).flatten();
            json!({ "name": name, "kind": kind, "zone": zone })
        };
        let requests = self.requests((0, u64::MAX));
        let (now, facts) = (self.now(), self.overview.facts());
        let down = facts.down.iter().map(|(actor, from, to)| (actor.0, from.nanos(), to.map(Time::nanos)));
        let operation = |it: &meshsim_report::OperationSummary| {
            let steps: Vec<f64> = it.steps.iter().map(|step| step.decided_s).collect();
            json!({ "name": operation::name(it), "began_s": it.began_s, "steps_s": steps })
        };
        json!({
            "name": self.name,
            "page": meshsim_page::explored(&now.run).unwrap_or_default(),
            "records": now.chunks.records(),
            "read": facts.records,
            "is_read": facts.is_whole,
            "messages": facts.messages,
            "goes_on": now.goes_on,
            "last_ns": now.chunks.end().max(facts.last).nanos(),
            "trouble": facts.trouble,
            "is_live": self.is_live,
            "actors": (0..).zip(actors).map(actor).collect::<Vec<_>>(),
            "down": down.collect::<Vec<_>>(),
            "operations": now.run.summary.operations.iter().map(operation).collect::<Vec<_>>(),
            "requests": requests,
            "reasons": meshsim_actor::LossReason::ALL.map(meshsim_actor::LossReason::as_str),
            "columns": super::extent::TILE_COLUMNS,
        })
    }

    fn record(&self, record: u64) -> Result<Value, Refused> {
        let mut told = self.records(&[record])?;
        let told = told.remove(&record).ok_or_else(|| {
            let last = self.now().chunks.records().saturating_sub(1);
            Refused::new(404, format!("there is no record {record}"), format!("the trace has records 0 to {last}"))
        })?;
        serde_json::to_value(told).map_err(|error| Refused::new(500, error.to_string(), ""))
    }

    /// All about these records that are in the trace.
    pub(super) fn records(&self, records: &[u64]) -> Result<BTreeMap<u64, Told>, Error> {
        Told::read(records, &self.trail(), &self.source)
    }

    /// The records of the trace, part by part.
    pub(super) fn trail(&self) -> Trail<'_> {
        Trail { pages: &self.pages, now: self.now(), source: &self.source, overview: &self.overview }
    }

    /// Steps of the operations that were in progress, or that came before: those that began together.
    pub(super) fn steps(&self, (from, to): (u64, u64)) -> Result<Value, Refused> {
        let now = self.now();
        let all = &now.run.summary.operations;
        let ns = |s: f64| (s * 1e9) as u64;
        let is_in = |it: &&meshsim_report::OperationSummary| {
            it.steps.iter().any(|step| (from..=to).contains(&ns(step.decided_s)))
        };
        let before = all.iter().rev().find(|it| ns(it.began_s) <= to);
        let Some(chosen) = all.iter().find(is_in).or(before).or(all.first()) else { return Ok(Value::Null) };
        let together: Vec<usize> = (0..all.len())
            .filter(|at| all[*at].kind == chosen.kind && (all[*at].began_s - chosen.began_s).abs() < 0.5)
            .collect();
        self.kept(&format!("steps {together:?}"), || {
            let of: Vec<&meshsim_report::OperationSummary> = together.iter().map(|at| &all[*at]).collect();
            let mut steps: Vec<(u64, &str)> =
                of.iter().flat_map(|it| it.steps.iter().map(|step| (step.n, it.service.as_str()))).collect();
            steps.sort_unstable();
            let left_out = steps.len().saturating_sub(STEPS_MAX);
            steps.truncate(STEPS_MAX);
            let numbers: Vec<u64> = steps.iter().map(|(n, _)| *n).collect();
            let gathered = operation::gather(&self.source, &numbers, &self.steps_window(&of))?;
            let title = match of.as_slice() {
                [only] => operation::name(only),
                many => format!("{} of {} services", chosen.kind.as_str(), many.len()),
            };
            Ok(json!({
                "title": title,
                "began_s": chosen.began_s,
                "services": steps.iter().map(|(n, service)| (n.to_string(), json!(service))).collect::<serde_json::Map<_, _>>(),
                "steps": gathered,
                "left_out": left_out,
            }))
        })
    }

    /// The stretch of the trace in which steps of operations were decided, sent and acknowledged.
    fn steps_window(&self, of: &[&meshsim_report::OperationSummary]) -> operation::Window {
        let steps = || of.iter().flat_map(|it| &it.steps);
        let ns = |s: f64| (s * 1e9) as u64;
        let from = steps().map(|step| ns(step.decided_s)).min().unwrap_or(0);
        let settled = |step: &meshsim_report::StepSummary| {
            step.settle_time_ns.map(|span| ns(step.decided_s).saturating_add(span))
        };
        let to = steps().map(settled).try_fold(0, |latest, at| Some(at?.max(latest)));
        let facts = self.overview.facts();
        let was_down = facts
            .down
            .iter()
            .filter(|(_, since, until)| since.nanos() < from && until.is_none_or(|until| until.nanos() >= from));
        operation::Window { from, to, down: was_down.map(|(actor, since, _)| (*actor, *since)).collect() }
    }

    fn actor_at(&self, asked: &Asked) -> Result<Value, Refused> {
        let (actor, at) = (asked.number("actor")?, Time::from_nanos(asked.number("at")?));
        if actor as usize >= self.mesh.actor_count() {
            return Err(Refused::new(404, "there is no such actor", "actors have the numbers of the run"));
        }
        let id = ActorId(actor as u32);
        let experiment = &self.now().run.experiment;
        let shown = match self.is_live {
            false => self.again.at(at, |run| Shown::new(experiment, &run.into(), &run.recorder().watcher, id))?,
            true => {
                let mut replaying = locked(&self.replaying);
                let fits = replaying.take().filter(|it| it.now() <= at);
                let it = replaying.insert(fits.map_or_else(|| Replaying::new(experiment, &self.source), Ok)?);
                it.to(at, &self.source)?;
                it.shown(experiment, id)
            }
        };
        serde_json::to_value(shown).map_err(|error| Refused::new(500, error.to_string(), ""))
    }

    /// Messages that an expression selects, and the number of records.
    fn find(&self, text: &str) -> Result<Value, Refused> {
        self.kept(&format!("find {text}"), || {
            let source = &self.source;
            let selector = Selection::of_expression(text).resolve(source)?;
            let (mut records, mut found) = (0_u64, BTreeMap::new());
            let mut left_out = 0_u64;
            source.each_of(
                |chunk| selector.may_hold(chunk, &source.names),
                |item| {
                    if selector.wants(item, &source.names) {
                        records += 1;
                        // A record without a message is found by its own number.
                        let (seq, at) =
                            item.sent().map_or((item.record.seq, item.record.at), |sent| (sent.seq, sent.at));
                        if found.len() < MATCHES_MAX {
                            found.entry(seq).or_insert((at.nanos(), item.sent().is_some()));
                        } else {
                            left_out += u64::from(!found.contains_key(&seq));
                        }
                    }
                    ControlFlow::Continue(())
                },
            )?;
            let of = |(seq, (at, is_message)): (&u64, &(u64, bool))| (*seq, *at, *is_message);
            let found: Vec<(u64, u64, bool)> = found.iter().map(of).collect();
            Ok(json!({ "records": records, "left_out": left_out, "found": found }))
        })
    }

    /// The answer to a question that was asked before, or a new one.
    pub(super) fn kept(
        &self,
        question: &str,
        answer: impl FnOnce() -> Result<Value, Refused>,
    ) -> Result<Value, Refused> {
        // Of a run that goes on there are other answers later.
        let question = &format!("{question} {}", self.now().chunks.records());
        if let Some(kept) = locked(&self.kept).get(question) {
            return Ok(kept.clone());
        }
        let answer = answer()?;
        let mut kept = locked(&self.kept);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(question.to_owned(), answer.clone());
        Ok(answer)
    }

    /// Moments of a run that has ended, of which [`prepare`](Self::prepare) is to know.
    pub(super) fn stops(&self) -> impl Iterator<Item = Time> + use<> {
        let is_again = !self.is_live && !self.now().goes_on;
        self.again.stops().take_while(move |_| is_again)
    }

    /// Runs it again up to a moment. Whoever looks at it is told if that cannot be done.
    pub(super) fn prepare(&self, at: Time) {
        let _ = self.again.at(at, |_| ());
    }

    /// The run again.
    pub(super) fn again(&self) -> &Again {
        &self.again
    }

    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    /// An actor's name.
    pub(super) fn actor(&self, actor: u32) -> String {
        self.source.names.actor(ActorId(actor)).to_owned()
    }

    pub(super) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}
