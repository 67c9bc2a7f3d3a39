//! An experiment that breaks a rule: its run, written to a folder, and the story of how it came to that.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use meshsim_experiment::Experiment;
use meshsim_report::table::{Paint, Style};
use meshsim_report::verify::{Breach, Verified};
use meshsim_report::wrap::wrapped;
use meshsim_run::{Keep, Simulation};
use meshsim_search::trial::PANICS;

use crate::error::Error;
use crate::flow::select::{is_mark, is_timer};
use crate::flow::{Item, Lines, Source};
use crate::folder::{PendingFile, RunDir};
use crate::runs::{self, EXPERIMENT};
use crate::{output, traced};

/// Lines of a story.
const LINES_MAX: usize = 14;

/// Runs an experiment with a trace, into its folder. One in which an actor panics leaves its file there, and no run.
pub(crate) fn write(experiment: &Experiment, rules: &[Verified], out: Option<&Path>) -> Result<PathBuf, Error> {
    let place = out.map_or_else(|| runs::place(experiment), Path::to_owned);
    if rules.iter().any(|it| it.rule == PANICS) {
        std::fs::create_dir_all(&place).map_err(|error| Error::Write(place.clone(), error))?;
        for (name, text) in output::inputs(experiment) {
            PendingFile::create(&place.join(name))?.publish(text)?;
        }
        return Ok(place);
    }
    let folder = RunDir::create(place.clone(), &output::names(experiment))?;
    let header = meshsim_run::trace_header(experiment, &experiment.mesh);
    let tracer = traced::begin(&folder, &header, Keep::ALL)?;
    let mut simulation = Simulation::recorded(experiment, tracer).map_err(Error::Network)?;
    let outcome = simulation.finish(&mut ());
    traced::finish(simulation.into_recorder(), &folder)?;
    output::keep(experiment, folder, outcome)?;
    Ok(place)
}

/// The file of the experiment in such a folder.
pub(crate) fn file(folder: &Path) -> String {
    folder.join(EXPERIMENT).display().to_string()
}

/// The first breach of the rules, with its rule.
pub(crate) fn first(rules: &[Verified]) -> Option<(&'static str, &Breach)> {
    let all = rules.iter().flat_map(|it| it.breaches.iter().map(move |breach| (it.rule, breach)));
    all.min_by(|(_, one), (_, other)| one.at_s.total_cmp(&other.at_s).then(one.record.cmp(&other.record)))
}

/// The rules and their first breaches, in words.
pub(crate) fn breaches(rules: &[Verified], paint: Paint) -> String {
    let mut out = String::new();
    for it in rules {
        out += &format!("broken: {}\n", paint.on(Style::Bad, it.rule));
        for Breach { at_s, actor, reason, .. } in it.breaches.iter().take(3) {
            let line = format!("at {at_s:.3} s: {actor} {reason}");
            for line in wrapped(&line, paint.columns.saturating_sub(2).max(20)) {
                out += &format!("  {line}\n");
            }
        }
    }
    out
}

/// The last records of the actor that broke a rule, up to the breach.
pub(crate) fn story(folder: &Path, breach: &Breach, paint: Paint) -> Result<String, Error> {
    let source = Source::traced(folder)?;
    let lines = Lines::new(&source.names, Some(paint.columns.max(40)), paint);
    // A breach of the end of a run has no record.
    let last = if breach.record == 0 { u64::MAX } else { breach.record };
    let mut story: VecDeque<String> = VecDeque::new();
    source.each_of(
        |chunk| chunk.first <= last,
        |item| {
            if item.record.seq > last {
                return ControlFlow::Break(());
            }
            if tells(item, &breach.actor, &source) {
                story.push_back(lines.line(item));
                if story.len() > LINES_MAX {
                    story.pop_front();
                }
            }
            ControlFlow::Continue(())
        },
    )?;
    if story.is_empty() {
        return Ok(String::new());
    }
    let lines = story.into_iter().fold(lines.heading(), |text, line| text + "\n" + &line);
    Ok(format!("{lines}\n"))
}

/// True for a record of this actor that is no timer, no mark of a request and no sign of life.
fn tells(item: &Item, actor: &str, source: &Source) -> bool {
    let is_of_it = source.names.actor(item.record.actor) == actor;
    let is_life = item.sent().is_some_and(|sent| matches!(sent.about.kind, "heartbeat" | "view" | "request" | "reply"));
    is_of_it && !is_timer(item) && !is_mark(item) && !is_life
}
