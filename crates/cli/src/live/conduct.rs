//! The coordinator's process: waits for the others, lets the run happen, collects what was found.

use std::net::SocketAddr;
use std::sync::Arc;

use meshsim_actor::{ActorId, Span, Time};
use meshsim_experiment::{Experiment, fault_in_words};
use meshsim_fault::Fault;
use meshsim_mesh::Mesh;
use meshsim_net::{Credentials, Hub, HubOptions, Performance, Phase, ProcessReport, Snapshot, Work};
use meshsim_report::table::{Look, Paint, Table};
use meshsim_report::{ManualFault, Worked, count, span};
use meshsim_run::Outcome;
use serde_json::json;

use super::board::Board;
use super::cast::{Charter, cast, live_mesh, read_findings};
use super::cluster::listen;
use super::parts::Parts;
use crate::ending::{Ended, Output, header};
use crate::error::Error;
use crate::folder::Folder;
use crate::gateway::{Door, Gateway, Served};
use crate::headline::figures;
use crate::interrupt;
use crate::progress::Progress;

/// How a live run is conducted.
pub(crate) struct Conduct<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) folder: &'a Folder,
    pub(crate) output: &'a Output,
    pub(crate) credentials: Credentials,
    /// Where the other processes join.
    pub(crate) listen: SocketAddr,
    /// Where people do.
    pub(crate) door: Option<Door>,
    pub(crate) work: Work,
    /// It ends when somebody ends it.
    pub(crate) until_stopped: bool,
}

/// What the caller has to do with it while it goes on.
pub(crate) trait Attendant {
    /// Others can join now, there.
    fn opened(&mut self, joins: SocketAddr, gateway: Option<&Served>) -> Result<(), Error>;
    /// Some time has passed. True ends the run.
    fn look(&mut self, snapshot: &Snapshot) -> bool;
}

/// Conducts a run to its end.
pub(crate) fn conduct(conduct: Conduct<'_>, attendant: &mut impl Attendant) -> Result<Ended, Error> {
    let system = actix_web::rt::System::new();
    system.block_on(perform(conduct, attendant))
}

async fn perform(conduct: Conduct<'_>, attendant: &mut impl Attendant) -> Result<Ended, Error> {
    let Conduct { experiment, folder, output, credentials, listen: address, door, work, until_stopped } = conduct;
    let mesh = live_mesh(experiment);
    let end = Time::ZERO + experiment.duration;
    let parts = Parts::default();
    let board = Arc::new(Board::new(Arc::new(mesh.clone())));
    let (gateway, answers) = Gateway::new(experiment.clone(), board.clone());
    let options = HubOptions {
        listener: listen(address)?,
        credentials,
        work,
        is_traced: output.trace.is_some(),
        end: if until_stopped { Time::NEVER } else { end },
        here: vec![ActorId(0), mesh.gateway_actor()],
        charter: Charter::write(experiment)?,
        answers,
        traces: {
            let parts = parts.clone();
            Box::new(move |process, bytes| parts.append(process, bytes))
        },
        news: {
            let board = board.clone();
            Box::new(move |news| board.take(news))
        },
    };
    let hub = Hub::open(options, cast(experiment)?).map_err(|error| Error::Live(format!("cannot host: {error}")))?;
    let served = match door {
        Some(door) => Some(gateway.serve(door, hub.handle())?),
        None => None,
    };
    attendant.opened(hub.address(), served.as_ref())?;
    let progress = Progress::begin(if until_stopped { Span::ZERO } else { experiment.duration }, !output.no_progress);
    let mut line = Line::default();
    let performance = hub
        .perform(|snapshot| {
            progress.say(snapshot.now, line.of(snapshot, &board, &mesh));
            attendant.look(snapshot) | interrupt::asked()
        })
        .await;
    progress.end();
    if let Some(served) = served {
        served.stop().await;
    }
    let performance = performance.map_err(|error| Error::Live(error.to_string()))?;
    let has_trace = output.trace.is_some() && {
        // What was measured is worth keeping without it; that it is missing is said, and is a failure in the end.
        let merged = match performance.trace_errors.first() {
            Some(error) => Err(Error::Live(error.clone())),
            None => parts.merge_into(&header(experiment, &mesh), folder),
        };
        let why =
            |error: &Error| std::error::Error::source(error).map_or_else(|| error.to_string(), |it| it.to_string());
        merged.inspect_err(|error| tracing::warn!("no trace is written: {}", why(error))).is_ok()
    };
    ended(experiment, performance, has_trace, until_stopped)
}

/// One line for a person.
fn stand(snapshot: &Snapshot) -> String {
    let there = snapshot.processes.iter().filter(|process| process.connected).count();
    match snapshot.phase {
        Phase::Waiting => match snapshot.missing.as_slice() {
            [] => "all are there".into(),
            [first] => format!("waiting for {first}"),
            [first, rest @ ..] => format!("waiting for {first} and {} more", rest.len()),
        },
        Phase::Running => format!("{there} processes"),
        Phase::Ending => "collecting".into(),
    }
}

/// One line for a person, looked up once a second.
#[derive(Default)]
struct Line {
    text: String,
    second: u64,
}

impl Line {
    fn of(&mut self, snapshot: &Snapshot, board: &Board, mesh: &Mesh) -> &str {
        let second = snapshot.now.nanos() / 1_000_000_000;
        let is_running = snapshot.phase == Phase::Running;
        if !is_running || self.text.is_empty() || second != self.second {
            let figures = is_running.then(|| board.glance(|so_far| figures(so_far, snapshot.now, mesh)));
            self.second = second;
            self.text = figures.flatten().filter(|it| !it.is_empty()).unwrap_or_else(|| stand(snapshot));
        }
        &self.text
    }
}

