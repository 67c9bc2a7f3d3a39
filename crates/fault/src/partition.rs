//! Some cannot reach others.

use meshsim_actor::{ActorId, Cause};
use serde::{Deserialize, Serialize};

use crate::{ActorSet, Disturbance, Link, Passing, Time, Verdict};

/// Messages sent across a cut are lost, or kept back until it is over. What was on its way before still arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// Where it runs.
    pub cut: Cut,
    /// True: messages are kept back, and set out when the partition is over. False: they are lost.
    pub hold: bool,
}

/// Where a partition runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cut {
    /// Two actors reach each other if they share an island, or one of them is on none. An actor on no island, or on
    /// two, is a bridge. One island alone cuts nothing: name the others too.
    Islands(Vec<ActorSet>),
    /// These links are cut: one way, or both. Of such pieces a ring of majorities is made.
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
    fn amend(&mut self, until: Time, message: &mut Passing, verdict: &mut Verdict) {
        if !self.cut.separates(message.from, message.to) {
            return;
        }
        // What would be held for ever is lost.
        if self.hold && until < Time::NEVER {
            verdict.held = verdict.held.max(Some(until));
        } else {
            verdict.lost = Some(Cause::Partition);
        }
    }
}
