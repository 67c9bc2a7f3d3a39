//! Activator: a caller holds its calls of a service that has no ready instance, until one is ready.
//!
//! Knative puts such a component between callers and a service that was scaled to zero; here each caller has it
//! beside it, so a held call crosses no further link. A call is held in the place of a failure as
//! [`NoInstance`](crate::measure::Failure::NoInstance), and its time counts toward the timeout and the latency. All
//! that a caller holds is sent when its view has a ready instance; what is too much for that one waits in its queue,
//! or is refused. The calls that are held live in `call/held.rs`.
//!
//! Defaults: Knative's activator queues 10,000 requests (`breakerQueueDepth`), and holds each for as long as the
//! request may take at all (`revision-timeout-seconds`: 300 s);
//! <https://github.com/knative/serving/tree/knative-v1.15.0/pkg/activator>.

use meshsim_actor::Span;
use serde::{Deserialize, Serialize};

/// Settings of an activator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activator {
    /// Longest time for which an attempt is held; then it fails as
    /// [`NoInstance`](crate::measure::Failure::NoInstance).
    pub hold: Span,
    /// Calls that one caller (a node, a client, a gateway) holds; a further one is refused.
    pub size: u32,
}

impl Default for Activator {
    /// Knative's: 300 s and 10,000.
    fn default() -> Self {
        Activator { hold: Span::from_secs(300), size: 10_000 }
    }
}
