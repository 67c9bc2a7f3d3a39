//! Timeout of one attempt: the policy's, limited by the deadline of the request.

use meshsim_actor::Time;

use crate::model::CallPolicy;

/// Time at which an attempt that is sent now is given up; [`Time::NEVER`] if there is no limit.
pub(crate) fn try_until(now: Time, policy: &CallPolicy, deadline: Time) -> Time {
    policy.timeout.map_or(Time::NEVER, |timeout| now + timeout).min(deadline)
}
