//! `scale`: `C' = C * b`, clamped to the service's limits.

use super::{Desired, Iteration};
use crate::model::Service;

pub(super) fn iterate(by: f64, service: &Service, wanted: &mut Desired) -> Iteration {
    let next = (wanted.c * by).clamp(service.capacity_min, service.capacity_max);
    if next == wanted.c {
        return Iteration::Reached;
    }
    wanted.c = next;
    let limit = if by > 1.0 { service.capacity_max } else { service.capacity_min };
    if next == limit { Iteration::Last } else { Iteration::Step }
}

/// Number of requests that one instance serves at once.
pub fn slots(capacity: f64) -> u32 {
    // `as` saturates; half away from zero.
    (capacity.round() as u32).max(1)
}
