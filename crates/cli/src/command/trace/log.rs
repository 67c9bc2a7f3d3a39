//! `meshsim trace log`: record by record.

use std::io::Write;
use std::path::PathBuf;

use meshsim_report::table::Look;
use meshsim_report::{count, plural};
use meshsim_trace::export::jsonl_line_of;

use crate::error::{Error, Exit};
use crate::flow::select::{self, is_mark, is_timer};
use crate::flow::{Lines, Selection, Source};
use crate::runs;
use crate::screen::{Screen, width};

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
    #[command(flatten)]
    selection: Selection,
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let latest = PathBuf::from(runs::LAST);
        let source = Source::open(self.run.as_ref().unwrap_or(&latest), screen)?;
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
                writeln!(out, "{}", paint.on(Look::Dim, &text))?;
            }
            Ok(())
        })?;
        unreadable.map_or(Ok(Exit::Success), |error| Err(Error::Trace(source.path.clone(), error)))
    }
}
