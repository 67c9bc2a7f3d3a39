//! The demand for a service as a whole: the requests at its instances and those that callers hold, its messages, its
//! busy slots. The autoscaler asks all nodes, and all callers of a service that has an activator, in rounds.

use std::collections::BTreeMap;

use meshsim_actor::{ActorId, Time};
use serde::{Deserialize, Serialize};

use crate::model::ServiceId;

/// Rounds for which an answer counts.
const ROUNDS_KEPT: u64 = 2;

/// Rounds after which an actor that had instances, and answers no more, is forgotten.
const ROUNDS_REMEMBERED: u64 = 60;

/// Answer of a node, a client or a gateway: its part of the demand for a service.
///
/// The `_ns` are levels, summed over the time since the actor has started, in nanoseconds times their unit: the mean
/// between two answers is the difference over the time between them, whatever was lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// The service.
    pub service: ServiceId,
    /// The round that asked for it.
    pub round: u64,
    /// Time at which it was taken, by the actor's clock.
    pub at: Time,
    /// Instances here that exist, ready or not.
    pub instances: u32,
    /// Requests in service and waiting at the instances here.
    pub requests: u32,
    /// The same over time.
    pub requests_ns: u64,
    /// Calls of the service that this actor holds, as there is no instance.
    pub held: u32,
    /// The same over time.
    pub held_ns: u64,
    /// Messages that the instances here have published and not consumed.
    pub messages: u32,
    /// Slots that are taken, over time.
    pub busy_ns: u64,
    /// Slots that are there, over time.
    pub slot_ns: u64,
}

impl Demand {
    /// The answer of an actor that knows of nothing.
    pub(crate) fn none(service: ServiceId, round: u64, at: Time) -> Self {
        let (instances, requests, requests_ns, held, held_ns, messages, busy_ns, slot_ns) = Default::default();
        Demand { service, round, at, instances, requests, requests_ns, held, held_ns, messages, busy_ns, slot_ns }
    }

    /// True if the actor has no part in the service.
    fn is_nothing(&self) -> bool {
        self.instances == 0 && self.requests == 0 && self.held == 0
    }
}

/// A level, and its sum over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Level {
    now: u32,
    since: Time,
    sum_ns: u64,
}

impl Level {
    /// Sets the level from this time on.
    pub(crate) fn set(&mut self, level: u32, now: Time) {
        *self = Level { now: level, since: now, sum_ns: self.sum_ns(now) };
    }

    /// Adds to the level, or takes from it.
    pub(crate) fn change(&mut self, by: i32, now: Time) {
        self.set(self.now.saturating_add_signed(by), now);
    }

    pub(crate) fn level(&self) -> u32 {
        self.now
    }

    /// Sum until now, in nanoseconds times the unit of the level.
    pub(crate) fn sum_ns(&self, now: Time) -> u64 {
        self.sum_ns.saturating_add(now.since(self.since).nanos().saturating_mul(self.now.into()))
    }
}

/// Means between two answers of an actor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Total {
    /// Requests in service, waiting and held.
    pub(super) requests: f64,
    /// Busy slots.
    pub(super) busy: f64,
    /// Slots.
    pub(super) slots: f64,
}

/// The latest answers of all actors about one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Demands(BTreeMap<ActorId, Demand>);

/// The demand at a moment, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// Requests in service, waiting and held.
    pub(super) requests: u64,
    /// Messages.
    pub(super) messages: u64,
    /// No actor has answered lately.
    pub(super) is_blind: bool,
    /// An actor that had instances has not answered lately.
    pub(super) is_partly_blind: bool,
}

