//! `meshsim verify`

use std::path::PathBuf;

use meshsim_actor::Time;
use meshsim_mesh::{Msg, Tick};
use meshsim_report::table::Style;
use meshsim_report::verify::{Verified, Verifier, text};
use meshsim_report::{count, plural};
use meshsim_trace::Record;
use serde::Serialize;

use crate::error::{Error, Exit};
use crate::flow::Source;
use crate::flow::replayed::mesh_of;
use crate::interrupt;
use crate::progress::Progress;
use crate::screen::Screen;

pub(super) const ABOUT: &str = "Check the invariants of a run, from outside, on its trace";

pub(super) const EXAMPLES: &str = "\
Examples:
  meshsim run examples/shop/mesh.yaml --trace
  meshsim verify last
  meshsim verify runs/shop-1 --json

Each rule is checked on what actors received and sent, and not on what they say of themselves. A simulated run \
without a trace is run again with one. In a live run, messages of a process that was killed are not known, and \
what they led to is not checked. If the last fault of a simulated run ended long before the run, everything must be \
as it was decided.

Exit codes: 0 all rules hold, 1 one is broken, 2 the input is invalid: no run, or only a part of a trace, 130 \
interrupted.";

/// Records between two looks at Ctrl-C: some milliseconds.
const SLICE_RECORDS: u64 = 1 << 14;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A run: its folder, its name under `runs`, `last`, or a trace file in a run's folder
    run: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Show no progress bar
    #[arg(long)]
    no_progress: bool,
}

/// The results, for machines.
#[derive(Serialize)]
struct Verification<'a> {
    run: &'a str,
    records: u64,
    holds: bool,
    rules: &'a [Verified],
}

impl Args {
    pub(super) fn execute(self, screen: &mut Screen) -> Result<Exit, Error> {
        let source = Source::open(&self.run, screen)?;
        if let Some(part) = source.what_is_kept()? {
            let help = "only a whole trace can be verified: leave `--trace-keep` out".into();
            return Err(Error::WrongInput(part, help));
        }
        let experiment = source.experiment()?;
        let mesh = mesh_of(experiment, &source.header);
        let is_live = mesh.has_gateway;
        let mut verifier = Verifier::new(mesh, is_live);
        let progress = Progress::begin(experiment.duration, !self.no_progress);
        interrupt::catch()?;
        let foreseen = if is_live { read(&source, &progress, |record| verifier.foresee(record))? } else { Some(0) };
        let records = match foreseen {
            Some(_) => read(&source, &progress, |record| verifier.take(record))?,
            None => None,
        };
        progress.end();
        let Some(records) = records else { return Ok(Exit::Interrupted) };
        let was_cut_short = source.summary.as_ref().is_some_and(|summary| summary.cut_short);
        if let (false, Some(healed)) = (was_cut_short, experiment.network.healed()) {
            verifier.ends(healed, Time::ZERO + experiment.duration);
        }
        let verified = verifier.finish();
        let broken = verified.iter().filter(|it| it.broken > 0).count();
        if self.json {
            let verification = Verification { run: &source.label, records, holds: broken == 0, rules: &verified };
            screen.print_json(&verification)?;
        } else {
            let paint = screen.paint();
            let verdict = match broken {
                0 => paint.on(Style::Good, &all_hold(&verified)),
                _ => paint.on(Style::Bad, &format!("{} of {} rules are broken", count(broken as u64), verified.len())),
            };
            let head = format!("{}: {verdict}, over {}\n", source.label, plural(records, "record"));
            screen.print(&(head + &text(&verified, &source.label, paint)))?;
        }
        Ok(if broken == 0 { Exit::Success } else { Exit::Diverged })
    }
}

/// The verdict where no rule is broken; a rule that had nothing to check holds of nothing.
fn all_hold(verified: &[Verified]) -> String {
    match verified.iter().filter(|it| it.checked == 0).count() {
        0 => format!("all {} rules hold", verified.len()),
        idle => format!("{} rules hold, and {idle} had nothing to check", verified.len() - idle),
    }
}

/// Reads all records of a trace. Returns their number; `None` if it was interrupted.
fn read(source: &Source, progress: &Progress, mut take: impl FnMut(&Record<Msg, Tick>)) -> Result<Option<u64>, Error> {
    let mut records = 0;
    for record in source.reader()? {
        let record = record.map_err(|error| Error::Trace(source.path.clone(), error))?;
        take(&record);
        records += 1;
        if records % SLICE_RECORDS == 0 {
            progress.at(record.at, records, "");
            if interrupt::asked() {
                return Ok(None);
            }
        }
    }
    Ok(Some(records))
}
