//! The journeys of a load ([`Journey`]): in a closed loop a user makes one after the other, in an open loop each
//! arrival is a user who makes one.
//!
//! The successor of a step and its think time are drawn from the name of the step's request. The requests of an open
//! load's journey bear the number of its arrival, and above it the number of the step.

use meshsim_actor::{Rng, Span, Time};
use serde::{Deserialize, Serialize};

use super::users::Next;
use super::{Client, Due};
use crate::actors::MeshCx;
use crate::measure::{Failure, JourneyCounts};
use crate::message::Tick;
use crate::model::{JOURNEY_MADE_MAX, Journey, drawn};
use crate::request_id::{Draw, RequestId};

/// Journeys of an open load that may be under way. Of the next only the first request is made; the journey counts as
/// unfinished. A bound of memory.
const JOURNEYS_MAX: usize = 1 << 20;

/// The user of an arrival beyond [`JOURNEYS_MAX`].
const NOT_FOLLOWED: u32 = u32::MAX;

/// Bits of a request's number that hold the number of the arrival; arrivals from 2^28 on begin anew.
const ARRIVAL_BITS: u32 = 28;

/// The journeys of a load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Journeys {
    /// Those under way, by user.
    walks: Vec<Option<Walk>>,
    /// Each user leaves at the end of its journey, as in an open loop.
    leaves: bool,
    /// Users who have left: the next ones get their places.
    free: Vec<u32>,
    pub(super) counts: JourneyCounts,
}

/// A journey under way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Walk {
    /// Number of its first request.
    number: u64,
    began: Time,
    is_measured: bool,
    /// The current step, or the next.
    step: u32,
    /// Steps made.
    made: u32,
}

impl Journeys {
    pub(super) fn new(users: usize) -> Self {
        Journeys { walks: vec![None; users], leaves: users == 0, ..Journeys::default() }
    }

    /// In an open loop: a user who begins a journey.
    pub(super) fn arrives(&mut self) -> u32 {
        if let Some(user) = self.free.pop() {
            return user;
        }
        if self.walks.len() >= JOURNEYS_MAX {
            return NOT_FOLLOWED;
        }
        self.walks.push(None);
        self.walks.len() as u32 - 1
    }

    /// The step that a user makes now; it begins a journey unless it is on one.
    pub(super) fn step(&mut self, user: u32, number: u64, at: Time, measured_from: Time) -> usize {
        let is_measured = at >= measured_from;
        let walk = self.walks.get_mut(user as usize);
        if let Some(Some(walk)) = walk {
            return walk.step as usize;
        }
        self.counts.begun += u64::from(is_measured);
        walk.into_iter().for_each(|it| *it = Some(Walk { number, began: at, is_measured, step: 0, made: 0 }));
        0
    }

    /// A request of a user has ended. Returns the think time before its next; `None`: the journey has ended.
    fn ended(&mut self, journey: &Journey, user: u32, is_failed: bool, mut draws: Rng, now: Time) -> Option<Span> {
        let slot = self.walks.get_mut(user as usize)?;
        let walk = slot.as_mut()?;
        walk.made += 1;
        let step = &journey.steps[walk.step as usize];
        let next = drawn(step.next.iter().copied(), &mut draws);
        if !is_failed && next < journey.steps.len() && walk.made < JOURNEY_MADE_MAX {
            walk.step = next as u32;
            return Some(step.think.sample(&mut draws));
        }
        if walk.is_measured {
            match is_failed {
                true => self.counts.abandoned += 1,
                false => self.counts.time.record(now.since(walk.began)),
            }
        }
        *slot = None;
        if self.leaves {
            self.free.push(user);
        }
        None
    }

    /// The machine went down: all users have left.
    pub(super) fn clear(&mut self) {
        self.walks.iter_mut().for_each(|walk| *walk = None);
    }
}

impl Client {
    /// A request of a journey has ended: its user makes the next step, or begins anew, or leaves.
    pub(super) fn journey_goes_on(
        &mut self,
        user: u32,
        (root, sent): (u64, Time),
        failure: Option<Failure>,
        cx: &mut MeshCx<'_>,
    ) {
        let load = &self.mesh.loads[self.load];
        let (Some(journeys), Some(journey)) = (&mut self.journeys, load.journey()) else { return };
        let id = RequestId::new(RequestId::caller(root), RequestId::number(root));
        let draws = id.draws(self.mesh.seed, 0, Draw::Journey);
        let think = journeys.ended(journey, user, failure.is_some(), draws, cx.now());
        let Some(think) = think else { return self.goes_on(user, sent, cx) };
        let due = cx.now() + think;
        if due >= load.end {
            return;
        }
        if let Some(it) = self.users.get_mut(user as usize) {
            it.next = Some(Next { planned: due, due });
        }
        cx.arm(due, Tick::User(user));
    }

    /// In an open loop: a user makes the next step of its journey.
    pub(super) fn next_step(&mut self, user: u32, cx: &mut MeshCx<'_>) {
        let walk = self.journeys.as_ref().and_then(|journeys| *journeys.walks.get(user as usize)?);
        let Some(Walk { number, made, .. }) = walk else { return };
        let number = number & ((1 << ARRIVAL_BITS) - 1) | u64::from(made) << ARRIVAL_BITS;
        self.send(Due { number, at: cx.now(), due: cx.now(), user }, cx);
    }
}

#[cfg(test)]
mod tests {
    use meshsim_actor::Dist;

    use super::*;
    use crate::model::JourneyStep;

    #[test]
    fn the_places_of_users_who_have_left_are_used_again() {
        let step = JourneyStep { name: "only".into(), think: Dist::Constant(Span::ZERO), next: vec![0.0, 1.0] };
        let journey = Journey { steps: vec![step] };
        let mut open = Journeys::new(0);
        for number in 0..1000 {
            let user = open.arrives();
            assert_eq!((user, open.step(user, number, Time::ZERO, Time::ZERO)), (0, 0));
            assert_eq!(open.ended(&journey, user, number % 2 == 0, Rng::stream(1, "journey"), Time::ZERO), None);
        }
        assert_eq!((open.counts.begun, open.counts.abandoned, open.counts.time.count()), (1000, 500, 500));
        // Users of a closed loop stay.
        let mut closed = Journeys::new(2);
        assert_eq!(closed.step(1, 0, Time::ZERO, Time::ZERO), 0);
        assert_eq!(closed.ended(&journey, 1, false, Rng::stream(1, "journey"), Time::ZERO), None);
        assert!(closed.free.is_empty());
    }
}
