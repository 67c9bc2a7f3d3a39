//! Actors that have left while the run continues, and their results.

use meshsim_actor::{ActorId, Time};
use serde::{Deserialize, Serialize};

/// Bytes kept of the results of actors that have left and come back since.
const FORMER_BYTES_MAX: usize = 64 << 20;

/// An actor that left while the run continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The actor.
    pub actor: ActorId,
    /// Time at which it had left.
    pub at: Time,
    /// Time at which another process had brought it back, if one did.
    pub back: Option<Time>,
}

/// All departures of a run, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Departures {
    pub(crate) all: Vec<Departure>,
    /// Results of actors in incarnations that left and that another incarnation followed.
    pub(crate) former: Vec<(ActorId, Vec<u8>)>,
    former_bytes: usize,
}

impl Departures {
    /// Records that an actor has left.
    pub(crate) fn leaves(&mut self, actor: ActorId, at: Time) {
        self.all.push(Departure { actor, at, back: None });
    }

    /// Records that an actor that had left is back, and keeps its earlier results. Returns false if there is no room
    /// for them.
    pub(crate) fn comes_back(&mut self, actor: ActorId, at: Time, found: Vec<u8>) -> bool {
        if self.former_bytes + found.len() > FORMER_BYTES_MAX {
            return false;
        }
        if let Some(departure) = self.all.iter_mut().rev().find(|departure| departure.actor == actor) {
            departure.back = Some(at);
        }
        self.former_bytes += found.len();
        self.former.push((actor, found));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_earlier_incarnations_are_bounded() {
        let mut departures = Departures::default();
        let (actor, later) = (ActorId(1), Time::from_nanos(2));
        departures.leaves(actor, Time::ZERO);
        assert!(departures.comes_back(actor, later, vec![0; FORMER_BYTES_MAX]));
        assert_eq!(departures.all, [Departure { actor, at: Time::ZERO, back: Some(later) }]);
        departures.leaves(actor, later);
        assert!(!departures.comes_back(actor, later, vec![0]));
        assert_eq!((departures.all[1].back, departures.former.len()), (None, 1));
    }
}
