//! Cuts between actors.

use meshsim_actor::{ActorId, LossReason};
use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, InTransit, Link, PendingFate, Time};

/// Messages sent across a cut are lost, or held until the partition ends. Messages in flight still arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// The cut.
    pub cut: Cut,
    /// True: messages are held, and released when the partition ends. False: they are lost.
    pub hold: bool,
}

/// The actors or links that a partition cuts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cut {
    /// Two actors reach each other if they share an island, or if one of them is on none. An actor on no island, or on
    /// two, is a bridge. A single island cuts nothing: list the others too.
    Islands(Vec<ActorSet>),
    /// These links are cut, one way or both. Several of them can form a ring of majorities.
    Links(Vec<Link>),
}

impl Cut {
    fn separates(&self, from: ActorId, to: ActorId) -> bool {
        match self {
            Cut::Islands(islands) => {
                let on_one = |actor| islands.iter().any(|island| island.contains(actor));
                let together = || islands.iter().any(|island| island.contains(from) && island.contains(to));
                from != to && on_one(from) && on_one(to) && !together()
            }
            Cut::Links(links) => links.iter().any(|link| link.concerns(from, to)),
        }
    }
}

impl Disturbance for Partition {
    fn amend(&mut self, until: Time, message: &mut InTransit, verdict: &mut PendingFate) {
        if !self.cut.separates(message.from, message.to) {
            return;
        }
        // A message that would be held indefinitely is lost.
        if self.hold && until < Time::NEVER {
            verdict.held = verdict.held.max(Some(until));
        } else {
            verdict.lost = Some(LossReason::Partition);
        }
    }
}
