//! The path that a request took through the mesh: who did what for it, and how long each took.
//!
//! A call that is made for somebody who asked for the path is [traced](crate::message::Request::traced): its answer
//! brings the path below it. Nothing is kept of the others, and nothing is paid for them.
//!
//! A path is what each caller knew when it answered. A try that it gave up is there at once, as the caller saw it; the
//! hops below it come with its answer, if that comes before the caller's own. What was not known by then is in no path;
//! a trace of the run has it.

use meshsim_actor::{ActorId, Time};
use serde::{Deserialize, Serialize};

use crate::measure::Failure;
use crate::message::{Instance, Request};
use crate::model::{EndpointId, ServiceId};

/// Most hops that a path keeps. What comes beyond is counted in [`Path::beyond`].
pub const HOPS_MAX: usize = 1_000;

/// The hops that were made for one request: each before those made for it, siblings in the order in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// At most [`HOPS_MAX`].
    pub hops: Vec<Hop>,
    /// Hops that were not kept.
    pub beyond: u64,
}

/// One try of one call, at the instance that it went to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// Which service was called.
    pub service: ServiceId,
    /// What it was to do.
    pub endpoint: EndpointId,
    /// The node of the instance.
    pub node: ActorId,
    /// The instance's number on that node.
    pub ordinal: u32,
    /// Its version; 0 where the node has no such instance.
    pub version: u32,
    /// How many calls lie above it: 0 is the entry.
    pub depth: u16,
    /// Which try of the call this is, from 0.
    pub attempt: u8,
    /// False if no answer came. The times are then the caller's: when it sent the call, and when it gave it up.
    pub answered: bool,
    /// The answer came after the caller had given the try up, and before it answered itself: the times are the
    /// instance's, and the failure is what the caller took it for.
    pub late: bool,
    /// When it reached the instance.
    pub arrived: Time,
    /// When it got its slot; what was refused never got one, and began when it arrived.
    pub began: Time,
    /// When it was answered.
    pub ended: Time,
    /// Why it failed, if it did: by itself, or because a call below it failed.
    pub failure: Option<Failure>,
}

impl Hop {
    /// A request that has just reached an instance of this version.
    pub(crate) fn arrived(request: &Request, node: ActorId, version: u32, now: Time) -> Self {
        Hop {
            service: request.service,
            endpoint: request.endpoint,
            node,
            ordinal: request.ordinal,
            version,
            depth: 0,
            attempt: request.attempt,
            answered: true,
            late: false,
            arrived: now,
            began: now,
            ended: now,
            failure: None,
        }
    }

    /// A try that was sent to an instance and given up.
    pub(crate) fn unanswered(
        (service, endpoint): (ServiceId, EndpointId),
        to: Instance,
        attempt: u8,
        (sent, now): (Time, Time),
        failure: Failure,
    ) -> Self {
        Hop {
            service,
            endpoint,
            node: to.node,
            ordinal: to.ordinal,
            version: to.version,
            depth: 0,
            attempt,
            answered: false,
            late: false,
            arrived: sent,
            began: sent,
            ended: now,
            failure: Some(failure),
        }
    }
}

impl From<Hop> for Path {
    fn from(hop: Hop) -> Self {
        Path { hops: vec![hop], beyond: 0 }
    }
}

impl Path {
    /// Adds the hops of `other`, which lie `depth` calls below this path's.
    pub(crate) fn append(&mut self, other: Path, depth: u16) {
        let room = HOPS_MAX.saturating_sub(self.hops.len());
        let beyond = other.hops.len().saturating_sub(room) as u64;
        self.beyond = self.beyond.saturating_add(other.beyond).saturating_add(beyond);
        let kept = other.hops.into_iter().take(room);
        self.hops.extend(kept.map(|hop| Hop { depth: hop.depth.saturating_add(depth), ..hop }));
    }

    /// The tries of the topmost call that were given up, and have not been answered since.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = &Hop> {
        self.hops.iter().filter(|hop| hop.depth == 0 && !hop.answered)
    }

    /// Puts the path of an answer that came too late in the place of the try that was given up: of `given_up`, which lies
    /// `depth` calls below this path's.
    pub(crate) fn come_late(&mut self, given_up: &Hop, late: Path, depth: u16) {
        let given_up = Hop { depth, ..*given_up };
        let Some(at) = self.hops.iter().position(|hop| *hop == given_up) else { return };
        let Some(came) = late.hops.first() else { return };
        self.hops[at] = Hop { depth, late: true, failure: given_up.failure, ..*came };
        let after = self.hops.split_off(at + 1);
        self.append(Path { hops: late.hops[1..].to_vec(), beyond: late.beyond }, depth);
        self.append(Path { hops: after, beyond: 0 }, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_so_many_hops_and_counts_the_rest() {
        let hop = Hop::unanswered(
            (ServiceId(0), EndpointId(0)),
            Instance { node: ActorId(1), ordinal: 0, version: 1 },
            0,
            (Time::ZERO, Time::ZERO),
            Failure::Timeout,
        );
        let mut path = Path::from(hop);
        for _ in 0..3 {
            path.append(Path { hops: vec![hop; 600], beyond: 5 }, 1);
        }
        assert_eq!((path.hops.len(), path.beyond), (HOPS_MAX, 3 * 5 + 1 + 3 * 600 - HOPS_MAX as u64));
        assert_eq!((path.hops[0].depth, path.hops[1].depth), (0, 1));
    }
}
