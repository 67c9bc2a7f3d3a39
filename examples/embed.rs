//! meshsim as a library: runs an experiment file, prints its progress, and prints the report.
//!
//! `cargo run --release -p meshsim-examples --bin embed examples/hotel/mesh.yaml`

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use meshsim_run::actor::{Counts, Time};
use meshsim_run::{Observer, experiment, report, simulate};

/// Prints the progress of the run at intervals.
struct Talkative;

impl Observer for Talkative {
    fn reached(&mut self, now: Time, counts: &Counts) -> ControlFlow<()> {
        eprintln!("{:>6.1} s of virtual time, {} events", now.secs(), report::count(counts.events));
        ControlFlow::Continue(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: embed FILE")?;
    let experiment = experiment::load(Path::new(&file), &[])?;
    let outcome = simulate(&experiment, &mut Talkative)?;
    let summary = outcome.summary(&experiment);
    let aftermath = report::aftermath::Aftermath::measured(&experiment, &outcome.measured, &summary);
    print!("{}", report::text::summary(&summary, &aftermath, report::table::Paint::default()));
    Ok(())
}
