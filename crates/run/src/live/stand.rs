//! How a live run stands.

use meshsim_actor::Time;
use meshsim_net::{Phase, Snapshot};
use meshsim_report::SoFar;

use super::handle::Handle;

/// How a live run stands at one moment: what an [`Observer`](crate::Observer) is shown of it.
pub struct Stand<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) handle: &'a Handle,
}

impl<'a> Stand<'a> {
    /// Where the run is.
    pub fn phase(&self) -> Phase {
        self.snapshot.phase
    }

    /// What time it is in it; [`Time::NEVER`] before it has begun.
    pub fn now(&self) -> Time {
        self.snapshot.now
    }

    /// Processes, who is waited for, faults by hand.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Looks at what was measured so far: windows and events. `None` if somebody else looks at it right now; the run does
    /// not wait for them.
    pub fn so_far<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> Option<R> {
        self.handle.glance(look)
    }
}
