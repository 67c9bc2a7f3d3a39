//! How long one try may take: the policy's timeout, and never longer than the deadline that came with the request.

use meshsim_actor::Time;

use crate::model::CallPolicy;

/// When a try that is sent now is given up; [`Time::NEVER`] if it is not.
pub(crate) fn try_until(now: Time, policy: &CallPolicy, deadline: Time) -> Time {
    policy.timeout.map_or(Time::NEVER, |timeout| now + timeout).min(deadline)
}
