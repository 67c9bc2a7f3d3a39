//! `meshsim trace log`: record by record.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshsim_report::table::Style;
use meshsim_report::{count, plural};
use meshsim_trace::export::jsonl_line_of;

use crate::error::{Error, Exit};
use crate::flow::follow::Following;
use crate::flow::select::{self, is_mark, is_timer};
use crate::flow::{Lines, Selection, Source};
use crate::screen::{Screen, width};
use crate::{interrupt, runs};

pub(super) const ABOUT: &str = "Print the records, a line each; the default view of RUN";

pub(super) const HELP: &str = select::HELP;

#[derive(Debug, clap::Args)]
#[group(id = "log")]
pub(super) struct Args {
    /// A run: its folder, its name under `runs`, or `last`; or a trace file; `-` is standard input
    // Not there where a view is named in its place.
    #[arg(required = true)]
    run: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long, alias = "json")]
    jsonl: bool,
    /// Whole lines, however long
    #[arg(long)]
    wide: bool,
    /// Print the records of a run that is being written as they come, until it has ended or Ctrl-C
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    selection: Selection,
}

/// Time between two looks at a run that is followed.
const LOOK: Duration = Duration::from_millis(200);

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let latest = PathBuf::from(runs::LAST);
        let run = self.run.as_ref().unwrap_or(&latest);
        if self.follow {
            return self.follow(run, screen);
        }
        let source = Source::open(run, screen)?;
        let selector = self.selection.resolve(&source)?;
        let (names, header, paint) = (&source.names, &source.header, screen.paint());
        let lines = Lines::new(names, (!self.wide).then(width), paint);
        let hides_timers = !self.jsonl && !selector.has_timers;
        let records = source.index()?.records();
        let mut flow = source.flow_of(|chunk| selector.may_hold(chunk, names))?;
        let (mut shown, mut hidden, mut steps) = (0, 0, 0);
        let mut unreadable = None;
        screen.write_with(|out| {
            if !self.jsonl {
                writeln!(out, "{}", lines.heading())?;
            }
            for item in &mut flow {
                let item = match item {
                    Ok(item) => item,
                    // Earlier records are valid, and printed.
                    Err(error) => {
                        unreadable = Some(error);
                        break;
                    }
                };
                if selector.is_over(&item) {
                    break;
                }
                if !selector.wants(&item, names) {
                    continue;
                }
                if hides_timers && is_timer(&item) {
                    hidden += 1;
                    continue;
                }
                if hides_timers && is_mark(&item) {
                    steps += 1;
                    continue;
                }
                shown += 1;
                match self.jsonl {
                    true => {
                        let request = item.request(names);
                        jsonl_line_of(header, &item.record, &item.derived, request.as_ref(), out)?;
                    }
                    false => writeln!(out, "{}", lines.line(&item))?,
                }
            }
            if !self.jsonl {
                let mut text = format!("{} of {}", count(shown), plural(records, "record"));
                if hidden > 0 {
                    text += &format!("; {} of timers hidden: `--kind timer` shows them", count(hidden));
                }
                if steps > 0 {
                    text += &format!("\n{} of steps of requests: `trace request` follows them", count(steps));
                }
                writeln!(out, "{}", paint.on(Style::Dim, &text))?;
            }
            Ok(())
        })?;
        unreadable.map_or(Ok(Exit::Success), |error| Err(Error::Trace(source.path.clone(), error)))
    }

    /// Prints the records of a run that is being written, as they come.
    fn follow(&self, run: &Path, screen: &mut Screen) -> Result<Exit, Error> {
        interrupt::catch()?;
        let Some(mut following) = Following::open(run)? else {
            let why = format!("no run is being written as {}", run.display());
            let help = "begin one with `--trace`; without --follow, this shows a run that has ended".to_owned();
            return Err(Error::WrongInput(why, help));
        };
        let (names, header) = (following.names.clone(), following.header.clone());
        let selector = self.selection.resolve_in(&names, &following.label)?;
        let lines = Lines::new(&names, (!self.wide).then(width), screen.paint());
        let hides_timers = !self.jsonl && !selector.has_timers;
        if !self.jsonl {
            screen.print(&format!("{}\n", lines.heading()))?;
        }
        let (mut text, mut is_over) = (Vec::new(), false);
        loop {
            let mut written = Ok(());
            let goes_on = following.look(|ref item| {
                is_over |= selector.is_over(item);
                let is_hidden = hides_timers && (is_timer(item) || is_mark(item));
                if is_over || is_hidden || !selector.wants(item, &names) || written.is_err() {
                    return;
                }
                written = match self.jsonl {
                    true => {
                        let request = item.request(&names);
                        jsonl_line_of(&header, &item.record, &item.derived, request.as_ref(), &mut text)
                    }
                    false => writeln!(text, "{}", lines.line(item)),
                };
            })?;
            screen.write_with(|out| written.and_then(|()| out.write_all(&text)).and_then(|()| out.flush()))?;
            text.clear();
            if !goes_on || is_over || interrupt::asked() {
                return Ok(Exit::Success);
            }
            #[expect(clippy::disallowed_methods, reason = "no actor waits: this looks at files")]
            std::thread::sleep(LOOK);
        }
    }
}