impl Demands {
    /// Takes an answer in. Returns the means since the last answer of the actor; `None`: it has no part in the service,
    /// or the answer is older than one that came earlier.
    pub(super) fn take(&mut self, from: ActorId, demand: Demand) -> Option<Total> {
        let before = self.0.insert(from, demand);
        if let Some(before) = before.filter(|before| before.at >= demand.at) {
            self.0.insert(from, before);
            return None;
        }
        if demand.is_nothing() && before.is_none_or(|before| before.is_nothing()) {
            return None;
        }
        let mean = |of: fn(&Demand) -> u64| {
            // After a restart, the sums begin again.
            let then = before.as_ref().map_or(0, of);
            let since = before.map_or(Time::ZERO, |before| before.at);
            let took = demand.at.since(since).nanos() as f64;
            of(&demand).checked_sub(then).filter(|_| before.is_some()).map(|sum| sum as f64 / took)
        };
        let now = || f64::from(demand.requests) + f64::from(demand.held);
        Some(Total {
            requests: mean(|it| it.requests_ns.saturating_add(it.held_ns)).unwrap_or_else(now),
            busy: mean(|it| it.busy_ns).unwrap_or(0.0),
            slots: mean(|it| it.slot_ns).unwrap_or(0.0),
        })
    }

    /// The demand in this round.
    pub(super) fn known(&mut self, round: u64) -> Known {
        self.0.retain(|_, it| it.round + ROUNDS_REMEMBERED > round);
        let mut known = Known { is_blind: true, ..Known::default() };
        for demand in self.0.values() {
            if demand.round + ROUNDS_KEPT <= round {
                known.is_partly_blind |= demand.instances > 0;
                continue;
            }
            known.is_blind = false;
            known.requests += u64::from(demand.requests) + u64::from(demand.held);
            known.messages += u64::from(demand.messages);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::Span;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn answer(round: u64, requests: u32, requests_ns: u64) -> Demand {
        Demand { instances: 1, requests, requests_ns, ..Demand::none(ServiceId(0), round, at(round)) }
    }

    #[test]
    fn a_level_is_summed_over_the_time_for_which_it_stood() {
        let mut level = Level::default();
        level.change(1, at(2));
        level.change(1, at(3));
        assert_eq!((level.level(), level.sum_ns(at(5))), (2, 5_000_000_000));
        level.set(0, at(5));
        assert_eq!((level.level(), level.sum_ns(at(9))), (0, 5_000_000_000));
        level.change(-1, at(9));
        assert_eq!(level.level(), 0);
    }

    #[test]
    fn a_mean_spans_lost_answers_and_begins_again_after_a_restart() {
        let mut demands = Demands::default();
        let requests = |total: Option<Total>| total.map(|it| it.requests);
        let second = 1_000_000_000;
        assert_eq!(requests(demands.take(ActorId(1), answer(1, 3, 0))), Some(3.0), "the first is the level itself");
        assert_eq!(requests(demands.take(ActorId(1), answer(2, 9, 5 * second))), Some(5.0));
        assert_eq!(requests(demands.take(ActorId(1), answer(4, 0, 11 * second))), Some(3.0), "over two seconds");
        assert_eq!(requests(demands.take(ActorId(1), answer(3, 7, 8 * second))), None, "an older one");
        assert_eq!(requests(demands.take(ActorId(1), answer(5, 2, second))), Some(2.0), "a restart");
        let nothing = |round| Demand::none(ServiceId(0), round, at(round));
        assert_eq!(demands.take(ActorId(2), nothing(5)), None, "no part in it");
    }

    #[test]
    fn an_actor_with_instances_that_does_not_answer_makes_partly_blind_for_a_while() {
        let mut demands = Demands::default();
        assert!(demands.known(1).is_blind);
        demands.take(ActorId(1), answer(1, 3, 0));
        demands.take(ActorId(2), answer(1, 4, 0));
        let known = demands.known(2);
        assert_eq!((known.requests, known.is_blind, known.is_partly_blind), (7, false, false));
        demands.take(ActorId(1), answer(3, 3, 0));
        let known = demands.known(3);
        assert_eq!((known.requests, known.is_blind, known.is_partly_blind), (3, false, true));
        demands.take(ActorId(1), answer(61, 3, 0));
        assert!(!demands.known(61).is_partly_blind, "it is forgotten");
        assert!(demands.known(70).is_blind);
    }
}
