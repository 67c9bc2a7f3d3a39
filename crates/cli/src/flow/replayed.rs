//! The actors of a traced run at any moment, by the inputs that its trace has: also those of a live run, which cannot
//! be run again.

use std::sync::Arc;

use meshsim_actor::{ActorId, Cell, Rng, Time};
use meshsim_experiment::Experiment;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::{Mesh, MeshActor, actors};
use meshsim_run::Simulation;
use meshsim_trace::{Header, Replay};

/// Makes the cell of an actor for an incarnation.
type Fresh = Box<dyn FnMut(ActorId, u32) -> Option<Cell<MeshActor>> + Send>;

/// The mesh of a traced run. One that ran in processes has a gateway, and so an external client: one more actor.
pub(crate) fn mesh_of(experiment: &Experiment, header: &Header) -> Arc<Mesh> {
    let has_gateway = header.actors.len() > experiment.mesh.actor_count();
    Arc::new(Mesh { has_gateway, ..experiment.mesh.clone() })
}

/// A replay of the trace of a mesh.
pub(crate) struct Replayed {
    pub(crate) mesh: Arc<Mesh>,
    /// The actors as they begin.
    born: Arc<[MeshActor]>,
    pub(crate) replay: Replay<MeshActor, Fresh>,
}

impl Replayed {
    /// A replay of a trace with this header, which is one of the experiment.
    pub(crate) fn new(experiment: &Experiment, header: &Header) -> Self {
        let mesh = mesh_of(experiment, header);
        let born: Arc<[MeshActor]> = actors::all(&mesh).collect();
        let (seed, of, named) = (experiment.seed, born.clone(), mesh.clone());
        let fresh: Fresh = Box::new(move |id, incarnation| {
            let actor = of.get(id.index())?.clone();
            Some(Cell::with_incarnation(id, actor, Rng::stream(seed, named.actor_name(id)), incarnation))
        });
        let replay = if mesh.has_gateway { Replay::of_processes(fresh) } else { Replay::new(fresh) };
        Replayed { mesh, born, replay }
    }

    /// All actors after the last record.
    pub(crate) fn then(&self, now: Time) -> Then<'_> {
        let actors = (0..).map(ActorId).zip(self.born.iter());
        let actors = actors.map(|(id, born)| self.replay.actor(id).unwrap_or(born)).collect();
        Then { mesh: &self.mesh, now, actors }
    }
}

/// All actors of a run at a moment.
pub(crate) struct Then<'a> {
    pub(crate) mesh: &'a Mesh,
    pub(crate) now: Time,
    /// By id.
    pub(crate) actors: Vec<&'a MeshActor>,
}

impl<'a, R: meshsim_actor::Recorder<Msg, Tick>> From<&'a Simulation<R>> for Then<'a> {
    fn from(simulation: &'a Simulation<R>) -> Self {
        Then { mesh: simulation.mesh(), now: simulation.now(), actors: simulation.actors().collect() }
    }
}
