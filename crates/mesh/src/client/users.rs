//! The users of a closed load: each sends a request, waits for its end, thinks, and sends the next.
//!
//! A user draws its think times from a stream of its own, keyed by the seed, its load, its number and the number of the
//! next request. So the draws of one user depend on no other user and on nothing else in the experiment.
//!
//! Users start staggered: the first request of a user comes after a uniformly drawn part of its first wait.

use meshsim_actor::{Rng, Span, Time};
use serde::{Deserialize, Serialize};

use crate::model::Users;

/// Time between two requests of a user if the first took no time, as one without an instance: a user without think time
/// would otherwise send endlessly at one time.
pub const REST: Span = Span::from_millis(1);

/// Streams of the users: apart from all other streams that a number keys.
const USERS: u64 = u64::from_be_bytes(*b"thinking");

/// One user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Number of requests that it has begun.
    begun: u64,
    /// The next; `None` while it waits for a reply, and when it has ended.
    pub(super) next: Option<Next>,
}

/// The next request of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Next {
    /// Time at which it should begin by the user's pace; without a pace, its due time.
    pub(super) planned: Time,
    /// Due time: later than planned if the reply to the last request came too late for the pace.
    pub(super) due: Time,
}

impl User {
    /// Plans the first request, or the first after the machine was down; `which`: the load, and the user in it.
    pub(super) fn come(&mut self, users: &Users, seed: u64, which: (usize, u32), now: Time) -> Next {
        let mut rng = self.draws(seed, which);
        let wait = users.think.sample(&mut rng).max(users.pacing.unwrap_or(Span::ZERO));
        let at = now + wait.scaled(rng.unit());
        *self.next.insert(Next { planned: at, due: at })
    }

    /// Plans the next request when the one sent at `sent` has ended; returns its time.
    pub(super) fn go_on(&mut self, users: &Users, seed: u64, which: (usize, u32), (sent, ended): (Time, Time)) -> Next {
        let think = users.think.sample(&mut self.draws(seed, which));
        let rested = if ended == sent { sent + REST } else { ended };
        *self.next.insert(next(users.pacing, think, sent, rested))
    }

    /// Begins the next request; returns its number among those of the load.
    pub(super) fn begin(&mut self, users: &Users, user: u32) -> u64 {
        let number = self.begun.wrapping_mul(u64::from(users.count)).wrapping_add(u64::from(user));
        self.begun += 1;
        self.next = None;
        number
    }

    fn draws(&self, seed: u64, (load, user): (usize, u32)) -> Rng {
        Rng::keyed(seed ^ USERS, (load as u64) << 32 | u64::from(user), self.begun)
    }
}

/// The request after one that was sent at `sent` and whose user was free again at `ended`.
///
/// With a pace, a reply that comes after the planned start of the next request delays that request by the same time:
/// its latency runs from its planned start. Think time is not a delay.
fn next(pacing: Option<Span>, think: Span, sent: Time, ended: Time) -> Next {
    let ready = ended + think;
    let Some(pacing) = pacing else { return Next { planned: ready, due: ready } };
    let pace = sent + pacing;
    let planned = pace.max(ended.min(pace) + think);
    Next { planned, due: planned.max(ready) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshsim_actor::Dist;

    fn ms(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    #[test]
    fn a_user_without_a_pace_begins_when_it_has_thought() {
        let it = next(None, Span::from_millis(30), ms(100), ms(250));
        assert_eq!(it, Next { planned: ms(280), due: ms(280) });
    }

    #[test]
    fn a_pace_counts_from_start_to_start_and_only_a_late_reply_delays() {
        let pace = Some(Span::from_millis(100));
        let of = |think: u64, ended: u64| {
            let it = next(pace, Span::from_millis(think), ms(1000), ms(ended));
            (it.planned, it.due)
        };
        // In time, with any think time.
        assert_eq!(of(0, 1020), (ms(1100), ms(1100)));
        assert_eq!(of(50, 1020), (ms(1100), ms(1100)));
        assert_eq!(of(90, 1020), (ms(1110), ms(1110)));
        // The reply came 400 ms after the planned start of the next request: that is its delay, with and without think
        // time.
        assert_eq!(of(0, 1500), (ms(1100), ms(1500)));
        assert_eq!(of(30, 1500), (ms(1130), ms(1530)));
    }

    #[test]
    fn users_draw_from_streams_of_their_own_and_do_not_begin_in_step() {
        let think = Dist::Exponential { at_least: Span::ZERO, mean: Span::from_secs(1) };
        let users = Users { count: 1000, think, pacing: None };
        let firsts = |load: usize| -> Vec<Time> {
            (0..1000).map(|user| User::default().come(&users, 7, (load, user), ms(0)).due).collect()
        };
        let (one, other) = (firsts(0), firsts(1));
        assert_eq!(one, firsts(0));
        assert!(one.iter().zip(&other).all(|(a, b)| a != b));
        // A uniform part of an exponential wait: half of it on average.
        let mean = one.iter().map(|at| at.secs()).sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.08, "{mean}");
        let even = Users { think: Dist::Constant(Span::from_secs(1)), ..users };
        let mut spread: Vec<Time> =
            (0..1000).map(|user| User::default().come(&even, 7, (0, user), ms(0)).due).collect();
        spread.sort();
        assert!(spread[0] < ms(10) && spread[999] > ms(990) && spread[999] < ms(1000), "{spread:?}");
    }

    #[test]
    fn users_with_a_pace_begin_within_it_or_within_their_first_thought() {
        let firsts = |think: u64, pacing: u64| {
            let (think, pacing) = (Dist::Constant(Span::from_millis(think)), Some(Span::from_millis(pacing)));
            let users = Users { count: 1000, think, pacing };
            let mut firsts: Vec<f64> =
                (0..1000).map(|user| User::default().come(&users, 7, (0, user), ms(500)).due.secs() - 0.5).collect();
            firsts.sort_by(f64::total_cmp);
            firsts
        };
        for (think, pacing) in [(0, 2000), (500, 2000), (2000, 500)] {
            let firsts = firsts(think, pacing);
            // Evenly over the longer of the two: the n-th of 1,000 is within four standard errors of n thousandths.
            let is_even = |(n, at): (usize, &f64)| {
                let share = n as f64 / 1000.0;
                (at / 2.0 - share).abs() < 4.0 * (share * (1.0 - share) / 1000.0).sqrt() + 0.01
            };
            assert!(firsts.iter().enumerate().all(is_even), "{think} {pacing}: {firsts:?}");
        }
    }

    #[test]
    fn instant_requests_of_a_user_are_spaced_and_have_their_own_numbers() {
        let users = Users { count: 3, think: Dist::Constant(Span::ZERO), pacing: None };
        let mut user = User::default();
        user.come(&users, 1, (0, 2), ms(5));
        assert_eq!((user.begin(&users, 2), user.next), (2, None));
        assert_eq!(user.go_on(&users, 1, (0, 2), (ms(5), ms(5))).due, ms(6));
        assert_eq!(user.begin(&users, 2), 5);
        assert_eq!(user.go_on(&users, 1, (0, 2), (ms(6), ms(9))).due, ms(9));
    }
}
