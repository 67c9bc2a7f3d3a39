//! A run in virtual time, in slices: between two of them a person may look and interrupt.

use std::sync::Arc;

use meshsim_actor::{Counts, Recorder, Time};
use meshsim_experiment::Experiment;
use meshsim_fault::Network;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_mesh::{Mesh, MeshActor, actors};
use meshsim_report::Traffic;
use meshsim_sim::{Run, Sim};

use crate::error::Error;
use crate::interrupt;
use crate::progress::Progress;

/// Steps of a slice: some milliseconds.
const SLICE_STEPS: u64 = 1 << 15;

/// A mesh about to be run, or run.
pub(crate) struct Simulation<R> {
    pub(crate) sim: Sim<MeshActor, R>,
    /// It was ended before its time.
    pub(crate) cut_short: bool,
}

impl<R: Recorder<Msg, Tick>> Simulation<R> {
    pub(crate) fn new(experiment: &Experiment, recorder: R) -> Result<Self, Error> {
        let network = Network::new(experiment.network.clone()).map_err(Error::Network)?;
        let mesh: Arc<Mesh> = Arc::new(experiment.mesh.clone());
        let mut sim = Sim::with_recorder(experiment.seed, network, recorder);
        for actor in actors::all(&mesh) {
            let id = meshsim_actor::ActorId(sim.actors().len() as u32);
            sim.add(actor, mesh.actor_name(id));
        }
        Ok(Simulation { sim, cut_short: false })
    }

    /// Runs until the end of the experiment, or until somebody asks to stop.
    pub(crate) fn run(&mut self, experiment: &Experiment, progress: &Progress) {
        let until = Time::ZERO + experiment.duration;
        while self.sim.run_slice(until, SLICE_STEPS) == Run::Stopped {
            progress.at(self.sim.now(), self.sim.counts().events);
            if interrupt::asked() {
                self.cut_short = true;
                break;
            }
        }
    }
}

/// The host's counts, for the report: which knows no host.
pub(crate) fn traffic(counts: &Counts) -> Traffic {
    Traffic {
        events: counts.events,
        sent: counts.sent,
        duplicated: counts.duplicated,
        delivered: counts.delivered,
        resent: counts.resent,
        lost_loss: counts.lost_loss,
        lost_drop: counts.lost_drop,
        lost_partition: counts.lost_partition,
        lost_down: counts.lost_down,
        lost_full: counts.lost_full,
        lost_nobody: counts.lost_nobody,
    }
}
