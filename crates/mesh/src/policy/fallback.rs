//! Fallbacks: something else answers in the place of a call that has failed, after its retries.
//!
//! A static answer is there at once: the caller goes on, and its reply counts as degraded. Another endpoint gets the
//! call once, without retries; if it fails too, so does the call. Counts by edge keep both apart. (Resilience4j's and
//! Hystrix' fallbacks: <https://github.com/Netflix/Hystrix/wiki/How-To-Use#fallback>.)

use serde::{Deserialize, Serialize};

use crate::model::{EndpointId, ServiceId};

/// Answer in the place of a call that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fallback {
    /// An answer that the caller has.
    Static,
    /// That of another endpoint.
    Call(ServiceId, EndpointId),
}
