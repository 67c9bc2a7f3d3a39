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
//! `()` is an [`Observer`] that looks away. One of your own learns how far the run is, and can stop it.
//!
//! A [`Simulation`] is a run in your hands. It goes to any moment, shows each actor there, and can be forked: the fork
//! and its origin go on independently, so "what if?" costs only what follows.
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
//! [`Simulation::snapshot`] writes a run down, and [`Simulation::resume`] goes on from there, in this process or another.
//!
//! The same experiment and seed give the same run, byte for byte, whoever observes it and however it is stopped and
//! continued. There is no state beside these values: as many runs as you like live in one process, on any threads.
//!
//! One dependency is enough: the crates whose types appear here are re-exported.

mod observer;
mod outcome;
mod simulation;
mod snapshot;
mod state;

use meshsim_experiment::Experiment;
use meshsim_fault::NetworkError;

pub use {
    meshsim_actor as actor, meshsim_experiment as experiment, meshsim_fault as fault, meshsim_mesh as mesh,
    meshsim_report as report,
};

pub use observer::Observer;
pub use outcome::Outcome;
pub use simulation::{Simulation, add_actors};
pub use snapshot::SnapshotError;
pub use state::State;

/// Runs an experiment in virtual time, to its end or until the observer stops it.
///
/// # Errors
/// If the experiment's network cannot be built. That of an experiment from a file always can.
pub fn simulate(experiment: &Experiment, observer: &mut impl Observer) -> Result<Outcome, NetworkError> {
    Ok(Simulation::new(experiment)?.finish(observer))
}
