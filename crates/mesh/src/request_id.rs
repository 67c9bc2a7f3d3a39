//! Names of requests and of the calls made for them: the same in every run of an experiment.
//!
//! A client numbers its requests as it plans them. The call that a script makes for a request is named by a hash of the
//! request's key, its attempt, the place in the script and the copy. So a name depends on no other request, on no node
//! and on no balancer: in two runs with one seed, equal names are the same request, even where the runs differ. All
//! random draws for a request come from its name: [`RequestId::draws`].
//!
//! (Common random numbers, synchronised by entity: Law, *Simulation Modeling and Analysis*, 11.2.)

use meshsim_actor::{ActorId, Rng, mix};
use serde::{Deserialize, Serialize};

/// The bits of [`RequestId::root`] that hold the number; the caller is above them.
const NUMBER_BITS: u32 = 40;

/// Names a request, and a call made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The request that entered the mesh: its client, and its number among the client's requests.
    pub root: u64,
    /// The call within it. All attempts of a call have one key.
    pub key: u64,
}

/// Purpose of a random draw for a request. Each has a stream of its own, so none moves another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Draws of an instruction of its script: the duration of work or of a sleep, and whether calls are made.
    Instruction(u32),
    /// Failure at random when its script is done.
    Error,
    /// Instance to which it is sent.
    Instance,
    /// Version: the canary's or the other.
    Version,
    /// Wait of its caller before it is sent.
    Backoff,
    /// Endpoint of a load's mix.
    Target,
    /// Zone of the instance to which it is sent.
    Zone,
    /// Effect of an impairment of the machine; keyed by the impairment, too.
    Impairment,
    /// True if it is mirrored.
    Mirror,
    /// Part of the instances to which it is sent.
    Part,
    /// Size of a request of a load.
    Size,
    /// Step that follows in a journey, and the think time before it.
    Journey,
    /// Processor time and latency at a proxy on its way.
    Proxy(u8),
}

impl RequestId {
    /// The request number `number` of a client or a gateway. Numbers from 2^40 on begin anew.
    pub fn new(caller: ActorId, number: u64) -> Self {
        let root = u64::from(caller.0) << NUMBER_BITS | (number & ((1 << NUMBER_BITS) - 1));
        RequestId { root, key: mix(root) }
    }

    /// The actor that sent request `root` into the mesh.
    pub fn caller(root: u64) -> ActorId {
        ActorId((root >> NUMBER_BITS) as u32)
    }

    /// The how-manieth request of its caller `root` is, from 0.
    pub fn number(root: u64) -> u64 {
        root & ((1 << NUMBER_BITS) - 1)
    }

    /// The call that attempt `attempt` of this one makes at instruction `at` of its script, number `copy` of the calls
    /// there.
    #[inline]
    pub fn call(self, attempt: u8, at: u32, copy: u32) -> Self {
        let place = u64::from(at) << 32 | u64::from(copy);
        RequestId { root: self.root, key: mix(self.key ^ mix(place) ^ u64::from(attempt)) }
    }

    /// The stream of this draw for attempt `attempt` of this call, in runs with this seed.
    #[inline]
    pub fn draws(self, seed: u64, attempt: u8, draw: Draw) -> Rng {
        Rng::keyed(seed ^ REQUESTS, self.key, u64::from(attempt) << 40 | draw.number())
    }
}

/// The streams of requests: apart from all other streams that a number keys.
const REQUESTS: u64 = u64::from_be_bytes(*b"requests");

impl Draw {
    #[inline]
    fn number(self) -> u64 {
        const BESIDE: u64 = 1 << 32;
        match self {
            Draw::Instruction(at) => u64::from(at),
            Draw::Error => BESIDE,
            Draw::Instance => BESIDE + 1,
            Draw::Version => BESIDE + 2,
            Draw::Backoff => BESIDE + 3,
            Draw::Target => BESIDE + 4,
            Draw::Zone => BESIDE + 5,
            Draw::Impairment => BESIDE + 6,
            Draw::Mirror => BESIDE + 7,
            Draw::Part => BESIDE + 8,
            Draw::Journey => BESIDE + 32,
            Draw::Size => BESIDE + 33,
            Draw::Proxy(at) => BESIDE + 34 + u64::from(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_pinned() {
        // If this fails, every seed of every user means another run: that is a breaking change.
        let id = RequestId::new(ActorId(3), 7);
        assert_eq!((RequestId::caller(id.root), RequestId::number(id.root)), (ActorId(3), 7));
        let call = id.call(1, 2, 3);
        let drawn = call.draws(9, 1, Draw::Instruction(5)).next_u64();
        assert_eq!(
            (id.key, call.root, call.key, drawn),
            (13_159_698_748_018_901_606, id.root, 8_877_066_008_052_693_733, 8_968_320_068_956_629_866)
        );
    }

    #[test]
    fn calls_tries_and_draws_have_names_of_their_own() {
        let (mut keys, mut firsts) = (BTreeSet::new(), BTreeSet::new());
        let mut count = 0;
        for id in (0..20).map(|number| RequestId::new(ActorId(1), number)) {
            for attempt in 0..4 {
                for at in 0..10 {
                    keys.extend((0..4).map(|copy| id.call(attempt, at, copy).key));
                    firsts.insert(id.draws(1, attempt, Draw::Instruction(at)).next_u64());
                }
                let beside = [Draw::Error, Draw::Instance, Draw::Version, Draw::Backoff, Draw::Target, Draw::Zone];
                firsts.extend(beside.map(|draw| id.draws(1, attempt, draw).next_u64()));
                count += 1;
            }
        }
        assert_eq!((keys.len(), firsts.len()), (count * 40, count * 16));
    }
}
