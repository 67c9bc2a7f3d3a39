//! `meshsim trace actor`: state and knowledge of an actor at a time, beside the true state.

use std::collections::BTreeMap;
use std::path::PathBuf;

use meshsim_actor::{ActorId, EntryRef, MachineAction, Recorder, Span, Time};
use meshsim_experiment::{Experiment, duration, nearest};
use meshsim_mesh::MeshActor;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::model::{COORDINATOR, ServiceId};
use meshsim_mesh::view::InstanceView;
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{count, number, plural};
use meshsim_run::Simulation;
use meshsim_trace::{Entry, ReadError, ReadErrorKind, Reader, Record};
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::flow::Source;
use crate::flow::line::cut;
use crate::flow::place::Place;
use crate::flow::replayed::{Replayed, Then};
use crate::flow::stream::Known;
use crate::flow::words::Names;
use crate::output::PROCESSES;
use crate::screen::{Screen, width};
use crate::{read, runs};

pub(super) const ABOUT: &str = "Show the state and knowledge of an actor at a time, beside the true state";

pub(super) const HELP: &str = "\
Examples:
  meshsim trace actor last coordinator --at 82.5s
  meshsim trace actor runs/shop-1 a-0 --at 81s

A simulated run is simulated again up to that time, so it needs no trace. Of a live run the trace is replayed: fresh actors \
take in what it says. Numbers of records are those of its trace.";

