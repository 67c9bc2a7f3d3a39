//! meshsim as a library: runs an experiment live, with its nodes and loads in threads of this program that are
//! connected by TCP, says on the way how it stands, and prints the report.
//!
//! `cargo run --release -p meshsim-examples --bin embed-live examples/first-mesh/mesh.yaml`

use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;

use meshsim_run::net::Phase;
use meshsim_run::{Deployment, Observer, Stand, experiment, live, report};

/// Threads for nodes; each load has one more.
const THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Says every second how the run stands.
struct Talkative(f64);

impl Observer for Talkative {
    fn stands(&mut self, stand: &Stand<'_>) -> ControlFlow<()> {
        if stand.phase() == Phase::Running && stand.now().secs() >= self.0 {
            eprintln!("{:>6.1} s, {} members", self.0, stand.status().processes.len() - 1);
            self.0 += 1.0;
        }
        ControlFlow::Continue(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: embed-live FILE")?;
    let experiment = experiment::load(Path::new(&file), &[])?;
    let outcome = live(&experiment, Deployment::threads(THREADS), &mut Talkative(0.0))?;
    let summary = outcome.summary(&experiment);
    let aftermath = report::aftermath::Aftermath::measured(&experiment, &outcome.measured, &summary);
    print!("{}", report::text::summary(&summary, &aftermath, report::table::Paint::default()));
    Ok(())
}
