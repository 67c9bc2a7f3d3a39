//! Retries: which failures they follow, their backoff, jittered or fixed, and a budget that keeps them from becoming
//! the load.

use meshsim_actor::{Rng, Span};
use serde::{Deserialize, Serialize};

use crate::measure::Failure;
use crate::model::{Backoff, Retry};

/// A set of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FailureSet(u16);

impl FailureSet {
    /// True if the failure is in it.
    pub fn contains(self, failure: Failure) -> bool {
        self.0 >> failure as u16 & 1 == 1
    }
}

impl FromIterator<Failure> for FailureSet {
    fn from_iter<I: IntoIterator<Item = Failure>>(failures: I) -> Self {
        FailureSet(failures.into_iter().fold(0, |set, failure| set | 1 << failure as u16))
    }
}

/// Wait before retry `n` (from 1): uniform in `[0, (2^n - 1) * base)`, or `base` where the backoff is fixed; at most
/// `cap`. A fixed backoff draws nothing.
///
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-max-retries>
pub(crate) fn backoff(n: u32, retry: &Retry, rng: &mut Rng) -> Span {
    match retry.backoff {
        Backoff::Jittered => (retry.base * ((1_u64 << n.min(32)) - 1)).scaled(rng.unit()).min(retry.cap),
        Backoff::Fixed => retry.base.min(retry.cap),
    }
}

/// True if one more retry may be in flight.
///
/// <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto> (`retry_budget`)
pub(crate) fn within_budget(retrying: u32, active: u32, retry: &Retry) -> bool {
    let allowed = |budget: f64| (budget * f64::from(active)).max(f64::from(retry.budget_min));
    retry.budget.is_none_or(|budget| f64::from(retrying) < allowed(budget))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_its_window_up_to_the_cap() {
        let retry = Retry::default();
        let mut rng = Rng::stream(1, "x");
        for (n, most_ms) in [(1, 25), (2, 75), (3, 175), (4, 250), (40, 250)] {
            let longest = (0..2000).map(|_| backoff(n, &retry, &mut rng)).max().unwrap();
            let most = Span::from_millis(most_ms);
            assert!(longest <= most && longest > most.scaled(0.97), "retry {n}: {longest}");
        }
    }

    #[test]
    fn a_fixed_backoff_is_the_same_each_time() {
        let retry = Retry { backoff: Backoff::Fixed, ..Retry::default() };
        let mut rng = Rng::stream(1, "x");
        assert!((1..40).all(|n| backoff(n, &retry, &mut rng) == Span::from_millis(25)));
    }

    #[test]
    fn a_set_holds_the_failures_that_it_was_made_of() {
        let set: FailureSet = [Failure::Timeout, Failure::Lost].into_iter().collect();
        let held: Vec<Failure> = Failure::ALL.into_iter().filter(|failure| set.contains(*failure)).collect();
        assert_eq!(held, [Failure::Timeout, Failure::Lost]);
    }

    #[test]
    fn without_a_budget_all_may_be_retries() {
        let retry = Retry { budget: None, ..Retry::default() };
        assert!(within_budget(999, 1000, &retry) && within_budget(1000, 1000, &retry));
    }

    #[test]
    fn a_fifth_of_what_is_under_way_may_be_retries_and_three_always() {
        let retry = Retry::default();
        assert!(within_budget(2, 0, &retry) && !within_budget(3, 10, &retry));
        assert!(within_budget(19, 100, &retry) && !within_budget(20, 100, &retry));
    }
}