/// Timers and messages that are shown; the others are counted.
const LINES_MAX: usize = 12;
/// Instances that are shown.
const INSTANCES_MAX: usize = 40;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`
    run: PathBuf,
    /// A node, a load, or `coordinator`
    actor: String,
    /// Time: `82.5s`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Time,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<Time, String> {
    let span = duration(text).map_err(|error| format!("{}: {}", error.message, error.help))?;
    Ok(Time::ZERO + span)
}

/// An actor at a time.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Shown {
    actor: String,
    at_ns: u64,
    /// Number of earlier reboots.
    incarnation: u32,
    /// Its machine is down since then.
    down_since_ns: Option<u64>,
    /// Records of the run up to that time.
    records: u64,
    /// Record up to which its state is known, if that ends earlier: it then took in a message whose sending is not in
    /// the trace, because the process of the sender was killed.
    known_until: Option<u64>,
    /// Requests that it has sent and that have no reply, or that it works on or has waiting.
    requests_in_flight: Option<usize>,
    /// Steps that it has decided (the coordinator) or applied (a node), and how many were decided.
    steps: Option<(u64, u64)>,
    /// The view that it has, and the coordinator's latest.
    view: (u64, u64),
    /// By service.
    services: Vec<Service>,
    /// Of a node, what it runs.
    instances: Vec<Instance>,
    /// State of the nodes as the coordinator sees them, if it is the actor.
    nodes: Vec<Node>,
    timers: Vec<Line>,
    /// Messages on their way to it.
    coming: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Service {
    service: String,
    /// Instances that are ready, as it thinks.
    thinks: u64,
    /// Instances that are ready.
    ready: u64,
    /// Instances that are wanted.
    wanted: u32,
    /// Of these, ready on the node that it is.
    here: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Node {
    node: String,
    thinks: &'static str,
    is_up: bool,
    /// The last step that the node has applied.
    applied: u64,
}

/// An instance that runs on the node.
#[derive(Debug, Serialize)]
struct Instance {
    service: String,
    /// Its number on the node.
    ordinal: u32,
    version: u32,
    /// `starting`, `ready`, `draining` or `closing`.
    state: &'static str,
    /// Slots in use, and all of them.
    slots: (u32, u32),
    /// Requests that wait for one.
    waiting: usize,
}

/// A timer, or a message.
#[derive(Debug, Serialize)]
struct Line {
    record: u64,
    /// Due time; of a message, the time of its send.
    at_ns: u64,
    what: String,
}

/// Follows a run as a trace would: armed timers, messages in flight, machines that are down.
#[derive(Clone, Default)]
pub(in crate::command) struct Watcher {
    known: Known,
    records: u64,
    down: BTreeMap<ActorId, Time>,
    incarnations: BTreeMap<ActorId, u32>,
}

impl Watcher {
    /// Takes in the next record.
    fn take(&mut self, record: Record<Msg, Tick>) {
        let (at, actor) = (record.at, record.actor);
        match &record.entry {
            Entry::Power(MachineAction::Crash | MachineAction::Wipe) => _ = self.down.entry(actor).or_insert(at),
            Entry::Power(MachineAction::Restart) => _ = self.down.remove(&actor),
            Entry::Start { incarnation } => {
                // In another process it begins without a restart of its machine.
                self.down.remove(&actor);
                self.incarnations.insert(actor, *incarnation);
            }
            _ => {}
        }
        self.records = record.seq + 1;
        let _ = self.known.take(record);
    }
}

impl Recorder<Msg, Tick> for Watcher {
    fn record(&mut self, at: Time, actor: ActorId, what: EntryRef<'_, Msg, Tick>) {
        self.take(Record { seq: self.records, at, actor, entry: Entry::from(what) });
    }
}

/// The replay of a live run up to a moment: the trace has all that its actors took in.
pub(in crate::command) struct Replaying {
    reader: Reader<Place, Msg, Tick>,
    replayed: Replayed,
    watcher: Watcher,
    now: Time,
    /// The next record, which is later.
    next: Option<Record<Msg, Tick>>,
}

impl Replaying {
    pub(in crate::command) fn new(experiment: &Experiment, source: &Source) -> Result<Self, Error> {
        if let Some(part) = source.what_is_kept()? {
            return Err(Error::WrongInput(part, "only a whole trace has all that an actor took in".into()));
        }
        let (reader, replayed) = (source.reader()?, Replayed::new(experiment, &source.header));
        Ok(Replaying { reader, replayed, watcher: Watcher::default(), now: Time::ZERO, next: None })
    }

    /// Moment that it has reached.
    pub(in crate::command) fn now(&self) -> Time {
        self.now
    }

    /// Goes on to a moment, which is not earlier.
    pub(in crate::command) fn to(&mut self, at: Time, source: &Source) -> Result<(), Error> {
        self.now = at;
        loop {
            let record =
                match self.next.take().map_or_else(|| self.reader.next().transpose(), |record| Ok(Some(record))) {
                    Ok(Some(record)) => record,
                    Ok(None) => return Ok(()),
                    // More may come behind it.
                    Err(ReadError { trouble: ReadErrorKind::CutOff, .. }) => {
                        return self.reader.go_on().map_err(|error| Error::Trace(source.path.clone(), error));
                    }
                    Err(error) => return Err(Error::Trace(source.path.clone(), error)),
                };
            if record.at > at {
                self.next = Some(record);
                return Ok(());
            }
            self.watcher.take(record.clone());
            self.replayed.replay.take(record).map_err(|parted| {
                let actor = source.names.actor(parted.actor);
                let why = format!("from record {} on {actor} does something else than the trace says", parted.record);
                Error::WrongInput(why, format!("`meshsim replay {}` shows the difference", source.label))
            })?;
        }
    }

    /// An actor there.
    pub(in crate::command) fn shown(&self, experiment: &Experiment, id: ActorId) -> Shown {
        let stopped = self.replayed.replay.report().stopped.iter().rev().find(|it| it.actor == id);
        let known_until = stopped.map(|it| it.record);
        Shown { known_until, ..Shown::new(experiment, &self.replayed.then(self.now), &self.watcher, id) }
    }
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let folder = runs::find(&self.run);
        let summary = read::summary(&folder)?;
        if self.at.secs() > summary.reached_s {
            let why = format!("{} is after the end of the run", self.at);
            return Err(Error::WrongInput(why, format!("it ran from 0s to {}s", number(summary.reached_s))));
        }
        let experiment = read::experiment(&folder, None)?;
        let mesh = &experiment.mesh;
        let actors: Vec<&str> = (0..mesh.actor_count()).map(|index| mesh.actor_name(ActorId(index as u32))).collect();
        let Some(actor) = actors.iter().position(|name| *name == self.actor) else {
            let near = nearest(&self.actor, actors.iter().copied());
            let help = near.map_or_else(
                || format!("it has {}: {}", plural(actors.len() as u64, "actor"), some(&actors)),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Error::WrongInput(format!("unknown actor `{}`", self.actor), help));
        };
        let id = ActorId(actor as u32);
        let shown = if folder.join(PROCESSES).exists() {
            let source = Source::traced(&folder)?;
            let mut replaying = Replaying::new(&experiment, &source)?;
            replaying.to(self.at, &source)?;
            replaying.shown(&experiment, id)
        } else {
            let mut simulation = Simulation::recorded(&experiment, Watcher::default()).map_err(Error::Network)?;
            simulation.to(self.at);
            Shown::new(&experiment, &(&simulation).into(), simulation.recorder(), id)
        };
        match self.json {
            true => screen.print_json(&shown)?,
            false => screen.print(&text(&shown, screen.paint()))?,
        }
        Ok(Exit::Success)
    }
}

fn some(names: &[&str]) -> String {
    const SOME: usize = 12;
    let more = if names.len() > SOME { ", .." } else { "" };
    format!("{}{more}", names[..names.len().min(SOME)].join(", "))
}

impl Shown {
    /// An actor of a run at a moment, up to which `watcher` has watched.
    pub(in crate::command) fn new(experiment: &Experiment, then: &Then<'_>, watcher: &Watcher, id: ActorId) -> Self {
        let (mesh, actor) = (then.mesh, then.actors[id.index()]);
        let names = Names::new(&meshsim_run::trace_header(experiment, mesh), Some(experiment));
        let coordinator = then.actors[COORDINATOR.index()].coordinator();
        let coordinator = coordinator.unwrap_or_else(|| unreachable!("the first actor of a mesh is its coordinator"));
        let view = view(actor).unwrap_or(coordinator.view());
        let node = |index: usize| then.actors[mesh.node_actor(index).index()].node();
        let is_up = |index: usize| !watcher.down.contains_key(&mesh.node_actor(index));
        let service = |index: usize| {
            let id = ServiceId(index as u16);
            // The coordinator uses the last reports of the nodes, all others their view.
            let thinks = match actor {
                MeshActor::Coordinator(coordinator) => u64::from(coordinator.ready(id)),
                _ => {
                    let canary = view.split(id).map_or(0, |split| split.instances.len());
                    (view.services.get(index).map_or(0, |instances| instances.len()) + canary) as u64
                }
            };
            let ready =
                (0..mesh.nodes.len()).filter(|at| is_up(*at)).filter_map(node).map(|node| u64::from(node.ready(id)));
            Service {
                service: mesh.services[index].name.clone(),
                thinks,
                ready: ready.sum(),
                wanted: coordinator.wanted(id).running(),
                here: actor.node().map(|node| node.ready(id)),
            }
        };
        let of_node = |index: usize| Node {
            node: mesh.nodes[index].name.clone(),
            thinks: coordinator.presence(index).as_str(),
            is_up: is_up(index),
            applied: node(index).map_or(0, |node| node.state().applied),
        };
        let mut timers: Vec<Line> = (watcher.known.deriver.armed(id))
            .map(|armed| Line { record: armed.seq, at_ns: armed.due.nanos(), what: names.tick(&armed.tick) })
            .collect();
        timers.sort_by_key(|timer| (timer.at_ns, timer.record));
        let coming =
            (watcher.known.deriver.in_flight()).filter(|(_, sent)| sent.to == id).map(|(message, sent)| Line {
                record: sent.seq,
                at_ns: sent.at.nanos(),
                what: format!("{} from {}", names.message(&sent.about), names.actor(message.from)),
            });
        let mut coming: Vec<Line> = coming.collect();
        coming.sort_by_key(|message| message.record);
        let down = watcher.down.get(&id);
        if down.is_some() {
            // They were lost with its memory.
            timers.clear();
        }
        Shown {
            actor: names.actor(id).to_owned(),
            at_ns: then.now.nanos(),
            incarnation: watcher.incarnations.get(&id).copied().unwrap_or(0),
            down_since_ns: down.map(|at| at.nanos()),
            records: watcher.records,
            known_until: None,
            requests_in_flight: match actor {
                MeshActor::Node(node) => Some(node.in_flight()),
                MeshActor::Client(client) => Some(client.in_flight()),
                _ => None,
            },
            steps: match actor {
                MeshActor::Coordinator(coordinator) => Some((coordinator.steps(), coordinator.steps())),
                MeshActor::Node(node) => Some((node.state().applied, coordinator.steps())),
                _ => None,
            },
            view: (view.version, coordinator.view().version),
            services: (0..mesh.services.len()).map(service).collect(),
            instances: actor.node().map_or_else(Vec::new, |node| instances(node, &names)),
            nodes: if id == COORDINATOR { (0..mesh.nodes.len()).map(of_node).collect() } else { Vec::new() },
            timers,
            coming,
        }
    }
}

/// Instances of a node.
fn instances(node: &meshsim_mesh::node::Node, names: &Names) -> Vec<Instance> {
    let of = |it: meshsim_mesh::node::hosting::InstanceNow| Instance {
        service: names.service(it.service).to_owned(),
        ordinal: it.ordinal,
        version: it.version,
        state: it.state,
        slots: (it.active, it.slots),
        waiting: it.waiting,
    };
    node.instances().into_iter().map(of).collect()
}

/// Instance view of an actor.
fn view(actor: &MeshActor) -> Option<&InstanceView> {
    match actor {
        MeshActor::Coordinator(coordinator) => Some(coordinator.view()),
        MeshActor::Node(node) => Some(node.view()),
        MeshActor::Client(client) => Some(client.view()),
        MeshActor::Autoscaler(_) | MeshActor::Gateway(_) => None,
    }
}

fn text(shown: &Shown, paint: Paint) -> String {
    let secs = |ns: u64| format!("{:.6}s", ns as f64 / 1e9);
    let mut text = format!("{} at {}", paint.on(Style::Bold, &shown.actor), secs(shown.at_ns));
    if shown.incarnation > 0 {
        text += &format!(", restarted {}", plural(u64::from(shown.incarnation), "time"));
    }
    if let Some(since) = shown.down_since_ns {
        text += &format!(", {}", paint.on(Style::Bad, &format!("down since {}", secs(since))));
    }
    text += &format!(", after {}\n", plural(shown.records, "record"));
    if let Some(record) = shown.known_until {
        let why = "the process that sent what it took in there was killed before it wrote that down";
        text += &format!("  {}\n", paint.on(Style::Warn, &format!("as it was before record {}: {why}", count(record))));
    }
    if let Some((has, decided)) = shown.steps {
        text += &match shown.nodes.is_empty() {
            true => format!("  applied steps  {} of {} that were decided\n", count(has), count(decided)),
            false => format!("  decided steps  {}\n", count(has)),
        };
    }
    let (has, latest) = shown.view;
    text += &format!("  view           {}", count(has));
    text += &if has == latest { "\n".into() } else { format!(", the coordinator's is {}\n", count(latest)) };
    if let Some(requests) = shown.requests_in_flight {
        text += &format!("  requests       {} in flight\n", count(requests as u64));
    }
    let mut table = Table::new(["<service", "it thinks", "ready", "desired", "ready here"]);
    for service in &shown.services {
        let style = if service.thinks == service.ready { Style::Plain } else { Style::Warn };
        table.row([
            TableCell::from(cut(&service.service, 40)),
            TableCell::new(count(service.thinks), style),
            count(service.ready).into(),
            count(u64::from(service.wanted)).into(),
            service.here.map_or_else(|| "".into(), |here| TableCell::from(count(u64::from(here)))),
        ]);
    }
    text += &format!("\n{}", table.without_empty_columns(&[]).render(paint));
    let mut hosts = Table::new(["<instance", "<is", "version", "slots in use", "waiting"]);
    for it in shown.instances.iter().take(INSTANCES_MAX) {
        let (active, slots) = it.slots;
        let style = if active >= slots && it.waiting > 0 { Style::Warn } else { Style::Plain };
        hosts.row([
            TableCell::from(cut(&format!("{}#{}", it.service, it.ordinal), 40)),
            it.state.into(),
            count(u64::from(it.version)).into(),
            TableCell::new(format!("{active} of {slots}"), style),
            TableCell::new(count(it.waiting as u64), style),
        ]);
    }
    if !shown.instances.is_empty() {
        text += &format!("\n{}", hosts.render(paint));
    }
    if shown.instances.len() > INSTANCES_MAX {
        text += &format!("  and {} more\n", count((shown.instances.len() - INSTANCES_MAX) as u64));
    }
    let mut nodes = Table::new(["<node", "<it thinks", "<is", "applied step"]);
    for node in &shown.nodes {
        let is = if node.is_up { "up" } else { "down" };
        let style = if (node.thinks == "dead") == node.is_up { Style::Warn } else { Style::Plain };
        nodes.row([
            TableCell::from(cut(&node.node, 40)),
            TableCell::new(node.thinks, style),
            TableCell::new(is, style),
            count(node.applied).into(),
        ]);
    }
    if !shown.nodes.is_empty() {
        text += &format!("\n{}", nodes.render(paint));
    }
    text += &lines(
        "Timers",
        &shown.timers,
        |line| format!("in {}", Span::from_nanos(line.at_ns.saturating_sub(shown.at_ns))),
        paint,
    );
    let ago = |line: &Line| format!("sent {} ago", Span::from_nanos(shown.at_ns - line.at_ns));
    text += &lines("On the way to it", &shown.coming, ago, paint);
    text
}

fn lines(heading: &str, lines: &[Line], when: impl Fn(&Line) -> String, paint: Paint) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", paint.on(Style::Bold, heading));
    for line in lines.iter().take(LINES_MAX) {
        text += &format!("{}\n", cut(&format!("  {:>8}  {:16} {}", line.record, when(line), line.what), width()));
    }
    if lines.len() > LINES_MAX {
        text += &format!("  and {} more\n", count((lines.len() - LINES_MAX) as u64));
    }
    text
}
