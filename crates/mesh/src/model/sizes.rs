//! Sizes of requests, and work that depends on them.

use meshsim_actor::{Dist, Rng, Span};
use serde::{Deserialize, Serialize};

/// Sizes of requests that vary: a distribution of bytes, kept as that of as many nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes(Dist);

impl Sizes {
    /// A distribution in which a nanosecond stands for a byte.
    pub fn new(bytes_as_nanos: Dist) -> Self {
        Sizes(bytes_as_nanos)
    }

    /// Draws a size, in bytes; at most 4 GiB.
    pub fn sample(&self, rng: &mut Rng) -> u32 {
        self.0.sample(rng).nanos().min(u32::MAX.into()) as u32
    }

    /// Mean size in bytes, before the limit; infinite if the distribution has none.
    pub fn mean(&self) -> f64 {
        self.0.mean_secs() * 1e9
    }
}

/// Work that takes longer for larger requests: `base + per_kib * size`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizedWork {
    /// Work whatever the size.
    pub base: Dist,
    /// Work for each KiB of the request, in proportion.
    pub per_kib: Span,
}

impl SizedWork {
    /// Draws the work for a request of this size.
    pub fn sample(&self, bytes: u32, rng: &mut Rng) -> Span {
        self.base.sample(rng) + self.of_size(bytes.into())
    }

    /// The part of the work that depends on the size, in bytes.
    pub fn of_size(&self, bytes: f64) -> Span {
        self.per_kib.scaled(bytes / 1024.0)
    }
}
