//! `meshsim replay`

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use meshsim_actor::{ActorId, Span};
use meshsim_mesh::{Msg, Tick};
use meshsim_report::table::{Paint, Style};
use meshsim_report::{count, plural};
use meshsim_trace::replay::{Difference, ReplayReport};
use meshsim_trace::{Header, ReadError};

use crate::error::{Error, Exit};
use crate::flow::replayed::Replayed;
use crate::flow::source::refuse_another;
use crate::flow::{Lines, Source};
use crate::interrupt;
use crate::progress::{Progress, per_second};
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Replay a trace into fresh actors and report the first divergence";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim run examples/hotel/mesh.yaml --trace
  meshsim replay runs/hotel-1

Each actor of the run's experiment.yaml starts afresh and receives the inputs of the trace; its effects must \
then be those of the trace, to the byte. If not, the first divergence is shown: another version of meshsim \
wrote the trace, the experiment was changed, or an actor depends on something other than its context. An \
actor that received a message whose send is not in the trace (the process of its sender was killed) is \
replayed up to that input. Ctrl-C ends it early and reports how far it came.

Exit codes: 0 the same, 1 a divergence, 2 the input is invalid: no run with a trace, a trace of another \
experiment, or one that is cut off (the part before is replayed), 98 the same, but not comparable to the \
end: a process of the run was killed, 130 interrupted, the same so far.";

/// Records between two looks at Ctrl-C: some milliseconds.
const SLICE_RECORDS: u64 = 1 << 14;
/// Records of the actor that are shown before a difference.
const BEFORE: usize = 6;
/// Actors that are named of those that could not be replayed to the end.
const STOPPED_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A run made with --trace: its folder, its name under `runs`, or `last`
    run: PathBuf,
    /// Show no progress bar
    #[arg(long)]
    no_progress: bool,
}

/// Result of reading a trace.
enum End {
    Whole,
    CutShort,
    Unreadable(ReadError),
    Differs(Box<Difference<Msg, Tick>>),
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = Source::traced(&self.run)?;
        if let Some(part) = source.what_is_kept()? {
            let help = "only a whole trace can be replayed: leave `--trace-keep` out".into();
            return Err(Error::WrongInput(part, help));
        }
        let mut trace = source.reader()?;
        let path = source.path.clone();
        let folder = path.parent().unwrap_or(Path::new(""));
        let experiment = meshsim_experiment::load(&folder.join("experiment.yaml"), &[]).map_err(Error::Problems)?;
        let header = trace.header().clone();
        refuse_another(&experiment, &header)?;
        interrupt::catch()?;

        let Replayed { mesh, mut replay, .. } = Replayed::new(&experiment, &header);
        let progress = Progress::begin(experiment.duration, !self.no_progress);
        let mut is_there = vec![false; header.actors.len()];
        let end = loop {
            match trace.next() {
                None => break End::Whole,
                Some(Err(error)) => break End::Unreadable(error),
                Some(Ok(record)) => {
                    let (seq, at) = (record.seq, record.at);
                    is_there.get_mut(record.actor.index()).into_iter().for_each(|there| *there = true);
                    if let Err(difference) = replay.take(record) {
                        break End::Differs(difference);
                    }
                    if seq % SLICE_RECORDS == 0 {
                        progress.at(at, replay.report().inputs, "");
                        if interrupt::asked() {
                            break End::CutShort;
                        }
                    }
                }
            }
        };
        let so_far = replay.report().clone();
        let (report, end) = match end {
            End::Differs(_) => (so_far, end),
            _ => match replay.finish(matches!(end, End::Whole)) {
                Ok(report) => (report, end),
                Err(difference) => (so_far, End::Differs(difference)),
            },
        };
        let took = progress.end();
        tracing::info!(?took, records = report.records, "replayed");

