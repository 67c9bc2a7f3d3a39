//! Timeout of one attempt: the policy's, limited by the deadline of the request.

use meshsim_actor::{Span, Time};

/// Time at which an attempt that is sent now is given up; [`Time::NEVER`] if there is no limit.
pub(crate) fn try_until(now: Time, timeout: Option<Span>, deadline: Time) -> Time {
    timeout.map_or(Time::NEVER, |timeout| now + timeout).min(deadline)
}
