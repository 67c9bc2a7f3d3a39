//! Shedding by deadline: a request that cannot be answered in time is refused before it takes a slot.
//!
//! Without it an instance drops a request only when its deadline has passed, and so serves some whose answers come too
//! late. (Google's *Site Reliability Engineering*, "Addressing Cascading Failures", checks the time left at each stage:
//! <https://sre.google/sre-book/addressing-cascading-failures/#latency-and-deadlines>.)

use meshsim_actor::Time;

use super::ServingPolicies;

/// True if less than [`ServingPolicies::time_left`] is left until the deadline of a request that would get its slot
/// now.
pub(crate) fn is_too_late(of: &ServingPolicies, deadline: Time, now: Time) -> bool {
    of.time_left.is_some_and(|least| deadline < Time::NEVER && deadline.since(now) < least)
}
