//! Retry budget over a time, as Linkerd's: in each `ttl`, so many retries for each call, and so many a second besides.
//!
//! Each call deposits one token and each retry withdraws `1 / ratio`; tokens are forgotten after `ttl`, in ten slots.
//! The reserve of `min_per_s * ttl` retries is there in each `ttl`.
//!
//! <https://linkerd.io/2/tasks/configuring-retries/>,
//! <https://docs.rs/tower/latest/tower/retry/budget/struct.TpsBudget.html>

use meshsim_actor::{Span, Time};
use serde::{Deserialize, Serialize};

/// Settings of a budget over a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowBudget {
    /// Time over which calls and retries count. At least 1 ms.
    pub ttl: Span,
    /// Retries for each call.
    pub ratio: f64,
    /// Retries a second that are allowed besides.
    pub min_per_s: f64,
}

impl Default for WindowBudget {
    /// Linkerd's: 10 s, 0.2, 10 a second.
    fn default() -> Self {
        WindowBudget { ttl: Span::from_secs(10), ratio: 0.2, min_per_s: 10.0 }
    }
}

const SLOTS: usize = 10;

/// The deposits and withdrawals of one caller, in retries.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    slots: [f64; SLOTS],
    /// Number of the current slot since time zero.
    slot: u64,
}

impl State {
    /// Forgets the slots that are older than `ttl`.
    fn advance(&mut self, budget: &WindowBudget, now: Time) {
        let length = (budget.ttl.nanos() / SLOTS as u64).max(1);
        let slot = now.nanos() / length;
        for passed in 1..=slot.saturating_sub(self.slot).min(SLOTS as u64) {
            self.slots[((self.slot + passed) % SLOTS as u64) as usize] = 0.0;
        }
        self.slot = self.slot.max(slot);
        // The loop clears the slots after the old one; after a long pause these are all.
    }

    fn current(&mut self) -> &mut f64 {
        &mut self.slots[(self.slot % SLOTS as u64) as usize]
    }

    pub(super) fn deposit(&mut self, budget: &WindowBudget, now: Time) {
        self.advance(budget, now);
        *self.current() += budget.ratio;
    }

    /// Takes one retry; false if there is none.
    pub(super) fn withdraw(&mut self, budget: &WindowBudget, now: Time) -> bool {
        self.advance(budget, now);
        let reserve = budget.min_per_s * budget.ttl.secs();
        // So many sums of a ratio as 0.2 are rounded: five calls are worth one retry.
        let has_one = self.slots.iter().sum::<f64>() + reserve >= 1.0 - 1e-6;
        if has_one {
            *self.current() -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Retries that are allowed if each of `calls` calls a second fails and wants one, in the seconds from 20 to 100.
    fn allowed(budget: &WindowBudget, calls: u64) -> f64 {
        let (mut state, mut retries) = (State::default(), 0);
        for n in 0..calls * 100 {
            let now = Time::from_nanos(n * 1_000_000_000 / calls);
            state.deposit(budget, now);
            let has_one = state.withdraw(budget, now);
            retries += u32::from(has_one && now.secs() >= 20.0);
        }
        f64::from(retries) / 80.0
    }

    #[test]
    fn retries_are_a_share_of_the_calls_and_so_many_a_second() {
        for (ratio, min_per_s, calls) in [(0.2, 10.0, 1000), (0.2, 0.0, 1000), (0.05, 30.0, 400), (0.5, 10.0, 10)] {
            let budget = WindowBudget { ratio, min_per_s, ..WindowBudget::default() };
            let expected = (ratio * calls as f64 + min_per_s).min(calls as f64);
            let found = allowed(&budget, calls);
            // A withdrawal stays as long as a deposit; the windows of both are ten slots, give or take one.
            assert!((found / expected - 1.0).abs() < 0.12, "{ratio}, {min_per_s}, {calls}: {found}, not {expected}");
        }
    }

    #[test]
    fn what_was_deposited_is_forgotten_after_its_time() {
        let budget = WindowBudget { min_per_s: 0.0, ..WindowBudget::default() };
        let mut state = State::default();
        (0..50).for_each(|_| state.deposit(&budget, Time::ZERO));
        assert!((0..10).all(|_| state.clone().withdraw(&budget, Time::from_nanos(8_000_000_000))));
        assert!(!state.withdraw(&budget, Time::from_nanos(11_000_000_000)));
        let mut state = State::default();
        (0..50).for_each(|_| state.deposit(&budget, Time::ZERO));
        assert_eq!((0..20).filter(|_| state.withdraw(&budget, Time::ZERO)).count(), 10);
    }
}
