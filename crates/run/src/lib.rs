//! Runs an experiment. A program that embeds meshsim starts here.
//!
//! Read an experiment, [`simulate`] it, and look at what came out:
//!
//! ```
//! use meshsim_run::{experiment, simulate};
//!
//! let text = "
//! duration: 30s
//! nodes: [ { name: node, count: 2, cores: 4 } ]
//! services:
//!   shop: { instances: 2, capacity: 100, endpoints: { get: { script: [ work: 2ms ] } } }
//! load:
//!   customers: { to: shop, from: 5s, arrivals: { poisson: 100/s } }
//! slo: [ p99 < 20ms ]
//! ";
//! let experiment = experiment::parse("shop.yaml", text, ".".as_ref(), &[])?;
//! let outcome = simulate(&experiment, &mut ())?;
//! let summary = outcome.summary(&experiment);
//! assert_eq!(summary.loads[0].requests.failed, 0);
//! assert_eq!(summary.outcome, meshsim_run::report::Outcome::Pass);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `()` is an [`Observer`] that ignores the run. Your own observer gets the progress of the run, and can stop it.
//!
//! A [`Simulation`] is a run under your control. It advances to any time, gives access to each actor, and can be
//! forked. The fork and its origin continue independently, so a "what if?" costs only the part after the fork.
//!
//! ```
//! # use meshsim_run::{Simulation, actor::{Span, Time}, experiment};
//! # let text = "{ duration: 30s, nodes: [ { name: n, cores: 4 } ], services: { shop: { instances: 2, endpoints: \
//! #   { get: { script: [ work: 2ms ] } } } }, load: { users: { to: shop, arrivals: { poisson: 100/s } } } }";
//! # let experiment = experiment::parse("shop.yaml", text, ".".as_ref(), &[])?;
//! let mut simulation = Simulation::new(&experiment)?;
//! simulation.to(Time::ZERO + Span::from_secs(10));
//! let mut other = simulation.fork();
//! other.to(Time::ZERO + Span::from_secs(20));
//! assert_eq!(simulation.now(), Time::ZERO + Span::from_secs(10));
//! let coordinator = other.coordinator();
//! assert_eq!(coordinator.history().len(), 1, "the deploy of the shop");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Simulation::go_on_as`] lets a fork continue with another fault or another rate.
//!
//! [`Simulation::snapshot`] writes a run as bytes, and [`Simulation::resume`] continues it, in this process or another.
//!
//! The same experiment and seed give the same run, byte for byte, with any observer, and however the run is stopped and
//! continued. There is no state beside these values: any number of runs can share a process, on any threads.
//!
//! [`live`](live()) runs the same actors in real time, connected by TCP. A [`Deployment`] describes where they run: in
//! threads of the program, as here, or in processes that [`join`] the run.
//!
//! ```
//! # use std::num::NonZeroUsize;
//! # use meshsim_run::{Deployment, experiment, live};
//! # let text = "{ duration: 1s, nodes: [ { name: n, cores: 4 } ], services: { shop: { instances: 2, endpoints: \
//! #   { get: { script: [ work: 2ms ] } } } }, load: { users: { to: shop, from: 500ms, arrivals: { constant: 20/s } } } }";
//! # let experiment = experiment::parse("shop.yaml", text, ".".as_ref(), &[])?;
//! let outcome = live(&experiment, Deployment::threads(NonZeroUsize::MIN), &mut ())?;
//! assert_eq!(outcome.summary(&experiment).loads[0].requests.failed, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Live`] is a live run in two phases: opening and running. In between, its [`Handle`] can be passed to code that
//! inspects and controls the run, such as the gateway (`meshsim_gateway`).
//!
//! One dependency is enough: the crates whose types appear here are re-exported.

mod keep;
mod live;
mod observer;
mod other;
mod outcome;
mod simulation;
mod snapshot;
mod state;
mod tracer;

use meshsim_actor::ActorId;
use meshsim_experiment::Experiment;
use meshsim_fault::NetworkError;
use meshsim_mesh::Mesh;
use meshsim_trace::Header;

pub use {
    meshsim_actor as actor, meshsim_experiment as experiment, meshsim_fault as fault, meshsim_mesh as mesh,
    meshsim_net as net, meshsim_report as report, meshsim_trace as trace,
};

pub use keep::{Choice, FAILED_MAX, Keep, SLOWEST_MAX};
pub use live::{
    AskCounts, BUCKETS_MS, Deployment, Handle, HubJournal, JoinError, Live, LiveError, LiveTrace, Member, Part,
    Performed, Refused, SECRET_BYTES_MAX, Stand, Submitted, TraceError, block_on, join, live, parts,
    read_or_make_secret, read_secret, remove_journal,
};
pub use observer::Observer;
pub use outcome::Outcome;
pub use simulation::{Simulation, add_actors};
pub use snapshot::SnapshotError;
pub use state::State;
pub use tracer::{ChooseError, HELD_MAX, Tracer, choose};

/// Runs an experiment in virtual time, to its end or until the observer stops it.
///
/// # Errors
/// If the experiment's network cannot be built. The network of an experiment from a file always can.
pub fn simulate(experiment: &Experiment, observer: &mut impl Observer) -> Result<Outcome, NetworkError> {
    Ok(Simulation::new(experiment)?.finish(observer))
}

/// Header of a trace of this experiment: the names of its actors, and of the external client. `mesh` is the
/// experiment's; in a live run it has a gateway.
pub fn trace_header(experiment: &Experiment, mesh: &Mesh) -> Header {
    let outside = usize::from(mesh.has_gateway);
    let name = |index| mesh.actor_name(ActorId(index as u32)).to_owned();
    Header { seed: experiment.seed, actors: (0..mesh.actor_count() + outside).map(name).collect(), ..Header::default() }
}
