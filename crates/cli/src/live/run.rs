//! The coordinator's process: waits for the others, runs the experiment, collects the results.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use meshsim_actor::Span;
use meshsim_experiment::Experiment;
use meshsim_gateway::{GatewayListener, RunningServer};
use meshsim_mesh::Mesh;
use meshsim_net::{ClockSample, ClusterStatus, Phase, ProcessReport};
use meshsim_report::table::{Paint, Style, Table};
use meshsim_report::{count, span};
use meshsim_run::{Deployment, Keep, Live, LiveError, LiveTrace, Observer, Performed, Stand, TraceError};
use serde_json::json;

use super::cluster::cannot_listen;
use crate::error::Error;
use crate::flow::follow;
use crate::folder::{RunDir, remove};
use crate::headline::figures;
use crate::interrupt::{self, Unfinished};
use crate::listener;
use crate::output::{FinishedRun, Output, TRACE};
use crate::progress::Progress;

/// Options of a live run.
pub(crate) struct LiveRun<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) folder: &'a RunDir,
    pub(crate) output: &'a Output,
    pub(crate) deployment: Deployment,
    /// Listener of the HTTP gateway, if it is enabled.
    pub(crate) door: Option<GatewayListener>,
}

/// Hooks of the caller while the run goes on.
pub(crate) trait LiveObserver {
    /// The coordinator listens: others can join now.
    fn on_listening(&mut self, joins: SocketAddr, gateway: Option<&RunningServer>) -> Result<(), Error>;
    /// The state of the cluster, again and again. True ends the run.
    fn on_tick(&mut self, status: &ClusterStatus) -> bool;
}

impl LiveRun<'_> {
    /// Runs to the end.
    pub(crate) fn run(self, observer: &mut impl LiveObserver) -> Result<FinishedRun, Error> {
        meshsim_run::block_on(perform(self, observer))
    }
}

async fn perform(run: LiveRun<'_>, observer: &mut impl LiveObserver) -> Result<FinishedRun, Error> {
    let LiveRun { experiment, folder, output, deployment, door } = run;
    let until_stopped = deployment.until_stopped;
    let live = Live::open(experiment, deployment).map_err(no_run)?;
    let served = door.map(|door| door.serve(live.handle().clone())).transpose().map_err(listener::refused)?;
    // The second Ctrl-C takes the file of the token away, too.
    let kept = served.as_ref().and_then(RunningServer::kept_file).map(Unfinished::note);
    observer.on_listening(live.address(), served.as_ref())?;
    let progress = Progress::begin(if until_stopped { Span::ZERO } else { experiment.duration }, !output.no_progress);
    let mut watch = Watch { observer, progress, line: Line::default(), mesh: &experiment.mesh };
    let performed = live.perform(&mut watch).await;
    watch.progress.end();
    if let Some(served) = served {
        served.stop().await;
    }
    drop(kept);
    // Those of processes that were killed are still there.
    remove(&folder.staged(follow::PARTS));
    let mut performed = performed.map_err(no_run)?;
    // The figures are worth keeping without a trace; the missing trace is reported, and is a failure in the end.
    let has_trace = performed.trace.take().is_some_and(|trace| {
        let written = write_trace(trace, output.keep(), folder);
        written.inspect_err(|why| tracing::warn!("no trace is written: {why}")).is_ok()
    });
    ended(performed, has_trace)
}

/// The error for a run that did not begin, with what would be right.
fn no_run(error: LiveError) -> Error {
    match error {
        LiveError::Network(error) => Error::Network(error),
        LiveError::Listen(address, error) => cannot_listen(address, &error),
        LiveError::Host(error) if error.kind() == ErrorKind::InvalidInput => {
            let help = "name another directory, or remove this one to begin another run".into();
            Error::WrongInput(error.to_string(), help)
        }
        error => Error::Live(error.to_string()),
    }
}

/// Writes the trace of a run to its folder, or says why there is none.
fn write_trace(trace: LiveTrace, keep: Keep, folder: &RunDir) -> Result<(), String> {
    let file = folder.begin(TRACE).map_err(|error| reason(&error))?;
    trace.write(keep, file).map_err(|error| {
        folder.discard(TRACE);
        match error {
            TraceError::HandedIn(why) => why,
            error => reason(&error),
        }
    })
}

/// The cause of an error; the error, if it has none.
fn reason(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Shows how the run goes, and ends it at Ctrl-C.
struct Watch<'a, A> {
    observer: &'a mut A,
    progress: Progress,
    line: Line,
    mesh: &'a Mesh,
}