/// A fault that was submitted by hand, as a report has it.
pub(crate) fn manual_fault(fault: &Fault, mesh: &Mesh) -> ManualFault {
    ManualFault {
        at_s: fault.at.secs(),
        for_s: (fault.until < Time::NEVER).then(|| fault.until.since(fault.at).secs()),
        kind: fault.name().to_owned(),
        what: fault_in_words(&fault.kind, mesh),
    }
}

fn ended(
    experiment: &Experiment,
    mut performance: Performance,
    has_trace: bool,
    until_stopped: bool,
) -> Result<Ended, Error> {
    let mesh = live_mesh(experiment);
    let mut findings = Vec::new();
    for (actor, bytes) in std::mem::take(&mut performance.findings).into_iter().enumerate() {
        let read = bytes.as_deref().map(read_findings).transpose();
        findings.push(read.unwrap_or_else(|error| {
            // One bad process must not take with it what all others have measured.
            let name = mesh.actor_name(ActorId(actor as u32)).to_owned();
            tracing::warn!("what {name} found cannot be read: {error}");
            performance.lost.push(name);
            None
        }));
    }
    let now = performance.ended;
    // A run with `--until-stopped` can also end before the experiment's duration.
    let cut_short = performance.cut_short || now < Time::ZERO + experiment.duration;
    let mut outcome = Outcome::new(&experiment.mesh, now, performance.counts.into(), findings, cut_short);
    let measured = &mut outcome.measured;
    measured.is_live = true;
    measured.without(&performance.absent, &mesh);
    measured.replaced(std::mem::take(&mut performance.restarts), &mesh);
    for (actor, bytes) in std::mem::take(&mut performance.former) {
        match read_findings(&bytes) {
            Ok(found) => measured.add_former(actor, found, &mesh),
            Err(error) => {
                tracing::warn!("what {} found before it left cannot be read: {error}", mesh.actor_name(actor))
            }
        }
    }
    let worked = performance.processes.iter().flat_map(|process| &process.worked);
    measured.real_work =
        worked.map(|it| Worked { actor: it.actor, asked_ns: it.asked_ns, burnt_ns: it.burnt_ns }).collect();
    measured.departures = performance.departures.iter().map(|it| (it.actor, it.at, it.back)).collect();
    for (index, at) in &performance.healed {
        let by_hand = index.checked_sub(experiment.network.faults.len());
        let fault = by_hand.and_then(|index| performance.faults.get_mut(index));
        fault.into_iter().for_each(|fault| fault.until = fault.until.min(*at).max(fault.at));
    }
    measured.healed = std::mem::take(&mut performance.healed);
    measured.faults = performance.faults.iter().map(|fault| manual_fault(fault, &mesh)).collect();
    Ok(Ended {
        until_stopped,
        outcome,
        has_trace,
        processes: Some(live_json(&performance)?),
        remarks: Box::new(move |paint| remarks(&performance, paint)),
    })
}

/// live.json: how the processes were.
fn live_json(performance: &Performance) -> Result<Vec<u8>, Error> {
    let process = |report: &ProcessReport| {
        json!({
            "actors": report.actors,
            "host": report.host,
            "pid": report.pid,
            "clock_error_ns": report.clock_error_ns,
            "memory_peak_bytes": report.memory_peak_bytes,
            "processor_ns": report.processor_ns,
            "slept_instead": report.slept_instead,
            "counts": report.counts,
        })
    };
    let processes: Vec<_> = performance.processes.iter().map(process).collect();
    let value = json!({ "format": 1, "processes": processes, "lost": performance.lost });
    let mut bytes = serde_json::to_vec_pretty(&value).map_err(|error| Error::Live(format!("live.json: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Processes that are listed; all are in live.json.
const LISTED_MAX: usize = 12;

fn remarks(performance: &Performance, paint: Paint) -> String {
    // In a cluster of containers the machine is the container; on one machine it goes without saying.
    let is_one_machine = performance.processes.windows(2).all(|pair| pair[0].host == pair[1].host);
    let mut table =
        Table::new(["<process", "<machine", "pid", "processor time", "memory", "clock error", "sent", "delivered"]);
    for report in performance.processes.iter().take(LISTED_MAX) {
        let name = match report.actors.as_slice() {
            [] => "-".into(),
            [one] => one.clone(),
            // The coordinator and the gateway.
            [one, other] => format!("{one}, {other}"),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let clock = match report.clock_error_ns {
            0 => "-".into(),
            error => span(Some(error)),
        };
        table.row([
            name.into(),
            if is_one_machine { "" } else { report.host.as_str() }.into(),
            report.pid.to_string().into(),
            span(Some(report.processor_ns)).into(),
            format!("{:.1} MB", report.memory_peak_bytes as f64 / 1e6).into(),
            clock.into(),
            count(report.counts.sent).into(),
            count(report.counts.delivered).into(),
        ]);
    }
    let mut out =
        format!("{}\n{}", paint.on(Look::Bold, "Processes"), table.without_empty_columns(&["-"]).render(paint));
    if performance.processes.len() > LISTED_MAX {
        let more = format!("  and {} more, in live.json\n", count((performance.processes.len() - LISTED_MAX) as u64));
        out += &paint.on(Look::Dim, &more);
    }
    for name in &performance.lost {
        out += &format!("  {}\n", paint.on(Look::Warn, &format!("{name} was lost, and what it measured with it")));
    }
    let slept = performance.processes.iter().fold(0_u64, |sum, report| sum.saturating_add(report.slept_instead));
    if slept > 0 {
        let text = format!("{} pieces of work were slept instead of burnt: too many waited", count(slept));
        out += &format!("  {}\n", paint.on(Look::Warn, &text));
    }
    out + "\n"
}
