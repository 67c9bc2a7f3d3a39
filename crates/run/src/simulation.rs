//! A run in virtual time that is in somebody's hands.

use std::ops::ControlFlow;
use std::sync::Arc;

use meshsim_actor::{Actor, ActorId, Counts, Recorder, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::{Network, NetworkError, NetworkSpec};
use meshsim_mesh::coordinator::Coordinator;
use meshsim_mesh::{Mesh, MeshActor, Msg, Tick, actors};
use meshsim_sim::{Run, Sim};

use crate::observer::Observer;
use crate::outcome::Outcome;

/// Events between two questions to the observer: some milliseconds.
const SLICE_EVENTS: u64 = 1 << 15;

/// A mesh in virtual time: at its beginning, at any moment, or at its end.
///
/// `R` records what happens, event by event (a `meshsim_trace::Writer` writes the trace); the default records nothing
/// and costs nothing.
#[derive(Clone, Debug)]
pub struct Simulation<R = ()> {
    pub(crate) sim: Sim<MeshActor, R>,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) end: Time,
}

impl Simulation {
    /// An experiment at its beginning: nothing has happened yet.
    ///
    /// # Errors
    /// If the experiment's network cannot be built. That of an experiment from a file always can.
    pub fn new(experiment: &Experiment) -> Result<Self, NetworkError> {
        Simulation::recorded(experiment, ())
    }
}

impl<R: Recorder<Msg, Tick>> Simulation<R> {
    /// An experiment at its beginning, that is recorded.
    ///
    /// # Errors
    /// As of [`new`](Simulation::new).
    pub fn recorded(experiment: &Experiment, recorder: R) -> Result<Self, NetworkError> {
        let mesh = Mesh { seed: experiment.seed, ..experiment.mesh.clone() };
        let network = NetworkSpec { seed: experiment.seed, ..experiment.network.clone() };
        Simulation::of_mesh(mesh.into(), network, Time::ZERO + experiment.duration, recorder)
    }

    /// A mesh that was built in code, and the network between its actors. The run ends at `end`; its actors draw from
    /// the seed of the mesh, its messages from the seed of the network.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn of_mesh(mesh: Arc<Mesh>, network: NetworkSpec, end: Time, recorder: R) -> Result<Self, NetworkError> {
        let mut sim = Sim::with_recorder(mesh.seed, Network::new(network)?, recorder);
        add_actors(&mut sim, &mesh, |actor| actor);
        Ok(Simulation { sim, mesh, end })
    }

    /// Goes on to `at`: everything up to and including that moment has happened then. Does nothing if `at` is past. The
    /// end of the experiment is no bound.
    pub fn to(&mut self, at: Time) {
        self.sim.run_until(at);
    }

    /// Goes on to `at`, while `observer` watches. [`ControlFlow::Break`] if it has stopped the run before; the run can
    /// go on from there.
    pub fn watched(&mut self, at: Time, observer: &mut impl Observer) -> ControlFlow<()> {
        while self.sim.run_slice(at, SLICE_EVENTS) == Run::Stopped {
            observer.reached(self.sim.now(), &self.sim.counts())?;
            if observer.is_curious() {
                let actors = (0..).map(ActorId).zip(self.sim.actors());
                actors.for_each(|(id, actor)| observer.looks(self.sim.now(), id, actor));
            }
        }
        ControlFlow::Continue(())
    }

    /// Lets the next thing happen, whenever it is due. False if nothing is left to happen, ever.
    pub fn step(&mut self) -> bool {
        self.sim.step()
    }

    /// Goes on to the end of the experiment, or until `observer` stops it, and puts together what was measured.
    pub fn finish(&mut self, observer: &mut impl Observer) -> Outcome {
        let cut_short = self.watched(self.end, observer).is_break();
        Outcome { cut_short, ..self.outcome() }
    }

    /// What was measured so far. It is cut short unless the end of the experiment has come.
    pub fn outcome(&self) -> Outcome {
        let now = self.now();
        let findings = self.sim.actors().map(|actor| Some(actor.findings(now)));
        Outcome::new(&self.mesh, now, self.counts().into(), findings, now < self.end)
    }

    /// The same run once more, recorded by a copy of the recorder. The two go on independently; left alone, they do the
    /// same.
    pub fn fork(&self) -> Self
    where
        R: Clone,
    {
        self.clone()
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.sim.now()
    }

    /// How much has happened.
    pub fn counts(&self) -> Counts {
        self.sim.counts()
    }

    /// Messages that are on their way, or wait at a paused machine. They are counted one by one: for checks, not for
    /// each step.
    pub fn in_flight(&self) -> u64 {
        self.sim.in_flight()
    }

    /// What the run consists of.
    pub fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// One actor as it is now. The numbers of nodes and clients are those of [`Mesh::node_actor`] and
    /// [`Mesh::client_actor`].
    ///
    /// # Panics
    /// If no actor has this number.
    pub fn state(&self, actor: ActorId) -> &MeshActor {
        self.sim.actor(actor)
    }

    /// All actors as they are now, by number.
    pub fn actors(&self) -> impl ExactSizeIterator<Item = &MeshActor> {
        self.sim.actors()
    }

    /// The coordinator as it is now.
    pub fn coordinator(&self) -> &Coordinator {
        let coordinator = self.sim.actor(meshsim_mesh::model::COORDINATOR).coordinator();
        coordinator.unwrap_or_else(|| unreachable!("the first actor of a mesh is its coordinator"))
    }

    /// What was recorded so far.
    pub fn recorder(&self) -> &R {
        self.sim.recorder()
    }

    /// Gives back the recorder. The run is over.
    pub fn into_recorder(self) -> R {
        self.sim.into_recorder()
    }
}

/// Adds all actors of a mesh to a host, each under its name, and each made into what the host hosts: for a host that has
/// other actors beside them.
pub fn add_actors<A: Actor, R: Recorder<A::Msg, A::Tick>>(
    sim: &mut Sim<A, R>,
    mesh: &Arc<Mesh>,
    mut make: impl FnMut(MeshActor) -> A,
) {
    for (id, actor) in (0..).map(ActorId).zip(actors::all(mesh)) {
        sim.add(make(actor), mesh.actor_name(id));
    }
}