impl<A: LiveObserver> Observer for Watch<'_, A> {
    fn stands(&mut self, stand: &Stand<'_>) -> ControlFlow<()> {
        self.progress.say(stand.now(), self.line.of(stand, self.mesh));
        match self.observer.on_tick(stand.status()) | interrupt::asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// One line for a person.
fn in_words(status: &ClusterStatus) -> String {
    let there = status.processes.iter().filter(|process| process.connected).count();
    match status.phase {
        Phase::Waiting => match status.missing.as_slice() {
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
    fn of(&mut self, stand: &Stand<'_>, mesh: &Mesh) -> &str {
        let second = stand.now().nanos() / 1_000_000_000;
        let is_running = stand.phase() == Phase::Running;
        if !is_running || self.text.is_empty() || second != self.second {
            let figures = is_running.then(|| stand.so_far(|so_far| figures(so_far, stand.now(), mesh)));
            self.second = second;
            self.text = figures.flatten().filter(|it| !it.is_empty()).unwrap_or_else(|| in_words(stand.status()));
        }
        &self.text
    }
}

fn ended(performed: Performed, has_trace: bool) -> Result<FinishedRun, Error> {
    let processes = Some(live_json(&performed)?);
    let Performed { outcome, processes: reports, lost, until_stopped, .. } = performed;
    let remarks = Box::new(move |paint| remarks(&reports, &lost, paint));
    Ok(FinishedRun { outcome, has_trace, processes, until_stopped, remarks })
}

/// live.json: how the processes were.
fn live_json(performed: &Performed) -> Result<Vec<u8>, Error> {
    let clock_sample = |sample: &ClockSample| json!({ "at_ns": sample.at.nanos(), "error_ns": sample.error_ns });
    let process = |report: &ProcessReport| {
        json!({
            "actors": report.actors,
            "hostname": report.hostname,
            "pid": report.pid,
            "clock_error_ns": report.clock_error_ns,
            "clock": report.clock.iter().map(clock_sample).collect::<Vec<_>>(),
            "memory_peak_bytes": report.memory_peak_bytes,
            "processor_ns": report.processor_ns,
            "slept_instead": report.slept_instead,
            "counts": report.counts,
        })
    };
    let processes: Vec<_> = performed.processes.iter().map(process).collect();
    let value = json!({ "format": 1, "processes": processes, "lost": performed.lost });
    let mut bytes = serde_json::to_vec_pretty(&value).map_err(|error| Error::Live(format!("live.json: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Processes that are listed; all are in live.json.
const LISTED_MAX: usize = 12;

fn remarks(processes: &[ProcessReport], lost: &[String], paint: Paint) -> String {
    // In a cluster of containers the machine is the container; on one machine it goes without saying.
    let is_one_machine = processes.windows(2).all(|pair| pair[0].hostname == pair[1].hostname);
    let mut table =
        Table::new(["<process", "<machine", "pid", "processor time", "memory", "clock error", "sent", "delivered"]);
    for report in processes.iter().take(LISTED_MAX) {
        let name = match report.actors.as_slice() {
            [] => "-".into(),
            [one] => one.clone(),
            // The coordinator and the gateway.
            [one, other] => format!("{one}, {other}"),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let clock = match report.clock_error_ns {
            0 => "-".into(),
            // The largest, and that of the end: a clock that was far off and is aligned again is not one that runs
            // away.
            error => match report.clock.last() {
                Some(last) if last.error_ns < error => {
                    format!("{}, at the end {}", span(Some(error)), span(Some(last.error_ns)))
                }
                _ => span(Some(error)),
            },
        };
        table.row([
            name.into(),
            if is_one_machine { "" } else { report.hostname.as_str() }.into(),
            report.pid.to_string().into(),
            span(Some(report.processor_ns)).into(),
            format!("{:.1} MB", report.memory_peak_bytes as f64 / 1e6).into(),
            clock.into(),
            count(report.counts.sent).into(),
            count(report.counts.delivered).into(),
        ]);
    }
    let mut out =
        format!("{}\n{}", paint.on(Style::Bold, "Processes"), table.without_empty_columns(&["-"]).render(paint));
    if processes.len() > LISTED_MAX {
        let more = format!("  and {} more, in live.json\n", count((processes.len() - LISTED_MAX) as u64));
        out += &paint.on(Style::Dim, &more);
    }
    for name in lost {
        out += &format!("  {}\n", paint.on(Style::Warn, &format!("{name} was lost, and what it measured with it")));
    }
    let slept = processes.iter().fold(0_u64, |sum, report| sum.saturating_add(report.slept_instead));
    if slept > 0 {
        let text = format!("{} pieces of work were slept instead of burnt: too many waited", count(slept));
        out += &format!("  {}\n", paint.on(Style::Warn, &text));
    }
    out + "\n"
}
