//! Observers of a run.

use std::ops::ControlFlow;

use meshsim_actor::{ActorId, Counts, Time};
use meshsim_mesh::MeshActor;

use crate::live::Stand;

/// Observes a run and may stop it. Every method has a default that does nothing, so an observer implements only those
/// that it needs.
///
/// An observer never changes the run: the same experiment and seed give the same run, up to the point where it is
/// stopped. A simulated run calls it between slices of some milliseconds of processor time, so an observer costs the
/// inner loop nothing. A live run, whose actors are in many processes, shows its [status](Self::stands) instead.
pub trait Observer {
    /// Status of a live run: called ten times a second, from the opening until all results are collected.
    /// [`ControlFlow::Break`] ends the run.
    fn stands(&mut self, stand: &Stand<'_>) -> ControlFlow<()> {
        let _ = stand;
        ControlFlow::Continue(())
    }

    /// True if it wants to inspect the actors now: then [`looks`](Self::looks) is called for each. Called after
    /// [`reached`](Self::reached).
    fn is_curious(&mut self) -> bool {
        false
    }

    /// An actor as it is at `now`.
    fn looks(&mut self, now: Time, id: ActorId, actor: &MeshActor) {
        let _ = (now, id, actor);
    }

    /// A simulated run has reached `now`, after `counts.events` events. [`ControlFlow::Break`] stops it there.
    fn reached(&mut self, now: Time, counts: &Counts) -> ControlFlow<()> {
        let _ = (now, counts);
        ControlFlow::Continue(())
    }
}

/// Ignores the run.
impl Observer for () {}

impl<O: Observer> Observer for &mut O {
    fn stands(&mut self, stand: &Stand<'_>) -> ControlFlow<()> {
        (**self).stands(stand)
    }

    fn is_curious(&mut self) -> bool {
        (**self).is_curious()
    }

    fn looks(&mut self, now: Time, id: ActorId, actor: &MeshActor) {
        (**self).looks(now, id, actor);
    }

    fn reached(&mut self, now: Time, counts: &Counts) -> ControlFlow<()> {
        (**self).reached(now, counts)
    }
}
