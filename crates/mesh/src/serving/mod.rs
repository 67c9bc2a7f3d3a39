//! Policies of the serving side: an instance refuses some requests so that more load than it can serve does not harm
//! all of them.
//!
//! A policy keeps its state per instance, in `Guard`, and acts in three hooks of `node/`: `admit` when a request
//! arrives, `take` when a slot is free, `ended` when a request is done. A refused request fails as `refused`; the
//! figures of the service count it by reason ([`PolicyEvent`]). A service without these policies has no such state and
//! runs through no hook.
//!
//! To add one: a file here, with its settings, its state and the sources of its defaults; a field of
//! [`ServingPolicies`] and a line in the hooks; what it counts, in [`PolicyEvent`].

pub mod codel;
mod deadline;
pub mod gradient;
mod lifo;
pub mod limit;
pub mod priority;

use std::collections::VecDeque;

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

use crate::policy::PolicyEvent;
use crate::policy::token_bucket::{self, TokenBucket};

use codel::Codel;
pub(crate) use deadline::is_too_late;
use limit::Limit;
use priority::{Priority, Shares};

/// Policies of a service that each of its instances follows, with its own state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServingPolicies {
    /// Requests at an instance at once, waiting or in a slot; a further one is refused.
    pub limit: Option<Limit>,
    /// Requests that an instance admits over time; a further one is refused.
    pub rate_limit: Option<TokenBucket>,
    /// Time that must be left until a request's deadline when it gets its slot; one with less is refused.
    pub time_left: Option<Span>,
    /// Shares of the room of an instance that each class of requests may fill.
    pub shares: Option<Shares>,
    /// The newest of the waiting requests gets the next slot, once some have waited without a break for this long.
    pub lifo_after: Option<Span>,
    /// Requests that have waited for too long are refused.
    pub codel: Option<Codel>,
}

/// State of all policies of one instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Guard {
    limit: limit::State,
    bucket: token_bucket::State,
    order: lifo::State,
    delay: codel::State,
}

/// A request that is taken out of the queue of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// It gets the next slot.
    Served(T),
    /// It has waited for too long and is refused; the next one is to be taken.
    Refused(T),
}

/// A request that arrives at an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Time at which its caller gives up.
    pub(crate) deadline: Time,
    /// Its class.
    pub(crate) priority: Priority,
    /// Requests that are at the instance already, waiting or in a slot.
    pub(crate) there: u32,
    /// Requests that the instance can hold: its slots and its queue.
    pub(crate) room: u32,
}

impl Guard {
    /// May this request come in? If not, the reason.
    #[inline(never)]
    pub(crate) fn admit(&mut self, of: &ServingPolicies, arrival: &Arrival, now: Time) -> Result<(), PolicyEvent> {
        let limit = of.limit.as_ref().map(|limit| self.limit.now(limit, now));
        if limit.is_some_and(|limit| arrival.there >= limit) {
            return Err(PolicyEvent::Limited);
        }
        let room = limit.map_or(arrival.room, |limit| limit.min(arrival.room));
        if of.shares.as_ref().is_some_and(|shares| !shares.admit(arrival.priority, arrival.there, room)) {
            return Err(PolicyEvent::ShedPriority);
        }
        if is_too_late(of, arrival.deadline, now) {
            return Err(PolicyEvent::ShedDeadline);
        }
        // Last, so that a request that is refused anyway takes no token.
        match of.rate_limit.as_ref().is_none_or(|bucket| self.bucket.take(bucket, now)) {
            true => Ok(()),
            false => Err(PolicyEvent::RateLimited),
        }
    }

    /// A request was put into the queue, which has `waiting` now.
    pub(crate) fn waits(&mut self, waiting: usize, now: Time) {
        self.order.waits(waiting, now);
    }

    /// CoDel is off: if it is set again, waits of before do not count.
    pub(crate) fn forget_delay(&mut self) {
        self.delay.emptied();
    }

    /// Takes a request out of the queue, now that a slot is free. `arrived` says when one came.
    #[inline(never)]
    pub(crate) fn take<T: Copy>(
        &mut self,
        of: &ServingPolicies,
        queue: &mut VecDeque<T>,
        arrived: impl Fn(T) -> Time,
        now: Time,
    ) -> Option<Taken<T>> {
        if let Some(codel) = &of.codel {
            let Some(oldest) = queue.front() else {
                self.delay.emptied();
                return None;
            };
            if self.delay.drops(codel, now.since(arrived(*oldest)), queue.len() - 1, now) {
                return queue.pop_front().map(Taken::Refused);
            }
        } else {
            self.forget_delay();
        }
        let next = match of.lifo_after.is_some_and(|after| self.order.is_newest_first(after, now)) {
            true => queue.pop_back(),
            false => queue.pop_front(),
        };
        next.map(Taken::Served)
    }

    /// A request that arrived at `arrived` is done. `key` is a number of the instance that no other has, for the draws
    /// of its policies.
    #[inline(never)]
    pub(crate) fn ended(&mut self, of: &ServingPolicies, arrived: Time, key: u64, now: Time) {
        if let Some(limit) = &of.limit {
            self.limit.ended(limit, arrived, key, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_registered() {
        crate::expect_registered("serving", &include_str!("mod.rs").replace("pub mod", "mod"));
    }

    fn arrival(priority: Priority, there: u32) -> Arrival {
        Arrival { deadline: Time::NEVER, priority, there, room: 100 }
    }

    #[test]
    fn a_request_that_the_limit_refuses_takes_no_token() {
        let bucket = TokenBucket { every: Span::from_secs(1), burst: 1 };
        let of =
            ServingPolicies { limit: Some(Limit::Fixed(2)), rate_limit: Some(bucket), ..ServingPolicies::default() };
        let (mut guard, now) = (Guard::default(), Time::ZERO);
        assert_eq!(guard.admit(&of, &arrival(Priority::Critical, 2), now), Err(PolicyEvent::Limited));
        assert_eq!(guard.admit(&of, &arrival(Priority::Critical, 1), now), Ok(()));
        assert_eq!(guard.admit(&of, &arrival(Priority::Critical, 1), now), Err(PolicyEvent::RateLimited));
    }

    #[test]
    fn classes_share_the_limit_if_it_is_below_the_room() {
        let shares = Some(Shares::default());
        let of = ServingPolicies { limit: Some(Limit::Fixed(10)), shares, ..ServingPolicies::default() };
        let mut guard = Guard::default();
        let mut admits = |priority, there| guard.admit(&of, &arrival(priority, there), Time::ZERO).is_ok();
        assert!(admits(Priority::Sheddable, 4) && !admits(Priority::Sheddable, 5));
        assert!(admits(Priority::CriticalPlus, 9) && !admits(Priority::CriticalPlus, 10));
    }
}
