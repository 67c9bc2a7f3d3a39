//! The path of a request through the mesh: the instances that served it, and the time in each.
//!
//! A call for a client that requested the path is [traced](crate::message::Request::traced): its reply carries the hops
//! below it. Untraced calls store nothing and cost nothing.
//!
//! A path holds the knowledge of each caller at the time of its reply. An attempt that the caller gave up is in it at
//! once, as the caller saw it; the hops below it come with the late reply, if that arrives before the caller's own
//! reply. Hops unknown at that time are in no path; a trace of the run has them.

use meshsim_actor::{ActorId, Time};
use serde::{Deserialize, Serialize};

use crate::measure::Failure;
use crate::message::Request;
use crate::model::{EndpointId, ServiceId};
use crate::view::InstanceRef;

/// Maximum number of hops that a path keeps. Further ones are counted in [`Path::beyond`].
pub const HOPS_MAX: usize = 1_000;

/// The hops that were made for one request: each before those made for it, siblings in the order in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// At most [`HOPS_MAX`].
    pub hops: Vec<Hop>,
    /// Hops that were not kept.
    pub beyond: u64,
}

/// One attempt of one call, at the instance that received it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// Called service.
    pub service: ServiceId,
    /// Endpoint that was called.
    pub endpoint: EndpointId,
    /// The node of the instance.
    pub node: ActorId,
    /// The instance's number on that node.
    pub ordinal: u32,
    /// Its version; 0 where the node has no such instance.
    pub version: u32,
    /// Number of calls above it: 0 is the entry.
    pub depth: u16,
    /// Number of the attempt, from 0.
    pub attempt: u8,
    /// False if no reply came. The times are then the caller's: those of the send and of the timeout.
    pub answered: bool,
    /// The reply came after the caller had given up the attempt, and before its own reply: the times are the
    /// instance's, and the failure is the one that the caller counted.
    pub late: bool,
    /// Time of arrival at the instance.
    pub arrived: Time,
    /// Time at which it got its slot; for a refused request, which never got one, its arrival.
    pub began: Time,
    /// Time of the reply.
    pub ended: Time,
    /// Reason of the failure; `None` on success. It failed by itself, or because a call below it failed.
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

    /// An attempt that was sent to an instance and given up.
    pub(crate) fn unanswered(
        (service, endpoint): (ServiceId, EndpointId),
        to: InstanceRef,
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
    #[cold]
    pub(crate) fn append(&mut self, other: Path, depth: u16) {
        let room = HOPS_MAX.saturating_sub(self.hops.len());
        let beyond = other.hops.len().saturating_sub(room) as u64;
        self.beyond = self.beyond.saturating_add(other.beyond).saturating_add(beyond);
        let kept = other.hops.into_iter().take(room);
        self.hops.extend(kept.map(|hop| Hop { depth: hop.depth.saturating_add(depth), ..hop }));
    }

    /// Attempts of the topmost call that were given up and have no reply since.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = &Hop> {
        self.hops.iter().filter(|hop| hop.depth == 0 && !hop.answered)
    }

    /// Replaces the hop `given_up` of an abandoned attempt by the path of its late reply; the hop is `depth` calls
    /// below this path's call.
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
            InstanceRef { node: ActorId(1), ordinal: 0, version: 1 },
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
