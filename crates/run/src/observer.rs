//! Whoever watches a run.

use std::ops::ControlFlow;

use meshsim_actor::{ActorId, Counts, Time};
use meshsim_mesh::MeshActor;

use crate::live::Stand;

/// Watches a run and may stop it. Every method has a default that does nothing, so an observer names only what it wants
/// to know.
///
/// An observer never changes what happens: the same experiment and seed give the same run, up to where it is stopped. A
/// simulated run shows its actors and asks between slices of some milliseconds of processor time, so an observer costs
/// the inner loop nothing. A live run, whose actors are in many processes, shows how it [`stands`](Self::stands) instead.
pub trait Observer {
    /// How a live run stands: shown ten times a second, from when others can join until all has been handed in.
    /// [`ControlFlow::Break`] ends the run.
    fn stands(&mut self, stand: &Stand<'_>) -> ControlFlow<()> {
        let _ = stand;
        ControlFlow::Continue(())
    }

    /// True if it wants to look at the actors now: then [`looks`](Self::looks) is called for each. Asked after
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

/// Looks away.
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