        // Nodes that come later, or never, may have had no part in it.
        let is_late =
            |index: usize| mesh.node_index(ActorId(index as u32)).is_some_and(|at| !mesh.nodes[at].is_there_at_start());
        let absent: Vec<ActorId> = (0..mesh.actor_count())
            .filter(|index| mesh.has_gateway && matches!(end, End::Whole) && !is_there[*index] && !is_late(*index))
            .map(|index| ActorId(index as u32))
            .collect();
        let is_partial =
            !absent.is_empty() || !report.stopped.is_empty() || report.cut > 0 || !report.partly.is_empty();
        let (outcome, style) = match &end {
            End::Whole if is_partial => ("the same up to the end of each part", Style::Warn),
            End::Whole => ("the same", Style::Good),
            End::CutShort => ("the same so far, cut short", Style::Warn),
            End::Unreadable(_) => ("the same up to the unreadable part", Style::Warn),
            End::Differs(_) => ("differs", Style::Bad),
        };
        let paint = screen.paint();
        let secs = took.as_secs_f64();
        let pace = format!("{}, {}", Span::from_secs_f64(secs), per_second(report.inputs as f64 / secs.max(1e-9)));
        let mut text = format!("{}: {}\n", paint.on(style, outcome), compared(&report));
        text += &stopped(&header, &report);
        text += &missing(&header, &absent);
        if let End::Differs(difference) = &end {
            text += &shown(&source, &header, difference)?;
        }
        text += &format!("{}\n", paint.on(Style::Dim, &pace));
        screen.print(&text)?;
        match end {
            End::Whole if is_partial => Ok(Exit::Unknown),
            End::Whole => Ok(Exit::Success),
            End::CutShort => Ok(Exit::Interrupted),
            End::Differs(_) => Ok(Exit::Diverged),
            End::Unreadable(error) => Err(Error::Trace(path, error)),
        }
    }
}

fn compared(report: &ReplayReport) -> String {
    let [actors, inputs, effects] = [(report.actors, "actor"), (report.inputs, "input"), (report.effects, "effect")]
        .map(|(n, what)| plural(n, what));
    format!("{actors}, {inputs} and {effects} compared, of {}", plural(report.records, "record"))
}

/// Note on the actors that could not be compared to the end.
fn stopped(header: &Header, report: &ReplayReport) -> String {
    let mut text = String::new();
    for stopped in report.stopped.iter().take(STOPPED_MAX) {
        text += &format!(
            "{} can be replayed only up to record {}: the sending of {}/{} is not in the trace\n",
            header.name(stopped.actor),
            count(stopped.record),
            header.name(stopped.message.from),
            stopped.message.seq,
        );
    }
    if let more @ 1.. = report.stopped.len().saturating_sub(STOPPED_MAX) {
        text += &format!("and {} more\n", count(more as u64));
    }
    for partly in report.partly.iter().take(STOPPED_MAX) {
        text += &format!(
            "{}: {} of {} inputs compared\n",
            header.name(partly.actor),
            count(partly.compared),
            count(partly.inputs),
        );
    }
    if let more @ 1.. = report.partly.len().saturating_sub(STOPPED_MAX) {
        text += &format!("and {} more that were compared in part\n", count(more as u64));
    }
    if report.cut > 0 {
        let steps = plural(report.cut, "step");
        text += &format!("{steps} not to the end: the process was killed before it wrote that down\n");
    }
    text
}

/// Actors without records in the trace, or whose records are lost with their process.
fn missing(header: &Header, absent: &[ActorId]) -> String {
    let line = |actor: &ActorId| format!("{}: nothing of it is in the trace\n", header.name(*actor));
    let mut text: String = absent.iter().take(STOPPED_MAX).map(line).collect();
    if let more @ 1.. = absent.len().saturating_sub(STOPPED_MAX) {
        text += &format!("and {} more of which nothing is in the trace\n", count(more as u64));
    }
    text
}

/// The difference, and what led to it: the trace is read again, so that nothing has to be kept for it.
fn shown(source: &Source, header: &Header, difference: &Difference<Msg, Tick>) -> Result<String, Error> {
    let mut before = VecDeque::new();
    for item in source.flow()? {
        let item = item.map_err(|error| Error::Trace(source.path.clone(), error))?;
        if item.record.seq >= difference.record {
            break;
        }
        if item.record.actor == difference.actor {
            before.push_back(item);
            if before.len() > BEFORE {
                before.pop_front();
            }
        }
    }
    let [said, did] = difference.texts(header);
    let at = difference.at.nanos();
    let mut text = format!(
        "\nfirst at record {}, at {}.{:09}s, {}; before that:\n",
        count(difference.record),
        at / 1_000_000_000,
        at % 1_000_000_000,
        header.name(difference.actor)
    );
    let lines = Lines::new(&source.names, None, Paint::default());
    before.iter().for_each(|item| text += &format!("{}\n", lines.line(item)));
    text += &format!("the trace says:  {said}\nthe actor now:   {did}\n\n");
    Ok(text)
}
