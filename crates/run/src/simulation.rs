//! A run in virtual time under the control of the caller.

use std::ops::ControlFlow;
use std::sync::Arc;

use meshsim_actor::{Actor, ActorId, Counts, Recorder, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::{Network, NetworkError, NetworkSpec};
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::{Mesh, MeshActor, Msg, Tick, actors};
use meshsim_sim::{RunStatus, Sim};

use crate::observer::Observer;
use crate::outcome::Outcome;

/// Events between two calls of the observer: some milliseconds.
const SLICE_EVENTS: u64 = 1 << 15;

/// A mesh in virtual time: at its start, at any time, or at its end.
///
/// `R` records the run, event by event (a `meshsim_trace::Writer` writes the trace); the default records nothing and
/// costs nothing.
#[derive(Clone, Debug)]
pub struct Simulation<R = ()> {
    pub(crate) sim: Sim<MeshActor, R>,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) end: Time,
}

impl Simulation {
    /// A simulation of an experiment, at time zero.
    ///
    /// # Errors
    /// If the experiment's network cannot be built. The network of an experiment from a file always can.
    pub fn new(experiment: &Experiment) -> Result<Self, NetworkError> {
        Simulation::recorded(experiment, ())
    }
}

impl<R: Recorder<Msg, Tick>> Simulation<R> {
    /// A simulation of an experiment, at time zero, with a recorder.
    ///
    /// # Errors
    /// As of [`new`](Simulation::new).
    pub fn recorded(experiment: &Experiment, recorder: R) -> Result<Self, NetworkError> {
        let mesh = Mesh { seed: experiment.seed, ..experiment.mesh.clone() };
        let network = NetworkSpec { seed: experiment.seed, ..experiment.network.clone() };
        Simulation::of_mesh(mesh.into(), network, Time::ZERO + experiment.duration, recorder)
    }

    /// A simulation of a mesh that was built in code, with the network between its actors. The run ends at `end`. The
    /// actors draw from the seed of the mesh, the network from its own.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn of_mesh(mesh: Arc<Mesh>, network: NetworkSpec, end: Time, recorder: R) -> Result<Self, NetworkError> {
        let mut sim = Sim::with_recorder(mesh.seed, Network::new(network)?, recorder);
        add_actors(&mut sim, &mesh, |actor| actor);
        Ok(Simulation { sim, mesh, end })
    }

    /// Advances to `at`: all events up to and including that time have happened then. Does nothing if `at` is past. The
    /// end of the experiment is no bound.
    pub fn to(&mut self, at: Time) {
        self.sim.run_until(at);
    }

    /// Advances to `at` under the eyes of `observer`. Returns [`ControlFlow::Break`] if the observer stopped the run
    /// before; it can be continued from there.
    pub fn watched(&mut self, at: Time, observer: &mut impl Observer) -> ControlFlow<()> {
        while self.sim.run_slice(at, SLICE_EVENTS) == RunStatus::Stopped {
            observer.reached(self.sim.now(), &self.sim.counts())?;
            if observer.is_curious() {
                let actors = (0..).map(ActorId).zip(self.sim.actors());
                actors.for_each(|(id, actor)| observer.looks(self.sim.now(), id, actor));
            }
        }
        ControlFlow::Continue(())
    }

    /// Processes the next event, whenever it is due. Returns false if no event is left.
    pub fn step(&mut self) -> bool {
        self.sim.step()
    }

    /// Advances to the end of the experiment, or until `observer` stops the run, and returns the results.
    pub fn finish(&mut self, observer: &mut impl Observer) -> Outcome {
        let cut_short = self.watched(self.end, observer).is_break();
        Outcome { cut_short, ..self.outcome() }
    }

    /// Results so far. They are marked as cut short unless the end of the experiment is reached.
    pub fn outcome(&self) -> Outcome {
        let now = self.now();
        let findings = self.sim.actors().map(|actor| Some(actor.results(now)));
        Outcome::new(&self.mesh, now, self.counts().into(), findings, now < self.end)
    }

    /// A copy of the run, with a copy of the recorder. Both continue independently, and give the same events if nothing
    /// is changed.
    pub fn fork(&self) -> Self
    where
        R: Clone,
    {
        self.clone()
    }

    /// Current time.
    pub fn now(&self) -> Time {
        self.sim.now()
    }

    /// Counters of the run.
    pub fn counts(&self) -> Counts {
        self.sim.counts()
    }

    /// Messages that are in flight or wait at a paused machine. They are counted one by one: for checks, not for each
    /// step.
    pub fn in_flight(&self) -> u64 {
        self.sim.in_flight()
    }

    /// The mesh of the run.
    pub fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// One actor as it is now. [`Mesh::node_actor`] and [`Mesh::client_actor`] give the ids of nodes and clients.
    ///
    /// # Panics
    /// If no actor has this id.
    pub fn state(&self, actor: ActorId) -> &MeshActor {
        self.sim.actor(actor)
    }

    /// All actors as they are now, by id.
    pub fn actors(&self) -> impl ExactSizeIterator<Item = &MeshActor> {
        self.sim.actors()
    }

    /// The coordinator as it is now.
    pub fn coordinator(&self) -> &Coordinator {
        let coordinator = self.sim.actor(meshsim_mesh::model::COORDINATOR).coordinator();
        coordinator.unwrap_or_else(|| unreachable!("the first actor of a mesh is its coordinator"))
    }

    /// The recorder.
    pub fn recorder(&self) -> &R {
        self.sim.recorder()
    }

    /// Ends the run and returns the recorder.
    pub fn into_recorder(self) -> R {
        self.sim.into_recorder()
    }
}

/// Adds all actors of a mesh to a simulation, each under its name and converted to the simulation's actor type, so that
/// it may have other actors beside them.
pub fn add_actors<A: Actor, R: Recorder<A::Msg, A::Tick>>(
    sim: &mut Sim<A, R>,
    mesh: &Arc<Mesh>,
    mut make: impl FnMut(MeshActor) -> A,
) {
    for (id, actor) in (0..).map(ActorId).zip(actors::all(mesh)) {
        sim.add(make(actor), mesh.actor_name(id));
    }
}
