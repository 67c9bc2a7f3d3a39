//! A run that goes on as one of another experiment: the part of a "what if?" that is not the same.

use std::sync::Arc;

use meshsim_actor::Recorder;
use meshsim_experiment::Experiment;
use meshsim_fault::{NetworkError, NetworkSpec};
use meshsim_mesh::{Mesh, Msg, Tick};

use crate::simulation::Simulation;

impl<R: Recorder<Msg, Tick>> Simulation<R> {
    /// Goes on as a run of `other` if that is the same up to now as the run of `own`, which this is: the two differ
    /// only in faults that begin later, and in arrivals of loads that are planned later. All that follows is then, byte
    /// for byte, the rest of a run of `other` from its beginning. Returns false, and changes nothing, if they differ in
    /// more.
    ///
    /// # Errors
    /// If the network does not take a fault of `other`. The faults of an experiment from a file it always takes.
    pub fn go_on_as(&mut self, own: &Experiment, other: &Experiment) -> Result<bool, NetworkError> {
        let Some(later) = other.network.faults.strip_prefix(own.network.faults.as_slice()) else { return Ok(false) };
        let are_later = later.iter().all(|fault| fault.at > self.now());
        if !are_later || !is_alike(own, other) || !self.has_planned_as(&other.mesh) {
            return Ok(false);
        }
        later.iter().try_for_each(|fault| self.sim.add_fault(fault.clone()))?;
        self.mesh = Arc::new(Mesh { seed: other.seed, ..other.mesh.clone() });
        self.sim.actors_mut().for_each(|actor| actor.set_mesh(self.mesh.clone()));
        Ok(true)
    }

    fn has_planned_as(&self, mesh: &Mesh) -> bool {
        mesh.loads.iter().enumerate().all(|(index, load)| {
            let client = self.state(mesh.client_actor(index)).client();
            client.is_some_and(|client| client.has_planned_as(&load.arrivals))
        })
    }
}

/// True if two experiments differ only in faults and in arrivals.
fn is_alike(own: &Experiment, other: &Experiment) -> bool {
    let network = |it: &Experiment| NetworkSpec { faults: Vec::new(), ..it.network.clone() };
    let mut mesh = own.mesh.clone();
    mesh.loads.iter_mut().zip(&other.mesh.loads).for_each(|(load, other)| load.arrivals = other.arrivals.clone());
    (own.seed, own.duration) == (other.seed, other.duration) && network(own) == network(other) && mesh == other.mesh
}
