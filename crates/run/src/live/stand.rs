//! Status of a live run.

use meshsim_actor::Time;
use meshsim_net::{ClusterStatus, Phase};
use meshsim_report::SoFar;

use super::handle::Handle;

/// Status of a live run at one time, for an [`Observer`](crate::Observer).
pub struct Stand<'a> {
    pub(super) status: &'a ClusterStatus,
    pub(super) handle: &'a Handle,
}

impl<'a> Stand<'a> {
    /// Phase of the run.
    pub fn phase(&self) -> Phase {
        self.status.phase
    }

    /// Current time of the run; [`Time::NEVER`] before it has begun.
    pub fn now(&self) -> Time {
        self.status.now
    }

    /// The processes, the missing actors, and the manual faults.
    pub fn status(&self) -> &'a ClusterStatus {
        self.status
    }

    /// Reads the measurements so far: windows and events. `None` if another thread is reading them; the run does not
    /// wait for it.
    pub fn so_far<R>(&self, look: impl FnOnce(&mut SoFar) -> R) -> Option<R> {
        self.handle.glance(look)
    }
}
